// Package event keeps floods of events from drowning what matters: it lets
// through so many of each kind and source in each second, minute and hour, and
// of the others tells how many there were.
//
// A Limiter sees all events in one order and runs on one goroutine. Its time is
// that of the events; it never goes back. What it answers is a function of the
// events that it was asked about.
//
// # Limits
//
// Events of one kind and one source address pass while fewer than Most have
// passed in each window; a window begins with the first event after the one
// before is over. The network of the source (/24, or /48 of IPv6) has limits of
// its own, NetworkFactor times as high, which count what passed those of the
// address.
//
// # What is held back
//
// An event beyond the limits is held back and counted. In a run of such events,
// the one that is the ReportMin-th passes, and the ones at ten times as many, up
// to ReportMax, and then at every multiple of ReportMax; so does the next one within
// the limits, which ends the run. Count of each says for how many events of its
// source (or of its network) it stands, itself included. So the counts of what
// passed are all events that there were, but for Waiting and Forgotten in Stats.
//
// Kinds in Quiet are always held back.
package event

import (
	"hash/maphash"
	"math"
	"net/netip"
	"time"

	"ringside/flow/record"
)

// Limits of a Limiter. A field that is 0 stands for its default.
type Limits struct {
	Windows       [3]Window // 20 in 1 s, 240 in 1 min, 3600 in 1 h (evr_limits, evr_intervals)
	NetworkFactor int       // 10

	ReportMin uint64 // 100 (evr_conseq_report_min)
	ReportMax uint64 // 10,000 (evr_conseq_report_max)

	// MaxEntries is the most addresses and networks, each with a kind, that are
	// remembered. The one that was silent for longest is forgotten first. Default
	// 1,048,576 (evr_max_entries), which takes about 100 MiB when all are in use.
	MaxEntries int

	// Idle is the silence after which one is forgotten. Default 5 min
	// (evr_gc_old_age).
	Idle time.Duration

	Quiet []record.EventKind // event_types_blst
}

// Window is a time, and how many events may pass in it.
type Window struct {
	Time time.Duration
	Most int
}

var defaults = Limits{
	Windows:       [3]Window{{time.Second, 20}, {time.Minute, 240}, {time.Hour, 3600}},
	NetworkFactor: 10,
	ReportMin:     100,
	ReportMax:     10_000,
	MaxEntries:    1 << 20,
	Idle:          5 * time.Minute,
}

func (l Limits) withDefaults() Limits {
	for i := range l.Windows {
		if l.Windows[i].Time <= 0 {
			l.Windows[i].Time = defaults.Windows[i].Time
		}
		if l.Windows[i].Most <= 0 {
			l.Windows[i].Most = defaults.Windows[i].Most
		}
	}
	if l.NetworkFactor <= 0 {
		l.NetworkFactor = defaults.NetworkFactor
	}
	if l.ReportMin == 0 {
		l.ReportMin = defaults.ReportMin
	}
	if l.ReportMax == 0 {
		l.ReportMax = defaults.ReportMax
	}
	l.ReportMax = max(l.ReportMax, l.ReportMin)
	if l.MaxEntries <= 0 {
		l.MaxEntries = defaults.MaxEntries
	}
	l.MaxEntries = min(max(l.MaxEntries, 2), math.MaxInt32)
	if l.Idle <= 0 {
		l.Idle = defaults.Idle
	}
	return l
}

// Stats are the counters of a Limiter.
//
//	Seen = Counted + Waiting + Forgotten
type Stats struct {
	Seen      uint64 // events asked about
	Passed    uint64 // within the limits
	Held      uint64 // beyond them, also those that were let through as reports
	Reports   uint64 // let through to say how many were held back
	Counted   uint64 // what Count of all that passed adds up to
	Waiting   uint64 // held back, and not in any Count yet
	Forgotten uint64 // held back, and never in any Count, because their source was forgotten

	Entries uint64 // remembered now
	Evicted uint64 // forgotten for want of room
	Expired uint64 // forgotten after Idle
}

// Limiter decides which events pass. It is not safe for concurrent use.
type Limiter struct {
	limits Limits
	quiet  [256]bool
	now    int64
	table  table
	stats  Stats
}

// New makes a limiter that has seen nothing yet.
func New(l Limits) *Limiter {
	l = l.withDefaults()
	m := &Limiter{limits: l, now: math.MinInt64, table: newTable(l.MaxEntries)}
	for _, k := range l.Quiet {
		m.quiet[k] = true
	}
	return m
}

// Pass reports whether an event is to go on, and sets its Count. Events come in
// the order of their clocks.
func (l *Limiter) Pass(e *record.Event) bool {
	l.stats.Seen++
	l.now = max(l.now, e.Time)
	l.expire()
	addr := e.Src.Addr()
	source := l.entry(key{addr.As16(), e.Kind, false})
	if l.quiet[e.Kind] {
		return l.hold(source, e)
	}
	if !source.allows(&l.limits, 1, l.now) {
		return l.hold(source, e)
	}
	net := l.entry(key{network(addr), e.Kind, true})
	if !net.allows(&l.limits, l.limits.NetworkFactor, l.now) {
		return l.hold(net, e)
	}
	source.passed()
	net.passed()
	l.stats.Passed++
	l.let(e, 1+source.release()+net.release())
	return true
}

// let counts an event that goes on.
func (l *Limiter) let(e *record.Event, count uint64) {
	e.Count = count
	l.stats.Counted += count
}

// hold counts an event that is beyond the limits, and reports whether it goes on
// for the others.
func (l *Limiter) hold(s *entry, e *record.Event) bool {
	l.stats.Held++
	s.run++
	s.held++
	if !l.limits.tells(s.run) {
		return false
	}
	l.stats.Reports++
	count := s.held
	s.held = 0
	l.let(e, count)
	return true
}

// tells reports whether the n-th event in a run that is held back passes.
func (l *Limits) tells(n uint64) bool {
	if n >= l.ReportMax {
		return n%l.ReportMax == 0
	}
	step := l.ReportMin
	for step < n && step <= math.MaxUint64/10 {
		step *= 10
	}
	return n == step
}

// Stats is a snapshot of the counters.
func (l *Limiter) Stats() Stats {
	s := l.stats
	s.Entries = uint64(l.table.n)
	s.Waiting = s.Seen - s.Counted - s.Forgotten
	return s
}

// key is what limits are kept of.
type key struct {
	addr    [16]byte
	kind    record.EventKind
	network bool
}

// network is the /24 of an IPv4 address, or the /48 of an IPv6 address.
func network(a netip.Addr) [16]byte {
	b := a.As16()
	keep := 6
	if a.Is4() || a.Is4In6() {
		keep = 15
	}
	clear(b[keep:])
	return b
}

// entry is what is known of a key.
type entry struct {
	key          key
	passedIn     [3]int32 // events that passed in each window
	begin        [3]int64 // … which began then
	last         int64    // last event
	run          uint64   // held back since the last one within the limits
	held         uint64   // of these, not in any Count yet
	chain        uint32   // next in the bucket
	older, newer uint32
}

// allows reports whether another event is within the limits.
func (s *entry) allows(l *Limits, factor int, now int64) bool {
	ok := true
	for i := range s.begin {
		if now-s.begin[i] >= int64(l.Windows[i].Time) {
			s.begin[i], s.passedIn[i] = now, 0
		}
		ok = ok && int(s.passedIn[i]) < l.Windows[i].Most*factor
	}
	return ok
}

func (s *entry) passed() {
	for i := range s.passedIn {
		s.passedIn[i]++
	}
}

// release ends a run, and returns how many of it nothing was said of yet.
func (s *entry) release() uint64 {
	held := s.held
	s.run, s.held = 0, 0
	return held
}

// entry finds the entry of a key, or makes it.
func (l *Limiter) entry(k key) *entry {
	t := &l.table
	bucket := t.bucket(k)
	n := t.find(bucket, k)
	if n == 0 {
		if t.n == t.most {
			l.stats.Evicted++
			l.forget(t.oldest)
		}
		n = t.add(bucket, k)
		e := t.at(n)
		for i := range e.begin {
			e.begin[i] = l.now
		}
	} else {
		t.touch(n)
	}
	e := t.at(n)
	e.last = l.now
	return e
}

// expire forgets at most two entries that were silent for long, which is as many
// as an event can add.
func (l *Limiter) expire() {
	for range 2 {
		n := l.table.oldest
		if n == 0 || l.now-l.table.at(n).last < int64(l.limits.Idle) {
			return
		}
		l.stats.Expired++
		l.forget(n)
	}
}

func (l *Limiter) forget(n uint32) {
	l.stats.Forgotten += l.table.at(n).held
	l.table.remove(n)
}

// table is a hash table of entries in chunks, which are also in a list by their
// last event. The buckets are made for the most entries at once, so nothing is
// ever moved.
type table struct {
	seed           maphash.Seed
	buckets        []uint32
	chunks         [][]entry
	made, free     uint32 // entries count from 1; free ones are in a chain
	n, most        int
	oldest, newest uint32
}

const chunkBits = 8

func newTable(most int) table {
	size := 16
	for size < most && size < 1<<24 {
		size *= 2
	}
	return table{seed: maphash.MakeSeed(), buckets: make([]uint32, size), most: most}
}

func (t *table) at(n uint32) *entry { return &t.chunks[n>>chunkBits][n&(1<<chunkBits-1)] }

func (t *table) bucket(k key) *uint32 {
	return &t.buckets[maphash.Comparable(t.seed, k)&uint64(len(t.buckets)-1)]
}

func (t *table) find(bucket *uint32, k key) uint32 {
	n := *bucket
	for n != 0 && t.at(n).key != k {
		n = t.at(n).chain
	}
	return n
}

func (t *table) add(bucket *uint32, k key) uint32 {
	n := t.free
	if n != 0 {
		t.free = t.at(n).chain
	} else {
		t.made++
		n = t.made
		if int(n>>chunkBits) >= len(t.chunks) {
			t.chunks = append(t.chunks, make([]entry, 1<<chunkBits))
		}
	}
	*t.at(n) = entry{key: k, chain: *bucket}
	*bucket = n
	t.n++
	t.link(n)
	return n
}

func (t *table) remove(n uint32) {
	e := t.at(n)
	at := t.bucket(e.key)
	for *at != n {
		at = &t.at(*at).chain
	}
	*at = e.chain
	t.unlink(n)
	e.chain, t.free = t.free, n
	t.n--
}

func (t *table) touch(n uint32) {
	if t.newest != n {
		t.unlink(n)
		t.link(n)
	}
}

func (t *table) link(n uint32) {
	e := t.at(n)
	e.older, e.newer = t.newest, 0
	if t.newest != 0 {
		t.at(t.newest).newer = n
	} else {
		t.oldest = n
	}
	t.newest = n
}

func (t *table) unlink(n uint32) {
	e := t.at(n)
	if e.older != 0 {
		t.at(e.older).newer = e.newer
	} else {
		t.oldest = e.newer
	}
	if e.newer != 0 {
		t.at(e.newer).older = e.older
	} else {
		t.newest = e.older
	}
}
