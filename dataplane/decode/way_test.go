package decode

import (
	"bytes"
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

// TestManyWays: tunnels that take turns, more than are remembered.
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

// checkRecall decodes a frame behind another one, and wants it read as it is
// read alone.
func checkRecall(t *testing.T, link frame.LinkType, missing uint16, before, data []byte) {
	t.Helper()
	var d Decoder
	b := oneFrame(link, before)
	b.Frames = append(b.Frames, oneFrame(link, before).Frames[0], oneFrame(link, slices.Clip(data)).Frames[0])
	f := &b.Frames[2]
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
