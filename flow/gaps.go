package flow

import (
	"slices"
	"sync"
)

// gaps are the clocks at which the capture lost frames, to the second. A shard
// that reads of a loss adds it before it says that it has read so far
// (signalled), and all ask only about clocks that everybody has read; so the
// answer does not depend on who was faster.
type gaps struct {
	mu     sync.Mutex
	clocks []int64 // one for each second that has any, in order; whole seconds
}

const second = int64(1e9)

func (g *gaps) add(clock int64) {
	clock -= clock % second
	g.mu.Lock()
	defer g.mu.Unlock()
	if i, ok := slices.BinarySearch(g.clocks, clock); !ok {
		g.clocks = slices.Insert(g.clocks, i, clock)
	}
}

// within reports whether frames were lost in a second that from to to touches.
func (g *gaps) within(from, to int64) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	i, ok := slices.BinarySearch(g.clocks, from-from%second)
	return ok || i < len(g.clocks) && g.clocks[i] <= to
}
