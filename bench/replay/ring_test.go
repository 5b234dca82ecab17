package replay

import (
	"bytes"
	"testing"

	"ringside/bench/netns"
)

// Through the ring, what is rewritten arrives as through sendmmsg, and what the
// driver refuses is offered until it is taken: flat out, through more slots than there are.
func TestRing(t *testing.T) {
	frames := generated(t, mixed(3))
	const loops = 3
	var want []Frame
	for loop := range uint64(loops) {
		want = append(want, rewritten(frames, loop)...)
	}
	l := pair(t, 1)
	in := listen(t, l)
	r, err := sendOn(t.Context(), l, Options{Frames: frames, Loops: loops, Engine: Ring, PPS: 20000, Rewrite: true})
	if err != nil || r.Sent != uint64(len(want)) {
		t.Fatalf("got %+v, %v, want %d frames sent", r, err, len(want))
	}
	for i, got := range in.take(t, len(want)) {
		if !bytes.Equal(got, want[i].Data) {
			t.Fatalf("frame %d arrived as\n%x, want\n%x", i, got, want[i].Data)
		}
	}
	before, err := l.Counters(netns.B)
	if err != nil {
		t.Fatal(err)
	}
	n := 3 * ringSlots / len(frames)
	if r, err = sendOn(t.Context(), l, Options{Frames: frames, Loops: n, Engine: Ring}); err != nil || r.Sent != uint64(n*len(frames)) {
		t.Fatalf("got %+v, %v, want %d frames sent", r, err, n*len(frames))
	}
	if after, err := l.Counters(netns.B); err != nil || after.RxPackets-before.RxPackets != r.Sent {
		t.Errorf("%v: %d frames arrived of %d", err, after.RxPackets-before.RxPackets, r.Sent)
	}
}

func TestParseEngine(t *testing.T) {
	for _, e := range []Engine{Packet, XDP, Ring} {
		if got, err := ParseEngine(e.String()); err != nil || got != e {
			t.Errorf("%v comes back as %v, %v", e, got, err)
		}
	}
	if _, err := ParseEngine("pigeon"); err == nil {
		t.Error("any engine is taken")
	}
}
