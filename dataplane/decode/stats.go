package decode

import (
	"fmt"
	"math/bits"

	"ringside/dataplane/frame"
)

// Reason says why a frame yielded no packet.
type Reason uint8

// Reasons, from the link up. Truncated ones miss captured bytes; bad ones
// contradict themselves.
const (
	none Reason = iota // there is a packet

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
	TunnelMPLS         // label stack, or MPLS in IP
	TunnelPPPoE        // discovery and session
	TunnelVNTag        // 802.1BR and VN-Tag
	TunnelFabric       // FabricPath, TRILL, 802.1ah
	BadIPVersion       // raw IP that is neither 4 nor 6
	TruncatedIP        // the capture ends within the IP header or its extensions
	IPv4BadHeader      // version, header length or total length
	IPv6BadHeader      // version
	BadExtension       // extension header longer than the packet
	TooManyExtensions  // more than eight extension headers
	FragmentLater      // fragment without the transport header
	NoNextHeader       // IPv6 without payload
	ICMP               // of both versions
	IGMP               // multicast groups
	TunnelGRE          // GRE, and with it NVGRE and ERSPAN
	TunnelIP           // IPv4 or IPv6 in IP
	TunnelESP          // IPsec
	TunnelL2           // L2TPv3 and Ethernet in IP
	OtherProtocol      // Stats.Protocols
	TruncatedTransport // the capture ends within the transport header
	ShortTransport     // the IP payload ends within the transport header
	UDPBadLength       // length field of 1 to 7
	TCPBadHeader       // data offset

	numReasons
)

var reasonNames = [numReasons]string{
	"none",
	"truncated-link", "unknown-linktype", "too-many-vlan-tags", "unknown-ethertype", "unknown-address-family",
	"arp", "llc", "stp", "lldp", "slow-protocol", "eapol", "ptp", "macsec",
	"tunnel-mpls", "tunnel-pppoe", "tunnel-vntag", "tunnel-fabric",
	"bad-ip-version", "truncated-ip", "ipv4-bad-header", "ipv6-bad-header",
	"bad-extension-header", "too-many-extension-headers", "fragment-later", "ipv6-no-next-header",
	"icmp", "igmp", "tunnel-gre", "tunnel-ip", "tunnel-esp", "tunnel-l2", "other-ip-protocol",
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
	NoteFragment                // first fragment that yielded a packet
	NoteNoIPLength              // IP length 0: the payload was taken to the end of the frame
	NoteSliced                  // IP length beyond the end of the frame on the wire
	NoteNoUDPLength             // UDP length 0: the payload was taken to the end of the IP payload
	NoteUDPBeyondIP             // UDP length beyond the IP payload, unfragmented

	numNotes
)

var noteNames = [numNotes]string{
	"cut", "oversize", "vlan", "first-fragment", "ip-length-zero", "sliced",
	"udp-length-zero", "udp-beyond-ip",
}

// String is the name of the note in reports and metrics.
func (n Note) String() string {
	if n < numNotes {
		return noteNames[n]
	}
	return fmt.Sprintf("note %d", uint8(n))
}

// Stats are the counters of a Decoder. Frames = Packets + Σ Reasons.
type Stats struct {
	Frames  uint64
	Packets uint64
	Reasons [numReasons]uint64 // frames without a packet, by Reason; the first is always 0
	Notes   [numNotes]uint64   // frames by Note, beside the ledger

	// What was not understood, by number.
	LinkTypes  Table // of UnknownLink
	EtherTypes Table // of UnknownEtherType
	Families   Table // of UnknownFamily
	Protocols  Table // of OtherProtocol
}

// Add adds the counters of another Decoder.
func (s *Stats) Add(o *Stats) {
	s.Frames += o.Frames
	s.Packets += o.Packets
	for i, n := range o.Reasons {
		s.Reasons[i] += n
	}
	for i, n := range o.Notes {
		s.Notes[i] += n
	}
	s.LinkTypes.merge(&o.LinkTypes)
	s.EtherTypes.merge(&o.EtherTypes)
	s.Families.merge(&o.Families)
	s.Protocols.merge(&o.Protocols)
}

// leave counts a frame that yields no packet.
func (s *Stats) leave(r Reason, f *frame.Frame, h *headers) {
	s.Reasons[r]++
	switch r {
	case UnknownLink:
		s.LinkTypes.add(uint16(f.Link), 1)
	case UnknownEtherType:
		s.EtherTypes.add(h.number, 1)
	case UnknownFamily:
		s.Families.add(h.number, 1)
	case OtherProtocol:
		s.Protocols.add(h.number, 1)
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
