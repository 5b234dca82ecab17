package store

import (
	"context"
	"database/sql"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"ringside/flow/record"
	"ringside/writer/queue"
)

// TestWriterParkedFull has the database reject more than there is room for: that
// is refused, and the rest is stored.
func TestWriterParkedFull(t *testing.T) {
	bad := func(id int64) bool { return id%50 == 7 }
	for _, first := range []struct {
		name string
		fail func(Batch) error
	}{{"at once", rejects(bad)}, {"from the queue", gone}} {
		t.Run(first.name, func(t *testing.T) {
			ctx := context.Background()
			db := &fakeDB{fail: first.fail}
			over := overflow(t, OverflowOptions{Dir: t.TempDir(), MaxBytes: 4 << 20})
			parked, err := queue.Open(queue.Options{Dir: t.TempDir(), MaxBytes: 8 << 10})
			if err != nil {
				t.Fatal(err)
			}
			if err := over.parked.Close(); err != nil {
				t.Fatal(err)
			}
			over.parked = parked
			w := keeping(t, db, "", WriterOptions{Overflow: over})
			addEvents(w, 0, 10000)
			if err := w.Flush(ctx); err != nil && first.name != "at once" {
				t.Fatal(err)
			}
			db.set(rejects(bad))
			until(t, "nothing waits", func() bool { s := w.Stats(); return s.Queued == 0 && s.Events == 9800 })
			_ = w.Close(ctx) // Flush may have had its errors
			if s := balanced(t, w); s.Parked == 0 || s.Refused == 0 || s.Parked+s.Refused != 200 || s.Away {
				t.Errorf("%+v", s)
			}
		})
	}
}

// TestWriterMended has the database take what it rejected, more than is tried at
// a time: it does not wait between.
func TestWriterMended(t *testing.T) {
	t.Run("running", func(t *testing.T) {
		testWriterMended(t, func(w *Writer) {
			until(t, "nothing is parked", func() bool { return w.Stats().Parked == 0 })
		})
	})
	t.Run("closed at once", func(t *testing.T) {
		testWriterMended(t, func(w *Writer) {
			if err := w.Close(context.Background()); err != nil {
				t.Fatal(err)
			}
		})
	})
}

func testWriterMended(t *testing.T, wait func(*Writer)) {
	over := overflow(t, OverflowOptions{Dir: t.TempDir()})
	const records = 2*parkedTry + parkedTry/2
	for id := int64(0); id < records; id += batchRows {
		var bad []poison
		for i := range int64(batchRows) {
			bad = append(bad, poison{Batch{Events: []*record.Event{{ID: id + i}}}, errGone})
		}
		if err := over.park(bad, time.Unix(1, 0)); err != nil {
			t.Fatal(err)
		}
	}
	db := &fakeDB{}
	w := keeping(t, db, "", WriterOptions{Overflow: over})
	wait(w)
	if s := balanced(t, w); s.Events != records || s.Parked != 0 {
		t.Errorf("%+v", s)
	}
	if got := db.taken(); !slices.Equal(got, upTo(records)) {
		t.Errorf("the database took %d records, not each once in order", len(got))
	}
}

// TestWriterNotReady finds, once the database can be opened, that somebody else has
// made it: no record is to blame, and all wait in the queue.
func TestWriterNotReady(t *testing.T) {
	ctx := context.Background()
	path := filepath.Join(t.TempDir(), "calls.db")
	other, err := sql.Open("sqlite", path+"?_txlock=immediate")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	tx, err := other.Begin()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec("CREATE TABLE foreign_table (x INT)"); err != nil {
		t.Fatal(err)
	}
	s, err := Open(ctx, Options{Path: path, BusyTimeout: 20 * time.Millisecond, Lazy: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	w := real(t, s, t.TempDir())
	for id := range int64(300) {
		w.Add(smallCall(id))
	}
	if err := w.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	if st := balanced(t, w); st.Queued != 300 || !st.Away || !strings.Contains(st.LastError, "not a ringside store") {
		t.Errorf("%+v", st)
	}
	if _, err := other.Exec("DROP TABLE foreign_table"); err != nil {
		t.Fatal(err)
	}
	until(t, "the queue is drained", func() bool { return w.Stats().Queued == 0 })
	if err := w.Close(ctx); err != nil {
		t.Fatal(err)
	}
	checkStored(t, s, 300)
}
