package queue

import (
	"errors"
	"fmt"
	"io"
)

// reader goes through the segments entry by entry.
type reader struct {
	q      *Queue
	file   File
	first  uint64 // number of the segment of file
	at     int64  // offset of the next entry
	expect uint64 // number of the next item
	told   uint64 // items before it that are lost have been said to be
}

// Next is the next entry, io.EOF if there is none at the moment. What it gives is
// acknowledged by Ack, in order; what is not comes again after Open, or after
// Rewind. Items that cannot be read are skipped and said once, with the entry
// behind them, or with io.EOF.
func (q *Queue) Next() (Entry, error) { return q.reader.next() }

// Rewind lets Next begin again behind what was acknowledged.
func (q *Queue) Rewind() {
	q.reader.close()
	q.mu.Lock()
	defer q.mu.Unlock()
	q.reader.expect = q.position
}

// Each calls fn with the entries that are not acknowledged, from the oldest on,
// and leaves them as they are.
func (q *Queue) Each(fn func(Entry) error) error {
	q.mu.Lock()
	r := reader{q: q, expect: q.position}
	q.mu.Unlock()
	defer r.close()
	for {
		e, err := r.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = fn(e)
		}
		if err != nil {
			return err
		}
	}
}

func (r *reader) close() {
	if r.file != nil {
		_ = r.file.Close() // it was only read
		r.file = nil
	}
}

func (r *reader) next() (Entry, error) {
	lost := 0
	for {
		s, more, err := r.segment()
		if err != nil || !more {
			if err == nil {
				err = io.EOF
			}
			return Entry{Lost: lost}, err
		}
		if s.first > r.expect { // what lay between is gone
			lost += r.skip(s.first)
		}
		e, at, err := findEntry(r.file, r.at, s.size, r.expect, s.next)
		if err != nil {
			r.close() // and opened again
			return Entry{Lost: lost}, fmt.Errorf("read queue %s: %w", r.q.opts.Dir, err)
		}
		r.at = at
		if e.Items == 0 { // nothing more can be read of this segment
			lost += r.skip(s.next)
			continue
		}
		lost += r.skip(e.First)
		r.expect = e.next()
		e.Lost = lost
		return e, nil
	}
}

// skip passes over items that are lost, and returns how many of them have not
// been said to be.
func (r *reader) skip(to uint64) (lost int) {
	if from := max(r.expect, r.told); from < to {
		lost = int(to - from)
		r.told = to
	}
	r.expect = to
	return lost
}

// segment is the one that holds the expected item, or the first behind it, opened;
// more is false if there is none.
func (r *reader) segment() (s segment, more bool, err error) {
	r.q.mu.Lock()
	defer r.q.mu.Unlock()
	for _, in := range r.q.segments {
		if in.next <= r.expect {
			continue
		}
		if r.file == nil || r.first != in.first {
			r.close()
			if r.file, err = r.q.fs.Open(in.path, false); err != nil {
				r.file = nil
				return s, false, fmt.Errorf("read queue: %w", err)
			}
			r.first, r.at = in.first, int64(len(head))
		}
		return *in, true, nil
	}
	return s, false, nil
}
