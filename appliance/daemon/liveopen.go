package daemon

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"ringside/dataplane/frame"
	"ringside/dataplane/nic"
	"ringside/dataplane/ring"
)

// ErrNoInterface is why an interface is not captured that is not there.
var ErrNoInterface = errors.New("there is no such interface")

// openPort puts up what an interface is captured with: its counters first, then
// the filter, then the rings.
func openPort(o CaptureOptions, name string, index uint16) (*port, error) {
	p := &port{name: name}
	if err := p.open(o, index); err != nil {
		return nil, errors.Join(err, p.close())
	}
	return p, nil
}

func (p *port) open(o CaptureOptions, index uint16) error {
	if err := p.openNIC(&o); err != nil {
		return err
	}
	p.read()
	before := p.seen.nic.Packets
	socket, err := p.openFilter(o, index)
	if err != nil {
		return err
	}
	if err := p.openRings(o, index, socket); err != nil {
		return err
	}
	p.read()
	p.slack = p.seen.nic.Packets - before
	return nil
}

// openNIC opens the counters of the interface, and says what it is. Of one that
// is dedicated to the capture it turns off what would change frames.
func (p *port) openNIC(o *CaptureOptions) error {
	n, err := nic.Open(p.name)
	if errors.Is(err, nic.ErrGone) {
		return fmt.Errorf("capture from %s: %w: %s", p.name, ErrNoInterface, interfaces())
	}
	if err != nil {
		p.say("%s: its counters cannot be read, and the ledger begins behind them: %v", p.name, err)
		return nil
	}
	p.undo = append(p.undo, n.Close)
	p.nic = func() (nicCounts, error) { c, err := n.Counters(); return countsOf(&c), err }
	if soft, err := nic.OpenSoftnet(); err == nil {
		p.host = func() uint64 { c, _, _ := soft.Read(); return c.Dropped + c.FlowLimit }
	}
	s, err := n.State()
	if err != nil {
		p.say("%s: what it is cannot be found out: %v", p.name, err)
		return nil
	}
	p.say("%s: %s", p.name, describeNIC(&s))
	switch used := s.Shared(); {
	case o.Dedicated && s.DefaultRoute:
		return fmt.Errorf("capture from %s: %s: --dedicated would cut this host off: leave it out", p.name, used)
	case o.Dedicated && used != "":
		p.say("%s: %s: as it is --dedicated, traffic of the host's own is dropped there", p.name, used)
	case !o.Dedicated && used == "":
		p.say("%s: the host does not use it itself: with --dedicated the kernel drops what is not wanted, and measures RTP", p.name)
	}
	if !o.Dedicated {
		if len(s.Offloads) > 0 {
			p.say("%s: %s change frames, and stay on, as the interface is not --dedicated", p.name, strings.Join(s.Offloads, ", "))
		}
		return nil
	}
	stay, restore, err := n.Quiet()
	if err != nil {
		p.say("%s: offloads that change frames stay on: %v", p.name, err)
		return nil
	}
	p.undo = append(p.undo, restore)
	if len(stay) > 0 {
		p.say("%s: the driver keeps %s on, which change frames", p.name, strings.Join(stay, ", "))
	}
	return nil
}

// describeNIC is what an interface is, in words.
func describeNIC(s *nic.State) string {
	parts := []string{cmp.Or(s.Driver, s.Kind, "interface")}
	if s.Speed > 0 {
		parts = append(parts, fmt.Sprintf("%d Mbit/s", s.Speed))
	}
	if s.Queues > 0 {
		q := fmt.Sprintf("%d %s", s.Queues, nouns(s.Queues, "queue"))
		if s.Ring > 0 {
			q += fmt.Sprintf(" of %d frames", s.Ring)
			if s.MaxRing > s.Ring {
				q += fmt.Sprintf(" (ethtool -G %s rx %d gives it more)", s.Name, s.MaxRing)
			}
		}
		parts = append(parts, q)
	}
	return strings.Join(append(parts, fmt.Sprintf("MTU %d", s.MTU)), ", ")
}

// countsOf are the counters as the ledger has them: what the driver says is lost,
// else what all drivers have a counter for.
func countsOf(c *nic.Counters) nicCounts {
	out := nicCounts{Packets: c.Packets, Bytes: c.Bytes, Lost: []LiveRow{{Reason: "dropped", Packets: c.Dropped}, {Reason: "damaged", Packets: c.Errors}}}
	for _, l := range c.Losses {
		out.Lost = append(out.Lost, LiveRow{Reason: l.Name, Packets: l.Count})
	}
	if len(c.Losses) == 0 {
		out.Lost = append(out.Lost, LiveRow{Reason: "no room", Packets: c.Lost})
	}
	return out
}

func (p *port) say(format string, args ...any) { p.said = append(p.said, fmt.Sprintf(format, args...)) }

// openRings opens the rings of the interface.
func (p *port) openRings(o CaptureOptions, index uint16, socket int) error {
	r := ring.Options{
		Iface: p.name, Index: index, Rings: max(1, o.Rings), Memory: cmp.Or(o.RingMemory, defaultRingMemory), Promiscuous: true,
		SocketFilter: socket,
	}
	switch {
	case r.Rings == 1:
	case p.cpus != nil:
		r.Fanout = ring.FanoutCPU
	case o.Steer == steerQueue:
		r.Fanout = ring.FanoutQM
	default:
		r.Fanout = ring.FanoutFlow
	}
	s, err := ring.Open(r)
	switch {
	case errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENXIO):
		return fmt.Errorf("capture from %s: %w: %s", p.name, ErrNoInterface, interfaces())
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w: run as root, or give the program the rights: setcap cap_net_raw,cap_net_admin,cap_bpf,cap_perfmon+ep", err)
	case errors.Is(err, unix.ENOMEM):
		return fmt.Errorf("%w: %d MiB of rings may be too much: choose a smaller --ringbuffer", err, r.Memory>>20)
	case err != nil:
		return err
	}
	p.rings = ringSet{s, r.Memory}
	p.undo = append(p.undo, s.Close)
	how := ""
	if r.Rings > 1 {
		how = fmt.Sprintf(", packets dealt out by %v", r.Fanout)
	}
	p.say("%s: %d %s, %d MiB%s", p.name, r.Rings, nouns(r.Rings, "ring"), r.Memory>>20, how)
	if st := s.State(); !st.Capturing {
		p.say("%s: %s: nothing is captured until that changes", p.name, st.Text)
	}
	return nil
}

func nouns(n int, noun string) string {
	if n == 1 {
		return noun
	}
	return noun + "s"
}

// interfaces names those that there are.
func interfaces() string {
	list, err := os.ReadDir("/sys/class/net")
	var names []string
	for _, e := range list {
		names = append(names, e.Name())
	}
	if err != nil || len(names) == 0 {
		return `"ip link" lists what there is`
	}
	return "there are " + strings.Join(names, ", ")
}

// ringSet are the rings of an interface, as a port sees them.
type ringSet struct {
	*ring.Set
	memory int64
}

var _ rings = ringSet{}

func (r ringSet) Len() int                  { return r.Rings() }
func (r ringSet) Source(i int) frame.Source { return r.Ring(i) }
func (r ringSet) Stop()                     { _ = r.Set.Stop() }

func (r ringSet) State() (string, uint64) {
	s := r.Set.State()
	if s.Capturing {
		return "", s.Interruptions
	}
	return s.Text, s.Interruptions
}

// frameOverhead is what a frame takes in a block beside its bytes: its header
// and what that is aligned to.
const frameOverhead = 82

func (r ringSet) Counts() ringCounts {
	s := r.Stats()
	c := ringCounts{Packets: s.Received - min(s.Received, s.Drops), Dropped: s.Drops, Delivered: s.Packets + s.Damaged, Bytes: s.Bytes}
	if waiting := float64(c.Packets) - float64(c.Delivered); waiting > 0 {
		each := frameOverhead + float64(s.Bytes)/float64(max(s.Packets, 1))
		c.Held = min(1, waiting*each/float64(r.memory))
	}
	return c
}
