package suite

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
	"time"

	"golang.org/x/sys/unix"

	"ringside/bench/netns"
	"ringside/bench/replay"
)

// rig is a way for frames: a veth, whose receiving end takes them in threads of
// the kernel (threaded NAPI) on the receiving CPUs, or a wire between two ports
// that stay as they are. The threads run before all programs there, as a NIC's
// interrupts do, unless they are to share the CPUs.
type rig struct {
	bench *Bench
	link  *netns.Link // nil: a wire
	from  string      // interface that sends
	iface string      // interface that receives; the kernel names its threads after it
	napi  []int       // the threads; none before thread, and of a wire
	undo  []string    // ethtool's arguments that bring back what was changed of a wire
	floor bool        // the floor is attached to a wire's end, and must go
}

// newRig makes a way of so many queues; 0: of one, or as many as a wire's end has.
func (b *Bench) newRig(queues int) (*rig, error) {
	if b.From != "" {
		return b.wire(queues)
	}
	l, err := netns.Pair(max(queues, 1))
	if err != nil {
		return nil, err
	}
	r := &rig{bench: b, link: l, from: l.Side(netns.A).Iface, iface: "rb" + strconv.Itoa(os.Getpid())}
	// A mirror port has no address.
	err = errors.Join(r.do("ip", "link", "set", l.Side(netns.B).Iface, "name", r.iface), r.do("ip", "addr", "flush", "dev", r.iface))
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return r, nil
}

// wire uses two ports of this machine. The number of queues that receive is changed
// for as long as the rig is there; 0 leaves it as it is.
func (b *Bench) wire(queues int) (*rig, error) {
	r := &rig{bench: b, from: b.From, iface: b.To}
	for _, name := range []string{b.From, b.To} {
		if err := r.do("ip", "link", "set", name, "up"); err != nil {
			return nil, err
		}
	}
	kind, have := channels(r.iface)
	if queues == 0 || have == queues {
		return r, nil
	}
	if err := r.do("ethtool", "-L", r.iface, kind, strconv.Itoa(queues)); err != nil {
		return nil, fmt.Errorf("give %s %d queues: %w", r.iface, queues, err)
	}
	r.undo = []string{"-L", r.iface, kind, strconv.Itoa(have)}
	time.Sleep(linkUp)
	return r, nil
}

// linkUp is how long a link takes that goes down with a change of its queues.
const linkUp = 2 * time.Second

// channels is how many queues an interface of this namespace receives with, and how
// ethtool calls those of its driver. An interface that does not say has one.
func channels(iface string) (kind string, n int) {
	out, err := exec.Command("ethtool", "-l", iface).Output()
	if err != nil {
		return "combined", 1
	}
	return parseChannels(string(out))
}

func parseChannels(said string) (kind string, n int) {
	_, now, _ := strings.Cut(said, "Current hardware settings:")
	for line := range strings.Lines(now) {
		name, value, _ := strings.Cut(line, ":")
		count, _ := strconv.Atoi(strings.TrimSpace(value)) // "n/a" is 0, too
		switch {
		case name == "Combined" && count > 0:
			return "combined", count
		case name == "RX" && count > 0:
			kind, n = "rx", count
		}
	}
	if n == 0 {
		return "combined", 1
	}
	return kind, n
}

func (r *rig) close() error {
	if r.link != nil {
		return r.link.Close()
	}
	var errs []error
	if r.floor {
		errs = append(errs, r.do("ip", "link", "set", "dev", r.iface, "xdpdrv", "off"))
	}
	if r.undo != nil {
		errs = append(errs, r.do("ethtool", r.undo...))
		time.Sleep(linkUp) // the next measurement may use the queues as they are
	}
	return errors.Join(errs...)
}

// command prepares a program at the receiving end.
func (r *rig) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	if r.link != nil {
		return r.link.Command(ctx, netns.B, name, args...)
	}
	return exec.CommandContext(ctx, name, args...)
}

// do runs a program at the receiving end.
func (r *rig) do(name string, args ...string) error {
	if out, err := r.command(context.Background(), name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("run %s %s: %w: %s", name, strings.Join(args, " "), err, bytes.TrimSpace(out))
	}
	return nil
}

// within calls f in the network namespace of an end.
func (r *rig) within(side int, f func() error) error {
	if r.link != nil {
		return r.link.Do(side, f)
	}
	return f()
}

// thread puts the receiving threads up. The interface must have NAPI by then: an
// XDP program, or GRO.
func (r *rig) thread() error {
	if r.link == nil {
		return nil
	}
	if err := r.do("sh", "-c", "echo 1 > /sys/class/net/"+r.iface+"/threaded"); err != nil {
		return err
	}
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		found, err := r.threads()
		if err != nil {
			return err
		}
		if len(found) > 0 {
			r.napi = found
			return r.pin()
		}
	}
	return fmt.Errorf("look for receiving threads of %s: there are none; the kernel needs threaded NAPI", r.iface)
}

// threads finds the receiving threads by their names.
func (r *rig) threads() (found []int, err error) {
	names, err := filepath.Glob("/proc/[0-9]*/comm")
	if err != nil {
		return nil, fmt.Errorf("look for receiving threads: %w", err)
	}
	for _, name := range names {
		b, _ := os.ReadFile(name)
		if !strings.HasPrefix(string(b), "napi/"+r.iface+"-") {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(name)))
		if err != nil {
			return nil, fmt.Errorf("look for receiving threads: %w", err)
		}
		found = append(found, pid)
	}
	return found, nil
}

func (r *rig) pin() error {
	for i, pid := range r.napi {
		var set unix.CPUSet
		set.Set(r.bench.Receive[i%len(r.bench.Receive)])
		if err := unix.SchedSetaffinity(pid, &set); err != nil {
			return fmt.Errorf("pin receiving thread: %w", err)
		}
		if r.bench.Share {
			continue
		}
		if err := unix.SchedSetAttr(pid, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: 1}, 0); err != nil {
			return fmt.Errorf("let receiving thread run first: %w", err)
		}
	}
	return nil
}

// send sends from the other end.
func (r *rig) send(ctx context.Context, o replay.Options) (replay.Result, error) {
	var res replay.Result
	o.Iface, o.CPUs = r.from, r.bench.Send
	err := r.within(netns.A, func() (err error) {
		res, err = replay.Send(ctx, o)
		return err
	})
	return res, err
}

// received is how many frames have come to the XDP program of the receiving
// interface, or to its stack.
func (r *rig) received() (uint64, error) {
	var b []byte
	err := r.within(netns.B, func() (err error) {
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

// kernel is the processor time that receiving has taken in the kernel, ns: that of the
// threads, or of a wire that of interrupts on the receiving CPUs, to 10 ms.
func (r *rig) kernel() (total float64) {
	for _, pid := range r.napi {
		total += ran(pid)
	}
	if r.link != nil {
		return total
	}
	return interrupts(r.bench.Receive)
}

// interrupts is the time that CPUs have spent in interrupts, hard and soft, ns.
func interrupts(cpus []int) (total float64) {
	const tick = 1e9 / 100 // of USER_HZ
	b, _ := os.ReadFile("/proc/stat")
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) < 8 {
			continue
		}
		for _, cpu := range cpus {
			if f[0] == "cpu"+strconv.Itoa(cpu) {
				irq, _ := strconv.ParseFloat(f[6], 64)
				soft, _ := strconv.ParseFloat(f[7], 64)
				total += (irq + soft) * tick
			}
		}
	}
	return total
}
