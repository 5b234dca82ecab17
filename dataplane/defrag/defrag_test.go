package defrag

import (
	"bytes"
	"fmt"
	"reflect"
	"testing"
	"time"

	"ringside/dataplane/frame"
)

const ms = int64(time.Millisecond)

// addr is 10.0.a.b.
func addr(a, b int) frame.Addr { return frame.AddrFrom4([]byte{10, 0, byte(a), byte(b)}) }

// pattern is n bytes that differ by seed and place.
func pattern(seed, n int) []byte {
	b := make([]byte, n)
	x := uint32(seed)*2654435761 + 12345
	for i := range b {
		x = x*1664525 + 1013904223
		b[i] = byte(x >> 24)
	}
	return b
}

// cutUp is a payload in fragments of at most size bytes, a millisecond apart.
func cutUp(id int, clock int64, payload []byte, size int) []frame.Fragment {
	var out []frame.Fragment
	for off := 0; off < len(payload); off += size {
		end := min(off+size, len(payload))
		out = append(out, frame.Fragment{
			Clock: clock + int64(len(out))*ms, Src: addr(0, 1), Dst: addr(0, 2), ID: uint32(id), Proto: 17, TTL: 60,
			Data: payload[off:end], Offset: uint32(off), Len: uint32(end - off), More: end < len(payload),
		})
	}
	return out
}

// at gives fragments the clocks from one on, a millisecond apart.
func at(clock int64, fragments ...frame.Fragment) []frame.Fragment {
	out := append([]frame.Fragment(nil), fragments...)
	for i := range out {
		out[i].Clock = clock + int64(i)*ms
	}
	return out
}

func pick(f []frame.Fragment, order ...int) []frame.Fragment {
	var out []frame.Fragment
	for _, i := range order {
		out = append(out, f[i])
	}
	return out
}

func with(f frame.Fragment, change func(f *frame.Fragment)) frame.Fragment {
	change(&f)
	return f
}

func each(f []frame.Fragment, change func(f *frame.Fragment)) []frame.Fragment {
	var out []frame.Fragment
	for _, f := range f {
		out = append(out, with(f, change))
	}
	return out
}

func join(parts ...[]frame.Fragment) []frame.Fragment {
	var out []frame.Fragment
	for _, p := range parts {
		out = append(out, p...)
	}
	return out
}

// check compares everything that a table counts with what it holds.
func check(tb testing.TB, t *Table) {
	tb.Helper()
	s := t.Stats()
	sum := s.Used + s.Duplicates + s.TimedOut + s.Stale + s.Evicted + s.Waiting
	for _, n := range s.Refused {
		sum += n
	}
	if sum != s.Fragments {
		tb.Fatalf("%d fragments, %d counted: %+v", s.Fragments, sum, s)
	}
	if got := s.Datagrams + s.DatagramsRefused + s.DatagramsTimedOut + s.DatagramsStale + s.DatagramsEvicted + s.DatagramsWaiting; got != s.Begun {
		tb.Fatalf("%d datagrams begun, %d counted: %+v", s.Begun, got, s)
	}
	if t.cells.used > t.maxCells || t.datagrams.used > t.limits.MaxDatagrams || len(t.cells.chunks)*slabChunk >= t.maxCells+slabChunk {
		tb.Fatalf("%d cells of %d, %d datagrams of %d", t.cells.used, t.maxCells, t.datagrams.used, t.limits.MaxDatagrams)
	}
	var pieces, datagrams, held, cells uint64
	owned := map[uint32]*source{}
	for age := range t.ages {
		older := none
		for i := t.ages[age].oldest; i != none; i = t.datagrams.at(i).newer {
			d := t.datagrams.at(i)
			held++
			if d.older != older || t.find(&d.key, d.bucket) != i || (d.state == waiting) == (age == ageOver) {
				tb.Fatalf("datagram %d is not where it belongs", i)
			}
			older = i
			count, own, last := checkPieces(tb, t, d)
			cells += own
			if d.state != waiting {
				continue
			}
			if uint64(d.count) != count || uint64(d.cells) != own || d.tail != last || count == 0 {
				tb.Fatalf("datagram %d holds %d pieces and %d cells: %+v", i, count, own, d)
			}
			pieces += count
			datagrams++
			if owned[d.source] == nil {
				owned[d.source] = &source{}
			}
			owned[d.source].count++
			owned[d.source].cells += d.cells
		}
		if t.ages[age].newest != older {
			tb.Fatalf("list %d does not end with its newest", age)
		}
	}
	if pieces != s.Waiting || datagrams != s.DatagramsWaiting || held != uint64(t.datagrams.used) || cells != uint64(t.cells.used) || len(owned) != t.sources.used {
		tb.Fatalf("holds %d pieces, %d waiting of %d datagrams, %d cells, %d sources: %+v", pieces, datagrams, held, cells, len(owned), s)
	}
	for i, o := range owned {
		src := t.sources.at(i)
		if src.count != o.count || src.cells != o.cells || int(src.cells) > t.maxOwn || int(src.count) > t.limits.MaxSourceDatagrams {
			tb.Fatalf("source %v: counts %d datagrams and %d cells, holds %d and %d", src.addr, src.count, src.cells, o.count, o.cells)
		}
	}
}

// checkPieces wants the pieces of a datagram in order and without overlap.
func checkPieces(tb testing.TB, t *Table, d *datagram) (count, cells uint64, last uint32) {
	tb.Helper()
	last = none
	end := uint32(0)
	for p := d.head; p != none; p = t.cells.at(p).next {
		c := t.cells.at(p)
		if c.off < end {
			tb.Fatalf("pieces overlap at %d", c.off)
		}
		end = c.off + c.size
		count++
		for q := p; q != none; q = t.cells.at(q).rest {
			cells++
		}
		last = p
	}
	return count, cells, last
}

func TestAdd(t *testing.T) {
	big := pattern(1, 4000)
	other := pattern(2, 4000)
	f := cutUp(7, 0, big, 1480) // at 0, 1480, 2960
	g := cutUp(7, 0, other, 1480)
	sameTail := append(bytes.Clone(other[:2960]), big[2960:]...)
	h := cutUp(7, 0, sameTail, 1480)
	overlap := with(f[1], func(f *frame.Fragment) { f.Offset, f.Data = 1472, big[1472:2952] })
	for _, c := range []struct {
		name string
		in   []frame.Fragment
		out  [][]byte
		want string // what the counters say beyond fragments and datagrams
	}{
		{"in order", f, [][]byte{big}, "used 3"},
		{"last first", at(0, pick(f, 2, 1, 0)...), [][]byte{big}, "used 3"},
		{"any order", at(0, pick(f, 1, 2, 0)...), [][]byte{big}, "used 3"},
		{"one missing", pick(f, 0, 2), nil, "waiting 2"},
		{"too late", join(pick(f, 0, 1), at(30_000*ms, f[2])), nil, "waiting 1, timed out 2"},
		{"just in time", join(pick(f, 0, 1), at(29_999*ms, f[2])), [][]byte{big}, "used 3"},
		{"each twice at once", at(0, pick(f, 0, 0, 1, 1, 2, 2)...), [][]byte{big}, "used 3, duplicates 3"},
		{"all twice, one after the other", at(0, pick(f, 0, 1, 2, 0, 1, 2)...), [][]byte{big}, "used 3, duplicates 3"},
		{"all twice, the second in reverse", at(0, pick(f, 0, 1, 2, 2, 1, 0)...), [][]byte{big}, "used 3, duplicates 3"},
		{"duplicate of the first while waiting", at(0, pick(f, 0, 1, 0, 2)...), [][]byte{big}, "used 3, duplicates 1"},
		{"identification again at once", join(f, at(5*ms, g...)), [][]byte{big, other}, "used 6"},
		{"identification again, same tail first", join(f, at(5*ms, h[1], h[2], h[0])), [][]byte{big, sameTail}, "used 6"},
		{"identification again, mirrored", join(at(0, pick(f, 0, 0, 1, 1, 2, 2)...), at(9*ms, pick(g, 0, 0, 1, 1, 2, 2)...)), [][]byte{big, other}, "used 6, duplicates 6"},
		{"same bytes after the copies can be", join(f, at(2000*ms, f...)), [][]byte{big, big}, "used 6"},
		{"identification again, the old one without its end", join(pick(f, 0, 1), at(5000*ms, g...)), [][]byte{other}, "used 3, stale 2"},
		{"identification again, the old one without its front", join(pick(f, 1, 2), at(5000*ms, g...)), [][]byte{other}, "used 3, stale 2"},
		{"other bytes, at once", join(pick(f, 0, 1), at(5*ms, g...)), nil, "overlap 5"},
		{"overlap", join(pick(f, 0), at(1*ms, overlap, f[2])), nil, "overlap 3"},
		{"teardrop: within another", join(pick(f, 0), at(1*ms, with(f[2], func(f *frame.Fragment) { f.Offset, f.Data, f.Len = 24, f.Data[:4], 4 }))), nil, "overlap 2"},
		{"refused, and later again", join(pick(f, 0), at(1*ms, overlap), at(1500*ms, f...)), [][]byte{big}, "used 3, overlap 2"},
		{"ping of death", join(pick(f, 0), at(1*ms, with(f[2], func(f *frame.Fragment) { f.Offset = 65528 }))), nil, "too-long 2"},
		{"just not too long", at(0, with(f[2], func(f *frame.Fragment) { f.Offset, f.Data, f.Len = 65528, f.Data[:7], 7 })), nil, "waiting 1"},
		{"empty", join(pick(f, 0), at(1*ms, with(f[1], func(f *frame.Fragment) { f.Data, f.Len = nil, 0 }))), nil, "empty 2"},
		{"empty alone makes no datagram", at(0, with(f[1], func(f *frame.Fragment) { f.Data, f.Len = nil, 0 })), nil, "empty 1"},
		{"no multiple of 8", at(0, f[0], with(f[1], func(f *frame.Fragment) { f.Data, f.Len = f.Data[:1479], 1479 })), nil, "unaligned 2"},
		{"damage after the end", join(f, at(4*ms, with(f[1], func(f *frame.Fragment) { f.Data, f.Len = nil, 0 }))), [][]byte{big}, "used 3, empty 1"},
		{"two ends", at(0, f[2], with(f[2], func(f *frame.Fragment) { f.Offset += 8000 })), nil, "two-ends 2"},
		{"the end before what is there", at(0, f[1], with(f[2], func(f *frame.Fragment) { f.Offset, f.Data, f.Len = 800, f.Data[:100], 100 })), nil, "beyond-end 2"},
		{"beyond the end", at(0, f[2], with(f[1], func(f *frame.Fragment) { f.Offset = 8000 })), nil, "beyond-end 2"},
		{"another protocol", at(0, f[0], f[1], with(f[2], func(f *frame.Fragment) { f.Proto = 6 })), nil, "waiting 3"},
		{"another destination", at(0, f[0], f[1], with(f[2], func(f *frame.Fragment) { f.Dst = addr(0, 3) })), nil, "waiting 3"},
		{"another pass of the capture", at(0, f[0], f[1], with(f[2], func(f *frame.Fragment) { f.Loop = 1 })), nil, "waiting 3"},
		{"another depth", at(0, f[0], f[1], with(f[2], func(f *frame.Fragment) { f.Depth = 1 })), nil, "waiting 3"},
		{"in a tunnel, and in another", join(f, at(5*ms, each(f, func(f *frame.Fragment) { f.Outer = 1 })...), at(9*ms, each(f, func(f *frame.Fragment) { f.Outer = 2 })...)), [][]byte{big, big, big}, "used 9"},
		{"another VLAN and interface", at(0, f[0], f[1], with(f[2], func(f *frame.Fragment) {
			f.VLAN, f.Flags, f.Iface, f.Tunnel = 9, frame.FlagVLAN, 1, 1
		})), [][]byte{big}, "used 3"},
		{"cut in the middle", at(0, f[0], with(f[1], func(f *frame.Fragment) { f.Data = f.Data[:100] }), f[2]), [][]byte{big[:1580]}, "used 3, cut 1"},
		{"cut at the front", at(0, with(f[0], func(f *frame.Fragment) { f.Data = nil }), f[1], f[2]), [][]byte{{}}, "used 3, cut 1"},
		{"cut at the end", at(0, f[0], f[1], with(f[2], func(f *frame.Fragment) { f.Data = f.Data[:0] })), [][]byte{big[:2960]}, "used 3, cut 1"},
		{"copies cut elsewhere", at(0, f[0], with(f[0], func(f *frame.Fragment) { f.Data = f.Data[:100] }), f[1], f[2]), [][]byte{big}, "used 3, duplicates 1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			table := New(Limits{})
			var out [][]byte
			for i := range c.in {
				d, ok := table.Add(&c.in[i])
				if ok {
					out = append(out, bytes.Clone(d.Data))
					if d.Len != 4000 || d.Cut != (len(d.Data) < 4000) || d.Proto != 17 || d.TTL != 60 || d.Count != 3 {
						t.Errorf("datagram %+v", d)
					}
				}
				check(t, table)
			}
			if len(out) != len(c.out) {
				t.Fatalf("%d datagrams, want %d; %+v", len(out), len(c.out), table.Stats())
			}
			for i := range out {
				if !bytes.Equal(out[i], c.out[i]) {
					t.Errorf("datagram %d has other bytes", i)
				}
			}
			s := table.Stats()
			if got := outcome(&s); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
			table.Expire(1 << 60)
			check(t, table)
			if s := table.Stats(); s.Bytes != 0 || s.Waiting != 0 || s.Sources != 0 {
				t.Errorf("at the end: %+v", s)
			}
		})
	}
}

// TestOneIdentification: a host that gives all its datagrams one identification,
// 50 a second. A fragment that is missing costs the datagrams of Linger.
func TestOneIdentification(t *testing.T) {
	for _, c := range []struct {
		name string
		drop int // datagram without its middle
		out  int
		want string
	}{
		{"none missing", -1, 200, "used 600"},
		{"one missing", 100, 193, "used 579, overlap 20"},
	} {
		t.Run(c.name, func(t *testing.T) {
			table, out := New(Limits{}), 0
			for n := range 200 {
				payload := pattern(n, 4000)
				for i, f := range cutUp(0, int64(n)*20*ms, payload, 1480) {
					if n == c.drop && i == 1 {
						continue
					}
					if d, ok := table.Add(&f); ok {
						out++
						if !bytes.Equal(d.Data, payload) {
							t.Fatalf("datagram %d has other bytes", n)
						}
					}
				}
				check(t, table)
			}
			s := table.Stats()
			if got := outcome(&s); out != c.out || got != c.want {
				t.Errorf("%d datagrams, %s; want %d, %s", out, got, c.out, c.want)
			}
		})
	}
}

// TestRetransmission: the same bytes under the same identification are a copy
// within Linger, and a datagram of their own later.
func TestRetransmission(t *testing.T) {
	for _, c := range []struct {
		after int64
		want  string
	}{{50 * ms, "used 3, duplicates 3"}, {500 * ms, "used 6"}} {
		table := New(Limits{})
		for _, f := range append(cutUp(0, 0, pattern(1, 4000), 1480), cutUp(0, c.after, pattern(1, 4000), 1480)...) {
			table.Add(&f)
		}
		s := table.Stats()
		if got := outcome(&s); got != c.want {
			t.Errorf("after %d ms: %s, want %s", c.after/ms, got, c.want)
		}
	}
}

// outcome says what became of the fragments.
func outcome(s *Stats) string {
	text := ""
	say := func(name string, n uint64) {
		if n != 0 {
			if text != "" {
				text += ", "
			}
			text += fmt.Sprint(name, " ", n)
		}
	}
	say("used", s.Used)
	say("waiting", s.Waiting)
	say("duplicates", s.Duplicates)
	say("timed out", s.TimedOut)
	say("stale", s.Stale)
	say("evicted", s.Evicted)
	say("cut", s.Cut)
	for r, n := range s.Refused {
		say(Reason(r).String(), n)
	}
	return text
}

func TestIPv6(t *testing.T) {
	payload := pattern(3, 3000)
	f := cutUp(0x12345678, 0, payload, 1448)
	for i := range f {
		f[i].IPv6 = true
		f[i].Src, f[i].Dst = frame.Addr{Hi: 1, Lo: 2}, frame.Addr{Hi: 1, Lo: 3}
	}
	t.Run("protocol of the first", func(t *testing.T) {
		f := at(0, pick(f, 2, 1, 0)...)
		f[0].Proto, f[1].Proto = 60, 59
		f[2].TTL, f[2].DSCP = 9, 46
		table := New(Limits{})
		for i := range f {
			d, ok := table.Add(&f[i])
			if ok != (i == 2) {
				t.Fatalf("fragment %d: %v", i, ok)
			}
			if ok && (d.Proto != 17 || d.TTL != 9 || d.DSCP != 46 || d.First != 0 || !bytes.Equal(d.Data, payload)) {
				t.Fatalf("datagram %+v", d)
			}
		}
	})
	t.Run("timeout", func(t *testing.T) {
		table := New(Limits{})
		for _, f := range join(pick(f, 0, 1), at(59_999*ms, f[2])) {
			if _, ok := table.Add(&f); ok != (f.Offset == 2896) {
				t.Fatalf("offset %d: %v", f.Offset, ok)
			}
		}
	})
	t.Run("whole in one fragment", func(t *testing.T) {
		table := New(Limits{})
		one := with(f[0], func(f *frame.Fragment) { f.More, f.Clock = false, 1 })
		for i, f := range []frame.Fragment{f[0], one, f[1], f[2]} {
			d, ok := table.Add(&f)
			if ok != (i == 1 || i == 3) {
				t.Fatalf("fragment %d: %v", i, ok)
			}
			if i == 1 && (d.Len != 1448 || d.Count != 1 || d.First != 1 || !bytes.Equal(d.Data, payload[:1448])) {
				t.Fatalf("datagram %+v", d)
			}
			check(t, table)
		}
	})
	t.Run("not IPv4 of the same number", func(t *testing.T) {
		table := New(Limits{})
		table.Add(&f[0])
		table.Add(new(with(f[1], func(f *frame.Fragment) { f.IPv6 = false })))
		if s := table.Stats(); s.DatagramsWaiting != 2 {
			t.Fatalf("%+v", s)
		}
	})
}

func TestTooMany(t *testing.T) {
	payload := pattern(4, 8*130)
	table := New(Limits{})
	for i, f := range cutUp(1, 0, payload, 8) {
		if _, ok := table.Add(&f); ok {
			t.Fatalf("fragment %d completes", i)
		}
		check(t, table)
	}
	if s := table.Stats(); s.Refused[TooMany] != 130 {
		t.Fatalf("%+v", s)
	}
}

func TestSizes(t *testing.T) {
	if n := reflect.TypeFor[cell]().Size(); n != cellSize {
		t.Errorf("a cell is %d bytes, counted as %d", n, cellSize)
	}
	table := New(Limits{})
	payload := pattern(5, maxDatagram)
	for i, f := range cutUp(1, 0, payload, 1480) {
		d, ok := table.Add(&f)
		if last := !f.More; ok != last || ok && !bytes.Equal(d.Data, payload) {
			t.Fatalf("fragment %d: %v", i, ok)
		}
	}
}

func TestNames(t *testing.T) {
	seen := map[string]bool{}
	for r := Reason(1); r < numReasons; r++ {
		if name := r.String(); name == "" || seen[name] {
			t.Errorf("reason %d is %q", r, name)
		} else {
			seen[name] = true
		}
	}
}
