package frame

import "sync/atomic"

// Steady is a clock for the marks and clocks of live sources: the system's time of
// day, which goes on at its rate where that is set back. A frame's time is by the
// system's clock; if marks were, too, those of a quiet source would stand still
// until the system's clock is where it has been before, and all who wait for the
// least of all marks with them.
//
// Where the time of day is set forward, Steady goes along, for a clock is at least
// the frame's time.
type Steady struct {
	ahead atomic.Int64 // greatest of time of day - CLOCK_MONOTONIC that was seen, ns
}

// Live is the one of all live sources of the process: their marks are compared.
var Live Steady

// steadyNoise is by how much (ns) two readings of a clock that was not set may
// differ, since no two clocks can be read at one moment.
const steadyNoise = int64(10e6)

// At is the clock when the time of day (CLOCK_REALTIME) and CLOCK_MONOTONIC are
// those, ns, and by how much it is ahead of the time of day.
func (s *Steady) At(wall, mono int64) (now, ahead int64) {
	offset, most := wall-mono, s.ahead.Load()
	for offset > most {
		if s.ahead.CompareAndSwap(most, offset) {
			most = offset
			break
		}
		most = s.ahead.Load()
	}
	if ahead = most - offset; ahead < steadyNoise {
		return wall, 0
	}
	return wall + ahead, ahead
}

// Clock is that of a frame, before order among frames is looked at: its time, as
// far ahead as the clock is, but not beyond now. A frame that came before the time
// of day was set back has a time that is ahead already.
func Clock(time, now, ahead int64) int64 {
	if ahead == 0 {
		return time
	}
	return max(time, min(time+ahead, now))
}
