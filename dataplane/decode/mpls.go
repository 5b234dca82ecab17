package decode

import "ringside/dataplane/frame"

const labelLen = 4

// mpls reads a label stack (RFC 3032). What follows it is said nowhere: IP is
// told by its version, and Ethernet, of a pseudo-wire, by its EtherType. The
// label of the tunnel is the last one, but an entropy label, which differs from
// flow to flow, and the indicator before it (RFC 6790 section 4.2).
func mpls(h *headers, off int) Reason {
	const (
		bottom    = 0x100
		indicator = 7
	)
	label, entropy := uint32(0), false
	for range 16 { // deeper stacks than any router builds
		if !h.has(off, labelLen) {
			return TruncatedTunnel
		}
		entry := h.be32(off)
		h.varies(off+3, 1) // time to live
		off += labelLen
		if value := entry >> 12; entropy || value == indicator {
			entropy = !entropy
		} else {
			label = value
		}
		if entry&bottom != 0 {
			return labelled(h, off, label)
		}
	}
	return TunnelMPLS
}

// labelled reads what a label stack carries. A pseudo-wire may have a control
// word before the frame (RFC 4385 section 3), whose first four bits are 0; so
// are those of most Ethernet addresses.
func labelled(h *headers, off int, label uint32) Reason {
	const controlWord = 4
	if len(h.data) <= off {
		return TruncatedTunnel
	}
	version := h.data[off] >> 4
	kind, start := frame.PseudoWire, off
	switch end := h.wire; {
	case looksIP(h, off, end, true) != 0:
		kind = frame.MPLS
	case surelyEthernet(h, off, end):
	case version == 0 && (surelyEthernet(h, off+controlWord, end) || looksEthernet(h, off+controlWord, end, true)):
		start = off + controlWord
	case looksEthernet(h, off, end, true):
	case version == 4 || version == 6: // sliced on the way, or bad
		kind = frame.MPLS
	default:
		return TunnelMPLS
	}
	if r := h.enterLink(kind, label); r != none {
		return r
	}
	if kind == frame.PseudoWire {
		h.lose()
		return ethernet(h, start)
	}
	return rawIP(h, start)
}

// mplsUDP reads MPLS in UDP (RFC 7510). Text may pass for labels and the first
// byte of an IP header, so the packet must fit.
func mplsUDP(h *headers, off, end int) Reason {
	stack := off
	for h.has(stack, labelLen) && h.be32(stack)&0x100 == 0 {
		stack += labelLen
	}
	if looksIP(h, stack+labelLen, end, true) == 0 {
		return closed
	}
	if r := h.enter(frame.MPLS, 0, end); r != none {
		return r
	}
	return mpls(h, off)
}
