package rtp

import "encoding/binary"

// RTCP packet types (RFC 3550 section 12.1, RFC 3611, RFC 4585).
const (
	TypeSR    = 200
	TypeRR    = 201
	TypeSDES  = 202
	TypeBYE   = 203
	TypeAPP   = 204
	TypeRTPFB = 205
	TypePSFB  = 206
	TypeXR    = 207
)

// ValidRTCP reports whether the datagram b, wireLen long on the wire, is an
// RTCP compound packet by RFC 3550 A.2: version 2 throughout, padding at most
// in the last packet, and lengths that add up. Other than A.2 asks, the first
// packet may be any (RFC 5506). Of a packet that was cut, only what is there is
// looked at. It is false for SRTCP, whose index and tag follow the last packet:
// reports of such datagrams are encrypted and not to be believed.
func ValidRTCP(b []byte, wireLen int) bool {
	if wireLen < len(b) || len(b) < 8 {
		return false
	}
	for off := 0; off != wireLen; {
		if off+4 > len(b) {
			return len(b) < wireLen // the rest was cut off
		}
		n := 4 * (1 + int(binary.BigEndian.Uint16(b[off+2:])))
		if b[off]>>6 != 2 || b[off+1] < 192 || b[off+1] > 223 || off+n > wireLen {
			return false
		}
		if b[off]&0x20 != 0 && off+n != wireLen {
			return false
		}
		off += n
	}
	return true
}

// Control is one packet of an RTCP compound packet.
type Control struct {
	Type  uint8
	Count uint8  // report blocks, chunks or sources, by type; feedback format (FMT)
	SSRC  uint32 // first word of the body: the sender, in most types
	Body  []byte // what follows the 4-octet header, as far as captured, without padding
}

// Walk takes the first packet off the compound packet b into c, and returns
// the rest. It reports false at the end, and where b does not continue with an
// RTCP header and a word behind it. Body may be shorter than the header says
// (snap length).
//
//	for ok := true; ok; {
//		if b, ok = rtp.Walk(b, &c); ok { … }
//	}
func Walk(b []byte, c *Control) (rest []byte, ok bool) {
	if len(b) < 8 || b[0]>>6 != 2 || b[1] < 192 || b[1] > 223 {
		return nil, false
	}
	n := 4 * (1 + int(binary.BigEndian.Uint16(b[2:])))
	if n < 8 {
		return nil, false // no word behind the header: only an empty BYE or SDES
	}
	c.Type, c.Count = b[1], b[0]&0x1f
	c.SSRC = binary.BigEndian.Uint32(b[4:])
	end := min(n, len(b))
	c.Body = b[4:end]
	if b[0]&0x20 != 0 && end == n {
		if pad := int(b[n-1]); pad <= n-8 {
			c.Body = b[4 : n-pad]
		}
	}
	return b[end:], true
}

// SenderInfo is the sender's part of a sender report (RFC 3550 section 6.4.1).
type SenderInfo struct {
	NTP     uint64 // wall clock of the sender, 32.32 fixed point since 1900
	TS      uint32 // the same instant as RTP timestamp
	Packets uint32
	Octets  uint32
}

// MiddleNTP is the part of the NTP time that a receiver's LSR repeats.
func (s SenderInfo) MiddleNTP() uint32 { return uint32(s.NTP >> 16) }

// Sender reads the sender's part of an SR.
func (c *Control) Sender() (s SenderInfo, ok bool) {
	if c.Type != TypeSR || len(c.Body) < 24 {
		return s, false
	}
	return SenderInfo{
		NTP:     binary.BigEndian.Uint64(c.Body[4:]),
		TS:      binary.BigEndian.Uint32(c.Body[12:]),
		Packets: binary.BigEndian.Uint32(c.Body[16:]),
		Octets:  binary.BigEndian.Uint32(c.Body[20:]),
	}, true
}

// Block is a report block of an SR or RR (RFC 3550 section 6.4.1).
type Block struct {
	SSRC     uint32 // the source that is reported on
	Fraction uint8  // lost since the last report, 1/256
	Lost     int32  // cumulative; may be negative
	Highest  uint32 // extended highest sequence number
	Jitter   uint32 // timestamp units
	LSR      uint32 // MiddleNTP of the last SR, 0: none came
	DLSR     uint32 // delay since it came, 1/65536 s
}

// Block reads report block i of an SR or RR; false beyond the last one.
func (c *Control) Block(i int) (r Block, ok bool) {
	off := 4
	switch c.Type {
	case TypeSR:
		off = 24
	case TypeRR:
	default:
		return r, false
	}
	off += 24 * i
	if i < 0 || i >= int(c.Count) || off+24 > len(c.Body) {
		return r, false
	}
	b := c.Body[off:]
	return Block{
		SSRC:     binary.BigEndian.Uint32(b),
		Fraction: b[4],
		Lost:     int32(binary.BigEndian.Uint32(b[4:])<<8) >> 8, // 24 bits, signed
		Highest:  binary.BigEndian.Uint32(b[8:]),
		Jitter:   binary.BigEndian.Uint32(b[12:]),
		LSR:      binary.BigEndian.Uint32(b[16:]),
		DLSR:     binary.BigEndian.Uint32(b[20:]),
	}, true
}

// CNAME is the CNAME of the first chunk of an SDES packet (RFC 3550 section
// 6.5), nil if there is none. Its source is c.SSRC.
func (c *Control) CNAME() []byte {
	if c.Type != TypeSDES || c.Count == 0 {
		return nil
	}
	const itemCNAME = 1
	for b := c.Body[4:]; len(b) >= 2 && b[0] != 0; {
		n := 2 + int(b[1])
		if n > len(b) {
			return nil
		}
		if b[0] == itemCNAME {
			return b[2:n]
		}
		b = b[n:]
	}
	return nil
}

// Left is source i that a BYE says goodbye for; false beyond the last one.
func (c *Control) Left(i int) (ssrc uint32, ok bool) {
	if c.Type != TypeBYE || i < 0 || i >= int(c.Count) || 4*i+4 > len(c.Body) {
		return 0, false
	}
	return binary.BigEndian.Uint32(c.Body[4*i:]), true
}
