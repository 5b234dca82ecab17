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
	before := p.seen.nic.all()
	socket, err := p.openFilter(o, index)
	if err != nil {
		return err
	}
	if err := p.openRings(o, index, socket); err != nil {
		return err
	}
	p.read()
	p.slack = p.seen.nic.all() - before
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
	p.card, p.dedicated = n, o.Dedicated
	p.nic = func() (nicCounts, error) { c, err := n.Counters(); return countsOf(&c, p.outgoing), err }
	if soft, err := nic.OpenSoftnet(); err == nil {
		p.host = func() uint64 { c, _, _ := soft.Read(); return c.Dropped + c.FlowLimit }
	}
	s, err := n.State()
	if err != nil {
		p.say("%s: what it is cannot be found out: %v", p.name, err)
		return nil
	}
	p.say("%s: %s", p.name, describeNIC(&s))
	if s.XDP.Mode != "" {
		p.foreign = true
		p.say("%s: another XDP program is there (%s, number %d): what it keeps is not captured: detach it, or end the program that holds it", p.name, s.XDP.Mode, s.XDP.ID)
	}
	switch used := s.Shared(); {
	case o.Dedicated && (s.DefaultRoute || s.Loopback):
		return fmt.Errorf("capture from %s: %s: --dedicated would cut this host off: leave it out", p.name, used)
	case o.Dedicated && used != "":
		p.say("%s: %s: as it is --dedicated, traffic of the host's own is dropped there", p.name, used)
	case !o.Dedicated && used == "":
		p.say("%s: the host does not use it itself: with --dedicated the kernel drops what is not wanted, and measures RTP", p.name)
	}
	if !o.Dedicated {
		p.share(&s)
		return nil
	}
	stay, restore, err := n.Quiet()
	if errors.Is(err, fs.ErrPermission) {
		err = errors.New("give cap_net_admin")
	}
	if err != nil {
		p.say("%s: offloads that change frames stay on: %v", p.name, err)
		return nil
	}
	p.loud, p.index = restore, s.Index
	p.undo = append(p.undo, func() error { return p.loud() })
	p.again = append(p.again, func() error { return p.quieten(n) })
	if len(stay) > 0 {
		p.say("%s: the driver keeps %s on, which change frames", p.name, strings.Join(stay, ", "))
	}
	return nil
}

// share finds out what becomes of packets on an interface that is not dedicated to
// the capture. Where the host itself uses it, what the host sends is half of every
// call that ends there. The loopback interface receives what it sends.
func (p *port) share(s *nic.State) {
	if s.Shared() != "" && !s.Loopback {
		p.outgoing = true
		p.say("%s: %s: what the host sends is captured, too", p.name, s.Shared())
	}
	if merging := mergers(s.Offloads, p.outgoing); len(merging) > 0 {
		p.merged = true
		p.say("%s: %s make one packet of several before they are captured: the counters of the interface are shown, but not compared with what is captured", p.name, strings.Join(merging, ", "))
	}
}

// mergers are those of the offloads that make one packet of several, of what
// comes and, with outgoing, of what is sent.
func mergers(offloads []string, outgoing bool) []string {
	var out []string
	for _, name := range offloads {
		sent := strings.HasPrefix(name, "tx-")
		if sent && outgoing || !sent && !strings.Contains(name, "vlan") {
			out = append(out, name)
		}
	}
	return out
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
//
// Where the driver says what it lost, whatever else is in "dropped" was dropped by
// the host behind it: for want of room, which is a gap in the ledger, or since
// the host knows no such protocol, as behind a second VLAN tag. Then the rings have
// got it before (__netif_receive_skb_core), and nothing is lost.
func countsOf(c *nic.Counters, outgoing bool) nicCounts {
	out := nicCounts{Packets: c.Packets, Bytes: c.Bytes, Lost: []LiveRow{{Reason: "damaged", Packets: c.Errors, Lost: true}}}
	if outgoing {
		out.Sent, out.SentBytes = c.SentPackets+c.SentDropped, c.SentBytes
	}
	for _, l := range c.Losses {
		out.Lost = append(out.Lost, LiveRow{Reason: l.Name, Packets: l.Count, Lost: true})
	}
	if len(c.Losses) > 0 {
		out.Lost = append(out.Lost, LiveRow{Reason: "of no use to the host", Packets: c.Dropped})
	} else {
		out.Lost = append(out.Lost, LiveRow{Reason: "dropped", Packets: c.Dropped, Lost: true}, LiveRow{Reason: "no room", Packets: c.Lost, Lost: true})
	}
	return out
}

func (p *port) say(format string, args ...any) { p.said = append(p.said, fmt.Sprintf(format, args...)) }

// openRings opens the rings of the interface.
func (p *port) openRings(o CaptureOptions, index uint16, socket int) error {
	r := ring.Options{
		Iface: p.name, Index: index, Rings: max(1, o.Rings), Memory: cmp.Or(o.RingMemory, defaultRingMemory), Promiscuous: true,
		SocketFilter: socket, Outgoing: p.outgoing, Prepare: p.prepare, OwnThread: true,
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
		return fmt.Errorf("%w: all rights are given by setcap cap_net_raw,cap_net_admin,cap_bpf,cap_perfmon+ep to the program", err)
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
	c := ringCounts{Packets: s.Received - min(s.Received, s.Drops), Dropped: s.Drops, Delivered: s.Packets + s.Damaged, Bytes: s.Bytes, Waiting: s.Waiting}
	if waiting := float64(c.Packets) - float64(c.Delivered); waiting > 0 {
		each := frameOverhead + float64(s.Bytes)/float64(max(s.Packets, 1))
		c.Held = min(1, waiting*each/float64(r.memory))
	}
	return c
}
