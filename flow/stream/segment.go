package stream

import (
	"bytes"

	"ringside/dataplane/frame"
	"ringside/flow/tls"
)

const (
	// Far behind the stream no retransmission comes. A direction that has three
	// such segments in a row goes on there.
	window    = 1 << 20
	maxStrays = 3

	maxPieces = 1024 // that wait in one direction
)

// piece is a run of bytes that came before others that they follow. The bytes
// are [off, off+size) of the arena; lost more were cut off behind them.
type piece struct {
	seq        uint32
	off        uint32
	size, lost uint32
	time       int64
}

func (s *piece) end() uint32 { return s.seq + s.size + s.lost }

// segment takes a TCP segment and says what it was.
func (t *Table) segment(p *frame.Packet) kind {
	k, d := keyOf(p)
	hash := k.hash(t.seed)
	i := t.find(&k, hash)
	if i == none {
		if p.Len == 0 && p.Control&frame.TCPSyn == 0 {
			return kindEmpty // nothing to learn from it
		}
		i = t.add(&k, hash)
	}
	f := t.at(i)
	t.touch(i, f)
	if f.nature == other && p.Control&(frame.TCPSyn|frame.TCPFin|frame.TCPRst) == 0 && !revives(p.Payload) {
		if p.Len == 0 {
			return kindEmpty
		}
		return kindOther
	}
	seq := p.SeqNo
	if p.Control&frame.TCPSyn != 0 {
		seq++
		t.synchronise(i, f, d, seq, p)
	}
	if f.conn == none && !t.begin(i, f, d, seq, p) {
		t.closing(i, f, d, p)
		if p.Len == 0 {
			return kindEmpty
		}
		return kindOf(f)
	}
	return t.work(t.conns[f.conn], d, seq, p)
}

// kindOf is what a segment of a flow without a conn is counted as.
func kindOf(f *flow) kind {
	switch f.nature {
	case undecided:
		return kindUndecided
	case encrypted:
		return kindEncrypted
	case plainSIP:
		return kindSIP
	case webSocket:
		return kindWebSocket
	}
	return kindOther
}

// synchronise takes a SYN: the stream of direction d begins at seq. If it has
// begun elsewhere, the ports are used again.
func (t *Table) synchronise(i uint32, f *flow, d int, seq uint32, p *frame.Packet) {
	known, start := f.flags&(knownNext<<d) != 0, f.next[d]
	if f.conn != none {
		h := &t.conns[f.conn].half[d]
		known, start = h.known, h.start
	}
	ended := f.list() == listEnded
	if known && start == seq && !ended {
		return // once more
	}
	if known || ended || f.nature == other || f.nature == encrypted {
		if f.conn != none {
			c := t.conns[f.conn]
			t.late(c)
			for n := range c.half {
				t.giveUp(&c.half[n])
			}
			t.detach(c)
		}
		f.nature, f.flags = undecided, f.flags&listBits
		t.move(i, listOther)
	}
	if f.conn != none {
		h := &t.conns[f.conn].half[d]
		h.known, h.next, h.start, h.joined = true, seq, seq, false
	}
	f.next[d] = seq
	f.flags |= knownNext << d
	if f.flags&clientKnown == 0 {
		f.flags |= clientKnown
		if (d == 1) == (p.Control&frame.TCPAck == 0) {
			f.flags |= clientIsHigh
		}
	}
}

// begin gives a flow a conn, if the segment says that its bytes should be read.
func (t *Table) begin(i uint32, f *flow, d int, seq uint32, p *frame.Packet) bool {
	if len(p.Payload) == 0 {
		return false
	}
	known := f.flags&(knownNext<<d) != 0
	if f.list() == listEnded {
		if f.nature == encrypted {
			return false
		}
		if behind := int32(seq + p.Len - f.next[d]); known && behind <= 0 && behind > -window {
			t.stats.Retransmitted++
			t.stats.RetransmittedBytes += uint64(p.Len)
			return false
		}
		if f.nature == other && !revives(p.Payload) {
			return false
		}
		f.nature, f.flags, known = undecided, f.flags&listBits, false
		t.move(i, listOther)
	}
	switch f.nature {
	case encrypted:
		return false
	case other:
		if !revives(p.Payload) {
			return false
		}
		f.nature, f.flags, known = undecided, f.flags&listBits, false
	case undecided:
		if known && seq != f.next[d] {
			break // not the first bytes
		}
		switch v := judge(p.Payload, !known); {
		case v == isOther:
			f.nature = other
			return false
		case v == isTLS && t.options.Keys == nil:
			f.nature = encrypted
			return false
		}
	}
	t.attach(i, f)
	return true
}

// closing notes the end of a flow without a conn.
func (t *Table) closing(i uint32, f *flow, d int, p *frame.Packet) {
	if p.Control&frame.TCPFin != 0 {
		f.flags |= finished << d
	}
	if (p.Control&frame.TCPRst != 0 || f.flags&(finished|finished<<1) == finished|finished<<1) && f.list() != listEnded {
		t.move(i, listEnded)
	}
}

// work reads a segment of a flow with a conn.
func (t *Table) work(c *conn, d int, seq uint32, p *frame.Packet) kind {
	h, f := &c.half[d], c.flow
	c.seq = p.Seq
	t.now = *p
	t.now.Payload = nil
	t.from = h
	if p.Control&frame.TCPAck != 0 {
		t.acknowledge(h.peer(), p.AckNo)
	}
	k := kindEmpty
	if p.Len > 0 {
		h.last = t.now
		if p.Kept != 0 && (!h.known || int32(seq+p.Len-h.next) > 0) {
			h.keep(p, seq)
		}
		ping := f.nature == plainSIP && c.tls == nil && !h.holds() && h.skip == 0 && isPadding(p.Payload)
		ping = t.data(h, seq, p.Payload, p.Len) || ping
		if k = t.kind(c, d); ping {
			k = kindKeepAlive
		}
	}
	if p.Control&frame.TCPFin != 0 {
		t.fin(h, seq+p.Len)
	}
	if away := int32(seq - h.next); p.Control&frame.TCPRst != 0 && (!h.known || away > -window && away < window) {
		for n := range c.half {
			t.giveUp(&c.half[n])
			c.half[n].done = true
		}
	}
	t.settle(c)
	return k
}

// kind is what a segment of a direction with payload is counted as.
func (t *Table) kind(c *conn, d int) kind {
	if c.tls == nil || c.flow.nature == encrypted {
		return kindOf(c.flow)
	}
	switch c.state[d] {
	case tls.Handshake:
		return kindHandshake
	case tls.Decrypting:
		return kindDecrypted
	}
	return kindEncrypted
}

// acknowledge notes that the peer of h has all before ack.
func (t *Table) acknowledge(h *half, ack uint32) {
	if !h.known {
		return
	}
	if !h.ackKnown || int32(ack-h.ack) > 0 {
		h.ackKnown, h.ack = true, ack
	}
}

// proven reports whether the first hole of a direction is one that the peer does
// not have.
func (h *half) proven() bool {
	switch {
	case !h.ackKnown:
		return false
	case h.first < len(h.held):
		return int32(h.ack-h.held[h.first].seq) >= 0
	}
	return h.finSeen && int32(h.fin-h.next) > 0 && int32(h.ack-h.fin) > 0
}

// prove begins the wait for the holes that the peer does not have, as far as
// they are known now.
func (t *Table) prove(h *half) {
	h.proof = h.fin
	if n := len(h.held); n > h.first {
		h.proof = h.held[n-1].seq
		if int32(h.ack-h.proof) < 0 {
			h.proof = h.ack
		}
	}
	t.proofs.add(h, t.clock)
	t.due = min(t.due, t.clock+ackGrace)
}

// proved ends that wait. Holes of which it became known later have their own.
func (t *Table) proved(h *half) {
	t.proofs.remove(h)
	if h.first == len(h.held) {
		t.jump(h, h.fin)
	}
	for h.first < len(h.held) && int32(h.proof-h.held[h.first].seq) >= 0 {
		t.lose(h)
	}
}

// fin notes that the stream ends at a place.
func (t *Table) fin(h *half, at uint32) {
	if !h.known {
		h.known, h.next, h.start = true, at, at
	}
	if int32(at-h.next) >= 0 && !h.finSeen {
		h.finSeen, h.fin = true, at
	}
}

// data takes payload of which n bytes were on the wire. It reports whether that
// was a keep-alive of TCP.
func (t *Table) data(h *half, seq uint32, b []byte, n uint32) (probe bool) {
	if !h.known {
		h.known, h.next, h.start = true, seq, seq
	}
	if old := h.next - seq; int32(old) > 0 {
		switch {
		case old > window:
			if t.stats.Outside++; h.strays+1 < maxStrays {
				h.strays++
				return false
			}
			for h.first < len(h.held) {
				t.lose(h)
			}
			t.lost(h, -1)
			h.next, h.ackKnown = seq, false // what was acknowledged lies elsewhere
		case n == 1 && old == 1:
			return true // RFC 9293 section 3.8.4
		case n <= old:
			t.stats.Retransmitted++
			t.stats.RetransmittedBytes += uint64(n)
			h.strays = 0
			return false
		default:
			t.stats.RetransmittedBytes += uint64(old)
			b, seq, n = b[min(int(old), len(b)):], h.next, n-old
		}
	}
	h.strays = 0
	if seq != h.next {
		t.stats.OutOfOrder++
		t.hold(h, seq, b, n)
		return false
	}
	t.compare(h, seq, b)
	for n > 0 {
		m := n
		if h.first < len(h.held) {
			m = min(m, h.held[h.first].seq-h.next)
		}
		t.take(h, b[:min(int(m), len(b))], m)
		t.drain(h)
		if read := h.next - seq; read < n {
			b, seq, n = b[min(int(read), len(b)):], h.next, n-read
		} else {
			n = 0
		}
	}
	return false
}

// take reads the next bytes of a direction, of which n were on the wire.
func (t *Table) take(h *half, b []byte, n uint32) {
	if len(h.kept) > 0 {
		h.forget()
	}
	h.next += n
	h.moved = true
	if len(b) > 0 {
		t.deliver(h, b)
	}
	h.time = t.now.Time
	if missing := int(n) - len(b); missing > 0 {
		t.lost(h, missing)
	}
}

// drain reads what was held and is next.
func (t *Table) drain(h *half) {
	for h.first < len(h.held) && h.held[h.first].seq == h.next {
		s := h.held[h.first]
		h.first++
		t.take(h, h.arena[s.off:s.off+s.size:s.off+s.size], s.size+s.lost)
	}
	if h.first > 0 && h.first == len(h.held) {
		t.dropHeld(h)
	}
}

// dropHeld forgets what waits behind holes.
func (t *Table) dropHeld(h *half) {
	if h.held != nil {
		t.buffers.putPieces(h.held)
		t.buffers.put(h.arena)
		h.held, h.arena, h.first = nil, nil, 0
	}
}

// lose gives up the first hole, and reads what was held behind it with the
// times when it came.
func (t *Table) lose(h *half) {
	t.jump(h, h.held[h.first].seq)
	now := t.now.Time
	for h.first < len(h.held) && h.held[h.first].seq == h.next {
		s := h.held[h.first]
		h.first++
		t.now.Time = s.time
		t.take(h, h.arena[s.off:s.off+s.size:s.off+s.size], s.size+s.lost)
	}
	t.now.Time = now
	t.drain(h)
}

// jump goes on at a place that lies ahead. What ends at the hole has the time of
// its own last byte.
func (t *Table) jump(h *half, to uint32) {
	n := int32(to - h.next)
	if n <= 0 {
		return
	}
	h.next = to
	now := t.now.Time
	t.now.Time = h.time
	t.lost(h, int(n))
	t.now.Time = now
}

// lost notes that n bytes of a direction are missing, -1 if it is not known how
// many.
func (t *Table) lost(h *half, n int) {
	t.stats.Gaps++
	t.stats.GapBytes += uint64(max(n, 0))
	if c := h.conn; c.tls != nil {
		c.tls.Gap(h.direction == c.client, n)
		t.weigh(c)
		n = -1
	}
	t.textLost(h, n)
}

// hold keeps bytes that lie behind a hole. The first copy of a byte counts.
func (t *Table) hold(h *half, seq uint32, b []byte, n uint32) {
	for h.first < len(h.held) && (len(h.held)-h.first >= maxPieces || len(h.arena)+len(b) > t.options.MaxFlowBytes) {
		if t.compact(h, len(b)) {
			break
		}
		t.lose(h)
	}
	if d := int32(seq - h.next); d <= 0 || len(b) > t.options.MaxFlowBytes {
		t.jump(h, seq)
		t.data(h, seq, b, n)
		return
	}
	if h.first > maxPieces/2 { // of pieces without bytes the arena does not tell
		h.held = h.held[:copy(h.held, h.held[h.first:])]
		h.first = 0
	}
	t.compare(h, seq, b)
	end := seq + n
	i := len(h.held)
	for i > h.first && int32(h.held[i-1].seq-seq) > 0 {
		i--
	}
	// held[i-1] begins at seq or before, held[i] behind it.
	if i > h.first {
		if over := h.held[i-1].end() - seq; int32(over) > 0 {
			if over >= n {
				t.stats.Retransmitted++
				t.stats.RetransmittedBytes += uint64(n)
				return
			}
			t.stats.RetransmittedBytes += uint64(over)
			b, seq, n = b[min(int(over), len(b)):], seq+over, n-over
		}
	}
	for seq != end {
		m := n
		if i < len(h.held) {
			m = min(m, h.held[i].seq-seq)
		}
		if m > 0 {
			t.insertPiece(h, i, seq, b[:min(int(m), len(b))], m)
			i++
		}
		if m == n {
			break
		}
		m += min(h.held[i].end()-h.held[i].seq, n-m) // what is there already
		i++
		b, seq, n = b[min(int(m), len(b)):], seq+m, n-m
	}
}

// insertPiece makes a piece the i-th one.
func (t *Table) insertPiece(h *half, i int, seq uint32, b []byte, n uint32) {
	h.held = t.buffers.pieces(h.held)
	h.held = h.held[:len(h.held)+1]
	copy(h.held[i+1:], h.held[i:])
	h.held[i] = piece{seq, uint32(len(h.arena)), uint32(len(b)), n - uint32(len(b)), t.now.Time}
	h.arena = t.buffers.add(h.arena, b)
}

// compact makes room for n bytes in the arena where pieces were read already.
// It does so only if much is gained, and reports whether there is room now.
func (t *Table) compact(h *half, n int) bool {
	live := 0
	for _, s := range h.held[h.first:] {
		live += int(s.size)
	}
	if live > len(h.arena)/2 || live+n > t.options.MaxFlowBytes || len(h.held)-h.first >= maxPieces {
		return false
	}
	arena := t.buffers.get(live + n)
	for i := h.first; i < len(h.held); i++ {
		s := &h.held[i]
		off := uint32(len(arena))
		arena = append(arena, h.arena[s.off:s.off+s.size]...)
		s.off = off
	}
	t.buffers.put(h.arena)
	h.arena = arena
	h.held = h.held[:copy(h.held, h.held[h.first:])]
	h.first = 0
	return true
}

// compare counts a segment that differs from what is held for the same place.
func (t *Table) compare(h *half, seq uint32, b []byte) {
	for i := h.first; i < len(h.held); i++ {
		s := &h.held[i]
		lo, hi := max(int32(s.seq-seq), 0), min(int32(s.seq+s.size-seq), int32(len(b)))
		if int32(s.seq-seq) >= int32(len(b)) {
			return
		}
		if lo < hi {
			at := s.off + uint32(int32(seq-s.seq)+lo)
			if !bytes.Equal(h.arena[at:at+uint32(hi-lo)], b[lo:hi]) {
				t.stats.Conflicts++
				return
			}
		}
	}
}
