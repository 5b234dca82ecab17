package decode

import (
	"slices"
	"testing"

	"ringside/bench/encap"
	"ringside/dataplane/frame"
)

// FuzzDecode decodes any bytes under any link type, captured whole or cut, and
// joins what comes out as a fragment. Then it decodes the frame once more, changed
// in a byte, behind itself.
func FuzzDecode(f *testing.F) {
	for _, c := range slices.Concat(packetPaths, reasonPaths) {
		if len(c.data) < 2000 {
			f.Add(uint16(c.link), uint16(0), c.data, uint16(0), byte(0))
			f.Add(uint16(c.link), uint16(len(c.data)/2), c.data[:len(c.data)-len(c.data)/2], uint16(20), byte(1))
		}
	}
	for _, k := range encap.Kinds() {
		f.Add(uint16(ether), uint16(0), encap.Wrap(k, inners[0].frame), uint16(30), byte(1))
		f.Add(uint16(ether), uint16(0), encap.Wrap(k, encap.Fragment(long(1, false), 1300)[0]), uint16(17), byte(255))
	}
	f.Fuzz(func(t *testing.T, link, missing uint16, data []byte, at uint16, flip byte) {
		data = slices.Clip(data)
		b := oneFrame(frame.LinkType(link), data)
		b.Frames[0].Len += uint32(missing)
		var d Decoder
		d.Decode(b)
		s := d.Stats()
		checkLedger(t, &s)
		if s.Frames != 1 || s.Packets != uint64(len(b.Packets)) || s.Fragments != uint64(len(b.Fragments)) {
			t.Fatalf("%d frames, %d packets, %d fragments, holding %d and %d", s.Frames, s.Packets, s.Fragments, len(b.Packets), len(b.Fragments))
		}
		checkRecall(t, frame.LinkType(link), missing, data, flipped(data, int(at), flip))
		for i := range b.Packets {
			p := &b.Packets[i]
			checkFuzzed(t, p)
			if p.Flags&frame.FlagFragment != 0 || p.Flags&frame.FlagVLAN != 0 != (s.Notes[NoteVLAN] == 1) {
				t.Fatalf("flags %b and notes %v", p.Flags, s.Notes)
			}
			if int(p.Tunnel) > len(b.Tunnels) {
				t.Fatalf("tunnel %d of %d", p.Tunnel, len(b.Tunnels))
			}
		}
		for i := range b.Fragments {
			joinFuzzed(t, &d, b, &b.Fragments[i])
		}
	})
}

// joinFuzzed joins a fragment with two of its kind that complete it, before and
// behind.
func joinFuzzed(t *testing.T, d *Decoder, b *frame.Batch, f *frame.Fragment) {
	if len(f.Data) > int(f.Len) || f.Flags&frame.FlagCut != 0 != (len(f.Data) < int(f.Len)) || f.Depth > maxLayers {
		t.Fatalf("fragment of %d bytes with length %d, flags %b, depth %d", len(f.Data), f.Len, f.Flags, f.Depth)
	}
	tunnel := frame.Tunnel{}
	if f.Tunnel > 0 {
		tunnel = b.Tunnels[f.Tunnel-1]
	}
	into := &frame.Batch{}
	first, last := *f, *f
	first.Offset, first.More, first.Data, first.Len = 0, true, make([]byte, f.Offset), f.Offset
	last.Offset, last.More, last.Data, last.Len = f.Offset+f.Len, false, make([]byte, 100), 100
	for _, part := range []*frame.Fragment{&first, f, &last} {
		if part != &first || f.Offset > 0 {
			d.Join(part, &tunnel, into)
		}
	}
	s := d.Stats()
	checkLedger(t, &s)
	if s.JoinedPackets != uint64(len(into.Packets)) {
		t.Fatalf("%d packets joined, %d held", s.JoinedPackets, len(into.Packets))
	}
	for i := range into.Packets {
		checkFuzzed(t, &into.Packets[i])
		if into.Packets[i].Flags&frame.FlagFragment == 0 || int(into.Packets[i].Tunnel) > len(into.Tunnels) {
			t.Fatalf("joined packet %+v of %d tunnels", into.Packets[i], len(into.Tunnels))
		}
	}
}

func checkFuzzed(t *testing.T, p *frame.Packet) {
	cut := p.Flags&frame.FlagCut != 0
	switch {
	case len(p.Payload) > int(p.Len):
		t.Fatalf("payload of %d bytes with length %d", len(p.Payload), p.Len)
	case len(p.Payload) < int(p.Len) != cut:
		t.Fatalf("payload of %d bytes with length %d, cut %v", len(p.Payload), p.Len, cut)
	case p.Proto != frame.ProtoUDP && p.Proto != frame.ProtoTCP && p.Proto != frame.ProtoSCTP:
		t.Fatalf("packet of protocol %d", p.Proto)
	}
}
