package queue

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A segment file begins with head, which is its version too. An entry is a header
// of entryHead bytes, little endian, and its data:
//
//	0  magic
//	4  CRC-32C of all that follows
//	8  length of the data, bytes
//	12 items
//	16 number of the first item
//	24 time, ns since the Unix epoch
const (
	head      = "ringside queue 1\n"
	entryHead = 32
)

var (
	magic = []byte("RSQ\x1a")
	table = crc32.MakeTable(crc32.Castagnoli)
	le    = binary.LittleEndian
)

func appendEntry(b []byte, first uint64, items int, at time.Time, data []byte) []byte {
	b = slices.Grow(b, entryHead+len(data))
	start := len(b)
	b = append(b, magic...)
	b = append(b, 0, 0, 0, 0)
	b = le.AppendUint32(b, uint32(len(data)))
	b = le.AppendUint32(b, uint32(items))
	b = le.AppendUint64(b, first)
	b = le.AppendUint64(b, uint64(at.UnixNano()))
	b = append(b, data...)
	le.PutUint32(b[start+4:], crc32.Checksum(b[start+8:], table))
	return b
}

// readEntry reads the entry at an offset of a segment of that size. ok is false
// if there is no whole one.
func readEntry(f io.ReaderAt, at, size int64) (e Entry, ok bool, err error) {
	var h [entryHead]byte
	if at+entryHead > size {
		return e, false, nil
	}
	if err := readFull(f, h[:], at); err != nil {
		return e, false, err
	}
	length := int64(le.Uint32(h[8:]))
	if !bytes.Equal(h[:4], magic) || length > maxEntry || at+entryHead+length > size {
		return e, false, nil
	}
	e = Entry{
		First: le.Uint64(h[16:]), Items: int(le.Uint32(h[12:])),
		Time: time.Unix(0, int64(le.Uint64(h[24:]))), Data: make([]byte, length),
	}
	if err := readFull(f, e.Data, at+entryHead); err != nil {
		return e, false, err
	}
	sum := crc32.Update(crc32.Checksum(h[8:], table), table, e.Data)
	return e, sum == le.Uint32(h[4:]) && e.Items > 0, nil
}

// readFull reads len(b) bytes. A file that is shorter than it was reads as zeros,
// which are damage and no error.
func readFull(f io.ReaderAt, b []byte, at int64) error {
	n, err := f.ReadAt(b, at)
	if n == len(b) || errors.Is(err, io.EOF) {
		clear(b[n:])
		return nil
	}
	return err
}

// findEntry is the first whole entry from an offset on whose items lie in
// [expect, end), and the offset behind it; one without items if there is none.
// Bytes that are no entry are passed over.
func findEntry(f io.ReaderAt, at, size int64, expect, end uint64) (Entry, int64, error) {
	for {
		e, ok, err := readEntry(f, at, size)
		if err != nil {
			return Entry{}, at, err
		}
		switch {
		case ok && e.First >= expect && e.next() <= end:
			return e, at + entryHead + int64(len(e.Data)), nil
		case ok:
			at += entryHead + int64(len(e.Data))
			continue
		}
		if at, err = findMagic(f, at+1, size); err != nil || at >= size {
			return Entry{}, at, err
		}
	}
}

// findMagic is the offset of the next magic, or size.
func findMagic(f io.ReaderAt, at, size int64) (int64, error) {
	buf := make([]byte, 64<<10)
	for at < size {
		b := buf[:min(int64(len(buf)), size-at)]
		if err := readFull(f, b, at); err != nil {
			return at, err
		}
		if i := bytes.Index(b, magic); i >= 0 {
			return at + int64(i), nil
		}
		at += int64(max(len(b)-len(magic)+1, 1))
	}
	return size, nil
}

const ext = ".queue"

// openPath is where a segment is written, closedPath where it lies when it is
// complete: FIRST-LAST.queue, the numbers of its items in hexadecimal.
func openPath(dir string, first uint64) string {
	return filepath.Join(dir, fmt.Sprintf(".%016x%s", first, ext))
}

func closedPath(dir string, first, next uint64) string {
	return filepath.Join(dir, fmt.Sprintf("%016x-%016x%s", first, next-1, ext))
}

// parsePath is the inverse of both.
func parsePath(path string) (s segment, ok bool) {
	name, found := strings.CutSuffix(filepath.Base(path), ext)
	name, s.open = strings.CutPrefix(name, ".")
	from, to, closed := strings.Cut(name, "-")
	first, err := strconv.ParseUint(from, 16, 64)
	if !found || err != nil || closed == s.open {
		return s, false
	}
	s.path, s.first, s.next = path, first, first
	if closed {
		last, err := strconv.ParseUint(to, 16, 64)
		if err != nil || last < first {
			return s, false
		}
		s.next = last + 1
	}
	return s, true
}

// recovered is the segments of a directory in order. Those that a crash left open
// are completed; cut is how many bytes behind their last whole entry went.
func recovered(fsys FS, dir string) (list []*segment, cut int64, err error) {
	files, err := fsys.ReadDir(dir)
	if err != nil {
		return nil, 0, err
	}
	for _, f := range files {
		s, ok := parsePath(filepath.Join(dir, f.Name()))
		if !ok {
			continue // the position, the lock, or nothing of ours
		}
		n, err := s.recover(fsys, dir)
		if err != nil {
			return nil, 0, err
		}
		if cut += n; s.next > s.first {
			list = append(list, &s)
		}
	}
	slices.SortFunc(list, func(a, b *segment) int {
		if a.first < b.first {
			return -1
		}
		return 1
	})
	// A segment that was given up after an error may have kept entries that were
	// not taken: the one behind it says where they begin again.
	for i := 1; i < len(list); i++ {
		list[i-1].next = min(list[i-1].next, list[i].first)
	}
	return list, cut, nil
}

// recover looks at the file of a segment, and completes it if it was left open.
func (s *segment) recover(fsys FS, dir string) (cut int64, err error) {
	f, err := fsys.Open(s.path, s.open)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	if s.size, err = f.Size(); err != nil || !s.open {
		return 0, err
	}
	whole := int64(len(head))
	for at := whole; ; {
		e, behind, err := findEntry(f, at, s.size, s.next, 1<<63)
		if err != nil {
			return 0, err
		}
		if e.Items == 0 {
			break
		}
		s.next, whole, at = e.next(), behind, behind
	}
	cut, s.size, s.open = max(0, s.size-whole), whole, false
	if s.next == s.first {
		return cut, fsys.Remove(s.path)
	}
	if err = f.Truncate(whole); err == nil {
		err = f.Sync()
	}
	if err != nil {
		return cut, err
	}
	to := closedPath(dir, s.first, s.next)
	if err := fsys.Rename(s.path, to); err != nil {
		return cut, err
	}
	s.path = to
	return cut, fsys.SyncDir(dir)
}

// firstTime is when the first entry of a segment was appended; zero if that
// cannot be read.
func firstTime(fsys FS, path string) time.Time {
	f, err := fsys.Open(path, false)
	if err != nil {
		return time.Time{}
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return time.Time{}
	}
	e, _, err := findEntry(f, int64(len(head)), size, 0, 1<<63)
	if err != nil {
		return time.Time{}
	}
	return e.Time
}

// The position is kept in a file of its own: the number of the first item that is
// not acknowledged, with a checksum, in words.
const positionName = "position"

func writePosition(fsys FS, dir string, number uint64) error {
	path := filepath.Join(dir, positionName)
	hidden := filepath.Join(dir, "."+positionName)
	if err := fsys.Remove(hidden); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := fsys.Create(hidden)
	if err != nil {
		return err
	}
	if _, err = f.WriteAt(positionLine(number), 0); err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, fsys.Remove(hidden))
	}
	if err := fsys.Rename(hidden, path); err != nil {
		return err
	}
	return fsys.SyncDir(dir)
}

func positionLine(number uint64) []byte {
	line := fmt.Appendf(nil, "next %d", number)
	return fmt.Appendf(line, " crc32c %08x\n", crc32.Checksum(line, table))
}

// readPosition is 0 if there is none that can be read: all that is in the queue
// then comes again.
func readPosition(fsys FS, dir string) uint64 {
	f, err := fsys.Open(filepath.Join(dir, positionName), false)
	if err != nil {
		return 0
	}
	defer f.Close()
	var b [64]byte
	n, err := f.ReadAt(b[:], 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return 0
	}
	var number uint64
	if _, err := fmt.Sscanf(string(b[:n]), "next %d", &number); err != nil || !bytes.Equal(b[:n], positionLine(number)) {
		return 0
	}
	return number
}
