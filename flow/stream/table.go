package stream

import (
	"cmp"
	"math"
	"math/bits"
	"slices"

	"ringside/dataplane/frame"
)

// nature is what a flow carries.
type nature uint8

const (
	undecided nature = iota
	other            // nothing that is read here
	encrypted        // TLS that is not read
	plainSIP         // SIP messages one after the other
	webSocket
)

// flow is what every segment touches. It holds no pointer, and fills a cache
// line.
type flow struct {
	low, high         frame.Addr
	lowPort, highPort uint16
	loop              uint16
	nature            nature
	flags             uint8

	tick  uint32    // when it was last seen, clock >> tickShift
	next  [2]uint32 // TCP: sequence number of the next byte of each direction, where it is known and there is no conn
	conn  uint32    // number of its conn, or none
	older uint32    // neighbours in its list
	newer uint32
}

// Flags of a flow. Direction 0 is from the lesser endpoint.
const (
	knownNext    uint8 = 1 << iota // next is known of direction 0
	_                              // and of direction 1
	finished                       // direction 0 sent FIN
	_                              // and direction 1
	clientKnown                    // who sent the SYN is known
	clientIsHigh                   // direction 1 did

	listShift = 6 // the two upper bits say which list the flow is in
	listBits  = 3 << listShift
)

// key names a flow, with the lesser endpoint first.
type key struct {
	low, high         frame.Addr
	lowPort, highPort uint16
	loop              uint16
}

// keyOf is the key of a segment and its direction.
func keyOf(p *frame.Packet) (k key, direction int) {
	s, d := &p.Src, &p.Dst
	k.loop = p.Loop
	if less(s, d) {
		k.low, k.lowPort, k.high, k.highPort = s.Addr, s.Port, d.Addr, d.Port
		return k, 0
	}
	k.low, k.lowPort, k.high, k.highPort = d.Addr, d.Port, s.Addr, s.Port
	return k, 1
}

func less(a, b *frame.Endpoint) bool {
	switch {
	case a.Addr.Lo != b.Addr.Lo:
		return a.Addr.Lo < b.Addr.Lo
	case a.Addr.Hi != b.Addr.Hi:
		return a.Addr.Hi < b.Addr.Hi
	}
	return a.Port < b.Port
}

// ends are the endpoints of a direction.
func (f *flow) ends(direction int) (from, to frame.Endpoint) {
	from, to = frame.Endpoint{Addr: f.low, Port: f.lowPort}, frame.Endpoint{Addr: f.high, Port: f.highPort}
	if direction == 1 {
		return to, from
	}
	return from, to
}

func (f *flow) key() key {
	return key{f.low, f.high, f.lowPort, f.highPort, f.loop}
}

// is reports whether k names f, word by word: for == on structures the compiler
// would call a function.
func (f *flow) is(k *key) bool {
	return k.low.Lo == f.low.Lo && k.high.Lo == f.high.Lo && k.lowPort == f.lowPort && k.highPort == f.highPort &&
		k.low.Hi == f.low.Hi && k.high.Hi == f.high.Hi && k.loop == f.loop
}

func (k *key) hash(seed uint64) uint64 {
	const a, b, c = 0x9e3779b97f4a7c15, 0xbb67ae8584caa73b, 0xa0761d6478bd642f
	ports := uint64(k.lowPort) | uint64(k.highPort)<<16 | uint64(k.loop)<<32
	h1, l1 := bits.Mul64(k.low.Lo^seed^a, k.high.Lo^ports^b)
	h2, l2 := bits.Mul64(k.low.Hi^b^ports<<16, k.high.Hi^c)
	h, l := bits.Mul64(h1^l1^c, seed^h2^l2^ports^a)
	return h ^ l
}

// The flows are in lists, each in the order in which they were last seen, to
// a tick. A flow has to go when it is silent for long, or when a new one needs
// its place: then from the first list that has any.
const (
	listEnded = iota
	listOther
	listSIP
	numLists

	tickShift = 30 // a tick is about a second, 2^30 ns
)

type list struct {
	oldest, newest uint32
	len            int
}

const (
	none  = ^uint32(0)
	never = math.MaxInt64

	chunk = 512 // flows that are allocated at a time
)

// slot holds the upper half of a key's hash, and the flow's number plus one.
type slot struct{ tag, ref uint32 }

func (t *Table) at(i uint32) *flow { return &t.flows[i/chunk][i%chunk] }

func (t *Table) hashOf(i uint32) uint64 {
	k := t.at(i).key()
	return k.hash(t.seed)
}

// find returns the number of a key's flow, or none.
func (t *Table) find(k *key, h uint64) uint32 {
	mask := uint64(len(t.index) - 1)
	for i := h & mask; ; i = (i + 1) & mask {
		s := t.index[i]
		if s.ref == 0 {
			return none
		}
		if s.tag == uint32(h>>32) && t.at(s.ref-1).is(k) {
			return s.ref - 1
		}
	}
}

// add makes a flow. Where there is no room, another one has to go.
func (t *Table) add(k *key, h uint64) uint32 {
	if t.used >= t.options.MaxFlows {
		t.evict()
	}
	if 2*(t.used+1) > len(t.index) {
		t.grow()
	}
	var i uint32
	if n := len(t.free); n > 0 {
		i = t.free[n-1]
		t.free = t.free[:n-1]
	} else {
		i = uint32(t.used)
		if i%chunk == 0 {
			t.flows = append(t.flows, make([]flow, chunk))
		}
	}
	t.used++
	t.stats.Opened++
	t.insert(slot{uint32(h >> 32), i + 1}, h)
	*t.at(i) = flow{low: k.low, high: k.high, lowPort: k.lowPort, highPort: k.highPort, loop: k.loop, conn: none}
	t.enlist(i, listOther)
	return i
}

func (t *Table) insert(s slot, h uint64) {
	mask := uint64(len(t.index) - 1)
	i := h & mask
	for t.index[i].ref != 0 {
		i = (i + 1) & mask
	}
	t.index[i] = s
}

func (t *Table) grow() {
	old := t.index
	t.index = make([]slot, 2*len(old))
	for _, s := range old {
		if s.ref != 0 {
			t.insert(s, t.hashOf(s.ref-1))
		}
	}
}

// evict forgets the flow that can best be spared.
func (t *Table) evict() {
	for n := range t.order {
		if i := t.order[n].oldest; i != none {
			t.stats.Evicted++
			if n == listSIP {
				t.stats.EvictedSIP++
			}
			t.forget(i)
			return
		}
	}
}

// forget ends a flow and removes it. What it holds is emitted first.
func (t *Table) forget(i uint32) {
	f := t.at(i)
	if f.conn != none {
		c := t.conns[f.conn]
		t.late(c)
		for d := range c.half {
			t.giveUp(&c.half[d])
		}
		t.detach(c)
	}
	t.unlist(i, f)
	mask := uint64(len(t.index) - 1)
	at := t.hashOf(i) & mask
	for t.index[at].ref != i+1 {
		at = (at + 1) & mask
	}
	// Move back what the gap would hide (Knuth, TAOCP 6.4 algorithm R).
	for j := (at + 1) & mask; t.index[j].ref != 0; j = (j + 1) & mask {
		home := t.hashOf(t.index[j].ref-1) & mask
		if (j-home)&mask >= (j-at)&mask {
			t.index[at] = t.index[j]
			at = j
		}
	}
	t.index[at] = slot{}
	t.free = append(t.free, i)
	t.used--
}

func (f *flow) list() int { return int(f.flags >> listShift) }

// enlist puts a flow that is in no list at the new end of one.
func (t *Table) enlist(i uint32, n int) {
	f, l := t.at(i), &t.order[n]
	f.flags = f.flags&^listBits | uint8(n)<<listShift
	f.tick = uint32(t.clock >> tickShift)
	f.older, f.newer = l.newest, none
	if l.newest != none {
		t.at(l.newest).newer = i
	} else {
		l.oldest = i
	}
	l.newest = i
	l.len++
	t.due = min(t.due, t.deadline(n, f))
}

func (t *Table) unlist(i uint32, f *flow) {
	l := &t.order[f.list()]
	l.len--
	if f.older != none {
		t.at(f.older).newer = f.newer
	} else {
		l.oldest = f.newer
	}
	if f.newer != none {
		t.at(f.newer).older = f.older
	} else {
		l.newest = f.older
	}
}

func (t *Table) move(i uint32, n int) {
	t.unlist(i, t.at(i))
	t.enlist(i, n)
}

// touch notes that a flow was seen.
func (t *Table) touch(i uint32, f *flow) {
	if f.tick != uint32(t.clock>>tickShift) {
		t.move(i, f.list())
	}
}

// deadline is when a flow of list n is forgotten.
func (t *Table) deadline(n int, f *flow) int64 {
	at := (int64(f.tick) + 1) << tickShift
	if n == listEnded {
		return at + linger
	}
	return at + int64(t.options.IdleTimeout)
}

// fire runs the earliest timer, if its deadline is not later than clock.
// Otherwise it notes that deadline.
func (t *Table) fire(clock int64) bool {
	first, which := int64(never), -1
	for n := range t.order {
		if i := t.order[n].oldest; i != none {
			if d := t.deadline(n, t.at(i)); d < first {
				first, which = d, n
			}
		}
	}
	for q, at := range [numQueues]int64{t.wait.due(int64(t.options.ReorderTimeout)), t.proofs.due(ackGrace)} {
		if at != never && at <= first {
			first, which = at, numLists+q
		}
	}
	if which < 0 || first > clock {
		t.due = first
		return false
	}
	t.clock = max(t.clock, first)
	if which < numLists {
		t.forget(t.order[which].oldest)
		return true
	}
	h := t.wait.first
	if which == numLists+queueProof {
		h = t.proofs.first
	}
	t.late(h.conn)
	if which == numLists+queueProof {
		t.proved(h)
	} else {
		t.timeout(h)
	}
	t.settle(h.conn)
	return true
}

// Close ends all flows, as the capture ends at clock, and emits what they hold,
// with the next clock.
func (t *Table) Close(clock int64) {
	t.Advance(clock)
	t.clock = max(t.clock, clock) + 1
	var held []*conn
	for h := t.wait.first; h != nil; h = h.places[queueWait].next {
		held = append(held, h.conn)
	}
	// The order of the last packets is the same for any number of tables.
	slices.SortFunc(held, func(a, b *conn) int { return cmp.Or(cmp.Compare(a.seq, b.seq), cmp.Compare(a.at, b.at)) })
	for _, c := range slices.Compact(held) {
		t.forget(c.at)
	}
	for i := range t.order {
		for t.order[i].oldest != none {
			t.forget(t.order[i].oldest)
		}
	}
}
