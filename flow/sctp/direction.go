package sctp

import (
	"math/bits"

	"ringside/dataplane/frame"
)

// window is how many TSNs up to the highest one are told apart as seen or not.
// Senders have far fewer on their way at a time.
const window = 2048

// key names a direction.
type key struct {
	src, dst frame.Endpoint
	loop     uint16
}

func (k *key) equal(o *key) bool {
	return k.loop == o.loop && k.src == o.src && k.dst == o.dst
}

// Lists of directions by the clock of their last packet. When the table is
// full, the oldest of the first list that has one gives way.
const (
	listOver   = iota // of an association that is over, by its end
	listOneWay        // the other direction was never seen
	listBoth
	numLists
)

type list struct{ oldest, newest uint32 }

// direction is one direction of an association.
type direction struct {
	key    key
	last   int64 // clock of its last packet; of its end, in listOver
	bucket uint32
	chain  uint32 // next of its bucket

	older, newer uint32
	list         uint8

	initial bool   // began with INIT or INIT ACK: tag and first are known
	tag     uint32 // initiate tag
	first   uint32 // initial TSN

	started bool                // top and seen hold
	top     uint32              // highest TSN seen
	seen    [window / 64]uint64 // by TSN modulo window, of the last window of them

	head, tail uint32 // pieces in order
	pieces     uint32
	cells      uint32
}

func (t *Table) bucketOf(k *key) uint32 {
	h := mix(k.src.Addr.Hi^t.seed, k.src.Addr.Lo^mixA)
	h = mix(k.dst.Addr.Hi^h, k.dst.Addr.Lo^mixB)
	h = mix(h^uint64(k.src.Port)<<32^uint64(k.dst.Port)<<16^uint64(k.loop), mixA)
	return uint32(h) & uint32(len(t.byKey)-1)
}

func (t *Table) find(k *key, bucket uint32) uint32 {
	for i := t.byKey[bucket]; i != none; {
		d := t.directions.at(i)
		if d.key.equal(k) {
			return i
		}
		i = d.chain
	}
	return none
}

// reverse is the other direction; none if it is not there.
func (t *Table) reverse(k *key) uint32 {
	back := key{src: k.dst, dst: k.src, loop: k.loop}
	return t.find(&back, t.bucketOf(&back))
}

// add makes the direction of a packet.
func (t *Table) add(at *packet) uint32 {
	for t.directions.used >= t.limits.MaxDirections {
		for l := range t.lists {
			if i := t.lists[l].oldest; i != none {
				t.stats.Displaced++
				t.forget(i, Evicted)
				break
			}
		}
	}
	i := t.directions.take()
	d := t.directions.at(i)
	*d = direction{key: *at.key, last: at.Clock, bucket: at.bucket, chain: t.byKey[at.bucket], head: none, tail: none}
	t.byKey[at.bucket] = i
	d.list = listOneWay
	if back := t.reverse(at.key); back != none && back != i {
		d.list = listBoth
		if b := t.directions.at(back); b.list == listOneWay {
			t.pull(back)
			b.last, b.list = at.Clock, listBoth
			t.push(back)
		}
	}
	t.push(i)
	t.stats.Begun++
	return i
}

// touch moves a direction to the new end of its list.
func (t *Table) touch(i uint32, clock int64) {
	d := t.directions.at(i)
	if d.list == listOver {
		return
	}
	t.pull(i)
	d.last = clock
	t.push(i)
}

// begin takes an INIT or INIT ACK.
func (t *Table) begin(at *packet, tag, tsn uint32) {
	if at.direction == none {
		at.direction = t.add(at)
	}
	d := t.directions.at(at.direction)
	if d.initial && d.list != listOver && d.tag == tag && d.first == tsn {
		return // a copy, or sent again
	}
	if d.started || d.initial {
		t.stats.Restarts++
	}
	t.giveUpAll(d, Ended)
	t.revive(at.direction, at.Clock)
	d.initial, d.tag, d.first = true, tag, tsn
	d.started, d.top = true, tsn-1
	for i := range d.seen {
		d.seen[i] = ^uint64(0) // what comes before is of the association before
	}
}

// fresh notes a TSN, and reports false if it was seen before.
func (t *Table) fresh(i, tsn uint32, clock int64) bool {
	d := t.directions.at(i)
	ahead := int32(tsn - d.top)
	if d.started && (ahead > window || ahead <= -window) {
		t.stats.Restarts++
		t.giveUpAll(d, Ended)
		d.started, d.initial = false, false
	}
	if !d.started {
		d.started, d.top, ahead = true, tsn, 0
		clear(d.seen[:])
	}
	for ahead > 0 {
		d.top++
		if d.top%64 == 0 && ahead >= 64 {
			d.seen[d.top%window/64] = 0
			d.top += 63
			ahead -= 64
			continue
		}
		d.seen[d.top%window/64] &^= 1 << (d.top % 64)
		ahead--
	}
	word, bit := &d.seen[tsn%window/64], uint64(1)<<(tsn%64)
	if *word&bit != 0 {
		return false
	}
	*word |= bit
	if d.list == listOver {
		t.revive(i, clock)
	}
	return true
}

// end takes the end of an association: its direction is only remembered.
func (t *Table) end(i uint32, clock int64) {
	d := t.directions.at(i)
	t.giveUpAll(d, Ended)
	t.pull(i)
	d.last, d.list = clock, listOver
	t.push(i)
}

// revive takes a direction back from those that are over.
func (t *Table) revive(i uint32, clock int64) {
	d := t.directions.at(i)
	if d.list != listOver {
		return
	}
	t.pull(i)
	d.last, d.list = clock, listOneWay
	if t.reverse(&d.key) != none {
		d.list = listBoth
	}
	t.push(i)
}

// forget removes a direction; its pieces are given up.
func (t *Table) forget(i uint32, why Loss) {
	d := t.directions.at(i)
	t.giveUpAll(d, why)
	t.pull(i)
	at := &t.byKey[d.bucket]
	for *at != i {
		at = &t.directions.at(*at).chain
	}
	*at = d.chain
	t.directions.give(i)
}

// Expire gives up chunks and forgets directions that are due at a clock. Packet
// does so by itself.
func (t *Table) Expire(clock int64) {
	for t.oldest != none {
		c := t.cells.at(t.oldest)
		if clock-c.clock < int64(t.limits.Hole) {
			break
		}
		t.giveUp(t.oldest, TimedOut)
	}
	for l := range t.lists {
		wait := int64(t.limits.Idle)
		if l == listOver {
			wait = linger
		}
		for {
			i := t.lists[l].oldest
			if i == none || clock-t.directions.at(i).last < wait {
				break
			}
			t.stats.Forgotten++
			t.forget(i, TimedOut)
		}
	}
}

// push puts a direction at the new end of its list.
func (t *Table) push(i uint32) {
	d := t.directions.at(i)
	l := &t.lists[d.list]
	d.older, d.newer = l.newest, none
	if l.newest == none {
		l.oldest = i
	} else {
		t.directions.at(l.newest).newer = i
	}
	l.newest = i
}

// pull takes a direction from its list.
func (t *Table) pull(i uint32) {
	d := t.directions.at(i)
	l := &t.lists[d.list]
	if d.older == none {
		l.oldest = d.newer
	} else {
		t.directions.at(d.older).newer = d.newer
	}
	if d.newer == none {
		l.newest = d.older
	} else {
		t.directions.at(d.newer).older = d.older
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
