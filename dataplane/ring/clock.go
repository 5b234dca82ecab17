package ring

import (
	"time"

	"golang.org/x/sys/unix"

	"ringside/dataplane/frame"
)

// now is the steady clock of live sources, ns since the Unix epoch, and by how much
// it is ahead of the system's time of day. It is asked for each block, and when a
// ring is quiet for its mark, never for the time of a frame.
func now() (at, ahead int64) {
	for range 3 { // a thread that is stopped between the two readings sees a clock that was set
		if at, ahead = frame.Live.At(time.Now().UnixNano(), monotonic()); ahead == 0 {
			break
		}
	}
	return at, ahead
}

// monotonic is the system's clock that is never set, ns.
func monotonic() int64 {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &t); err != nil {
		return 0 // it cannot fail
	}
	return t.Nano()
}
