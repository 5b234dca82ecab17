// Package nic asks the kernel about a network interface: what it received and
// lost, what it is made of, who uses it, and what becomes of it. It tells the
// losses that happen before a packet reaches a socket or an XDP program: in the
// NIC (Counters), and in the queue between the CPUs (Softnet).
//
// Everything is asked by netlink and ioctl. Sockets belong to the network
// namespace of the thread that opened them, so a NIC and a Watch go on speaking
// of that namespace whoever calls them.
//
// # Which interface
//
// An interface is opened by name and then followed by its number: through a
// rename, and, after it was removed, to the next interface that has the name
// again. While there is none, errors are ErrGone, and counters keep their
// values.
package nic

import (
	"errors"
	"fmt"
	"sync"
)

// ErrGone says that there is no interface of the name at the moment.
var ErrGone = errors.New("no such interface")

// NIC is a network interface. Its methods may be used by several goroutines.
type NIC struct {
	wanted string // the name it was opened by

	mu       sync.Mutex
	index    int    // of the interface that is followed; 0: gone
	name     string // that it has now
	netlink  *netlink
	ethtool  *ethtool
	counters counting
	strings  statStrings
}

// Open opens the interface, which must be there. Counters count from now on.
func Open(name string) (*NIC, error) {
	n := &NIC{wanted: name}
	var err error
	if n.netlink, err = openNetlink(0); err != nil {
		return nil, err
	}
	if n.ethtool, err = openEthtool(); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	if _, err := n.Counters(); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return n, nil
}

// Close closes the sockets. Nothing else is held.
func (n *NIC) Close() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return errors.Join(n.netlink.close(), n.ethtool.close())
}

// Name is the name that the interface had when it was last asked for something.
func (n *NIC) Name() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.name
}

// find asks for the interface that is followed, or for the next one of the name.
func (n *NIC) find() (link, error) {
	if n.index != 0 {
		l, err := n.netlink.linkByIndex(n.index)
		if !errors.Is(err, ErrGone) {
			n.name = l.name
			return l, err
		}
	}
	l, err := n.netlink.linkByName(n.wanted)
	if err != nil {
		if errors.Is(err, ErrGone) {
			n.index = 0
		}
		return l, fmt.Errorf("look up interface %s: %w", n.wanted, err)
	}
	n.index, n.name = l.index, l.name
	return l, nil
}
