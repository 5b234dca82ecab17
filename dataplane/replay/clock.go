package replay

import "time"

// clock is the machine's, or a test's.
type clock interface {
	now() time.Time
	sleep(time.Duration)
}

type system struct{}

func (system) now() time.Time        { return time.Now() }
func (system) sleep(d time.Duration) { time.Sleep(d) }
