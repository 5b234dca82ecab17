// Package soak runs ringside for long at a constant load and says whether it
// grows: memory, descriptors, goroutines, threads, and how long it takes to answer.
//
// Run starts the service in a network namespace of its own, sends it calls over a
// veth, and asks at an interval what it takes. Behind a time of warming up a line
// is fitted through each series; a line that is sure to rise faster than its
// threshold is a failure. Fit says what "sure" is.
package soak

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"ringside/bench/netns"
)

// Options of a run. New has those that are right for ten minutes.
type Options struct {
	// Ringside is the program with its first arguments, if any; Env is added to its
	// environment.
	Ringside []string
	Env      []string

	For    time.Duration // of the whole
	WarmUp time.Duration // of it
	Every  time.Duration // between two samples

	Calls   int           // at a time
	Talk    time.Duration // of a call
	History int           // calls in the store before it starts
	Limits  Limits        // rises per minute

	Dir      string    // for what it writes, which is removed; default: of the system
	Progress io.Writer // the first sample, and one each minute; nil: none
}

// New gives the options of a run of ten minutes. For another time see WarmUp and HeapLimit.
func New() Options {
	const ten = 10 * time.Minute
	return Options{
		For: ten, WarmUp: WarmUp(ten), Every: 2 * time.Second,
		Calls: 150, Talk: time.Minute, History: 30_000,
		Limits: Limits{Heap: HeapLimit(WarmUp(ten)), Memory: 0.2, Descriptors: 0.1, Goroutines: 0.2, Threads: 0.2, Latency: 0.5},
	}
}

// WarmUp is how much of a run is not to be judged: a quarter, at most an hour.
func WarmUp(of time.Duration) time.Duration { return min(of/4, cachesFull) }

// HeapLimit is how many MiB the live heap may rise in a minute behind some time of warming up.
func HeapLimit(warm time.Duration) float64 {
	if warm < tablesFull {
		return 0.5
	}
	return 0.2
}

// check finds what cannot be.
func (o *Options) check() error {
	switch {
	case len(o.Ringside) == 0:
		return errors.New("name the program to soak")
	case o.Every <= 0 || o.Talk < time.Second || o.Calls < 1 || o.WarmUp < 0 || o.History < 0:
		return errors.New("times and numbers must be above 0 (warm-up and history may be 0), and a call takes a second at least")
	case o.For-o.WarmUp <= leastSamples*o.Every:
		return fmt.Errorf("%v with %v of warming up leave too little: more than %d samples, one each %v, are needed", o.For, o.WarmUp, leastSamples, o.Every)
	}
	return nil
}

// Run soaks ringside. What it returns says whether that passed; an error is a run that
// did not come to its end. The samples that it has had by then are judged all the same;
// without any there is no report.
func Run(ctx context.Context, o Options) (rep *Report, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("soak: %w", err)
		}
	}()
	if err := o.check(); err != nil {
		return nil, err
	}
	if o.Progress == nil {
		o.Progress = io.Discard
	}
	if o.Dir, err = os.MkdirTemp(o.Dir, "soak-"); err != nil {
		return nil, err
	}
	defer os.RemoveAll(o.Dir)
	link, err := netns.Pair(1)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, link.Close()) }()
	if err := o.fill(ctx); err != nil {
		return nil, err
	}
	s, err := o.start(ctx, link)
	if err != nil {
		return nil, err
	}
	defer s.kill()
	rep = &Report{Began: time.Now(), Options: o}
	err = o.soak(ctx, s, link, rep)
	if ctx.Err() != nil {
		err = ctx.Err() // what else failed did so for that
	}
	if few := rep.judge(); err == nil {
		err = few
	}
	if len(rep.Samples) == 0 {
		rep = nil
	}
	return rep, err
}

// soak sends and samples, and ends the service.
func (o *Options) soak(ctx context.Context, s *service, link *netns.Link, rep *Report) error {
	sending, stop := context.WithCancel(ctx)
	defer stop()
	sent := make(chan error, 1)
	go func() {
		sent <- o.send(sending, link, &rep.Sent)
		close(sent)
	}()
	err := o.watch(ctx, s, sent, rep)
	stop()
	// The sender writes into the report until it has ended.
	if failed := <-sent; err == nil && !errors.Is(failed, context.Canceled) {
		err = failed
	}
	if err != nil {
		return err
	}
	return s.end()
}

// watch samples until the time is over, or something ends.
func (o *Options) watch(ctx context.Context, s *service, sent <-chan error, rep *Report) error {
	tick := time.NewTicker(o.Every)
	defer tick.Stop()
	over := time.After(o.For)
	next := rep.Began // when the next line of progress is due
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-sent:
			return fmt.Errorf("the sender ended early: %w", err)
		case <-s.ended:
			return fmt.Errorf("ringside ended early: %w: %s", s.failed, s.said())
		case <-over:
			return nil
		case <-tick.C:
			sample, err := s.sample()
			if err != nil {
				return err
			}
			sample.At = time.Since(rep.Began)
			rep.Samples = append(rep.Samples, sample)
			if time.Now().After(next) {
				next = next.Add(time.Minute)
				fmt.Fprintf(o.Progress, "%s\n", sample)
			}
		}
	}
}

// service is ringside that runs.
type service struct {
	cmd     *exec.Cmd
	link    *netns.Link
	control string
	log     string
	ended   chan struct{}
	failed  error
}

// config is what the service is told. Memory for packets and room for segments are
// small, so that they are all in use, and segments are removed, within the warm-up.
const config = `interface = %s
dedicated = yes
ringbuffer = 8MiB
db = %[2]s/calls.db
queue = %[2]s/queue
spooldir = %[2]s/spool
spool_root = yes
spool_reserve = 64MiB
spool_memory = 16MiB
maxpoolsize = 256MiB
rules = %[2]s/rules
state_dir = %[2]s/state
control_socket = %[2]s/ringside.sock
listen = 127.0.0.1:8080
status_interval = 10s
`

// rules keep headers of every eighth call or so.
const rules = "rule some: caller *1 -> sip full, rtp header\ndefault -> sip full, rtp none\n"

// start starts the service at the end B of the link, and waits until it captures.
func (o *Options) start(ctx context.Context, link *netns.Link) (*service, error) {
	text := fmt.Sprintf(config, link.Side(netns.B).Iface, o.Dir)
	err := errors.Join(
		os.Mkdir(filepath.Join(o.Dir, "spool"), 0o755),
		os.WriteFile(filepath.Join(o.Dir, "rules"), []byte(rules), 0o644),
		os.WriteFile(filepath.Join(o.Dir, "ringside.conf"), []byte(text), 0o600))
	if err != nil {
		return nil, err
	}
	s := &service{link: link, control: filepath.Join(o.Dir, "ringside.sock"), log: filepath.Join(o.Dir, "log"), ended: make(chan struct{})}
	args := slices.Concat(o.Ringside[1:], []string{"run", "--config", filepath.Join(o.Dir, "ringside.conf")})
	s.cmd = link.Command(ctx, netns.B, o.Ringside[0], args...)
	s.cmd.Env = append(append(os.Environ(), "GOGC=100"), o.Env...)
	log, err := os.Create(s.log)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	s.cmd.Stdout, s.cmd.Stderr = log, log
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start ringside: %w", err)
	}
	go func() {
		s.failed = s.cmd.Wait()
		close(s.ended)
	}()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		if _, err = s.sample(); err == nil {
			return s, nil
		}
		select {
		case <-s.ended:
			return nil, fmt.Errorf("run ringside: %w: %s", s.failed, s.said())
		default:
		}
		if time.Now().After(deadline) {
			s.kill()
			return nil, fmt.Errorf("run ringside: no answer for a minute: %w: %s", err, s.said())
		}
	}
}

// said is the end of what the service has logged.
func (s *service) said() string {
	b, _ := os.ReadFile(s.log)
	return strings.TrimSpace(string(b[max(0, len(b)-2000):]))
}

// end ends the service in order.
func (s *service) end() error {
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("stop ringside: %w", err)
	}
	select {
	case <-s.ended:
	case <-time.After(time.Minute):
		return errors.New("stop ringside: it goes on for a minute")
	}
	if s.failed != nil {
		return fmt.Errorf("run ringside: %w: %s", s.failed, s.said())
	}
	return nil
}

// kill ends the service if it is still there.
func (s *service) kill() {
	_ = s.cmd.Process.Kill()
	<-s.ended
}
