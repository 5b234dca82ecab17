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
// One walk in many is learned: going through tunnels it keeps a trace of the
// fields that may differ. varies names those that do not matter, lengthAt those
// that tell where the inside ends. All others must be equal. So where there are
// more tunnels than are remembered, the others pay for a few comparisons only.

const (
	maxWay     = 128 // bytes before the inner IP header
	maxWords   = 15  // of 8 bytes, compared
	maxLengths = 7   // length fields among them
	maxWays    = 4   // remembered
	learnEvery = 64  // frames that found no way until the next one is remembered
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

// end is where what l counts ends in a frame that begins with s.
func (l *lengthField) end(s *start) int {
	return l.from + int(binary.BigEndian.Uint16(s[l.at&(maxWay-1):]))
}

// varies notes that n bytes at off may differ.
func (h *headers) varies(off, n int) {
	if h.learning {
		h.mark(off, n)
	}
}

func (h *headers) mark(off, n int) {
	h.traced = true
	for i := off; i < off+n && i < maxWay; i++ {
		h.trace.varies[i/8] |= 0xff << (i % 8 * 8)
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
	if t.count == maxLengths || at+2 > maxWay {
		t.lost = true
		return
	}
	h.mark(at, 2)
	t.lengths[t.count] = lengthField{at, from}
	t.count++
}

// traceIP notes the fields of the innermost IP header, which carries a tunnel.
func (h *headers) traceIP() {
	if !h.learning {
		return
	}
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

// way is a remembered way into a tunnel.
type way struct {
	link    frame.LinkType
	count   uint8           // of words that are compared
	lengths uint8           // of fields
	version uint8           // of the inner IP header
	inside  int             // where the inner IP header begins
	need    int             // bytes that a frame must have to be compared; 0: no way
	at      [maxWords]uint8 // of 8 bytes, compared in little endian
	mask    [maxWords]uint64
	want    [maxWords]uint64
	fields  [maxLengths]lengthField

	notes, vlan        uint16
	tags, layers       uint8
	depth, flags       uint8
	tunnel             frame.Tunnel
	outerSrc, outerDst frame.Addr
}

// learn is the way that the walk of f has taken to its packet; false if it
// cannot be told.
func learn(f *frame.Frame, h *headers) (w way, ok bool) {
	t := &h.trace
	if t.lost || h.ip > maxWay || int(f.Len) > len(f.Data) || h.notes&^(1<<NoteVLAN) != 0 {
		return w, false
	}
	if f.Link == frame.LinkEthernet {
		h.varies(0, 12)
	}
	w = way{
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
		if w.count == maxWords {
			return w, false
		}
		n := w.count
		w.at[n] = uint8(at)
		for i := at; i < min(at+8, h.ip); i++ {
			if !differs(i) {
				w.mask[n] |= 0xff << ((i - at) * 8)
				w.want[n] |= uint64(f.Data[i]) << ((i - at) * 8)
			}
		}
		w.count++
		at += 8
		w.need = max(w.need, at)
	}
	return w, true
}

// ends is where the inside of the tunnel ends in f, which begins with s, if f
// goes this way; else 0.
func (w *way) ends(f *frame.Frame, s *start) int {
	const within = maxWay - 1 // tells the compiler that no index is beyond
	if f.Link != w.link || len(f.Data) < w.need {
		return 0
	}
	for i := range w.count & maxWords {
		if binary.LittleEndian.Uint64(s[w.at[i]&within:])&w.mask[i] != w.want[i] {
			return 0
		}
	}
	end := len(f.Data)
	if w.lengths > 0 {
		end = w.fields[0].end(s)
		for i := uint8(1); i < w.lengths&maxLengths; i++ {
			if w.fields[i].end(s) != end {
				return 0
			}
		}
	}
	if end <= w.inside || end > len(f.Data) {
		return 0
	}
	return end
}

// start is the first bytes of a frame, of which a way may compare any.
type start [maxWay + 8]byte

// startOf is the start of f. What a short frame lacks is there, but not looked
// at.
func (d *Decoder) startOf(f *frame.Frame) *start {
	if len(f.Data) >= len(start{}) {
		return (*start)(f.Data)
	}
	copy(d.short[:], f.Data)
	return &d.short
}

// recall takes a way that is remembered, the last one first, and reads the
// packet behind it. It reports false if there is none, or if what is there is
// not as plain as that.
func (d *Decoder) recall(f *frame.Frame, h *headers, p *frame.Packet) bool {
	if int(f.Len) > len(f.Data) {
		return false
	}
	s, w, end := d.startOf(f), h.from, 0
	if w != nil {
		end = w.ends(f, s)
	}
	for next := 0; end == 0; next++ {
		if next == maxWays || d.ways[next].need == 0 {
			return false
		}
		w = &d.ways[next]
		end = w.ends(f, s)
	}
	if h.from != w {
		h.notes, h.tags, h.layers, h.depth = w.notes, w.tags, w.layers, w.depth
		h.tunnel, h.outerSrc, h.outerDst, h.from = w.tunnel, w.outerSrc, w.outerDst, w
		h.traced, h.place = true, 0
	}
	h.data, h.wire, h.packet = f.Data[:end], end, p
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

// remember counts f, which found no way, and learns its way in the place of the
// next one, if its walk was traced.
func (d *Decoder) remember(f *frame.Frame, h *headers) {
	d.strays++
	if h.learning {
		if w, ok := learn(f, h); ok {
			d.ways[d.way] = w
			d.way = (d.way + 1) % maxWays
		}
		h.trace = trace{}
	}
	h.learning = d.strays%learnEvery == 0
}
