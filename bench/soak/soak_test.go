package soak

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"ringside/appliance/cli"
	"ringside/bench/netns"
)

// The test's own program is ringside where the environment says so, and leaks if it says
// that, too: ringbench can soak it.
const (
	asRingside = "RINGSIDE_SOAK_AS_RINGSIDE"
	leakEnv    = "RINGSIDE_SOAK_LEAK" // bytes a second
)

var leaked [][]byte

func TestMain(m *testing.M) {
	if os.Getenv(asRingside) == "" {
		os.Exit(m.Run())
	}
	if size, err := strconv.Atoi(os.Getenv(leakEnv)); err == nil {
		go func() {
			for range time.Tick(time.Second / 10) {
				leaked = append(leaked, bytes.Repeat([]byte{1}, size/10))
			}
		}()
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := cli.Main(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// TestSoak soaks ringside for a moment, and ringside with a leak beside it. A moment is
// too short for a slope of 0.2 MiB a minute: what the program takes at its start looks
// larger. So memory may rise by 120 MiB a minute here, and what leaks does so by
// 480; that ten minutes find 1 MiB is what TestFit shows, and "make soak".
func TestSoak(t *testing.T) {
	if err := netns.Supported(); err != nil {
		t.Skip(err)
	}
	if testing.Short() {
		t.Skip("-short: it takes half a minute")
	}
	for _, c := range []struct {
		name  string
		leak  int // bytes a second
		rises string
	}{
		{"sound", 0, ""},
		{"leak", 8 << 20, "live heap"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var said strings.Builder
			rep, err := Run(t.Context(), Options{
				Ringside: []string{os.Args[0]},
				// Collections come often enough to see the heap grow.
				Env: []string{asRingside + "=1", leakEnv + "=" + strconv.Itoa(c.leak), "GOGC=20"},
				For: 22 * time.Second, WarmUp: 8 * time.Second, Every: time.Second / 2,
				Calls: 20, Talk: 5 * time.Second, History: 200,
				// No wall-clock time is judged: others are at work on this machine.
				Limits:   Limits{Heap: 120, Memory: 120, Descriptors: 30, Goroutines: 30, Threads: 30, Latency: 1e9},
				Dir:      t.TempDir(),
				Progress: &said,
			})
			if err != nil {
				t.Fatal(err)
			}
			var table strings.Builder
			if err := rep.Write(&table); err != nil {
				t.Fatal(err)
			}
			t.Logf("%s", table.String())
			got := rep.Rising()
			if c.rises == "" && rep.Failed {
				t.Errorf("%q rises, and nothing should", got)
			}
			if c.rises != "" && (!rep.Failed || !slices.Contains(got, c.rises)) {
				t.Errorf("%q rises, and %s should", got, c.rises)
			}
			if last := rep.Samples[len(rep.Samples)-1]; last.Calls < 5 || rep.Sent.Frames < 5000 {
				t.Errorf("%.0f calls at the end, and %d frames sent: that is no load", last.Calls, rep.Sent.Frames)
			}
		})
	}
}

// TestOptions: what cannot be is refused before anything is started.
func TestOptions(t *testing.T) {
	for _, c := range []struct {
		says   string
		change func(*Options)
	}{
		{"name the program", func(o *Options) { o.Ringside = nil }},
		{"leave too little", func(o *Options) { o.For, o.WarmUp = time.Minute, 50*time.Second }},
		{"a second at least", func(o *Options) { o.Talk = time.Millisecond }},
		{"above 0", func(o *Options) { o.Every = 0 }},
		{"above 0", func(o *Options) { o.Calls = 0 }},
		{"above 0", func(o *Options) { o.History = -1 }},
	} {
		o := New()
		o.Ringside = []string{"x"}
		c.change(&o)
		if _, err := Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%v, and should say %q", err, c.says)
		}
	}
}

// onWrite is a writer that does something when it is written to.
type onWrite func()

func (f onWrite) Write(b []byte) (int, error) {
	f()
	return len(b), nil
}

// TestInterrupted: what was sampled until an interrupt is in the report, with the reason.
func TestInterrupted(t *testing.T) {
	if err := netns.Supported(); err != nil {
		t.Skip(err)
	}
	if testing.Short() {
		t.Skip("-short: it runs ringside")
	}
	t.Parallel()
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	o := New()
	o.Ringside, o.Env, o.Dir = []string{os.Args[0]}, []string{asRingside + "=1"}, t.TempDir()
	o.Every, o.Calls, o.History = time.Second/10, 5, 0
	o.Progress = onWrite(interrupt) // the first sample
	rep, err := Run(ctx, o)
	if !errors.Is(err, context.Canceled) || rep == nil || len(rep.Samples) == 0 || len(rep.Trends) != len(series) || rep.Failed {
		t.Errorf("got %+v, %v; want a report that was interrupted", rep, err)
	}
}

// TestFewSamples: a report of few samples says so, and can be written.
func TestFewSamples(t *testing.T) {
	for n, few := range map[int]bool{0: true, 1: true, leastSamples - 1: true, leastSamples: false} {
		r := Report{Options: New()}
		r.Options.WarmUp = time.Minute
		for i := range n + 30 { // each two seconds, 30 of them warm up
			r.Samples = append(r.Samples, Sample{At: time.Duration(i) * 2 * time.Second, Heap: float64(i) * 1e6})
		}
		err := r.judge()
		if want := "only " + strconv.Itoa(n) + " samples"; (err != nil) != few || few && !strings.Contains(err.Error(), want) {
			t.Errorf("%d samples: %v", n, err)
		}
		b, err := json.Marshal(&r)
		if err != nil || len(r.Trends) != len(series) {
			t.Errorf("%d samples: %v: %s", n, err, b)
		}
		var table strings.Builder
		if err := r.Write(&table); err != nil || !strings.Contains(table.String(), "s of 10m0s at ") || n < 2 && !strings.Contains(table.String(), "?") || strings.Contains(table.String(), "NaN") {
			t.Errorf("%d samples: %v:\n%s", n, err, table.String())
		}
	}
}

// TestJudge: of samples over ten minutes, what rises fails, and what has not had the time
// to warm up is not judged.
func TestJudge(t *testing.T) {
	var rising []Sample
	for i := range 200 {
		at := time.Duration(i) * 2 * time.Second
		rising = append(rising, Sample{
			At: at, Heap: 20<<20 + 1<<20*at.Minutes(), Go: 60 << 20, Beside: 20<<20 + 5<<20*at.Minutes(),
			Descriptors: 50 + float64(int(at.Minutes())), Goroutines: 26, Threads: 12, Control: 1e-3, API: 5e-3,
		})
	}
	for _, c := range []struct {
		warm time.Duration
		want []string
	}{
		{3 * time.Minute, []string{"live heap", "descriptors"}},
		{20 * time.Minute, []string{"live heap", "descriptors"}},
		{time.Hour, []string{"live heap", "memory beside Go", "descriptors"}},
	} {
		r := Report{}
		limits := New().Limits
		limits.Heap = HeapLimit(c.warm)
		r.Trends, r.Failed = judge(rising, limits, c.warm)
		if got := r.Rising(); !slices.Equal(got, c.want) || !r.Failed {
			t.Errorf("with %v of warming up %q rises, not %q", c.warm, got, c.want)
		}
	}
}
