package traffic

import (
	"encoding/binary"
	"hash/crc32"
	"slices"
)

const protoSCTP = 132

// Types of SCTP chunks (RFC 9260 section 3.2).
const (
	sctpData         = 0
	sctpInit         = 1
	sctpInitAck      = 2
	sctpSack         = 3
	sctpHeartbeat    = 4
	sctpHeartbeatAck = 5
	sctpAbort        = 6
	sctpShutdown     = 7
	sctpShutdownAck  = 8
	sctpCookieEcho   = 10
	sctpCookieAck    = 11
	sctpShutdownDone = 14
)

// association is an SCTP association that carries SIP (RFC 4168). Chunks of
// data of a direction are known by their number in it, from 0.
type association struct {
	wiring
	ends [2]sctpEnd
}

// sctpEnd is what one end sends.
type sctpEnd struct {
	tag   uint32 // that the other end is to put into its packets
	tsn   uint32 // of the first chunk
	ssn   [4]uint16
	data  []dataChunk
	acked int    // the other end has all before
	sacks uint32 // that were sent about it
}

// dataChunk is one DATA chunk.
type dataChunk struct {
	of        *outgoing
	flags     byte
	stream    uint16
	ssn       uint16
	body      []byte
	got, seen bool // by the other end, by the observer
}

// chunk is a chunk in a packet: either data, or ready but for what a SACK says.
type chunk struct {
	kind  byte
	data  int // number of the DATA chunk
	body  []byte
	flags byte
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func newAssociation(w wiring) *association {
	a := &association{wiring: w}
	a.self = a
	r := &w.by.rnd
	for i := range a.ends {
		e := &a.ends[i]
		e.tag, e.tsn = uint32(r.next())|1, uint32(r.next())
		if r.chance(0.1) { // wraps soon
			e.tsn = -uint32(r.below(10))
		}
	}
	return a
}

// open makes the handshake (RFC 9260 section 5.1).
func (a *association) open(at int64) int64 {
	if a.midway {
		return at
	}
	r := &a.by.rnd
	hello := func(e *sctpEnd) []byte {
		b := binary.BigEndian.AppendUint32(nil, e.tag)
		b = binary.BigEndian.AppendUint32(b, 106496) // receiver window
		b = append(b, 0, 4, 0, 4)                    // streams
		return binary.BigEndian.AppendUint32(b, e.tsn)
	}
	cookie := make([]byte, 100)
	for i := range cookie {
		cookie[i] = byte(r.next())
	}
	trip := r.between(300, 3000) * 1000
	a.control(at, 0, sctpInit, hello(&a.ends[0]))
	a.control(at+trip/2, 1, sctpInitAck, append(append(hello(&a.ends[1]), 0, 7, 0, byte(4+len(cookie))), cookie...))
	a.control(at+trip, 0, sctpCookieEcho, cookie)
	a.control(at+trip*3/2, 1, sctpCookieAck, nil)
	return at + 2*trip
}

func (a *association) control(at int64, from int, kind byte, body []byte) {
	a.plan(packet{at: at, from: from, chunks: []chunk{{kind: kind, body: body}}})
}

// write sends messages: in chunks, of which small ones share a packet.
func (a *association) write(from int, at int64, out []*outgoing) int64 {
	e, r, h := &a.ends[from], &a.by.rnd, a.by.harm
	first := len(e.data)
	miss := out[0].miss
	for _, o := range out {
		a.fragment(e, o)
	}
	var made []*packet
	at = max(at, a.busy[from])
	for i := first; i < len(e.data); {
		at += r.between(10, 80) * 1000
		k := packet{at: at, from: from, unseen: miss != missNothing, missed: miss != missNothing}
		if r.chance(0.2) {
			k.chunks = append(k.chunks, chunk{kind: sctpSack})
		}
		for size := 100; i < len(e.data) && (size == 100 || size+16+len(e.data[i].body) < 1400); i++ {
			k.chunks = append(k.chunks, chunk{kind: sctpData, data: i})
			size += 19 + len(e.data[i].body)
		}
		made = append(made, a.plan(k))
	}
	a.busy[from] = at
	done := at
	for i, k := range made {
		if miss != missNothing || a.midway && first == 0 {
			break
		}
		before := r.chance(h.Lost)
		switch {
		case before || r.chance(h.Behind):
			k.unseen, k.lost = before, true
			done = max(done, a.again(k, at+r.between(5, 1000)*ms))
		case i+1 < len(made) && r.chance(h.Reorder):
			k.at = made[i+1].at + r.between(20, 1500)*1000
			done = max(done, k.at)
		}
	}
	ack := done + r.between(50, 900)*1000
	a.plan(packet{at: ack, from: 1 - from, chunks: []chunk{{kind: sctpSack}}})
	a.ready[from] = done
	if miss != missNothing {
		a.hold[from] = ack + 100_000
		return ack
	}
	for r.chance(h.DupAck) {
		ack += r.between(20, 400) * 1000
		a.plan(packet{at: ack, from: 1 - from, chunks: []chunk{{kind: sctpSack}}})
	}
	return done
}

// fragment makes the DATA chunks of a message.
func (a *association) fragment(e *sctpEnd, o *outgoing) {
	r := &a.by.rnd
	room := 1300
	if r.chance(a.by.harm.Split) {
		room = 50 + r.below(500)
	}
	stream := r.below(len(e.ssn))
	ssn, unordered := e.ssn[stream], byte(0)
	if r.chance(0.2) {
		unordered = 4
	} else {
		e.ssn[stream]++
	}
	for b, begin := o.data, byte(2); len(b) > 0; begin = 0 {
		d := dataChunk{of: o, flags: unordered | begin, stream: uint16(stream), ssn: ssn, body: b[:min(room, len(b))]}
		if b = b[len(d.body):]; len(b) == 0 {
			d.flags |= 1
		}
		e.data = append(e.data, d)
		o.left++
	}
}

// again sends the data of k once more, in one packet or in one for each chunk,
// and tells when it has arrived.
func (a *association) again(k *packet, at int64) int64 {
	r := &a.by.rnd
	rebound := r.chance(a.by.harm.Rebound)
	more := packet{at: at, from: k.from}
	for _, x := range k.chunks {
		if x.kind != sctpData {
			continue
		}
		if rebound && len(more.chunks) > 0 {
			a.plan(more)
			at += r.between(10, 3000) * 1000
			more = packet{at: at, from: k.from}
		}
		more.chunks = append(more.chunks, x)
	}
	a.plan(more)
	return at
}

// idle is a heartbeat.
func (a *association) idle(until int64) {
	r := &a.by.rnd
	at := a.last + r.between(int64(sec), until-a.last)
	from := r.below(2)
	info := binary.BigEndian.AppendUint64([]byte{0, 1, 0, 12}, r.next())
	a.control(at, from, sctpHeartbeat, info)
	a.control(at+r.between(200, 900)*1000, 1-from, sctpHeartbeatAck, info)
}

// shut ends the association in one of three ways: properly, by an abort, or not
// within the capture.
func (a *association) shut() {
	r := &a.by.rnd
	at := max(a.last, a.ready[0], a.ready[1]) + r.between(100, 1500)*ms
	from := r.below(2)
	switch r.below(5) {
	case 0:
	case 1:
		a.control(at, from, sctpAbort, nil)
	default:
		trip := r.between(100, 2000) * 1000
		a.control(at, from, sctpShutdown, nil)
		a.control(at+trip, 1-from, sctpShutdownAck, nil)
		a.control(at+2*trip, from, sctpShutdownDone, nil)
	}
}

// pack makes the common header and the chunks of k.
func (a *association) pack(k *packet) []byte {
	e, o := &a.ends[k.from], &a.ends[1-k.from]
	be := binary.BigEndian
	f := &a.flows[k.from]
	b := be.AppendUint16(nil, f.src.Port())
	b = be.AppendUint16(b, f.dst.Port())
	tag := o.tag
	if k.chunks[0].kind == sctpInit {
		tag = 0 // RFC 9260 section 8.5.1
	}
	b = be.AppendUint32(b, tag)
	b = be.AppendUint32(b, 0)
	for _, x := range k.chunks {
		switch x.kind {
		case sctpData:
			d := &e.data[x.data]
			a.arrive(k, d)
			x.flags = d.flags
			x.body = be.AppendUint32(nil, e.tsn+uint32(x.data))
			x.body = be.AppendUint16(x.body, d.stream)
			x.body = be.AppendUint16(x.body, d.ssn)
			x.body = append(be.AppendUint32(x.body, 0), d.body...) // payload protocol 0, RFC 4168 section 5
		case sctpSack:
			x.body = o.sack()
		case sctpShutdown:
			x.body = be.AppendUint32(nil, o.cumulative())
		}
		b = append(b, x.kind, x.flags)
		b = append(be.AppendUint16(b, uint16(4+len(x.body))), x.body...)
		for len(b)%4 != 0 {
			b = append(b, 0)
		}
	}
	// The checksum travels with its least significant byte first (appendix A).
	binary.LittleEndian.PutUint32(b[8:], crc32.Checksum(b, castagnoli))
	return b
}

// arrive notes who has the chunk d, now that k passes.
func (a *association) arrive(k *packet, d *dataChunk) {
	if !k.lost {
		d.got = true
	}
	if (!k.unseen || k.missed) && !d.seen {
		d.seen = true
		if d.of.left--; d.of.left == 0 {
			a.by.complete(d.of, k.at)
		}
	}
}

// cumulative is the last TSN up to which the other end has all of e.
func (e *sctpEnd) cumulative() uint32 {
	for e.acked < len(e.data) && e.data[e.acked].got {
		e.acked++
	}
	return e.tsn + uint32(e.acked) - 1
}

// sack is the body of a SACK about what e sent (RFC 9260 section 3.3.4).
func (e *sctpEnd) sack() []byte {
	be := binary.BigEndian
	b := be.AppendUint32(nil, e.cumulative())
	// The window shrinks a little each time: no two SACKs are equal.
	e.sacks++
	b = be.AppendUint32(b, 106496-e.sacks)
	var gaps []int
	for i := e.acked; i < len(e.data); i++ {
		if e.data[i].got != (len(gaps)%2 == 1) {
			gaps = append(gaps, i-e.acked+1)
		}
	}
	if len(gaps)%2 == 1 {
		gaps = append(gaps, len(e.data)-e.acked+1)
	}
	b = be.AppendUint16(b, uint16(len(gaps)/2))
	b = be.AppendUint16(b, 0)
	for pair := range slices.Chunk(gaps, 2) {
		b = be.AppendUint16(b, uint16(pair[0]))
		b = be.AppendUint16(b, uint16(pair[1]-1))
	}
	return b
}
