package flow

import (
	"cmp"
	"slices"
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
	digits       []digitOf
	missed       bool // packets came that the kernel's meter could not count
}

// measured takes the figures of a stream as of a clock. b is its tie to the call
// that asks, nil if it has none.
func (s *Shard) measured(i uint32, b *binding, clock int64) *measured {
	return s.measuredOf(i, b, clock, &s.streams.at(i).hot, &s.streams.coldAt(i).meter)
}

// measuredOf is measured with counters that may be of a part of the stream only.
func (s *Shard) measuredOf(i uint32, b *binding, clock int64, hot *meter.Hot, cold *meter.Cold) *measured {
	e, c := s.streams.at(i), s.streams.coldAt(i)
	m := meter.Finish(hot, cold)
	p := c.meaning(m.Payload)
	out := &measured{codec: p.Codec, total: m.Total, worst: m.Worst, rtcp: c.rtcp, missed: e.flags&streamMissed != 0}
	out.record = record.Stream{
		Src: e.key.from().Netip(), Dst: e.key.to().Netip(), SSRC: e.key.ssrc,
		Codec: p.Codec.String(), Payload: m.Payload, Rate: p.Rate, Ptime: m.Ptime,
		First: m.First, Last: m.Last,
		Counters: m.Counters, Compat: m.Compat,
		TTLMin: e.ttl[0], TTLMax: e.ttl[1], DSCP: c.dscp, VLAN: int32(c.vlan),
		SRTP: e.flags&streamSRTP != 0,
	}
	if b != nil {
		out.record.From, out.record.Epoch = b.from, b.epoch
	}
	out.digits = slices.Clone(s.digits[i]) // of two calls one may go on
	out.record.Flags = s.remarks(e, c, b, &m, clock)
	if _, ok := s.halves[i]; ok {
		out.record.Flags = strings.TrimPrefix(out.record.Flags+",split", ",")
	}
	return out
}

// remarks are the words of record.Stream.Flags.
func (s *Shard) remarks(e *stream, c *streamCold, b *binding, m *meter.Report, clock int64) string {
	var words []string
	if e.flags&streamLate != 0 {
		words = append(words, "early")
	}
	if b != nil && e.flags&streamRTP != 0 &&
		!(s.group.dir.names(e.key.from(), b.key, clock) && s.group.dir.names(e.key.to(), b.key, clock)) {
		words = append(words, "nat")
	}
	if e.flags&streamMissed != 0 || s.group.gaps.within(m.First, m.Last, clock) {
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
	r.RTCP, r.XR = m.rtcp.record(r.Rate), m.rtcp.xr
	r.MOS = quality.Estimate(m.codec, m.total, m.worst, r.RTCP.RTT/2)
	return r
}

// controls are the streams of a call of which only RTCP was seen, on ports of
// its own: of each source the one that reports the most, and the one with the
// most metrics, as no order among shards must decide.
type controls map[control]said

type said struct{ reports, metrics *measured }

type control struct {
	ssrc uint32
	from record.Side
}

func (m *measured) control() control { return control{m.record.SSRC, m.record.From} }

func controlsOf(streams []*measured) controls {
	c := make(controls)
	for _, m := range streams {
		if m.record.Packets > 0 {
			continue
		}
		best := c[m.control()]
		if best.reports == nil || m.compareRTCP(best.reports) > 0 {
			best.reports = m
		}
		if best.metrics == nil || cmp.Or(cmp.Compare(m.rtcp.xr.Reports, best.metrics.rtcp.xr.Reports), m.compareRTCP(best.metrics)) > 0 {
			best.metrics = m
		}
		c[m.control()] = best
	}
	return c
}

// adopt takes over what RTCP on ports of its own said of the stream.
func (m *measured) adopt(c controls) {
	o, ok := c[m.control()]
	if !ok {
		return
	}
	own := m.rtcp.xr
	if m.rtcp.reports == 0 {
		m.rtcp = o.reports.rtcp
	}
	if m.rtcp.xr = own; own.Reports == 0 {
		m.rtcp.xr = o.metrics.rtcp.xr
	}
}

func (m *measured) compareRTCP(o *measured) int {
	return cmp.Or(cmp.Compare(m.rtcp.reports, o.rtcp.reports), cmp.Compare(m.rtcp.srTime, o.rtcp.srTime),
		m.record.Src.Compare(o.record.Src), m.record.Dst.Compare(o.record.Dst))
}
