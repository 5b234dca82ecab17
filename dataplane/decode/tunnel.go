package decode

import (
	"encoding/binary"
	"slices"

	"ringside/dataplane/frame"
)

// maxLayers bounds the tunnels in one another, so that a frame made of headers
// alone cannot keep the decoder busy.
const maxLayers = 8

// enter goes into a tunnel that the innermost IP header carries, whose inside
// ends at end by the headers around it.
func (h *headers) enter(kind frame.TunnelKind, id uint32, end int) Reason {
	if h.layers >= maxLayers {
		return TooManyLayers
	}
	h.traceIP()
	if h.depth == 0 {
		h.outerSrc, h.outerDst = h.packet.Src.Addr, h.packet.Dst.Addr
	}
	h.layers++
	h.depth++
	h.traced, h.from, h.again, h.place = true, nil, false, 0
	h.tunnel = frame.Tunnel{Kind: kind, Src: h.packet.Src.Addr, Dst: h.packet.Dst.Addr, ID: id}
	h.narrow(end)
	return none
}

// enterLink goes into a tunnel without an IP header of its own. The addresses
// stay those of the IP header around it, if there is one.
func (h *headers) enterLink(kind frame.TunnelKind, id uint32) Reason {
	if h.layers >= maxLayers {
		return TooManyLayers
	}
	h.traced, h.from, h.again, h.place = true, nil, false, 0
	h.layers++
	h.tunnel.Kind, h.tunnel.ID = kind, id
	if h.learning {
		h.trace.id = field{}
	}
	return none
}

// narrow ends what is read at end: behind it is padding, or a trailer.
func (h *headers) narrow(end int) {
	h.wire = end
	h.data = h.data[:min(len(h.data), end)]
}

// has reports whether n bytes from off on were captured.
func (h *headers) has(off, n int) bool { return off+n <= len(h.data) }

// be16 and be32 are the fields at off, which must have been captured.
func (h *headers) be16(off int) uint16 { return binary.BigEndian.Uint16(h.data[off:]) }
func (h *headers) be32(off int) uint32 { return binary.BigEndian.Uint32(h.data[off:]) }

// linkTunnel opens what an EtherType announces, beside IP and VLAN tags.
func linkTunnel(h *headers, off int, etherType uint16) Reason {
	switch etherType {
	case etherMPLS, etherMPLSMulti:
		return mpls(h, off)
	case etherPPPoE:
		return pppoe(h, off)
	case etherVNTag:
		return vnTag(h, off)
	case etherETag:
		return eTag(h, off)
	case etherFabricPath:
		return fabricPath(h, off)
	case etherPBB:
		return pbb(h, off)
	case etherTRILL:
		return trill(h, off)
	case etherNSH:
		return nsh(h, off)
	}
	h.number = etherType
	return etherTypeReason(etherType)
}

// ipTunnel opens what the innermost IP header carries. It returns none when
// there is another IP header inside, and what that carries is found.
func ipTunnel(h *headers) Reason {
	switch h.packet.Proto {
	case protoIPv4:
		if r := h.enter(frame.IPinIP, 0, h.end); r != none {
			return r
		}
		return ipv4(h, h.off)
	case protoIPv6:
		if r := h.enter(frame.IPinIP, 0, h.end); r != none {
			return r
		}
		return ipv6(h, h.off)
	case protoGRE:
		return gre(h)
	case protoESP:
		return espNull(h, h.off, h.end)
	case protoEtherIP:
		return etherIP(h)
	case protoL2TP:
		return l2tp3(h, h.off, h.end)
	case protoMPLS:
		// The labels enter a tunnel of their own.
		if r := h.enter(frame.MPLS, 0, h.end); r != none {
			return r
		}
		return mpls(h, h.off)
	}
	h.number = uint16(h.packet.Proto)
	return protocolReason(h.packet.Proto)
}

// UDP ports of tunnels (IANA service-names, but for HP-ERM's and TZSP's).
const (
	portL2TP     = 1701
	portGTPU     = 2152
	portESP      = 4500
	portGRE      = 4754
	portVXLAN    = 4789
	portGPE      = 4790
	portGeneve   = 6081
	portMPLS     = 6635
	portHPERM    = 7932
	portVXLANOld = 8472
	portTZSP     = 37008
)

var (
	tunnelPorts = []uint16{portL2TP, portGTPU, portESP, portGRE, portGPE, portGeneve, portMPLS, portHPERM, portTZSP}
	vxlanPorts  = []uint16{portVXLAN, portVXLANOld}
)

// udpTunnel opens a tunnel in the UDP datagram at h.off, whose payload ends at
// end. It returns closed, and has changed nothing, if there is none.
func (d *Decoder) udpTunnel(h *headers, end int) Reason {
	off, src, dst := h.off, h.packet.Src.Port, h.packet.Dst.Port
	r := d.tunnelTo(h, dst, off+udpLen, end)
	if r != closed {
		h.varies(off, 2) // source port
	} else if src == portGTPU || src == portL2TP || src == portESP { // from such a port, too
		r = d.tunnelTo(h, src, off+udpLen, end)
	}
	if r != closed {
		h.lengthAt(off+4, off)
		h.varies(off+6, 2) // check sum
	}
	return r
}

// tunnelTo opens the tunnel of a port.
func (d *Decoder) tunnelTo(h *headers, port uint16, off, end int) Reason {
	if slices.Contains(d.vxlan, port) {
		return vxlan(h, off, end)
	}
	switch port {
	case portGTPU:
		return gtpU(h, off, end)
	case portGPE:
		return vxlanGPE(h, off, end)
	case portGeneve:
		return geneve(h, off, end)
	case portL2TP:
		return l2tp(h, off, end)
	case portESP:
		return espUDP(h, off, end)
	case portGRE:
		return greUDP(h, off, end)
	case portMPLS:
		return mplsUDP(h, off, end)
	case portHPERM:
		return hpERM(h, off, end)
	case portTZSP:
		return tzsp(h, off, end)
	}
	return closed
}

// portSet marks ports by their lower ten bits: a cheap first look, which one
// packet in some fifty passes for nothing.
type portSet [1 << 10]uint8

func (s *portSet) add(port uint16) { s[port&(1<<10-1)] = 1 }

// has reports whether one of the ports may have been added.
func (s *portSet) has(a, b uint16) bool { return s[a&(1<<10-1)]|s[b&(1<<10-1)] != 0 }

// What a tunnel that cannot be told for sure may carry, is looked at before the
// tunnel is entered, from off to end. Of what was cut from the capture the best
// is believed; what was captured must be consistent. With fit, the inside must
// also not be longer than the tunnel, as it is where something on the way has
// sliced it.

// looksIP is the EtherType of the IP header at off, or 0 for anything else.
func looksIP(h *headers, off, end int, fit bool) uint16 {
	end = max(end, off)
	if len(h.data) <= off {
		return 0
	}
	switch b := h.data[off:]; b[0] >> 4 {
	case 4:
		if b[0]&0x0f < ipv4Len/4 || end-off < ipv4Len {
			return 0
		}
		if len(b) >= 4 {
			length := int(binary.BigEndian.Uint16(b[2:]))
			if length < int(b[0]&0x0f)*4 && length != 0 || fit && length > end-off {
				return 0
			}
		}
		return etherIPv4
	case 6:
		if end-off < ipv6Len || len(b) >= 6 && fit && ipv6Len+int(binary.BigEndian.Uint16(b[4:])) > end-off {
			return 0
		}
		return etherIPv6
	}
	return 0
}

// looksEthernet reports whether there may be an Ethernet header at off; with
// known, one that was captured, and whose EtherType has a name here. The
// addresses say nothing.
func looksEthernet(h *headers, off, end int, known bool) bool {
	inside := off + etherLen
	if !h.has(off, etherLen) || inside > end {
		return !known && inside <= end
	}
	switch etherType := h.be16(off + 12); {
	case etherType == etherIPv4 || etherType == etherIPv6:
		return looksIP(h, inside, end, known) == etherType || len(h.data) == inside && end > inside
	case etherType <= lengthMax: // two equal service access points, as nearly all have
		return inside+int(etherType) <= end && h.has(inside, 2) &&
			h.data[inside] == h.data[inside+1] && h.data[inside] != 0
	case !known:
		return true
	default:
		return slices.Contains(etherTypes, etherType) || etherTypeReason(etherType) != UnknownEtherType
	}
}

// etherTypes are those that a frame in a tunnel may have, beside IP.
var etherTypes = []uint16{etherVLAN, etherQinQ, etherQinQ1, etherMPLS, etherMPLSMulti, etherPPPoE, etherPBB, etherFabricPath, etherVNTag, etherETag}

// surelyEthernet reports whether there is an Ethernet frame at off with an IP
// packet in it, behind VLAN tags maybe. No other bytes look like that.
func surelyEthernet(h *headers, off, end int) bool {
	if !h.has(off, etherLen) {
		return false
	}
	etherType, inside := h.be16(off+12), off+etherLen
	for range maxTags {
		if etherType != etherVLAN && etherType != etherQinQ || !h.has(inside, tagLen) {
			break
		}
		etherType, inside = h.be16(inside+2), inside+tagLen
	}
	return (etherType == etherIPv4 || etherType == etherIPv6) && looksIP(h, inside, end, true) == etherType
}

// carried goes on behind the header of a tunnel that has an EtherType.
func carried(h *headers, off int, etherType uint16) Reason {
	switch {
	case etherType == etherBridging:
		return ethernet(h, off)
	case etherType < etherMin:
		h.number = etherType
		return UnknownEtherType
	}
	return network(h, off, etherType)
}
