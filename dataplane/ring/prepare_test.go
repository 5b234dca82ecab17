package ring

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"ringside/dataplane/frame"
)

// For an interface that was made anew everything is prepared before the first
// frame is taken, and that frame tells that others may be missing.
func TestPrepare(t *testing.T) {
	space(t)
	var calls, broken atomic.Int32
	s := open(t, Options{Prepare: func() error {
		calls.Add(1)
		if broken.Load() != 0 {
			return errors.New("cannot attach the filter")
		}
		return nil
	}})
	take := func() (lost uint32) {
		t.Helper()
		tx := newSender(t, "vtx")
		defer tx.close()
		tx.send(datagram(1, 1, 200))
		if n := read(t, s.Ring(0), 1, func(f *frame.Frame) { lost += f.Lost }); n != 1 {
			t.Fatalf("%d frames, want 1", n)
		}
		return lost
	}
	state(t, s, capturing)
	if lost := take(); lost != 0 || calls.Load() != 0 {
		t.Errorf("at first: %d lost, prepared %d times", lost, calls.Load())
	}
	broken.Store(1)
	ip(t, "link", "del", "vtx")
	pair(t)
	eventually(t, "the reason is told, and it is tried again", func() bool {
		return strings.Contains(s.State().Text, "cannot attach the filter") && calls.Load() > 1
	})
	if s.State().Capturing {
		t.Error("it captures without what should be there first")
	}
	broken.Store(0)
	state(t, s, capturing)
	if lost := take(); lost != 1 {
		t.Errorf("behind the interruption %d are told to be lost, want 1: nobody knows how many", lost)
	}
	if lost := take(); lost != 0 {
		t.Errorf("%d more", lost)
	}
}
