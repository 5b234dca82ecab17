package size

import (
	"fmt"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// rounds of the loop of Calibrate, which make Reference on the reference machine.
const rounds = 1_000_000

// Calibrate is how much processor time this machine takes for a loop that does what
// a packet asks of it: its bytes are copied from far away, a few are looked at, a hash finds
// a line in a table that is larger than the cache, and some counters in it change.
// It runs on a thread of its own and takes no notice of who else uses the machine,
// but for the caches that they share.
func Calibrate() (time.Duration, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	const (
		frame  = 256
		frames = 16 << 20 / frame
		lines  = 4 << 20 / 64
	)
	memory, table := make([]byte, frame*frames), make([][8]uint64, lines)
	for i := range memory {
		memory[i] = byte(i * 7 >> 3)
	}
	for i := range table {
		table[i][0] = uint64(i)
	}
	var into [frame]byte
	began, err := threadTime()
	if err != nil {
		return 0, err
	}
	sum := uint64(1)
	for i := range rounds {
		at := i % frames * frame
		copy(into[:], memory[at:at+frame])
		h := sum ^ uint64(i)
		for _, b := range into[12:54] {
			h = (h ^ uint64(b)) * 0x100000001b3
		}
		line := &table[(h^h>>32)%lines]
		line[1]++
		if d := int64(line[2]) - int64(h); d < 0 {
			line[3] -= uint64(d) >> 4
		} else {
			line[3] += uint64(d) >> 4
		}
		line[2] = h
		sum += line[3] & 0xff
	}
	runtime.KeepAlive(sum)
	ended, err := threadTime()
	return ended - began, err
}

// threadTime is how long the calling thread has run.
func threadTime() (time.Duration, error) {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		return 0, fmt.Errorf("read processor time: %w", err)
	}
	return time.Duration(t.Nano()), nil
}
