// Package driver asks the driver of a network interface for its settings, and sets
// them: what ethtool(8) does, by the same call of the kernel (linux/ethtool.h).
//
// A setting is a name and a text, so that it can be shown, written down and put back
// without knowing what it is:
//
//	channels.combined, channels.rx    queues
//	rings.rx                          descriptors of a queue
//	coalesce.rx-usecs, .rx-frames, .adaptive-rx
//	pause.autoneg, .rx, .tx           on, off
//	feature.NAME                      on, off; names of net/ethtool/common.c
//	priv.NAME                         on, off; flags of the driver's own
//	rss.key                           6d:5a:…
//	rss.hfunc                         toeplitz, xor, crc32
//	rss.table                         "equal 8", or the queue of each entry: 0,1,2
//	hash.udp4, hash.udp6              fields that the hash is of: sd, sdfn
//	eee                               on, off
package driver

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// ErrUnsupported says that a driver does not know a setting.
var ErrUnsupported = errors.New("the driver does not know it")

var native = binary.NativeEndian

// Socket is what drivers are asked through.
type Socket struct{ fd int }

// Open makes a Socket. Asking needs no rights; setting needs CAP_NET_ADMIN.
func Open() (*Socket, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open a socket for ethtool: %w", err)
	}
	return &Socket{fd}, nil
}

// Close frees it.
func (s *Socket) Close() error {
	if err := unix.Close(s.fd); err != nil {
		return fmt.Errorf("close the socket for ethtool: %w", err)
	}
	return nil
}

// number is a setting that is a word of a structure: it is read with one command,
// and written with another after the structure was read.
type number struct {
	get, set  uint32
	words, at int
	most      int  // the word of its maximum; 0: none
	flag      bool // on or off
}

var numbers = map[string]number{
	// struct ethtool_channels
	"channels.rx":       {unix.ETHTOOL_GCHANNELS, unix.ETHTOOL_SCHANNELS, 9, 5, 1, false},
	"channels.combined": {unix.ETHTOOL_GCHANNELS, unix.ETHTOOL_SCHANNELS, 9, 8, 4, false},
	// struct ethtool_ringparam
	"rings.rx": {unix.ETHTOOL_GRINGPARAM, unix.ETHTOOL_SRINGPARAM, 9, 5, 1, false},
	// struct ethtool_coalesce
	"coalesce.rx-usecs":    {unix.ETHTOOL_GCOALESCE, unix.ETHTOOL_SCOALESCE, 23, 1, 0, false},
	"coalesce.rx-frames":   {unix.ETHTOOL_GCOALESCE, unix.ETHTOOL_SCOALESCE, 23, 2, 0, false},
	"coalesce.adaptive-rx": {unix.ETHTOOL_GCOALESCE, unix.ETHTOOL_SCOALESCE, 23, 10, 0, true},
	// struct ethtool_pauseparam
	"pause.autoneg": {unix.ETHTOOL_GPAUSEPARAM, unix.ETHTOOL_SPAUSEPARAM, 4, 1, 0, true},
	"pause.rx":      {unix.ETHTOOL_GPAUSEPARAM, unix.ETHTOOL_SPAUSEPARAM, 4, 2, 0, true},
	"pause.tx":      {unix.ETHTOOL_GPAUSEPARAM, unix.ETHTOOL_SPAUSEPARAM, 4, 3, 0, true},
	// struct ethtool_eee
	"eee": {unix.ETHTOOL_GEEE, unix.ETHTOOL_SEEE, 10, 5, 0, true},
}

// onOff is how flags are written.
func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}

// parse is what a text stands for in a word.
func (n number) parse(value string) (uint32, error) {
	if n.flag {
		switch value {
		case "on":
			return 1, nil
		case "off":
			return 0, nil
		}
		return 0, fmt.Errorf("%q is neither on nor off", value)
	}
	v, err := strconv.ParseUint(value, 10, 32)
	return uint32(v), err
}

// words asks for a structure of n words, the command among them.
func (s *Socket) words(name string, command uint32, n int) ([]uint32, error) {
	b := make([]byte, 4*n)
	native.PutUint32(b, command)
	if err := s.ask(name, b); err != nil {
		return nil, err
	}
	out := make([]uint32, n)
	for i := range out {
		out[i] = native.Uint32(b[4*i:])
	}
	return out, nil
}

// tell sets a structure.
func (s *Socket) tell(name string, command uint32, w []uint32) error {
	b := make([]byte, 4*len(w))
	for i, v := range w {
		native.PutUint32(b[4*i:], v)
	}
	native.PutUint32(b, command)
	return s.ask(name, b)
}

// Get is what a setting of an interface is; ErrUnsupported where there is none.
func (s *Socket) Get(name, key string) (string, error) {
	var value string
	var err error
	group, rest, _ := strings.Cut(key, ".")
	switch n, ok := numbers[key]; {
	case ok:
		value, _, err = s.number(name, n)
	case group == "feature":
		var o *offloads
		if o, err = s.offloads(name); err == nil {
			value, err = o.get(rest)
		}
	case group == "priv":
		value, err = s.private(name, rest)
	case group == "rss":
		var r *rss
		if r, err = s.rss(name); err == nil {
			value, err = r.get(rest)
		}
	case group == "hash":
		value, err = s.hash(name, rest)
	default:
		err = ErrUnsupported
	}
	if err != nil {
		return "", describe(name, key, err)
	}
	return value, nil
}

// Set changes a setting of an interface.
func (s *Socket) Set(name, key, value string) error {
	var err error
	group, rest, _ := strings.Cut(key, ".")
	switch n, ok := numbers[key]; {
	case ok:
		err = s.setNumber(name, n, value)
	case group == "feature":
		err = s.setFeature(name, rest, value)
	case group == "priv":
		err = s.setPrivate(name, rest, value)
	case group == "rss":
		err = s.setRSS(name, rest, value)
	case group == "hash":
		err = s.setHash(name, rest, value)
	default:
		err = ErrUnsupported
	}
	if err != nil {
		return describe(name, key, err)
	}
	return nil
}

// describe names the setting, and knows what kernels say where a driver has none.
func describe(name, key string, err error) error {
	if errors.Is(err, unix.EOPNOTSUPP) {
		err = ErrUnsupported
	}
	return fmt.Errorf("%s of %s: %w", key, name, err)
}

func (s *Socket) number(name string, n number) (value string, most int, err error) {
	w, err := s.words(name, n.get, n.words)
	if err != nil {
		return "", 0, err
	}
	if n.most > 0 {
		if most = int(w[n.most]); most == 0 {
			return "", 0, ErrUnsupported
		}
	}
	if n.flag {
		return onOff(w[n.at] != 0), 0, nil
	}
	return strconv.FormatUint(uint64(w[n.at]), 10), most, nil
}

func (s *Socket) setNumber(name string, n number, value string) error {
	v, err := n.parse(value)
	if err != nil {
		return err
	}
	w, err := s.words(name, n.get, n.words)
	if err != nil {
		return err
	}
	if w[n.at] == v {
		return nil
	}
	w[n.at] = v
	return s.tell(name, n.set, w)
}

// Told is everything that a driver says.
type Told struct {
	Driver, Firmware, Bus string

	Settings map[string]string
	Limits   map[string]int // of channels and rings
	Rules    int            // rules of flows that somebody has set; -1: not known
	Hardware bool           // it can stamp every packet that it receives
}

// All asks for all settings. What the driver does not know is not among them.
func (s *Socket) All(name string) Told {
	t := Told{Settings: map[string]string{}, Limits: map[string]int{}, Rules: -1}
	t.Driver, t.Firmware, t.Bus = s.info(name)
	for key, n := range numbers {
		if value, most, err := s.number(name, n); err == nil {
			t.Settings[key] = value
			if n.most > 0 {
				t.Limits[key] = most
			}
		}
	}
	if o, err := s.offloads(name); err == nil {
		for _, f := range Features {
			if value, err := o.get(f); err == nil {
				t.Settings["feature."+f] = value
			}
		}
	}
	if flags, on, err := s.privates(name); err == nil {
		for i, f := range flags {
			t.Settings["priv."+f] = onOff(on>>i&1 != 0)
		}
	}
	if r, err := s.rss(name); err == nil {
		for _, k := range []string{"key", "hfunc", "table"} {
			if value, err := r.get(k); err == nil {
				t.Settings["rss."+k] = value
			}
		}
	}
	for _, k := range []string{"udp4", "udp6"} {
		if value, err := s.hash(name, k); err == nil {
			t.Settings["hash."+k] = value
		}
	}
	t.Rules = s.rules(name)
	const (
		filterAll  = 1 << 1 // HWTSTAMP_FILTER_ALL
		rxHardware = unix.SOF_TIMESTAMPING_RX_HARDWARE
	)
	if w, err := s.words(name, unix.ETHTOOL_GET_TS_INFO, 11); err == nil {
		t.Hardware = w[1]&rxHardware != 0 && w[7]&filterAll != 0
	}
	return t
}

// info is struct ethtool_drvinfo, of 196 bytes.
func (s *Socket) info(name string) (driver, firmware, bus string) {
	b := make([]byte, 256)
	native.PutUint32(b, unix.ETHTOOL_GDRVINFO)
	if s.ask(name, b) != nil {
		return "", "", ""
	}
	text := func(at int) string { return unix.ByteSliceToString(b[at : at+32]) }
	return text(4), text(68), text(100)
}

// Known reports whether a name is that of a setting.
func Known(key string) bool {
	if _, ok := numbers[key]; ok {
		return true
	}
	group, rest, _ := strings.Cut(key, ".")
	switch group {
	case "feature":
		return slices.Contains(Features, rest)
	case "priv":
		return rest != ""
	case "rss":
		return slices.Contains([]string{"key", "hfunc", "table"}, rest)
	case "hash":
		return slices.Contains([]string{"udp4", "udp6"}, rest)
	}
	return false
}
