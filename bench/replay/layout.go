package replay

import (
	"encoding/binary"
	"hash/crc32"
	"math/bits"
)

const (
	protoTCP  = 6
	protoUDP  = 17
	protoSCTP = 132
)

// layout says where the headers of a frame begin. Tunnels are payload.
type layout struct {
	ip      int // of the IP header; 0: there is none
	l4      int // of the transport header; 0: none, or in an earlier fragment
	sum     int // of the transport's checksum; 0: there is none
	payload int // of the transport's payload; 0: none
	end     int // behind the last byte of the IP packet
	proto   uint8
	v6      bool
	part    bool // a fragment
}

// layoutOf reads the headers of an Ethernet frame as far as they are there.
func layoutOf(f []byte) (l layout) {
	be := binary.BigEndian
	n := 12
	for ; n+4 <= len(f); n += 4 {
		if t := be.Uint16(f[n:]); t != 0x8100 && t != 0x88a8 && t != 0x9100 {
			break
		}
	}
	if n+2 > len(f) {
		return layout{}
	}
	ip := f[n+2:]
	var head int
	switch t := be.Uint16(f[n:]); {
	case t == 0x0800 && len(ip) >= 20 && ip[0]>>4 == 4:
		head = int(ip[0]&15) * 4
		l.end = min(len(ip), int(be.Uint16(ip[2:])))
		if head < 20 || head > l.end {
			return layout{}
		}
		l.proto = ip[9]
		at := be.Uint16(ip[6:])
		l.part = at&0x3fff != 0
		if at&0x1fff != 0 {
			l.ip, l.end = n+2, n+2+l.end
			return l
		}
	case t == 0x86dd && len(ip) >= 40 && ip[0]>>4 == 6:
		l.v6 = true
		l.end = min(len(ip), 40+int(be.Uint16(ip[4:])))
		var later bool
		if head, later = l.extensions(ip); later {
			l.ip, l.end = n+2, n+2+l.end
			return l
		}
	default:
		return layout{}
	}
	l.ip, l.end = n+2, n+2+l.end
	l.transport(f, l.ip+head)
	return l
}

// extensions walks the extension headers of IPv6 (RFC 8200 section 4). It
// returns where the transport header begins, or that it is in an earlier fragment.
func (l *layout) extensions(ip []byte) (head int, later bool) {
	head, l.proto = 40, ip[6]
	for head+8 <= l.end {
		size := 8 * (int(ip[head+1]) + 1)
		switch l.proto {
		case 0, 43, 60: // hop-by-hop, routing, destination options
		case 44: // fragment
			l.part = true
			if binary.BigEndian.Uint16(ip[head+2:])>>3 != 0 {
				return 0, true
			}
			size = 8
		default:
			return head, false
		}
		l.proto = ip[head]
		head += size
	}
	return head, false
}

// transport notes the header at l4, if all of it is there.
func (l *layout) transport(f []byte, l4 int) {
	if l4 > l.end {
		return
	}
	t := f[l4:l.end]
	switch {
	case l.proto == protoUDP && len(t) >= 8:
		l.l4, l.payload = l4, l4+8
		if t[6] != 0 || t[7] != 0 { // 0: sent without (RFC 768)
			l.sum = l4 + 6
		}
	case l.proto == protoTCP && len(t) >= 20:
		if head := int(t[12]>>4) * 4; head >= 20 && head <= len(t) {
			l.l4, l.sum, l.payload = l4, l4+16, l4+head
		}
	case l.proto == protoSCTP && len(t) >= 12:
		l.l4, l.sum, l.payload = l4, l4+8, l4+12
	}
}

// addresses are where the source and the destination address are.
func (l *layout) addresses() (from, to int) {
	if l.v6 {
		return l.ip + 8, l.ip + 40
	}
	return l.ip + 12, l.ip + 20
}

// replace puts b into the frame at a place, and mends the checksums that cover
// it (RFC 1624). A checksum that was wrong stays wrong. That of SCTP is left to reseal.
func (l *layout) replace(f []byte, at int, b []byte) {
	from, to := at&^1, min((at+len(b)+1)&^1, len(f))
	old := sum(f[from:to])
	copy(f[at:], b)
	if l.ip == 0 || at < l.ip || at >= l.end {
		return
	}
	delta := uint32(^fold(old)) + sum(f[from:to])
	addrs, rest := l.addresses()
	if !l.v6 && at < l.ip+int(f[l.ip]&15)*4 {
		mend(f[l.ip+10:], delta)
	}
	if l.sum != 0 && l.proto != protoSCTP && (at >= l.l4 || at >= addrs && at < rest) {
		mend(f[l.sum:], delta)
		if l.proto == protoUDP && f[l.sum] == 0 && f[l.sum+1] == 0 {
			f[l.sum], f[l.sum+1] = 0xff, 0xff // 0 would mean "no checksum" (RFC 768)
		}
	}
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// reseal computes the checksum of an SCTP packet anew (RFC 9260 appendix A).
func (l *layout) reseal(f []byte) {
	if l.proto != protoSCTP || l.sum == 0 || l.part {
		return
	}
	copy(f[l.sum:], []byte{0, 0, 0, 0})
	binary.LittleEndian.PutUint32(f[l.sum:], crc32.Checksum(f[l.l4:l.end], castagnoli))
}

// hash is the same for all frames between two addresses, in both directions.
func (l *layout) hash(f []byte) uint32 {
	if l.ip == 0 {
		return 0
	}
	from, to := l.addresses()
	half := (to - from) / 2
	h := fnv(f[from:from+half]) + fnv(f[from+half:to])
	h ^= h >> 16
	h *= 0x85ebca6b
	return h ^ h>>13
}

func fnv(b []byte) uint32 {
	h := uint32(2166136261)
	for _, c := range b {
		h = (h ^ uint32(c)) * 16777619
	}
	return h
}

// mend applies a difference to the checksum that b begins with.
func mend(b []byte, delta uint32) {
	binary.BigEndian.PutUint16(b, ^fold(uint32(^binary.BigEndian.Uint16(b))+delta))
}

// sum is the ones' complement sum of b in 16-bit words, in less than 17 bits.
func sum(b []byte) uint32 {
	var s, carry uint64
	for len(b) >= 8 {
		s, carry = bits.Add64(s, binary.BigEndian.Uint64(b), carry)
		b = b[8:]
	}
	s, carry = bits.Add64(s, 0, carry)
	s += carry
	t := s>>48 + s>>32&0xffff + s>>16&0xffff + s&0xffff
	for ; len(b) >= 2; b = b[2:] {
		t += uint64(b[0])<<8 | uint64(b[1])
	}
	if len(b) == 1 {
		t += uint64(b[0]) << 8
	}
	return uint32(fold(uint32(t)))
}

func fold(s uint32) uint16 {
	s = s>>16 + s&0xffff
	s = s>>16 + s&0xffff
	return uint16(s)
}
