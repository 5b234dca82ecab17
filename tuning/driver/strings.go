package driver

import (
	"slices"

	"golang.org/x/sys/unix"

	"ringside/dataplane/nic"
)

// Sets of strings (enum ethtool_stringset).
const (
	setPrivate  = 2
	setFeatures = 4
)

// strings are the names of a set; none if the driver has no such set.
func (s *Socket) strings(name string, set uint32) ([]string, error) {
	return nic.Strings(func(b []byte) error { return s.ask(name, b) }, set)
}

// Features are the offloads that matter to a capture: those that make packets other
// than they were on the wire, and those that decide where they go.
var Features = []string{
	"rx-gro", "rx-gro-hw", "rx-gro-list", "rx-udp-gro-forwarding", "rx-lro",
	"tx-generic-segmentation", "tx-tcp-segmentation", "tx-tcp-ecn-segmentation", "tx-tcp-mangleid-segmentation", "tx-tcp6-segmentation", "tx-udp-segmentation",
	"rx-vlan-hw-parse", "rx-vlan-stag-hw-parse", "rx-vlan-filter", "rx-ntuple-filter", "rx-hashing",
}

// offloads are the features of an interface, in the blocks of 32 that the kernel speaks
// of: four words each, which are available, requested, active, never changed.
type offloads struct {
	names  []string
	blocks []uint32
}

func (s *Socket) offloads(name string) (*offloads, error) {
	names, err := s.strings(name, setFeatures)
	if err != nil {
		return nil, err
	}
	o := &offloads{names: names}
	n := (len(names) + 31) / 32
	b := make([]byte, 8+16*n) // struct ethtool_gfeatures
	native.PutUint32(b, unix.ETHTOOL_GFEATURES)
	native.PutUint32(b[4:], uint32(n))
	if err := s.ask(name, b); err != nil {
		return nil, err
	}
	for i := range 4 * n {
		o.blocks = append(o.blocks, native.Uint32(b[8+4*i:]))
	}
	return o, nil
}

// find is the place of an offload; ErrUnsupported if it cannot be changed.
func (o *offloads) find(feature string) (block, bit int, err error) {
	at := slices.Index(o.names, feature)
	if at < 0 || o.blocks[at/32*4]>>(at%32)&1 == 0 {
		return 0, 0, ErrUnsupported
	}
	return at / 32, at % 32, nil
}

// get is whether an offload is on.
func (o *offloads) get(feature string) (string, error) {
	block, bit, err := o.find(feature)
	if err != nil {
		return "", err
	}
	return onOff(o.blocks[4*block+2]>>bit&1 != 0), nil
}

func (s *Socket) setFeature(name, feature, value string) error {
	v, err := (number{flag: true}).parse(value)
	if err != nil {
		return err
	}
	o, err := s.offloads(name)
	if err != nil {
		return err
	}
	block, bit, err := o.find(feature)
	if err != nil {
		return err
	}
	n := len(o.blocks) / 4
	b := make([]byte, 8+8*n) // struct ethtool_sfeatures: valid, requested
	native.PutUint32(b, unix.ETHTOOL_SFEATURES)
	native.PutUint32(b[4:], uint32(n))
	native.PutUint32(b[8+8*block:], 1<<bit)
	native.PutUint32(b[12+8*block:], v<<bit)
	return s.ask(name, b)
}

// privates are the flags that only this driver has, and which are on.
func (s *Socket) privates(name string) (flags []string, on uint32, err error) {
	if flags, err = s.strings(name, setPrivate); err != nil {
		return nil, 0, err
	}
	if len(flags) == 0 {
		return nil, 0, ErrUnsupported
	}
	w, err := s.words(name, unix.ETHTOOL_GPFLAGS, 2)
	if err != nil {
		return nil, 0, err
	}
	return flags[:min(len(flags), 32)], w[1], nil
}

func (s *Socket) private(name, flag string) (string, error) {
	flags, on, err := s.privates(name)
	if err != nil {
		return "", err
	}
	at := slices.Index(flags, flag)
	if at < 0 {
		return "", ErrUnsupported
	}
	return onOff(on>>at&1 != 0), nil
}

func (s *Socket) setPrivate(name, flag, value string) error {
	v, err := (number{flag: true}).parse(value)
	if err != nil {
		return err
	}
	flags, on, err := s.privates(name)
	if err != nil {
		return err
	}
	at := slices.Index(flags, flag)
	if at < 0 {
		return ErrUnsupported
	}
	return s.tell(name, unix.ETHTOOL_SPFLAGS, []uint32{0, on&^(1<<at) | v<<at})
}
