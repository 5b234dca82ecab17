package defrag

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"ringside/dataplane/frame"
)

// floods are streams of fragments that never make a datagram.
var floods = []struct {
	name string
	next func(i int, f *frame.Fragment)
}{
	{"one source, first fragments", func(i int, f *frame.Fragment) { f.ID = uint32(i) }},
	{"one source, tiny ones", func(i int, f *frame.Fragment) {
		f.ID, f.Offset, f.Len, f.Data = uint32(i/100), uint32(i%100)*16, 8, f.Data[:8]
	}},
	{"one source, big ones", func(i int, f *frame.Fragment) {
		f.ID, f.Offset, f.Len = uint32(i/40), uint32(i%40)*1480, 1480
	}},
	{"one source, cut to nothing", func(i int, f *frame.Fragment) { f.ID, f.Data = uint32(i), nil }},
	{"a source each", func(i int, f *frame.Fragment) { f.Src.Lo += uint64(i) }},
	{"an IPv6 address each", func(i int, f *frame.Fragment) {
		f.IPv6, f.Src = true, frame.Addr{Hi: 7, Lo: uint64(i)}
	}},
	{"overlaps", func(i int, f *frame.Fragment) { f.ID, f.Offset = uint32(i/2), uint32(i%2)*8 }},
	{"one datagram again and again", func(i int, f *frame.Fragment) {
		f.ID, f.Offset, f.More = uint32(i/2), uint32(i%2)*1480, i%2 == 0
	}},
}

// TestFlood wants memory within its caps, and the datagrams of a host whole
// while others flood: 20 fragments of the flood between two of its own.
func TestFlood(t *testing.T) {
	limits := Limits{MaxBytes: 1 << 20, MaxDatagrams: 1000}
	for _, flood := range floods {
		t.Run(flood.name, func(t *testing.T) {
			table := New(limits)
			junk := pattern(1, 1480)
			clock := int64(0)
			n := 0
			for id := range 300 {
				payload := pattern(id, 4000)
				good := cutUp(id, 0, payload, 1480)
				for i := range good {
					for range 20 {
						clock += 10_000
						f := frame.Fragment{Clock: clock, Src: addr(9, 9), Dst: addr(0, 2), Proto: 17, Data: junk, Len: 1480, More: true}
						flood.next(n, &f)
						n++
						table.Add(&f)
					}
					clock += 10_000
					good[i].Clock = clock
					d, ok := table.Add(&good[i])
					if ok != (i == 2) || ok && !bytes.Equal(d.Data, payload) {
						t.Fatalf("datagram %d, fragment %d: %v; %+v", id, i, ok, table.Stats())
					}
				}
				if id%20 == 0 {
					check(t, table)
				}
			}
			check(t, table)
			s := table.Stats()
			if s.Bytes > uint64(limits.MaxBytes) || len(table.cells.chunks)*slabChunk*cellSize > limits.MaxBytes+slabChunk*cellSize {
				t.Errorf("%d bytes in use, %d chunks", s.Bytes, len(table.cells.chunks))
			}
			t.Logf("%s; %d datagrams; %d KiB in use", outcome(&s), s.Datagrams, s.Bytes>>10)
		})
	}
}

// TestShare: what one source holds stays within its share, to the byte.
func TestShare(t *testing.T) {
	table := New(Limits{MaxBytes: 100 * cellSize, MaxSourceBytes: 10 * cellSize, MaxDatagrams: 50, MaxSourceDatagrams: 8})
	junk := pattern(1, 512)
	for i := range 40 {
		table.Add(&frame.Fragment{Src: addr(1, 1), ID: uint32(i), Clock: int64(i), Data: junk, Len: 512, More: true})
		check(t, table)
	}
	if s := table.Stats(); s.DatagramsWaiting != 8 || s.DatagramsEvicted != 32 {
		t.Errorf("%+v", s)
	}
	// One datagram that is bigger than the share goes, and with it the fragment.
	for i := range 11 {
		table.Add(&frame.Fragment{Src: addr(1, 2), Clock: 100, Data: junk, Offset: uint32(i) * 512, Len: 512, More: true})
		check(t, table)
	}
	if s := table.Stats(); s.DatagramsWaiting != 8 || s.DatagramsEvicted != 33 || s.Evicted != 32+11 {
		t.Errorf("%+v", s)
	}
}

// TestSmall runs random traffic through tables that are always full.
func TestSmall(t *testing.T) {
	for seed := range uint64(100) {
		r := rand.New(rand.NewPCG(seed, 2))
		table := New(Limits{
			MaxBytes: cellSize * (1 + r.IntN(40)), MaxDatagrams: 1 + r.IntN(8),
			MaxSourceBytes: cellSize * (1 + r.IntN(20)), MaxSourceDatagrams: 1 + r.IntN(4), MaxFragments: 1 + r.IntN(10),
		})
		for _, f := range randomTraffic(r, 50) {
			table.Add(&f)
			check(t, table)
		}
	}
}

// FuzzAdd reads fragments from the input: 8 bytes each.
func FuzzAdd(f *testing.F) {
	for seed := range uint64(20) {
		var in []byte
		for _, g := range randomTraffic(rand.New(rand.NewPCG(seed, 3)), 5) {
			var b [8]byte
			b[0] = byte(g.ID) | byte(g.Src.Lo)<<2
			if g.More {
				b[0] |= 0x80
			}
			binary.BigEndian.PutUint16(b[1:], uint16(g.Offset))
			binary.BigEndian.PutUint16(b[3:], uint16(g.Len))
			in = append(in, b[:]...)
		}
		f.Add(in)
	}
	data := pattern(1, 70_000)
	f.Fuzz(func(t *testing.T, in []byte) {
		small := New(Limits{MaxBytes: 60 * cellSize, MaxDatagrams: 6, MaxSourceBytes: 40 * cellSize, MaxSourceDatagrams: 3, MaxFragments: 8})
		large := New(Limits{})
		small.seed, large.seed = 1, 1 // the same way through the code every time
		clock := int64(0)
		in = in[:min(len(in), 8*200)]
		for ; len(in) >= 8; in = in[8:] {
			g := frame.Fragment{
				ID: uint32(in[0] & 3), Src: frame.Addr{Lo: uint64(in[0] >> 2 & 3)}, IPv6: in[0]&0x40 != 0, More: in[0]&0x80 != 0,
				Offset: uint32(binary.BigEndian.Uint16(in[1:])) * uint32(1+in[5]&1*7), Len: uint32(binary.BigEndian.Uint16(in[3:])),
			}
			clock += int64(in[6]) * int64(in[6]) * ms
			g.Clock = clock
			from := int(in[7]&3) * 64
			g.Data = data[from : from+int(g.Len)>>(in[7]>>6)]
			for _, table := range []*Table{small, large} {
				d, ok := table.Add(&g)
				if ok && (d.Cut != (len(d.Data) < int(d.Len)) || len(d.Data) > int(d.Len) || d.Len > maxDatagram || d.First > clock) {
					t.Fatalf("datagram of %d bytes, length %d, cut %v", len(d.Data), d.Len, d.Cut)
				}
				check(t, table)
			}
		}
	})
}

// steady is fragments of datagrams in the order that a mirror delivers them,
// and a table that has seen the like.
func steady(mirrored bool) (*Table, []frame.Fragment) {
	var f []frame.Fragment
	for id := range 64 {
		g := cutUp(id, 0, pattern(id, 2800), 1480)
		if mirrored {
			g = append(g, g...)
		}
		f = append(f, g...)
	}
	table := New(Limits{})
	clock := int64(0)
	for range 4 {
		replay(table, f, &clock)
	}
	return table, f
}

// replay gives fragments to a table once more, 3 s later: the identifications
// are used again.
func replay(table *Table, f []frame.Fragment, clock *int64) (datagrams int) {
	*clock += 3000 * ms
	for i := range f {
		*clock += 1000
		f[i].Clock = *clock
		if _, ok := table.Add(&f[i]); ok {
			datagrams++
		}
	}
	return datagrams
}

func TestNoAllocation(t *testing.T) {
	table, f := steady(true)
	clock := int64(100_000 * ms)
	datagrams := 0
	if n := testing.AllocsPerRun(20, func() { datagrams += replay(table, f, &clock) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if datagrams != 21*64 {
		t.Errorf("%d datagrams", datagrams)
	}
	incomplete := f[:0:0]
	for i := range f {
		if f[i].More {
			incomplete = append(incomplete, f[i])
		}
	}
	if n := testing.AllocsPerRun(20, func() { replay(table, incomplete, &clock) }); n != 0 {
		t.Errorf("%v allocations for datagrams that time out", n)
	}
	check(t, table)
}

func BenchmarkAdd(b *testing.B) {
	for _, c := range []struct {
		name     string
		mirrored bool
	}{{"once", false}, {"mirrored", true}} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			table, f := steady(c.mirrored)
			clock := int64(100_000 * ms)
			for b.Loop() {
				replay(table, f, &clock)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(f)), "ns/fragment")
		})
	}
}

// BenchmarkFlood is a full table: each fragment evicts one.
func BenchmarkFlood(b *testing.B) {
	b.ReportAllocs()
	table := New(Limits{})
	junk := pattern(1, 1480)
	n := 0
	for b.Loop() {
		n++
		table.Add(&frame.Fragment{Clock: int64(n) * 1000, Src: frame.Addr{Lo: uint64(n)}, ID: uint32(n), Data: junk, Len: 1480, More: true})
	}
}
