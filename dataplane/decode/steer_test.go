package decode

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"

	"ringside/dataplane/frame"
)

func steer(link frame.LinkType, data []byte) uint32 {
	return Steer(&oneFrame(link, data).Frames[0])
}

// swap4 and swap6 turn an IP packet round.
func swap4(b []byte) []byte { return with(slices.Clone(b), func(b []byte) { swap(b[12:], 4) }) }
func swap6(b []byte) []byte { return with(slices.Clone(b), func(b []byte) { swap(b[8:], 16) }) }

func swap(b []byte, n int) {
	for i := range n {
		b[i], b[n+i] = b[n+i], b[i]
	}
}

// TestSteerSame lists frames that have to meet at one worker.
func TestSteerSame(t *testing.T) {
	there, back := udp(10000, 20000, voice), udp(20000, 10000, nil)
	for _, c := range []struct {
		name string
		a, b uint32
	}{
		{"both directions", steer(ether, eth(etherIPv4, ip4(17, there))), steer(ether, eth(etherIPv4, swap4(ip4(17, back))))},
		{"both directions of ipv6", steer(ether, eth(etherIPv6, ip6(17, there))), steer(ether, eth(etherIPv6, swap6(ip6(17, back))))},
		{"both directions of tcp", steer(ether, eth(etherIPv4, ip4(6, tcp(1, 2, nil, voice)))), steer(ether, eth(etherIPv4, swap4(ip4(6, tcp(2, 1, nil, nil)))))},
		{"any link", steer(ether, eth(etherVLAN, tag(1, etherIPv4, ip4(17, there)))), steer(frame.LinkNull, null(binary.BigEndian, 2, ip4(17, there)))},
		{"any extension", steer(ether, eth(etherIPv6, ip6(17, there))), steer(ether, eth(etherIPv6, ip6(60, options(3, 17, there))))},
		{"fragments", steer(ether, eth(etherIPv4, ip4Fragment(17, 0, true, there))), steer(ether, eth(etherIPv4, ip4Fragment(17, 9, false, voice)))},
		{"fragments of both directions", steer(ether, eth(etherIPv4, ip4Fragment(17, 0, true, there))), steer(ether, eth(etherIPv4, swap4(ip4Fragment(17, 9, false, voice))))},
		{"fragments of ipv6", steer(ether, eth(etherIPv6, ip6(44, fragment6(17, 0, true, there)))), steer(ether, eth(etherIPv6, ip6(44, fragment6(17, 9, false, voice))))},
		{"fragments with options in the first", steer(ether, eth(etherIPv6, ip6(44, fragment6(60, 0, true, options(1, 17, there))))),
			steer(ether, eth(etherIPv6, ip6(44, fragment6(60, 9, false, voice))))},
		{"icmp", steer(ether, eth(etherIPv4, ip4(1, voice))), steer(ether, eth(etherIPv4, swap4(ip4(1, there))))},
		{"arp", steer(ether, eth(0x0806, voice)), 0},
		{"cut within the ports", steer(ether, eth(etherIPv4, ip4(17, there))[:37]), steer(ether, eth(etherIPv4, ip4(17, back))[:34])},
		{"too short for ports", steer(ether, append(eth(etherIPv4, ip4(17, there[:3])), voice...)), steer(ether, eth(etherIPv4, ip4(17, back))[:34])},
		{"cut within the ip header", steer(ether, eth(etherIPv4, ip4(17, there))[:33]), 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.a != c.b {
				t.Errorf("%#x and %#x", c.a, c.b)
			}
		})
	}
}

// TestSteerProtocol wants fragments of different protocols to go by them.
func TestSteerProtocol(t *testing.T) {
	seen := map[uint32]string{}
	for _, c := range []struct {
		name string
		hash uint32
	}{
		{"udp", steer(ether, eth(etherIPv4, ip4Fragment(17, 9, false, voice)))},
		{"tcp", steer(ether, eth(etherIPv4, ip4Fragment(6, 9, false, voice)))},
		{"udp ipv6", steer(ether, eth(etherIPv6, ip6(44, fragment6(17, 9, false, voice))))},
		{"tcp ipv6", steer(ether, eth(etherIPv6, ip6(44, fragment6(6, 9, false, voice))))},
	} {
		if other := seen[c.hash]; other != "" || c.hash == 0 {
			t.Errorf("fragments of %s: %#x, as for %q", c.name, c.hash, other)
		}
		seen[c.hash] = c.name
	}
}

// TestSteerAgrees wants the hash of what the Decoder read, for every path.
func TestSteerAgrees(t *testing.T) {
	for _, c := range slices.Concat(packetPaths, reasonPaths) {
		t.Run(c.name, func(t *testing.T) { checkSteer(t, oneFrame(c.link, c.data)) })
	}
}

// checkSteer decodes a batch of one frame and compares Steer with it.
func checkSteer(t *testing.T, b *frame.Batch) {
	t.Helper()
	var d Decoder
	d.Batch(b)
	got := Steer(&b.Frames[0])
	if len(b.Packets) == 0 {
		switch s := d.Stats(); outcome(&s) {
		case FragmentLater, ICMP, IGMP, NoNextHeader, OtherProtocol, TunnelGRE, TunnelIP, TunnelESP, TunnelL2, TunnelMPLS,
			TruncatedTransport, ShortTransport, UDPBadLength, TCPBadHeader:
		default:
			if got != 0 {
				t.Fatalf("%#x for %v, want 0", got, outcome(&s))
			}
		}
		return
	}
	p := &b.Packets[0]
	if p.Flags&frame.FlagFragment != 0 {
		return // by protocol, which a Packet does not always know; see TestSteerSame
	}
	if want := symmetric(&headers{src: p.Src.Addr, dst: p.Dst.Addr}, 0, p.Src.Port, p.Dst.Port); got != want {
		t.Fatalf("%#x, want %#x for %v %v", got, want, p.Src, p.Dst)
	}
	if want := symmetric(&headers{src: p.Dst.Addr, dst: p.Src.Addr}, 0, p.Dst.Port, p.Src.Port); got != want {
		t.Fatalf("%#x, but the other direction %#x", got, want)
	}
}

// TestSteerSpread wants an even share of flows such as sites really have: few
// addresses, even ports, both in sequence.
func TestSteerSpread(t *testing.T) {
	const flows = 4096
	addr := func(base string, n int) frame.Addr {
		a := frame.AddrFrom(netip.MustParseAddr(base))
		a.Lo += uint64(n)
		return a
	}
	for _, c := range []struct {
		name string
		flow func(i int) (src, dst frame.Endpoint)
	}{
		{"two gateways, even ports", func(i int) (src, dst frame.Endpoint) {
			return frame.Endpoint{Addr: addr("10.0.0.1", 0), Port: uint16(10000 + 2*i)}, frame.Endpoint{Addr: addr("10.0.0.2", 0), Port: uint16(20000 + 2*i)}
		}},
		{"same port on both sides", func(i int) (src, dst frame.Endpoint) {
			return frame.Endpoint{Addr: addr("10.0.0.1", 0), Port: uint16(10000 + 2*i)}, frame.Endpoint{Addr: addr("10.0.0.2", 0), Port: uint16(10000 + 2*i)}
		}},
		{"phones to one server, 5060", func(i int) (src, dst frame.Endpoint) {
			return frame.Endpoint{Addr: addr("10.1.0.0", i), Port: 5060}, frame.Endpoint{Addr: addr("10.0.0.2", 0), Port: 5060}
		}},
		{"phones to phones", func(i int) (src, dst frame.Endpoint) {
			return frame.Endpoint{Addr: addr("10.1.0.0", i), Port: 4000}, frame.Endpoint{Addr: addr("10.2.0.0", i), Port: 4000}
		}},
		{"ipv6 phones", func(i int) (src, dst frame.Endpoint) {
			return frame.Endpoint{Addr: addr("2001:db8::", i), Port: 4000}, frame.Endpoint{Addr: addr("2001:db8:1::", 0), Port: 4000}
		}},
		{"ipv6 networks", func(i int) (src, dst frame.Endpoint) {
			a := addr("2001:db8::1", 0)
			a.Hi += uint64(i)
			return frame.Endpoint{Addr: a, Port: 4000}, frame.Endpoint{Addr: addr("2001:db8::1", 0), Port: 4000}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, workers := range []uint32{2, 3, 4, 8, 16} {
				count := make([]int, workers)
				for i := range flows {
					src, dst := c.flow(i)
					count[symmetric(&headers{src: src.Addr, dst: dst.Addr}, 0, src.Port, dst.Port)%workers]++
				}
				// A fair hash stays within four standard deviations, which is
				// below a quarter of the share for 16 workers and 4,096 flows.
				fair := flows / int(workers)
				if low, high := slices.Min(count), slices.Max(count); low < fair*3/4 || high > fair*5/4 {
					t.Errorf("%d workers: %v", workers, count)
				}
			}
		})
	}
}
