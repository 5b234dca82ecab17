package flow

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math/bits"
	"slices"
	"time"

	"ringside/dataplane/frame"
)

// A mirror port that copies what comes in and what goes out delivers every
// packet that it forwards twice. The copies have the same addresses,
// identification and contents; link layer, VLAN, time to live and checksum may
// differ. A retransmission has another identification, or where a host sends 0
// for all (RFC 6864), comes later than shortWindow.
//
// Copies are found by a 64-bit hash of what they have in common, within a window
// of the clock; the first one stays. The network may duplicate packets too, and
// that cannot be told from a mirror's copy: so by default nothing is taken away
// until an interface is seen to deliver a good part of its packets twice.

// Dedup says when the second copies of packets are taken away.
type Dedup uint8

// Ways to deal with copies.
const (
	DedupOff  Dedup = iota
	DedupAuto       // of an interface that is seen to deliver copies
	DedupOn
)

const (
	defaultWindow = 10 * time.Millisecond
	shortWindow   = 50 * time.Millisecond // for packets without an identification
)

// The stages that look for copies. Each has a table, as their clocks differ.
const (
	onceSignals = iota
	onceSegments
	onceSamples
	numOnce
)

// duplicates remembers the packets of the last moments.
type duplicates struct {
	buckets []onceBucket // length is a power of two
	spilled []onceBucket // what buckets had no room for: one for four of them
	window  int64        // ns of clock
	short   int64
	pairs   PathPairs
	touched uint64 // of no meaning; keeps loads that fetch lines ahead
	full    uint64 // packets that gave way to others while they could still have had a copy
	limit   int    // of buckets
}

// The table begins small, to stay in the cache where there is little to remember,
// and grows before a packet gives way that may still have a copy: as soon as one
// bucket has to hold more than it can, with a packet for each two on the average.
const (
	onceFirst = 512     // buckets, of 64 bytes, and 16 for what they spill
	onceMost  = 1 << 16 // at most, for each 10 ms of the window: three million packets a second
	onceEver  = 1 << 20 // at most: 80 MiB
)

// onceBucket is one line of the cache. What was put last is first.
type onceBucket [4]onceEntry

type onceEntry struct {
	tag  uint64
	seen uint64 // tick of the clock when it was seen, VLAN and TTL; 0: unused
}

// A tick is 1,024 ns of the clock. 40 bits of them last for 13 days.
const (
	onceShift = 10
	onceTicks = 1<<40 - 1
)

func onceSeen(clock int64, p Path) uint64 {
	return uint64(clock>>onceShift)&onceTicks<<24 | uint64(uint16(p.VLAN))<<8 | uint64(p.TTL)
}

// age is how many ticks before a clock the packet was seen.
func (e *onceEntry) age(clock int64) int64 {
	return int64((uint64(clock>>onceShift) - e.seen>>24) & onceTicks)
}

func (e *onceEntry) path() Path { return Path{int16(e.seen >> 8), uint8(e.seen)} }

// Path is what a packet has in common with others of its observation point.
type Path struct {
	VLAN int16 `json:"vlan"` // -1: untagged
	TTL  uint8 `json:"ttl"`
}

// String is the path in words: "VLAN 7 TTL 63", "TTL 64".
func (p Path) String() string {
	if p.VLAN < 0 {
		return fmt.Sprintf("TTL %d", p.TTL)
	}
	return fmt.Sprintf("VLAN %d TTL %d", p.VLAN, p.TTL)
}

// PathPairs counts copies by the paths of both, the first 64 pairs by name.
type PathPairs struct {
	Rows [64]PathPair
	More uint64
}

// sort puts the rows in order, the most frequent first.
func (t *PathPairs) sort() {
	slices.SortFunc(t.Rows[:], func(a, b PathPair) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), a.First.compare(b.First), a.Second.compare(b.Second))
	})
}

func (p Path) compare(o Path) int {
	return cmp.Or(cmp.Compare(p.VLAN, o.VLAN), cmp.Compare(p.TTL, o.TTL))
}

// PathPair is how often a packet on First came again on Second.
type PathPair struct {
	First, Second Path
	Count         uint64
}

func (t *PathPairs) add(first, second Path, n uint64) {
	for i := range t.Rows {
		r := &t.Rows[i]
		if r.Count == 0 {
			r.First, r.Second = first, second
		}
		if r.First == first && r.Second == second {
			r.Count += n
			return
		}
	}
	t.More += n
}

func (t *PathPairs) merge(o *PathPairs) {
	for _, r := range o.Rows {
		if r.Count > 0 {
			t.add(r.First, r.Second, r.Count)
		}
	}
	t.More += o.More
}

func (d *duplicates) init(window time.Duration) {
	d.window = int64(cmp.Or(window, defaultWindow))
	d.short = min(d.window, int64(shortWindow))
	d.limit = min(onceEver, onceMost<<min(20, bits.Len64(uint64(d.window-1)/uint64(defaultWindow))))
}

// seen reports whether a packet with this tag came within the window, and on
// which path, and remembers it if not. hasID says whether its header identifies it.
func (d *duplicates) seen(tag uint64, clock int64, hasID bool, path Path) (first Path, again bool) {
	b := d.bucket(tag)
	window := d.window
	if !hasID {
		window = d.short
	}
	if b[0].tag == tag || b[1].tag == tag || b[2].tag == tag || b[3].tag == tag {
		if e := b.find(tag, clock, window); e != nil {
			return e.path(), true
		}
	}
	// What was spilled is older than all in the bucket: where one of these is too
	// old, so is that.
	if last := &b[3]; last.seen != 0 && last.age(clock) <= d.window>>onceShift {
		if e := d.spill(tag).find(tag, clock, window); e != nil {
			return e.path(), true
		}
		b = d.room(tag, clock)
	}
	b.put(onceEntry{tag, onceSeen(clock, path)})
	return path, false
}

// find is the entry of a tag that was seen within a window, or nil.
func (b *onceBucket) find(tag uint64, clock, window int64) *onceEntry {
	for i := range b {
		if e := &b[i]; e.tag == tag && e.age(clock) <= window>>onceShift {
			return e
		}
	}
	return nil
}

// put puts an entry before the others; the last one gives way.
func (b *onceBucket) put(e onceEntry) {
	b[3] = b[2]
	b[2] = b[1]
	b[1] = b[0]
	b[0] = e
}

// room makes room in the bucket of a tag, in which all may still have copies.
func (d *duplicates) room(tag uint64, clock int64) *onceBucket {
	for {
		b := d.bucket(tag)
		last := &d.spill(tag)[3]
		if last.seen == 0 || last.age(clock) > d.window>>onceShift {
			d.spill(tag).put(b[3])
			return b
		}
		if len(d.buckets) >= d.limit {
			d.full++
			return b
		}
		d.grow()
		if b = d.bucket(tag); b[3].seen == 0 {
			return b
		}
	}
}

// grow doubles the table. What is remembered is put again in the order in which it
// was put.
func (d *duplicates) grow() {
	old, spilled := d.buckets, d.spilled
	d.make(2 * len(old))
	for _, buckets := range [][]onceBucket{spilled, old} {
		for i := range buckets {
			for j := len(onceBucket{}) - 1; j >= 0; j-- {
				if e := buckets[i][j]; e.seen != 0 {
					b := d.bucket(e.tag)
					if b[3].seen != 0 {
						d.spill(e.tag).put(b[3])
					}
					b.put(e)
				}
			}
		}
	}
}

func (d *duplicates) make(n int) {
	d.buckets, d.spilled = make([]onceBucket, n), make([]onceBucket, n/4)
}

// bucket is where a tag is kept. The first call takes the memory.
func (d *duplicates) bucket(tag uint64) *onceBucket {
	if d.buckets == nil {
		d.make(onceFirst)
	}
	return &d.buckets[tag>>20&uint64(len(d.buckets)-1)]
}

// spill is where a tag is kept that its bucket had no room for.
func (d *duplicates) spill(tag uint64) *onceBucket {
	return &d.spilled[tag>>20&uint64(len(d.buckets)-1)>>2]
}

// once is the tag of a sample: all that is kept of the packet. Of RTP, lost is where
// its header ends in the frame, which differs from copy to copy where tags do.
func (m *sample) once() uint64 {
	lost := uint64(uint32(m.lost))
	if m.kind <= sampleMarked || m.kind == sampleCopy {
		lost = 0
	}
	h := fold(m.hash^uint64(m.id)<<48, uint64(m.ts)<<32|uint64(m.len))
	h = fold(h^uint64(m.dlsr), lost<<32|uint64(m.seq)<<16|uint64(m.pt)<<8|uint64(m.kind))
	return h | 1
}

// onceMessage is the tag of a datagram: addresses, identification and payload.
func onceMessage(p *frame.Packet) uint64 {
	h := fold(p.Src.Hash(), p.Dst.Hash()+uint64(p.ID))
	return hashBytes(h^uint64(p.Loop)<<32, p.Payload) | 1
}

// onceSegment is the tag of a segment.
func onceSegment(p *frame.Packet) uint64 {
	h := fold(p.Src.Hash(), p.Dst.Hash()+uint64(p.ID))
	h = fold(h^uint64(p.SeqNo), uint64(p.AckNo)<<8|uint64(p.Control))
	return hashBytes(h^uint64(p.Loop)<<32, p.Payload) | 1
}

const (
	foldA = 0xa0761d6478bd642f
	foldB = 0xe7037ed1a0b428db
)

// fold mixes two words into one by a product of 128 bits.
func fold(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a^foldA, b^foldB)
	return hi ^ lo
}

// hashBytes is a hash of b that begins with h, 16 bytes a step.
func hashBytes(h uint64, b []byte) uint64 {
	h ^= uint64(len(b)) * foldA
	for len(b) >= 16 {
		h = fold(binary.LittleEndian.Uint64(b)^h, binary.LittleEndian.Uint64(b[8:]))
		b = b[16:]
	}
	var rest [16]byte
	copy(rest[:], b)
	return fold(binary.LittleEndian.Uint64(rest[:])^h, binary.LittleEndian.Uint64(rest[8:]))
}

// again reports whether a packet is the second copy of one, and is to be taken
// away: not where its interface is no mirror. What is taken away is counted by
// the paths of both.
func (s *Shard) again(stage int, tag uint64, clock int64, iface, id uint16, path Path, counts bool) bool {
	d := &s.once[stage]
	first, again := d.seen(tag, clock, id != 0, path)
	if !again || !s.group.mirrors.removes(iface, clock) {
		return false
	}
	if counts {
		d.pairs.add(first, path, 1)
	}
	return true
}

func (s *Shard) duplicateSignal(m *signal, counts bool) bool {
	if m.once == 0 || !s.group.mirrors.watches(m.meta.Clock) {
		return false
	}
	return s.again(onceSignals, m.once^uint64(m.to)<<1, m.meta.Clock, m.iface, m.id, Path{int16(m.meta.VLAN), m.ttl}, counts)
}

func (s *Shard) duplicateSegment(g *segment) bool {
	p := &g.p
	return s.group.mirrors.watches(p.Clock) &&
		s.again(onceSegments, onceSegment(p), p.Clock, p.Iface, p.ID, pathOf(p), true)
}

func (s *Shard) duplicateSample(m *sample, tag uint64) bool {
	return s.again(onceSamples, tag, m.clock, m.iface, m.id, Path{m.vlan, m.ttl}, true)
}

func pathOf(p *frame.Packet) Path {
	if p.Flags&frame.FlagVLAN != 0 {
		return Path{int16(p.VLAN), p.TTL}
	}
	return Path{-1, p.TTL}
}

// countDuplicate counts a sample that is taken away.
func (s *Shard) countDuplicate(m *sample) {
	switch {
	case m.kind <= sampleMarked:
		s.stats.RTPDuplicates++
	case m.kind != sampleCarry:
		s.stats.RTCPDuplicates++
	}
}
