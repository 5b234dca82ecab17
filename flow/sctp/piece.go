package sctp

import "ringside/dataplane/frame"

const (
	cellData = 512
	cellSize = 584 // memory of a cell, with its piece
)

// cell holds bytes of a chunk. The first one of a chunk holds its piece.
type cell struct {
	piece
	rest uint32 // next cell of the same chunk
	data [cellData]byte
}

// piece is a chunk that waits for the rest of its message. Those of a direction
// are in the order of group and seq; neighbours in it that belong together have
// one group and consecutive seq.
type piece struct {
	clock  int64  // of its packet
	group  uint64 // 0 for DATA; for I-DATA its stream, order and message
	seq    uint32 // TSN; for I-DATA its number in the message
	tsn    uint32
	size   uint32 // on the wire
	kept   uint32 // captured
	frame  uint32 // frame.Packet.Kept
	ppid   uint32 // for I-DATA, of the first only
	stream uint16
	begin  bool
	end    bool

	direction    uint32
	prev, next   uint32 // in the direction
	older, newer uint32 // in the table
}

// before reports whether p belongs before o.
func (p *piece) before(o *piece) bool {
	return p.group < o.group || p.group == o.group && int32(p.seq-o.seq) < 0
}

// joins reports whether o goes on where p ends.
func (p *piece) joins(o *piece) bool {
	return p.group == o.group && p.seq+1 == o.seq && p.stream == o.stream && !p.end && !o.begin
}

// store keeps a chunk. It makes room if need be. None: there is no room, or its
// place is taken.
func (t *Table) store(i uint32, p *piece, data []byte) uint32 {
	d := t.directions.at(i)
	need := max(1, (len(data)+cellData-1)/cellData)
	if int(d.cells)+need > t.maxOwn || int(d.pieces) >= t.limits.MaxChunks {
		t.giveUpAll(d, Evicted)
	}
	if need > t.maxOwn || need > t.maxCells {
		t.stats.GivenUp[Evicted]++
		return none
	}
	for t.cells.used+need > t.maxCells {
		t.giveUp(t.oldest, Evicted)
	}
	prev, next := d.tail, none
	for prev != none {
		q := &t.cells.at(prev).piece
		if q.before(p) {
			break
		}
		if !p.before(q) { // another TSN, but the same number in the same message
			t.stats.Retransmitted++
			return none
		}
		prev, next = q.prev, prev
	}
	first := t.cells.take()
	c := t.cells.at(first)
	c.piece, c.rest = *p, none
	data = data[copy(c.data[:], data):]
	for last := c; len(data) > 0; {
		last.rest = t.cells.take()
		last = t.cells.at(last.rest)
		last.rest = none
		data = data[copy(last.data[:], data):]
	}
	c.direction, c.prev, c.next = i, prev, next
	if prev == none {
		d.head = first
	} else {
		t.cells.at(prev).next = first
	}
	if next == none {
		d.tail = first
	} else {
		t.cells.at(next).prev = first
	}
	c.older, c.newer = t.newest, none
	if t.newest == none {
		t.oldest = first
	} else {
		t.cells.at(t.newest).newer = first
	}
	t.newest = first
	d.pieces++
	d.cells += uint32(need)
	t.stats.Waiting++
	return first
}

// complete is the first piece of the message that piece i makes whole; none if
// something is missing.
func (t *Table) complete(i uint32) (first uint32) {
	c := t.cells.at(i)
	for !c.end {
		if c.next == none || !c.joins(&t.cells.at(c.next).piece) {
			return none
		}
		c = t.cells.at(c.next)
	}
	first = i
	for c = t.cells.at(i); !c.begin; c = t.cells.at(first) {
		if c.prev == none || !t.cells.at(c.prev).joins(&c.piece) {
			return none
		}
		first = c.prev
	}
	return first
}

// gather gives the message that begins with a piece and is complete, up to the
// first hole that the snap length has cut, and frees its pieces.
func (t *Table) gather(at *packet, first uint32, emit func(m *Message)) {
	head := t.cells.at(first).piece
	clock, chunks, size, n, cut := head.clock, uint32(0), uint32(0), 0, false
	t.frames = t.frames[:0]
	for i, end := first, false; !end; chunks++ {
		c := t.cells.at(i)
		clock, end = min(clock, c.clock), c.end
		size += c.size
		t.cameIn(c.clock, c.frame)
		if !cut {
			n = t.copyOut(n, c)
			cut = c.kept < c.size
		}
		next := c.next
		t.free(i)
		i = next
	}
	t.stats.Delivered += uint64(chunks)
	t.emit(at, &head, t.buf[:n:n], chunks, size, clock, emit)
}

// cameIn notes the frame of a chunk, in the order of the clocks and once.
func (t *Table) cameIn(clock int64, at uint32) {
	if at == 0 {
		return
	}
	n := len(t.frames)
	for n > 0 && t.frames[n-1].Clock >= clock {
		if n--; t.frames[n].At == at {
			return
		}
	}
	t.frames = append(t.frames, frame.Kept{})
	copy(t.frames[n+1:], t.frames[n:])
	t.frames[n] = frame.Kept{Clock: clock, At: at}
}

// copyOut appends the bytes of a piece to the n bytes of buf, and gives their number.
func (t *Table) copyOut(n int, c *cell) int {
	kept := int(c.kept)
	if n+kept > len(t.buf) {
		buf := make([]byte, max(4096, 2*(n+kept)))
		copy(buf, t.buf[:n])
		t.buf = buf
	}
	for {
		m := copy(t.buf[n:], c.data[:min(kept, cellData)])
		n += m
		if kept -= m; kept == 0 {
			return n
		}
		c = t.cells.at(c.rest)
	}
}

// lose gives up the DATA chunks of messages with a hole at or before a TSN, as
// far as the newest chunk around the hole is not later than a clock.
func (t *Table) lose(i, tsn uint32, clock int64, why Loss) {
	d := t.directions.at(i)
	for first := d.head; first != none; {
		c := t.cells.at(first)
		if c.group != 0 {
			return
		}
		newest, hole := c.clock, !c.begin && int32(c.seq-1-tsn) <= 0
		last := first
		for c.next != none && c.joins(&t.cells.at(c.next).piece) {
			last = c.next
			c = t.cells.at(last)
			newest = max(newest, c.clock)
		}
		hole = hole || !c.end && int32(c.seq+1-tsn) <= 0
		after := c.next
		if hole && newest <= clock {
			for first != after {
				next := t.cells.at(first).next
				t.giveUp(first, why)
				first = next
			}
		}
		first = after
	}
}

// giveUpAll gives up what waits in a direction.
func (t *Table) giveUpAll(d *direction, why Loss) {
	for d.head != none {
		t.giveUp(d.head, why)
	}
}

func (t *Table) giveUp(i uint32, why Loss) {
	t.free(i)
	t.stats.GivenUp[why]++
}

// free takes a piece out of its lists and frees its cells.
func (t *Table) free(i uint32) {
	c := t.cells.at(i)
	d := t.directions.at(c.direction)
	if c.prev == none {
		d.head = c.next
	} else {
		t.cells.at(c.prev).next = c.next
	}
	if c.next == none {
		d.tail = c.prev
	} else {
		t.cells.at(c.next).prev = c.prev
	}
	if c.older == none {
		t.oldest = c.newer
	} else {
		t.cells.at(c.older).newer = c.newer
	}
	if c.newer == none {
		t.newest = c.older
	} else {
		t.cells.at(c.newer).older = c.older
	}
	d.pieces--
	t.stats.Waiting--
	for i != none {
		rest := t.cells.at(i).rest
		t.cells.give(i)
		d.cells--
		i = rest
	}
}
