package decode

import "ringside/dataplane/frame"

// Tunnels in UDP. Each returns closed if the header, or what follows it, makes
// no sense: then it is UDP that happens to use the port.

// vxlan reads VXLAN (RFC 7348 section 5), with or without group policy. Some send
// the generic protocol extension to this port, too.
func vxlan(h *headers, off, end int) Reason {
	const (
		length = 8
		valid  = 0x08
		policy = 0x80
	)
	if !h.has(off, length) {
		return closed
	}
	if h.data[off]&^policy != valid || !looksEthernet(h, off+length, end, false) {
		return vxlanGPE(h, off, end)
	}
	if r := h.enter(frame.VXLAN, h.be32(off+4)>>8, end); r != none {
		return r
	}
	h.varies(off+1, 3) // flags and group of a policy
	h.idAt(off+4, 8, 0xffffff)
	return ethernet(h, off+length)
}

// vxlanGPE reads VXLAN with the generic protocol extension
// (draft-ietf-nvo3-vxlan-gpe).
func vxlanGPE(h *headers, off, end int) Reason {
	const (
		length    = 8
		valid     = 0x08
		protocol  = 0x04
		ignored   = 0x03 // replicated, and OAM
		nextIPv4  = 1
		nextIPv6  = 2
		nextEther = 3
		nextNSH   = 4
	)
	if !h.has(off, length) || h.data[off]&^(protocol|ignored) != valid {
		return closed
	}
	next := h.data[off+3] // some leave out the flag that announces it
	if next == 0 {
		next = nextEther
	}
	id, idAt := h.be32(off+4)>>8, off+4
	off += length
	sane := false
	switch next {
	case nextIPv4, nextIPv6:
		sane = looksIP(h, off, end, false) != 0
	case nextEther:
		sane = looksEthernet(h, off, end, false)
	case nextNSH:
		sane = h.has(off, 8) && h.data[off]>>6 == 0
	}
	if !sane {
		return closed
	}
	if r := h.enter(frame.VXLAN, id, end); r != none {
		return r
	}
	h.idAt(idAt, 8, 0xffffff)
	switch next {
	case nextEther:
		return ethernet(h, off)
	case nextNSH:
		return nsh(h, off)
	}
	return rawIP(h, off)
}

// geneve reads Geneve with its options (RFC 8926 section 3).
func geneve(h *headers, off, end int) Reason {
	const length = 8
	if !h.has(off, length) || h.data[off]>>6 != 0 { // version
		return closed
	}
	options := int(h.data[off]&0x3f) * 4
	start, etherType, id := off, h.be16(off+2), h.be32(off+4)>>8
	off += length + options
	sane := false
	switch etherType {
	case etherBridging:
		sane = looksEthernet(h, off, end, false)
	case etherIPv4, etherIPv6:
		sane = looksIP(h, off, end, false) == etherType
	}
	if !sane {
		return closed
	}
	if r := h.enter(frame.Geneve, id, end); r != none {
		return r
	}
	h.varies(start+1, 1) // flags
	h.idAt(start+4, 8, 0xffffff)
	h.varies(start+length, options)
	return carried(h, off, etherType)
}

// gtpU reads a G-PDU, user data of GTP version 1 (3GPP TS 29.281 section 5).
// Other messages stay UDP.
func gtpU(h *headers, off, end int) Reason {
	const (
		length    = 8
		version   = 0x30 // 1, and GTP rather than GTP'; in the upper half of the byte
		options   = 0x07 // extension header, sequence number, N-PDU number: all there if one is
		extended  = 0x04
		sequenced = 0x02
		gPDU      = 0xff
	)
	if !h.has(off, length) || h.data[off]&0xf0 != version || h.data[off+1] != gPDU {
		return closed
	}
	start, flags, teid := off, h.data[off], h.be32(off+4)
	end, off = min(end, off+length+int(h.be16(off+2))), off+length
	if flags&options != 0 {
		if !h.has(off, 4) {
			return closed
		}
		next := h.data[off+3]
		off += 4
		for flags&extended != 0 && next != 0 {
			if !h.has(off, 1) {
				return closed
			}
			size := int(h.data[off]) * 4
			if size == 0 || !h.has(off, size) {
				return closed
			}
			off += size
			next = h.data[off-1]
		}
	}
	isIP := looksIP(h, off, end, false) != 0
	if !isIP && !looksEthernet(h, off, end, true) { // Ethernet in 5G
		return closed
	}
	if r := h.enter(frame.GTPU, teid, end); r != none {
		return r
	}
	h.lengthAt(start+2, start+length)
	h.idAt(start+4, 0, 0xffffffff)
	if flags&sequenced != 0 {
		h.varies(start+length, 2)
	}
	if flags&extended != 0 {
		h.traceExtensions(start+length+4, off)
	}
	if !isIP {
		h.lose()
	}
	if isIP {
		return rawIP(h, off)
	}
	return ethernet(h, off)
}

// traceExtensions notes that what is in the extension headers of GTP from off to
// end may differ, such as the flow of the session: not their lengths and types.
func (h *headers) traceExtensions(off, end int) {
	for h.learning && off < end {
		size := int(h.data[off]) * 4
		h.varies(off+1, size-2)
		off += size
	}
}

// tzsp reads a frame in the TaZmen Sniffer Protocol, as MikroTik mirrors them:
// a header, tagged fields up to an end tag, the frame.
func tzsp(h *headers, off, end int) Reason {
	const (
		length    = 4
		version   = 1
		typeLast  = 1 // 0 is a received packet, 1 one to be sent
		typeEther = 1 // encapsulated protocol
		tagPad    = 0
		tagEnd    = 1
	)
	if !h.has(off, length) || h.data[off] != version || h.data[off+1] > typeLast || h.be16(off+2) != typeEther {
		return closed
	}
	off += length
	for {
		if !h.has(off, 1) {
			return closed
		}
		tag := h.data[off]
		off++
		if tag == tagEnd {
			break
		}
		if tag == tagPad {
			continue
		}
		if !h.has(off, 1) {
			return closed
		}
		off += 1 + int(h.data[off])
	}
	if !looksEthernet(h, off, end, true) {
		return closed
	}
	if r := h.enter(frame.TZSP, 0, end); r != none {
		return r
	}
	return ethernet(h, off)
}

// hpERM reads a frame that a ProCurve switch mirrors: 12 bytes, of which too
// little is known to tell them from others, then the frame.
func hpERM(h *headers, off, end int) Reason {
	const length = 12
	if !surelyEthernet(h, off+length, end) {
		return closed
	}
	if r := h.enter(frame.HPERM, 0, end); r != none {
		return r
	}
	h.lose()
	return ethernet(h, off+length)
}
