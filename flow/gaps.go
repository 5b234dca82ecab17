package flow

import (
	"cmp"
	"slices"
	"sync"
)

// gaps are when the capture lost frames, to the second. A shard that reads of a
// loss adds it before it says that it has read so far (handed). Whoever asks names a
// clock that everybody has read: a loss after it does not count, even if somebody has
// read of it already. So the answer does not depend on who was faster.
//
// Records have times, and order is by clocks, which may be ahead of times for long,
// as where the system's clock was set back: a gap has both.
type gaps struct {
	mu   sync.Mutex
	list []gap // one for each second that has any, in order
}

type gap struct {
	time  int64 // the whole second
	clock int64 // least, of the losses in it
}

const second = int64(1e9)

// maxGaps is how many seconds with losses are remembered: more than a day of a
// capture that loses all the time. Calls do not last as long.
const maxGaps = 1 << 17

func (g *gaps) add(time, clock int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	begin := time - time%second
	i, found := g.find(begin)
	if found {
		g.list[i].clock = min(g.list[i].clock, clock)
		return
	}
	if g.list = slices.Insert(g.list, i, gap{begin, clock}); len(g.list) > maxGaps {
		g.list = slices.Delete(g.list, 0, maxGaps/2)
	}
}

// find is the place of the first gap that is not before a time.
func (g *gaps) find(time int64) (int, bool) {
	return slices.BinarySearchFunc(g.list, time, func(x gap, at int64) int { return cmp.Compare(x.time, at) })
}

// within reports whether frames were lost, by the clock asOf, in a second that
// from to to touches.
func (g *gaps) within(from, to, asOf int64) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	i, _ := g.find(from - from%second)
	for ; i < len(g.list) && g.list[i].time <= to; i++ {
		if g.list[i].clock <= asOf {
			return true
		}
	}
	return false
}
