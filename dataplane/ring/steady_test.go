package ring

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ringside/dataplane/frame"
)

// The system's clock is set back while frames come on one ring, and none on
// another: both marks go on, and no frame comes behind a mark.
func TestClockSetBack(t *testing.T) {
	const back = int64(time.Hour)
	var steady frame.Steady
	wall, mono := base, int64(5e9)
	system := func() (int64, int64) { return steady.At(wall, mono) }
	pass := func(d time.Duration) { wall, mono = wall+int64(d), mono+int64(d) }

	busy, idle := fakeRing(t, 4), fakeRing(t, 4)
	busy.system, idle.system = system, system
	i := 0
	come := func(times ...int64) {
		t.Helper()
		var fs []fake
		for _, at := range times {
			fs = append(fs, fake{time: at, data: datagram(0, 0, 80)})
		}
		put(busy, i%4, block(fakeSize, 0, uint64(i+1), fs...))
		i++
		before := busy.Mark()
		b := next(t, busy)
		for k := range b.Frames {
			f := &b.Frames[k]
			if now, _ := system(); f.Time != times[k] || f.Clock < before || f.Clock > now+int64(len(times)) {
				t.Errorf("frame of %v: clock %v, the mark was %v, now %v", time.Unix(0, f.Time), time.Unix(0, f.Clock), time.Unix(0, before), time.Unix(0, now))
			}
		}
		b.Release()
	}
	marks := func() int64 {
		t.Helper()
		for _, r := range []*Ring{busy, idle} {
			if b := next(t, r); b != nil {
				t.Fatal("a batch out of nothing")
			}
		}
		return min(busy.Mark(), idle.Mark())
	}
	come(wall - 3e6)
	pass(100 * time.Millisecond)
	first := marks()

	stamped := wall // and not read yet
	pass(5 * time.Millisecond)
	wall -= back
	come(stamped, wall-1e6)
	for range 10 {
		pass(time.Second)
		come(wall-8e6, wall-2e6)
	}
	pass(100 * time.Millisecond)
	if last := marks(); last-first < int64(10*time.Second) || last-first > int64(11*time.Second) {
		t.Errorf("in 10 s after the clock was set back, marks rose by %v", time.Duration(last-first))
	}
	if busy.Stats().Late != 0 {
		t.Errorf("%d frames late", busy.Stats().Late)
	}

	// What waits in a block holds the mark, by the same clock.
	waits := block(fakeSize, 0, uint64(i+1), fake{time: wall, data: datagram(0, 0, 80)})
	host.PutUint32(waits[blockStatus:], unix.TP_STATUS_KERNEL)
	put(busy, i%4, waits)
	came, _ := system()
	pass(time.Second)
	if marks(); busy.Mark() != came || idle.Mark() <= came {
		t.Errorf("marks of a ring where a frame waits %v, and of a quiet one %v, after it came", time.Duration(busy.Mark()-came), time.Duration(idle.Mark()-came))
	}
}
