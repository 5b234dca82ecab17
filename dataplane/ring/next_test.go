package ring

import (
	"errors"
	"fmt"
	"io"
	"math"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ringside/dataplane/frame"
)

const fakeSize = 1 << 19

// fakeRing is a ring without a kernel, of so many blocks.
func fakeRing(t testing.TB, blocks int) *Ring {
	t.Helper()
	o := &Options{Iface: "fake", Index: 2, Memory: int64(blocks) * fakeSize, BlockSize: fakeSize}
	if err := o.check(); err != nil {
		t.Fatal(err)
	}
	r := newRing(o, 5)
	r.hand(newSocket(-1, make([]byte, blocks*fakeSize), fakeSize, frame.LinkEthernet))
	return r
}

// put does what the kernel does when it hands over block i.
func put(r *Ring, i int, b []byte) {
	s := r.socket
	copy(s.mem[i*s.size:], b)
}

// frames are n small ones, a microsecond apart.
func frames(n int, from int64) []fake {
	out := make([]fake, n)
	for i := range out {
		out[i] = fake{time: from + int64(i)*1000, data: datagram(uint64(i), i, 80)}
	}
	return out
}

func next(t *testing.T, r *Ring) *frame.Batch {
	t.Helper()
	b, err := r.Next()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestBatches(t *testing.T) {
	r := fakeRing(t, 4)
	put(r, 0, block(fakeSize, 0, 1, frames(1500, base)...))
	put(r, 1, block(fakeSize, 0, 2, frames(10, base)...)) // the clock was set back
	put(r, 2, block(fakeSize, 0, 3))
	put(r, 3, block(fakeSize, 0, 4, frames(1, base+1e9)...))
	var out []*frame.Batch
	clock, count := int64(math.MinInt64), uint64(0)
	for i, want := range []int{1024, 476, 10, 1} {
		b := next(t, r)
		if b == nil || len(b.Frames) != want {
			t.Fatalf("batch %d: %v, want %d frames", i, b, want)
		}
		for k := range b.Frames {
			f := &b.Frames[k]
			if f.Clock <= clock || f.Clock < f.Time || f.Seq != count<<16|2<<8|5 || f.Iface != 2 {
				t.Fatalf("batch %d frame %d: clock %d after %d, time %d, seq %x, interface %d", i, k, f.Clock, clock, f.Time, f.Seq, f.Iface)
			}
			clock = f.Clock
			count++
		}
		if r.Mark() != clock+1 {
			t.Errorf("batch %d: mark %d, want %d", i, r.Mark(), clock+1)
		}
		out = append(out, b)
	}
	// All blocks are out, but for the empty one. The first is not read again.
	if b := next(t, r); b != nil {
		t.Fatalf("a block that is out was read again: %d frames", len(b.Frames))
	}
	kernels := func() (s string) {
		for i := range r.socket.refs {
			if r.socket.handed(i) {
				s += "u"
			} else {
				s += "k"
			}
		}
		return s
	}
	for i, step := range []struct {
		release int
		want    string
	}{{3, "uukk"}, {0, "uukk"}, {2, "ukkk"}, {1, "kkkk"}} {
		if i == 0 && kernels() != "uuku" {
			t.Errorf("before a release: blocks of user and kernel %s", kernels())
		}
		out[step.release].Release()
		if kernels() != step.want {
			t.Errorf("batch %d released: blocks of user and kernel %s, want %s", step.release, kernels(), step.want)
		}
	}
	if st := r.Stats(); st.Packets != 1511 || st.Blocks != 4 || st.Bytes != 1511*80 || st.Late != 0 {
		t.Errorf("%+v", st)
	}
}

func TestDamagedBlockGoesBack(t *testing.T) {
	r := fakeRing(t, 4)
	bad := block(fakeSize, 0, 1, frames(3, base)...)
	host.PutUint32(bad[blockFirst:], 7)
	put(r, 0, bad)
	put(r, 1, block(fakeSize, 0, 2, frames(2, base)...))
	if b := next(t, r); b == nil || len(b.Frames) != 2 {
		t.Fatalf("%v, want the two frames of the second block", b)
	}
	if r.socket.handed(0) {
		t.Error("the damaged block was not given back")
	}
	if st := r.Stats(); st.Damaged != 3 || st.Packets != 2 {
		t.Errorf("%+v", st)
	}
}

// poll returns at once while the block before the one being filled is out: it
// is not asked then.
func TestPollable(t *testing.T) {
	r := fakeRing(t, 4)
	put(r, 0, block(fakeSize, 0, 1, frames(1, base)...))
	put(r, 1, block(fakeSize, 0, 2, frames(1, base)...))
	a, b := next(t, r), next(t, r)
	if r.socket.pollable() {
		t.Error("two blocks are out")
	}
	b.Release()
	if !r.socket.pollable() {
		t.Error("the last block is back")
	}
	a.Release()
	if !r.socket.pollable() {
		t.Error("both blocks are back")
	}
}

func TestMark(t *testing.T) {
	r := fakeRing(t, 4)
	if b := next(t, r); b != nil {
		t.Fatal("a batch out of nothing")
	}
	quiet := r.Mark()
	at, _ := now()
	if lag := at - r.hold - quiet; lag < 0 || lag > int64(patience) {
		t.Errorf("mark of a quiet ring is %v behind the clock less the hold", time.Duration(lag))
	}
	// A frame that was under way for long: its time stays.
	put(r, 0, block(fakeSize, 0, 1, fake{time: quiet - 1e9, data: datagram(0, 0, 80)}, fake{time: quiet - 5e8, data: datagram(0, 0, 80)}))
	b := next(t, r)
	if b.Frames[0].Time != quiet-1e9 || b.Frames[0].Clock < quiet || b.Frames[1].Clock <= b.Frames[0].Clock {
		t.Errorf("late frames: times %d, %d, clocks %d, %d, mark was %d", b.Frames[0].Time, b.Frames[1].Time, b.Frames[0].Clock, b.Frames[1].Clock, quiet)
	}
	if r.Stats().Late != 2 {
		t.Errorf("%d late, want 2", r.Stats().Late)
	}
	b.Release()

	// What waits in a block that the kernel has not handed over holds the mark.
	waits := block(fakeSize, 0, 2, fake{time: at - int64(time.Hour), data: datagram(0, 0, 80)})
	host.PutUint32(waits[blockStatus:], unix.TP_STATUS_KERNEL)
	put(r, 1, waits)
	before := r.Mark()
	for range 3 {
		if b := next(t, r); b != nil {
			t.Fatal("a block of the kernel was read")
		}
	}
	if r.Mark() != before {
		t.Errorf("mark rose by %v beyond a frame that waits", time.Duration(r.Mark()-before))
	}
}

func TestEnd(t *testing.T) {
	r := fakeRing(t, 4)
	put(r, 0, block(fakeSize, 0, 1, frames(2000, time.Now().Add(time.Hour).UnixNano())...))
	waits := block(fakeSize, 0, 2, frames(1, base)...)
	host.PutUint32(waits[blockStatus:], unix.TP_STATUS_KERNEL)
	put(r, 1, waits) // being filled
	r.stop()
	a, b := next(t, r), next(t, r)
	for range 3 {
		if c := next(t, r); c != nil {
			t.Fatal("a block of the kernel was read")
		}
	}
	host.PutUint32(r.socket.mem[fakeSize+blockStatus:], unix.TP_STATUS_USER)
	c := next(t, r)
	if len(a.Frames)+len(b.Frames)+len(c.Frames) != 2001 {
		t.Fatalf("%d, %d and %d frames", len(a.Frames), len(b.Frames), len(c.Frames))
	}
	for range 2 {
		if _, err := r.Next(); !errors.Is(err, io.EOF) {
			t.Fatalf("at the end: %v", err)
		}
		if want := c.Frames[0].Clock + 1; r.Mark() != want {
			t.Errorf("mark at the end %d, want %d", r.Mark(), want)
		}
	}
	for _, b := range []*frame.Batch{a, b, c} {
		b.Release()
	}
	if err := r.close(); err != nil {
		t.Fatal(err)
	}
}

// Gaps are told where the kernel saw them, as far as it says.
func TestLost(t *testing.T) {
	const losing = unix.TP_STATUS_LOSING
	type step struct {
		status uint32 // of the block
		drops  uint64 // that the statistics say when it is begun
		want   uint32 // told by its first frame
	}
	for _, tc := range []struct {
		name  string
		steps []step
	}{
		{"none", []step{{0, 0, 0}, {0, 0, 0}}},
		{"before one block", []step{{0, 0, 0}, {losing, 7, 7}, {0, 0, 0}}},
		{"in a row, shared out", []step{{losing, 10, 4}, {losing, 0, 3}, {losing, 0, 3}, {0, 0, 0}}},
		{"in a row, more comes", []step{{losing, 2, 1}, {losing, 7, 8}, {0, 0, 0}}},
		{"fewer than blocks", []step{{losing, 1, 1}, {losing, 0, 0}, {0, 0, 0}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := fakeRing(t, 4)
			for i, s := range tc.steps {
				put(r, i, block(fakeSize, s.status, uint64(i+1), frames(2, base)...))
			}
			for i, s := range tc.steps {
				r.owed += s.drops
				b := next(t, r)
				if b.Frames[0].Lost != s.want || b.Frames[1].Lost != 0 {
					t.Errorf("block %d: lost %d and %d, want %d", i, b.Frames[0].Lost, b.Frames[1].Lost, s.want)
				}
				b.Release()
			}
			if r.owed != 0 {
				t.Errorf("%d not told", r.owed)
			}
		})
	}
	t.Run("told by the statistics", func(t *testing.T) {
		r := fakeRing(t, 4)
		for i := range 4 {
			put(r, i, block(fakeSize, 0, uint64(i+1), frames(2, base)...))
		}
		r.owed, r.due = 9, r.socket.filling() // all four are full: it was after them
		for i := range 5 {
			if i == 4 {
				put(r, 0, block(fakeSize, 0, 5, frames(2, base)...))
			}
			b := next(t, r)
			if want := uint32(i / 4 * 9); b.Frames[0].Lost != want {
				t.Errorf("block %d: lost %d, want %d", i, b.Frames[0].Lost, want)
			}
			b.Release()
		}
	})
}

// The hot path does not allocate.
func TestAllocs(t *testing.T) {
	for _, kind := range []struct {
		name string
		edit func(*fake)
	}{
		{"plain", func(*fake) {}},
		{"tagged", func(f *fake) { f.status, f.tci = unix.TP_STATUS_VLAN_VALID, 5 }},
		{"noted", func(f *fake) { f.data = noted(f.data, 1, uint32(len(f.data)), f.time) }},
	} {
		t.Run(kind.name, func(t *testing.T) {
			r := fakeRing(t, 4)
			all := frames(1500, base)
			for i := range all {
				kind.edit(&all[i])
			}
			full := block(fakeSize, 0, 1, all...)
			i := 0
			if n := testing.AllocsPerRun(50, func() {
				put(r, i%4, full)
				i++
				for got := 0; got < 1500; {
					b, err := r.Next()
					if err != nil || b == nil {
						t.Fatalf("%v, %v", b, err)
					}
					got += len(b.Frames)
					b.Release()
				}
			}); n != 0 {
				t.Errorf("%v allocations per block", n)
			}
		})
	}
	t.Run("quiet", func(t *testing.T) {
		r := fakeRing(t, 4)
		if n := testing.AllocsPerRun(5, func() {
			if b, err := r.Next(); b != nil || err != nil {
				t.Fatalf("%v, %v", b, err)
			}
		}); n != 0 {
			t.Errorf("%v allocations", n)
		}
	})
}

func BenchmarkWalk(b *testing.B) {
	for _, size := range []int{80, 214} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			r := fakeRing(b, 4)
			n := fakeSize / (fakeMAC + size + 16)
			all := make([]fake, n)
			for i := range all {
				all[i] = fake{time: base, data: datagram(1, 1, size)}
			}
			for i := range 4 {
				put(r, i, block(fakeSize, 0, 1, all...))
			}
			b.ReportAllocs()
			b.ResetTimer()
			for got := 0; got < b.N; {
				batch, err := r.Next()
				if err != nil || batch == nil {
					b.Fatal(batch, err)
				}
				got += len(batch.Frames)
				last := batch.Frames[len(batch.Frames)-1].Seq
				batch.Release()
				if last>>16 != uint64(got-1) {
					b.Fatalf("seq %x after %d frames", last, got)
				}
				// The kernel hands the block over again.
				for i := range r.socket.refs {
					if !r.socket.handed(i) {
						host.PutUint32(r.socket.block(i)[blockPackets:], uint32(n))
						*r.socket.status(i) = unix.TP_STATUS_USER
					}
				}
			}
		})
	}
}
