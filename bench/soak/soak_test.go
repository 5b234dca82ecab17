package soak

import (
	"bytes"
	"context"
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
		says string
		o    Options
	}{
		{"name the program", Options{}},
		{"leave too little", Options{Ringside: []string{"x"}, For: time.Minute, WarmUp: 50 * time.Second}},
		{"a second at least", Options{Ringside: []string{"x"}, Talk: time.Millisecond}},
	} {
		if _, err := Run(t.Context(), c.o); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%v, and should say %q", err, c.says)
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
		r.Trends, r.Failed = judge(rising, Limits{}.withDefaults(c.warm), c.warm)
		if got := r.Rising(); !slices.Equal(got, c.want) || !r.Failed {
			t.Errorf("with %v of warming up %q rises, not %q", c.warm, got, c.want)
		}
	}
}
