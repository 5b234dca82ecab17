package flow

import (
	"runtime"
	"testing"
)

// TestLane passes numbers through a lane from one goroutine to another: all
// arrive, once, in order, however the two are scheduled.
func TestLane(t *testing.T) {
	const total = 200_000
	l := newLane[int](chunkPool[int](), ringSlots)
	go func() {
		for i := range total {
			*l.add() = i
			if i%37 == 0 {
				l.flush() // may fail: the chunk then goes on growing
			}
		}
		for !l.flush() {
			runtime.Gosched()
		}
	}()
	for next := 0; next < total; {
		c := l.take()
		if c == nil {
			runtime.Gosched()
			continue
		}
		for _, v := range *c {
			if v != next {
				t.Fatalf("got %d, want %d", v, next)
			}
			next++
		}
		l.give(c)
	}
	if l.take() != nil {
		t.Error("something is left")
	}
}

func TestRingIsBounded(t *testing.T) {
	r := newRing[int](ringSlots)
	for i := range ringSlots {
		if !r.push(i) {
			t.Fatalf("no room for %d", i)
		}
	}
	if r.push(0) {
		t.Error("room beyond the last slot")
	}
	if v, ok := r.pop(); !ok || v != 0 {
		t.Errorf("pop: %d %v", v, ok)
	}
	if !r.push(1) {
		t.Error("no room after a pop")
	}
}
