package pcapin

import (
	"encoding/binary"
	"io"
	"os"
	"syscall"
	"testing"
	"time"
)

// benchFrames of 214 bytes, as G.711 with 20 ms makes them, are 69 MB.
const benchFrames = 300_000

func benchFile(b *testing.B, ng bool) string {
	recs := make([]rec, benchFrames)
	data := string(make([]byte, 214))
	for i := range recs {
		recs[i] = rec{Time: epoch + int64(i)*1000, Data: data, Len: 214}
	}
	if ng {
		return write(b, b.TempDir(), "bench.pcapng", ngBytes(binary.LittleEndian, recs))
	}
	return write(b, b.TempDir(), "bench.pcap", littlePcap(recs))
}

// BenchmarkRead is the way of a frame from the page cache to a worker, beside
// the mere read(2) of the same file.
func BenchmarkRead(b *testing.B) {
	for _, v := range []struct {
		name string
		ng   bool
	}{{"pcap", false}, {"pcapng", true}} {
		path := benchFile(b, v.ng)
		b.Run(v.name+"/read2", func(b *testing.B) {
			b.ReportAllocs()
			cpu := cpuTime(b)
			buf := make([]byte, defaultBlock)
			for b.Loop() {
				f, err := os.Open(path)
				if err != nil {
					b.Fatal(err)
				}
				for err == nil {
					_, err = f.Read(buf)
				}
				f.Close()
			}
			perFrame(b, cpu)
		})
		b.Run(v.name+"/frames", func(b *testing.B) {
			b.ReportAllocs()
			cpu := cpuTime(b)
			for b.Loop() {
				r, err := Open(Options{Inputs: []string{path}})
				if err != nil {
					b.Fatal(err)
				}
				if n := drain(b, r); n != benchFrames {
					b.Fatalf("%d frames, want %d", n, benchFrames)
				}
				r.Close()
			}
			perFrame(b, cpu)
		})
	}
}

// cpuTime of the process; what a busy machine leaves comparable.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func perFrame(b *testing.B, cpu time.Duration) {
	n := float64(b.N) * benchFrames
	b.ReportMetric(float64(b.Elapsed())/n, "ns/frame")
	b.ReportMetric(float64(cpuTime(b)-cpu)/n, "cpu-ns/frame")
}

// drain reads all frames, and a byte of each.
func drain(t testing.TB, r *Reader) int {
	n, sum := 0, 0
	for {
		batch, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if batch == nil {
			continue
		}
		for i := range batch.Frames {
			if d := batch.Frames[i].Data; len(d) > 12 {
				sum += int(d[12])
			}
		}
		n += len(batch.Frames)
		batch.Release()
	}
	sink = sum
	return n
}

var sink int
