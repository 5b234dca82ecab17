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

	"ringside/bench/soak"
)

var errRises = errors.New("something rises")

// soakCommand is the command soak.
func soakCommand(ctx context.Context, args []string, out io.Writer) error {
	o, file, err := parseSoak(args, out)
	if errors.Is(err, flag.ErrHelp) {
		return err
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	rep, err := soak.Run(ctx, o)
	if rep == nil {
		return err
	}
	return errors.Join(writeSoak(rep, os.Stdout, file), err)
}

// parseSoak reads the flags: the options, and the file for all samples.
func parseSoak(args []string, out io.Writer) (o soak.Options, file string, err error) {
	o = soak.New()
	fs := flag.NewFlagSet("ringbench soak", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	program := fs.String("ringside", "build/ringside", "`PROGRAM` to soak")
	fs.DurationVar(&o.For, "for", o.For, "`TIME` of the whole")
	fs.DurationVar(&o.WarmUp, "warm-up", o.WarmUp, "`TIME` at the beginning that is not judged; of another --for a quarter, at most 1h")
	fs.DurationVar(&o.Every, "every", o.Every, "`TIME` between two samples")
	fs.IntVar(&o.Calls, "calls", o.Calls, "`NUMBER` of calls at a time")
	fs.DurationVar(&o.Talk, "talk", o.Talk, "`TIME` that a call takes, on average")
	fs.IntVar(&o.History, "history", o.History, "`NUMBER` of calls in the store at the beginning; 0: none")
	fs.Float64Var(&o.Limits.Heap, "heap", o.Limits.Heap, "`MIB` that the live heap may rise in a minute; behind 15 minutes of warming up 0.2")
	fs.Float64Var(&o.Limits.Memory, "memory", o.Limits.Memory, "`MIB` that other memory may rise in a minute; judged when it had the time to warm up")
	fs.Float64Var(&o.Limits.Descriptors, "descriptors", o.Limits.Descriptors, "`NUMBER` of descriptors that may be gained in a minute")
	fs.Float64Var(&o.Limits.Goroutines, "goroutines", o.Limits.Goroutines, "`NUMBER` of goroutines that may be gained in a minute")
	fs.Float64Var(&o.Limits.Threads, "threads", o.Limits.Threads, "`NUMBER` of threads that may be gained in a minute")
	fs.Float64Var(&o.Limits.Latency, "latency", o.Limits.Latency, "`MS` that answers may take longer with each minute")
	fs.StringVar(&o.Dir, "dir", "", "`DIR` for the store and the spool, which are removed (default: of the system)")
	fs.StringVar(&file, "json", "", "`FILE` for all samples and lines")
	quiet := fs.Bool("quiet", false, "only the result")
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			fs.SetOutput(out)
			fs.Usage()
		}
		return o, "", err
	}
	if fs.NArg() > 0 {
		return o, "", fmt.Errorf("unexpected argument %q", fs.Arg(0))
	}
	given := givenFlags(fs)
	if !given["warm-up"] {
		o.WarmUp = soak.WarmUp(o.For)
	}
	if !given["heap"] {
		o.Limits.Heap = soak.HeapLimit(o.WarmUp)
	}
	if !*quiet {
		o.Progress = os.Stderr
	}
	o.Ringside = []string{*program}
	return o, file, nil
}

// writeSoak writes what a soak has found: the table, then the file, if one is named. It
// is an error if something rises.
func writeSoak(rep *soak.Report, out io.Writer, file string) error {
	if err := rep.Write(out); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	if file != "" {
		b, err := json.MarshalIndent(rep, "", "\t")
		if err == nil {
			err = os.WriteFile(file, b, 0o644)
		}
		if err != nil {
			return fmt.Errorf("write report: %w", err)
		}
	}
	if rep.Failed {
		return fmt.Errorf("soak: %w: %s", errRises, strings.Join(rep.Rising(), ", "))
	}
	return nil
}
