package flow

import (
	"encoding/binary"

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

	xr record.XR // the last VoIP metrics block about the stream
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
	if p.kept != 0 {
		s.recordSample(i, p)
	}
	r := &s.streams.coldAt(i).rtcp
	if p.kind == sampleSender {
		r.srTime, r.srMiddle, r.srPackets = p.time, p.ts, p.len
		return
	}
	if p.kind == sampleXR {
		reports := r.xr.Reports
		r.xr = unpackMetrics(p)
		r.xr.Reports = reports + 1
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

// metricsOf takes samples of the VoIP metrics in an extended report (RFC 3611
// section 4.7). They are of the stream that the sender of the report receives.
func (s *Shard) metricsOf(p *frame.Packet, c *rtp.Control, to *outlet) {
	var x rtp.XR
	for rest, ok := rtp.WalkXR(c.Reports(), &x); ok; rest, ok = rtp.WalkXR(rest, &x) {
		if b := x.Body; x.Type == rtp.XRVoIP && len(b) >= metricsLen {
			packMetrics(s.sampleOf(p, to, p.Dst, p.Src, binary.BigEndian.Uint32(b)), b)
		}
	}
}

const metricsLen = 32

// packMetrics puts a metrics block into the fields of a sample that it has no
// other use for. The longest jitter buffer ever is left out.
func packMetrics(m *sample, b []byte) {
	be := binary.BigEndian
	m.kind = sampleXR
	m.time = int64(be.Uint64(b[4:]))
	m.ts, m.len, m.dlsr, m.lost = be.Uint32(b[12:]), be.Uint32(b[16:]), be.Uint32(b[20:]), int32(be.Uint32(b[24:]))
	m.seq, m.pt = be.Uint16(b[28:]), 0
}

func unpackMetrics(m *sample) record.XR {
	var b [metricsLen]byte
	be := binary.BigEndian
	be.PutUint32(b[0:], m.key.ssrc)
	be.PutUint64(b[4:], uint64(m.time))
	be.PutUint32(b[12:], m.ts)
	be.PutUint32(b[16:], m.len)
	be.PutUint32(b[20:], m.dlsr)
	be.PutUint32(b[24:], uint32(m.lost))
	be.PutUint16(b[28:], m.seq)
	x := rtp.XR{Type: rtp.XRVoIP, Body: b[:]}
	v, _ := x.VoIP()
	q := v.Quality()
	return record.XR(q)
}
