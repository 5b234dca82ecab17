package flow

import (
	"slices"
	"sync"
)

// gaps are the clocks at which the capture lost frames, to the second. A shard
// that reads of a loss adds it before it says that it has read so far
// (handed). Whoever asks names a clock that everybody has read: a loss after
// it does not count, even if somebody has read of it already. So the answer
// does not depend on who was faster.
type gaps struct {
	mu     sync.Mutex
	clocks []int64 // the first of each second that has any, in order
}

const second = int64(1e9)

func (g *gaps) add(clock int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	begin := clock - clock%second
	i, _ := slices.BinarySearch(g.clocks, begin)
	if i < len(g.clocks) && g.clocks[i] < begin+second {
		g.clocks[i] = min(g.clocks[i], clock)
	} else {
		g.clocks = slices.Insert(g.clocks, i, clock)
	}
}

// within reports whether frames were lost, by the clock asOf, in a second that
// from to to touches.
func (g *gaps) within(from, to, asOf int64) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	i, _ := slices.BinarySearch(g.clocks, from-from%second)
	return i < len(g.clocks) && g.clocks[i] <= min(to-to%second+second-1, asOf)
}
