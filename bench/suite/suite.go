// Package suite measures ringside, and other programs beside it, on the machine it
// is on: how fast files are read, which rates of live traffic hold without loss,
// what a packet and a call cost, and where packets are lost when there are too
// many. Package report has what it finds.
//
// Everything runs over a veth in two network namespaces that it makes, or over a
// wire between two ports of the machine. One CPU or more send; all that receives
// runs on the others. Loss is what the sender offered less what a program says it
// has handled, whatever became of it on the way.
package suite

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"ringside/bench/netns"
	"ringside/bench/replay"
)

// Bench says how to measure. Its zero value is not enough: see New.
type Bench struct {
	Ringside string // the program
	Floor    string // object file of the kernel program that reads headers and drops
	Folder   string // in which spools and captures are made, and removed

	From, To string // ends of a wire; both empty: a veth
	Engine   replay.Engine

	Send, Receive []int // CPUs

	Runs  int           // rounds, in which all take turns
	Calls int           // at the same time, of two streams each
	Span  time.Duration // for which each measurement sends
	Free  float64       // share that may be lost where nothing is said to be lost
	Tries int           // of a rate
	Exact float64       // a search ends when two rates are as near
	Share bool          // the receiving thread shares its core with programs as equals

	Nice int // priority of what sends and of all programs, as nice(1) has it

	Settle time.Duration // for which what was sent may be on its way

	// Patience is for how long, all in all, it waits for a host that has taken CPUs of
	// this virtual machine, and measures again.
	Patience time.Duration

	until         time.Time     // nothing is begun later; zero: whenever
	waited, waits time.Duration // of Patience: what is used up, and what a subject has left of its part
	again         int           // measurements that were for nothing
}

// New gives the settings that are right for most machines.
func New() *Bench {
	b := &Bench{
		Ringside: "build/ringside", Floor: "bpf/floor_bpfel.o", Folder: os.TempDir(),
		Engine: replay.XDP,
		Runs:   3, Calls: 500, Span: time.Second, Free: 1e-5, Tries: 3, Exact: 1.08, Nice: -15, Settle: 300 * time.Millisecond, Patience: 3 * time.Minute,
	}
	b.Send, b.Receive = CPUs(runtime.NumCPU())
	return b
}

// CPUs deals out so many CPUs: a quarter of them send, at least one; the others
// receive. The receiving ones come last, as the first is the busiest of most hosts.
func CPUs(n int) (send, receive []int) {
	if n < 2 {
		return []int{0}, []int{0}
	}
	for cpu := range n {
		if cpu < max(1, n/4) {
			send = append(send, cpu)
		} else {
			receive = append(receive, cpu)
		}
	}
	return send, receive
}

// Check finds what cannot be, before anything is started.
func (b *Bench) Check() error {
	switch {
	case b.Runs < 1 || b.Runs > 100:
		return fmt.Errorf("%d runs: 1 to 100", b.Runs)
	case b.Calls < 1 || b.Calls > 20000:
		return fmt.Errorf("%d calls: 1 to 20000", b.Calls)
	case !(b.Free >= 0 && b.Free < 1) || b.Tries < 1:
		return fmt.Errorf("a share of %v, %d tries: 0 to 1, at least one", b.Free, b.Tries)
	case b.Patience < 0:
		return fmt.Errorf("patience of %v: 0 and more", b.Patience)
	case b.Span < 100*time.Millisecond || b.Span > time.Minute:
		return fmt.Errorf("span %v: 100ms to 1m", b.Span)
	case !(b.Exact > 1 && b.Exact <= 2):
		return fmt.Errorf("exactness %v: above 1 to 2", b.Exact)
	case b.Nice < -20 || b.Nice > 19:
		return fmt.Errorf("priority %d: -20 to 19", b.Nice)
	case (b.From == "") != (b.To == ""):
		return errors.New("a wire has two ends: give --iface and --peer-iface, or none for a veth")
	case b.From != "" && b.From == b.To:
		return fmt.Errorf("a wire has two ends, and both are %s", b.From)
	case len(b.Send) == 0 || len(b.Receive) == 0:
		return errors.New("no CPU to send or to receive on")
	}
	return nil
}

// Ready reports what a measurement needs and this machine lacks. It makes paths
// absolute: programs run in folders of their own.
func (b *Bench) Ready() error {
	if os.Geteuid() != 0 {
		return errors.New("measure: captures and makes network namespaces: run it as root")
	}
	if b.From == "" {
		if err := netns.Supported(); err != nil {
			return err
		}
	}
	if _, err := os.Stat(b.Ringside); err != nil {
		return fmt.Errorf("find ringside: %w: run make build, or name it with --ringside", err)
	}
	for name, from := range map[string]string{"taskset": "util-linux", "ip": "iproute2", "ethtool": "ethtool"} {
		if _, err := exec.LookPath(name); err != nil {
			return fmt.Errorf("find %s: not installed; on Debian: apt-get install %s", name, from)
		}
	}
	for _, path := range []*string{&b.Ringside, &b.Floor, &b.Folder} {
		var err error
		if *path, err = filepath.Abs(*path); err != nil {
			return fmt.Errorf("find %s: %w", *path, err)
		}
	}
	return nil
}

// first gives this process, and all that it starts from now on, its priority: others
// that use the machine are not what is measured.
func (b *Bench) first() error {
	tasks, err := filepath.Glob("/proc/self/task/*")
	if err != nil {
		return fmt.Errorf("set priority: %w", err)
	}
	for _, task := range tasks {
		tid, err := strconv.Atoi(filepath.Base(task))
		if err != nil {
			return fmt.Errorf("set priority: %w", err)
		}
		if err := unix.Setpriority(unix.PRIO_PROCESS, tid, b.Nice); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("set priority %d: %w", b.Nice, err)
		}
	}
	return nil
}

// say writes a line of progress.
func say(out io.Writer, format string, args ...any) {
	fmt.Fprintf(out, format+"\n", args...)
}
