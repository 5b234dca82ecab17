package filter

import (
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// kernel runs classic programs in the kernel: as the filter of a socket that
// receives frames as datagrams.
type kernel struct {
	to, from int
	buf      []byte
}

func newKernel(t *testing.T) *kernel {
	t.Helper()
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, fd := range ends {
			if err := unix.Close(fd); err != nil {
				t.Error(err)
			}
		}
	})
	return &kernel{ends[0], ends[1], make([]byte, 1<<17)}
}

// load puts program before the receiving end.
func (k *kernel) load(t *testing.T, program []unix.SockFilter) {
	t.Helper()
	if len(program) > maxClassic {
		t.Fatalf("a program of %d instructions", len(program))
	}
	fprog := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	if err := unix.SetsockoptSockFprog(k.from, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &fprog); err != nil {
		t.Fatalf("the kernel takes no such program of %d instructions: %v", len(program), os.NewSyscallError("setsockopt", err))
	}
}

// takes reports whether the program takes data.
func (k *kernel) takes(t *testing.T, data []byte) bool {
	t.Helper()
	if _, err := unix.Write(k.to, data); err != nil {
		t.Fatal(os.NewSyscallError("write", err))
	}
	n, err := unix.Read(k.from, k.buf)
	if err == unix.EAGAIN {
		return false
	}
	if err != nil || n != len(data) {
		t.Fatalf("%d bytes of %d came: %v", n, len(data), err)
	}
	return true
}

// Whatever Match takes, the kernel takes; and what it may refuse, it does.
func TestClassic(t *testing.T) {
	samples := readSamples(t, 12)
	var plain []sample
	for _, s := range samples {
		if s.plain() {
			plain = append(plain, s)
		}
	}
	random := rand.New(rand.NewPCG(3, 4))
	list := append([]string{}, expressions...)
	for range 150 {
		list = append(list, randomExpression(random, plain, 3))
	}
	k := newKernel(t)
	refused, should := 0, 0
	for _, e := range list {
		f, err := Parse(e)
		if err != nil {
			t.Fatal(err)
		}
		k.load(t, f.Classic())
		exact := !strings.ContainsAny(e, "[=<>") && !strings.Contains(e, "cast") && !strings.Contains(e, "less") && !strings.Contains(e, "greater")
		for i := range samples {
			s := &samples[i]
			match, taken := f.match(&s.packet, s.tunnel, &s.frame), k.takes(t, s.frame.Data)
			if match && !taken {
				t.Errorf("%q: the kernel refuses %v > %v protocol %d, tunnel %+v, that matches", e, s.packet.Src, s.packet.Dst, s.packet.Proto, s.tunnel)
			}
			if !match && exact && surely(s) {
				should++
				if taken {
					t.Errorf("%q: the kernel takes %v > %v protocol %d, that does not match", e, s.packet.Src, s.packet.Dst, s.packet.Proto)
				}
			}
			if !taken {
				refused++
			}
		}
	}
	t.Logf("%d expressions on %d packets: %d refused, of %d that had to be", len(list), len(samples), refused, should)
	if refused == 0 || should == 0 {
		t.Error("nothing was refused")
	}
}

// surely reports whether a program of the kernel must answer for s as Match
// does: it is plain, and may be no tunnel.
func surely(s *sample) bool {
	if !s.plain() || reasons[0].is("", s) {
		return false
	}
	for _, port := range tunnelPorts {
		if s.packet.Src.Port == port || s.packet.Dst.Port == port {
			return false
		}
	}
	return true
}

// What is no plain packet passes, whatever the expression.
func TestClassicPasses(t *testing.T) {
	k := newKernel(t)
	f, err := Parse("tcp port 1 and host 192.0.2.99")
	if err != nil {
		t.Fatal(err)
	}
	k.load(t, f.Classic(9999))
	frame6 := func(next byte) []byte {
		b := make([]byte, 40, 48)
		b[0], b[6] = 0x60, next
		d := ether(append(b, udpTo(5060, nil)...))
		d[12], d[13] = 0x86, 0xdd
		return d
	}
	mapped := frame6(17)
	mapped[48], mapped[49] = 0xff, 0xff
	typed := func(etherType uint16) []byte {
		d := ether(ip4(0, false, udpTo(5060, nil)))
		d[12], d[13] = byte(etherType>>8), byte(etherType)
		return d
	}
	other := ether(ip4(0, false, udpTo(5060, nil)))
	other[23] = protoGRE
	for _, tc := range []struct {
		name  string
		data  []byte
		taken bool
	}{
		{"plain", ether(ip4(0, false, udpTo(5060, nil))), false},
		{"plain IPv6", frame6(17), false},
		{"first fragment", ether(ip4(0, true, udpTo(5060, nil))), true},
		{"later fragment", ether(ip4(800, false, udpTo(5060, nil))), true},
		{"last fragment at 8", ether(ip4(8, false, udpTo(5060, nil))), true},
		{"fragment of IPv6", frame6(44), true},
		{"hop-by-hop options", frame6(0), true},
		{"GRE", other, true},
		{"IP in IPv6", frame6(4), true},
		{"IPv6 with an IPv4-mapped address", mapped, true},
		{"VXLAN", ether(ip4(0, false, udpTo(4789, nil))), true},
		{"VXLAN of its own port", ether(ip4(0, false, udpTo(9999, nil))), true},
		{"GTP", ether(ip4(0, false, udpTo(2152, nil))), true},
		{"VLAN", typed(0x8100), true},
		{"QinQ", typed(0x88a8), true},
		{"MPLS", typed(0x8847), true},
		{"PPPoE", typed(0x8864), true},
		{"802.3", typed(60), true},
		{"a note before the frame", typed(0x88b5), true},
	} {
		if taken := k.takes(t, tc.data); taken != tc.taken {
			t.Errorf("%s: taken %v, want %v", tc.name, taken, tc.taken)
		}
	}
}

// Programs that would be too long, or could refuse nothing, take all.
func TestClassicTakesAll(t *testing.T) {
	for _, e := range []string{"", "udp[8] = 5", "vlan 5", "ether host 00:11:22:33:44:55", "host 10.0.0.1" + strings.Repeat(" or 2001:db8::1", 300)} {
		f, err := Parse(e)
		if err != nil {
			t.Fatal(err)
		}
		if program := f.Classic(); len(program) != 1 || program[0].K == 0 {
			t.Errorf("%.30q: a program of %d instructions, want one that takes all", e, len(program))
		}
	}
}
