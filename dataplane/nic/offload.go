package nic

import (
	"errors"
	"fmt"
	"slices"
)

// hurting are the offloads that make frames other than they were on the wire:
// merged, cut anew, or without their VLAN tag. Names are those of the kernel
// (net/ethtool/common.c).
var hurting = []string{
	"rx-gro", "rx-gro-hw", "rx-gro-list", "rx-udp-gro-forwarding", "rx-lro",
	"tx-generic-segmentation", "tx-tcp-segmentation", "tx-tcp-ecn-segmentation", "tx-tcp-mangleid-segmentation", "tx-tcp6-segmentation", "tx-udp-segmentation",
	"rx-vlan-hw-parse", "rx-vlan-stag-hw-parse",
}

// shortNames are what ethtool(8) calls some of them.
var shortNames = map[string][]string{
	"gro": {"rx-gro"}, "lro": {"rx-lro"}, "gso": {"tx-generic-segmentation"}, "rxvlan": {"rx-vlan-hw-parse"},
	"tso": {"tx-tcp-segmentation", "tx-tcp-ecn-segmentation", "tx-tcp-mangleid-segmentation", "tx-tcp6-segmentation"},
}

// SetOffload turns an offload on or off, by its name in the kernel or as one of
// gro, lro, gso, tso and rxvlan. It is an error if the interface has none that
// can be changed.
func (n *NIC) SetOffload(offload string, on bool) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	names := shortNames[offload]
	if names == nil {
		names = []string{offload}
	}
	l, err := n.find()
	if err != nil {
		return err
	}
	f, err := n.ethtool.features(l.name)
	if err != nil {
		return err
	}
	set := map[string]bool{}
	for _, name := range names {
		if f.changeable(name) {
			set[name] = on
		}
	}
	if len(set) == 0 {
		return fmt.Errorf("set offload %s of %s: the interface has none that can be changed", offload, l.name)
	}
	return n.ethtool.setFeatures(l.name, f, set)
}

// Quiet turns off the offloads that change frames. It says which of them stay on
// (since the driver does not let them be changed), and returns what turns those
// on again that it found on; restore does nothing for an interface that is gone,
// or was made anew.
func (n *NIC) Quiet() (stay []string, restore func() error, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	l, err := n.find()
	if err != nil {
		return nil, nil, err
	}
	found, err := n.ethtool.features(l.name)
	if err != nil {
		return nil, nil, err
	}
	off, on := map[string]bool{}, map[string]bool{}
	for _, name := range hurting {
		if found.active(name) && found.changeable(name) {
			off[name], on[name] = false, true
		}
	}
	restore = func() error { return n.restore(l.index, found, on) }
	if err := n.ethtool.setFeatures(l.name, found, off); err != nil {
		return nil, nil, errors.Join(err, n.restoreLocked(l.index, found, on))
	}
	now, err := n.ethtool.features(l.name)
	if err != nil {
		return nil, nil, errors.Join(err, n.restoreLocked(l.index, found, on))
	}
	return now.hurting(), restore, nil
}

// hurting are the offloads that are on and change frames.
func (f *features) hurting() []string {
	var out []string
	for _, name := range hurting {
		if f.active(name) {
			out = append(out, name)
		}
	}
	return slices.Clip(out)
}

func (n *NIC) restore(index int, found *features, on map[string]bool) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.restoreLocked(index, found, on)
}

func (n *NIC) restoreLocked(index int, found *features, on map[string]bool) error {
	l, err := n.netlink.linkByIndex(index)
	if err == nil && len(on) > 0 {
		err = n.ethtool.setFeatures(l.name, found, on)
	}
	if errors.Is(err, ErrGone) {
		return nil
	}
	return err
}
