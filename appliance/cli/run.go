package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"ringside/appliance/daemon"
)

// capturing is a live capture. The daemon is one; tests put a scripted one in
// its place.
type capturing interface {
	Run(context.Context) error
	Describe() []string // lines that are said before it runs
	Status() daemon.Status
	Ledger() ([]daemon.LiveRow, []daemon.Gap)
	Report() daemon.LiveReport // after Run
}

// capturer opens the interfaces. Records are given to sink as those of a read.
type capturer func(f runFlags, to sink, alarm func(daemon.Gap)) (capturing, error)

func newRun(st *style) *cobra.Command {
	var f runFlags
	c := &cobra.Command{
		Use:   "run -i INTERFACE",
		Short: "capture from interfaces and report the calls that are seen",
		Long: `Capture from interfaces and report calls as "ringside read" does: to a store, as
JSON or CSV, their packets to a spool. It needs the right to capture (root, or the
capabilities net_raw and net_admin); with the right to load programs into the
kernel (bpf and perfmon) packets are filtered there. What is missing is said at the
start, with what is done instead.

Every ten seconds a line on standard error says how it goes. What was lost is said
with its place, only where something was.

Signals: INT and TERM end the capture: what waits in the rings is worked off, open
calls are reported as far as they came, records and packets are written, and the
summary is shown. A second one ends the program at once. USR1 shows the ledger:
what became of every packet, from the interface on. HUP does nothing.`,
		Example: "  ringside run -i eth1 --db calls.db\n" +
			"  ringside run -i eth1 --dedicated --db calls.db --queue queue --spool /var/spool/ringside\n" +
			"  ringside run -i eth1 -i eth2 --dedicated --ringbuffer 512MiB --allow 192.0.2.0/24 --rtp-ports 10000-20000",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := errors.Join(f.check(c.Flags().Changed), f.spool.check(c.Flags())); err != nil {
				return err
			}
			return captureLive(c.Context(), f, st, openLive, c.OutOrStdout(), c.ErrOrStderr())
		},
	}
	addRunFlags(c.Flags(), &f)
	return c
}

// openLive makes the daemon's capture.
func openLive(f runFlags, to sink, alarm func(daemon.Gap)) (capturing, error) {
	o, err := f.options(to)
	if err != nil {
		return nil, err
	}
	l, err := daemon.NewLive(daemon.LiveOptions{ReadOptions: o, CaptureOptions: f.capture, Interfaces: f.interfaces, Alarm: alarm})
	switch {
	case errors.Is(err, daemon.ErrNoInterface):
		return nil, coded{exitUnavailable, err}
	case errors.Is(err, fs.ErrPermission):
		return nil, coded{exitNoPerm, err}
	case err != nil:
		return nil, withRemedy(err)
	}
	return l, nil
}

// captureLive runs one live capture: opens it, then the exports, says how it goes,
// and ends with the summary.
func captureLive(ctx context.Context, f runFlags, st *style, open capturer, stdout, stderr io.Writer) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// Where nobody reads any more what is printed, that is an error like any other:
	// of an export it ends the capture in order, of a line of status it is no matter.
	signal.Ignore(syscall.SIGHUP, syscall.SIGPIPE)
	defer signal.Reset(syscall.SIGHUP, syscall.SIGPIPE)
	var counts tally
	all := &sinks{to: []sink{tallySink{&counts}}, stop: cancel, live: true}
	out := &shared{sink: all}
	notes := &lines{to: stderr}
	in, err := open(f, out, func(g daemon.Gap) { notes.say("ringside: the ledger does not balance: " + g.String()) })
	if err != nil {
		return err
	}
	if err := openSinks(ctx, f.readFlags, all, stdout, stderr); err != nil {
		cancel() // Run closes what is open
		return errors.Join(err, in.Run(ctx), out.close())
	}
	if !f.quiet {
		for _, n := range in.Describe() {
			notes.say(n)
		}
		if f.db != "" && f.queue == "" {
			notes.say("no --queue: while the store is away, its records are lost")
		}
	}
	stop := attend(in, all, out, f.statusEvery, notes)
	err = in.Run(ctx)
	stop()
	r := in.Report()
	interrupted := err != nil && !r.Behind // else only what became of the packets failed
	err = errors.Join(err, out.close())
	if f.quiet {
		return err
	}
	summary := stdout
	if f.json == "-" || f.csv == "-" {
		summary = stderr
	}
	shown := reportOf(&r.Report, ringBytes(r.Rows))
	shown.interrupted, shown.balanced = interrupted, r.Behind // gaps before the decoders are shown by themselves
	return errors.Join(err, writeSummary(summary, st.on(summary), &counts, &shown), writeLedger(summary, r.Rows, r.Gaps))
}

// flushEvery is how long lines of JSON and CSV wait at the most.
const flushEvery = time.Second

// attend does what is done beside a capture until stop is called: lines of
// status, the ledger on SIGUSR1, and exports written as they come.
func attend(in capturing, all *sinks, guard *shared, every time.Duration, notes *lines) (stop func()) {
	ask := make(chan os.Signal, 1)
	signal.Notify(ask, syscall.SIGUSR1)
	flush := time.NewTicker(flushEvery)
	status, none := (<-chan time.Time)(nil), func() {}
	if every > 0 {
		t := time.NewTicker(every)
		status, none = t.C, t.Stop
	}
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-quit:
				return
			case <-ask:
				rows, gaps := in.Ledger()
				_ = writeLedger(notes, rows, gaps)
			case now := <-status:
				notes.say(now.Format(time.TimeOnly) + "  " + statusLine(in.Status(), stored(all)))
			case <-flush.C:
				guard.flush(all)
			}
		}
	}()
	return func() {
		close(quit)
		<-done
		signal.Stop(ask)
		flush.Stop()
		none()
	}
}

// shared lets one goroutine flush what another one feeds.
type shared struct {
	mu   sync.Mutex
	sink sink
}

func (s *shared) take(rec any) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sink.take(rec)
}

func (s *shared) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sink.close()
}

// flush writes what the exports of all still hold. A failed one ends the
// capture, as any failed export does.
func (s *shared) flush(all *sinks) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, to := range all.to {
		if f, ok := to.(interface{ flush() error }); ok && all.err == nil {
			if err := f.flush(); err != nil {
				all.fail(i, err)
			}
		}
	}
}

func (s *jsonSink) flush() error   { return s.buf.Flush() }
func (s *csvSink[T]) flush() error { s.w.Flush(); return s.w.Error() }

// lines are what several goroutines say to one reader, a line at a time.
type lines struct {
	mu sync.Mutex
	to io.Writer
}

func (l *lines) say(s string) { fmt.Fprintln(l, oneLine(s)) }

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.to.Write(b)
}
