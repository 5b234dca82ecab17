// Package sctp puts user messages together from SCTP packets (RFC 9260), for
// SIP over SCTP (RFC 4168) and whatever else travels so.
//
// A Table takes packets in the order of their clocks and gives each user message
// with the packet that completes it: whole in one DATA chunk, or in several with
// consecutive TSNs from the one with the B bit to the one with the E bit; in
// I-DATA chunks (RFC 8260) by message and fragment number. Chunks may come out
// of order, and messages are given as they become complete: order between
// messages is the business of whoever needs it.
//
// # Directions
//
// The two directions of an association have nothing in common but their
// endpoints, so each is an entry of its own, by source, destination and pass of
// a looped capture. It begins with INIT, INIT ACK, or the first DATA chunk that
// is seen (a capture that starts in the middle). A TSN that was seen before is a
// retransmission, or a copy from the mirror port, and is not given again; far
// outside of the window of the last TSNs begins another association.
//
// # Loss
//
// A message with a hole waits until the hole can no longer be filled: the peer
// has acknowledged it (SACK), the sender has abandoned it (FORWARD TSN), the
// association is over, or Limits.Hole has passed. Then its chunks are given up.
package sctp

import (
	"encoding/binary"
	"math/rand/v2"
	"time"

	"ringside/dataplane/frame"
)

// Limits bound a table in memory and time. A field that is 0 stands for its
// default.
type Limits struct {
	MaxDirections     int           // two for an association; default 16,384
	MaxBytes          int           // memory of chunks that wait, in cells; default 16 MiB
	MaxDirectionBytes int           // of one direction; default 256 KiB
	MaxChunks         int           // that wait in one direction; default 256
	Hole              time.Duration // for how long a chunk waits for the rest of its message; default 60 s
	Idle              time.Duration // for how long a direction is silent before it is forgotten; default 1 h
}

func (l Limits) withDefaults() Limits {
	set := func(v *int, def int) {
		if *v <= 0 {
			*v = def
		}
	}
	set(&l.MaxDirections, 16<<10)
	set(&l.MaxBytes, 16<<20)
	set(&l.MaxDirectionBytes, 256<<10)
	set(&l.MaxChunks, 256)
	if l.Hole <= 0 {
		l.Hole = 60 * time.Second
	}
	if l.Idle <= 0 {
		l.Idle = time.Hour
	}
	return l
}

const (
	// linger is for how long (ns of clock) the TSNs of an association that is
	// over are remembered: late copies of its packets are no new one.
	linger = 60_000_000_000
	// grace is how much later (ns of clock) than its acknowledgment a chunk may
	// come: the two directions of a mirror port are not in step.
	grace = 1_000_000_000
)

// Message is a user message. Data and Frames are valid until emit returns.
type Message struct {
	Data   []byte
	Len    uint32 // bytes on the wire; more than len(Data) if Cut
	PPID   uint32 // payload protocol identifier
	First  int64  // clock of the chunk that came first
	Src    frame.Endpoint
	Dst    frame.Endpoint
	Chunks uint32       // that it was made of
	Frames []frame.Kept // that they came in, as far as copies are kept, by their clocks
	Stream uint16       // stream identifier
	Cut    bool         // the snap length cut a chunk: Data ends there
}

// Table puts messages together. It must not be used by two goroutines at a
// time, and that includes Stats.
type Table struct {
	limits   Limits
	maxCells int
	maxOwn   int // cells of one direction

	directions slab[direction]
	cells      slab[cell]
	byKey      []uint32 // first direction of each bucket
	seed       uint64   // keeps strangers from choosing buckets; results do not depend on it
	lists      [numLists]list
	oldest     uint32 // piece that has waited for longest
	newest     uint32
	buf        []byte       // the message given last
	frames     []frame.Kept // that it came in
	message    Message
	stats      Stats
}

// New makes an empty table.
func New(l Limits) *Table {
	l = l.withDefaults()
	buckets := 64
	for buckets < l.MaxDirections {
		buckets *= 2
	}
	t := &Table{
		limits: l, maxCells: max(1, l.MaxBytes/cellSize), maxOwn: max(1, l.MaxDirectionBytes/cellSize),
		byKey: make([]uint32, buckets), seed: rand.Uint64(), oldest: none, newest: none,
	}
	for i := range t.byKey {
		t.byKey[i] = none
	}
	for i := range t.lists {
		t.lists[i] = list{none, none}
	}
	return t
}

// Chunk types (RFC 9260 section 3.2; I-DATA: RFC 8260; FORWARD TSN: RFC 3758).
const (
	typeData             = 0
	typeInit             = 1
	typeInitAck          = 2
	typeSack             = 3
	typeAbort            = 6
	typeShutdownComplete = 14
	typeIData            = 64
	typeForwardTSN       = 192
)

// Chunk lengths in bytes, with the 4 of the chunk header.
const (
	chunkLen      = 4
	dataLen       = 16
	iDataLen      = 20
	initLen       = 20
	sackLen       = 16
	forwardTSNLen = 8
)

// Packet takes the next packet in the order of the clocks, and calls emit for
// each message that it completes. Payload begins behind the common header. emit
// must not call the table.
func (t *Table) Packet(p *frame.Packet, emit func(m *Message)) {
	t.stats.Packets++
	t.Expire(p.Clock)
	k := key{src: p.Src, dst: p.Dst, loop: p.Loop}
	bucket := t.bucketOf(&k)
	at := packet{Packet: p, key: &k, bucket: bucket, direction: t.find(&k, bucket)}
	if at.direction != none {
		t.touch(at.direction, p.Clock)
	}
	rest := p.Payload
	wire := max(int(p.Len), len(rest)) // bytes of rest on the wire
	for wire >= chunkLen {
		if len(rest) < chunkLen {
			t.stats.Truncated++
			break
		}
		length := int(binary.BigEndian.Uint16(rest[2:]))
		if length < chunkLen || length > wire {
			t.stats.Malformed++
			break
		}
		t.chunk(&at, rest[:min(length, len(rest))], length, emit)
		next := min((length+3)&^3, wire)
		wire -= next
		rest = rest[min(next, len(rest)):]
	}
	t.settle(&at)
}

// packet is what the chunks of one packet have in common.
type packet struct {
	*frame.Packet
	key       *key
	bucket    uint32
	direction uint32 // none until there is one

	acked, abandoned       uint32 // cumulative TSNs of SACK and FORWARD TSN, if
	hasAcked, hasAbandoned bool
	over                   bool // ABORT or SHUTDOWN COMPLETE
}

// chunk takes one chunk: its captured bytes, and its length on the wire.
func (t *Table) chunk(at *packet, b []byte, length int, emit func(m *Message)) {
	kind := b[0]
	t.stats.Chunks[kindOf(kind)]++
	least := 0
	switch kind {
	case typeData:
		least = dataLen
	case typeIData:
		least = iDataLen
	case typeInit, typeInitAck:
		least = initLen
	case typeSack:
		least = sackLen
	case typeForwardTSN:
		least = forwardTSNLen
	}
	if length < least || len(b) < least {
		switch {
		case kind != typeData && kind != typeIData:
			t.stats.Unread++
		case length < least:
			t.stats.Short++
		default:
			t.stats.HeaderCut++
		}
		return
	}
	switch kind {
	case typeData, typeIData:
		t.data(at, b, uint32(length-least), emit)
	case typeInit, typeInitAck:
		t.begin(at, binary.BigEndian.Uint32(b[4:]), binary.BigEndian.Uint32(b[16:]))
	case typeSack:
		at.acked, at.hasAcked = binary.BigEndian.Uint32(b[4:]), true
	case typeForwardTSN:
		at.abandoned, at.hasAbandoned = binary.BigEndian.Uint32(b[4:]), true
	case typeAbort, typeShutdownComplete:
		at.over = true
	}
}

// data takes a DATA or I-DATA chunk with size bytes of a user message.
func (t *Table) data(at *packet, b []byte, size uint32, emit func(m *Message)) {
	if size == 0 {
		t.stats.Empty++
		return
	}
	tsn := binary.BigEndian.Uint32(b[4:])
	p := piece{
		clock: at.Clock, tsn: tsn, seq: tsn, size: size, ppid: binary.BigEndian.Uint32(b[12:]),
		stream: binary.BigEndian.Uint16(b[8:]), begin: b[1]&2 != 0, end: b[1]&1 != 0, frame: at.Kept,
	}
	body := b[dataLen:]
	if b[0] == typeIData {
		body = b[iDataLen:]
		unordered := uint64(b[1]&4) << 60 // it counts messages apart (RFC 8260 section 2.1)
		message, last := p.ppid, binary.BigEndian.Uint32(b[16:])
		p.group = 1<<63 | unordered | uint64(p.stream)<<32 | uint64(message)
		if p.begin { // the first fragment has the PPID where the others have their number
			p.seq, p.ppid = 0, last
		} else {
			p.seq, p.ppid = last, 0
		}
	}
	p.kept = uint32(len(body))
	if at.direction == none {
		at.direction = t.add(at)
	}
	if !t.fresh(at.direction, tsn, at.Clock) {
		t.stats.Retransmitted++
		return
	}
	if p.begin && p.end {
		t.stats.Delivered++
		t.frames = t.frames[:0]
		t.cameIn(at.Clock, at.Kept)
		t.emit(at, &p, body, 1, size, at.Clock, emit)
		return
	}
	i := t.store(at.direction, &p, body)
	if i == none {
		return
	}
	if first := t.complete(i); first != none {
		t.gather(at, first, emit)
	}
}

// emit gives a message.
func (t *Table) emit(at *packet, p *piece, data []byte, chunks, size uint32, first int64, emit func(m *Message)) {
	t.stats.Messages++
	cut := uint32(len(data)) < size
	if cut {
		t.stats.Cut++
	}
	t.message = Message{
		Data: data, Len: size, PPID: p.ppid, First: first, Src: at.Src, Dst: at.Dst,
		Chunks: chunks, Frames: t.frames, Stream: p.stream, Cut: cut,
	}
	emit(&t.message)
	t.message.Data = nil
}

// settle does what the chunks of a packet have asked for, once: a packet may
// hold hundreds of them.
func (t *Table) settle(at *packet) {
	if at.hasAbandoned && at.direction != none {
		t.lose(at.direction, at.abandoned, at.Clock, Abandoned)
	}
	if !at.hasAcked && !at.over {
		return
	}
	back := t.reverse(at.key)
	if at.hasAcked && back != none {
		t.lose(back, at.acked, at.Clock-grace, Acknowledged)
	}
	if at.over {
		for _, i := range [...]uint32{at.direction, back} {
			if i != none {
				t.end(i, at.Clock)
			}
		}
	}
}
