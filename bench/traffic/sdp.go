package traffic

import (
	"fmt"
	"net/netip"

	"ringside/flow/record"
)

// sdp is a session description of one side; it is made when the script is
// written, because its version counts up with each new one.
type sdp struct {
	side  record.Side
	mode  string // sendrecv, sendonly, recvonly, inactive
	hole  bool   // c=0.0.0.0: hold as in RFC 2543
	media netip.AddrPort
	text  []byte
}

// describe is the next session description of one side.
func (c *call) describe(side record.Side, mode string, edit ...func(*sdp)) *sdp {
	p := c.party(side)
	p.version++
	s := &sdp{side: side, mode: mode, media: p.media}
	for _, e := range edit {
		e(s)
	}
	b := c.session(make([]byte, 0, 512), s, p.version)
	b = fmt.Appendf(b, "m=audio %d RTP/AVP", s.media.Port())
	list := []Codec{c.codec}
	if c.second.Name != "" {
		list = append(list, c.second)
	}
	for _, k := range list {
		b = fmt.Appendf(b, " %d", k.Payload)
	}
	b = fmt.Appendf(b, " %d", c.event)
	if c.comfort() {
		b = append(b, " 13"...)
	}
	b = append(b, "\r\n"...)
	for _, k := range list {
		b = appendMap(b, k.Payload, k.Name, k.Clock, k.Channels)
		if k.Fmtp != "" {
			b = fmt.Appendf(b, "a=fmtp:%d %s\r\n", k.Payload, k.Fmtp)
		}
	}
	b = appendMap(b, c.event, "telephone-event", c.codec.Clock, 0)
	b = fmt.Appendf(b, "a=fmtp:%d 0-16\r\n", c.event)
	if c.comfort() {
		b = appendMap(b, 13, "CN", 8000, 0)
	}
	b = fmt.Appendf(b, "a=ptime:%d\r\na=%s\r\n", c.codec.Ptime, mode)
	if c.mux {
		b = append(b, "a=rtcp-mux\r\n"...)
	}
	if c.pad > 0 {
		b = c.padding(b, "a=x-note-", ":", c.pad/2)
	}
	s.text = b
	return s
}

// session appends what stands before the media line.
func (c *call) session(b []byte, s *sdp, version uint32) []byte {
	addr := s.media.Addr()
	family, zero := "IP4", "0.0.0.0"
	if addr.Is6() {
		family, zero = "IP6", "::"
	}
	conn := addr.String()
	if s.hole {
		conn = zero
	}
	return fmt.Appendf(b, "v=0\r\no=- %d %d IN %s %s\r\ns=call\r\nc=IN %s %s\r\nt=0 0\r\n",
		mix(c.order)>>34, version, family, addr, family, conn)
}

func appendMap(b []byte, pt uint8, name string, clock uint32, channels uint8) []byte {
	b = fmt.Appendf(b, "a=rtpmap:%d %s/%d", pt, name, clock)
	if channels > 1 {
		b = fmt.Appendf(b, "/%d", channels)
	}
	return append(b, "\r\n"...)
}

// comfort tells whether the call uses RFC 3389 comfort noise, whose clock is
// 8,000 Hz.
func (c *call) comfort() bool { return c.dtx && c.codec.SID == 0 && c.codec.Clock == 8000 }
