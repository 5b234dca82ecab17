package suite

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"ringside/bench/report"
)

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

// patience is how long a program may take to be ready, and to end.
const patience = time.Minute

// start starts a program, and waits until it says that it is ready. One that never
// says anything gets a second.
func start(cmd *exec.Cmd, ready string) (*process, error) {
	p := &process{cmd: cmd, ended: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = &p.said, &p.said
	// A group of its own: a program may start others, which hold its outputs.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if cmd.Cancel != nil { // it ends with a context
		cmd.Cancel = func() error { return killGroup(cmd) }
	}
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start program: %w", err)
	}
	go func() {
		p.failed = cmd.Wait()
		close(p.ended)
	}()
	deadline := time.Now().Add(patience)
	if ready == "" {
		deadline = time.Now().Add(time.Second)
	}
	for ; time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if ready != "" && strings.Contains(p.said.String(), ready) {
			return p, nil
		}
		select {
		case <-p.ended:
			return nil, fmt.Errorf("start %s: it has ended: %w: %s", strings.Join(cmd.Args, " "), p.failed, p.said.String())
		default:
		}
	}
	if ready == "" {
		return p, nil
	}
	p.kill()
	return nil, fmt.Errorf("start %s: it never said %q: %s", strings.Join(cmd.Args, " "), ready, p.said.String())
}

// end interrupts the program, and returns what it has said. One that others made ends
// as it likes; ringside must end well.
func (p *process) end(ctx context.Context, well bool) (string, error) {
	if p.cmd == nil {
		return "", nil
	}
	if err := p.cmd.Process.Signal(os.Interrupt); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return "", fmt.Errorf("stop program: %w", err)
	}
	select {
	case <-p.ended:
	case <-ctx.Done():
		p.kill()
		return "", fmt.Errorf("stop program: %w", ctx.Err())
	case <-time.After(patience):
		p.kill()
		return "", fmt.Errorf("stop program: it goes on for a minute: %s", p.said.String())
	}
	if p.failed != nil && well {
		return "", fmt.Errorf("run %s: %w: %s", strings.Join(p.cmd.Args, " "), p.failed, p.said.String())
	}
	return p.said.String(), nil
}

// kill ends the program at once, if it is still there.
func (p *process) kill() {
	if p.cmd == nil {
		return
	}
	_ = killGroup(p.cmd) // it may have ended
	<-p.ended
}

// killGroup ends a program, and what it has started.
func killGroup(cmd *exec.Cmd) error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }

// pid is the program's number; taskset, and what enters a namespace, become the program.
func (p *process) pid() int {
	if p.cmd == nil {
		return 0
	}
	return p.cmd.Process.Pid
}

// ran is how long all threads of a process have run, ns; 0 for one that is gone.
func ran(pid int) (total float64) {
	for _, ns := range threadTimes(pid) {
		total += ns
	}
	return total
}

// threadTimes is how long each thread of a process has run, ns.
func threadTimes(pid int) map[int]float64 {
	out := map[int]float64{}
	if pid == 0 {
		return out
	}
	names, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	for _, name := range names {
		b, _ := os.ReadFile(name)
		first, _, _ := strings.Cut(string(b), " ")
		ns, _ := strconv.ParseFloat(first, 64)
		tid, _ := strconv.Atoi(filepath.Base(filepath.Dir(name)))
		out[tid] = ns
	}
	return out
}

// shares are the busiest threads of processes between two looks, as shares of one CPU.
func shares(pid int, before, after map[int]float64, took float64) []report.Share {
	const least, most = 0.01, 6
	var out []report.Share
	for tid, ns := range after {
		if share := (ns - before[tid]) / 1e9 / took; share >= least {
			out = append(out, report.Share{Thread: threadName(pid, tid), Share: share})
		}
	}
	slices.SortFunc(out, func(a, b report.Share) int { return cmp.Compare(b.Share, a.Share) })
	return out[:min(len(out), most)]
}

// threadName is what a thread is called, with its number where it is not the first.
func threadName(pid, tid int) string {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/comm", pid, tid))
	name := strings.TrimSpace(string(b))
	if name == "" {
		name = "thread"
	}
	if tid != pid {
		name += "/" + strconv.Itoa(tid-pid)
	}
	return name
}

// resident is the memory of a process, in KiB; 0 for one that is gone.
func resident(pid int) float64 {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, _ := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 64)
			return kib
		}
	}
	return 0
}
