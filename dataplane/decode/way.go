package decode

import (
	"encoding/binary"

	"ringside/dataplane/frame"
)

// Frames that come through tunnels mostly have headers of the same shape before
// the inner IP header: the same protocols, flags and options, and so the same
// things at the same places. What differs says nothing about where the inner
// header is: addresses, ids of tunnels, VLANs, check sums, sequence numbers. A
// decoder remembers such ways into tunnels. A frame of a shape that is known
// goes straight to its inner IP header; addresses, id and VLAN are read at their
// places. So a handful of ways serves thousands of tunnels. It is a shortcut and
// nothing else: where something is unusual behind it, the frame is walked from
// its beginning.
//
// One walk in many is learned: going through tunnels it keeps a trace of what
// may differ. varies names what does not matter, lengthAt what tells where the
// inside ends, idAt and label what the result has of it. All other bits must be
// equal (trace.go).
//
// Where frame follows frame in one tunnel, they are compared with one another
// instead, in all that is told of a tunnel: then there is nothing to read.

const (
	maxWay     = 128 // bytes, up to the version of the inner IP header
	firstWord  = 1   // of 8 bytes, that is always compared, and the last one
	lastWord   = 8
	maxLengths = 7  // length fields among them
	maxLabels  = 4  // of MPLS, that may differ
	waySets    = 16 // of ways, chosen by a key
	waysPerSet = 8  // such as with IPv4 or IPv6 inside, with a VLAN or without, with more labels
	learnEvery = 64 // frames that found no way until the next one is remembered
)

// way is a remembered way into tunnels.
type way struct {
	words   [maxWay / 8]word // by place; of all ways those from firstWord to lastWord are compared
	known   bool
	rest    bool  // others have to be compared, too
	more    bool  // rest, or there are labels
	inside  uint8 // where the inner IP header begins
	version uint8 // of that; compared, too
	lengths uint8 // of fields
	marked  uint8 // labels
	link    frame.LinkType
	fields  [maxLengths + 1]lengthField
	labels  [maxLabels]uint8

	notes, vlan, vlanMask uint16
	vlanAt                uint8
	tags, layers, depth   uint8
	flags                 uint8
	kind                  frame.TunnelKind
	six                   bool  // the tunnel's addresses are of IPv6
	carrier               uint8 // where they are: the IP header
	id                    field
	fixed                 uint32 // id, if it has no place
	addresses             uint64 // mask of IPv4 addresses; 0: there are none, or of IPv6
	mapped                uint64 // what makes an IPv4 address a frame.Addr; 0 as well
}

const mappedPrefix = 0xffff << 32 // of an IPv4-mapped address, low word

// word is eight bytes of a frame that are compared, little endian: bits that all
// frames of the way have, and bits that the result has something of.
type word struct{ mask, want, told uint64 }

// differs is not 0 if the word at a place is not one of this way.
func (w *word) differs(s *start, at int) uint64 {
	return (binary.LittleEndian.Uint64(s[at:at+8]) ^ w.want) & w.mask
}

// changes is not 0 if the word says something else than in another frame of the
// way, or is not one of it.
func (w *word) changes(s, last *start, at int) uint64 {
	return (binary.LittleEndian.Uint64(s[at:at+8]) ^ binary.LittleEndian.Uint64(last[at:at+8])) & w.told
}

// start is the first bytes of a frame, of which a way may compare any.
type start [maxWay + 8]byte

const within = maxWay - 1 // tells the compiler that a place is in start

func (s *start) be16(at uint8) uint16 {
	i := int(at & within)
	return uint16(s[i])<<8 | uint16(s[i+1])
}

func (s *start) be32(at uint8) uint32 {
	i := int(at & within)
	return uint32(s[i])<<24 | uint32(s[i+1])<<16 | uint32(s[i+2])<<8 | uint32(s[i+3])
}

// learn is the way that the walk of f has taken to its packet; false if it
// cannot be told.
func learn(f *frame.Frame, h *headers) (w way, ok bool) {
	t := &h.trace
	if t.lost || h.ip >= maxWay || int(f.Len) > len(f.Data) || h.notes&^(1<<NoteVLAN) != 0 {
		return w, false
	}
	h.traceLink(f)
	w = way{
		known: true, link: f.Link, inside: uint8(h.ip), version: f.Data[h.ip] >> 4,
		lengths: t.count, labels: t.labels, marked: t.marked,
		tags: h.tags, layers: h.layers, depth: h.depth, flags: h.packet.Flags & frame.FlagVLAN, notes: h.notes,
		kind: h.tunnel.Kind, id: t.id, carrier: t.carrier,
	}
	copy(w.fields[:], t.lengths[:])
	if t.id.mask == 0 {
		w.fixed = h.tunnel.ID
	}
	if w.vlanAt, w.vlanMask = t.tag, 0x0fff; t.tag == 0 {
		w.vlan, w.vlanMask = h.packet.VLAN, 0
	}
	if h.depth > 0 {
		if w.six = f.Data[t.carrier]>>4 == 6; !w.six {
			w.addresses, w.mapped = ^uint64(0), mappedPrefix
		}
	}
	for i := range h.ip + 1 {
		mask := ^t.varies[i/8] & (0xff << (i % 8 * 8))
		if i == h.ip {
			mask = 0xf0 << (i % 8 * 8) // version
		}
		w.words[i/8].mask |= mask
		w.words[i/8].want |= uint64(f.Data[i]) << (i % 8 * 8) & mask
		if i == h.ip {
			break // whoever reads the inside looks at its version
		}
		w.words[i/8].told |= mask | t.told[i/8]&(0xff<<(i%8*8))
		w.rest = w.rest || w.words[i/8].told != 0 && (i/8 < firstWord || i/8 > lastWord)
	}
	w.rest = w.rest || h.ip/8 > lastWord // the version is to be compared
	w.more = w.rest || w.marked > 0
	return w, true
}

// startOf is the start of f. What a short frame lacks is there, but is not to
// matter.
func (d *Decoder) startOf(f *frame.Frame) *start {
	if len(f.Data) >= len(start{}) {
		return (*start)(f.Data)
	}
	copy(d.short[:], f.Data)
	return &d.short
}

// Keys tell ways apart by the protocols that the outermost headers name, if not
// all.

// ipv4Key is the key of a frame whose outermost IP header is at a place.
func ipv4Key(s *start, at uint8) uint32 {
	proto := s[(at+9)&within]
	return spread(uint32(proto)<<16 ^ s.be32(at+ipv4Len)&keyMask[proto])
}

// keyMask is what tells ways apart behind an IPv4 header: the destination port of
// UDP, flags and protocol of GRE.
var keyMask = [256]uint32{frame.ProtoUDP: 0xffff, protoGRE: 0xffffffff}

// otherKey is the key of any other frame.
func otherKey(link frame.LinkType, s *start) uint32 {
	at := uint8(etherLen)
	if link == frame.LinkSLL {
		at = sllLen
	} else if link != frame.LinkEthernet {
		return spread(uint32(link))
	}
	etherType := s.be16(at - 2)
	for tags := 0; tags < maxTags && isTag(etherType); tags++ {
		at += tagLen
		etherType = s.be16(at - 2)
	}
	switch etherType {
	case etherIPv4:
		return ipv4Key(s, at)
	case etherIPv6:
		proto := s[(at+6)&within]
		return spread(uint32(proto)<<16 ^ s.be32(at+ipv6Len)&keyMask[proto] ^ etherIPv6)
	}
	return spread(uint32(etherType))
}

// spread makes a place of a key. The factor gives the twelve most usual ones a
// place each.
func spread(key uint32) uint32 { return key * 0x5c0b0b0b >> 28 }

// shortcut reads f by a way that is remembered. It reports false if f goes none,
// or if what is behind it is not as plain as that.
func (d *Decoder) shortcut(f *frame.Frame, h *headers, p *frame.Packet) bool {
	if d.ways == nil || int(f.Len) > len(f.Data) {
		return false
	}
	s := d.startOf(f)
	w, end := d.find(f, s)
	if w == nil {
		return false
	}
	h.follow(w, s)
	h.again = h.again && s != &d.short
	p.VLAN, p.Flags = h.vlan, w.flags
	if w.version == 4 && plain(f.Data[:end], int(w.inside), end, h.ports, p) {
		h.notes = w.notes
		return true
	}
	h.data, h.wire, h.packet = f.Data[:end], end, p
	var r Reason
	if w.version == 4 {
		r = ipv4(h, int(w.inside))
	} else {
		r = ipv6(h, int(w.inside))
	}
	if r == none {
		r = d.transport(h)
	}
	return r == packet && h.notes == w.notes
}

// repeat reads f if it is a plain packet that comes through the tunnel of the frame
// before. It reports false for anything else.
func (d *Decoder) repeat(f *frame.Frame, h *headers, p *frame.Packet) bool {
	if !h.again || len(f.Data) < len(start{}) || int(f.Len) != len(f.Data) || len(f.Data) > maxPlain {
		return false
	}
	w, s := h.from, (*start)(f.Data)
	if !w.as(s, h.last) {
		return false
	}
	end := w.ends(f, s)
	if end == 0 || !plain(f.Data[:end], int(w.inside), end, &d.ports, p) {
		return false
	}
	p.VLAN, p.Flags = h.vlan, w.flags
	return true
}

// as reports whether a frame says the same as the last one of w.
func (w *way) as(s, last *start) bool {
	x := w.words[1].changes(s, last, 8) | w.words[2].changes(s, last, 16) | w.words[3].changes(s, last, 24) |
		w.words[4].changes(s, last, 32)
	if w.inside > 40 {
		x |= w.words[5].changes(s, last, 40) | w.words[6].changes(s, last, 48)
	}
	if w.inside > 56 {
		x |= w.words[7].changes(s, last, 56)
	}
	if w.inside > 64 {
		x |= w.words[8].changes(s, last, 64)
	}
	if x != 0 || !w.rest {
		return x == 0
	}
	for i := range w.words {
		x |= w.words[i].changes(s, last, i*8)
	}
	return x == 0
}

// ends is where the inside of the tunnel ends in f, which has the shape of w; 0 if
// its lengths do not agree with that.
func (w *way) ends(f *frame.Frame, s *start) int {
	end := len(f.Data)
	if w.lengths > 0 {
		end = w.fields[0].end(s)
		x := 0
		if w.lengths > 1 { // mostly IP and UDP, and GTP
			x = w.fields[1].end(s) ^ end
		}
		if w.lengths > 2 {
			x |= w.fields[2].end(s) ^ end
			for i := uint8(3); i < w.lengths; i++ {
				x |= w.fields[i&maxLengths].end(s) ^ end
			}
		}
		if x != 0 {
			return 0
		}
	}
	if end <= int(w.inside) || end > len(f.Data) || f.Link != w.link {
		return 0
	}
	return end
}

// find is the way that f goes, and where the inside of the tunnel ends; or nil.
func (d *Decoder) find(f *frame.Frame, s *start) (*way, int) {
	var key uint32
	if f.Link == frame.LinkEthernet && s.be16(etherLen-2) == etherIPv4 {
		key = ipv4Key(s, etherLen)
	} else {
		key = otherKey(f.Link, s)
	}
	set := &d.ways[key%waySets]
	for i := range set {
		w := &set[i]
		if !w.known {
			break
		}
		x := w.words[1].differs(s, 8) | w.words[2].differs(s, 16) | w.words[3].differs(s, 24) |
			w.words[4].differs(s, 32) | w.words[5].differs(s, 40)
		if w.inside >= 48 {
			x |= w.words[6].differs(s, 48) | w.words[7].differs(s, 56) | w.words[8].differs(s, 64)
		}
		if x != 0 || w.more && !w.also(s) {
			continue
		}
		if end := w.ends(f, s); end > 0 {
			return w, end
		}
	}
	return nil, 0
}

// also reports whether what few ways have is there, too.
func (w *way) also(s *start) bool {
	x := uint64(0)
	if w.rest {
		for i := range w.words {
			x |= w.words[i].differs(s, i*8)
		}
	}
	for i := range w.labels[:w.marked] {
		if s.be32(w.labels[i])>>labelShift == labelIndicator {
			return false
		}
	}
	return x == 0
}

// follow takes from a frame what it need not share with others of its way.
func (h *headers) follow(w *way, s *start) {
	id := w.id.of(s) | w.fixed
	addresses := (uint64(s.be32(w.carrier+12))<<32 | uint64(s.be32(w.carrier+16))) & w.addresses
	h.vlan = s.be16(w.vlanAt)&w.vlanMask | w.vlan
	if h.again = h.from == w && h.tunnel.ID == id && h.addresses == addresses && !w.six; h.again {
		h.last = s
		return
	}
	src, dst := frame.Addr{Lo: addresses>>32 | w.mapped}, frame.Addr{Lo: addresses&0xffffffff | w.mapped}
	if w.six {
		src, dst = frame.AddrFrom16(s[w.carrier+8:]), frame.AddrFrom16(s[w.carrier+24:])
		if h.again = h.from == w && h.tunnel.ID == id && h.tunnel.Src == src && h.tunnel.Dst == dst; h.again {
			h.last = s
			return
		}
	}
	h.notes, h.tags, h.layers, h.depth = w.notes, w.tags, w.layers, w.depth
	h.tunnel.Kind, h.tunnel.ID, h.tunnel.Src, h.tunnel.Dst = w.kind, id, src, dst
	h.addresses, h.from = addresses, w
	h.traced, h.place = true, 0
}

// remember counts f, which found no way, and learns its way, if its walk was
// traced.
func (d *Decoder) remember(f *frame.Frame, h *headers) {
	d.strays++
	if h.learning {
		if w, ok := learn(f, h); ok {
			d.keep(f, w)
		}
		h.trace = trace{}
	}
	h.learning = d.strays%learnEvery == 0
}

// keep puts a way into its set, where there is none, or in the place of one.
func (d *Decoder) keep(f *frame.Frame, w way) {
	if d.ways == nil {
		d.ways = new([waySets][waysPerSet]way)
	}
	set := &d.ways[otherKey(f.Link, d.startOf(f))%waySets]
	for i := range set {
		if !set[i].known {
			set[i] = w
			return
		}
	}
	set[d.way] = w
	d.way = (d.way + 1) % waysPerSet
}
