package decode

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"testing"

	"ringside/bench/encap"
	"ringside/dataplane/frame"
)

// inners are frames to wrap, and the packets in them.
var inners = []struct {
	name  string
	frame []byte
	want  frame.Packet
}{
	{"ipv4", eth(etherIPv4, ip4(17, rtp)), frame.Packet{}},
	{"ipv6", eth(etherIPv6, ip6(17, rtp)), v6},
	{"tcp", eth(etherIPv4, ip4(6, rightTCP())), frame.Packet{Proto: 6}},
	{"sctp in ipv6", eth(etherIPv6, ip6(132, sctp(10000, 20000, voice))), frame.Packet{Proto: 132, Src: v6.Src, Dst: v6.Dst}},
	{"padded", append(eth(etherIPv4, ip4(17, udp(10000, 20000, []byte("x")))), make([]byte, 17)...), frame.Packet{Payload: []byte("x")}},
	{"vlan", eth(etherVLAN, tag(77, etherIPv4, ip4(17, rtp))), frame.Packet{VLAN: 77, Flags: frame.FlagVLAN}},
	{"options", eth(etherIPv4, ip4Options(17, make([]byte, 8), rtp)), frame.Packet{}},
}

// rightTCP is a segment whose check sum is right, as null encryption wants it.
func rightTCP() []byte {
	b := tcp(10000, 20000, nil, voice)
	h := headers{packet: &frame.Packet{}}
	h.packet.Src.Addr, h.packet.Dst.Addr = frame.AddrFrom(srcIP4), frame.AddrFrom(dstIP4)
	sum := ^pseudoSum(&h, 6, b)
	b[16], b[17] = byte(sum>>8), byte(sum)
	return b
}

// outerTags are the tags that a kind puts around a frame.
func outerTags(k encap.Kind) uint16 {
	switch k.Name {
	case "vlan", "gtp-u in vlan", "ip-in-ip in gre-ipv6 in geneve in vlan", "l2tp in pppoe in vlan":
		return 100
	case "qinq", "qinq-9100", "pppoe in qinq":
		return 200
	case "pbb":
		return 30
	case "qinq in mpls-pw-cw":
		return 200
	}
	return 0
}

// wrapped is what a wrapped frame decodes to.
func wrapped(k encap.Kind, want frame.Packet) (frame.Packet, []frame.Tunnel) {
	p := usual(want)
	if !k.Bridged {
		p.VLAN, p.Flags = 0, 0
	}
	if vlan := outerTags(k); vlan != 0 {
		p.VLAN, p.Flags = vlan, frame.FlagVLAN
	}
	tunnel := k.Tunnel
	if tunnel.Kind == frame.NoTunnel {
		return p, nil
	}
	if k.Name == "esp-null-transport" {
		tunnel.Src, tunnel.Dst = p.Src.Addr, p.Dst.Addr
	}
	p.Tunnel = 1
	return p, []frame.Tunnel{tunnel}
}

// canWrap: a kind may not know a protocol.
func canWrap(k encap.Kind, want frame.Packet) bool {
	return k.Name != "esp-null-transport" || want.Proto != frame.ProtoSCTP
}

func stamped(data []byte) *frame.Batch {
	b := oneFrame(ether, data)
	f := &b.Frames[0]
	f.Time, f.Clock, f.Seq, f.Iface = 30, 40, 50, 60
	return b
}

// TestWrapped wants each frame to decode to the same packet in every
// encapsulation as without.
func TestWrapped(t *testing.T) {
	for _, k := range encap.Kinds() {
		for _, in := range inners {
			if !canWrap(k, in.want) {
				continue
			}
			t.Run(k.Name+"/"+in.name, func(t *testing.T) {
				b := stamped(encap.Wrap(k, in.frame))
				var d Decoder
				d.Decode(b)
				s := d.Stats()
				checkLedger(t, &s)
				if len(b.Packets) != 1 {
					t.Fatalf("no packet: %v", outcome(&s))
				}
				want, tunnels := wrapped(k, in.want)
				checkPacket(t, b.Packets[0], want)
				if !slices.Equal(b.Tunnels, tunnels) {
					t.Errorf("tunnels\n got %v\nwant %v", b.Tunnels, tunnels)
				}
				if len(tunnels) == 1 && s.Tunnels[tunnels[0].Kind] != 1 {
					t.Errorf("opened %v", s.Opened())
				}
			})
		}
	}
}

// TestWrappedTruncated cuts wrapped frames at every length. A cut frame is a
// packet with less payload, or the packet of a tunnel that cannot be opened, or
// a reason of a cut.
func TestWrappedTruncated(t *testing.T) {
	for _, k := range encap.Kinds() {
		t.Run(k.Name, func(t *testing.T) {
			whole := encap.Wrap(k, inners[0].frame)
			var d Decoder
			for n := range whole {
				b := oneFrame(ether, whole)
				b.Frames[0].Data = slices.Clone(whole[:n]) // so that a read beyond n panics
				before := d.Stats()
				d.Decode(b)
				s := d.Stats()
				checkLedger(t, &s)
				for r := range numReasons {
					switch r {
					case TruncatedLink, TruncatedIP, TruncatedTransport, TruncatedTunnel, TunnelESP, TunnelL2, TunnelMPLS:
						continue
					}
					if s.Reasons[r] != before.Reasons[r] {
						t.Fatalf("%d bytes: %v", n, r)
					}
				}
				for _, p := range b.Packets {
					if inner := p.Src.Port == 10000; inner && !bytes.HasPrefix(voice, p.Payload) {
						t.Fatalf("%d bytes: payload %q", n, p.Payload)
					}
					if p.Flags&frame.FlagCut == 0 && len(p.Payload) < len(voice) {
						t.Fatalf("%d bytes: not cut", n)
					}
				}
			}
		})
	}
}

// TestPlainPorts: what uses the port of a tunnel without being one stays a
// packet.
func TestPlainPorts(t *testing.T) {
	sip := []byte("OPTIONS sip:a@example.com SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1\r\n\r\n")
	labels := []byte("INVITE sip:alicea@example.com SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1\r\n\r\n") // a bottom of stack, then version 6
	sound := append([]byte{0x80, 0, 0, 1, 0, 0, 0, 160, 1, 2, 3, 4}, make([]byte, 160)...)
	gre := append([]byte{0x80, 0, 8, 0, 0, 0, 0, 160, 0x45, 0, 0x40, 0}, make([]byte, 160)...) // with a check sum, before IPv4
	stun := append([]byte{0, 1, 0, 8, 0x21, 0x12, 0xa4, 0x42}, make([]byte, 20)...)
	answer := append([]byte{1, 1, 0, 8, 0x21, 0x12, 0xa4, 0x42}, make([]byte, 20)...)
	for _, port := range slices.Concat(tunnelPorts, vxlanPorts) {
		for name, payload := range map[string][]byte{
			"sip": sip, "sip like labels": labels, "rtp": sound, "rtp like gre": gre, "stun": stun, "stun answer": answer, "keep-alive": []byte("\r\n\r\n"), "zero": make([]byte, 200),
			"byte": {0xff}, "empty": {},
		} {
			for _, ports := range [][2]int{{10000, int(port)}, {int(port), 20000}, {int(port), int(port)}} {
				b := oneFrame(ether, eth(etherIPv4, ip4(17, udp(ports[0], ports[1], payload))))
				var d Decoder
				d.Decode(b)
				if len(b.Packets) != 1 || !bytes.Equal(b.Packets[0].Payload, payload) || len(b.Tunnels) != 0 {
					s := d.Stats()
					t.Errorf("%s from %d to %d: %d packets, %v", name, ports[0], ports[1], len(b.Packets), outcome(&s))
				}
			}
		}
	}
}

// TestInsideReasons: what is in a tunnel in UDP is counted as in a frame.
func TestInsideReasons(t *testing.T) {
	vxlan := func(inner []byte) []byte {
		return eth(etherIPv4, ip4(17, udp(50000, 4789, slices.Concat([]byte{8, 0, 0, 0, 0, 0, 1, 0}, inner))))
	}
	for _, c := range []struct {
		name  string
		inner []byte
		want  Reason
	}{
		{"arp", eth(0x0806, voice), ARP},
		{"icmp", eth(etherIPv4, ip4(1, voice)), ICMP},
		{"ethertype", eth(0x9000, voice), UnknownEtherType},
		{"spanning tree", dot3(slices.Concat([]byte{0x42, 0x42, 3}, voice)), STP},
		{"ip of version 5", eth(etherIPv4, with(ip4(17, rtp), func(b []byte) { b[0] = 0x55 })), none}, // UDP of port 4789
		{"ip header of 4 bytes", eth(etherIPv4, with(ip4(17, rtp), func(b []byte) { b[0] = 0x41 })), none},
		{"no ethernet", voice[:10], none},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := oneFrame(ether, vxlan(c.inner))
			var d Decoder
			d.Decode(b)
			s := d.Stats()
			if got := outcome(&s); got != c.want {
				t.Fatalf("%v, want %v", got, c.want)
			}
			if c.want == none && (b.Packets[0].Dst.Port != 4789 || b.Packets[0].Tunnel != 0 || len(b.Tunnels) != 0) {
				t.Errorf("packet %+v", b.Packets[0])
			}
			if c.want == UnknownEtherType && s.EtherTypes.Rows[0] != (Row{0x9000, 1}) {
				t.Errorf("ethertypes %v", s.EtherTypes.Rows[0])
			}
		})
	}
}

func TestVXLANPorts(t *testing.T) {
	f := encap.Wrap(kind(t, "vxlan"), inners[0].frame)
	f = with(f, set16(36, 9999))
	for _, c := range []struct {
		d    *Decoder
		want uint16
	}{{&Decoder{}, 9999}, {New(Options{VXLANPorts: []uint16{4789, 9999}}), 20000}} {
		b := oneFrame(ether, f)
		c.d.Decode(b)
		if got := b.Packets[0].Dst.Port; got != c.want {
			t.Errorf("port %d, want %d", got, c.want)
		}
	}
}

func kind(t testing.TB, name string) encap.Kind {
	t.Helper()
	for _, k := range encap.Kinds() {
		if k.Name == name {
			return k
		}
	}
	t.Fatalf("no kind %s", name)
	return encap.Kind{}
}

// TestEntropyLabel: the label of the tunnel is the one before the entropy label
// and its indicator.
func TestEntropyLabel(t *testing.T) {
	for _, c := range []struct {
		labels []uint32
		want   uint32
	}{
		{[]uint32{0}, 0}, {[]uint32{100, 0}, 0}, {[]uint32{100, 101}, 101},
		{[]uint32{100, 7, 0x80123}, 100}, {[]uint32{7, 7, 100}, 100}, {[]uint32{7, 0x80123}, 0},
	} {
		var stack []byte
		for i, label := range c.labels {
			entry := label<<12 | 62
			if i == len(c.labels)-1 {
				entry |= 0x100
			}
			stack = binary.BigEndian.AppendUint32(stack, entry)
		}
		b := oneFrame(ether, eth(etherMPLS, append(stack, ip4(17, rtp)...)))
		var d Decoder
		d.Decode(b)
		if len(b.Packets) != 1 || b.Tunnels[0] != (frame.Tunnel{Kind: frame.MPLS, ID: c.want}) {
			t.Errorf("%v: %d packets, tunnels %v, want label %d", c.labels, len(b.Packets), b.Tunnels, c.want)
		}
	}
}

// TestLayers: eight tunnels in one another are opened, nine are not.
func TestLayers(t *testing.T) {
	for _, name := range []string{"gre", "vxlan", "mpls-pw", "geneve-options", "nsh", "pbb", "ip-in-ip"} {
		k := kind(t, name)
		f := inners[0].frame
		for n := 1; n <= 9; n++ {
			f = encap.Wrap(k, f)
			b := oneFrame(ether, f)
			var d Decoder
			d.Decode(b)
			s := d.Stats()
			if n == 9 {
				if got := outcome(&s); got != TooManyLayers {
					t.Errorf("nine layers of %s: %v", name, got)
				}
			} else if len(b.Packets) != 1 || b.Packets[0].Src.Port != 10000 {
				t.Errorf("%d layers of %s: %v", n, name, outcome(&s))
			}
		}
	}
}

// TestTunnelRuns: equal tunnels in a row are listed once.
func TestTunnelRuns(t *testing.T) {
	b := &frame.Batch{}
	for _, name := range []string{"gre", "gre", "vlan", "gre", "vxlan", "gre", "vxlan", "vxlan"} {
		b.Frames = append(b.Frames, oneFrame(ether, encap.Wrap(kind(t, name), inners[0].frame)).Frames...)
		b.Frames = append(b.Frames, oneFrame(ether, eth(0x0806, nil)).Frames...)
	}
	var d Decoder
	d.Decode(b)
	var got []uint16
	for _, p := range b.Packets {
		got = append(got, p.Tunnel)
	}
	if want := []uint16{1, 1, 0, 1, 2, 3, 4, 4}; !slices.Equal(got, want) || len(b.Tunnels) != 4 {
		t.Errorf("places %v of %d tunnels, want %v", got, len(b.Tunnels), want)
	}
}

// TestFields: TCP's fields, the identification, and what the frame says.
func TestFields(t *testing.T) {
	segment := with(tcp(10000, 20000, nil, voice), func(b []byte) {
		copy(b[4:], []byte{1, 2, 3, 4, 5, 6, 7, 8})
		b[13] = 0xff
	})
	b := oneFrame(ether, eth(etherIPv4, ip4(6, segment)))
	b.Frames = append(b.Frames, oneFrame(ether, eth(etherIPv6, ip6(17, rtp))).Frames...)
	b.Frames[0].Loop = 3
	var d Decoder
	d.Decode(b)
	p, q := b.Packets[0], b.Packets[1]
	got := fmt.Sprintf("%x %x %x %x %d", p.SeqNo, p.AckNo, p.Control, p.ID, p.Loop)
	if want := "1020304 5060708 3f 1234 3"; got != want {
		t.Errorf("tcp: %s, want %s", got, want)
	}
	if got := fmt.Sprint(q.SeqNo, q.AckNo, q.Control, q.ID, q.Loop); got != "0 0 0 0 0" {
		t.Errorf("udp over ipv6: %s", got)
	}
	// The place of a packet in the batch is used again.
	b.Frames = append(b.Frames[1:], b.Frames[0])
	d.Decode(b)
	if p, q := b.Packets[0], b.Packets[1]; p.SeqNo|p.AckNo|uint32(p.Control)|uint32(p.ID)|uint32(p.Loop) != 0 || q.ID != 0x1234 {
		t.Errorf("fields of an earlier batch: %+v", p)
	}
}
