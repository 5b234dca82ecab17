// Package call makes calls out of SIP messages: the table of the calls that
// one shard owns, and the state machine of a call.
//
// A call is everything under one Call-ID from its INVITE until it is over. The
// table is driven by explicit clocks: messages in the order of (Clock, Seq),
// and Advance for the time between them. It starts nothing, reads no system
// clock, and is not safe for concurrent use.
//
// What becomes of a call is a function of its own messages and their clocks.
// Nothing depends on which other calls share the table, but that a full table
// gives up a call, which is counted.
//
// # The life of a call
//
// An INVITE begins it (or, where the capture began later, any message that can
// only belong to a call). Messages move it from state to state; a state that
// lasts too long ends it. Then Closed is called: no message will change it any
// more, and the owner collects its media streams and their digits, hands them
// over with AddStream and AddDigits, and takes the record from Finish, which
// frees the slot.
//
// # Hops
//
// A proxy path may be captured on several hops, so that one message is seen
// several times. A message seen again on the same hop (addresses, branch, tags,
// CSeq, RSeq and body are equal) is a retransmission: it is counted and changes
// nothing else. The same message on another hop (same method or status, CSeq
// and tags) is a copy: it may name other media endpoints, but counts once.
//
// # Mirrors of one direction
//
// Some mirror ports deliver one direction only. A call is taken to come from
// such a one (record.OneDirection) if no host both sent and received messages of
// it, and one of them implies another that was not seen: see oneDirection. Then
// nothing is said of media that is missing.
package call

import (
	"bytes"
	"hash/maphash"
	"slices"

	"ringside/dataplane/frame"
	"ringside/flow/record"
	"ringside/flow/sdp"
	"ringside/flow/sip"
)

// Ref names a call in its table: its slot and the slot's generation. 0 is no
// call.
type Ref uint64

// Meta is where and when a message was seen.
type Meta struct {
	Time, Clock int64  // as in frame.Frame
	Seq         uint64 // as in frame.Frame
	Src, Dst    frame.Endpoint
	Transport   record.Transport
	Tunnel      record.Tunnel
	VLAN        int32 // -1: untagged
	DSCP        uint8
	Cut         bool // the snap length cut the message
}

// Options of a Table. The callbacks may be nil. They are called in the order
// of the clocks that they carry, and must not call the table.
type Options struct {
	Limits
	Sensor uint16 // goes into the records

	// Taking says that a call, which may be a new one, is about to take the
	// message that Message was called with.
	Taking func(ref Ref)
	// Publish says that SDP named an endpoint at this clock; the same one
	// again is harmless. m is borrowed.
	Publish func(ref Ref, m *Media, clock int64)
	// Ending says that the call was hung up or failed: what it named is not
	// its own any more from this clock on. A failed call may be tried again;
	// Publish is then called anew.
	Ending func(ref Ref, clock int64)
	// Closed says that the call is over as of clock. Finish must follow.
	Closed func(ref Ref, clock int64)
	// Probe asks whether media still flows, and is asked of an established call
	// that was silent for too long. Without a MediaAlive that says so the call
	// is closed at clock + ProbeWait; the table must not be driven that far
	// before the answer is in, not by one Advance either.
	Probe func(ref Ref, clock int64)
}

// Table holds the calls that one shard owns.
type Table struct {
	options Options
	seed    maphash.Seed

	byID   map[uint64]*call // open calls by hash of the Call-ID
	slots  []*call
	free   []*call // whose slots are not in use
	timers timers
	births uint64
	late   lateIDs

	stalest, freshest *call // ends of the list of open calls by last activity

	stats   Stats
	session sdp.Session // the one being read
	media   Media       // the one being published
	line    []byte      // its codecs as text
}

// NewTable makes an empty table.
func NewTable(o Options) *Table {
	o.Limits = o.Limits.withDefaults()
	return &Table{
		options: o,
		seed:    maphash.MakeSeed(),
		byID:    make(map[uint64]*call),
		late:    lateIDs{until: make(map[uint64]int64), limit: o.MaxCalls},
	}
}

// Message takes the next message. m is borrowed during the call. Timers that
// run out before meta.Clock fire first; one that runs out at that clock is
// moved by the message.
//
// It reports whether the message was of a call, be it one that is over, or that
// the full table refused. What is of none (REGISTER, OPTIONS, MESSAGE, … outside
// of calls) is counted and left to others.
func (t *Table) Message(m *sip.Message, meta *Meta) bool {
	t.Advance(meta.Clock - 1)
	t.stats.count(m)
	id := m.Get(m.CallID)
	h := t.hash(id)
	c := t.find(h, id)
	k := t.keys(m, meta)
	if c != nil && c.isOver() && begins(m) == fromStart && !c.knows(&k) {
		t.close(c, meta.Clock, record.EndUnknown)
		c = nil
	}
	if c == nil {
		outside := t.stats.Outside
		if c = t.open(h, id, m, meta, &k); c == nil {
			return t.stats.Outside == outside
		}
	} else {
		t.touch(c)
	}
	t.stats.InCalls++
	if t.options.Taking != nil {
		t.options.Taking(c.ref())
	}
	t.take(c, m, meta, &k)
	return true
}

// Advance fires every timer with a deadline at or before clock, in the order
// of deadlines, and of creation where they are equal. It says that no message
// with such a clock will follow.
func (t *Table) Advance(clock int64) {
	for c := t.timers.due(clock); c != nil; c = t.timers.due(clock) {
		at := c.deadline
		if c.phase == established && !c.probing && t.options.Probe != nil {
			c.probing = true
			t.timers.set(c, at+ProbeWait)
			t.stats.Probes++
			t.options.Probe(c.ref(), at)
			continue
		}
		t.close(c, at, record.EndTimeout)
	}
}

// MediaAlive answers Probe: the clock of the last media packet of the call. If
// that came after the time of the state began, the time begins anew with it.
// The answer counts up to the clock of the question.
func (t *Table) MediaAlive(ref Ref, last int64) {
	c := t.call(ref)
	if c == nil || c.phase != established || !c.probing || last <= c.since {
		return
	}
	c.probing, c.doubtful = false, false
	c.since = min(last, c.deadline-ProbeWait)
	t.timers.set(c, max(c.since+t.patience(c), c.deadline))
}

// CloseAll ends the capture: timers up to clock fire, and what is still open is
// closed in the order in which it began.
func (t *Table) CloseAll(clock int64) {
	t.Advance(clock)
	open := make([]*call, len(t.timers))
	for i := range t.timers {
		open[i] = t.timers[i].call
	}
	slices.SortFunc(open, func(a, b *call) int { return int(int64(a.birth - b.birth)) })
	for _, c := range open {
		t.close(c, clock, record.EndOfCapture)
	}
}

// Open is the number of calls that are not over.
func (t *Table) Open() int { return len(t.timers) }

// Stats is a snapshot of the counters.
func (t *Table) Stats() Stats {
	s := t.stats
	s.Open = uint64(len(t.timers))
	s.Unfinished = s.Closed - s.Finished
	return s
}

// find is the open call of a Call-ID.
func (t *Table) find(h uint64, id []byte) *call {
	id = id[:min(len(id), maxCallID)]
	for c := t.byID[h]; c != nil; c = c.next {
		if bytes.Equal(c.get(c.callID), id) {
			return c
		}
	}
	return nil
}

// call is the call that ref names, open or closed, or nil.
func (t *Table) call(ref Ref) *call {
	slot := uint64(uint32(ref)) - 1
	if slot >= uint64(len(t.slots)) {
		return nil
	}
	if c := t.slots[slot]; c.generation == uint32(ref>>32) && c.phase != unused {
		return c
	}
	return nil
}

// How a message of an unknown call can begin one.
const (
	fromNowhere = iota // it cannot
	fromStart          // INVITE
	fromMiddle         // the capture, or the mirror port, missed the beginning
)

func begins(m *sip.Message) int {
	if m.Response {
		switch m.Method {
		case sip.INVITE:
			return fromMiddle
		case sip.BYE, sip.PRACK, sip.UPDATE, sip.CANCEL:
			if m.Status != 481 { // else there is no call, as the responder says
				return fromMiddle
			}
		}
		return fromNowhere
	}
	switch m.Method {
	case sip.INVITE:
		if m.To.Tag.IsZero() {
			return fromStart
		}
		return fromMiddle
	case sip.ACK, sip.BYE, sip.PRACK, sip.UPDATE, sip.INFO:
		if !m.To.Tag.IsZero() {
			return fromMiddle
		}
	case sip.CANCEL:
		return fromMiddle
	}
	return fromNowhere
}

// open makes the call that a message begins, or counts why there is none.
func (t *Table) open(h uint64, id []byte, m *sip.Message, meta *Meta, k *keys) *call {
	how := begins(m)
	switch {
	case how != fromStart && t.late.has(h, meta.Clock):
		t.stats.Stray++
		return nil
	case how == fromNowhere:
		t.stats.Outside++
		return nil
	case len(t.timers) < t.options.MaxCalls:
	case how == fromMiddle:
		t.stats.Refused++
		return nil
	default:
		t.stats.Evicted++
		t.close(t.stalest, meta.Clock, record.EndEvicted)
	}
	c := t.slot()
	c.birth = t.births
	t.births++
	c.hash = h
	c.callID = c.keepMax(id, maxCallID)
	c.next = t.byID[h]
	t.byID[h] = c
	t.late.forget(h)
	c.begin(m, meta, k, how)
	t.timers.add(c, meta.Clock)
	t.link(c)
	t.stats.Created++
	if how == fromMiddle {
		t.stats.MidCall++
	}
	return c
}

// slot is an unused call.
func (t *Table) slot() *call {
	if n := len(t.free); n > 0 {
		c := t.free[n-1]
		t.free = t.free[:n-1]
		return c
	}
	c := &call{slot: uint32(len(t.slots))}
	t.slots = append(t.slots, c)
	return c
}

// close ends a call. What its state says of the reason comes before cause.
func (t *Table) close(c *call, clock int64, cause record.EndReason) {
	c.reason = c.endReason(cause)
	c.phase = closed
	t.timers.remove(c)
	t.unlink(c)
	t.unhash(c)
	t.late.add(c.hash, clock, int64(t.options.Linger))
	t.stats.Closed++
	if t.options.Closed != nil {
		t.options.Closed(c.ref(), clock)
	}
}

func (t *Table) unhash(c *call) {
	if first := t.byID[c.hash]; first == c {
		if c.next == nil {
			delete(t.byID, c.hash)
		} else {
			t.byID[c.hash] = c.next
		}
	} else {
		for first.next != c {
			first = first.next
		}
		first.next = c.next
	}
	c.next = nil
}

// link puts a call at the fresh end of the list by activity.
func (t *Table) link(c *call) {
	c.staler, c.fresher = t.freshest, nil
	if t.freshest != nil {
		t.freshest.fresher = c
	} else {
		t.stalest = c
	}
	t.freshest = c
}

func (t *Table) unlink(c *call) {
	if c.staler != nil {
		c.staler.fresher = c.fresher
	} else {
		t.stalest = c.fresher
	}
	if c.fresher != nil {
		c.fresher.staler = c.staler
	} else {
		t.freshest = c.staler
	}
	c.staler, c.fresher = nil, nil
}

func (t *Table) touch(c *call) {
	if t.freshest != c {
		t.unlink(c)
		t.link(c)
	}
}

// lateIDs remembers the Call-IDs of calls that are over, by their hashes.
type lateIDs struct {
	until map[uint64]int64 // last clock at which a message is late
	queue []lateID         // in order; the first `gone` are forgotten
	gone  int
	limit int
}

type lateID struct {
	hash  uint64
	until int64
}

func (l *lateIDs) has(h uint64, clock int64) bool {
	until, ok := l.until[h]
	return ok && clock <= until
}

func (l *lateIDs) forget(h uint64) { delete(l.until, h) }

func (l *lateIDs) add(h uint64, clock, linger int64) {
	for l.gone < len(l.queue) && (l.queue[l.gone].until < clock || len(l.queue)-l.gone >= l.limit) {
		if e := l.queue[l.gone]; l.until[e.hash] == e.until {
			delete(l.until, e.hash)
		}
		l.gone++
	}
	if l.gone > len(l.queue)/2 {
		l.queue = l.queue[:copy(l.queue, l.queue[l.gone:])]
		l.gone = 0
	}
	l.until[h] = clock + linger
	l.queue = append(l.queue, lateID{h, clock + linger})
}
