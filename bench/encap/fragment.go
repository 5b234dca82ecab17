package encap

import (
	"encoding/binary"
	"slices"
)

// Fragment cuts an Ethernet frame into frames whose IP packets have at most mtu
// bytes, as a router does: all but the last as long as can be. The fragments of
// IPv6 have a fragment header right behind the IPv6 header. An identification
// of 0 is replaced by one that depends on the payload. A frame that is short
// enough is returned as it is.
func Fragment(f []byte, mtu int) [][]byte {
	start, end, etherType := ipAt(f)
	link, ip := f[:start], f[start:end]
	if len(ip) <= mtu {
		return [][]byte{f}
	}
	if etherType == etherIPv6 {
		return fragment6(link, ip, mtu)
	}
	return fragment4(link, ip, mtu)
}

func fragment4(link, ip []byte, mtu int) (out [][]byte) {
	n := int(ip[0]&15) * 4
	payload := ip[n:]
	size := pieceSize(mtu - n)
	whole := int(binary.BigEndian.Uint16(ip[6:])) // not 0 if it is a fragment already
	for off := 0; off < len(payload); off += size {
		end := min(off+size, len(payload))
		h := slices.Clone(ip[:n])
		copy(h[2:], be16(n+end-off))
		if binary.BigEndian.Uint16(h[4:]) == 0 {
			copy(h[4:], be16(mix(payload)))
		}
		bits := whole&0x1fff + off/8
		if end < len(payload) || whole&0x2000 != 0 {
			bits |= 0x2000
		}
		copy(h[6:], be16(bits))
		copy(h[10:], be16(0))
		copy(h[10:], be16(sum(h)))
		out = append(out, slices.Concat(link, h, payload[off:end]))
	}
	return out
}

func fragment6(link, ip []byte, mtu int) (out [][]byte) {
	const header, extension = 40, 8
	payload := ip[header:]
	size := pieceSize(mtu - header - extension)
	for off := 0; off < len(payload); off += size {
		end := min(off+size, len(payload))
		h := slices.Clone(ip[:header])
		h[6] = 44
		copy(h[4:], be16(extension+end-off))
		bits := off
		if end < len(payload) {
			bits |= 1
		}
		out = append(out, slices.Concat(link, h, []byte{ip[6], 0}, be16(bits), be32(mix(payload)|0x10000), payload[off:end]))
	}
	return out
}

// pieceSize is how much of a payload goes into a fragment with that much room.
func pieceSize(room int) int {
	if room < 8 {
		panic("an mtu without room for a fragment")
	}
	return room &^ 7
}
