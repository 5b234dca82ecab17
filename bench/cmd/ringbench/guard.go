package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"ringside/bench/guard"
	"ringside/bench/suite"
)

// runGuard is the command guard: it runs the benchmarks of user space, and fails if
// one has become slower than recorded.
func runGuard(ctx context.Context, args []string, out io.Writer) error {
	var folder, only string
	var anew bool
	fs := flag.NewFlagSet("ringbench guard", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.StringVar(&folder, "records", filepath.Join("bench", "results"), "`FOLDER` of what was recorded, a file for each kind of host")
	fs.StringVar(&only, "only", "", "`TEXT` in the names of the benchmarks that are run (default: all)")
	fs.BoolVar(&anew, "record", false, "record this run, to be compared with from now on")
	err := fs.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		fs.SetOutput(out)
		fs.Usage()
		return err
	}
	list := guard.List()
	if only != "" {
		list = slices.DeleteFunc(list, func(b guard.Benchmark) bool { return !strings.Contains(b.Name, only) })
	}
	switch {
	case err != nil:
	case fs.NArg() > 0:
		err = fmt.Errorf("unexpected argument %q", fs.Arg(0))
	case len(list) == 0:
		err = fmt.Errorf("no benchmark has %q in its name", only)
	case anew && only != "":
		err = errors.New("--record takes all benchmarks: leave out --only")
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	host := guard.HostKind(suite.CPUName())
	if anew {
		r, err := guard.Make(ctx, list, host, out)
		if err != nil {
			return err
		}
		if err := r.Save(folder); err != nil {
			return err
		}
		fmt.Fprintf(out, "recorded in %s\n", guard.Path(folder, host))
		return nil
	}
	before, verdicts, err := guard.Run(ctx, list, folder, host, out)
	if err != nil {
		return err
	}
	slower, err := guard.Write(out, before, verdicts)
	if err != nil {
		return err
	}
	if slower > 0 {
		return fmt.Errorf("guard: %d benchmarks are slower than recorded by more than %.0f %%; if that is meant, record anew: ringbench guard --record", slower, 100*guard.Limit)
	}
	if slices.ContainsFunc(verdicts, func(v guard.Verdict) bool { return v.New }) {
		fmt.Fprintf(out, "\nNot all is recorded for this kind of host; to record it: ringbench guard --record (writes %s)\n", guard.Path(folder, host))
	}
	return nil
}
