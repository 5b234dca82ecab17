package replay

import (
	"context"
	"time"
)

// tick is what due times are counted in, in parts of a nanosecond: rates of
// millions a second would suffer from whole ones.
const tick = 1024

// schedule says when frames are due: frame i of a pass in its place offsets[i]
// after the begin of the pass, passes following one another by period. Both are in ticks.
type schedule struct {
	offsets  []uint64
	period   uint64
	patience time.Duration // Options.Patience
	paced    bool          // otherwise all is due at once
}

// newSchedule plans one pass of so many frames.
func newSchedule(o *Options, frames int) schedule {
	s := schedule{offsets: make([]uint64, frames), patience: o.Patience}
	switch {
	case o.PPS > 0:
		s.paced = true
		each := 1e9 * tick / o.PPS
		for i := range s.offsets {
			s.offsets[i] = uint64(float64(i) * each)
		}
		s.period = uint64(float64(frames) * each)
	case o.Speed > 0:
		s.paced = true
		// A capture's times may go backwards: then a frame is due with the one before it.
		last := uint64(0)
		each := frames / len(o.Frames) // with Fields, every sender has every frame
		for i := range s.offsets {
			if d := o.Frames[i/each].Time - o.Frames[0].Time; d > 0 {
				last = max(last, uint64(float64(d)/o.Speed*tick))
			}
			s.offsets[i] = last
		}
		s.period = last + uint64(float64(o.Gap)/o.Speed*tick)
	}
	return s
}

// clock tells a sender when its frames are due.
type clock struct {
	schedule *schedule
	began    time.Time
	slipped  time.Duration
}

// wait is how long it is until the frame at a place of a pass is due; 0 or less: it is.
func (c *clock) wait(loop uint64, place int) time.Duration {
	if !c.schedule.paced {
		return 0
	}
	due := time.Duration((loop*c.schedule.period+c.schedule.offsets[place])/tick) + c.slipped
	left := due - time.Since(c.began)
	if p := c.schedule.patience; left < -p {
		c.slipped -= left + p
		left = -p
	}
	return left
}

// sleep waits for d, or until there is no use in waiting.
func sleep(ctx context.Context, d time.Duration) {
	// A timer of less is no more exact, and wakes the thread for every frame.
	d = max(d, 100*time.Microsecond)
	if d < 10*time.Millisecond {
		time.Sleep(d)
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
