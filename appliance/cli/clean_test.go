package cli

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ringside/flow/record"
	"ringside/writer/store"
)

func TestStoreClean(t *testing.T) {
	db := filepath.Join(t.TempDir(), "calls.db")
	if code, _, errOut := run(t, "store", "clean", "--db", db, "--days", "7"); code != exitUnavailable || !strings.Contains(errOut, db) {
		t.Errorf("no store: exit %d, %s", code, errOut)
	}
	if code, _, errOut := run(t, "store", "clean", "--db", db); code != exitUsage || !strings.Contains(errOut, "--days") {
		t.Errorf("no days: exit %d, %s", code, errOut)
	}
	s, err := store.Open(t.Context(), store.Options{Path: db})
	if err != nil {
		t.Fatal(err)
	}
	var calls []*record.Call
	for i, age := range []time.Duration{0, 24 * time.Hour, 30 * 24 * time.Hour} {
		at := time.Now().Add(-age).UnixNano()
		calls = append(calls, &record.Call{ID: int64(i + 1), CallID: "a@b", Start: at, End: at})
	}
	if err := s.Insert(t.Context(), store.Batch{Calls: calls}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	code, out, errOut := run(t, "store", "clean", "--db", db, "--days", "7")
	if code != 0 || !strings.HasPrefix(out, "removed 1 rows") {
		t.Errorf("exit %d, %q %s", code, out, errOut)
	}
	_, out, _ = run(t, "calls", "--db", db, "--json")
	if n := strings.Count(out, "\n"); n != 2 {
		t.Errorf("%d calls are left, want 2:\n%s", n, out)
	}
}
