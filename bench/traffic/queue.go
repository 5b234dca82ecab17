package traffic

import "math/bits"

// What a node stands for when its time has come.
const (
	dueArrival = iota // the next call begins
	dueMessage        // the next SIP message of a call
	duePacket         // the next RTP packet of a stream
	dueReport         // the next RTCP packet of a stream
	dueOther          // the next OPTIONS or REGISTER transaction
	dueNoise          // the next frame that is no VoIP
	dueFrame          // one frame that was made beforehand
	dueVerdict        // the last timer of a call without an end
	dueCarried        // the next packet of connections that carry SIP
	dueHostile        // the next attack
)

// node is a thing that waits for its time. It is embedded in, and never
// outlives, what it stands for; a node is in the queue at most once.
type node struct {
	at      int64  // ns since the Unix epoch
	order   uint64 // decides between equal times: the same in every run
	next    *node
	call    *call
	media   *stream
	frame   *frame
	carrier *carrier
	due     uint8
}

func (n *node) before(m *node) bool {
	return n.at < m.at || n.at == m.at && n.order < m.order
}

// The wheel covers 2^13 slots of 2^16 ns: 0.54 s, more than any packet time.
// What is further away (SIP, mostly) waits in a heap. At 200,000 packets per
// second a slot holds 13 nodes, so that sorting a slot costs next to nothing.
const (
	slotShift = 16
	slotCount = 1 << 13
	slotMask  = slotCount - 1
)

// queue hands out nodes in order of (at, order). Putting back a node that is
// due within the reach of the wheel takes constant time and no memory.
type queue struct {
	slots [slotCount]*node
	used  [slotCount / 64]uint64 // which slots hold nodes
	count int                    // nodes in slots
	slot  int64                  // number of the slot in now; all earlier ones are empty
	now   []*node                // the slot's nodes, latest first
	far   []*node                // binary heap of nodes beyond the wheel
}

func (q *queue) put(n *node) {
	slot := n.at >> slotShift
	switch {
	case slot <= q.slot:
		q.insert(n)
	case slot < q.slot+slotCount:
		q.link(n, slot)
	default:
		q.pushFar(n)
	}
}

// insert puts n in its place among the nodes of the current slot.
func (q *queue) insert(n *node) {
	q.now = append(q.now, n)
	i := len(q.now) - 1
	for i > 0 && q.now[i-1].before(n) {
		q.now[i] = q.now[i-1]
		i--
	}
	q.now[i] = n
}

func (q *queue) link(n *node, slot int64) {
	i := slot & slotMask
	n.next = q.slots[i]
	q.slots[i] = n
	q.used[i>>6] |= 1 << (i & 63)
	q.count++
}

// take removes the earliest node; nil when there is none.
func (q *queue) take() *node {
	for len(q.now) == 0 {
		if !q.turn() {
			return nil
		}
	}
	n := q.now[len(q.now)-1]
	q.now = q.now[:len(q.now)-1]
	return n
}

// turn goes on to the next slot that holds anything.
func (q *queue) turn() bool {
	switch {
	case q.count > 0:
		q.slot = q.nextUsed()
		if len(q.far) > 0 {
			q.slot = min(q.slot, q.far[0].at>>slotShift)
		}
	case len(q.far) > 0:
		q.slot = q.far[0].at >> slotShift
	default:
		return false
	}
	for len(q.far) > 0 && q.far[0].at>>slotShift < q.slot+slotCount {
		n := q.popFar()
		q.link(n, n.at>>slotShift)
	}
	i := q.slot & slotMask
	for n := q.slots[i]; n != nil; {
		next := n.next
		n.next = nil
		q.insert(n)
		q.count--
		n = next
	}
	q.slots[i] = nil
	q.used[i>>6] &^= 1 << (i & 63)
	return true
}

// nextUsed is the number of the first slot after the current one that holds nodes.
func (q *queue) nextUsed() int64 {
	slot := q.slot + 1
	for {
		i := slot & slotMask
		if w := q.used[i>>6] >> (i & 63); w != 0 {
			return slot + int64(bits.TrailingZeros64(w))
		}
		slot += 64 - i&63
	}
}

func (q *queue) pushFar(n *node) {
	q.far = append(q.far, n)
	i := len(q.far) - 1
	for i > 0 && n.before(q.far[(i-1)/2]) {
		q.far[i] = q.far[(i-1)/2]
		i = (i - 1) / 2
	}
	q.far[i] = n
}

func (q *queue) popFar() *node {
	top := q.far[0]
	last := len(q.far) - 1
	n := q.far[last]
	q.far[last] = nil
	q.far = q.far[:last]
	i := 0
	for {
		c := 2*i + 1
		if c >= last {
			break
		}
		if c+1 < last && q.far[c+1].before(q.far[c]) {
			c++
		}
		if n.before(q.far[c]) {
			break
		}
		q.far[i] = q.far[c]
		i = c
	}
	if last > 0 {
		q.far[i] = n
	}
	return top
}
