package decode

import (
	"encoding/binary"

	"ringside/dataplane/frame"
)

// Lengths of IP headers in bytes.
const (
	ipv4Len = 20 // without options
	ipv6Len = 40 // without extensions

	maxExtensions = 8 // IPv6 extension headers in a row
)

// IP protocol numbers that the walk acts upon.
const (
	protoHopByHop    = 0
	protoIPv4        = 4
	protoIPv6        = 41
	protoRouting     = 43
	protoFragment    = 44
	protoGRE         = 47
	protoESP         = 50
	protoAH          = 51
	protoNoNext      = 59
	protoDestination = 60
	protoEtherIP     = 97
	protoL2TP        = 115
	protoMPLS        = 137
)

// plain reads UDP over IPv4 that is as it should be, as most of it is: no options, no
// fragment, whole and captured up to its payload, on ports that no tunnel uses; the
// payload ends at wire at the latest. It reports false for everything else, and may
// have changed nothing then.
func plain(data []byte, off, wire int, ports *portSet, p *frame.Packet) bool {
	if len(data) < off+ipv4Len+udpLen {
		return false
	}
	b := (*[ipv4Len + udpLen]byte)(data[off:])
	end, length := off+int(binary.BigEndian.Uint16(b[2:4])), int(binary.BigEndian.Uint16(b[24:26]))
	src, dst := binary.BigEndian.Uint16(b[20:22]), binary.BigEndian.Uint16(b[22:24])
	if b[0] != 0x45 || b[9] != frame.ProtoUDP || binary.BigEndian.Uint16(b[6:8])&0x3fff != 0 || end > wire ||
		length != end-off-ipv4Len || length < udpLen || ports.has(src, dst) {
		return false
	}
	p.Src.Addr, p.Src.Port = frame.AddrFrom4(b[12:16]), src
	p.Dst.Addr, p.Dst.Port = frame.AddrFrom4(b[16:20]), dst
	if end > len(data) { // the capture has cut it, most likely behind a header
		end = len(data)
		p.Flags |= frame.FlagCut
	}
	p.Payload = data[off+ipv4Len+udpLen : end : end]
	p.Len = uint32(length - udpLen)
	p.SeqNo, p.AckNo, p.Control = 0, 0, 0
	p.ID, p.Proto, p.TTL, p.DSCP = binary.BigEndian.Uint16(b[4:6]), frame.ProtoUDP, b[8], b[1]>>2
	return true
}

// ipv4 reads an IPv4 header (RFC 791). It returns none with what it carries,
// fragment, packet, or a reason.
func ipv4(h *headers, off int) Reason {
	if plain(h.data, off, len(h.data), h.ports, h.packet) {
		h.ip = off
		return packet
	}
	if len(h.data) < off+ipv4Len {
		return TruncatedIP
	}
	b := (*[ipv4Len]byte)(h.data[off:])
	header := ipv4Len
	if b[0] != 0x45 { // options, or rubbish
		header = int(b[0]&0x0f) * 4
		if b[0]>>4 != 4 || header < ipv4Len {
			return IPv4BadHeader
		}
		if len(h.data) < off+header {
			return TruncatedIP
		}
	}
	start, end := off+header, off+int(binary.BigEndian.Uint16(b[2:4]))
	if end > len(h.data) || end < start {
		if end == off {
			// Segmentation offload leaves the length to the network card, or
			// the packet is too long for the field.
			end = h.wire
			h.notes |= 1 << NoteNoIPLength
		}
		if end < start {
			return IPv4BadHeader
		}
		if end > h.wire {
			h.notes |= 1 << NoteSliced
		}
	}
	h.ip = off
	p := h.packet
	p.DSCP = b[1] >> 2
	p.ID = binary.BigEndian.Uint16(b[4:6])
	p.TTL = b[8]
	p.Proto = b[9]
	p.Src.Addr = frame.AddrFrom4(b[12:16])
	p.Dst.Addr = frame.AddrFrom4(b[16:20])
	bits := binary.BigEndian.Uint16(b[6:8]) & 0x3fff // more fragments, and the offset
	h.off, h.end = start, end
	if bits != 0 {
		h.fragment = uint32(bits&0x1fff)<<3 | uint32(bits>>13)
		h.id, h.six = uint32(p.ID), false
		return fragment
	}
	if b[9] == protoAH {
		return extensions(h)
	}
	return none
}

// ipv6 reads an IPv6 header with its extensions (RFC 8200), and returns as ipv4 does.
func ipv6(h *headers, off int) Reason {
	if len(h.data) < off+ipv6Len {
		return TruncatedIP
	}
	b := (*[ipv6Len]byte)(h.data[off:])
	if b[0]>>4 != 6 {
		return IPv6BadHeader
	}
	start := off + ipv6Len
	end := start + int(binary.BigEndian.Uint16(b[4:]))
	if end == start && b[6] != protoNoNext {
		// A jumbogram (RFC 2675), or segmentation offload.
		end = h.wire
		h.notes |= 1 << NoteNoIPLength
	}
	if end > h.wire {
		h.notes |= 1 << NoteSliced
	}
	h.ip, h.off, h.end = off, start, end
	p := h.packet
	p.DSCP = b[0]<<2&0x3c | b[1]>>6
	p.ID = 0
	p.Proto = b[6]
	p.TTL = b[7]
	p.Src.Addr = frame.AddrFrom16(b[8:])
	p.Dst.Addr = frame.AddrFrom16(b[24:])
	switch b[6] {
	case frame.ProtoUDP:
		return datagram(h, start, end)
	case frame.ProtoTCP:
		return none
	}
	return extensions(h)
}

// extensions skips the extension headers at h.off (RFC 8200 section 4), and
// the authentication header of either IP version (RFC 4302).
func extensions(h *headers) Reason {
	const unit = 8 // the shortest extension header, and what their lengths count in
	p := h.packet
	for range maxExtensions {
		switch p.Proto {
		case protoHopByHop, protoRouting, protoDestination, protoFragment, protoAH:
		default:
			return none
		}
		if h.off+unit > h.end {
			return BadExtension
		}
		if h.off+unit > len(h.data) {
			return TruncatedIP
		}
		b := h.data[h.off : h.off+unit]
		length := unit * (1 + int(b[1]))
		proto := p.Proto
		switch proto {
		case protoFragment:
			length = unit
		case protoAH:
			length = 4 * (2 + int(b[1]))
		}
		p.Proto = b[0]
		h.off += length
		if h.off > h.end {
			return BadExtension
		}
		if h.off > len(h.data) {
			return TruncatedIP
		}
		// An offset of 0 with no more fragments is a whole datagram (RFC 6946).
		if bits := binary.BigEndian.Uint16(b[2:]) &^ 6; proto == protoFragment && bits != 0 {
			h.fragment = uint32(bits)
			h.id, h.six = binary.BigEndian.Uint32(b[4:]), true
			return fragment
		}
	}
	switch p.Proto {
	case protoHopByHop, protoRouting, protoDestination, protoFragment, protoAH:
		return TooManyExtensions
	}
	return none
}
