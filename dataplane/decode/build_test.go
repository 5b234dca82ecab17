package decode

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"ringside/dataplane/frame"
)

// The builders below put a header before what it carries: eth(etherIPv4,
// ip4(17, udp(5060, 5062, payload))).

var (
	srcIP4 = netip.MustParseAddr("192.0.2.1")
	dstIP4 = netip.MustParseAddr("198.51.100.2")
	srcIP6 = netip.MustParseAddr("2001:db8::1")
	dstIP6 = netip.MustParseAddr("2001:db8:ffff::2")
)

func be16(v int) []byte { return binary.BigEndian.AppendUint16(nil, uint16(v)) }

func eth(etherType int, inner []byte) []byte {
	return slices.Concat([]byte{2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1}, be16(etherType), inner)
}

// tag is a VLAN tag without the EtherType that announces it.
func tag(tci, etherType int, inner []byte) []byte {
	return slices.Concat(be16(tci), be16(etherType), inner)
}

// dot3 is an 802.3 frame: a length, then LLC.
func dot3(inner []byte) []byte { return eth(len(inner), inner) }

func snap(oui uint32, etherType int, inner []byte) []byte {
	return slices.Concat([]byte{0xaa, 0xaa, 3, byte(oui >> 16), byte(oui >> 8), byte(oui)}, be16(etherType), inner)
}

func sll(hardware, protocol int, inner []byte) []byte {
	return slices.Concat(be16(0), be16(hardware), be16(6), make([]byte, 8), be16(protocol), inner)
}

func sll2(hardware, protocol int, inner []byte) []byte {
	return slices.Concat(be16(protocol), be16(0), make([]byte, 4), be16(hardware), []byte{0, 6}, make([]byte, 8), inner)
}

func null(order binary.AppendByteOrder, family uint32, inner []byte) []byte {
	return append(order.AppendUint32(nil, family), inner...)
}

// with is b after change; for headers that differ from the usual.
func with(b []byte, change func(b []byte)) []byte {
	change(b)
	return b
}

// set16 changes the 16-bit field at off.
func set16(off, v int) func([]byte) {
	return func(b []byte) { binary.BigEndian.PutUint16(b[off:], uint16(v)) }
}

func ip4(proto int, inner []byte) []byte { return ip4Options(proto, nil, inner) }

func ip4Options(proto int, options, inner []byte) []byte {
	header := 20 + len(options)
	return slices.Concat(
		[]byte{0x40 | byte(header/4), 0xb8}, be16(header+len(inner)),
		be16(0x1234), be16(0), []byte{63, byte(proto)}, be16(0),
		srcIP4.AsSlice(), dstIP4.AsSlice(), options, inner)
}

// ip4Fragment has its offset in units of 8 bytes.
func ip4Fragment(proto, offset int, more bool, inner []byte) []byte {
	if more {
		offset |= 0x2000
	}
	return with(ip4(proto, inner), set16(6, offset))
}

func ip6(next int, inner []byte) []byte {
	return slices.Concat(
		[]byte{0x6b, 0x80, 0, 0}, be16(len(inner)), []byte{byte(next), 63},
		srcIP6.AsSlice(), dstIP6.AsSlice(), inner)
}

// extension is hop-by-hop, routing or destination options of units*8 bytes.
func extension(next, units int, inner []byte) []byte {
	return slices.Concat([]byte{byte(next), byte(units - 1)}, make([]byte, units*8-2), inner)
}

func fragment6(next, offset int, more bool, inner []byte) []byte {
	offset <<= 3
	if more {
		offset |= 1
	}
	return slices.Concat([]byte{byte(next), 0}, be16(offset), be16(0), be16(0x1234), inner)
}

// authentication is an AH with a 96-bit check value: 24 bytes.
func authentication(next int, inner []byte) []byte {
	return slices.Concat([]byte{byte(next), 4}, make([]byte, 22), inner)
}

func udp(src, dst int, payload []byte) []byte {
	return slices.Concat(be16(src), be16(dst), be16(8+len(payload)), be16(0), payload)
}

func tcp(src, dst int, options, payload []byte) []byte {
	return slices.Concat(be16(src), be16(dst), make([]byte, 8),
		[]byte{byte(20+len(options)) << 2, 0x18}, make([]byte, 6), options, payload)
}

func sctp(src, dst int, chunks []byte) []byte {
	return slices.Concat(be16(src), be16(dst), make([]byte, 8), chunks)
}

// oneFrame is a batch of one frame that was captured whole.
func oneFrame(link frame.LinkType, data []byte) *frame.Batch {
	return &frame.Batch{Frames: []frame.Frame{{Data: data, Len: uint32(len(data)), Link: link}}}
}
