package ring

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A full ring is read. The kernel has filled it with this many frames before the
// clock runs, so the figure is the reader's alone, with the cache as cold as it
// is when packets come faster than they are read.
const (
	benchFrames = 100_000
	benchMemory = 64 << 20
)

// reader is one way to read a ring. The function that it returns reads n frames
// and returns the sum of their lengths and of one byte of each.
type reader struct {
	name string
	open func(b *testing.B) (read func(n int) uint64)
}

var readers = []reader{{"own", func(b *testing.B) func(int) uint64 {
	s := open(b, Options{Memory: benchMemory, BlockSize: largestBlock})
	r := s.Ring(0)
	return func(n int) (sum uint64) {
		for n > 0 {
			batch, err := r.Next()
			if err != nil {
				b.Fatal(err)
			}
			if batch == nil {
				continue
			}
			for i := range batch.Frames {
				f := &batch.Frames[i]
				sum += uint64(f.Len) + uint64(f.Data[23])
			}
			n -= len(batch.Frames)
			batch.Release()
		}
		return sum
	}
}}}

// threadTime is the processor time of this thread. On a machine that others use
// it says more than the time of day.
func threadTime(b *testing.B) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_THREAD, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func BenchmarkFullRing(b *testing.B) {
	plain := datagram(1, 1, 214)
	for _, kind := range []struct {
		name  string
		frame []byte
		sum   uint64 // of one frame, VLAN tag put back
		own   bool   // gopacket would copy to put the tag back
	}{
		{"214", plain, 214 + uint64(plain[23]), false},
		{"214-tagged", tagged(plain, 0x8100, 5), 218 + uint64(tagged(plain, 0x8100, 5)[23]), true},
	} {
		for _, rd := range readers {
			if kind.own && rd.name != "own" {
				continue
			}
			b.Run(kind.name+"/"+rd.name, func(b *testing.B) {
				space(b)
				read, tx := rd.open(b), newSender(b, "vtx")
				var used time.Duration
				b.ReportAllocs()
				b.StopTimer()
				b.ResetTimer()
				for done := 0; done < b.N; {
					n := min(benchFrames, b.N-done)
					for range n {
						tx.send(kind.frame)
					}
					time.Sleep(5 * defaultTimeout) // the last block is handed over
					begun := threadTime(b)
					b.StartTimer()
					sum := read(n)
					b.StopTimer()
					used += threadTime(b) - begun
					if sum != uint64(n)*kind.sum {
						b.Fatalf("sum %d of %d frames, want %d", sum, n, uint64(n)*kind.sum)
					}
					done += n
				}
				b.ReportMetric(float64(used.Nanoseconds())/float64(b.N), "cpu-ns/op")
			})
		}
	}
}
