package decode

import (
	"encoding/binary"

	"ringside/dataplane/frame"
)

// trace is what the walk notes for a way.
type trace struct {
	varies  [maxWay / 8]uint64 // bits that may differ, little endian
	told    [maxWay / 8]uint64 // of these, those that the result has something of
	lengths [maxLengths]lengthField
	count   uint8 // of lengths
	labels  [maxLabels]uint8
	marked  uint8 // labels
	id      field // of the innermost tunnel; zero: the same for all frames of the way
	carrier uint8 // where the IP header begins that carries the innermost tunnel, or 0
	tag     uint8 // where the first VLAN tag is, or 0
	lost    bool  // this way cannot be remembered
}

// lengthField is a 16-bit field that counts the bytes from a place on.
type lengthField struct{ at, from uint8 }

// end is where what l counts ends in a frame.
func (l lengthField) end(s *start) int { return int(l.from) + int(s.be16(l.at)) }

// field is a number of up to 32 bits in the four bytes at a place.
type field struct {
	at, shift uint8
	mask      uint32
}

func (l field) of(s *start) uint32 { return s.be32(l.at) >> (l.shift & 31) & l.mask }

// varies notes that n bytes at off may differ.
func (h *headers) varies(off, n int) {
	if h.learning {
		h.traced = true
		for i := off; i < off+n; i++ {
			h.trace.mark(i, 0xff)
		}
	}
}

// mark notes that bits of the byte at a place may differ.
func (t *trace) mark(at int, bits uint8) {
	if at < maxWay {
		t.varies[at/8] |= uint64(bits) << (at % 8 * 8)
	}
}

// variesIn notes that bits of the four bytes at off may differ.
func (h *headers) variesIn(off int, mask uint32) {
	if h.learning {
		h.traced = true
		for i := range 4 {
			h.trace.mark(off+i, uint8(mask>>(24-8*i)))
		}
	}
}

// tells notes that bits of the four bytes at off may differ, and are part of the
// result.
func (h *headers) tells(off int, mask uint32) {
	h.variesIn(off, mask)
	for i := off; h.learning && i < min(off+4, maxWay); i++ {
		h.trace.told[i/8] |= uint64(uint8(mask>>(24-8*(i-off)))) << (i % 8 * 8)
	}
}

// idAt notes where the id of the tunnel that was just entered is: bits of the
// four bytes at off, above shift. It says nothing about what is inside.
func (h *headers) idAt(off int, shift uint8, mask uint32) {
	h.tells(off, mask<<shift)
	if h.learning && off < maxWay {
		h.trace.id = field{uint8(off), shift, mask}
	}
}

// label notes a label of MPLS, which may differ, but not become an indicator.
func (h *headers) label(off int) {
	if t := &h.trace; h.learning && int(t.marked) < len(t.labels) && off < maxWay {
		h.tells(off, labelMask)
		t.labels[t.marked] = uint8(off)
		t.marked++
	}
}

// labelAt notes which label is the id of the tunnel that was just entered.
func (h *headers) labelAt(off int) {
	if h.learning && off < maxWay {
		h.trace.id = field{uint8(off), labelShift, labelMask >> labelShift}
	}
}

// lose gives up the trace: what comes next is guessed, or cannot be traced.
func (h *headers) lose() {
	if h.learning {
		h.trace.lost, h.traced = true, true
	}
}

// lengthAt notes a length field, and where what it counts begins.
func (h *headers) lengthAt(at, from int) {
	if !h.learning {
		return
	}
	t := &h.trace
	h.traced = true
	if t.count == maxLengths || from > maxWay {
		t.lost = true
		return
	}
	h.varies(at, 2)
	t.lengths[t.count] = lengthField{uint8(at), uint8(from)}
	t.count++
}

// traceIP notes the fields of the innermost IP header, which carries a tunnel.
func (h *headers) traceIP() {
	if !h.learning {
		return
	}
	h.trace.id, h.trace.carrier = field{}, uint8(min(h.ip, maxWay))
	if h.data[h.ip]>>4 == 4 {
		h.varies(h.ip+1, 1) // type of service
		h.lengthAt(h.ip+2, h.ip)
		h.variesIn(h.ip+4, 0xffffc000) // identification, and whether it must not be fragmented
		h.varies(h.ip+8, 1)            // time to live
		h.varies(h.ip+10, 2)
		h.tells(h.ip+12, 0xffffffff)
		h.tells(h.ip+16, 0xffffffff)
		return
	}
	h.varies(h.ip+1, 3) // traffic class and flow label
	h.lengthAt(h.ip+4, h.ip+ipv6Len)
	h.varies(h.ip+7, 1) // hop limit
	for off := 8; off < ipv6Len; off += 4 {
		h.tells(h.ip+off, 0xffffffff)
	}
}

// tagged notes a VLAN tag in a tunnel.
func (h *headers) tagged(off int) {
	if !h.learning {
		return
	}
	h.tells(off, 0xffff0000)
	if h.tags == 0 && off < maxWay {
		h.trace.tag = uint8(off)
	}
}

// traceLink notes the fields of the link-layer header of f, and the VLAN tags
// behind it.
func (h *headers) traceLink(f *frame.Frame) {
	at := 0 // the EtherType
	switch f.Link {
	case frame.LinkEthernet:
		h.varies(0, 12)
		at = etherLen - 2
	case frame.LinkSLL:
		h.varies(0, 2)
		h.varies(4, 10) // address
		at = sllLen - 2
	case frame.LinkSLL2:
		h.varies(4, 4) // interface
		h.varies(10, 10)
		return
	default:
		return
	}
	for tags := 0; tags < maxTags && at+2+tagLen <= h.ip && isTag(binary.BigEndian.Uint16(f.Data[at:])); tags++ {
		h.tells(at+2, 0xffff0000)
		if tags == 0 {
			h.trace.tag = uint8(at + 2)
		}
		at += tagLen
	}
}
