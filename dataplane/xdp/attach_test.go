package xdp

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ringside/bench/netns"
	"ringside/bpf"
	"ringside/dataplane/frame"
)

// patience is how long a condition may take on a busy machine.
const patience = 30 * time.Second

func until(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			tb.Fatalf("%s: not within %v", what, patience)
		}
	}
}

// linked is a veth between two namespaces; tests capture on side B.
func linked(tb testing.TB) *netns.Link {
	tb.Helper()
	if err := netns.Supported(); err != nil {
		tb.Skip(err)
	}
	l, err := netns.Pair(2)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := l.Close(); err != nil {
			tb.Error(err)
		}
	})
	return l
}

// opens opens a filter on side B.
func opens(tb testing.TB, l *netns.Link, o Options) *Filter {
	tb.Helper()
	o.Iface = l.Side(netns.B).Iface
	var f *Filter
	if err := l.Do(netns.B, func() (err error) {
		f, err = Open(o)
		return err
	}); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := f.Close(); err != nil {
			tb.Error(err)
		}
	})
	return f
}

// listens is a packet socket on a side, which sees all protocols; program is attached, if it is not -1.
func listens(tb testing.TB, l *netns.Link, side, program int) int {
	tb.Helper()
	fd := -1
	if err := l.Do(side, func() (err error) {
		if fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0); err != nil {
			return err
		}
		if program >= 0 {
			if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ATTACH_BPF, program); err != nil {
				return err
			}
		}
		if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 200000}); err != nil {
			return err
		}
		all := uint16(unix.ETH_P_ALL<<8 | unix.ETH_P_ALL>>8)
		return unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: l.Side(side).Index})
	}); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { unix.Close(fd) })
	return fd
}

// receive is the next frame of a socket, nil if there is none.
func receive(tb testing.TB, fd int) []byte {
	tb.Helper()
	b := make([]byte, 1<<16)
	for {
		n, from, err := unix.Recvfrom(fd, b, 0)
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EAGAIN):
			return nil
		case err != nil:
			tb.Fatal(err)
		case from.(*unix.SockaddrLinklayer).Pkttype != unix.PACKET_OUTGOING:
			return b[:n]
		}
	}
}

func send(tb testing.TB, fd int, frames ...[]byte) {
	tb.Helper()
	for _, data := range frames {
		for {
			_, err := unix.Write(fd, data)
			if errors.Is(err, unix.EINTR) || errors.Is(err, unix.ENOBUFS) {
				continue
			}
			if err != nil {
				tb.Fatal(err)
			}
			break
		}
	}
}

// attached says whether an XDP program is on the interface of side B.
func attached(tb testing.TB, l *netns.Link) bool {
	tb.Helper()
	out, err := l.Command(context.Background(), netns.B, "ip", "-d", "link", "show", "dev", l.Side(netns.B).Iface).CombinedOutput()
	if err != nil {
		tb.Fatalf("%v: %s", err, out)
	}
	return bytes.Contains(out, []byte("xdp"))
}

// packets is how many frames the rows of a reason have counted.
func packets(tb testing.TB, f *Filter, verdict, reason string) uint64 {
	tb.Helper()
	for _, r := range mustStats(tb, f).Rows {
		if r.Verdict == verdict && r.Reason == reason {
			return r.Packets
		}
	}
	tb.Fatalf("no row %s, %s", verdict, reason)
	return 0
}

// TestAttach runs the filter on an interface in each mode: what it says, what the host sees, and
// that nothing is left.
func TestAttach(t *testing.T) {
	l := linked(t)
	for _, tc := range []struct {
		ask, get Mode
	}{{Auto, Native}, {Native, Native}, {Generic, Generic}} {
		t.Run(tc.ask.String(), func(t *testing.T) {
			f := opens(t, l, Options{Dedicated: true, Mode: tc.ask, Settings: DefaultSettings(), MeterSlots: 64})
			if f.Mode() != tc.get || (f.Why() == "") != (tc.get == Native) || f.SocketFilter() != -1 {
				t.Fatalf("mode %s (%s), socket filter %d", f.Mode(), f.Why(), f.SocketFilter())
			}
			if !attached(t, l) {
				t.Fatal("no program on the interface")
			}
			if err := f.Publish(frame.Endpoint{Addr: frame.AddrFrom(dst4), Port: 20002}, Media{Policy: HeaderOnly}); err != nil {
				t.Fatal(err)
			}
			in, out := listens(t, l, netns.B, -1), listens(t, l, netns.A, -1)
			rtpFrame, sip := over4(20000, 20002, voice), over4(5060, 5060, invite())
			send(t, out, over4(53, 53, voice), rtpFrame, over4(20004, 20006, voice), sip)
			note := receive(t, in)
			if len(note) != 32+54 || !bytes.Equal(note[32:], rtpFrame[:54]) || binary.BigEndian.Uint16(note[12:]) != 0x88b5 {
				t.Errorf("the note is % x", note)
			}
			// The frame's time is that of the host's clock.
			offset, err := clockOffset()
			if err != nil {
				t.Fatal(err)
			}
			var now unix.Timespec
			if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
				t.Fatal(err)
			}
			if at := int64(binary.LittleEndian.Uint64(note[24:])); at > offset+now.Nano() || at < offset {
				t.Errorf("metered at %d, now it is %d", at, offset+now.Nano())
			}
			if got := receive(t, in); !bytes.Equal(got, sip) {
				t.Errorf("the host sees % x", got)
			}
			for _, row := range [][2]string{{Drop, "other"}, {Delivered, "RTP header"}, {Metered, "RTP"}, {Pass, "SIP"}} {
				until(t, row[1], func() bool { return packets(t, f, row[0], row[1]) == 1 })
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			until(t, "detach", func() bool { return !attached(t, l) })
		})
	}
}

// TestNoXDP wants capturing to go on where XDP cannot be had, and to say why.
func TestNoXDP(t *testing.T) {
	l := linked(t)
	first := opens(t, l, Options{Dedicated: true, Settings: DefaultSettings()})
	for _, tc := range []struct {
		name string
		o    Options
		why  string
	}{
		{"another program", Options{Dedicated: true}, "another XDP program is there"},
		{"native asked", Options{Dedicated: true, Mode: Native}, "native mode"},
		{"not wanted", Options{Dedicated: true, Mode: None}, "as asked"},
		{"shared", Options{}, "shared with the host"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.o.Settings, tc.o.MeterSlots, tc.o.Feeds = DefaultSettings(), 1024, 1 // not to be had there
			f := opens(t, l, tc.o)
			if f.Mode() != None || !strings.Contains(f.Why(), tc.why) || f.SocketFilter() < 0 || f.Meters() != nil || len(f.Feeds()) > 0 {
				t.Errorf("mode %s, why %q, socket filter %d", f.Mode(), f.Why(), f.SocketFilter())
			}
		})
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if f, err := Open(Options{Iface: "no-such-iface", Dedicated: true, Settings: DefaultSettings()}); err != nil || f.Mode() != None {
		t.Errorf("an interface that is not there: %v", err)
	} else if err := f.Close(); err != nil {
		t.Error(err)
	}
	if _, err := Open(Options{Settings: Settings{RTP: RTP{Rule: InRange}}}); err == nil {
		t.Error("settings that make no sense were taken")
	}
}

// TestSocketFilter runs the rules on a socket: it sees what they take, the host everything.
func TestSocketFilter(t *testing.T) {
	l := linked(t)
	f := opens(t, l, Options{Settings: DefaultSettings(), MeterSlots: 64})
	in, host := listens(t, l, netns.B, f.SocketFilter()), listens(t, l, netns.B, -1)
	out := listens(t, l, netns.A, -1)
	for port, policy := range map[uint16]Policy{20002: Meter, 20004: HeaderOnly, 20006: Full} {
		if err := f.Publish(frame.Endpoint{Addr: frame.AddrFrom(dst4), Port: port}, Media{Policy: policy}); err != nil {
			t.Fatal(err)
		}
	}
	padded := append([]byte{0xa0}, voice[1:]...)
	padded[len(padded)-1] = 4
	whole := 14 + 20 + 8 + 172
	cases := []struct {
		name  string
		frame []byte
		take  int // bytes
	}{
		{"SIP", over4(5060, 5060, invite()), len(over4(5060, 5060, invite()))},
		{"SIP in a VLAN", ether(0x8100, tagged(7, 0x0800, ipv4(17, udp(5060, 5060, invite())))), len(over4(5060, 5060, invite()))}, // its tag is beside it
		{"SIP in VXLAN", encapsulated(t, "vxlan", over4(5060, 5060, invite())), len(encapsulated(t, "vxlan", over4(5060, 5060, invite())))},
		{"RTP of nobody", over4(20000, 20010, voice), whole},
		{"RTP to be metered", over4(20000, 20002, voice), 14 + 20 + 8 + 12 + 16},
		{"RTP headers", over4(20000, 20004, voice), 14 + 20 + 8 + 12 + 16},
		{"RTP to be recorded", over4(20000, 20006, voice), whole},
		{"padding", over4(20000, 20002, padded), whole},
		{"a digit", over4(20000, 20002, rtpPacket(9, 101, 1, make([]byte, 4))), 14 + 20 + 8 + 16},
		{"other", over4(53, 53, voice), 0},
	}
	for _, tc := range cases {
		send(t, out, tc.frame)
		if tc.take == 0 {
			continue
		}
		got := receive(t, in)
		if len(got) != tc.take {
			t.Errorf("%s: %d bytes taken, want %d", tc.name, len(got), tc.take)
		}
		if len(got) > 0 && tc.name != "SIP in a VLAN" && !bytes.Equal(got, tc.frame[:len(got)]) {
			t.Errorf("%s: the frame was changed", tc.name)
		}
	}
	if got := receive(t, in); got != nil {
		t.Errorf("%d bytes more were taken", len(got))
	}
	for range cases {
		if receive(t, host) == nil {
			t.Error("the host has missed a frame")
		}
	}
	if n := mustStats(t, f); n.Received().Packets != uint64(len(cases)) {
		t.Errorf("%d frames counted, want %d", n.Received().Packets, len(cases))
	}
	wanted := map[[2]string]uint64{{Pass, "SIP"}: 3, {Pass, "RTP"}: 4, {Cut, "RTP"}: 2, {Drop, "other"}: 1}
	for row, n := range wanted {
		if got := packets(t, f, row[0], row[1]); got != n {
			t.Errorf("%v: %d frames, want %d", row, got, n)
		}
	}
}

// TestSteering sends flows in both directions through cpumap: all that was sent to another
// CPU arrives, and both directions and all fragments of a flow on one.
func TestSteering(t *testing.T) {
	if runtime.NumCPU() < 2 {
		t.Skip("needs two CPUs")
	}
	l := linked(t)
	s := DefaultSettings()
	s.CPUs = []int{0, 1}
	f := opens(t, l, Options{Dedicated: true, Settings: s})
	in, out := listens(t, l, netns.B, -1), listens(t, l, netns.A, -1)
	arrivedOn := func() (on [2]uint64) {
		var each []bpf.PrefilterRsTraffic
		if err := f.objects.Maps[bpf.PrefilterMapRsSteering].Lookup(uint32(arrivedAt), &each); err != nil {
			t.Fatal(err)
		}
		return [2]uint64{each[0].Packets, each[1].Packets}
	}
	const flows = 1000
	sent, before := uint64(0), [2]uint64{}
	for i := range flows {
		port := 10000 + 7*i
		there, back := between("192.0.2.1", "198.51.100.2", port, 5060, invite()), between("198.51.100.2", "192.0.2.1", 5060, port, invite())
		send(t, out, there, back)
		sent += 2
		until(t, "arrival", func() bool { n := arrivedOn(); return n[0]+n[1] == sent })
		now := arrivedOn()
		if now[0]-before[0] == 1 {
			t.Fatalf("the directions of flow %d went to different CPUs", i)
		}
		before = now
	}
	if n := before[0]; n < flows*9/10 || n > flows*11/10 {
		t.Errorf("%d of %d frames on the first CPU", n, 2*flows)
	}
	for id := range 20 {
		first := ipv4Of(src4, dst4, 17, nil, 0x2000, udp(5060, 5060+id, append(invite(), make([]byte, 100)...)))
		last := ipv4Of(src4, dst4, 17, nil, 20, make([]byte, 64))
		first[5], last[5] = byte(id), byte(id)
		send(t, out, ether(0x0800, first), ether(0x0800, last))
		sent += 2
		until(t, "arrival of fragments", func() bool { n := arrivedOn(); return n[0]+n[1] == sent })
		now := arrivedOn()
		if now[0]-before[0] == 1 {
			t.Fatalf("fragments of datagram %d went to different CPUs", id)
		}
		before = now
	}
	if st := mustStats(t, f); st.Steered.Packets != sent || st.Arrived.Packets != sent || st.Steered.Bytes != st.Arrived.Bytes {
		t.Errorf("%d sent, steered %+v, arrived %+v", sent, st.Steered, st.Arrived)
	}
	if receive(t, in) == nil {
		t.Error("the host sees nothing of what was steered")
	}
	s.CPUs = nil
	if err := f.Set(s); err != nil {
		t.Fatal(err)
	}
	send(t, out, over4(5060, 5060, invite()))
	until(t, "a frame that is not steered", func() bool { return packets(t, f, Pass, "SIP")+packets(t, f, Pass, "fragment of passed") == sent+1 })
	if st := mustStats(t, f); st.Steered.Packets != sent {
		t.Errorf("steered %d, want %d as before", st.Steered.Packets, sent)
	}
}

// TestReattach takes the interface away and gives it back.
func TestReattach(t *testing.T) {
	l := linked(t)
	f := opens(t, l, Options{Dedicated: true, Settings: DefaultSettings()})
	again := func() error { return l.Do(netns.B, f.Reattach) }
	if err := again(); err != nil || !attached(t, l) {
		t.Fatalf("reattach what is attached: %v", err)
	}
	ip := func(args ...string) {
		t.Helper()
		if out, err := l.Command(context.Background(), netns.B, "ip", args...).CombinedOutput(); err != nil {
			t.Fatalf("ip %v: %v: %s", args, err, out)
		}
	}
	name := l.Side(netns.B).Iface
	ip("link", "del", name)
	if err := again(); err == nil {
		t.Error("attached to an interface that is not there")
	}
	ip("link", "add", name, "type", "veth", "peer", "name", "other")
	if attached(t, l) {
		t.Fatal("attached by itself")
	}
	if err := again(); err != nil || !attached(t, l) || f.Mode() != Native {
		t.Errorf("reattach: %v, mode %s", err, f.Mode())
	}
}

// TestNothingLeft opens and closes filters, and wants no descriptor and no goroutine more than before.
func TestNothingLeft(t *testing.T) {
	l := linked(t)
	open := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	s := DefaultSettings()
	s.Allow = prefixes("0.0.0.0/0", "::/0")
	cycle := func(o Options) {
		f := opens(t, l, o)
		if err := errors.Join(f.Set(s), f.Set(s), f.Close(), f.Close()); err != nil {
			t.Fatal(err)
		}
		if f.Set(s) == nil {
			t.Error("a closed filter takes settings")
		}
	}
	cycle(Options{Dedicated: true, Settings: s, MeterSlots: 64}) // what the library keeps for itself
	descriptors, goroutines := open(), runtime.NumGoroutine()
	for range 3 {
		cycle(Options{Dedicated: true, Settings: s, MeterSlots: 64})
		cycle(Options{Settings: s})
		cycle(Options{Dedicated: true, Mode: Generic, Settings: s})
	}
	if n := open(); n != descriptors {
		t.Errorf("%d descriptors, before %d", n, descriptors)
	}
	until(t, "end of goroutines", func() bool { return runtime.NumGoroutine() <= goroutines })
}

// childOf is how TestKilled tells the process that it starts what to do.
const childOf = "RINGSIDE_XDP_TEST_IFACE"

// TestKilled kills a process that filters, and wants the kernel to take the program away.
func TestKilled(t *testing.T) {
	if iface := os.Getenv(childOf); iface != "" {
		f, err := Open(Options{Iface: iface, Dedicated: true, Settings: DefaultSettings(), MeterSlots: 64})
		if err != nil || f.Mode() != Native {
			t.Fatalf("%v, %+v", err, f)
		}
		os.Stdout.WriteString("ready\n")
		select {}
	}
	l := linked(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := l.Command(context.Background(), netns.B, self, "-test.run", "^TestKilled$")
	c.Env = append(os.Environ(), childOf+"="+l.Side(netns.B).Iface)
	c.Stderr = os.Stderr
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	killed := false
	defer func() {
		if !killed {
			c.Process.Kill()
			c.Wait()
		}
	}()
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || line != "ready\n" {
		t.Fatalf("the filtering process said %q: %v", line, err)
	}
	if !attached(t, l) {
		t.Fatal("no program on the interface")
	}
	if err := c.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	var exit *exec.ExitError
	if err := c.Wait(); !errors.As(err, &exit) {
		t.Fatalf("the process was not killed: %v", err)
	}
	killed = true
	until(t, "detach after kill -9", func() bool { return !attached(t, l) })
}
