// Package netns gives tests and benchmarks a network of their own: two network
// namespaces joined by a veth of several queues, which carries what the test
// sends and nothing else.
//
//	l, err := netns.Pair(4)
//	defer l.Close()
//	err = l.Do(netns.A, func() error { … send on l.Side(netns.A).Iface … })
//
// Both ends are up when Pair returns. They have addresses and know each other's
// hardware address, so that nobody asks for it; multicast and IPv6
// autoconfiguration are off. Offloads are off, so that a frame arrives as it
// was sent, byte for byte.
//
// # What a veth does
//
// A frame sent on one end is received at once on the sender's CPU, in the queue
// with the number of the sender's (modulo the queues). Without an XDP program on
// the receiving end, and with GRO off, it waits in the backlog of that CPU
// (net.core.netdev_max_backlog), with a program in a ring of 256 frames of the
// queue. What does not fit is counted as dropped by the end that sent it. Frames
// redirected by XDP are taken only by a peer with an XDP program or with GRO on.
package netns

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// The ends of a Link.
const (
	A = iota
	B
	M // the mirror port, if it has one
)

// Side is one end of a Link.
type Side struct {
	Namespace string // its name, as `ip netns` knows it
	Iface     string // name of the interface in the namespace
	Index     int    // its number
	MAC       net.HardwareAddr
	IPv4      netip.Prefix
	IPv6      netip.Prefix
}

// Link is namespaces joined by veths. Its methods may be used by several
// goroutines at once, Close when the others have returned.
type Link struct {
	sides []Side
	made  []string // namespaces to remove
}

// prefix begins the names of namespaces. The process that made one, and a number, follow.
const prefix = "ringside-"

// folder is where `ip netns` keeps the namespaces.
const folder = "/run/netns"

var count atomic.Int64

// Supported says why there are no namespaces here; nil if there are.
func Supported() error {
	if os.Geteuid() != 0 {
		return errors.New("make network namespaces: not root")
	}
	if _, err := os.Stat("/proc/self/ns/net"); err != nil {
		return errors.New("make network namespaces: the kernel has none")
	}
	for _, name := range []string{"ip", "ethtool"} {
		if _, err := exec.LookPath(name); err != nil {
			return fmt.Errorf("make network namespaces: no program %s (Debian: apt-get install iproute2 ethtool)", name)
		}
	}
	probe.Do(func() {
		name := prefix + strconv.Itoa(os.Getpid()) + "-probe"
		if probed = run("ip", "netns", "add", name); probed == nil {
			probed = run("ip", "netns", "del", name)
		}
	})
	return probed
}

// Pair makes two namespaces joined by a veth with so many queues in each
// direction. It first removes what processes that are gone have left behind.
func Pair(queues int) (*Link, error) {
	l, err := newLink(queues, "a", "b")
	if err != nil {
		return nil, err
	}
	err = l.join(A, l.sides[B].Namespace, l.sides[B].Iface, queues)
	if err == nil {
		err = l.settle()
	}
	if err == nil {
		err = l.ready()
	}
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// newLink makes namespaces with a veth's name in each; the veths are still to be made.
func newLink(queues int, names ...string) (*Link, error) {
	if err := Supported(); err != nil {
		return nil, err
	}
	if queues < 1 {
		return nil, fmt.Errorf("make veth: %d queues: at least 1", queues)
	}
	if err := removeLeftovers(); err != nil {
		return nil, err
	}
	base := fmt.Sprintf("%s%d-%d", prefix, os.Getpid(), count.Add(1))
	l := &Link{}
	for i, name := range names {
		s := Side{Namespace: base + name, Iface: "v" + name}
		if i < M {
			s.IPv4 = netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 18, 0, byte(1 + i)}), 24)
			s.IPv6 = netip.PrefixFrom(netip.AddrFrom16([16]byte{0: 0xfd, 1: 0x18, 15: byte(1 + i)}), 64)
		}
		if err := run("ip", "netns", "add", s.Namespace); err != nil {
			return nil, errors.Join(err, l.Close())
		}
		l.made = append(l.made, s.Namespace)
		l.sides = append(l.sides, s)
	}
	return l, nil
}

// firstIndex begins the indices of interfaces. The ends of a veth must have different
// ones: where they are the same, as those that the kernel gives in two new namespaces, an
// end that comes up waits for as long as a second (linkwatch_urgent_event of net/core/link_watch.c).
const firstIndex = 11

// join makes the veth of a side; its other end has a name in a namespace.
func (l *Link) join(side int, namespace, name string, queues int) error {
	s, q := &l.sides[side], strconv.Itoa(queues)
	here, there := strconv.Itoa(firstIndex+side), strconv.Itoa(firstIndex+len(l.sides)+side)
	return run("ip", "-n", s.Namespace, "link", "add", s.Iface, "index", here, "numtxqueues", q, "numrxqueues", q,
		"type", "veth", "peer", "name", name, "index", there, "numtxqueues", q, "numrxqueues", q, "netns", namespace)
}

// settle brings up the ends, and gives A and B their addresses.
func (l *Link) settle() error {
	for side := range l.sides {
		if err := l.quiet(side); err != nil {
			return err
		}
	}
	for side := range l.sides {
		if err := l.raise(side); err != nil {
			return err
		}
	}
	return nil
}

// quiet lets an interface that is still down change nothing, and say nothing by itself.
func (l *Link) quiet(side int) error {
	s := &l.sides[side]
	if err := offload(s.Namespace, s.Iface); err != nil {
		return err
	}
	return l.Do(side, func() error {
		i, err := net.InterfaceByName(s.Iface)
		if err != nil {
			return fmt.Errorf("look up interface: %w", err)
		}
		s.MAC, s.Index = i.HardwareAddr, i.Index
		conf := filepath.Join("/proc/sys/net/ipv6/conf", s.Iface)
		if _, err := os.Stat(conf); err != nil {
			l.sides[A].IPv6, l.sides[B].IPv6 = netip.Prefix{}, netip.Prefix{} // a kernel without IPv6
			return nil
		}
		for _, set := range [][2]string{{"accept_ra", "0"}, {"autoconf", "0"}, {"accept_dad", "0"}, {"addr_gen_mode", "1"}, {"router_solicitations", "0"}} {
			if err := os.WriteFile(filepath.Join(conf, set[0]), []byte(set[1]), 0o644); err != nil {
				return fmt.Errorf("turn off IPv6 autoconfiguration: %w", err)
			}
		}
		return nil
	})
}

// offload turns everything off that changes frames on their way.
func offload(namespace, iface string) error {
	return run("ip", "netns", "exec", namespace, "ethtool", "-K", iface,
		"rx", "off", "tx", "off", "sg", "off", "tso", "off", "gso", "off", "gro", "off", "rxvlan", "off", "txvlan", "off")
}

// raise gives an interface its addresses and its neighbour, and brings it up.
func (l *Link) raise(side int) error {
	s := &l.sides[side]
	v := s.Iface
	if !s.IPv4.IsValid() {
		return feed("link set "+v+" multicast off\nlink set "+v+" up\n", "ip", "-n", s.Namespace, "-batch", "-")
	}
	peer := &l.sides[1-side]
	lines := []string{
		"link set lo up",
		fmt.Sprintf("addr add %s dev %s", s.IPv4, v),
		"link set " + v + " multicast off",
		"link set " + v + " up",
		fmt.Sprintf("neigh add %s lladdr %s dev %s nud permanent", peer.IPv4.Addr(), peer.MAC, v),
	}
	if s.IPv6.IsValid() {
		// On the loopback, since an interface reports the multicast group of each of its addresses (RFC 3810).
		lines = append(lines,
			fmt.Sprintf("addr add %s/128 dev lo nodad", s.IPv6.Addr()),
			fmt.Sprintf("route add %s/128 dev %s", peer.IPv6.Addr(), v),
			fmt.Sprintf("neigh add %s lladdr %s dev %s nud permanent", peer.IPv6.Addr(), peer.MAC, v))
	}
	return feed(strings.Join(lines, "\n")+"\n", "ip", "-n", s.Namespace, "-batch", "-")
}

// ready waits until all ends carry frames.
func (l *Link) ready() error {
	for side := range l.sides {
		if err := l.runs(side, l.sides[side].Iface); err != nil {
			return err
		}
	}
	return nil
}

// runs waits until an interface in the namespace of a side carries frames: the
// kernel opens its queues some time after the other end has come up
// (net/core/link_watch.c).
func (l *Link) runs(side int, name string) error {
	err := l.Do(side, func() error {
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
			i, err := net.InterfaceByName(name)
			if err != nil || i.Flags&net.FlagRunning != 0 {
				return err
			}
			if time.Now().After(deadline) {
				return fmt.Errorf("%s does not run a minute after it was brought up", name)
			}
		}
	})
	if err != nil {
		return err
	}
	// It runs a moment before its queues are open, under one lock (RTNL), which
	// this has to take.
	return run("ip", "-n", l.sides[side].Namespace, "link", "set", name, "up")
}

// Side is what is known of one end.
func (l *Link) Side(side int) Side { return l.sides[side] }

// Command prepares a program that runs in the namespace of one end.
func (l *Link) Command(ctx context.Context, side int, name string, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, "ip", append([]string{"netns", "exec", l.sides[side].Namespace, name}, args...)...)
}

// Close removes the namespaces, and with them the veth as soon as nobody has
// a socket or a program on it. A second call does nothing.
func (l *Link) Close() error {
	var errs []error
	for _, name := range l.made {
		errs = append(errs, run("ip", "netns", "del", name))
	}
	l.made = nil
	return errors.Join(errs...)
}

// removeLeftovers removes namespaces whose makers are gone.
func removeLeftovers() error {
	found, err := filepath.Glob(filepath.Join(folder, prefix+"*-*"))
	if err != nil {
		return fmt.Errorf("list namespaces: %w", err)
	}
	for _, path := range found {
		name := filepath.Base(path)
		pid, _, _ := strings.Cut(strings.TrimPrefix(name, prefix), "-")
		if _, err := strconv.Atoi(pid); err != nil {
			continue
		}
		if _, err := os.Stat("/proc/" + pid); err == nil {
			continue
		}
		// Another test may be removing it at this moment.
		if err := run("ip", "netns", "del", name); err != nil {
			if _, gone := os.Stat(path); gone == nil {
				return err
			}
		}
	}
	return nil
}

func run(name string, args ...string) error { return feed("", name, args...) }

// feed runs a program with an input; its error says what the program said.
func feed(input, name string, args ...string) error {
	cmd := exec.Command(name, args...)
	cmd.Stdin = strings.NewReader(input)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("run %s %s: %w: %s", name, strings.Join(args, " "), err, bytes.TrimSpace(out))
	}
	return nil
}
