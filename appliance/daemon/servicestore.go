package daemon

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"ringside/flow/record"
	"ringside/writer/store"
)

// StoreStatus is how the store of a service does.
type StoreStatus struct {
	Waiting  float64 `json:"waiting"` // share of the queue to it that is in use; -1: nothing is written
	Stored   uint64  `json:"stored"`  // records
	Lost     uint64  `json:"lost"`    // records that are neither stored nor kept
	LostRate float64 `json:"-"`
	Away     bool    `json:"away"`  // the database takes nothing
	Queue    bool    `json:"queue"` // what it does not take is kept on disk
	Queued   uint64  `json:"queued"`
	Parked   uint64  `json:"parked"`
	Error    string  `json:"error,omitempty"`
}

// keeping is the store of a service, with what writes to it. With no path nothing
// is kept.
type keeping struct {
	store  *store.Store
	writer *store.Writer // nil: the store is only read
	queue  bool

	mu   sync.Mutex
	lost uint64 // by the last look
	at   time.Time
}

// openKeeping opens the store. A server that is away may come later.
func openKeeping(ctx context.Context, o *StoreOptions, timed func(time.Duration)) (*keeping, error) {
	if o.Path == "" {
		return nil, nil
	}
	s, err := store.Open(ctx, store.Options{Path: o.Path, ReadOnly: o.ReadOnly, Lazy: !o.ReadOnly})
	if err != nil {
		return nil, err
	}
	k := &keeping{store: s}
	if o.ReadOnly {
		return k, nil
	}
	if _, err := s.Maintain(ctx, time.Now(), 0); err != nil && !store.Away(err) {
		return nil, errors.Join(err, s.Close())
	}
	w := store.WriterOptions{Patient: o.Patient, Timed: timed}
	if o.Queue != "" {
		if w.Overflow, err = store.OpenOverflow(store.OverflowOptions{Dir: o.Queue, MaxBytes: o.QueueBytes}); err != nil {
			return nil, errors.Join(err, s.Close())
		}
		k.queue = true
	}
	k.writer = store.NewWriter(s, w)
	return k, nil
}

// take hands a record over, which belongs to the writer from then on.
func (k *keeping) take(rec any) {
	if k == nil || k.writer == nil {
		return
	}
	switch r := rec.(type) {
	case *record.Call:
		k.writer.Add(r)
	case *record.Stream:
		k.writer.AddOrphan(r)
	case *record.Registration:
		k.writer.AddRegistration(r)
	case *record.Exchange:
		k.writer.AddExchange(r)
	case *record.Event:
		k.writer.AddEvent(r)
	case *record.Link:
		k.writer.AddLink(r)
	case *record.QualityReport:
		k.writer.AddQuality(r)
	}
}

// look is how the store does, with rates since the last look.
func (k *keeping) look(now time.Time) StoreStatus {
	if k == nil || k.writer == nil {
		return StoreStatus{Waiting: -1}
	}
	st := k.writer.Stats()
	out := StoreStatus{
		Stored: st.Stored(), Lost: st.Lost(), Away: st.Away, Queue: k.queue,
		Queued: st.Queued, Parked: st.Parked, Error: st.LastError,
	}
	done := st.Stored() + st.Queued + st.Parked + st.Lost()
	if all := st.Added + st.Recovered; all > done {
		out.Waiting = float64(all-done) / storeQueue
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if seconds := now.Sub(k.at).Seconds(); !k.at.IsZero() && seconds > 0 {
		out.LostRate = float64(out.Lost-k.lost) / seconds
	}
	k.lost, k.at = out.Lost, now
	return out
}

// answers asks the store whether it is there.
func (k *keeping) answers(ctx context.Context) error {
	if k == nil {
		return nil
	}
	_, err := k.store.Calls(ctx, store.Filter{From: time.Now().UnixNano()}, store.Page{Limit: 1})
	return err
}

// maintainEvery is how often old records are removed, and partitions made.
const maintainEvery = time.Hour

// maintain keeps the store in order until ctx ends: days says how many days of
// records are kept, 0 for all.
func (k *keeping) maintain(ctx context.Context, days func() int, to *Log) {
	tick := time.NewTicker(maintainEvery)
	defer tick.Stop()
	for {
		m, err := k.store.Maintain(ctx, time.Now(), days())
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			to.Warn(fmt.Sprintf("old records were not removed: %v", err))
		case m.Rows > 0 || m.Partitions > 0:
			to.Info(fmt.Sprintf("removed %d old rows and %d partitions of the store", m.Rows, m.Partitions))
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// close stores what waits, or leaves it in the queue, until ctx ends.
func (k *keeping) close(ctx context.Context) (err error) {
	if k == nil {
		return nil
	}
	if k.writer != nil {
		err = k.writer.Close(ctx)
	}
	return errors.Join(err, k.store.Close())
}
