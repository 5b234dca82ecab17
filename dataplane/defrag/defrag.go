// Package defrag puts IP datagrams together from their fragments: IPv4
// (RFC 791 section 3.2) and IPv6 (RFC 8200 section 4.5, RFC 5722).
//
// A Table takes fragments in the order of their clocks, from whatever depth of
// tunnels, and gives a datagram with the fragment that completes it. It runs on
// the clocks of the fragments alone, so the same fragments give the same
// datagrams wherever and whenever they are read.
//
// # What belongs together
//
// Fragments with one source, destination, identification, protocol (IPv4 only)
// and pass of a looped capture, seen at one depth between the same outermost
// addresses. VLAN, interface and time to live do not count: a mirror port may
// deliver the same fragment from two places. A datagram that is seen plain and
// again in a tunnel is two, as it would be without fragments; tables that are
// dealt fragments by their Outer hash depend on that.
//
// A fragment that is already there is a duplicate. A datagram that is complete
// is remembered for Limits.Linger, so that the second copies of its fragments
// do not begin it once more; a fragment with other bytes does begin a new one,
// since busy hosts use an identification again within seconds, and some use one
// for all. Copies of a mirror port come within milliseconds, retransmissions
// after hundreds: Linger lies between. For the same
// reason a datagram that has got nothing for Linger is given up as stale when a
// fragment comes that contradicts it, or its first fragment, which senders send
// first: they begin a new one.
//
// # What is refused
//
// Fragments that overlap without being the same are an attack or damage, and
// take the whole datagram with them (RFC 5722); so do fragments that cannot be
// (Reason). Late fragments of a refused datagram are refused for Linger, and
// after it until a first fragment comes, so that none is put into a datagram of
// the same identification that it does not belong to.
//
// # Bounds
//
// Fragments wait in cells of a fixed size, in memory that is allocated as it is
// needed up to Limits.MaxBytes, and then reused. When a bound is reached, what
// goes first is what is only remembered; then the oldest datagram of the same
// source, if it has more than its share; then the oldest of all. One source can
// hold a part of the table only, so a flood does not push out the others.
package defrag

import (
	"math/rand/v2"
	"time"

	"ringside/dataplane/frame"
)

// Limits bound a table in memory and time. A field that is 0 stands for its
// default.
type Limits struct {
	MaxBytes           int           // memory of waiting fragments in cells; default 16 MiB
	MaxDatagrams       int           // waiting and remembered; default 16,384
	MaxSourceBytes     int           // of one source; default a quarter of MaxBytes
	MaxSourceDatagrams int           // of one source; default a quarter of MaxDatagrams
	MaxFragments       int           // of one datagram; default 128, enough for 64 KiB in 576-byte packets
	IPv4Timeout        time.Duration // from the first fragment on; default 30 s, as in Linux
	IPv6Timeout        time.Duration // from the first fragment on; default 60 s (RFC 8200 section 4.5)
	Linger             time.Duration // for how long a datagram that is over is remembered; default 100 ms
}

func (l Limits) withDefaults() Limits {
	set := func(v *int, def int) {
		if *v <= 0 {
			*v = max(1, def)
		}
	}
	set(&l.MaxBytes, 16<<20)
	set(&l.MaxDatagrams, 16<<10)
	set(&l.MaxSourceBytes, l.MaxBytes/4)
	set(&l.MaxSourceDatagrams, l.MaxDatagrams/4)
	set(&l.MaxFragments, 128)
	wait := func(v *time.Duration, def time.Duration) {
		if *v <= 0 {
			*v = def
		}
	}
	wait(&l.IPv4Timeout, 30*time.Second)
	wait(&l.IPv6Timeout, 60*time.Second)
	wait(&l.Linger, 100*time.Millisecond)
	return l
}

// maxDatagram is the most bytes that an IP length field can tell.
const maxDatagram = 65535

// Datagram is a datagram put together. Data is the payload of the IP header
// that was fragmented; it is valid until the next Add, and for a datagram of
// one fragment it is the Data of that.
type Datagram struct {
	Data  []byte
	Len   uint32 // bytes on the wire; more than len(Data) if Cut
	First int64  // clock of the fragment that came first
	Count uint32 // fragments it was made of, without duplicates
	Proto uint8  // protocol, or next header, of the fragment at offset 0
	TTL   uint8  // of the fragment at offset 0
	DSCP  uint8  // of the fragment at offset 0
	Cut   bool   // the snap length cut a fragment: Data ends there

	// Kept are the frames that it came in, in the order of the fragments, as far
	// as copies of them are kept; valid until the next Add.
	Kept []frame.Kept
}

// Table puts fragments together. It must not be used by two goroutines at a
// time, and that includes Stats.
type Table struct {
	limits   Limits
	maxCells int
	maxOwn   int // cells of one source

	buf       []byte // the datagram given last
	frames    []frame.Kept
	cells     slab[cell]
	datagrams slab[datagram]
	sources   slab[source]
	byKey     []uint32 // first datagram of each bucket
	byAddr    []uint32 // first source of each bucket
	seed      uint64   // keeps strangers from choosing buckets; results do not depend on it
	ages      [ages]list
	stats     Stats
}

// New makes an empty table.
func New(l Limits) *Table {
	l = l.withDefaults()
	buckets := 64
	for buckets < l.MaxDatagrams {
		buckets *= 2
	}
	t := &Table{
		limits:   l,
		maxCells: max(1, l.MaxBytes/cellSize),
		maxOwn:   max(1, l.MaxSourceBytes/cellSize),
		byKey:    make([]uint32, buckets),
		byAddr:   make([]uint32, buckets),
		seed:     rand.Uint64(),
	}
	fill(t.byKey)
	fill(t.byAddr)
	for i := range t.ages {
		t.ages[i] = list{none, none}
	}
	return t
}

func fill(buckets []uint32) {
	for i := range buckets {
		buckets[i] = none
	}
}

// Add takes the next fragment in the order of the clocks. It reports true with
// the datagram that the fragment completes.
func (t *Table) Add(f *frame.Fragment) (d Datagram, ok bool) {
	t.stats.Fragments++
	t.Expire(f.Clock)
	if f.Offset == 0 && !f.More {
		// An IPv6 datagram in one fragment has nothing to do with others of
		// its identification (RFC 6946).
		return t.whole(f), true
	}
	data := f.Data[:min(len(f.Data), int(f.Len))]
	k := keyOf(f)
	bucket := t.bucketOf(&k)
	i := t.find(&k, bucket)
	if r := malformed(f); r != 0 {
		if i != none && t.datagrams.at(i).state == waiting {
			t.refuse(i, r, f.Clock)
		}
		t.stats.Refused[r]++
		return Datagram{}, false
	}
	p := piece{off: f.Offset, size: f.Len, kept: uint32(len(data)), more: f.More, sum: sum(data), next: none, frame: frame.Kept{Clock: f.Clock, At: f.Kept}}
	if i != none && t.datagrams.at(i).state != waiting {
		switch d := t.datagrams.at(i); {
		case d.state == refused && (p.off != 0 || f.Clock-d.first <= int64(t.limits.Linger)):
			t.stats.Refused[d.reason]++
			t.pull(i, ageOver)
			d.last = f.Clock
			t.push(i, ageOver)
			return Datagram{}, false
		case t.remembers(d, &p):
			t.stats.Duplicates++
			return Datagram{}, false
		}
		t.forget(i)
		i = none
	}
	after := none
	if i != none {
		d := t.datagrams.at(i)
		var v verdict
		after, v = t.place(d, &p)
		switch stale := f.Clock-d.last > int64(t.limits.Linger); {
		case v == duplicate:
			t.stats.Duplicates++
			return Datagram{}, false
		case v == fits && !(stale && p.off == 0):
		case stale:
			t.stats.Stale += uint64(d.count)
			t.stats.DatagramsStale++
			t.drop(i)
			i, after = none, none
		default:
			t.refuse(i, Reason(v), f.Clock)
			t.stats.Refused[v]++
			return Datagram{}, false
		}
	}
	if i == none {
		i = t.begin(&k, bucket, f)
	}
	if !t.store(i, after, &p, data) {
		t.stats.Evicted++
		return Datagram{}, false
	}
	return t.took(i, f)
}

// took notes what the datagram learns from a fragment that it has just got.
func (t *Table) took(i uint32, f *frame.Fragment) (Datagram, bool) {
	d := t.datagrams.at(i)
	d.last = f.Clock
	d.have += f.Len
	d.top = max(d.top, f.Offset+f.Len)
	d.count++
	if f.Offset == 0 {
		d.proto, d.ttl, d.dscp = f.Proto, f.TTL, f.DSCP
	}
	if !f.More {
		d.end = f.Offset + f.Len
	}
	t.stats.Waiting++
	if d.end == 0 || d.have < d.end {
		return Datagram{}, false
	}
	whole := t.gather(d)
	t.stats.Waiting -= uint64(d.count)
	t.stats.Used += uint64(d.count)
	t.stats.Datagrams++
	if whole.Cut {
		t.stats.Cut++
	}
	t.complete(i, f.Clock)
	return whole, true
}

// whole is the datagram of a fragment that is all of it.
func (t *Table) whole(f *frame.Fragment) Datagram {
	data := f.Data[:min(len(f.Data), int(f.Len))]
	t.stats.Used++
	t.stats.Begun++
	t.stats.Datagrams++
	cut := len(data) < int(f.Len)
	if cut {
		t.stats.Cut++
	}
	t.frames = t.frames[:0]
	if f.Kept != 0 {
		t.frames = append(t.frames, frame.Kept{Clock: f.Clock, At: f.Kept})
	}
	return Datagram{
		Data: data, Len: f.Len, First: f.Clock, Count: 1, Proto: f.Proto, TTL: f.TTL, DSCP: f.DSCP, Cut: cut, Kept: t.frames,
	}
}

// malformed is why a fragment cannot be, whatever the others are; 0 if it can.
func malformed(f *frame.Fragment) Reason {
	switch {
	case f.Len == 0:
		return Empty
	case uint64(f.Offset)+uint64(f.Len) > maxDatagram:
		return TooLong
	case f.Offset%8 != 0 || f.More && f.Len%8 != 0:
		return Unaligned
	}
	return 0
}

// verdict is what becomes of a fragment beside the others of its datagram:
// fits, duplicate, or the Reason to refuse them all.
type verdict uint8

const (
	fits      = verdict(0)
	duplicate = verdict(numReasons)
)

// place finds the piece of a datagram behind which p belongs, none for the front.
func (t *Table) place(d *datagram, p *piece) (after uint32, v verdict) {
	after = none
	end := p.off + p.size
	first := d.head
	if tail := &t.cells.at(d.tail).piece; tail.off+tail.size <= p.off {
		after, first = d.tail, none // they mostly come in order
	}
	for i := first; i != none; {
		q := &t.cells.at(i).piece
		if q.off >= end {
			break
		}
		if q.off+q.size > p.off {
			if q.same(p) || q.cutAs(p) {
				return none, duplicate
			}
			return none, verdict(Overlap)
		}
		after, i = i, q.next
	}
	switch {
	case !p.more && d.end != 0 && d.end != end:
		return none, verdict(TwoEnds)
	case !p.more && d.top > end, p.more && d.end != 0 && end > d.end:
		return none, verdict(BeyondEnd)
	case int(d.count) >= t.limits.MaxFragments:
		return none, verdict(TooMany)
	}
	return after, fits
}

// same reports whether two pieces are copies of one fragment.
func (p *piece) same(o *piece) bool {
	return p.off == o.off && p.size == o.size && p.more == o.more && p.kept == o.kept && p.sum == o.sum
}

// cutAs reports whether two pieces may be copies of one fragment that the snap
// lengths of two interfaces cut to different lengths.
func (p *piece) cutAs(o *piece) bool {
	return p.off == o.off && p.size == o.size && p.more == o.more && p.kept != o.kept
}

// remembers reports whether p is a copy of a fragment of a complete datagram.
func (t *Table) remembers(d *datagram, p *piece) bool {
	for i := d.head; i != none; {
		q := &t.cells.at(i).piece
		if q.same(p) {
			return true
		}
		i = q.next
	}
	return false
}
