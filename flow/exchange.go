package flow

import (
	"sync"
	"sync/atomic"

	"ringside/dataplane/frame"
	"ringside/flow/call"
	"ringside/flow/sip"
)

// ring is a bounded queue between one producer and one consumer. What it
// carries are chunks of many items, so its cost is per batch, not per packet.
//
// The producer owns tail and reads head, the consumer owns head and reads
// tail. An element is published by the store to tail, and its slot is given
// back by the store to head; Go's atomics are sequentially consistent
// (https://go.dev/ref/mem), so nothing else is needed.
type ring[T any] struct {
	buf  []T // length is a power of two
	_    [40]byte
	head atomic.Uint64 // next to pop
	_    [56]byte
	tail atomic.Uint64 // next to push
	_    [56]byte
}

const ringSlots = 256

func newRing[T any](slots int) *ring[T] { return &ring[T]{buf: make([]T, slots)} }

// push hands v over; false if the ring is full.
func (r *ring[T]) push(v T) bool {
	t := r.tail.Load()
	if t-r.head.Load() == uint64(len(r.buf)) {
		return false
	}
	r.buf[t&uint64(len(r.buf)-1)] = v
	r.tail.Store(t + 1)
	return true
}

// pop takes the oldest element.
func (r *ring[T]) pop() (v T, ok bool) {
	h := r.head.Load()
	if h == r.tail.Load() {
		return v, false
	}
	i := h & uint64(len(r.buf)-1)
	v = r.buf[i]
	var none T
	r.buf[i] = none
	r.head.Store(h + 1)
	return v, true
}

// lane carries items of one kind from one shard to another in chunks. The
// sending side fills the open chunk and flushes it; the receiving side takes
// whole chunks and gives them back.
type lane[T any] struct {
	ring *ring[*[]T]
	open *[]T
	pool *sync.Pool
}

func newLane[T any](pool *sync.Pool, slots int) *lane[T] {
	return &lane[T]{ring: newRing[*[]T](slots), pool: pool}
}

func chunkPool[T any]() *sync.Pool {
	return &sync.Pool{New: func() any { c := make([]T, 0, 64); return &c }}
}

// add returns the next free item of the open chunk, to be filled by the
// caller at once. It holds what an earlier use left in it.
func (l *lane[T]) add() *T {
	if l.open == nil {
		l.open = l.pool.Get().(*[]T)
	}
	c := *l.open
	if len(c) < cap(c) {
		c = c[:len(c)+1]
	} else {
		var none T
		c = append(c, none)
	}
	*l.open = c
	return &c[len(c)-1]
}

// flush hands the open chunk over; false if there is no room yet.
func (l *lane[T]) flush() bool {
	if l.open == nil || len(*l.open) == 0 {
		return true
	}
	if !l.ring.push(l.open) {
		return false
	}
	l.open = nil
	return true
}

// flushAll flushes lanes; false if there is no room in one of them yet.
func flushAll[T any](lanes []*lane[T]) bool {
	all := true
	for _, l := range lanes {
		all = l.flush() && all
	}
	return all
}

// take returns the oldest chunk, nil if there is none.
func (l *lane[T]) take() *[]T {
	c, _ := l.ring.pop()
	return c
}

// give takes a chunk back after use. Items keep their buffers for reuse.
func (l *lane[T]) give(c *[]T) {
	*c = (*c)[:0]
	l.pool.Put(c)
}

// inlet is the receiving end of a lane: it walks the items, chunk by chunk.
type inlet[T any] struct {
	lane  *lane[T]
	chunk *[]T
	next  int
}

// head is the oldest item that was not walked past, nil if there is none.
func (in *inlet[T]) head() *T {
	for {
		if in.chunk != nil {
			if in.next < len(*in.chunk) {
				return &(*in.chunk)[in.next]
			}
			in.lane.give(in.chunk)
		}
		in.next = 0
		if in.chunk = in.lane.take(); in.chunk == nil {
			return nil
		}
	}
}

// place is where an item stands in the order of the capture.
type place struct {
	clock int64
	seq   uint64
}

func (p place) before(o place) bool {
	return p.clock < o.clock || p.clock == o.clock && p.seq < o.seq
}

// oldest is the inlet whose first item stands before those of all others, and
// at a clock before limit; nil if there is none. Each lane is in order.
func oldest[T any](in []inlet[T], limit int64, at func(*T) place) (from *inlet[T]) {
	var first place
	for i := range in {
		item := in[i].head()
		if item == nil {
			continue
		}
		if p := at(item); p.clock < limit && (from == nil || p.before(first)) {
			from, first = &in[i], p
		}
	}
	return from
}

// outlet is what one stage of a shard hands to the shards, one lane for each.
type outlet struct {
	frames    bool // its packets are frames of a source, as they were read
	fragments []*lane[fragment]
	segments  []*lane[segment]
	signals   []*lane[signal]
	samples   []*lane[sample]
}

// flush hands over what has gathered; false if there is no room for some of it.
func (o *outlet) flush() bool {
	fragments, segments := flushAll(o.fragments), flushAll(o.segments)
	signals, samples := flushAll(o.signals), flushAll(o.samples)
	return fragments && segments && signals && samples
}

// first is the clock of the oldest item that has not been handed over.
func (o *outlet) first() int64 {
	clock := end
	for i := range o.signals {
		clock = min(clock, firstOf(o.fragments[i], (*fragment).place), firstOf(o.segments[i], (*segment).place),
			firstOf(o.signals[i], (*signal).place), firstOf(o.samples[i], (*sample).place))
	}
	return clock
}

func firstOf[T any](l *lane[T], at func(*T) place) int64 {
	if l.open == nil || len(*l.open) == 0 {
		return end
	}
	return at(&(*l.open)[0]).clock
}

// The stages that have an outlet, in order. What one of them hands on has gone
// through all those before it.
const (
	fromFrames    = iota // frames were decoded
	fromFragments        // fragments became packets
	fromStreams          // segments became messages
	numOutlets           // from here on: frames of a further source were decoded
)

// fragment is an IP fragment on its way to the shard that puts it together
// with its like. Its data are the item's own.
type fragment struct {
	f      frame.Fragment
	tunnel frame.Tunnel
	bytes  []byte
}

func (f *fragment) place() place { return place{f.f.Clock, f.f.Seq} }

// segment is a TCP segment, or a packet of SCTP, on its way to the shard that
// owns its flow. The payload is the item's own.
type segment struct {
	p      frame.Packet
	tunnel frame.Tunnel
	bytes  []byte
}

func (p *segment) place() place { return place{p.p.Clock, p.p.Seq} }

// signal is one SIP message on its way to the shard that owns its call, or its
// registration. The message's Buf is the item's own bytes.
type signal struct {
	msg   sip.Message
	meta  call.Meta
	bytes []byte
	once  uint64 // hash of the datagram, to find its duplicate; 0: came on a stream
	id    uint16 // identification of its IP header
	iface uint16
	pass  uint16 // as frame.Frame.Loop
	ttl   uint8
	to    addressee
	kept  []frame.Kept // the frames it came in, as far as copies are kept; the item's own

	reason sip.Reason // why it was not understood
}

func (m *signal) place() place { return place{m.meta.Clock, m.meta.Seq} }

// addressee says which table of the owner a message is for.
type addressee uint8

const (
	toCall     addressee = iota // the call of its Call-ID, or if there is none what else goes by Call-ID
	toRegister                  // the owner of its registration or its pair of addresses
	toNobody                    // it was not understood; whoever gets it says so
)

// sample is what the media stage needs of one RTP packet, or of one statement
// of RTCP about a stream, on its way to the shard that meters the stream. The
// packet's bytes are not needed any more. It holds no pointer.
type sample struct {
	key   flowKey
	hash  uint64 // of key
	time  int64  // arrival, ns; of an XR block the beginning of it
	clock int64
	ts    uint32 // RTP timestamp; middle of the NTP time (sender); jitter (block)
	len   uint32 // payload octets; packets sent (sender); LSR (block)
	dlsr  uint32 // of a block; of RTP the first 4 octets of the payload
	lost  int32  // of a block: cumulative; of RTP bytes up to the end of its header in a frame that is lent
	seq   uint16
	pt    uint8 // payload type; fraction lost (block)
	kind  sampleKind
	ttl   uint8
	dscp  uint8
	vlan  int16  // -1: untagged
	id    uint16 // identification of the IP header
	iface uint16
	kept  uint32 // copy of its frame, or the frame itself (lend.go), in the first sample of a packet; else 0
}

func (m *sample) place() place { return place{clock: m.clock} }

type sampleKind uint8

const (
	sampleRTP    sampleKind = iota
	sampleMarked            // RTP with the marker bit
	sampleSender            // sender information of an SR
	sampleBlock             // report block of an SR or RR
	sampleXR                // VoIP metrics of an XR
	sampleCarry             // RTCP that says nothing of a stream, and may be recorded
	sampleCopy              // RTP that a meter in the kernel has counted
	sampleMeter             // news of a stream that a meter in the kernel counts: its slot is dlsr, the arrival of its first packet time
)

// callKey names a call among all shards.
type callKey struct {
	ref   call.Ref
	owner uint16
}

// order is what the owner of a call asks of the shards that meter its media,
// as of a clock.
type order struct {
	kind  orderKind
	key   callKey
	at    frame.Endpoint // of orderReuse
	clock int64
}

type orderKind uint8

const (
	orderCollect orderKind = iota // report the streams of the call, and let them go
	orderProbe                    // say when its media last flowed
	orderReuse                    // say whether at had belonged to another call shortly before
	orderRecall                   // record what is held of the media of the call, as a rule wants now
)

// report is what a metering shard answers.
type report struct {
	ref    call.Ref
	stream *measured // a stream of the call, or only what RTCP said of one; nil for other answers
	reuse  bool      // answer to orderReuse: it had
	last   int64     // answer to orderProbe: clock of the last media packet
	tape   *tape     // what was recorded of the media of the call
}
