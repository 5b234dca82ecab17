package decode

import "ringside/dataplane/frame"

// Flags of a GRE header (RFC 2784, RFC 2890, RFC 1701; RFC 2637 for version 1).
const (
	greChecksum = 0x8000
	greRouting  = 0x4000
	greKey      = 0x2000
	greSequence = 0x1000
	greAck      = 0x0080
	greVersion  = 0x0007
)

// Protocols of GRE that are no EtherTypes of other links.
const (
	grePPP     = 0x880b
	greWCCP    = 0x883e
	greERSPAN  = 0x88be // types I and II
	greERSPAN3 = 0x22eb
	greEoIP    = 0x6400 // MikroTik's Ethernet over IP
)

// gre reads a GRE header, and goes on with what it carries.
func gre(h *headers) Reason {
	off := h.off
	if !h.has(off, 4) {
		return TruncatedTunnel
	}
	flags, protocol := h.be16(off), h.be16(off+2)
	off += 4
	switch flags & greVersion {
	case 0:
	case 1:
		return gre1(h, off, flags, protocol)
	default:
		return TunnelGRE
	}
	if flags&(greChecksum|greRouting) != 0 {
		h.varies(off, 2)
		off += 4
	}
	key, keyAt := uint32(0), off
	if flags&greKey != 0 {
		if !h.has(off, 4) {
			return TruncatedTunnel
		}
		key = h.be32(off)
		off += 4
	}
	if flags&greSequence != 0 {
		h.varies(off, 4)
		off += 4
	}
	for more := flags&greRouting != 0; more; { // source routes, the last of length 0
		if !h.has(off, 4) {
			return TruncatedTunnel
		}
		length := int(h.data[off+3])
		more = length != 0
		off += 4 + length
	}
	if !h.has(off, 0) {
		return TruncatedTunnel
	}
	switch protocol {
	case greERSPAN:
		return erspan(h, off, flags&greSequence != 0)
	case greERSPAN3:
		return erspan3(h, off)
	}
	if r := h.enter(frame.GRE, key, h.end); r != none {
		return r
	}
	if flags&greKey != 0 {
		h.idAt(keyAt, 0, 0xffffffff)
	}
	switch protocol {
	case grePPP:
		return ppp(h, off)
	case greWCCP:
		return wccp(h, off)
	}
	return carried(h, off, protocol)
}

// greUDP reads GRE in UDP (RFC 8086). Its header has next to no marks, so the
// inside must fit.
func greUDP(h *headers, off, end int) Reason {
	const known = greChecksum | greKey | greSequence
	if !h.has(off, 4) || h.be16(off)&^known != 0 {
		return closed
	}
	flags, protocol, inside := h.be16(off), h.be16(off+2), off+4
	for _, field := range [...]uint16{greChecksum, greKey, greSequence} {
		if flags&field != 0 {
			inside += 4
		}
	}
	switch protocol {
	case etherIPv4, etherIPv6:
		if looksIP(h, inside, end, true) != protocol {
			return closed
		}
	case etherBridging:
		if !surelyEthernet(h, inside, end) {
			return closed
		}
	default:
		return closed
	}
	h.off, h.end = off, end
	if protocol == etherBridging {
		h.lose()
	}
	return gre(h)
}

// gre1 reads on in a header of version 1, whose key holds a length and a call:
// PPTP (RFC 2637 section 4.1), and MikroTik's Ethernet over IP.
func gre1(h *headers, off int, flags, protocol uint16) Reason {
	if flags&greKey == 0 {
		return TunnelGRE
	}
	if !h.has(off, 4) {
		return TruncatedTunnel
	}
	length, call := int(h.be16(off)), uint32(h.be16(off+2))
	h.lose()
	off += 4
	if flags&greSequence != 0 {
		off += 4
	}
	if flags&greAck != 0 {
		off += 4
	}
	switch {
	case protocol == grePPP && length > 0: // else an acknowledgment alone
		if r := h.enter(frame.GRE, call, min(h.end, off+length)); r != none {
			return r
		}
		return ppp(h, off)
	case protocol == greEoIP && flags == greKey|1:
		if r := h.enter(frame.GRE, call>>8|call<<8&0xff00, min(h.end, off+length)); r != none { // little endian
			return r
		}
		return ethernet(h, off)
	}
	return TunnelGRE
}

// wccp skips the redirect header of WCCP version 2; version 1 has none.
func wccp(h *headers, off int) Reason {
	if h.has(off, 1) && h.data[off]>>4 != 4 {
		off += 4
	}
	return ipv4(h, off)
}

// erspan reads Cisco's mirrored frames: of type I, without a header, and of
// type II, which has one and GRE's sequence number.
func erspan(h *headers, off int, sequence bool) Reason {
	const (
		length  = 8
		version = 1
	)
	if !sequence {
		if r := h.enter(frame.ERSPAN1, 0, h.end); r != none {
			return r
		}
		return ethernet(h, off)
	}
	if !h.has(off, length) {
		return TruncatedTunnel
	}
	if h.data[off]>>4 != version {
		return TunnelGRE
	}
	if r := h.enter(frame.ERSPAN2, uint32(h.be16(off+2)&0x3ff), h.end); r != none { // session
		return r
	}
	h.variesIn(off, 0x0fffffff) // VLAN before the mirror, its priority
	h.idAt(off, 0, 0x3ff)
	h.varies(off+4, 4) // port
	return ethernet(h, off+length)
}

// erspan3 reads a mirrored frame of type III (draft-foschiano-erspan): with a
// time stamp, and maybe a header of the platform.
func erspan3(h *headers, off int) Reason {
	const (
		length    = 12
		platform  = 8
		version   = 2
		typeEther = 0
		typeIP    = 2
	)
	if !h.has(off, length) {
		return TruncatedTunnel
	}
	if h.data[off]>>4 != version {
		return TunnelGRE
	}
	start, session, flags := off, uint32(h.be16(off+2)&0x3ff), h.be16(off+10)
	off += length
	if flags&1 != 0 {
		off += platform
	}
	frameType := flags >> 10 & 0x1f
	if frameType != typeEther && frameType != typeIP {
		return TunnelGRE
	}
	if r := h.enter(frame.ERSPAN3, session, h.end); r != none {
		return r
	}
	h.variesIn(start, 0x0fffffff) // VLAN before the mirror, its priority
	h.idAt(start, 0, 0x3ff)
	h.varies(start+4, 6) // time stamp, security group
	if flags&1 != 0 {
		h.varies(start+length, platform)
	}
	if frameType == typeIP {
		return rawIP(h, off)
	}
	return ethernet(h, off)
}
