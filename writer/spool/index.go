package spool

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math/bits"
	"slices"

	"ringside/writer/compress"
)

// The index of a segment is what its last frame, a skippable one, carries. All
// is little endian:
//
//	entries  44 bytes each: offset of the frame u64, its length u32, CRC-32C of
//	         it u32, place of the section in the decoded frame u32, length of
//	         the section u32, packets u32, first i64, last i64; by hash, then
//	         by offset and place
//	keys     16 bytes each: hash u64, first entry u32, entries u32; by hash
//	footer   64 bytes: "RSINDEX2", keys u32, entries u32, frames u32, 0 u32,
//	         CRC-32C of entries u32, of keys u32, packets u64,
//	         first i64, last i64, 0 u32, CRC-32C of the footer so far u32
//
// The key itself stands in the section, and is compared there: the index has
// only its hash. So one call is found with three reads: the footer, some keys
// about where the hash must stand, its entries.
const (
	entryBytes  = 44
	keyBytes    = 16
	footerBytes = 64
	indexMagic  = "RSINDEX2"
)

var (
	le    = binary.LittleEndian
	table = crc32.MakeTable(crc32.Castagnoli)
)

// ErrNoIndex says that a segment has no index that can be read.
var ErrNoIndex = errors.New("segment has no index: repair it")

// Entry is one section of a segment: where its frame lies, and where in it.
type Entry struct {
	Offset      int64
	Length      uint32 // bytes of the frame in the file
	Sum         uint32 // CRC-32C of them
	At          uint32 // where the section begins in the decoded frame
	Chunk       uint32 // bytes of the section
	Packets     uint32
	First, Last int64 // least and greatest time, ns
}

// index is that of a segment which is being written, in the order of the file.
type index struct {
	entries []Entry
	of      []uint64 // hashes of the keys of the entries
	frames  uint32
	packets uint64
	first   int64
	last    int64
}

func newIndex() *index { return &index{first: never, last: -never} }

// add notes a section. Those of one frame come one after the other.
func (x *index) add(key uint64, e Entry) {
	if n := len(x.entries); n == 0 || x.entries[n-1].Offset != e.Offset {
		x.frames++
	}
	x.entries, x.of = append(x.entries, e), append(x.of, key)
	x.packets += uint64(e.Packets)
	x.first, x.last = min(x.first, e.First), max(x.last, e.Last)
}

// find calls f with the sections of a key.
func (x *index) find(key uint64, f func(Entry)) {
	for i, of := range x.of {
		if of == key {
			f(x.entries[i])
		}
	}
}

// body is the index as it is stored.
func (x *index) body() []byte {
	places := make([]int, len(x.entries))
	for i := range places {
		places[i] = i
	}
	slices.SortStableFunc(places, func(a, b int) int { return cmp.Compare(x.of[a], x.of[b]) })

	b := make([]byte, 0, len(places)*(entryBytes+keyBytes)+footerBytes)
	for _, p := range places {
		e := &x.entries[p]
		b = le.AppendUint64(b, uint64(e.Offset))
		for _, v := range []uint32{e.Length, e.Sum, e.At, e.Chunk, e.Packets} {
			b = le.AppendUint32(b, v)
		}
		b = le.AppendUint64(b, uint64(e.First))
		b = le.AppendUint64(b, uint64(e.Last))
	}
	tables, keys := len(b), uint32(0)
	for from := 0; from < len(places); keys++ {
		to := from + 1
		for to < len(places) && x.of[places[to]] == x.of[places[from]] {
			to++
		}
		b = le.AppendUint64(b, x.of[places[from]])
		b = le.AppendUint32(b, uint32(from))
		b = le.AppendUint32(b, uint32(to-from))
		from = to
	}
	footer := len(b)
	b = append(b, indexMagic...)
	for _, v := range []uint32{keys, uint32(len(places)), x.frames, 0,
		crc32.Checksum(b[:tables], table), crc32.Checksum(b[tables:footer], table)} {
		b = le.AppendUint32(b, v)
	}
	b = le.AppendUint64(b, x.packets)
	b = le.AppendUint64(b, uint64(x.first))
	b = le.AppendUint64(b, uint64(x.last))
	b = le.AppendUint32(b, 0)
	return le.AppendUint32(b, crc32.Checksum(b[footer:], table))
}

// stored is the index of a closed segment: its footer. The rest is read when it
// is asked for.
type stored struct {
	f       File
	format  compress.Format
	size    int64 // of the file
	at      int64 // of the entries, as bytes before the end of the index
	keysAt  int64
	entries int
	sum     uint32 // of the entries
	keySum  uint32
	read    int64 // bytes read of the file
	Summary
}

// Summary is what a segment holds.
type Summary struct {
	Keys        int
	Sections    int
	Frames      int
	Packets     uint64
	First, Last int64 // times of its packets, ns
}

// openIndex reads the footer of a closed segment.
func openIndex(f File, format compress.Format) (*stored, error) {
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	if size < footerBytes+compress.SkipHeader+int64(compress.SkipTail(format)) {
		return nil, ErrNoIndex
	}
	foot := make([]byte, footerBytes)
	if err := compress.ReadBack(f, format, size, footerBytes, foot); err != nil {
		return nil, fmt.Errorf("read index: %w", err)
	}
	if string(foot[:8]) != indexMagic || le.Uint32(foot[60:]) != crc32.Checksum(foot[:60], table) {
		return nil, ErrNoIndex
	}
	keys, entries := int64(le.Uint32(foot[8:])), int64(le.Uint32(foot[12:]))
	s := &stored{f: f, format: format, size: size, entries: int(entries), sum: le.Uint32(foot[24:]), keySum: le.Uint32(foot[28:]), read: footerBytes}
	s.keysAt = footerBytes + keys*keyBytes
	s.at = s.keysAt + entries*entryBytes
	if s.at+compress.SkipHeader > size {
		return nil, ErrNoIndex
	}
	s.Summary = Summary{Keys: int(keys), Sections: int(entries), Frames: int(le.Uint32(foot[16:])), Packets: le.Uint64(foot[32:]),
		First: int64(le.Uint64(foot[40:])), Last: int64(le.Uint64(foot[48:]))}
	return s, nil
}

// keysRead is how many keys are read at a time.
const keysRead = 192

// has says which entries are those of a key; from equals to if there are none.
// Hashes lie evenly, so that the place of one is nearly known before any is read.
func (s *stored) has(key uint64) (from, to int, err error) {
	near, _ := bits.Mul64(key, uint64(s.Keys))
	lo, hi := 0, s.Keys // the key is in between, if anywhere
	for a := int(near) - keysRead/2; lo < hi; {
		a = max(min(a, hi-keysRead), lo)
		b := min(a+keysRead, hi)
		page := make([]byte, (b-a)*keyBytes)
		if err := s.readBack(s.keysAt-int64(a)*keyBytes, page); err != nil {
			return 0, 0, err
		}
		i := 0
		for i < b-a && le.Uint64(page[i*keyBytes:]) < key {
			i++
		}
		switch {
		case i == b-a:
			lo = b
			a = (lo + hi - keysRead) / 2
		case le.Uint64(page[i*keyBytes:]) == key:
			k := page[i*keyBytes:]
			from = int(le.Uint32(k[8:]))
			if to = from + int(le.Uint32(k[12:])); to > s.entries {
				return 0, 0, fmt.Errorf("%w: its keys are damaged", ErrNoIndex)
			}
			return from, to, nil
		case i > 0:
			return 0, 0, nil
		default:
			hi = a
			a = (lo + hi - keysRead) / 2
		}
	}
	return 0, 0, nil
}

// find calls f with the sections of a key.
func (s *stored) find(key uint64, f func(Entry)) error {
	from, to, err := s.has(key)
	if err != nil || from == to {
		return err
	}
	b, err := s.load(from, to)
	for ; err == nil && len(b) > 0; b = b[entryBytes:] {
		f(parseEntry(b))
	}
	return err
}

// load reads entries as they are stored.
func (s *stored) load(from, to int) ([]byte, error) {
	b := make([]byte, (to-from)*entryBytes)
	return b, s.readBack(s.at-int64(from)*entryBytes, b)
}

func (s *stored) readBack(back int64, b []byte) error {
	if err := compress.ReadBack(s.f, s.format, s.size, back, b); err != nil {
		return fmt.Errorf("read index: %w", err)
	}
	s.read += int64(len(b))
	return nil
}

func parseEntry(b []byte) Entry {
	return Entry{
		Offset: int64(le.Uint64(b)), Length: le.Uint32(b[8:]), Sum: le.Uint32(b[12:]), At: le.Uint32(b[16:]), Chunk: le.Uint32(b[20:]),
		Packets: le.Uint32(b[24:]), First: int64(le.Uint64(b[28:])), Last: int64(le.Uint64(b[36:])),
	}
}

// place is where a section lies: the offset of its frame, and where in it.
type place struct {
	offset int64
	at     uint32
}

type keyed struct {
	Entry
	key uint64
}

// all reads the whole index.
func (s *stored) all() (map[place]keyed, error) {
	b, err := s.load(0, s.entries)
	if err != nil {
		return nil, err
	}
	keys := make([]byte, s.Keys*keyBytes)
	if err := s.readBack(s.keysAt, keys); err != nil {
		return nil, err
	}
	if crc32.Checksum(b, table) != s.sum || crc32.Checksum(keys, table) != s.keySum {
		return nil, fmt.Errorf("%w: its entries are damaged", ErrNoIndex)
	}
	out := make(map[place]keyed, s.entries)
	for ; len(keys) > 0; keys = keys[keyBytes:] {
		from := int(le.Uint32(keys[8:]))
		for j := from; j < min(from+int(le.Uint32(keys[12:])), s.entries); j++ {
			e := parseEntry(b[j*entryBytes:])
			out[place{e.Offset, e.At}] = keyed{e, le.Uint64(keys)}
		}
	}
	return out, nil
}

// summary is what an index says in its footer. It counts the keys each time.
func (x *index) summary() Summary {
	keys := map[uint64]bool{}
	for _, k := range x.of {
		keys[k] = true
	}
	s := Summary{Keys: len(keys), Sections: len(x.entries), Frames: int(x.frames), Packets: x.packets}
	if s.Packets > 0 {
		s.First, s.Last = x.first, x.last
	}
	return s
}
