package encap

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"ringside/dataplane/frame"
)

// EtherTypes and IP protocols.
const (
	etherIPv4 = 0x0800
	etherIPv6 = 0x86dd
	etherVLAN = 0x8100
	etherQinQ = 0x88a8
	etherTEB  = 0x6558

	protoIPv4 = 4
	protoUDP  = 17
	protoIPv6 = 41
	protoGRE  = 47
	protoESP  = 50
	protoAH   = 51
)

// Addresses of the tunnels' ends.
var (
	src4 = netip.MustParseAddr("203.0.113.10")
	dst4 = netip.MustParseAddr("203.0.113.20")
	src6 = netip.MustParseAddr("2001:db8:aaaa::10")
	dst6 = netip.MustParseAddr("2001:db8:aaaa::20")
)

// over4, over6 and link are the tunnel that a kind makes: over IPv4, over IPv6,
// or below IP.
func over4(kind frame.TunnelKind, id uint32) frame.Tunnel {
	return frame.Tunnel{Kind: kind, Src: frame.AddrFrom(src4), Dst: frame.AddrFrom(dst4), ID: id}
}

func over6(kind frame.TunnelKind, id uint32) frame.Tunnel {
	return frame.Tunnel{Kind: kind, Src: frame.AddrFrom(src6), Dst: frame.AddrFrom(dst6), ID: id}
}

func link(kind frame.TunnelKind, id uint32) frame.Tunnel { return frame.Tunnel{Kind: kind, ID: id} }

func be16(v int) []byte { return binary.BigEndian.AppendUint16(nil, uint16(v)) }
func be32(v int) []byte { return binary.BigEndian.AppendUint32(nil, uint32(v)) }

// ethernet puts a header of the tunnel's last hop before inner.
func ethernet(etherType int, inner []byte) []byte {
	return slices.Concat([]byte{0x02, 0x42, 0, 0, 0, 0x20, 0x02, 0x42, 0, 0, 0, 0x10}, be16(etherType), inner)
}

// split is the Ethernet addresses of f, and the rest from the EtherType on.
func split(f []byte) (addresses, rest []byte) { return f[:12], f[12:] }

// ipAt is where the IP packet in f begins and ends, without what pads the frame,
// and its EtherType.
func ipAt(f []byte) (start, end, etherType int) {
	start = 14
	etherType = int(binary.BigEndian.Uint16(f[12:]))
	for etherType == etherVLAN || etherType == etherQinQ {
		etherType = int(binary.BigEndian.Uint16(f[start+2:]))
		start += 4
	}
	switch etherType {
	case etherIPv4:
		end = start + int(binary.BigEndian.Uint16(f[start+2:]))
	case etherIPv6:
		end = start + 40 + int(binary.BigEndian.Uint16(f[start+4:]))
	default:
		panic("the frame to wrap holds no IP")
	}
	return start, min(end, len(f)), etherType
}

// ipOf is the IP packet in f, and its EtherType.
func ipOf(f []byte) (ip []byte, etherType int) {
	start, end, etherType := ipAt(f)
	return f[start:end], etherType
}

// protoOf is the IP protocol number of what ipOf has found.
func protoOf(etherType int) int {
	if etherType == etherIPv6 {
		return protoIPv6
	}
	return protoIPv4
}

// sum is the Internet check sum (RFC 1071).
func sum(b []byte) int {
	s := uint32(0)
	for i, v := range b {
		s += uint32(v) << (8 * (1 - i%2))
	}
	for s > 0xffff {
		s = s>>16 + s&0xffff
	}
	return int(^s & 0xffff)
}

// ip4 puts an IPv4 header before inner.
func ip4(proto int, inner []byte) []byte {
	h := slices.Concat([]byte{0x45, 0}, be16(20+len(inner)), be16(mix(inner)), be16(0), []byte{62, byte(proto), 0, 0},
		src4.AsSlice(), dst4.AsSlice())
	copy(h[10:], be16(sum(h)))
	return append(h, inner...)
}

// ip6 puts an IPv6 header before inner.
func ip6(next int, inner []byte) []byte {
	return slices.Concat([]byte{0x60, 0, 0, 0}, be16(len(inner)), []byte{byte(next), 62}, src6.AsSlice(), dst6.AsSlice(), inner)
}

// udp puts a UDP header without check sum before inner, as tunnels do.
func udp(src, dst int, inner []byte) []byte {
	return slices.Concat(be16(src), be16(dst), be16(8+len(inner)), be16(0), inner)
}

// eth4 is a whole frame of an IP protocol.
func eth4(proto int, inner []byte) []byte { return ethernet(etherIPv4, ip4(proto, inner)) }

// ethUDP is a whole frame of UDP to dst, from a port that spreads the flows.
func ethUDP(dst int, inner []byte) []byte {
	return eth4(protoUDP, udp(49152+mix(inner)%16384, dst, inner))
}

// mix is 16 bits that depend on b and on nothing else.
func mix(b []byte) int {
	h := uint32(2166136261) // FNV-1a
	for _, v := range b {
		h = (h ^ uint32(v)) * 16777619
	}
	return int(h>>16 ^ h&0xffff)
}
