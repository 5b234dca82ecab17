package spool

import (
	"slices"
	"sync/atomic"

	"ringside/dataplane/frame"
	"ringside/writer/pcap"
)

// Tape is the place of one recording, of one call in one class. It holds no
// pointers and belongs to whoever holds the call; the zero value is ready. A
// tape that is simply forgotten costs nothing: its last chunk is written when
// it is old.
type Tape struct {
	page  int32 // of the chunk being filled, counted from 1; 0 for none
	gen   uint32
	order uint8 // of the last chunk
}

// chunkInterfaces is how many interfaces one chunk can hold.
const chunkInterfaces = 4

// chunk is what is known of a chunk in the arena, beside its bytes, which are a
// pcapng section from its first packet on.
type chunk struct {
	born        int64 // clock of the first packet
	first, last int64 // least and greatest time
	len         uint32
	packets     uint32
	next, prev  int32  // by age, in the shard that fills it
	key         uint64 // hash of the key of the call
	class       Class
	order       uint8
	ifaces      uint8
	iface       [chunkInterfaces]uint32 // link type << 16 | index, in the order of the section
}

// Counts are packets and their captured bytes.
type Counts struct{ Packets, Bytes uint64 }

type counter struct{ packets, bytes atomic.Uint64 }

func (c *counter) add(packets, bytes uint64) { c.packets.Add(packets); c.bytes.Add(bytes) }
func (c *counter) get() Counts               { return Counts{c.packets.Load(), c.bytes.Load()} }

// Shard takes the packets of one shard. It belongs to one goroutine, never
// waits and allocates nothing.
type Shard struct {
	spool  *Spool
	writer *writer

	asks    chan *ask
	filling atomic.Int32 // chunks

	oldest int64 // clock at which the oldest chunk was begun; never if there is none
	head   int32 // chunks being filled by age
	tail   int32
	gen    uint32
	gens   []uint32 // of the chunks that this shard fills, by page; 0 for all others
}

const never = 1<<63 - 1

// Put stores a packet of the call that key names. Clock says in which minute,
// and when older chunks are due. The packet's bytes are copied; its Comment is
// not stored, since the section carries the key, and its Iface is changed. Put
// returns false, and counts, if there is no memory.
func (s *Shard) Put(t *Tape, c Class, key string, clock int64, link frame.LinkType, p *pcap.Packet) bool {
	if len(s.asks) > 0 {
		s.answer()
	}
	if clock-s.oldest >= int64(s.spool.opts.ChunkAge) && s.oldest != never {
		s.Tick(clock)
	}
	p.Comment = nil
	if room := maxChunk - 1024 - 4*maxInterface; len(p.Data) > room { // what a chunk cannot hold
		p.Len = max(p.Len, uint32(len(p.Data)))
		p.Data = p.Data[:room]
		s.spool.cut.Add(1)
	}
	page := s.page(t)
	if page != none {
		k := &s.spool.arena.chunks[page]
		if k.class == c && clock/minute == k.born/minute && s.add(page, k, link, p) {
			return true
		}
		if k.order < maxOrder {
			t.order = k.order + 1 // it was filled before it was old
		}
		s.seal(page)
	}
	if page = s.begin(t, c, key, clock, p); page == none {
		s.spool.refused[c].add(1, uint64(len(p.Data)))
		return false
	}
	s.add(page, &s.spool.arena.chunks[page], link, p)
	return true
}

// Fetch asks for the memory that Put will need for a tape, and does not wait: the
// cache misses of many packets overlap, if it is called for them first.
func (s *Shard) Fetch(t *Tape) {
	if page := s.page(t); page != none {
		at := int(page)*pageBytes + int(s.spool.arena.chunks[page].len)
		prefetch(&s.spool.arena.mem[min(at, len(s.spool.arena.mem)-1)])
	}
}

// End writes what the tape holds; the call is over.
func (s *Shard) End(t *Tape) {
	if page := s.page(t); page != none {
		s.seal(page)
	}
	*t = Tape{}
}

// Drop gives up what the tape holds and was not handed to the writer yet.
func (s *Shard) Drop(t *Tape) {
	if page := s.page(t); page != none {
		k := &s.spool.arena.chunks[page]
		s.unlink(page)
		s.spool.dropped[k.class].add(uint64(k.packets), uint64(k.len))
		s.spool.arena.put(page, k.order)
	}
	*t = Tape{}
}

// Tick writes the chunks that are due at this clock, and those that a Fetch
// waits for. Put does so too: Tick is for quiet times.
func (s *Shard) Tick(clock int64) {
	if len(s.asks) > 0 {
		s.answer()
	}
	for s.head != none && clock-s.spool.arena.chunks[s.head].born >= int64(s.spool.opts.ChunkAge) {
		s.seal(s.head)
	}
}

// Flush writes all chunks, so that they can be fetched.
func (s *Shard) Flush() {
	for s.head != none {
		s.seal(s.head)
	}
}

// ask is what a fetch wants of a shard: that it writes what it holds of some
// calls.
type ask struct {
	keys []uint64 // sorted
	done chan struct{}
}

// answer writes the chunks that are asked for. It runs through all that the
// shard fills, some tens of nanoseconds for each.
func (s *Shard) answer() {
	for {
		select {
		case a := <-s.asks:
			for page := s.head; page != none; {
				k := &s.spool.arena.chunks[page]
				next := k.next
				if _, found := slices.BinarySearch(a.keys, k.key); found {
					s.seal(page)
				}
				page = next
			}
			close(a.done)
		default:
			return
		}
	}
}

// page is the chunk that the tape fills.
func (s *Shard) page(t *Tape) int32 {
	if t.page == 0 || s.gens[t.page-1] != t.gen {
		return none
	}
	return t.page - 1
}

// index is the number of an interface in the section, or -1.
func (k *chunk) index(iface uint16, link frame.LinkType) int {
	want := uint32(link)<<16 | uint32(iface)
	for i := range int(k.ifaces) {
		if k.iface[i] == want {
			return i
		}
	}
	return -1
}

// begin takes a chunk for the tape. Where memory is short chunks are small, and
// RTP leaves the last eighth to signalling.
func (s *Shard) begin(t *Tape, c Class, key string, clock int64, p *pcap.Packet) int32 {
	a := s.spool.arena
	if len(key) > maxKey {
		key = keyOf(key)
	}
	section := s.spool.opts.Section
	section.Comment = key
	need := sectionRoom(&section) + maxInterface + pcap.PacketSize(p)
	order := min(t.order, s.spool.largest())
	for pageBytes<<order < need {
		order++
	}
	spare := 0
	if c == RTP {
		spare = a.pages() / 8
	}
	page := a.get(order, spare)
	for page == none && order > 0 && pageBytes<<(order-1) >= need {
		order--
		page = a.get(order, spare)
	}
	if page == none {
		return none
	}
	buf := pcap.AppendSection(a.buf(page, order)[:0], &section)
	s.gen = max(s.gen+1, 1)
	s.gens[page] = s.gen
	a.chunks[page] = chunk{
		born: clock, first: p.Time, last: p.Time, len: uint32(len(buf)), class: c, order: order,
		key: hash(key), prev: s.tail, next: none,
	}
	if s.tail == none {
		s.head, s.oldest = page, clock
	} else {
		a.chunks[s.tail].next = page
	}
	s.tail = page
	s.filling.Add(1)
	*t = Tape{page: page + 1, gen: s.gen, order: order}
	return page
}

// maxInterface is the room that an interface is given in a chunk.
const maxInterface = 128

// sectionRoom bounds what AppendSection adds.
func sectionRoom(s *pcap.Section) int {
	return 28 + 4*8 + len(s.Comment) + len(s.Hardware) + len(s.OS) + len(s.App)
}

// add appends a packet to a chunk, and its interface where that is new to it. It
// returns false if there is no room.
func (s *Shard) add(page int32, k *chunk, link frame.LinkType, p *pcap.Packet) bool {
	room, i := pageBytes<<k.order, k.index(p.Iface, link)
	buf := s.spool.arena.buf(page, k.order)[:k.len]
	if i < 0 {
		i = int(k.ifaces)
		if i == chunkInterfaces || len(buf)+maxInterface+pcap.PacketSize(p) > room {
			return false
		}
		k.iface[i] = uint32(link)<<16 | uint32(p.Iface)
		k.ifaces++
		buf = pcap.AppendInterface(buf, &pcap.Interface{Name: s.spool.interfaceName(p.Iface), Link: link})
	} else if len(buf)+pcap.PacketSize(p) > room {
		return false
	}
	p.Iface = uint16(i)
	k.len = uint32(len(pcap.AppendPacket(buf, p)))
	k.packets++
	k.first, k.last = min(k.first, p.Time), max(k.last, p.Time)
	return true
}

// seal hands a chunk to the writer. The queue has room for all chunks there
// can be.
func (s *Shard) seal(page int32) {
	k := &s.spool.arena.chunks[page]
	s.unlink(page)
	pcap.SetLength(s.spool.arena.buf(page, k.order)[:k.len])
	s.writer.waiting.Add(int64(k.len))
	s.writer.in <- page
}

func (s *Shard) unlink(page int32) {
	chunks := s.spool.arena.chunks
	k := &chunks[page]
	s.gens[page] = 0
	s.filling.Add(-1)
	if k.prev == none {
		s.head = k.next
	} else {
		chunks[k.prev].next = k.next
	}
	if k.next == none {
		s.tail = k.prev
	} else {
		chunks[k.next].prev = k.prev
	}
	s.oldest = never
	if s.head != none {
		s.oldest = chunks[s.head].born
	}
}
