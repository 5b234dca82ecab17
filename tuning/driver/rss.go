package driver

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// rss is struct ethtool_rxfh: how received packets are dealt out to queues.
type rss struct {
	table  []uint32
	key    []byte
	hash   uint8 // ETH_RSS_HASH_*
	input  uint8 // input_xfrm: symmetric-xor and the like
	queues int   // to receive with, at the moment
}

const rssHead = 24 // bytes before the table and the key

var hashes = []string{"toeplitz", "xor", "crc32"} // by bit: ETH_RSS_HASH_TOP, …

func (s *Socket) rss(name string) (*rss, error) {
	b := make([]byte, rssHead)
	native.PutUint32(b, unix.ETHTOOL_GRSSH)
	if err := s.ask(name, b); err != nil {
		return nil, err
	}
	entries, keyLen := native.Uint32(b[8:]), native.Uint32(b[12:])
	const mostEntries, mostKey = 1 << 16, 1 << 10
	if entries > mostEntries || keyLen > mostKey {
		return nil, fmt.Errorf("a table of %d entries and a key of %d bytes are more than any card has", entries, keyLen)
	}
	b = make([]byte, rssHead+4*entries+keyLen)
	native.PutUint32(b, unix.ETHTOOL_GRSSH)
	native.PutUint32(b[8:], entries)
	native.PutUint32(b[12:], keyLen)
	if err := s.ask(name, b); err != nil {
		return nil, err
	}
	r := &rss{hash: b[16], input: b[17], key: b[rssHead+4*entries:]}
	for i := range int(entries) {
		r.table = append(r.table, native.Uint32(b[rssHead+4*i:]))
	}
	if w, err := s.words(name, unix.ETHTOOL_GCHANNELS, 9); err == nil {
		r.queues = int(w[5] + w[8])
	}
	return r, nil
}

func (r *rss) get(key string) (string, error) {
	switch {
	case key == "table" && len(r.table) > 0:
		return writeTable(r.table), nil
	case key == "key" && len(r.key) > 0:
		return writeKey(r.key), nil
	case key == "hfunc":
		for i, name := range hashes {
			if r.hash == 1<<i {
				return name, nil
			}
		}
	}
	return "", ErrUnsupported
}

// writeTable is "equal N" for a table that deals out to N queues in turn, as drivers
// set it up.
func writeTable(table []uint32) string {
	n := uint32(0)
	for _, q := range table {
		n = max(n, q+1)
	}
	equal := true
	parts := make([]string, len(table))
	for i, q := range table {
		equal = equal && q == uint32(i)%n
		parts[i] = strconv.FormatUint(uint64(q), 10)
	}
	if equal {
		return fmt.Sprintf("equal %d", n)
	}
	return strings.Join(parts, ",")
}

func readTable(value string, entries int) ([]uint32, error) {
	out := make([]uint32, entries)
	if text, ok := strings.CutPrefix(value, "equal "); ok {
		n, err := strconv.ParseUint(text, 10, 16)
		if err != nil || n == 0 {
			return nil, fmt.Errorf("%q is no number of queues", text)
		}
		for i := range out {
			out[i] = uint32(i) % uint32(n)
		}
		return out, nil
	}
	parts := strings.Split(value, ",")
	if len(parts) != entries {
		return nil, fmt.Errorf("a table of %d entries does not fit: there are %d", len(parts), entries)
	}
	for i, p := range parts {
		q, err := strconv.ParseUint(p, 10, 16)
		if err != nil {
			return nil, fmt.Errorf("%q is no number of a queue", p)
		}
		out[i] = uint32(q)
	}
	return out, nil
}

func writeKey(key []byte) string {
	parts := make([]string, len(key))
	for i, b := range key {
		parts[i] = hex.EncodeToString([]byte{b})
	}
	return strings.Join(parts, ":")
}

// setRSS changes one of key, hfunc and table, and leaves the others as they are. A
// table that is that of the driver for its queues is not set but reset: then it
// follows when the number of queues changes.
func (s *Socket) setRSS(name, key, value string) error {
	r, err := s.rss(name)
	if err != nil {
		return err
	}
	const keepTable = 1<<32 - 1 // ETH_RXFH_INDIR_NO_CHANGE
	entries, keyLen, hash := uint32(keepTable), uint32(0), uint8(0)
	var tail []byte
	switch key {
	case "table":
		if value == fmt.Sprintf("equal %d", r.queues) {
			entries = 0
			break
		}
		table, err := readTable(value, len(r.table))
		if err != nil {
			return err
		}
		entries = uint32(len(table))
		for _, q := range table {
			tail = native.AppendUint32(tail, q)
		}
	case "key":
		if tail, err = hex.DecodeString(strings.ReplaceAll(value, ":", "")); err != nil || len(tail) != len(r.key) {
			return fmt.Errorf("a key has %d bytes here", len(r.key))
		}
		keyLen = uint32(len(tail))
	case "hfunc":
		for i, h := range hashes {
			if h == value {
				hash = 1 << i
			}
		}
		if hash == 0 {
			return fmt.Errorf("%q is no hash", value)
		}
	default:
		return ErrUnsupported
	}
	b := make([]byte, rssHead, rssHead+len(tail))
	native.PutUint32(b, unix.ETHTOOL_SRSSH)
	native.PutUint32(b[8:], entries)
	native.PutUint32(b[12:], keyLen)
	b[16], b[17] = hash, r.input
	return s.ask(name, append(b, tail...))
}

// fields are those of a packet that the hash may be of, as ethtool(8) writes them
// (RXH_* of linux/ethtool.h).
var fields = []struct {
	bit    uint64
	letter string
}{{1 << 1, "m"}, {1 << 2, "v"}, {1 << 3, "t"}, {1 << 4, "s"}, {1 << 5, "d"}, {1 << 6, "f"}, {1 << 7, "n"}, {1 << 31, "r"}}

var flows = map[string]uint32{"udp4": 0x02, "udp6": 0x06} // UDP_V4_FLOW, UDP_V6_FLOW

const rxnfc = 192 // bytes of struct ethtool_rxnfc

// hash are the fields that the hash of a kind of flow is of.
func (s *Socket) hash(name, flow string) (string, error) {
	kind, ok := flows[flow]
	if !ok {
		return "", ErrUnsupported
	}
	b := make([]byte, rxnfc)
	native.PutUint32(b, unix.ETHTOOL_GRXFH)
	native.PutUint32(b[4:], kind)
	if err := s.ask(name, b); err != nil {
		return "", err
	}
	out, bits := "", native.Uint64(b[8:])
	for _, f := range fields {
		if bits&f.bit != 0 {
			out += f.letter
		}
	}
	if out == "" {
		return "", ErrUnsupported
	}
	return out, nil
}

func (s *Socket) setHash(name, flow, value string) error {
	kind, ok := flows[flow]
	if !ok {
		return ErrUnsupported
	}
	var bits uint64
	rest := value
	for _, f := range fields {
		if strings.Contains(value, f.letter) {
			bits |= f.bit
			rest = strings.ReplaceAll(rest, f.letter, "")
		}
	}
	if rest != "" || bits == 0 {
		return fmt.Errorf("%q are no fields of a packet", value)
	}
	b := make([]byte, rxnfc)
	native.PutUint32(b, unix.ETHTOOL_SRXFH)
	native.PutUint32(b[4:], kind)
	native.PutUint64(b[8:], bits)
	return s.ask(name, b)
}

// rules is how many rules of flows are set; -1 if that is not known.
func (s *Socket) rules(name string) int {
	b := make([]byte, rxnfc)
	native.PutUint32(b, unix.ETHTOOL_GRXCLSRLCNT)
	if s.ask(name, b) != nil {
		return -1
	}
	const at = 184 // rule_cnt
	return int(native.Uint32(b[at:]))
}
