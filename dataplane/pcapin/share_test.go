package pcapin

import (
	"cmp"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"ringside/dataplane/frame"
)

// steerByLength is a stand-in for a flow hash.
func steerByLength(f *frame.Frame) uint32 { return uint32(len(f.Data)) * 2654435761 >> 7 }

// readWorkers reads with several workers at the same time. It checks what each
// worker may rely on and returns all frames in their order.
func readWorkers(t testing.TB, opt Options) []digest {
	t.Helper()
	r, err := Open(opt)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	frames := make([][]digest, opt.Workers)
	last := make([]int64, opt.Workers)
	var wg sync.WaitGroup
	for w := range opt.Workers {
		wg.Go(func() {
			src := r.Source(w)
			var seq uint64
			var watermark int64
			for {
				b, err := src.Next()
				if err == io.EOF {
					return
				}
				if err != nil {
					t.Error(err)
					return
				}
				if b == nil {
					runtime.Gosched()
					continue
				}
				for i := range b.Frames {
					f := &b.Frames[i]
					if f.Clock < watermark || f.Seq < seq {
						t.Errorf("worker %d: frame %d with clock %d after frame %d with watermark %d", w, f.Seq, f.Clock, seq, watermark)
					}
					if opt.Workers > 1 && opt.Steer(f)%uint32(opt.Workers) != uint32(w) {
						t.Errorf("frame %d is worker %d's", f.Seq, w)
					}
					seq = f.Seq
					frames[w] = append(frames[w], digestOf(f))
				}
				if b.Watermark < watermark {
					t.Errorf("worker %d: watermark goes back", w)
				}
				watermark = b.Watermark
				last[w] = watermark
				b.Release()
			}
		})
	}
	wg.Wait()
	all := slices.Concat(frames...)
	slices.SortFunc(all, func(a, b digest) int { return cmp.Compare(a.Seq, b.Seq) })
	for i, d := range all {
		if d.Seq != uint64(i) || d.Clock < d.Time || i > 0 && d.Clock < all[i-1].Clock {
			t.Fatalf("frame %d is %+v", i, d)
		}
	}
	for w := range last {
		if n := len(all); n > 0 && last[w] != all[n-1].Clock+1 {
			t.Errorf("last watermark of worker %d is %d, want %d", w, last[w], all[n-1].Clock+1)
		}
	}
	return all
}

// What is read does not depend on who reads it, nor on the size of the blocks.
func TestSameForAnyWorkers(t *testing.T) {
	dir := t.TempDir()
	recs := someRecs(4000, epoch, 1)
	for i := range recs {
		if i%97 == 5 {
			recs[i].Time -= 3e9 // back and forth
		}
		if i%501 == 0 {
			recs[i].Data = strings.Repeat("large", 9000)
			recs[i].Len = 45_000
		}
	}
	later := someRecs(1000, epoch+4000e6, 2)
	one := write(t, dir, "a.pcap", littlePcap(recs))
	set := []string{
		one,
		write(t, dir, "b.pcapng.zst", packZstd(ngBytes(binary.BigEndian, someRecs(3000, epoch+5e8, 3)))),
		write(t, dir, "c.pcap.lz4", packLZ4(littlePcap(later))),
		write(t, dir, "d.pcap", littlePcap(someRecs(2000, epoch, 4))), // begins with a
		write(t, dir, "e.pcap", littlePcap(someRecs(500, epoch+6000e6, 5))),
	}
	for name, inputs := range map[string][]string{
		"pcap":    {one},
		"pcapng":  {write(t, dir, "f.pcapng", ngBytes(binary.LittleEndian, recs))},
		"gzip":    {write(t, dir, "g.pcap.gz", packGzip(littlePcap(recs)))},
		"several": set,
	} {
		t.Run(name, func(t *testing.T) {
			var want []digest
			for _, workers := range []int{1, 2, 4} {
				for _, size := range []int{4 << 10, 10_000, 64 << 10, 256 << 10, 1 << 20} {
					got := readWorkers(t, Options{Inputs: inputs, Workers: workers, BlockSize: size, Steer: steerByLength})
					if want == nil {
						want = got
					}
					if !slices.Equal(got, want) {
						t.Fatalf("%d workers, blocks of %d: the frames are others", workers, size)
					}
				}
			}
			n := 0
			for _, in := range inputs {
				got, _ := readAll(t, Options{Inputs: []string{in}})
				n += len(got)
			}
			if len(want) != n {
				t.Errorf("%d frames, want %d", len(want), n)
			}
		})
	}
}

// Nobody reads on while a worker does not take its batches.
func TestFullQueue(t *testing.T) {
	path := write(t, t.TempDir(), "a.pcap", littlePcap(someRecs(2000, epoch, 1)))
	r, err := Open(Options{Inputs: []string{path}, Workers: 2, BlockSize: 4 << 10, Queue: 3, Steer: steerByLength})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var held []*frame.Batch
	for range 10 {
		b, err := r.Source(0).Next()
		if err != nil {
			t.Fatal(err)
		}
		if b != nil {
			held = append(held, b)
		}
	}
	if len(held) != 3 {
		t.Fatalf("%d batches for one worker while 3 wait for the other", len(held))
	}
	before := r.Stats().Frames
	if b, err := r.Source(1).Next(); b == nil || err != nil {
		t.Fatalf("no batch for the other worker: %v", err)
	}
	if b, err := r.Source(0).Next(); b == nil || err != nil || r.Stats().Frames == before {
		t.Fatalf("no batch after the other worker took one: %v", err)
	}
	// Batches that are held keep their bytes while others come and go.
	for _, b := range held {
		for i := range b.Frames {
			if f := &b.Frames[i]; int(f.Len) != len(f.Data) || f.Time != epoch+int64(f.Seq)*1e6 {
				t.Fatalf("frame %d changed", f.Seq)
			}
		}
	}
}

// Bytes stay as they are until their batch is released, however late that is.
func TestHeldBatches(t *testing.T) {
	dir := t.TempDir()
	inputs := []string{
		write(t, dir, "a.pcap", littlePcap(someRecs(900, epoch, 1))),
		write(t, dir, "b.pcap", littlePcap(someRecs(900, epoch+100, 2))),
	}
	r, err := Open(Options{Inputs: inputs, BlockSize: 4 << 10})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	type held struct {
		batch *frame.Batch
		sums  []digest
	}
	var old []held
	check := func(h held) {
		for i := range h.batch.Frames {
			if got := digestOf(&h.batch.Frames[i]); got != h.sums[i] {
				t.Fatalf("frame %d changed while its batch was held", got.Seq)
			}
		}
		h.batch.Release()
	}
	total := 0
	for n := 0; ; n++ {
		b, err := r.Source(0).Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		h := held{batch: b}
		for i := range b.Frames {
			h.sums = append(h.sums, digestOf(&b.Frames[i]))
		}
		total += len(b.Frames)
		if old = append(old, h); n%3 == 2 { // the middle one first
			check(old[len(old)/2])
			old = slices.Delete(old, len(old)/2, len(old)/2+1)
		}
	}
	for _, h := range old {
		check(h)
	}
	if total != 1800 {
		t.Errorf("%d frames, want 1800", total)
	}
}

// Memory does not grow with the file: there are as many blocks as the queues may
// hold, one that is read, and those of the batches that are out.
func TestBoundedMemory(t *testing.T) {
	path := write(t, t.TempDir(), "a.pcap", littlePcap(someRecs(20_000, epoch, 1)))
	opt := Options{Inputs: []string{path}, Workers: 3, BlockSize: 4 << 10, Queue: 2, Steer: steerByLength}
	r, err := Open(opt)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for ended := 0; ended < opt.Workers; {
		ended = 0
		for w := range opt.Workers {
			b, err := r.Source(w).Next()
			if err == io.EOF {
				ended++
			} else if err != nil {
				t.Fatal(err)
			} else if b != nil {
				b.Release()
			}
		}
	}
	blocks := 0
	for _, free := range r.pools.blocks {
		blocks += len(free)
	}
	if r.Stats().Frames != 20_000 || blocks == 0 || blocks > opt.Queue+2 || len(r.pools.batches) > opt.Workers*(opt.Queue+2) {
		t.Errorf("%d blocks and %d batches after %d frames", blocks, len(r.pools.batches), r.Stats().Frames)
	}
}

// In steady state reading allocates nothing.
func TestNoAllocation(t *testing.T) {
	dir := t.TempDir()
	recs := someRecs(40_000, epoch, 1)
	le := binary.LittleEndian
	for _, v := range []struct {
		name    string
		inputs  []string
		workers int
	}{
		{"pcap", []string{write(t, dir, "a.pcap", littlePcap(recs))}, 1},
		{"pcap, 2 workers", []string{filepath.Join(dir, "a.pcap")}, 2},
		{"pcapng", []string{write(t, dir, "a.pcapng", ngBytes(le, recs))}, 1},
		{"merge", []string{filepath.Join(dir, "a.pcap"), filepath.Join(dir, "a.pcapng")}, 2},
	} {
		t.Run(v.name, func(t *testing.T) {
			r, err := Open(Options{Inputs: v.inputs, Workers: v.workers, BlockSize: 8 << 10, Steer: steerByLength})
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			frames, ended := 0, false
			step := func() {
				for w := range v.workers {
					b, err := r.Source(w).Next()
					if err != nil {
						ended = true
						return
					}
					frames += len(b.Frames)
					b.Release()
				}
			}
			for range 8 { // batches grow to their size
				step()
			}
			frames = 0
			if n := testing.AllocsPerRun(20, step); n != 0 || frames < 400 || ended {
				t.Errorf("%v allocations per round, %d frames in 20 rounds", n, frames)
			}
		})
	}
}

func TestClose(t *testing.T) {
	path := write(t, t.TempDir(), "a.pcap", littlePcap(someRecs(2000, epoch, 1)))
	r, err := Open(Options{Inputs: []string{path}, BlockSize: 4 << 10})
	if err != nil {
		t.Fatal(err)
	}
	b, err := r.Source(0).Next()
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	r.Close()
	if f := b.Frames[0]; f.Time != epoch {
		t.Error("a batch that is out changed with Close")
	}
	b.Release()
	if _, err := r.Source(0).Next(); !errors.Is(err, ErrClosed) {
		t.Errorf("error is %v, want ErrClosed", err)
	}
}

// A pipe that is quiet gives the worker its thread back, and Close ends the wait.
func TestPipe(t *testing.T) {
	want := someRecs(300, epoch, 1)
	for name, b := range map[string][]byte{
		"pcap": littlePcap(want), "pcapng": ngBytes(binary.LittleEndian, want), "gzip": packGzip(littlePcap(want)),
	} {
		t.Run(name, func(t *testing.T) {
			pr, pw, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer pr.Close()
			go func() {
				defer pw.Close()
				for part := range slices.Chunk(b, 777) {
					if _, err := pw.Write(part); err != nil {
						t.Error(err)
					}
				}
			}()
			got, s := readAll(t, Options{Inputs: []string{"-"}, Stdin: pr})
			diffRecs(t, got, want)
			noDamage(t, s)
			if s.TotalBytes != 0 || s.Bytes != int64(len(b)) || s.File != "-" {
				t.Errorf("stats are %+v", s)
			}
		})
	}
	t.Run("quiet", func(t *testing.T) {
		pr, pw, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer pr.Close()
		defer pw.Close()
		r, err := Open(Options{Inputs: []string{"-"}, Stdin: pr})
		if err != nil {
			t.Fatal(err)
		}
		b := littlePcap(want[:3])
		if _, err := pw.Write(b[:len(b)-1]); err != nil {
			t.Fatal(err)
		}
		batch, err := r.Source(0).Next()
		if err != nil || batch == nil || len(batch.Frames) != 2 {
			t.Fatalf("got %v, %v, want 2 frames", batch, err)
		}
		batch.Release()
		if batch, err := r.Source(0).Next(); batch != nil || err != nil {
			t.Fatalf("got %v, %v of a quiet pipe", batch, err)
		}
		if _, err := pw.Write(b[len(b)-1:]); err != nil {
			t.Fatal(err)
		}
		batch, err = r.Source(0).Next()
		if err != nil || batch == nil || len(batch.Frames) != 1 || string(batch.Frames[0].Data) != want[2].Data {
			t.Fatalf("got %v, %v, want the last frame", batch, err)
		}
		r.Close()
	})
	t.Run("close before the first byte", func(t *testing.T) {
		pr, pw, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer pr.Close()
		defer pw.Close()
		r, err := Open(Options{Inputs: []string{"-"}, Stdin: pr})
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan error)
		go func() {
			for {
				if b, err := r.Source(0).Next(); err != nil {
					ended <- err
					return
				} else if b != nil {
					b.Release()
				}
			}
		}()
		runtime.Gosched()
		r.Close()
		if err := <-ended; !errors.Is(err, ErrClosed) && err != io.EOF {
			t.Errorf("error is %v", err)
		}
	})
}
