package flow

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"

	"ringside/dataplane/frame"
)

// census counts, in one batch, how many packets come twice. A batch is a run of
// frames whoever reads it, so its counts do not depend on the reader.
type census struct {
	off    bool
	batch  uint64 // tells the entries of this batch from older ones
	start  int64
	window int64
	seenAt [1 << 10]struct {
		tag   uint64
		clock int64
	}
	counts []mirrorCount
}

// mirrorCount is what one batch says of one interface.
type mirrorCount struct {
	start int64 // clock of the batch's first frame
	iface uint16
	seen  uint32 // packets looked at
	twice uint32 // of these, second copies
}

func (c *census) begin(b *frame.Batch) {
	c.counts = c.counts[:0]
	if len(b.Frames) > 0 {
		c.start = b.Frames[0].Clock
		c.batch = fold(uint64(c.start), foldB)
	}
}

func (c *census) see(tag uint64, p *frame.Packet) {
	if c.off {
		return
	}
	tag ^= c.batch
	e := &c.seenAt[tag>>20&uint64(len(c.seenAt)-1)]
	window := c.window
	if p.ID == 0 {
		window = min(window, int64(shortWindow))
	}
	n := c.count(p.Iface)
	n.seen++
	if e.tag == tag && p.Clock-e.clock < window {
		n.twice++
		return
	}
	e.tag, e.clock = tag, p.Clock
}

func (c *census) count(iface uint16) *mirrorCount {
	for i := range c.counts {
		if c.counts[i].iface == iface {
			return &c.counts[i]
		}
	}
	c.counts = append(c.counts, mirrorCount{start: c.start, iface: iface})
	return &c.counts[len(c.counts)-1]
}

func (c *census) end(m *mirrors) {
	if len(c.counts) > 0 && !c.off {
		m.add(c.counts)
	}
}

// mirrors decides from which clock on the copies of an interface are taken
// away. Readers add what they counted before they say that they have read so
// far, and counts are judged in order, up to a clock that everybody has read;
// so the answer does not depend on who was faster.
type mirrors struct {
	mode   Dedup
	first  atomic.Int64             // the least of onset
	onset  [maxMirrors]atomic.Int64 // by interface: clock from which copies are taken away
	mu     sync.Mutex               // of what follows
	counts []mirrorCount            // not judged yet
	sums   [maxMirrors]mirrorSum    // of what was judged lately
	totals [maxMirrors]mirrorSum
}

type mirrorSum struct{ seen, twice uint64 }

// maxMirrors is how many interfaces are told apart; those beyond share.
const maxMirrors = 64

// A mirror is taken for one when so many packets were looked at and so great a
// part of them came twice. No network duplicates that many.
const (
	mirrorSeen  = 30
	mirrorShare = 4 // a quarter of the packets are second copies: a factor of 1.33
	mirrorLong  = 4096
)

func (m *mirrors) init(mode Dedup) {
	m.mode = mode
	at := end
	if mode == DedupOn {
		at = -end
	}
	m.first.Store(at)
	for i := range m.onset {
		m.onset[i].Store(at)
	}
}

// removes reports whether copies that come on an interface at a clock are
// taken away.
func (m *mirrors) removes(iface uint16, clock int64) bool {
	return clock >= m.first.Load() && clock >= m.onset[iface%maxMirrors].Load()
}

func (m *mirrors) add(counts []mirrorCount) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.counts = append(m.counts, counts...)
}

// judge looks at the counts of the batches that begin before limit, and calls
// found for each interface that turns out to deliver copies.
func (m *mirrors) judge(limit int64, found func(iface uint16, at int64, factor float64)) {
	if m.mode == DedupOff {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	slices.SortFunc(m.counts, func(a, b mirrorCount) int {
		return cmp.Or(cmp.Compare(a.start, b.start), cmp.Compare(a.iface, b.iface))
	})
	n := 0
	for ; n < len(m.counts) && m.counts[n].start < limit; n++ {
		c := &m.counts[n]
		i := c.iface % maxMirrors
		sum, total := &m.sums[i], &m.totals[i]
		total.seen += uint64(c.seen)
		total.twice += uint64(c.twice)
		if sum.seen >= mirrorLong { // what was long ago counts less
			sum.seen, sum.twice = sum.seen/2, sum.twice/2
		}
		sum.seen += uint64(c.seen)
		sum.twice += uint64(c.twice)
		if m.onset[i].Load() == end && sum.seen >= mirrorSeen && sum.twice*mirrorShare >= sum.seen {
			m.onset[i].Store(c.start)
			m.first.Store(min(m.first.Load(), c.start))
			found(c.iface, c.start, float64(sum.seen)/float64(sum.seen-sum.twice))
		}
	}
	m.counts = slices.Delete(m.counts, 0, n)
}

// Mirror is how often an interface delivers a packet.
type Mirror struct {
	Iface uint16
	Seen  uint64 // packets looked at
	Twice uint64 // of these, second copies
	Since int64  // clock from which copies are taken away, ns; 0: never, or from the start
}

// Factor is the mean number of copies of a packet.
func (m *Mirror) Factor() float64 { return float64(m.Seen) / float64(max(1, m.Seen-m.Twice)) }

// report lists the interfaces that were looked at.
func (m *mirrors) report() []Mirror {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []Mirror
	for i, t := range m.totals {
		if t.seen == 0 {
			continue
		}
		r := Mirror{Iface: uint16(i), Seen: t.seen, Twice: t.twice}
		if at := m.onset[i].Load(); at != end && at != -end {
			r.Since = at
		}
		out = append(out, r)
	}
	return out
}
