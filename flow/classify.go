package flow

import (
	"encoding/binary"

	"ringside/dataplane/frame"
	"ringside/flow/call"
	"ringside/flow/record"
	"ringside/flow/register"
	"ringside/flow/rtp"
	"ringside/flow/rule"
	"ringside/flow/sip"
)

// classify takes a batch apart: SIP goes to the owners of its calls, RTP and
// RTCP to those who meter its streams, what is only a part of something to
// those who put it together, and the rest is counted.
func (s *Shard) classify(b *frame.Batch, to *outlet) {
	for i := range b.Frames {
		if f := &b.Frames[i]; f.Lost > 0 {
			s.stats.CaptureLost += uint64(f.Lost)
			s.group.gaps.add(f.Time, f.Clock)
		}
	}
	s.announce(b.Metered, to)
	s.cursor = 0
	for i := range b.Fragments {
		s.fragment(b, &b.Fragments[i], to)
	}
	s.cursor = 0
	s.packets(b, to)
	s.census.hand(&s.group.mirrors)
}

// packets sorts packets by what they carry.
func (s *Shard) packets(b *frame.Batch, to *outlet) {
	for i := range b.Packets {
		switch p := &b.Packets[i]; p.Proto {
		case frame.ProtoUDP:
			s.datagram(b, p, to)
		default:
			s.segment(b, p, to)
		}
	}
}

// firstMediaPort is the lowest port on which media is looked for, whatever SDP
// says: below are the well-known services (RFC 6335), DNS above all, whose
// random identifiers look like RTP.
const firstMediaPort = 1024

func (s *Shard) datagram(b *frame.Batch, p *frame.Packet, to *outlet) {
	payload := p.Payload
	switch {
	case len(payload) == 0:
		s.stats.UDPEmpty++
	case payload[0]>>6 == 2: // version 2 of RTP and RTCP; no SIP begins so
		s.sample(b, p, to)
	default:
		if rest := trimKeepalive(payload); len(rest) == 0 {
			s.stats.Keepalives++
		} else if sip.Looks(rest) {
			s.stats.SIPPackets++
			s.datagramMessage(b, p, rest, to)
		} else {
			s.stats.countKind(rtp.Demux(payload))
		}
	}
}

// sample takes from RTP and RTCP what their metering needs.
func (s *Shard) sample(b *frame.Batch, p *frame.Packet, to *outlet) {
	if p.Src.Port < firstMediaPort || p.Dst.Port < firstMediaPort {
		s.stats.UDPOther++
		return
	}
	if rtp.IsRTCP(p.Payload) {
		s.reportsOf(b, p, to)
		return
	}
	var h rtp.Header
	if !rtp.ParseHeader(p.Payload, int(p.Len), &h) {
		s.stats.UDPOther++
		return
	}
	metered := p.Flags&frame.FlagMetered != 0
	if metered {
		s.stats.RTPCopies++
	} else {
		s.stats.RTP++
	}
	if s.rec.rtp != rule.None {
		s.keepMedia(b, p, int(h.Offset), to, s.lending)
	}
	m := s.sampleOf(p, to, p.Src, p.Dst, h.SSRC)
	m.ts, m.len, m.seq, m.pt, m.lost = h.TS, h.Len, h.Seq, h.Type, s.header
	if at := int(h.Offset); at+4 <= len(p.Payload) {
		m.dlsr = binary.BigEndian.Uint32(p.Payload[at:])
	}
	switch {
	case metered:
		m.kind = sampleCopy
	case h.Marker:
		m.kind = sampleMarked
	default:
		m.kind = sampleRTP
	}
	if h.Seq&censusMask == 0 {
		s.census.see(m.once(), p)
	}
}

// sampleOf begins a sample of a stream, in the lane to the shard that owns
// the flow.
func (s *Shard) sampleOf(p *frame.Packet, o *outlet, from, to frame.Endpoint, ssrc uint32) *sample {
	m := o.samples[s.pick(frame.FlowHash(from, to))].add()
	// Field by field: as one value it would be put together on the stack, and
	// copied in words larger than they were written in, which stalls.
	k := &m.key
	k.src, k.dst, k.sport, k.dport, k.ssrc = from.Addr, to.Addr, from.Port, to.Port, ssrc^loopMask(p.Loop)
	m.hash = k.hash()
	m.time, m.clock = p.Time, p.Clock
	m.ttl, m.dscp, m.vlan = p.TTL, p.DSCP, -1
	m.id, m.iface = p.ID, p.Iface
	m.dlsr, m.lost, m.seq, m.pt = 0, 0, 0, 0
	if m.kept = s.unsaid; m.kept != 0 {
		s.unsaid = 0
	}
	if p.Flags&frame.FlagVLAN != 0 {
		m.vlan = int16(p.VLAN)
	}
	return m
}

// loopMask makes the SSRCs of each pass of a looped capture its own.
func loopMask(loop uint16) uint32 { return uint32(loop) * 0x9e3779b1 }

// reportsOf reads an RTCP compound packet. What it says of a stream goes under
// that stream's key: the addresses in the direction of the stream, which is
// the packet's own for a sender report and the opposite for a report block.
func (s *Shard) reportsOf(b *frame.Batch, p *frame.Packet, to *outlet) {
	s.stats.RTCP++
	if s.rec.rtp != rule.None {
		s.keepMedia(b, p, len(p.Payload), to, 0)
	}
	if !rtp.ValidRTCP(p.Payload, int(p.Len)) {
		s.stats.BadRTCP++
	} else {
		s.statements(p, to)
	}
	if s.unsaid != 0 {
		ssrc := uint32(0)
		if len(p.Payload) >= 8 {
			ssrc = binary.BigEndian.Uint32(p.Payload[4:])
		}
		m, h := s.sampleOf(p, to, p.Src, p.Dst, ssrc), hashBytes(0, p.Payload) // tells it from others
		m.kind, m.len, m.ts, m.dlsr = sampleCarry, p.Len, uint32(h), uint32(h>>32)
	}
}

// statements takes samples of what RTCP says of streams.
func (s *Shard) statements(p *frame.Packet, to *outlet) {
	var c rtp.Control
	rest, ok := rtp.Walk(p.Payload, &c)
	for ; ok; rest, ok = rtp.Walk(rest, &c) {
		if info, ok := c.Sender(); ok {
			m := s.sampleOf(p, to, p.Src, p.Dst, c.SSRC)
			m.kind, m.ts, m.len = sampleSender, info.MiddleNTP(), info.Packets
		}
		for i := 0; ; i++ {
			b, ok := c.Block(i)
			if !ok {
				break
			}
			m := s.sampleOf(p, to, p.Dst, p.Src, b.SSRC)
			m.kind, m.ts, m.len, m.pt = sampleBlock, b.Jitter, b.LSR, b.Fraction
			m.dlsr, m.lost = b.DLSR, b.Lost
		}
		s.metricsOf(p, &c, to)
	}
}

// fragment hands a fragment to the shard that puts its datagram together.
func (s *Shard) fragment(b *frame.Batch, f *frame.Fragment, to *outlet) {
	f.Kept = 0
	if s.records() {
		f.Kept = s.keepFrame(b, f.Seq, f.Data, headOfFragment(f))
	}
	item := to.fragments[s.pick(f.Outer)].add()
	item.f = *f
	item.bytes = append(item.bytes[:0], f.Data...)
	item.f.Data = item.bytes
	item.tunnel = tunnelOf(b, f.Tunnel)
}

// segment hands a TCP segment, or a packet of SCTP, to the shard that owns all
// flows of its two hosts: TLS may resume on one what was agreed on another.
func (s *Shard) segment(b *frame.Batch, p *frame.Packet, to *outlet) {
	hosts := frame.FlowHash(frame.Endpoint{Addr: p.Src.Addr}, frame.Endpoint{Addr: p.Dst.Addr})
	if s.records() && to.frames {
		p.Kept = 0
		if len(p.Payload) > 0 {
			p.Kept = s.keepFrame(b, p.Seq, nil, -1)
		}
	}
	item := to.segments[s.pick(hosts)].add()
	item.p = *p
	item.bytes = append(item.bytes[:0], p.Payload...)
	item.p.Payload = item.bytes
	item.tunnel = tunnelOf(b, p.Tunnel)
}

func tunnelOf(b *frame.Batch, n uint16) frame.Tunnel {
	if n == 0 {
		return frame.Tunnel{}
	}
	return b.Tunnels[n-1]
}

func tunnelRecord(t *frame.Tunnel) (out record.Tunnel) {
	if t.Kind == frame.NoTunnel {
		return out
	}
	out.Kind, out.ID = t.Kind.String(), t.ID
	if !t.Src.IsZero() {
		out.Src, out.Dst = t.Src.Netip(), t.Dst.Netip()
	}
	return out
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

// datagramMessage reads the SIP message of a datagram.
func (s *Shard) datagramMessage(b *frame.Batch, p *frame.Packet, data []byte, to *outlet) {
	vlan := int32(-1)
	if p.Flags&frame.FlagVLAN != 0 {
		vlan = int32(p.VLAN)
	}
	meta := call.Meta{
		Time: p.Time, Clock: p.Clock, Seq: p.Seq, Src: p.Src, Dst: p.Dst,
		Transport: record.UDP, VLAN: vlan, DSCP: p.DSCP, Cut: p.Flags&frame.FlagCut != 0,
	}
	if p.Tunnel != 0 {
		meta.Tunnel = tunnelRecord(&b.Tunnels[p.Tunnel-1])
	}
	once := onceMessage(p)
	s.census.see(once, p)
	if s.kept = s.kept[:0]; s.records() {
		if to.frames {
			p.Kept = s.keepFrame(b, p.Seq, p.Payload, headOf(p.Payload))
		}
		s.kept = append(s.kept, frame.Kept{Clock: p.Clock, At: p.Kept})
	}
	s.parse(data, &meta, p, once, to)
}

// parse reads one SIP message and hands it on. once is 0 for one of a stream.
func (s *Shard) parse(data []byte, meta *call.Meta, p *frame.Packet, once uint64, to *outlet) {
	m := &s.message
	if _, err := m.Parse(data); err != nil {
		s.stats.countSIPError(err)
		item := to.signals[s.pick(oddGroup(frame.FlowHash(meta.Src, meta.Dst)))].add()
		item.bytes, item.msg, item.meta, item.to = item.bytes[:0], sip.Message{}, *meta, toNobody
		item.reason, _ = err.(sip.Reason)
		item.once, item.id, item.iface, item.ttl, item.pass = once, p.ID, p.Iface, p.TTL, p.Loop
		item.kept = append(item.kept[:0], s.kept...)
		return
	}
	s.stats.countMessage(m)
	if meta.Cut = meta.Cut || m.Flags&sip.FlagCut != 0; meta.Cut {
		s.stats.SIPCut++
	}
	s.route(m, meta, p, once, to)
}

// route hands a message to the owner of its call, or of its registration or
// publication. One of OPTIONS is of interest to two: it may belong to a call,
// and it tells whether an address answers.
func (s *Shard) route(m *sip.Message, meta *call.Meta, p *frame.Packet, once uint64, to *outlet) {
	if owner, ok := register.Owner(m, meta); ok {
		s.send(m, meta, p, once, to.signals[s.pick(owner)], toRegister)
		if m.Method != sip.OPTIONS {
			return
		}
	}
	s.send(m, meta, p, once, to.signals[s.pick(callHash(m.Get(m.CallID)))], toCall)
}

func (s *Shard) send(m *sip.Message, meta *call.Meta, p *frame.Packet, once uint64, l *lane[signal], to addressee) {
	item := l.add()
	item.bytes = append(item.bytes[:0], m.Buf...)
	item.msg, item.meta, item.to = *m, *meta, to
	item.once, item.id, item.iface, item.ttl = once, p.ID, p.Iface, p.TTL
	item.kept = append(item.kept[:0], s.kept...)
	if item.pass = 0; p.Loop != 0 {
		item.loop(p.Loop)
	}
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
