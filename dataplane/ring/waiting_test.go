package ring

import (
	"testing"

	"ringside/dataplane/frame"
)

// What waits is counted, in whichever block it is.
func TestWaiting(t *testing.T) {
	space(t)
	s := open(t, Options{BlockSize: smallestBlock})
	state(t, s, capturing)
	tx := newSender(t, "vtx")
	defer tx.close()
	const sent = 2000 // of 200 bytes: some blocks
	for i := range sent {
		tx.send(datagram(uint64(i), 1, 200))
	}
	eventually(t, "all have come", func() bool { return s.Stats().Received == sent })
	if st := s.Stats(); st.Waiting != sent || st.Packets != 0 {
		t.Errorf("nothing was read: %+v", st)
	}
	var held []*frame.Batch
	for n := uint64(0); n < sent; {
		b, err := s.Ring(0).Next()
		if err != nil {
			t.Fatal(err)
		}
		if b == nil {
			continue
		}
		n += uint64(len(b.Frames))
		held = append(held, b)
		if st := s.Stats(); st.Packets != n || st.Waiting != sent-n {
			t.Fatalf("%d frames were read: %+v", n, st)
		}
	}
	if len(held) < 3 {
		t.Errorf("all came in %d batches: nothing was put to the test", len(held))
	}
	for _, b := range held {
		b.Release()
	}
}
