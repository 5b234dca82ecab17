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
	// false if the slot was let go, and if it could not be read undisturbed for
	// so long that nobody can tell.
	Read(slot uint32, state []byte) bool
	// Take reads it for the last time and lets the slot go: a later packet
	// begins another stream. It reports false as Read does.
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
func (s *Shard) announce(list []frame.Metered, o *outlet) {
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
		at = s.streams.find(&p.key, p.hash) // a sample just before may have made it
	}
	if at == noStream || s.streams.coldAt(at).slot != slot+1 {
		if !s.stands(p) {
			return
		}
		if at == noStream {
			at = s.openMetered(p)
		}
		if at == noStream {
			s.stats.Refused += s.letGo(slot)
			return
		}
		if !s.adoptSlot(at, p) {
			s.stats.RTPDuplicates += s.letGo(slot)
			return
		}
	}
	e := s.streams.at(at)
	if p.pt != e.pt || e.flags&streamRTP == 0 {
		s.retype(at, p)
	}
	e.ttl[0], e.ttl[1] = min(e.ttl[0], p.ttl), max(e.ttl[1], uint8(p.id))
	s.refresh(at, false, p.clock)
	if s.records() {
		s.judgeStream(at, p.clock)
	}
}

// stands reports whether a slot holds the stream that its news speaks of. News is
// under way for a while; by then the stream may have been let go of, and the slot
// have been taken by another one, or by the same anew. No two begin at the same
// time in one slot.
func (s *Shard) stands(p *sample) bool {
	return s.group.options.Meters.Read(p.dlsr, s.state[:]) && meter.Begun(s.state[:]) == p.time
}

// maxHalves is how many parts a stream may have beside the last one.
const maxHalves = 16

// adoptSlot gives stream i the slot that its news speaks of, which stands. What was
// metered of it before, here or by the meter of another interface, is a part by
// itself. It reports false if the other meter goes on as well: then what the slot
// counts are copies.
func (s *Shard) adoptSlot(i uint32, p *sample) bool {
	e, c := s.streams.at(i), s.streams.coldAt(i)
	s.refresh(i, false, p.clock)
	if e.hot.Started() {
		if c.slot != 0 && (p.time <= e.hot.Last() || len(s.halves[i]) >= maxHalves) {
			return false
		}
		s.refresh(i, true, p.clock)
		s.halves[i] = append(s.halves[i], half{e.hot, c.meter})
		e.hot, c.meter = meter.Hot{}, meter.Cold{}
		if s.records() {
			h := s.streams.heldAt(i)
			h.received, h.lost = 0, 0
		}
	}
	c.slot, c.counted = p.dlsr+1, 0
	e.flags |= streamKernel
	if level := s.levelOf(i, p.clock); level > rule.None {
		s.group.options.Meters.Want(p.dlsr, level)
	}
	return true
}

// openMetered makes the entry of a stream that the kernel meters, and whose state
// was just read. Its first packet came some time ago: its call is that of then, if it
// still goes on, or else of now.
func (s *Shard) openMetered(p *sample) uint32 {
	began, came := min(p.time, p.clock), meter.Latest(s.state[:])
	if p.clock-came > newsAge {
		began += p.clock - came
	}
	m, sends := s.calls(&p.key, began)
	m.leave(p.clock)
	late := m.n == 0
	if late {
		m, sends = s.calls(&p.key, p.clock)
	}
	i := s.streams.add(&p.key, p.hash, m.n > 0)
	if i == noStream {
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

// letGo lets a slot go that has no entry of its own, and returns how many packets
// it has counted.
func (s *Shard) letGo(slot uint32) uint64 {
	var h meter.Hot
	var c meter.Cold
	if s.group.options.Meters.Take(slot, s.state[:]) {
		meter.Adopt(&h, &c, s.state[:])
	}
	s.stats.Metered += uint64(h.Packets())
	return uint64(h.Packets())
}

// newsAge is by how much (ns) the time of the last packet that the kernel has
// counted may be behind the clock when it is first heard of. Where it is more, the
// system's clock was set back: clocks went on (frame.Steady), and times did not.
const newsAge = int64(2e9)

// refresh reads the counters of a stream that the kernel meters, at a clock, with
// last for the last time.
func (s *Shard) refresh(i uint32, last bool, clock int64) {
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
		at := e.hot.Last()
		if came > 0 && clock-at > newsAge {
			at = clock
		}
		if c.counted > 0 && step > came && step-came <= meter.MaxDropout {
			s.missed(i, at)
		}
		c.counted, c.highest = n, e.hot.Highest()
		if tick := uint32(at >> tickShift); int32(tick-e.tick) > 0 {
			e.tick = tick
		}
	}
	if last {
		c.slot = 0
	}
}

// refreshCall reads the counters of all streams of a call, at a clock.
func (s *Shard) refreshCall(first uint32, key callKey, clock int64) {
	if s.group.options.Meters == nil {
		return
	}
	for i := first; i != noStream; i = s.streams.coldAt(i).binding(key).next {
		s.refresh(i, false, clock)
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
		s.recordSample(at, p)
	}
}

// half is what was metered of a stream before: here, where the kernel meters it
// now, or by the meter of another interface.
type half struct {
	hot  meter.Hot
	cold meter.Cold
}

// counted is how many RTP packets of stream i were counted, wherever.
func (s *Shard) counted(i uint32) uint64 {
	n := uint64(s.streams.at(i).hot.Packets())
	for k := range s.halves[i] {
		n += uint64(s.halves[i][k].hot.Packets())
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

// splitReports are the records of what was metered of a stream before its present
// meter began.
func (s *Shard) splitReports(i uint32, b *binding, clock int64) (out []*measured) {
	for k := range s.halves[i] {
		h := &s.halves[i][k]
		m := s.measuredOf(i, b, clock, &h.hot, &h.cold)
		m.rtcp = rtcpState{xr: record.XR{}}
		out = append(out, m)
	}
	return out
}
