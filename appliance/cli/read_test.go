package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ringside/flow/record"
)

// script is an engine that hands over prepared records.
type script struct {
	calls   []*record.Call
	orphans []*record.Stream
	damage  []damage
	err     error
	to      sink
	given   int
	nothing bool // no frame was read
	said    []string
}

func (s *script) Run(ctx context.Context) error {
	for _, c := range s.calls {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		s.given++
		_ = s.to.take(c)
	}
	for _, o := range s.orphans {
		_ = s.to.take(o)
	}
	return s.err
}

func (s *script) notes() []string { return s.said }

func (s *script) progress() progress { return progress{read: 100, total: 100, frames: 42} }

func (s *script) report() report {
	if s.nothing {
		return report{bytes: 100, balanced: true, damage: s.damage}
	}
	return report{bytes: 100, frames: 42, balanced: true, ledger: []row{{"packet", "sip", 42}}, damage: s.damage}
}

// open is an opener of the script.
func (s *script) open(_ readFlags, to sink) (engine, error) {
	s.to = to
	return s, nil
}

func sample() *script {
	return &script{calls: []*record.Call{answeredCall(), busyCall()}, orphans: []*record.Stream{{SSRC: 5, First: t0, Last: t0}}}
}

func TestReadExports(t *testing.T) {
	dir := t.TempDir()
	f := readFlags{json: filepath.Join(dir, "out.json"), csv: filepath.Join(dir, "out.csv"), db: filepath.Join(dir, "calls.db")}
	var out, errs bytes.Buffer
	if err := read(t.Context(), f, &style{utc: true}, sample().open, &out, &errs); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "balances") || !strings.Contains(errs.String(), "read 42 packets") {
		t.Errorf("stdout %q, stderr %q", out.String(), errs.String())
	}
	lines, err := os.ReadFile(f.json)
	if err != nil {
		t.Fatal(err)
	}
	var orphans, calls int
	for _, l := range strings.Split(strings.TrimSpace(string(lines)), "\n") {
		var v struct {
			Orphan bool   `json:"orphan"`
			CallID string `json:"call_id"`
			SSRC   uint32 `json:"ssrc"`
		}
		if err := json.Unmarshal([]byte(l), &v); err != nil {
			t.Fatalf("%v in %q", err, l)
		}
		switch {
		case v.Orphan && v.SSRC == 5:
			orphans++
		case !v.Orphan && v.CallID != "":
			calls++
		default:
			t.Errorf("line %q", l)
		}
	}
	if calls != 2 || orphans != 1 {
		t.Errorf("%d calls and %d orphans in the JSON, want 2 and 1", calls, orphans)
	}
	table, err := os.ReadFile(f.csv)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(table), "\r\n"); n != 3 {
		t.Errorf("%d lines of CSV, want a header and 2 calls", n)
	}
	if _, stored, _ := run(t, "calls", "--db", f.db, "--count"); stored != "2\n" {
		t.Errorf("%q calls in the store, want 2", stored)
	}
}

// With an export on standard output, nothing else is written there.
func TestReadToStandardOutput(t *testing.T) {
	var out, errs bytes.Buffer
	if err := read(t.Context(), readFlags{json: "-"}, &style{}, sample().open, &out, &errs); err != nil {
		t.Fatal(err)
	}
	for _, l := range strings.Split(strings.TrimSpace(out.String()), "\n") {
		if !json.Valid([]byte(l)) {
			t.Errorf("standard output has %q", l)
		}
	}
	if !strings.Contains(errs.String(), "Ledger") {
		t.Error("no summary on standard error")
	}
}

// The same records give the same summary, whatever the speed of the machine.
func TestReadQuietAndDamage(t *testing.T) {
	s := sample()
	s.damage = []damage{{"x.pcap", 99, "cut short"}}
	var out, errs bytes.Buffer
	if err := read(t.Context(), readFlags{quiet: true}, &style{}, s.open, &out, &errs); err != nil {
		t.Fatal(err)
	}
	if out.Len() > 0 {
		t.Errorf("standard output %q of a quiet read", out.String())
	}
	if want := "ringside: x.pcap is damaged at byte 99, read up to there: cut short\n"; errs.String() != want {
		t.Errorf("standard error %q, want %q", errs.String(), want)
	}
}

// Input of which nothing could be read is a failure, unlike damage.
func TestReadOfNothing(t *testing.T) {
	s := &script{nothing: true, damage: []damage{{"x.txt", 0, "neither pcap nor pcapng"}}}
	var out, errs bytes.Buffer
	err := read(t.Context(), readFlags{}, &style{}, s.open, &out, &errs)
	if err == nil || !strings.Contains(err.Error(), "x.txt: neither pcap nor pcapng") {
		t.Errorf("error %v", err)
	}
}

// failing is standard output on a full disk.
type failing struct{}

var errFull = errors.New("no space left on device")

func (failing) Write([]byte) (int, error) { return 0, errFull }

// An export that fails ends the read: nobody waits hours for half a file.
func TestReadEndsWhenAnExportFails(t *testing.T) {
	s := sample()
	for range 1000 {
		s.calls = append(s.calls, answeredCall())
	}
	var errs bytes.Buffer
	err := read(t.Context(), readFlags{json: "-"}, &style{}, s.open, failing{}, &errs)
	if !errors.Is(err, errFull) {
		t.Errorf("error %v, want %v", err, errFull)
	}
	if errors.Is(err, context.Canceled) {
		t.Errorf("error %v speaks of the cancelling, not of its cause", err)
	}
	if s.given == len(s.calls) {
		t.Error("all calls were read after the export had failed")
	}
}

// An interrupted read says so, and does not blame the ledger.
func TestReadInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out, errs bytes.Buffer
	err := read(ctx, readFlags{}, &style{}, sample().open, &out, &errs)
	if err == nil || err.Error() != "read captures: interrupted" {
		t.Errorf("error %v", err)
	}
	if !strings.Contains(out.String(), "the read ended early") || strings.Contains(out.String(), "BALANCE") {
		t.Errorf("summary %q", out.String())
	}
}

// What was read before an error is shown, and the error is returned.
func TestReadShowsWhatItHas(t *testing.T) {
	s := sample()
	s.err = errors.New("read x.pcap: input/output error")
	var out, errs bytes.Buffer
	if err := read(t.Context(), readFlags{}, &style{}, s.open, &out, &errs); !errors.Is(err, s.err) {
		t.Errorf("error %v, want %v", err, s.err)
	}
	if !strings.Contains(out.String(), "answered") {
		t.Errorf("no summary: %q", out.String())
	}
}

func TestReadCannotOpen(t *testing.T) {
	broken := errors.New("open x.pcap: no such file")
	for _, tc := range []struct {
		name string
		f    readFlags
		open opener
		says string
	}{
		{"input", readFlags{}, func(readFlags, sink) (engine, error) { return nil, broken }, "open x.pcap"},
		{"json", readFlags{json: "/nonexistent/x"}, sample().open, "write JSON: open /nonexistent/x"},
		{"csv", readFlags{csv: "/nonexistent/x"}, sample().open, "write CSV: open /nonexistent/x"},
		{"store", readFlags{db: "/dev/null/x.db"}, sample().open, "/dev/null/x.db"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var out, errs bytes.Buffer
			err := read(t.Context(), tc.f, &style{}, tc.open, &out, &errs)
			if err == nil || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("error %v, want %q in it", err, tc.says)
			}
			if out.Len() > 0 {
				t.Errorf("standard output %q", out.String())
			}
		})
	}
}
