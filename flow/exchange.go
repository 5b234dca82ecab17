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

// cursor walks the items of a lane, chunk by chunk.
type cursor[T any] struct {
	chunk *[]T
	next  int
}

// head is the oldest item that was not walked past, nil if there is none.
func (c *cursor[T]) head(l *lane[T]) *T {
	for {
		if c.chunk != nil {
			if c.next < len(*c.chunk) {
				return &(*c.chunk)[c.next]
			}
			l.give(c.chunk)
		}
		c.next = 0
		if c.chunk = l.take(); c.chunk == nil {
			return nil
		}
	}
}

// signal is one SIP message on its way to the shard that owns its call. The
// message's Buf is the item's own bytes.
type signal struct {
	msg   sip.Message
	meta  call.Meta
	bytes []byte
}

// sample is what the media stage needs of one RTP packet, or of one statement
// of RTCP about a stream, on its way to the shard that meters the stream. The
// packet's bytes are not needed any more. It holds no pointer.
type sample struct {
	key   flowKey
	hash  uint64 // of key
	time  int64  // arrival, ns
	clock int64
	ts    uint32 // RTP timestamp; middle of the NTP time (sender); jitter (block)
	len   uint32 // payload octets; packets sent (sender); LSR (block)
	dlsr  uint32 // of a block
	lost  int32  // of a block: cumulative
	seq   uint16
	pt    uint8 // payload type; fraction lost (block)
	kind  sampleKind
	ttl   uint8
	dscp  uint8
	vlan  int16 // -1: untagged
}

type sampleKind uint8

const (
	sampleRTP    sampleKind = iota
	sampleMarked            // RTP with the marker bit
	sampleSender            // sender information of an SR
	sampleBlock             // report block of an SR or RR
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
)

// report is what a metering shard answers.
type report struct {
	ref    call.Ref
	stream *measured // a stream of the call, or only what RTCP said of one; nil for other answers
	reuse  bool      // answer to orderReuse: it had
	last   int64     // answer to orderProbe: clock of the last media packet
}
