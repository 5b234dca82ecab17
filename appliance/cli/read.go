package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"ringside/flow/record"
)

// readFlags is what the command line of read says.
type readFlags struct {
	paths         []string
	workers       int
	sensor        uint16
	db, json, csv string
	quiet         bool
	callsMax      int
	callsTimeouts string
}

// engine reads captures and hands over records. The daemon is the engine;
// tests put a scripted one in its place.
type engine interface {
	Run(context.Context) error
	progress() progress // from any goroutine
	report() report     // after Run
}

// opener opens the input of a read. Records are given to sink in an order that
// does not depend on the number of workers, from one goroutine.
type opener func(f readFlags, to sink) (engine, error)

func newRead(st *style) *cobra.Command {
	var f readFlags
	c := &cobra.Command{
		Use:   "read FILE…",
		Short: "read capture files and report the calls in them",
		Long: `Read captures (pcap, pcapng; plain, .gz, .zst, .lz4) from files, directories,
patterns, or standard input ("-"), and report the calls in them. Several files
are merged by time.

The summary goes to standard output, or to standard error when --json or --csv
write to standard output. Calls can be kept in a store (--db) for the commands
"calls" and "call", and exported:

  --json  one record per line: calls in full, and streams that no call claimed,
          marked "orphan": true
  --csv   one line per call with its main figures (RFC 4180)`,
		Example: "  ringside read trace.pcap\n  ringside read --db calls.db /var/captures/*.pcapng.zst\n  ringside read --json - trace.pcap | jq .caller.number",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			f.paths = args
			return read(c.Context(), f, st, openDaemon, c.OutOrStdout(), c.ErrOrStderr())
		},
	}
	fl := c.Flags()
	fl.StringVar(&f.db, "db", "", "keep the calls in the store at `PATH` (created if it is not there)")
	fl.StringVar(&f.json, "json", "", "write records as JSON lines to `FILE` (-: standard output)")
	fl.StringVar(&f.csv, "csv", "", "write calls as CSV to `FILE` (-: standard output)")
	fl.IntVar(&f.workers, "workers", 0, "threads that read and measure (0: one per CPU)")
	fl.Uint16Var(&f.sensor, "sensor", 0, "sensor `ID` to put into the records")
	fl.BoolVarP(&f.quiet, "quiet", "q", false, "neither progress nor summary")
	fl.IntVar(&f.callsMax, "calls-max", 0, "calls followed at one time; beyond, the least active is closed early (0: default)")
	fl.StringVar(&f.callsTimeouts, "calls-timeouts", "", "timers of call states, `STATE=DURATION,…` (inv_established=2h)")
	return c
}

// sinks are the exports that a read feeds. After the first error nothing more
// is written, and stop is called to end the read.
type sinks struct {
	to   []sink
	stop context.CancelFunc
	err  error
}

func (s *sinks) each(put func(sink) error) error {
	for i := 0; i < len(s.to) && s.err == nil; i++ {
		if s.err = put(s.to[i]); s.err != nil {
			s.stop()
		}
	}
	return s.err
}

func (s *sinks) call(c *record.Call) error {
	return s.each(func(to sink) error { return to.call(c) })
}

func (s *sinks) orphan(o *record.Stream) error {
	return s.each(func(to sink) error { return to.orphan(o) })
}

// close closes every sink, also after an error.
func (s *sinks) close() error {
	err := s.err
	for _, to := range s.to {
		err = errors.Join(err, to.close())
	}
	return err
}

// tallySink counts for the summary.
type tallySink struct{ *tally }

func (t tallySink) call(c *record.Call) error     { t.tally.call(c); return nil }
func (t tallySink) orphan(s *record.Stream) error { t.tally.orphan(s); return nil }
func (t tallySink) close() error                  { return nil }

// read runs one read: opens the input, then the exports, shows progress on a
// terminal, and ends with the summary.
func read(ctx context.Context, f readFlags, st *style, open opener, stdout, stderr io.Writer) (err error) {
	if f.json == "-" && f.csv == "-" {
		return usage("write JSON and CSV: both go to standard output; name a file for one of them")
	}
	user := ctx
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var counts tally
	out := &sinks{to: []sink{tallySink{&counts}}, stop: cancel}
	in, err := open(f, out)
	if err != nil {
		return err
	}
	if err := openSinks(ctx, f, out, stdout); err != nil {
		return errors.Join(err, out.close())
	}
	summary := stdout
	if f.json == "-" || f.csv == "-" {
		summary = stderr
	}
	began := time.Now()
	now := func() progress {
		p := in.progress()
		p.sinceStarted = time.Since(began)
		return p
	}
	stop := func() {}
	if isTerminal(stderr) && !f.quiet {
		stop = showProgress(stderr, func() look { return st.on(stderr) }, now)
	}
	err = in.Run(ctx)
	stop()
	end := now()
	r := in.report()
	switch {
	case user.Err() != nil:
		err, r.interrupted = errors.New("read captures: interrupted"), true
	case out.err != nil: // an export failed and ended the read; its error follows
		err, r.interrupted = nil, true
	}
	err = errors.Join(err, out.close())
	if !f.quiet {
		err = errors.Join(err, writeSummary(summary, st.on(summary), &counts, &r), readSpeed(stderr, end))
	}
	if r.frames == 0 && len(r.damage) > 0 {
		err = errors.Join(err, fmt.Errorf("read captures: no packet could be read, %s: %s", r.damage[0].file, r.damage[0].reason))
	} else if f.quiet {
		for _, d := range r.damage {
			fmt.Fprintf(stderr, "ringside: %s is damaged at byte %d, read up to there: %s\n", clean(d.file), d.offset, clean(d.reason))
		}
	}
	return err
}

// readSpeed says how long the read took: on standard error, so that standard
// output is the same for the same capture.
func readSpeed(w io.Writer, p progress) error {
	_, err := fmt.Fprintf(w, "\nread %s packets, %s in %s: %s\n", count(p.frames), size(p.read),
		seconds(int64(p.sinceStarted)), perSecond(float64(p.frames)/max(p.sinceStarted.Seconds(), 1e-9)))
	return err
}

func openSinks(ctx context.Context, f readFlags, out *sinks, stdout io.Writer) error {
	if f.json != "" {
		w, err := create(f.json, stdout)
		if err != nil {
			return fmt.Errorf("write JSON: %w", err)
		}
		out.to = append(out.to, newJSON(w))
	}
	if f.csv != "" {
		w, err := create(f.csv, stdout)
		if err != nil {
			return fmt.Errorf("write CSV: %w", err)
		}
		s, err := newCSV(w)
		out.to = append(out.to, s)
		if err != nil {
			return fmt.Errorf("write CSV: %w", err)
		}
	}
	if f.db != "" {
		s, err := newStoreSink(ctx, f.db)
		if err != nil {
			return err
		}
		out.to = append(out.to, s)
	}
	return nil
}
