package flow

import (
	"slices"

	"ringside/dataplane/frame"
	"ringside/flow/meter"
	"ringside/flow/record"
	"ringside/flow/rtp"
)

// idleTicks is how long a stream without a call may be silent before it is
// given up: one minute.
const idleTicks = 60e9 >> tickShift

// maxWait is the most ticks between two looks for the call of a stream.
const maxWait = 8

// lookahead is how many packets are looked up before the first is metered, so
// that their cache misses overlap.
const lookahead = 32

type located struct {
	packet *frame.Packet
	key    flowKey
	hash   uint64
	header rtp.Header
	at     uint32
	rtcp   bool
}

// meter runs the media stage up to what is settled.
func (s *Shard) meter() bool {
	limit := s.lowest(settledMark)
	if limit <= s.metered.Load() {
		return false
	}
	s.takeOrders()
	reached := s.read
	for len(s.pending) > 0 {
		p := &s.pending[0]
		p.next = s.measure(p.batch.Packets, p.next, limit)
		if p.next < len(p.batch.Packets) {
			reached = limit
			break
		}
		p.batch.Release()
		s.pending = slices.Delete(s.pending, 0, 1)
	}
	reached = min(reached, limit)
	if reached <= s.metered.Load() {
		return false
	}
	if reached == end {
		s.events(s.lastClock)
		s.streams.drain(func(i uint32) { s.giveUp(i, s.lastClock) })
	} else {
		s.events(reached - 1)
	}
	for _, l := range s.reports {
		if !l.flush() {
			return false
		}
	}
	s.metered.Store(reached)
	return true
}

// takeOrders sorts the orders of all owners by their clock.
func (s *Shard) takeOrders() {
	before := len(s.orderIn)
	for _, p := range s.peers {
		lane := p.orders[s.id]
		for c := lane.take(); c != nil; c = lane.take() {
			s.orderIn = append(s.orderIn, *c...)
			lane.give(c)
		}
	}
	if len(s.orderIn) > before {
		slices.SortStableFunc(s.orderIn, func(a, b order) int {
			switch {
			case a.clock < b.clock:
				return -1
			case a.clock > b.clock:
				return 1
			}
			return 0
		})
	}
	s.plan()
}

// plan finds the clock at which the next thing but a packet is due.
func (s *Shard) plan() {
	s.due = (s.streams.wheel.now + 1) << tickShift
	if len(s.orderIn) > 0 {
		s.due = min(s.due, s.orderIn[0].clock)
	}
}

// events does what is due up to a clock, itself included, in order of time.
func (s *Shard) events(clock int64) {
	for len(s.orderIn) > 0 && s.orderIn[0].clock <= clock {
		o := s.orderIn[0]
		s.orderIn = slices.Delete(s.orderIn, 0, 1)
		s.streams.expire(o.clock, s.look)
		s.answer(&o)
	}
	s.streams.expire(clock, s.look)
	s.plan()
}

// measure meters the packets from next on whose clock is below limit, and
// returns where it stopped.
func (s *Shard) measure(packets []frame.Packet, next int, limit int64) int {
	for next < len(packets) {
		n, stop := 0, false
		for ; next < len(packets) && n < lookahead; next++ {
			p := &packets[next]
			if p.Proto == 0 {
				continue
			}
			if p.Clock >= limit {
				stop = true
				break
			}
			if p.Clock > s.due {
				if n > 0 {
					break
				}
				s.events(p.Clock - 1)
			}
			if s.locate(p, &s.ahead[n]) {
				n++
			}
		}
		for i := range n {
			if l := &s.ahead[i]; l.rtcp {
				s.control(l.packet)
			} else {
				s.packet(l)
			}
		}
		if stop {
			break
		}
	}
	return next
}

// locate finds the stream of a packet, without changing anything; false if
// the packet is not what its first byte promised.
func (s *Shard) locate(p *frame.Packet, l *located) bool {
	b := p.Payload
	if rtp.Demux(b) == rtp.RTCP {
		l.packet, l.rtcp = p, true
		return true
	}
	if !rtp.ParseHeader(b, int(p.Len), &l.header) {
		s.stats.UDPOther++
		return false
	}
	l.packet, l.rtcp = p, false
	l.key = flowKey{p.Src.Addr, p.Dst.Addr, p.Src.Port, p.Dst.Port, l.header.SSRC}
	l.hash = l.key.hash()
	l.at = s.streams.find(&l.key, l.hash)
	return true
}

// packet meters one RTP packet.
func (s *Shard) packet(l *located) {
	p, h := l.packet, &l.header
	s.stats.RTP++
	if l.at == noStream {
		// Perhaps an earlier packet of this lot has opened it.
		if l.at = s.streams.find(&l.key, l.hash); l.at == noStream {
			if l.at = s.open(&l.key, l.hash, p.Clock); l.at == noStream {
				s.stats.Refused++
				return
			}
		}
	}
	e := s.streams.at(l.at)
	if h.Type != e.pt || e.flags&streamRTP == 0 {
		s.retype(l.at, h.Type, p)
	}
	e.tick = uint32(p.Clock >> tickShift)
	e.ttl[0] = min(e.ttl[0], p.TTL)
	e.ttl[1] = max(e.ttl[1], p.TTL)
	e.hot.Packet(&s.streams.coldAt(l.at).meter, &meter.Packet{
		Time: p.Time, TS: h.TS, Len: h.Len, Rate: e.rate,
		Seq: h.Seq, Type: h.Type, Class: e.class, Marker: h.Marker,
	})
}

// open makes the entry of a new stream, and ties it to the calls that expect
// it, or sets a time to look for them again.
func (s *Shard) open(k *flowKey, h uint64, clock int64) uint32 {
	m, side := s.calls(k, clock)
	i := s.streams.add(k, h, m.n > 0)
	if i == noStream {
		return i
	}
	e, c := s.streams.at(i), s.streams.coldAt(i)
	c.first = clock
	e.tick = uint32(clock >> tickShift)
	if m.n > 0 {
		s.bind(i, m, side)
	} else {
		c.wait = 1
		s.streams.schedule(i, clock>>tickShift)
	}
	return i
}

// calls finds the calls of a stream at a clock: those that receive where it
// goes, else those that receive where it comes from (symmetric RTP, RFC 4961).
// sends says whether the named end is the sender.
func (s *Shard) calls(k *flowKey, clock int64) (m match, sends bool) {
	if m = s.group.dir.find(k.to(), clock); m.n > 0 {
		return m, false
	}
	return s.group.dir.find(k.from(), clock), true
}

func (s *Shard) bind(i uint32, m match, sends bool) {
	for _, e := range m.e[:m.n] {
		from := e.side
		if !sends {
			from = other(e.side)
		}
		s.streams.bind(i, e.key, from)
		if e.srtp {
			s.streams.at(i).flags |= streamSRTP
		}
	}
}

func other(side record.Side) record.Side {
	switch side {
	case record.SideCaller:
		return record.SideCalled
	case record.SideCalled:
		return record.SideCaller
	}
	return side
}

// retype begins a run of another payload type.
func (s *Shard) retype(i uint32, pt uint8, p *frame.Packet) {
	e, c := s.streams.at(i), s.streams.coldAt(i)
	if e.flags&streamRTP == 0 {
		e.flags |= streamRTP
		e.ttl = [2]uint8{p.TTL, p.TTL}
		c.dscp = p.DSCP
		c.vlan = -1
		if p.Flags&frame.FlagVLAN != 0 {
			c.vlan = int16(p.VLAN)
		}
	}
	e.pt = pt
	s.rate(i, p.Clock)
}

// rate learns the codec and clock of the current payload type: from the SDP of
// the stream's call, else from what the stream has shown, else from RFC 3551.
func (s *Shard) rate(i uint32, clock int64) {
	e, c := s.streams.at(i), s.streams.coldAt(i)
	payload, known := s.payload(e, c, clock)
	if !known {
		payload = c.meaning(e.pt)
	}
	e.rate = payload.Rate
	switch payload.Codec {
	case rtp.TelephoneEvent:
		e.class = meter.Event
	case rtp.CN:
		e.class = meter.Comfort
	default:
		e.class = meter.Media
	}
	c.learn(payload)
}

// learn keeps the meaning of a payload type, the newest first.
func (c *streamCold) learn(p rtp.Payload) {
	i := 0
	for i < len(c.payloads)-1 && c.payloads[i].Type != p.Type {
		i++
	}
	copy(c.payloads[1:i+1], c.payloads[:i])
	c.payloads[0] = p
}

// meaning is what a payload type of the stream means.
func (c *streamCold) meaning(pt uint8) rtp.Payload {
	for _, p := range c.payloads {
		if p.Type == pt && p.Rate != 0 {
			return p
		}
	}
	codec, rate := rtp.StaticPayload(pt)
	return rtp.Payload{Type: pt, Codec: codec, Rate: rate}
}

// payload looks a payload type up in the SDP of the stream's calls, also of
// those that were hung up in the meantime.
func (s *Shard) payload(e *stream, c *streamCold, clock int64) (rtp.Payload, bool) {
	for _, at := range [2]frame.Endpoint{e.key.to(), e.key.from()} {
		for n := range c.bind {
			if key := c.bind[n].key; key.ref != 0 {
				if d := s.group.dir.named(at, key, clock); d != nil {
					if p, ok := d.payload(e.pt); ok {
						return p, true
					}
				}
			}
		}
	}
	return rtp.Payload{}, false
}

// look is what happens to a stream without a call when its tick comes: its
// call may be known by now, or it has been silent for too long.
func (s *Shard) look(i uint32, tick int64) {
	e, c := s.streams.at(i), s.streams.coldAt(i)
	clock := tick << tickShift
	if m, sends := s.calls(&e.key, clock); m.n > 0 {
		s.bind(i, m, sends)
		e.flags |= streamLate
		if e.flags&streamRTP != 0 {
			s.rate(i, clock)
		}
		return
	}
	if uint32(tick)-e.tick >= idleTicks {
		s.giveUp(i, clock)
		return
	}
	s.streams.schedule(i, tick+c.wait)
	c.wait = min(2*c.wait, maxWait)
}

// giveUp ends a stream that no call claimed.
func (s *Shard) giveUp(i uint32, clock int64) {
	e := s.streams.at(i)
	switch {
	case e.flags&streamRTP == 0:
		s.stats.OrphanRTCP++
	case !e.hot.Confirmed():
		s.stats.Unconfirmed += uint64(e.hot.Packets())
	default:
		r := s.measured(i, nil, clock).finish()
		s.stats.Orphan += r.Packets
		s.stats.Orphans++
		s.emit(clock, nil, r)
	}
	s.streams.remove(i)
}

// answer carries an order out.
func (s *Shard) answer(o *order) {
	lane := s.reports[o.key.owner]
	if o.kind == orderReuse {
		if s.group.dir.reused(o.at, o.key, o.clock) {
			*lane.add() = report{ref: o.key.ref, reuse: true}
		}
		return
	}
	i, ok := s.streams.ofCall[o.key]
	if !ok {
		return
	}
	if o.kind == orderProbe {
		r := report{ref: o.key.ref}
		for ; i != noStream; i = s.streams.coldAt(i).binding(o.key).next {
			idle := int64(uint32(o.clock>>tickShift) - s.streams.at(i).tick)
			r.last = max(r.last, (o.clock>>tickShift-idle)<<tickShift)
		}
		*lane.add() = r
		return
	}
	for i != noStream {
		e, c := s.streams.at(i), s.streams.coldAt(i)
		b := c.binding(o.key)
		next := b.next
		*lane.add() = report{
			ref:    o.key.ref,
			stream: s.measured(i, b, o.clock),
		}
		*b = binding{}
		if c.unbound() {
			s.stats.InCalls += uint64(e.hot.Packets())
			s.streams.calls--
			s.streams.remove(i)
		}
		i = next
	}
	delete(s.streams.ofCall, o.key)
}
