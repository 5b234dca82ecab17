package nic

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// State is what an interface is, at the moment.
type State struct {
	Name     string
	Index    int
	MAC      net.HardwareAddr
	Up       bool // set up
	Carrier  bool // has a link
	Promisc  bool
	Loopback bool // it receives what it sends
	MTU      int
	Speed    int    // Mbit/s; 0: not known
	Kind     string // of a virtual interface: veth, bond, vlan, …; empty for hardware
	Driver   string // empty: not known
	Bus      string // place on the bus, such as 0000:3b:00.0
	NUMA     int    // node; -1: not known, or the machine has one

	Queues    int // to receive, in use
	MaxQueues int // that there could be
	Ring      int // frames that a receive queue holds; 0: not known
	MaxRing   int

	Offloads []string // that are on and change frames, by the kernel's names; Quiet turns them off
	XDP      XDP

	Master string   // bond or bridge it belongs to
	Slaves []string // of a bond or bridge

	Addresses    []netip.Prefix // of its own
	DefaultRoute bool           // a default route leads to it, or to what stands on it
	users        []string       // why the host itself needs it
}

// Shared says why the host itself uses the interface; empty if it does not, and
// may be given to capture alone. Addresses that are made by themselves
// (link-local) are no use.
func (s *State) Shared() string { return strings.Join(s.users, "; ") }

// State asks what the interface is.
func (n *NIC) State() (State, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	l, err := n.find()
	if err != nil {
		return State{}, err
	}
	s := State{
		Name: l.name, Index: l.index, MAC: l.mac, MTU: l.mtu, Kind: l.kind, XDP: l.xdp, Queues: l.queues, MaxQueues: l.queues,
		Up: l.flags&unix.IFF_UP != 0, Carrier: l.carrier, Promisc: l.flags&unix.IFF_PROMISC != 0,
		Loopback: l.flags&unix.IFF_LOOPBACK != 0,
	}
	if err := n.hardware(&s); err != nil {
		return State{}, fmt.Errorf("read state of %s: %w", l.name, err)
	}
	if err := n.relations(&s, l); err != nil {
		return State{}, fmt.Errorf("read state of %s: %w", l.name, err)
	}
	return s, nil
}

// hardware asks the driver.
func (n *NIC) hardware(s *State) error {
	var err error
	if s.Driver, s.Bus, err = n.ethtool.driverInfo(s.Name); err != nil {
		return err
	}
	if s.Speed, err = n.ethtool.speed(s.Name); err != nil {
		return err
	}
	// struct ethtool_ringparam begins with the maximum, then the others' maxima.
	ring, err := n.ethtool.words(s.Name, unix.ETHTOOL_GRINGPARAM, 8)
	if err != nil {
		return err
	}
	if ring != nil {
		s.MaxRing, s.Ring = int(ring[0]), int(ring[4])
	}
	// struct ethtool_channels: maxima of rx, tx, other, combined; then what is set.
	channels, err := n.ethtool.words(s.Name, unix.ETHTOOL_GCHANNELS, 8)
	if err != nil {
		return err
	}
	if channels != nil && channels[4]+channels[7] > 0 {
		s.MaxQueues, s.Queues = int(max(channels[0], channels[3])), int(channels[4]+channels[7])
	}
	f, err := n.ethtool.features(s.Name)
	if err != nil {
		return err
	}
	s.Offloads = f.hurting()
	s.NUMA = numaNode("/sys", s.Bus)
	return nil
}

// numaNode is the node of a PCI device.
func numaNode(sys, bus string) int {
	if bus == "" || strings.ContainsAny(bus, "/") {
		return -1
	}
	text, err := os.ReadFile(filepath.Join(sys, "bus/pci/devices", bus, "numa_node"))
	if err != nil {
		return -1
	}
	node, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return -1
	}
	return node
}

// relations asks who uses the interface.
func (n *NIC) relations(s *State, l link) error {
	links, err := n.netlink.links()
	if err != nil {
		return err
	}
	addresses, err := n.netlink.addresses()
	if err != nil {
		return err
	}
	routes, err := n.netlink.defaultRoutes()
	if err != nil {
		return err
	}
	s.Addresses = addresses[l.index]
	for _, other := range links {
		if other.index == l.master {
			s.Master = other.name
		}
		if other.master == l.index {
			s.Slaves = append(s.Slaves, other.name)
		}
	}
	s.users, s.DefaultRoute = users(l, links, addresses, routes)
	return nil
}

// users says why the host needs an interface: for its addresses and routes, or
// for those of what stands on it: the bond or bridge that it belongs to, and
// VLANs. Any of them may have a default route.
func users(l link, links []link, addresses map[int][]netip.Prefix, routes map[int]bool) (out []string, routed bool) {
	if l.flags&unix.IFF_LOOPBACK != 0 {
		out = append(out, l.name+" is the loopback interface")
	}
	seen := map[int]bool{l.index: true}
	for list := []link{l}; len(list) > 0; list = list[1:] {
		l := list[0]
		for _, a := range addresses[l.index] {
			if ip := a.Addr(); !ip.IsLinkLocalUnicast() && !ip.IsLoopback() {
				out = append(out, fmt.Sprintf("%s has the address %s", l.name, a))
				break
			}
		}
		if routes[l.index] {
			out, routed = append(out, "a default route leads to "+l.name), true
		}
		for _, other := range links {
			if (other.index == l.master || other.below == l.index) && !seen[other.index] {
				seen[other.index] = true
				list = append(list, other)
			}
		}
	}
	return out, routed
}
