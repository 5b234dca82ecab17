package nic

import (
	"errors"
	"net"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"ringside/bench/netns"
)

// pair is two namespaces joined by a veth.
func pair(t *testing.T) *netns.Link {
	t.Helper()
	if err := netns.Supported(); err != nil {
		t.Skip(err)
	}
	l, err := netns.Pair(2)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// open opens the interface of one end, in its namespace.
func open(t *testing.T, l *netns.Link, side int) *NIC {
	t.Helper()
	var n *NIC
	if err := l.Do(side, func() (err error) { n, err = Open(l.Side(side).Iface); return err }); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	return n
}

// ip runs ip(8) in the namespace of one end.
func ip(t *testing.T, l *netns.Link, side int, line string) {
	t.Helper()
	if out, err := l.Command(t.Context(), side, "ip", strings.Fields(line)...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v: %s", line, err, out)
	}
}

// send sends n frames of 100 bytes from side A.
func send(t *testing.T, l *netns.Link, n int) {
	t.Helper()
	frame := make([]byte, 100)
	copy(frame, l.Side(netns.B).MAC)
	copy(frame[6:], l.Side(netns.A).MAC)
	frame[12], frame[13] = 0x88, 0xb6 // local experiments: nobody answers
	err := l.Do(netns.A, func() error {
		i, err := net.InterfaceByName(l.Side(netns.A).Iface)
		if err != nil {
			return err
		}
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		for range n {
			if err := unix.Sendto(fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: i.Index}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// patience is how long a condition may take to come true on a busy machine.
const patience = 60 * time.Second

// wait asks until the answer is yes.
func wait(t *testing.T, what string, yes func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !yes(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// ready waits until n can send: not only has it a link, its queue runs, too, which
// the kernel sees to a little later.
func ready(t *testing.T, n *NIC) {
	t.Helper()
	wait(t, "the interface to be ready", func() bool {
		n.mu.Lock()
		defer n.mu.Unlock()
		l, err := n.find()
		return err == nil && l.flags&unix.IFF_RUNNING != 0
	})
}

func TestCounters(t *testing.T) {
	l := pair(t)
	a := open(t, l, netns.A)
	ready(t, a)
	sent, err := a.Counters()
	if err != nil {
		t.Fatal(err)
	}
	send(t, l, 5) // before Open: not counted
	b := open(t, l, netns.B)
	read := func(n *NIC) Counters {
		c, err := n.Counters()
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	base := read(b)
	const frames = 300
	send(t, l, frames)
	wait(t, "frames to be counted", func() bool { return read(b).Packets-base.Packets >= frames })
	c := read(b)
	if c.Packets-base.Packets != frames || c.Bytes-base.Bytes != frames*100 || c.Lost != 0 || c.Dropped > frames || c.Errors != 0 || c.Resets != 0 {
		t.Errorf("received %+v", c)
	}
	if len(c.Queues) != 2 || len(c.Losses) != 2 {
		t.Errorf("queues %+v, losses %+v: want 2 of each", c.Queues, c.Losses)
	}
	if c := read(a); c.SentPackets-sent.SentPackets != frames+5 || c.SentBytes-sent.SentBytes != (frames+5)*100 || c.Packets != 0 {
		t.Errorf("sent %+v", c)
	}
	// What the receiver is down for is dropped by the sender's side.
	ip(t, l, netns.B, "link set "+l.Side(netns.B).Iface+" down")
	ip(t, l, netns.B, "link set "+l.Side(netns.B).Iface+" up")
	ready(t, a)
	send(t, l, 7)
	wait(t, "frames after down and up", func() bool { return read(b).Packets-base.Packets >= frames+7 })
	if c := read(b); c.Packets-base.Packets != frames+7 || c.Resets != 0 {
		t.Errorf("after down and up %+v", c)
	}
}

// Counters go on over a rename, and over an interface that is made anew.
func TestFollow(t *testing.T) {
	l := pair(t)
	a, b := open(t, l, netns.A), open(t, l, netns.B)
	ready(t, a)
	send(t, l, 10)
	packets := func(want uint64) {
		t.Helper()
		wait(t, "packets", func() bool {
			c, err := b.Counters()
			return err == nil && c.Packets >= want
		})
		if c, err := b.Counters(); err != nil || c.Packets != want {
			t.Fatalf("%d packets, %v, want %d", c.Packets, err, want)
		}
	}
	packets(10)
	iface, peer := l.Side(netns.B).Iface, l.Side(netns.A).Iface
	ip(t, l, netns.B, "link set "+iface+" down")
	ip(t, l, netns.B, "link set "+iface+" name other")
	ip(t, l, netns.B, "link set other up")
	packets(10)
	if b.Name() != "other" {
		t.Errorf("the name is %s, want other", b.Name())
	}
	ready(t, a)
	send(t, l, 5)
	packets(15)

	ip(t, l, netns.B, "link del other")
	c, err := b.Counters()
	if !errors.Is(err, ErrGone) || c.Packets != 15 {
		t.Errorf("of an interface that is gone: %v, %d packets, want 15", err, c.Packets)
	}
	if _, err := b.State(); !errors.Is(err, ErrGone) {
		t.Errorf("state of an interface that is gone: %v", err)
	}
	ip(t, l, netns.A, "link add "+peer+" type veth peer name "+iface+" netns "+l.Side(netns.B).Namespace)
	ip(t, l, netns.A, "link set "+peer+" multicast off")
	ip(t, l, netns.B, "link set "+iface+" multicast off")
	ip(t, l, netns.A, "link set "+peer+" addrgenmode none up")
	ip(t, l, netns.B, "link set "+iface+" addrgenmode none up")
	ready(t, a)
	send(t, l, 3)
	packets(18)
	if c, _ := b.Counters(); c.Resets != 1 || b.Name() != iface {
		t.Errorf("%d resets, name %s", c.Resets, b.Name())
	}
}

func TestOpenErrors(t *testing.T) {
	for _, name := range []string{"no-such-iface", "", "a-name-that-is-longer-than-any", "a/b"} {
		if n, err := Open(name); !errors.Is(err, ErrGone) {
			t.Errorf("%q: %v, want that it is gone", name, err)
			if n != nil {
				n.Close()
			}
		}
	}
}

// Nothing is left open, also where opening fails.
func TestDescriptors(t *testing.T) {
	count := func() int {
		list, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	before := count()
	for range 10 {
		if _, err := Open("no-such-iface"); err == nil {
			t.Fatal("opened")
		}
		n, err := Open("lo")
		if err != nil {
			t.Fatal(err)
		}
		w, err := NewWatch("lo")
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // the second does nothing
			if err := errors.Join(n.Close(), w.Close()); err != nil {
				t.Fatal(err)
			}
		}
	}
	if after := count(); after != before {
		t.Errorf("%d descriptors, %d before", after, before)
	}
}

func TestLoopback(t *testing.T) {
	n, err := Open("lo")
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	s, err := n.State()
	if err != nil || s.Index != 1 || s.NUMA != -1 || !strings.HasPrefix(s.Shared(), "lo is the loopback interface") {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestState(t *testing.T) {
	l := pair(t)
	b := open(t, l, netns.B)
	side := l.Side(netns.B)
	state := func() State {
		t.Helper()
		s, err := b.State()
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	wait(t, "the link", func() bool { return state().Carrier })
	s := state()
	if s.Name != side.Iface || s.Index != side.Index || s.MAC.String() != side.MAC.String() || !s.Up || s.MTU != 1500 || s.Kind != "veth" || s.Driver != "veth" ||
		s.Speed != 10000 || s.Queues != 2 || s.MaxQueues != 2 || s.NUMA != -1 || !reflect.DeepEqual(s.Offloads, []string{"rx-vlan-stag-hw-parse"}) || s.XDP != (XDP{}) || s.Promisc || s.Master != "" {
		t.Errorf("%+v", s)
	}
	if s.Shared() != side.Iface+" has the address "+side.IPv4.String() || !slices.Contains(s.Addresses, side.IPv4) || s.DefaultRoute {
		t.Errorf("shared %q, addresses %v, default route %v", s.Shared(), s.Addresses, s.DefaultRoute)
	}
	ip(t, l, netns.B, "route add default via "+l.Side(netns.A).IPv4.Addr().String())
	if s := state(); !s.DefaultRoute || !strings.Contains(s.Shared(), "a default route leads to "+side.Iface) {
		t.Errorf("default route %v, shared %q", s.DefaultRoute, s.Shared())
	}
	ip(t, l, netns.B, "route flush dev "+side.Iface)
	ip(t, l, netns.B, "addr flush dev "+side.Iface)
	ip(t, l, netns.B, "link set "+side.Iface+" promisc on mtu 9000")
	if s := state(); s.Shared() != "" || !s.Promisc || s.MTU != 9000 {
		t.Errorf("without addresses: shared %q, %+v", s.Shared(), s)
	}
	ip(t, l, netns.B, "link set "+side.Iface+" down")
	if s := state(); s.Up || s.Carrier {
		t.Errorf("down: %+v", s)
	}
}

// What stands on an interface makes it a shared one.
func TestStacked(t *testing.T) {
	for _, tc := range []struct {
		name string
		make []string // the interface is IF
		want string
		kind func(*State) bool
	}{
		{"bridge", []string{"link add br0 type bridge", "link set IF master br0", "addr add 198.18.7.1/24 dev br0"}, "br0 has the address 198.18.7.1/24",
			func(s *State) bool { return s.Master == "br0" }},
		{"bond", []string{"link add bond0 type bond", "link set IF down", "link set IF master bond0", "addr add 198.18.7.1/24 dev bond0"}, "bond0 has the address 198.18.7.1/24",
			func(s *State) bool { return s.Master == "bond0" }},
		{"vlan", []string{"link add link IF name IF.7 type vlan id 7", "addr add 198.18.7.1/24 dev IF.7"}, "IF.7 has the address 198.18.7.1/24",
			func(s *State) bool { return s.Master == "" }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l := pair(t)
			b := open(t, l, netns.B)
			iface := l.Side(netns.B).Iface
			ip(t, l, netns.B, "addr flush dev "+iface)
			for i, line := range tc.make {
				line = strings.ReplaceAll(line, "IF", iface)
				if out, err := l.Command(t.Context(), netns.B, "ip", strings.Fields(line)...).CombinedOutput(); err != nil && i == 0 {
					t.Skipf("this kernel has no %s: %s", tc.name, out)
				} else if err != nil {
					t.Fatalf("ip %s: %v: %s", line, err, out)
				}
			}
			s, err := b.State()
			if err != nil || s.Shared() != strings.ReplaceAll(tc.want, "IF", iface) || !tc.kind(&s) {
				t.Errorf("shared %q, %+v, %v", s.Shared(), s, err)
			}
			if s.Master == "" {
				return
			}
			var master *NIC
			if err := l.Do(netns.B, func() (err error) { master, err = Open(s.Master); return err }); err != nil {
				t.Fatal(err)
			}
			defer master.Close()
			if m, err := master.State(); err != nil || !reflect.DeepEqual(m.Slaves, []string{iface}) || m.Kind != tc.name {
				t.Errorf("master %+v, %v", m, err)
			}
		})
	}
}

func TestOffloads(t *testing.T) {
	l := pair(t)
	b := open(t, l, netns.B)
	offloads := func() []string {
		t.Helper()
		s, err := b.State()
		if err != nil {
			t.Fatal(err)
		}
		return s.Offloads
	}
	if out, err := l.Command(t.Context(), netns.B, "ethtool", "-K", l.Side(netns.B).Iface, "tx", "on", "sg", "on").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out) // which segmentation needs
	}
	for _, name := range []string{"gro", "gso", "tso", "rxvlan"} {
		if err := b.SetOffload(name, true); err != nil {
			t.Fatal(err)
		}
	}
	found := offloads()
	for _, name := range []string{"rx-gro", "tx-generic-segmentation", "tx-tcp-segmentation", "tx-tcp6-segmentation", "rx-vlan-hw-parse"} {
		if !slices.Contains(found, name) {
			t.Errorf("%s is not on: %q", name, found)
		}
	}
	stay, restore, err := b.Quiet()
	if err != nil {
		t.Fatal(err)
	}
	if len(stay) != 0 || len(offloads()) != 0 {
		t.Errorf("on after all: %q, %q", stay, offloads())
	}
	if err := b.SetOffload("rxvlan", true); err != nil || !slices.Equal(offloads(), []string{"rx-vlan-hw-parse"}) {
		t.Errorf("%v, on: %q", err, offloads())
	}
	if err := restore(); err != nil || !slices.Equal(offloads(), found) {
		t.Errorf("%v, restored %q, found %q", err, offloads(), found)
	}
	// What was off stays off.
	if err := b.SetOffload("gro", false); err != nil {
		t.Fatal(err)
	}
	found = offloads()
	if _, restore, err = b.Quiet(); err != nil {
		t.Fatal(err)
	}
	if err := restore(); err != nil || !slices.Equal(offloads(), found) || slices.Contains(found, "rx-gro") {
		t.Errorf("%v, restored %q, found %q", err, offloads(), found)
	}
	if err := b.SetOffload("no-such-offload", true); err == nil || !strings.Contains(err.Error(), "no-such-offload") {
		t.Errorf("an offload that is not there: %v", err)
	}
	ip(t, l, netns.B, "link del "+l.Side(netns.B).Iface)
	if err := restore(); err != nil {
		t.Errorf("restore an interface that is gone: %v", err)
	}
	if _, _, err := b.Quiet(); !errors.Is(err, ErrGone) {
		t.Errorf("quiet an interface that is gone: %v", err)
	}
}

func TestWatch(t *testing.T) {
	l := pair(t)
	iface, peer := l.Side(netns.B).Iface, l.Side(netns.A).Iface
	var w *Watch
	if err := l.Do(netns.B, func() (err error) { w, err = NewWatch(iface); return err }); err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	last := 0 // number of the interface
	expect := func(name string, changes ...Change) {
		t.Helper()
		for _, want := range changes {
			var e Event
			wait(t, want.String(), func() bool {
				var err error
				if e, err = w.Next(time.Second); err != nil {
					t.Fatal(err)
				}
				return e.Change != None
			})
			if e.Change != want || e.Name != name || e.Index == 0 || want != Created && e.Index != last {
				t.Fatalf("%v of %s (%d), want %v of %s (%d)", e.Change, e.Name, e.Index, want, name, last)
			}
			last = e.Index
		}
	}
	expect(iface, Created, Up)
	ip(t, l, netns.B, "link set "+iface+" down")
	expect(iface, Down)
	ip(t, l, netns.B, "link set "+iface+" name other")
	expect("other", Renamed)
	ip(t, l, netns.B, "link set other up")
	expect("other", Up)
	ip(t, l, netns.A, "link set "+peer+" down") // no link any more
	expect("other", Down)
	ip(t, l, netns.A, "link set "+peer+" up")
	expect("other", Up)
	ip(t, l, netns.B, "link set lo mtu 9000") // others do not matter
	ip(t, l, netns.B, "link set other mtu 9000")
	ip(t, l, netns.B, "link del other")
	expect("other", Down, Removed)
	ip(t, l, netns.A, "link add "+peer+" type veth peer name "+iface+" netns "+l.Side(netns.B).Namespace)
	expect(iface, Created)
	ip(t, l, netns.A, "link set "+peer+" up")
	ip(t, l, netns.B, "link set "+iface+" up")
	expect(iface, Up)
	if e, err := w.Next(0); err != nil || e.Change != None {
		t.Errorf("one more change: %+v, %v", e, err)
	}
	// After more was said than the socket holds, what is gets asked for.
	if err := unix.SetsockoptInt(w.netlink.fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 1); err != nil {
		t.Fatal(err)
	}
	for range 40 {
		ip(t, l, netns.B, "link set "+iface+" down")
		ip(t, l, netns.B, "link set "+iface+" up")
	}
	ip(t, l, netns.B, "link del "+iface)
	var seen []Change
	wait(t, "the removal", func() bool {
		e, err := w.Next(time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if e.Change != None {
			seen = append(seen, e.Change)
		}
		return e.Change == Removed
	})
	if len(seen) > 80 {
		t.Errorf("%d changes were heard: the socket did not overflow", len(seen))
	}
}

// bridgeHeard are messages of a bridge about its ports, which name the port but
// speak of the bridge.
func TestWatchBridge(t *testing.T) {
	w := Watch{wanted: "eth0", index: 3, name: "eth0", up: true}
	w.heard(message{typ: unix.RTM_DELLINK, data: linkBody(unix.AF_BRIDGE, 3, 0)})
	w.heard(message{typ: unix.RTM_NEWLINK, data: attribute(linkBody(unix.AF_BRIDGE, 3, 0), unix.IFLA_IFNAME, []byte("eth0\x00"))})
	w.heard(message{typ: unix.RTM_NEWLINK, data: []byte{1}})
	if len(w.events) != 0 {
		t.Errorf("%+v", w.events)
	}
	w.heard(message{typ: unix.RTM_DELLINK, data: linkBody(0, 3, 0)})
	if len(w.events) != 1 || w.events[0].Change != Removed {
		t.Errorf("%+v", w.events)
	}
}

// xdpPass loads a program that passes all.
func xdpPass(t *testing.T) int {
	t.Helper()
	instructions := []uint64{0x00000002_000000b7, 0x95} // r0 = XDP_PASS; exit
	license := []byte("GPL\x00")
	attr := struct {
		typ, count     uint32
		code, license  unsafe.Pointer
		level, size    uint32
		log            uint64
		version, flags uint32
	}{typ: unix.BPF_PROG_TYPE_XDP, count: uint32(len(instructions)), code: unsafe.Pointer(&instructions[0]), license: unsafe.Pointer(&license[0])}
	fd, _, errno := unix.Syscall(unix.SYS_BPF, unix.BPF_PROG_LOAD, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr))
	if errno != 0 {
		t.Skipf("this kernel loads no XDP program: %v", errno)
	}
	return int(fd)
}

func TestXDP(t *testing.T) {
	l := pair(t)
	b := open(t, l, netns.B)
	fd := xdpPass(t)
	defer unix.Close(fd)
	for _, tc := range []struct {
		mode  string
		flags uint32
	}{{"native", unix.XDP_FLAGS_DRV_MODE}, {"generic", unix.XDP_FLAGS_SKB_MODE}} {
		set := func(fd int) {
			t.Helper()
			nested := attribute(attribute(nil, unix.IFLA_XDP_FD, u32(uint32(fd))), unix.IFLA_XDP_FLAGS, u32(tc.flags))
			body := attribute(linkBody(0, l.Side(netns.B).Index, 0), unix.IFLA_XDP|unix.NLA_F_NESTED, nested)
			if err := b.netlink.request(unix.RTM_SETLINK, unix.NLM_F_ACK, body, func(message) {}); err != nil {
				t.Fatal(err)
			}
		}
		set(fd)
		if s, err := b.State(); err != nil || s.XDP.Mode != tc.mode || s.XDP.ID == 0 {
			t.Errorf("%s: %+v, %v", tc.mode, s.XDP, err)
		}
		set(-1)
		if s, err := b.State(); err != nil || s.XDP != (XDP{}) {
			t.Errorf("%s, taken off: %+v, %v", tc.mode, s.XDP, err)
		}
	}
}
