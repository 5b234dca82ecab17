package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"
)

// liveSettings are what the flags of live say.
type liveSettings struct {
	ringside, floor, spool string
	runs, calls            int
	span                   time.Duration
	share                  bool
	free                   float64
	tries                  int
	parts                  []string
}

// liveParts are what live measures, by name.
var liveParts = []struct {
	name, what string
	run        func(ctx context.Context, s *liveSettings, out io.Writer) error
}{
	{"filter", "cost of a frame in the pre-filter and in the meter, beside the floor", liveFilter},
	{"rate", "the rate at which ringside, and tcpdump, begin to lose", liveRate},
	{"curve", "what is delivered of what is offered, up to twice that rate", liveCurve},
	{"cost", "processor time for a packet, at a modest rate", liveCost},
	{"steer", "share of each of 4 rings of 1,000 flows", liveSteer},
}

// live is the command of that name: it measures a live capture over a veth, with
// the sender on CPU 0 and all that receives on CPU 1.
func live(ctx context.Context, args []string, out io.Writer) error {
	s, err := parseLive(args, out)
	if errors.Is(err, flag.ErrHelp) {
		return err
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	for _, p := range liveParts {
		if len(s.parts) > 0 && !slices.Contains(s.parts, p.name) {
			continue
		}
		fmt.Fprintf(out, "\n== %s: %s\n", p.name, p.what)
		if err := p.run(ctx, s, out); err != nil {
			return fmt.Errorf("measure %s: %w", p.name, err)
		}
	}
	return nil
}

func parseLive(args []string, out io.Writer) (*liveSettings, error) {
	s := &liveSettings{}
	fs := flag.NewFlagSet("ringbench live", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.StringVar(&s.ringside, "ringside", "build/ringside", "`FILE` of the program")
	fs.StringVar(&s.floor, "floor", "bpf/floor_bpfel.o", "object `FILE` of the kernel program that reads headers and drops")
	fs.StringVar(&s.spool, "spool", os.TempDir(), "`FOLDER` in which spools are made, and removed")
	fs.IntVar(&s.runs, "runs", 3, "`NUMBER` of rounds, in which all take turns")
	fs.IntVar(&s.calls, "calls", 500, "`NUMBER` of calls at the same time, of two streams each")
	fs.DurationVar(&s.span, "span", time.Second, "`TIME` for which RTP is sent in each run")
	fs.Float64Var(&s.free, "free", 1e-5, "`SHARE` that may be lost where nothing is said to be lost")
	fs.IntVar(&s.tries, "tries", 3, "`NUMBER` of times that a rate is tried, since the machine may be elsewhere")
	fs.BoolVar(&s.share, "share", false, "let the receiving thread share its core with programs as equals (default: it runs before them)")
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			fs.SetOutput(out)
			fs.Usage()
			fmt.Fprintln(out, "\nparts, all of them if none is named:")
			for _, p := range liveParts {
				fmt.Fprintf(out, "  %-8s %s\n", p.name, p.what)
			}
		}
		return nil, err
	}
	s.parts = fs.Args()
	for _, name := range s.parts {
		if !slices.ContainsFunc(liveParts, func(p struct {
			name, what string
			run        func(context.Context, *liveSettings, io.Writer) error
		}) bool {
			return p.name == name
		}) {
			return nil, fmt.Errorf("no part %q; see ringbench live --help", name)
		}
	}
	switch {
	case s.runs < 1 || s.runs > 100:
		return nil, fmt.Errorf("%d runs: 1 to 100", s.runs)
	case s.calls < 1 || s.calls > 20000:
		return nil, fmt.Errorf("%d calls: 1 to 20000", s.calls)
	case !(s.free >= 0 && s.free < 1) || s.tries < 1:
		return nil, fmt.Errorf("a share of %v, %d tries: 0 to 1, at least one", s.free, s.tries)
	case s.span < 100*time.Millisecond || s.span > time.Minute:
		return nil, fmt.Errorf("span %v: 100ms to 1m", s.span)
	}
	return s, nil
}

// least and median of figures.
func least(v []float64) float64 { return slices.Min(v) }

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

// spread writes least and median.
func spread(v []float64, format string) string {
	return fmt.Sprintf(format+" / "+format, least(v), median(v))
}

// row writes a row of a table of Markdown.
func row(out io.Writer, cells ...string) {
	fmt.Fprintln(out, "| "+strings.Join(cells, " | ")+" |")
}

// head writes the head of a table.
func head(out io.Writer, cells ...string) {
	row(out, cells...)
	fmt.Fprintln(out, strings.Repeat("|---", len(cells))+"|")
}
