package spool

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"path/filepath"

	"ringside/writer/compress"
	"ringside/writer/pcap"
)

// Damage is what a scan found wrong.
type Damage struct {
	Holes int   // places in front of whole frames that are no frames
	Lost  int64 // bytes of them and behind the last whole frame
}

// Recovered is what was saved of a segment.
type Recovered struct {
	Name Name // it has now; of an empty one, that was removed, without frames
	Summary
	Damage
	Err error // why the segment could not be closed; it stays hidden
}

// window is what a scan holds of the file: room for the longest frame there
// can be.
const window = 4 << 20

// scanner walks the frames of a segment without its index.
type scanner struct {
	format compress.Format
	dec    compress.Decoder
	read   pcap.Reader
	chunk  []byte

	found []keyed // sections of the frame at hand
	index *index
	Damage
	end    int64 // behind the last whole frame
	index0 int64 // where the frames of an index begin; 0 if there is none
}

// eachFrame is called with the sections of a frame and its bytes.
type eachFrame func(sections []keyed, frame []byte) error

// scan reads a segment frame by frame. Each, if it is not nil, is called with
// every whole frame.
func (s *scanner) scan(f io.ReaderAt, size int64, each eachFrame) error {
	buf := make([]byte, window)
	var at, had int64 // place of buf, bytes in it
	fill := func(to int64) error {
		at = to
		n, err := f.ReadAt(buf[:min(window, size-at)], at)
		had = int64(n)
		if err != nil && err != io.EOF {
			return fmt.Errorf("read segment: %w", err)
		}
		return nil
	}
	for pos := int64(0); pos < size; {
		if pos+window/2 > at+had && at+had < size || pos == 0 {
			if err := fill(pos); err != nil {
				return err
			}
		}
		b := buf[min(pos-at, had):had]
		if n := compress.SkipLength(s.format, b); n > 0 && pos+n <= size {
			if s.index0 == 0 {
				s.index0 = pos
			}
			pos += n // frames may follow: a repaired file is only what was appended
			continue
		}
		n, err := s.frame(b, pos, each)
		if err != nil {
			return err
		}
		if n > 0 {
			if pos > s.end && s.index0 == 0 {
				s.Holes++
			}
			pos += int64(n)
			s.end = pos
			continue
		}
		next := bytes.Index(b[min(1, len(b)):], compress.Magic(s.format))
		switch {
		case len(b) == 0:
			pos = size // it became shorter while it was read
		case next >= 0:
			s.Lost += int64(next) + 1
			pos += int64(next) + 1
		default:
			// The last three bytes may begin a magic number.
			skip := int64(max(len(b)-3, 1))
			s.Lost += skip
			pos += skip
		}
	}
	return nil
}

// frame takes the frame that b begins with, and returns its length, or 0 if
// there is no whole one.
func (s *scanner) frame(b []byte, pos int64, each eachFrame) (int, error) {
	n, skip, err := compress.Measure(s.format, b)
	if err != nil || skip {
		return 0, nil
	}
	if s.chunk, err = s.dec.Append(s.chunk[:0], s.format, b[:n]); err != nil {
		return 0, nil
	}
	s.found = s.found[:0]
	sum := crc32.Checksum(b[:n], table)
	for at := 0; at < len(s.chunk); {
		k, ok := s.section(s.chunk[at:])
		if !ok {
			return 0, nil
		}
		k.Offset, k.Length, k.Sum, k.At = pos, uint32(n), sum, uint32(at)
		s.found = append(s.found, k)
		at += int(k.Chunk)
	}
	for _, k := range s.found {
		s.index.add(k.key, k.Entry)
	}
	if each != nil {
		return n, each(s.found, b[:n])
	}
	return n, nil
}

// section reads the section that b begins with.
func (s *scanner) section(b []byte) (keyed, bool) {
	n := pcap.SectionLength(b)
	if n == 0 || n > int64(len(b)) || s.read.Reset(b[:n]) != nil {
		return keyed{}, false
	}
	k := keyed{key: hash(s.read.Comment), Entry: Entry{Chunk: uint32(n), First: never, Last: -never}}
	var p pcap.Packet
	for s.read.Next(&p) {
		k.Packets++
		k.First, k.Last = min(k.First, p.Time), max(k.Last, p.Time)
	}
	return k, s.read.Err() == nil && k.Packets > 0
}

func scanSegment(f File, format compress.Format, each eachFrame) (*scanner, error) {
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	s := &scanner{format: format, index: newIndex()}
	return s, s.scan(f, size, each)
}

// recoverSegment closes a segment that a crash left: it is cut behind its last
// whole frame, or, if there is damage before that or anew is set, its whole
// frames are copied; then it gets an index and its name. One without any frame
// is removed.
func recoverSegment(files FS, root string, n Name, anew bool) (Recovered, error) {
	path := filepath.Join(root, n.Path())
	f, err := files.Open(path, true)
	if errors.Is(err, fs.ErrNotExist) {
		return Recovered{Name: n}, nil // the disk lost the name too
	}
	if err != nil {
		return Recovered{}, fmt.Errorf("recover segment: %w", err)
	}
	defer f.Close()
	s, err := scanSegment(f, n.Format, nil)
	if err != nil {
		return Recovered{}, fmt.Errorf("recover segment %s: %w", n.Path(), err)
	}
	done := Recovered{Name: n, Damage: s.Damage, Summary: s.index.summary()}
	switch {
	case len(s.index.entries) == 0:
		err = files.Remove(path)
	case anew || s.Holes > 0 || s.index0 > 0 && s.index0 < s.end:
		err = rewrite(files, root, n, f)
	default:
		err = closeRecovered(f, n, s.index, s.end)
	}
	if err == nil && n.Hidden && done.Frames > 0 {
		done.Name, err = publishFree(files, root, n)
	}
	if err != nil {
		return done, fmt.Errorf("recover segment %s: %w", n.Path(), err)
	}
	return done, nil
}

// closeRecovered gives a file its index and syncs it.
func closeRecovered(f File, n Name, x *index, end int64) error {
	if _, err := writeIndex(f, n.Format, x, end); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("sync segment: %w", err)
	}
	return nil
}

// publishFree publishes a hidden segment under the first copy that is free.
func publishFree(files FS, root string, n Name) (Name, error) {
	to := n
	for to.Hidden = false; to.Copy < maxCopies; to.Copy++ {
		f, err := files.Open(filepath.Join(root, to.Path()), false)
		if err == nil {
			_ = f.Close() // it was only looked for
			continue
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return n, err
		}
		from := filepath.Join(root, n.Path())
		if err := files.Rename(from, filepath.Join(root, to.Path())); err != nil {
			return n, fmt.Errorf("rename segment: %w", err)
		}
		return to, files.SyncDir(filepath.Dir(from))
	}
	return n, fmt.Errorf("%d copies of %s are taken", maxCopies, n.Path())
}

// newExt ends the name of a file that is to replace a segment.
const newExt = ".new"

// rewrite replaces a file by one that has its whole frames, an index, and
// nothing else. Until the new one is complete and synced the old one stays.
func rewrite(files FS, root string, n Name, from File) error {
	path := filepath.Join(root, n.Path())
	out, err := files.Create(path + newExt)
	if errors.Is(err, fs.ErrExist) { // an attempt that failed
		if err = files.Remove(path + newExt); err == nil {
			out, err = files.Create(path + newExt)
		}
	}
	if err != nil {
		return fmt.Errorf("create segment: %w", err)
	}
	err = copyFrames(out, n, from)
	if err = errors.Join(err, out.Close()); err == nil {
		err = files.Rename(path+newExt, path)
	}
	if err != nil {
		return errors.Join(err, files.Remove(path+newExt))
	}
	return files.SyncDir(filepath.Dir(path))
}

func copyFrames(out File, n Name, from File) error {
	var buf []byte
	var at int64
	x := newIndex()
	write := func() error {
		if _, err := out.WriteAt(buf, at-int64(len(buf))); err != nil {
			return fmt.Errorf("write segment: %w", err)
		}
		buf = buf[:0]
		return nil
	}
	_, err := scanSegment(from, n.Format, func(sections []keyed, frame []byte) error {
		for _, k := range sections {
			k.Offset = at
			x.add(k.key, k.Entry)
		}
		buf, at = append(buf, frame...), at+int64(len(frame))
		if len(buf) >= writeSize {
			return write()
		}
		return nil
	})
	if err == nil {
		err = write()
	}
	if err == nil {
		err = closeRecovered(out, n, x, at)
	}
	return err
}
