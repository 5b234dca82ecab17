package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"

	"ringside/bench/suite"
)

// live is the command of that name: it asks one question about a live capture over
// a veth, with all programs in turn.
func live(ctx context.Context, args []string, out io.Writer) error {
	b, parts, err := parseLive(args, out)
	if errors.Is(err, flag.ErrHelp) {
		return err
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	for _, p := range parts {
		fmt.Fprintf(out, "\n== %s: %s\n", p.Name, p.What)
		if err := b.RunPart(ctx, p, out); err != nil {
			return err
		}
	}
	return nil
}

func parseLive(args []string, out io.Writer) (*suite.Bench, []suite.Part, error) {
	b := suite.New()
	fs := flag.NewFlagSet("ringbench live", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	benchFlags(fs, b)
	fs.BoolVar(&b.Share, "share", false, "let the receiving thread share its core with programs as equals (default: it runs before them)")
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			fs.SetOutput(out)
			fs.Usage()
			fmt.Fprintln(out, "\nparts, all of them if none is named:")
			for _, p := range suite.Parts() {
				fmt.Fprintf(out, "  %-8s %s\n", p.Name, p.What)
			}
		}
		return nil, nil, err
	}
	parts := suite.Parts()
	for _, name := range fs.Args() {
		if !slices.ContainsFunc(parts, func(p suite.Part) bool { return p.Name == name }) {
			return nil, nil, fmt.Errorf("no part %q; see ringbench live --help", name)
		}
	}
	if fs.NArg() > 0 {
		parts = slices.DeleteFunc(parts, func(p suite.Part) bool { return !slices.Contains(fs.Args(), p.Name) })
	}
	return b, parts, b.Check()
}

// benchFlags define how everything is measured.
func benchFlags(fs *flag.FlagSet, b *suite.Bench) {
	fs.StringVar(&b.Ringside, "ringside", b.Ringside, "`FILE` of the program")
	fs.StringVar(&b.Floor, "floor", b.Floor, "object `FILE` of the kernel program that reads headers and drops")
	fs.StringVar(&b.Folder, "spool", b.Folder, "`FOLDER` in which spools and captures are made, and removed")
	fs.IntVar(&b.Runs, "runs", b.Runs, "`NUMBER` of rounds, in which all take turns")
	fs.IntVar(&b.Calls, "calls", b.Calls, "`NUMBER` of calls at the same time, of two streams each")
	fs.DurationVar(&b.Span, "span", b.Span, "`TIME` for which traffic is sent in each measurement")
	fs.Float64Var(&b.Free, "free", b.Free, "`SHARE` that may be lost where nothing is said to be lost")
	fs.IntVar(&b.Tries, "tries", b.Tries, "`NUMBER` of times that a rate is tried, since the machine may be elsewhere")
	fs.DurationVar(&b.Patience, "patience", b.Patience, "`TIME`, all in all, to wait for a host that takes CPUs of this virtual machine")
	fs.IntVar(&b.Nice, "nice", b.Nice, "`PRIORITY` of what sends and of all programs that are measured")
	fs.Func("send-cpus", "`LIST` of processors that send (default: the first quarter)", cpuList(&b.Send))
	fs.Func("receive-cpus", "`LIST` of processors that receive (default: all others)", cpuList(&b.Receive))
}
