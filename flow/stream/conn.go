package stream

import (
	"ringside/dataplane/frame"
	"ringside/flow/tls"
)

// conn is the state of a flow whose bytes are read.
type conn struct {
	number uint32 // in Table.conns
	at     uint32 // number of its flow
	flow   *flow
	seq    uint64 // of its last packet
	half   [2]half

	tls    *tls.Conn    // nil: not in TLS
	state  [2]tls.State // of each direction
	client int          // the direction that is taken for the client's

	weight     int64     // bytes that tls holds, in Table.sealedBytes
	list       *connList // Table.opening or sealed
	prev, next *conn

	garbage int // bytes since the last message that were none
}

// half is one direction of a conn.
type half struct {
	conn      *conn
	direction int
	last      frame.Packet // the last one with payload, without it
	time      int64        // when the last bytes that were read came

	// Order (RFC 9293). Sequence numbers are compared by their difference.
	known    bool   // next is
	ackKnown bool   // ack is
	finSeen  bool   // fin is known
	done     bool   // all was read
	moved    bool   // next has moved on since the last settle
	joined   bool   // picked up in the middle: the first byte is not that of the stream
	strays   uint8  // segments in a row far behind next
	start    uint32 // first byte of the stream, or that was seen of it
	next     uint32 // byte that is read next
	ack      uint32 // byte that the peer waits for
	fin      uint32 // behind the last byte
	held     []piece
	first    int    // of held that is not read yet
	arena    []byte // bytes of held
	kept     []keptSegment

	// Framing.
	tried   int    // bytes that might be the middle of a message, before it is known what the flow is
	buf     []byte // begin of a message that is not whole yet
	need    int    // its length, if its header section is whole
	scanned int    // bytes of buf that hold no end of the header section
	skip    int    // bytes of a body to pass over
	seek    bool   // looking for a start line
	inLine  bool   // while looking: what comes may be the middle of a line
	suspect bool   // found by looking: must prove to be a message
	ws      wsState

	proof  uint32           // in queueProof: what lies before it is not waited for any longer
	places [numQueues]place // in the queues
}

// keptSegment is a segment whose frame is kept, until the message that ends in
// it, or behind it, is emitted.
type keptSegment struct {
	frame    frame.Kept
	seq, end uint32
}

// maxKept is how many segments of one message are remembered: 90 KiB on Ethernet.
const maxKept = 64

// keep remembers the frame of a segment.
func (h *half) keep(p *frame.Packet, seq uint32) {
	if len(h.kept) == maxKept { // the first one goes on standing for those that are given up
		h.kept[0].frame.At = 0
		h.kept = append(h.kept[:1], h.kept[2:]...)
	}
	h.kept = append(h.kept, keptSegment{frame.Kept{Clock: p.Clock, At: p.Kept}, seq, seq + p.Len})
}

// carriers adds the frames of what was read since the last message to out, and
// forgets those of which nothing is left to be read.
func (h *half) carriers(out []frame.Kept) []frame.Kept {
	n := 0
	for _, k := range h.kept {
		if int32(k.seq-h.next) < 0 {
			out = append(out, k.frame)
		}
		if int32(k.end-h.next) >= 0 {
			h.kept[n] = k
			n++
		}
	}
	h.kept = h.kept[:n]
	return out
}

// forget forgets the segments that were read, if no message has begun in them.
func (h *half) forget() {
	if len(h.buf) > 0 || h.skip > 0 || h.conn.weight > 0 || !h.ws.whole() {
		return
	}
	n := 0
	for _, k := range h.kept {
		if int32(k.end-h.next) > 0 {
			h.kept[n] = k
			n++
		}
	}
	h.kept = h.kept[:n]
}

func (h *half) peer() *half { return &h.conn.half[1-h.direction] }

func (h *half) holds() bool { return len(h.buf) > 0 || len(h.held) > h.first }

// attach gives a flow a conn.
func (t *Table) attach(i uint32, f *flow) *conn {
	var n uint32
	if k := len(t.spare); k > 0 {
		n = t.spare[k-1]
		t.spare = t.spare[:k-1]
	} else {
		n = uint32(len(t.conns))
		t.conns = append(t.conns, new(conn))
	}
	c := t.conns[n]
	*c = conn{number: n, at: i, flow: f}
	for d := range c.half {
		h := &c.half[d]
		h.conn, h.direction = c, d
		h.known, h.next, h.start = f.flags&(knownNext<<d) != 0, f.next[d], f.next[d]
		h.joined = !h.known
	}
	switch {
	case f.flags&clientKnown == 0:
		c.client = -1
	case f.flags&clientIsHigh != 0:
		c.client = 1
	}
	f.conn = n
	return c
}

// detach takes the conn of a flow away, with all that it holds.
func (t *Table) detach(c *conn) {
	f := c.flow
	for d := range c.half {
		h := &c.half[d]
		t.wait.remove(h)
		t.proofs.remove(h)
		t.drop(h)
		t.dropHeld(h)
		f.next[d] = h.next
		f.flags &^= knownNext << d
		if h.known {
			f.flags |= knownNext << d
		}
	}
	c.unlist()
	t.sealedBytes -= c.weight
	c.tls, c.weight = nil, 0
	f.conn = none
	t.spare = append(t.spare, c.number)
	if f.list() == listSIP {
		t.move(c.at, listOther)
	}
}

// settle puts a conn in order after a packet or a timer: what ended is closed,
// what holds bytes waits.
func (t *Table) settle(c *conn) {
	f := c.flow
	if f.nature == other || f.nature == encrypted {
		t.detach(c)
		return
	}
	over := true
	for d := range c.half {
		h := &c.half[d]
		if h.finSeen && !h.done && int32(h.next-h.fin) >= 0 {
			h.done = true
			t.finish(h)
		}
		over = over && (h.done || !h.known)
		switch {
		case !h.holds():
			t.wait.remove(h)
		case !h.places[queueWait].in || h.moved:
			t.wait.remove(h)
			t.wait.add(h, t.clock)
			t.due = min(t.due, t.clock+int64(t.options.ReorderTimeout))
		}
		h.moved = false
		if in := h.places[queueProof].in; in || h.finSeen || h.first < len(h.held) {
			switch proven := h.proven(); {
			case in && !proven:
				t.proofs.remove(h)
			case proven && !in:
				t.prove(h)
			}
		}
	}
	switch {
	case over:
		t.detach(c)
		t.move(c.at, listEnded)
	case f.nature >= plainSIP && f.list() == listOther:
		t.move(c.at, listSIP)
	}
}

// Queues of directions. All in one wait equally long, so the first is due first.
const (
	queueWait  = iota // holds bytes, since it last moved on
	queueProof        // has a hole that the peer does not have, since that is known
	numQueues
)

type queue struct {
	number      int
	first, last *half
}

// place is that of a direction in a queue.
type place struct {
	in         bool
	since      int64 // clock
	prev, next *half
}

func (q *queue) add(h *half, clock int64) {
	h.places[q.number] = place{in: true, since: clock, prev: q.last}
	if q.last != nil {
		q.last.places[q.number].next = h
	} else {
		q.first = h
	}
	q.last = h
}

func (q *queue) remove(h *half) {
	p := &h.places[q.number]
	if !p.in {
		return
	}
	if p.prev != nil {
		p.prev.places[q.number].next = p.next
	} else {
		q.first = p.next
	}
	if p.next != nil {
		p.next.places[q.number].prev = p.prev
	} else {
		q.last = p.prev
	}
	*p = place{}
}

// due is when the first of a queue has waited for so long.
func (q *queue) due(wait int64) int64 {
	if q.first == nil {
		return never
	}
	return q.first.places[q.number].since + wait
}

// late makes the present a timer of c instead of a packet.
func (t *Table) late(c *conn) {
	t.from = nil
	t.now = frame.Packet{Clock: t.clock, Seq: c.seq}
	if t.clock == t.lastClock {
		t.now.Seq = t.lastSeq // not before what that packet has completed
	}
}

// timeout ends the waiting of a direction: for its holes, or else for the rest
// of its message.
func (t *Table) timeout(h *half) {
	if h.first == len(h.held) {
		t.giveUp(h)
		return
	}
	for h.first < len(h.held) {
		t.lose(h)
	}
}

// giveUp reads what waits behind holes, and then leaves the message that is not
// whole.
func (t *Table) giveUp(h *half) {
	for h.first < len(h.held) {
		t.lose(h)
	}
	if len(h.buf) > 0 {
		t.finish(h)
		h.seek, h.inLine = true, true
		h.ws = wsState{phase: wsSeek}
	}
}

// relieve makes room: the direction that lay still for longest gives up what it
// holds.
func (t *Table) relieve() {
	h := t.wait.first
	t.stats.Relieved++
	t.late(h.conn)
	t.giveUp(h)
	t.settle(h.conn)
}
