package traffic

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"ringside/flow/record"
)

// What an RTP packet carries, as the meter counts it.
const (
	classMedia uint8 = iota
	classEvent
	classComfort
)

// delivery is a packet on its way to the point of capture.
type delivery struct {
	at     int64
	audio  *audio  // where the payload comes from
	event  [4]byte // payload of a telephone-event
	ts     uint32
	seq    uint16
	size   uint16 // payload bytes
	piece  uint8  // of the audio pool
	pt     uint8
	class  uint8
	marker bool
}

// digit is a key pressed by a person (RFC 4733).
type digit struct {
	at   int64
	code uint8
}

// stream sends the RTP packets of one SSRC. Its clock ticks once per packet
// time; most ticks make a packet, which is lost, delayed or doubled before it
// is captured. Deliveries that are already made but not yet due wait in
// pending, which is never longer than the largest delay.
type stream struct {
	node

	// What every packet touches stands together: with thousands of streams, the
	// generator's time goes into cache misses.
	tick    int64      // time of the next tick
	until   int64      // no tick at or after this
	step    int64      // ns between two ticks, drift of the sender's clock included
	resetAt int64      // the sequence starts anew, 0: never
	plain   delivery   // what a media packet has in common with the next
	pending []delivery // in order of arrival
	first   [1]delivery
	mutes   []span
	digits  []digit
	second  *Codec // of the packets from switchAt on
	harm    *Impairment
	meter   *reference // nil without a truth file
	ts      uint32
	samples uint32 // RTP clock units per tick
	ssrc    uint32
	sent    uint32 // packets
	octets  uint32 // payload bytes sent
	seq     uint16
	least   uint16 // payload bytes, of a codec of variable rate; 0: always the same
	pressed uint8  // ticks into the running digit, 0: none
	marker  bool   // the next packet begins a talkspurt
	dtx     bool
	comfort bool
	flow    flow

	side     record.Side
	codec    *Codec
	keyTS    uint32
	talk     int // ticks left of talk (above 0) or silence (below), with dtx
	event    uint8
	switchAt int64

	rnd     random
	arrived int64 // latest arrival so far: the network is a queue
	bad     bool  // state of the burst loss model
	spike   int64 // delay of the spike that is passing
	dropped uint32

	peer    *stream // the other direction, for RTCP
	reports reporter
	truth   Stream
}

// use makes c the codec of the packets to come.
func (s *stream) use(c *Codec) {
	s.codec, s.second = c, nil
	s.plain = delivery{audio: s.call.g.audioOf(c, s.side), pt: c.Payload, size: uint16(c.Bytes)}
	s.least = uint16(c.Min)
	s.samples = c.Clock / 1000 * uint32(c.Ptime)
}

// advance makes deliveries until the earliest is certain, and tells when it is
// due; false when the stream is over.
func (s *stream) advance() bool {
	for (len(s.pending) == 0 || s.pending[0].at > s.tick) && s.tick < s.until {
		s.makePacket()
	}
	if len(s.pending) == 0 {
		return false
	}
	s.at = s.pending[0].at
	return true
}

// makePacket lets one tick pass.
func (s *stream) makePacket() {
	now, ts := s.tick, s.ts
	s.tick += s.step
	s.ts += s.samples
	if s.resetAt > 0 && now >= s.resetAt {
		s.resetAt = 0
		s.seq += 20000 + uint16(s.rnd.below(20000))
		s.ts += uint32(s.rnd.next())
		ts = s.ts
		s.ts += s.samples
	}
	if s.second != nil && now >= s.switchAt {
		s.use(s.second)
	}
	for len(s.mutes) > 0 && now >= s.mutes[0].to {
		s.mutes = s.mutes[1:]
	}
	if len(s.mutes) > 0 && now >= s.mutes[0].from {
		s.marker = true
		return
	}
	if s.pressed > 0 || len(s.digits) > 0 && now >= s.digits[0].at {
		s.press(now, ts)
		return
	}
	d := s.plain
	d.ts, d.piece = ts, uint8(s.seq)
	if s.least > 0 {
		d.size = uint16(s.rnd.between(int64(s.least), int64(d.size)))
	}
	if s.dtx && !s.speak(&d) {
		return
	}
	d.marker, s.marker = s.marker && d.class == classMedia, s.marker && d.class != classMedia
	s.put(now, d)
}

// press sends one packet of a telephone-event: eight with growing duration,
// then the end three times, all with the timestamp of the first.
func (s *stream) press(now int64, ts uint32) {
	if s.pressed == 0 {
		s.keyTS = ts
	}
	s.pressed++
	long := min(s.pressed, 8)
	duration := uint16(uint32(long) * s.samples)
	d := delivery{ts: s.keyTS, pt: s.event, class: classEvent, size: 4, marker: s.pressed == 1}
	d.event = [4]byte{s.digits[0].code, 10, byte(duration >> 8), byte(duration)}
	if s.pressed >= 9 {
		d.event[1] |= 0x80
	}
	if s.pressed == 11 {
		s.pressed = 0
		s.digits = s.digits[1:]
	}
	s.put(now, d)
}

// speak applies discontinuous transmission: talk and silence take turns, and
// silence begins with a descriptor. It tells whether anything is sent.
func (s *stream) speak(d *delivery) bool {
	switch {
	case s.talk > 0:
		if s.talk--; s.talk > 0 {
			return true
		}
		s.talk = -5 - int(s.rnd.exponential(60))
		switch {
		case s.comfort:
			d.pt, d.class, d.size = 13, classComfort, 1
		case s.codec.SID > 0:
			d.size = uint16(s.codec.SID)
		default:
			return false
		}
		return true
	default:
		if s.talk++; s.talk >= 0 {
			s.talk = 5 + int(s.rnd.exponential(100))
			s.marker = true
		}
		return false
	}
}

// put sends a packet on its way.
func (s *stream) put(now int64, d delivery) {
	d.seq = s.seq
	s.seq++
	s.sent++
	s.octets += uint32(d.size)
	d.at = now
	if s.harm == nil {
		s.pending = append(s.pending, d)
		return
	}
	s.suffer(d)
}

// suffer lets the network do to d what the impairment says.
func (s *stream) suffer(d delivery) {
	h, r := s.harm, &s.rnd
	if h.BurstIn > 0 {
		if s.bad {
			s.bad = !r.chance(h.BurstOut)
		} else {
			s.bad = r.chance(h.BurstIn)
		}
	}
	if s.bad || r.chance(h.Loss) {
		s.dropped++
		return
	}
	late := s.delay()
	// A jitter buffer of the network is a queue: it delays, but does not reorder.
	d.at = max(d.at+late, s.arrived+50_000)
	s.arrived = d.at
	if r.chance(h.Reorder) {
		d.at += s.step*int64(1+r.below(max(1, h.ReorderDepth))) + s.step/2
	}
	s.enqueue(d)
	if r.chance(h.Duplicate) {
		d.at += r.between(10, 15_000) * 1000
		s.enqueue(d)
	}
}

// delay is the jitter of one packet, ns.
func (s *stream) delay() int64 {
	h, r := s.harm, &s.rnd
	if h.Jitter <= 0 {
		return 0
	}
	switch h.Shape {
	case Normal:
		return min(int64(max(0, 3+r.normal())*float64(h.Jitter)), 8*int64(h.Jitter))
	case Spikes:
		if s.spike == 0 && r.chance(0.005) {
			s.spike = int64(h.Jitter)
		}
		late := s.spike
		s.spike = max(0, s.spike-s.step/2)
		return late
	default:
		return r.between(0, int64(h.Jitter))
	}
}

// enqueue keeps pending in order of arrival.
func (s *stream) enqueue(d delivery) {
	i := len(s.pending)
	for i > 0 && s.pending[i-1].at > d.at {
		i--
	}
	s.pending = slices.Insert(s.pending, i, d)
}

// rateOf is the RTP clock that SDP gives for the payload type of d, Hz.
func (s *stream) rateOf(d *delivery) uint32 {
	switch {
	case d.class == classComfort:
		return 8000
	case d.class == classEvent:
		return s.call.codec.Clock
	case d.pt == s.call.codec.Payload:
		return s.call.codec.Clock
	default:
		return s.call.second.Clock
	}
}

// emit writes the earliest delivery as a frame and removes it.
func (s *stream) emit(g *Generator) {
	d := &s.pending[0]
	be := binary.BigEndian
	b := g.out.room()
	n := s.flow.size
	rtp := b[n : n+12+int(d.size)]
	pt := d.pt
	if d.marker {
		pt |= 0x80
	}
	rtp[0], rtp[1] = 0x80, pt
	be.PutUint16(rtp[2:], d.seq)
	be.PutUint32(rtp[4:], d.ts)
	be.PutUint32(rtp[8:], s.ssrc)
	sums := uint32(0x8000) + uint32(pt) + uint32(d.seq) + d.ts>>16 + d.ts&0xffff + s.ssrc>>16 + s.ssrc&0xffff
	switch {
	case d.class == classEvent:
		copy(rtp[12:], d.event[:])
		sums += sum(d.event[:])
	default:
		a := d.audio
		from := int(d.piece) * a.size
		copy(rtp[12:], a.data[from:from+int(d.size)])
		if int(d.size) == a.size {
			sums += a.sums[d.piece]
		} else {
			sums += sum(rtp[12:])
		}
	}
	s.flow.headers(b, 12+int(d.size), sums)
	t := g.opt.Format.stamp(d.at)
	g.frameDone(t, n+12+int(d.size))
	g.totals.RTP++
	if s.meter != nil {
		s.meter.add(t, d, s.rateOf(d))
	}
	copy(s.pending, s.pending[1:])
	s.pending = s.pending[:len(s.pending)-1]
}

// above is the endpoint of RTCP next to that of RTP (RFC 3550 section 11).
func above(e netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(e.Addr(), e.Port()+1) }
