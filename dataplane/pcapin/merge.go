package pcapin

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"os"
	"slices"

	"ringside/dataplane/frame"
)

// merge holds the files that are still to be read.
type merge struct {
	waiting []*file // by the time of the first frame; closed
	active  []*file // a heap by key and order; open
}

// prepare opens the pipes and finds where each file begins in time. A single
// input is not looked into.
func (r *Reader) prepare(paths []found, stdinReader io.Reader) error {
	r.count.files = len(paths)
	multi := len(paths) > 1
	for _, p := range paths {
		f := &file{path: p.path, fromDir: p.fromDir, lone: !multi, pools: &r.pools, count: &r.count}
		if p.path == stdin {
			f.live = openStdin(stdinReader)
		} else if err := f.locate(); err != nil {
			if !multi {
				return fmt.Errorf("open capture: %w", err)
			}
			f.damage(0, err)
			continue
		}
		if f.live != nil {
			r.live = append(r.live, f.live)
			r.count.unsized = true
		}
		r.count.total += f.size
		if multi {
			f.peek()
		}
		r.merge.waiting = append(r.merge.waiting, f)
	}
	slices.SortStableFunc(r.merge.waiting, func(a, b *file) int { return cmp.Compare(a.first, b.first) })
	for i, f := range r.merge.waiting {
		f.order = i
	}
	return nil
}

// locate finds out whether f can be opened, and whether more than once.
func (f *file) locate() error {
	file, err := os.Open(f.path)
	if err != nil {
		return err
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		f.live = &liveInput{r: file, file: file, ours: true}
		return nil
	}
	if err == nil {
		f.size = info.Size()
	}
	_ = file.Close() // it was only tried
	return err
}

// peek finds the time of the first frame. A file without frames comes first, to
// be done with. A pipe is read from and stays open.
func (f *file) peek() {
	probe := f
	if f.live == nil {
		probe = &file{path: f.path, pools: f.pools, count: &counters{}}
	}
	for !probe.done && len(probe.frames) == 0 {
		probe.fill(peekBlock)
	}
	if len(probe.frames) > 0 {
		f.first = probe.frames[0].Time
	}
	if probe != f {
		probe.release()
	}
}

// key is the clock of the next frame, or what it cannot be below.
func (f *file) key() int64 {
	if f.pos < len(f.frames) {
		return f.frames[f.pos].Clock
	}
	return f.next
}

func (f *file) before(g *file) bool {
	a, b := f.key(), g.key()
	return a < b || a == b && f.order < g.order
}

// push makes f active.
func (m *merge) push(f *file) {
	m.active = append(m.active, f)
	h := m.active
	for i := len(h) - 1; i > 0; {
		parent := (i - 1) / 2
		if !h[i].before(h[parent]) {
			break
		}
		h[i], h[parent] = h[parent], h[i]
		i = parent
	}
}

// down restores the heap after the key of the first file went up.
func (m *merge) down() {
	h := m.active
	for i := 0; ; {
		child := 2*i + 1
		if child >= len(h) {
			return
		}
		if child+1 < len(h) && h[child+1].before(h[child]) {
			child++
		}
		if !h[child].before(h[i]) {
			return
		}
		h[i], h[child] = h[child], h[i]
		i = child
	}
}

// popDone takes the first file, which is at its end, from the heap.
func (m *merge) popDone() {
	m.active[0].release()
	n := len(m.active) - 1
	m.active[0] = m.active[n]
	m.active[n] = nil
	m.active = m.active[:n]
	m.down()
}

// run says how many of frames, which are the next ones of the first file, come
// before those of every other file. It is at least one.
func (m *merge) run(f *file, frames []frame.Frame) int {
	limit, inclusive := int64(math.MaxInt64), false
	if len(m.waiting) > 0 {
		limit = m.waiting[0].first
	}
	for _, g := range m.active[1:min(3, len(m.active))] {
		k, first := g.key(), f.order < g.order
		if k < limit {
			limit, inclusive = k, first
		} else if k == limit {
			// A file that waits is opened before its time is reached.
			inclusive = inclusive && first
		}
	}
	n := 1
	for n < len(frames) && (frames[n].Clock < limit || inclusive && frames[n].Clock == limit) {
		n++
	}
	return n
}

// close gives back all files.
func (m *merge) close() {
	for _, f := range m.active {
		f.release()
	}
	for _, f := range m.waiting {
		f.release()
	}
	m.active, m.waiting = nil, nil
}
