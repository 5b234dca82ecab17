package flow

import (
	"ringside/dataplane/frame"
	"ringside/flow/meter"
	"ringside/flow/record"
	"ringside/flow/rtp"
)

// flowKey names a stream: addresses and ports in the direction of its packets,
// and its SSRC. RTCP about a stream is kept under the same direction, so where
// RTP and RTCP share a port they meet in one entry.
type flowKey struct {
	src, dst     frame.Addr
	sport, dport uint16
	ssrc         uint32
}

func (k *flowKey) from() frame.Endpoint { return frame.Endpoint{Addr: k.src, Port: k.sport} }
func (k *flowKey) to() frame.Endpoint   { return frame.Endpoint{Addr: k.dst, Port: k.dport} }

// equal is k == o, word by word: the compiler would call a function for it.
func (k *flowKey) equal(o *flowKey) bool {
	return k.ssrc == o.ssrc && k.sport == o.sport && k.dport == o.dport &&
		k.src.Lo == o.src.Lo && k.dst.Lo == o.dst.Lo && k.src.Hi == o.src.Hi && k.dst.Hi == o.dst.Hi
}

func (k *flowKey) hash() uint64 {
	const a, b = 0x9e3779b97f4a7c15, 0xbb67ae8584caa73b
	h := (k.src.Hi^k.dst.Lo)*a ^ (k.dst.Hi+k.src.Lo)*b
	h ^= uint64(k.ssrc)<<32 | uint64(k.sport)<<16 | uint64(k.dport)
	h ^= h >> 29
	h *= a
	return h ^ h>>32
}

// stream is what every packet of a stream touches. It holds no pointer.
type stream struct {
	key   flowKey
	rate  uint32 // RTP clock of the current payload type, Hz; 0: not known
	tick  uint32 // when the last packet came, in ticks of the clock
	pt    uint8  // current payload type
	class meter.Class
	flags uint8
	ttl   [2]uint8 // least and greatest
	hot   meter.Hot
}

// Flags of a stream.
const (
	streamBound uint8 = 1 << iota // belongs to a call
	streamRTP                     // has RTP packets (else RTCP only)
	streamLate                    // bound after its first packet: its SDP came later
	streamSRTP
	streamKernel // is metered in the kernel
	streamMissed // and packets came that its meter could not count
)

// streamCold is the rest of a stream, by the same index.
type streamCold struct {
	meter meter.Cold
	rtcp  rtcpState

	bind [maxBindings]binding

	payloads [4]rtp.Payload // meanings of the payload types seen, the last ones
	dscp     uint8          // of the first packet
	vlan     int16          // of the first packet, -1: untagged
	shared   bool           // belongs, or belonged, to two calls
	wait     int64          // ticks between looks for the call of a stream without one
	nextTick uint32         // next in its list of the wheel
	slot     uint32         // of the kernel's meter, plus one; 0: none
	counted  uint32         // packets that the kernel's meter had counted when it was read last
	highest  uint32         // its extended sequence number then
	missed   uint32         // second of the clock in which packets were lost last
}

// binding ties a stream to a call.
type binding struct {
	key   callKey
	next  uint32 // next stream of the call
	epoch uint16 // of the offer that named its address
	from  record.Side
}

const (
	streamChunk = 512
	noStream    = ^uint32(0)
)

// streams is the table of one shard: an open-addressed index of hash tags over
// entries that stay where they are.
type streams struct {
	index []slot // length is a power of two, at most half full
	hot   [][]stream
	cold  [][]streamCold
	held  [][]heldStream // if holds
	holds bool           // packets are recorded
	free  []uint32
	used  int
	calls int // of these, bound to a call
	limit int

	ofCall map[callKey]uint32 // first stream of each call
	wheel  wheel
}

// slot holds the upper half of a key's hash, and the entry's number plus one.
type slot struct{ tag, ref uint32 }

func newStreams(limit int) *streams {
	t := &streams{index: make([]slot, 1024), limit: limit, ofCall: make(map[callKey]uint32)}
	t.wheel.init()
	return t
}

func (t *streams) at(i uint32) *stream {
	return &t.hot[i/streamChunk][i%streamChunk]
}

func (t *streams) coldAt(i uint32) *streamCold {
	return &t.cold[i/streamChunk][i%streamChunk]
}

func (t *streams) heldAt(i uint32) *heldStream {
	return &t.held[i/streamChunk][i%streamChunk]
}

// heldBinding is what entry i needs to be recorded for a call, which it must have.
func (t *streams) heldBinding(i uint32, key callKey) (*heldStream, *heldBinding) {
	c, h := t.coldAt(i), t.heldAt(i)
	for n := range c.bind {
		if c.bind[n].key == key {
			return h, &h.bind[n]
		}
	}
	return nil, nil
}

// find returns the number of a key's entry, or noStream.
func (t *streams) find(k *flowKey, h uint64) uint32 {
	mask := uint64(len(t.index) - 1)
	for i := h & mask; ; i = (i + 1) & mask {
		s := t.index[i]
		if s.ref == 0 {
			return noStream
		}
		if s.tag == uint32(h>>32) && t.at(s.ref-1).key.equal(k) {
			return s.ref - 1
		}
	}
}

// add makes an entry, zero but for its key; noStream if there is no room.
func (t *streams) add(k *flowKey, h uint64, bound bool) uint32 {
	if t.used >= t.limit || !bound && t.used-t.calls >= t.limit-t.limit/4 {
		return noStream
	}
	if 2*(t.used+1) > len(t.index) {
		t.grow()
	}
	var i uint32
	if n := len(t.free); n > 0 {
		i = t.free[n-1]
		t.free = t.free[:n-1]
	} else {
		i = uint32(t.used)
		if i%streamChunk == 0 {
			t.hot = append(t.hot, make([]stream, streamChunk))
			t.cold = append(t.cold, make([]streamCold, streamChunk))
			if t.holds {
				t.held = append(t.held, make([]heldStream, streamChunk))
			}
		}
	}
	t.used++
	t.insert(slot{uint32(h >> 32), i + 1}, h)
	*t.at(i) = stream{key: *k}
	*t.coldAt(i) = streamCold{}
	if t.holds {
		*t.heldAt(i) = heldStream{}
	}
	return i
}

func (t *streams) insert(s slot, h uint64) {
	mask := uint64(len(t.index) - 1)
	i := h & mask
	for t.index[i].ref != 0 {
		i = (i + 1) & mask
	}
	t.index[i] = s
}

func (t *streams) grow() {
	old := t.index
	t.index = make([]slot, 2*len(old))
	for _, s := range old {
		if s.ref != 0 {
			t.insert(s, t.at(s.ref-1).key.hash())
		}
	}
}

// remove frees an entry. It must be out of every list.
func (t *streams) remove(i uint32) {
	mask := uint64(len(t.index) - 1)
	at := t.at(i).key.hash() & mask
	for t.index[at].ref != i+1 {
		at = (at + 1) & mask
	}
	// Move back what the gap would hide (Knuth, TAOCP 6.4 algorithm R).
	for j := (at + 1) & mask; t.index[j].ref != 0; j = (j + 1) & mask {
		home := t.at(t.index[j].ref-1).key.hash() & mask
		if (j-home)&mask >= (j-at)&mask {
			t.index[at] = t.index[j]
			at = j
		}
	}
	t.index[at] = slot{}
	t.free = append(t.free, i)
	t.used--
}

// bind ties entry i to a call, which is recorded on a tape (0: it is not).
func (t *streams) bind(i uint32, key callKey, from record.Side, epoch uint16, tape uint32) {
	c := t.coldAt(i)
	for n := range c.bind {
		b := &c.bind[n]
		if b.key.ref != 0 {
			c.shared = true
			continue
		}
		head, ok := t.ofCall[key]
		if !ok {
			head = noStream
		}
		*b = binding{key: key, next: head, from: from, epoch: epoch}
		if t.holds {
			t.heldAt(i).bind[n] = heldBinding{tape: tape}
		}
		t.ofCall[key] = i
		if e := t.at(i); e.flags&streamBound == 0 {
			e.flags |= streamBound
			t.calls++
		}
		return
	}
}

// binding is the one of entry c to a call; c must have it.
func (c *streamCold) binding(key callKey) *binding {
	for n := range c.bind {
		if c.bind[n].key == key {
			return &c.bind[n]
		}
	}
	return nil
}

// bindings is how many calls are left.
func (c *streamCold) bindings() (n int) {
	for i := range c.bind {
		if c.bind[i].key.ref != 0 {
			n++
		}
	}
	return n
}

// unbound reports whether no call is left.
func (c *streamCold) unbound() bool { return c.bindings() == 0 }

// The wheel holds the streams without a call: each is looked at when its tick
// comes, to find its call or to let it go. A tick is 2^27 ns (134 ms) of the
// clock; deadlines are whole ticks, so what happens at one does not depend on
// how far a shard's clock jumps.
const (
	tickShift  = 27
	wheelSlots = 512 // 69 s, more than any deadline is ahead
)

type wheel struct {
	slots [wheelSlots]uint32 // first entry
	now   int64              // ticks before this one are done
	count int
}

func (w *wheel) init() {
	for i := range w.slots {
		w.slots[i] = noStream
	}
}

// schedule puts entry i into the list of a tick that is still to come.
func (t *streams) schedule(i uint32, tick int64) {
	w := &t.wheel
	tick = min(max(tick, w.now), w.now+wheelSlots-1)
	s := &w.slots[tick%wheelSlots]
	t.coldAt(i).nextTick = *s
	*s = i
	w.count++
}

// expire calls look for every entry whose tick is over at the clock: its tick
// lies wholly at or before it.
func (t *streams) expire(clock int64, look func(i uint32, tick int64)) {
	w := &t.wheel
	last := clock >> tickShift // this tick is not over yet
	for w.now < last {
		if w.count == 0 {
			w.now = last
			return
		}
		s := &w.slots[w.now%wheelSlots]
		i := *s
		*s = noStream
		w.now++
		for i != noStream {
			next := t.coldAt(i).nextTick
			w.count--
			look(i, w.now)
			i = next
		}
	}
}

// drain takes every entry out of the wheel.
func (t *streams) drain(f func(i uint32)) {
	w := &t.wheel
	for n := range w.slots {
		for i := w.slots[n]; i != noStream; {
			next := t.coldAt(i).nextTick
			f(i)
			i = next
		}
		w.slots[n] = noStream
	}
	w.count = 0
}
