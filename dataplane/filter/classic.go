package filter

import (
	"slices"

	"golang.org/x/sys/unix"

	"ringside/dataplane/frame"
)

// Places in an untagged Ethernet frame, in bytes.
const (
	atEtherType = 12
	atIP        = 14
	atFragment  = atIP + 6
	atProto4    = atIP + 9
	atSrc4      = atIP + 12
	atDst4      = atIP + 16
	atNext6     = atIP + 6
	atSrc6      = atIP + 8
	atDst6      = atIP + 24
	atPorts6    = atIP + ip6Len
)

// maxClassic is how many instructions the kernel takes (BPF_MAXINSNS in
// linux/bpf_common.h).
const maxClassic = 4096

// snap is what a filter returns to take a frame: more bytes than it has.
const snap = 1 << 18

// Classic is a program of classic BPF for a packet socket on Ethernet. It
// refuses frames of which it is sure that they yield no packet that Match
// accepts: whole UDP, TCP or SCTP right behind an untagged IPv4 or IPv6 header.
// Everything else it takes: fragments, what may be a tunnel, tagged frames,
// extension headers, other protocols. vxlan are ports of VXLAN beside the usual
// ones. Where an expression is too long, or asks for nothing that a program
// can answer, it takes all frames.
func (f *Filter) Classic(vxlan ...uint16) []unix.SockFilter {
	c := classic{filter: f, tunnels: append(slices.Clone(tunnelPorts), vxlan...)}
	c.op(unix.BPF_LD|unix.BPF_H|unix.BPF_ABS, atEtherType)
	four := c.jump(unix.BPF_JEQ, unix.ETH_P_IP)
	six := c.jump(unix.BPF_JEQ, unix.ETH_P_IPV6)
	c.take()
	c.land(four)
	c.version4()
	c.land(six)
	c.version6()
	if len(c.code) > maxClassic || c.open == 0 {
		return []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K, K: snap}}
	}
	return c.code
}

// classic emits a program. A conditional jump reaches 255 instructions at most,
// so each is followed by one without a condition where the way may be longer.
type classic struct {
	filter  *Filter
	tunnels []uint16
	code    []unix.SockFilter
	six     bool
	open    int // tests that were answered by the frame
}

func (c *classic) op(code uint16, k uint32) {
	c.code = append(c.code, unix.SockFilter{Code: code, K: k})
}

// take ends with the frame taken.
func (c *classic) take() { c.op(unix.BPF_RET|unix.BPF_K, snap) }

// jump goes where land says if the comparison holds, and on otherwise.
func (c *classic) jump(compare uint16, k uint32) (from int) {
	c.code = append(c.code, unix.SockFilter{Code: unix.BPF_JMP | compare | unix.BPF_K, Jf: 1, K: k})
	c.op(unix.BPF_JMP|unix.BPF_JA, 0)
	return len(c.code) - 1
}

// land makes jumps lead here.
func (c *classic) land(from ...int) {
	for _, at := range from {
		c.code[at].K = uint32(len(c.code) - at - 1)
	}
}

// takeIf takes the frame if the comparison holds.
func (c *classic) takeIf(compare uint16, k uint32) {
	c.code = append(c.code, unix.SockFilter{Code: unix.BPF_JMP | compare | unix.BPF_K, Jf: 1, K: k})
	c.take()
}

func (c *classic) version4() {
	c.op(unix.BPF_LD|unix.BPF_H|unix.BPF_ABS, atFragment)
	c.takeIf(unix.BPF_JSET, 0x3fff) // more fragments, or an offset
	c.op(unix.BPF_LD|unix.BPF_B|unix.BPF_ABS, atProto4)
	c.op(unix.BPF_LDX|unix.BPF_B|unix.BPF_MSH, atIP) // the length of the header
	c.transports()
}

func (c *classic) version6() {
	c.six = true
	for _, at := range []uint32{atSrc6, atDst6} {
		// IPv4-mapped addresses are IPv4 to the decoder, whatever carries them.
		c.op(unix.BPF_LD|unix.BPF_W|unix.BPF_ABS, at+8)
		c.takeIf(unix.BPF_JEQ, 0xffff)
	}
	c.op(unix.BPF_LD|unix.BPF_B|unix.BPF_ABS, atNext6)
	c.transports()
}

// transports takes what is no plain transport, or may be a tunnel in UDP. The
// protocol is in A.
func (c *classic) transports() {
	plain := []int{c.jump(unix.BPF_JEQ, uint32(frame.ProtoTCP)), c.jump(unix.BPF_JEQ, uint32(frame.ProtoSCTP))}
	udp := c.jump(unix.BPF_JEQ, uint32(frame.ProtoUDP))
	c.take()
	c.land(udp)
	for _, end := range []uint32{0, 2} {
		c.loadPort(end)
		for _, port := range c.tunnels {
			c.takeIf(unix.BPF_JEQ, uint32(port))
		}
	}
	c.land(plain...)
	c.tests()
}

// loadPort loads the source port, or with 2 the destination port.
func (c *classic) loadPort(end uint32) {
	if c.six {
		c.op(unix.BPF_LD|unix.BPF_H|unix.BPF_ABS, atPorts6+end)
		return
	}
	c.op(unix.BPF_LD|unix.BPF_H|unix.BPF_IND, atIP+end)
}

// tests emits the filter's program for one version of IP. Its last two
// instructions take the frame and refuse it.
func (c *classic) tests() {
	begin := make([]int, len(c.filter.code))
	type leap struct {
		from int
		to   int32
	}
	var leaps []leap
	entry := func(to int32) {
		c.op(unix.BPF_JMP|unix.BPF_JA, 0)
		leaps = append(leaps, leap{len(c.code) - 1, to})
	}
	entry(c.filter.entry)
	for i := range c.filter.code {
		in := &c.filter.code[i]
		begin[i] = len(c.code)
		yes, always, ok := c.test(in)
		if !ok { // in doubt, in favour of the frame
			always = !in.neg
		} else {
			c.open++
		}
		switch {
		case len(yes) == 0 && always:
			entry(in.yes)
		default:
			entry(in.no)
			c.land(yes...)
			if len(yes) > 0 {
				entry(in.yes)
			}
		}
	}
	taken := len(c.code)
	c.take()
	c.op(unix.BPF_RET|unix.BPF_K, 0)
	for _, l := range leaps {
		to := taken
		switch {
		case l.to >= 0:
			to = begin[l.to]
		case l.to == reject:
			to = taken + 1
		}
		c.code[l.from].K = uint32(to - l.from - 1)
	}
}

// test emits a test. The jumps in yes are taken where it holds, and it goes on
// where it does not; with none, always says the answer. ok is false if the
// frame cannot answer.
func (c *classic) test(in *instr) (yes []int, always, ok bool) {
	switch in.kind {
	case testNever:
		return nil, false, true
	case testVersion:
		return nil, c.is(in.version), true
	case testProto:
		if !c.is(in.version) {
			return nil, false, true
		}
		at := uint32(atProto4)
		if c.six {
			at = atNext6
		}
		c.op(unix.BPF_LD|unix.BPF_B|unix.BPF_ABS, at)
		return []int{c.jump(unix.BPF_JEQ, uint32(in.proto))}, false, true
	case testPort:
		return c.port(in), false, true
	case testAddr:
		if !c.is(in.version) {
			return nil, false, true
		}
		return c.addr(in), false, true
	}
	return nil, false, false
}

// is reports whether a test of version (0: any) is one of the frames at hand.
func (c *classic) is(version uint8) bool { return version == 0 || (version == 6) == c.six }

// port emits a test of ports.
func (c *classic) port(in *instr) (yes []int) {
	at := uint32(atProto4)
	if c.six {
		at = atNext6
	}
	c.op(unix.BPF_LD|unix.BPF_B|unix.BPF_ABS, at)
	var ours, none []int
	for _, proto := range []uint8{frame.ProtoTCP, frame.ProtoUDP, frame.ProtoSCTP} {
		if in.proto&portBit(proto) != 0 {
			ours = append(ours, c.jump(unix.BPF_JEQ, uint32(proto)))
		}
	}
	c.op(unix.BPF_JMP|unix.BPF_JA, 0)
	none = append(none, len(c.code)-1)
	c.land(ours...)
	return c.ends(in.dir, none, func(dst bool) (hit, miss []int) {
		end := uint32(0)
		if dst {
			end = 2
		}
		c.loadPort(end)
		if in.lo == in.hi {
			return []int{c.jump(unix.BPF_JEQ, uint32(in.lo))}, nil
		}
		over := c.jump(unix.BPF_JGT, uint32(in.hi))
		return []int{c.jump(unix.BPF_JGE, uint32(in.lo))}, []int{over}
	})
}

// addr emits a test of addresses.
func (c *classic) addr(in *instr) (yes []int) {
	return c.ends(in.dir, nil, func(dst bool) (hit, miss []int) {
		if !c.six {
			at := uint32(atSrc4)
			if dst {
				at = atDst4
			}
			c.masked(at, uint32(in.mask.Lo))
			return []int{c.jump(unix.BPF_JEQ, uint32(in.addr.Lo))}, nil
		}
		at := uint32(atSrc6)
		if dst {
			at = atDst6
		}
		for i, word := range [4][2]uint32{
			{uint32(in.mask.Hi >> 32), uint32(in.addr.Hi >> 32)}, {uint32(in.mask.Hi), uint32(in.addr.Hi)},
			{uint32(in.mask.Lo >> 32), uint32(in.addr.Lo >> 32)}, {uint32(in.mask.Lo), uint32(in.addr.Lo)},
		} {
			if word[0] == 0 {
				continue
			}
			c.masked(at+4*uint32(i), word[0])
			same := c.jump(unix.BPF_JEQ, word[1])
			c.op(unix.BPF_JMP|unix.BPF_JA, 0)
			miss = append(miss, len(c.code)-1)
			c.land(same)
		}
		c.op(unix.BPF_JMP|unix.BPF_JA, 0)
		return []int{len(c.code) - 1}, miss
	})
}

// masked loads the bits of mask of the word at at.
func (c *classic) masked(at, mask uint32) {
	c.op(unix.BPF_LD|unix.BPF_W|unix.BPF_ABS, at)
	if mask != ^uint32(0) {
		c.op(unix.BPF_ALU|unix.BPF_AND|unix.BPF_K, mask)
	}
}

// ends asks one end or both. half emits the test of one end: hit are jumps
// where it holds, miss further jumps where it does not. The jumps of none lead
// on behind all of it.
func (c *classic) ends(dir direction, none []int, half func(dst bool) (hit, miss []int)) (yes []int) {
	if dir != dstEnd {
		hit, miss := half(false)
		switch dir {
		case bothEnds:
			c.op(unix.BPF_JMP|unix.BPF_JA, 0)
			none = append(append(none, miss...), len(c.code)-1)
			c.land(hit...)
		default:
			yes = append(yes, hit...)
			c.land(miss...)
		}
	}
	if dir != srcEnd {
		hit, miss := half(true)
		yes = append(yes, hit...)
		c.land(miss...)
	}
	c.land(none...)
	return yes
}
