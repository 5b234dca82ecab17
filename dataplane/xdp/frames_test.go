package xdp

import (
	"encoding/binary"
	"net/netip"
	"slices"
)

// What frames of tests are made of. Builders put a header before what it
// carries: ether(0x0800, ipv4(17, udp(5060, 5062, payload))).

var (
	src4 = netip.MustParseAddr("192.0.2.1")
	dst4 = netip.MustParseAddr("198.51.100.2")
	src6 = netip.MustParseAddr("2001:db8::1")
	dst6 = netip.MustParseAddr("2001:db8:ffff::2")
)

func two(v int) []byte { return binary.BigEndian.AppendUint16(nil, uint16(v)) }

func ether(etherType int, inner []byte) []byte {
	return slices.Concat([]byte{2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1}, two(etherType), inner)
}

// tagged is a VLAN tag without the EtherType that announces it.
func tagged(vlan, etherType int, inner []byte) []byte {
	return slices.Concat(two(vlan), two(etherType), inner)
}

func ipv4(proto int, inner []byte) []byte { return ipv4Of(src4, dst4, proto, nil, 0, inner) }

// ipv4Of has its offset in units of 8 bytes, with the more-fragments bit 0x2000.
func ipv4Of(src, dst netip.Addr, proto int, options []byte, offset int, inner []byte) []byte {
	header := 20 + len(options)
	return slices.Concat([]byte{0x40 | byte(header/4), 0xb8}, two(header+len(inner)), two(0x1234), two(offset),
		[]byte{63, byte(proto)}, two(0), src.AsSlice(), dst.AsSlice(), options, inner)
}

func ipv6(next int, inner []byte) []byte { return ipv6Of(src6, dst6, next, inner) }

func ipv6Of(src, dst netip.Addr, next int, inner []byte) []byte {
	return slices.Concat([]byte{0x6b, 0x80, 0, 0}, two(len(inner)), []byte{byte(next), 63}, src.AsSlice(), dst.AsSlice(), inner)
}

// options is an IPv6 extension header of units*8 bytes.
func options(next, units int, inner []byte) []byte {
	return slices.Concat([]byte{byte(next), byte(units - 1)}, make([]byte, units*8-2), inner)
}

// fragment6 has its offset in units of 8 bytes.
func fragment6(next, offset int, more bool, inner []byte) []byte {
	offset <<= 3
	if more {
		offset |= 1
	}
	return slices.Concat([]byte{byte(next), 0}, two(offset), two(0), two(0x1234), inner)
}

func udp(src, dst int, payload []byte) []byte {
	return slices.Concat(two(src), two(dst), two(8+len(payload)), two(0), payload)
}

func tcp(src, dst int, payload []byte) []byte {
	return slices.Concat(two(src), two(dst), make([]byte, 8), []byte{0x50, 0x18}, make([]byte, 6), payload)
}

func sctp(src, dst int, chunks []byte) []byte {
	return slices.Concat(two(src), two(dst), make([]byte, 8), chunks)
}

// rtpPacket is RTP of a payload type.
func rtpPacket(seq, payloadType int, ssrc uint32, payload []byte) []byte {
	b := slices.Concat([]byte{0x80, byte(payloadType)}, two(seq), two(0), two(seq*160))
	return append(binary.BigEndian.AppendUint32(b, ssrc), payload...)
}

// voice is G.711 with a sequence number that is not one of the census.
var voice = rtpPacket(7, 8, 0x11223344, make([]byte, 160))

func invite() []byte   { return []byte("INVITE sip:a@example.com SIP/2.0\r\n\r\n") }
func register() []byte { return []byte("REGISTER sip:example.com SIP/2.0\r\n\r\n") }

// over4 is a frame of UDP over IPv4.
func over4(src, dst int, payload []byte) []byte {
	return ether(0x0800, ipv4(17, udp(src, dst, payload)))
}
