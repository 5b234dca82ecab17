package store

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"ringside/flow/record"
	"ringside/writer/queue"
)

// fakeDB is a database that can be away, slow, or choosy.
type fakeDB struct {
	mu     sync.Mutex
	fail   func(Batch) error // nil: all is well
	ids    []int64           // of the events that it took, in order
	most   int               // events of one batch
	during chan struct{}     // if not nil, an insert waits for it to be closed
}

var errGone = fmt.Errorf("insert: %w", io.ErrUnexpectedEOF)

func (db *fakeDB) insert(ctx context.Context, b Batch) error {
	db.mu.Lock()
	fail, during := db.fail, db.during
	db.mu.Unlock()
	if during != nil {
		select {
		case <-during:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if fail != nil {
		if err := fail(b); err != nil {
			return err
		}
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	db.most = max(db.most, b.rows())
	for _, e := range b.Events {
		db.ids = append(db.ids, e.ID)
	}
	return nil
}

func (db *fakeDB) set(fail func(Batch) error) {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.fail = fail
}

func (db *fakeDB) taken() []int64 {
	db.mu.Lock()
	defer db.mu.Unlock()
	return slices.Clone(db.ids)
}

func gone(Batch) error { return errGone }

// rejects is a database that does not take some records.
func rejects(bad func(id int64) bool) func(Batch) error {
	return func(b Batch) error {
		for _, e := range b.Events {
			if bad(e.ID) {
				return fmt.Errorf("column is broken for event %d", e.ID)
			}
		}
		return nil
	}
}

func overflow(t testing.TB, o OverflowOptions) *Overflow {
	t.Helper()
	over, err := OpenOverflow(o)
	if err != nil {
		t.Fatal(err)
	}
	return over
}

// keeping is a Writer on a fakeDB with an Overflow in a directory.
func keeping(t testing.TB, db *fakeDB, dir string, o WriterOptions) *Writer {
	t.Helper()
	if o.Overflow == nil {
		o.Overflow = overflow(t, OverflowOptions{Dir: dir})
	}
	if o.SyncAge == 0 {
		o.SyncAge = 4 * time.Second // no batch is late, however busy this machine is
	}
	o.firstWait, o.longWait, o.try = time.Millisecond, 20*time.Millisecond, db.insert
	w := NewWriter(nil, o)
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = w.Close(ctx)
	})
	return w
}

func addEvents(w *Writer, from, to int64) {
	for id := from; id < to; id++ {
		w.AddEvent(&record.Event{ID: id})
	}
}

// until waits for something that goroutines do.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for range 6000 {
		if ok() {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatalf("waited in vain for: %s", what)
}

// balanced checks the sum of a Writer that has nothing in its hands.
func balanced(t testing.TB, w *Writer) WriterStats {
	t.Helper()
	s := w.Stats()
	if s.Added+s.Recovered != s.Stored()+s.Queued+s.Parked+s.Lost() {
		t.Errorf("does not balance: %+v", s)
	}
	return s
}

func upTo(n int64) []int64 {
	var out []int64
	for id := range n {
		out = append(out, id)
	}
	return out
}

// TestWriterAway takes the database away and brings it back.
func TestWriterAway(t *testing.T) {
	ctx := context.Background()
	db := &fakeDB{}
	w := keeping(t, db, t.TempDir(), WriterOptions{})
	addEvents(w, 0, 1500)
	if err := w.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	if s := balanced(t, w); s.Events != 1500 || s.Away || s.LastError != "" || s.Queued+s.Drained != 0 {
		t.Errorf("with the database there: %+v", s)
	}

	db.set(gone)
	addEvents(w, 1500, 4000)
	if err := w.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	s := balanced(t, w)
	if s.Events != 1500 || s.Queued != 2500 || !s.Away || !strings.Contains(s.LastError, errGone.Error()) || s.Oldest.IsZero() || s.QueuedBytes == 0 {
		t.Errorf("with the database away: %+v", s)
	}

	db.set(nil)
	until(t, "the queue is drained", func() bool { return w.Stats().Queued == 0 })
	addEvents(w, 4000, 4100)
	if err := w.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if s := balanced(t, w); s.Events != 4100 || s.Drained != 2500 || s.Away || !s.Oldest.IsZero() || s.QueuedBytes != 0 {
		t.Errorf("with the database back: %+v", s)
	}
	if got := db.taken(); !slices.Equal(got, upTo(4100)) {
		t.Errorf("the database took %d records, not each once in order", len(got))
	}
	if db.most > batchRows {
		t.Errorf("a batch of %d rows", db.most)
	}
}

// TestWriterRestart leaves a queue to the next Writer, twice.
func TestWriterRestart(t *testing.T) {
	ctx := context.Background()
	db, dir := &fakeDB{fail: gone}, t.TempDir()
	for i := range int64(2) {
		w := keeping(t, db, dir, WriterOptions{})
		addEvents(w, i*100, i*100+100)
		if err := w.Close(ctx); err != nil {
			t.Fatal(err)
		}
		if s := balanced(t, w); s.Queued != uint64(i*100+100) || s.Recovered != uint64(i*100) {
			t.Errorf("run %d: %+v", i, s)
		}
	}
	db.set(nil)
	w := keeping(t, db, dir, WriterOptions{})
	if err := w.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if s := balanced(t, w); s.Recovered != 200 || s.Drained != 200 || s.Events != 200 {
		t.Errorf("at last: %+v", s)
	}
	if got := db.taken(); !slices.Equal(got, upTo(200)) {
		t.Errorf("the database took %v", got)
	}
}

// TestWriterParks has records rejected, on their way straight to the database and
// on that through the queue, and then taken.
func TestWriterParks(t *testing.T) {
	bad := func(id int64) bool { return id%50 == 7 }
	for _, first := range []struct {
		name string
		fail func(Batch) error
	}{{"at once", rejects(bad)}, {"from the queue", gone}} {
		t.Run(first.name, func(t *testing.T) {
			ctx := context.Background()
			db, dir := &fakeDB{fail: first.fail}, t.TempDir()
			w := keeping(t, db, dir, WriterOptions{})
			addEvents(w, 0, 1000)
			if err := w.Flush(ctx); err != nil {
				t.Fatal(err)
			}
			db.set(rejects(bad))
			until(t, "the rest is stored", func() bool { s := w.Stats(); return s.Events+s.Parked == 1000 })
			if err := w.Close(ctx); err != nil {
				t.Fatal(err)
			}
			if s := balanced(t, w); s.Parked != 20 || s.Events != 980 || s.Lost() != 0 || !strings.Contains(s.LastError, "column is broken") {
				t.Errorf("%+v", s)
			}

			over := overflow(t, OverflowOptions{Dir: dir})
			var ids []int64
			err := over.EachParked(func(p Parked) error {
				id := p.Batch.Events[0].ID
				ids = append(ids, id)
				if want := fmt.Sprintf("column is broken for event %d", id); p.Reason != want || !strings.Contains(p.What, fmt.Sprint("event ", id)) || p.Time.IsZero() {
					t.Errorf("parked %+v", p)
				}
				return nil
			})
			if err != nil || len(ids) != 20 || !slices.IsSorted(ids) {
				t.Errorf("parked %v, error %v", ids, err)
			}

			db.set(rejects(func(id int64) bool { return id == 57 }))
			w = keeping(t, db, "", WriterOptions{Overflow: over})
			if err := w.Close(ctx); err != nil {
				t.Fatal(err)
			}
			if s := balanced(t, w); s.Recovered != 20 || s.Events != 19 || s.Parked != 1 {
				t.Errorf("after they were tried again: %+v", s)
			}
			got := db.taken()
			slices.Sort(got)
			if want := slices.DeleteFunc(upTo(1000), func(id int64) bool { return id == 57 }); !slices.Equal(got, want) {
				t.Errorf("the database took %d records, want %d, each once", len(got), len(want))
			}
		})
	}
}

// TestWriterParksAll has the database reject everything for a while, as when a
// column is missing.
func TestWriterParksAll(t *testing.T) {
	ctx := context.Background()
	db, dir := &fakeDB{fail: rejects(func(int64) bool { return true })}, t.TempDir()
	w := keeping(t, db, dir, WriterOptions{})
	addEvents(w, 0, 2500)
	if err := w.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	if s := balanced(t, w); s.Parked != 2500 || s.Away || s.Oldest != (time.Time{}) {
		t.Errorf("%+v", s)
	}
	if err := w.Close(ctx); err != nil {
		t.Fatal(err)
	}
	db.set(nil)
	w = keeping(t, db, dir, WriterOptions{})
	if err := w.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if s := balanced(t, w); s.Parked != 0 || s.Events != 2500 {
		t.Errorf("once it is mended: %+v", s)
	}
	if got := db.taken(); !slices.Equal(got, upTo(2500)) {
		t.Errorf("the database took %d records, not each once in order", len(got))
	}
}

// TestWriterHangs has the database not answer at all: what it was given is on disk
// all the same, and Add does not wait.
func TestWriterHangs(t *testing.T) {
	ctx := context.Background()
	db := &fakeDB{during: make(chan struct{})}
	w := keeping(t, db, t.TempDir(), WriterOptions{Queue: 64, SyncAge: 200 * time.Millisecond})
	addEvents(w, 0, 5000) // far more than fit into memory
	if err := w.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	if s := balanced(t, w); s.Queued != 5000 || s.Refused != 0 {
		t.Errorf("%+v", s)
	}
	close(db.during)
	if err := w.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if s := balanced(t, w); s.Events != 5000 || s.Drained != 5000 {
		t.Errorf("%+v", s)
	}
	// What hung was stored when the database answered, and again from the queue.
	got := db.taken()
	slices.Sort(got)
	if got = slices.Compact(got); !slices.Equal(got, upTo(5000)) {
		t.Errorf("the database took %d records", len(got))
	}
}

// TestWriterOverflowFull has no room on disk while the database is away.
func TestWriterOverflowFull(t *testing.T) {
	t.Run("live", func(t *testing.T) {
		ctx := context.Background()
		db := &fakeDB{fail: gone}
		over := overflow(t, OverflowOptions{Dir: t.TempDir(), MaxBytes: 256 << 10})
		w := keeping(t, db, "", WriterOptions{Overflow: over, Queue: 2000})
		addEvents(w, 0, 30000)
		until(t, "something is refused", func() bool { return w.Stats().Refused > 0 })
		db.set(nil)
		if err := w.Close(ctx); err == nil || !strings.Contains(err.Error(), "queue is full") {
			t.Errorf("error %v", err)
		}
		s := balanced(t, w)
		if s.Events+s.Refused != 30000 || s.Lost() != s.Refused {
			t.Errorf("%+v", s)
		}
		if got := db.taken(); !slices.IsSorted(got) || got[0] != 0 || len(got) != int(s.Events) {
			t.Errorf("the database took %d records of %d stored; the newest are refused", len(got), s.Events)
		}
	})
	t.Run("patient", func(t *testing.T) {
		ctx := context.Background()
		db := &fakeDB{fail: gone}
		over := overflow(t, OverflowOptions{Dir: t.TempDir(), MaxBytes: 256 << 10})
		w := keeping(t, db, "", WriterOptions{Overflow: over, Queue: 2000, Patient: true})
		go func() {
			until(t, "the queue is full", func() bool { return strings.Contains(w.Stats().LastError, "queue is full") })
			db.set(nil)
		}()
		addEvents(w, 0, 30000)
		if err := w.Close(ctx); err != nil {
			t.Fatal(err)
		}
		if s := balanced(t, w); s.Events != 30000 {
			t.Errorf("%+v", s)
		}
		if got := db.taken(); !slices.Equal(got, upTo(30000)) {
			t.Errorf("the database took %d records, not each once in order", len(got))
		}
	})
}

// faultyFS is the file system of the machine with a disk that fills up.
type faultyFS struct {
	queue.FS
	mu    sync.Mutex
	full  bool
	hangs sync.Mutex // held while it does not answer
}

type faultyFile struct {
	queue.File
	fs *faultyFS
}

func (f *faultyFS) set(full bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.full = full
}

func (f *faultyFS) Create(path string) (queue.File, error) {
	file, err := f.FS.Create(path)
	return faultyFile{file, f}, err
}

func (f faultyFile) WriteAt(b []byte, at int64) (int, error) {
	f.fs.hangs.Lock()
	defer f.fs.hangs.Unlock()
	f.fs.mu.Lock()
	full := f.fs.full
	f.fs.mu.Unlock()
	if full {
		n, _ := f.File.WriteAt(b[:len(b)/2], at)
		return n, syscall.ENOSPC
	}
	return f.File.WriteAt(b, at)
}

// TestWriterQueueDiskFails has the disk of the queue full for a while: what memory
// holds is written once there is room.
func TestWriterQueueDiskFails(t *testing.T) {
	ctx := context.Background()
	db, disk := &fakeDB{fail: gone}, &faultyFS{FS: queue.OS}
	over := overflow(t, OverflowOptions{Dir: t.TempDir(), FS: disk})
	w := keeping(t, db, "", WriterOptions{Overflow: over})
	addEvents(w, 0, 100)
	if err := w.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	disk.set(true)
	addEvents(w, 100, 2500)
	until(t, "the disk is found full", func() bool { return strings.Contains(w.Stats().LastError, "no space") })
	disk.set(false)
	if err := w.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	if s := balanced(t, w); s.Queued != 2500 || s.Refused != 0 {
		t.Errorf("%+v", s)
	}
	db.set(nil)
	if err := w.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if got := db.taken(); !slices.Equal(got, upTo(2500)) {
		t.Errorf("the database took %d records, not each once in order", len(got))
	}
}

// TestWriterQueueDiskHangs has neither the database nor the disk of the queue
// answer: Add goes on, and counts what memory has no room for.
func TestWriterQueueDiskHangs(t *testing.T) {
	ctx := context.Background()
	db, disk := &fakeDB{fail: gone}, &faultyFS{FS: queue.OS}
	over := overflow(t, OverflowOptions{Dir: t.TempDir(), FS: disk})
	w := keeping(t, db, "", WriterOptions{Overflow: over, Queue: 100, SyncAge: 100 * time.Millisecond})
	disk.hangs.Lock()
	addEvents(w, 0, 20000)
	if s := w.Stats(); s.Refused < 10000 || s.Queued > 0 {
		t.Errorf("%+v", s)
	}
	disk.hangs.Unlock()
	db.set(nil)
	if err := w.Close(ctx); err == nil || !strings.Contains(err.Error(), "disk of the queue hangs") {
		t.Errorf("error %v", err)
	}
	if s := balanced(t, w); s.Events+s.Refused != 20000 || s.Events < 100 {
		t.Errorf("%+v", s)
	}
}

// TestWriterDamage finds a queue in which an entry is damaged, and one that makes
// no sense.
func TestWriterDamage(t *testing.T) {
	ctx := context.Background()
	db, dir := &fakeDB{fail: gone}, t.TempDir()
	w := keeping(t, db, dir, WriterOptions{})
	for i := range int64(3) {
		addEvents(w, i*10, i*10+10)
		if err := w.Flush(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(ctx); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.queue"))
	if err != nil || len(files) != 1 {
		t.Fatalf("segments %v, error %v", files, err)
	}
	b, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2]++ // in the second of three entries
	if err := os.WriteFile(files[0], b, 0o600); err != nil {
		t.Fatal(err)
	}
	over := overflow(t, OverflowOptions{Dir: dir})
	for _, data := range []string{"nonsense", recordsHead + "nonsense"} {
		if err := over.queue.Append([]byte(data), 2); err != nil {
			t.Fatal(err)
		}
	}
	db.set(nil)
	w = keeping(t, db, "", WriterOptions{Overflow: over})
	if err := w.Close(ctx); err == nil || !strings.Contains(err.Error(), "10 records are damaged and lost") {
		t.Errorf("error %v", err)
	}
	if s := balanced(t, w); s.Recovered != 34 || s.Events != 20 || s.Damaged != 10 || s.Parked != 4 {
		t.Errorf("%+v", s)
	}
	if got, want := db.taken(), slices.Concat(upTo(10), upTo(30)[20:]); !slices.Equal(got, want) {
		t.Errorf("the database took %v", got)
	}
}

// TestWriterNewer finds a queue that a later version wrote: it stays as it is.
func TestWriterNewer(t *testing.T) {
	db := &fakeDB{}
	over := overflow(t, OverflowOptions{Dir: t.TempDir()})
	if err := over.queue.Append([]byte("ringside records 2\n"), 5); err != nil {
		t.Fatal(err)
	}
	w := keeping(t, db, "", WriterOptions{Overflow: over})
	addEvents(w, 0, 10)
	if err := w.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	if s := balanced(t, w); s.Queued != 15 || s.Events != 0 || !strings.Contains(s.LastError, "newer version") {
		t.Errorf("%+v", s)
	}
}
