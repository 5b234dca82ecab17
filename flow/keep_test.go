package flow

import (
	"bytes"
	"slices"
	"testing"

	"ringside/dataplane/frame"
	"ringside/flow/rule"
)

// keeping is a group whose shards keep copies in so many pages each.
func keeping(t *testing.T, workers, pages int) *Group {
	t.Helper()
	return NewGroup(Options{
		Workers: workers, Rules: rule.Everything(), Memory: make([]byte, workers*pages*keptPage),
		Recorder: func(int) Recorder { return new(counter) },
	})
}

func frameAt(clock int64, n int, with byte) *frame.Frame {
	return &frame.Frame{Time: clock + 5, Clock: clock, Data: bytes.Repeat([]byte{with}, n), Len: uint32(n + 1), Link: 113, Iface: 7}
}

func TestKeptCopy(t *testing.T) {
	g := keeping(t, 2, 2)
	for _, s := range g.shards {
		for _, tt := range []struct{ n, keep, head, wantHead, want int }{
			{100, 100, 54, 54, 100},
			{100, 60, 54, 54, 60},
			{100, 40, 54, 40, 40}, // the head ends with the copy
			{0, 0, 0, 0, 0},
			{keptPage, keptPage, keptPage, longest, longest}, // longer than a page holds
		} {
			f := frameAt(1000, tt.n, 'x')
			ref := s.shelf.put(f, tt.keep, tt.head)
			if ref <= noCopy {
				t.Fatalf("%+v: reference %d", tt, ref)
			}
			b := g.keeper.at(ref)
			if b.time() != 1005 || b.clock() != 1000 || b.wire() != uint32(tt.n+1) || b.link() != 113 || b.iface() != 7 ||
				b.head() != tt.wantHead || !bytes.Equal(b.data(), f.Data[:tt.want]) || !b.whole() {
				t.Errorf("%+v: %d bytes, head %d", tt, len(b.data()), b.head())
			}
		}
	}
	if a, b := g.shards[0].shelf.mem, g.shards[1].shelf.mem; &a[0] == &b[0] || len(a)+len(b) != len(g.keeper.mem) {
		t.Error("shelves share memory")
	}
}

// TestKeptPages: a page is written anew once all shards have let go of what is
// in it, and the greatest clock counts, wherever it stands.
func TestKeptPages(t *testing.T) {
	g := keeping(t, 2, 4)
	s := g.shards[0]
	fill := func(clocks ...int64) {
		for _, c := range clocks {
			s.shelf.put(frameAt(c, longest/len(clocks)-keptHeader, 'x'), keptPage, 0)
		}
	}
	fill(30, 10)
	fill(40, 50)
	fill(60)
	fill(70)
	if s.shelf.used != 4 || s.shelf.put(frameAt(80, longest, 'x'), keptPage, 0) != noCopy || s.shelf.lost != 1 {
		t.Fatalf("%d pages, %d lost", s.shelf.used, s.shelf.lost)
	}
	for _, tt := range []struct {
		floors [2]int64
		free   int
	}{{[2]int64{20, 100}, 0}, {[2]int64{100, 30}, 0}, {[2]int64{31, 31}, 1}, {[2]int64{51, 100}, 2}, {[2]int64{100, 100}, 3}} {
		for i, f := range tt.floors {
			g.shards[i].floor.Store(f)
		}
		s.shelf.free(s.lowest(floorMark))
		if free := 4 - s.shelf.used; free != tt.free {
			t.Errorf("floors %v: %d pages free, want %d", tt.floors, free, tt.free)
		}
	}
}

// TestKeptRoom: a worker that has no room asks for just the pages that it needs,
// however many it uses, and gets them without anything else moving.
func TestKeptRoom(t *testing.T) {
	for pages := 2; pages < 14; pages++ {
		for used := 1; used <= pages; used++ {
			for turned := range 3 { // rounds before
				g := keeping(t, 1, pages)
				s := g.shards[0]
				clock := int64(1000)
				for s.shelf.page = turned % pages; s.shelf.used < used; clock++ {
					s.shelf.put(frameAt(clock, longest, 'x'), keptPage, 0)
				}
				s.shelf.put(frameAt(clock, 10, 'x'), 10, 0)
				need := min(s.shelf.batch/(keptPage/2)+2, pages-1)
				s.meteredTo, s.shelf.now = clock+1, 0
				if ok := s.room(); ok != (pages-used >= need) {
					t.Fatalf("%d of %d pages: room %v", used, pages, ok)
				} else if ok {
					continue
				}
				s.sayFloor()
				if !s.room() || pages-s.shelf.used != need {
					t.Fatalf("%d of %d pages: %d are free now, want %d", used, pages, pages-s.shelf.used, need)
				}
				if n := g.keeper.short.Load(); n != 1 || g.keeper.squeeze[0].Load() != noClock {
					t.Fatalf("asked %d times, %d", n, g.keeper.squeeze[0].Load())
				}
			}
		}
	}
}

// TestKeptFloor: nothing is let go of that was not metered, or that a look-back
// may still reach.
func TestKeptFloor(t *testing.T) {
	g := keeping(t, 1, 2)
	s := g.shards[0]
	s.sayFloor()
	if f := s.floor.Load(); f != -end {
		t.Errorf("before anything: %d", f)
	}
	s.meteredTo = 10e9
	s.sayFloor()
	if f := s.floor.Load(); f != 10e9-earlyMedia-ageUnit {
		t.Errorf("floor %d", f)
	}
	g.keeper.squeeze[0].Store(20e9)
	s.sayFloor()
	if f := s.floor.Load(); f != 10e9 {
		t.Errorf("floor %d, metered to 10 s", f)
	}
	g.keeper.squeeze[0].Store(5e9)
	s.sayFloor()
	if f := s.floor.Load(); f != 10e9 {
		t.Errorf("floor %d went back", f)
	}
}

func TestKeptChain(t *testing.T) {
	g := keeping(t, 1, 4)
	s := g.shards[0]
	const last = int64(5e12)
	for _, age := range []int64{0, 1, 999, 1000, 1001, 123_456_789, 3600e9, 3601e9, 8000e9} {
		old, ref := last-age, s.shelf.put(frameAt(last, 10, 'x'), 10, 10)
		b := g.keeper.at(ref)
		b.chain(keptBack, frame.Kept{Clock: old, At: 77})
		k := b.follow(keptBack)
		if age > 3600e9 {
			if k.At != 0 {
				t.Errorf("age %d: linked", age)
			}
			continue
		}
		if k.At != 77 || k.Clock > old || old-k.Clock >= ageUnit {
			t.Errorf("age %d: %d at %d, want at %d", age, k.At, k.Clock, old)
		}
	}
}

// TestKeptParts: the frames of a datagram come in the order of their clocks, also
// those of datagrams in which they came; one that is gone is counted.
func TestKeptParts(t *testing.T) {
	g := keeping(t, 1, 4)
	s := g.shards[0]
	keep := func(clock int64) frame.Kept {
		return frame.Kept{Clock: clock, At: s.shelf.put(frameAt(clock, 10, 'x'), 10, 10)}
	}
	n := s.rec.tapes.begin(&plan{id: "c"})
	clocks := func(k frame.Kept) (out []int64, missed uint32) {
		s.rec.tapes.at(n).missed = 0
		s.take(k.Clock, n, rule.SIP, rule.Full, k)
		for _, r := range s.rec.takes {
			out = append(out, r.Clock)
		}
		s.rec.takes = s.rec.takes[:0]
		return out, s.rec.tapes.at(n).missed
	}
	base := int64(1e12)
	a, b, c := keep(base+1), keep(base+2), keep(base+3)
	s.linkParts([]frame.Kept{a, c, b}, c) // an outer datagram, of which c is the last
	d, e := keep(base+4), keep(base+5)
	s.linkParts([]frame.Kept{d, e}, e) // another one
	s.linkParts([]frame.Kept{e, c}, e) // what was in them
	if got, missed := clocks(e); !slices.Equal(got, []int64{base + 1, base + 2, base + 3, base + 4, base + 5}) || missed != 0 {
		t.Errorf("%v, %d missed", got, missed)
	}
	f := keep(base + 6)
	s.linkParts([]frame.Kept{{Clock: base, At: noCopy}, f}, f)
	if got, missed := clocks(f); !slices.Equal(got, []int64{base + 6}) || missed != 1 {
		t.Errorf("one without a copy: %v, %d missed", got, missed)
	}
	h := keep(base + 2*earlyMedia)
	s.linkParts([]frame.Kept{a, h}, h)
	if got, missed := clocks(h); !slices.Equal(got, []int64{h.Clock}) || missed != 1 {
		t.Errorf("one from long ago: %v, %d missed", got, missed)
	}
	if got, missed := clocks(frame.Kept{Clock: base, At: noCopy}); got != nil || missed != 1 {
		t.Errorf("none: %v, %d missed", got, missed)
	}
}

// TestOffset: where a packet's payload lies in its frame, or not at all.
func TestOffset(t *testing.T) {
	f := frameAt(1, 100, 'x')
	for _, tt := range []struct {
		payload []byte
		want    int
	}{{f.Data[42:], 42}, {f.Data[:5], 0}, {f.Data[100:], 100}, {make([]byte, 10), 100}, {nil, 100}} {
		if got := offset(f, tt.payload); got != tt.want {
			t.Errorf("%d bytes: %d, want %d", len(tt.payload), got, tt.want)
		}
	}
}
