package flow

import (
	"slices"

	"ringside/dataplane/frame"
	"ringside/flow/meter"
	"ringside/flow/record"
	"ringside/flow/rtp"
)

// A stream without a call may be silent for a minute before it is given up;
// but what has not proved to be RTP, for 10 s. That is what random bytes on UDP
// look like, each packet another stream.
const (
	idleTicks  = 60e9 >> tickShift
	noiseTicks = 10e9 >> tickShift
)

// The most ticks between two looks for the call of a stream: of one that has
// proved to be RTP, and of any other.
const (
	maxWait  = 2
	maxNoise = 8
)

// lookahead is how many packets are looked up before the first is metered, so
// that their cache misses overlap.
const lookahead = 32

// meter runs the media stage up to what is settled.
func (s *Shard) meter() bool {
	if s.meteredTo > s.metered.Load() {
		return s.sayMetered()
	}
	limit := s.lowest(settledMark)
	if limit <= s.metered.Load() {
		if s.records() {
			s.sayFloor() // a worker may wait for room
		}
		return false
	}
	s.takeOrders()
	for from, run := s.next(limit); len(run) > 0; from, run = s.next(limit) {
		s.measure(run)
		from.next += len(run)
	}
	if limit == end {
		s.events(s.lastClock())
		s.streams.drain(func(i uint32) { s.giveUp(i, s.lastClock()) })
	} else {
		s.events(limit - 1)
	}
	s.meteredTo = limit
	return s.sayMetered()
}

func (s *Shard) sayMetered() bool {
	if !flushAll(s.reports) {
		return false
	}
	if s.records() {
		s.flushTakes() // what was taken may be lent up to here
	}
	s.metered.Store(s.meteredTo)
	if s.records() {
		s.sayRecorded()
	}
	return true
}

// next is the longest run of samples of one lane that come before those of all
// others, and before limit.
func (s *Shard) next(limit int64) (from *inlet[sample], run []sample) {
	first, second := limit, limit
	for i := range s.sampleIn {
		in := &s.sampleIn[i]
		if c := in.head(); c != nil {
			switch {
			case c.clock < first:
				first, second, from = c.clock, first, in
			case c.clock < second:
				second = c.clock
			}
		}
	}
	if from == nil {
		return nil, nil
	}
	run = (*from.chunk)[from.next:]
	if run[len(run)-1].clock >= second {
		n := 1
		for n < len(run) && run[n].clock < second {
			n++
		}
		run = run[:n]
	}
	return from, run
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
	s.tellLosses(clock)
	n := 0
	for ; n < len(s.orderIn) && s.orderIn[n].clock <= clock; n++ {
		o := &s.orderIn[n]
		s.streams.expire(o.clock, s.look)
		s.answer(o)
	}
	s.orderIn = slices.Delete(s.orderIn, 0, n) // at once: at the end of a capture they are many
	s.streams.expire(clock, s.look)
	s.plan()
}

// measure takes samples in order. Their streams are looked up some packets
// ahead, so that the cache misses of several overlap.
func (s *Shard) measure(run []sample) {
	for len(run) > 0 {
		if run[0].clock > s.due {
			s.events(run[0].clock - 1)
		}
		n := min(len(run), lookahead)
		for run[n-1].clock > s.due {
			n--
		}
		watch := s.group.mirrors.watches(run[n-1].clock)
		if watch {
			d, touched := &s.once[onceSamples], uint64(0)
			for i := range run[:n] {
				s.tags[i] = run[i].once()
				touched ^= d.bucket(s.tags[i])[0].tag // fetches the line, while streams are found
			}
			d.touched = touched
		}
		for i := range run[:n] {
			s.found[i] = s.streams.find(&run[i].key, run[i].hash)
		}
		if s.records() {
			s.fetchTapes(s.found[:n])
		}
		for i := range run[:n] {
			p := &run[i]
			if watch && p.kind < sampleCopy && s.group.mirrors.watches(p.clock) && s.duplicateSample(p, s.tags[i]) {
				s.countDuplicate(p)
				continue
			}
			switch {
			case p.kind <= sampleMarked:
				s.packet(p, s.found[i])
			case p.kind == sampleCopy:
				s.copied(p, s.found[i])
			case p.kind == sampleMeter:
				s.meterNews(p, s.found[i])
			case p.kind == sampleCarry:
				s.carry(p, s.found[i])
			default:
				s.control(p)
			}
		}
		run = run[n:]
	}
}

// packet meters one RTP packet. at is its stream, if that was there already.
func (s *Shard) packet(p *sample, at uint32) {
	if at == noStream {
		if at = s.open(p); at == noStream {
			s.stats.Refused++
			return
		}
	}
	e := s.streams.at(at)
	if p.pt != e.pt || e.flags&streamRTP == 0 {
		s.retype(at, p)
	}
	e.tick = uint32(p.clock >> tickShift)
	e.ttl[0] = min(e.ttl[0], p.ttl)
	e.ttl[1] = max(e.ttl[1], p.ttl)
	if e.flags&streamKernel != 0 { // the kernel could not count this one
		s.stats.Unmetered++
		e.flags |= streamMissed
		if p.kept != 0 {
			s.recordSample(at, p)
		}
		return
	}
	before := e.hot.Highest()
	e.hot.Packet(&s.streams.coldAt(at).meter, &meter.Packet{
		Time: p.time, TS: p.ts, Len: p.len, Rate: e.rate,
		Seq: p.seq, Type: p.pt, Class: e.class, Marker: p.kind == sampleMarked,
	})
	if step := e.hot.Highest() - before; step > 1 && step <= meter.MaxDropout {
		s.missed(at, p.clock)
	}
	if e.class == meter.Event {
		s.digit(at, p)
	}
	if p.kept != 0 {
		s.recordSample(at, p)
		if e.hot.Packets()%judgeEvery == 0 {
			s.judgeStream(at, p.clock)
		}
	}
}

// open finds or makes the entry of a stream. A new one is tied to the calls
// that expect it, or gets a time to look for them again.
func (s *Shard) open(p *sample) uint32 {
	i := s.streams.find(&p.key, p.hash) // a sample just before may have made it
	if i != noStream {
		return i
	}
	m, sends := s.calls(&p.key, p.clock)
	if i = s.streams.add(&p.key, p.hash, m.n > 0); i == noStream {
		return i
	}
	e, c := s.streams.at(i), s.streams.coldAt(i)
	e.tick = uint32(p.clock >> tickShift)
	if m.n > 0 {
		s.bind(i, m, sends, p.clock)
	} else {
		c.wait = 1
		s.streams.schedule(i, p.clock>>tickShift)
	}
	return i
}

// calls finds the calls of a stream at a clock: those that receive where it
// goes, else those that receive where it comes from (symmetric RTP, RFC 4961).
// sends says whether the named end is the sender.
func (s *Shard) calls(k *flowKey, clock int64) (m match, sends bool) {
	if s.group.options.BothSides {
		return s.group.dir.findBoth(k.from(), k.to(), clock), false
	}
	m, guess := s.group.dir.find(k.to(), clock)
	from, guessFrom := s.group.dir.find(k.from(), clock)
	switch {
	case m.n > 0:
	case from.n > 0:
		return from, true
	// A guess is for one call alone: many phones behind one address use the
	// same port.
	case guess.n == 1:
		return guess, false
	case guessFrom.n == 1:
		return guessFrom, true
	default:
		return m, false
	}
	// Legs that share media name the same addresses within seconds. But if a
	// call is much older than another and does not name the sender, as the
	// other does, its BYE was missed, and its port went to the other.
	if m.n == 2 && m.e[0].from-m.e[1].from > legsApart && from.has(m.e[0].key) && !from.has(m.e[1].key) {
		m.n = 1
	}
	return m, false
}

// legsApart is how far apart (ns of clock) two legs of one call may begin.
const legsApart = int64(10e9)

func (s *Shard) bind(i uint32, m match, sends bool, clock int64) {
	k := s.streams.at(i).key
	for _, e := range m.e[:m.n] {
		// Either end may have moved: the stream began with the later offer.
		epoch := max(s.group.dir.epoch(k.from(), e.key, clock), s.group.dir.epoch(k.to(), e.key, clock))
		from := e.side
		if !sends {
			from = other(e.side)
		}
		s.streams.bind(i, e.key, from, epoch, s.bindTape(e.key, e.plan))
		if e.srtp {
			s.streams.at(i).flags |= streamSRTP
		}
	}
	if s.records() {
		s.adoptHeld(i, clock)
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

// retype takes note of the first packet, or of another payload type.
func (s *Shard) retype(i uint32, p *sample) {
	e, c := s.streams.at(i), s.streams.coldAt(i)
	if e.flags&streamRTP == 0 {
		e.flags |= streamRTP
		e.ttl = [2]uint8{p.ttl, p.ttl}
		c.dscp, c.vlan = p.dscp, p.vlan
	}
	e.pt = p.pt
	s.rate(i, p.clock)
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
				if p, ok := s.group.dir.payload(at, key, clock, e.pt); ok {
					return p, true
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
		s.bind(i, m, sends, clock)
		e.flags |= streamLate
		if e.flags&streamRTP != 0 {
			s.rate(i, clock)
		}
		return
	}
	s.refresh(i, false, clock)
	idle, wait := uint32(idleTicks), int64(maxWait)
	if e.flags&streamRTP != 0 && !e.hot.Confirmed() {
		idle, wait = noiseTicks, maxNoise
	}
	if uint32(tick)-e.tick >= idle {
		s.giveUp(i, clock)
		return
	}
	s.streams.schedule(i, tick+c.wait)
	c.wait = min(2*c.wait, wait)
}

// giveUp ends a stream that no call claimed.
func (s *Shard) giveUp(i uint32, clock int64) {
	s.refresh(i, true, clock)
	e := s.streams.at(i)
	switch {
	case e.flags&streamRTP == 0:
		s.stats.OrphanRTCP++
	case !e.hot.Confirmed():
		s.stats.Unconfirmed += s.counted(i)
	default:
		r := s.measured(i, nil, clock).finish()
		s.stats.Orphan += s.counted(i)
		s.stats.Orphans++
		s.emit(clock, r)
		for _, h := range s.splitReports(i, nil, clock) {
			s.stats.Orphans++
			s.emit(clock, h.finish())
		}
	}
	s.remove(i)
}

// remove lets a stream go.
func (s *Shard) remove(i uint32) {
	delete(s.digits, i)
	delete(s.halves, i)
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
	switch {
	case o.kind == orderRecall:
		s.recall(o.key, o.clock)
		return
	case o.kind == orderCollect && s.records():
		s.collectTape(o.key, o.clock)
	}
	i, ok := s.streams.ofCall[o.key]
	if !ok {
		return
	}
	s.refreshCall(i, o.key, o.clock)
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
		c := s.streams.coldAt(i)
		b := c.binding(o.key)
		next := b.next
		if c.bindings() == 1 {
			s.refresh(i, true, o.clock)
		}
		*lane.add() = report{
			ref:    o.key.ref,
			stream: s.measured(i, b, o.clock),
		}
		for _, h := range s.splitReports(i, b, o.clock) {
			*lane.add() = report{ref: o.key.ref, stream: h}
		}
		if s.records() {
			_, h := s.streams.heldBinding(i, o.key)
			*h = heldBinding{}
		}
		*b = binding{}
		if c.unbound() {
			s.stats.InCalls += s.counted(i)
			s.streams.calls--
			s.remove(i)
		}
		i = next
	}
	delete(s.streams.ofCall, o.key)
}
