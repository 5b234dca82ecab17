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

	"ringside/appliance/config"
	"ringside/appliance/daemon"
	"ringside/writer/store"
)

// capturing is a live capture. The daemon is one; tests put a scripted one in
// its place.
type capturing interface {
	Run(context.Context) error
	Describe() []string           // lines that are said before it runs
	Lately() daemon.ServiceStatus // with rates since it was called last
	Ledger() ([]daemon.LiveRow, []daemon.Gap)
	Report() daemon.LiveReport // after Run
	Reload(context.Context) ([]config.Change, error)
}

// capturer opens the interfaces. Records are given to sink as those of a read.
type capturer func(ctx context.Context, f runFlags, to sink, log *daemon.Log) (capturing, error)

func newRun(st *style) *cobra.Command {
	var f runFlags
	c := &cobra.Command{
		Use:   "run {-i INTERFACE | --config FILE}",
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
summary is shown. A second one ends the program at once. HUP reads the
configuration again: what has changed is said key by key, and what takes a restart
is named. USR1 opens the log file anew. USR2 shows the ledger: what became of every
packet, from the interface on.

With --http, the web UI and the API are served beside; the first time, it is said
how the first account is made. "ringside status" and "ringside reload" ask at
--control. docs/service.md has all of it.`,
		Example: "  ringside run -i eth1 --db calls.db\n" +
			"  ringside run -i eth1 --dedicated --db calls.db --queue queue --spool /var/spool/ringside\n" +
			"  ringside run -i eth1 -i eth2 --dedicated --ringbuffer 512MiB --allow 192.0.2.0/24 --rtp-ports 10000-20000",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := f.configure(c.Flags()); err != nil {
				return err
			}
			if err := errors.Join(f.check(c.Flags().Changed), f.spool.check(c.Flags()), f.service.check()); err != nil {
				return err
			}
			return captureLive(c.Context(), f, st, openLive, c.OutOrStdout(), c.ErrOrStderr())
		},
	}
	addRunFlags(c.Flags(), &f)
	return c
}

// openLive makes the service of a capture from interfaces; with none of them, one
// that captures nothing.
func openLive(ctx context.Context, f runFlags, to sink, log *daemon.Log) (capturing, error) {
	o, err := f.options(to)
	if err != nil {
		return nil, err
	}
	f.more.apply(&o)
	so := f.service.options(log)
	so.Store, so.Spool = f.storeOptions(), f.spool.dirs()
	if len(f.interfaces) > 0 {
		so.Live = &daemon.LiveOptions{
			ReadOptions: o, CaptureOptions: f.capture, Interfaces: f.interfaces,
			Alarm: func(g daemon.Gap) { log.Warn("ringside: the ledger does not balance: " + g.String()) },
		}
	}
	s, err := daemon.OpenService(ctx, so)
	if err != nil {
		return nil, serviceError(err)
	}
	return s, nil
}

// serviceError is why a service does not start, with the exit code for it.
func serviceError(err error) error {
	switch {
	case errors.Is(err, daemon.ErrNoInterface), errors.Is(err, daemon.ErrPort):
		return coded{exitUnavailable, err}
	case errors.Is(err, daemon.ErrBadOption):
		return coded{exitConfig, err}
	case errors.Is(err, fs.ErrPermission):
		return coded{exitNoPerm, err}
	}
	return withRemedy(err)
}

// captureLive runs one live capture: opens it, then the exports, says how it goes,
// and ends with the summary.
func captureLive(ctx context.Context, f runFlags, st *style, open capturer, stdout, stderr io.Writer) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// Where nobody reads any more what is printed, that is an error like any other:
	// of an export it ends the capture in order, of a line of status it is no matter.
	signal.Ignore(syscall.SIGPIPE)
	defer signal.Reset(syscall.SIGHUP, syscall.SIGPIPE)
	var counts tally
	all := &sinks{to: []sink{tallySink{&counts}}, stop: cancel, live: true}
	out := &shared{sink: all}
	notes, err := openLog(f.service.logFile, stderr)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, notes.close()) }()
	log := daemon.NewLog(notes.say)
	if c := f.service.loaded; c != nil {
		log.Set(c.Log.Level, c.Log.Redact)
	}
	for _, n := range f.service.notes {
		log.Warn("configuration: " + n)
	}
	in, err := open(ctx, f, out, log)
	if err != nil {
		return err
	}
	exports := f.readFlags
	exports.db = "" // the service has the store
	if err := openSinks(ctx, exports, all, stdout, stderr); err != nil {
		cancel() // Run closes what is open
		return errors.Join(err, in.Run(ctx), out.close())
	}
	if !f.quiet {
		for _, n := range in.Describe() {
			log.Info(n)
		}
		if f.db != "" && f.queue == "" {
			log.Warn("no --queue: while the store is away, its records are lost")
		}
	}
	stop := attend(in, all, out, f.statusEvery, notes, log)
	err = in.Run(ctx)
	stop()
	r := in.Report()
	interrupted := r.Early || err != nil && !r.Behind // else only what became of the packets failed
	err = errors.Join(err, out.close())
	if f.queue != "" {
		db := in.Lately().Store
		err = errors.Join(err, writeLeft(notes, store.WriterStats{Queued: db.Queued, Parked: db.Parked, LastError: db.Error}, f.queue))
	}
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
// status, what signals ask for, and exports written as they come.
func attend(in capturing, all *sinks, guard *shared, every time.Duration, notes *lines, log *daemon.Log) (stop func()) {
	ask := make(chan os.Signal, 8) // several may come at once
	signal.Notify(ask, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2)
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
			case sig := <-ask:
				asked(in, sig, notes, log)
			case now := <-status:
				log.Info(now.Format(time.TimeOnly) + "  " + statusLine(in.Lately()))
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

// asked does what a signal asks for. What comes of it is said.
func asked(in capturing, sig os.Signal, notes *lines, log *daemon.Log) {
	switch sig {
	case syscall.SIGHUP:
		if _, err := in.Reload(context.Background()); errors.Is(err, daemon.ErrNoConfig) {
			log.Error(err.Error()) // other errors the service has said
		}
	case syscall.SIGUSR1:
		if err := notes.reopen(); err != nil {
			log.Error(err.Error())
		}
	case syscall.SIGUSR2:
		rows, gaps := in.Ledger()
		_ = writeLedger(notes, rows, gaps)
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
	mu   sync.Mutex
	to   io.Writer
	path string   // of the log file; empty: to is somebody else's
	file *os.File // it
}

// openLog opens the log file, if there is one.
func openLog(path string, stderr io.Writer) (*lines, error) {
	l := &lines{to: stderr, path: path}
	return l, l.reopen()
}

// reopen opens the log file anew: somebody has moved it away.
func (l *lines) reopen() error {
	if l.path == "" {
		return nil
	}
	f, err := os.OpenFile(l.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640)
	if err != nil {
		return fmt.Errorf("open log: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	old := l.file
	l.file, l.to = f, f
	if old != nil {
		return old.Close()
	}
	return nil
}

func (l *lines) close() error {
	if l.file == nil {
		return nil
	}
	return l.file.Close()
}

func (l *lines) say(s string) { fmt.Fprintln(l, oneLine(s)) }

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.to.Write(b)
}
