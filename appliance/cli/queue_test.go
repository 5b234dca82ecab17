package cli

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestQueue reads while no server answers, and stores later what was kept.
func TestQueue(t *testing.T) {
	path, totals := capture(t)
	dir := t.TempDir()
	queue, db := filepath.Join(dir, "queue"), filepath.Join(dir, "calls.db")
	nobody := "mysql://ringside@unix(" + filepath.Join(dir, "nobody.sock") + ")/ringside"

	code, _, errs := run(t, "read", "--db", nobody, "--queue", queue, "-q", path)
	if code != exitOK || !strings.Contains(errs, "the store did not take") || !strings.Contains(errs, queue) {
		t.Fatalf("exit %d: %s", code, errs)
	}
	code, out, errs := run(t, "store", "status", "--queue", queue)
	if code != exitOK || strings.HasPrefix(out, "0 records wait") || !strings.Contains(out, "the oldest for") || !strings.Contains(out, "\n0 records are parked") {
		t.Errorf("status: exit %d: %s%s", code, out, errs)
	}
	if code, out, errs = run(t, "store", "retry", "--db", nobody, "--queue", queue); code == exitOK {
		t.Errorf("retry without a server: %s%s", out, errs)
	}

	code, out, errs = run(t, "store", "retry", "--db", db, "--queue", queue)
	if code != exitOK || !strings.HasSuffix(out, "0 wait, 0 are parked\n") {
		t.Errorf("retry: exit %d: %s%s", code, out, errs)
	}
	if _, n, _ := run(t, "calls", "--db", db, "--count"); n != count(totals.Calls)+"\n" {
		t.Errorf("%s calls in the store, the capture has %d", n, totals.Calls)
	}
	code, out, _ = run(t, "store", "status", "--json", "--queue", queue)
	if want := `{"queued":0,"queued_bytes":0,"parked":0,"parked_bytes":0}` + "\n"; code != exitOK || out != want {
		t.Errorf("status: exit %d: %s", code, out)
	}
	if code, out, errs = run(t, "store", "parked", "--queue", queue); code != exitOK || out != "" {
		t.Errorf("parked: exit %d: %s%s", code, out, errs)
	}

	// With the store there nothing is left in the queue.
	other := filepath.Join(dir, "other.db")
	if code, _, errs = run(t, "read", "--db", other, "--queue", queue, "-q", path); code != exitOK || errs != "" {
		t.Errorf("read with the store there: exit %d: %s", code, errs)
	}
	if _, n, _ := run(t, "calls", "--db", other, "--count"); n != count(totals.Calls)+"\n" {
		t.Errorf("%s calls in the store, the capture has %d", n, totals.Calls)
	}
}

func TestQueueErrors(t *testing.T) {
	for _, tc := range []struct {
		args string
		code int
		says string
	}{
		{"store", exitUsage, "status, parked, retry or clean"},
		{"store status", exitUsage, "--queue DIR"},
		{"store status --queue /nonexistent/queue", exitUnavailable, "/nonexistent/queue"},
		{"store parked --queue /dev/null", exitUnavailable, "no directory"},
		{"store retry --queue /nonexistent/queue", exitUsage, "--db PATH"},
		{"store retry --db x.db --queue /nonexistent/queue", exitUnavailable, "/nonexistent/queue"},
		{"read --queue q x.pcap", exitUsage, "add --db PATH"},
		{"read --db x.db --queue= x.pcap", exitUsage, "--queue"},
	} {
		t.Run(tc.args, func(t *testing.T) {
			code, _, errs := run(t, strings.Fields(tc.args)...)
			if code != tc.code || !strings.Contains(errs, tc.says) {
				t.Errorf("exit %d, want %d; stderr %q, want %q in it", code, tc.code, errs, tc.says)
			}
		})
	}
}
