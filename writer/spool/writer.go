package spool

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"ringside/writer/compress"
)

const (
	rest      = 100 * time.Millisecond // how long a queue may be quiet before the writer looks at its segments
	firstWait = time.Second            // after an error, before the next attempt; doubled each time
	longWait  = 30 * time.Second
	mendMost  = time.Hour // the longest wait between two attempts to repair a file
	maxOpen   = 24        // segments of one writer; the one that was used longest ago is closed for another
)

// writer compresses the chunks of some shards and appends them to segments, in
// a goroutine of its own. Only in, waiting and the segments' locks are shared.
type writer struct {
	spool   *Spool
	id      int
	in      chan int32 // first pages of chunks; has room for all there are
	asks    chan flushAsk
	waiting atomic.Int64
	enc     compress.Encoder
	step    [Classes]int // on the ladders
	open    []*segment
	clock   int64 // latest clock of a chunk

	stopped error // why nothing is written at the moment
	retry   time.Time
	pause   time.Duration

	repair   []Name // files that were given up, to be repaired when writing works again
	mendAt   time.Time
	mendWait time.Duration // since the last attempt
}

// run is the goroutine. It ends when in is closed.
func (w *writer) run() {
	defer w.spool.writers.Done()
	tick := time.NewTicker(rest)
	defer tick.Stop()
	for {
		select {
		case page, ok := <-w.in:
			if !ok {
				w.end()
				return
			}
			w.take(page, w.spool.opts.Now())
		case <-tick.C:
			w.tick(w.spool.opts.Now())
		case ask := <-w.asks:
			w.drain(ask.write)
			close(ask.done)
		}
	}
}

// flushAsk asks a writer to take what waits, and to write it too.
type flushAsk struct {
	write bool
	done  chan struct{}
}

// drain takes what waits, and writes it if it shall.
func (w *writer) drain(write bool) {
	now := w.spool.opts.Now()
	for n := len(w.in); n > 0; n-- {
		w.take(<-w.in, now)
	}
	if !write {
		return
	}
	for _, s := range w.open {
		if w.stopped != nil {
			return
		}
		w.failed(s, s.flush(), now)
	}
}

// take writes a chunk, or counts what is lost with it, and frees it.
func (w *writer) take(page int32, now time.Time) {
	a := w.spool.arena
	k := a.chunks[page]
	w.clock = max(w.clock, k.born)
	section := a.buf(page, k.order)[:k.len]
	if err := w.store(&k, section, now); err != nil {
		w.spool.lost[k.class].add(uint64(k.packets), uint64(k.len))
		w.fail(err, now)
	} else {
		w.spool.stored[k.class].add(uint64(k.packets), uint64(k.len))
	}
	a.put(page, k.order)
	w.waiting.Add(-int64(k.len)) // now: a fetch relies on finding it here or in a segment
}

var errStopped = errors.New("spooling is stopped")

func (w *writer) store(k *chunk, section []byte, now time.Time) error {
	if w.stopped != nil || w.spool.full(k.class) {
		return errStopped
	}
	ladder := w.spool.opts.Ladders[k.class]
	w.step[k.class] = ladder.Next(w.step[k.class], w.waiting.Load(), w.spool.room)
	step := ladder[w.step[k.class]]
	n, back := w.name(k, step.Format)
	s, err := w.segment(n, back, now)
	if err != nil {
		return err
	}
	if err := s.add(step.Level, k, section, w.spool.opts.together(k.class, step.Format), now); err != nil {
		return err
	}
	// The chunk is in the buffer now: an error is not its loss.
	if len(s.buf) >= writeSize {
		w.failed(s, s.put(), now)
	}
	if w.stopped == nil && s.full() {
		w.finish(s, now)
	}
	return nil
}

// name is that of the segment for a chunk: the minute of its clock. Where the time of
// day was set back the clock is ahead of the packets' times from then on, by which
// they are looked for: then the minute is that of the packets, back says by how much,
// and the segment lasts as long as any other. Frames in no order at all, as some
// files have, would make segments without end: they stay with the clock.
func (w *writer) name(k *chunk, format compress.Format) (n Name, back int64) {
	n = Name{Class: k.class, Minute: k.born - mod(k.born, minute), Writer: w.id, Format: format}
	back = k.born - k.first
	if back -= mod(back, minute); back <= 0 {
		return n, 0
	}
	earlier := n
	earlier.Minute -= back
	if len(w.open) < maxOpen/2 || slices.ContainsFunc(w.open, func(s *segment) bool { return s.name.belongsWith(earlier) }) {
		return earlier, back
	}
	return n, 0
}

// belongsWith says whether what has the one name goes into a segment with the other,
// of the same writer: whichever copy that is, and whether it is hidden.
func (n Name) belongsWith(o Name) bool {
	return n.Class == o.Class && n.Minute == o.Minute && n.Format == o.Format
}

func mod(a, b int64) int64 { return (a%b + b) % b }

// segment is the open one of that name, or a new one.
func (w *writer) segment(n Name, back int64, now time.Time) (*segment, error) {
	oldest := 0
	for i, s := range w.open {
		if s.name.belongsWith(n) && !s.full() {
			return s, nil
		}
		if s.used.Before(w.open[oldest].used) {
			oldest = i
		}
	}
	if len(w.open) >= maxOpen {
		if w.finish(w.open[oldest], now); w.stopped != nil {
			return nil, errStopped
		}
	}
	if err := w.spool.mounted(); err != nil {
		return nil, err
	}
	s, err := createSegment(w.spool.fs, w.spool.root, n, &w.enc, now)
	if err != nil {
		return nil, err
	}
	s.back, s.packed, s.timed = back, &w.spool.packed[n.Class], w.spool.opts.Timed
	w.open = append(w.open, s)
	w.spool.begun(s)
	return s, nil
}

// tick writes what is old, syncs, closes the segments of minutes that are over,
// and tries again after an error.
func (w *writer) tick(now time.Time) {
	if w.stopped != nil {
		if now.Before(w.retry) {
			return
		}
		w.resume(now)
		if w.stopped != nil {
			return
		}
	}
	if len(w.repair) > 0 && !now.Before(w.mendAt) {
		w.mend(now)
	}
	o := &w.spool.opts
	for _, s := range append([]*segment(nil), w.open...) {
		if !s.empty() && now.Sub(s.since) >= o.FlushAge {
			w.failed(s, s.flush(), now)
		}
		if w.stopped == nil && s.dirty && now.Sub(s.synced) >= o.SyncAge {
			w.failed(s, s.sync(now), now)
		}
		over := s.name.Minute + s.back + minute + int64(o.ChunkAge) + closingGrace
		if w.stopped == nil && (w.clock >= over || now.Sub(s.used) >= time.Minute+o.ChunkAge) {
			w.finish(s, now)
		}
		if w.stopped != nil {
			return
		}
	}
}

// finish closes a segment.
func (w *writer) finish(s *segment, now time.Time) {
	if w.failed(s, s.finish(now), now) {
		return
	}
	s.close()
	w.forget(s)
	w.spool.closed(s)
}

func (w *writer) forget(s *segment) {
	for i := range w.open {
		if w.open[i] == s {
			w.open = append(w.open[:i], w.open[i+1:]...)
			return
		}
	}
}

// failed notes an error of a segment, and gives the segment up where it cannot
// be trusted, or failed too often: its file is repaired later.
func (w *writer) failed(s *segment, err error, now time.Time) bool {
	if err == nil {
		s.attempts = 0
		return false
	}
	w.fail(err, now)
	if s.attempts++; s.broken || s.attempts >= maxAttempts {
		w.giveUp(s)
	}
	return true
}

func (w *writer) giveUp(s *segment) {
	s.close()
	lost := func(e Entry) {
		c := s.name.Class
		w.spool.stored[c].packets.Add(-uint64(e.Packets))
		w.spool.stored[c].bytes.Add(-uint64(e.Chunk))
		w.spool.lost[c].add(uint64(e.Packets), uint64(e.Chunk))
	}
	for _, e := range s.index.entries {
		if e.Offset >= s.written {
			lost(e)
		}
	}
	for _, k := range s.of {
		lost(k.Entry)
	}
	w.forget(s)
	w.spool.abandoned(s)
	w.repair = append(w.repair, s.name)
}

// fail stops the writer for a while. What comes meanwhile is lost, and counted.
func (w *writer) fail(err error, now time.Time) {
	if errors.Is(err, errStopped) {
		return
	}
	w.spool.errors.Add(1)
	if w.stopped == nil {
		w.pause = firstWait
		w.spool.stops.Add(1)
	} else {
		w.pause = min(2*w.pause, longWait)
	}
	w.stopped, w.retry = err, now.Add(w.pause)
	w.spool.report(w.id, err)
}

// resume tries whether writing works again.
func (w *writer) resume(now time.Time) {
	err := w.spool.mounted()
	for _, s := range append([]*segment(nil), w.open...) {
		if err != nil {
			break
		}
		if err = s.flush(); err != nil {
			if s.attempts++; s.attempts >= maxAttempts {
				w.giveUp(s)
			}
			break
		}
		s.attempts = 0
	}
	if err == nil {
		err = w.spool.probe(w.id)
	}
	if err != nil {
		w.fail(err, now)
		return
	}
	if !now.Before(w.mendAt) {
		w.mend(now)
	}
	w.stopped = nil
	w.spool.report(w.id, nil)
}

// mend repairs files that were given up. One that cannot be repaired, since the
// disk has a bad block, say, does not keep others from being written: it is tried
// again later, and at the next start.
func (w *writer) mend(now time.Time) {
	left := w.repair[:0]
	for _, n := range w.repair {
		if _, err := recoverSegment(w.spool.fs, w.spool.root, n, true); err != nil {
			w.spool.errors.Add(1)
			left = append(left, n)
			continue
		}
		w.spool.rescan.Store(true)
	}
	if w.repair = left; len(left) == 0 {
		w.mendWait = 0
		return
	}
	w.mendWait = min(max(2*w.mendWait, longWait), mendMost)
	w.mendAt = now.Add(w.mendWait)
}

// end writes and closes all there is. What cannot be closed stays hidden, and
// is recovered at the next start.
func (w *writer) end() {
	now := w.spool.opts.Now()
	if w.stopped != nil {
		w.resume(now)
	}
	if w.stopped == nil {
		w.mend(now)
	}
	for _, s := range append([]*segment(nil), w.open...) {
		if err := s.finish(now); err != nil {
			w.spool.errors.Add(1)
			w.spool.report(w.id, fmt.Errorf("close %s: %w; it is recovered at the next start", s.name.Path(), err))
			w.giveUp(s)
			continue
		}
		s.close()
		w.forget(s)
		w.spool.closed(s)
	}
}
