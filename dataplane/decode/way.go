package decode

import (
	"encoding/binary"

	"ringside/dataplane/frame"
)

// Frames that come through a tunnel mostly have the same headers before the
// inner IP header as others before them, but for a few fields that say nothing
// about where it is: addresses of Ethernet, check sums, sequence numbers. A
// decoder remembers some such ways into tunnels, and what the walk found on
// them. A frame with the same bytes goes straight to its inner IP header. It is
// a shortcut and nothing else: where something is unusual behind it, the frame
// is walked from its beginning.
//
// While the walk goes through tunnels it keeps a trace of the fields that may
// differ: varies names those that do not matter, lengthAt those that tell where
// the inside ends. All others must be equal.

const (
	maxWay     = 128 // bytes before the inner IP header
	maxLengths = 4   // length fields among them
	maxWays    = 4   // remembered
	learnEvery = 8   // frames that found no way until the next one is remembered
)

// trace is what the walk notes for a way.
type trace struct {
	varies  [maxWay / 8]uint64 // bytes 0xff that may differ
	lengths [maxLengths]lengthField
	count   uint8 // of lengths
	lost    bool  // this way cannot be remembered
}

// lengthField is a 16-bit field that counts the bytes from a place on.
type lengthField struct{ at, from int }

// varies notes that n bytes at off may differ.
func (h *headers) varies(off, n int) {
	h.traced = true
	for i := off; i < off+n && i < maxWay; i++ {
		h.trace.varies[i/8] |= 0xff << (i % 8 * 8)
	}
}

// lengthAt notes a length field, and where what it counts begins.
func (h *headers) lengthAt(at, from int) {
	t := &h.trace
	h.traced = true
	if t.count == maxLengths || at+2 > maxWay {
		t.lost = true
		return
	}
	h.varies(at, 2)
	t.lengths[t.count] = lengthField{at, from}
	t.count++
}

// traceIP notes the fields of the innermost IP header, which carries a tunnel.
func (h *headers) traceIP() {
	if h.data[h.ip]>>4 == 4 {
		h.varies(h.ip+1, 1) // type of service
		h.lengthAt(h.ip+2, h.ip)
		h.varies(h.ip+4, 2) // identification
		h.varies(h.ip+8, 1) // time to live
		h.varies(h.ip+10, 2)
		return
	}
	h.varies(h.ip+1, 3) // traffic class and flow label
	h.lengthAt(h.ip+4, h.ip+ipv6Len)
	h.varies(h.ip+7, 1) // hop limit
}

// masked is 8 bytes of a frame, little endian, without those that may differ.
type masked struct {
	at         int
	mask, want uint64
}

// way is a remembered way into a tunnel.
type way struct {
	link    frame.LinkType
	count   uint8 // of bytes
	lengths uint8 // of fields
	version uint8 // of the inner IP header
	inside  int   // where the inner IP header begins
	need    int   // bytes that a frame must have to be compared; 0: no way
	bytes   [maxWay / 8]masked
	fields  [maxLengths]lengthField

	notes, vlan        uint16
	tags, layers       uint8
	depth, flags       uint8
	tunnel             frame.Tunnel
	outerSrc, outerDst frame.Addr
}

// learn remembers the way that the walk of f has taken to its packet.
func (w *way) learn(f *frame.Frame, h *headers) {
	t := &h.trace
	if t.lost || h.ip > maxWay || int(f.Len) > len(f.Data) || h.notes&^(1<<NoteVLAN) != 0 {
		return
	}
	if f.Link == frame.LinkEthernet {
		h.varies(0, 12)
	}
	*w = way{
		link: f.Link, inside: h.ip, need: h.ip, version: f.Data[h.ip] >> 4, fields: t.lengths, lengths: t.count,
		tags: h.tags, layers: h.layers, depth: h.depth, flags: h.packet.Flags & frame.FlagVLAN,
		vlan: h.packet.VLAN, notes: h.notes, tunnel: h.tunnel, outerSrc: h.outerSrc, outerDst: h.outerDst,
	}
	differs := func(i int) bool { return t.varies[i/8]>>(i%8*8)&0xff != 0 }
	for at := 0; at < h.ip; {
		if differs(at) {
			at++
			continue
		}
		m := masked{at: at}
		for i := at; i < min(at+8, h.ip); i++ {
			if !differs(i) {
				m.mask |= 0xff << ((i - at) * 8)
				m.want |= uint64(f.Data[i]) << ((i - at) * 8)
			}
		}
		w.bytes[w.count] = m
		w.count++
		at += 8
		w.need = max(w.need, at)
	}
}

// fits reports whether f goes this way, and where the inside ends then.
func (w *way) fits(f *frame.Frame) (end int, ok bool) {
	data := f.Data
	if w.need == 0 || len(data) < w.need || f.Link != w.link || int(f.Len) > len(data) {
		return 0, false
	}
	differs := uint64(0)
	for i := range w.bytes[:w.count] {
		b := &w.bytes[i]
		differs |= binary.LittleEndian.Uint64(data[b.at:])&b.mask ^ b.want
	}
	if differs != 0 {
		return 0, false
	}
	end = len(data)
	for i := range w.fields[:w.lengths] {
		l := &w.fields[i]
		field := l.from + int(binary.BigEndian.Uint16(data[l.at:]))
		if i > 0 && field != end {
			return 0, false
		}
		end = field
	}
	return end, end > w.inside && end <= len(data)
}

// recall takes a way that is remembered, and reads the packet behind it. It
// reports false if there is none, or if what is there is not as plain as that.
func (d *Decoder) recall(f *frame.Frame, h *headers, p *frame.Packet) bool {
	w := &d.ways[d.way&(maxWays-1)]
	end, ok := w.fits(f)
	for i := 1; !ok && i < maxWays; i++ {
		d.way++
		w = &d.ways[d.way&(maxWays-1)]
		end, ok = w.fits(f)
	}
	if !ok {
		return false
	}
	h.data, h.wire, h.packet = f.Data[:end], end, p
	h.notes, h.tags, h.layers, h.depth = w.notes, w.tags, w.layers, w.depth
	if h.from != w {
		h.tunnel, h.outerSrc, h.outerDst, h.from = w.tunnel, w.outerSrc, w.outerDst, w
		h.traced, h.place = true, 0
	}
	p.VLAN, p.Flags = w.vlan, w.flags
	var r Reason
	if w.version == 4 {
		r = ipv4(h, w.inside)
	} else {
		r = ipv6(h, w.inside)
	}
	if r == none {
		r = d.transport(h)
	}
	return r == packet && h.notes == w.notes
}

// remember learns the way of f in the place of the next one, but not at each
// frame: ways that take turns are not worth it.
func (d *Decoder) remember(f *frame.Frame, h *headers) {
	if d.strays++; d.strays%learnEvery != 1 {
		return
	}
	d.way++
	d.ways[d.way&(maxWays-1)].learn(f, h)
}
