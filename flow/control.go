package flow

import (
	"ringside/dataplane/frame"
	"ringside/flow/record"
	"ringside/flow/rtp"
)

// rtcpState is what RTCP said of one stream.
type rtcpState struct {
	srTime    int64  // when the last sender report passed, ns
	srMiddle  uint32 // its NTP time as receivers repeat it; 0: none passed
	srPackets uint32 // packets sent, by the last sender report

	reports   uint32
	lost      int32  // cumulative, of the last report
	fractions uint64 // sum of the fractions lost, 1/256
	jitters   uint64 // sum of the jitters, timestamp units
	jitterMax uint32
	fracMax   uint8

	trips   uint32 // round trips that could be measured
	tripSum int64  // ns
	tripMax int64
}

// control reads an RTCP compound packet. What it says of a stream is kept at
// that stream's key: the addresses in the direction of the stream, which is
// the packet's own for a sender report and the opposite for a report block.
func (s *Shard) control(p *frame.Packet) {
	s.stats.RTCP++
	if !rtp.ValidRTCP(p.Payload, int(p.Len)) {
		s.stats.BadRTCP++
		return
	}
	var c rtp.Control
	rest, ok := rtp.Walk(p.Payload, &c)
	for ; ok; rest, ok = rtp.Walk(rest, &c) {
		if info, ok := c.Sender(); ok {
			if r := s.rtcpOf(p.Src, p.Dst, c.SSRC, p.Clock); r != nil {
				r.srTime, r.srMiddle, r.srPackets = p.Time, info.MiddleNTP(), info.Packets
			}
		}
		for i := 0; ; i++ {
			b, ok := c.Block(i)
			if !ok {
				break
			}
			if r := s.rtcpOf(p.Dst, p.Src, b.SSRC, p.Clock); r != nil {
				r.block(&b, p.Time)
			}
		}
	}
}

// rtcpOf is where RTCP about a stream is kept; nil if the table is full.
func (s *Shard) rtcpOf(from, to frame.Endpoint, ssrc uint32, clock int64) *rtcpState {
	k := flowKey{from.Addr, to.Addr, from.Port, to.Port, ssrc}
	h := k.hash()
	i := s.streams.find(&k, h)
	if i == noStream {
		if i = s.open(&k, h, clock); i == noStream {
			return nil
		}
	}
	if e := s.streams.at(i); e.flags&streamRTP == 0 {
		e.tick = uint32(clock >> tickShift)
	}
	return &s.streams.coldAt(i).rtcp
}

// block adds a receiver's report on the stream.
func (r *rtcpState) block(b *rtp.Block, now int64) {
	r.reports++
	r.lost = b.Lost
	r.fractions += uint64(b.Fraction)
	r.fracMax = max(r.fracMax, b.Fraction)
	r.jitters += uint64(b.Jitter)
	r.jitterMax = max(r.jitterMax, b.Jitter)
	if b.LSR == 0 || b.LSR != r.srMiddle {
		return
	}
	// RFC 3550 section 6.4.1, seen from where we stand between the two: the
	// way from here to the receiver and back.
	trip := now - r.srTime - int64(b.DLSR)*1e9>>16
	if trip < 0 {
		return
	}
	r.trips++
	r.tripSum += trip
	r.tripMax = max(r.tripMax, trip)
}

// record is the state in the units of the record. rate is the stream's clock
// in Hz; with 0 jitter is left out.
func (r *rtcpState) record(rate uint32) record.RTCP {
	out := record.RTCP{Reports: r.reports, Lost: r.lost, SenderCount: r.srPackets}
	if r.reports > 0 {
		n := float64(r.reports)
		out.FracAvg = float64(r.fractions) / n * 100 / 256
		out.FracMax = float64(r.fracMax) * 100 / 256
		if rate > 0 {
			perMs := float64(rate) / 1000
			out.JitterAvg = float64(r.jitters) / n / perMs
			out.JitterMax = float64(r.jitterMax) / perMs
		}
	}
	if r.trips > 0 {
		out.RTT = float64(r.tripSum) / float64(r.trips) / 1e6
		out.RTTMax = float64(r.tripMax) / 1e6
	}
	return out
}
