package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"ringside/bench/peer"
	"ringside/bench/replay"
	"ringside/bench/report"
	"ringside/bench/suite"
)

// suiteSettings are what the flags of suite say beside those of measuring.
type suiteSettings struct {
	plan suite.Plan
	to   string // folder of reports
	old  string // report to compare with
}

// runSuite is the command suite: it measures everything and writes a report.
func runSuite(ctx context.Context, args []string, out io.Writer) error {
	b, s, err := parseSuite(args, out)
	if errors.Is(err, flag.ErrHelp) {
		return err
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	if err := b.Ready(); err != nil {
		return err
	}
	if err := os.MkdirAll(b.Folder, 0o755); err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	r, failed := b.Suite(ctx, s.plan, out)
	path, err := writeReport(s.to, r)
	if err = errors.Join(failed, err); path != "" {
		fmt.Fprintf(out, "report: %s (took %v)\n", path, r.Took.Round(time.Second))
	}
	if err != nil || s.old == "" {
		return err
	}
	before, err := readReport(s.old)
	if err != nil {
		return err
	}
	_, _, err = report.Compare(out, before, r)
	return err
}

// writeReport writes a report with its plots into a folder of its own, which the
// date names, and returns the name of the Markdown.
func writeReport(to string, r *report.Report) (string, error) {
	dir := filepath.Join(to, r.Date.UTC().Format("2006-01-02T150405Z"))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("make folder of report: %w", err)
	}
	into := func(name string, write func(io.Writer) error) error {
		f, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			return fmt.Errorf("create report: %w", err)
		}
		return errors.Join(write(f), f.Close())
	}
	errs := []error{into("report.json", r.WriteJSON), into("report.md", r.WriteMarkdown)}
	for _, p := range r.Plots() {
		errs = append(errs, into(p.Name, p.WriteSVG))
	}
	return filepath.Join(dir, "report.md"), errors.Join(errs...)
}

// readReport reads a report, by its file or its folder.
func readReport(path string) (*report.Report, error) {
	if st, err := os.Stat(path); err == nil && st.IsDir() {
		path = filepath.Join(path, "report.json")
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open report: %w", err)
	}
	defer f.Close()
	return report.ReadJSON(f)
}

func parseSuite(args []string, out io.Writer) (*suite.Bench, *suiteSettings, error) {
	b := suite.New()
	// Some thousandths are what a shared machine loses by itself, whoever receives.
	b.Runs, b.Free, b.Tries, b.Exact, b.Folder = 2, 5e-3, 3, 1.15, ""
	s := &suiteSettings{}
	fs := flag.NewFlagSet("ringbench suite", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	benchFlags(fs, b)
	fs.StringVar(&b.From, "iface", "", "`NAME` of the port that sends, for a wire (default: a veth is made)")
	fs.StringVar(&b.To, "peer-iface", "", "`NAME` of the port that receives")
	fs.Func("engine", "`ENGINE` that sends media over a wire: xdp, ring or packet (default xdp)", engineFlag(&b.Engine))
	fs.Float64Var(&b.Exact, "exact", b.Exact, "a search ends when two rates differ by less than this `FACTOR`")
	fs.BoolVar(&s.plan.Quick, "quick", false, "about three minutes: fewer scenarios, one round, only tcpdump beside; flags that are given count")
	fs.Func("only", "`LIST` of scenarios: "+strings.Join(suite.Names(), ", "), func(v string) error {
		s.plan.Only = strings.Split(v, ",")
		for i, name := range s.plan.Only {
			s.plan.Only[i] = strings.TrimSpace(name)
			if !slices.Contains(suite.Names(), s.plan.Only[i]) {
				return fmt.Errorf("no scenario %q", name)
			}
		}
		return nil
	})
	fs.Func("peers", "`LIST` of other programs to measure, if they are installed (default: all of them)", func(v string) error {
		s.plan.Peers = strings.Split(v, ",")
		for i, name := range s.plan.Peers {
			s.plan.Peers[i] = strings.TrimSpace(name)
			if _, err := peer.Find(s.plan.Peers[i]); err != nil {
				return err
			}
		}
		return nil
	})
	fs.DurationVar(&s.plan.Budget, "budget", 10*time.Minute, "`TIME` after which nothing more is begun")
	fs.IntVar(&s.plan.Packets, "packets", 2_000_000, "`NUMBER` of packets in the file that is read")
	fs.StringVar(&s.to, "o", filepath.Join("build", "bench"), "`FOLDER` of reports; each makes one in it, named after its date")
	fs.StringVar(&s.old, "compare", "", "`REPORT` (its folder, or JSON) to compare with at the end")
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			fs.SetOutput(out)
			fs.Usage()
		}
		return nil, nil, err
	}
	if s.plan.Quick {
		b.Settle = 200 * time.Millisecond
		if err := quicken(fs); err != nil {
			return nil, nil, err
		}
	}
	if b.Folder == "" {
		b.Folder = s.to
	}
	s.plan.Command = strings.Join(append([]string{"ringbench suite"}, args...), " ")
	switch {
	case fs.NArg() > 0:
		return nil, nil, fmt.Errorf("unexpected argument %q", fs.Arg(0))
	case s.plan.Packets < 200000 || s.plan.Packets > 100e6:
		return nil, nil, fmt.Errorf("%d packets: 200,000 to 100 million", s.plan.Packets)
	case s.plan.Budget <= 0:
		return nil, nil, fmt.Errorf("a budget of %v: more than 0", s.plan.Budget)
	}
	return b, s, b.Check()
}

// quicken sets the flags of a quick run that were not given.
func quicken(fs *flag.FlagSet) error {
	given := givenFlags(fs)
	for name, value := range map[string]string{"runs": "1", "tries": "2", "exact": "1.3", "span": "400ms", "packets": "500000"} {
		if !given[name] {
			if err := fs.Set(name, value); err != nil {
				return err
			}
		}
	}
	return nil
}

// givenFlags are the names of the flags that were given.
func givenFlags(fs *flag.FlagSet) map[string]bool {
	given := map[string]bool{}
	fs.Visit(func(f *flag.Flag) { given[f.Name] = true })
	return given
}

// engineFlag reads the name of an engine.
func engineFlag(to *replay.Engine) func(string) error {
	return func(v string) (err error) {
		*to, err = replay.ParseEngine(v)
		return err
	}
}

// compare is the command of that name.
func compare(_ context.Context, args []string, out io.Writer) error {
	if len(args) != 2 {
		return fmt.Errorf("%w: name two reports: ringbench compare BEFORE NOW", errUsage)
	}
	before, err := readReport(args[0])
	if err != nil {
		return err
	}
	now, err := readReport(args[1])
	if err != nil {
		return err
	}
	differ, of, err := report.Compare(out, before, now)
	if err != nil {
		return err
	}
	if differ > 0 {
		return fmt.Errorf("compare reports: %d of %d figures differ by more than the noise", differ, of)
	}
	return nil
}
