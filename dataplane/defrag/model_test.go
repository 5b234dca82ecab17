package defrag

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"

	"ringside/dataplane/frame"
)

// model says what a table without bounds has to do, in the plainest way: it
// keeps whole fragments, looks through all of them, and never shares memory.
type model struct {
	held  map[key]*held
	stats Stats
}

type held struct {
	fragments   []frame.Fragment
	first, last int64
	done        bool
	reason      Reason
}

func (m *model) expire(clock int64) {
	for k, h := range m.held {
		wait := 30_000 * ms
		if k.ipv6 {
			wait = 60_000 * ms
		}
		over := h.done || h.reason != 0
		switch {
		case over && clock-h.last > 100*ms:
			delete(m.held, k)
		case !over && clock-h.first >= wait:
			m.stats.TimedOut += uint64(len(h.fragments))
			m.stats.DatagramsTimedOut++
			delete(m.held, k)
		}
	}
}

func (m *model) refuse(h *held, r Reason, clock int64) {
	m.stats.Refused[r] += uint64(len(h.fragments))
	m.stats.DatagramsRefused++
	h.reason, h.first, h.last, h.fragments = r, clock, clock, nil
}

func sameFragment(a, b *frame.Fragment) bool {
	return a.Offset == b.Offset && a.Len == b.Len && a.More == b.More && bytes.Equal(a.Data, b.Data)
}

// conflict is the first thing that is wrong with f beside others.
func conflict(h *held, f *frame.Fragment) Reason {
	end := f.Offset + f.Len
	for i := range h.fragments {
		if g := &h.fragments[i]; g.Offset < end && f.Offset < g.Offset+g.Len {
			return Overlap
		}
	}
	for i := range h.fragments {
		if g := &h.fragments[i]; !g.More && !f.More {
			return TwoEnds
		}
	}
	for i := range h.fragments {
		g := &h.fragments[i]
		if !g.More && end > g.Offset+g.Len || !f.More && end < g.Offset+g.Len {
			return BeyondEnd
		}
	}
	if len(h.fragments) == 128 {
		return TooMany
	}
	return 0
}

func (m *model) add(f *frame.Fragment) (data []byte, ok bool) {
	m.stats.Fragments++
	m.expire(f.Clock)
	if f.Offset == 0 && !f.More {
		m.stats.Used++
		m.stats.Begun++
		m.stats.Datagrams++
		return f.Data, true
	}
	k := key{src: f.Src, dst: f.Dst, outer: f.Outer, id: f.ID, proto: f.Proto, ipv6: f.IPv6}
	h := m.held[k]
	waits := h != nil && !h.done && h.reason == 0
	bad := Reason(0)
	switch {
	case f.Len == 0:
		bad = Empty
	case f.Offset+f.Len > 65535:
		bad = TooLong
	case f.Offset%8 != 0 || f.More && f.Len%8 != 0:
		bad = Unaligned
	}
	if bad != 0 {
		if waits {
			m.refuse(h, bad, f.Clock)
		}
		m.stats.Refused[bad]++
		return nil, false
	}
	known := h != nil && slices.ContainsFunc(h.fragments, func(g frame.Fragment) bool { return sameFragment(&g, f) })
	switch {
	case h == nil:
	case h.reason != 0 && (f.Offset != 0 || f.Clock-h.first <= 100*ms):
		m.stats.Refused[h.reason]++
		h.last = f.Clock
		return nil, false
	case known:
		m.stats.Duplicates++
		return nil, false
	case h.done || h.reason != 0:
		h = nil
	default:
		r := conflict(h, f)
		switch stale := f.Clock-h.last > 100*ms; {
		case stale && (r != 0 || f.Offset == 0):
			m.stats.Stale += uint64(len(h.fragments))
			m.stats.DatagramsStale++
			h = nil
		case r != 0:
			m.refuse(h, r, f.Clock)
			m.stats.Refused[r]++
			return nil, false
		}
	}
	if h == nil {
		h = &held{first: f.Clock}
		m.held[k] = h
		m.stats.Begun++
	}
	h.fragments = append(h.fragments, *f)
	h.last = f.Clock
	return m.whole(h)
}

func (m *model) whole(h *held) (data []byte, ok bool) {
	parts := slices.Clone(h.fragments)
	slices.SortFunc(parts, func(a, b frame.Fragment) int { return int(a.Offset) - int(b.Offset) })
	data = []byte{}
	for i, p := range parts {
		if int(p.Offset) != len(data) || p.More != (i < len(parts)-1) {
			return nil, false
		}
		data = append(data, p.Data...)
	}
	h.done = true
	m.stats.Used += uint64(len(parts))
	m.stats.Datagrams++
	return data, true
}

// waiting fills in what the model counts last.
func (m *model) waiting() Stats {
	s := m.stats
	for _, h := range m.held {
		if !h.done && h.reason == 0 {
			s.Waiting += uint64(len(h.fragments))
			s.DatagramsWaiting++
		}
	}
	return s
}

// randomTraffic is fragments as a bad network and a worse sender make them: few
// identifications, used again and again; lost, repeated, shuffled, damaged.
func randomTraffic(r *rand.Rand, datagrams int) []frame.Fragment {
	var out []frame.Fragment
	for range datagrams {
		payload := pattern(r.IntN(3), 8*(2+r.IntN(40))+r.IntN(8))
		f := cutUp(r.IntN(3), 0, payload, 8*(1+r.IntN(12)))
		v6 := r.IntN(2) == 0
		host := addr(1, r.IntN(2))
		outer := r.Uint64N(2)
		for i := range f {
			f[i].IPv6, f[i].Src, f[i].Outer = v6, host, outer
			if v6 {
				f[i].Proto = 0
			}
		}
		if r.IntN(3) == 0 {
			r.Shuffle(len(f), func(i, j int) { f[i], f[j] = f[j], f[i] })
		}
		if r.IntN(6) == 0 {
			i := r.IntN(len(f))
			f = slices.Delete(f, i, i+1)
		}
		if r.IntN(3) == 0 {
			f = append(f, slices.Clone(f)...)
		}
		if len(f) > 0 && r.IntN(8) == 0 {
			g := f[r.IntN(len(f))]
			switch r.IntN(6) {
			case 0:
				g.Offset += 8 * uint32(r.IntN(3))
			case 1:
				g.More = !g.More
			case 2:
				g.Data, g.Len = nil, 0
			case 3:
				g.Offset = 65528
			case 4:
				g.Data = pattern(9, len(g.Data))
			case 5:
				g.Len = uint32(r.IntN(len(g.Data)) + 1)
				g.Data = g.Data[:g.Len]
			}
			f = slices.Insert(f, r.IntN(len(f)), g)
		}
		out = append(out, f...)
		if n := len(out); n > 3 && r.IntN(3) == 0 { // datagrams mix
			i, j := n-1-r.IntN(3), n-1-r.IntN(3)
			out[i], out[j] = out[j], out[i]
		}
	}
	clock := int64(0)
	for i := range out {
		switch r.IntN(60) {
		case 0:
			clock += r.Int64N(40_000 * ms)
		case 1, 2:
			clock += r.Int64N(2_000 * ms)
		default:
			clock += r.Int64N(3 * ms)
		}
		out[i].Clock = clock
	}
	return out
}

func TestModel(t *testing.T) {
	var total Stats
	for seed := range uint64(200) {
		m := model{held: map[key]*held{}}
		table := New(Limits{})
		for i, f := range randomTraffic(rand.New(rand.NewPCG(seed, 1)), 60) {
			want, wantOK := m.add(&f)
			d, ok := table.Add(&f)
			if ok != wantOK || ok && !bytes.Equal(d.Data, want) {
				t.Fatalf("seed %d, fragment %d: %d bytes %v, want %d %v", seed, i, len(d.Data), ok, len(want), wantOK)
			}
			check(t, table)
			got := table.Stats()
			got.Bytes, got.Sources = 0, 0
			if want := m.waiting(); got != want {
				t.Fatalf("seed %d, fragment %d:\n got %+v\nwant %+v", seed, i, got, want)
			}
		}
		s := table.Stats()
		total.Add(&s)
	}
	for r := Reason(1); r < TooMany; r++ {
		if total.Refused[r] == 0 {
			t.Errorf("nothing refused as %v", r)
		}
	}
	if total.Datagrams == 0 || total.Duplicates == 0 || total.TimedOut == 0 || total.Stale == 0 {
		t.Errorf("not everything happened: %+v", total)
	}
	t.Logf("%+v", total)
}

// TestDealt: fragments that are dealt to several tables by their Outer hash make
// the same datagrams as in one.
func TestDealt(t *testing.T) {
	for seed := range uint64(50) {
		one, two := New(Limits{}), [2]*Table{New(Limits{}), New(Limits{})}
		clock := int64(0)
		for i, f := range randomTraffic(rand.New(rand.NewPCG(seed, 4)), 100) {
			d, ok := one.Add(&f)
			e, dealt := two[f.Outer].Add(&f)
			if ok != dealt || !bytes.Equal(d.Data, e.Data) || d.First != e.First {
				t.Fatalf("seed %d, fragment %d: %v in one table, %v in its own", seed, i, ok, dealt)
			}
			clock = f.Clock
		}
		want, got := Stats{}, Stats{}
		one.Expire(clock)
		s := one.Stats()
		want.Add(&s)
		for _, table := range two {
			table.Expire(clock)
			s := table.Stats()
			got.Add(&s)
		}
		got.Sources = want.Sources // a source is in both
		if got != want {
			t.Fatalf("seed %d:\n got %+v\nwant %+v", seed, got, want)
		}
	}
}
