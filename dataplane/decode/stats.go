package decode

import (
	"fmt"
	"math/bits"

	"ringside/dataplane/defrag"
	"ringside/dataplane/frame"
)

// Reason says why a frame, or a datagram that was put together, yielded no packet.
type Reason uint8

// Reasons, from the link up. Truncated ones miss captured bytes; bad ones
// contradict themselves.
const (
	none Reason = iota // there is a packet, or what one is made of

	TruncatedLink      // the capture ends within the link-layer header, tags and LLC included
	UnknownLink        // link type not read; Stats.LinkTypes
	TooManyTags        // more than four VLAN tags
	UnknownEtherType   // Stats.EtherTypes
	UnknownFamily      // address family of a loopback or cooked header; Stats.Families
	ARP                // ARP and RARP
	LLC                // 802.3 with LLC that is not IP: CDP, IS-IS, NetBEUI, …
	STP                // spanning tree
	LLDP               // 802.1AB
	SlowProtocol       // LACP and Ethernet OAM
	EAPOL              // 802.1X
	PTP                // IEEE 1588 over Ethernet
	MACsec             // 802.1AE, encrypted or not
	TunnelMPLS         // labels before neither IP nor Ethernet, such as OAM
	TunnelPPPoE        // discovery
	TunnelFabric       // TRILL or NSH of another version, or NSH before something unknown
	TruncatedTunnel    // the capture, or the tunnel around, ends within the header of a tunnel
	TooManyLayers      // more than eight tunnels in one another
	PPPControl         // LCP, IPCP, CHAP, …
	UnknownPPP         // Stats.PPP
	BadIPVersion       // raw IP that is neither 4 nor 6
	TruncatedIP        // the capture ends within the IP header or its extensions
	IPv4BadHeader      // version, header length or total length
	IPv6BadHeader      // version
	BadExtension       // extension header longer than the packet
	TooManyExtensions  // more than eight extension headers
	NoNextHeader       // IPv6 without payload
	ICMP               // of both versions
	IGMP               // multicast groups
	TunnelGRE          // GRE or ERSPAN of another version, PPTP without payload
	TunnelESP          // IPsec, encrypted
	TunnelL2           // L2TPv3 control or unknown payload, Ethernet in IP of another version
	OtherProtocol      // Stats.Protocols
	TruncatedTransport // the capture ends within the transport header
	ShortTransport     // the IP payload ends within the transport header
	UDPBadLength       // length field of 1 to 7
	TCPBadHeader       // data offset

	numReasons

	// What the walk may find instead, inside of this package.
	fragment = numReasons     // an IP fragment
	closed   = numReasons + 1 // no tunnel, but UDP
	packet   = numReasons + 2 // a packet, which is filled already
)

var reasonNames = [numReasons]string{
	"none",
	"truncated-link", "unknown-linktype", "too-many-vlan-tags", "unknown-ethertype", "unknown-address-family",
	"arp", "llc", "stp", "lldp", "slow-protocol", "eapol", "ptp", "macsec",
	"tunnel-mpls", "tunnel-pppoe", "tunnel-fabric", "truncated-tunnel", "too-many-layers", "ppp-control", "unknown-ppp",
	"bad-ip-version", "truncated-ip", "ipv4-bad-header", "ipv6-bad-header",
	"bad-extension-header", "too-many-extension-headers", "ipv6-no-next-header",
	"icmp", "igmp", "tunnel-gre", "tunnel-esp", "tunnel-l2", "other-ip-protocol",
	"truncated-transport", "short-transport", "udp-bad-length", "tcp-bad-header",
}

// String is the name of the reason in reports and metrics.
func (r Reason) String() string {
	if r < numReasons {
		return reasonNames[r]
	}
	return fmt.Sprintf("reason %d", uint8(r))
}

// Note is something worth knowing about a frame, whether it yielded a packet or not.
type Note uint8

// Notes.
const (
	NoteCut         Note = iota // captured shorter than on the wire (snap length)
	NoteOversize                // longer than 1,518 bytes and its tags: jumbo, or merged by offload (GRO, TSO)
	NoteVLAN                    // tagged
	NoteNoIPLength              // IP length 0: the payload was taken to the end of the frame
	NoteSliced                  // IP length beyond the end of the frame on the wire
	NoteNoUDPLength             // UDP length 0: the payload was taken to the end of the IP payload
	NoteUDPBeyondIP             // UDP length beyond the IP payload

	numNotes
)

var noteNames = [numNotes]string{
	"cut", "oversize", "vlan", "ip-length-zero", "sliced",
	"udp-length-zero", "udp-beyond-ip",
}

// String is the name of the note in reports and metrics.
func (n Note) String() string {
	if n < numNotes {
		return noteNames[n]
	}
	return fmt.Sprintf("note %d", uint8(n))
}

// Stats are the counters of a Decoder. What Decode reads and what Join reads
// have a ledger each:
//
//	Frames              = Packets + Fragments + Σ Reasons
//	Joined.Fragments    = Joined.Used + Joined.Duplicates + Σ Joined.Refused
//	                    + Joined.TimedOut + Joined.Stale + Joined.Evicted + Joined.Waiting
//	Joined.Datagrams    = JoinedPackets + JoinedFragments + Σ JoinedReasons
//
// A fragment may belong to a datagram that is a fragment itself, so that what
// was given to Join is Joined.Fragments less JoinedFragments.
type Stats struct {
	Frames    uint64
	Packets   uint64
	Fragments uint64
	Reasons   [numReasons]uint64 // frames that yielded neither, by Reason; the first is always 0

	Joined          defrag.Stats       // what became of fragments
	JoinedPackets   uint64             // packets of datagrams put together
	JoinedFragments uint64             // datagrams put together that held a fragment in a tunnel
	JoinedReasons   [numReasons]uint64 // datagrams put together that yielded neither, by Reason

	Notes   [numNotes]uint64 // frames and joined datagrams by Note, beside the ledgers
	Tunnels [numKinds]uint64 // frames and joined datagrams by the innermost tunnel that was opened in them

	// What was not understood, by number.
	LinkTypes  Table // of UnknownLink
	EtherTypes Table // of UnknownEtherType
	Families   Table // of UnknownFamily
	Protocols  Table // of OtherProtocol
	PPP        Table // of UnknownPPP
}

// numKinds is the number of kinds of tunnels.
const numKinds = frame.EtherIP + 1

// Add adds the counters of another Decoder.
func (s *Stats) Add(o *Stats) {
	s.Frames += o.Frames
	s.Packets += o.Packets
	s.Fragments += o.Fragments
	s.Joined.Add(&o.Joined)
	s.JoinedPackets += o.JoinedPackets
	s.JoinedFragments += o.JoinedFragments
	for i := range numReasons {
		s.Reasons[i] += o.Reasons[i]
		s.JoinedReasons[i] += o.JoinedReasons[i]
	}
	for i, n := range o.Notes {
		s.Notes[i] += n
	}
	for i, n := range o.Tunnels {
		s.Tunnels[i] += n
	}
	s.LinkTypes.merge(&o.LinkTypes)
	s.EtherTypes.merge(&o.EtherTypes)
	s.Families.merge(&o.Families)
	s.Protocols.merge(&o.Protocols)
	s.PPP.merge(&o.PPP)
}

// Count is one line of a ledger.
type Count struct {
	Name  string
	Count uint64
}

// Fates list what became of the fragments that were joined. They add up to
// Joined.Fragments.
func (s *Stats) Fates() []Count {
	j := &s.Joined
	fates := []Count{{"used", j.Used}, {"duplicate", j.Duplicates}}
	for i, n := range j.Refused {
		if i > 0 {
			fates = append(fates, Count{"refused-" + defrag.Reason(i).String(), n})
		}
	}
	return append(fates, Count{"timed-out", j.TimedOut}, Count{"stale", j.Stale},
		Count{"evicted", j.Evicted}, Count{"waiting", j.Waiting})
}

// Datagrams list what became of the datagrams that were put together. They add
// up to Joined.Datagrams.
func (s *Stats) Datagrams() []Count {
	counts := []Count{{"packet", s.JoinedPackets}, {"fragment", s.JoinedFragments}}
	for i, n := range s.JoinedReasons {
		if i > 0 {
			counts = append(counts, Count{Reason(i).String(), n})
		}
	}
	return counts
}

// Opened lists the tunnels that were opened, by kind: frames and joined
// datagrams by their innermost one.
func (s *Stats) Opened() []Count {
	var counts []Count
	for kind, n := range s.Tunnels {
		if n > 0 {
			counts = append(counts, Count{frame.TunnelKind(kind).String(), n})
		}
	}
	return counts
}

// Balanced reports whether all three sums hold.
func (s *Stats) Balanced() bool {
	left := uint64(0)
	for _, n := range s.Reasons {
		left += n
	}
	return s.Frames == s.Packets+s.Fragments+left &&
		s.Joined.Fragments == total(s.Fates()) && s.Joined.Datagrams == total(s.Datagrams())
}

func total(counts []Count) (sum uint64) {
	for _, c := range counts {
		sum += c.Count
	}
	return sum
}

// leave counts by number what yields no packet.
func (s *Stats) leave(r Reason, link frame.LinkType, h *headers) {
	switch r {
	case UnknownLink:
		s.LinkTypes.add(uint16(link), 1)
	case UnknownEtherType:
		s.EtherTypes.add(h.number, 1)
	case UnknownFamily:
		s.Families.add(h.number, 1)
	case OtherProtocol:
		s.Protocols.add(h.number, 1)
	case UnknownPPP:
		s.PPP.add(h.number, 1)
	}
}

// note counts a frame under each of its notes.
func (s *Stats) note(notes uint16) {
	for ; notes != 0; notes &= notes - 1 {
		s.Notes[bits.TrailingZeros16(notes)]++
	}
}

// Table counts by number, for the first few numbers that come.
type Table struct {
	Rows [16]Row // in order of appearance; unused ones have Count 0
	More uint64  // frames whose number found no row
}

// Row is one number of a Table.
type Row struct {
	Number uint16
	Count  uint64
}

func (t *Table) add(number uint16, count uint64) {
	for i := range t.Rows {
		row := &t.Rows[i]
		if row.Count == 0 {
			row.Number = number
		}
		if row.Number == number {
			row.Count += count
			return
		}
	}
	t.More += count
}

func (t *Table) merge(o *Table) {
	for _, row := range o.Rows {
		if row.Count == 0 {
			break
		}
		t.add(row.Number, row.Count)
	}
	t.More += o.More
}
