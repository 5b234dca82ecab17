// Package rtp reads RTP (RFC 3550) and RTCP packets in place, tells apart what
// shares a media port, and knows codecs and static payload types (RFC 3551).
//
// Nothing here allocates or keeps what it reads: slices that a function returns
// are parts of the bytes it was given. All functions take packets cut by the
// snap length, and the length on the wire beside them.
package rtp

import "encoding/binary"

const headerLen = 12 // fixed part of an RTP header

// Header is the header of an RTP packet (RFC 3550 section 5.1).
type Header struct {
	Marker  bool
	Type    uint8 // payload type, 0..127
	Seq     uint16
	TS      uint32
	SSRC    uint32
	CSRCs   uint8  // number of contributing sources
	Ext     uint16 // "defined by profile" word of the header extension, 0: none or cut off
	Offset  uint32 // where the payload begins; may be beyond the captured bytes
	Len     uint32 // payload length on the wire, without padding
	Padding uint8  // octets of padding, count included; 0 when it was cut off

	// BadPad says that the P bit is set without a valid count behind it: SRTP,
	// where the count is encrypted, or not RTP at all.
	BadPad bool
}

// ParseHeader reads the RTP header at the start of b into h. wireLen is the
// length of the packet on the wire, at least len(b). It reports false, and
// leaves h undefined, if b does not begin with 12 octets of an RTP version 2
// header, or if CSRC list and extension do not fit into wireLen.
func ParseHeader(b []byte, wireLen int, h *Header) bool {
	if len(b) < headerLen || wireLen < len(b) || b[0]>>6 != 2 {
		return false
	}
	h.Marker = b[1]&0x80 != 0
	h.Type = b[1] & 0x7f
	h.Seq = binary.BigEndian.Uint16(b[2:])
	h.TS = binary.BigEndian.Uint32(b[4:])
	h.SSRC = binary.BigEndian.Uint32(b[8:])
	h.CSRCs, h.Ext, h.Padding, h.BadPad = 0, 0, 0, false
	h.Offset = headerLen
	h.Len = uint32(wireLen - headerLen)
	if b[0]&0x3f == 0 {
		return true // no padding, extension or CSRC: nearly every packet
	}
	return h.parseRest(b, wireLen)
}

// parseRest reads what the first octet says follows the fixed header.
func (h *Header) parseRest(b []byte, wireLen int) bool {
	h.CSRCs = b[0] & 0xf
	off := headerLen + 4*int(h.CSRCs)
	if b[0]&0x10 != 0 { // extension, RFC 3550 section 5.3.1
		if off+4 <= len(b) {
			h.Ext = binary.BigEndian.Uint16(b[off:])
			off += 4 * int(binary.BigEndian.Uint16(b[off+2:]))
		}
		off += 4
	}
	if off > wireLen {
		return false
	}
	if b[0]&0x20 != 0 && len(b) == wireLen {
		pad := b[wireLen-1]
		if pad == 0 || int(pad) > wireLen-off {
			h.BadPad = true
		} else {
			h.Padding = pad
		}
	}
	h.Offset = uint32(off)
	h.Len = uint32(wireLen - off - int(h.Padding))
	return true
}

// Payload is the captured part of the payload of the packet b that h was read from.
func (h *Header) Payload(b []byte) []byte {
	from := min(int(h.Offset), len(b))
	return b[from:min(from+int(h.Len), len(b))]
}

// Kind is what a datagram on a media port is.
type Kind uint8

// Kinds of datagrams.
const (
	Other Kind = iota // T.38, keep-alives, anything else
	RTP
	RTCP
	STUN
	TURN // TURN channel data
	DTLS
	ZRTP
)

var kindNames = [...]string{"other", "RTP", "RTCP", "STUN", "TURN", "DTLS", "ZRTP"}

func (k Kind) String() string { return kindNames[min(int(k), len(kindNames)-1)] }

// IsRTCP is Demux(b) == RTCP at the cost of two comparisons, for every packet.
func IsRTCP(b []byte) bool { return len(b) >= 8 && b[0]>>6 == 2 && rtcpType(b[1]) }

// rtcpType reports whether the second octet is one of the packet types of RTCP,
// 192 to 223, and not marker and payload type of RTP (RFC 5761 section 4).
func rtcpType(b byte) bool { return b>>5 == 6 }

// Demux tells the kind of the datagram b from its first octets (RFC 7983
// section 7; RTCP by RFC 5761 section 4). It is not a proof that b is valid.
func Demux(b []byte) Kind {
	if len(b) < 4 {
		return Other
	}
	switch first := b[0]; {
	case first >= 128 && first < 192:
		if IsRTCP(b) {
			return RTCP
		}
		if len(b) >= headerLen && !rtcpType(b[1]) {
			return RTP
		}
	case first < 4:
		// A STUN message's length is a multiple of 4 (RFC 8489 section 5).
		if len(b) >= 20 && b[3]&3 == 0 {
			return STUN
		}
	case first >= 16 && first < 20:
		return ZRTP
	case first >= 20 && first < 64:
		return DTLS
	case first >= 64 && first < 80:
		return TURN
	}
	return Other
}
