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

// datagram takes a shortcut, for UDP that is as it should be, from off to end:
// whole, captured, on ports that no tunnel uses. It returns packet, or none for
// everything else, which is the business of transport.
func datagram(h *headers, off, end int) Reason {
	start := off + udpLen
	if start > end || end > len(h.data) {
		return none
	}
	b := (*[udpLen]byte)(h.data[off:])
	src, dst := binary.BigEndian.Uint16(b[0:2]), binary.BigEndian.Uint16(b[2:4])
	if int(binary.BigEndian.Uint16(b[4:6])) != end-off || h.ports.has(src, dst) {
		return none
	}
	p := h.packet
	p.Src.Port, p.Dst.Port = src, dst
	p.Len = uint32(end - start)
	p.SeqNo, p.AckNo, p.Control = 0, 0, 0
	p.Payload = h.data[start:end:end]
	return packet
}

// transport goes on from what the walk has found: it opens tunnels, and walks
// on in them, until there is a transport header, and fills what the packet has
// of it. It returns packet, or the reason why there is none, or fragment; the
// packet holds rubbish then.
func (d *Decoder) transport(h *headers) Reason {
	p := h.packet
	for p.Proto != frame.ProtoUDP && p.Proto != frame.ProtoTCP && p.Proto != frame.ProtoSCTP {
		if r := ipTunnel(h); r != none {
			return r
		}
	}
	header := udpLen
	if p.Proto != frame.ProtoUDP {
		header = tcpLen
		if p.Proto == frame.ProtoSCTP {
			header = sctpLen
		}
	}
	start := h.off + header
	if start > h.end {
		return ShortTransport
	}
	if start > len(h.data) {
		return TruncatedTransport
	}
	b := h.data[h.off:start]
	p.Src.Port, p.Dst.Port = binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
	end := h.end // of the payload
	p.SeqNo, p.AckNo, p.Control = 0, 0, 0
	switch p.Proto {
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
		if h.ports.has(p.Src.Port, p.Dst.Port) {
			switch r := d.udpTunnel(h, min(end, h.end)); r {
			case closed:
			case none:
				return d.transport(h)
			default:
				return r
			}
		}
	case frame.ProtoTCP:
		header = int(b[12]>>4) * 4
		start = h.off + header
		if header < tcpLen || start > h.end {
			return TCPBadHeader
		}
		if start > len(h.data) {
			return TruncatedTransport
		}
		p.SeqNo, p.AckNo = binary.BigEndian.Uint32(b[4:]), binary.BigEndian.Uint32(b[8:])
		p.Control = b[13] & 0x3f
	}
	p.Len = uint32(end - start)
	if end > h.end {
		// The UDP length is the older truth: something on the way has sliced
		// the packet and written a new IP header.
		p.Flags |= frame.FlagCut
		h.notes |= 1 << NoteUDPBeyondIP
		end = h.end
	}
	if end > len(h.data) {
		p.Flags |= frame.FlagCut
		end = len(h.data)
	}
	p.Payload = h.data[start:end:end]
	return packet
}
