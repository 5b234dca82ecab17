package bpf

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

//go:generate go tool bpf2go -target bpfel -cflags "-O2 -g -Wall -Werror -mcpu=v3" -type frame -type field -type plan -type state -type tally sender sender.bpf.c -- -I include

// SenderFrame is a frame to send.
type SenderFrame struct {
	Data  []byte
	Due   uint64 // after the begin of the pass, 1/1024 ns
	Place uint32 // in the pass of all senders

	// Where the IP header, the transport header and its checksum begin (0: there
	// is none), and where the IP packet ends.
	IP, L4, Sum, End int
	IPv6             bool
}

// SenderField is a place that is different in every frame: it says what the
// frame holds plus Step × (n / Each modulo Count) in frame number n. Size is 2 or 4
// bytes in network order, or 8 hexadecimal digits.
type SenderField struct{ At, Each, Count, Step, Size uint32 }

// SenderPlan says what a Sender sends.
type SenderPlan struct {
	Iface    int // index of the interface
	Frames   []SenderFrame
	Fields   []SenderField
	Pass     uint64 // frames in a pass of all senders
	Total    uint64 // frames to send
	Paced    bool   // otherwise as fast as possible
	Period   uint64 // from pass to pass, 1/1024 ns
	Patience uint64 // how late a frame may be before all that follows is shifted, ns
	Burst    uint32 // frames to make before they are handed to the driver, 1 to 256
	Tries    uint32 // runs of the program for each frame: more than 1 if it waits for long
}

// MaxSenderFrame is the most bytes that a frame of a Sender can have.
const MaxSenderFrame = 2048

// Sender makes frames in the kernel and sends them on an interface, with live
// frames of BPF_PROG_TEST_RUN: for benchmarks. The interface need have no XDP
// program; if it is a veth, its peer needs one, or GRO.
type Sender struct {
	objects struct {
		senderMaps
		Make *ebpf.Program `ebpf:"sender_make"`
	}
	plan SenderPlan
	room []byte // the longest frame
}

// NewSender loads a Sender, to be used in the network namespace of the interface.
func NewSender(p SenderPlan) (*Sender, error) {
	s := &Sender{plan: p}
	spec, err := loadSender()
	if err != nil {
		return nil, err
	}
	spec.Maps[senderMapFrames].MaxEntries = uint32(len(p.Frames))
	if err := spec.LoadAndAssign(&s.objects, nil); err != nil {
		return nil, fmt.Errorf("load sender: %w", err)
	}
	if err := s.fill(); err != nil {
		s.Close()
		return nil, fmt.Errorf("fill sender: %w", err)
	}
	return s, nil
}

// fill writes the plan into the maps.
func (s *Sender) fill() error {
	for i, f := range s.plan.Frames {
		if len(f.Data) > MaxSenderFrame {
			return fmt.Errorf("frame %d has %d bytes, more than %d", i, len(f.Data), MaxSenderFrame)
		}
		to := senderFrame{Due: f.Due, Place: f.Place, Len: uint16(len(f.Data)), Ip: uint16(f.IP), L4: uint16(f.L4), Sum: uint16(f.Sum), End: uint16(f.End)}
		if f.IPv6 {
			to.V6 = 1
		}
		copy(to.Data[:], f.Data)
		if err := s.objects.Frames.Put(uint32(i), &to); err != nil {
			return err
		}
		if len(f.Data) > len(s.room) {
			s.room = make([]byte, len(f.Data))
		}
	}
	for i, f := range s.plan.Fields {
		if err := s.objects.Fields.Put(uint32(i), &senderField{At: f.At, Each: max(f.Each, 1), Count: f.Count, Step: f.Step, Size: f.Size}); err != nil {
			return err
		}
	}
	p := senderPlan{
		Period: s.plan.Period, Pass: s.plan.Pass, Total: s.plan.Total, Patience: s.plan.Patience,
		Frames: uint32(len(s.plan.Frames)), Fields: uint32(len(s.plan.Fields)),
	}
	if s.plan.Paced {
		p.Paced = 1
	}
	return s.objects.Plans.Put(uint32(0), &p)
}

// SenderState is how far a Sender has come.
type SenderState struct {
	Made, Bytes uint64 // frames given to the driver
	Slipped     uint64 // how much later than planned the next one is, ns
	Took        uint64 // from the first to about the last, ns
}

// senderRuns is how often the program runs before Send looks whether it is to
// stop. To begin and to end costs grace periods of RCU, some 0.1 s; runs that
// are left over when there is nothing more to do cost some 0.1 µs each.
const senderRuns = 1 << 23

// Send sends all frames. It returns when all are sent, or about a second after Stop. Its goroutine should be locked to a
// thread: the kernel is busy with it for as long as it lasts.
func (s *Sender) Send() (SenderState, error) {
	// struct xdp_md: the frame begins at 0, and comes in on the interface.
	type context struct{ Data, End, Meta, Ingress, Queue, Egress uint32 }
	for {
		st, stop, err := s.state()
		done := SenderState{Made: st.Made, Bytes: st.Bytes, Slipped: st.Slipped, Took: st.Last - st.Began}
		if err != nil {
			return done, fmt.Errorf("read progress of sender: %w", err)
		}
		if st.Failed > 0 {
			return done, fmt.Errorf("make frames: %d failed, the first after %d", st.Failed, st.Made)
		}
		left := s.plan.Total - st.Made
		if left == 0 || stop {
			return done, nil
		}
		// A run that a signal interrupted is begun anew; the program counts for
		// itself, and makes no frame too many.
		_, err = s.objects.Make.Run(&ebpf.RunOptions{
			Data:      s.room,
			Context:   context{End: uint32(len(s.room)), Ingress: uint32(s.plan.Iface)},
			Repeat:    uint32(min(min(left, senderRuns)*uint64(max(s.plan.Tries, 1)), senderRuns)),
			Flags:     unix.BPF_F_TEST_XDP_LIVE_FRAMES,
			BatchSize: s.plan.Burst,
		})
		if err != nil {
			return done, fmt.Errorf("run sender (live frames need Linux 5.18, and root): %w", err)
		}
	}
}

func (s *Sender) state() (st senderState, stop bool, err error) {
	var flag uint32
	err = errors.Join(s.objects.States.Lookup(uint32(0), &st), s.objects.Stops.Lookup(uint32(0), &flag))
	return st, flag != 0, err
}

// Stop ends Send before its time. It may be called at any time between NewSender and Close.
func (s *Sender) Stop() error {
	if err := s.objects.Stops.Put(uint32(0), uint32(1)); err != nil {
		return fmt.Errorf("stop sender: %w", err)
	}
	return nil
}

// Close unloads the sender.
func (s *Sender) Close() error {
	err := s.objects.senderMaps.Close()
	if s.objects.Make != nil {
		err = errors.Join(err, s.objects.Make.Close())
	}
	return err
}

// Taken counts the frames that the driver of an interface takes from XDP
// programs, of a Sender or any other.
type Taken struct {
	objects struct {
		Taken *ebpf.Map     `ebpf:"taken"`
		Count *ebpf.Program `ebpf:"sender_count"`
	}
	link link.Link
}

// NewTaken begins to count on the interface with an index in a network
// namespace, which is named by the inode of /proc/thread-self/ns/net.
func NewTaken(iface int, netns uint32) (*Taken, error) {
	spec, err := loadSender()
	if err != nil {
		return nil, err
	}
	t := &Taken{}
	if err := errors.Join(spec.Variables["sender_ifindex"].Set(int32(iface)), spec.Variables["sender_netns"].Set(netns)); err != nil {
		return nil, fmt.Errorf("set up counting of frames: %w", err)
	}
	if err := spec.LoadAndAssign(&t.objects, nil); err != nil {
		return nil, fmt.Errorf("load counting of frames (needs BTF in the kernel): %w", err)
	}
	if t.link, err = link.AttachTracing(link.TracingOptions{Program: t.objects.Count}); err != nil {
		return nil, errors.Join(fmt.Errorf("attach counting of frames: %w", err), t.Close())
	}
	return t, nil
}

// Count is how many frames were taken, and how many were refused.
func (t *Taken) Count() (sent, refused uint64, err error) {
	var each []senderTally
	if err := t.objects.Taken.Lookup(uint32(0), &each); err != nil {
		return 0, 0, fmt.Errorf("read counts of frames: %w", err)
	}
	for _, c := range each {
		sent += c.Sent
		refused += c.Refused
	}
	return sent, refused, nil
}

// Close ends the counting.
func (t *Taken) Close() error {
	var errs []error
	if t.link != nil {
		errs = append(errs, t.link.Close())
	}
	return errors.Join(append(errs, t.objects.Count.Close(), t.objects.Taken.Close())...)
}
