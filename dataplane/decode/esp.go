package decode

import (
	"encoding/binary"

	"ringside/dataplane/frame"
)

// espLen is the length of the security parameters index and the sequence number.
const espLen = 8

// espNull reads an ESP packet (RFC 4303) that is authenticated only (RFC 2410).
// Nothing says so: it is one if its trailer, found before a check value of one
// of the usual lengths, and the header of what it names agree to the byte.
func espNull(h *headers, off, end int) Reason {
	if !h.has(off, espLen) {
		return TruncatedTunnel
	}
	if end > len(h.data) { // the trailer was not captured
		return TunnelESP
	}
	h.lose()
	for _, check := range [...]int{12, 16, 0} { // HMAC of 96 and of 128 bits, and none
		proto, inside, ok := espTrailer(h, off, end-check)
		if !ok {
			continue
		}
		if r := h.enter(frame.ESPNull, h.be32(off), inside); r != none {
			return r
		}
		switch proto {
		case protoIPv4:
			return ipv4(h, off+espLen)
		case protoIPv6:
			return ipv6(h, off+espLen)
		}
		h.off, h.end, h.packet.Proto = off+espLen, inside, proto
		return none
	}
	return TunnelESP
}

// espUDP reads ESP in UDP (RFC 3948). An index of 0 marks key exchange.
func espUDP(h *headers, off, end int) Reason {
	if !h.has(off, espLen) || h.be32(off) == 0 {
		return closed
	}
	if r := espNull(h, off, end); r != TunnelESP {
		return r
	}
	return closed
}

// espTrailer reads the trailer that ends at end: the protocol of the payload,
// and where that ends.
func espTrailer(h *headers, off, end int) (proto uint8, inside int, ok bool) {
	const trailer = 2 // length of the padding, next header
	start := off + espLen
	if end-trailer < start || (end-off)%4 != 0 {
		return 0, 0, false
	}
	padding := int(h.data[end-2])
	proto = h.data[end-1]
	inside = end - trailer - padding
	if inside <= start {
		return 0, 0, false
	}
	for i, b := range h.data[inside : end-trailer] { // 1, 2, 3, … (RFC 4303 section 2.4)
		if int(b) != i+1 {
			return 0, 0, false
		}
	}
	return proto, inside, espPayload(h, proto, h.data[start:inside])
}

// espPayload reports whether b is exactly one packet of the protocol.
func espPayload(h *headers, proto uint8, b []byte) bool {
	switch proto {
	case frame.ProtoUDP:
		return len(b) >= udpLen && int(binary.BigEndian.Uint16(b[4:])) == len(b)
	case frame.ProtoTCP:
		// No field holds the length. The check sum does, unless a NAT has
		// changed the addresses.
		return len(b) >= tcpLen && int(b[12]>>4)*4 >= tcpLen && int(b[12]>>4)*4 <= len(b) &&
			pseudoSum(h, proto, b) == 0xffff
	case protoIPv4:
		return len(b) >= ipv4Len && b[0]>>4 == 4 && b[0]&0x0f >= 5 && int(binary.BigEndian.Uint16(b[2:])) == len(b)
	case protoIPv6:
		return len(b) >= ipv6Len && b[0]>>4 == 6 && ipv6Len+int(binary.BigEndian.Uint16(b[4:])) == len(b)
	}
	return false
}

// pseudoSum is the check sum of b with the pseudo-header of its addresses (RFC
// 9293 section 3.1): 0xffff if b holds the right one. The ffff of an IPv4-mapped
// address counts nothing in one's complement.
func pseudoSum(h *headers, proto uint8, b []byte) uint16 {
	src, dst := h.packet.Src.Addr, h.packet.Dst.Addr
	sum := uint64(proto) + uint64(len(b))
	for _, w := range [...]uint64{src.Hi, src.Lo, dst.Hi, dst.Lo} {
		sum += w>>48 + w>>32&0xffff + w>>16&0xffff + w&0xffff
	}
	for ; len(b) >= 2; b = b[2:] {
		sum += uint64(binary.BigEndian.Uint16(b))
	}
	if len(b) == 1 {
		sum += uint64(b[0]) << 8
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return uint16(sum)
}
