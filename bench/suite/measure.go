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

	"ringside/bench/netns"
	"ringside/bench/replay"
	"ringside/bench/report"
)

// trial is one measurement: a subject, under a load, at a rate.
type trial struct {
	on     *subject
	load   *load
	rate   float64 // packets a second; 0: as fast as the kernel can make them
	span   time.Duration
	queues int  // 0: one of a veth, as many as there are of a wire
	where  bool // ask where packets were lost; takes a second
}

// outcome is what became of the traffic of one trial. Packets are those of the
// load's main part.
type outcome struct {
	offered, refused, arrived, handled uint64
	rate                               float64       // offered in a second
	kernel, program                    float64       // processor time of the receiving threads and of the program, ns
	behind                             float64       // that of the program after the last packet was sent, ns
	took                               float64       // s
	stolen                             time.Duration // of the CPUs, by the host of a virtual machine
	memory                             float64       // growth of the program, KiB
	threads                            []report.Share
	drops                              []report.Drop
	records                            report.Records
	command, xdp                       string
	blind                              bool // nobody knows what it has handled
}

// lost is the share that the program has not handled: of packets, or of calls in
// the records, whichever is more.
func (r outcome) lost() float64 {
	lost := 0.0
	if r.offered > 0 {
		lost = 1 - float64(min(r.handled, r.offered))/float64(r.offered)
	}
	if c := r.records; c.Known && c.Calls > 0 {
		lost = max(lost, 1-float64(min(c.CallsFound, c.Calls))/float64(c.Calls))
	}
	return lost
}

func (r outcome) delivered() float64 { return float64(r.handled) / r.took }

// cost is the processor time of a packet that arrived, ns.
func (r outcome) cost() (kernel, program float64) {
	n := float64(max(r.arrived, 1))
	return r.kernel / n, r.program / n
}

// errTime is why nothing more is measured.
var errTime = errors.New("not measured: the time was over (--budget)")

// insist measures, and once more if that fails: programs, and a machine that others
// use, fail for reasons that a second try does not have. What is void is measured again while
// there is patience.
func (b *Bench) insist(ctx context.Context, t trial) (outcome, error) {
	for failed := false; ; {
		if !b.until.IsZero() && time.Now().After(b.until) {
			return outcome{}, errTime
		}
		began := time.Now()
		r, err := b.measure(ctx, t)
		switch {
		case err != nil && !failed && ctx.Err() == nil:
			failed = true
		case err != nil || !b.void(&r) || !b.quiet(ctx, time.Since(began)):
			return r, err
		default:
			b.again++
		}
	}
}

// measure runs a subject once.
func (b *Bench) measure(ctx context.Context, t trial) (r outcome, err error) {
	rig, err := b.newRig(t.queues)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, rig.close()) }()
	dir, err := os.MkdirTemp(b.Folder, "ringbench-")
	if err != nil {
		return r, fmt.Errorf("make folder: %w", err)
	}
	defer os.RemoveAll(dir)
	at := &place{bench: b, iface: rig.iface, dir: dir, queues: t.queues}
	p, err := b.begin(ctx, rig, t.on, at)
	if err != nil {
		return r, err
	}
	defer p.kill()
	if err := rig.thread(); err != nil {
		return r, err
	}
	around := uint64(0) // frames that were sent before and after the main part
	empty := resident(p.pid())
	if !t.on.quiet && len(t.load.begin) > 0 {
		sent, err := rig.send(ctx, sip(t.load.begin))
		if err != nil {
			return r, err
		}
		around += sent.Sent
		time.Sleep(b.Settle)
	}
	if err := b.sendMain(ctx, rig, p, t, &r); err != nil {
		return r, err
	}
	r.memory = resident(p.pid()) - empty
	if t.where && t.on.keeps {
		arrived, err := rig.received()
		if err != nil {
			return r, err
		}
		if r.drops, err = drops(filepath.Join(dir, controlName), arrived); err != nil {
			return r, err
		}
		if r.refused > 0 {
			r.drops = append([]report.Drop{{Stage: "sender", Reason: "refused by the driver", Packets: r.refused}}, r.drops...)
		}
		for i := range r.drops {
			r.drops[i].Of = r.offered
		}
	}
	if !t.on.quiet && len(t.load.end) > 0 {
		sent, err := rig.send(ctx, sip(t.load.end))
		if err != nil {
			return r, err
		}
		around += sent.Sent
		time.Sleep(b.Settle / 3)
	}
	if t.on.peer != nil {
		time.Sleep(t.on.peer.Holds)
	}
	said, err := p.end(ctx, t.on.peer == nil)
	if err != nil {
		return r, err
	}
	return r, r.read(t, said, around)
}

// sendMain sends what is measured, between two looks at all counters.
func (b *Bench) sendMain(ctx context.Context, rig *rig, p *process, t trial, r *outcome) error {
	before, err := rig.received()
	if err != nil {
		return err
	}
	kernel, threads, stolen := rig.kernel(), threadTimes(p.pid()), b.stolen()
	o := t.load.main(t.rate, t.span)
	if b.From != "" && o.Engine == replay.XDP && len(o.Fields) > 0 {
		o.Engine = b.Engine
	}
	if t.load.spread {
		o.Senders = len(b.Send)
	}
	sent, err := rig.send(ctx, o)
	if err != nil {
		return err
	}
	r.behind = -ran(p.pid())
	time.Sleep(b.Settle)
	r.behind += ran(p.pid())
	r.stolen = b.stolen() - stolen
	after, err := rig.received()
	if err != nil {
		return err
	}
	r.offered, r.arrived, r.took = sent.Sent, after-before, sent.Took.Seconds()
	if o.Engine != replay.Ring {
		// What a ring is refused it offers again: nothing of it is lost.
		r.offered, r.refused = sent.Sent+sent.Refused, sent.Refused
	}
	if r.took <= 0 || r.offered == 0 {
		return errors.New("send: nothing was sent")
	}
	r.rate = float64(r.offered) / r.took
	now := threadTimes(p.pid())
	for tid, ns := range now {
		r.program += ns - threads[tid]
	}
	r.kernel = rig.kernel() - kernel
	r.threads = shares(p.pid(), threads, now, r.took+b.Settle.Seconds())
	if r.kernel > 0 {
		r.threads = append([]report.Share{{Thread: "kernel, receiving", Share: r.kernel / 1e9 / (r.took + b.Settle.Seconds())}}, r.threads...)
	}
	r.command = commandOf(p)
	return nil
}

// read reads what the subject has said at its end.
func (r *outcome) read(t trial, said string, around uint64) (err error) {
	r.handled, r.blind = r.arrived, t.on.count == nil && t.on.peer != nil
	if m := reFilter.FindStringSubmatch(said); m != nil {
		r.xdp = m[1]
	}
	if t.on.peer == nil {
		if err := sound(said); err != nil {
			return err
		}
	}
	if t.on.count != nil {
		if r.handled, err = t.on.count(said); err != nil {
			return err
		}
		if t.on.all {
			r.handled -= min(r.handled, around)
		}
	}
	if calls := t.load.sent(r.offered); t.on.keeps && calls > 0 {
		r.records = report.Records{Known: true, Calls: calls}
		r.records.CallsFound, r.records.PacketsHere = records(said)
		if t.load.fixed > 0 {
			r.records.Packets = r.offered
		}
	}
	return nil
}

// begin starts a subject at the receiving end.
func (b *Bench) begin(ctx context.Context, r *rig, on *subject, at *place) (*process, error) {
	if on.peer != nil && r.link != nil {
		if err := r.do("ethtool", "-K", r.iface, "gro", "on"); err != nil {
			return nil, err
		}
	}
	if on.args == nil {
		return &process{}, b.beginFloor(ctx, r)
	}
	args, err := on.args(at)
	if err != nil {
		return nil, err
	}
	var cpus []string
	for _, cpu := range b.Receive {
		cpus = append(cpus, strconv.Itoa(cpu))
	}
	return start(r.command(ctx, "taskset", append([]string{"-c", strings.Join(cpus, ",")}, args...)...), on.ready)
}

// beginFloor attaches the program that reads headers and drops.
func (b *Bench) beginFloor(ctx context.Context, r *rig) error {
	args := []string{"link", "set", "dev", r.iface, "xdpdrv", "obj", b.Floor, "sec", "xdp.frags"}
	if r.link != nil {
		// With -n, and not in the namespace: there /sys is another one.
		args = append([]string{"-n", r.link.Side(netns.B).Namespace}, args...)
	}
	if out, err := exec.CommandContext(ctx, "ip", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("attach %s: %w: %s", b.Floor, err, bytes.TrimSpace(out))
	}
	if r.link == nil {
		r.floor = true
	}
	return nil
}

// commandOf is the command line of a program for people: without what brings it to
// its place, and without the folders of this run.
func commandOf(p *process) string {
	if p.cmd == nil {
		return ""
	}
	args := p.cmd.Args
	for i, a := range args {
		if a == "taskset" && i+3 <= len(args) {
			args = args[i+3:]
			break
		}
	}
	out := make([]string, len(args))
	for i, a := range args {
		switch dir, rest, ok := strings.Cut(a, "/ringbench-"); {
		case i == 0:
			a = filepath.Base(a)
		case ok && filepath.IsAbs(dir):
			if _, file, ok := strings.Cut(rest, "/"); ok {
				a = "DIR/" + file
			} else {
				a = "DIR"
			}
		case strings.HasPrefix(a, "rb") && i > 0 && args[i-1] == "-i":
			a = "IFACE"
		}
		out[i] = a
	}
	return strings.Join(out, " ")
}
