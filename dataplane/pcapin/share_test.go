package pcapin

import (
	"bytes"
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
	"sync/atomic"
	"testing"

	"ringside/dataplane/frame"
)

// marks is the highest mark that any worker has seen.
type marks struct{ atomic.Int64 }

func (m *marks) raise(to int64) {
	for old := m.Load(); old < to && !m.CompareAndSwap(old, to); old = m.Load() {
	}
}

// worker reads its share of src to the end, and holds up to hold batches at a
// time. It checks what it may rely on. It returns its frames and the last mark.
func worker(t testing.TB, src frame.Source, seen *marks, hold int) (got []digest, mark int64) {
	type held struct {
		batch *frame.Batch
		sums  []digest
	}
	var out []held
	release := func(i int) {
		h := out[i]
		out = slices.Delete(out, i, i+1)
		for i := range h.batch.Frames {
			if d := digestOf(&h.batch.Frames[i]); d != h.sums[i] {
				t.Errorf("frame %d changed while its batch was held", h.sums[i].Seq)
			}
		}
		h.batch.Release()
	}
	defer func() {
		for len(out) > 0 {
			release(0)
		}
	}()
	var seq uint64
	for {
		low := seen.Load()
		b, err := src.Next()
		m := src.Mark()
		if m < mark {
			t.Errorf("mark falls from %d to %d", mark, m)
		}
		mark = m
		seen.raise(mark)
		if err != nil {
			if err != io.EOF {
				t.Error(err)
			}
			return got, mark
		}
		if b == nil {
			runtime.Gosched()
			continue
		}
		sums := make([]digest, len(b.Frames))
		for i := range b.Frames {
			f := &b.Frames[i]
			if f.Clock < low || f.Clock >= mark || f.Seq < seq || i > 0 && f.Seq != seq {
				t.Errorf("frame %d (at least %d) with clock %d, between the marks %d and %d", f.Seq, seq, f.Clock, low, mark)
			}
			seq = f.Seq + 1
			sums[i] = digestOf(f)
		}
		got = append(got, sums...)
		if out = append(out, held{b, sums}); len(out) == hold {
			release(hold / 2) // neither the oldest nor the newest, if it can be
		}
	}
}

// readWorkers reads with several workers at the same time, each of which holds
// up to hold batches. It returns all frames in their order.
func readWorkers(t testing.TB, opt Options, workers, hold int) []digest {
	t.Helper()
	r, err := Open(opt)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var seen marks
	frames, last := make([][]digest, workers), make([]int64, workers)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() { frames[w], last[w] = worker(t, r, &seen, hold) })
	}
	wg.Wait()
	all := slices.Concat(frames...)
	slices.SortFunc(all, func(a, b digest) int { return cmp.Compare(a.Seq, b.Seq) })
	next := int64(0)
	for i, d := range all {
		if d.Seq != uint64(i) || d.Clock != max(next, d.Time) {
			t.Fatalf("frame %d is %+v, clocks were below %d", i, d, next)
		}
		next = d.Clock + 1
	}
	for w, m := range last {
		if m != next || r.Mark() != next {
			t.Errorf("last mark is %d for worker %d and %d now, want %d", m, w, r.Mark(), next)
		}
	}
	return all
}

// sameFrames wants the frames of opt for any workers and size of the blocks.
func sameFrames(t *testing.T, opt Options, want []digest) {
	t.Helper()
	for _, workers := range []int{1, 2, 4} {
		for _, size := range []int{4 << 10, 10_000, 64 << 10, 256 << 10, 1 << 20} {
			opt.BlockSize = size
			if got := readWorkers(t, opt, workers, 1); !slices.Equal(got, want) {
				t.Fatalf("%d workers, blocks of %d: the frames are others", workers, size)
			}
		}
	}
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
	b, c, d, e := someRecs(3000, epoch+5e8, 3), someRecs(1000, epoch+4000e6, 2), someRecs(2000, epoch, 4), someRecs(500, epoch+6000e6, 5)
	one := write(t, dir, "a.pcap", littlePcap(recs))
	set := []string{
		one,
		write(t, dir, "b.pcapng.zst", packZstd(ngBytes(binary.BigEndian, b))),
		write(t, dir, "c.pcap.lz4", packLZ4(littlePcap(c))),
		write(t, dir, "d.pcap", littlePcap(d)), // begins with a
		write(t, dir, "e.pcap", littlePcap(e)),
	}
	for name, inputs := range map[string][]string{
		"pcap":   {one},
		"pcapng": {write(t, dir, "f.pcapng", ngBytes(binary.LittleEndian, recs))},
		"gzip":   {write(t, dir, "g.pcap.gz", packGzip(littlePcap(recs)))},
	} {
		t.Run(name, func(t *testing.T) { sameFrames(t, Options{Inputs: inputs}, inOrder(recs)) })
	}
	t.Run("several", func(t *testing.T) { sameFrames(t, Options{Inputs: set}, inOrder(recs, b, c, d, e)) })
}

// burst are n frames that all have the same time.
func burst(n int, at int64, seed byte) []rec {
	recs := make([]rec, n)
	for i := range recs {
		data := binary.BigEndian.AppendUint32([]byte{seed}, uint32(i))
		recs[i] = rec{Time: at, Data: string(data), Len: uint32(len(data))}
	}
	return recs
}

// Where time stands still the clocks tell the frames apart, by their order in
// the input alone.
func TestEqualTimes(t *testing.T) {
	dir := t.TempDir()
	all := burst(100_000, epoch, 'a')
	for name, b := range map[string][]byte{"pcap": littlePcap(all), "pcapng": ngBytes(binary.LittleEndian, all)} {
		t.Run(name, func(t *testing.T) {
			path := write(t, dir, name, b)
			want := inOrder(all)
			if last := want[len(want)-1]; last.Clock != epoch+99_999 {
				t.Fatalf("last clock is %d", last.Clock)
			}
			sameFrames(t, Options{Inputs: []string{path}}, want)
		})
	}
	// The clocks of what is read run ahead of those of each file by the time
	// that the third one begins, and the fourth.
	few := [][]rec{burst(9000, epoch, 'b'), burst(5000, epoch, 'c'), burst(4000, epoch+3000, 'd'), burst(3000, epoch+9001, 'e')}
	for i := range few[3] {
		few[3][i].Time += int64(i / 100)
	}
	var inputs []string
	for i, recs := range few {
		inputs = append(inputs, write(t, dir, string(rune('b'+i)), pcapBytes(binary.BigEndian, magicNano, recs)))
	}
	t.Run("several", func(t *testing.T) { sameFrames(t, Options{Inputs: inputs}, inOrder(few...)) })
	// A pipe is looked into as far as it is filled at the moment.
	piped, err := os.ReadFile(inputs[2])
	if err != nil {
		t.Fatal(err)
	}
	inputs[2] = "-"
	t.Run("pipe", func(t *testing.T) {
		for _, size := range []int{100, 7777, 1 << 20} {
			stdin := &portions{bytes.NewReader(piped), size}
			if got := readWorkers(t, Options{Inputs: inputs, Stdin: stdin}, 2, 1); !slices.Equal(got, inOrder(few...)) {
				t.Errorf("the frames of a pipe with portions of %d are others", size)
			}
		}
	})
}

// Where files touch each other, blocks that are taken whole alternate with runs
// of frames.
func TestOverlap(t *testing.T) {
	for name, files := range map[string][][]rec{
		"rotation":  {someRecs(1000, epoch, 1), someRecs(1000, epoch+997e6, 2), someRecs(1000, epoch+1_996_500e3, 3), someRecs(9, epoch+2_996_500e3, 4)},
		"at a time": {burst(50, epoch, 'a'), burst(1000, epoch, 'b'), burst(50, epoch+1000, 'c'), burst(2000, epoch+1000, 'd')},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			var inputs []string
			for i, recs := range files {
				inputs = append(inputs, write(t, dir, string(rune('a'+i)), littlePcap(recs)))
			}
			sameFrames(t, Options{Inputs: inputs}, inOrder(files...))
		})
	}
}

// portions gives at most size bytes at a time.
type portions struct {
	r    io.Reader
	size int
}

func (p *portions) Read(b []byte) (int, error) { return p.r.Read(b[:min(len(b), p.size)]) }

// Who finds another worker reading gets nothing, at once, and can still ask for
// the mark.
func TestBusy(t *testing.T) {
	b := littlePcap(someRecs(3, epoch, 1))
	pr, pw := io.Pipe() // reads until there is something
	r, err := Open(Options{Inputs: []string{"-"}, Stdin: pr})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var seen marks
	done := make(chan []digest)
	go func() {
		got, _ := worker(t, r, &seen, 1)
		done <- got
	}()
	write := func(b []byte) { // returns when the worker has read b
		if _, err := pw.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	write(b[:4])
	write(b[4:30]) // no frame yet, so that the worker reads on
	for range 1000 {
		if b, err := r.Next(); b != nil || err != nil {
			t.Fatalf("got %v, %v while another worker reads", b, err)
		}
		if m := r.Mark(); m != 0 {
			t.Fatalf("mark is %d before the first frame", m)
		}
	}
	write(b[30:])
	pw.Close()
	if got := <-done; len(got) != 3 {
		t.Errorf("%d frames, want 3", len(got))
	}
}

// Bytes stay as they are until their batch is released, however late that is
// and whatever the other workers do.
func TestHeldBatches(t *testing.T) {
	dir := t.TempDir()
	a, b := someRecs(2000, epoch, 1), someRecs(2000, epoch+1000, 2)
	inputs := []string{write(t, dir, "a.pcap", littlePcap(a)), write(t, dir, "b.pcap", littlePcap(b))}
	for _, v := range []struct {
		inputs []string
		want   []digest
	}{{inputs[:1], inOrder(a)}, {inputs, inOrder(a, b)}} {
		for _, workers := range []int{1, 4} {
			for _, hold := range []int{3, 1000} {
				got := readWorkers(t, Options{Inputs: v.inputs, BlockSize: 4 << 10}, workers, hold)
				if !slices.Equal(got, v.want) {
					t.Errorf("%d files, %d workers that hold %d batches: the frames are others", len(v.inputs), workers, hold)
				}
			}
		}
	}
}

// Memory does not grow with the file: there are as many blocks and batches as
// the workers hold.
func TestBoundedMemory(t *testing.T) {
	path := write(t, t.TempDir(), "a.pcap", littlePcap(someRecs(20_000, epoch, 1)))
	for _, workers := range []int{1, 4} {
		for _, hold := range []int{1, 3} {
			r, err := Open(Options{Inputs: []string{path}, BlockSize: 4 << 10})
			if err != nil {
				t.Fatal(err)
			}
			var seen marks
			var wg sync.WaitGroup
			for range workers {
				wg.Go(func() { worker(t, r, &seen, hold) })
			}
			wg.Wait()
			blocks, most := 0, workers*hold
			for _, free := range r.pools.blocks {
				blocks += len(free)
			}
			if n := len(r.pools.batches); r.Stats().Frames != 20_000 || blocks == 0 || n == 0 || blocks > most || n > most {
				t.Errorf("%d blocks and %d batches after %d frames, want at most %d", blocks, n, r.Stats().Frames, most)
			}
			r.Close()
		}
	}
}

// In steady state reading allocates nothing.
func TestNoAllocation(t *testing.T) {
	dir := t.TempDir()
	recs := someRecs(40_000, epoch, 1)
	le := binary.LittleEndian
	for _, v := range []struct {
		name   string
		inputs []string
		held   int // batches at a time
	}{
		{"pcap", []string{write(t, dir, "a.pcap", littlePcap(recs))}, 1},
		{"pcap, 4 held", []string{filepath.Join(dir, "a.pcap")}, 4},
		{"pcapng", []string{write(t, dir, "a.pcapng", ngBytes(le, recs))}, 1},
		{"merge", []string{filepath.Join(dir, "a.pcap"), filepath.Join(dir, "a.pcapng")}, 2},
	} {
		t.Run(v.name, func(t *testing.T) {
			r, err := Open(Options{Inputs: v.inputs, BlockSize: 8 << 10})
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			frames, ended := 0, false
			held := make([]*frame.Batch, v.held)
			step := func() {
				for i := range held {
					b, err := r.Next()
					if err != nil {
						ended = true
						return
					}
					frames += len(b.Frames)
					held[i] = b
				}
				for _, b := range held {
					b.Release()
				}
			}
			for range 8 { // batches grow to their size
				step()
			}
			frames = 0
			if n := testing.AllocsPerRun(20/v.held, step); n != 0 || frames < 400 || ended {
				t.Errorf("%v allocations per step, %d frames in all", n, frames)
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
	b, err := r.Next()
	if err != nil {
		t.Fatal(err)
	}
	mark := r.Mark()
	r.Close()
	r.Close()
	if f := b.Frames[0]; f.Time != epoch {
		t.Error("a batch that is out changed with Close")
	}
	b.Release()
	if _, err := r.Next(); !errors.Is(err, ErrClosed) {
		t.Errorf("error is %v, want ErrClosed", err)
	}
	if r.Mark() != mark {
		t.Errorf("mark went from %d to %d with Close", mark, r.Mark())
	}
}

// Close may come while workers read, and while they hold batches.
func TestCloseInUse(t *testing.T) {
	dir := t.TempDir()
	recs := someRecs(3000, epoch, 1)
	inputs := []string{write(t, dir, "a.pcap", littlePcap(recs)), write(t, dir, "b.pcap.gz", packGzip(littlePcap(recs)))}
	for round := range 20 {
		r, err := Open(Options{Inputs: inputs[:1+round%2], BlockSize: 4 << 10})
		if err != nil {
			t.Fatal(err)
		}
		files := slices.Clone(r.merge.waiting)
		enough, closed := make(chan struct{}), make(chan struct{})
		var once sync.Once
		var wg sync.WaitGroup
		for w := range 4 {
			wg.Go(func() {
				for {
					b, err := r.Next()
					if err != nil {
						if !errors.Is(err, ErrClosed) && err != io.EOF {
							t.Error(err)
						}
						return
					}
					if b == nil {
						runtime.Gosched()
						continue
					}
					sum := make([]digest, len(b.Frames))
					for i := range b.Frames {
						sum[i] = digestOf(&b.Frames[i])
					}
					if b.Frames[0].Seq > 100*uint64(round) {
						once.Do(func() { close(enough) })
						if w < 2 { // the others read on
							<-closed
						}
					}
					for i := range b.Frames {
						if d := digestOf(&b.Frames[i]); d != sum[i] {
							t.Errorf("frame %d changed with Close", sum[i].Seq)
						}
					}
					b.Release()
				}
			})
		}
		<-enough
		r.Close()
		close(closed)
		wg.Wait()
		if _, err := r.Next(); !errors.Is(err, ErrClosed) {
			t.Errorf("error is %v, want ErrClosed", err)
		}
		for _, f := range files {
			if f.os != nil || f.in != nil || f.blk != nil {
				t.Errorf("%s is still open", f.path)
			}
		}
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
		batch, err := r.Next()
		if err != nil || batch == nil || len(batch.Frames) != 2 {
			t.Fatalf("got %v, %v, want 2 frames", batch, err)
		}
		batch.Release()
		if batch, err := r.Next(); batch != nil || err != nil {
			t.Fatalf("got %v, %v of a quiet pipe", batch, err)
		}
		if _, err := pw.Write(b[len(b)-1:]); err != nil {
			t.Fatal(err)
		}
		batch, err = r.Next()
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
				if b, err := r.Next(); err != nil {
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
