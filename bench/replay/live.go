package replay

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"ringside/bpf"
)

// mostLive is how many frames a sender of the engine xdp keeps in the kernel, 2 KiB each.
const mostLive = 1 << 17

// sendXDP sends with programs that make frames in the kernel.
func sendXDP(ctx context.Context, o *Options, iface *net.Interface) (Result, error) {
	// Whatever a thread does in the kernel, it does in its own namespace.
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return Result{}, fmt.Errorf("send on %s: %w", o.Iface, err)
	}
	defer home.Close()
	var stat unix.Stat_t
	if err := unix.Fstat(int(home.Fd()), &stat); err != nil {
		return Result{}, fmt.Errorf("send on %s: %w", o.Iface, err)
	}
	loads := deal(o)
	plan := newSchedule(o, int(loads[0].pass))
	senders := make([]*bpf.Sender, len(loads))
	defer func() {
		for _, s := range senders {
			if s != nil {
				_ = s.Close()
			}
		}
	}()
	for i := range loads {
		if len(loads[i].frames) == 0 {
			continue
		}
		if senders[i], err = newLive(o, iface, &loads[i], &plan); err != nil {
			return Result{}, fmt.Errorf("send on %s: %w", o.Iface, err)
		}
	}
	taken, err := bpf.NewTaken(iface.Index, uint32(stat.Ino))
	if err != nil {
		return Result{}, fmt.Errorf("send on %s: %w", o.Iface, err)
	}
	defer taken.Close()
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		for _, s := range senders {
			if s != nil {
				_ = s.Stop()
			}
		}
	})
	defer func() {
		if !stop() {
			<-stopped // the senders are closed after that
		}
	}()

	took := make([]time.Duration, len(loads))
	r, err := gather(loads, func(i int, _ *load) (Result, error) {
		// Never unlocked: the thread ends with its goroutine.
		runtime.LockOSThread()
		if err := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); err != nil {
			return Result{}, fmt.Errorf("enter network namespace: %w", err)
		}
		if err := pin(o.CPUs, i); err != nil {
			return Result{}, err
		}
		st, err := senders[i].Send()
		took[i] = time.Duration(st.Took)
		return Result{Sent: st.Made, Bytes: st.Bytes, Slipped: time.Duration(st.Slipped)}, err
	})
	if err == nil && (o.Loops < 0 || r.Sent < uint64(o.Loops)*loads[0].pass) {
		err = ctx.Err() // nothing else ends a sender before its time
	}
	r.Took = slices.Max(took)
	return count(r, err, taken)
}

// count replaces what the senders made by what the driver took of it.
func count(r Result, err error, taken *bpf.Taken) (Result, error) {
	sent, refused, bad := taken.Count()
	if bad != nil {
		return r, errors.Join(err, bad)
	}
	made := r.Sent
	r.Sent, r.Refused = sent, refused
	if err == nil && made > 0 && sent == 0 {
		err = errors.New("the driver took none of the frames: an interface must support XDP, and the peer of a veth must have an XDP program, or GRO on")
	}
	if made > 0 {
		r.Bytes = uint64(float64(r.Bytes) / float64(made) * float64(sent))
	}
	return r, err
}

// newLive loads one sender.
func newLive(o *Options, iface *net.Interface, l *load, plan *schedule) (*bpf.Sender, error) {
	if len(l.frames) > mostLive {
		return nil, fmt.Errorf("%d frames are more than the engine xdp holds (%d); use packet", len(l.frames), mostLive)
	}
	p := bpf.SenderPlan{
		Iface: iface.Index, Pass: l.pass, Total: math.MaxUint64,
		Paced: plan.paced, Period: plan.period, Patience: uint64(plan.patience),
		Burst: burst,
	}
	if o.Loops > 0 {
		p.Total = uint64(o.Loops) * uint64(len(l.frames))
	}
	if plan.paced {
		// A burst is gathered, and the CPU does nothing else, for some 100 µs at
		// most; for so long a run of the program waits for its frame to be due.
		each := float64(plan.period) / tick / float64(len(l.frames)) // ns a frame
		p.Burst = uint32(min(max(100_000/max(each, 1), 1), burst))
		p.Tries = uint32(min(1+each/50_000, 200))
	}
	for i, f := range l.frames {
		if len(f.Data) > bpf.MaxSenderFrame {
			return nil, fmt.Errorf("frame %d has %d bytes, the engine xdp takes %d; use packet", i, len(f.Data), bpf.MaxSenderFrame)
		}
		h := layoutOf(f.Data)
		if h.proto == protoSCTP {
			h.sum = 0 // a CRC, which fields leave as it is
		}
		p.Frames = append(p.Frames, bpf.SenderFrame{
			Data: f.Data, Due: plan.offsets[l.places[i]], Place: uint32(l.places[i]),
			IP: h.ip, L4: h.l4, Sum: h.sum, End: h.end, IPv6: h.v6,
		})
	}
	for _, f := range o.Fields {
		p.Fields = append(p.Fields, bpf.SenderField{
			At: uint32(f.At), Each: max(f.Each, 1), Count: f.Count, Step: max(f.Step, 1), Size: uint32(f.Kind.size()),
		})
	}
	return bpf.NewSender(p)
}
