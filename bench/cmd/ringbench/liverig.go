package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"ringside/bench/netns"
	"ringside/bench/replay"
)

// Who runs where: one core sends, the other does all that receives.
const (
	sendCPU    = 0
	receiveCPU = 1
)

// rig is a veth whose end B receives in a thread of the kernel (threaded NAPI) on
// the receiving core. The thread runs before all programs there, as a NIC's
// interrupt does, unless it is to share the core.
type rig struct {
	link  *netns.Link
	share bool
	iface string // of B; the kernel names the thread after it
	napi  int    // the thread; 0: not yet
}

func newRig(share bool) (*rig, error) {
	l, err := netns.Pair(1)
	if err != nil {
		return nil, err
	}
	r := &rig{link: l, share: share, iface: "rb" + strconv.Itoa(os.Getpid())}
	// A mirror port has no address.
	err = errors.Join(r.do("ip", "link", "set", l.Side(netns.B).Iface, "name", r.iface), r.do("ip", "addr", "flush", "dev", r.iface))
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return r, nil
}

// do runs a program in the namespace of B.
func (r *rig) do(name string, args ...string) error {
	if out, err := r.link.Command(context.Background(), netns.B, name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("run %s %s: %w: %s", name, strings.Join(args, " "), err, bytes.TrimSpace(out))
	}
	return nil
}

// thread puts the receiving thread up. The interface must have NAPI by then: an
// XDP program, or GRO.
func (r *rig) thread() error {
	if err := r.do("sh", "-c", "echo 1 > /sys/class/net/"+r.iface+"/threaded"); err != nil {
		return err
	}
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		names, err := filepath.Glob("/proc/[0-9]*/comm")
		if err != nil {
			return fmt.Errorf("look for receiving thread: %w", err)
		}
		for _, name := range names {
			b, _ := os.ReadFile(name)
			if !strings.HasPrefix(string(b), "napi/"+r.iface+"-") {
				continue
			}
			if r.napi, err = strconv.Atoi(filepath.Base(filepath.Dir(name))); err != nil {
				return fmt.Errorf("look for receiving thread: %w", err)
			}
			return r.pin()
		}
	}
	return fmt.Errorf("look for receiving thread of %s: there is none; the kernel needs threaded NAPI", r.iface)
}

func (r *rig) pin() error {
	var set unix.CPUSet
	set.Set(receiveCPU)
	if err := unix.SchedSetaffinity(r.napi, &set); err != nil {
		return fmt.Errorf("pin receiving thread: %w", err)
	}
	if r.share {
		return nil
	}
	if err := unix.SchedSetAttr(r.napi, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: 1}, 0); err != nil {
		return fmt.Errorf("let receiving thread run first: %w", err)
	}
	return nil
}

// send sends from A.
func (r *rig) send(ctx context.Context, o replay.Options) (replay.Result, error) {
	var res replay.Result
	err := r.link.Do(netns.A, func() (err error) {
		res, err = replay.Send(ctx, o)
		return err
	})
	return res, err
}

// received is how many frames have come to B's XDP program, or to its stack.
func (r *rig) received() (uint64, error) {
	var b []byte
	err := r.link.Do(netns.B, func() (err error) {
		b, err = os.ReadFile("/proc/thread-self/net/dev")
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("read counters of %s: %w", r.iface, err)
	}
	for line := range strings.Lines(string(b)) {
		name, rest, _ := strings.Cut(line, ":")
		if f := strings.Fields(rest); strings.TrimSpace(name) == r.iface && len(f) > 1 {
			return strconv.ParseUint(f[1], 10, 64)
		}
	}
	return 0, fmt.Errorf("read counters of %s: it is not there", r.iface)
}

// ran is how long all threads of a process have run, ns; 0 for one that is gone.
func ran(pid int) (total float64) {
	names, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	for _, name := range names {
		b, _ := os.ReadFile(name)
		first, _, _ := strings.Cut(string(b), " ")
		ns, _ := strconv.ParseFloat(first, 64)
		total += ns
	}
	return total
}
