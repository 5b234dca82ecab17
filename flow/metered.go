package flow

import (
	"ringside/dataplane/frame"
	"ringside/flow/meter"
	"ringside/flow/record"
	"ringside/flow/rtp"
	"ringside/flow/rule"
)

// A filter in the kernel may meter RTP itself, so that the packets need not come
// here. Then the media stage still owns the streams: it is told of those that
// were counted (frame.Metered), ties them to their calls, and reads their
// counters when it needs them. What the filter is to know of calls, their media
// addresses and what rules want of them, goes the other way.
//
// Whatever the kernel has counted is not counted again. Packets of such streams
// that come all the same are copies, to be recorded (frame.FlagMetered). Packets
// for which the kernel had no room come without that flag, and are metered here.

// Meters is the table of a meter in the kernel. All shards use it at once, but
// each stream is the business of one. State is meter.StateSize bytes.
type Meters interface {
	// Read copies what the meter holds of the stream in a slot. It reports
	// false if it could not be read undisturbed; the next time it may.
	Read(slot uint32, state []byte) bool
	// Take reads it for the last time and lets the slot go: a later packet
	// begins another stream.
	Take(slot uint32, state []byte) bool
	// Want says what is wanted of the packets of the stream from now on,
	// whatever was said of its addresses.
	Want(slot uint32, level rule.Level)
}

// Endpoints is told what SDP says of transport addresses: what is wanted of their
// packets, and what their payload types mean. All shards call it, of one address
// one at a time.
type Endpoints interface {
	Publish(at frame.Endpoint, level rule.Level, payloads []rtp.Payload)
	Withdraw(at frame.Endpoint)
}

// announce takes samples of the streams that a meter in the kernel has counted.
func (s *Shard) announce(list []frame.Metered) {
	o := &s.out[fromFrames]
	for i := range list {
		a := &list[i]
		m := o.samples[s.pick(frame.FlowHash(a.Src, a.Dst))].add()
		*m = sample{
			key:  flowKey{a.Src.Addr, a.Dst.Addr, a.Src.Port, a.Dst.Port, a.SSRC},
			kind: sampleMeter, time: a.First, clock: a.Clock, dlsr: a.Slot,
			pt: a.Type, ttl: a.TTL[0], id: uint16(a.TTL[1]), dscp: a.DSCP, vlan: a.VLAN, iface: a.Iface,
		}
		m.hash = m.key.hash()
	}
}

// meterNews takes the news of a stream that the kernel meters. at is its entry, if
// there is one.
func (s *Shard) meterNews(p *sample, at uint32) {
	slot := p.dlsr
	if at == noStream {
		if at = s.openMetered(p); at == noStream {
			s.refuse(slot)
			return
		}
	}
	e, c := s.streams.at(at), s.streams.coldAt(at)
	if c.slot == 0 {
		if e.hot.Started() { // the kernel had no room for the stream at first
			s.halves[at] = half{e.hot, c.meter}
			e.hot, c.meter = meter.Hot{}, meter.Cold{}
		}
		c.slot, c.counted = slot+1, 0
		e.flags |= streamKernel
		if level := s.levelOf(at, p.clock); level > rule.None {
			s.group.options.Meters.Want(slot, level)
		}
	}
	if p.pt != e.pt || e.flags&streamRTP == 0 {
		s.retype(at, p)
	}
	e.ttl[0], e.ttl[1] = min(e.ttl[0], p.ttl), max(e.ttl[1], uint8(p.id))
	s.refresh(at, false)
	if s.records() {
		s.judgeStream(at, p.clock)
	}
}

// openMetered finds or makes the entry of a stream that the kernel meters. Its
// first packet came some time ago: its call is that of then, or else of now.
func (s *Shard) openMetered(p *sample) uint32 {
	i := s.streams.find(&p.key, p.hash)
	if i != noStream {
		return i
	}
	m, sends := s.calls(&p.key, min(p.time, p.clock))
	late := m.n == 0
	if late {
		m, sends = s.calls(&p.key, p.clock)
	}
	if i = s.streams.add(&p.key, p.hash, m.n > 0); i == noStream {
		return i
	}
	e, c := s.streams.at(i), s.streams.coldAt(i)
	e.tick = uint32(p.clock >> tickShift)
	if m.n > 0 {
		if s.bind(i, m, sends, p.clock); late {
			e.flags |= streamLate
		}
	} else {
		c.wait = 1
		s.streams.schedule(i, p.clock>>tickShift)
	}
	return i
}

// refuse lets a stream go for which there is no entry.
func (s *Shard) refuse(slot uint32) {
	var h meter.Hot
	var c meter.Cold
	if s.group.options.Meters.Take(slot, s.state[:]) {
		meter.Adopt(&h, &c, s.state[:])
	}
	s.stats.Metered += uint64(h.Packets())
	s.stats.Refused += uint64(h.Packets())
}

// refresh reads the counters of a stream that the kernel meters, with last for
// the last time.
func (s *Shard) refresh(i uint32, last bool) {
	e, c := s.streams.at(i), s.streams.coldAt(i)
	if c.slot == 0 {
		return
	}
	read := s.group.options.Meters.Read
	if last {
		read = s.group.options.Meters.Take
	}
	if read(c.slot-1, s.state[:]) {
		meter.Adopt(&e.hot, &c.meter, s.state[:])
		n := e.hot.Packets()
		came, step := n-c.counted, e.hot.Highest()-c.highest
		s.stats.Metered += uint64(came)
		if c.counted > 0 && step > came && step-came <= meter.MaxDropout {
			s.missed(i, e.hot.Last())
		}
		c.counted, c.highest = n, e.hot.Highest()
		if tick := uint32(e.hot.Last() >> tickShift); int32(tick-e.tick) > 0 {
			e.tick = tick
		}
	}
	if last {
		c.slot = 0
	}
}

// refreshCall reads the counters of all streams of a call.
func (s *Shard) refreshCall(first uint32, key callKey) {
	if s.group.options.Meters == nil {
		return
	}
	for i := first; i != noStream; i = s.streams.coldAt(i).binding(key).next {
		s.refresh(i, false)
	}
}

// copied takes a packet that the kernel has counted: it is recorded, and digits
// are read from it.
func (s *Shard) copied(p *sample, at uint32) {
	if at == noStream {
		if at = s.open(p); at == noStream {
			return // the meter's own news of the stream is counted as refused
		}
	}
	e := s.streams.at(at)
	if p.pt != e.pt || e.flags&streamRTP == 0 {
		s.retype(at, p)
	}
	e.flags |= streamKernel
	e.tick = uint32(p.clock >> tickShift)
	if e.class == meter.Event {
		s.digit(at, p)
	}
	if p.kept != 0 {
		s.recordSample(at, frame.Kept{Clock: p.clock, At: p.kept})
	}
}

// half is what was metered here of a stream that the kernel meters now.
type half struct {
	hot  meter.Hot
	cold meter.Cold
}

// counted is how many RTP packets of stream i were counted, wherever.
func (s *Shard) counted(i uint32) uint64 {
	n := uint64(s.streams.at(i).hot.Packets())
	if h, ok := s.halves[i]; ok {
		n += uint64(h.hot.Packets())
	}
	return n
}

// levelOf is what the rules want of the packets of stream i at a clock.
func (s *Shard) levelOf(i uint32, clock int64) (level rule.Level) {
	if !s.records() {
		return rule.None
	}
	for n := range s.streams.coldAt(i).bind {
		if b := &s.streams.heldAt(i).bind[n]; b.tape != 0 {
			level = max(level, b.bad, s.group.wants(s.rec.tapes.at(b.tape).plan, clock))
		}
	}
	return level
}

// wants is what a filter in the kernel should let through of the media of a call,
// at a clock. Where a rule looks back that is whatever any of them may want.
func (g *Group) wants(p *plan, clock int64) rule.Level {
	o := &g.options
	if p == nil || o.Recorder == nil {
		return rule.None
	}
	if o.Rules.LookBack() > 0 {
		return o.Rules.MayWant(rule.RTP)
	}
	if w := p.at(clock); w != nil {
		return w.policy.Want[rule.RTP]
	}
	return rule.None
}

// want tells the kernel what is wanted of the streams of a call, now that a rule
// has come true.
func (s *Shard) want(key callKey, clock int64) {
	if s.group.options.Meters == nil {
		return
	}
	i, ok := s.streams.ofCall[key]
	for ok && i != noStream {
		c := s.streams.coldAt(i)
		if level := s.levelOf(i, clock); c.slot != 0 && level > rule.None {
			s.group.options.Meters.Want(c.slot-1, level)
		}
		i = c.binding(key).next
	}
}

// tell says what the directory knows of an address at a clock. The bucket of the
// address is locked.
func (g *Group) tell(b *bucket, at frame.Endpoint, clock int64) {
	var payloads [maxTold]rtp.Payload
	level, n, known := rule.None, 0, false
	for e := b.head.Load(); e != nil; e = e.next.Load() {
		if e.at != at {
			continue
		}
		known = true
		level = max(level, g.wants(e.plan, clock))
		for _, p := range e.payloads[:e.n] {
			if n < len(payloads) && !hasType(payloads[:n], p.Type) { // the newest first
				payloads[n] = p
				n++
			}
		}
	}
	if !known {
		g.options.Endpoints.Withdraw(at)
		return
	}
	g.options.Endpoints.Publish(at, level, payloads[:n])
}

// maxTold is how many payload types of an address the kernel is told of.
const maxTold = 32

func hasType(list []rtp.Payload, pt uint8) bool {
	for i := range list {
		if list[i].Type == pt {
			return true
		}
	}
	return false
}

// retell says anew what is wanted of the media of a call.
func (s *Shard) retell(named []*endpoint, clock int64) {
	if s.group.options.Endpoints == nil {
		return
	}
	for _, e := range named {
		b := s.group.dir.bucket(e.at)
		b.mu.Lock()
		s.group.tell(b, e.at, clock)
		b.mu.Unlock()
	}
}

// splitReport is the record of what was metered here of a stream that the kernel
// metered later.
func (s *Shard) splitReport(i uint32, b *binding, clock int64) *measured {
	h, ok := s.halves[i]
	if !ok {
		return nil
	}
	out := s.measuredOf(i, b, clock, &h.hot, &h.cold)
	out.rtcp = rtcpState{xr: record.XR{}}
	return out
}
