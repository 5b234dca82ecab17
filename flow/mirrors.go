package flow

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"

	"ringside/dataplane/frame"
)

// sighting is a packet that was looked at to find out whether an interface
// delivers copies.
type sighting struct {
	tag   uint64
	clock int64
	iface uint16
	hasID bool
}

// censusMask chooses the RTP packets that are looked at, by their sequence
// number: both copies of a packet, or none.
const censusMask = 7

// census gathers the sightings of one batch.
type census struct {
	off  bool
	seen []sighting
}

func (c *census) see(tag uint64, p *frame.Packet) {
	if !c.off {
		c.seen = append(c.seen, sighting{tag, p.Clock, p.Iface, p.ID != 0})
	}
}

// hand gives what was gathered to those who judge it.
func (c *census) hand(m *mirrors) {
	if len(c.seen) > 0 {
		m.add(c.seen)
		c.seen = c.seen[:0]
	}
}

// mirrors decides from which clock on the copies of an interface are taken
// away. Readers add what they saw before they say that they have read so far,
// and sightings are judged in the order of their clocks, up to one that
// everybody has read; so the answer does not depend on who was faster, nor on
// how the capture was cut into batches.
type mirrors struct {
	mode  Dedup
	first atomic.Int64             // the least of onset
	onset [maxMirrors]atomic.Int64 // by interface: clock from which copies are taken away

	mu      sync.Mutex // of what follows
	waiting []sighting // not judged yet
	window  int64
	short   int64
	recent  [1 << 13]sighting       // by tag
	sums    [maxMirrors]mirrorCount // of what was judged lately
	totals  [maxMirrors]mirrorCount
}

// mirrorCount counts packets that were looked at.
type mirrorCount struct {
	seen      uint64
	twice     uint64 // of these, second copies
	elsewhere uint64 // of these, whose first copy came on another interface
}

// maxMirrors is how many interfaces are told apart; those beyond share.
const maxMirrors = 64

// A mirror is taken for one when so many packets were looked at and so great a
// part of them came twice. No network duplicates that many.
const (
	mirrorSeen  = 16
	mirrorShare = 4 // a quarter of the packets are second copies: a factor of 1.33
	mirrorLong  = 4096
)

func (m *mirrors) init(mode Dedup, d *duplicates) {
	m.mode, m.window, m.short = mode, d.window, d.short
	at := end
	if mode == DedupOn {
		at = -end
	}
	m.first.Store(at)
	for i := range m.onset {
		m.onset[i].Store(at)
	}
}

// watches reports whether copies are looked for at a clock, on any interface.
func (m *mirrors) watches(clock int64) bool { return clock >= m.first.Load() }

// removes reports whether copies that come on an interface at a clock are
// taken away.
func (m *mirrors) removes(iface uint16, clock int64) bool {
	return clock >= m.onset[iface%maxMirrors].Load()
}

func (m *mirrors) add(seen []sighting) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.waiting = append(m.waiting, seen...)
}

// judge looks at the sightings before limit, and calls found for each interface
// that turns out to deliver copies.
func (m *mirrors) judge(limit int64, found func(iface uint16, at int64, c Mirror)) {
	if m.mode == DedupOff {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.inOrder() {
		slices.SortFunc(m.waiting, func(a, b sighting) int {
			return cmp.Or(cmp.Compare(a.clock, b.clock), cmp.Compare(a.iface, b.iface), cmp.Compare(a.tag, b.tag))
		})
	}
	n := 0
	for ; n < len(m.waiting) && m.waiting[n].clock < limit; n++ {
		m.count(&m.waiting[n], found)
	}
	m.waiting = slices.Delete(m.waiting, 0, n)
}

// inOrder reports whether the sightings wait in the order of their clocks, and no
// two have the same: as from one reader, which is quicker to see than to sort.
func (m *mirrors) inOrder() bool {
	for i := 1; i < len(m.waiting); i++ {
		if m.waiting[i].clock <= m.waiting[i-1].clock {
			return false
		}
	}
	return true
}

func (m *mirrors) count(s *sighting, found func(iface uint16, at int64, c Mirror)) {
	i := s.iface % maxMirrors
	sum, total := &m.sums[i], &m.totals[i]
	if sum.seen >= mirrorLong { // what was long ago counts less
		sum.seen, sum.twice = sum.seen/2, sum.twice/2
	}
	sum.seen++
	total.seen++
	r := &m.recent[s.tag>>20%uint64(len(m.recent))]
	window := m.window
	if !s.hasID {
		window = m.short
	}
	if r.tag != s.tag || s.clock-r.clock >= window {
		*r = *s
		return
	}
	sum.twice++
	total.twice++
	if r.iface != s.iface {
		total.elsewhere++
	}
	if m.onset[i].Load() == end && sum.seen >= mirrorSeen && sum.twice*mirrorShare >= sum.seen {
		m.onset[i].Store(s.clock)
		m.first.Store(min(m.first.Load(), s.clock))
		found(s.iface, s.clock, m.mirror(int(i)))
	}
}

// Mirror is how often an interface delivers a packet.
type Mirror struct {
	Iface     uint16
	Seen      uint64 // packets looked at
	Twice     uint64 // of these, second copies
	Elsewhere uint64 // of these, whose first copy came on another interface
	Since     int64  // clock from which copies are taken away, ns; 0: never, or from the start
}

// Factor is the mean number of copies of a packet on this interface.
func (m *Mirror) Factor() float64 {
	return float64(m.Seen) / float64(max(1, m.Seen-m.Twice+m.Elsewhere))
}

func (m *mirrors) mirror(i int) Mirror {
	t := &m.totals[i]
	r := Mirror{Iface: uint16(i), Seen: t.seen, Twice: t.twice, Elsewhere: t.elsewhere}
	if at := m.onset[i].Load(); at != end && at != -end {
		r.Since = at
	}
	return r
}

// report lists the interfaces that were looked at.
func (m *mirrors) report() []Mirror {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []Mirror
	for i := range m.totals {
		if m.totals[i].seen > 0 {
			out = append(out, m.mirror(i))
		}
	}
	return out
}
