package spool

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"sort"

	"ringside/writer/compress"
)

// The index of a segment is what its last frame, a skippable one, carries. All
// is little endian:
//
//	entries  40 bytes each: offset u64, length u32, CRC-32C u32, packets u32,
//	         bytes of the chunk u32, first i64, last i64; by key as in the
//	         next table, then by offset
//	keys     24 bytes each: hash u64, first entry u32, entries u32, place of
//	         the name u32, its length u32; by hash, then by name
//	names    the keys, padded to four bytes
//	footer   64 bytes: "RSINDEX1", keys u32, entries u32, bytes of names u32,
//	         0 u32, CRC-32C of entries u32, of keys and names u32, packets
//	         u64, first i64, last i64, 0 u32, CRC-32C of the footer so far u32
//
// So one call is found with three reads: footer, keys and names, its entries.
const (
	entryBytes  = 40
	keyBytes    = 24
	footerBytes = 64
	indexMagic  = "RSINDEX1"
)

var (
	le    = binary.LittleEndian
	table = crc32.MakeTable(crc32.Castagnoli)
)

// ErrNoIndex says that a segment has no index that can be read.
var ErrNoIndex = errors.New("segment has no index: repair it")

// Entry is one frame of a segment.
type Entry struct {
	Offset      int64
	Length      uint32 // bytes in the file
	Sum         uint32 // CRC-32C of them
	Packets     uint32
	Chunk       uint32 // bytes of the pcapng section
	First, Last int64  // least and greatest time, ns
}

// index is that of a segment which is being written, in the order of the file.
type index struct {
	keys    map[string]uint32
	names   []string
	entries []Entry
	of      []uint32 // keys of the entries
	packets uint64
	first   int64
	last    int64
}

func newIndex() *index { return &index{keys: map[string]uint32{}, first: never, last: -never} }

func (x *index) add(key []byte, e Entry) {
	k, ok := x.keys[string(key)]
	if !ok {
		k = uint32(len(x.names))
		name := string(key)
		x.names = append(x.names, name)
		x.keys[name] = k
	}
	x.entries, x.of = append(x.entries, e), append(x.of, k)
	x.packets += uint64(e.Packets)
	x.first, x.last = min(x.first, e.First), max(x.last, e.Last)
}

// find calls f with the frames of a key.
func (x *index) find(key string, f func(Entry)) {
	k, ok := x.keys[key]
	if !ok {
		return
	}
	for i, of := range x.of {
		if of == k {
			f(x.entries[i])
		}
	}
}

// body is the index as it is stored.
func (x *index) body() []byte {
	order := make([]uint32, len(x.names)) // of the keys
	for i := range order {
		order[i] = uint32(i)
	}
	slices.SortFunc(order, func(a, b uint32) int {
		return cmp.Or(cmp.Compare(hash(x.names[a]), hash(x.names[b])), cmp.Compare(x.names[a], x.names[b]))
	})
	rank := make([]uint32, len(order))
	for i, k := range order {
		rank[k] = uint32(i)
	}
	places := make([]int, len(x.entries))
	for i := range places {
		places[i] = i
	}
	slices.SortStableFunc(places, func(a, b int) int { return cmp.Compare(rank[x.of[a]], rank[x.of[b]]) })

	b := make([]byte, 0, len(places)*entryBytes+len(order)*(keyBytes+48)+footerBytes)
	counts := make([]uint32, len(order))
	for _, p := range places {
		e := &x.entries[p]
		counts[rank[x.of[p]]]++
		b = le.AppendUint64(b, uint64(e.Offset))
		for _, v := range []uint32{e.Length, e.Sum, e.Packets, e.Chunk} {
			b = le.AppendUint32(b, v)
		}
		b = le.AppendUint64(b, uint64(e.First))
		b = le.AppendUint64(b, uint64(e.Last))
	}
	keys := len(b)
	var names []byte
	at := uint32(0)
	for i, k := range order {
		b = le.AppendUint64(b, hash(x.names[k]))
		for _, v := range []uint32{at, counts[i], uint32(len(names)), uint32(len(x.names[k]))} {
			b = le.AppendUint32(b, v)
		}
		names, at = append(names, x.names[k]...), at+counts[i]
	}
	for len(names)%4 != 0 {
		names = append(names, 0)
	}
	b = append(b, names...)

	footer := len(b)
	b = append(b, indexMagic...)
	for _, v := range []uint32{uint32(len(order)), uint32(len(places)), uint32(len(names)), 0,
		crc32.Checksum(b[:keys], table), crc32.Checksum(b[keys:footer], table)} {
		b = le.AppendUint32(b, v)
	}
	b = le.AppendUint64(b, x.packets)
	b = le.AppendUint64(b, uint64(x.first))
	b = le.AppendUint64(b, uint64(x.last))
	b = le.AppendUint32(b, 0)
	return le.AppendUint32(b, crc32.Checksum(b[footer:], table))
}

// stored is the index of a closed segment: its footer, keys and names. Entries
// are read when they are asked for.
type stored struct {
	f       File
	at      int64 // of the entries in the file
	keys    []byte
	names   []byte
	entries int
	sum     uint32 // of the entries
	read    int64  // bytes read of the file
	Summary
}

// Summary is what a segment holds.
type Summary struct {
	Keys        int
	Frames      int
	Packets     uint64
	First, Last int64 // times of its packets, ns
}

// openIndex reads the index of a closed segment.
func openIndex(f File, format compress.Format) (*stored, error) {
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	end := size - int64(compress.SkipTail(format))
	if end < footerBytes {
		return nil, ErrNoIndex
	}
	foot := make([]byte, footerBytes)
	if _, err := f.ReadAt(foot, end-footerBytes); err != nil {
		return nil, fmt.Errorf("read index: %w", err)
	}
	if string(foot[:8]) != indexMagic || le.Uint32(foot[60:]) != crc32.Checksum(foot[:60], table) {
		return nil, ErrNoIndex
	}
	keys, entries, names := int64(le.Uint32(foot[8:])), int64(le.Uint32(foot[12:])), int64(le.Uint32(foot[16:]))
	tables := keys*keyBytes + names
	s := &stored{f: f, entries: int(entries), sum: le.Uint32(foot[24:]), at: end - footerBytes - tables - entries*entryBytes, read: footerBytes + tables}
	if s.at < compress.SkipHeader {
		return nil, ErrNoIndex
	}
	b := make([]byte, tables)
	if _, err := f.ReadAt(b, end-footerBytes-tables); err != nil {
		return nil, fmt.Errorf("read index: %w", err)
	}
	if crc32.Checksum(b, table) != le.Uint32(foot[28:]) {
		return nil, fmt.Errorf("%w: its keys are damaged", ErrNoIndex)
	}
	s.keys, s.names = b[:keys*keyBytes], b[keys*keyBytes:]
	s.Summary = Summary{Keys: int(keys), Frames: int(entries), Packets: le.Uint64(foot[32:]),
		First: int64(le.Uint64(foot[40:])), Last: int64(le.Uint64(foot[48:]))}
	return s, nil
}

// name is the i-th key, and its entries from the one to before the other.
func (s *stored) name(i int) (name string, from, to int, err error) {
	k := s.keys[i*keyBytes:]
	at, n := uint64(le.Uint32(k[16:])), uint64(le.Uint32(k[20:]))
	from = int(le.Uint32(k[8:]))
	to = from + int(le.Uint32(k[12:]))
	if at+n > uint64(len(s.names)) || to > s.entries {
		return "", 0, 0, fmt.Errorf("%w: its keys are damaged", ErrNoIndex)
	}
	return string(s.names[at : at+n]), from, to, nil
}

// has says whether the segment holds frames of a key, and which entries.
func (s *stored) has(key string) (from, to int, err error) {
	h := hash(key)
	i := sort.Search(s.Keys, func(i int) bool { return le.Uint64(s.keys[i*keyBytes:]) >= h })
	for ; i < s.Keys && le.Uint64(s.keys[i*keyBytes:]) == h; i++ {
		name, from, to, err := s.name(i)
		if err != nil || name == key {
			return from, to, err
		}
	}
	return 0, 0, nil
}

// find calls f with the frames of a key.
func (s *stored) find(key string, f func(Entry)) error {
	from, to, err := s.has(key)
	if err != nil || from == to {
		return err
	}
	b, err := s.load(from, to)
	for ; len(b) > 0; b = b[entryBytes:] {
		f(parseEntry(b))
	}
	return err
}

// load reads entries as they are stored.
func (s *stored) load(from, to int) ([]byte, error) {
	b := make([]byte, (to-from)*entryBytes)
	if _, err := s.f.ReadAt(b, s.at+int64(from)*entryBytes); err != nil {
		return nil, fmt.Errorf("read index: %w", err)
	}
	s.read += int64(len(b))
	return b, nil
}

func parseEntry(b []byte) Entry {
	return Entry{
		Offset: int64(le.Uint64(b)), Length: le.Uint32(b[8:]), Sum: le.Uint32(b[12:]), Packets: le.Uint32(b[16:]),
		Chunk: le.Uint32(b[20:]), First: int64(le.Uint64(b[24:])), Last: int64(le.Uint64(b[32:])),
	}
}
