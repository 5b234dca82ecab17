package traffic

import (
	"encoding/binary"
	"fmt"
	"net/netip"
)

// Hostile counts the frames of attacks by kind. A perfect observer finds no
// call in any of them, and loses none because of them.
type Hostile struct {
	Fragments uint64 `json:"fragments,omitempty"` // first fragments without a second, each of another source
	Overlaps  uint64 `json:"overlaps,omitempty"`  // fragments that overlap (teardrop)
	Gaps      uint64 `json:"gaps,omitempty"`      // TCP segments with a gap before each
	SYNs      uint64 `json:"syns,omitempty"`      // of connections that come to nothing
	Tunnels   uint64 `json:"tunnels,omitempty"`   // twenty tunnels, one in the other
	Endless   uint64 `json:"endless,omitempty"`   // a SIP message over TCP with a body of 1 GiB
}

// attacks is what attackers remember.
type attacks struct {
	rnd   random
	turn  int
	gap   attackFlow // the connection with gaps
	flood attackFlow // the one with the endless body
}

// attackFlow is a TCP connection of an attacker.
type attackFlow struct {
	flow flow
	seq  uint32
	left int // segments to go
}

const (
	burst  = 16 // frames of a flood at once
	nested = 20 // tunnels
)

// attack makes the frames of the next attack.
func (g *Generator) attack(t int64) {
	a := &g.attacks
	a.turn++
	n := &g.totals.Hostile
	switch a.turn % 6 {
	case 0:
		for range burst {
			f := g.attacker(protoUDP)
			g.piece(t, f, uint16(a.rnd.next()), 0, true, datagramOf(f, 4000, 1400))
			n.Fragments++
		}
	case 1:
		f, id := g.attacker(protoUDP), uint16(a.rnd.next())
		g.piece(t, f, id, 0, true, datagramOf(f, 100, 64))
		g.piece(t, f, id, 24, false, make([]byte, 16+8*a.rnd.below(8)))
		n.Overlaps += 2
	case 2:
		for range burst {
			c := &a.gap
			if c.left == 0 {
				*c = attackFlow{flow: *g.attacker(protoTCP), seq: uint32(a.rnd.next()), left: 400}
				g.rawSegment(t, c, tcpSyn, nil)
				c.seq++
				g.rawSegment(t, c, tcpAck|tcpPsh, []byte("OPTIONS sip:x SIP/2.0\r\nVia: "))
				n.Gaps += 2
			}
			c.seq += 1 + uint32(a.rnd.below(3000))
			g.rawSegment(t, c, tcpAck|tcpPsh, make([]byte, 1+a.rnd.below(1000)))
			n.Gaps++
		}
	case 3:
		for range burst {
			g.rawSegment(t, &attackFlow{flow: *g.attacker(protoTCP), seq: uint32(a.rnd.next())}, tcpSyn, nil)
			n.SYNs++
		}
	case 4:
		g.tunnels(t)
		n.Tunnels++
	default:
		c := &a.flood
		if c.left == 0 {
			*c = attackFlow{flow: *g.attacker(protoTCP), seq: uint32(a.rnd.next()), left: 2000}
			g.rawSegment(t, c, tcpAck|tcpPsh, fmt.Appendf(nil, "OPTIONS sip:x@%s SIP/2.0\r\nVia: SIP/2.0/TCP %s;branch=z9hG4bKx\r\n"+
				"From: <sip:x@example.com>;tag=x\r\nTo: <sip:x@example.com>\r\nCall-ID: hostile-%x\r\nCSeq: 1 OPTIONS\r\nContent-Length: 1073741824\r\n\r\n",
				c.flow.dst, c.flow.src, a.rnd.next()))
			n.Endless++
		}
		for range burst {
			g.rawSegment(t, c, tcpAck, make([]byte, 1400))
			n.Endless++
		}
	}
}

// attacker is the flow from an address that nobody has to the SIP port of a
// gateway.
func (g *Generator) attacker(proto uint8) *flow {
	r := &g.attacks.rnd
	src := netip.AddrFrom4([4]byte{45, byte(r.below(256)), byte(r.below(256)), byte(1 + r.below(254))})
	dst := g.gatewayAddr(uint64(r.below(g.opt.Gateways)), false)
	f := new(flow)
	g.link.setup(f, netip.AddrPortFrom(src, uint16(1024+r.below(60000))), netip.AddrPortFrom(dst, 5060), proto, 64, 0)
	return f
}

// datagramOf is the begin of a UDP datagram that says it has size bytes.
func datagramOf(f *flow, size, have int) []byte {
	b := make([]byte, have)
	be := binary.BigEndian
	be.PutUint16(b, f.src.Port())
	be.PutUint16(b[2:], f.dst.Port())
	be.PutUint16(b[4:], uint16(size))
	copy(b[8:], "INVITE sip:hostile@example.com SIP/2.0\r\n")
	return b
}

// piece writes one IPv4 fragment.
func (g *Generator) piece(t int64, f *flow, id uint16, offset int, more bool, payload []byte) {
	b := g.out.room()
	n := copy(b, f.hdr[:f.ip+20])
	be := binary.BigEndian
	ip := b[f.ip:n]
	be.PutUint16(ip[2:], uint16(20+len(payload)))
	be.PutUint16(ip[4:], id)
	where := uint16(offset / 8)
	if more {
		where |= 0x2000
	}
	be.PutUint16(ip[6:], where)
	headerSum(ip)
	n += copy(b[n:], payload)
	g.rawDone(g.opt.Format.stamp(t), n)
}

// rawSegment writes the next TCP segment of an attacker.
func (g *Generator) rawSegment(t int64, c *attackFlow, flags uint8, payload []byte) {
	n := c.flow.segment(g.out.room(), c.seq, 1, flags, payload)
	c.seq += uint32(len(payload))
	c.left--
	g.rawDone(g.opt.Format.stamp(t), n)
}

// tunnels writes a datagram in twenty tunnels, IP in IP or GRE.
func (g *Generator) tunnels(t int64) {
	f := g.attacker(protoUDP)
	b := g.out.room()
	n := copy(b, f.hdr[:f.ip])
	be := binary.BigEndian
	payload := []byte("not for you")
	const ipip, gre = 4, 47
	proto, step := byte(ipip), 20
	if g.attacks.rnd.chance(0.5) {
		proto, step = gre, 24
	}
	for left := nested; left >= 0; left-- {
		ip := b[n : n+20]
		copy(ip, f.hdr[f.ip:f.ip+20])
		be.PutUint16(ip[2:], uint16(left*step+28+len(payload)))
		be.PutUint16(ip[4:], uint16(left))
		n += 20
		if left > 0 {
			if ip[9] = proto; proto == gre {
				be.PutUint32(b[n:], 0x0800)
				n += 4
			}
		}
		headerSum(ip)
	}
	be.PutUint16(b[n:], f.src.Port())
	be.PutUint16(b[n+2:], 9) // discard
	be.PutUint32(b[n+4:], uint32(8+len(payload))<<16)
	n += 8
	n += copy(b[n:], payload)
	g.rawDone(g.opt.Format.stamp(t), n)
}
