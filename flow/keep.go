package flow

import (
	"encoding/binary"
	"sync/atomic"

	"ringside/dataplane/frame"
)

// What a frame was, its signalling or media stage finds out when its batch is
// long gone. So where packets are recorded, the worker that reads keeps copies
// of the frames that may be wanted, in memory outside of the Go heap, and the
// stages behind it pass references on.
//
// The memory is divided among the workers. Each writes its part round and
// round, page by page, and nobody else writes frames there. The copies are read
// by any shard, and one that owns what a frame is part of links it to others: to
// the fragment before it, to the packet before it in its stream. A page is
// written anew when all shards have said that they will not look at frames so
// old any more (Shard.floor). That is what they have metered up to, and the time
// of the look-back before that. Where memory is short the look-back is.
type keeper struct {
	mem      []byte
	lookBack int64         // ns of clock
	squeeze  []letGo       // by worker
	short    atomic.Uint64 // times that the look-back was cut short
}

// letGo is a clock up to which a worker asks for its pages back, noClock for none.
type letGo struct {
	atomic.Int64
	_ [56]byte
}

const noClock = -end

const (
	keptUnit = 16 // bytes that a reference counts in
	keptPage = 256 << 10
	maxKept  = keptUnit << 31 // bytes that references reach; the upper half is of frames that are lent

	// noCopy is the reference to a frame of which there was no room for a copy,
	// so that whoever wants it can count it. 0 is for frames that are not kept.
	noCopy = 1

	// MinKept is the least memory of a shard for copies of frames. With less than
	// two pages it keeps none.
	MinKept = 16 * keptPage
)

// The header before each copy. Two links lead to other copies: to the frame
// before this one in the same datagram (part), and in the same stream or call
// (back). With each goes by how much older that one is, in µs rounded up.
const (
	keptTime    = 0  // int64, ns
	keptClock   = 8  // int64, ns
	keptWire    = 16 // uint32, bytes on the wire
	keptLen     = 20 // uint32, bytes that follow
	keptPart    = 24 // uint32 reference
	keptPartAge = 28 // uint32, µs
	keptBack    = 32 // uint32 reference
	keptBackAge = 36 // uint32, µs
	keptLink    = 40 // uint16
	keptIface   = 42 // uint16
	keptHead    = 44 // uint32, bytes up to the end of the header that a rule names
	keptHeader  = 48

	longest = keptPage - 128 // bytes of a copy; what is longer is cut off
)

// shelf is the part of the memory that one worker writes.
type shelf struct {
	mem   []byte
	first uint32  // reference of its first byte
	last  []int64 // greatest clock in each page
	page  int     // being written
	used  int     // pages, that one included
	at    int     // in it

	batch int    // most bytes that a batch has taken
	now   int    // bytes that this batch has taken
	lost  uint64 // frames for which there was no room
}

func (g *Group) initKeeper() {
	o := &g.options
	g.keeper = keeper{
		mem:      o.Memory[:min(len(o.Memory), maxKept)],
		lookBack: max(int64(o.Rules.LookBack()), earlyMedia),
		squeeze:  make([]letGo, o.Workers),
	}
	for i := range g.keeper.squeeze {
		g.keeper.squeeze[i].Store(noClock)
	}
}

// shelf is the part of the i-th worker.
func (k *keeper) shelf(i, workers int) shelf {
	pages := len(k.mem) / keptPage / workers
	if pages < 2 {
		return shelf{}
	}
	at := i * pages * keptPage
	s := shelf{mem: k.mem[at : at+pages*keptPage], first: uint32(at / keptUnit), last: make([]int64, pages), used: 1, batch: MinKept / 4}
	s.at = s.begin()
	return s
}

// begin is where the first copy of a page is put: the least references mean
// something else.
func (s *shelf) begin() int {
	if s.first == 0 && s.page == 0 {
		return (noCopy + 1) * keptUnit
	}
	return 0
}

// put keeps n bytes of f, of which the first head are what a rule calls headers.
// It returns a reference, noCopy if there is no room.
func (s *shelf) put(f *frame.Frame, n, head int) uint32 {
	if len(s.last) == 0 {
		s.lost++
		return noCopy
	}
	n = min(n, len(f.Data), longest)
	need := (keptHeader + n + keptUnit - 1) &^ (keptUnit - 1)
	s.now += need
	if s.at+need > keptPage && !s.turn() {
		s.lost++
		return noCopy
	}
	at := s.page*keptPage + s.at
	s.at += need
	s.last[s.page] = max(s.last[s.page], f.Clock) // fragments of a batch come before its packets
	b := s.mem[at : at+keptHeader+n]
	h := (*[keptHeader]byte)(b)
	binary.LittleEndian.PutUint64(h[keptTime:], uint64(f.Time))
	binary.LittleEndian.PutUint64(h[keptClock:], uint64(f.Clock))
	binary.LittleEndian.PutUint32(h[keptWire:], f.Len)
	binary.LittleEndian.PutUint32(h[keptLen:], uint32(n))
	binary.LittleEndian.PutUint64(h[keptPart:], 0)
	binary.LittleEndian.PutUint64(h[keptBack:], 0)
	binary.LittleEndian.PutUint16(h[keptLink:], uint16(f.Link))
	binary.LittleEndian.PutUint16(h[keptIface:], f.Iface)
	binary.LittleEndian.PutUint32(h[keptHead:], uint32(min(head, n)))
	copy(b[keptHeader:], f.Data)
	return s.first + uint32(at/keptUnit)
}

// turn goes to the next page; false if none is free.
func (s *shelf) turn() bool {
	if s.used == len(s.last) {
		return false
	}
	s.page = (s.page + 1) % len(s.last)
	s.used++
	s.at, s.last[s.page] = s.begin(), noClock
	return true
}

// free gives back pages that nobody looks at any more.
func (s *shelf) free(floor int64) {
	for s.used > 1 {
		oldest := (s.page - s.used + 1 + len(s.last)) % len(s.last)
		if s.last[oldest] >= floor {
			return
		}
		s.used--
	}
}

// room makes room for a batch as large as the largest so far, and says whether
// there is.
func (s *Shard) room() bool {
	k, h := &s.group.keeper, &s.shelf
	if len(h.last) == 0 {
		return true // there never will be
	}
	h.batch, h.now = max(h.batch, h.now), 0
	pages := min(h.batch/(keptPage/2)+2, len(h.last)-1)
	h.free(s.lowest(floorMark))
	wish := noClock
	if len(h.last)-h.used < pages {
		wish = h.last[(h.page+pages)%len(h.last)] // of the last page that must go
	}
	if k.squeeze[s.id].Load() != wish {
		k.squeeze[s.id].Store(wish)
		if wish != noClock {
			k.short.Add(1)
		}
	}
	return wish == noClock
}

func floorMark(s *Shard) *mark { return &s.floor }

// sayFloor says which copies this shard has done with, now that it has metered
// so far and handed over what it took. Where a worker has no room that is all
// that it has metered: nobody can go on reading before.
func (s *Shard) sayFloor() {
	k := &s.group.keeper
	if s.meteredTo == -end {
		return
	}
	floor := s.meteredTo - k.lookBack - ageUnit
	for i := range k.squeeze {
		if clock := k.squeeze[i].Load(); clock != noClock {
			floor = max(floor, min(clock+1, s.meteredTo))
		}
	}
	if floor > s.floor.Load() {
		s.flushTakes()
		s.floor.Store(floor)
	}
}

// kept is a copy of a frame.
type kept []byte

func (k *keeper) at(ref uint32) kept {
	at := int(ref) * keptUnit
	n := binary.LittleEndian.Uint32(k.mem[at+keptLen:])
	return k.mem[at : at+keptHeader+int(n)]
}

func (b kept) time() int64          { return int64(binary.LittleEndian.Uint64(b[keptTime:])) }
func (b kept) clock() int64         { return int64(binary.LittleEndian.Uint64(b[keptClock:])) }
func (b kept) wire() uint32         { return binary.LittleEndian.Uint32(b[keptWire:]) }
func (b kept) link() frame.LinkType { return frame.LinkType(binary.LittleEndian.Uint16(b[keptLink:])) }
func (b kept) iface() uint16        { return binary.LittleEndian.Uint16(b[keptIface:]) }
func (b kept) head() int            { return int(binary.LittleEndian.Uint32(b[keptHead:])) }
func (b kept) data() []byte         { return b[keptHeader:] }
func (b kept) whole() bool          { return binary.LittleEndian.Uint32(b[keptPart:]) == 0 }

// ageUnit is what an age counts in, ns.
const ageUnit = 1000

// follow is the copy that this one is linked to. Its clock is up to ageUnit too
// early.
func (b kept) follow(at int) (k frame.Kept) {
	k.At = binary.LittleEndian.Uint32(b[at:])
	k.Clock = b.clock() - ageUnit*int64(binary.LittleEndian.Uint32(b[at+4:]))
	return k
}

// chain links a copy to an older one, by keptPart or keptBack. One that is more
// than an hour older is given up.
func (b kept) chain(at int, to frame.Kept) {
	age := max(b.clock()-to.Clock+ageUnit-1, 0) / ageUnit
	if age > 3600e9/ageUnit {
		to.At, age = 0, 0
	}
	binary.LittleEndian.PutUint32(b[at:], to.At)
	binary.LittleEndian.PutUint32(b[at+4:], uint32(age))
}
