package decode

import (
	"encoding/binary"

	"ringside/dataplane/frame"
)

// Steer is a hash for sharing frames among workers: equal for all frames of a
// flow in both directions, by the addresses and ports of the innermost headers
// that the Decoder reads. It keeps nothing and may be called from anywhere.
//
// Fragments, of which only the first has ports, go by addresses and protocol,
// as do protocols without ports: so all fragments of a datagram and of both
// directions come together. They come to another worker than the unfragmented
// packets of the same flow, in general. What is not IP hashes to 0.
func Steer(f *frame.Frame) uint32 {
	var h headers
	if r := walk(f, &h); r != none && r != FragmentLater {
		return 0
	}
	if h.fragment {
		return symmetric(&h, h.fragOf, 0, 0)
	}
	switch h.proto {
	case frame.ProtoUDP, frame.ProtoTCP, frame.ProtoSCTP:
		if h.off+4 <= len(f.Data) && h.off+4 <= h.end {
			ports := f.Data[h.off : h.off+4]
			return symmetric(&h, 0, binary.BigEndian.Uint16(ports), binary.BigEndian.Uint16(ports[2:]))
		}
	}
	return symmetric(&h, h.proto, 0, 0)
}

// symmetric mixes the endpoints by their sum and their exclusive or, which do
// not change when they are swapped and leave little else in common. It is
// cheaper than frame.FlowHash, which has to be good in all of its 64 bits.
func symmetric(h *headers, proto uint8, srcPort, dstPort uint16) uint32 {
	const (
		mixA = 0x9e3779b97f4a7c15 // golden ratio
		mixB = 0xd6e8feb86659fd93
	)
	// Of an IPv4-mapped address, the upper 16 bits of Lo are free for the port.
	a := h.src.Lo ^ h.src.Hi*mixB ^ uint64(srcPort)<<48
	b := h.dst.Lo ^ h.dst.Hi*mixB ^ uint64(dstPort)<<48
	x := (a+b+uint64(proto))*mixA ^ (a^b)*mixB
	x ^= x >> 32
	x *= mixA
	return uint32(x >> 32)
}
