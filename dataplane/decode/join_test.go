package decode

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"ringside/bench/encap"
	"ringside/dataplane/frame"
)

// long is a datagram that has to be cut, by an id.
func long(id int, six bool) []byte {
	payload := bytes.Repeat([]byte(fmt.Sprintf("%05d ", id)), 700)
	if six {
		return eth(etherIPv6, ip6(17, udp(10000, 20000, payload)))
	}
	return eth(etherIPv4, with(ip4(17, udp(10000, 20000, payload)), set16(4, id)))
}

// joinAll decodes frames, 100 µs apart, and joins their fragments in the
// order of their clocks, or as order says.
func joinAll(t testing.TB, d *Decoder, frames [][]byte) *frame.Batch {
	t.Helper()
	b, into := &frame.Batch{}, &frame.Batch{}
	for i, data := range frames {
		b.Frames = append(b.Frames, frame.Frame{
			Time: int64(i) * 1e4, Clock: int64(i)*1e4 + 7, Seq: uint64(i), Link: ether, Iface: 2, Loop: 1,
			Data: data, Len: uint32(len(data)),
		})
	}
	d.Decode(b)
	for _, p := range b.Packets {
		p.Tunnel = 0
		into.Packets = append(into.Packets, p)
	}
	for i := range b.Fragments {
		f, tunnel := &b.Fragments[i], frame.Tunnel{}
		if f.Tunnel > 0 {
			tunnel = b.Tunnels[f.Tunnel-1]
		}
		d.Join(f, &tunnel, into)
		if n := len(into.Packets); n > 0 { // its bytes live until the next Join
			into.Packets[n-1].Payload = slices.Clip(bytes.Clone(into.Packets[n-1].Payload))
		}
		s := d.Stats()
		checkLedger(t.(*testing.T), &s)
	}
	return into
}

// TestJoin cuts datagrams inside of every encapsulation, around it, and both,
// and wants the packet of the whole datagram.
func TestJoin(t *testing.T) {
	cuts := map[string]func(k encap.Kind, f []byte) [][]byte{
		"inside": func(k encap.Kind, f []byte) (out [][]byte) {
			for _, p := range encap.Fragment(f, 1200) {
				out = append(out, encap.Wrap(k, p))
			}
			return out
		},
		"around": func(k encap.Kind, f []byte) [][]byte { return cutIP(encap.Wrap(k, f), 1500) },
		"both": func(k encap.Kind, f []byte) (out [][]byte) {
			for _, p := range encap.Fragment(f, 1400) {
				out = append(out, cutIP(encap.Wrap(k, p), 900)...)
			}
			return out
		},
	}
	for _, k := range encap.Kinds() {
		for how, cut := range cuts {
			if how != "around" && (k.Name == "esp-null-transport" || k.Name == "ah") {
				continue // nobody fragments before transport mode (RFC 4303 section 3.3.4)
			}
			for _, six := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/%s/six=%v", k.Name, how, six), func(t *testing.T) {
					frames := cut(k, long(77, six))
					plain := slices.ContainsFunc(frames, func(f []byte) bool { return len(f) > 1600 })
					var want frame.Packet
					if six {
						want = v6
					}
					want.Payload = bytes.Repeat([]byte("00077 "), 700)
					for name, order := range map[string]func([][]byte) [][]byte{
						"in order":   slices.Clone[[][]byte],
						"last first": func(f [][]byte) [][]byte { f = slices.Clone(f); slices.Reverse(f); return f },
						"twice":      func(f [][]byte) [][]byte { return slices.Concat(f, f) },
					} {
						var d Decoder
						into := joinAll(t, &d, order(frames))
						if plain {
							continue // carried by no IP, so not cut: TestWrapped has it
						}
						if len(into.Packets) != 1 {
							s := d.Stats()
							t.Fatalf("%s: %d packets of %d frames; %v; %v", name, len(into.Packets), len(frames), s.Fates(), s.Datagrams())
						}
						got := into.Packets[0]
						last := len(frames) - 1
						wantPacket, tunnels := wrapped(k, want)
						wantPacket.Time, wantPacket.Clock, wantPacket.Seq = int64(last)*1e4, int64(last)*1e4+7, uint64(last)
						wantPacket.Iface, wantPacket.Flags = 2, wantPacket.Flags|frame.FlagFragment
						wantPacket.Payload, wantPacket.Len = want.Payload, uint32(len(want.Payload))
						checkPacket(t, got, wantPacket)
						if !slices.Equal(into.Tunnels, tunnels) {
							t.Errorf("%s: tunnels %v, want %v", name, into.Tunnels, tunnels)
						}
						if got.Loop != 1 || !six && got.ID != 77 {
							t.Errorf("%s: loop %d, identification %d", name, got.Loop, got.ID)
						}
					}
				})
			}
		}
	}
}

// cutIP cuts the outermost IP packet of a frame, if there is one.
func cutIP(f []byte, mtu int) [][]byte {
	for off := 12; off < 24; off += 4 {
		switch etherType := int(f[off])<<8 | int(f[off+1]); etherType {
		case etherIPv4, etherIPv6:
			return encap.Fragment(f, mtu)
		case etherVLAN, etherQinQ:
		default:
			return [][]byte{f}
		}
	}
	return [][]byte{f}
}

// TestJoinMany mixes the fragments of many datagrams, in tunnels and not.
func TestJoinMany(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var frames [][]byte
	for id := 1; id <= 200; id++ {
		k := kind(t, []string{"vlan", "gre", "vxlan", "gtp-u in mpls"}[id%4])
		for _, p := range encap.Fragment(long(id, false), 576+random.IntN(900)) {
			frames = append(frames, cutIP(encap.Wrap(k, p), 700)...)
		}
	}
	random.Shuffle(len(frames), func(i, j int) { frames[i], frames[j] = frames[j], frames[i] })
	var d Decoder
	into := joinAll(t, &d, frames)
	seen := map[string]bool{}
	for _, p := range into.Packets {
		seen[string(p.Payload)] = true
		if want := bytes.Repeat(p.Payload[:6], 700); !bytes.Equal(p.Payload, want) {
			t.Fatalf("payload %.30q of %d bytes", p.Payload, len(p.Payload))
		}
	}
	if len(into.Packets) != 200 || len(seen) != 200 {
		s := d.Stats()
		t.Errorf("%d packets, %d of them different: %v", len(into.Packets), len(seen), s.Fates())
	}
}

// TestFragmentFields: what Decode says of a fragment.
func TestFragmentFields(t *testing.T) {
	piece := encap.Fragment(long(77, true), 1280)[1]
	plain := stamped(encap.Fragment(long(77, false), 1280)[1])
	var d Decoder
	d.Decode(plain)
	f := plain.Fragments[0]
	if f.Time != 30 || f.Clock != 40 || f.Seq != 50 || f.Iface != 60 || f.ID != 77 || f.Offset != 1256 || f.Len != 1256 ||
		len(f.Data) != 1256 || f.Proto != 17 || f.TTL != 63 || f.DSCP != 46 || f.Depth != 0 || !f.More || f.IPv6 || f.Tunnel != 0 ||
		f.Src != frame.AddrFrom(srcIP4) || f.Dst != frame.AddrFrom(dstIP4) {
		t.Errorf("plain: %+v", f)
	}
	own := frame.FlowHash(frame.Endpoint{Addr: f.Dst}, frame.Endpoint{Addr: f.Src})
	if f.Outer != own {
		t.Errorf("outer hash %x, want that of its own addresses, %x", f.Outer, own)
	}
	k := kind(t, "gtp-u in ip-in-ip in gre-key in mpls in erspan-2 in vxlan in tzsp")
	deep := stamped(encap.Wrap(k, piece))
	d.Decode(deep)
	f = deep.Fragments[0]
	outer := kind(t, "tzsp").Tunnel
	if f.Depth != 6 || !f.IPv6 || f.Tunnel != 1 || deep.Tunnels[0] != k.Tunnel || f.Offset != 1232 || f.ID < 1<<16 {
		t.Errorf("deep: %+v %v", f, deep.Tunnels)
	}
	if want := frame.FlowHash(frame.Endpoint{Addr: outer.Src}, frame.Endpoint{Addr: outer.Dst}); f.Outer != want {
		t.Errorf("outer hash %x, want that of the outermost tunnel, %x", f.Outer, want)
	}
	cut := stamped(encap.Fragment(long(77, false), 1280)[0])
	cut.Frames[0].Data = cut.Frames[0].Data[:100]
	d.Decode(cut)
	if f := cut.Fragments[0]; f.Flags != frame.FlagCut || len(f.Data) != 66 || f.Len != 1256 {
		t.Errorf("cut: flags %b, %d bytes of %d", f.Flags, len(f.Data), f.Len)
	}
}

// TestJoinReasons: datagrams that yield no packet are counted.
func TestJoinReasons(t *testing.T) {
	for _, c := range []struct {
		name   string
		proto  int
		inside []byte
		want   Reason
	}{
		{"icmp", 1, jumbo, ICMP},
		{"bad udp", 17, slices.Concat(rtp[:5], []byte{7}, jumbo), UDPBadLength},
		{"gre of another version", 47, append([]byte{0, 7, 8, 0}, jumbo...), TunnelGRE},
		{"bad ip in ip", 4, jumbo, IPv4BadHeader},
		{"ospf", 89, jumbo, OtherProtocol},
		{"too many layers", 4, nine(), TooManyLayers},
	} {
		t.Run(c.name, func(t *testing.T) {
			var d Decoder
			var frames [][]byte
			for off := 0; off < len(c.inside); off += 128 {
				end := min(off+128, len(c.inside))
				frames = append(frames, eth(etherIPv4, ip4Fragment(c.proto, off/8, end < len(c.inside), c.inside[off:end])))
			}
			joinAll(t, &d, frames)
			s := d.Stats()
			checkLedger(t, &s)
			if s.JoinedReasons[c.want] != 1 || s.JoinedPackets != 0 {
				t.Errorf("%v", s.Datagrams())
			}
			if c.want == OtherProtocol && s.Protocols.Rows[0] != (Row{89, 1}) {
				t.Errorf("protocols %v", s.Protocols.Rows[0])
			}
		})
	}
}

// TestJoinCut: fragments of which nothing but the IP header was captured.
func TestJoinCut(t *testing.T) {
	for proto := range 256 {
		var d Decoder
		into := &frame.Batch{}
		f := frame.Fragment{Clock: 1, ID: 1, Len: 160, More: true, Proto: uint8(proto), Flags: frame.FlagCut}
		d.Join(&f, &frame.Tunnel{}, into)
		f.Clock, f.Offset, f.More = 2, 160, false
		d.Join(&f, &frame.Tunnel{}, into)
		s := d.Stats()
		checkLedger(t, &s)
		if s.Joined.Datagrams != 1 || len(into.Packets) != 0 {
			t.Errorf("protocol %d: %d packets, %v", proto, len(into.Packets), s.Datagrams())
		}
	}
}

// nine is IP in IP, nine deep.
func nine() []byte {
	b := ip4(17, rtp)
	for range 9 {
		b = ip4(4, b)
	}
	return b
}

// TestJoinStats: sums of several decoders balance as well.
func TestJoinStats(t *testing.T) {
	var sum Stats
	for id := range 3 {
		var d Decoder
		frames := encap.Fragment(long(id+1, id == 1), 1200)
		joinAll(t, &d, frames[:len(frames)-id%2])
		s := d.Stats()
		sum.Add(&s)
	}
	checkLedger(t, &sum)
	if sum.JoinedPackets != 2 || sum.Joined.Waiting != 3 || sum.Fragments != 11 {
		t.Errorf("%d packets, %v", sum.JoinedPackets, sum.Fates())
	}
}

func TestJoinNoAllocation(t *testing.T) {
	k := kind(t, "vxlan")
	b := &frame.Batch{}
	for id := 1; id <= 20; id++ {
		for _, p := range encap.Fragment(long(id, false), 1400) {
			for _, f := range cutIP(encap.Wrap(k, p), 900) {
				b.Frames = append(b.Frames, oneFrame(ether, f).Frames...)
			}
		}
	}
	var d Decoder
	into := &frame.Batch{}
	clock := int64(0)
	run := func() {
		d.Decode(b)
		for i := range b.Fragments {
			clock += 1e9
			b.Fragments[i].Clock = clock
			into.Packets, into.Tunnels = into.Packets[:0], into.Tunnels[:0]
			d.Join(&b.Fragments[i], &frame.Tunnel{}, into)
		}
	}
	for range 5 {
		run()
	}
	if n := testing.AllocsPerRun(20, run); n != 0 {
		t.Errorf("Join: %v allocations", n)
	}
	if s := d.Stats(); s.JoinedPackets == 0 {
		t.Errorf("no packets: %v", s.Fates())
	}
}
