package traffic

import (
	"encoding/binary"

	"ringside/flow/record"
)

const reportEvery = 5 * sec // RFC 3550 section 6.2, the minimum interval

// reporter sends the RTCP of one stream's sender: a sender report with one
// report block about the stream from the other side, and its CNAME.
type reporter struct {
	node
	flow     flow
	about    Seen  // what was said of this stream by its receiver
	lost     int32 // cumulative, last said about the peer's stream
	expected uint32
	known    bool   // RTCP has named the stream before the call was hung up
	heard    uint32 // middle of the NTP time of the peer's last sender report
	heardAt  int64
}

// Seen is what RTCP says of one stream.
type Seen struct {
	Reports     uint32 `json:"reports"`                  // report blocks
	Lost        int32  `json:"lost"`                     // cumulative, of the last one
	SenderCount uint32 `json:"sender_packets,omitempty"` // of the last sender report
}

// ntp is t in the 64-bit format of RFC 5905.
func ntp(t int64) uint64 {
	s, frac := uint64(t/sec), uint64(t%sec)
	return (s+2208988800)<<32 | frac<<32/uint64(sec)
}

// report writes the next RTCP packet of the stream's sender.
func (s *stream) report(g *Generator) {
	r := &s.reports
	t := g.opt.Format.stamp(r.at)
	var p [96]byte
	n := s.senderReport(p[:], t)
	n += s.description(p[n:])
	b := g.out.room()
	copy(b[r.flow.size:], p[:n])
	r.flow.headers(b, n, sum(p[:n]))
	g.frameDone(t, r.flow.size+n)
	g.totals.RTCP++
}

func (s *stream) senderReport(p []byte, t int64) int {
	be := binary.BigEndian
	r := &s.reports
	n := 28
	p[0], p[1] = 0x80, 200
	be.PutUint32(p[4:], s.ssrc)
	be.PutUint64(p[8:], ntp(t))
	be.PutUint32(p[16:], s.ts)
	be.PutUint32(p[20:], s.sent)
	be.PutUint32(p[24:], s.octets)
	if s.counts(t) {
		r.about.SenderCount = s.sent
	}
	if q := s.peer; q != nil && q.sent > 0 {
		p[0]++
		s.block(p[28:], q, t)
		n += 24
		q.reports.heard, q.reports.heardAt = uint32(ntp(t)>>16), t
	}
	be.PutUint16(p[2:], uint16(n/4-1))
	return n
}

// block is a report block about q (RFC 3550 section 6.4.1).
func (s *stream) block(p []byte, q *stream, t int64) {
	be := binary.BigEndian
	r := &s.reports
	lost := int32(q.dropped)
	step := max(1, q.sent-r.expected)
	fraction := uint32(max(0, lost-r.lost)) << 8 / step
	be.PutUint32(p[0:], q.ssrc)
	be.PutUint32(p[4:], min(fraction, 255)<<24|uint32(lost)&0xffffff)
	be.PutUint32(p[8:], q.sent>>16<<16|uint32(q.seq-1))
	be.PutUint32(p[12:], q.samples/20)
	if r.heardAt > 0 {
		be.PutUint32(p[16:], r.heard)
		be.PutUint32(p[20:], uint32((t-r.heardAt)*65536/sec))
	}
	r.lost, r.expected = lost, q.sent
	if q.counts(t) {
		q.reports.about.Reports++
		q.reports.about.Lost = lost
	}
}

// counts tells whether what RTCP says of the stream at the time t belongs to the
// call: what begins only after the BYE, on a port where nothing was before, does not.
func (s *stream) counts(t int64) bool {
	bye := s.call.truth.ByeAt
	s.reports.known = s.reports.known || bye == 0 || t <= bye || s.call.mux
	return s.reports.known
}

// description is an SDES packet with the CNAME alone.
func (s *stream) description(p []byte) int {
	name := "a@ringbench.invalid"
	if s.side == record.SideCalled {
		name = "b@ringbench.invalid"
	}
	p[0], p[1] = 0x81, 202
	binary.BigEndian.PutUint32(p[4:], s.ssrc)
	p[8], p[9] = 1, byte(len(name))
	n := 10 + copy(p[10:], name)
	n = (n + 4) &^ 3 // at least one zero ends the list
	binary.BigEndian.PutUint16(p[2:], uint16(n/4-1))
	return n
}

// next sets the time of the following report; false when the stream is over.
func (s *stream) nextReport() bool {
	s.reports.at += reportEvery
	return s.reports.at < s.until
}
