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
	Lost  uint32   // frames that the capture says it lost right before this one
}

// Flags of a Packet.
const (
	FlagCut      uint8 = 1 << iota // Payload is shorter than the headers say: cut by the snap length
	FlagFragment                   // the datagram was cut into IP fragments
	FlagVLAN                       // VLAN holds a tag
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

// Packet is the transport payload of one frame. Payload is borrowed from the
// batch. A frame that yields no packet is counted by its reason in the decoder.
type Packet struct {
	Time    int64    // as in Frame
	Clock   int64    // as in Frame
	Seq     uint64   // as in Frame
	Src     Endpoint // network and transport source
	Dst     Endpoint // network and transport destination
	Payload []byte   // what follows the transport header
	Len     uint32   // length of the payload on the wire in bytes
	VLAN    uint16   // outermost VLAN id, if FlagVLAN
	Iface   uint16   // as in Frame
	Proto   uint8    // ProtoUDP, ProtoTCP or ProtoSCTP
	TTL     uint8    // time to live, or hop limit
	DSCP    uint8    // differentiated services code point
	Flags   uint8    // Flag bits
}

// Batch is a run of frames of one source in order, and what they decode to.
type Batch struct {
	Frames  []Frame  // filled by the source
	Packets []Packet // filled by the decoder; the slice is reused with the batch

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
