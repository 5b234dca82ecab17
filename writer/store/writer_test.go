package store

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"ringside/flow/record"
)

// records are n full calls.
func records(t testing.TB, n int) []*record.Call {
	t.Helper()
	var out []*record.Call
	for i := range n {
		out = append(out, fullCall(t, int64(i+1)))
	}
	return out
}

func orphan(i int) *record.Stream { return &record.Stream{First: int64(i), SSRC: uint32(i)} }

func TestWriter(t *testing.T) {
	ctx := context.Background()
	s := open(t, filepath.Join(t.TempDir(), "calls.db"))
	w := NewWriter(s, WriterOptions{Queue: 4})
	calls := records(t, 300)
	var adders sync.WaitGroup
	for i := range 3 {
		adders.Go(func() {
			for j := i; j < len(calls); j += 3 {
				w.Add(calls[j])
				w.AddOrphan(orphan(j))
			}
		})
	}
	adders.Wait()
	if err := w.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	if n := rowCounts(t, s); n["calls"] != 300 || n["call_message"] != 900 || n["stream"] != 1200 {
		t.Errorf("rows after Flush: %v", n)
	}
	got := w.Stats()
	if got.Batches < 300*17/batchRows || got.Batches > 300 {
		t.Errorf("%d batches", got.Batches)
	}
	got.Batches = 0
	want := WriterStats{Added: 600, Calls: 300, Orphans: 300, Rows: 300*16 + 300}
	if got != want {
		t.Errorf("stats %+v, want %+v", got, want)
	}

	w.Add(fullCall(t, 1000))
	for range 2 { // closing again does nothing
		if err := w.Close(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if n := rowCounts(t, s)["calls"]; n != 301 {
		t.Errorf("%d calls after Close, want 301", n)
	}
	w.Add(fullCall(t, 1001))
	if err := w.Flush(ctx); err != nil {
		t.Errorf("flush after Close: %v", err)
	}
	if st := w.Stats(); st.Refused != 1 || st.Added != st.Stored()+st.Refused {
		t.Errorf("stats after Close: %+v", st)
	}
}

// TestWriterBatchAge waits for a record that no full batch and no flush sends.
func TestWriterBatchAge(t *testing.T) {
	ctx := context.Background()
	s := open(t, Memory)
	w := NewWriter(s, WriterOptions{})
	defer w.Close(ctx)
	w.Add(fullCall(t, 1))
	for {
		n, err := s.Count(ctx, Filter{})
		if err != nil {
			t.Fatal(err)
		}
		if n == 1 {
			return
		}
	}
}

func TestWriterRejects(t *testing.T) {
	ctx := context.Background()
	s := open(t, Memory)
	w := NewWriter(s, WriterOptions{})
	calls := records(t, 40)
	calls[0].Streams[1].MOS.LQ = math.NaN()
	calls[17].Streams[0].Jitter = math.NaN()
	calls[18].CallID = "a second one"
	calls[18].Streams[2].DeltaMax = math.NaN()
	bad := orphan(7)
	bad.SkewPPM = math.NaN()
	for i, c := range calls {
		w.Add(c)
		w.AddOrphan(orphan(100 + i))
	}
	w.AddOrphan(bad)

	err := w.Flush(ctx)
	if err == nil {
		t.Fatal("no error for rejected records")
	}
	for _, part := range []string{
		fmt.Sprintf("insert call %d", calls[0].ID), "stream.mos_lq", "stream.jitter", `"a second one"`, "stream.delta_max", "SSRC 0x7", "stream.skew_ppm",
	} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error lacks %q: %v", part, err)
		}
	}
	if n := strings.Count(err.Error(), "\n") + 1; n != 4 {
		t.Errorf("%d errors, want 4: %v", n, err)
	}
	if n := rowCounts(t, s); n["calls"] != 37 || n["stream"] != 37*3+40 {
		t.Errorf("rows %v, want all but those of the rejected records", n)
	}
	if st := w.Stats(); st.Rejected != 4 || st.Calls != 37 || st.Orphans != 40 || st.Failed != 0 || st.Added != 81 {
		t.Errorf("stats %+v", st)
	}
	if err := w.Close(ctx); err != nil {
		t.Errorf("close tells what Flush told: %v", err)
	}
}

func TestWriterKeepsFewErrors(t *testing.T) {
	ctx := context.Background()
	w := NewWriter(open(t, Memory), WriterOptions{})
	for i := range 25 {
		bad := orphan(i)
		bad.Jitter = math.NaN()
		w.AddOrphan(bad)
	}
	err := w.Close(ctx)
	if err == nil || !strings.HasSuffix(err.Error(), "and 15 more errors") {
		t.Errorf("error %v", err)
	}
	if st := w.Stats(); st.Rejected != 25 {
		t.Errorf("stats %+v", st)
	}
}

func TestWriterDatabaseFails(t *testing.T) {
	ctx := context.Background()
	s := open(t, filepath.Join(t.TempDir(), "calls.db"))
	w := NewWriter(s, WriterOptions{})
	if _, err := s.write.Exec("ALTER TABLE call_leg RENAME TO gone"); err != nil {
		t.Fatal(err)
	}
	for _, c := range records(t, 20) {
		w.Add(c)
	}
	err := w.Flush(ctx)
	if err == nil || !strings.Contains(err.Error(), "batch of 20 calls") || !strings.Contains(err.Error(), "call_leg") {
		t.Errorf("error %v, want one that names the batch and the cause", err)
	}
	if st := w.Stats(); st.Failed != 20 || st.Stored() != 0 {
		t.Errorf("stats %+v", st)
	}
	if _, err := s.write.Exec("ALTER TABLE gone RENAME TO call_leg"); err != nil {
		t.Fatal(err)
	}
	w.Add(fullCall(t, 1))
	if err := w.Close(ctx); err != nil || w.Stats().Calls != 1 {
		t.Errorf("once the database is back: error %v, stats %+v", err, w.Stats())
	}
}

func TestWriterCloseGivesUp(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "calls.db"))
	w := NewWriter(s, WriterOptions{Queue: 100})
	tx, err := s.write.Begin() // holds the one writing connection
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range records(t, 5) {
		w.Add(c)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := w.Flush(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("flush: error %v, want context.Canceled", err)
	}
	if err := w.Close(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("close: error %v, want context.Canceled", err)
	}
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	if st := w.Stats(); st.Failed != 5 || st.Added != 5 {
		t.Errorf("stats %+v, want all failed", st)
	}
}

// TestCut splits batches of all kinds everywhere.
func TestCut(t *testing.T) {
	b := Batch{
		Calls: records(t, 3), Orphans: []*record.Stream{orphan(1)},
		Registrations: []*record.Registration{{ID: 1}, {ID: 2}}, Exchanges: []*record.Exchange{{ID: 3}},
		Events: []*record.Event{{ID: 4}, {ID: 5}}, Links: []*record.Link{{ID: 6}}, Quality: []*record.QualityReport{{ID: 7}},
	}
	for n := range b.Len() + 1 {
		first, rest := b.cut(n)
		if first.Len() != n || rest.Len() != b.Len()-n {
			t.Errorf("cut at %d: %d and %d records", n, first.Len(), rest.Len())
		}
		again := Batch{
			slices.Concat(first.Calls, rest.Calls), slices.Concat(first.Orphans, rest.Orphans),
			slices.Concat(first.Registrations, rest.Registrations), slices.Concat(first.Exchanges, rest.Exchanges),
			slices.Concat(first.Events, rest.Events), slices.Concat(first.Links, rest.Links), slices.Concat(first.Quality, rest.Quality),
		}
		if !reflect.DeepEqual(again, b) {
			t.Errorf("cut at %d: the parts are not the whole", n)
		}
	}
}
