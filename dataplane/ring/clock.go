package ring

import "time"

// now is the system's clock, ns since the Unix epoch. It is asked when a ring
// is quiet, for its mark, and never for the time of a frame.
func now() int64 { return time.Now().UnixNano() }
