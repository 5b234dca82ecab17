package decode

import (
	"slices"
	"testing"

	"ringside/dataplane/frame"
)

// FuzzDecode decodes any bytes under any link type, captured whole or cut.
func FuzzDecode(f *testing.F) {
	for _, c := range slices.Concat(packetPaths, reasonPaths) {
		if len(c.data) < 2000 {
			f.Add(uint16(c.link), uint16(0), c.data)
			f.Add(uint16(c.link), uint16(len(c.data)/2), c.data[:len(c.data)-len(c.data)/2])
		}
	}
	f.Fuzz(func(t *testing.T, link, missing uint16, data []byte) {
		data = slices.Clip(data)
		b := oneFrame(frame.LinkType(link), data)
		b.Frames[0].Len += uint32(missing)
		var d Decoder
		d.Batch(b)
		s := d.Stats()
		checkLedger(t, &s)
		if s.Frames != 1 || s.Packets != uint64(len(b.Packets)) {
			t.Fatalf("%d frames and %d packets, holding %d", s.Frames, s.Packets, len(b.Packets))
		}
		if len(b.Packets) == 0 {
			return
		}
		p := &b.Packets[0]
		cut, fragment := p.Flags&frame.FlagCut != 0, p.Flags&frame.FlagFragment != 0
		switch {
		case len(p.Payload) > int(p.Len):
			t.Fatalf("payload of %d bytes with length %d", len(p.Payload), p.Len)
		case len(p.Payload) < int(p.Len) && !cut && !fragment:
			t.Fatalf("payload of %d bytes with length %d, no flag", len(p.Payload), p.Len)
		case len(p.Payload) == int(p.Len) && cut:
			t.Fatalf("payload of %d bytes is all there, but cut", len(p.Payload))
		case p.Proto != frame.ProtoUDP && p.Proto != frame.ProtoTCP && p.Proto != frame.ProtoSCTP:
			t.Fatalf("packet of protocol %d", p.Proto)
		case fragment != (s.Notes[NoteFragment] == 1):
			t.Fatal("fragment without its note")
		case (p.Flags&frame.FlagVLAN != 0) != (s.Notes[NoteVLAN] == 1):
			t.Fatal("tag without its note")
		}
	})
}
