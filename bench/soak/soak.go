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

// Options of a run. Zero stands for the default.
type Options struct {
	// Ringside is the program with its first arguments, if any; Env is added to its
	// environment.
	Ringside []string
	Env      []string

	For    time.Duration // of the whole; default 10 min
	WarmUp time.Duration // of it; default a quarter, at most an hour
	Every  time.Duration // between two samples; default 2 s

	Calls   int           // at a time; default 150
	Talk    time.Duration // of a call; default 1 min
	History int           // calls in the store before it starts; default 30,000; below 0: none
	Limits  Limits        // rises per minute

	Dir      string    // for what it writes, which is removed; default: of the system
	Progress io.Writer // a line now and then; nil: none
}

func (o Options) withDefaults() (Options, error) {
	if len(o.Ringside) == 0 {
		return o, errors.New("name the program to soak")
	}
	orElse := func(d *time.Duration, other time.Duration) {
		if *d == 0 {
			*d = other
		}
	}
	orElse(&o.For, 10*time.Minute)
	orElse(&o.WarmUp, min(o.For/4, cachesFull))
	orElse(&o.Every, 2*time.Second)
	orElse(&o.Talk, time.Minute)
	if o.Calls == 0 {
		o.Calls = 150
	}
	if o.History == 0 {
		o.History = 30_000
	}
	if o.Progress == nil {
		o.Progress = io.Discard
	}
	o.Limits = o.Limits.withDefaults(o.WarmUp)
	switch {
	case o.Every < 0 || o.Talk < time.Second || o.Calls < 0 || o.WarmUp < 0:
		return o, errors.New("times and numbers must be above 0, and a call takes a second at least")
	case o.For-o.WarmUp < leastSamples*o.Every:
		return o, fmt.Errorf("%v with %v of warming up leave too little: %d samples, one each %v, are needed", o.For, o.WarmUp, leastSamples, o.Every)
	}
	return o, nil
}

// Run soaks ringside. What it returns says whether that passed; an error is a run
// that came to nothing.
func Run(ctx context.Context, o Options) (rep *Report, err error) {
	if o, err = o.withDefaults(); err != nil {
		return nil, fmt.Errorf("soak: %w", err)
	}
	if o.Dir, err = os.MkdirTemp(o.Dir, "soak-"); err != nil {
		return nil, fmt.Errorf("soak: %w", err)
	}
	defer os.RemoveAll(o.Dir)
	link, err := netns.Pair(1)
	if err != nil {
		return nil, fmt.Errorf("soak: %w", err)
	}
	defer func() { err = errors.Join(err, link.Close()) }()
	if err := o.fill(ctx); err != nil {
		return nil, fmt.Errorf("soak: %w", err)
	}
	s, err := o.start(ctx, link)
	if err != nil {
		return nil, fmt.Errorf("soak: %w", err)
	}
	defer s.kill()
	rep = &Report{Began: time.Now(), Options: o}
	sending, stop := context.WithCancel(ctx)
	defer stop()
	sent := make(chan error, 1)
	go func() { sent <- o.send(sending, link, &rep.Sent) }()
	if err := o.watch(ctx, s, sent, rep); err != nil {
		return nil, fmt.Errorf("soak: %w", err)
	}
	stop()
	if err := <-sent; err != nil && !errors.Is(err, context.Canceled) {
		return nil, fmt.Errorf("soak: %w", err)
	}
	if err := s.end(); err != nil {
		return nil, fmt.Errorf("soak: %w", err)
	}
	rep.judge()
	return rep, nil
}

// watch samples until the time is over, or something ends.
func (o *Options) watch(ctx context.Context, s *service, sent <-chan error, rep *Report) error {
	tick := time.NewTicker(o.Every)
	defer tick.Stop()
	over := time.After(o.For)
	next := rep.Began.Add(time.Minute)
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
