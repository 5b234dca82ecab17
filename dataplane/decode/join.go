package decode

import (
	"ringside/dataplane/defrag"
	"ringside/dataplane/frame"
)

// Join puts f, which came through t, together with the fragments before it. A
// datagram that it completes is read on as a frame is, from its transport
// protocol on, and appended to into as a packet with the time, clock and number
// of f. If what it holds is a fragment once more, of an IP header in a tunnel,
// that one is joined at once. The frames of all that was completed are appended to
// into.Kept, also where nothing comes of it yet.
func (d *Decoder) Join(f *frame.Fragment, t *frame.Tunnel, into *frame.Batch) {
	if d.fragments == nil {
		d.fragments = defrag.New(defrag.Limits{})
		d.begin()
	}
	read := frame.Frame{Time: f.Time, Clock: f.Clock, Seq: f.Seq, Iface: f.Iface, Loop: f.Loop}
	inner, tunnel := *f, *t
	for {
		whole, ok := d.fragments.Add(&inner)
		if !ok {
			return
		}
		into.Kept = append(into.Kept, whole.Kept...)
		n := len(into.Packets)
		into.Packets = append(into.Packets, frame.Packet{})
		h := d.resume(&inner, &tunnel, &whole, &into.Packets[n])
		r := d.joined(&h, into)
		if r == packet {
			return
		}
		into.Packets = into.Packets[:n]
		if r != fragment {
			return
		}
		// Its bytes lie in a datagram that the next Add overwrites.
		tunnel = h.tunnel
		d.scratch = append(d.scratch[:0], h.data[h.off:min(h.end, len(h.data))]...)
		inner = fragmentOf(&read, &h, 0)
		inner.Data, inner.Outer, inner.Kept = d.scratch, f.Outer, f.Kept
	}
}

// resume is the walk behind the IP header of a datagram that was put together:
// f is its last fragment, which came through t. The packet is to be p.
func (d *Decoder) resume(f *frame.Fragment, t *frame.Tunnel, whole *defrag.Datagram, p *frame.Packet) headers {
	p.Time, p.Clock, p.Seq, p.Iface, p.Loop = f.Time, f.Clock, f.Seq, f.Iface, f.Loop
	p.Src.Addr, p.Dst.Addr = f.Src, f.Dst
	p.Proto, p.TTL, p.DSCP, p.VLAN, p.Flags = whole.Proto, whole.TTL, whole.DSCP, f.VLAN, f.Flags&frame.FlagVLAN
	if !f.IPv6 {
		p.ID = uint16(f.ID)
	}
	h := headers{
		data: whole.Data, wire: int(whole.Len), end: int(whole.Len), packet: p, ports: &d.ports,
		layers: f.Depth, depth: f.Depth, tunnel: *t, six: f.IPv6,
	}
	if f.Flags&frame.FlagVLAN != 0 {
		h.tags = 1
	}
	return h
}

// joined reads on in a datagram that was put together, counts what becomes of
// it, and lists the tunnel of its packet in into.
func (d *Decoder) joined(h *headers, into *frame.Batch) Reason {
	layers, r := h.layers, none
	if h.six || h.packet.Proto == protoAH { // more extension headers
		r = extensions(h)
	}
	if r == none {
		r = d.transport(h)
	}
	d.stats.note(h.notes)
	if h.layers != layers {
		d.stats.Tunnels[h.tunnel.Kind]++
	}
	switch r {
	case packet:
		h.packet.Flags |= frame.FlagFragment
		if h.tunnel.Kind != frame.NoTunnel {
			list(into, h, r)
			h.packet.Tunnel = h.place
		}
		d.stats.JoinedPackets++
	case fragment:
		d.stats.JoinedFragments++
	default:
		d.stats.JoinedReasons[r]++
		d.stats.leave(r, 0, h)
	}
	return r
}

// Stats is a copy of the counters since the Decoder began.
func (d *Decoder) Stats() Stats {
	s := d.stats
	if d.fragments != nil {
		s.Joined = d.fragments.Stats()
	}
	return s
}
