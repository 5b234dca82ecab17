package decode

import "ringside/dataplane/frame"

// PPP protocols (RFC 1661 section 2) that are read.
const (
	pppIPv4      = 0x0021
	pppIPv6      = 0x0057
	pppMPLS      = 0x0281
	pppMPLSMulti = 0x0283
	pppControl   = 0x8000 // from here on: configuration of protocols, and of the link
)

// pppoe reads a session's header (RFC 2516 section 4).
func pppoe(h *headers, off int) Reason {
	const (
		length  = 6
		session = 0x1100 // version and type 1, code 0
	)
	if !h.has(off, length) {
		return TruncatedTunnel
	}
	if h.be16(off) != session {
		return TunnelPPPoE
	}
	id, end := h.be16(off+2), off+length+int(h.be16(off+4))
	if r := h.enterLink(frame.PPPoE, uint32(id)); r != none {
		return r
	}
	h.idAt(off, 0, 0xffff)
	h.lengthAt(off+4, off+length)
	h.narrow(min(h.wire, end))
	return ppp(h, off+length)
}

// pppProtocol reads the header of a PPP frame: its protocol, and where what it
// carries begins; false if the capture ends before. Address and control field
// may be left out, and a protocol below 256 sent in one byte (RFC 1661 section 6).
func pppProtocol(h *headers, off int) (protocol uint16, next int, ok bool) {
	if h.has(off, 2) && h.be16(off) == 0xff03 {
		off += 2
	}
	switch {
	case !h.has(off, 1), h.data[off] == 0xff && !h.has(off, 2):
		return 0, 0, false
	case h.data[off]&1 != 0:
		return uint16(h.data[off]), off + 1, true
	case !h.has(off, 2):
		return 0, 0, false
	}
	return h.be16(off), off + 2, true
}

// ppp reads a PPP frame.
func ppp(h *headers, off int) Reason {
	protocol, off, ok := pppProtocol(h, off)
	if !ok {
		return TruncatedTunnel
	}
	switch protocol {
	case pppIPv4:
		return ipv4(h, off)
	case pppIPv6:
		return ipv6(h, off)
	case pppMPLS, pppMPLSMulti:
		return mpls(h, off)
	}
	if protocol >= pppControl {
		return PPPControl
	}
	h.number = protocol
	return UnknownPPP
}

// looksPPP reports whether there may be a PPP frame with IP at off.
func looksPPP(h *headers, off, end int, fit bool) bool {
	protocol, next, ok := pppProtocol(h, off)
	if !ok {
		return false
	}
	ip := looksIP(h, next, end, fit)
	return protocol == pppIPv4 && ip == etherIPv4 || protocol == pppIPv6 && ip == etherIPv6
}

// l2tp reads L2TP in UDP: version 2 (RFC 2661 section 3.1), or version 3 (RFC
// 3931 section 4.1.2.1). Control messages stay UDP.
func l2tp(h *headers, off, end int) Reason {
	const (
		control  = 0x8000
		length   = 0x4000
		sequence = 0x0800
		offset   = 0x0200
		reserved = 0x34f0
		version  = 0x000f
	)
	if !h.has(off, 2) {
		return closed
	}
	start, flags := off, h.be16(off)
	switch {
	case flags == 3:
		if r := l2tp3(h, off+4, end); r != TunnelL2 && r != TruncatedTunnel {
			return r
		}
		return closed
	case flags&version != 2 || flags&(control|reserved) != 0:
		return closed
	}
	off += 2
	long := false // says its length, which is right
	if flags&length != 0 {
		if !h.has(off, 2) || start+int(h.be16(off)) > end {
			return closed
		}
		end, long = start+int(h.be16(off)), true
		off += 2
	}
	if !h.has(off, 4) {
		return closed
	}
	session := h.be32(off)
	off += 4
	if flags&sequence != 0 {
		off += 4
	}
	if flags&offset != 0 {
		if !h.has(off, 2) {
			return closed
		}
		off += 2 + int(h.be16(off))
	}
	if !looksPPP(h, off, end, false) {
		protocol, _, ok := pppProtocol(h, off)
		if !ok || off >= end || !long || protocol < pppControl {
			return closed
		}
	}
	if r := h.enter(frame.L2TP, session, end); r != none {
		return r
	}
	h.lose()
	return ppp(h, off)
}

// l2tp3 reads an L2TPv3 data message from its session id on (RFC 3931 section
// 4.1.1.1), which ends at end. Whether a cookie and a sublayer follow, and what
// they are before, has been agreed elsewhere: the inside is looked for behind
// each length that there may be. Session 0 is control.
func l2tp3(h *headers, off, end int) Reason {
	if !h.has(off, 4) {
		return TruncatedTunnel
	}
	session := h.be32(off)
	h.lose()
	if session == 0 {
		return TunnelL2
	}
	const first, last = 4, 16 // of the session id, a cookie and a sublayer
	for skip := first; skip <= last; skip += 4 {
		start := off + skip
		switch {
		case surelyEthernet(h, start, end):
			return l2tp3Ethernet(h, session, start, end)
		case looksPPP(h, start, end, true):
			if r := h.enter(frame.L2TP, session, end); r != none {
				return r
			}
			return ppp(h, start)
		}
	}
	for skip := first; skip <= last; skip += 4 {
		if looksEthernet(h, off+skip, end, true) {
			return l2tp3Ethernet(h, session, off+skip, end)
		}
	}
	return TunnelL2
}

func l2tp3Ethernet(h *headers, session uint32, off, end int) Reason {
	if r := h.enter(frame.L2TP, session, end); r != none {
		return r
	}
	return ethernet(h, off)
}
