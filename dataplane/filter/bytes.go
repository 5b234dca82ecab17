package filter

import (
	"encoding/binary"
	"fmt"

	"ringside/dataplane/frame"
)

// opcode is a step of an arithmetic expression, or a comparison.
type opcode uint8

const (
	opNumber opcode = iota // push value
	opLength               // push the length of the frame
	opLoad                 // replace the offset on top by the bytes there
	opNegate
	opAdd
	opSub
	opMul
	opDiv
	opMod
	opAnd
	opOr
	opXor
	opShiftLeft
	opShiftRight

	opGreater
	opGreaterEqual
	opEqual
	opLessEqual
	opLess
	opNotEqual
)

// IP headers, in place of the number of a transport (253 and 254 are for
// experiments, RFC 3692).
const (
	headIP4 uint8 = 253
	headIP6 uint8 = 254
)

// step is one of them. Values are of 32 bits and wrap, as in BPF.
type step struct {
	op    opcode
	proto uint8 // opLoad: a transport, headIP4 or headIP6
	size  uint8 // opLoad: 1, 2 or 4 bytes
	value uint32
}

// relation compares what two lists of steps leave on the stack.
type relation struct {
	steps   []step // of both sides, the left one first
	compare opcode
	loads   bool // reads bytes of the packet
}

// maxStack bounds how much an arithmetic expression may hold.
const maxStack = 16

// framed reports whether the relation asks for the length of the frame.
func (r *relation) framed() bool {
	for _, s := range r.steps {
		if s.op == opLength {
			return true
		}
	}
	return false
}

// lengthRelation compares the length of the frame with n.
func lengthRelation(compare opcode, n uint32) *relation {
	return &relation{steps: []step{{op: opLength}, {op: opNumber, value: n}}, compare: compare}
}

// applies reports whether p has all the headers that the relation reads.
func (r *relation) applies(p *frame.Packet) bool {
	for i := range r.steps {
		s := &r.steps[i]
		switch {
		case s.op != opLoad:
		case s.proto == headIP4:
			if !p.Src.Addr.Is4() {
				return false
			}
		case s.proto == headIP6:
			if p.Src.Addr.Is4() {
				return false
			}
		case s.proto != p.Proto:
			return false
		}
	}
	return true
}

// holds computes the relation for p. ok is false if it reads beyond the packet,
// or what is not known of it, or divides by zero.
func (r *relation) holds(p *frame.Packet, length uint32) (holds, ok bool) {
	var stack [maxStack]uint32
	n := 0
	for i := range r.steps {
		s := &r.steps[i]
		switch s.op {
		case opNumber:
			stack[n] = s.value
			n++
			continue
		case opLength:
			stack[n] = length
			n++
			continue
		case opLoad:
			v, ok := load(p, s.proto, stack[n-1], uint32(s.size))
			if !ok {
				return false, false
			}
			stack[n-1] = v
			continue
		case opNegate:
			stack[n-1] = -stack[n-1]
			continue
		}
		n--
		v, ok := calculate(s.op, stack[n-1], stack[n])
		if !ok {
			return false, false
		}
		stack[n-1] = v
	}
	a, b := stack[0], stack[1]
	switch r.compare {
	case opGreater:
		return a > b, true
	case opGreaterEqual:
		return a >= b, true
	case opEqual:
		return a == b, true
	case opLessEqual:
		return a <= b, true
	case opLess:
		return a < b, true
	}
	return a != b, true
}

func calculate(op opcode, a, b uint32) (uint32, bool) {
	switch op {
	case opAdd:
		return a + b, true
	case opSub:
		return a - b, true
	case opMul:
		return a * b, true
	case opDiv:
		if b == 0 {
			return 0, false
		}
		return a / b, true
	case opMod:
		if b == 0 {
			return 0, false
		}
		return a % b, true
	case opAnd:
		return a & b, true
	case opOr:
		return a | b, true
	case opXor:
		return a ^ b, true
	case opShiftLeft:
		return a << b, true
	}
	return a >> b, true
}

// Lengths of headers without options, in bytes.
const (
	ip4Len  = 20
	ip6Len  = 40
	udpLen  = 8
	tcpLen  = 20
	sctpLen = 12
)

// Bytes of headers that a decoded packet has no knowledge of, as bits.
const (
	hidden4    = 1<<6 | 1<<7 | 1<<10 | 1<<11 // fragment offset and flags, checksum
	hidden6    = 1<<2 | 1<<3                 // flow label
	hiddenUDP  = 1<<6 | 1<<7                 // checksum
	hiddenTCP  = 0x3f << 14                  // window, checksum, urgent pointer
	hiddenSCTP = 0xff << 4                   // tag, checksum
)

// headerOf is the length of a header of proto and its hidden bytes.
func headerOf(proto uint8) (n uint32, hidden uint64) {
	switch proto {
	case headIP4:
		return ip4Len, hidden4
	case headIP6:
		return ip6Len, hidden6
	case frame.ProtoUDP:
		return udpLen, hiddenUDP
	case frame.ProtoTCP:
		return tcpLen, hiddenTCP
	}
	return sctpLen, hiddenSCTP
}

// hiddenAt says why n bytes at off cannot be read; empty if they can. Beyond
// the first header they may be or not, by what follows.
func hiddenAt(proto uint8, off, n uint32) string {
	end, hidden := headerOf(proto)
	for i := off; i < off+n && i < end; i++ {
		if hidden>>i&1 != 0 {
			return fmt.Sprintf("byte %d of the header is not kept by the decoder", i)
		}
	}
	return ""
}

// load reads n bytes at off from the header of proto on: headers as they are
// without options, then the payload.
func load(p *frame.Packet, proto uint8, off, n uint32) (uint32, bool) {
	start := uint32(0) // of the transport header
	var hidden uint64
	if proto == headIP4 || proto == headIP6 {
		start, hidden = headerOf(proto)
	}
	length, h := headerOf(p.Proto)
	hidden |= h << start
	length += start
	if uint64(off) >= uint64(length) {
		return number(p.Payload, uint64(off)-uint64(length), n)
	}
	var b [ip6Len + tcpLen]byte
	if start > 0 {
		networkHeader(p, b[:start])
	}
	transportHeader(p, b[start:length])
	v := uint32(0)
	for i := uint64(off); i < uint64(off)+uint64(n); i++ {
		switch {
		case i < uint64(length):
			if hidden>>i&1 != 0 {
				return 0, false
			}
			v = v<<8 | uint32(b[i])
		case i-uint64(length) < uint64(len(p.Payload)):
			v = v<<8 | uint32(p.Payload[i-uint64(length)])
		default:
			return 0, false
		}
	}
	return v, true
}

// number is the n bytes at off.
func number(b []byte, off uint64, n uint32) (v uint32, ok bool) {
	if off+uint64(n) > uint64(len(b)) {
		return 0, false
	}
	for _, c := range b[off : off+uint64(n)] {
		v = v<<8 | uint32(c)
	}
	return v, true
}

// networkHeader fills in the IP header of p, of 20 or 40 bytes.
func networkHeader(p *frame.Packet, b []byte) {
	n, _ := headerOf(p.Proto)
	if len(b) == ip4Len {
		b[0], b[1] = 0x45, p.DSCP<<2
		binary.BigEndian.PutUint16(b[2:], uint16(ip4Len+n+p.Len))
		binary.BigEndian.PutUint16(b[4:], p.ID)
		b[8], b[9] = p.TTL, p.Proto
		binary.BigEndian.PutUint32(b[12:], uint32(p.Src.Addr.Lo))
		binary.BigEndian.PutUint32(b[16:], uint32(p.Dst.Addr.Lo))
		return
	}
	b[0], b[1] = 0x60|p.DSCP>>2, p.DSCP<<6
	binary.BigEndian.PutUint16(b[4:], uint16(n+p.Len))
	b[6], b[7] = p.Proto, p.TTL
	binary.BigEndian.PutUint64(b[8:], p.Src.Addr.Hi)
	binary.BigEndian.PutUint64(b[16:], p.Src.Addr.Lo)
	binary.BigEndian.PutUint64(b[24:], p.Dst.Addr.Hi)
	binary.BigEndian.PutUint64(b[32:], p.Dst.Addr.Lo)
}

// transportHeader fills in the transport header of p.
func transportHeader(p *frame.Packet, b []byte) {
	binary.BigEndian.PutUint16(b, p.Src.Port)
	binary.BigEndian.PutUint16(b[2:], p.Dst.Port)
	switch p.Proto {
	case frame.ProtoUDP:
		binary.BigEndian.PutUint16(b[4:], uint16(udpLen+p.Len))
	case frame.ProtoTCP:
		binary.BigEndian.PutUint32(b[4:], p.SeqNo)
		binary.BigEndian.PutUint32(b[8:], p.AckNo)
		b[12], b[13] = tcpLen/4<<4, p.Control
	}
}
