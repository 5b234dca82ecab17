package traffic

import (
	"slices"

	"ringside/flow/record"
)

// planStreams makes the streams that the scenario asked for.
func (c *call) planStreams() {
	m := &c.media
	var made [3][]*stream
	for _, side := range []record.Side{caller, called} {
		if m.from[side] == 0 {
			continue
		}
		from := max(m.from[side], c.begin)
		if m.change > 0 && c.kind == SSRCChange {
			made[side] = append(made[side], c.stream(side, from, m.change), c.stream(side, m.change, m.to[side]))
		} else {
			made[side] = append(made[side], c.stream(side, from, m.to[side]))
		}
	}
	for _, side := range []record.Side{caller, called} {
		for i, s := range made[side] {
			if others := made[other(side)]; len(others) > 0 {
				s.peer = others[min(i, len(others)-1)]
			}
			c.addStream(s)
		}
	}
}

// addStream queues a stream and its reports.
func (c *call) addStream(s *stream) {
	if !s.advance() {
		return
	}
	g := c.g
	s.node.order = c.order + 1 + uint64(len(c.streams))*2
	c.streams = append(c.streams, s)
	c.busy++
	g.queue.put(&s.node)
	s.reports.at = s.tick + s.rnd.between(0, reportEvery)
	if g.opt.RTCP && s.reports.at < s.until {
		s.reports.order = s.node.order + 1
		c.busy++
		g.queue.put(&s.reports.node)
	}
}

// stream is one stream of a side from the moment from until before to.
func (c *call) stream(side record.Side, from, to int64) *stream {
	g := c.g
	s := &stream{side: side, tick: from, until: to, rnd: newRandom(c.rnd.next(), 1), marker: true}
	r := &s.rnd
	s.node = node{call: c, media: s, due: duePacket}
	s.reports.node = node{call: c, media: s, due: dueReport}
	s.use(&c.codec)
	s.pending = s.first[:0]
	s.step = int64(s.codec.Ptime) * ms
	s.ssrc, s.ts, s.seq = uint32(r.next()), uint32(r.next()), uint16(r.next())
	s.dtx, s.talk = c.dtx, 50
	s.event, s.comfort = c.event, c.comfort()
	s.mutes = slices.Clone(c.media.mutes[side])
	if c.kind == PayloadChange {
		s.second, s.switchAt = &c.second, c.media.change
	}
	s.planDigits()
	s.planHarm()
	a, b := c.party(side), c.party(other(side))
	src, dst := a.real, b.real
	ttl := uint8(r.between(52, 64))
	g.link.setup(&s.flow, src, dst, protoUDP, ttl, 46)
	s.flow.id = uint16(r.next())
	s.reports.flow = s.flow
	if !c.mux {
		g.link.setup(&s.reports.flow, above(src), above(dst), protoUDP, ttl, 46)
	}
	s.truth = Stream{Src: src, Dst: dst, SSRC: s.ssrc, From: side, VLAN: g.vlanID(), TTLMin: ttl, TTLMax: ttl}
	if g.truth != nil {
		s.meter = new(reference)
	}
	return s
}

// planDigits presses some keys in the midst of the stream. Where the codec
// changes, or SDP may be missing, there are none.
func (s *stream) planDigits() {
	c := s.call
	if c.kind == PayloadChange || c.kind == MidCall || !s.rnd.chance(c.g.opt.Digits) {
		return
	}
	at := s.tick + 2*sec
	for range 1 + s.rnd.below(4) {
		if at > s.until-2*sec {
			return
		}
		s.digits = append(s.digits, digit{at, uint8(s.rnd.below(12))})
		at += s.rnd.between(500, 1500) * ms
	}
}

// planHarm draws what the network does to the stream.
func (s *stream) planHarm() {
	g, r := s.call.g, &s.rnd
	h := pick(r, g.opt.Impairments, g.harmTotal)
	if h == (Impairment{}) {
		return
	}
	ppm := h.Drift * (2*r.unit() - 1)
	s.step += int64(float64(s.step) * ppm / 1e6)
	if r.chance(h.Wrap) {
		s.seq = 65535 - uint16(r.below(int(5*sec/s.step)))
	}
	if r.chance(h.Reset) {
		s.resetAt = s.tick + r.between(0, max(1, s.until-s.tick))
	}
	s.harm = &h
}
