package flow

import (
	"sync"
	"sync/atomic"

	"ringside/dataplane/frame"
	"ringside/flow/record"
	"ringside/flow/rtp"
	"ringside/flow/sdp"
)

// directory is the media directory: which call receives media at a transport
// address, as SDP said. The shards that own calls write it, all shards read
// it, without a lock, when they see a new stream.
//
// What a reader sees is a matter of clock and not of moment: every entry holds
// the clocks from which and until which it stands, and look-ups name a clock.
// A shard asks about a clock only after all signalling up to it was read
// (Shard.settled), so the answer does not depend on who was faster.
type directory struct {
	buckets []bucket // length is a power of two
	entries atomic.Int64
	tell    func(b *bucket, at frame.Endpoint, clock int64) // if set, is told of every change, with the bucket locked
}

type bucket struct {
	head atomic.Pointer[endpoint]
	mu   sync.Mutex // writers only
}

const forever = int64(1<<63 - 1)

// endpoint is an entry of the directory. All but the atomic fields is constant
// once it is published.
type endpoint struct {
	at       frame.Endpoint
	key      callKey
	from     int64         // clock of the message that named it
	seq      uint64        // position of that message, orders entries of equal clock
	id       uint64        // hash of its Call-ID, orders those of messages that came in one segment
	until    atomic.Int64  // clock at which the call was hung up: what is new later is not its own
	replaced atomic.Int64  // clock from which another entry of the call stands in its place
	over     *atomic.Int64 // clock at which the call was closed, and its streams reported: one of all its entries
	next     atomic.Pointer[endpoint]
	plan     *plan // what the rules want of the call; nil where nothing is recorded
	payloads [sdp.MaxFormats]rtp.Payload
	n        uint8
	epoch    uint16      // of the offer that named it
	side     record.Side // who receives here
	kind     sdp.Kind
	srtp     bool
	guessed  bool // no SDP says so: the address that the message came from, with the port of its SDP
}

// instead reports whether e says of its address what o says of it.
func (e *endpoint) instead(o *endpoint) bool {
	return e.at == o.at && e.side == o.side && e.kind == o.kind
}

// repeats reports whether e says nothing but what o says.
func (e *endpoint) repeats(o *endpoint) bool {
	return e.instead(o) && e.srtp == o.srtp && e.guessed == o.guessed && e.n == o.n && e.payloads == o.payloads &&
		o.until.Load() == forever
}

func newDirectory(bits int) *directory {
	return &directory{buckets: make([]bucket, 1<<bits)}
}

func (d *directory) bucket(at frame.Endpoint) *bucket {
	return &d.buckets[at.Hash()>>32&uint64(len(d.buckets)-1)]
}

// publish adds e.
func (d *directory) publish(e *endpoint) {
	e.until.Store(forever)
	e.replaced.Store(forever)
	b := d.bucket(e.at)
	b.mu.Lock()
	e.next.Store(b.head.Load())
	b.head.Store(e)
	if d.tell != nil {
		d.tell(b, e.at, e.from)
	}
	b.mu.Unlock()
	d.entries.Add(1)
}

// remove takes e out. Readers that stand on it still find their way on.
func (d *directory) remove(e *endpoint) {
	b := d.bucket(e.at)
	b.mu.Lock()
	defer b.mu.Unlock()
	at := &b.head
	for {
		x := at.Load()
		if x == nil {
			return
		}
		if x == e {
			at.Store(e.next.Load())
			d.entries.Add(-1)
			if d.tell != nil {
				d.tell(b, e.at, e.replaced.Load())
			}
			return
		}
		at = &x.next
	}
}

// maxBindings is how many calls a stream may belong to: the legs of a back-to-
// back agent that leaves media alone name the same addresses.
const maxBindings = 2

// match is the answer of a look-up: the newest entries of different calls,
// newest first.
type match struct {
	e [maxBindings]*endpoint
	n int
}

// find looks for the calls that receive at a transport address at a clock: those
// whose SDP says so, and those that are guessed to.
func (d *directory) find(at frame.Endpoint, clock int64) (named, guessed match) {
	for e := d.bucket(at).head.Load(); e != nil; e = e.next.Load() {
		if e.at == at && e.stands(clock) && clock <= e.until.Load() {
			if e.guessed {
				guessed.insert(e)
			} else {
				named.insert(e)
			}
		}
	}
	return named, guessed
}

// findBoth looks for the calls whose SDP names both ends of a stream.
func (d *directory) findBoth(from, to frame.Endpoint, clock int64) (m match) {
	for e := d.bucket(to).head.Load(); e != nil; e = e.next.Load() {
		if e.at == to && !e.guessed && e.stands(clock) && clock <= e.until.Load() && d.names(from, e.key, clock) {
			m.insert(e)
		}
	}
	return m
}

func (m *match) has(key callKey) bool {
	for _, e := range m.e[:m.n] {
		if e.key == key {
			return true
		}
	}
	return false
}

// leave takes out the calls that were closed before clock.
func (m *match) leave(clock int64) {
	n := 0
	for _, e := range m.e[:m.n] {
		if e.over.Load() >= clock {
			m.e[n] = e
			n++
		}
	}
	m.n = n
}

// insert keeps the newest entry of a call, and the newest calls.
func (m *match) insert(e *endpoint) {
	for i := range m.n {
		if m.e[i].key == e.key {
			if m.e[i].newer(e) {
				return
			}
			copy(m.e[i:], m.e[i+1:m.n])
			m.n--
			break
		}
	}
	i := m.n
	for i > 0 && e.newer(m.e[i-1]) {
		i--
	}
	if i == maxBindings {
		return
	}
	if m.n < maxBindings {
		m.n++
	}
	copy(m.e[i+1:m.n], m.e[i:])
	m.e[i] = e
}

// stands reports whether e is what its call says of the address at a clock. That
// the call was hung up changes nothing.
func (e *endpoint) stands(clock int64) bool { return e.from <= clock && clock < e.replaced.Load() }

func (e *endpoint) newer(o *endpoint) bool {
	if e.from != o.from {
		return e.from > o.from
	}
	return e.seq > o.seq || e.seq == o.seq && e.id > o.id
}

// reuseWindow is for how long after a call a transport address of its media
// is not quite free: late packets of the call may still come.
const reuseWindow = int64(30e9)

// reused reports whether another call that ended shortly before clock had
// received at this address.
func (d *directory) reused(at frame.Endpoint, key callKey, clock int64) bool {
	for e := d.bucket(at).head.Load(); e != nil; e = e.next.Load() {
		if e.at == at && e.key != key && e.stands(clock) {
			if until := e.until.Load(); until <= clock && clock-until < reuseWindow {
				return true
			}
		}
	}
	return false
}

// names reports whether the SDP of a call names an address at a clock.
func (d *directory) names(at frame.Endpoint, key callKey, clock int64) bool {
	for e := d.bucket(at).head.Load(); e != nil; e = e.next.Load() {
		if e.at == at && e.key == key && !e.guessed && e.stands(clock) {
			return true
		}
	}
	return false
}

// epoch is the number of the offer that first named an address in a call, as it
// stands at a clock; 0 if none did.
func (d *directory) epoch(at frame.Endpoint, key callKey, clock int64) (epoch uint16) {
	var last *endpoint
	for e := d.bucket(at).head.Load(); e != nil; e = e.next.Load() {
		if e.at == at && e.key == key && e.stands(clock) && (last == nil || e.newer(last)) {
			epoch, last = e.epoch, e
		}
	}
	return epoch
}

// payload is what the SDP of a call says at a clock of a payload type at an
// address. Several media may share it (BUNDLE, RFC 9143).
func (d *directory) payload(at frame.Endpoint, key callKey, clock int64, pt uint8) (p rtp.Payload, ok bool) {
	var last *endpoint
	for e := d.bucket(at).head.Load(); e != nil; e = e.next.Load() {
		if e.at != at || e.key != key || !e.stands(clock) || last != nil && !e.newer(last) {
			continue
		}
		for _, o := range e.payloads[:e.n] {
			if o.Type == pt {
				p, ok, last = o, true, e
			}
		}
	}
	return p, ok
}
