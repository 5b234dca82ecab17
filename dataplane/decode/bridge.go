package decode

import "ringside/dataplane/frame"

// Tunnels of bridges and fabrics: a tag, or a whole header, before an Ethernet
// frame. They are not made of IP.

// vnTag reads Cisco's VN-Tag, which a fabric extender puts before the EtherType.
func vnTag(h *headers, off int) Reason {
	const length = 6 // flags and interfaces, EtherType
	if !h.has(off, length) {
		return TruncatedTunnel
	}
	interfaces := h.be32(off)
	if r := h.enterLink(frame.VNTag, interfaces>>16&0x3fff); r != none { // destination interface
		return r
	}
	h.varies(off, 4)
	h.idAt(off, 16, 0x3fff)
	return network(h, off+length, h.be16(off+4))
}

// eTag reads the E-TAG of IEEE 802.1BR, VN-Tag's successor.
func eTag(h *headers, off int) Reason {
	const length = 8 // tag control information, EtherType
	if !h.has(off, length) {
		return TruncatedTunnel
	}
	if r := h.enterLink(frame.VNTag, h.be32(off+1)>>8&0x3fff); r != none { // E-CID base
		return r
	}
	h.varies(off, 6)
	h.idAt(off, 0, 0x3fff)
	return network(h, off+length, h.be16(off+6))
}

// fabricPath reads the tag that ends Cisco's outer header, which looks like
// Ethernet. The frame follows.
func fabricPath(h *headers, off int) Reason {
	const length = 2
	if !h.has(off, length) {
		return TruncatedTunnel
	}
	if r := h.enterLink(frame.FabricPath, uint32(h.be16(off)>>6)); r != none { // forwarding tag
		return r
	}
	h.varies(off, 2) // it, and the time to live
	h.idAt(off-2, 6, 0x3ff)
	return ethernet(h, off+length)
}

// pbb reads the I-TAG of IEEE 802.1ah (provider backbone bridges); the
// customer's frame follows.
func pbb(h *headers, off int) Reason {
	const length = 4
	if !h.has(off, length) {
		return TruncatedTunnel
	}
	if r := h.enterLink(frame.PBB, h.be32(off)&0xffffff); r != none { // I-SID
		return r
	}
	h.varies(off, 1) // priority and flags
	h.idAt(off, 0, 0xffffff)
	return ethernet(h, off+length)
}

// trill reads a TRILL header (RFC 6325 section 3).
func trill(h *headers, off int) Reason {
	const length = 6
	if !h.has(off, length) {
		return TruncatedTunnel
	}
	flags := h.be16(off)
	if flags>>14 != 0 { // version
		return TunnelFabric
	}
	options := int(flags>>6&0x1f) * 4
	if r := h.enterLink(frame.TRILL, uint32(h.be16(off+2))); r != none { // egress nickname
		return r
	}
	h.variesIn(off, 0x003f0000) // hops
	h.idAt(off, 0, 0xffff)
	h.varies(off+4, 2) // ingress nickname
	return ethernet(h, off+length+options)
}

// nsh skips a network service header (RFC 8300 section 2). It is no tunnel of
// its own: it names the path through a chain of services, mostly inside of one.
func nsh(h *headers, off int) Reason {
	const (
		length    = 8
		nextIPv4  = 1
		nextIPv6  = 2
		nextEther = 3
		nextNSH   = 4
		nextMPLS  = 5
	)
	for range maxLayers {
		if !h.has(off, length) {
			return TruncatedTunnel
		}
		base := h.be32(off)
		size := int(base>>16&0x3f) * 4
		if base>>30 != 0 || size < length { // version
			return TunnelFabric
		}
		off += size
		switch base & 0xff {
		case nextIPv4:
			return ipv4(h, off)
		case nextIPv6:
			return ipv6(h, off)
		case nextEther:
			// An Ethernet frame may announce another NSH: bounded as a tunnel is.
			id := h.trace.id
			if r := h.enterLink(h.tunnel.Kind, h.tunnel.ID); r != none {
				return r
			}
			h.trace.id = id
			return ethernet(h, off)
		case nextMPLS:
			return mpls(h, off)
		case nextNSH:
			continue
		}
		return TunnelFabric
	}
	return TooManyLayers
}

// etherIP reads the header of Ethernet in IP (RFC 3378).
func etherIP(h *headers) Reason {
	const (
		length  = 2
		version = 0x3000 // 3, and the rest reserved
	)
	if !h.has(h.off, length) {
		return TruncatedTunnel
	}
	if h.be16(h.off) != version {
		return TunnelL2
	}
	off := h.off + length
	if r := h.enter(frame.EtherIP, 0, h.end); r != none {
		return r
	}
	return ethernet(h, off)
}
