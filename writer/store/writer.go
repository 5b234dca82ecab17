package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"ringside/flow/record"
)

// A batch ends with whichever of these it reaches first.
const (
	batchRows  = 1000        // rows of all tables
	batchBytes = 1 << 20     // estimated
	batchAge   = time.Second // since its first record
)

// keptErrors is how many errors a Writer keeps between two flushes; beyond, it
// counts.
const keptErrors = 10

// WriterOptions of a Writer.
type WriterOptions struct {
	// Queue is how many records wait for the writer before Add blocks
	// (default 4096).
	Queue int

	// Overflow takes what the database does not: batches while it is away,
	// records that it rejects. The Writer begins with what is left in it, and
	// closes it in the end. Without one such records are lost, and counted.
	Overflow *Overflow
	// SyncAge is how long after Add a record is on disk at the latest: in the
	// store, or in the Overflow (default 2 s). It holds with an Overflow that
	// has room.
	SyncAge time.Duration
	// Patient makes Add wait for a database that is merely slow, and for room
	// in the Overflow, as is right for files. Else, for live capture, it does
	// not wait for the database at all, nor for a disk that hangs (but for
	// SyncAge, once): what the Overflow cannot take is refused, and counted.
	Patient bool

	// Timed, if not nil, is told how long the database took for each batch that it
	// took or rejected, by the goroutines that write.
	Timed func(took time.Duration)

	firstWait, longWait time.Duration                      // between two attempts to reach the database
	try                 func(context.Context, Batch) error // in place of Store.Insert
}

// Writer gathers records into batches and stores them from goroutines of its
// own. Its methods may be used concurrently.
type Writer struct {
	store  *Store
	queue  chan item
	closed chan struct{} // closed by Close: nothing more is taken
	done   chan struct{} // closed when the goroutine is over
	cancel context.CancelFunc
	once   sync.Once
	adding sync.WaitGroup

	try func(context.Context, Batch) error // stores a batch

	over                *Overflow // nil: none
	syncAge             time.Duration
	patient             bool
	firstWait, longWait time.Duration
	flights             chan Batch    // to the inserter, one at a time
	landed              chan outcome  // and what became of them
	wake                chan struct{} // tells the inserter of the queue
	served              chan struct{} // closed when the inserter is over

	queued, parked atomic.Int64 // records in the Overflow
	away           atomic.Bool
	stuck          atomic.Bool // memory was full for longer than syncAge, and still is

	stats struct {
		added, calls, orphans, registrations, exchanges, events, links, quality atomic.Uint64
		rows, batches, rejected, failed, refused, recovered, drained, damaged   atomic.Uint64
	}

	mu     sync.Mutex
	errs   []error // since the last Flush
	unkept int     // how many more there were
	last   string  // the last error of those that the Overflow is for
}

// WriterStats is what became of the records given to a Writer:
//
//	Added + Recovered = Stored + Queued + Parked + Refused + Damaged + Rejected + Failed + what still waits
type WriterStats struct {
	Added     uint64 // records given to Add and its like
	Recovered uint64 // records that the Overflow held in the beginning, queued and parked

	Calls, Orphans, Registrations, Exchanges, Events, Links, Quality uint64 // records stored

	Rows     uint64 // rows of all tables
	Batches  uint64 // transactions
	Drained  uint64 // records that came from the queue, of those stored
	Rejected uint64 // records lost because the database will not take them, without an Overflow
	Failed   uint64 // records lost because the database failed, without an Overflow
	Refused  uint64 // records lost because the Overflow had no room or failed, or given after Close
	Damaged  uint64 // records lost because their place in the Overflow cannot be read

	Queued      uint64    // records that wait on disk for the database
	QueuedBytes uint64    // of files
	Oldest      time.Time // since when the oldest of them waits; zero: none does
	Parked      uint64    // records on disk that the database rejected
	Away        bool      // the database could not be reached, or took nothing, the last time
	LastError   string    // of the database or the disk, with an Overflow
}

// Stored is the records stored.
func (s WriterStats) Stored() uint64 {
	return s.Calls + s.Orphans + s.Registrations + s.Exchanges + s.Events + s.Links + s.Quality
}

// Lost is the records that are neither stored nor kept.
func (s WriterStats) Lost() uint64 { return s.Rejected + s.Failed + s.Refused + s.Damaged }

// item is a record, or a request to flush.
type item struct {
	record any             // a pointer to one of the types that a Batch has
	at     time.Time       // when it was added, if that matters
	flush  chan<- struct{} // closed when all before it is stored
}

// NewWriter starts a Writer. The store must stay open until the Writer is
// closed.
func NewWriter(s *Store, o WriterOptions) *Writer {
	if o.Queue <= 0 {
		o.Queue = 4096
	}
	if o.SyncAge <= 0 {
		o.SyncAge = 2 * time.Second
	}
	ctx, cancel := context.WithCancel(context.Background())
	w := &Writer{
		store:  s,
		queue:  make(chan item, o.Queue),
		closed: make(chan struct{}),
		done:   make(chan struct{}),
		cancel: cancel,

		try: o.try, over: o.Overflow, syncAge: o.SyncAge, patient: o.Patient,
		firstWait: cmp.Or(o.firstWait, firstWait), longWait: cmp.Or(o.longWait, longWait),
	}
	if w.try == nil {
		w.try = s.Insert
	}
	if o.Timed != nil {
		w.try = timed(w.try, o.Timed)
	}
	if w.over == nil {
		go w.run(ctx)
		return w
	}
	w.flights, w.landed = make(chan Batch, 1), make(chan outcome, 1)
	w.wake, w.served = make(chan struct{}, 1), make(chan struct{})
	kept := w.over.Stats()
	w.queued.Store(int64(kept.Queued))
	w.parked.Store(int64(kept.Parked))
	w.stats.recovered.Store(uint64(kept.Queued + kept.Parked))
	go w.runKept(ctx)
	return w
}

// runKept is the life of a Writer with an Overflow.
func (w *Writer) runKept(ctx context.Context) {
	defer close(w.done)
	go w.serve(ctx)
	w.gather(ctx)
	<-w.served
	if err := w.over.Close(); err != nil {
		w.keepError(err)
	}
}

// Add hands over a call, which belongs to the Writer from then on. It blocks
// while the queue is full, which is right for files (see WriterOptions.Patient);
// it never fails: Flush and Close tell of errors, Err as soon as there is one.
func (w *Writer) Add(c *record.Call) { w.add(item{record: c}) }

// AddOrphan hands over a stream that no call claimed, like Add.
func (w *Writer) AddOrphan(s *record.Stream) { w.add(item{record: s}) }

// AddRegistration is Add for a registration.
func (w *Writer) AddRegistration(r *record.Registration) { w.add(item{record: r}) }

// AddExchange is Add for an exchange.
func (w *Writer) AddExchange(e *record.Exchange) { w.add(item{record: e}) }

// AddEvent is Add for an event.
func (w *Writer) AddEvent(e *record.Event) { w.add(item{record: e}) }

// AddLink is Add for a link of two calls.
func (w *Writer) AddLink(l *record.Link) { w.add(item{record: l}) }

// AddQuality is Add for an endpoint's report of a call.
func (w *Writer) AddQuality(q *record.QualityReport) { w.add(item{record: q}) }

func (w *Writer) add(i item) {
	w.stats.added.Add(1)
	if w.over != nil {
		i.at = time.Now()
	}
	if !w.enqueue(context.Background(), i) {
		w.stats.refused.Add(1)
	}
}

// enqueue reports whether i was taken.
func (w *Writer) enqueue(ctx context.Context, i item) bool {
	w.mu.Lock()
	select {
	case <-w.closed:
		w.mu.Unlock()
		return false
	default:
	}
	w.adding.Add(1) // before Close, which waits for it
	w.mu.Unlock()
	defer w.adding.Done()
	if w.live() && i.flush == nil {
		return w.enqueueLive(i)
	}
	select {
	case w.queue <- i:
		return true
	case <-ctx.Done():
		return false
	}
}

// live reports that Add must not wait for the database.
func (w *Writer) live() bool { return w.over != nil && !w.patient }

// enqueueLive waits a while for a gatherer that is busy. One that does not move at
// all, because its disk hangs, is waited for once.
func (w *Writer) enqueueLive(i item) bool {
	select {
	case w.queue <- i:
		w.stuck.Store(false)
		return true
	default:
	}
	if w.stuck.Load() {
		return false
	}
	t := time.NewTimer(w.syncAge)
	defer t.Stop()
	select {
	case w.queue <- i:
		return true
	case <-t.C:
		w.stuck.Store(true)
		w.keepError(fmt.Errorf("refuse records: %d wait in memory, and the disk of the queue hangs", cap(w.queue)))
		return false
	}
}

// Flush waits until all records added before are stored, or, with an Overflow, on
// disk there, and returns the errors since the last Flush.
func (w *Writer) Flush(ctx context.Context) error {
	ack := make(chan struct{})
	if w.enqueue(ctx, item{flush: ack}) {
		select {
		case <-ack:
		case <-ctx.Done():
		}
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("flush store: %w", err)
	}
	return w.takeErrors()
}

// Close stores what waits, and ends the Writer. If ctx ends first, what is not
// yet stored is lost, and counted as failed. With an Overflow it goes there
// instead, and so it does when the database is away; what is queued then waits
// for the next Writer. It returns the errors since the last Flush; closing again
// does nothing.
func (w *Writer) Close(ctx context.Context) error {
	w.once.Do(func() {
		w.mu.Lock()
		close(w.closed)
		w.mu.Unlock()
		go func() {
			w.adding.Wait()
			close(w.queue)
		}()
	})
	select {
	case <-w.done:
	case <-ctx.Done():
		w.cancel()
		<-w.done
	}
	w.cancel()
	return w.takeErrors()
}

// Err is the first error since the last Flush.
func (w *Writer) Err() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.errs) == 0 {
		return nil
	}
	return w.errs[0]
}

// Stats is a snapshot.
func (w *Writer) Stats() WriterStats {
	s := &w.stats
	out := WriterStats{
		Calls:   s.calls.Load(),
		Orphans: s.orphans.Load(),

		Registrations: s.registrations.Load(),
		Exchanges:     s.exchanges.Load(),
		Events:        s.events.Load(),
		Links:         s.links.Load(),
		Quality:       s.quality.Load(),

		Rows:     s.rows.Load(),
		Batches:  s.batches.Load(),
		Rejected: s.rejected.Load(),
		Failed:   s.failed.Load(),
		Refused:  s.refused.Load(),
		Drained:  s.drained.Load(),
		Damaged:  s.damaged.Load(),
		Queued:   uint64(max(0, w.queued.Load())),
		Parked:   uint64(max(0, w.parked.Load())),
		Away:     w.away.Load(),
	}
	w.mu.Lock()
	out.LastError = w.last
	w.mu.Unlock()
	if w.over != nil {
		kept := w.over.Stats()
		out.QueuedBytes, out.Oldest = uint64(kept.QueuedBytes), kept.Oldest
	}
	out.Recovered, out.Added = s.recovered.Load(), s.added.Load() // last, so that the sum never exceeds them
	return out
}

func (w *Writer) takeErrors() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	errs := w.errs
	if w.unkept > 0 {
		errs = append(errs, fmt.Errorf("and %d more errors", w.unkept))
	}
	w.errs, w.unkept = nil, 0
	return errors.Join(errs...)
}

// noteError remembers an error that has cost nothing, yet.
func (w *Writer) noteError(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.last = err.Error()
}

// keepError is for an error that has cost records.
func (w *Writer) keepError(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.errs) < keptErrors {
		w.errs = append(w.errs, err)
	} else {
		w.unkept++
	}
}

// pending is a batch in the making.
type pending struct {
	Batch
	rows, bytes int
	born        time.Time // when its first record was added
}

func (p *pending) empty() bool { return p.rows == 0 }
func (p *pending) full() bool  { return p.rows >= batchRows || p.bytes >= batchBytes }

func (p *pending) add(i item) {
	if p.empty() {
		p.born = i.at
	}
	switch r := i.record.(type) {
	case *record.Call:
		p.Calls = append(p.Calls, r)
	case *record.Stream:
		p.Orphans = append(p.Orphans, r)
	case *record.Registration:
		p.Registrations = append(p.Registrations, r)
	case *record.Exchange:
		p.Exchanges = append(p.Exchanges, r)
	case *record.Event:
		p.Events = append(p.Events, r)
	case *record.Link:
		p.Links = append(p.Links, r)
	case *record.QualityReport:
		p.Quality = append(p.Quality, r)
	}
	p.rows += i.rows()
	p.bytes += i.bytes()
}

// rows is how many rows a record becomes.
func (i item) rows() int {
	if c, ok := i.record.(*record.Call); ok {
		return callRows(c)
	}
	return 1
}

// rows is how many rows the records become.
func (b *Batch) rows() int {
	n := b.Len() - len(b.Calls)
	for _, c := range b.Calls {
		n += callRows(c)
	}
	return n
}

func callRows(c *record.Call) int {
	return 1 + len(c.Legs) + len(c.Messages) + len(c.Media) + len(c.Streams) + len(c.Digits)
}

// bytes is roughly how large a record is in the database: columns of usual
// content by row, and the lists and texts that may be long.
func (i item) bytes() int {
	const callBytes, streamBytes, childBytes, rowBytes = 800, 500, 80, 300
	switch r := i.record.(type) {
	case *record.Call:
		return callBytes + streamBytes*len(r.Streams) + childBytes*(callRows(r)-1-len(r.Streams)) +
			len(r.CallID) + len(r.Caller.Contact) + len(r.Called.Contact)
	case *record.Stream, *record.QualityReport:
		return streamBytes
	case *record.Exchange:
		return rowBytes + len(r.Text)
	}
	return rowBytes
}

// batchAge is how long a batch may grow.
func (w *Writer) batchAge() time.Duration { return min(batchAge, w.syncAge/2) }

// run is the life of a Writer without an Overflow.
func (w *Writer) run(ctx context.Context) {
	defer close(w.done)
	var p pending
	age := time.NewTimer(batchAge)
	age.Stop()
	for {
		select {
		case i, ok := <-w.queue:
			if !ok {
				w.commit(ctx, &p)
				return
			}
			if i.flush != nil {
				w.commit(ctx, &p)
				close(i.flush)
				continue
			}
			if p.empty() {
				age.Reset(batchAge)
			}
			if p.add(i); p.full() {
				w.commit(ctx, &p)
			}
		case <-age.C:
			w.commit(ctx, &p)
		}
	}
}

// commit stores a batch and begins a new one.
func (w *Writer) commit(ctx context.Context, p *pending) {
	if !p.empty() {
		w.insert(ctx, p.Batch)
	}
	*p = pending{}
}

// insert stores a batch. If the database rejects it, its halves are tried, so
// that what is stored in the end is all but the rejected records. A database
// that fails otherwise would fail for the halves too: the batch is lost.
func (w *Writer) insert(ctx context.Context, b Batch) {
	err := w.try(ctx, b)
	n := b.Len()
	switch {
	case err == nil:
		w.stored(b)
	case !w.store.dialect.rejected(err):
		w.stats.failed.Add(uint64(n))
		w.keepError(err)
	case n == 1:
		w.stats.rejected.Add(1)
		w.keepError(err)
	default:
		first, second := b.cut(n / 2)
		w.insert(ctx, first)
		w.insert(ctx, second)
	}
}

// timed is try, with how long it took told to somebody. An attempt that did not reach
// the database says nothing of it.
func timed(try func(context.Context, Batch) error, tell func(time.Duration)) func(context.Context, Batch) error {
	return func(ctx context.Context, b Batch) error {
		began := time.Now()
		err := try(ctx, b)
		if err == nil || !Away(err) {
			tell(time.Since(began))
		}
		return err
	}
}

// stored counts what a batch has put into the database.
func (w *Writer) stored(b Batch) {
	s := &w.stats
	s.batches.Add(1)
	s.rows.Add(uint64(b.rows()))
	s.calls.Add(uint64(len(b.Calls)))
	s.orphans.Add(uint64(len(b.Orphans)))
	s.registrations.Add(uint64(len(b.Registrations)))
	s.exchanges.Add(uint64(len(b.Exchanges)))
	s.events.Add(uint64(len(b.Events)))
	s.links.Add(uint64(len(b.Links)))
	s.quality.Add(uint64(len(b.Quality)))
}
