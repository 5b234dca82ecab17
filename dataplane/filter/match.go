package filter

import (
	"encoding/binary"

	"ringside/dataplane/frame"
)

// match runs the program for p, which came through t in f; either may be nil.
func (f *Filter) match(p *frame.Packet, t *frame.Tunnel, fr *frame.Frame) bool {
	if t != nil && (t.Kind == frame.NoTunnel || int(t.Kind) >= len(carriers)) {
		t = nil
	}
	at := f.entry
	for at >= 0 {
		in := &f.code[at]
		var holds bool
		switch in.kind {
		case testAddr:
			holds = in.hasAddr(p.Src.Addr, p.Dst.Addr) || t != nil && outside(t) && in.hasAddr(t.Src, t.Dst)
		case testPort:
			holds = in.hasPort(p) || t != nil && in.carrierPort(t)
		case testProto:
			holds = in.proto == p.Proto && in.ofVersion(p.Src.Addr) || t != nil && in.carrierProto(t)
		case testVersion:
			holds = in.ofVersion(p.Src.Addr) || t != nil && outside(t) && in.ofVersion(t.Src)
		case testVLAN:
			holds = p.Flags&frame.FlagVLAN != 0 && (in.any || uint32(p.VLAN) == in.id)
		case testTunnel:
			holds = t != nil && t.Kind == in.tunnel && (in.any || t.ID == in.id)
		case testValue:
			var ok bool
			if holds, ok = in.computed(p, fr); !ok {
				return false // as BPF ends where it reads beyond the packet
			}
		case testMAC:
			holds = in.hasMAC(fr)
		}
		if holds {
			at = in.yes
		} else {
			at = in.no
		}
	}
	return at == accept
}

// outside reports whether the addresses around a tunnel are known.
func outside(t *frame.Tunnel) bool { return t.Src != frame.Addr{} || t.Dst != frame.Addr{} }

// in reports whether a lies in the test's prefix.
func (t *test) in(a frame.Addr) bool {
	return (a.Hi^t.addr.Hi)&t.mask.Hi|(a.Lo^t.addr.Lo)&t.mask.Lo == 0
}

func (t *test) hasAddr(src, dst frame.Addr) bool {
	if src.Is4() != (t.version == 4) {
		return false
	}
	return t.dir.of(t.in(src), t.in(dst))
}

func (t *test) ofVersion(a frame.Addr) bool {
	return t.version == 0 || a.Is4() == (t.version == 4)
}

func (t *test) hasPort(p *frame.Packet) bool {
	if t.proto&portBit(p.Proto) == 0 {
		return false
	}
	src := p.Src.Port >= t.lo && p.Src.Port <= t.hi
	dst := p.Dst.Port >= t.lo && p.Dst.Port <= t.hi
	return t.dir.of(src, dst)
}

// carrierPort asks for the destination port that a kind of tunnel uses.
func (t *test) carrierPort(tunnel *frame.Tunnel) bool {
	if t.proto&portUDP == 0 || t.dir == srcEnd || t.dir == bothEnds {
		return false
	}
	for _, port := range carriers[tunnel.Kind].ports {
		if port != 0 && port >= t.lo && port <= t.hi {
			return true
		}
	}
	return false
}

// carrierProto asks for the protocol of IP that carries a kind of tunnel.
func (t *test) carrierProto(tunnel *frame.Tunnel) bool {
	c := &carriers[tunnel.Kind]
	return c.proto != 0 && (c.proto == t.proto || c.six != 0 && c.six == t.proto) && t.ofVersion(tunnel.Src)
}

// computed answers a relation. ok is false if it cannot be computed, and the
// packet is to be refused.
func (in *instr) computed(p *frame.Packet, fr *frame.Frame) (holds, ok bool) {
	r := in.value
	if !r.applies(p) {
		return false, true
	}
	if fr == nil && r.framed() {
		return !in.neg, true // in doubt
	}
	length := uint32(0)
	if fr != nil {
		length = max(fr.Len, uint32(len(fr.Data)))
	}
	return r.holds(p, length)
}

// hasMAC asks for Ethernet addresses of the frame; in doubt, the answer is in
// favour of the packet.
func (in *instr) hasMAC(fr *frame.Frame) bool {
	if fr == nil {
		return !in.neg
	}
	if fr.Link != frame.LinkEthernet || len(fr.Data) < 12 {
		return false
	}
	d := fr.Data
	dst := (uint64(binary.BigEndian.Uint32(d))<<16|uint64(binary.BigEndian.Uint16(d[4:])))&in.macMask == in.mac
	src := (uint64(binary.BigEndian.Uint32(d[6:]))<<16|uint64(binary.BigEndian.Uint16(d[10:])))&in.macMask == in.mac
	return in.dir.of(src, dst)
}

// of combines what holds of the source and of the destination.
func (d direction) of(src, dst bool) bool {
	switch d {
	case srcEnd:
		return src
	case dstEnd:
		return dst
	case bothEnds:
		return src && dst
	}
	return src || dst
}
