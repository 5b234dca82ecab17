package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"ringside/bench/replay"
	"ringside/bench/report"
)

func TestSuiteUsage(t *testing.T) {
	for _, tc := range []struct {
		name, args, want string
	}{
		{"scenario", "suite --only odd", `no scenario "odd"`},
		{"peer", "suite --peers wireshark", "heplify"},
		{"wire", "suite --iface eth1", "two ends"},
		{"packets", "suite --packets 10", "10 packets"},
		{"budget", "suite --budget 0s", "budget"},
		{"engine", "suite --engine pigeon", "packet, xdp, ring"},
		{"cpus", "suite --send-cpus x", "processor"},
		{"exact", "suite --exact 1", "exactness"},
		{"argument", "suite now", `"now"`},
		{"one report", "compare a", "two reports"},
		{"guard", "guard --only odd", `"odd"`},
		{"guard of a part", "guard --record --only meter", "--only"},
		{"guard's argument", "guard now", `"now"`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := run(t.Context(), strings.Fields(tc.args), new(bytes.Buffer))
			if !errors.Is(err, errUsage) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want a usage error about %q", err, tc.want)
			}
		})
	}
}

func TestSuiteFlags(t *testing.T) {
	b, s, err := parseSuite(strings.Fields("--quick --iface eth1 --peer-iface eth2 --engine ring --send-cpus 0,1 --receive-cpus 2,3 --peers tcpdump,dumpcap "+
		"--runs 5 --free 1e-5 -o out"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if b.Engine != replay.Ring || len(b.Send) != 2 || b.Receive[1] != 3 || b.Runs != 5 || b.Free != 1e-5 || b.From != "eth1" || b.To != "eth2" {
		t.Errorf("got %+v", b)
	}
	if !s.plan.Quick || s.plan.Packets != 5e5 || len(s.plan.Peers) != 2 || s.to != "out" || !strings.HasPrefix(s.plan.Command, "ringbench suite --quick") {
		t.Errorf("got %+v", s)
	}
	if b.Tries != 2 || b.Exact != 1.3 || b.Span != 400*time.Millisecond {
		t.Errorf("a quick run, and %d tries, exact to %v, spans of %v", b.Tries, b.Exact, b.Span)
	}
	if b, s, err = parseSuite(strings.Fields("--tries 3 --exact 1.05 --span 2s --packets 300000 --quick"), nil); err != nil ||
		b.Runs != 1 || b.Tries != 3 || b.Exact != 1.05 || b.Span != 2*time.Second || s.plan.Packets != 3e5 {
		t.Errorf("--quick undoes what was asked for: %+v, %+v, %v", b, s, err)
	}
	if _, s, err = parseSuite([]string{"--peers", "tcpdump, dumpcap"}, nil); err != nil || !slices.Equal(s.plan.Peers, []string{"tcpdump", "dumpcap"}) {
		t.Errorf("got %+v, %v", s, err)
	}
	if _, s, err = parseSuite([]string{"--only", "read a file, header-only"}, nil); err != nil || len(s.plan.Only) != 2 || s.plan.Only[1] != "header-only" {
		t.Errorf("got %+v, %v", s, err)
	}
}

// A report has its folder, and two of them can be compared.
func TestReports(t *testing.T) {
	to := t.TempDir()
	r := &report.Report{
		Schema: report.Schema, Date: time.Date(2026, 11, 21, 20, 15, 7, 0, time.UTC),
		Scenarios: []report.Scenario{{Name: "calls metered", Queues: 1, Rows: []report.Row{{
			Program: "ringside", Rate: report.Figure{1e6}, Curve: []report.Point{{Offered: 1e6}, {Offered: 2e6, Lost: 0.5}},
		}}}},
	}
	path, err := writeReport(to, r)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(to, "2026-11-21T201507Z")
	if path != filepath.Join(dir, "report.md") {
		t.Errorf("it is in %s", path)
	}
	for _, name := range []string{"report.md", "report.json", "calls-metered-1q.svg"} {
		if b, err := os.ReadFile(filepath.Join(dir, name)); err != nil || len(b) == 0 {
			t.Errorf("%s: %d bytes, %v", name, len(b), err)
		}
	}
	if err := run(t.Context(), []string{"compare", dir, filepath.Join(dir, "report.json")}, new(bytes.Buffer)); err != nil {
		t.Errorf("a report differs from itself: %v", err)
	}
	r.Date, r.Scenarios[0].Rows[0].Rate = r.Date.Add(time.Hour), report.Figure{3e6}
	if path, err = writeReport(to, r); err != nil {
		t.Fatal(err)
	}
	if err := run(t.Context(), []string{"compare", dir, filepath.Dir(path)}, new(bytes.Buffer)); err == nil || !strings.Contains(err.Error(), "1 of 1") {
		t.Errorf("got %v, want that one figure differs", err)
	}
	if err := run(t.Context(), []string{"compare", dir, to}, new(bytes.Buffer)); err == nil {
		t.Error("a folder without a report is compared")
	}
}
