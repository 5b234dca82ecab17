package flow

import (
	"slices"

	"ringside/dataplane/frame"
	"ringside/flow/call"
	"ringside/flow/quality"
	"ringside/flow/record"
	"ringside/flow/rtp"
	"ringside/flow/sip"
)

// classify takes a batch apart: SIP goes to the owners of its calls, RTP and
// RTCP to those who meter its streams, and the rest is counted.
func (s *Shard) classify(b *frame.Batch) {
	for i := range b.Frames {
		if f := &b.Frames[i]; f.Lost > 0 {
			s.stats.CaptureLost += uint64(f.Lost)
			s.group.gaps.add(f.Clock)
		}
	}
	for i := range b.Packets {
		switch p := &b.Packets[i]; p.Proto {
		case frame.ProtoUDP:
			s.datagram(p)
		case frame.ProtoTCP:
			s.segment(p)
		default:
			s.stats.SCTP++
		}
	}
}

// firstMediaPort is the lowest port on which media is looked for, whatever SDP
// says: below are the well-known services (RFC 6335), DNS above all, whose
// random identifiers look like RTP.
const firstMediaPort = 1024

func (s *Shard) datagram(p *frame.Packet) {
	b := p.Payload
	switch {
	case len(b) == 0:
		s.stats.UDPEmpty++
	case b[0]>>6 == 2: // version 2 of RTP and RTCP; no SIP begins so
		s.sample(p)
	default:
		if rest := trimKeepalive(b); len(rest) == 0 {
			s.stats.Keepalives++
		} else if sip.Looks(rest) {
			s.messages(p, rest)
		} else {
			s.stats.countKind(rtp.Demux(b))
		}
	}
}

// sample takes from RTP and RTCP what their metering needs.
func (s *Shard) sample(p *frame.Packet) {
	if p.Src.Port < firstMediaPort || p.Dst.Port < firstMediaPort {
		s.stats.UDPOther++
		return
	}
	if rtp.IsRTCP(p.Payload) {
		s.reportsOf(p)
		return
	}
	var h rtp.Header
	if !rtp.ParseHeader(p.Payload, int(p.Len), &h) {
		s.stats.UDPOther++
		return
	}
	s.stats.RTP++
	m := s.sampleOf(p, p.Src, p.Dst, h.SSRC)
	m.ts, m.len, m.seq, m.pt = h.TS, h.Len, h.Seq, h.Type
	m.kind = sampleRTP
	if h.Marker {
		m.kind = sampleMarked
	}
}

// sampleOf begins a sample of a stream, in the lane to the shard that owns
// the flow.
func (s *Shard) sampleOf(p *frame.Packet, from, to frame.Endpoint, ssrc uint32) *sample {
	m := s.samples[s.pick(frame.FlowHash(from, to))].add()
	// Field by field: as one value it would be put together on the stack, and
	// copied in words larger than they were written in, which stalls.
	k := &m.key
	k.src, k.dst, k.sport, k.dport, k.ssrc = from.Addr, to.Addr, from.Port, to.Port, ssrc
	m.hash = k.hash()
	m.time, m.clock = p.Time, p.Clock
	m.ttl, m.dscp, m.vlan = p.TTL, p.DSCP, -1
	if p.Flags&frame.FlagVLAN != 0 {
		m.vlan = int16(p.VLAN)
	}
	return m
}

// reportsOf reads an RTCP compound packet. What it says of a stream goes under
// that stream's key: the addresses in the direction of the stream, which is
// the packet's own for a sender report and the opposite for a report block.
func (s *Shard) reportsOf(p *frame.Packet) {
	s.stats.RTCP++
	if !rtp.ValidRTCP(p.Payload, int(p.Len)) {
		s.stats.BadRTCP++
		return
	}
	var c rtp.Control
	rest, ok := rtp.Walk(p.Payload, &c)
	for ; ok; rest, ok = rtp.Walk(rest, &c) {
		if info, ok := c.Sender(); ok {
			m := s.sampleOf(p, p.Src, p.Dst, c.SSRC)
			m.kind, m.ts, m.len = sampleSender, info.MiddleNTP(), info.Packets
		}
		for i := 0; ; i++ {
			b, ok := c.Block(i)
			if !ok {
				break
			}
			m := s.sampleOf(p, p.Dst, p.Src, b.SSRC)
			m.kind, m.ts, m.len, m.pt = sampleBlock, b.Jitter, b.LSR, b.Fraction
			m.dlsr, m.lost = b.DLSR, b.Lost
		}
	}
}

// segment reads the SIP messages that stand whole in one TCP segment. Streams
// are not put together here: what begins in one segment and ends in another is
// read as far as it goes, and the rest is counted.
func (s *Shard) segment(p *frame.Packet) {
	switch rest := trimKeepalive(p.Payload); {
	case len(p.Payload) == 0:
		s.stats.TCPEmpty++
	case len(rest) == 0:
		s.stats.Keepalives++
	case sip.Looks(rest):
		s.messages(p, rest)
	default:
		s.stats.TCPOther++
	}
}

// trimKeepalive cuts off the line ends and zero bytes that keep connections
// and bindings alive (RFC 5626 section 3.5.1), and that may come before a
// message (RFC 3261 section 7.5).
func trimKeepalive(b []byte) []byte {
	for len(b) > 0 && (b[0] == '\r' || b[0] == '\n' || b[0] == 0) {
		b = b[1:]
	}
	return b
}

// messages reads the SIP messages of one packet: one in a datagram, any
// number in a segment.
func (s *Shard) messages(p *frame.Packet, b []byte) {
	s.stats.SIPPackets++
	for len(b) > 0 && sip.Looks(b) {
		m := &s.message
		n, err := m.Parse(b)
		if err != nil {
			s.stats.countSIPError(err)
			return
		}
		s.stats.SIPMessages++
		vlan := int32(-1)
		if p.Flags&frame.FlagVLAN != 0 {
			vlan = int32(p.VLAN)
		}
		cut := m.Flags&sip.FlagCut != 0 || p.Flags&frame.FlagCut != 0
		if cut {
			s.stats.SIPCut++
		}
		meta := call.Meta{
			Time: p.Time, Clock: p.Clock, Seq: p.Seq, Src: p.Src, Dst: p.Dst,
			Proto: p.Proto, VLAN: vlan, DSCP: p.DSCP, Cut: cut,
		}
		s.route(m, &meta)
		if p.Proto == frame.ProtoUDP || n <= 0 {
			return
		}
		b = trimKeepalive(b[n:])
	}
	if len(b) > 0 {
		s.stats.TCPTails++
	}
}

// route hands a message to the owner of its call.
func (s *Shard) route(m *sip.Message, meta *call.Meta) {
	l := s.signals[s.pick(callHash(m.Get(m.CallID)))]
	item := l.add()
	item.bytes = append(item.bytes[:0], m.Buf...)
	item.msg, item.meta = *m, *meta
	item.msg.Buf = item.bytes
}

// pick chooses a shard by the upper half of a hash. It multiplies where a
// remainder would divide, which is dear for every packet.
func (s *Shard) pick(hash uint64) int {
	return int(hash >> 32 * uint64(len(s.peers)) >> 32)
}

// callHash is FNV-1a, with a last mix so that its upper bits are good.
func callHash(id []byte) uint64 {
	h := uint64(14695981039346656037)
	for _, c := range id {
		h = (h ^ uint64(c)) * 1099511628211
	}
	return (h ^ h>>32) * 0x9e3779b97f4a7c15
}

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
		m, from := s.oldest(limit)
		until := limit - 1
		if m != nil {
			until = m.meta.Clock - 1
		} else if limit == end {
			until = s.lastClock
		}
		if !s.advance(until) {
			reached = s.advanced + 1
			break
		}
		if m == nil {
			break
		}
		s.seq = m.meta.Seq
		if f := s.group.options.Message; f != nil {
			f(&m.msg, &m.meta)
		}
		s.table.Message(&m.msg, &m.meta)
		s.signalIn[from].next++
	}
	if reached == end {
		s.table.CloseAll(s.lastClock)
	}
	s.settledTo = reached
	return s.saySettled()
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
		s.advanced = step
	}
	return len(s.probes) == 0
}

// oldest is the first message with a clock below limit among all lanes, and
// the peer whose lane it is in; nil if there is none.
func (s *Shard) oldest(limit int64) (first *signal, from int) {
	for i := range s.signalIn {
		m := s.signalIn[i].head(s.peers[i].signals[s.id])
		if m == nil || m.meta.Clock >= limit {
			continue
		}
		if first == nil || m.meta.Clock < first.meta.Clock ||
			m.meta.Clock == first.meta.Clock && m.meta.Seq < first.meta.Seq {
			first, from = m, i
		}
	}
	return first, from
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
}

// maxNamed is how many addresses of one call the directory holds, enough for the
// ICE candidates of audio and video of both sides. Further ones replace the
// oldest.
const maxNamed = 128

func (s *Shard) name(ref call.Ref, m *call.Media, at frame.Endpoint, clock int64) {
	if at.Port == 0 || at.Addr.IsZero() {
		return
	}
	e := &endpoint{
		at: at, key: callKey{ref, uint16(s.id)}, from: clock, seq: s.seq,
		side: m.Side, kind: m.Kind, srtp: m.SRTP,
	}
	e.n = uint8(copy(e.payloads[:], m.Payloads[:m.N]))
	if slices.ContainsFunc(s.named[ref], e.repeats) {
		return
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
	rec := s.table.Finish(c.ref)
	if rec.Answer == 0 {
		for i := range rec.Streams {
			r := &rec.Streams[i]
			r.Compat = quality.Unconnected(r.Compat, r.Received)
		}
	}
	s.former = append(s.former, former{s.named[c.ref], c.clock + reuseWindow})
	delete(s.named, c.ref)
	if s.reused[c.ref] {
		rec.Flags |= record.PortReuse
		delete(s.reused, c.ref)
	}
	if s.group.gaps.within(rec.Start, max(rec.End, rec.Last), c.clock) {
		rec.Flags |= record.Incomplete
	}
	s.emit(c.clock, rec, nil)
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
