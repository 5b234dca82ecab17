// Package queue is a queue on disk: entries that nobody could take yet, kept in
// order, over crashes, within a bound.
//
// A queue is a directory of segment files. An entry is bytes that mean nothing
// here, and stands for some items (the rows of a batch, say), which are numbered
// through: every entry begins where the one before ended, so that what is missing
// can be counted. Each has a checksum. A segment is written under a hidden name
// and renamed once it is complete; its name then says which items it holds. After
// a crash a hidden segment is cut where its last whole entry ends.
//
// Append syncs: what it took survives a power cut. The place that has been read up
// to is saved once a second, so that after a crash the last second's entries may
// come again; whoever takes them must not mind.
//
// A queue that is full takes nothing more. It never drops what it has: the files
// go when all in them has been acknowledged.
package queue

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"
	"time"
)

// ErrFull is returned for an entry that does not fit any more.
var ErrFull = errors.New("queue is full: allow it more room, or see why nothing is taken from it")

// Bounds.
const (
	DefaultMaxBytes     = 4 << 30
	DefaultSegmentBytes = 16 << 20
	maxEntry            = 64 << 20    // bytes; a length beyond is damage
	saveAge             = time.Second // of the position on disk
)

// Options of a queue.
type Options struct {
	Dir          string
	MaxBytes     int64 // of all its files (default DefaultMaxBytes)
	SegmentBytes int64 // a segment that has reached it is complete (default DefaultSegmentBytes, or an eighth of MaxBytes)
	FS           FS    // nil: OS
	Now          func() time.Time
}

// Entry is what was appended in one piece.
type Entry struct {
	First uint64    // number of its first item
	Items int       // how many it stands for
	Time  time.Time // when it was appended
	Data  []byte

	// Lost is how many items before this entry could not be read: their bytes
	// are damaged, or gone.
	Lost int
}

func (e *Entry) next() uint64 { return e.First + uint64(e.Items) }

// Stats is how a queue stands.
type Stats struct {
	Items    int       // not acknowledged, those that cannot be read included
	Bytes    int64     // of its files
	Oldest   time.Time // of what is not acknowledged, or a little earlier; zero if there is nothing
	CutBytes int64     // cut off the ends of segments when it was opened: entries that were never complete
}

// Queue is an open queue. One goroutine may read (Next, Ack, Rewind, Each) while
// others append.
type Queue struct {
	opts   Options
	fs     FS
	unlock func()

	writing sync.Mutex // held while a segment is written, begun or ended
	out     File       // the segment being written; nil: none
	broken  bool       // an error left its end uncertain: it takes no more

	mu       sync.Mutex
	segments []*segment // in order; the last may be the one being written
	nextItem uint64     // number of the next item
	position uint64     // number of the first item that is not acknowledged
	saved    time.Time  // when the position was
	unsaved  bool
	oldest   time.Time
	cut      int64

	reader reader
}

// segment is a file of entries.
type segment struct {
	path  string
	first uint64 // number of its first item
	next  uint64 // behind its last one
	size  int64  // that is valid
	open  bool   // being written
}

// Open opens the queue in a directory, which it makes if need be, and puts in
// order what a crash has left.
func Open(o Options) (*Queue, error) {
	if o.MaxBytes <= 0 {
		o.MaxBytes = DefaultMaxBytes
	}
	if o.SegmentBytes <= 0 {
		o.SegmentBytes = min(DefaultSegmentBytes, o.MaxBytes/8) // room comes back by whole segments
	}
	if o.FS == nil {
		o.FS = OS
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	q := &Queue{opts: o, fs: o.FS}
	if err := q.open(); err != nil {
		if q.unlock != nil {
			q.unlock()
		}
		return nil, fmt.Errorf("open queue %s: %w", o.Dir, err)
	}
	return q, nil
}

func (q *Queue) open() (err error) {
	if err = q.fs.MkdirAll(q.opts.Dir); err != nil {
		return err
	}
	if q.unlock, err = q.fs.Lock(q.opts.Dir); err != nil {
		return err
	}
	if q.segments, q.cut, err = recovered(q.fs, q.opts.Dir); err != nil {
		return err
	}
	q.position = max(readPosition(q.fs, q.opts.Dir), 1)
	if len(q.segments) > 0 {
		q.position = max(q.position, q.segments[0].first)
		q.nextItem = q.segments[len(q.segments)-1].next
	}
	q.nextItem = max(q.nextItem, q.position)
	q.reader = reader{q: q, expect: q.position}
	q.drop()
	if len(q.segments) > 0 {
		q.oldest = firstTime(q.fs, q.segments[0].path)
	}
	return nil
}

// Append puts an entry at the end, which stands for some items, at least one. It
// is on disk when Append returns; if that fails, nothing was taken.
func (q *Queue) Append(data []byte, items int) error {
	if items < 1 || len(data) > maxEntry {
		return fmt.Errorf("append to queue %s: an entry of %d items and %d bytes is none", q.opts.Dir, items, len(data))
	}
	q.writing.Lock()
	defer q.writing.Unlock()
	if err := q.write(data, items); err != nil {
		return fmt.Errorf("append to queue %s: %w", q.opts.Dir, err)
	}
	return nil
}

func (q *Queue) write(data []byte, items int) error {
	size := int64(entryHead + len(data))
	if q.bytes()+int64(len(head))+size > q.opts.MaxBytes {
		return ErrFull
	}
	if q.broken {
		if err := q.end(); err != nil {
			return err
		}
	}
	if q.out == nil {
		if err := q.begin(); err != nil {
			return err
		}
	}
	q.mu.Lock()
	s, number := q.segments[len(q.segments)-1], q.nextItem
	q.mu.Unlock()
	now := q.opts.Now()
	_, err := q.out.WriteAt(appendEntry(nil, number, items, now, data), s.size)
	if err == nil {
		err = q.out.Sync()
	}
	if err != nil {
		q.broken = true // what a failed sync left in the file, nobody knows
		return err
	}
	q.mu.Lock()
	if q.position == q.nextItem {
		q.oldest = now
	}
	s.size += size
	q.nextItem += uint64(items)
	s.next = q.nextItem
	full := s.size >= q.opts.SegmentBytes
	q.mu.Unlock()
	if full {
		q.broken = q.end() != nil // the entry is safe; the next Append tries again
	}
	return nil
}

// begin makes a new segment.
func (q *Queue) begin() error {
	s := &segment{path: openPath(q.opts.Dir, q.nextItem), first: q.nextItem, next: q.nextItem, size: int64(len(head)), open: true}
	f, err := q.fs.Create(s.path)
	if errors.Is(err, fs.ErrExist) { // left when this failed before; nothing in it was taken
		if err = q.fs.Remove(s.path); err == nil {
			f, err = q.fs.Create(s.path)
		}
	}
	if err != nil {
		return err
	}
	if _, err = f.WriteAt([]byte(head), 0); err == nil {
		err = q.fs.SyncDir(q.opts.Dir)
	}
	if err != nil {
		return errors.Join(err, f.Close(), q.fs.Remove(s.path))
	}
	q.out, q.broken = f, false
	q.mu.Lock()
	q.segments = append(q.segments, s)
	q.mu.Unlock()
	return nil
}

// end completes the segment being written: it is cut to what is valid, and gets
// its name. It may be tried again.
func (q *Queue) end() error {
	if q.out == nil {
		return nil
	}
	q.mu.Lock()
	s := q.segments[len(q.segments)-1]
	q.mu.Unlock()
	if s.next == s.first {
		if err := q.fs.Remove(s.path); err != nil {
			return err
		}
	} else {
		if err := q.out.Truncate(s.size); err != nil {
			return err
		}
		to := closedPath(q.opts.Dir, s.first, s.next)
		q.mu.Lock() // the reader opens it by its path
		err := q.fs.Rename(s.path, to)
		if err == nil {
			s.path = to
		}
		q.mu.Unlock()
		if err != nil {
			return err
		}
	}
	err := q.out.Close()
	q.out, q.broken = nil, false
	q.mu.Lock()
	s.open = false
	if s.next == s.first {
		q.segments = q.segments[:len(q.segments)-1]
	}
	q.mu.Unlock()
	return errors.Join(err, q.fs.SyncDir(q.opts.Dir))
}

// Ack says that e, and all before it, is not needed any more. It belongs to the
// goroutine that calls Next.
func (q *Queue) Ack(e Entry) {
	q.mu.Lock()
	q.position = max(q.position, e.next())
	q.oldest = e.Time
	empty := q.position == q.nextItem
	q.unsaved = true
	due := q.opts.Now().Sub(q.saved) >= saveAge || empty || len(q.segments) > 1 && q.segments[0].next <= q.position
	q.mu.Unlock()
	if empty {
		q.clear()
		q.reader.close() // the file is going to be removed
	}
	if due {
		_ = q.save() // else some come again after a crash
		q.drop()
	}
}

// clear completes the segment being written if all in it is acknowledged.
func (q *Queue) clear() {
	q.writing.Lock()
	defer q.writing.Unlock()
	q.mu.Lock()
	empty := q.position == q.nextItem
	q.mu.Unlock()
	if empty {
		q.broken = q.end() != nil
	}
}

// save writes down the position.
func (q *Queue) save() error {
	q.mu.Lock()
	position, unsaved := q.position, q.unsaved
	q.mu.Unlock()
	if !unsaved {
		return nil
	}
	if err := writePosition(q.fs, q.opts.Dir, position); err != nil {
		return fmt.Errorf("save position of queue %s: %w", q.opts.Dir, err)
	}
	q.mu.Lock()
	q.saved, q.unsaved = q.opts.Now(), q.position != position
	q.mu.Unlock()
	return nil
}

// drop removes the segments of which all is acknowledged.
func (q *Queue) drop() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.segments) > 0 {
		s := q.segments[0]
		if s.open || s.next > q.position || q.fs.Remove(s.path) != nil {
			return // one that cannot be removed stays for the next time
		}
		q.segments = slices.Delete(q.segments, 0, 1)
	}
}

func (q *Queue) bytes() (n int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, s := range q.segments {
		n += s.size
	}
	return n
}

// Stats is a snapshot.
func (q *Queue) Stats() Stats {
	q.mu.Lock()
	defer q.mu.Unlock()
	st := Stats{Items: int(q.nextItem - q.position), CutBytes: q.cut}
	for _, s := range q.segments {
		st.Bytes += s.size
	}
	if st.Items > 0 {
		st.Oldest = q.oldest
	}
	return st
}

// Close saves the position and completes the segment being written. What is
// queued stays for the next Open.
func (q *Queue) Close() error {
	q.writing.Lock()
	defer q.writing.Unlock()
	err := q.end()
	if q.out != nil { // end could not: the next Open will
		err = errors.Join(err, q.out.Close())
		q.out = nil
	}
	err = errors.Join(err, q.save())
	q.drop()
	q.reader.close()
	q.unlock()
	if err != nil {
		return fmt.Errorf("close queue %s: %w", q.opts.Dir, err)
	}
	return nil
}
