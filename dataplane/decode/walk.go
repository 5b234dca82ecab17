package decode

import (
	"encoding/binary"

	"ringside/dataplane/frame"
)

// Raw IP under the numbers that DLT_RAW has had on some systems, and that
// files carry although the format says 101.
const (
	linkRawBSD     frame.LinkType = 12
	linkRawOpenBSD frame.LinkType = 14
)

// Header lengths and limits, in bytes unless said otherwise.
const (
	etherLen = 14
	tagLen   = 4
	sllLen   = 16
	sll2Len  = 20
	nullLen  = 4
	llcLen   = 3
	snapLen  = 5 // OUI and protocol id behind the LLC header

	maxTags  = 4    // VLAN tags in a row
	maxPlain = 1518 // an untagged Ethernet frame with its checksum (IEEE 802.3)
)

// EtherTypes that the walk acts upon.
const (
	etherIPv4       = 0x0800
	etherIPv6       = 0x86dd
	etherVLAN       = 0x8100 // 802.1Q
	etherQinQ       = 0x88a8 // 802.1ad
	etherQinQ1      = 0x9100 // QinQ before 802.1ad, as some vendors still send it
	etherQinQ2      = 0x9200
	etherQinQ3      = 0x9300
	etherTRILL      = 0x22f3
	etherBridging   = 0x6558 // an Ethernet frame, inside of GRE and Geneve
	etherMPLS       = 0x8847
	etherMPLSMulti  = 0x8848
	etherPPPoE      = 0x8864 // session
	etherPBB        = 0x88e7 // 802.1ah
	etherFabricPath = 0x8903
	etherVNTag      = 0x8926
	etherETag       = 0x893f // 802.1BR
	etherNSH        = 0x894f
	etherMin        = 0x0600 // EtherTypes begin here
	lengthMax       = 1500   // 802.3 lengths end here
)

// headers is what the walk finds out on its way to the transport header. What
// belongs to a packet goes into the packet at once. All offsets count from the
// beginning of the frame. One headers serves frame after frame: begin resets
// what may be read before it is written.
type headers struct {
	data     []byte        // captured bytes, of a tunnel's inside up to its end
	wire     int           // where the frame, or the tunnel's inside, ends on the wire
	ports    *portSet      // of tunnels
	packet   *frame.Packet // being filled: addresses, Proto, TTL, DSCP and ID are of the innermost IP header
	ip       int           // where the innermost IP header begins
	off      int           // where the transport header begins
	end      int           // where the IP payload ends by the IP header; may lie beyond data
	fragment uint32        // offset in bytes of a fragment, and moreFragments
	id       uint32        // identification of a fragment
	six      bool          // the fragment is one of IPv6
	number   uint16        // what a Reason's table counts by: EtherType, protocol or address family

	notes  uint16 // bits 1<<Note
	tags   uint8
	layers uint8 // tunnels around
	depth  uint8 // IP headers around the innermost one

	tunnel             frame.Tunnel // the innermost, if layers > 0
	outerSrc, outerDst frame.Addr   // of the outermost IP header, if depth > 0
	learning           bool         // the next way into a tunnel is to be remembered
	traced             bool         // tunnel or trace is not zero
	from               *way         // where tunnel has been taken from, unchanged
	addresses          uint64       // of tunnel, if from is set: those of IPv4
	vlan               uint16       // outermost tag, if from is set
	again              bool         // the tunnel was the same for two frames, last is the second one
	last               *start       // of a frame with tunnel and vlan, if again is set
	place              uint16       // of tunnel in the batch, if it was listed last; else 0
	trace              trace        // of tunnels, while learning; last, as it is large
}

// moreFragments is the bit of headers.fragment beside the offset.
const moreFragments = 1

// begin makes h ready for the walk of f, whose packet is to be p.
func (h *headers) begin(f *frame.Frame, p *frame.Packet) {
	if h.traced {
		h.tunnel, h.traced, h.from, h.place, h.again = frame.Tunnel{}, false, nil, 0, false
		if h.learning {
			h.trace = trace{}
		}
	}
	h.data = f.Data
	h.wire = max(int(f.Len), len(f.Data)) // files exist that say less than they hold
	h.packet = p
	h.notes, h.tags, h.layers, h.depth = 0, 0, 0, 0
	p.VLAN, p.Flags = 0, 0
}

// outer is the hash of the outermost addresses.
func (h *headers) outer() uint64 {
	src, dst := h.packet.Src.Addr, h.packet.Dst.Addr
	if h.depth > 0 {
		src, dst = h.outerSrc, h.outerDst
	}
	return frame.FlowHash(frame.Endpoint{Addr: src}, frame.Endpoint{Addr: dst})
}

// walk reads the layers of f down to the transport header, or to what IP
// carries in its place. It returns none, or the reason why there is no such
// thing, or fragment; or packet, where it could go all the way.
func walk(f *frame.Frame, h *headers) Reason {
	data := f.Data
	switch f.Link {
	case frame.LinkEthernet:
		if len(data) < etherLen {
			return TruncatedLink
		}
		return network(h, etherLen, binary.BigEndian.Uint16(data[12:]))
	case frame.LinkSLL:
		if len(data) < sllLen {
			return TruncatedLink
		}
		return cooked(h, sllLen, binary.BigEndian.Uint16(data[2:]), binary.BigEndian.Uint16(data[14:]))
	case frame.LinkSLL2:
		if len(data) < sll2Len {
			return TruncatedLink
		}
		return cooked(h, sll2Len, binary.BigEndian.Uint16(data[8:]), binary.BigEndian.Uint16(data))
	case frame.LinkRaw, linkRawBSD, linkRawOpenBSD:
		return rawIP(h, 0)
	case frame.LinkIPv4:
		return ipv4(h, 0)
	case frame.LinkIPv6:
		return ipv6(h, 0)
	case frame.LinkNull, frame.LinkLoop:
		return loopback(h)
	}
	return UnknownLink
}

// isTag reports whether an EtherType announces a VLAN tag.
func isTag(etherType uint16) bool {
	switch etherType {
	case etherVLAN, etherQinQ, etherQinQ1, etherQinQ2, etherQinQ3:
		return true
	}
	return false
}

// ethernet reads the Ethernet header of a frame inside a tunnel.
func ethernet(h *headers, off int) Reason {
	if len(h.data) < off+etherLen {
		return TruncatedLink
	}
	h.varies(off, 12)
	return network(h, off+etherLen, binary.BigEndian.Uint16(h.data[off+12:]))
}

// network goes on behind a link-layer header by its EtherType, or 802.3 length.
func network(h *headers, off int, etherType uint16) Reason {
	for tags := 0; ; tags++ {
		switch etherType {
		case etherIPv4:
			return ipv4(h, off)
		case etherIPv6:
			return ipv6(h, off)
		case etherVLAN, etherQinQ, etherQinQ1, etherQinQ2, etherQinQ3:
			if tags == maxTags {
				return TooManyTags
			}
			if len(h.data) < off+tagLen {
				return TruncatedLink
			}
			if h.layers != 0 {
				h.tagged(off)
			}
			if h.tags == 0 {
				h.packet.VLAN = binary.BigEndian.Uint16(h.data[off:]) & 0x0fff
				h.packet.Flags = frame.FlagVLAN
				h.notes |= 1 << NoteVLAN
			}
			h.tags++
			etherType = binary.BigEndian.Uint16(h.data[off+2:])
			off += tagLen
			continue
		}
		if etherType <= lengthMax {
			return llc(h, off)
		}
		return linkTunnel(h, off, etherType)
	}
}

// llc reads an IEEE 802.2 header; SNAP leads back to EtherTypes (RFC 1042).
func llc(h *headers, off int) Reason {
	const (
		sapSTP  = 0x42
		sapIPv4 = 0x06
		sapSNAP = 0xaa
		control = 0x03 // unnumbered information
	)
	if len(h.data) < off+llcLen {
		return TruncatedLink
	}
	b := h.data[off:]
	off += llcLen
	switch dsap := b[0]; {
	case dsap == sapSTP:
		return STP
	case dsap == sapIPv4 && b[2] == control:
		return ipv4(h, off)
	case dsap != sapSNAP || b[2] != control:
		return LLC
	}
	if len(b) < llcLen+snapLen {
		return TruncatedLink
	}
	etherType := binary.BigEndian.Uint16(b[6:])
	// OUI 00-00-00 is RFC 1042, 00-00-f8 the tunnel encapsulation of 802.1H.
	if b[3] != 0 || b[4] != 0 || b[5] != 0 && b[5] != 0xf8 || etherType < etherMin {
		return LLC
	}
	return network(h, off+snapLen, etherType)
}

// cooked goes on behind a Linux cooked header. Its protocol is an EtherType, or
// below those a number of Linux's own: 4 for a frame that begins with LLC.
func cooked(h *headers, off int, hardware, protocol uint16) Reason {
	const (
		hardwareNetlink = 824 // protocol is a netlink family
		protocolLLC     = 4
	)
	switch {
	case hardware == hardwareNetlink, protocol < etherMin && protocol != protocolLLC:
		h.number = protocol
		return UnknownFamily
	case protocol == protocolLLC:
		return llc(h, off)
	}
	return network(h, off, protocol)
}

// rawIP goes on by the version of the IP header.
func rawIP(h *headers, off int) Reason {
	if len(h.data) <= off {
		return TruncatedIP
	}
	switch h.data[off] >> 4 {
	case 4:
		return ipv4(h, off)
	case 6:
		return ipv6(h, off)
	}
	return BadIPVersion
}

// loopback goes on by the address family in the first four bytes: in the byte
// order of the capturing machine (NULL) or in network order (LOOP). Families
// are small numbers, so that either order can be told from the other.
func loopback(h *headers) Reason {
	if len(h.data) < nullLen {
		return TruncatedLink
	}
	family := binary.LittleEndian.Uint32(h.data)
	if family > 0xffff {
		family = binary.BigEndian.Uint32(h.data)
	}
	switch family {
	case 2:
		return ipv4(h, nullLen)
	case 10, 24, 28, 30: // AF_INET6 of Linux, NetBSD and OpenBSD, FreeBSD, Darwin
		return ipv6(h, nullLen)
	}
	h.number = uint16(family)
	return UnknownFamily
}
