package xdp

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"ringside/dataplane/frame"
)

// StateSize is the size in bytes of a stream's state as Read gives it: struct
// rs_hot and behind it struct rs_cold of bpf/include/meter.h. flow/meter
// understands it (Adopt).
const StateSize = hotSize + coldSize

// The layout of bpf/include/table.h, in bytes.
const (
	slots     = 8 // streams in a bucket
	tableKeys = 5 // words that its hash takes

	// The table begins with as many buckets, if it has them, and takes twice as many when one is full.
	levels       = 8
	wholeLevel   = 2 // the last level of all buckets; each behind it has half of those before
	firstBuckets = 512

	// Of struct rs_bucket.
	versionAt  = 0
	tagsAt     = 4
	releaseAt  = 20
	policyAt   = 52
	slotsAt    = 64
	slotSize   = 8
	entriesAt  = slotsAt + slots*slotSize
	entrySize  = 40 + hotSize
	bucketSize = 2048

	// Of struct rs_rests.
	restSize  = 256
	restsSize = slots * restSize

	hotSize  = 152
	coldSize = 248
)

// storesInOrder says that this kind of processor shows stores to others in their
// order, so that a lock may be given back by one.
const storesInOrder = runtime.GOARCH == "amd64"

// readTries is how often a stream is read until it held still. A program holds
// a bucket for a fraction of a microsecond; longer only where its CPU was taken
// away.
const readTries = 1000

// Meters is the table of streams that a program meters in the kernel, as a
// mapping that both sides see. Its methods may be called by several goroutines
// at the same time, if each stream belongs to one of them, but not after Close.
//
// The kernel throws nothing out: a slot names one stream until Release.
type Meters struct {
	mem    []byte   // the buckets
	words  []uint64 // the same memory
	halves []uint32 // the same memory
	rest   []byte   // what is not in the buckets
	rests  []uint64 // the same memory
	counts *ebpf.Map
	used   *ebpf.Variable // levels that there are streams of
	iface  uint16

	released atomic.Uint64 // slots that were given free

	mu   sync.Mutex
	next uint32   // bucket where the next Poll begins
	seen []uint32 // version of each bucket when it was last polled
	told []uint64 // generation and packets of each slot when it was last told of
}

// MeterStats says how full the table is.
type MeterStats struct {
	Slots   uint64 // streams that it has room for
	Used    uint64 // streams in it that were not released
	Begun   uint64 // streams that ever got a slot
	Refused uint64 // packets of streams that got none: eight streams share a bucket, and it was full
	Busy    uint64 // packets that were not metered because another CPU held the bucket for too long
}

// SizeTable prepares a collection with bpf/include/table.h for slots streams;
// with none nothing is metered. A bucket of eight streams refuses the ninth: with
// four times as many slots as streams it happens to 2 streams in 10,000, with
// twice as many to 1 in 100.
func SizeTable(spec *ebpf.CollectionSpec, slotsWanted int) error {
	buckets := uint32(min(max(0, slotsWanted)+slots-1, 1<<30) / slots)
	var random [8 * tableKeys]byte
	if _, err := rand.Read(random[:]); err != nil {
		return fmt.Errorf("draw the keys of the stream table: %w", err)
	}
	var keys [tableKeys]uint64
	for i := range keys {
		keys[i] = binary.LittleEndian.Uint64(random[8*i:]) | 1
	}
	for name, size := range map[string]uint32{"streams": bucketSize, "stream_rests": restsSize} {
		table := spec.Maps[name]
		if table == nil || table.ValueSize != size {
			return fmt.Errorf("size the stream table: the program has no map %s with %d bytes each: run go generate in bpf", name, size)
		}
		table.MaxEntries = max(1, buckets)
	}
	for _, v := range []struct {
		name  string
		value any
	}{{"table_buckets", buckets}, {"table_keys", keys}, {"table_ordered", storesInOrder}, {"table_home", homeLevel(buckets)}} {
		at := spec.Variables[v.name]
		if at == nil {
			return fmt.Errorf("size the stream table: the program has no variable %s: run go generate in bpf", v.name)
		}
		if err := at.Set(v.value); err != nil {
			return fmt.Errorf("set %s of the stream table: %w", v.name, err)
		}
	}
	return nil
}

// homeLevel is the level that a table of as many buckets begins with.
func homeLevel(buckets uint32) uint32 {
	level := uint32(wholeLevel)
	for level < levels-1 && bucketsAt(buckets, level+1) >= firstBuckets {
		level++
	}
	return level
}

// bucketsAt is how many of all buckets a level has.
func bucketsAt(all, level uint32) uint32 { return all >> (max(level, wholeLevel) - wholeLevel) }

// OpenMeters maps the table of a loaded program, by its maps streams, stream_rests
// and table_counters and its variable table_used, which stay the
// caller's. What it announces comes from iface.
func OpenMeters(maps map[string]*ebpf.Map, variables map[string]*ebpf.Variable, iface uint16) (*Meters, error) {
	streams, rests := maps["streams"], maps["stream_rests"]
	m := &Meters{counts: maps["table_counters"], used: variables["table_used"], iface: iface}
	n := streams.MaxEntries()
	for _, t := range []struct {
		table *ebpf.Map
		size  uint32
		mem   *[]byte
	}{{streams, bucketSize, &m.mem}, {rests, restsSize, &m.rest}} {
		if t.table.ValueSize() != t.size || t.table.MaxEntries() != n {
			return nil, errors.Join(fmt.Errorf("map the stream table: %v does not fit: run go generate in bpf, and use SizeTable", t.table), m.Close())
		}
		mem, err := unix.Mmap(t.table.FD(), 0, int(n)*int(t.size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("map the %d buckets of %v: %w", n, t.table, err), m.Close())
		}
		*t.mem = mem
	}
	m.words, m.halves = overlay(m.mem)
	m.rests, _ = overlay(m.rest)
	m.seen, m.told = make([]uint32, n), make([]uint64, n*slots)
	return m, nil
}

// Close unmaps the table.
func (m *Meters) Close() error {
	var err error
	for _, mem := range [][]byte{m.mem, m.rest} {
		if mem != nil {
			err = errors.Join(err, unix.Munmap(mem))
		}
	}
	m.mem, m.words, m.halves, m.rest, m.rests = nil, nil, nil, nil, nil
	if err != nil {
		return fmt.Errorf("unmap the stream table: %w", err)
	}
	return nil
}

// entry is a copy of what the table holds of a stream, in words: struct
// rs_entry, struct rs_rest, struct rs_slot, and the slot's release.
type entry [releaseWord + 1]uint64

// Places in an entry, words.
const (
	hotWord     = 40 / 8
	restWord    = entrySize / 8
	coldWord    = restWord
	otherWord   = coldWord + coldSize/8 // generation, VLAN, DSCP
	slotWord    = restWord + restSize/8
	releaseWord = slotWord + slotSize/8

	portsWord   = 32 / 8 // ports and SSRC
	lastWord    = hotWord + 32/8
	packetsWord = hotWord + 120/8 // upper half
	typeWord    = hotWord + 144/8 // byte 5: payload type of the last media packet
	firstWord   = coldWord
)

func (e *entry) packets() uint32 { return uint32(e[packetsWord] >> 32) }

func (e *entry) released() bool { return uint32(e[releaseWord]) == e.packets() }

// told is different for any two counts of any two streams in a slot.
func (e *entry) told() uint64 { return e[otherWord]<<32 | uint64(e.packets()) }

func (m *Meters) version(bucket uint32) *uint32 {
	return &m.halves[(int(bucket)*bucketSize+versionAt)/4]
}

func (m *Meters) release(slot uint32) *uint32 {
	return &m.halves[(int(slot/slots)*bucketSize+releaseAt)/4+int(slot%slots)]
}

// tag is 0 for a slot that was never used.
func (m *Meters) tag(slot uint32) uint16 {
	at := int(slot/slots)*bucketSize + tagsAt + 2*int(slot%slots)
	return uint16(atomic.LoadUint32(&m.halves[at/4]) >> (at % 4 * 8))
}

// copyEntry copies a slot's entry as it was at one moment. Every load is
// atomic: that keeps them in order on CPUs that would not.
func (m *Meters) copyEntry(slot uint32, to *entry) bool {
	version := m.version(slot / slots)
	bucket := int(slot/slots) * bucketSize
	key := m.words[(bucket+entriesAt+int(slot%slots)*entrySize)/8:][:entrySize/8]
	rest := m.rests[int(slot)*restSize/8:][:restSize/8]
	info := &m.words[(bucket+slotsAt)/8+int(slot%slots)]
	release := m.release(slot)
	for range readTries {
		v := atomic.LoadUint32(version)
		if v&1 != 0 {
			continue
		}
		for i := range key {
			to[i] = atomic.LoadUint64(&key[i])
		}
		for i := range rest {
			to[restWord+i] = atomic.LoadUint64(&rest[i])
		}
		to[slotWord] = atomic.LoadUint64(info)
		to[releaseWord] = uint64(atomic.LoadUint32(release))
		if atomic.LoadUint32(version) == v {
			return true
		}
	}
	return false
}

// Read copies the state of the stream in slot, and says how many packets are in
// it. It fails if the slot was released, and if the kernel does not stop writing,
// which another try mends.
func (m *Meters) Read(slot uint32, to *[StateSize]byte) (packets uint32, ok bool) {
	var e entry
	if !m.copyEntry(slot, &e) || e.released() {
		return 0, false
	}
	for i := range hotSize / 8 {
		binary.LittleEndian.PutUint64(to[8*i:], e[hotWord+i])
	}
	for i := range coldSize / 8 {
		binary.LittleEndian.PutUint64(to[hotSize+8*i:], e[coldWord+i])
	}
	return e.packets(), true
}

// Poll appends the streams that have had packets since they were last appended
// and are not released, as far as into has room for them: its capacity must be
// at least 8 more than its length. It goes round the table once at most, and
// begins where it stopped. Clock is left to the caller. A stream may have been
// released, and its slot taken anew, by the time that its owner hears of it:
// then First is not that of the state which Read gives.
func (m *Meters) Poll(into []frame.Metered) []frame.Metered {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.inUse()
	for range n {
		if cap(into)-len(into) < slots {
			break
		}
		v := atomic.LoadUint32(m.version(m.next))
		if v != m.seen[m.next] && v&1 == 0 {
			var whole bool
			if into, whole = m.pollBucket(m.next, into); whole {
				m.seen[m.next] = v
			}
		}
		if m.next++; m.next >= n {
			m.next = 0
		}
	}
	return into
}

// inUse is in how many buckets there may be streams, from the first on.
func (m *Meters) inUse() uint32 {
	var used uint32
	if m.used.Get(&used) != nil {
		return uint32(len(m.seen))
	}
	return bucketsAt(uint32(len(m.seen)), uint32(bits.TrailingZeros32(used|1<<(levels-1))))
}

// pollBucket appends the streams of one bucket, and says whether it could read
// all.
func (m *Meters) pollBucket(bucket uint32, into []frame.Metered) ([]frame.Metered, bool) {
	whole := true
	for slot := bucket * slots; slot < (bucket+1)*slots; slot++ {
		if m.tag(slot) == 0 {
			continue
		}
		var e entry
		if !m.copyEntry(slot, &e) {
			whole = false
			continue
		}
		if e.told() == m.told[slot] {
			continue
		}
		m.told[slot] = e.told()
		if !e.released() {
			into = append(into, m.metered(slot, &e))
		}
	}
	return into, whole
}

func (m *Meters) metered(slot uint32, e *entry) frame.Metered {
	addr := func(at int) frame.Addr {
		return frame.Addr{Hi: bits.ReverseBytes64(e[at]), Lo: bits.ReverseBytes64(e[at+1])}
	}
	ports, other, slotInfo := e[portsWord], e[otherWord], e[slotWord]
	return frame.Metered{
		Time: int64(e[lastWord]), First: int64(e[firstWord]),
		Src:  frame.Endpoint{Addr: addr(0), Port: bits.ReverseBytes16(uint16(ports))},
		Dst:  frame.Endpoint{Addr: addr(2), Port: bits.ReverseBytes16(uint16(ports >> 16))},
		SSRC: uint32(ports >> 32), Slot: slot, Iface: m.iface,
		VLAN: int16(other >> 32), DSCP: uint8(other >> 48), Type: uint8(e[typeWord] >> 40),
		TTL: [2]uint8{uint8(slotInfo >> 48), uint8(slotInfo >> 56)},
	}
}

// Release gives a slot free whose stream was read up to this many packets, and
// reports whether it is: not if another packet has come in between. Then the
// stream goes on, and is to be read again. Of a stream that is released, what
// comes later is another stream, with counters from zero.
func (m *Meters) Release(slot, packets uint32) bool {
	if packets == 0 {
		return false
	}
	word := m.release(slot)
	again := atomic.SwapUint32(word, packets) == packets
	// A program that takes the lock from here on sees the word. If the count
	// is still the same, or the word was taken away with the slot, it is free.
	var e entry
	for !m.copyEntry(slot, &e) {
		runtime.Gosched()
	}
	if e.packets() != packets && atomic.CompareAndSwapUint32(word, packets, 0) {
		return false
	}
	if !again {
		m.released.Add(1)
	}
	return true
}

// SetPolicy says what is to become of the packets of a stream (enum rs_policy
// in bpf/include/types.h), whatever the media map says of its addresses; 0
// leaves it to the media map. It holds until the slot is taken anew.
func (m *Meters) SetPolicy(slot uint32, policy uint8) {
	at := int(slot/slots)*bucketSize + policyAt + int(slot%slots)
	word, shift := &m.halves[at/4], at%4*8
	for {
		was := atomic.LoadUint32(word)
		if atomic.CompareAndSwapUint32(word, was, was&^(0xff<<shift)|uint32(policy)<<shift) {
			return
		}
	}
}

// tableCounts is struct table_counts of bpf/include/table.h.
type tableCounts struct{ Begun, Refused, Busy uint64 }

// Stats says how full the table is. Its counters only grow.
func (m *Meters) Stats() (MeterStats, error) {
	released := m.released.Load() // first, so that no stream is counted as released that has not begun
	var all []tableCounts
	if err := m.counts.Lookup(uint32(0), &all); err != nil {
		return MeterStats{}, fmt.Errorf("read the counters of the stream table: %w", err)
	}
	s := MeterStats{Slots: uint64(len(m.told))}
	for _, c := range all {
		s.Begun += c.Begun
		s.Refused += c.Refused
		s.Busy += c.Busy
	}
	s.Used = s.Begun - released
	return s, nil
}
