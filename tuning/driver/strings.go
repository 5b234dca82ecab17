package driver

import (
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

// Sets of strings (enum ethtool_stringset).
const (
	setStats    = 1
	setPrivate  = 2
	setFeatures = 4
)

const stringLen = 32 // ETH_GSTRING_LEN

// slack is how many entries more than announced are left room for: between two
// calls a driver may come to have more queues.
const slack = 4096

// strings are the names of a set; none if the driver has no such set.
func (s *Socket) strings(name string, set uint32) ([]string, error) {
	b := make([]byte, 16+8) // struct ethtool_sset_info
	native.PutUint32(b, unix.ETHTOOL_GSSET_INFO)
	native.PutUint64(b[8:], 1<<set)
	if err := s.ask(name, b); err != nil {
		return nil, err
	}
	if native.Uint64(b[8:]) == 0 {
		return nil, nil
	}
	count := native.Uint32(b[16:])
	b = make([]byte, 12+(int(count)+slack)*stringLen) // struct ethtool_gstrings
	native.PutUint32(b, unix.ETHTOOL_GSTRINGS)
	native.PutUint32(b[4:], set)
	native.PutUint32(b[8:], count)
	if err := s.ask(name, b); err != nil {
		return nil, err
	}
	n := int(native.Uint32(b[8:]))
	var out []string
	for at := 12; len(out) < n && at+stringLen <= len(b); at += stringLen {
		out = append(out, unix.ByteSliceToString(b[at:at+stringLen]))
	}
	return out, nil
}

// Features are the offloads that matter to a capture: those that make packets other
// than they were on the wire, and those that decide where they go.
var Features = []string{
	"rx-gro", "rx-gro-hw", "rx-gro-list", "rx-udp-gro-forwarding", "rx-lro",
	"tx-generic-segmentation", "tx-tcp-segmentation", "tx-tcp-ecn-segmentation", "tx-tcp-mangleid-segmentation", "tx-tcp6-segmentation", "tx-udp-segmentation",
	"rx-vlan-hw-parse", "rx-vlan-stag-hw-parse", "rx-vlan-filter", "rx-ntuple-filter", "rx-hashing",
}

// bits are where a feature is in the blocks of 32 that the kernel speaks of, and the
// words of its block: available, requested, active, never changed.
func (s *Socket) bits(name, feature string) (names []string, at int, blocks []uint32, err error) {
	if names, err = s.strings(name, setFeatures); err != nil {
		return nil, 0, nil, err
	}
	if at = slices.Index(names, feature); at < 0 {
		return nil, 0, nil, ErrUnsupported
	}
	n := (len(names) + 31) / 32
	b := make([]byte, 8+16*n) // struct ethtool_gfeatures
	native.PutUint32(b, unix.ETHTOOL_GFEATURES)
	native.PutUint32(b[4:], uint32(n))
	if err := s.ask(name, b); err != nil {
		return nil, 0, nil, err
	}
	for i := range 4 * n {
		blocks = append(blocks, native.Uint32(b[8+4*i:]))
	}
	return names, at, blocks, nil
}

// feature is whether an offload is on; ErrUnsupported if it cannot be changed.
func (s *Socket) feature(name, feature string) (string, error) {
	_, at, blocks, err := s.bits(name, feature)
	if err != nil {
		return "", err
	}
	available, active := blocks[at/32*4], blocks[at/32*4+2]
	if available>>(at%32)&1 == 0 {
		return "", ErrUnsupported
	}
	return onOff(active>>(at%32)&1 != 0), nil
}

func (s *Socket) setFeature(name, feature, value string) error {
	v, err := (number{flag: true}).parse(value)
	if err != nil {
		return err
	}
	names, at, blocks, err := s.bits(name, feature)
	if err != nil {
		return err
	}
	if blocks[at/32*4]>>(at%32)&1 == 0 {
		return ErrUnsupported
	}
	n := (len(names) + 31) / 32
	b := make([]byte, 8+8*n) // struct ethtool_sfeatures: valid, requested
	native.PutUint32(b, unix.ETHTOOL_SFEATURES)
	native.PutUint32(b[4:], uint32(n))
	native.PutUint32(b[8+8*(at/32):], 1<<(at%32))
	native.PutUint32(b[12+8*(at/32):], v<<(at%32))
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

// Stats are the counters of the driver, by their names; none if it has none.
func (s *Socket) Stats(name string) (map[string]uint64, error) {
	const tries = 4
	for range tries {
		names, err := s.strings(name, setStats)
		if errors.Is(err, unix.EOPNOTSUPP) || err == nil && len(names) == 0 {
			return nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read the counters of %s: %w", name, err)
		}
		b := make([]byte, 8+8*(len(names)+slack)) // struct ethtool_stats
		native.PutUint32(b, unix.ETHTOOL_GSTATS)
		native.PutUint32(b[4:], uint32(len(names)))
		if err := s.ask(name, b); err != nil {
			return nil, fmt.Errorf("read the counters of %s: %w", name, err)
		}
		if int(native.Uint32(b[4:])) != len(names) {
			continue // queues came or went: other counters
		}
		out := make(map[string]uint64, len(names))
		for i, n := range names {
			out[n] = native.Uint64(b[8+8*i:])
		}
		return out, nil
	}
	return nil, fmt.Errorf("read the counters of %s: they change all the time", name)
}
