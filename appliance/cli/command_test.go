package cli

import (
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ringside/bench/traffic"
	"ringside/flow/record"
)

// capture is a file of generated traffic, with the number of its calls and
// frames.
func capture(t *testing.T) (path string, totals traffic.Totals) {
	t.Helper()
	o, err := traffic.Preset("demo")
	if err != nil {
		t.Fatal(err)
	}
	o.Calls = 12
	g, err := traffic.New(o)
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(t.TempDir(), "demo.pcapng")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if totals, err = g.Run(context.Background(), f, nil); err != nil {
		t.Fatal(err)
	}
	return path, totals
}

// The whole way: a capture is read into every export, and each call of the
// store can be listed and shown.
func TestReadCommand(t *testing.T) {
	t.Setenv("LC_ALL", "C.UTF-8")
	path, totals := capture(t)
	db := filepath.Join(t.TempDir(), "calls.db")
	code, stdout, stderr := run(t, "read", "--db", db, path)
	if code != exitOK {
		t.Fatalf("exit %d: %s", code, stderr)
	}
	for _, want := range []string{count(totals.Frames) + "  balances", "\nCalls\n", "\nRTP streams\n", "\nLowest MOS\n"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("the summary does not say %q:\n%s", want, stdout)
		}
	}
	if strings.Contains(stdout, "NOT BALANCE") {
		t.Errorf("the ledger does not balance:\n%s", stdout)
	}
	_, list, _ := run(t, "calls", "--db", db, "--json")
	n := 0
	for dec := json.NewDecoder(strings.NewReader(list)); ; n++ {
		var c record.Call
		if err := dec.Decode(&c); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		code, page, stderr := run(t, "call", "--width", "80", "--db", db, c.CallID)
		if code != exitOK || !strings.Contains(page, c.CallID) {
			t.Errorf("show %s: exit %d, %s", c.CallID, code, stderr)
		}
		fits(t, 80, page)
	}
	if n != int(totals.Calls) {
		t.Errorf("%d calls in the store, the capture has %d", n, totals.Calls)
	}
}

// The number of workers changes nothing that is written.
func TestReadIsTheSameForAnyWorkers(t *testing.T) {
	path, _ := capture(t)
	var first string
	for _, workers := range []string{"1", "2", "4"} {
		_, out, errs := run(t, "read", "--json", "-", "--workers", workers, path)
		summary, _, _ := strings.Cut(errs, "\nread ") // what follows is the time that it took
		switch out += summary; {
		case first == "":
			first = out
		case out != first:
			t.Errorf("%s workers give another result than 1", workers)
		}
	}
	if first == "" {
		t.Error("nothing was read")
	}
}

// In a loop every pass brings calls of its own, and no pace changes a record.
func TestReadReplays(t *testing.T) {
	path, totals := capture(t)
	calls := func(args ...string) (n int, out string) {
		code, out, errs := run(t, append([]string{"read", "--json", "-", path}, args...)...)
		if code != exitOK || strings.Contains(errs, "NOT BALANCE") {
			t.Fatalf("exit %d: %s", code, errs)
		}
		ids := map[string]bool{}
		for l := range strings.Lines(out) {
			var v struct {
				Type   string `json:"type"`
				CallID string `json:"call_id"`
				Orphan bool   `json:"orphan"`
			}
			if err := json.Unmarshal([]byte(l), &v); err != nil {
				t.Fatal(err)
			}
			if v.Type == "" && !v.Orphan {
				ids[v.CallID] = true
			}
		}
		return len(ids), out
	}
	once, plainRead := calls()
	if once != int(totals.Calls) {
		t.Errorf("%d calls, the capture has %d", once, totals.Calls)
	}
	if n, _ := calls("--loop", "3"); n != 3*once {
		t.Errorf("3 passes give %d calls, want %d", n, 3*once)
	}
	if _, out := calls("--replay", "--replay-scale", "0.000001"); out != plainRead {
		t.Error("a replay gives other records than a plain read")
	}
}

func TestReadCommandErrors(t *testing.T) {
	dir := t.TempDir()
	text := filepath.Join(dir, "text.pcap")
	if err := os.WriteFile(text, []byte("this is no capture, and it is long enough to be looked at"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name string
		args []string
		code int
		says string
	}{
		{"missing", []string{filepath.Join(dir, "missing.pcap")}, exitFailure, "missing.pcap"},
		{"no capture", []string{text}, exitFailure, "text.pcap: neither pcap nor pcapng"},
		{"timeouts", []string{"--calls-timeouts", "inv_1st=soon", text}, exitUsage, "inv_1st"},
		{"key log", []string{"--keylog", filepath.Join(dir, "missing.log"), text}, exitFailure, "missing.log"},
		{"alias", []string{"--natalias", "10.0.0.1=10.0.0.2", "--natalias", "10.0.0.1=10.0.0.3", text}, exitFailure, "has the alias 10.0.0.2 already"},
		{"state", []string{"--calls-timeouts", "nothing=1s", text}, exitUsage, `no state "nothing"`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			code, _, errs := run(t, append([]string{"read"}, tc.args...)...)
			if code != tc.code || !strings.Contains(errs, tc.says) {
				t.Errorf("exit %d, want %d; stderr %q, want %q in it", code, tc.code, errs, tc.says)
			}
		})
	}
}
