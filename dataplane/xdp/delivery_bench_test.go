package xdp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ringside/bench/netns"
	"ringside/bench/replay"
	"ringside/dataplane/frame"
	"ringside/dataplane/ring"
)

// BenchmarkDelivery compares the two ways of RTP that was metered in the kernel and is
// recorded: through a feed, and behind a note through a ring of TPACKET_V3, up to
// the end of the RTP header and whole. Frames of 1,000 streams are sent from one
// CPU; program, host and reader share the other one. Receiving goes before reading
// there, as it does where it is an interrupt's. Rates are in thousand frames a
// second, max is what the sender can. cpu-ns is the processor time of receiving and
// reading, of a frame that was delivered; what a busy machine takes away is not in it.
func BenchmarkDelivery(b *testing.B) {
	if runtime.NumCPU() < 2 {
		b.Skip("one CPU")
	}
	for _, keep := range []struct {
		name   string
		policy Policy
	}{{"header", HeaderOnly}, {"whole", Full}} {
		for _, rate := range []string{"500", "750", "1000", "1250", "1500", "2000", "max"} {
			for _, way := range []string{"feed", "ring"} {
				b.Run(keep.name+"/"+rate+"/"+way, func(b *testing.B) {
					pps, _ := strconv.ParseFloat(rate, 64)
					delivers(b, keep.policy, 1000*pps, way == "feed")
				})
			}
		}
	}
}

// BenchmarkFeed is what a frame costs in the program that puts it into a feed, and in
// the reader that takes it out, apart. The frame is always the same, in the cache.
func BenchmarkFeed(b *testing.B) {
	for _, keep := range []struct {
		name   string
		policy Policy
	}{{"meter", Meter}, {"header", HeaderOnly}, {"whole", Full}} {
		b.Run(keep.name, func(b *testing.B) {
			f := feeding(b, 8<<20, 1, keep.policy)
			feed, data := f.Feeds()[0], over4(20000, 20002, voice)
			var put, took time.Duration
			b.ReportAllocs()
			for left := b.N; left > 0; left -= 4 * feedFrames {
				n := min(left, 4*feedFrames)
				_, each, err := f.program.Benchmark(data, n, nil)
				if err != nil {
					b.Fatal(err)
				}
				put += time.Duration(n) * each
				begun := time.Now()
				for {
					batch, err := feed.Take()
					if err != nil {
						b.Fatal(err)
					}
					if batch == nil {
						break
					}
					batch.Release()
				}
				took += time.Since(begun)
			}
			b.ReportMetric(float64(put.Nanoseconds())/float64(b.N), "program-ns/frame")
			b.ReportMetric(float64(took.Nanoseconds())/float64(b.N), "reader-ns/frame")
			b.ReportMetric(0, "ns/op")
		})
	}
}

const benchStreams = 1000

func delivers(b *testing.B, policy Policy, pps float64, fed bool) {
	const memory = 64 << 20
	l := linked(b)
	o := Options{Dedicated: true, Mode: Native, Settings: DefaultSettings(), MeterSlots: 16 * benchStreams}
	if fed {
		o.Feeds, o.FeedMemory = 1, memory
	}
	f := opens(b, l, o)
	to := frame.Endpoint{Addr: frame.AddrFrom(netip.MustParseAddr("198.18.0.2")), Port: 30000}
	if err := f.Publish(to, Media{Policy: policy}); err != nil {
		b.Fatal(err)
	}
	source, stop := benchSource(b, l, f, memory)
	before := napiThreads(b)
	threaded(b, l)
	var napi []int // and those of others who do the same at this moment
	until(b, "a thread that receives", func() bool {
		for pid := range napiThreads(b) {
			if !before[pid] && benchPin(pid, 1) == nil {
				napi = append(napi, pid)
			}
		}
		return len(napi) > 0
	})
	var seen atomic.Int64
	tid, done := make(chan int), make(chan error, 1)
	go func() { done <- reads(source, &seen, tid) }()
	reader := <-tid

	frames, fields := replay.RTPFlood(benchStreams)
	idle := make([]time.Duration, len(napi))
	for i, pid := range napi {
		idle[i] = threadTime(pid)
	}
	read := threadTime(reader)
	var sent replay.Result
	b.ResetTimer()
	if err := l.Do(netns.A, func() (err error) {
		sent, err = replay.Send(context.Background(), replay.Options{
			Iface: l.Side(netns.A).Iface, Frames: frames, Fields: fields, Engine: replay.XDP, Loops: b.N, PPS: pps, CPUs: []int{0},
		})
		return err
	}); err != nil {
		b.Fatal(err)
	}
	b.StopTimer()
	for last := int64(-1); last != seen.Load(); time.Sleep(100 * time.Millisecond) {
		last = seen.Load()
	}
	read = threadTime(reader) - read
	received := time.Duration(0) // by one of them: one CPU sends, to one queue
	for i, pid := range napi {
		received = max(received, threadTime(pid)-idle[i])
	}
	stop()
	if err := <-done; !errors.Is(err, io.EOF) {
		b.Fatal(err)
	}
	got := float64(seen.Load())
	b.ReportMetric(float64((received+read).Nanoseconds())/got, "cpu-ns/frame")
	b.ReportMetric(float64(read.Nanoseconds())/got, "reader-ns/frame")
	b.ReportMetric(got/sent.Took.Seconds()/1e6, "Mpps")
	b.ReportMetric(float64(sent.Sent+sent.Refused)/sent.Took.Seconds()/1e6, "offered-Mpps")
	b.ReportMetric(100*(1-got/float64(sent.Sent+sent.Refused)), "%lost")
	b.ReportMetric(0, "ns/op")
}

// benchSource is where the frames come out, and what ends it.
func benchSource(b *testing.B, l *netns.Link, f *Filter, memory int64) (frame.Source, func()) {
	if feeds := f.Feeds(); len(feeds) > 0 {
		return feeds[0], feeds[0].Stop
	}
	var set *ring.Set
	if err := l.Do(netns.B, func() (err error) {
		set, err = ring.Open(ring.Options{Iface: l.Side(netns.B).Iface, Memory: memory})
		return err
	}); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { set.Close() })
	return set.Ring(0), func() {
		if err := set.Stop(); err != nil {
			b.Error(err)
		}
	}
}

// reads reads a source to its end on CPU 1, and touches each frame.
func reads(s frame.Source, seen *atomic.Int64, tid chan<- int) error {
	runtime.LockOSThread() // and never unlocked: the thread ends with its goroutine
	var set unix.CPUSet
	set.Set(1)
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		return err
	}
	tid <- unix.Gettid()
	ports := 0
	for {
		batch, err := s.Next()
		if err != nil {
			return err
		}
		if batch == nil {
			continue
		}
		for i := range batch.Frames {
			if f := &batch.Frames[i]; !f.Metered || f.Len != 214 {
				return fmt.Errorf("a frame of %d bytes, metered %v", f.Len, f.Metered)
			}
			ports += int(batch.Frames[i].Data[36])
		}
		seen.Add(int64(len(batch.Frames)))
		batch.Release()
	}
}

// napiThreads are the threads of the kernel that receive for interfaces of a netns.Link.
func napiThreads(b *testing.B) map[int]bool {
	b.Helper()
	names, err := filepath.Glob("/proc/[0-9]*/comm")
	if err != nil {
		b.Fatal(err)
	}
	out := make(map[int]bool)
	for _, name := range names {
		comm, err := os.ReadFile(name)
		if err != nil || !bytes.HasPrefix(comm, []byte("napi/vb")) {
			continue // threads end
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(name)))
		if err == nil {
			out[pid] = true
		}
	}
	return out
}

// benchPin gives a thread a CPU, and the highest priority of the ordinary ones.
func benchPin(pid, cpu int) error {
	if err := unix.Setpriority(unix.PRIO_PROCESS, pid, -20); err != nil {
		return err
	}
	var set unix.CPUSet
	set.Set(cpu)
	return unix.SchedSetaffinity(pid, &set)
}

// threadTime is how long a thread has run (schedstat of proc, its first field, ns); 0 if it is gone.
func threadTime(tid int) time.Duration {
	var ns int64
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/schedstat", tid))
	if err == nil {
		_, err = fmt.Sscan(string(text), &ns)
	}
	if err != nil {
		return 0
	}
	return time.Duration(ns)
}
