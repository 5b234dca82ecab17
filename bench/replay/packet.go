package replay

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// sendPacket sends with AF_PACKET sockets.
func sendPacket(ctx context.Context, o *Options, iface *net.Interface) (Result, error) {
	loads := deal(o)
	plan := newSchedule(o, int(loads[0].pass))
	senders := make([]packetSender, len(loads))
	defer func() {
		for i := range senders {
			if senders[i].open {
				_ = senders[i].out.close()
				_ = unix.Close(senders[i].fd)
			}
		}
	}()
	for i := range senders {
		// Here, since the threads of the senders are in another namespace. The
		// sockets keep to this one.
		fd, err := openSocket(iface, !o.Flows)
		if err != nil {
			return Result{}, fmt.Errorf("send on %s: %w", o.Iface, err)
		}
		senders[i] = packetSender{o: o, fd: fd, open: true, out: &batch{}}
		longest := senders[i].prepare(&loads[i])
		if o.Engine != Ring {
			continue
		}
		r, err := newRing(fd, longest)
		if err != nil {
			return Result{}, fmt.Errorf("send on %s: %w", o.Iface, err)
		}
		senders[i].out = r
	}
	began := time.Now()
	return gather(loads, func(i int, _ *load) (Result, error) {
		// Never unlocked: a thread with an affinity ends with its goroutine.
		runtime.LockOSThread()
		if err := pin(o.CPUs, i); err != nil {
			return Result{}, err
		}
		s := &senders[i]
		s.clock = clock{schedule: &plan, began: began}
		err := s.run(ctx)
		s.result.Slipped = s.clock.slipped
		return s.result, err
	})
}

// openSocket opens a socket that sends on an interface and receives nothing.
func openSocket(iface *net.Interface, bypass bool) (int, error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("open packet socket (needs CAP_NET_RAW): %w", err)
	}
	fail := func(what string, err error) (int, error) {
		_ = unix.Close(fd)
		return -1, fmt.Errorf("%s: %w", what, err)
	}
	if bypass {
		if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_QDISC_BYPASS, 1); err != nil {
			return fail("bypass the queueing discipline", err)
		}
	}
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Ifindex: iface.Index}); err != nil {
		return fail("bind packet socket", err)
	}
	return fd, nil
}

// pin keeps the calling thread on the CPU of a sender, if there are any.
func pin(cpus []int, sender int) error {
	if len(cpus) == 0 {
		return nil
	}
	var set unix.CPUSet
	cpu := cpus[sender%len(cpus)]
	set.Set(cpu)
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		return fmt.Errorf("run sender %d on CPU %d: %w", sender, cpu, err)
	}
	return nil
}

// outlet gathers frames, at most burst, and sends them with one call.
type outlet interface {
	room(ctx context.Context) error // waits until one more frame can be added
	add(frame []byte)
	frames() int
	length(i int) uint64
	// send offers the frames from a place on. It returns how many were taken; none
	// if the first one was refused, with the reason.
	send(fd, from int) (int, error)
	clear()
	close() error
}

// packetSender is one thread that sends.
type packetSender struct {
	o      *Options
	fd     int
	open   bool
	shots  []shot
	pass   uint64
	out    outlet
	copies [burst][]byte // of frames that are changed before they are sent
	clock  clock
	result Result
}

// shot is a frame as it is prepared for sending.
type shot struct {
	data  []byte
	place int
	layout
	edits []edit
}

// prepare looks once at each frame, and says how long the longest one is.
func (s *packetSender) prepare(l *load) (longest int) {
	s.pass = l.pass
	s.shots = make([]shot, len(l.frames))
	for i, f := range l.frames {
		longest = max(longest, len(f.Data))
		s.shots[i] = shot{data: f.Data, place: l.places[i], layout: layoutOf(f.Data)}
		if s.o.Rewrite {
			s.shots[i].edits = findEdits(f.Data, &s.shots[i].layout)
		}
	}
	if s.o.Rewrite || len(s.o.Fields) > 0 {
		all := make([]byte, burst*longest)
		for i := range s.copies {
			s.copies[i] = all[i*longest : (i+1)*longest]
		}
	}
	return longest
}

// run sends all passes.
func (s *packetSender) run(ctx context.Context) error {
	for loop := uint64(0); s.o.Loops < 0 || loop < uint64(s.o.Loops); loop++ {
		for i := range s.shots {
			for {
				left := s.clock.wait(loop, s.shots[i].place)
				if left <= 0 {
					break
				}
				if err := s.flush(ctx); err != nil {
					return err
				}
				if err := ctx.Err(); err != nil {
					return err
				}
				sleep(ctx, left)
			}
			if err := s.out.room(ctx); err != nil {
				return err
			}
			s.out.add(s.frame(&s.shots[i], loop))
			if s.out.frames() == burst {
				if err := s.flush(ctx); err != nil {
					return err
				}
			}
		}
	}
	return s.flush(ctx)
}

// frame is what a shot looks like in a pass.
func (s *packetSender) frame(sh *shot, loop uint64) []byte {
	if len(s.o.Fields) == 0 && (loop == 0 || len(sh.edits) == 0) {
		return sh.data
	}
	b := s.copies[s.out.frames()][:len(sh.data)]
	copy(b, sh.data)
	if loop > 0 {
		for i := range sh.edits {
			sh.edits[i].apply(b, &sh.layout, loop)
		}
	}
	for i := range s.o.Fields {
		s.o.Fields[i].put(b, &sh.layout, loop*s.pass+uint64(sh.place))
	}
	sh.reseal(b)
	return b
}

// flush sends the batch.
func (s *packetSender) flush(ctx context.Context) error {
	for from := 0; from < s.out.frames(); {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := s.out.send(s.fd, from)
		switch {
		case err == nil:
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.ENOBUFS), errors.Is(err, unix.EAGAIN), errors.Is(err, unix.ENETDOWN):
			s.result.Refused++
			if !s.o.Retry {
				from++
				continue
			}
			time.Sleep(50 * time.Microsecond)
		case errors.Is(err, unix.EMSGSIZE):
			return fmt.Errorf("send on %s: a frame of %d bytes is longer than the interface takes; raise its MTU", s.o.Iface, s.out.length(from))
		default:
			return fmt.Errorf("send on %s: %w", s.o.Iface, err)
		}
		for i := range n {
			s.result.Bytes += s.out.length(from + i)
		}
		s.result.Sent += uint64(n)
		from += n
	}
	s.out.clear()
	return nil
}
