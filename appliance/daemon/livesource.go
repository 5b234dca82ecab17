package daemon

import (
	"errors"
	"io"
	"time"

	"ringside/dataplane/frame"
)

// announceEvery is how often the meter in the kernel is asked for the streams
// that it has counted.
const announceEvery = time.Second

// announcer puts what the meter in the kernel says in front of a worker's ring:
// a batch of announcements about once a second, and the last of them before the
// ring ends.
type announcer struct {
	frame.Source
	poll func([]frame.Metered) []frame.Metered

	batch frame.Batch
	out   bool // the batch is not given back yet
	next  time.Time
	last  int64 // greatest clock that was handed out
	ended bool
}

// announced is how many streams one batch announces at the most.
const announced = 4096

func newAnnouncer(s frame.Source, poll func([]frame.Metered) []frame.Metered) *announcer {
	a := &announcer{Source: s, poll: poll}
	a.batch.Metered = make([]frame.Metered, 0, announced)
	a.batch.Free = func(*frame.Batch) { a.out = false }
	return a
}

// Next is frame.Source's.
func (a *announcer) Next() (*frame.Batch, error) { return a.behind(a.Source.Next) }

// Take is Next, but returns at once where the ring does.
func (a *announcer) Take() (*frame.Batch, error) {
	if p, ok := a.Source.(interface{ Take() (*frame.Batch, error) }); ok {
		return a.behind(p.Take)
	}
	return a.behind(a.Source.Next)
}

// behind puts announcements in front of what the ring gives.
func (a *announcer) behind(ring func() (*frame.Batch, error)) (*frame.Batch, error) {
	if now := time.Now(); !a.out && !a.ended && now.After(a.next) {
		b := a.announce()
		if len(a.batch.Metered) < announced/2 { // else there is more
			a.next = now.Add(announceEvery)
		}
		if b != nil {
			return b, nil
		}
	}
	b, err := ring()
	switch {
	case errors.Is(err, io.EOF) && !a.out: // all packets are through: what the meter has is final
		a.ended = true
		if b := a.announce(); b != nil {
			return b, nil
		}
	case errors.Is(err, io.EOF):
		return nil, nil // the batch comes back first
	case b != nil && len(b.Frames) > 0:
		a.last = max(a.last, b.Frames[len(b.Frames)-1].Clock)
	}
	return b, err
}

// announce is a batch of what the meter has counted since it was last asked; nil
// if that is nothing. All of it has one clock: later than that of every frame
// before, and not later than that of any behind.
func (a *announcer) announce() *frame.Batch {
	a.batch.Metered = a.poll(a.batch.Metered[:0])
	if len(a.batch.Metered) == 0 {
		return nil
	}
	clock := max(a.last+1, a.Source.Mark())
	for i := range a.batch.Metered {
		a.batch.Metered[i].Clock = clock
	}
	a.last, a.out = clock, true
	return &a.batch
}

// Mark is frame.Source's. Beyond the end it is later than the last announcement.
func (a *announcer) Mark() int64 {
	if a.ended {
		return max(a.Source.Mark(), a.last+1)
	}
	return a.Source.Mark()
}
