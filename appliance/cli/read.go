package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
)

// engine reads captures and hands over records. The daemon is the engine;
// tests put a scripted one in its place.
type engine interface {
	Run(context.Context) error
	notes() []string    // lines that are said before it runs
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
write to standard output. Records can be kept in a store (--db) for the commands
"calls", "call", "registrations", "events", "messages", "subscriptions" and
"peers", and exported:

  --json  one record per line: calls in full; streams that no call claimed,
          marked "orphan": true; and with a "type" of their own registration,
          exchange, event, link (of two calls) and quality (an endpoint's report)
  --csv   one line per call with its main figures (RFC 4180)

With --http the web UI shows what is read while it is read, and goes on with it
until the command is ended: with --replay, as if it came from an interface.`,
		Example: "  ringside read trace.pcap\n  ringside read --db calls.db /var/captures/*.pcapng.zst\n  ringside read --json - trace.pcap | jq .caller.number\n" +
			"  ringside read --keylog sslkeys.log --dedup on tls.pcapng\n  ringside read --replay --replay-scale 0.1 --db calls.db trace.pcap",
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			f.paths = args
			if err := errors.Join(f.check(c.Flags().Changed), f.spool.check(c.Flags())); err != nil {
				return err
			}
			if err := f.service.check(); err != nil {
				return err
			}
			if f.service.http != "" || f.service.control != "" {
				asService := runFlags{readFlags: f, statusEvery: defaultStatusEvery}
				return captureLive(c.Context(), asService, st, openReadService, c.OutOrStdout(), c.ErrOrStderr())
			}
			return read(c.Context(), f, st, openDaemon, c.OutOrStdout(), c.ErrOrStderr())
		},
	}
	addReadFlags(c.Flags(), &f)
	return c
}

// sinks are the exports that a read feeds. After the first error nothing more
// is written, and stop is called to end the read: it can be done again. A capture
// cannot, and what it has still to report goes to those that have not failed.
type sinks struct {
	to     []sink
	stop   context.CancelFunc
	live   bool
	err    error
	failed []bool // by sink
}

func (s *sinks) take(rec any) error {
	for i := 0; i < len(s.to) && (s.err == nil || s.live); i++ {
		if i < len(s.failed) && s.failed[i] {
			continue
		}
		if err := s.to[i].take(rec); err != nil {
			s.fail(i, err)
		}
	}
	return s.err
}

// fail notes that a sink takes no more.
func (s *sinks) fail(i int, err error) {
	for len(s.failed) < len(s.to) {
		s.failed = append(s.failed, false)
	}
	s.failed[i] = true
	if s.err == nil {
		s.err = err
	}
	s.stop()
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

func (t tallySink) take(rec any) error { t.tally.take(rec); return nil }
func (t tallySink) close() error       { return nil }

// read runs one read: opens the input, then the exports, shows progress on a
// terminal, and ends with the summary.
func read(ctx context.Context, f readFlags, st *style, open opener, stdout, stderr io.Writer) (err error) {
	user := ctx
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var counts tally
	out := &sinks{to: []sink{tallySink{&counts}}, stop: cancel}
	in, err := open(f, out)
	if err != nil {
		return err
	}
	if err := openSinks(ctx, f, out, stdout, stderr); err != nil {
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
	if !f.quiet {
		for _, n := range in.notes() {
			fmt.Fprintln(stderr, clean(n))
		}
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
	wait(user, f.endWait)
	return err
}

// wait is over after a span of time, or when ctx is.
func wait(ctx context.Context, span time.Duration) {
	if span <= 0 {
		return
	}
	select {
	case <-ctx.Done():
	case <-time.After(span):
	}
}

// readSpeed says how long the read took: on standard error, so that standard
// output is the same for the same capture.
func readSpeed(w io.Writer, p progress) error {
	_, err := fmt.Fprintf(w, "\nread %s packets, %s in %s: %s\n", count(p.frames), size(p.read),
		seconds(int64(p.sinceStarted)), perSecond(float64(p.frames)/max(p.sinceStarted.Seconds(), 1e-9)))
	return err
}

func openSinks(ctx context.Context, f readFlags, out *sinks, stdout, stderr io.Writer) error {
	if f.json != "" {
		w, err := create(f.json, stdout)
		if err != nil {
			return fmt.Errorf("write JSON: %w", err)
		}
		out.to = append(out.to, newJSON(w, f.keys))
	}
	if f.csv != "" {
		w, err := create(f.csv, stdout)
		if err != nil {
			return fmt.Errorf("write CSV: %w", err)
		}
		s, err := newCSV(w, csvColumns)
		out.to = append(out.to, s)
		if err != nil {
			return fmt.Errorf("write CSV: %w", err)
		}
	}
	if f.db == "" {
		return nil
	}
	open := newStoreSink
	if f.queue != "" {
		open = func(ctx context.Context, path string) (sink, error) {
			return newQueuedSink(ctx, path, f.queue, f.patient(), stderr)
		}
	}
	s, err := open(ctx, f.db)
	if err != nil {
		return err
	}
	out.to = append(out.to, s)
	return nil
}
