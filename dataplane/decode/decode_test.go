package decode

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"

	"ringside/dataplane/frame"
)

var (
	voice = []byte("twenty milliseconds of speech")
	rtp   = udp(10000, 20000, voice)
)

// path is a frame and what it decodes to: a packet, or a reason.
type path struct {
	name   string
	link   frame.LinkType
	data   []byte
	reason Reason       // none: want holds
	want   frame.Packet // what usual does not say already
	notes  []Note
}

const ether = frame.LinkEthernet

// packetPaths all yield the packet that usual describes, but for what want sets.
var packetPaths = []path{
	{name: "ethernet", link: ether, data: eth(etherIPv4, ip4(17, rtp))},
	{name: "ethernet ipv6", link: ether, data: eth(etherIPv6, ip6(17, rtp)), want: v6},
	{name: "padding", link: ether, data: append(eth(etherIPv4, ip4(17, udp(10000, 20000, []byte("x")))), make([]byte, 17)...),
		want: frame.Packet{Payload: []byte("x"), Len: 1}},
	{name: "padding behind ipv6", link: ether, data: append(eth(etherIPv6, ip6(17, rtp)), 1, 2, 3), want: v6},
	{name: "empty udp", link: ether, data: append(eth(etherIPv4, ip4(17, udp(10000, 20000, nil))), make([]byte, 18)...),
		want: frame.Packet{Payload: []byte{}}},
	{name: "vlan", link: ether, data: eth(etherVLAN, tag(0xa123, etherIPv4, ip4(17, rtp))),
		want: frame.Packet{VLAN: 0x123, Flags: frame.FlagVLAN}, notes: []Note{NoteVLAN}},
	{name: "priority tag", link: ether, data: eth(etherVLAN, tag(0xa000, etherIPv4, ip4(17, rtp))),
		want: frame.Packet{Flags: frame.FlagVLAN}, notes: []Note{NoteVLAN}},
	{name: "qinq", link: ether, data: eth(etherQinQ, tag(7, etherVLAN, tag(8, etherIPv4, ip4(17, rtp)))),
		want: frame.Packet{VLAN: 7, Flags: frame.FlagVLAN}, notes: []Note{NoteVLAN}},
	{name: "four tags", link: ether,
		data: eth(etherQinQ1, tag(1, etherQinQ2, tag(2, etherQinQ3, tag(3, etherVLAN, tag(4, etherIPv6, ip6(17, rtp)))))),
		want: frame.Packet{VLAN: 1, Flags: frame.FlagVLAN, Src: v6.Src, Dst: v6.Dst}, notes: []Note{NoteVLAN}},
	{name: "snap", link: ether, data: dot3(snap(0, etherIPv4, ip4(17, rtp)))},
	{name: "snap 802.1h", link: ether, data: dot3(snap(0xf8, etherIPv6, ip6(17, rtp))), want: v6},
	{name: "snap with tag inside", link: ether, data: dot3(snap(0, etherVLAN, tag(9, etherIPv4, ip4(17, rtp)))),
		want: frame.Packet{VLAN: 9, Flags: frame.FlagVLAN}, notes: []Note{NoteVLAN}},
	{name: "llc in vlan", link: ether, data: eth(etherVLAN, tag(9, 100, snap(0, etherIPv4, ip4(17, rtp)))),
		want: frame.Packet{VLAN: 9, Flags: frame.FlagVLAN}, notes: []Note{NoteVLAN}},
	{name: "llc ipv4", link: ether, data: dot3(slices.Concat([]byte{6, 6, 3}, ip4(17, rtp)))},
	{name: "sll", link: frame.LinkSLL, data: sll(1, etherIPv4, ip4(17, rtp))},
	{name: "sll vlan", link: frame.LinkSLL, data: sll(1, etherVLAN, tag(5, etherIPv6, ip6(17, rtp))),
		want: frame.Packet{VLAN: 5, Flags: frame.FlagVLAN, Src: v6.Src, Dst: v6.Dst}, notes: []Note{NoteVLAN}},
	{name: "sll llc", link: frame.LinkSLL, data: sll(1, 4, snap(0, etherIPv4, ip4(17, rtp)))},
	{name: "sll2", link: frame.LinkSLL2, data: sll2(1, etherIPv4, ip4(17, rtp))},
	{name: "sll2 ipv6", link: frame.LinkSLL2, data: sll2(772, etherIPv6, ip6(17, rtp)), want: v6},
	{name: "raw", link: frame.LinkRaw, data: ip4(17, rtp)},
	{name: "raw ipv6", link: frame.LinkRaw, data: ip6(17, rtp), want: v6},
	{name: "raw 12", link: linkRawBSD, data: ip4(17, rtp)},
	{name: "raw 14", link: linkRawOpenBSD, data: ip6(17, rtp), want: v6},
	{name: "ipv4 link", link: frame.LinkIPv4, data: ip4(17, rtp)},
	{name: "ipv6 link", link: frame.LinkIPv6, data: ip6(17, rtp), want: v6},
	{name: "null little endian", link: frame.LinkNull, data: null(binary.LittleEndian, 2, ip4(17, rtp))},
	{name: "null big endian", link: frame.LinkNull, data: null(binary.BigEndian, 2, ip4(17, rtp))},
	{name: "null ipv6 linux", link: frame.LinkNull, data: null(binary.LittleEndian, 10, ip6(17, rtp)), want: v6},
	{name: "null ipv6 netbsd", link: frame.LinkNull, data: null(binary.BigEndian, 24, ip6(17, rtp)), want: v6},
	{name: "null ipv6 freebsd", link: frame.LinkNull, data: null(binary.LittleEndian, 28, ip6(17, rtp)), want: v6},
	{name: "null ipv6 darwin", link: frame.LinkNull, data: null(binary.LittleEndian, 30, ip6(17, rtp)), want: v6},
	{name: "loop", link: frame.LinkLoop, data: null(binary.BigEndian, 24, ip6(17, rtp)), want: v6},
	{name: "ipv4 options", link: ether, data: eth(etherIPv4, ip4Options(17, make([]byte, 40), rtp))},
	{name: "ipv4 authentication", link: ether, data: eth(etherIPv4, ip4(protoAH, authentication(17, rtp)))},
	{name: "ipv4 length zero", link: ether, data: eth(etherIPv4, with(ip4(17, rtp), set16(2, 0))), notes: []Note{NoteNoIPLength}},
	{name: "ipv6 length zero", link: ether, data: eth(etherIPv6, with(ip6(17, rtp), set16(4, 0))), want: v6, notes: []Note{NoteNoIPLength}},
	{name: "ipv4 do not fragment", link: ether, data: eth(etherIPv4, with(ip4(17, rtp), set16(6, 0x4000)))},
	{name: "ipv6 all extensions", link: ether, want: v6,
		data: eth(etherIPv6, ip6(0, extension(43, 1, extension(60, 3, extension(51, 1, authentication(44, fragment6(60, 0, false, extension(17, 2, rtp))))))))},
	{name: "ipv6 eight extensions", link: ether, data: eth(etherIPv6, ip6(60, options(8, 17, rtp))), want: v6},
	{name: "tcp", link: ether, data: eth(etherIPv4, ip4(6, tcp(10000, 20000, nil, voice))), want: frame.Packet{Proto: 6}},
	{name: "tcp options", link: ether, data: eth(etherIPv4, ip4(6, tcp(10000, 20000, make([]byte, 40), voice))), want: frame.Packet{Proto: 6}},
	{name: "tcp without payload", link: ether, data: append(eth(etherIPv4, ip4(6, tcp(10000, 20000, nil, nil))), make([]byte, 6)...),
		want: frame.Packet{Proto: 6, Payload: []byte{}}},
	{name: "tcp ipv6", link: ether, data: eth(etherIPv6, ip6(6, tcp(10000, 20000, nil, voice))),
		want: frame.Packet{Proto: 6, Src: v6.Src, Dst: v6.Dst}},
	{name: "sctp", link: ether, data: eth(etherIPv4, ip4(132, sctp(10000, 20000, voice))), want: frame.Packet{Proto: 132}},
	{name: "sctp ipv6", link: ether, data: eth(etherIPv6, ip6(132, sctp(10000, 20000, voice))),
		want: frame.Packet{Proto: 132, Src: v6.Src, Dst: v6.Dst}},
	{name: "udp length zero", link: ether, data: eth(etherIPv4, ip4(17, with(slices.Clone(rtp), set16(4, 0)))), notes: []Note{NoteNoUDPLength}},
	{name: "udp shorter than ip", link: ether, data: eth(etherIPv4, ip4(17, with(slices.Clone(rtp), set16(4, 8+5)))),
		want: frame.Packet{Payload: voice[:5], Len: 5}},
	{name: "udp beyond ip", link: ether, data: append(eth(etherIPv4, ip4(17, with(slices.Clone(rtp), set16(4, 8+100)))), 1, 2, 3),
		want:  frame.Packet{Len: 100, Flags: frame.FlagCut},
		notes: []Note{NoteUDPBeyondIP}},
	{name: "sliced on the way", link: ether, data: eth(etherIPv4, with(ip4(17, with(slices.Clone(rtp), set16(4, 8+100))), set16(2, 128))),
		want:  frame.Packet{Len: 100, Flags: frame.FlagCut},
		notes: []Note{NoteSliced}},
	{name: "jumbo", link: ether, data: eth(etherIPv4, ip4(17, udp(10000, 20000, jumbo))),
		want: frame.Packet{Payload: jumbo, Len: 9000}, notes: []Note{NoteOversize}},
	{name: "longest of tagged frames", link: ether, data: eth(etherVLAN, tag(1, etherIPv4, ip4(6, tcp(10000, 20000, nil, jumbo[:1464])))),
		want: frame.Packet{Proto: 6, Payload: jumbo[:1464], Len: 1464, VLAN: 1, Flags: frame.FlagVLAN}, notes: []Note{NoteVLAN}},
	{name: "merged by offload", link: ether, data: eth(etherIPv4, with(ip4(6, tcp(10000, 20000, nil, make([]byte, 70000))), set16(2, 0))),
		want: frame.Packet{Proto: 6, Payload: make([]byte, 70000), Len: 70000}, notes: []Note{NoteOversize, NoteNoIPLength}},
}

// reasonPaths yield no packet.
var reasonPaths = []path{
	{name: "empty frame", link: ether, reason: TruncatedLink},
	{name: "unknown link", link: 127, data: rtp, reason: UnknownLink},
	{name: "five tags", link: ether, reason: TooManyTags, notes: []Note{NoteVLAN},
		data: eth(etherVLAN, tag(1, etherVLAN, tag(2, etherVLAN, tag(3, etherVLAN, tag(4, etherVLAN, tag(5, etherIPv4, ip4(17, rtp)))))))},
	{name: "unknown ethertype", link: ether, data: eth(0x9000, voice), reason: UnknownEtherType},
	{name: "neither length nor ethertype", link: ether, data: eth(1501, voice), reason: UnknownEtherType},
	{name: "arp", link: ether, data: eth(0x0806, voice), reason: ARP},
	{name: "rarp", link: ether, data: eth(0x8035, voice), reason: ARP},
	{name: "lldp", link: ether, data: eth(0x88cc, voice), reason: LLDP},
	{name: "lacp", link: ether, data: eth(0x8809, voice), reason: SlowProtocol},
	{name: "eapol", link: ether, data: eth(0x888e, voice), reason: EAPOL},
	{name: "ptp", link: ether, data: eth(0x88f7, voice), reason: PTP},
	{name: "macsec", link: ether, data: eth(0x88e5, voice), reason: MACsec},
	{name: "pppoe discovery in vlan", link: ether, data: eth(etherVLAN, tag(1, 0x8863, voice)), reason: TunnelPPPoE, notes: []Note{NoteVLAN}},
	{name: "mpls oam", link: ether, data: eth(etherMPLS, slices.Concat([]byte{0, 0, 0xd1, 1, 0x10, 0, 0, 7}, voice)), reason: TunnelMPLS},
	{name: "mpls without bottom", link: ether, data: eth(etherMPLS, make([]byte, 100)), reason: TunnelMPLS},
	{name: "mpls to the end", link: ether, data: eth(etherMPLS, make([]byte, 12)), reason: TruncatedTunnel},
	{name: "trill version 3", link: ether, data: eth(etherTRILL, slices.Concat([]byte{0xc0}, voice)), reason: TunnelFabric},
	{name: "nsh version 1", link: ether, data: eth(etherNSH, slices.Concat([]byte{0x40}, voice)), reason: TunnelFabric},
	{name: "nsh with something", link: ether, data: eth(etherNSH, slices.Concat([]byte{0, 2, 1, 9, 0, 0, 0, 0}, voice)), reason: TunnelFabric},
	{name: "nsh in nsh", link: ether, data: eth(etherNSH, bytes.Repeat([]byte{0, 2, 1, 4, 0, 0, 0, 0}, 9)), reason: TooManyLayers},
	{name: "pppoe padded", link: ether, data: eth(etherPPPoE, slices.Concat([]byte{0x11, 0, 0, 1, 0, 4, 0, 0x21, 0x45, 0}, make([]byte, 40))), reason: TruncatedIP},
	{name: "lcp", link: ether, data: eth(etherPPPoE, slices.Concat([]byte{0x11, 0, 0, 1, 0, 10, 0xc0, 0x21}, voice[:8])), reason: PPPControl},
	{name: "multilink ppp", link: ether, data: eth(etherPPPoE, slices.Concat([]byte{0x11, 0, 0, 1, 0, 10, 0, 0x3d}, voice[:8])), reason: UnknownPPP},
	{name: "arp in a vn-tag", link: ether, data: eth(etherVNTag, slices.Concat([]byte{0, 1, 0, 2, 8, 6}, voice)), reason: ARP},
	{name: "stp", link: ether, data: dot3(slices.Concat([]byte{0x42, 0x42, 3}, voice)), reason: STP},
	{name: "netbeui", link: ether, data: dot3(slices.Concat([]byte{0xf0, 0xf0, 3}, voice)), reason: LLC},
	{name: "cdp", link: ether, data: dot3(snap(0x00000c, 0x2000, voice)), reason: LLC},
	{name: "snap with a length", link: ether, data: dot3(snap(0, 100, voice)), reason: LLC},
	{name: "snap arp", link: ether, data: dot3(snap(0, 0x0806, voice)), reason: ARP},
	{name: "sll novell", link: frame.LinkSLL, data: sll(1, 1, voice), reason: UnknownFamily},
	{name: "sll netlink", link: frame.LinkSLL, data: sll(824, etherIPv4, ip4(17, rtp)), reason: UnknownFamily},
	{name: "sll2 arp", link: frame.LinkSLL2, data: sll2(1, 0x0806, voice), reason: ARP},
	{name: "null appletalk", link: frame.LinkNull, data: null(binary.LittleEndian, 16, voice), reason: UnknownFamily},
	{name: "raw version 5", link: frame.LinkRaw, data: []byte{0x50, 0, 0, 0}, reason: BadIPVersion},
	{name: "raw empty", link: frame.LinkRaw, reason: TruncatedIP},
	{name: "ipv4 version", link: ether, data: eth(etherIPv4, with(ip4(17, rtp), func(b []byte) { b[0] = 0x65 })), reason: IPv4BadHeader},
	{name: "ipv4 header length", link: ether, data: eth(etherIPv4, with(ip4(17, rtp), func(b []byte) { b[0] = 0x44 })), reason: IPv4BadHeader},
	{name: "ipv4 total length", link: ether, data: eth(etherIPv4, with(ip4(17, rtp), set16(2, 19))), reason: IPv4BadHeader},
	{name: "ipv4 short frame", link: ether, data: eth(etherIPv4, ip4(17, nil)[:19]), reason: TruncatedIP},
	{name: "ipv6 version", link: ether, data: eth(etherIPv6, ip4(17, jumbo[:40])), reason: IPv6BadHeader},
	{name: "ipv6 nine extensions", link: ether, data: eth(etherIPv6, ip6(60, options(9, 17, rtp))), reason: TooManyExtensions},
	{name: "ipv6 extension beyond payload", link: ether, reason: BadExtension,
		data: append(eth(etherIPv6, ip6(60, with(extension(17, 1, voice[:8]), func(b []byte) { b[1] = 2 }))), make([]byte, 40)...)},
	{name: "ipv6 room for no extension", link: ether, data: append(eth(etherIPv6, ip6(60, voice[:7])), make([]byte, 40)...), reason: BadExtension},
	{name: "ipv6 no next header", link: ether, data: eth(etherIPv6, ip6(59, nil)), reason: NoNextHeader},
	{name: "icmp", link: ether, data: eth(etherIPv4, ip4(1, voice)), reason: ICMP},
	{name: "icmpv6", link: ether, data: eth(etherIPv6, ip6(58, voice)), reason: ICMP},
	{name: "igmp", link: ether, data: eth(etherIPv4, ip4Options(2, make([]byte, 4), voice)), reason: IGMP},
	{name: "gre of another version", link: ether, data: eth(etherIPv4, ip4(47, slices.Concat([]byte{0, 2, 8, 0}, voice))), reason: TunnelGRE},
	{name: "pptp without payload", link: ether, data: eth(etherIPv4, ip4(47, slices.Concat([]byte{0x20, 0x81, 0x88, 0x0b, 0, 0, 0, 1}, voice))), reason: TunnelGRE},
	{name: "gre of something", link: ether, data: eth(etherIPv4, ip4(47, slices.Concat([]byte{0, 0, 0x12, 0x34}, voice))), reason: UnknownEtherType},
	{name: "gre keep-alive", link: ether, data: eth(etherIPv4, ip4(47, []byte{0, 0, 0, 0})), reason: UnknownEtherType},
	{name: "esp", link: ether, data: eth(etherIPv4, ip4(50, jumbo[:100])), reason: TunnelESP},
	{name: "l2tpv3 control", link: ether, data: eth(etherIPv4, ip4(115, make([]byte, 40))), reason: TunnelL2},
	{name: "l2tpv3 of something", link: ether, data: eth(etherIPv4, ip4(115, jumbo[:60])), reason: TunnelL2},
	{name: "ether-ip version 4", link: ether, data: eth(etherIPv4, ip4(97, slices.Concat([]byte{0x40, 0}, eth(etherIPv4, ip4(17, rtp))))), reason: TunnelL2},
	{name: "ospf", link: ether, data: eth(etherIPv4, ip4(89, voice)), reason: OtherProtocol},
	{name: "short udp", link: ether, data: append(eth(etherIPv4, ip4(17, rtp[:7])), make([]byte, 20)...), reason: ShortTransport},
	{name: "short tcp", link: ether, data: append(eth(etherIPv4, ip4(6, tcp(1, 2, nil, nil)[:19])), make([]byte, 20)...), reason: ShortTransport},
	{name: "short sctp", link: ether, data: append(eth(etherIPv4, ip4(132, sctp(1, 2, nil)[:11])), make([]byte, 20)...), reason: ShortTransport},
	{name: "udp length 7", link: ether, data: eth(etherIPv4, ip4(17, with(slices.Clone(rtp), set16(4, 7)))), reason: UDPBadLength},
	{name: "tcp offset 4", link: ether, data: eth(etherIPv4, ip4(6, with(tcp(1, 2, nil, voice), func(b []byte) { b[12] = 0x40 }))), reason: TCPBadHeader},
	{name: "tcp offset beyond ip", link: ether, data: append(eth(etherIPv4, ip4(6, with(tcp(1, 2, nil, nil), func(b []byte) { b[12] = 0x60 }))), make([]byte, 6)...),
		reason: TCPBadHeader},
}

var (
	v6 = frame.Packet{
		Src: frame.Endpoint{Addr: frame.AddrFrom(srcIP6)},
		Dst: frame.Endpoint{Addr: frame.AddrFrom(dstIP6)},
	}
	jumbo = bytes.Repeat([]byte("0123456789"), 900)
)

// options is n extension headers in a row.
func options(n, next int, inner []byte) []byte {
	for range n {
		inner = extension(next, 1, inner)
		next = 60
	}
	return inner
}

// usual is the packet that the builders make unless told otherwise, with what
// want sets in its place.
func usual(want frame.Packet) frame.Packet {
	p := frame.Packet{
		Time: 30, Clock: 40, Seq: 50, Iface: 60,
		Src:     frame.Endpoint{Addr: frame.AddrFrom(srcIP4), Port: 10000},
		Dst:     frame.Endpoint{Addr: frame.AddrFrom(dstIP4), Port: 20000},
		Payload: voice, Len: uint32(len(voice)), Proto: 17, TTL: 63, DSCP: 46,
		VLAN: want.VLAN, Flags: want.Flags,
	}
	if !want.Src.Addr.IsZero() {
		p.Src.Addr, p.Dst.Addr = want.Src.Addr, want.Dst.Addr
	}
	if want.Proto != 0 {
		p.Proto = want.Proto
	}
	if want.Payload != nil {
		p.Payload, p.Len = want.Payload, uint32(len(want.Payload))
	}
	if want.Len != 0 {
		p.Len = want.Len
	}
	return p
}

func TestPaths(t *testing.T) {
	for _, c := range slices.Concat(packetPaths, reasonPaths) {
		t.Run(c.name, func(t *testing.T) {
			b := oneFrame(c.link, c.data)
			f := &b.Frames[0]
			f.Time, f.Clock, f.Seq, f.Iface = 30, 40, 50, 60
			var d Decoder
			d.Decode(b)
			s := d.Stats()
			checkLedger(t, &s)
			for n := range numNotes {
				if got, want := s.Notes[n] == 1, slices.Contains(c.notes, n); got != want {
					t.Errorf("note %v = %v, want %v", n, got, want)
				}
			}
			if c.reason != none {
				if got := outcome(&s); got != c.reason {
					t.Fatalf("outcome %v, want %v", got, c.reason)
				}
				return
			}
			if got := outcome(&s); got != none {
				t.Fatalf("no packet: %v", got)
			}
			checkPacket(t, b.Packets[0], usual(c.want))
		})
	}
}

// TestTruncated cuts each frame at every length, as a snap length would.
func TestTruncated(t *testing.T) {
	for _, c := range slices.Concat(packetPaths, reasonPaths) {
		t.Run(c.name, func(t *testing.T) {
			want := usual(c.want)
			for n := range min(len(c.data), 300) {
				b := oneFrame(c.link, c.data)
				b.Frames[0].Data = slices.Clone(c.data[:n]) // so that a read beyond n panics
				var d Decoder
				d.Decode(b)
				s := d.Stats()
				checkLedger(t, &s)
				if s.Notes[NoteCut] != 1 {
					t.Fatalf("%d bytes: not noted as cut", n)
				}
				switch got := outcome(&s); got {
				case none:
					if c.reason != none {
						t.Fatalf("%d bytes: a packet, want %v", n, c.reason)
					}
					p := b.Packets[0]
					if !bytes.HasPrefix(want.Payload, p.Payload) || p.Len != want.Len || p.Src.Port != want.Src.Port {
						t.Fatalf("%d bytes: payload %q of %d, want the beginning of %q of %d", n, p.Payload, p.Len, want.Payload, want.Len)
					}
					cut := want.Flags&frame.FlagCut != 0 || len(p.Payload) < len(want.Payload)
					if got := p.Flags&frame.FlagCut != 0; got != cut {
						t.Fatalf("%d bytes: cut = %v, want %v", n, got, cut)
					}
				case TruncatedLink, TruncatedIP, TruncatedTransport, TruncatedTunnel, c.reason:
				default:
					t.Fatalf("%d bytes: %v", n, got)
				}
			}
		})
	}
}

// TestReached makes sure that the paths, whole and cut, reach every reason and note.
func TestReached(t *testing.T) {
	var d Decoder
	for _, c := range slices.Concat(packetPaths, reasonPaths) {
		for n := range min(len(c.data), 300) {
			b := oneFrame(c.link, c.data)
			b.Frames[0].Data = c.data[:n]
			d.Decode(b)
		}
		d.Decode(oneFrame(c.link, c.data))
	}
	s := d.Stats()
	for r := none + 1; r < numReasons; r++ {
		if s.Reasons[r] == 0 {
			t.Errorf("no frame for reason %v", r)
		}
	}
	for n := range numNotes {
		if s.Notes[n] == 0 {
			t.Errorf("no frame for note %v", n)
		}
	}
	checkLedger(t, &s)
}

func TestTables(t *testing.T) {
	b := &frame.Batch{}
	add := func(link frame.LinkType, data []byte) {
		b.Frames = append(b.Frames, oneFrame(link, data).Frames...)
	}
	for i := range 20 {
		add(ether, eth(0xa000+i, nil))
	}
	add(ether, eth(0xa001, nil))
	add(127, nil)
	add(frame.LinkNull, null(binary.LittleEndian, 16, nil))
	add(ether, eth(etherIPv4, ip4(89, nil)))
	add(ether, eth(etherIPv4, ip4(112, nil)))
	var d Decoder
	d.Decode(b)
	d.Decode(b)
	s, sum := d.Stats(), d.Stats()
	sum.Add(&s)
	for i := range s.EtherTypes.Rows {
		want := Row{0xa000 + uint16(i), 2}
		if i == 1 {
			want.Count = 4
		}
		if got := s.EtherTypes.Rows[i]; got != want {
			t.Errorf("ethertype row %d = %v, want %v", i, got, want)
		}
	}
	for _, c := range []struct {
		name string
		got  any
		want any
	}{
		{"more ethertypes", s.EtherTypes.More, uint64(8)},
		{"link type", s.LinkTypes.Rows[0], Row{127, 2}},
		{"family", s.Families.Rows[0], Row{16, 2}},
		{"protocols", [2]Row(s.Protocols.Rows[:]), [2]Row{{89, 2}, {112, 2}}},
		{"sum of ethertypes", sum.EtherTypes.Rows[1], Row{0xa001, 8}},
		{"sum of more", sum.EtherTypes.More, uint64(16)},
		{"sum of frames", sum.Frames, uint64(100)},
		{"sum of reasons", sum.Reasons[UnknownEtherType], uint64(84)},
		{"ethertype name", EtherTypeName(0x9000), "0x9000 loopback"},
		{"ethertype without name", EtherTypeName(0xa001), "0xa001"},
		{"protocol name", ProtocolName(89), "89 ospf"},
		{"link type name", LinkTypeName(127), "127 ieee802.11-radiotap"},
	} {
		if c.got != c.want {
			t.Errorf("%s: %v, want %v", c.name, c.got, c.want)
		}
	}
	checkLedger(t, &s)
	checkLedger(t, &sum)
}

// TestNames makes sure that the lists of constants and of names are in step.
func TestNames(t *testing.T) {
	seen := map[string]bool{}
	for r := range numReasons {
		seen[r.String()] = true
	}
	for n := range numNotes {
		seen[n.String()] = true
	}
	if seen[""] || len(seen) != int(numReasons)+int(numNotes) {
		t.Errorf("empty or double names among %v", seen)
	}
	for _, c := range []struct{ got, want string }{
		{TCPBadHeader.String(), "tcp-bad-header"},
		{NoteUDPBeyondIP.String(), "udp-beyond-ip"},
		{Reason(200).String(), "reason 200"},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
}

// TestReuse sees that nothing of an earlier batch shines through.
func TestReuse(t *testing.T) {
	var d Decoder
	b := oneFrame(ether, eth(etherVLAN, tag(7, etherIPv6, ip6(17, rtp))))
	d.Decode(b)
	memory := &b.Packets[0]
	b.Frames = oneFrame(ether, eth(etherIPv4, ip4(17, udp(10000, 20000, nil)))).Frames
	d.Decode(b)
	want := usual(frame.Packet{Payload: []byte{}})
	want.Time, want.Clock, want.Seq, want.Iface = 0, 0, 0, 0
	checkPacket(t, b.Packets[0], want)
	if memory != &b.Packets[0] {
		t.Error("packets were allocated again")
	}
	b.Frames = nil
	d.Decode(b)
	if len(b.Packets) != 0 {
		t.Errorf("%d packets of no frames", len(b.Packets))
	}
}

func TestNoAllocation(t *testing.T) {
	b := &frame.Batch{}
	for _, c := range slices.Concat(packetPaths, reasonPaths) {
		b.Frames = append(b.Frames, oneFrame(c.link, c.data).Frames...)
	}
	var d Decoder
	d.Decode(b)
	if n := testing.AllocsPerRun(100, func() { d.Decode(b) }); n != 0 {
		t.Errorf("Batch: %v allocations", n)
	}
}

// checkLedger wants all sums of Stats to hold.
func checkLedger(t *testing.T, s *Stats) {
	t.Helper()
	sum := s.Packets + s.Fragments
	for _, n := range s.Reasons {
		sum += n
	}
	if sum != s.Frames || s.Reasons[none] != 0 {
		t.Fatalf("%d frames, but %d packets, %d fragments and reasons %v", s.Frames, s.Packets, s.Fragments, s.Reasons)
	}
	if !s.Balanced() || s.JoinedReasons[none] != 0 {
		t.Fatalf("fragments: %v and %v of %+v", s.Fates(), s.Datagrams(), s.Joined)
	}
}

// outcome is the reason of the only frame of s, or none for a packet.
func outcome(s *Stats) Reason {
	for r, n := range s.Reasons {
		if n != 0 {
			return Reason(r)
		}
	}
	return none
}

func checkPacket(t *testing.T, got, want frame.Packet) {
	t.Helper()
	if !bytes.Equal(got.Payload, want.Payload) {
		t.Errorf("payload %.40q, want %.40q", got.Payload, want.Payload)
	}
	if cap(got.Payload) != len(got.Payload) {
		t.Errorf("an append to the payload would overwrite %d bytes of the batch", cap(got.Payload)-len(got.Payload))
	}
	got.Payload, want.Payload = nil, nil
	type plain struct { // a Packet without its slice
		Time, Clock             int64
		Seq                     uint64
		Src, Dst                netip.AddrPort
		Len                     uint32
		VLAN, Iface, Tunnel     uint16
		Proto, TTL, DSCP, Flags byte
	}
	simple := func(p frame.Packet) plain {
		return plain{p.Time, p.Clock, p.Seq, p.Src.Netip(), p.Dst.Netip(), p.Len, p.VLAN, p.Iface, p.Tunnel, p.Proto, p.TTL, p.DSCP, p.Flags}
	}
	if g, w := simple(got), simple(want); g != w {
		t.Errorf("packet\n got %+v\nwant %+v", g, w)
	}
}
