package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"ringside/bench/soak"
)

var errRises = errors.New("something rises")

// soakCommand is the command soak.
func soakCommand(ctx context.Context, args []string, out io.Writer) error {
	var o soak.Options
	fs := flag.NewFlagSet("ringbench soak", flag.ContinueOnError)
	fs.SetOutput(out)
	program := fs.String("ringside", "build/ringside", "`PROGRAM` to soak")
	fs.DurationVar(&o.For, "for", 10*time.Minute, "`TIME` of the whole")
	fs.DurationVar(&o.WarmUp, "warm-up", 0, "`TIME` at the beginning that is not judged (default a quarter, at most 1h)")
	fs.DurationVar(&o.Every, "every", 2*time.Second, "`TIME` between two samples")
	fs.IntVar(&o.Calls, "calls", 150, "`NUMBER` of calls at a time")
	fs.DurationVar(&o.Talk, "talk", time.Minute, "`TIME` that a call takes, on average")
	fs.IntVar(&o.History, "history", 30_000, "`NUMBER` of calls in the store at the beginning; -1: none")
	fs.Float64Var(&o.Limits.Heap, "heap", 0, "`MIB` that the live heap may rise in a minute (default 0.5; 0.2 behind 15 minutes of warming up)")
	fs.Float64Var(&o.Limits.Memory, "memory", 0.2, "`MIB` that other memory may rise in a minute; judged when it had the time to warm up")
	fs.Float64Var(&o.Limits.Descriptors, "descriptors", 0.1, "`NUMBER` of descriptors that may be gained in a minute")
	fs.Float64Var(&o.Limits.Goroutines, "goroutines", 0.2, "`NUMBER` of goroutines that may be gained in a minute")
	fs.Float64Var(&o.Limits.Threads, "threads", 0.2, "`NUMBER` of threads that may be gained in a minute")
	fs.Float64Var(&o.Limits.Latency, "latency", 0.5, "`MS` that answers may take longer with each minute")
	fs.StringVar(&o.Dir, "dir", "", "`DIR` for the store and the spool, which are removed (default: of the system)")
	asJSON := fs.String("json", "", "`FILE` for all samples and lines")
	quiet := fs.Bool("quiet", false, "only the result")
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	if fs.NArg() > 0 {
		return fmt.Errorf("%w: unexpected argument %q", errUsage, fs.Arg(0))
	}
	if !*quiet {
		o.Progress = out
	}
	o.Ringside = []string{*program}
	rep, err := soak.Run(ctx, o)
	if err != nil {
		return err
	}
	if *asJSON != "" {
		b, err := json.MarshalIndent(rep, "", "\t")
		if err != nil {
			return fmt.Errorf("write report: %w", err)
		}
		if err := os.WriteFile(*asJSON, b, 0o644); err != nil {
			return fmt.Errorf("write report: %w", err)
		}
	}
	if err := rep.Write(os.Stdout); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	if rep.Failed {
		return fmt.Errorf("soak: %w: %s", errRises, strings.Join(rep.Rising(), ", "))
	}
	return nil
}
