package flow

import (
	"slices"
	"sync/atomic"

	"ringside/dataplane/frame"
	"ringside/flow/call"
	"ringside/flow/quality"
	"ringside/flow/record"
	"ringside/flow/sip"
)

// settle reads the messages of the calls that this shard owns, in the order of
// (Clock, Seq), and runs their timers, up to the clock that all workers have
// read; less where a probe must be answered first.
func (s *Shard) settle() bool {
	if s.settledTo > s.settled.Load() {
		return s.saySettled()
	}
	limit := s.lowest(signalledMark)
	if limit <= s.settled.Load() {
		return false
	}
	reached := limit
	for {
		from := oldest(s.signalIn, limit, (*signal).place)
		until := limit - 1
		var m *signal
		if from != nil {
			m = from.head()
			until = m.meta.Clock - 1
		} else if limit == end {
			until = s.lastClock()
		}
		if !s.advance(until) {
			reached = s.advanced + 1
			break
		}
		if m == nil {
			break
		}
		s.signal(m)
		from.next++
	}
	if reached == end {
		s.table.CloseAll(s.lastClock())
		s.registers.CloseAll(s.lastClock())
	}
	s.settledTo = reached
	return s.saySettled()
}

// signal takes one message, unless it is the mirror's second copy.
func (s *Shard) signal(m *signal) {
	again := m.to == toRegister && m.msg.Method == sip.OPTIONS // it goes to the owner of its Call-ID too
	if s.duplicateSignal(m, !again) {
		if !again && m.to != toNobody {
			s.stats.SIPDuplicates++
		}
		return
	}
	if m.to == toNobody {
		if s.records() {
			s.recordOdd(m)
		}
		s.emit(m.meta.Clock, parseError(m.reason, &m.meta, s.group.options.Sensor))
		return
	}
	s.seq, s.callID = m.meta.Seq, m.msg.Get(m.msg.CallID)
	if f := s.group.options.Message; f != nil && !again {
		f(&m.msg, &m.meta)
	}
	s.qualityReport(m)
	s.rec.reading, s.rec.took = m, 0
	if m.to == toRegister {
		s.registers.Message(&m.msg, &m.meta)
	} else if !s.table.Message(&m.msg, &m.meta) && registered(m.msg.Method) {
		s.registers.Message(&m.msg, &m.meta)
	}
	if s.records() && !again {
		s.recordSignal(m)
	}
}

func (s *Shard) saySettled() bool {
	if !flushAll(s.orders) || s.settledTo <= s.settled.Load() {
		return false
	}
	s.settled.Store(s.settledTo)
	return true
}

// advance runs the timers up to a clock, itself included. It goes in steps
// that no probe fits in with the time to answer it. With false it stops at a
// probe: what comes next, timer or message, may depend on the answer.
func (s *Shard) advance(clock int64) bool {
	for s.advanced < clock && len(s.probes) == 0 {
		step := clock
		if s.table.Open() > 0 {
			step = min(step, s.advanced+call.ProbeWait-1)
		}
		s.table.Advance(step)
		s.registers.Advance(step)
		s.advanced = step
	}
	return len(s.probes) == 0
}

// publish puts the addresses of media that SDP named into the directory.
func (s *Shard) publish(ref call.Ref, m *call.Media, clock int64) {
	s.name(ref, m, m.At, clock)
	if !m.Mux && m.RTCP != m.At {
		s.name(ref, m, m.RTCP, clock)
	}
	for _, at := range m.Candidates[:m.NCandidates] {
		s.name(ref, m, at, clock)
	}
	if !m.From.IsZero() && m.From != m.At.Addr && private(m.At.Addr) && !private(m.From) {
		s.nameAs(ref, m, frame.Endpoint{Addr: m.From, Port: m.At.Port}, clock, true)
	}
}

// private reports whether an address is one behind a NAT (RFC 1918, RFC 6598,
// RFC 4193): seen from elsewhere, media comes from another.
func private(a frame.Addr) bool {
	if a.Is4() {
		ip := uint32(a.Lo)
		return ip>>24 == 10 || ip>>20 == 0xac1 || ip>>16 == 0xc0a8 || ip>>22 == 0x64<<2|1
	}
	return a.Hi>>57 == 0xfc>>1
}

// maxNamed is how many addresses of one call the directory holds, enough for the
// ICE candidates of audio and video of both sides. Further ones replace the
// oldest.
const maxNamed = 128

// name puts an address into the directory, and its alias if it has one.
func (s *Shard) name(ref call.Ref, m *call.Media, at frame.Endpoint, clock int64) {
	s.nameAs(ref, m, at, clock, false)
	if alias, ok := s.group.options.NATAlias[at.Addr]; ok {
		s.nameAs(ref, m, frame.Endpoint{Addr: alias, Port: at.Port}, clock, false)
	}
}

func (s *Shard) nameAs(ref call.Ref, m *call.Media, at frame.Endpoint, clock int64, guessed bool) {
	if at.Port == 0 || at.Addr.IsZero() {
		return
	}
	e := &endpoint{
		at: at, key: callKey{ref, uint16(s.id)}, from: clock, seq: s.seq, id: callHash(s.callID), epoch: m.Epoch,
		side: m.Side, kind: m.Kind, srtp: m.SRTP, guessed: guessed,
	}
	if p := s.rec.calls[ref]; p != nil {
		e.plan = &p.plan
	}
	e.n = uint8(copy(e.payloads[:], m.Payloads[:m.N]))
	if slices.ContainsFunc(s.named[ref], e.repeats) {
		return
	}
	if named := s.named[ref]; len(named) > 0 {
		e.over = named[0].over
	} else {
		e.over = new(atomic.Int64)
		e.over.Store(forever)
	}
	s.replace(ref, e)
	s.named[ref] = append(s.named[ref], e)
	s.group.dir.publish(e)
	*s.orders[s.id].add() = order{kind: orderReuse, key: e.key, at: at, clock: clock}
}

// replace ends the entries in whose place e stands from now on. Two of one
// message do not replace each other.
func (s *Shard) replace(ref call.Ref, e *endpoint) {
	var old []*endpoint
	keep := s.named[ref][:0]
	for i, o := range s.named[ref] {
		if e.instead(o) && o.seq != e.seq || i == 0 && len(s.named[ref]) >= maxNamed {
			o.replaced.Store(e.from)
			old = append(old, o)
		} else {
			keep = append(keep, o)
		}
	}
	if len(old) > 0 {
		clear(s.named[ref][len(keep):])
		s.named[ref] = keep
		s.former = append(s.former, former{old, e.from})
	}
}

// ending says that a call was hung up: a stream that is new from now on is not
// its own. Those it has go on until it is closed.
func (s *Shard) ending(ref call.Ref, clock int64) {
	for _, e := range s.named[ref] {
		e.until.Store(min(e.until.Load(), clock))
	}
}

// closed asks all shards for the streams of a call that is over.
func (s *Shard) closed(ref call.Ref, clock int64) {
	s.ending(ref, clock)
	if named := s.named[ref]; len(named) > 0 {
		named[0].over.Store(clock)
	}
	if s.records() {
		s.judgeOutcome(ref, clock)
	}
	s.closing = append(s.closing, closing{ref, clock})
	s.ask(order{kind: orderCollect, key: callKey{ref, uint16(s.id)}, clock: clock})
}

// probe asks all shards whether media of a call still flows.
func (s *Shard) probe(ref call.Ref, clock int64) {
	s.probes = append(s.probes, probe{ref, clock})
	s.ask(order{kind: orderProbe, key: callKey{ref, uint16(s.id)}, clock: clock})
}

func (s *Shard) ask(o order) {
	for _, p := range s.peers {
		*s.orders[p.id].add() = o
	}
}

// finish builds the records of the calls whose media has been metered.
func (s *Shard) finish() bool {
	done := s.lowest(meteredMark)
	if done <= s.mark {
		return false
	}
	for _, p := range s.peers {
		lane := p.reports[s.id]
		for c := lane.take(); c != nil; c = lane.take() {
			for i := range *c {
				s.reported(&(*c)[i])
				(*c)[i] = report{}
			}
			lane.give(c)
		}
	}
	n := 0
	for _, c := range s.closing {
		if c.clock >= done && done != end {
			s.closing[n] = c
			n++
			continue
		}
		s.finishCall(c)
	}
	s.closing = s.closing[:n]
	for len(s.probes) > 0 && s.probes[0].clock < done {
		ref := s.probes[0].ref
		s.table.MediaAlive(ref, s.alive[ref])
		delete(s.alive, ref)
		s.probes = s.probes[1:]
	}
	s.forget(done)
	s.mark = done
	// What others have finished waits for this mark. Waking the sink for each
	// batch would cost more than the batch.
	if len(s.emitted) > 0 || done-s.delivered >= deliverEvery || done == end {
		s.publishStats()
		s.group.out <- delivery{s.id, done, s.emitted}
		s.emitted, s.delivered = nil, done
	}
	return true
}

// deliverEvery is how far (ns of the clock) a shard goes without saying so to
// the sink when it has no records.
const deliverEvery = int64(100e6)

func (s *Shard) reported(r *report) {
	switch {
	case r.tape != nil:
		s.rec.tallies[r.ref] = append(s.rec.tallies[r.ref], *r.tape)
	case r.reuse:
		s.reused[r.ref] = true
	case r.stream == nil:
		s.alive[r.ref] = max(s.alive[r.ref], r.last)
	default:
		s.media[r.ref] = append(s.media[r.ref], r.stream)
	}
}

func (s *Shard) finishCall(c closing) {
	streams := s.media[c.ref]
	delete(s.media, c.ref)
	rtcp := controlsOf(streams)
	for _, m := range streams {
		if m.record.Packets > 0 {
			m.adopt(rtcp)
			s.table.AddStream(c.ref, m.finish())
		}
	}
	s.table.AddDigits(c.ref, digitsOf(streams))
	rec := s.table.Finish(c.ref)
	if s.records() {
		s.recordedCall(c.ref, rec)
	}
	repass(rec)
	if rec.Answer == 0 {
		for i := range rec.Streams {
			r := &rec.Streams[i]
			r.Compat = quality.Unconnected(r.Compat, r.Received)
		}
	}
	s.mirrorLost(rec, c.clock)
	s.former = append(s.former, former{s.named[c.ref], c.clock + reuseWindow})
	delete(s.named, c.ref)
	if s.reused[c.ref] {
		rec.Flags |= record.PortReuse
		delete(s.reused, c.ref)
	}
	if hairpin(rec.Streams) {
		rec.Flags |= record.Hairpin
	}
	missed := slices.ContainsFunc(streams, func(m *measured) bool { return m.missed })
	if missed || s.group.gaps.within(rec.Start, max(rec.End, rec.Last), c.clock) {
		rec.Flags |= record.Incomplete
	}
	s.emit(c.clock, rec)
}

// hairpin reports whether a stream was sent to an address that sent it on: both
// halves of it were captured.
func hairpin(streams []record.Stream) bool {
	for i := range streams {
		for j := range streams {
			a, b := &streams[i], &streams[j]
			if i != j && a.SSRC == b.SSRC && a.Dst.Addr() == b.Src.Addr() && a.Src.Addr() != b.Dst.Addr() &&
				a.First <= b.Last && b.First <= a.Last {
				return true
			}
		}
	}
	return false
}

// forget takes endpoints that were given up out of the directory once no shard
// can ask about them any more. One that stands behind a later one waits for it.
func (s *Shard) forget(done int64) {
	n := 0
	for n < len(s.former) && s.former[n].until < done {
		for _, e := range s.former[n].endpoints {
			s.group.dir.remove(e)
		}
		n++
	}
	s.former = slices.Delete(s.former, 0, n)
}
