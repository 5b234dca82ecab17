package defrag

import (
	"encoding/binary"
	"math/bits"

	"ringside/dataplane/frame"
)

const (
	cellData = 512 // three hold the 1,480 bytes of a full Ethernet frame
	cellSize = 568 // memory of a cell, with its piece
)

// cell holds bytes of a fragment. The first one of a fragment holds its piece.
type cell struct {
	piece
	rest uint32 // next cell of the same fragment
	data [cellData]byte
}

// piece is a fragment in its datagram.
type piece struct {
	sum  uint64 // of the captured bytes
	off  uint32 // in the datagram
	size uint32 // on the wire
	kept uint32 // captured
	next uint32 // piece that follows in the datagram
	more bool

	frame frame.Kept // it came in
}

// key is what the fragments of a datagram have in common.
type key struct {
	src, dst frame.Addr
	outer    uint64
	id       uint32
	loop     uint16
	proto    uint8 // 0 for IPv6, whose fragments need not agree
	depth    uint8
	ipv6     bool
}

func keyOf(f *frame.Fragment) key {
	k := key{src: f.Src, dst: f.Dst, outer: f.Outer, id: f.ID, loop: f.Loop, proto: f.Proto, depth: f.Depth, ipv6: f.IPv6}
	if f.IPv6 {
		k.proto = 0
	}
	return k
}

// state of a datagram.
type state uint8

const (
	waiting  state = iota
	complete       // remembered with its pieces, each in one cell without its bytes
	refused        // remembered, without pieces
)

// Lists of datagrams by age. The timeout is the same for all of a list, so the
// one that is due first is the first of its list.
const (
	ageIPv4 = iota // waiting, by their first fragment
	ageIPv6
	ageOver // by datagram.last
	ages
)

type list struct{ oldest, newest uint32 }

type datagram struct {
	key    key
	first  int64 // clock of the fragment that came first; of its refusal, when refused
	last   int64 // clock of the one that came last; of its end, when complete
	bucket uint32
	chain  uint32 // next of its bucket

	older, newer uint32 // in its list of ages
	source       uint32
	before       uint32 // of the same source, begun before
	after        uint32 // of the same source, begun after

	head, tail uint32 // pieces by offset
	have       uint32 // bytes on the wire that are there
	top        uint32 // where the bytes that are there end
	end        uint32 // where the datagram ends, 0: not known
	count      uint32 // pieces
	cells      uint32

	state            state
	reason           Reason
	proto, ttl, dscp uint8
}

// source is an address with waiting datagrams. Hosts of one IPv6 /64 are one
// source: who has one address has them all.
type source struct {
	addr           frame.Addr
	bucket, chain  uint32
	oldest, newest uint32
	count          uint32 // datagrams
	cells          uint32
}

// bucketOf is the bucket of a key.
func (t *Table) bucketOf(k *key) uint32 {
	h := mix(k.src.Hi^t.seed, k.src.Lo^mixA)
	h = mix(k.dst.Hi^h, k.dst.Lo^mixB)
	h = mix(h^uint64(k.id)<<32^uint64(k.loop)<<16^uint64(k.proto)<<8^uint64(k.depth), mixA^k.outer)
	return uint32(h) & uint32(len(t.byKey)-1)
}

func (t *Table) find(k *key, bucket uint32) uint32 {
	for i := t.byKey[bucket]; i != none; {
		d := t.datagrams.at(i)
		if d.key == *k {
			return i
		}
		i = d.chain
	}
	return none
}

// sourceOf is the source of an address with its bucket; none if it has nothing waiting.
func (t *Table) sourceOf(a frame.Addr) (i, bucket uint32) {
	bucket = uint32(mix(a.Hi^t.seed, a.Lo^mixA)) & uint32(len(t.byAddr)-1)
	for i = t.byAddr[bucket]; i != none; i = t.sources.at(i).chain {
		if t.sources.at(i).addr == a {
			break
		}
	}
	return i, bucket
}

func sourceAddr(f *frame.Fragment) frame.Addr {
	if f.IPv6 && f.Src.Hi != 0 {
		return frame.Addr{Hi: f.Src.Hi}
	}
	return f.Src
}

// begin makes a datagram without pieces. It makes room if need be.
func (t *Table) begin(k *key, bucket uint32, f *frame.Fragment) uint32 {
	addr := sourceAddr(f)
	s, sb := t.sourceOf(addr)
	if s != none && int(t.sources.at(s).count) >= t.limits.MaxSourceDatagrams {
		t.evict(t.sources.at(s).oldest)
		s, _ = t.sourceOf(addr)
	}
	for t.datagrams.used >= t.limits.MaxDatagrams {
		t.reclaim(s, none)
		s, _ = t.sourceOf(addr)
	}
	if s == none {
		s = t.sources.take()
		*t.sources.at(s) = source{addr: addr, bucket: sb, chain: t.byAddr[sb], oldest: none, newest: none}
		t.byAddr[sb] = s
	}
	i := t.datagrams.take()
	d := t.datagrams.at(i)
	*d = datagram{
		key: *k, first: f.Clock, last: f.Clock, bucket: bucket, chain: t.byKey[bucket],
		source: s, before: t.sources.at(s).newest, after: none, head: none, tail: none,
	}
	t.byKey[bucket] = i
	src := t.sources.at(s)
	if src.newest == none {
		src.oldest = i
	} else {
		t.datagrams.at(src.newest).after = i
	}
	src.newest = i
	src.count++
	t.push(i, ageOf(d))
	t.stats.Begun++
	t.stats.DatagramsWaiting++
	return i
}

// store puts a piece with its bytes behind another one of its datagram. It
// makes room if need be; where there is none, the datagram is evicted, and
// store reports false.
func (t *Table) store(i, after uint32, p *piece, data []byte) bool {
	d := t.datagrams.at(i)
	src := t.sources.at(d.source)
	need := max(1, (len(data)+cellData-1)/cellData)
	for int(src.cells)+need > t.maxOwn {
		old := src.oldest
		if old == i {
			old = d.after
		}
		if old == none {
			t.evict(i)
			return false
		}
		t.evict(old)
	}
	for t.cells.used+need > t.maxCells {
		if !t.reclaim(d.source, i) {
			t.evict(i)
			return false
		}
	}
	first := t.cells.take()
	c := t.cells.at(first)
	c.piece, c.rest = *p, none
	data = data[copy(c.data[:], data):]
	for len(data) > 0 {
		c.rest = t.cells.take()
		c = t.cells.at(c.rest)
		c.rest = none
		data = data[copy(c.data[:], data):]
	}
	d.cells += uint32(need)
	src.cells += uint32(need)

	to := &d.head
	if after != none {
		to = &t.cells.at(after).next
	}
	t.cells.at(first).next = *to
	*to = first
	if after == d.tail {
		d.tail = first
	}
	return true
}

// gather copies the bytes of a complete datagram together, up to the first hole.
func (t *Table) gather(d *datagram) Datagram {
	if t.buf == nil {
		t.buf = make([]byte, maxDatagram)
	}
	n := 0
	cut := false
	t.frames = t.frames[:0]
	for i := d.head; i != none; i = t.cells.at(i).next {
		if k := t.cells.at(i).frame; k.At != 0 {
			t.frames = append(t.frames, k)
		}
	}
	for i := d.head; i != none && !cut; {
		c := t.cells.at(i)
		kept := int(c.kept)
		cut = c.kept < c.size
		next := c.next
		for kept > 0 {
			m := copy(t.buf[n:], c.data[:min(kept, cellData)])
			n += m
			if kept -= m; kept > 0 {
				c = t.cells.at(c.rest)
			}
		}
		i = next
	}
	return Datagram{
		Data: t.buf[:n:n], Len: d.end, First: d.first, Count: d.count,
		Proto: d.proto, TTL: d.ttl, DSCP: d.dscp, Cut: cut, Kept: t.frames,
	}
}

// complete keeps of a datagram what tells copies of its fragments.
func (t *Table) complete(i uint32, clock int64) {
	d := t.datagrams.at(i)
	for p := d.head; p != none; {
		c := t.cells.at(p)
		t.freeCells(c.rest)
		c.rest = none
		p = c.next
	}
	t.over(i, complete, clock)
}

// refuse ends a waiting datagram for a reason.
func (t *Table) refuse(i uint32, r Reason, clock int64) {
	d := t.datagrams.at(i)
	t.stats.Waiting -= uint64(d.count)
	t.stats.Refused[r] += uint64(d.count)
	t.stats.DatagramsRefused++
	t.freePieces(d)
	d.reason, d.first = r, clock
	t.over(i, refused, clock)
}

// over moves a waiting datagram to those that are only remembered.
func (t *Table) over(i uint32, s state, clock int64) {
	d := t.datagrams.at(i)
	t.leave(i)
	d.state, d.last = s, clock
	t.push(i, ageOver)
}

// leave takes a waiting datagram from its source and its age.
func (t *Table) leave(i uint32) {
	d := t.datagrams.at(i)
	t.pull(i, ageOf(d))
	src := t.sources.at(d.source)
	if d.before == none {
		src.oldest = d.after
	} else {
		t.datagrams.at(d.before).after = d.after
	}
	if d.after == none {
		src.newest = d.before
	} else {
		t.datagrams.at(d.after).before = d.before
	}
	src.cells -= d.cells
	src.count--
	if src.count == 0 {
		at := &t.byAddr[src.bucket]
		for *at != d.source {
			at = &t.sources.at(*at).chain
		}
		*at = src.chain
		t.sources.give(d.source)
	}
	d.source = none
	t.stats.DatagramsWaiting--
}

// drop removes a waiting datagram; the caller has counted why.
func (t *Table) drop(i uint32) {
	t.stats.Waiting -= uint64(t.datagrams.at(i).count)
	t.leave(i)
	t.remove(i)
}

// forget removes a datagram that is over.
func (t *Table) forget(i uint32) {
	t.pull(i, ageOver)
	t.remove(i)
}

func (t *Table) remove(i uint32) {
	d := t.datagrams.at(i)
	t.freePieces(d)
	at := &t.byKey[d.bucket]
	for *at != i {
		at = &t.datagrams.at(*at).chain
	}
	*at = d.chain
	t.datagrams.give(i)
}

// evict gives up a waiting datagram for want of room.
func (t *Table) evict(i uint32) {
	t.stats.Evicted += uint64(t.datagrams.at(i).count)
	t.stats.DatagramsEvicted++
	t.drop(i)
}

// reclaim removes the datagram that is needed least, but not keep; s is the
// source that wants room, or none. It reports false where there is nothing to
// remove.
func (t *Table) reclaim(s, keep uint32) bool {
	if i := t.ages[ageOver].oldest; i != none {
		t.forget(i)
		return true
	}
	if s != none {
		src := t.sources.at(s)
		i := src.oldest
		if i == keep {
			i = t.datagrams.at(i).after
		}
		greedy := uint64(src.count)*uint64(t.sources.used) > t.stats.DatagramsWaiting ||
			uint64(src.cells)*uint64(t.sources.used) > uint64(t.cells.used)
		if i != none && greedy {
			t.evict(i)
			return true
		}
	}
	i := t.oldest(ageIPv4, keep)
	if j := t.oldest(ageIPv6, keep); i == none || j != none && t.datagrams.at(j).first < t.datagrams.at(i).first {
		i = j
	}
	if i == none {
		return false
	}
	t.evict(i)
	return true
}

// oldest is the oldest datagram of a list, but not keep.
func (t *Table) oldest(age int, keep uint32) uint32 {
	i := t.ages[age].oldest
	if i != none && i == keep {
		i = t.datagrams.at(i).newer
	}
	return i
}

// Expire gives up what waits for too long at a clock, and forgets what is over.
// Add does so by itself.
func (t *Table) Expire(clock int64) {
	for _, age := range []struct {
		list int
		wait int64
	}{{ageIPv4, int64(t.limits.IPv4Timeout)}, {ageIPv6, int64(t.limits.IPv6Timeout)}} {
		for {
			i := t.ages[age.list].oldest
			if i == none || clock-t.datagrams.at(i).first < age.wait {
				break
			}
			t.stats.TimedOut += uint64(t.datagrams.at(i).count)
			t.stats.DatagramsTimedOut++
			t.drop(i)
		}
	}
	for {
		i := t.ages[ageOver].oldest
		if i == none || clock-t.datagrams.at(i).last <= int64(t.limits.Linger) {
			return
		}
		t.forget(i)
	}
}

func ageOf(d *datagram) int {
	if d.key.ipv6 {
		return ageIPv6
	}
	return ageIPv4
}

// push puts a datagram at the new end of a list.
func (t *Table) push(i uint32, age int) {
	l := &t.ages[age]
	d := t.datagrams.at(i)
	d.older, d.newer = l.newest, none
	if l.newest == none {
		l.oldest = i
	} else {
		t.datagrams.at(l.newest).newer = i
	}
	l.newest = i
}

// pull takes a datagram from a list.
func (t *Table) pull(i uint32, age int) {
	l := &t.ages[age]
	d := t.datagrams.at(i)
	if d.older == none {
		l.oldest = d.newer
	} else {
		t.datagrams.at(d.older).newer = d.newer
	}
	if d.newer == none {
		l.newest = d.older
	} else {
		t.datagrams.at(d.newer).older = d.older
	}
}

func (t *Table) freePieces(d *datagram) {
	for i := d.head; i != none; {
		next := t.cells.at(i).next
		t.freeCells(i)
		i = next
	}
	d.head, d.tail = none, none
}

func (t *Table) freeCells(i uint32) {
	for i != none {
		rest := t.cells.at(i).rest
		t.cells.give(i)
		i = rest
	}
}

// Mixing constants, those of dataplane/frame.
const (
	mixA = 0x9e3779b97f4a7c15
	mixB = 0xbb67ae8584caa73b
)

// mix folds the product of two words.
func mix(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return hi ^ lo
}

// sum is a 64-bit hash of bytes. Its three lanes keep the multiplier busy.
func sum(b []byte) uint64 {
	le := binary.LittleEndian
	h, h1, h2 := uint64(len(b))^mixB, uint64(mixA), uint64(mixB)
	for ; len(b) >= 48; b = b[48:] {
		h = mix(le.Uint64(b)^mixA^h, le.Uint64(b[8:])^mixB)
		h1 = mix(le.Uint64(b[16:])^mixA^h1, le.Uint64(b[24:])^mixB)
		h2 = mix(le.Uint64(b[32:])^mixA^h2, le.Uint64(b[40:])^mixB)
	}
	h ^= bits.RotateLeft64(h1, 17) ^ bits.RotateLeft64(h2, 41)
	for ; len(b) >= 16; b = b[16:] {
		h = mix(le.Uint64(b)^mixA^h, le.Uint64(b[8:])^mixB)
	}
	var rest [16]byte
	copy(rest[:], b)
	return mix(le.Uint64(rest[:])^mixA^h, le.Uint64(rest[8:])^mixB)
}
