// Package replay sends frames from memory on an interface: what tests and
// benchmarks of live capture are fed with.
//
// Frames come from a capture file (ReadFile, Read), from bench/traffic, which
// writes such files, or are made here (RegisterFlood, RTPFlood). They are sent at
// a set rate, at the pace of the capture, or as fast as possible; once, or in a
// loop in which every pass is other calls (Options.Rewrite); by one thread or
// several.
//
// There are three engines. Packet hands frames to the driver through an AF_PACKET
// socket, past the queueing discipline: some hundred thousand frames a second and
// thread, at any pace. Ring does so from memory that it shares with the kernel
// (PACKET_TX_RING); a frame that the driver refuses is offered again, and not lost. XDP makes frames in the kernel (BPF_PROG_TEST_RUN with live
// frames), millions a second; it takes a core for itself, even at a low rate.
//
// Result says how many frames the driver really took. What the receiver's
// interface counts must be the same.
package replay

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"strings"
	"sync"
	"time"
)

// Frame is an Ethernet frame to send, without its checksum. It may lack bytes at
// the end that the capture did not keep; it is sent as it is.
type Frame struct {
	Time int64 // ns; only differences count
	Data []byte
}

// Engine is a way to send.
type Engine uint8

// Engines.
const (
	Packet Engine = iota // AF_PACKET, sendmmsg
	XDP                  // BPF live frames
	Ring                 // AF_PACKET, a transmit ring
)

// engineNames are what engines are called.
var engineNames = [...]string{Packet: "packet", XDP: "xdp", Ring: "ring"}

// String is the engine's name.
func (e Engine) String() string {
	if int(e) < len(engineNames) {
		return engineNames[e]
	}
	return "unknown"
}

// ParseEngine gives the engine of a name.
func ParseEngine(name string) (Engine, error) {
	for e, n := range engineNames {
		if n == name {
			return Engine(e), nil
		}
	}
	return 0, fmt.Errorf("no engine %q: %s", name, strings.Join(engineNames[:], ", "))
}

// Options say what to send, where and how fast.
type Options struct {
	// Iface is the name of an interface in the network namespace of the calling
	// thread (netns.Link.Do). It must be up.
	Iface  string
	Frames []Frame
	Engine Engine

	// PPS is how many frames to send in a second, all senders together. If it is
	// 0, Speed times the recorded pace; if that is 0, as fast as possible.
	PPS   float64
	Speed float64
	// Patience is how late a sender may be and still catch up, as fast as it can;
	// 0 is 1 ms. What is later shifts all that follows: a sender that was held up
	// for long must not send faster than it was asked to, or the receiver's loss
	// would be of its making. A flood that is to have its rate on average can have more.
	Patience time.Duration

	// Loops is how often to send the frames; 0 is once, less until the context ends.
	Loops int
	// Gap is the time from the last frame of a pass to the first of the next at
	// the recorded pace.
	Gap time.Duration

	// Rewrite makes every pass but the first other calls: Call-IDs, tags and
	// branches, SSRCs, and IPv4 addresses (in headers and SIP) become others of
	// the same length, checksums are mended. IPv6 addresses and ports stay, and so
	// does whatever is in tunnels, in fragments but the first, or split between
	// segments. With Packet and Ring only.
	Rewrite bool
	// Fields are different in every frame, numbered through all passes.
	Fields []Field

	// Senders is how many threads send; 0 is one. Frames between two hosts are
	// sent by one thread, in order; but with Fields each thread sends all of them,
	// with numbers that take turns. Senders that were held up lag behind others.
	Senders int
	// CPUs are the processors that senders run on, in turn. None: anywhere.
	CPUs []int

	// Flows lets the kernel choose the queue by a hash of the flow, as a NIC with
	// RSS does. Otherwise it is the sender's CPU. With Packet and Ring only.
	Flows bool
	// Retry offers a frame that the driver refused again until it is taken. The
	// interface counts each refusal as a drop. With Packet; Ring always does it.
	Retry bool
}

// Result is what became of it.
type Result struct {
	Sent    uint64        // frames that the driver took
	Bytes   uint64        // in them
	Refused uint64        // frames that it did not take, or refusals if they were tried again
	Slipped time.Duration // the senders fell behind their pace by so much at most, and did not catch up
	Took    time.Duration
}

// Rate is how many frames were sent in a second.
func (r Result) Rate() float64 { return float64(r.Sent) / r.Took.Seconds() }

// Send sends the frames and returns when the last one is out, or with the
// context's error when it ends before. Result is right in any case; with endless
// loops the end of the context is no error.
func Send(ctx context.Context, o Options) (Result, error) {
	iface, err := o.check()
	if err != nil {
		return Result{}, err
	}
	engine := sendPacket
	if o.Engine == XDP {
		engine = sendXDP
	}
	r, err := engine(ctx, &o, iface)
	if o.Loops < 0 && errors.Is(err, ctx.Err()) {
		err = nil
	}
	return r, err
}

// check fills the defaults and finds what cannot be.
func (o *Options) check() (*net.Interface, error) {
	iface, err := net.InterfaceByName(o.Iface)
	switch {
	case err != nil:
		return nil, fmt.Errorf("send on %q: %w", o.Iface, err)
	case iface.Flags&net.FlagUp == 0:
		return nil, fmt.Errorf("send on %s: it is down; run ip link set %s up", o.Iface, o.Iface)
	case len(o.Frames) == 0:
		return nil, errors.New("send: no frames")
	case len(o.Frames) > math.MaxInt32:
		return nil, fmt.Errorf("send: %d frames are too many", len(o.Frames))
	case int(o.Engine) >= len(engineNames):
		return nil, fmt.Errorf("send: no engine %d", o.Engine)
	case !(o.PPS >= 0 && o.PPS <= 1e9) || !(o.Speed >= 0 && o.Speed <= 1e9) || o.Gap < 0 || o.Patience < 0:
		return nil, fmt.Errorf("send: %v frames a second, speed %v, gap %v, patience %v: from 0 to a thousand million", o.PPS, o.Speed, o.Gap, o.Patience)
	case o.Senders < 0 || o.Senders > 256:
		return nil, fmt.Errorf("send: %d senders: 1 to 256", o.Senders)
	case o.Engine == XDP && (o.Rewrite || o.Flows || o.Retry):
		return nil, errors.New("send: the engine xdp cannot rewrite calls, choose queues by flow, or try again; use packet or ring")
	}
	o.Senders = max(o.Senders, 1)
	o.Retry = o.Retry || o.Engine == Ring
	if o.Loops == 0 {
		o.Loops = 1
	}
	if o.Patience == 0 {
		o.Patience = time.Millisecond
	}
	for i := range o.Frames {
		// A VLAN tag does not count.
		if n := len(o.Frames[i].Data); n < 14 || n > iface.MTU+14+4 {
			return nil, fmt.Errorf("send frame %d: it has %d bytes, and %s takes 14 to %d; leave it out, or raise the MTU",
				i, n, o.Iface, iface.MTU+14)
		}
	}
	return iface, checkFields(o.Fields, o.Frames)
}

// load is what one sender sends: frames with their places in the pass.
type load struct {
	frames []*Frame
	places []int
	pass   uint64 // how many frames are in a pass of all senders
}

// deal gives every sender its load.
func deal(o *Options) []load {
	loads := make([]load, o.Senders)
	if len(o.Fields) > 0 {
		for s := range loads {
			l := load{pass: uint64(len(o.Frames) * o.Senders)}
			for i := range o.Frames {
				l.frames = append(l.frames, &o.Frames[i])
				l.places = append(l.places, i*o.Senders+s)
			}
			loads[s] = l
		}
		return loads
	}
	for i := range o.Frames {
		s := 0
		if o.Senders > 1 {
			l := layoutOf(o.Frames[i].Data)
			s = int(l.hash(o.Frames[i].Data) % uint32(o.Senders))
		}
		loads[s].frames = append(loads[s].frames, &o.Frames[i])
		loads[s].places = append(loads[s].places, i)
	}
	for s := range loads {
		loads[s].pass = uint64(len(o.Frames))
	}
	return loads
}

// gather runs every sender in a goroutine of its own and adds up what they did.
func gather(loads []load, send func(sender int, l *load) (Result, error)) (Result, error) {
	results, errs := make([]Result, len(loads)), make([]error, len(loads))
	began := time.Now()
	var wg sync.WaitGroup
	for i := range loads {
		if len(loads[i].frames) > 0 {
			wg.Go(func() { results[i], errs[i] = send(i, &loads[i]) })
		}
	}
	wg.Wait()
	total := Result{Took: time.Since(began)}
	for _, r := range results {
		total.Sent += r.Sent
		total.Bytes += r.Bytes
		total.Refused += r.Refused
		total.Slipped = max(total.Slipped, r.Slipped)
	}
	// The context's error is the same for all.
	for _, err := range errs {
		if err != nil {
			return total, err
		}
	}
	return total, nil
}
