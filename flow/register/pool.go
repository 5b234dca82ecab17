package register

// ref names an entry of the table: its kind and its slot. 0 is none.
type ref uint32

// Kinds of entries.
const (
	kindTransaction = iota
	kindBinding
	kindExchange
	numKinds
)

const (
	slotBits = 28
	maxSlots = 1<<slotBits - 2
)

func makeRef(kind int, slot uint32) ref { return ref(kind)<<slotBits | ref(slot) }

func (r ref) kind() int    { return int(r >> slotBits) }
func (r ref) slot() uint32 { return uint32(r & (1<<slotBits - 1)) }

// head is what entries of all kinds have.
type head struct {
	deadline     int64  // clock at which its timer fires
	birth        uint64 // order of creation, from 1; 0: the slot is not in use
	older, newer ref    // neighbours in its list
	timer        int32  // index in the heap
	text         text
	list         uint8
}

// pool holds entries of one type in chunks, so that they stay where they are
// and growing copies nothing. Slots count from 1.
type pool[T any] struct {
	chunks [][]T
	made   uint32
	free   []uint32
}

const chunkBits = 8

func (p *pool[T]) at(slot uint32) *T {
	return &p.chunks[slot>>chunkBits][slot&(1<<chunkBits-1)]
}

func (p *pool[T]) get() uint32 {
	if n := len(p.free); n > 0 {
		slot := p.free[n-1]
		p.free = p.free[:n-1]
		return slot
	}
	p.made++
	if int(p.made>>chunkBits) >= len(p.chunks) {
		p.chunks = append(p.chunks, make([]T, 1<<chunkBits))
	}
	return p.made
}

func (p *pool[T]) put(slot uint32) {
	var zero T
	*p.at(slot) = zero
	p.free = append(p.free, slot)
}

// head is the head of an entry of any kind.
func (t *Table) head(r ref) *head {
	switch r.kind() {
	case kindTransaction:
		return &t.transactions.at(r.slot()).head
	case kindBinding:
		return &t.bindings.at(r.slot()).head
	}
	return &t.exchanges.at(r.slot()).head
}

// enter puts a new entry in a list and starts its timer.
func (t *Table) enter(r ref, to uint8, deadline int64) {
	h := t.head(r)
	t.births++
	h.birth = t.births
	h.deadline = deadline
	h.timer = int32(len(t.timers))
	t.timers = append(t.timers, timer{deadline, h.birth, r})
	t.up(int(h.timer))
	t.push(r, to)
}

// leave takes an entry out of its list, and stops its timer.
func (t *Table) leave(r ref) {
	t.unlink(r)
	i, last := int(t.head(r).timer), len(t.timers)-1
	t.swap(i, last)
	t.timers = t.timers[:last]
	if i < last {
		t.down(i)
		t.up(i)
	}
	t.texts[r.kind()].drop(t.head(r).text)
}

// list is entries in the order of their last activity.
type list struct {
	oldest, newest ref
	n              int
}

// Lists. An entry is in one of them.
const (
	listTransactions = iota // by creation
	listAttempts
	listBound
	listExchanges
	listPeers
	numLists
)

func (t *Table) push(r ref, to uint8) {
	l, h := &t.lists[to], t.head(r)
	h.list, h.older, h.newer = to, l.newest, 0
	if l.newest != 0 {
		t.head(l.newest).newer = r
	} else {
		l.oldest = r
	}
	l.newest = r
	l.n++
}

func (t *Table) unlink(r ref) {
	h := t.head(r)
	l := &t.lists[h.list]
	if h.older != 0 {
		t.head(h.older).newer = h.newer
	} else {
		l.oldest = h.newer
	}
	if h.newer != 0 {
		t.head(h.newer).older = h.older
	} else {
		l.newest = h.older
	}
	l.n--
}

func (t *Table) touch(r ref) {
	if h := t.head(r); t.lists[h.list].newest != r {
		t.unlink(r)
		t.push(r, h.list)
	}
}

// timers is a heap of the deadlines of all entries, earliest first, and in the
// order of creation where they are equal. An entry has one deadline. One that
// becomes later costs nothing: it is put right when it comes to the top.
type timers []timer

type timer struct {
	deadline int64 // never later than the entry's own
	birth    uint64
	ref      ref
}

func (h timers) before(i, j int) bool {
	a, b := &h[i], &h[j]
	return a.deadline < b.deadline || a.deadline == b.deadline && a.birth < b.birth
}

func (t *Table) swap(i, j int) {
	h := t.timers
	h[i], h[j] = h[j], h[i]
	t.head(h[i].ref).timer, t.head(h[j].ref).timer = int32(i), int32(j)
}

func (t *Table) up(i int) {
	for i > 0 {
		parent := (i - 1) / 2
		if !t.timers.before(i, parent) {
			return
		}
		t.swap(i, parent)
		i = parent
	}
}

func (t *Table) down(i int) {
	for {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(t.timers); child++ {
			if t.timers.before(child, least) {
				least = child
			}
		}
		if least == i {
			return
		}
		t.swap(i, least)
		i = least
	}
}

// set moves the deadline of an entry.
func (t *Table) set(r ref, deadline int64) {
	h := t.head(r)
	h.deadline = deadline
	if e := &t.timers[h.timer]; deadline < e.deadline {
		e.deadline = deadline
		t.up(int(h.timer))
	}
}

// due is the entry whose deadline is the earliest, and the deadline, if that is
// not later than clock; else 0. Its timer goes on.
func (t *Table) due(clock int64) (ref, int64) {
	for len(t.timers) > 0 && t.timers[0].deadline <= clock {
		first := &t.timers[0]
		deadline := t.head(first.ref).deadline
		if deadline <= first.deadline {
			return first.ref, deadline
		}
		first.deadline = deadline
		t.down(0)
	}
	return 0, 0
}
