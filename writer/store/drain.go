package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"time"

	"ringside/writer/queue"
)

// Waits of the inserter.
const (
	firstWait  = time.Second // after the database was found away, doubled each time
	longWait   = 30 * time.Second
	parkedWait = 10 * time.Minute // between two attempts to store what is parked
	parkedTry  = 10_000           // records of one attempt
)

// outcome is what became of a batch.
type outcome struct {
	stored []Batch
	bad    []poison
	left   Batch // not tried, or not to be stored now
	err    error // why there is something left
}

// attempt gives a batch to the database. What it rejects is halved, until the
// records are found that it does not take.
func (w *Writer) attempt(ctx context.Context, b Batch) outcome {
	err := w.try(ctx, b)
	n := b.Len()
	switch {
	case err == nil:
		return outcome{stored: []Batch{b}}
	case Away(err):
		return outcome{left: b, err: err}
	case n == 1:
		return outcome{bad: []poison{{b, err}}}
	}
	first, second := b.cut(n / 2)
	o := w.attempt(ctx, first)
	if o.err != nil {
		o.left = join(o.left, second)
		return o
	}
	rest := w.attempt(ctx, second)
	return outcome{slices.Concat(o.stored, rest.stored), slices.Concat(o.bad, rest.bad), rest.left, rest.err}
}

// join is the records of a and, behind them, those of b.
func join(a, b Batch) Batch {
	return Batch{
		Calls:         slices.Concat(a.Calls, b.Calls),
		Orphans:       slices.Concat(a.Orphans, b.Orphans),
		Registrations: slices.Concat(a.Registrations, b.Registrations),
		Exchanges:     slices.Concat(a.Exchanges, b.Exchanges),
		Events:        slices.Concat(a.Events, b.Events),
		Links:         slices.Concat(a.Links, b.Links),
		Quality:       slices.Concat(a.Quality, b.Quality),
	}
}

// park puts aside what the database rejected. Where there is no room for it, it
// is refused: nobody is going to make any, and what comes behind must not wait for
// ever.
func (w *Writer) park(bad []poison) error {
	if len(bad) == 0 {
		return nil
	}
	err := w.over.park(bad, time.Now())
	switch {
	case errors.Is(err, queue.ErrFull):
		w.stats.refused.Add(uint64(len(bad)))
		w.keepError(fmt.Errorf("refuse %s, which the database rejects (%w) and cannot be parked: %w", describe(joined(bad)), bad[0].why, err))
	case err != nil:
		return err
	default:
		w.parked.Add(int64(len(bad)))
	}
	w.noteError(bad[0].why)
	return nil
}

// joined is all of these records.
func joined(bad []poison) (b Batch) {
	for _, p := range bad {
		b = join(b, p.batch)
	}
	return b
}

// drainer is what the inserter knows.
type drainer struct {
	w     *Writer
	batch Batch         // from the queue, not settled
	last  queue.Entry   // the one that batch ends with
	ahead *loaded       // the entry behind it, if it is read already
	limit int           // records of the next attempt: fewer while the database is away, and may be away for a batch's size
	wait  time.Duration // the last one
	retry time.Time     // before that, the database is not tried again
	asked bool          // parked records have all been tried once
	next  time.Time     // when they are tried again
}

// loaded is an entry of the queue with what it holds.
type loaded struct {
	entry queue.Entry
	batch Batch
	err   error // why it cannot be read
}

// serve runs until flights is closed, and then as long as the database takes
// what is queued.
func (w *Writer) serve(ctx context.Context) {
	defer close(w.served)
	d := &drainer{w: w, limit: batchRows}
	if w.parked.Load() == 0 { // what is going to be parked was tried just before
		d.asked, d.next = true, time.Now().Add(parkedWait)
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		now := time.Now()
		if w.queued.Load() > 0 && !now.Before(d.retry) {
			d.drain(ctx)
			select { // a flight may have been handed over before
			case b, ok := <-w.flights:
				if !ok {
					d.finish(ctx)
					return
				}
				w.landed <- d.fly(ctx, b)
			default:
			}
			continue
		}
		wait := d.retry.Sub(now)
		if w.queued.Load() <= 0 {
			wait = parkedWait
			if w.parked.Load() > 0 {
				if wait = d.next.Sub(now); wait <= 0 {
					d.retryParked(ctx)
					continue
				}
			}
		}
		timer.Reset(wait)
		select {
		case b, ok := <-w.flights:
			if !ok {
				d.finish(ctx)
				return
			}
			w.landed <- d.fly(ctx, b)
		case <-w.wake:
		case <-timer.C:
		}
	}
}

func (w *Writer) wakeInserter() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// fly attempts a batch that comes from the gatherer.
func (d *drainer) fly(ctx context.Context, b Batch) outcome {
	o := d.w.attempt(ctx, b)
	d.heard(o.err)
	return o
}

// heard notes whether the database took something.
func (d *drainer) heard(err error) {
	w := d.w
	if err == nil {
		d.wait, d.retry = 0, time.Time{}
		w.away.Store(false)
		return
	}
	w.away.Store(true)
	w.noteError(err)
	d.wait = min(max(2*d.wait, w.firstWait), w.longWait)
	jittered := d.wait/2 + rand.N(d.wait/2+1)
	d.retry = time.Now().Add(jittered)
}

// finish stores what is queued, and tries what is parked if that was not done,
// until the database is away or nobody waits any more.
func (d *drainer) finish(ctx context.Context) {
	for d.w.queued.Load() > 0 && ctx.Err() == nil {
		if !d.drain(ctx) {
			return
		}
	}
	due := func() bool { return !time.Now().Before(d.next) }
	for again := !d.asked || due(); again && d.w.parked.Load() > 0 && ctx.Err() == nil; again = d.asked && due() {
		d.retryParked(ctx)
	}
}

// drain moves a batch from the queue to the database. It reports whether the
// database took, or rejected, what it was given.
func (d *drainer) drain(ctx context.Context) bool {
	w := d.w
	if d.batch.Len() == 0 {
		err := d.load()
		if err == nil && d.batch.Len() == 0 && w.queued.Load() > 0 {
			err = errors.New("read queue: it holds less than it should")
		}
		if err != nil {
			d.heard(err)
			return false
		}
		if d.batch.Len() == 0 {
			return true
		}
	}
	part, rest := d.batch.cut(d.limit)
	o := w.attempt(ctx, part)
	for _, b := range o.stored {
		w.stored(b)
		w.stats.drained.Add(uint64(b.Len()))
		w.queued.Add(-int64(b.Len()))
	}
	if err := w.park(o.bad); err != nil {
		o.left, o.err = join(joined(o.bad), o.left), errors.Join(o.err, err)
	} else {
		w.queued.Add(-int64(len(o.bad)))
	}
	d.batch = join(o.left, rest)
	if d.batch.Len() == 0 {
		w.over.queue.Ack(d.last)
	}
	d.heard(o.err)
	if o.err != nil {
		d.limit = max(1, d.limit/2)
		return false
	}
	d.limit = min(batchRows, 2*d.limit)
	return true
}

// load reads entries of the queue into a batch, as many as one may have. An entry
// that makes no sense though its checksum is right is parked as it is.
func (d *drainer) load() error {
	w, rows := d.w, 0
	for {
		if d.ahead == nil {
			l, err := d.read()
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return err
			}
			d.ahead = l
		}
		e := d.ahead.entry
		rows += d.ahead.batch.rows()
		switch err := d.ahead.err; {
		case d.batch.Len() > 0 && (err != nil || rows > batchRows):
			return nil // first what there is
		case errors.Is(err, errNewer):
			return err
		case err != nil:
			p := parked{e.Time, []string{fmt.Sprintf("%d records", e.Items)}, []string{err.Error()}, e.Data}
			if err := w.over.parkEncoded(p, e.Items); err != nil {
				return err
			}
			w.parked.Add(int64(e.Items))
			w.queued.Add(-int64(e.Items))
			w.over.queue.Ack(e)
		default:
			d.batch, d.last = join(d.batch, d.ahead.batch), e
		}
		d.ahead = nil
	}
}

// read is the next entry of the queue.
func (d *drainer) read() (*loaded, error) {
	w := d.w
	e, err := w.over.queue.Next()
	if e.Lost > 0 {
		w.stats.damaged.Add(uint64(e.Lost))
		w.queued.Add(-int64(e.Lost))
		w.keepError(fmt.Errorf("read queue: %d records are damaged and lost", e.Lost))
	}
	if err != nil {
		return nil, err
	}
	b, err := decodeBatch(e.Data)
	return &loaded{e, b, err}, nil
}

// retryParked gives parked records to the database again, once each, while there
// is nothing else to do. Those that it rejects again are parked behind the others.
func (d *drainer) retryParked(ctx context.Context) {
	w := d.w
	d.next = time.Now().Add(w.longWait)
	had := w.parked.Load()
	for most := min(had, parkedTry); most > 0; {
		if len(w.flights) > 0 || w.queued.Load() > 0 {
			return
		}
		n, err := d.retryOne(ctx)
		most -= int64(n)
		if err != nil {
			w.over.parked.Rewind()
			if !errors.Is(err, io.EOF) {
				w.noteError(err)
			}
			return
		}
	}
	d.asked, d.next = true, time.Now()
	if w.parked.Load() > had-parkedTry { // not all were stored, or there are no more
		d.next = d.next.Add(parkedWait)
	}
}

// retryOne tries one entry, and returns how many records it stands for.
func (d *drainer) retryOne(ctx context.Context) (int, error) {
	w := d.w
	e, err := w.over.parked.Next()
	if e.Lost > 0 {
		w.stats.damaged.Add(uint64(e.Lost))
		w.parked.Add(-int64(e.Lost))
		w.keepError(fmt.Errorf("read parked records: %d are damaged and lost", e.Lost))
	}
	if err != nil {
		return 0, err
	}
	p, err := decodeParked(e.Data)
	if err != nil {
		return 0, err
	}
	b, err := decodeBatch(p.Records)
	if err != nil {
		err = w.over.parkEncoded(p, e.Items)
	} else {
		err = d.retryBatch(ctx, b, p.Time)
	}
	if err == nil {
		w.over.parked.Ack(e)
	}
	return e.Items, err
}

// retryBatch gives what an entry held to the database, and parks again what it
// does not take.
func (d *drainer) retryBatch(ctx context.Context, b Batch, since time.Time) error {
	w := d.w
	o := w.attempt(ctx, b)
	d.heard(o.err)
	if o.err != nil {
		return o.err
	}
	if len(o.bad) > 0 {
		if err := w.over.park(o.bad, since); err != nil {
			return err
		}
		w.noteError(o.bad[0].why)
	}
	for _, b := range o.stored {
		w.stored(b)
		w.parked.Add(-int64(b.Len()))
	}
	return nil
}
