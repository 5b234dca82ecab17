package decode

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"ringside/bench/encap"
	"ringside/dataplane/frame"
)

// forgets are kinds whose inside is guessed, or lies too deep: their ways are
// not remembered.
var forgets = []string{
	"mpls-pw", "mpls-pw-cw", "pptp", "l2tpv3", "l2tpv3-cookie", "esp-null", "esp-null-transport", "esp-null-udp", "l2tp", "l2tp-long",
	"l2tpv3-udp", "hp-erm", "qinq in mpls-pw-cw", "gre in esp-null", "ip-in-ip in gre-ipv6 in geneve in vlan",
	"l2tp in pppoe in vlan", "gtp-u in ip-in-ip in gre-key in mpls in erspan-2 in vxlan in tzsp",
}

// TestWays: frames of one tunnel go the way that the first one has taken, and
// none strays any more, however long they are.
func TestWays(t *testing.T) {
	for _, k := range encap.Kinds() {
		if k.Tunnel.Kind == frame.NoTunnel {
			continue
		}
		t.Run(k.Name, func(t *testing.T) {
			b := &frame.Batch{}
			for i := range 20 {
				inner := eth(etherIPv4, ip4(17, udp(10000+i, 20000, voice[:i+1])))
				b.Frames = append(b.Frames, oneFrame(ether, encap.Wrap(k, inner)).Frames...)
			}
			var d Decoder
			d.Decode(b)
			for i, p := range b.Packets {
				if p.Src.Port != uint16(10000+i) || !bytes.Equal(p.Payload, voice[:i+1]) || p.Tunnel != 1 {
					t.Errorf("packet %d: %+v", i, p)
				}
			}
			want := uint(1)
			if slices.Contains(forgets, k.Name) {
				want = 20
			}
			if d.strays != want || len(b.Packets) != 20 || len(b.Tunnels) != 1 {
				t.Errorf("%d strays, want %d; %d packets, %d tunnels", d.strays, want, len(b.Packets), len(b.Tunnels))
			}
		})
	}
}

// TestGuessedAround: a way through a tunnel that was guessed is not remembered,
// whatever is inside.
func TestGuessedAround(t *testing.T) {
	for _, outer := range []string{"l2tpv3", "esp-null", "mpls-pw", "hp-erm"} {
		for _, inner := range []string{"gre-udp", "vxlan", "gtp-u"} {
			b := &frame.Batch{}
			for range 3 {
				f := encap.Wrap(kind(t, outer), encap.Wrap(kind(t, inner), inners[0].frame))
				b.Frames = append(b.Frames, oneFrame(ether, f).Frames...)
			}
			var d Decoder
			d.Decode(b)
			if d.strays != 3 || len(b.Packets) != 3 {
				t.Errorf("%s in %s: %d strays, %d packets, want 3", inner, outer, d.strays, len(b.Packets))
			}
		}
	}
}

// TestManyWays: all kinds take turns, before most of their ways are known.
func TestManyWays(t *testing.T) {
	var d Decoder
	b := &frame.Batch{}
	for i := range 400 {
		ks := encap.Kinds()
		k := ks[(i*7+i/50)%len(ks)]
		b.Frames = append(b.Frames, oneFrame(ether, encap.Wrap(k, inners[i%2].frame)).Frames...)
	}
	d.Decode(b)
	if len(b.Packets) != len(b.Frames) {
		t.Fatalf("%d packets of %d frames", len(b.Packets), len(b.Frames))
	}
	for i := range b.Frames {
		checkSame(t, &b.Frames[i], &b.Packets[i], nil, b)
	}
}

// tunnelFields are bytes that tell the tunnels of a kind apart, as offset and
// length: addresses, ids, VLANs.
var tunnelFields = map[string][][2]int{
	"vn-tag": {{14, 4}}, "e-tag": {{14, 6}}, "fabricpath": {{14, 2}}, "pbb": {{14, 2}, {18, 4}}, "trill": {{16, 4}},
	"mpls": {{14, 2}}, "mpls-3-labels": {{14, 2}, {18, 2}, {22, 2}}, "pppoe": {{16, 2}}, "gre": {{26, 8}},
	"gre-key": {{26, 8}, {38, 4}}, "gre-checksum-key-sequence": {{26, 8}, {42, 4}}, "gre-ipv6": {{22, 32}},
	"gre-ethernet": {{26, 8}}, "nvgre": {{26, 8}, {38, 4}}, "gre-mpls": {{26, 8}, {38, 2}}, "gre-ppp": {{26, 8}},
	"erspan-1": {{26, 8}}, "erspan-2": {{26, 8}, {44, 2}}, "erspan-3": {{26, 8}, {44, 6}}, "ip-in-ip": {{26, 8}},
	"ip-in-ipv6": {{22, 32}}, "ether-ip": {{26, 8}}, "mpls-in-ip": {{26, 8}, {34, 2}}, "vxlan": {{26, 8}, {46, 3}},
	"vxlan-8472": {{26, 8}, {46, 3}}, "vxlan-ipv6": {{22, 32}, {66, 3}}, "vxlan-policy": {{26, 8}, {44, 5}},
	"vxlan-gpe": {{26, 8}, {46, 3}}, "geneve": {{26, 8}, {46, 3}}, "geneve-options": {{26, 8}, {46, 3}},
	"gtp-u": {{26, 8}, {46, 4}}, "gtp-u-sequence": {{26, 8}, {46, 6}}, "gtp-u-extension": {{26, 8}, {46, 4}, {55, 2}},
	"gre-udp": {{26, 8}, {34, 2}}, "mpls-udp": {{26, 8}, {42, 2}}, "pppoe in qinq": {{14, 2}, {18, 2}, {24, 2}},
	"gtp-u in vlan": {{14, 2}, {30, 8}, {50, 4}}, "gtp-u in mpls": {{14, 2}, {30, 8}, {50, 4}},
	"vxlan in erspan-2": {{26, 8}, {44, 2}, {76, 8}, {96, 3}},
}

// manyTunnels are n frames, each through a tunnel of its own, of the kinds in
// turn.
func manyTunnels(t *testing.T, names []string, n int) *frame.Batch {
	t.Helper()
	random := rand.New(rand.NewPCG(1, 2))
	b := &frame.Batch{}
	for i := range n {
		name := names[random.IntN(len(names))]
		f := encap.Wrap(kind(t, name), inners[i/8%2].frame)
		for _, field := range tunnelFields[name] {
			for at := field[0]; at < field[0]+field[1]; at++ {
				f[at] = byte(random.Uint32())
			}
		}
		b.Frames = append(b.Frames, oneFrame(ether, f).Frames...)
		b.Frames[i].Seq = uint64(i)
	}
	return b
}

// TestTunnelsOfAKind: a way or two serve thousands of tunnels, and each has its
// own addresses, id and VLAN.
func TestTunnelsOfAKind(t *testing.T) {
	for name := range tunnelFields {
		t.Run(name, func(t *testing.T) {
			b := manyTunnels(t, []string{name}, 300)
			var d Decoder
			d.Decode(b)
			for i := range b.Packets {
				checkSame(t, &b.Frames[i], &b.Packets[i], nil, b)
			}
			// The first frame is learned, and the first one of IPv6 that is due.
			if d.strays > 1+learnEvery || len(b.Packets) != len(b.Frames) || len(b.Tunnels) < len(b.Frames)-5 {
				t.Errorf("%d strays, %d packets, %d tunnels of %d frames", d.strays, len(b.Packets), len(b.Tunnels), len(b.Frames))
			}
		})
	}
}

// TestTunnelsOfUsualKinds: once all ways are known, no frame is walked any more,
// but the first one of a batch, which is not known to be in a tunnel.
func TestTunnelsOfUsualKinds(t *testing.T) {
	b := manyTunnels(t, []string{
		"vxlan", "vxlan-8472", "vxlan-ipv6", "geneve", "gtp-u", "gtp-u in vlan", "gre", "gre-key", "gre-ethernet", "gre-ipv6",
		"nvgre", "erspan-1", "erspan-2", "erspan-3", "mpls", "mpls-3-labels", "pppoe", "pppoe in qinq", "ip-in-ip", "pbb",
	}, 8000)
	var d Decoder
	for range 8 {
		d.Decode(b)
	}
	before := d.strays
	d.Decode(b)
	if d.strays > before+1 || len(b.Packets) != len(b.Frames) {
		t.Errorf("%d strays, before that %d; %d packets of %d frames", d.strays-before, before, len(b.Packets), len(b.Frames))
	}
	for i := range b.Packets {
		checkSame(t, &b.Frames[i], &b.Packets[i], nil, b)
	}
}

// TestLabelBecomesIndicator: behind frames with ordinary labels come some in which
// one announces an entropy label, and those in which it was announced already.
func TestLabelBecomesIndicator(t *testing.T) {
	stack := func(labels ...uint32) []byte {
		var out []byte
		for i, label := range labels {
			entry := label<<12 | 62
			if i == len(labels)-1 {
				entry |= 0x100
			}
			out = binary.BigEndian.AppendUint32(out, entry)
		}
		return eth(etherMPLS, append(out, ip4(17, rtp)...))
	}
	labels := []uint32{7, 16, 1<<20 - 1}
	var stacks [][]byte
	for _, x := range labels {
		stacks = append(stacks, stack(x))
		for _, y := range labels {
			stacks = append(stacks, stack(x, y))
			for _, z := range labels {
				stacks = append(stacks, stack(x, y, z), stack(100, 101, x, y, z))
			}
		}
	}
	for _, before := range stacks {
		for _, data := range stacks {
			if len(before) == len(data) {
				checkRecall(t, ether, 0, before, data)
			}
		}
	}
}

// TestRecall changes each byte of a frame in a tunnel: behind the frame as it
// was, it must be read as it is alone.
func TestRecall(t *testing.T) {
	for _, k := range encap.Kinds() {
		if slices.Contains(forgets, k.Name) {
			continue
		}
		t.Run(k.Name, func(t *testing.T) {
			for _, in := range inners[:2] {
				data := encap.Wrap(k, in.frame)
				for at := range min(len(data), 140) {
					for _, flip := range []byte{1, 0x10, 0xff} {
						checkRecall(t, ether, 0, data, flipped(data, at, flip))
					}
				}
				for n := range data {
					checkRecall(t, ether, 0, data, data[:n])
					checkRecall(t, ether, uint16(len(data)-n), data, data[:n])
				}
			}
		})
	}
}

func flipped(data []byte, at int, flip byte) []byte {
	data = slices.Clone(data)
	if at < len(data) {
		data[at] ^= flip
	}
	return data
}

// checkRecall decodes a frame behind four that are alike, and wants it read as it is
// read alone.
func checkRecall(t *testing.T, link frame.LinkType, missing uint16, before, data []byte) {
	t.Helper()
	var d Decoder
	b := oneFrame(link, before)
	for range 3 { // walked, found, found again, compared with the last one
		b.Frames = append(b.Frames, b.Frames[0])
	}
	b.Frames = append(b.Frames, oneFrame(link, slices.Clip(data)).Frames[0])
	f := &b.Frames[4]
	f.Seq, f.Len = 1, f.Len+uint32(missing)
	d.Decode(b)
	s := d.Stats()
	checkLedger(t, &s)
	var p *frame.Packet
	var g *frame.Fragment
	for i := range b.Packets {
		if b.Packets[i].Seq == 1 {
			p = &b.Packets[i]
		}
	}
	for i := range b.Fragments {
		if b.Fragments[i].Seq == 1 {
			g = &b.Fragments[i]
		}
	}
	checkSame(t, f, p, g, b)
}

// checkSame wants f, which gave p or g or neither in b, to give the same alone.
func checkSame(t *testing.T, f *frame.Frame, p *frame.Packet, g *frame.Fragment, b *frame.Batch) {
	t.Helper()
	var d Decoder
	alone := &frame.Batch{Frames: []frame.Frame{*f}}
	d.Decode(alone)
	tunnel := func(b *frame.Batch, i uint16) frame.Tunnel {
		if i == 0 {
			return frame.Tunnel{}
		}
		return b.Tunnels[i-1]
	}
	if (p != nil) != (len(alone.Packets) == 1) || (g != nil) != (len(alone.Fragments) == 1) {
		t.Fatalf("%x\nalone %d packets and %d fragments, not so behind another", f.Data, len(alone.Packets), len(alone.Fragments))
	}
	if p != nil {
		q := alone.Packets[0]
		got, want := tunnel(b, p.Tunnel), tunnel(alone, q.Tunnel)
		q.Tunnel = p.Tunnel
		if !reflect.DeepEqual(*p, q) || got != want {
			t.Fatalf("%x\n  got %+v %v\nalone %+v %v", f.Data, *p, got, q, want)
		}
	}
	if g != nil {
		q := alone.Fragments[0]
		got, want := tunnel(b, g.Tunnel), tunnel(alone, q.Tunnel)
		q.Tunnel = g.Tunnel
		if !reflect.DeepEqual(*g, q) || got != want {
			t.Fatalf("%x\n  got %+v %v\nalone %+v %v", f.Data, *g, got, q, want)
		}
	}
}

// TestTunnelBehindWay: behind a way that is known there may be another tunnel, in
// frames that follow each other.
func TestTunnelBehindWay(t *testing.T) {
	for _, outer := range []string{"erspan-2", "vxlan", "gre", "gtp-u", "mpls"} {
		for _, inner := range []string{"vxlan", "gre", "geneve"} {
			plain := encap.Wrap(kind(t, outer), inners[0].frame)
			deep := encap.Wrap(kind(t, outer), encap.Wrap(kind(t, inner), inners[0].frame))
			b := &frame.Batch{}
			for _, data := range [][]byte{plain, plain, plain, deep, deep, plain, deep, deep, deep, plain, plain, plain, deep} {
				b.Frames = append(b.Frames, oneFrame(ether, data).Frames...)
			}
			var d Decoder
			for range 2 {
				d.Decode(b)
				if len(b.Packets) != len(b.Frames) {
					t.Fatalf("%s in %s: %d packets of %d frames", inner, outer, len(b.Packets), len(b.Frames))
				}
				for i := range b.Frames {
					checkSame(t, &b.Frames[i], &b.Packets[i], nil, b)
				}
			}
		}
	}
}
