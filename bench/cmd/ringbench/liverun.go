package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"ringside/bench/netns"
)

// subject is a program that is measured on the receiving end.
type subject struct {
	name string
	// args is the program with its arguments; dir is a folder for what it
	// writes. nil: the floor, which is a program of the kernel alone.
	args  func(s *liveSettings, iface, dir string) []string
	ready string // what it says when it captures
	plain bool   // it has no XDP program: the interface needs GRO to receive in a thread
	calls bool   // it is told of the calls
	// count is how many RTP packets of calls it says it has handled. nil: all that arrived.
	count func(said string, of *calls) (uint64, error)
}

// outcome is what became of the RTP of one run of a subject.
type outcome struct {
	offered, arrived, handled uint64
	rate                      float64 // offered in a second
	kernel, program           float64 // processor time of the receiving thread and of the program, ns
	behind                    float64 // that of the program after the last packet was sent, ns
	took                      float64 // s
}

// lost is the share of packets that the program has not handled.
func (r outcome) lost() float64      { return 1 - float64(min(r.handled, r.offered))/float64(r.offered) }
func (r outcome) delivered() float64 { return float64(r.handled) / r.took }

// measure runs a subject once, and sends it the RTP of the calls at a rate.
func (s *liveSettings) measure(ctx context.Context, on *subject, c *calls, rate float64) (r outcome, err error) {
	rig, err := newRig(s.share)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, rig.link.Close()) }()
	dir, err := os.MkdirTemp(s.spool, "ringbench-live-")
	if err != nil {
		return r, fmt.Errorf("make folder: %w", err)
	}
	defer os.RemoveAll(dir)
	p, err := s.begin(ctx, rig, on, dir)
	if err != nil {
		return r, err
	}
	defer p.kill()
	if err := rig.thread(); err != nil {
		return r, err
	}
	from := rig.link.Side(netns.A).Iface
	if on.calls {
		if _, err := rig.send(ctx, sip(from, c.begin)); err != nil {
			return r, err
		}
		time.Sleep(settle)
	}
	before, err := rig.received()
	if err != nil {
		return r, err
	}
	kernel, program := ran(rig.napi), ran(p.pid())
	sent, err := rig.send(ctx, c.rtp(from, rate, s.span))
	if err != nil {
		return r, err
	}
	r.behind = -ran(p.pid())
	time.Sleep(settle)
	r.behind += ran(p.pid())
	after, err := rig.received()
	if err != nil {
		return r, err
	}
	r.offered, r.arrived, r.took = sent.Sent+sent.Refused, after-before, sent.Took.Seconds()
	r.rate = float64(r.offered) / r.took
	r.kernel, r.program = ran(rig.napi)-kernel, ran(p.pid())-program
	if on.calls {
		if _, err := rig.send(ctx, sip(from, c.end)); err != nil {
			return r, err
		}
	}
	said, err := p.end()
	if err != nil {
		return r, err
	}
	r.handled = r.arrived
	if on.count != nil {
		r.handled, err = on.count(said, c)
	}
	return r, err
}

// settle is how long what was sent may be on its way.
const settle = 300 * time.Millisecond

// begin starts a subject on the receiving end.
func (s *liveSettings) begin(ctx context.Context, r *rig, on *subject, dir string) (*process, error) {
	if on.plain {
		if err := r.do("ethtool", "-K", r.iface, "gro", "on"); err != nil {
			return nil, err
		}
	}
	if on.args == nil {
		floor, err := filepath.Abs(s.floor)
		if err != nil {
			return nil, fmt.Errorf("find floor: %w", err)
		}
		// With -n, and not in the namespace: there /sys is another one.
		out, err := exec.CommandContext(ctx, "ip", "-n", r.link.Side(netns.B).Namespace, "link", "set", "dev", r.iface, "xdpdrv", "obj", floor, "sec", "xdp.frags").CombinedOutput()
		if err != nil {
			return nil, fmt.Errorf("attach %s: %w: %s", floor, err, bytes.TrimSpace(out))
		}
		return &process{}, nil
	}
	args := append([]string{"-c", strconv.Itoa(receiveCPU)}, on.args(s, r.iface, dir)...)
	return start(r.link.Command(ctx, netns.B, "taskset", args...), on.ready)
}

// process is a program that runs; the zero value is none.
type process struct {
	cmd    *exec.Cmd
	said   heard
	ended  chan struct{}
	failed error
}

// heard keeps what a program says on both its outputs.
type heard struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (h *heard) Write(b []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.b.Write(b)
}

func (h *heard) String() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.b.String()
}

// start starts a program, and waits until it says that it is ready.
func start(cmd *exec.Cmd, ready string) (*process, error) {
	p := &process{cmd: cmd, ended: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = &p.said, &p.said
	cmd.Cancel = func() error { return cmd.Process.Signal(unix.SIGKILL) }
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start program: %w", err)
	}
	go func() {
		p.failed = cmd.Wait()
		close(p.ended)
	}()
	deadline := time.After(30 * time.Second)
	for {
		if strings.Contains(p.said.String(), ready) {
			return p, nil
		}
		select {
		case <-p.ended:
			return nil, fmt.Errorf("run %s: %w: %s", strings.Join(cmd.Args, " "), p.failed, p.said.String())
		case <-deadline:
			p.kill()
			return nil, fmt.Errorf("run %s: it does not begin: %s", strings.Join(cmd.Args, " "), p.said.String())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// pid is that of the program: ip and taskset give way to it.
func (p *process) pid() int {
	if p.cmd == nil {
		return 0
	}
	return p.cmd.Process.Pid
}

// end interrupts the program, and returns what it has said.
func (p *process) end() (string, error) {
	if p.cmd == nil {
		return "", nil
	}
	if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
		return "", fmt.Errorf("stop program: %w", err)
	}
	select {
	case <-p.ended:
	case <-time.After(time.Minute):
		p.kill()
		return "", fmt.Errorf("stop program: it goes on for a minute: %s", p.said.String())
	}
	if p.failed != nil {
		return "", fmt.Errorf("run %s: %w: %s", strings.Join(p.cmd.Args, " "), p.failed, p.said.String())
	}
	return p.said.String(), nil
}

// kill ends the program at once, if it is still there.
func (p *process) kill() {
	if p.cmd == nil {
		return
	}
	_ = p.cmd.Process.Kill()
	<-p.ended
}
