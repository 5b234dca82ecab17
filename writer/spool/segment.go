package spool

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"ringside/writer/compress"
)

const (
	writeSize    = 1 << 20 // a segment is written in pieces of at least this, where there is that much
	maxSegment   = 4 << 30 // bytes; a segment that has more is closed, and a further copy begun
	maxEntries   = 1 << 20
	maxCopies    = 10000
	maxAttempts  = 3 // failures of one segment after which it is given up, and its file repaired
	closingGrace = int64(time.Second)
)

// segment is one file that is being written. The writer that it belongs to
// changes it; others read it under the lock.
type segment struct {
	name Name // while hidden; never changes
	root string
	fs   FS

	mu      sync.Mutex
	f       File
	index   *index
	group   []byte  // sections that become one frame
	of      []keyed // those sections; At is their place
	buf     []byte  // frames not yet in the file
	written int64   // bytes in the file; buf belongs behind them
	done    bool    // the file is complete and has its name; written is all of it

	enc      *compress.Encoder
	level    compress.Level
	since    time.Time // when the oldest byte of group and buf came
	used     time.Time // when the last one came
	synced   time.Time
	dirty    bool // written to since then
	attempts int
	broken   bool // a sync failed: the file is not to be trusted until it was read again

	back   int64                   // how far its minute is behind the clock, ns
	packed *packing                // of its class
	timed  func(Op, time.Duration) // may be nil
}

// packing counts bytes before and behind compression.
type packing struct{ plain, frames atomic.Uint64 }

// createSegment begins a file under a hidden name that is free, as is the one
// that it will have.
func createSegment(files FS, root string, n Name, enc *compress.Encoder, now time.Time) (*segment, error) {
	var f File
	err := fs.ErrNotExist
	for range 2 { // retention may remove the empty folder before the file is in it
		if !errors.Is(err, fs.ErrNotExist) {
			break
		}
		if err := files.MkdirAll(filepath.Dir(filepath.Join(root, n.Path()))); err != nil {
			return nil, fmt.Errorf("make spool folder: %w", err)
		}
		n, f, err = create(files, root, n)
	}
	if err != nil {
		return nil, err
	}
	return &segment{name: n, root: root, fs: files, f: f, enc: enc, index: newIndex(), used: now, synced: now,
		buf: make([]byte, 0, writeSize+compress.Bound(maxChunk))}, nil
}

// create makes the hidden file of the first copy that is free.
func create(files FS, root string, n Name) (Name, File, error) {
	for ; n.Copy < maxCopies; n.Copy++ {
		n.Hidden = false
		if f, err := files.Open(filepath.Join(root, n.Path()), false); err == nil {
			_ = f.Close() // it was only looked for
			continue
		} else if !errors.Is(err, fs.ErrNotExist) {
			return n, nil, fmt.Errorf("look for segment: %w", err)
		}
		n.Hidden = true
		f, err := files.Create(filepath.Join(root, n.Path()))
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return n, nil, fmt.Errorf("create segment: %w", err)
		}
		return n, f, nil
	}
	return n, nil, fmt.Errorf("create segment: there are %d copies of %s already", maxCopies, n.Path())
}

// final is the name that the segment has when it is done.
func (s *segment) final() Name {
	n := s.name
	n.Hidden = false
	return n
}

// open opens the file for reading, whether it has its name or not yet.
func (s *segment) open() (File, error) {
	file, err := s.fs.Open(filepath.Join(s.root, s.name.Path()), false)
	if errors.Is(err, fs.ErrNotExist) {
		return s.fs.Open(filepath.Join(s.root, s.final().Path()), false)
	}
	return file, err
}

// add takes a section. Those that are compressed together are kept until there
// are that many bytes of them.
func (s *segment) add(l compress.Level, k *chunk, section []byte, together int, now time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.empty() {
		s.since = now
	}
	s.used, s.level = now, l
	s.of = append(s.of, keyed{key: k.key, Entry: Entry{At: uint32(len(s.group)), Packets: k.packets, Chunk: k.len, First: k.first, Last: k.last}})
	if together <= len(section) && len(s.group) == 0 {
		return s.frame(section) // it needs no copy
	}
	s.group = append(s.group, section...)
	if len(s.group) < together {
		return nil
	}
	return s.join()
}

// join makes a frame of the group.
func (s *segment) join() error {
	if len(s.group) == 0 {
		return nil
	}
	return s.frame(s.group)
}

// frame appends the frame of some sections, those in of, to the buffer.
func (s *segment) frame(sections []byte) error {
	had := len(s.buf)
	buf, err := s.enc.Append(s.buf, s.name.Format, s.level, sections)
	s.buf = buf
	if err == nil {
		s.packed.plain.Add(uint64(len(sections)))
		s.packed.frames.Add(uint64(len(buf) - had))
		at, sum := s.written+int64(had), crc32.Checksum(buf[had:], table)
		for _, k := range s.of {
			k.Offset, k.Length, k.Sum = at, uint32(len(buf)-had), sum
			s.index.add(k.key, k.Entry)
		}
	}
	s.of, s.group = s.of[:0], s.group[:0]
	return err
}

// empty says that nothing waits to be written.
func (s *segment) empty() bool { return len(s.buf)+len(s.group) == 0 }

// size is what the file will have, without its index.
func (s *segment) size() int64 { return s.written + int64(len(s.buf)) }

// full says that the segment should be closed.
func (s *segment) full() bool { return s.size() >= maxSegment || len(s.index.entries) >= maxEntries }

// flush writes all there is. After an error the buffer stays, and is written to
// the same place the next time.
func (s *segment) flush() error {
	s.mu.Lock()
	err := s.join()
	s.mu.Unlock()
	if err != nil {
		return err
	}
	return s.put()
}

// put writes the frames there are, and lets the group grow. Who reads is not
// kept waiting by the disk: the buffer does not change until it is written.
func (s *segment) put() error {
	if len(s.buf) == 0 {
		return nil
	}
	if err := s.time(Write, func() error { _, err := s.f.WriteAt(s.buf, s.written); return err }); err != nil {
		return fmt.Errorf("write segment: %w", err)
	}
	s.dirty = true
	s.mu.Lock()
	defer s.mu.Unlock()
	s.written += int64(len(s.buf))
	s.buf = s.buf[:0]
	return nil
}

// time does something, and tells how long it took whoever wants to know.
func (s *segment) time(op Op, do func() error) error {
	if s.timed == nil {
		return do()
	}
	began := time.Now()
	err := do()
	s.timed(op, time.Since(began))
	return err
}

// sync makes what was written survive a power cut. Once it has failed the
// kernel may have forgotten what it could not write, and say so only once.
func (s *segment) sync(now time.Time) error {
	if !s.dirty {
		return nil
	}
	s.synced = now
	if err := s.time(Sync, s.f.Sync); err != nil {
		s.broken = true
		return fmt.Errorf("sync segment: %w", err)
	}
	s.dirty = false
	return nil
}

// finish writes the index, syncs and renames. Every step may be done again
// after an error.
func (s *segment) finish(now time.Time) error {
	if err := s.flush(); err != nil {
		return err
	}
	end, err := writeIndex(s.f, s.name.Format, s.index, s.written)
	if err != nil {
		return err
	}
	s.dirty = true
	if err := s.sync(now); err != nil {
		return err
	}
	if err := publish(s.fs, s.root, s.name); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.done, s.written = true, end
	return nil
}

// close closes the file, which is synced, or given up.
func (s *segment) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = s.f.Close() // what matters was synced
}

// writeIndex ends a file with its index, at end, and cuts off what lies behind.
func writeIndex(f File, format compress.Format, x *index, end int64) (int64, error) {
	b := compress.AppendSkippable(nil, format, x.body())
	if _, err := f.WriteAt(b, end); err != nil {
		return 0, fmt.Errorf("write index: %w", err)
	}
	end += int64(len(b))
	if err := f.Truncate(end); err != nil {
		return 0, fmt.Errorf("cut segment behind its index: %w", err)
	}
	return end, nil
}

// publish gives a segment that is complete and synced its name.
func publish(files FS, root string, n Name) error {
	from := filepath.Join(root, n.Path())
	n.Hidden = false
	to := filepath.Join(root, n.Path())
	if err := files.Rename(from, to); err != nil && !renamed(files, to, err) {
		return fmt.Errorf("rename segment: %w", err)
	}
	if err := files.SyncDir(filepath.Dir(to)); err != nil {
		return fmt.Errorf("sync folder of segment: %w", err)
	}
	return nil
}

// renamed says whether a rename failed because it had been done before.
func renamed(files FS, to string, err error) bool {
	if !errors.Is(err, fs.ErrNotExist) {
		return false
	}
	f, err := files.Open(to, false)
	if err != nil {
		return false
	}
	_ = f.Close() // it was only looked for
	return true
}
