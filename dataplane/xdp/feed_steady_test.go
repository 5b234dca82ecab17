package xdp

import (
	"encoding/binary"
	"sync/atomic"
	"testing"
	"time"

	"ringside/dataplane/frame"
)

// TestFeedClockSetBack: where the system's clock is set back, the mark and the
// clocks of frames go on.
func TestFeedClockSetBack(t *testing.T) {
	const size = 4096
	var steady frame.Steady
	wall, mono := int64(1_700_000_000e9), int64(5e9)
	pass := func(d time.Duration) { wall, mono = wall+int64(d), mono+int64(d) }
	mem := make([]byte, size+2*feedControl)
	f := newFeed(mem, len(mem), 0, 1, 0)
	f.system = func() (int64, int64) { return steady.At(wall, mono) }

	// put does what the program does with a frame that came at a time.
	put := func(at int64) {
		r := &f.rings[0]
		head := atomic.LoadUint64(r.head)
		rec := r.data[head&r.mask:]
		binary.LittleEndian.PutUint64(rec[recordTime:], uint64(at))
		binary.LittleEndian.PutUint32(rec[recordKept:], 40)
		atomic.StoreUint64(r.head, head+recordSize+40)
	}
	take := func(want int64) {
		t.Helper()
		b, err := f.Next()
		if err != nil || b == nil || len(b.Frames) != 1 {
			t.Fatal(b, err)
		}
		if fr := b.Frames[0]; fr.Clock != want {
			t.Errorf("clock %v behind what it should be", time.Duration(want-fr.Clock))
		}
		b.Release()
	}
	put(wall)
	take(wall)
	before := wall
	pass(time.Second)
	wall -= int64(time.Hour)
	put(before + 5e8) // the program does not know yet
	take(before + 1e9)
	for i := range int64(5) {
		pass(time.Second)
		put(wall - 1e6)
		take(before + (i+2)*1e9 - 1e6)
	}
	pass(time.Second)
	if b, err := f.Next(); b != nil || err != nil {
		t.Fatal(b, err)
	}
	if want := before + 7e9 - int64(feedHold); f.Mark() != want || f.Stats().Late != 0 {
		t.Errorf("mark %v behind what it should be, %d late", time.Duration(want-f.Mark()), f.Stats().Late)
	}
}
