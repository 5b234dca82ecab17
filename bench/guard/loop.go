package guard

import (
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// The calibration loop is work that never changes, to hold other work against: a
// machine that is slower for a while is so for both. It does what the way of a packet
// does: bytes are looked at one by one, with branches that cannot be foreseen;
// several sums go on side by side, as much as a processor can do at a time; a
// table of more than a first-level cache is looked up; some hundred bytes are copied.
// Work that only waited would not feel who shares the core.
const loopWords = 1 << 16 // 512 KiB

// LoopTurns is how many turns Loop makes.
const LoopTurns = 1 << 14

var (
	loopRing = makeRing()
	loopText = makeText()
	loopCopy [256]byte
)

// makeText is text of words and separators in no order.
func makeText() []byte {
	text, state := make([]byte, 1<<14), uint64(7)
	for i := range text {
		state = state*6364136223846793005 + 1442695040888963407
		text[i] = "abcdefgh:;= 0123"[state>>60]
	}
	return text
}

// makeRing links all words in one circle in no order (Sattolo).
func makeRing() []uint64 {
	ring := make([]uint64, loopWords)
	for i := range ring {
		ring[i] = uint64(i)
	}
	state := uint64(1)
	for i := len(ring) - 1; i > 0; i-- {
		state = state*6364136223846793005 + 1442695040888963407
		j := int(state>>33) % i
		ring[i], ring[j] = ring[j], ring[i]
	}
	return ring
}

// Loop runs the calibration loop once, some milliseconds, and returns the
// processor time of a turn, in ns.
func Loop() float64 {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	began := threadTime()
	at, tokens := uint64(0), uint64(0)
	h := [4]uint64{1, 2, 3, 4}
	for turn := range LoopTurns {
		at = loopRing[at]
		line := loopText[turn*61%(len(loopText)-256):][:256]
		for _, c := range line[:48] {
			switch {
			case c == ':' || c == ';' || c == '=':
				tokens++
			case c >= '0' && c <= '9':
				h[0] = h[0]*10 + uint64(c-'0')
			}
		}
		for range 8 {
			h[0] = (h[0] ^ h[0]>>29) * 0xbf58476d1ce4e5b9
			h[1] = (h[1] ^ h[1]>>27) * 0x94d049bb133111eb
			h[2] = (h[2] ^ h[2]>>31) * 0x9e3779b97f4a7c15
			h[3] = (h[3] ^ h[3]>>33) * 0xff51afd7ed558ccd
		}
		copy(loopCopy[:], line)
	}
	took := threadTime() - began
	if at+tokens+h[0]+h[1]+h[2]+h[3]+uint64(loopCopy[9]) == 0 {
		return 0 // never: it is asked so that the work is done
	}
	return float64(took) / LoopTurns
}

// threadTime is the processor time of the calling thread.
func threadTime() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		return 0 // every Linux has this clock
	}
	return time.Duration(t.Nano())
}
