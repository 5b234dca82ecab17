package decode

import (
	"encoding/binary"

	"ringside/dataplane/frame"
)

// Lengths of transport headers in bytes.
const (
	udpLen  = 8
	tcpLen  = 20 // without options
	sctpLen = 12 // the common header; chunks follow
)

// transport reads the transport header that the walk of f has found, and fills
// p. It returns none, or the reason why there is no packet; p holds rubbish then.
func transport(f *frame.Frame, h *headers, p *frame.Packet) Reason {
	var header int
	switch h.proto {
	case frame.ProtoUDP:
		header = udpLen
	case frame.ProtoTCP:
		header = tcpLen
	case frame.ProtoSCTP:
		header = sctpLen
	default:
		h.number = uint16(h.proto)
		return protocolReason(h.proto)
	}
	if h.off+header > h.end {
		return ShortTransport
	}
	if h.off+header > len(f.Data) {
		return TruncatedTransport
	}
	b := f.Data[h.off : h.off+header]
	end := h.end // of the payload
	switch h.proto {
	case frame.ProtoUDP:
		length := int(binary.BigEndian.Uint16(b[4:]))
		if length == 0 {
			// A jumbogram (RFC 2675 section 4), or segmentation offload.
			length = h.end - h.off
			h.notes |= 1 << NoteNoUDPLength
		}
		if length < udpLen {
			return UDPBadLength
		}
		end = h.off + length
	case frame.ProtoTCP:
		header = int(b[12]>>4) * 4
		if header < tcpLen || h.off+header > h.end {
			return TCPBadHeader
		}
		if h.off+header > len(f.Data) {
			return TruncatedTransport
		}
	}
	start := h.off + header
	p.Time, p.Clock, p.Seq, p.Iface = f.Time, f.Clock, f.Seq, f.Iface
	p.Src = frame.Endpoint{Addr: h.src, Port: binary.BigEndian.Uint16(b)}
	p.Dst = frame.Endpoint{Addr: h.dst, Port: binary.BigEndian.Uint16(b[2:])}
	p.Len = uint32(end - start)
	p.VLAN, p.Proto, p.TTL, p.DSCP = h.vlan, h.proto, h.ttl, h.tos>>2
	p.Flags = 0
	if h.tags != 0 {
		p.Flags = frame.FlagVLAN
	}
	if h.fragment {
		p.Flags |= frame.FlagFragment
		h.notes |= 1 << NoteFragment
		end = min(end, h.end)
	} else if end > h.end {
		// The UDP length is the older truth: something on the way has sliced
		// the packet and written a new IP header.
		p.Flags |= frame.FlagCut
		h.notes |= 1 << NoteUDPBeyondIP
		end = h.end
	}
	if end > len(f.Data) {
		p.Flags |= frame.FlagCut
		end = len(f.Data)
	}
	p.Payload = f.Data[start:end:end]
	return none
}
