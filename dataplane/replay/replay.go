// Package replay hands out the frames of a capture at a pace: as they were
// recorded, faster or slower, or so many in a second; once or in a loop.
//
// The frames keep the times that the capture gave them, whatever the pace, so
// the records are the same as those of a plain read. In a loop each pass
// follows the one before it in time, and its frames carry its number, by which
// Call-IDs and SSRCs become those of other calls (frame.Frame.Loop).
//
// The pace is kept by the machine's clock, the only place in dataplane that
// looks at one to decide when.
package replay

import (
	"errors"
	"fmt"
	"io"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"ringside/dataplane/frame"
)

// Options say at which pace, and how often.
type Options struct {
	// Scale multiplies the recorded delays between frames: 1 is as recorded,
	// 0.1 ten times as fast, 2 at half the speed; 0 is as fast as possible.
	Scale float64

	// A delay, once scaled, is at least MinDelay, and at most MaxDelay if that
	// is not 0.
	MinDelay, MaxDelay time.Duration

	// PPS, if not 0, is how many frames to hand out in a second, in place of
	// the recorded delays.
	PPS float64

	// Loops is how often to read the capture; 0 is once.
	Loops int

	// EndTimeout lets the clock go on for so long behind the last frame, so
	// that states time out rather than end with the capture.
	EndTimeout time.Duration
}

func (o *Options) check() error {
	switch {
	case o.Scale < 0 || math.IsNaN(o.Scale) || math.IsInf(o.Scale, 0):
		return fmt.Errorf("replay: scale %v: must be 0 (as fast as possible) or more", o.Scale)
	case o.PPS < 0 || math.IsNaN(o.PPS) || math.IsInf(o.PPS, 0):
		return fmt.Errorf("replay: %v packets per second: must be 0 (recorded delays) or more", o.PPS)
	case o.MinDelay < 0 || o.MaxDelay < 0 || o.EndTimeout < 0:
		return errors.New("replay: a delay is negative")
	case o.MaxDelay != 0 && o.MaxDelay < o.MinDelay:
		return fmt.Errorf("replay: longest delay %v is less than shortest delay %v", o.MaxDelay, o.MinDelay)
	case o.Loops < 0 || o.Loops > math.MaxUint16:
		return fmt.Errorf("replay: %d loops: must be 0 to %d", o.Loops, math.MaxUint16)
	}
	return nil
}

// paced reports whether there is a pace to keep.
func (o *Options) paced() bool { return o.Scale > 0 || o.PPS > 0 || o.MinDelay > 0 }

// Input is one pass of the capture.
type Input interface {
	frame.Source
	Close() error
}

// longestWait is for how long Next waits for a frame to be due.
const longestWait = 5 * time.Millisecond

// passGap is the time between the last frame of a pass and the first of the
// next, ns.
const passGap = int64(time.Second)

// Source is a frame.Source for any number of workers.
type Source struct {
	options Options
	open    func() (Input, error)
	clock   clock

	mu    sync.Mutex
	input Input
	held  *held // batch that is being handed out
	parts sync.Pool
	pass  int
	shift int64 // added to the times of this pass, ns
	first int64 // least and greatest clock of this pass, before the shift
	last  int64
	any   bool // this pass had a frame
	seq   uint64
	sent  uint64
	begun time.Time     // of the first frame
	due   time.Duration // of the frame before, since begun
	ended bool
	mark  atomic.Int64

	previous int64 // time of the frame before, ns
	started  bool
}

// New opens the first pass. open is called once for each pass, and must give
// the same frames each time.
func New(open func() (Input, error), o Options) (*Source, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	in, err := open()
	if err != nil {
		return nil, err
	}
	s := &Source{options: o, open: open, input: in, clock: system{}}
	s.mark.Store(math.MinInt64)
	return s, nil
}

// held is a batch of the input, handed out in parts. It goes back when all of
// them have.
type held struct {
	batch *frame.Batch
	next  int // first frame not handed out
	parts atomic.Int32
}

func (h *held) release() {
	if h.parts.Add(-1) == 0 {
		h.batch.Release()
	}
}

// part is a batch for a part of h. Its packets and fragments are used again.
func (s *Source) part(h *held) *frame.Batch {
	b, _ := s.parts.Get().(*frame.Batch)
	if b == nil {
		b = new(frame.Batch)
	}
	b.Free = func(b *frame.Batch) {
		b.Frames, b.Free = nil, nil
		s.parts.Put(b)
		h.release()
	}
	return b
}

// Mark is frame.Source's.
func (s *Source) Mark() int64 { return s.mark.Load() }

// Passes is how many passes are over.
func (s *Source) Passes() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pass
}

// Next is frame.Source's: the frames that are due.
func (s *Source) Next() (*frame.Batch, error) {
	if !s.mu.TryLock() {
		return nil, nil // another worker takes what is due, or waits for it
	}
	defer s.mu.Unlock()
	if s.ended {
		return nil, io.EOF
	}
	if s.held == nil {
		if err := s.fill(); err != nil || s.held == nil {
			return nil, err
		}
	}
	h := s.held
	from, to := h.next, len(h.batch.Frames)
	if s.options.paced() {
		if to = s.dueUntil(h); to == from {
			return nil, nil
		}
	}
	h.next = to
	frames := h.batch.Frames[from:to:to]
	s.sent += uint64(len(frames))
	h.parts.Add(1)
	out := s.part(h)
	out.Frames = frames
	if to == len(h.batch.Frames) {
		s.held = nil
		s.mark.Store(max(s.input.Mark()+s.shift, frames[len(frames)-1].Clock+1))
		h.release()
	} else {
		s.mark.Store(h.batch.Frames[to].Clock)
	}
	return out, nil
}

// fill takes the next batch of the input, and begins another pass where one is
// over.
func (s *Source) fill() error {
	b, err := s.input.Next()
	if errors.Is(err, io.EOF) {
		return s.turn()
	}
	if err != nil || b == nil {
		return err
	}
	if len(b.Frames) == 0 {
		b.Release()
		return nil
	}
	for i := range b.Frames {
		f := &b.Frames[i]
		if !s.any {
			s.first, s.last, s.any = f.Clock, f.Clock, true
		}
		s.last = max(s.last, f.Clock)
		f.Time += s.shift
		f.Clock += s.shift
		f.Seq, f.Loop = s.seq, uint16(s.pass)
		s.seq++
	}
	s.held = &held{batch: b}
	s.held.parts.Store(1)
	return nil
}

// turn ends a pass.
func (s *Source) turn() error {
	end := max(s.mark.Load(), s.input.Mark()+s.shift) // a pass without a frame ends where it began
	s.pass++
	if s.pass >= max(1, s.options.Loops) || !s.any {
		s.ended = true
		s.mark.Store(end + int64(s.options.EndTimeout))
		return io.EOF
	}
	if err := s.input.Close(); err != nil {
		return fmt.Errorf("replay: close pass %d: %w", s.pass, err)
	}
	in, err := s.open()
	if err != nil {
		return fmt.Errorf("replay: open pass %d: %w", s.pass+1, err)
	}
	s.shift += s.last - s.first + passGap
	s.input, s.any = in, false
	s.mark.Store(end)
	return nil
}

// dueUntil is the first frame of h that is not due yet, after a short wait for
// one if none is.
func (s *Source) dueUntil(h *held) int {
	if s.begun.IsZero() {
		s.begun = s.clock.now()
	}
	elapsed := s.clock.now().Sub(s.begun)
	if wait := s.delay(h, h.next) - elapsed; wait > 0 {
		s.clock.sleep(min(wait, longestWait))
		elapsed = s.clock.now().Sub(s.begun)
	}
	to := h.next
	for to < len(h.batch.Frames) {
		due := s.delay(h, to)
		if due > elapsed {
			break
		}
		s.due = due
		s.previous, s.started = h.batch.Frames[to].Time, true
		to++
	}
	return to
}

// delay is when frame i of h is due, since the first frame was.
func (s *Source) delay(h *held, i int) time.Duration {
	o := &s.options
	if o.PPS > 0 {
		return time.Duration(float64(s.sent+uint64(i-h.next)) / o.PPS * float64(time.Second))
	}
	if !s.started {
		return 0
	}
	recorded := float64(max(0, h.batch.Frames[i].Time-s.previous))
	d := time.Duration(min(recorded*o.Scale, float64(math.MaxInt64/4)))
	if o.MaxDelay > 0 {
		d = min(d, o.MaxDelay)
	}
	return s.due + max(d, o.MinDelay)
}

// Close closes the input. Batches that are out stay valid.
func (s *Source) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	return s.input.Close()
}
