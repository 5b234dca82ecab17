package event

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"ringside/flow/record"
)

const epoch = int64(1_700_000_000_000_000_000)

func eventOf(addr string, kind record.EventKind, at time.Duration) *record.Event {
	return &record.Event{Time: epoch + int64(at), Kind: kind, Src: netip.AddrPortFrom(netip.MustParseAddr(addr), 5060), Count: 1}
}

// check reports what does not add up.
func check(t *testing.T, l *Limiter) {
	t.Helper()
	s := l.Stats()
	waiting, n := uint64(0), 0
	older := uint32(0)
	for i := l.table.oldest; i != 0; i = l.table.at(i).newer {
		e := l.table.at(i)
		if e.older != older || l.table.find(l.table.bucket(e.key), e.key) != i {
			t.Fatalf("entry %d is lost: %+v", i, e)
		}
		older = i
		waiting += e.held
		n++
	}
	if n != l.table.n || uint64(n) != s.Entries || n > l.limits.MaxEntries || older != l.table.newest {
		t.Errorf("%d entries, says %d", n, s.Entries)
	}
	if s.Seen != s.Counted+waiting+s.Forgotten || s.Waiting != waiting || s.Seen != s.Passed+s.Held {
		t.Errorf("%d held back: %+v", waiting, s)
	}
}

// TestPass sends n events at even distances; want lists those that pass: their
// numbers, with the count where it is not 1, runs of such as FIRST-LAST.
func TestPass(t *testing.T) {
	quiet := Limits{Quiet: []record.EventKind{record.OtherOK}}
	for _, c := range []struct {
		name   string
		limits Limits
		kind   record.EventKind
		n      int
		every  time.Duration
		want   string
	}{
		{"within all limits", Limits{}, record.RegNew, 30, time.Minute, "1-30"},
		{"20 in a second", Limits{}, record.RegNew, 100, 10 * time.Millisecond, "1-20"},
		{"the next second says for how many it stands", Limits{}, record.RegNew, 105, 10 * time.Millisecond, "1-20 101x81 102-105"},
		{"240 in a minute", Limits{}, record.RegNew, 700, 100 * time.Millisecond, "1-240 340x100 601x261 602-700"},
		{"3600 in an hour", Limits{}, record.RegNew, 4610, time.Second / 2, "1-3600 3700x100 4600x900"},
		{"powers of ten, then multiples", Limits{ReportMin: 10, ReportMax: 1000}, record.RegNew, 4000, 10 * time.Microsecond, "1-20 30x10 120x90 1020x900 2020x1000 3020x1000"},
		{"no step between", Limits{ReportMin: 30, ReportMax: 100}, record.RegNew, 350, 10 * time.Microsecond, "1-20 50x30 120x70 220x100 320x100"},
		{"quiet kinds are only reported", quiet, record.OtherOK, 21_000, time.Second, "100x100 1000x900 10000x9000 20000x10000"},
		{"other kinds are not quiet", quiet, record.OtherFailed, 3, time.Second, "1-3"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := New(c.limits)
			var passed []uint64 // 0: held back
			for i := range c.n {
				e := eventOf("192.0.2.1", c.kind, time.Duration(i)*c.every)
				if !l.Pass(e) {
					e.Count = 0
				}
				passed = append(passed, e.Count)
			}
			if got := list(passed); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			check(t, l)
		})
	}
}

func list(counts []uint64) string {
	var out []string
	for i := 0; i < len(counts); i++ {
		first := i + 1
		switch {
		case counts[i] == 0:
			continue
		case counts[i] > 1:
			out = append(out, fmt.Sprintf("%dx%d", first, counts[i]))
			continue
		}
		for i+1 < len(counts) && counts[i+1] == 1 {
			i++
		}
		out = append(out, fmt.Sprintf("%d-%d", first, i+1))
	}
	return strings.Join(out, " ")
}

// TestSources: kinds and sources do not share their limits, networks do.
func TestSources(t *testing.T) {
	l := New(Limits{})
	pass := func(addr string, kind record.EventKind) bool { return l.Pass(eventOf(addr, kind, 0)) }
	for range 30 {
		pass("192.0.2.1", record.RegNew)
		pass("::ffff:192.0.2.2", record.RegNew)
		pass("2001:db8::1", record.RegNew)
		pass("192.0.2.1", record.RegDel)
	}
	if s := l.Stats(); s.Passed != 80 {
		t.Errorf("%d passed, want 20 of each: %+v", s.Passed, s)
	}
	for _, c := range []struct {
		name, from string
		passes     bool
	}{
		{"same", "192.0.2.1", false}, {"mapped and not", "192.0.2.2", false}, {"another of the /24", "192.0.2.3", true},
		{"another of the /48", "2001:db8::2", true},
	} {
		if got := pass(c.from, record.RegNew); got != c.passes {
			t.Errorf("%s: passes %v", c.name, got)
		}
	}
	// 200 for the /24 in a second: 41 have passed.
	for i := range 250 {
		pass(fmt.Sprintf("192.0.2.%d", 4+i), record.RegNew)
	}
	for i := range 250 {
		pass(fmt.Sprintf("2001:db8:0:%x::9", 4+i), record.RegNew)
	}
	if s := l.Stats(); s.Passed != 82+159+179 {
		t.Errorf("%d passed: %+v", s.Passed, s)
	}
	if !pass("192.0.3.1", record.RegNew) || !pass("2001:db8:1::1", record.RegNew) {
		t.Error("the next network is held back, too")
	}
	e := eventOf("192.0.2.77", record.RegNew, time.Second)
	if !l.Pass(e) || e.Count != 1+250-159 {
		t.Errorf("after a second the network's first event counts %d", e.Count)
	}
	check(t, l)
}

// TestBounds: a flood of spoofed sources stays within the table, and those that
// are silent are forgotten a few at a time.
func TestBounds(t *testing.T) {
	l := New(Limits{MaxEntries: 1000, Quiet: []record.EventKind{record.OtherOK}})
	for i := range 20_000 {
		e := eventOf("10.0.0.1", record.OtherOK, time.Duration(i)*time.Millisecond)
		e.Src = netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 1)
		if l.Pass(e) {
			t.Fatal("a quiet event passes")
		}
	}
	s := l.Stats()
	if s.Entries != 1000 || s.Evicted != 19_000 || s.Forgotten != 19_000 || s.Waiting != 1000 || s.Expired != 0 {
		t.Errorf("%+v", s)
	}
	check(t, l)
	for i := range 500 {
		l.Pass(eventOf("192.0.2.1", record.RegNew, time.Hour+time.Duration(i)*time.Minute))
	}
	if s := l.Stats(); s.Entries != 2 || s.Expired != 1000 {
		t.Errorf("%+v", s)
	}
	check(t, l)
}

// TestTimeGoesBack: an event of an earlier time belongs to the windows of now.
func TestTimeGoesBack(t *testing.T) {
	l := New(Limits{})
	for i := range 25 {
		l.Pass(eventOf("192.0.2.1", record.RegNew, time.Hour-time.Duration(i)*10*time.Second))
	}
	if s := l.Stats(); s.Passed != 20 {
		t.Errorf("%+v", s)
	}
}

// TestRandom: whatever comes, the counts add up, and two limiters agree.
func TestRandom(t *testing.T) {
	for seed := range uint64(20) {
		var results [][]uint64
		for range 2 {
			r := rand.New(rand.NewPCG(seed, 0))
			l := New(Limits{MaxEntries: 2 + int(seed)*3, ReportMin: 5, ReportMax: 50, Quiet: []record.EventKind{record.PeerUp}, Idle: time.Minute})
			var got []uint64
			at := time.Duration(0)
			for range 5000 {
				at += time.Duration(r.IntN(int(time.Second))) * time.Duration(r.IntN(2)) * time.Duration(1+r.IntN(9)*r.IntN(2))
				kinds := []record.EventKind{record.RegNew, record.PeerUp, record.OtherOK}
				e := eventOf(fmt.Sprintf("10.0.%d.%d", r.IntN(3), r.IntN(4)), kinds[r.IntN(3)], at)
				if !l.Pass(e) {
					e.Count = 0
				}
				got = append(got, e.Count)
			}
			check(t, l)
			results = append(results, got)
		}
		if !slices.Equal(results[0], results[1]) {
			t.Errorf("seed %d: two limiters do not agree", seed)
		}
	}
}

func TestNoAllocation(t *testing.T) {
	l := New(Limits{MaxEntries: 100})
	events := make([]*record.Event, 300)
	for i := range events {
		events[i] = eventOf(fmt.Sprintf("10.0.%d.%d", i/8, i%8), record.RegNew, 0)
	}
	at := epoch
	run := func() {
		for _, e := range events {
			at += int64(time.Millisecond)
			e.Time = at
			l.Pass(e)
		}
	}
	run()
	if n := testing.AllocsPerRun(100, run); n != 0 {
		t.Errorf("%g allocations for %d events", n, len(events))
	}
}

// TestMemory: the default table, full, takes at most 128 MiB.
func TestMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("fills the table")
	}
	before := heap()
	l := New(Limits{Quiet: []record.EventKind{record.RegNew}})
	e := eventOf("10.0.0.1", record.RegNew, 0)
	for i := range 1<<20 + 1000 {
		e.Src = netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 1)
		l.Pass(e)
	}
	used := heap() - before
	t.Logf("%d MiB for %d entries", used>>20, l.Stats().Entries)
	if used > 128<<20 || l.Stats().Entries != 1<<20 {
		t.Errorf("%d bytes: %+v", used, l.Stats())
	}
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse)
}

// BenchmarkPass is one event of one of 10,000 sources, most of them held back.
func BenchmarkPass(b *testing.B) {
	l := New(Limits{})
	e := eventOf("10.0.0.1", record.AuthRefused, 0)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		i = (i + 7919) % 10_000
		e.Time += int64(time.Microsecond)
		e.Src = netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 1)
		l.Pass(e)
	}
}
