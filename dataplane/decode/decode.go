// Package decode turns frames into packets: from the link-layer header to the
// payload of the transport protocol, through any tunnels on the way.
//
// A Decoder walks the frames of a batch and writes one frame.Packet for each
// UDP, TCP or SCTP datagram, and one frame.Fragment for each IP fragment. Every
// frame that yields neither is counted under exactly one Reason, so that
//
//	frames = packets + fragments + Σ reasons
//
// holds at any time (the ledger). What is worth knowing about a frame without
// being a reason to leave it out is a Note, counted beside the ledger.
//
// Packets borrow the bytes of their frames: they live as long as the batch.
//
// # Layers
//
// walk reads the layers below the transport header, one function per layer.
// Ethernet II, 802.3 with LLC and SNAP, 802.1Q and 802.1ad tags, Linux cooked
// capture, raw IP and BSD loopback lead to IPv4 and IPv6, and these to a
// transport protocol.
//
// # Tunnels
//
// Tunnels are opened wherever they come, up to eight in one another. A packet
// has the addresses, TTL, DSCP and identification of its innermost IP header,
// the outermost VLAN tag, and names its innermost tunnel. A tunnel has one
// function, which checks its header, says where the inside begins and ends, and
// enters it: from there the same functions go on as for a frame. Where the
// inside leads to no packet, the reason is that of the inside.
//
// The headers before the inner IP header mostly have one of a few shapes, however
// many tunnels there are. A decoder remembers the shapes, and spares the next
// frames most of the walk (way.go). What comes out is the same.
//
// A tunnel in UDP has no mark but its port, which others may use as well. So it
// is opened only where its header, and the header after it, make sense;
// otherwise the packet is what it seems: UDP of that port.
//
// # Fragments
//
// Fragments go to Batch.Fragments, those that hold a transport header too. Join
// puts them together, and goes on with the datagram as if it had been read in
// one piece. It has a ledger of its own (Stats).
//
// # What a packet needs, and what may be missing
//
// A packet has its whole transport header. Its payload may be incomplete:
// len(Payload) < Len says so, and so does FlagCut: bytes are missing from the
// capture, by the snap length, or by something upstream that slices packets.
package decode

import (
	"encoding/binary"
	"slices"

	"ringside/dataplane/defrag"
	"ringside/dataplane/frame"
)

// Options of a Decoder.
type Options struct {
	VXLANPorts []uint16 // UDP ports of VXLAN; none: 4789, and 8472 of older Linux
}

// Decoder decodes the frames of one worker. It must not be used by two
// goroutines at a time, and that includes Stats. The zero Decoder is ready, with
// the default options.
type Decoder struct {
	stats     Stats // but Joined, which fragments has
	ports     portSet
	vxlan     []uint16
	begun     bool
	fragments *defrag.Table             // made by the first Join
	ways      *[waySets][waysPerSet]way // nil until there is one
	way       int                       // of a set, to be replaced next
	strays    uint                      // frames that found no way
	short     start                     // of a frame that is shorter than that
	scratch   []byte                    // a fragment that came out of fragments
}

var _ frame.Decoder = (*Decoder)(nil)

// New returns a Decoder.
func New(o Options) *Decoder {
	d := &Decoder{vxlan: slices.Clone(o.VXLANPorts)}
	d.begin()
	return d
}

// begin fills in the defaults, once.
func (d *Decoder) begin() {
	if d.begun {
		return
	}
	d.begun = true
	if len(d.vxlan) == 0 {
		d.vxlan = vxlanPorts
	}
	for _, port := range slices.Concat(tunnelPorts, d.vxlan) {
		d.ports.add(port)
	}
}

// Decode decodes b.Frames into b.Packets, b.Fragments and b.Tunnels, replacing
// what was there. It allocates only when b.Packets has not the capacity for a
// packet per frame, or the others for what there is; and when it opens its first
// tunnel.
func (d *Decoder) Decode(b *frame.Batch) {
	d.begin()
	b.Fragments, b.Tunnels = b.Fragments[:0], b.Tunnels[:0]
	packets := slices.Grow(b.Packets[:0], len(b.Frames))[:len(b.Frames)]
	n := 0
	h := headers{ports: &d.ports, learning: d.strays%learnEvery == 0}
	tunnelled := false // the frame before came through a tunnel
	for i := range b.Frames {
		f, p := &b.Frames[i], &packets[n]
		r, walked := packet, false
		switch {
		case tunnelled && d.repeat(f, &h, p):
			d.stats.Tunnels[h.tunnel.Kind]++
			if h.notes != 0 {
				d.note(f, &h)
			}
			if h.place == 0 {
				list(b, &h, packet)
			}
			p.Time, p.Clock, p.Seq, p.Iface, p.Loop = f.Time, f.Clock, f.Seq, f.Iface, f.Loop
			p.Tunnel = h.place
			if f.Metered {
				p.Flags |= frame.FlagMetered
			}
			n++
			continue
		case tunnelled && d.shortcut(f, &h, p):
		default:
			h.begin(f, p)
			if f.Link == frame.LinkEthernet && len(f.Data) > etherLen && binary.BigEndian.Uint16(f.Data[12:]) == etherIPv4 &&
				plain(f.Data, etherLen, max(int(f.Len), len(f.Data)), &d.ports, p) {
				break // most frames
			}
			r, walked = walk(f, &h), true
			if r == none {
				r, walked = d.onward(f, &h, tunnelled)
			}
		}
		if h.notes != 0 || int(f.Len) != len(f.Data) || f.Len > maxPlain {
			d.note(f, &h)
		}
		tunnel := uint16(0)
		if tunnelled = h.tunnel.Kind != frame.NoTunnel; tunnelled {
			d.stats.Tunnels[h.tunnel.Kind]++
			if h.place == 0 {
				list(b, &h, r)
			}
			if walked && r == packet {
				d.remember(f, &h)
			}
			tunnel = h.place
		}
		if r != packet {
			d.leave(b, f, &h, r, tunnel)
			continue
		}
		p.Time, p.Clock, p.Seq, p.Iface, p.Loop = f.Time, f.Clock, f.Seq, f.Iface, f.Loop
		p.Tunnel = tunnel
		if f.Metered {
			p.Flags |= frame.FlagMetered
		}
		n++
	}
	b.Packets = packets[:n]
	d.stats.Frames += uint64(len(b.Frames))
	d.stats.Packets += uint64(n)
	d.stats.Fragments += uint64(len(b.Fragments))
}

// onward goes on from what the walk of f has found, by a shortcut where that was
// not tried yet, and reports whether it walked.
func (d *Decoder) onward(f *frame.Frame, h *headers, tried bool) (r Reason, walked bool) {
	if p := h.packet; !tried && h.layers == 0 && d.ways != nil && p.Proto != frame.ProtoTCP {
		if d.shortcut(f, h, p) {
			return packet, false
		}
		h.begin(f, p)
		if r := walk(f, h); r != none {
			return r, true
		}
	}
	return d.transport(h), true
}

// note counts the notes of f.
func (d *Decoder) note(f *frame.Frame, h *headers) {
	notes := h.notes
	if int(f.Len) > len(f.Data) {
		notes |= 1 << NoteCut
	}
	if int(f.Len) > maxPlain+tagLen*int(h.tags) {
		notes |= 1 << NoteOversize
	}
	d.stats.note(notes)
}

// leave takes a frame that yields no packet.
func (d *Decoder) leave(b *frame.Batch, f *frame.Frame, h *headers, r Reason, tunnel uint16) {
	if r == fragment {
		b.Fragments = append(b.Fragments, fragmentOf(f, h, tunnel))
		return
	}
	d.stats.Reasons[r]++
	d.stats.leave(r, f.Link, h)
}

// list lists the tunnel of a packet or a fragment in b, if it is not the last
// one there, and sets h.place. A batch has room for 65,535; those of further
// ones stay unknown.
func list(b *frame.Batch, h *headers, r Reason) {
	if r != packet && r != fragment {
		return
	}
	n := len(b.Tunnels)
	if n > 0 {
		t := &b.Tunnels[n-1]
		if t.ID == h.tunnel.ID && t.Src == h.tunnel.Src && t.Dst == h.tunnel.Dst && t.Kind == h.tunnel.Kind {
			h.place = uint16(n)
			return
		}
	}
	if n == 1<<16-1 {
		return
	}
	// Field by field: as one value it would be copied in words larger than they
	// were just written in, which stalls.
	b.Tunnels = slices.Grow(b.Tunnels, 1)[:n+1]
	t := &b.Tunnels[n]
	t.Kind, t.ID = h.tunnel.Kind, h.tunnel.ID
	t.Src.Hi, t.Src.Lo = h.tunnel.Src.Hi, h.tunnel.Src.Lo
	t.Dst.Hi, t.Dst.Lo = h.tunnel.Dst.Hi, h.tunnel.Dst.Lo
	h.place = uint16(n + 1)
}

// fragmentOf is the fragment that the walk of f has found.
func fragmentOf(f *frame.Frame, h *headers, tunnel uint16) frame.Fragment {
	p, end := h.packet, min(h.end, len(h.data))
	out := frame.Fragment{
		Time: f.Time, Clock: f.Clock, Seq: f.Seq, Loop: f.Loop, Iface: f.Iface,
		Outer: h.outer(), Src: p.Src.Addr, Dst: p.Dst.Addr, Data: h.data[h.off:end:end],
		ID: h.id, Offset: h.fragment &^ 7, Len: uint32(h.end - h.off),
		VLAN: p.VLAN, Tunnel: tunnel, Proto: p.Proto, TTL: p.TTL, DSCP: p.DSCP, Flags: p.Flags,
		Depth: h.depth, More: h.fragment&moreFragments != 0, IPv6: h.six,
	}
	if end < h.end {
		out.Flags |= frame.FlagCut
	}
	return out
}
