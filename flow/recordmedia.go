package flow

import (
	"cmp"
	"slices"

	"ringside/dataplane/frame"
	"ringside/flow/meter"
	"ringside/flow/quality"
	"ringside/flow/rule"
)

// heldStream is what a stream needs to be recorded, on one line of the cache.
type heldStream struct {
	chain          frame.Kept // packets that a call of it does not want yet, the last one
	bind           [maxBindings]heldBinding
	received, lost uint64 // when its quality was looked at last
}

// heldBinding is a call of the stream, by the number of its binding.
type heldBinding struct {
	took int64      // clock of the last packet on the tape
	tape uint32     // 0: none
	bad  rule.Level // wanted since the quality is bad
}

// keepMedia keeps the frame of an RTP or RTCP packet, whose header has so many
// bytes, for the next sample; one of a batch that is lent it only names. What came
// in fragments is kept already.
func (s *Shard) keepMedia(b *frame.Batch, p *frame.Packet, header int, to *outlet, lending uint32) {
	if to.frames {
		p.Kept = noCopy
		if f := s.frameOf(b, p.Seq); f != nil {
			head, end := offset(f, p.Payload)+header, len(f.Data)
			if s.rec.rtp == rule.Header {
				end = min(end, head)
			}
			if s.header = int32(head); lending != 0 {
				p.Kept = lending | uint32(s.cursor)
			} else {
				p.Kept = s.shelf.put(f, end, head)
			}
		}
	}
	s.unsaid = p.Kept
}

// linkParts links the frames of a datagram to the last one, which has completed
// it. Each may have parts itself, of a datagram that it was in.
func (s *Shard) linkParts(frames []frame.Kept, last frame.Kept) {
	if last.At <= noCopy {
		return
	}
	slices.SortFunc(frames, func(a, b frame.Kept) int { return cmp.Compare(b.Clock, a.Clock) })
	at, floor := s.group.keeper.at(last.At), s.floor.Load()
	for _, k := range frames {
		for next := at.follow(keptPart); next.At != 0; next = at.follow(keptPart) {
			if next.At == noCopy || next.Clock < floor {
				return
			}
			at = s.group.keeper.at(next.At)
		}
		if k.At == last.At {
			continue
		}
		at.chain(keptPart, k)
	}
}

// bindTape is the tape of a call's media in this shard, 0 if nothing is recorded.
func (s *Shard) bindTape(key callKey, p *plan) uint32 {
	if p == nil {
		return 0
	}
	n, ok := s.rec.media[key]
	if !ok {
		n = s.rec.tapes.begin(p)
		s.rec.media[key] = n
	}
	return n
}

// fetchTapes looks at what recording the packets of some streams needs, so that the
// cache misses of several overlap.
func (s *Shard) fetchTapes(streams []uint32) {
	list := s.rec.tapes.list
	for _, i := range streams {
		if i != noStream {
			if n := s.streams.heldAt(i).bind[0].tape; n != 0 {
				t := &list[n-1]
				if s.rec.touched += t.stored; t.want != nil && t.want == t.plan.head.Load() {
					s.rec.touched += uint32(t.want.policy.Rule)
				}
			}
		}
	}
}

// recordSample records a packet of stream i, and holds it where a call of the
// stream does not want it yet, or no call is known yet.
func (s *Shard) recordSample(i uint32, p *sample) {
	h, k := s.streams.heldAt(i), frame.Kept{Clock: p.clock, At: p.kept}
	bound, idle := false, false
	for n := range h.bind {
		b := &h.bind[n]
		if b.tape == 0 {
			continue
		}
		bound = true
		t := s.rec.tapes.at(b.tape)
		if t.want == nil || t.want != t.plan.head.Load() {
			t.want = t.plan.at(k.Clock)
		}
		level := b.bad
		if t.want != nil {
			level = max(level, t.want.policy.Want[rule.RTP])
		}
		if level == rule.None {
			idle = true
			continue
		}
		if h.chain.At != 0 && h.chain.Clock > b.took {
			s.takeHeld(h, b, k.Clock, end, rule.None)
		}
		if isLent(k.At) {
			s.takeLent(b.tape, level, p)
		} else {
			s.take(k.Clock, b.tape, rule.RTP, level, k)
		}
		b.took = k.Clock
	}
	if bound && !idle {
		h.chain = frame.Kept{}
		return
	}
	if isLent(k.At) {
		k.At = s.keepLent(p)
	}
	if k.At > noCopy {
		s.group.keeper.at(k.At).chain(keptBack, h.chain)
		h.chain = k
	}
}

// takeHeld takes what a stream holds and a call of it wants by now: what the
// rules want of that time, and from since on no less than level.
func (s *Shard) takeHeld(h *heldStream, b *heldBinding, now, since int64, level rule.Level) {
	p, floor := s.rec.tapes.at(b.tape).plan, s.floor.Load()
	from := max(now-s.group.keeper.lookBack, b.took+1)
	wants := func(clock int64) rule.Level {
		want := p.level(clock, now)
		if clock >= since {
			want = max(want, level)
		}
		return want
	}
	held := s.rec.held[:0]
	for k := h.chain; k.At != 0; {
		if k.Clock < floor {
			if k.Clock >= from && wants(k.Clock) != rule.None {
				s.rec.tapes.at(b.tape).missed++ // and who knows how many before it
			}
			break
		}
		c := s.group.keeper.at(k.At)
		if c.clock() < from {
			break
		}
		held = append(held, frame.Kept{Clock: c.clock(), At: k.At})
		k = c.follow(keptBack)
	}
	for i := len(held) - 1; i >= 0; i-- {
		if l := wants(held[i].Clock); l != rule.None {
			s.take(now, b.tape, rule.RTP, l, held[i])
		}
	}
	b.took = max(b.took, h.chain.Clock)
	s.rec.held = held
}

// recall takes what the streams of a call hold, now that a rule came true that
// wants what was before. It goes through all bindings of a stream, whose order
// means nothing.
func (s *Shard) recall(key callKey, now int64) {
	i, ok := s.streams.ofCall[key]
	for ok && i != noStream {
		h, b := s.streams.heldBinding(i, key)
		if h.chain.At != 0 && b.tape != 0 {
			s.takeHeld(h, b, now, end, rule.None)
		}
		i = s.streams.coldAt(i).binding(key).next
	}
	s.want(key, now)
}

// adoptHeld records what a stream held before its call was known.
func (s *Shard) adoptHeld(i uint32, now int64) {
	h := s.streams.heldAt(i)
	for n := range h.bind {
		if b := &h.bind[n]; h.chain.At != 0 && b.tape != 0 {
			s.takeHeld(h, b, now, end, rule.None)
		}
	}
}

// carry records RTCP that says nothing of a stream, be it encrypted or malformed,
// for the calls that receive or send it.
func (s *Shard) carry(p *sample, at uint32) {
	k := frame.Kept{Clock: p.clock, At: p.kept}
	if at == noStream {
		at = s.streams.find(&p.key, p.hash) // a sample just before may have made it
	}
	if at != noStream {
		s.recordSample(at, p)
		return
	}
	m, _ := s.calls(&p.key, p.clock)
	for _, e := range m.e[:m.n] {
		n := s.bindTape(e.key, e.plan)
		if n == 0 {
			continue
		}
		if w := e.plan.at(p.clock); w != nil && w.policy.Want[rule.RTP] != rule.None {
			s.take(p.clock, n, rule.RTP, w.policy.Want[rule.RTP], k)
		}
	}
}

// judgeEvery is how many packets of a stream pass between two looks at its
// quality, where a rule asks for it.
const judgeEvery = 256

// judgeStream asks the rules about the quality of a stream since they were asked
// last. What they want then holds for both directions.
func (s *Shard) judgeStream(i uint32, now int64) {
	c, h := s.streams.coldAt(i), s.streams.heldAt(i)
	asked := false
	var q rule.Quality
	for n := range h.bind {
		b := &h.bind[n]
		if b.tape == 0 || b.bad == rule.Full {
			continue
		}
		plan := s.rec.tapes.at(b.tape).plan
		w := plan.at(now)
		if w == nil || w.policy.Watch == 0 {
			continue
		}
		if !asked {
			q, asked = s.qualityOf(i), true
		}
		if p, fires := plan.rules.Fires(w.policy, q); fires {
			s.turnedBad(i, c.bind[n].key, p, now)
		}
	}
}

func (s *Shard) qualityOf(i uint32) (q rule.Quality) {
	e, c, h := s.streams.at(i), s.streams.coldAt(i), s.streams.heldAt(i)
	m := meter.Finish(&e.hot, &c.meter)
	received, lost := m.Counters.Received-h.received, m.Counters.Lost-min(h.lost, m.Counters.Lost)
	h.received, h.lost = m.Counters.Received, m.Counters.Lost
	if received+lost > 0 {
		q.Loss = 100 * float64(lost) / float64(received+lost)
	}
	q.Jitter = m.Counters.JitterMax
	q.MOS = quality.Estimate(c.meaning(m.Payload).Codec, m.Total, m.Worst, 0).LQ
	return q
}

// turnedBad records from now on, and what is held, of stream i and of the one in
// the other direction.
func (s *Shard) turnedBad(i uint32, key callKey, p rule.Policy, now int64) {
	this := s.streams.at(i).key
	for at := s.streams.ofCall[key]; at != noStream; at = s.streams.coldAt(at).binding(key).next {
		k := &s.streams.at(at).key
		if !(k.from() == this.from() && k.to() == this.to() || k.from() == this.to() && k.to() == this.from()) {
			continue
		}
		h, b := s.streams.heldBinding(at, key)
		b.bad = max(b.bad, p.Want[rule.RTP])
		t := s.rec.tapes.at(b.tape)
		if t.level = max(t.level, b.bad); t.rule == 0 || p.Rule < t.rule {
			t.rule = p.Rule
		}
		if h.chain.At != 0 {
			s.takeHeld(h, b, now, now-int64(p.LookBack), b.bad)
		}
	}
	s.want(key, now)
}

// collectTape ends the tape of the media of a call, and reports it.
func (s *Shard) collectTape(key callKey, now int64) {
	i, ok := s.streams.ofCall[key]
	for ok && i != noStream {
		s.judgeStream(i, now)
		i = s.streams.coldAt(i).binding(key).next
	}
	s.recall(key, now)
	n, ok := s.rec.media[key]
	if !ok {
		return
	}
	delete(s.rec.media, key)
	t := s.endTape(n)
	t.plan, t.want = nil, nil
	*s.reports[key.owner].add() = report{ref: key.ref, tape: &t}
}
