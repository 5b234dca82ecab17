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
	ipv4Len  = 20
	ipv6Len  = 40

	maxTags       = 4    // VLAN tags in a row
	maxExtensions = 8    // IPv6 extension headers in a row
	maxPlain      = 1518 // an untagged Ethernet frame with its checksum (IEEE 802.3)
)

// EtherTypes that the walk acts upon.
const (
	etherIPv4  = 0x0800
	etherIPv6  = 0x86dd
	etherVLAN  = 0x8100 // 802.1Q
	etherQinQ  = 0x88a8 // 802.1ad
	etherQinQ1 = 0x9100 // QinQ before 802.1ad, as some vendors still send it
	etherQinQ2 = 0x9200
	etherQinQ3 = 0x9300
	etherMin   = 0x0600 // EtherTypes begin here
	lengthMax  = 1500   // 802.3 lengths end here
)

// IP protocol numbers that the walk acts upon.
const (
	protoHopByHop    = 0
	protoRouting     = 43
	protoFragment    = 44
	protoAH          = 51
	protoNoNext      = 59
	protoDestination = 60
)

// headers is what the walk finds out on its way to the transport header.
type headers struct {
	src, dst frame.Addr // of the innermost IP header
	off      int        // where the transport header begins in Data
	end      int        // where the IP payload ends by the IP header; may lie beyond Data
	notes    uint16     // bits 1<<Note
	number   uint16     // what a Reason's table counts by: EtherType, protocol or address family
	vlan     uint16     // id of the outermost tag
	tags     uint8
	proto    uint8 // of the transport header
	ttl      uint8
	tos      uint8 // type of service, or traffic class
	fragment bool
}

// walk reads the layers of f down to the transport header. It returns none, or
// the reason why there is no transport header. h must be zero.
func walk(f *frame.Frame, h *headers) Reason {
	data := f.Data
	switch f.Link {
	case frame.LinkEthernet:
		if len(data) < etherLen {
			return TruncatedLink
		}
		etherType := binary.BigEndian.Uint16(data[12:])
		if etherType == etherIPv4 { // most frames; spares a call
			return ipv4(f, etherLen, h)
		}
		return network(f, etherLen, etherType, h)
	case frame.LinkSLL:
		if len(data) < sllLen {
			return TruncatedLink
		}
		return cooked(f, sllLen, binary.BigEndian.Uint16(data[2:]), binary.BigEndian.Uint16(data[14:]), h)
	case frame.LinkSLL2:
		if len(data) < sll2Len {
			return TruncatedLink
		}
		return cooked(f, sll2Len, binary.BigEndian.Uint16(data[8:]), binary.BigEndian.Uint16(data), h)
	case frame.LinkRaw, linkRawBSD, linkRawOpenBSD:
		return rawIP(f, h)
	case frame.LinkIPv4:
		return ipv4(f, 0, h)
	case frame.LinkIPv6:
		return ipv6(f, 0, h)
	case frame.LinkNull, frame.LinkLoop:
		return loopback(f, h)
	}
	return UnknownLink
}

// network goes on behind a link-layer header by its EtherType, or 802.3 length.
// It is also where the inside of a tunnel that carries EtherTypes begins.
func network(f *frame.Frame, off int, etherType uint16, h *headers) Reason {
	for {
		switch etherType {
		case etherIPv4:
			return ipv4(f, off, h)
		case etherIPv6:
			return ipv6(f, off, h)
		case etherVLAN, etherQinQ, etherQinQ1, etherQinQ2, etherQinQ3:
			if h.tags == maxTags {
				return TooManyTags
			}
			if len(f.Data) < off+tagLen {
				return TruncatedLink
			}
			if h.tags == 0 {
				h.vlan = binary.BigEndian.Uint16(f.Data[off:]) & 0x0fff
				h.notes |= 1 << NoteVLAN
			}
			h.tags++
			etherType = binary.BigEndian.Uint16(f.Data[off+2:])
			off += tagLen
			continue
		}
		if etherType <= lengthMax {
			return llc(f, off, h)
		}
		h.number = etherType
		return etherTypeReason(etherType)
	}
}

// llc reads an IEEE 802.2 header; SNAP leads back to EtherTypes (RFC 1042).
func llc(f *frame.Frame, off int, h *headers) Reason {
	const (
		sapSTP  = 0x42
		sapIPv4 = 0x06
		sapSNAP = 0xaa
		control = 0x03 // unnumbered information
	)
	if len(f.Data) < off+llcLen {
		return TruncatedLink
	}
	b := f.Data[off:]
	off += llcLen
	switch dsap := b[0]; {
	case dsap == sapSTP:
		return STP
	case dsap == sapIPv4 && b[2] == control:
		return ipv4(f, off, h)
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
	return network(f, off+snapLen, etherType, h)
}

// cooked goes on behind a Linux cooked header. Its protocol is an EtherType, or
// below those a number of Linux's own: 4 for a frame that begins with LLC.
func cooked(f *frame.Frame, off int, hardware, protocol uint16, h *headers) Reason {
	const (
		hardwareNetlink = 824 // protocol is a netlink family
		protocolLLC     = 4
	)
	switch {
	case hardware == hardwareNetlink, protocol < etherMin && protocol != protocolLLC:
		h.number = protocol
		return UnknownFamily
	case protocol == protocolLLC:
		return llc(f, off, h)
	}
	return network(f, off, protocol, h)
}

// rawIP goes on by the version of the IP header.
func rawIP(f *frame.Frame, h *headers) Reason {
	if len(f.Data) == 0 {
		return TruncatedIP
	}
	switch f.Data[0] >> 4 {
	case 4:
		return ipv4(f, 0, h)
	case 6:
		return ipv6(f, 0, h)
	}
	return BadIPVersion
}

// loopback goes on by the address family in the first four bytes: in the byte
// order of the capturing machine (NULL) or in network order (LOOP). Families
// are small numbers, so that either order can be told from the other.
func loopback(f *frame.Frame, h *headers) Reason {
	if len(f.Data) < nullLen {
		return TruncatedLink
	}
	family := binary.LittleEndian.Uint32(f.Data)
	if family > 0xffff {
		family = binary.BigEndian.Uint32(f.Data)
	}
	switch family {
	case 2:
		return ipv4(f, nullLen, h)
	case 10, 24, 28, 30: // AF_INET6 of Linux, NetBSD and OpenBSD, FreeBSD, Darwin
		return ipv6(f, nullLen, h)
	}
	h.number = uint16(family)
	return UnknownFamily
}

// ipv4 reads an IPv4 header (RFC 791).
func ipv4(f *frame.Frame, off int, h *headers) Reason {
	if len(f.Data) < off+ipv4Len {
		return TruncatedIP
	}
	b := (*[ipv4Len]byte)(f.Data[off:])
	header := ipv4Len
	if b[0] != 0x45 { // options, or rubbish
		header = int(b[0]&0x0f) * 4
		if b[0]>>4 != 4 || header < ipv4Len {
			return IPv4BadHeader
		}
		if len(f.Data) < off+header {
			return TruncatedIP
		}
	}
	h.off = off + header
	h.end = off + int(binary.BigEndian.Uint16(b[2:4]))
	if h.end > len(f.Data) || h.end < h.off {
		if h.end == off {
			// Segmentation offload leaves the length to the network card, or
			// the packet is too long for the field.
			h.end = wireLen(f)
			h.notes |= 1 << NoteNoIPLength
		}
		if h.end < h.off {
			return IPv4BadHeader
		}
		if h.end > wireLen(f) {
			h.notes |= 1 << NoteSliced
		}
	}
	h.tos = b[1]
	h.ttl = b[8]
	h.proto = b[9]
	h.src = frame.AddrFrom4(b[12:])
	h.dst = frame.AddrFrom4(b[16:])
	if fragment := binary.BigEndian.Uint16(b[6:8]) & 0x3fff; fragment != 0 { // more fragments, or an offset
		h.fragment = true
		if fragment&0x1fff != 0 {
			return FragmentLater
		}
	}
	if h.proto == protoAH {
		return extensions(f, h)
	}
	return none
}

// ipv6 reads an IPv6 header with its extensions (RFC 8200).
func ipv6(f *frame.Frame, off int, h *headers) Reason {
	if len(f.Data) < off+ipv6Len {
		return TruncatedIP
	}
	b := f.Data[off : off+ipv6Len]
	if b[0]>>4 != 6 {
		return IPv6BadHeader
	}
	h.off = off + ipv6Len
	h.end = h.off + int(binary.BigEndian.Uint16(b[4:]))
	if h.end == h.off && b[6] != protoNoNext {
		// A jumbogram (RFC 2675), or segmentation offload.
		h.end = wireLen(f)
		h.notes |= 1 << NoteNoIPLength
	}
	if h.end > wireLen(f) {
		h.notes |= 1 << NoteSliced
	}
	h.tos = b[0]<<4 | b[1]>>4
	h.proto = b[6]
	h.ttl = b[7]
	h.src = frame.AddrFrom16(b[8:])
	h.dst = frame.AddrFrom16(b[24:])
	if h.proto == frame.ProtoUDP || h.proto == frame.ProtoTCP {
		return none
	}
	return extensions(f, h)
}

// extensions skips the extension headers at h.off (RFC 8200 section 4), and
// the authentication header of either IP version (RFC 4302).
func extensions(f *frame.Frame, h *headers) Reason {
	const unit = 8 // the shortest extension header, and what their lengths count in
	for range maxExtensions {
		switch h.proto {
		case protoHopByHop, protoRouting, protoDestination, protoFragment, protoAH:
		default:
			return none
		}
		if h.off+unit > h.end {
			return BadExtension
		}
		if h.off+unit > len(f.Data) {
			return TruncatedIP
		}
		b := f.Data[h.off : h.off+unit]
		length := unit * (1 + int(b[1]))
		switch h.proto {
		case protoFragment:
			length = unit
			// An offset of 0 with no more fragments is a whole datagram (RFC 6946).
			if fragment := binary.BigEndian.Uint16(b[2:]) &^ 6; fragment != 0 {
				h.fragment = true
				if fragment != 1 {
					return FragmentLater
				}
			}
		case protoAH:
			length = 4 * (2 + int(b[1]))
		}
		h.proto = b[0]
		h.off += length
		if h.off > h.end {
			return BadExtension
		}
		if h.off > len(f.Data) {
			return TruncatedIP
		}
	}
	switch h.proto {
	case protoHopByHop, protoRouting, protoDestination, protoFragment, protoAH:
		return TooManyExtensions
	}
	return none
}

// wireLen is the length of f on the wire; files exist that say less than they hold.
func wireLen(f *frame.Frame) int { return max(int(f.Len), len(f.Data)) }
