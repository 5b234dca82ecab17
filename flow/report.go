package flow

import (
	"cmp"
	"strings"

	"ringside/flow/meter"
	"ringside/flow/quality"
	"ringside/flow/record"
	"ringside/flow/rtp"
)

// measured is a stream as it leaves the media stage: its record, but for what
// depends on RTCP, which may have come on other ports to another shard.
type measured struct {
	record       record.Stream
	codec        rtp.Codec
	total, worst quality.Loss
	rtcp         rtcpState
}

// measured takes the figures of a stream as of now. b is its tie to the call that
// asks, nil if it has none.
func (s *Shard) measured(i uint32, b *binding, clock int64) *measured {
	e, c := s.streams.at(i), s.streams.coldAt(i)
	m := meter.Finish(&e.hot, &c.meter)
	p := c.meaning(m.Payload)
	out := &measured{codec: p.Codec, total: m.Total, worst: m.Worst, rtcp: c.rtcp}
	out.record = record.Stream{
		Src: e.key.from().Netip(), Dst: e.key.to().Netip(), SSRC: e.key.ssrc,
		Codec: p.Codec.String(), Payload: m.Payload, Rate: p.Rate, Ptime: m.Ptime,
		First: m.First, Last: m.Last,
		Counters: m.Counters, Compat: m.Compat,
		TTLMin: e.ttl[0], TTLMax: e.ttl[1], DSCP: c.dscp, VLAN: int32(c.vlan),
		SRTP: e.flags&streamSRTP != 0,
	}
	if b != nil {
		out.record.From = b.from
	}
	out.record.Flags = s.remarks(e, c, b, &m, clock)
	return out
}

// remarks are the words of record.Stream.Flags.
func (s *Shard) remarks(e *stream, c *streamCold, b *binding, m *meter.Report, clock int64) string {
	var words []string
	if e.flags&streamLate != 0 {
		words = append(words, "early")
	}
	if b != nil && e.flags&streamRTP != 0 &&
		(s.group.dir.named(e.key.from(), b.key, clock) == nil || s.group.dir.named(e.key.to(), b.key, clock) == nil) {
		words = append(words, "nat")
	}
	if s.group.gaps.within(m.First, m.Last) {
		words = append(words, "incomplete")
	}
	if c.shared {
		words = append(words, "shared")
	}
	if !m.Confirmed {
		words = append(words, "unconfirmed")
	}
	return strings.Join(words, ",")
}

// finish adds what RTCP said, and the score that rests on all of it.
func (m *measured) finish() *record.Stream {
	r := &m.record
	r.RTCP = m.rtcp.record(r.Rate)
	r.MOS = quality.Estimate(m.codec, m.total, m.worst, r.RTCP.RTT/2)
	return r
}

// adopt takes over what RTCP on ports of its own said of the stream: the most
// that was said, as no order among shards must decide.
func (m *measured) adopt(all []*measured) {
	if m.rtcp.reports > 0 {
		return
	}
	var best *measured
	for _, o := range all {
		if o.record.Packets == 0 && o.record.SSRC == m.record.SSRC && o.record.From == m.record.From &&
			(best == nil || o.compareRTCP(best) > 0) {
			best = o
		}
	}
	if best != nil {
		m.rtcp = best.rtcp
	}
}

func (m *measured) compareRTCP(o *measured) int {
	return cmp.Or(cmp.Compare(m.rtcp.reports, o.rtcp.reports), cmp.Compare(m.rtcp.srTime, o.rtcp.srTime),
		m.record.Src.Compare(o.record.Src), m.record.Dst.Compare(o.record.Dst))
}
