package store

import (
	"bytes"
	"encoding/gob"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"ringside/writer/queue"
)

// Overflow is where a Writer keeps on disk what the database does not take: in a
// queue the batches that came while it was away, in order; parked beside it the
// records that it rejected, each with the reason.
type Overflow struct {
	queue  *queue.Queue // batches
	parked *queue.Queue // one record each
}

// OverflowOptions of an Overflow.
type OverflowOptions struct {
	Dir string
	// MaxBytes of all files (default 4 GiB), a quarter of it for parked records.
	// Beyond, the newest are refused.
	MaxBytes int64
	FS       queue.FS // nil: that of the machine
}

// OpenOverflow opens the overflow in a directory, making it if need be, with what
// was left there. One process at a time can have it.
func OpenOverflow(o OverflowOptions) (*Overflow, error) {
	if o.MaxBytes <= 0 {
		o.MaxBytes = queue.DefaultMaxBytes
	}
	q, err := queue.Open(queue.Options{Dir: o.Dir, MaxBytes: o.MaxBytes * 3 / 4, FS: o.FS})
	if err != nil {
		return nil, err
	}
	parked, err := queue.Open(queue.Options{Dir: filepath.Join(o.Dir, "parked"), MaxBytes: o.MaxBytes / 4, FS: o.FS})
	if err != nil {
		return nil, errors.Join(err, q.Close())
	}
	return &Overflow{q, parked}, nil
}

// Close is for an Overflow that no Writer has taken.
func (o *Overflow) Close() error { return errors.Join(o.queue.Close(), o.parked.Close()) }

// OverflowStats is what an Overflow holds.
type OverflowStats struct {
	Queued      int       // records that wait for the database
	QueuedBytes int64     // of files
	Oldest      time.Time // since when the oldest of them waits; zero: none does
	Parked      int       // records that the database rejected
	ParkedBytes int64     // of files
	CutBytes    int64     // that a crash left half-written, when it was opened
}

// Stats is a snapshot.
func (o *Overflow) Stats() OverflowStats {
	q, p := o.queue.Stats(), o.parked.Stats()
	return OverflowStats{
		Queued: q.Items, QueuedBytes: q.Bytes, Oldest: q.Oldest,
		Parked: p.Items, ParkedBytes: p.Bytes, CutBytes: q.CutBytes + p.CutBytes,
	}
}

// Parked is a record that the database rejected.
type Parked struct {
	Time   time.Time // when it was rejected first
	What   string    // the record, in words
	Reason string    // as the database said it last
	Batch  Batch     // the record alone
}

// EachParked calls fn with the parked records, in the order in which they were
// rejected. It must not be called while a Writer has the Overflow.
func (o *Overflow) EachParked(fn func(Parked) error) error {
	return o.parked.Each(func(e queue.Entry) error {
		p, err := decodeParked(e.Data)
		if err != nil {
			return err
		}
		b, err := decodeBatch(p.Records)
		for i, what := range p.What {
			one := Parked{Time: p.Time, What: what, Reason: p.Reason[min(i, len(p.Reason)-1)]}
			if err == nil {
				one.Batch, b = b.cut(1)
			}
			if err := fn(one); err != nil {
				return err
			}
		}
		return nil
	})
}

// keep appends a batch to the queue.
func (o *Overflow) keep(b Batch) error {
	data, err := encodeBatch(b)
	if err != nil {
		return err
	}
	return o.queue.Append(data, b.Len())
}

// poison is a record that the database rejected, and why.
type poison struct {
	batch Batch // of one record
	why   error
}

// parked is records that were rejected at one time, as they lie on disk. They stay
// encoded, so that what cannot be read is kept as it is.
type parked struct {
	Time    time.Time
	What    []string // each record in words; one text for all of those that cannot be read
	Reason  []string
	Records []byte // a Batch; its records are in the order of What
}

// park puts records aside that were rejected at some time.
func (o *Overflow) park(bad []poison, at time.Time) error {
	p := parked{Time: at}
	var all Batch
	for _, r := range bad {
		p.What, p.Reason = append(p.What, describe(r.batch)), append(p.Reason, r.why.Error())
		all = join(all, r.batch)
	}
	var err error
	if p.Records, err = encodeBatch(all); err != nil {
		return err
	}
	return o.parkEncoded(p, all.Len())
}

func (o *Overflow) parkEncoded(p parked, records int) error {
	data, err := encode(parkedHead, p)
	if err != nil {
		return fmt.Errorf("encode parked records: %w", err)
	}
	return o.parked.Append(data, records)
}

// What is kept begins with a line that says how the rest is encoded. It is gob,
// because that gives back every value as it was: JSON has no NaN, and takes text
// that is not UTF-8 for other text; it also needs three times the room, and four
// times the time to be read. A field that is added, removed or moved does no harm:
// they go by name. The values of enumerations are numbers, which later versions
// must not change.
const (
	recordsHead = "ringside records 1\n"
	parkedHead  = "ringside parked 1\n"
)

func encodeBatch(b Batch) ([]byte, error) {
	data, err := encode(recordsHead, b)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", describe(b), err)
	}
	return data, nil
}

func encode(head string, v any) ([]byte, error) {
	var out bytes.Buffer
	out.WriteString(head)
	err := gob.NewEncoder(&out).Encode(v)
	return out.Bytes(), err
}

func decodeBatch(data []byte) (b Batch, err error) {
	return b, decode(data, recordsHead, &b)
}

func decodeParked(data []byte) (p parked, err error) {
	return p, decode(data, parkedHead, &p)
}

// errNewer is of an entry that a later version wrote.
var errNewer = errors.New("it was written by a newer version of ringside: use that one")

func decode(data []byte, head string, to any) error {
	rest, ok := bytes.CutPrefix(data, []byte(head))
	if !ok {
		line, _, _ := strings.Cut(string(data[:min(len(data), 64)]), "\n")
		if word, _, _ := strings.Cut(line, " "); word == "ringside" {
			return fmt.Errorf("read kept records (%q): %w", line, errNewer)
		}
		return fmt.Errorf("read kept records: they begin with %q", line)
	}
	if err := gob.NewDecoder(bytes.NewReader(rest)).Decode(to); err != nil {
		return fmt.Errorf("read kept records: %w", err)
	}
	return nil
}
