package decode

import "ringside/dataplane/frame"

const (
	labelLen       = 4
	labelShift     = 12 // of the label in an entry
	labelMask      = 0xfffff000
	labelIndicator = 7 // announces an entropy label
)

// mpls reads a label stack (RFC 3032). What follows it is said nowhere: IP is
// told by its version, and Ethernet, of a pseudo-wire, by its EtherType. The
// label of the tunnel is the last one, but an entropy label, which differs from
// flow to flow, and the indicator before it (RFC 6790 section 4.2).
func mpls(h *headers, off int) Reason {
	const bottom = 0x100
	label, at, entropy := uint32(0), 0, false
	for range 16 { // deeper stacks than any router builds
		if !h.has(off, labelLen) {
			return TruncatedTunnel
		}
		entry := h.be32(off)
		h.variesIn(off, 0xeff) // traffic class, time to live
		switch value := entry >> labelShift; {
		case entropy:
			h.variesIn(off, labelMask)
			entropy = false
		case value == labelIndicator:
			entropy = true
		default:
			h.label(off)
			label, at = value, off
		}
		off += labelLen
		if entry&bottom != 0 {
			return labelled(h, off, label, at)
		}
	}
	return TunnelMPLS
}

// labelled reads what a label stack carries. A pseudo-wire may have a control
// word before the frame (RFC 4385 section 3), whose first four bits are 0; so
// are those of most Ethernet addresses. The label of the tunnel is at a place, or
// at 0: none.
func labelled(h *headers, off int, label uint32, at int) Reason {
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
	if at > 0 {
		h.labelAt(at)
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
