package traffic

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
)

const (
	protoTCP = 6
	protoUDP = 17

	maxHeaders = 14 + 2*4 + 40 + 20 // Ethernet, two tags, IPv6, TCP
)

// flow is one direction between two transport addresses: the headers of its
// frames, with the sums of all that stays the same (RFC 1624).
type flow struct {
	src, dst netip.AddrPort
	hdr      [maxHeaders]byte
	ip       int    // where the IP header begins
	size     int    // length of all headers
	ipSum    uint32 // IPv4 header without length, identification and checksum
	l4Sum    uint32 // pseudo header and ports, without the lengths
	id       uint16 // next IPv4 identification
	v6       bool
	proto    uint8
}

// link is what frames of a run have in common below IP.
type link struct{ vlans []uint16 }

// setup fills f for datagrams from src to dst.
func (l link) setup(f *flow, src, dst netip.AddrPort, proto, ttl, dscp uint8) {
	*f = flow{src: src, dst: dst, v6: src.Addr().Is6(), proto: proto}
	be := binary.BigEndian
	h := f.hdr[:]
	macOf(h[0:6], dst.Addr())
	macOf(h[6:12], src.Addr())
	n := 12
	for i, id := range l.vlans {
		tpid := uint16(0x8100)
		if i+1 < len(l.vlans) {
			tpid = 0x88a8 // IEEE 802.1ad: the outer tag of two
		}
		be.PutUint16(h[n:], tpid)
		be.PutUint16(h[n+2:], id)
		n += 4
	}
	f.ip = n + 2
	f.l4Sum = uint32(proto) + uint32(src.Port()) + uint32(dst.Port())
	if f.v6 {
		be.PutUint16(h[n:], 0x86dd)
		ip := h[f.ip:]
		be.PutUint32(ip, 6<<28|uint32(dscp)<<22)
		ip[6], ip[7] = proto, ttl
		s, d := src.Addr().As16(), dst.Addr().As16()
		copy(ip[8:], s[:])
		copy(ip[24:], d[:])
		f.l4Sum += sum(ip[8:40])
		n = f.ip + 40
	} else {
		be.PutUint16(h[n:], 0x0800)
		ip := h[f.ip:]
		ip[0], ip[1] = 0x45, dscp<<2
		be.PutUint16(ip[6:], 0x4000) // do not fragment
		ip[8], ip[9] = ttl, proto
		s, d := src.Addr().As4(), dst.Addr().As4()
		copy(ip[12:], s[:])
		copy(ip[16:], d[:])
		f.ipSum = sum(ip[:20])
		f.l4Sum += sum(ip[12:20])
		n = f.ip + 20
	}
	be.PutUint16(h[n:], src.Port())
	be.PutUint16(h[n+2:], dst.Port())
	f.size = n + 8
	if proto == protoTCP {
		f.size = n + 20
	}
}

// headers writes the headers of a UDP datagram of n payload bytes, whose ones'
// complement sum is paySum, to b.
func (f *flow) headers(b []byte, n int, paySum uint32) {
	be := binary.BigEndian
	copy(b, f.hdr[:f.size])
	udp := uint32(8 + n)
	f.network(b, udp)
	l4 := b[f.size-8:]
	be.PutUint16(l4[4:], uint16(udp))
	c := ^fold(f.l4Sum + 2*udp + paySum)
	if c == 0 {
		c = 0xffff // 0 would mean "no checksum" (RFC 768)
	}
	be.PutUint16(l4[6:], c)
}

// network patches the IP header in b for n bytes of transport.
func (f *flow) network(b []byte, n uint32) {
	be := binary.BigEndian
	ip := b[f.ip:]
	if f.v6 {
		be.PutUint16(ip[4:], uint16(n))
		return
	}
	be.PutUint16(ip[2:], uint16(n+20))
	be.PutUint16(ip[4:], f.id)
	be.PutUint16(ip[10:], ^fold(f.ipSum+n+20+uint32(f.id)))
	f.id++
}

// segment writes a TCP segment with its payload to b and returns its length.
func (f *flow) segment(b []byte, seq, ack uint32, flags uint8, payload []byte) int {
	be := binary.BigEndian
	copy(b, f.hdr[:f.size])
	n := uint32(20 + len(payload))
	f.network(b, n)
	t := b[f.size-20:]
	be.PutUint32(t[4:], seq)
	be.PutUint32(t[8:], ack)
	t[12], t[13] = 5<<4, flags
	be.PutUint16(t[14:], 0xfaf0) // window
	be.PutUint32(t[16:], 0)
	copy(t[20:], payload)
	// The ports are in l4Sum already.
	be.PutUint16(t[16:], ^fold(f.l4Sum+n+sum(t[4:n])))
	return f.size + len(payload)
}

// sum is the ones' complement sum of b in 16-bit words, not yet folded into one.
func sum(b []byte) uint32 {
	var s, carry uint64
	for len(b) >= 8 {
		s, carry = bits.Add64(s, binary.BigEndian.Uint64(b), carry)
		b = b[8:]
	}
	s, carry = bits.Add64(s, 0, carry)
	s += carry
	t := s>>48 + s>>32&0xffff + s>>16&0xffff + s&0xffff
	for len(b) >= 2 {
		t += uint64(b[0])<<8 | uint64(b[1])
		b = b[2:]
	}
	if len(b) == 1 {
		t += uint64(b[0]) << 8
	}
	return uint32(t)
}

func fold(s uint32) uint16 {
	s = s>>16 + s&0xffff
	s = s>>16 + s&0xffff
	return uint16(s)
}

// macOf is a locally administered address made from an IP address.
func macOf(b []byte, a netip.Addr) {
	x := a.As16()
	b[0], b[1] = 0x02, x[1]^x[11]
	copy(b[2:6], x[12:])
}
