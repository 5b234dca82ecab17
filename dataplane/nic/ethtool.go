package nic

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// Sets of strings (enum ethtool_stringset).
const (
	setStats    = 1
	setFeatures = 4
)

const stringLen = 32 // ETH_GSTRING_LEN

// slack is how many entries more than announced are left room for: between two
// calls a driver may come to have more queues, and the kernel does not look how
// long the buffer is.
const slack = 4096

// stringSet are the names of a set.
func (e *ethtool) stringSet(name string, set uint32) ([]string, error) {
	return Strings(func(b []byte) error {
		_, err := e.call(name, b)
		return err
	}, set)
}

// Strings are the names of a set (enum ethtool_stringset) of a driver, which ask asks
// by ethtool's ioctl; none if the driver has no such set.
func Strings(ask func(b []byte) error, set uint32) ([]string, error) {
	b := make([]byte, 16+8) // struct ethtool_sset_info
	native.PutUint32(b, unix.ETHTOOL_GSSET_INFO)
	native.PutUint64(b[8:], 1<<set)
	if err := ask(b); err != nil {
		return nil, err
	}
	if native.Uint64(b[8:]) == 0 {
		return nil, nil
	}
	count := int(native.Uint32(b[16:]))
	b = make([]byte, 12+(count+slack)*stringLen) // struct ethtool_gstrings
	native.PutUint32(b, unix.ETHTOOL_GSTRINGS)
	native.PutUint32(b[4:], set)
	native.PutUint32(b[8:], uint32(count))
	if err := ask(b); err != nil {
		return nil, err
	}
	return parseStrings(b[12:], int(native.Uint32(b[8:]))), nil
}

// parseStrings reads n names of a fixed length.
func parseStrings(b []byte, n int) []string {
	out := make([]string, 0, min(n, len(b)/stringLen))
	for len(out) < n && len(b) >= stringLen {
		out = append(out, unix.ByteSliceToString(b[:stringLen]))
		b = b[stringLen:]
	}
	return out
}

// statStrings are the names of a driver's statistics, kept while their number
// stays the same.
type statStrings struct {
	index int
	names []string
}

// stat is one statistic of a driver.
type stat struct {
	name  string
	value uint64
}

// stats are the statistics of the driver; none if it has none.
func (e *ethtool) stats(name string, index int, kept *statStrings) ([]stat, error) {
	for {
		if kept.index != index || kept.names == nil {
			names, err := e.stringSet(name, setStats)
			if errors.Is(err, errUnsupported) || err == nil && len(names) == 0 {
				return nil, nil
			}
			if err != nil {
				return nil, err
			}
			*kept = statStrings{index, names}
		}
		b := make([]byte, 8+(len(kept.names)+slack)*8) // struct ethtool_stats
		native.PutUint32(b, unix.ETHTOOL_GSTATS)
		native.PutUint32(b[4:], uint32(len(kept.names)))
		if _, err := e.call(name, b); err != nil {
			if errors.Is(err, errUnsupported) {
				return nil, nil
			}
			return nil, err
		}
		if int(native.Uint32(b[4:])) != len(kept.names) {
			kept.names = nil // queues came or went: other statistics
			continue
		}
		out := make([]stat, len(kept.names))
		for i := range out {
			out[i] = stat{kept.names[i], native.Uint64(b[8+8*i:])}
		}
		return out, nil
	}
}

// Statistics are all that the driver of an interface counts, by its own names; none if
// it counts nothing. Some drivers repeat a name for each queue: those are added up.
func Statistics(name string) (map[string]uint64, error) {
	e, err := openEthtool()
	if err != nil {
		return nil, err
	}
	defer e.close()
	stats, err := e.stats(name, 0, &statStrings{})
	if err != nil {
		return nil, fmt.Errorf("read counters of %s: %w", name, err)
	}
	out := make(map[string]uint64, len(stats))
	for _, s := range stats {
		out[strings.TrimSpace(s.name)] += s.value
	}
	return out, nil
}

// driverInfo is the driver and the place on the bus; both may be empty.
func (e *ethtool) driverInfo(name string) (driver, bus string, err error) {
	b := make([]byte, 256) // struct ethtool_drvinfo, of 196 bytes
	native.PutUint32(b, unix.ETHTOOL_GDRVINFO)
	if _, err := e.call(name, b); err != nil {
		if errors.Is(err, errUnsupported) {
			err = nil
		}
		return "", "", err
	}
	return unix.ByteSliceToString(b[4:36]), unix.ByteSliceToString(b[100:132]), nil
}

// words asks for a structure of n numbers behind the command; nil if the driver
// does not know it.
func (e *ethtool) words(name string, command uint32, n int) ([]uint32, error) {
	b := make([]byte, 4+4*n)
	native.PutUint32(b, command)
	if _, err := e.call(name, b); err != nil {
		if errors.Is(err, errUnsupported) {
			err = nil
		}
		return nil, err
	}
	out := make([]uint32, n)
	for i := range out {
		out[i] = native.Uint32(b[4+4*i:])
	}
	return out, nil
}

// speed is in Mbit/s; 0 if it is not known, as while the link is down.
func (e *ethtool) speed(name string) (int, error) {
	// struct ethtool_link_settings; without its masks of modes the kernel
	// only tells their length, and the rest is zero. So it is asked twice.
	const head, maskWords = 48, 127
	b := make([]byte, head+3*4*maskWords)
	native.PutUint32(b, unix.ETHTOOL_GLINKSETTINGS)
	for range 2 {
		if _, err := e.call(name, b); err != nil {
			if errors.Is(err, errUnsupported) {
				err = nil
			}
			return 0, err
		}
		words := int8(b[15]) // link_mode_masks_nwords
		if words >= 0 {
			break
		}
		clear(b)
		native.PutUint32(b, unix.ETHTOOL_GLINKSETTINGS)
		b[15] = byte(-words)
	}
	const unknown = 1<<32 - 1 // SPEED_UNKNOWN
	if speed := native.Uint32(b[4:]); speed != unknown {
		return int(speed), nil
	}
	return 0, nil
}

// features are the offloads of an interface.
type features struct {
	names  []string
	blocks []featureBlock // 32 features each
}

// featureBlock is struct ethtool_get_features_block.
type featureBlock struct{ available, requested, active, never uint32 }

func (f *features) active(name string) bool {
	for i, n := range f.names {
		if n == name && i/32 < len(f.blocks) {
			return f.blocks[i/32].active>>(i%32)&1 != 0
		}
	}
	return false
}

// changeable reports whether the feature can be turned on and off.
func (f *features) changeable(name string) bool {
	for i, n := range f.names {
		if n == name && i/32 < len(f.blocks) {
			return f.blocks[i/32].available>>(i%32)&1 != 0
		}
	}
	return false
}

func (e *ethtool) features(name string) (*features, error) {
	names, err := e.stringSet(name, setFeatures)
	if err != nil {
		return nil, fmt.Errorf("read offloads of %s: %w", name, err)
	}
	f := &features{names: names, blocks: make([]featureBlock, (len(names)+31)/32)}
	b := make([]byte, 8+16*len(f.blocks))
	native.PutUint32(b, unix.ETHTOOL_GFEATURES)
	native.PutUint32(b[4:], uint32(len(f.blocks)))
	if _, err := e.call(name, b); err != nil {
		return nil, fmt.Errorf("read offloads of %s: %w", name, err)
	}
	for i := range f.blocks {
		v := b[8+16*i:]
		f.blocks[i] = featureBlock{native.Uint32(v), native.Uint32(v[4:]), native.Uint32(v[8:]), native.Uint32(v[12:])}
	}
	return f, nil
}

// setFeatures turns features on or off by name; those that cannot be changed
// are left as they are.
func (e *ethtool) setFeatures(name string, f *features, set map[string]bool) error {
	b := make([]byte, 8+8*len(f.blocks)) // struct ethtool_sfeatures
	native.PutUint32(b, unix.ETHTOOL_SFEATURES)
	native.PutUint32(b[4:], uint32(len(f.blocks)))
	for i, n := range f.names {
		on, ok := set[n]
		if !ok || !f.changeable(n) {
			continue
		}
		block := b[8+8*(i/32):]
		bit := uint32(1) << (i % 32)
		native.PutUint32(block, native.Uint32(block)|bit)
		if on {
			native.PutUint32(block[4:], native.Uint32(block[4:])|bit)
		}
	}
	if _, err := e.call(name, b); err != nil {
		return fmt.Errorf("set offloads of %s: %w", name, err)
	}
	return nil
}
