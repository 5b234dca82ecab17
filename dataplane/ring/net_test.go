package ring

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ringside/dataplane/frame"
)

// patience is for how long a test waits for what must happen.
const patience = 60 * time.Second

var spaces atomic.Int32

// space puts the test, which keeps to its thread from now on, into a network
// namespace of its own with a veth of four queues: "vtx", from which frames are
// sent, and "vrx", on which they arrive.
func space(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("not root: no network namespace, no capture")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("no program ip (Debian: apt-get install iproute2)")
	}
	runtime.LockOSThread()
	before, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprintf("rsring-%d-%d", os.Getpid(), spaces.Add(1))
	ip(t, "netns", "add", name)
	t.Cleanup(func() {
		if err := unix.Setns(int(before.Fd()), unix.CLONE_NEWNET); err != nil {
			t.Errorf("leave network namespace: %v", err)
			return // the thread stays locked, and ends with the test
		}
		_ = before.Close()
		ip(t, "netns", "del", name)
		runtime.UnlockOSThread()
	})
	in, err := os.Open("/run/netns/" + name)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if err := unix.Setns(int(in.Fd()), unix.CLONE_NEWNET); err != nil {
		t.Fatal(err)
	}
	pair(t)
}

// pair makes the veth in the namespace of the thread.
func pair(t testing.TB) {
	t.Helper()
	ip(t, "link", "add", "vtx", "numtxqueues", "4", "numrxqueues", "4", "type", "veth",
		"peer", "name", "vrx", "numtxqueues", "4", "numrxqueues", "4")
	for _, dev := range []string{"vtx", "vrx"} {
		ip(t, "link", "set", dev, "arp", "off", "multicast", "off", "addrgenmode", "none", "up")
	}
	carriers(t, "vtx", "vrx")
}

// carriers waits until the interfaces take what is sent on them. The kernel
// learns of a carrier in the background, and until then drops without a word
// (linkwatch_do_dev, under the lock that "set up" takes).
func carriers(t testing.TB, devs ...string) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	for _, dev := range devs {
		eventually(t, "carrier of "+dev, func() bool {
			r, err := unix.NewIfreq(dev)
			return err == nil && unix.IoctlIfreq(fd, unix.SIOCGIFFLAGS, r) == nil && r.Uint16()&unix.IFF_RUNNING != 0
		})
		ip(t, "link", "set", dev, "up")
	}
}

func ip(t testing.TB, args ...string) {
	t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v: %s", strings.Join(args, " "), err, out)
	}
}

// counter is one of the statistics of an interface, of this thread's namespace.
// /sys shows the namespace of whoever mounted it, so netlink is asked.
func counter(t testing.TB, dev, which string) uint64 {
	t.Helper()
	out, err := exec.Command("ip", "-s", "-s", "link", "show", "dev", dev).CombinedOutput()
	if err != nil {
		t.Fatalf("ip link show %s: %v: %s", dev, err, out)
	}
	lines := strings.Split(string(out), "\n")
	for i, line := range lines {
		if strings.HasPrefix(strings.TrimSpace(line), which[:2]+":") && i+1 < len(lines) {
			names, values := strings.Fields(line), strings.Fields(lines[i+1])
			for k, n := range names {
				if n == which[3:] && k-1 >= 0 && k-1 < len(values) {
					v, err := strconv.ParseUint(values[k-1], 10, 64)
					if err != nil {
						t.Fatal(err)
					}
					return v
				}
			}
		}
	}
	t.Fatalf("no counter %s of %s in %s", which, dev, out)
	return 0
}

// sender sends frames as they are.
type sender struct {
	t  testing.TB
	fd int
}

func newSender(t testing.TB, dev string) *sender {
	t.Helper()
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	s := &sender{t, fd}
	t.Cleanup(s.close)
	r, err := unix.NewIfreq(dev)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, r); err != nil {
		t.Fatal(err)
	}
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Ifindex: int(r.Uint32())}); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *sender) close() {
	if s.fd >= 0 {
		_ = unix.Close(s.fd)
		s.fd = -1
	}
}

// send sends a frame. veth takes it or says that a queue on the way is full
// (ENOBUFS): then it is sent again, so that what was sent has arrived.
func (s *sender) send(b []byte) {
	end := time.Now().Add(patience)
	for {
		_, err := unix.Write(s.fd, b)
		if err == nil {
			return
		}
		if !errors.Is(err, unix.ENOBUFS) && !errors.Is(err, unix.EINTR) || time.Now().After(end) {
			s.t.Fatalf("send: %v", err)
		}
		runtime.Gosched()
	}
}

// datagram is a UDP datagram in Ethernet: n is in its payload, flow in its
// source port.
func datagram(n uint64, flow, size int) []byte {
	b := make([]byte, size)
	copy(b, []byte{2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x08, 0x00})
	p := b[14:]
	p[0], p[8], p[9] = 0x45, 64, unix.IPPROTO_UDP
	binary.BigEndian.PutUint16(p[2:], uint16(len(p)))
	copy(p[12:], []byte{10, 0, 0, 1, 10, 0, 0, 2})
	binary.BigEndian.PutUint16(p[20:], uint16(10000+flow))
	binary.BigEndian.PutUint16(p[22:], 20000)
	binary.BigEndian.PutUint16(p[24:], uint16(len(p)-20))
	binary.BigEndian.PutUint64(p[28:], n)
	for i := 36; i < len(p); i++ {
		p[i] = byte(n) + byte(i)
	}
	return b
}

// tagged puts a VLAN tag into a frame.
func tagged(b []byte, tpid, tci uint16) []byte {
	out := append([]byte(nil), b[:12]...)
	out = binary.BigEndian.AppendUint16(out, tpid)
	out = binary.BigEndian.AppendUint16(out, tci)
	return append(out, b[12:]...)
}

func open(t testing.TB, o Options) *Set {
	t.Helper()
	if o.Iface == "" {
		o.Iface = "vrx"
	}
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// read hands the frames of a ring to do until it has had n of them, or io.EOF
// comes if n is negative.
func read(t testing.TB, r *Ring, n int, do func(*frame.Frame)) (got int) {
	t.Helper()
	last := r.clock
	for end := time.Now().Add(patience); n < 0 || got < n; {
		b, err := r.Next()
		if errors.Is(err, io.EOF) && n < 0 {
			return got
		}
		if err != nil {
			t.Fatalf("after %d frames: %v", got, err)
		}
		if b == nil {
			if time.Now().After(end) {
				t.Fatalf("%d frames in %v, want %d: %+v", got, patience, n, r.Stats())
			}
			continue
		}
		for i := range b.Frames {
			f := &b.Frames[i]
			if f.Clock <= last || f.Clock < f.Time {
				t.Fatalf("frame %d: clock %d, time %d, clock before %d", got, f.Clock, f.Time, last)
			}
			last = f.Clock
			do(f)
			got++
		}
		if r.Mark() <= last {
			t.Fatalf("mark %d is not beyond clock %d", r.Mark(), last)
		}
		b.Release()
	}
	return got
}

// eventually waits for a condition.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not in %v: %s", patience, what)
		}
	}
}

// descriptors are those that the process has open, and what on.
func descriptors(t testing.TB) (out []string) {
	t.Helper()
	all, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range all {
		if to, err := os.Readlink(fd); err == nil {
			out = append(out, to)
		}
	}
	return out
}
