package xdp

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"ringside/dataplane/frame"
	"ringside/flow/meter"
)

// cpuTime is what this thread has run so far, ns: a figure that others on the
// machine disturb less than the time on the wall.
func cpuTime(b *testing.B) int64 {
	b.Helper()
	runtime.LockOSThread()
	b.Cleanup(runtime.UnlockOSThread)
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		b.Fatal(err)
	}
	return t.Nano()
}

// report gives the CPU time since begin by packet.
func report(b *testing.B, begin int64, packets int) {
	b.ReportMetric(float64(cpuTime(b)-begin)/float64(packets), "cpu-ns/packet")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkMeter is the cost of a packet in the kernel, where the packets are
// made and nothing else is done: floor; metered, its stream named by SDP: named;
// not named, so that SDP is looked for every time: unnamed.
func BenchmarkMeter(b *testing.B) {
	for _, streams := range []int{100, 10_000, 50_000} {
		for _, kind := range []string{"floor", "named", "unnamed"} {
			b.Run(fmt.Sprintf("%s/%d", kind, streams), func(b *testing.B) {
				r := load(b, 4*streams)
				p := r.RunBench
				switch kind {
				case "floor":
					p = r.RunFloor
				case "named":
					r.publish(b, []byte{10: 0xff, 11: 0xff, 12: 10, 15: 2}, 0, meterOnly)
				}
				turn, turns := 0, max(1, 50_000/streams)
				for ; turn < 70; turn += turns { // until the windows are full
					run(b, p, turn, turns*streams, streams)
				}
				n, begin := 0, cpuTime(b)
				for b.Loop() {
					run(b, p, turn, turns*streams, streams)
					turn += turns
					n += turns * streams
				}
				report(b, begin, n)
			})
		}
	}
}

// BenchmarkGoMeter is the same in Go, without the table around it: streams in
// an order that no prefetcher guesses.
func BenchmarkGoMeter(b *testing.B) {
	for _, streams := range []int{100, 10_000, 50_000} {
		b.Run(fmt.Sprint(streams), func(b *testing.B) {
			type place struct {
				_   [40]byte // the key
				hot meter.Hot
			}
			order := rand.New(rand.NewPCG(1, 1)).Perm(streams)
			hot, cold := make([]place, streams), make([]meter.Cold, streams)
			i, turn := 0, 0
			next := func() {
				at := order[i]
				hot[at].hot.Packet(&cold[at], &meter.Packet{
					Time: int64(turn)*20*ms + int64(i)*10, Seq: uint16(turn), TS: uint32(160 * turn), Len: 160, Rate: 8000, Type: 8,
				})
				if i++; i == streams {
					i, turn = 0, turn+1
				}
			}
			for turn < 70 {
				next()
			}
			n, begin := 0, cpuTime(b)
			for b.Loop() {
				for range 1000 {
					next()
				}
				n += 1000
			}
			report(b, begin, n)
		})
	}
}

// BenchmarkPoll is a round of a table with 50,000 streams that all go on, and
// of one where none does.
func BenchmarkPoll(b *testing.B) {
	const streams = 50_000
	r := load(b, 4*streams)
	m := openMeters(b, r)
	run(b, r.RunBench, 0, streams, streams)
	out := make([]frame.Metered, 0, streams+slots)
	for _, busy := range []bool{true, false} {
		b.Run(fmt.Sprintf("busy=%v", busy), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if busy {
					clear(m.told)
					clear(m.seen)
				}
				out = m.Poll(out[:0])
			}
			b.ReportMetric(float64(len(out)), "streams")
		})
	}
}
