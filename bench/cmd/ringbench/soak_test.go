package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ringside/bench/soak"
)

func TestSoakUsage(t *testing.T) {
	for args, want := range map[string]string{"--every x": "every", "now": `"now"`, "--odd": "odd"} {
		var out bytes.Buffer
		err := run(t.Context(), append([]string{"soak"}, strings.Fields(args)...), &out)
		if !errors.Is(err, errUsage) || !strings.Contains(err.Error(), want) || out.Len() > 0 {
			t.Errorf("%s: got %v, and said %q; want a usage error about %q", args, err, out.String(), want)
		}
	}
}

// What is not given follows from the time; what is given counts, nothing too.
func TestSoakFlags(t *testing.T) {
	for _, tc := range []struct {
		args    string
		warm    time.Duration
		heap    float64
		history int
		memory  float64
	}{
		{"", 150 * time.Second, 0.5, 30_000, 0.2},
		{"--for 1h", 15 * time.Minute, 0.2, 30_000, 0.2},
		{"--for 8h --heap 1", time.Hour, 1, 30_000, 0.2},
		{"--warm-up 20m --for 1h", 20 * time.Minute, 0.2, 30_000, 0.2},
		{"--for 1h --warm-up 0s --heap 0 --history 0 --memory 0", 0, 0, 0, 0},
	} {
		o, _, err := parseSoak(strings.Fields(tc.args), new(bytes.Buffer))
		if err != nil || o.WarmUp != tc.warm || o.Limits.Heap != tc.heap || o.History != tc.history || o.Limits.Memory != tc.memory {
			t.Errorf("%q: got %+v, %v", tc.args, o, err)
		}
	}
}

// The report is written whatever it says: bounds that are not known, and what rises.
func TestWriteSoak(t *testing.T) {
	line := soak.Line{Slope: 2, Low: 1, High: soak.Bound(math.Inf(1)), Median: 20, Points: 3}
	rep := &soak.Report{
		Samples: []soak.Sample{{At: time.Second, Heap: 20 << 20}},
		Trends:  []soak.Trend{{Name: "live heap", Unit: "MiB", Limit: 0.5, Line: line, Rises: true}},
		Failed:  true,
	}
	file := filepath.Join(t.TempDir(), "soak.json")
	var out bytes.Buffer
	if err := writeSoak(rep, &out, file); !errors.Is(err, errRises) || !strings.Contains(err.Error(), "live heap") {
		t.Errorf("got %v, want that the live heap rises", err)
	}
	if text := out.String(); !strings.Contains(text, "RISES") || strings.Contains(text, "NaN") || strings.Contains(text, "Inf") {
		t.Errorf("the table is\n%s", text)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Samples []struct {
			Heap float64 `json:"heap_bytes"`
		}
		Trends []struct{ Low, High *float64 }
	}
	if err := json.Unmarshal(b, &got); err != nil || len(got.Samples) != 1 || got.Samples[0].Heap != 20<<20 || *got.Trends[0].Low != 1 || got.Trends[0].High != nil {
		t.Errorf("%v: %s", err, b)
	}
	// A file that cannot be written does not cost the table.
	out.Reset()
	if err := writeSoak(rep, &out, filepath.Join(file, "no")); err == nil || out.Len() == 0 {
		t.Errorf("got %v, and %q", err, out.String())
	}
}
