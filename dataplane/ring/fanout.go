package ring

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// FanoutMode is how the kernel deals the frames of an interface out to its rings.
//
// Fragments are never put together on the way (PACKET_FANOUT_FLAG_DEFRAG):
// the kernel would deliver a datagram that was never on the wire, late, and
// with the headers of its first fragment. The decoder does it where the original
// frames are kept.
type FanoutMode int

const (
	// FanoutNone is for a single ring.
	FanoutNone FanoutMode = iota

	// FanoutHash goes by the kernel's symmetric flow hash, that of the inner
	// headers in GRE and IP-in-IP. All fragments of a datagram go by addresses,
	// so they stay together, but not with the rest of their flow. Frames that
	// have a note in front all go to one ring.
	FanoutHash

	// FanoutCPU goes by the CPU that receives: ring i has the frames of CPU i,
	// modulo the rings. For what RSS or cpumap has steered.
	FanoutCPU

	// FanoutQM goes by the receive queue, modulo the rings: one queue, one ring,
	// but not by equal numbers, since the kernel counts from 1.
	FanoutQM

	// FanoutFlow goes by addresses and ports, both directions alike, by addresses
	// only for fragments, as FanoutHash does, and looks behind notes and one
	// more VLAN tag. It does not look into tunnels.
	FanoutFlow

	// FanoutEBPF asks the program of Options.FanoutProgram.
	FanoutEBPF
)

// String is the name of the mode in reports.
func (m FanoutMode) String() string {
	names := [...]string{"none", "hash", "cpu", "queue", "flow", "ebpf"}
	if m < 0 || int(m) >= len(names) {
		return fmt.Sprintf("fanout %d", int(m))
	}
	return names[m]
}

// kernelMode is the kernel's number of the mode.
func (m FanoutMode) kernelMode() int {
	switch m {
	case FanoutCPU:
		return unix.PACKET_FANOUT_CPU
	case FanoutQM:
		return unix.PACKET_FANOUT_QM
	case FanoutFlow:
		return unix.PACKET_FANOUT_CBPF
	case FanoutEBPF:
		return unix.PACKET_FANOUT_EBPF
	default:
		return unix.PACKET_FANOUT_HASH
	}
}

// join adds a socket to a fanout group, and returns the group. The first one
// makes it, with a number that nobody else uses.
func (o *Options) join(fd, group int, first bool) (int, error) {
	mode := o.Fanout.kernelMode()
	if !o.Outgoing {
		mode |= unix.PACKET_FANOUT_FLAG_IGNORE_OUTGOING // the group has a hook of its own
	}
	if first {
		mode |= unix.PACKET_FANOUT_FLAG_UNIQUEID
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_FANOUT, group|mode<<16); err != nil {
		return 0, fmt.Errorf("join fanout group (%v): %w", o.Fanout, err)
	}
	if !first {
		return group, nil
	}
	got, err := unix.GetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_FANOUT)
	if err != nil {
		return 0, fmt.Errorf("read number of fanout group: %w", err)
	}
	return got & 0xffff, nil
}

// program gives a fanout group its program. Any socket of it will do.
func (o *Options) program(fd int) error {
	var err error
	switch o.Fanout {
	case FanoutEBPF:
		err = unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_FANOUT_DATA, o.FanoutProgram)
	case FanoutFlow:
		code := flowHash()
		prog := unix.SockFprog{Len: uint16(len(code)), Filter: &code[0]}
		err = unix.SetsockoptSockFprog(fd, unix.SOL_PACKET, unix.PACKET_FANOUT_DATA, &prog)
	}
	if err != nil {
		return fmt.Errorf("set fanout program: %w", err)
	}
	return nil
}

// unmute sets the filter that the options ask for.
func (o *Options) unmute(fd int) error {
	switch {
	case o.SocketFilter > 0:
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ATTACH_BPF, o.SocketFilter); err != nil {
			return fmt.Errorf("attach eBPF socket filter: %w", err)
		}
		return nil
	case len(o.ClassicFilter) > 0:
		return attach(fd, o.cut(o.ClassicFilter))
	case o.SnapLen < wholeFrame:
		return attach(fd, o.cut([]unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K, K: wholeFrame}}))
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DETACH_FILTER, 0); err != nil {
		return fmt.Errorf("detach socket filter: %w", err)
	}
	return nil
}

// cut lets a filter keep no more than the snap length, and a note.
func (o *Options) cut(filter []unix.SockFilter) []unix.SockFilter {
	out := append([]unix.SockFilter(nil), filter...)
	for i, f := range out {
		if f.Code == unix.BPF_RET|unix.BPF_K {
			out[i].K = min(f.K, uint32(o.SnapLen+noteSize))
		}
	}
	return out
}

// Classic BPF reads what the kernel knows of a frame at these offsets
// (include/uapi/linux/filter.h).
const (
	skfProtocol = 0xfffff000 // SKF_AD_OFF + SKF_AD_PROTOCOL: ethertype, tags that were taken out not counted
	skfNetwork  = 0xfff00000 // SKF_NET_OFF: what follows the Ethernet header
)

// assembler puts a classic BPF program together.
type assembler struct{ code []unix.SockFilter }

func (a *assembler) op(code uint16, k uint32) {
	a.code = append(a.code, unix.SockFilter{Code: code, K: k})
}

// unless emits a test of the accumulator, and returns a function to be called
// where to go on if it fails. That may be further away than the 255 instructions
// of a conditional jump.
func (a *assembler) unless(k uint32) (end func()) {
	a.code = append(a.code, unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jt: 1, K: k})
	at := len(a.code)
	a.op(unix.BPF_JMP|unix.BPF_JA, 0)
	return func() { a.code[at].K = uint32(len(a.code) - at - 1) }
}

// flowHash is the program of FanoutFlow. The kernel takes what it returns modulo
// the rings.
func flowHash() []unix.SockFilter {
	const load16 = unix.BPF_LD | unix.BPF_H | unix.BPF_ABS
	var a assembler
	// The frame's own network header, one behind a further tag, one in a frame
	// behind a note, and one behind that frame's tag.
	a.op(load16, skfProtocol)
	a.network(0)
	for _, tpid := range []uint32{0x8100, 0x88a8} {
		end := a.unless(tpid)
		a.op(load16, skfNetwork+2)
		a.network(4)
		end()
	}
	const inner = noteSize // from one network header to the other
	end := a.unless(noteEthertype)
	a.op(load16, skfNetwork+inner-2)
	a.network(inner)
	tagged := a.unless(0x8100)
	a.op(load16, skfNetwork+inner+2)
	a.network(inner + 4)
	tagged()
	end()
	a.op(unix.BPF_RET|unix.BPF_K, 0)
	return a.code
}

// network returns the hash of the IP packet at offset at, if the accumulator
// holds an ethertype of IP; else it leaves that there.
func (a *assembler) network(at uint32) {
	const (
		load   = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
		load16 = unix.BPF_LD | unix.BPF_H | unix.BPF_ABS
		load8  = unix.BPF_LD | unix.BPF_B | unix.BPF_ABS
		addX   = unix.BPF_ALU | unix.BPF_ADD | unix.BPF_X
		sumAt  = 1 // scratch words
		ports  = 2
	)
	at += skfNetwork
	store := func(m uint32) { a.op(unix.BPF_ST, m) }
	recall := func(m uint32) { a.op(unix.BPF_LDX|unix.BPF_MEM, m) }
	finish := func(withPorts bool) {
		a.op(unix.BPF_LD|unix.BPF_MEM, sumAt)
		if withPorts {
			recall(ports)
			a.op(addX, 0)
		}
		a.mix()
	}
	// sum adds up the words of both addresses: the same in both directions.
	sum := func(from, words uint32) {
		a.op(load, at+from)
		for i := uint32(1); i < words; i++ {
			a.op(unix.BPF_MISC|unix.BPF_TAX, 0)
			a.op(load, at+from+4*i)
			a.op(addX, 0)
		}
		a.op(unix.BPF_ALU|unix.BPF_MUL|unix.BPF_K, 0x9e3779b1)
		store(sumAt)
	}
	// transport does the rest for each protocol that has ports where UDP has them.
	transport := func(protocol uint32, readPorts func()) {
		a.op(load8, at+protocol)
		for _, p := range []uint32{unix.IPPROTO_UDP, unix.IPPROTO_TCP, unix.IPPROTO_SCTP} {
			end := a.unless(p)
			readPorts()
			finish(true)
			end()
		}
		finish(false)
	}
	v4 := a.unless(unix.ETH_P_IP)
	sum(12, 2)
	a.op(load16, at+6)
	a.op(unix.BPF_ALU|unix.BPF_AND|unix.BPF_K, 0x3fff) // more fragments, or an offset
	whole := a.unless(0)
	transport(9, func() {
		a.op(unix.BPF_LDX|unix.BPF_B|unix.BPF_MSH, at) // X: length of the header
		a.op(unix.BPF_LD|unix.BPF_H|unix.BPF_IND, at)
		store(ports)
		a.op(unix.BPF_LD|unix.BPF_H|unix.BPF_IND, at+2)
		recall(ports)
		a.op(addX, 0)
		a.op(unix.BPF_ALU|unix.BPF_MUL|unix.BPF_K, 0x85ebca6b)
		store(ports)
	})
	whole()
	finish(false)
	v4()
	v6 := a.unless(unix.ETH_P_IPV6)
	sum(8, 8)
	transport(6, func() {
		a.op(load16, at+40)
		a.op(unix.BPF_MISC|unix.BPF_TAX, 0)
		a.op(load16, at+42)
		a.op(addX, 0)
		a.op(unix.BPF_ALU|unix.BPF_MUL|unix.BPF_K, 0x85ebca6b)
		store(ports)
	})
	v6()
}

// mix returns the accumulator with its bits spread over the lower ones.
func (a *assembler) mix() {
	for _, step := range []struct{ shift, multiply uint32 }{{16, 0x7feb352d}, {15, 0x846ca68b}, {16, 1}} {
		a.op(unix.BPF_ST, 3)
		a.op(unix.BPF_ALU|unix.BPF_RSH|unix.BPF_K, step.shift)
		a.op(unix.BPF_LDX|unix.BPF_MEM, 3)
		a.op(unix.BPF_ALU|unix.BPF_XOR|unix.BPF_X, 0)
		a.op(unix.BPF_ALU|unix.BPF_MUL|unix.BPF_K, step.multiply)
	}
	a.op(unix.BPF_RET|unix.BPF_A, 0)
}
