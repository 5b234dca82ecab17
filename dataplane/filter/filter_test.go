package filter

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"ringside/dataplane/decode"
	"ringside/dataplane/frame"
)

func addr(s string) frame.Addr { return frame.AddrFrom(netip.MustParseAddr(s)) }

func end(s string) frame.Endpoint {
	a := netip.MustParseAddrPort(s)
	return frame.Endpoint{Addr: frame.AddrFrom(a.Addr()), Port: a.Port()}
}

// invite is SIP over UDP from 10.0.0.1 to 10.0.0.2, port 5060.
func invite() frame.Packet {
	return frame.Packet{
		Src: end("10.0.0.1:5060"), Dst: end("10.0.0.2:5060"), Proto: frame.ProtoUDP, TTL: 60, DSCP: 46, ID: 0x1234,
		Payload: []byte("INVITE sip:b@10.0.0.2 SIP/2.0\r\n"), Len: 31,
	}
}

func TestMatch(t *testing.T) {
	plain := invite()
	tagged := invite()
	tagged.VLAN, tagged.Flags = 100, frame.FlagVLAN
	six := invite()
	six.Src, six.Dst = end("[2001:db8::1]:40000"), end("[2001:db8::2]:5060")
	tcp := invite()
	tcp.Proto, tcp.SeqNo, tcp.AckNo, tcp.Control = frame.ProtoTCP, 0x01020304, 0x05060708, frame.TCPAck|frame.TCPPsh
	chunk := invite()
	chunk.Proto = frame.ProtoSCTP
	outer := func(k frame.TunnelKind, id uint32) *frame.Tunnel {
		return &frame.Tunnel{Kind: k, Src: addr("192.0.2.1"), Dst: addr("192.0.2.2"), ID: id}
	}
	vxlan := outer(frame.VXLAN, 42)
	for _, tc := range []struct {
		name   string
		packet *frame.Packet
		tunnel *frame.Tunnel
		yes    string // expressions by lines
		no     string
	}{
		{"plain", &plain, nil, `

			udp
			port 5060 and host 10.0.0.1
			src 10.0.0.1 and dst 10.0.0.2
			net 10.0.0.0/31 or net 10.0.0.0/30
			not vlan
			not mpls and not pppoes and not vxlan and not geneve
			ip[1] & 0xfc = 46 << 2
			ip[8] = 60 and ip[9] = 17 and ip[4:2] = 0x1234
			ip[2:2] = 59
			ip[20:2] = 5060
			ip[28:4] = 0x494e5649
			udp[4:2] = 39
			udp[8] = 0x49 and udp[38] = 0x0a
			not arp
			ether host 00:11:22:33:44:55
			not ether host 00:11:22:33:44:55
			less 10 and greater 1000`, `
			vlan
			vlan 100
			tcp
			ip6
			icmp
			esp
			port 4789
			host 192.0.2.1
			udp[39] = 0
			not udp[39] = 0
			udp[39] = 0 or udp
			udp[0xffffffff:4] = 0
			10 / (udp[0] - 19) = 0
			not ip`},
		{"vlan", &tagged, nil, `
			vlan
			vlan 100
			vlan 100 and port 5060
			port 5060
			vlan 99 or vlan 100`, `
			vlan 99
			not vlan`},
		{"ipv6", &six, nil, `
			ip6
			ip6 host 2001:db8::1
			net 2001:db8::/64
			src net 2001:db8::1/128 and dst port 5060
			ip6 net ::/0
			ip6[0] >> 4 = 6 and ip6[6] = 17 and ip6[7] = 60
			(ip6[0:2] & 0x0fc0) >> 6 = 46
			ip6[4:2] = 39 and ip6[8:4] = 0x20010db8 and ip6[40:2] = 40000
			udp[8:4] = 0x494e5649`, `
			net 0.0.0.0/0
			ip
			ip[8] = 60
			ip proto 17
			src net 2001:db8::2/127`},
		{"tcp", &tcp, nil, `
			tcp[4:4] = 0x01020304 and tcp[8:4] = 0x05060708
			tcp[tcpflags] = tcp-ack|tcp-push
			tcp[((tcp[12:1] & 0xf0) >> 2):4] = 0x494e5649
			tcp portrange 5000-6000`, `
			udp
			udp port 5060
			tcp[tcp[0] - 5:2] = 0`},
		{"sctp", &chunk, nil, `
			sctp port 5060
			sctp[12:4] = 0x494e5649
			proto 132`, `
			tcp port 5060
			sctp[sctp[1] - 191] = 0`},
		{"vxlan", &plain, vxlan, `
			host 10.0.0.1
			host 192.0.2.1
			src net 192.0.2.0/31
			dst host 192.0.2.2 and dst host 10.0.0.2
			udp port 4789 and port 5060
			dst port 8472
			vxlan
			vxlan 42
			vxlan 42 and host 10.0.0.1`, `
			vxlan 43
			geneve
			not host 192.0.2.1
			not host 10.0.0.1
			src port 4789
			tcp port 4789
			ip6`},
		{"gre", &six, outer(frame.GRE, 0), `
			ip proto 47
			proto 47
			ip
			ip6
			ip6 and host 192.0.2.2`, `
			ip6 proto 47
			udp port 0`},
		{"mpls", &plain, &frame.Tunnel{Kind: frame.MPLS, ID: 77}, `
			mpls
			mpls 77 and port 5060
			ip`, `
			mpls 78
			ip6
			host 0.0.0.0
			net ::/0
			proto 0`},
		{"pppoe", &plain, &frame.Tunnel{Kind: frame.PPPoE, ID: 7}, `
			pppoes
			pppoes 7`, `
			pppoes 8`},
		{"no tunnel", &plain, &frame.Tunnel{}, `
			not vxlan`, `
			host ::`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for want, list := range map[bool]string{true: tc.yes, false: tc.no} {
				for line := range strings.Lines(list) {
					if e := strings.TrimSpace(line); e != "" || tc.name == "plain" && want {
						f, err := Parse(e)
						if err != nil {
							t.Error(err)
							continue
						}
						if got := f.Match(tc.packet, tc.tunnel); got != want {
							t.Errorf("%q: %v, want %v", e, got, want)
						}
					}
				}
			}
		})
	}
}

// Errors tell what is wrong, where, and what to do.
func TestErrors(t *testing.T) {
	for _, tc := range []struct{ text, at, says string }{
		{"prot 17", "prot", `"prot" is no word of filters: names are not looked up; write an address behind host or net, a number behind port`},
		{"UDP", "UDP", "words are in lower case: write udp"},
		{"10.0.0.1", "10.0.0.1", "what is 10.0.0.1? Write host, net, port, portrange or proto before it"},
		{"udp or 5060", "5060", "what is 5060? Write host, net, port, portrange or proto before it"},
		{"(port 5060) or 5061", "5061", "what is 5061? Write host, net, port, portrange or proto before it"},
		{"port 5060 or 10.0.0.1", "10.0.0.1", `port "10.0.0.1" is not known: write its number, or a range with portrange 10000-20000`},
		{"port 5060-5070", "5060-5070", "5060-5070 is a range: write portrange 5060-5070"},
		{"port 70000", "70000", "port 70000: ports go up to 65535"},
		{"port foo", "foo", `port "foo" is not known: write its number, or a range with portrange 10000-20000`},
		{"udp port http", "http", "port http is not one of udp: leave out the udp"},
		{"portrange http-syslog", "http-syslog", "the ports of http-syslog are not of one protocol: write numbers"},
		{"icmp port 5", "icmp", "icmp has no ports: write tcp, udp, sctp or nothing before port"},
		{"tcp host 10.0.0.1", "tcp", "addresses are those of IP: write tcp and host 10.0.0.1"},
		{"host proxy.example.org", "proxy", `"proxy.example.org" is no address, and names are not looked up: write the address`},
		{"host 10.0.0.256", "10.0.0.256", "10.0.0.256 is no IPv4 address: write numbers from 0 to 255 between the dots"},
		{"host 1.2.3.4.5", "1.2", "1.2.3.4.5 is no IPv4 address: it has more than four numbers"},
		{"host 10.0.0.0/8", "/8", "a prefix is a net: write net 10.0.0.0/…"},
		{"host 20:01", "20:01", `"20:01" is neither an IPv6 address nor an Ethernet address`},
		{"ip6 host 10.0.0.1", "10.0.0.1", "10.0.0.1 is no address of ip6: leave out ip6"},
		{"net 10.1.2.3/8", "10.1.2.3", "10.1.2.3 is an address within the net, not its first one: write net 10.0.0.0/8"},
		{"net 2001:db8::1/32", "2001", "2001:db8::1 is an address within the net, not its first one: write net 2001:db8::/32"},
		{"net 10.0.0.1 mask 255.0.255.0", "10.0.0.1", "10.0.0.1 is an address within the net, not its first one: write net 10.0.0.0 mask 255.0.255.0"},
		{"net 10.0.0.0/33", "/33", "a prefix of IPv4 has at most 32 bits"},
		{"host 00:11:22:33:44:55", "00:11", "00:11:22:33:44:55 is an Ethernet address: write ether host 00:11:22:33:44:55"},
		{"ether host 10.0.0.1", "10.0.0.1", "10.0.0.1 is no Ethernet address: leave out ether, or write an address such as 00:11:22:33:44:55"},
		{"ether proto 0x8100", "0x8100", "of EtherTypes only ip, ip6 and arp can be asked for; write vlan, mpls or pppoes for what may stand before IP"},
		{"proto 256", "256", `protocol "256" is not known: write its number, up to 255`},
		{"tcp proto 6", "tcp", "write ip, ip6, ether or nothing before proto"},
		{"src proto 6", "6", "a protocol has no direction: leave out src and dst"},
		{"src or src port 5", "src port", "write src, or src or dst"},
		{"vlan 5 and vlan 6", "vlan 6", "only the outermost VLAN tag of a packet is known: leave out the second vlan"},
		{"vlan 4096", "4096", "VLAN ids go up to 4095"},
		{"ip broadcast", "ip", "which addresses of IP are broadcast is not known: name them with dst host, or write ether broadcast"},
		{"inbound", "inbound", "inbound: a mirror port has no direction: name the addresses with src and dst"},
		{"ether[0] & 1 = 0", "ether", "decoded packets keep no Ethernet header: write ether host, vlan or a byte of ip, ip6, udp, tcp or sctp"},
		{"icmp[0] = 8", "icmp", "packets of icmp are not judged: write bytes of ip, ip6, udp, tcp or sctp"},
		{"ip[6:2] & 0x1fff = 0", "6:2", "byte 6 of the header is not kept by the decoder; fragments are put together before they are judged: leave the test out"},
		{"tcp[14:2] > 0", "14:2", "byte 14 of the header is not kept by the decoder: leave the test out"},
		{"udp[8:3] = 1", "3]", "1, 2 or 4 bytes can be read: write one of these behind the colon"},
		{"udp[8:4]", "", "a comparison is missing here, such as = 5"},
		{"udp[8] / 0 = 5", "/ 0", "division by zero"},
		{"(udp[8] & 1 = 1", "", "a ) is missing here"},
		{"(udp[8] & 1) and udp", "and", "a comparison is missing here, such as = 5"},
		{"port 5060 or", "", "the expression ends where a test is missing: write one, such as port 5060"},
		{"and udp", "and", `a test is missing before "and": write one, such as port 5060`},
		{"port 5060 )", ")", `write and, or, or nothing before ")"`},
		{"(port 5060", "", "a ) is missing here"},
		{"port 5060,", ",", "an expression has no such sign: write words, addresses, numbers and operators only"},
		{"port", "", "a value is missing here: write an address, a port or a protocol"},
		{"less than 5", "than", "a length in bytes is missing here: write a number"},
		{"proto \\", "\\", "a backslash stands before a name that is a keyword too: \\tcp"},
		{"udp port 5060 tcp", "tcp", `write and, or, or nothing before "tcp"`},
		{strings.Repeat("(", 200) + "udp" + strings.Repeat(")", 200), "*", "more than 100 brackets and nots in one another: write it flatter"},
		{strings.Repeat("udp or ", 1<<15) + "udp", "*", "more than 65536 bytes: shorten the expression, or choose addresses by the allow-list"},
	} {
		_, err := Parse(tc.text)
		var e *Error
		if !errors.As(err, &e) {
			t.Errorf("%.40q: %v, want an Error", tc.text, err)
			continue
		}
		at := strings.LastIndex(tc.text, tc.at)
		if tc.at == "*" {
			at = e.At
		}
		if e.Says != tc.says || e.At != at {
			t.Errorf("%.40q: at %d %q\nwant at %d %q", tc.text, e.At, e.Says, at, tc.says)
		}
	}
}

func TestErrorText(t *testing.T) {
	for _, tc := range []struct{ text, line, place string }{
		{"udp and\tprot 17", `filter, column 9, at "prot 17": "prot" is no word of filters: names are not looked up; write an address behind host or net, a number behind port`,
			"udp and prot 17\n        ^"},
		{strings.Repeat("port 5060 or ", 6) + "x and host 10.0.0.1 or host 10.0.0.2",
			`filter, column 79, at "x and host 10.0.0.1 ": port "x" is not known: write its number, or a range with portrange 10000-20000`,
			"…rt 5060 or port 5060 or port 5060 or port 5060 or x and host 10.0.0.1 …\n" + strings.Repeat(" ", 51) + "^"},
		{"pört", `filter, column 2, at "ört": an expression has no such sign: write words, addresses, numbers and operators only`, "pört\n ^"},
		{"udp or", "filter, at its end: the expression ends where a test is missing: write one, such as port 5060", "udp or\n      ^"},
	} {
		var e *Error
		if _, err := Parse(tc.text); !errors.As(err, &e) || e.Error() != tc.line || e.Place() != tc.place {
			t.Errorf("%v\n%s\nwant %s\n%s", err, e.Place(), tc.line, tc.place)
		}
	}
}

// What tcpdump refuses or lacks, and this package takes.
func TestBeyondTcpdump(t *testing.T) {
	p := invite()
	for _, e := range []string{"ip proto udp", "net 10/8", "vxlan or udp", "udp portrange sip-sips", "port sips or sip"} {
		if f, err := Parse(e); err != nil || !f.Match(&p, nil) {
			t.Errorf("%q: %v", e, err)
		}
	}
}

func TestString(t *testing.T) {
	if f, err := Parse(" udp port 5060\n"); err != nil || f.String() != "udp port 5060" {
		t.Errorf("%q, %v", f, err)
	}
}

// ether is a frame from ...:01 to ...:02 around an IP packet.
func ether(ip []byte) []byte {
	return append([]byte{2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0}, ip...)
}

// ip4 is an IPv4 packet of UDP, or a fragment of one.
func ip4(offset int, more bool, payload []byte) []byte {
	b := make([]byte, 20, 20+len(payload))
	b[0], b[8], b[9] = 0x45, 64, frame.ProtoUDP
	binary.BigEndian.PutUint16(b[2:], uint16(20+len(payload)))
	binary.BigEndian.PutUint16(b[4:], 7)
	binary.BigEndian.PutUint16(b[6:], uint16(offset/8))
	if more {
		b[6] |= 0x20
	}
	copy(b[12:], []byte{10, 0, 0, 1, 10, 0, 0, 2})
	return append(b, payload...)
}

func udpTo(port uint16, payload []byte) []byte {
	b := binary.BigEndian.AppendUint16(nil, 40000)
	b = binary.BigEndian.AppendUint16(b, port)
	b = binary.BigEndian.AppendUint16(b, uint16(8+len(payload)))
	return append(append(b, 0, 0), payload...)
}

func framesOf(data ...[]byte) *frame.Batch {
	b := &frame.Batch{}
	for i, d := range data {
		b.Frames = append(b.Frames, frame.Frame{Time: int64(i), Clock: int64(i), Seq: uint64(i), Data: d, Len: uint32(len(d)), Link: frame.LinkEthernet})
	}
	return b
}

func TestDecoder(t *testing.T) {
	whole := udpTo(5060, make([]byte, 2000))
	arp := ether(make([]byte, 28))
	arp[13] = 6
	other := ether(ip4(0, false, udpTo(5060, make([]byte, 60))))
	other[11] = 9
	frames := [][]byte{
		ether(ip4(0, false, udpTo(5060, []byte("a")))),
		arp,
		ether(ip4(0, false, udpTo(53, []byte("b")))),
		other,
		ether(ip4(0, true, whole[:1000])),
		ether(ip4(1000, false, whole[1000:])),
		ether(ip4(0, false, udpTo(5061, []byte("cc")))),
	}
	for _, tc := range []struct {
		expression string
		numbers    []uint64 // of the packets that Decode leaves
		joined     int      // packets of fragments
	}{
		{"", []uint64{0, 2, 3, 6}, 1},
		{"port 5060", []uint64{0, 3}, 1},
		{"not port 5060", []uint64{2, 6}, 0},
		{"port 53", []uint64{2}, 0},
		{"ether src 02:00:00:00:00:01", []uint64{0, 2, 6}, 1},
		{"not ether src 2:0:0:0:0:1", []uint64{3}, 1},
		{"ether dst 0200.0000.0002 and port 5060", []uint64{0, 3}, 1},
		{"ether src and dst 02-00-00-00-00-01", nil, 1},
		{"not ether broadcast and not multicast", []uint64{0, 2, 3, 6}, 1},
		{"greater 100", []uint64{3}, 1},
		{"len = 43", []uint64{0, 2}, 1},
		{"less 100 and port 53", []uint64{2}, 0},
		{"udp[4:2] > 1500", nil, 1},
	} {
		f, err := Parse(tc.expression)
		if err != nil {
			t.Fatal(err)
		}
		d := NewDecoder(decode.New(decode.Options{}), f)
		b := framesOf(frames...)
		d.Decode(b)
		var numbers []uint64
		for _, p := range b.Packets {
			numbers = append(numbers, p.Seq)
		}
		into := &frame.Batch{Packets: make([]frame.Packet, 1)} // one that is there stays
		for i := range b.Fragments {
			d.Join(&b.Fragments[i], &frame.Tunnel{}, into)
		}
		joined := len(into.Packets) - 1
		if !equal(numbers, tc.numbers) || joined != tc.joined || len(b.Fragments) != 2 {
			t.Errorf("%q: packets %v and %d joined, want %v and %d", tc.expression, numbers, joined, tc.numbers, tc.joined)
		}
		matched := uint64(len(numbers) + joined)
		if s := d.Stats(); s != (Stats{matched, 5 - matched}) {
			t.Errorf("%q: %+v, want %d matched of 5", tc.expression, s, matched)
		}
	}
}

func equal(a, b []uint64) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// busy is an expression with a test of most kinds that a packet must pass.
const busy = "not vlan 7 and (net 10.0.0.0/8 or net 2001:db8::/32) and not host 10.9.9.9 and " +
	"(portrange 10000-20000 or port 5060 or 5061 or 5080) and udp[8] & 0xc0 != 0xc0 and ip[8] > 5 and not ether multicast"

func TestAllocations(t *testing.T) {
	f, err := Parse(busy)
	if err != nil {
		t.Fatal(err)
	}
	d := NewDecoder(decode.New(decode.Options{}), f)
	b := framesOf(ether(ip4(0, false, udpTo(5060, []byte("a")))), ether(ip4(0, false, udpTo(53, []byte("a")))))
	if n := testing.AllocsPerRun(100, func() { d.Decode(b) }); n != 0 || len(b.Packets) != 1 {
		t.Errorf("%v allocations per batch, %d packets left, want none and 1", n, len(b.Packets))
	}
	p, tunnel := invite(), &frame.Tunnel{Kind: frame.GRE, Src: addr("192.0.2.1")}
	if n := testing.AllocsPerRun(100, func() { f.Match(&p, tunnel) }); n != 0 || !f.Match(&p, tunnel) {
		t.Errorf("%v allocations per packet, match %v", n, f.Match(&p, tunnel))
	}
}

func BenchmarkMatch(b *testing.B) {
	p := invite()
	for _, e := range []string{"", "port 5060", "udp port 5060 or portrange 10000-20000", "net 192.168.0.0/16 or net 172.16.0.0/12 or net 10.0.0.0/8", "udp[8:4] = 0x494e5649", busy} {
		b.Run(e, func(b *testing.B) {
			f, err := Parse(e)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if !f.Match(&p, nil) {
					b.Fatal("no match")
				}
			}
		})
	}
}
