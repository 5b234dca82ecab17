// Package frame holds the data types that travel from the sources of packets
// to the shards that read them: the frame as captured, the packet as decoded,
// and the batch that owns the memory of both.
//
// It is a leaf: it imports nothing of ringside and starts nothing. Sources
// (dataplane/pcapin, and rings) fill frames, dataplane/decode fills packets,
// flow reads them.
//
// # Who owns the bytes
//
// A Batch owns every byte that its Frames and Packets point to. They may be
// read until Release is called, and by one goroutine at a time. Whoever wants
// to keep bytes longer copies them.
//
// # Time and order
//
// Time is the time that the capture wrote down, in nanoseconds since the Unix
// epoch. It may stand still or go backwards from one frame to the next. Clock
// never does: it is Time, or a nanosecond more than the Clock before where Time
// is not later. So the clocks of a source are the order in which its frames
// are read; they do not depend on how many workers share the reading. Of two
// sources with equal clocks, Seq decides, which numbers the frames.
// The clocks of live sources go on also where the system's time of day is set
// back, and are ahead of Time from then on (Steady).
package frame

// LinkType is a link-layer header type, by its LINKTYPE_ number in the pcap
// and pcapng formats (https://www.tcpdump.org/linktypes.html).
type LinkType uint16

// Link types that ringside decodes.
const (
	LinkNull     LinkType = 0   // BSD loopback, host byte order
	LinkEthernet LinkType = 1   // IEEE 802.3
	LinkRaw      LinkType = 101 // IPv4 or IPv6, by the version nibble
	LinkLoop     LinkType = 108 // OpenBSD loopback, network byte order
	LinkSLL      LinkType = 113 // Linux cooked capture v1
	LinkIPv4     LinkType = 228 // IPv4
	LinkIPv6     LinkType = 229 // IPv6
	LinkSLL2     LinkType = 276 // Linux cooked capture v2
)

// Frame is one frame as it was captured. Data is borrowed from the batch.
type Frame struct {
	Time  int64    // capture time, ns since the Unix epoch
	Clock int64    // order in the source, ns; at least Time, and later than the frame before
	Seq   uint64   // position in the source, from 0
	Data  []byte   // captured bytes from the link-layer header on
	Len   uint32   // length on the wire in bytes; more than len(Data) when cut by the snap length
	Link  LinkType // how Data begins
	Iface uint16   // index of the interface in the source
	Loop  uint16   // which pass of a capture that is replayed in a loop, from 0

	Metered bool   // a meter in the kernel has counted it: a copy, to be recorded
	Lost    uint32 // frames that the capture says it lost right before this one
}

// Flags of a Packet, and of a Fragment.
const (
	FlagCut      uint8 = 1 << iota // Payload is shorter than the headers say: cut by the snap length
	FlagFragment                   // the datagram came in IP fragments, and was put together
	FlagVLAN                       // VLAN holds a tag
	FlagMetered                    // RTP that a meter in the kernel has counted
)

// Control bits of a TCP segment (RFC 9293 section 3.1).
const (
	TCPFin uint8 = 1 << iota
	TCPSyn
	TCPRst
	TCPPsh
	TCPAck
	TCPUrg
)

// IP protocol numbers of a Packet (IANA protocol-numbers).
const (
	ProtoTCP  uint8 = 6
	ProtoUDP  uint8 = 17
	ProtoSCTP uint8 = 132
)

// Addr is an IPv6 address, or an IPv4 address in its IPv4-mapped form
// (RFC 4291 section 2.5.5.2), as two words in network order. It compares with ==.
type Addr struct{ Hi, Lo uint64 }

// Endpoint is a transport address.
type Endpoint struct {
	Addr Addr
	Port uint16
}

// Packet is the transport payload of one datagram, mostly of one frame. Payload
// is borrowed from the batch. A frame that yields no packet is counted by its
// reason in the decoder.
type Packet struct {
	Time    int64    // as in Frame
	Clock   int64    // as in Frame
	Seq     uint64   // as in Frame
	Src     Endpoint // network and transport source
	Dst     Endpoint // network and transport destination
	Payload []byte   // what follows the transport header
	Len     uint32   // length of the payload on the wire in bytes
	SeqNo   uint32   // TCP sequence number of the segment
	AckNo   uint32   // TCP acknowledgment number, if TCPAck
	Kept    uint32   // Kept.At of its frame, of a joined datagram that of the last one; see Batch.Kept
	Loop    uint16   // as in Frame
	ID      uint16   // identification of the IPv4 header; 0 for IPv6
	VLAN    uint16   // outermost VLAN id, if FlagVLAN
	Iface   uint16   // as in Frame
	Tunnel  uint16   // 0: not in a tunnel; else its place in Batch.Tunnels, from 1
	Proto   uint8    // ProtoUDP, ProtoTCP or ProtoSCTP
	TTL     uint8    // time to live, or hop limit
	DSCP    uint8    // differentiated services code point
	Flags   uint8    // Flag bits
	Control uint8    // TCP control bits
}

// Fragment is one IP fragment, at whatever depth of tunnels. Data is borrowed
// from the batch. Fragments are put together by whoever takes all those with
// one Outer hash, in the order of their clocks (Decoder.Join).
type Fragment struct {
	Time   int64  // as in Frame
	Clock  int64  // as in Frame
	Seq    uint64 // as in Frame
	Outer  uint64 // hash of the outermost IP addresses, the same for both directions; its upper bits are good
	Src    Addr   // of the IP header that says it is a fragment
	Dst    Addr
	Data   []byte // captured part of the fragment's payload
	ID     uint32 // identification
	Offset uint32 // of the payload in the datagram's payload, bytes
	Len    uint32 // length of the payload on the wire, bytes
	Kept   uint32 // Kept.At of its frame
	Loop   uint16 // as in Frame
	VLAN   uint16 // outermost VLAN id, if FlagVLAN
	Iface  uint16 // as in Frame
	Tunnel uint16 // as in Packet
	Proto  uint8  // protocol, or next header, of the datagram's payload
	TTL    uint8
	DSCP   uint8
	Flags  uint8 // FlagCut, FlagVLAN
	Depth  uint8 // IP headers around this one
	More   bool  // more fragments follow
	IPv6   bool
}

// Metered says that a meter in the kernel has counted packets of a stream. What it
// counted is read by its slot, through whoever owns the meter's table.
type Metered struct {
	Time  int64 // arrival of the last packet, ns since the Unix epoch
	Clock int64 // as in Frame
	First int64 // arrival of the first packet, ns since the Unix epoch
	Src   Endpoint
	Dst   Endpoint
	SSRC  uint32
	Slot  uint32 // place in the meter's table; it names this stream until it is released
	Iface uint16
	VLAN  int16    // outermost VLAN id of the first packet, -1: untagged
	TTL   [2]uint8 // least and greatest
	DSCP  uint8    // of the first packet
	Type  uint8    // payload type of the last media packet
}

// Kept names a frame of which whoever reads has kept a copy, in case it is to be
// stored. What At means is that reader's business; 0 is none.
type Kept struct {
	Clock int64 // of the frame
	At    uint32
}

// Tunnel is the innermost tunnel that a packet came through: what carried it,
// between whom.
type Tunnel struct {
	Kind     TunnelKind
	Src, Dst Addr   // of the IP header around it; zero where none is (MPLS, PPPoE)
	ID       uint32 // VNI, TEID, GRE key, session, label or SPI; 0 where there is none
}

// TunnelKind is a kind of encapsulation.
type TunnelKind uint8

// Kinds of encapsulation.
const (
	NoTunnel TunnelKind = iota
	MPLS
	PseudoWire
	PPPoE
	VNTag
	FabricPath
	GRE
	ERSPAN1
	ERSPAN2
	ERSPAN3
	VXLAN
	Geneve
	IPinIP
	GTPU
	L2TP
	TZSP
	HPERM
	ESPNull
	PBB
	TRILL
	EtherIP
)

var tunnelNames = [...]string{
	"", "mpls", "pseudo-wire", "pppoe", "vn-tag", "fabricpath", "gre", "erspan-1", "erspan-2", "erspan-3",
	"vxlan", "geneve", "ip-in-ip", "gtp-u", "l2tp", "tzsp", "hp-erm", "esp-null", "pbb", "trill", "ether-ip",
}

// String is the name of the kind in records and reports; empty for none.
func (k TunnelKind) String() string { return tunnelNames[min(int(k), len(tunnelNames)-1)] }

// Batch is a run of frames of one source in order, and what they decode to.
type Batch struct {
	Frames []Frame // filled by the source

	// Filled by the decoder. The slices are reused with the batch.
	Packets   []Packet
	Fragments []Fragment
	Tunnels   []Tunnel // that Packets and Fragments came through, each run of equal ones once
	Kept      []Kept   // the frames of joined datagrams, as far as copies are kept

	Metered []Metered // streams that a meter in the kernel has counted since it was last asked; filled by the source

	// Patient says that the source has room for many more frames, so that the batch
	// may be given back late: when the packets of its time have been metered, tens of
	// milliseconds behind. Set by the source.
	Patient bool

	// Free takes the batch back; set by the source. Called once, by Release.
	Free func(*Batch)
}

// Release gives the memory of the batch back to its source. Frames, Packets
// and all bytes they point to are not to be touched afterwards.
func (b *Batch) Release() {
	if b.Free != nil {
		b.Free(b)
	}
}

// Source is what workers read their frames from. One that is shared by several
// workers, as a capture file is, may be used by all of them at the same time.
type Source interface {
	// Next returns the next batch. It returns nil and no error when there is
	// none at the moment (another worker is reading, or the link is quiet; a
	// live source may wait a few milliseconds first), and io.EOF after the
	// last.
	Next() (*Batch, error)

	// Mark promises that no call of Next that is made later returns a frame
	// whose Clock is less than it; one that is on its way for another worker
	// may. It never falls. Once Next has returned io.EOF it stays the
	// same, beyond the clock of every frame, for all workers.
	Mark() int64
}

// Decoder turns frames into packets. It belongs to one worker.
type Decoder interface {
	// Decode fills Packets, Fragments and Tunnels from Frames.
	Decode(*Batch)

	// Join takes a fragment with its tunnel (zero for none), in the order of
	// the clocks, and appends the packets that it completes to into, with
	// their Tunnels; usually there is none or one. Their clock is that of f. Their bytes are valid until
	// the next call of Join.
	Join(f *Fragment, t *Tunnel, into *Batch)
}
