package xdp

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"ringside/bpf"
	"ringside/dataplane/frame"
)

// clockEvery is how often the program is told what time it is. Programs read
// CLOCK_MONOTONIC; the time since the epoch gets ahead of it where the clock is
// set, and by no more than 0.5 ms in a second where it is slewed.
const clockEvery = time.Second

// setClock tells the program how far CLOCK_REALTIME is ahead of CLOCK_MONOTONIC.
func (f *Filter) setClock() error {
	offset, err := clockOffset()
	if err != nil {
		return err
	}
	if err := f.objects.Variables[bpf.PrefilterVarRsOffset].Set(uint64(offset)); err != nil {
		return fmt.Errorf("set the filter's clock: %w", err)
	}
	return nil
}

// now is the steady clock of live sources, ns since the Unix epoch, and by how much
// it is ahead of the system's time of day. It is asked for each batch of a feed, and
// when a feed is quiet for its mark, never for the time of a frame.
func now() (at, ahead int64) {
	for range 3 { // a thread that is stopped between the two readings sees a clock that was set
		var wall, mono unix.Timespec
		if unix.ClockGettime(unix.CLOCK_REALTIME, &wall) != nil || unix.ClockGettime(unix.CLOCK_MONOTONIC, &mono) != nil {
			return 0, 0 // they cannot fail; the mark then stays where it is
		}
		if at, ahead = frame.Live.At(wall.Nano(), mono.Nano()); ahead == 0 {
			break
		}
	}
	return at, ahead
}

// clockOffset is CLOCK_REALTIME - CLOCK_MONOTONIC in ns. Of some tries the quickest
// counts: it was least disturbed.
func clockOffset() (int64, error) {
	best, offset := int64(-1), int64(0)
	for range 4 {
		var before, now, after unix.Timespec
		for _, c := range []struct {
			id int32
			to *unix.Timespec
		}{{unix.CLOCK_MONOTONIC, &before}, {unix.CLOCK_REALTIME, &now}, {unix.CLOCK_MONOTONIC, &after}} {
			if err := unix.ClockGettime(c.id, c.to); err != nil {
				return 0, fmt.Errorf("read the system's clock: %w", err)
			}
		}
		if took := after.Nano() - before.Nano(); best < 0 || took < best {
			best, offset = took, now.Nano()-before.Nano()-took/2
		}
	}
	return offset, nil
}
