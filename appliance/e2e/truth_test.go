package e2e

import (
	"bufio"
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"ringside/bench/traffic"
)

// generate writes a capture, and returns its path and the truth about it.
func generate(t *testing.T, o traffic.Options) (string, *traffic.Truth) {
	t.Helper()
	g, err := traffic.New(o)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "generated.pcap")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	w := bufio.NewWriter(f)
	var truth bytes.Buffer
	if _, err := g.Run(context.Background(), w, &truth); err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	tr, err := traffic.ReadTruth(&truth)
	if err != nil {
		t.Fatal(err)
	}
	return path, tr
}

// agree reads the capture with 1, 2 and 4 workers: all give the same records,
// byte for byte, the ledger balances, and what it says is true.
func agree(t *testing.T, path string, truth *traffic.Truth) {
	t.Helper()
	first := ""
	for _, workers := range []int{1, 2, 4} {
		r := read(t, workers, path)
		if !r.report.Balanced || r.report.Frames != truth.Totals.Frames {
			t.Errorf("%d workers: the ledger does not balance: %d frames, written %d: %+v",
				workers, r.report.Frames, truth.Totals.Frames, r.report.Ledger)
		}
		if d := dump(t, &r); first == "" {
			first = d
			differ(t, traffic.Compare(truth, r.calls, r.orphans))
			if f := &r.report.Flow; f.RTP != truth.Totals.RTP || f.RTCP != truth.Totals.RTCP ||
				f.SIPMessages != truth.Totals.SIPCalls+truth.Totals.SIPOther {
				t.Errorf("%d RTP, %d RTCP, %d SIP; the truth is %+v", f.RTP, f.RTCP, f.SIPMessages, truth.Totals)
			}
		} else if d != first {
			t.Errorf("%d workers: other records than one worker", workers)
		}
	}
}

func differ(t *testing.T, found []traffic.Difference) {
	t.Helper()
	for i, d := range found {
		if i == 40 {
			t.Errorf("and %d more", len(found)-i)
			break
		}
		t.Error(d)
	}
}

// TestScenarios reads each scenario by itself, on a clean network and on one
// with everything that can go wrong.
func TestScenarios(t *testing.T) {
	networks := []struct {
		name   string
		impair traffic.Impairment
	}{
		{"clean", traffic.Impairment{}},
		{"poor", traffic.Impairment{
			Loss: 0.02, BurstIn: 0.004, BurstOut: 0.3, Jitter: 25 * time.Millisecond, Shape: traffic.Normal,
			Reorder: 0.01, ReorderDepth: 3, Duplicate: 0.01, Drift: 80, Wrap: 0.5, Reset: 0.2,
		}},
	}
	calls := 12
	if testing.Short() { // for the race detector, which is slow
		networks, calls = networks[1:], 4
	}
	for _, s := range traffic.Scenarios() {
		for _, n := range networks {
			t.Run(s.String()+"/"+n.name, func(t *testing.T) {
				path, truth := generate(t, traffic.Options{
					Seed: uint64(s) + 1, Calls: calls, Rate: 2,
					Talk:      traffic.Length{Kind: traffic.Uniform, Min: 3 * time.Second, Max: 25 * time.Second},
					Scenarios: []traffic.Weighted[traffic.Scenario]{{Value: s, Weight: 1}},
					Impairments: []traffic.Weighted[traffic.Impairment]{
						{Value: n.impair, Weight: 1},
					},
					Digits: 0.3, DTX: 0.2, RTCP: true, Mux: 0.3, IPv6: 0.3, Proxied: 0.3, Background: 1, Noise: 5,
				})
				agree(t, path, truth)
			})
		}
	}
}

// TestMixed reads a mix of everything, in each format of files.
func TestMixed(t *testing.T) {
	formats := traffic.Formats()
	if testing.Short() {
		formats = formats[:1]
	}
	for _, format := range formats {
		t.Run(format, func(t *testing.T) {
			o, err := traffic.Preset("mixed")
			if err != nil {
				t.Fatal(err)
			}
			if o.Format, err = traffic.ParseFormat(format); err != nil {
				t.Fatal(err)
			}
			if testing.Short() {
				o.Calls = 100
			}
			path, truth := generate(t, o)
			agree(t, path, truth)
		})
	}
}

// TestHarsh reads calls on networks as bad as they come.
func TestHarsh(t *testing.T) {
	o, err := traffic.Preset("mixed")
	if err != nil {
		t.Fatal(err)
	}
	o.Seed, o.InTurn, o.Calls, o.Rate, o.DTX, o.Digits = 22, true, 300, 20, 0.5, 0.8
	if testing.Short() {
		o.Calls = 60
	}
	if o.Talk, err = traffic.ParseLength("exp:60s"); err != nil {
		t.Fatal(err)
	}
	o.Impairments = nil
	for _, spec := range []string{
		"none",
		"loss=0.1,reorder=0.05/32,dup=0.05,jitter=200ms,reset=1,wrap=0.5",
		"jitter=400ms/spikes,drift=3000",
		"burst=0.01/0.02,jitter=30ms/normal,drift=200,reset=0.5",
		"reorder=0.2/2,drift=10000",
	} {
		i, err := traffic.ParseImpairment(spec)
		if err != nil {
			t.Fatal(err)
		}
		o.Impairments = append(o.Impairments, traffic.Weighted[traffic.Impairment]{Value: i, Weight: 1})
	}
	path, truth := generate(t, o)
	agree(t, path, truth)
}
