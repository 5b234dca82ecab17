package flow

import "ringside/flow/record"

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

// control takes what RTCP said of a stream. It is kept at that stream's key.
func (s *Shard) control(p *sample) {
	i := s.open(p)
	if i == noStream {
		return
	}
	if e := s.streams.at(i); e.flags&streamRTP == 0 {
		e.tick = uint32(p.clock >> tickShift)
	}
	r := &s.streams.coldAt(i).rtcp
	if p.kind == sampleSender {
		r.srTime, r.srMiddle, r.srPackets = p.time, p.ts, p.len
		return
	}
	r.block(p)
}

// block adds a receiver's report on the stream.
func (r *rtcpState) block(p *sample) {
	r.reports++
	r.lost = p.lost
	r.fractions += uint64(p.pt)
	r.fracMax = max(r.fracMax, p.pt)
	r.jitters += uint64(p.ts)
	r.jitterMax = max(r.jitterMax, p.ts)
	if lsr := p.len; lsr == 0 || lsr != r.srMiddle {
		return
	}
	// RFC 3550 section 6.4.1, seen from where we stand between the two: the
	// way from here to the receiver and back.
	trip := p.time - r.srTime - int64(p.dlsr)*1e9>>16
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
