package daemon

import (
	"errors"
	"net/netip"
	"sync"
	"time"

	"ringside/dataplane/frame"
	"ringside/dataplane/nic"
	"ringside/dataplane/xdp"
)

// CaptureOptions say how interfaces are captured.
type CaptureOptions struct {
	// Dedicated interfaces carry nothing of the host's own: what is not wanted
	// may be dropped as soon as it has arrived. Of all others every packet goes
	// on to the host.
	Dedicated bool

	XDP         string // where the filter runs: "auto", "native", "generic" or "none"; "": auto
	KernelMeter bool   // RTP that nobody records is measured in the kernel, where the filter runs there

	// Tables of the filter, of each interface: streams that it measures, and media
	// addresses that it is told of; 0: as many as one will hardly ever need.
	MeterSlots, Endpoints int

	Rings      int   // of each interface; 0: one for each CPU that workers may have
	RingMemory int64 // bytes for the rings of each interface; 0: 64 MiB

	// Steer says how several rings share packets: "flow", by a hash of addresses
	// and ports; "queue", by the card's queue; "cpu", by the hash of the inner
	// header in tunnels, to a CPU for each ring, for which XDP is needed. "": flow.
	Steer string

	// What the filter lets through: packets from or to Allow (none: all) that
	// are not from or to Deny, SIP on SIPPorts and media on RTPPorts (the least
	// and the greatest).
	Allow, Deny []netip.Prefix
	SIPPorts    []uint16
	RTPPorts    [2]uint16

	vxlan   []uint16   // UDP ports of VXLAN
	unnamed xdp.Policy // the most that the rules may want of RTP; Unknown: nothing is recorded
	chosen  bool       // an expression chooses among packets: it may look at any of their bytes
	noFeed  bool       // for tests: what is recorded comes through the rings, as where XDP is not native
}

const defaultRingMemory = 64 << 20

// Stages of the ledger before the decoders.
const (
	StageNIC     = "nic"    // the interface and its driver
	StageFilter  = "filter" // the filter in the kernel
	StageHost    = "host"   // the kernel's backlog, of all interfaces
	StageFeed    = "feed"   // RTP that is recorded, past the rings
	StageRing    = "ring"
	StageBetween = "between" // nobody says that it has them
)

// port is one interface with what stands on it. What is nil is not there.
type port struct {
	name     string
	nic      func() (nicCounts, error)
	host     func() uint64 // packets that the kernel's backlog has dropped, of all interfaces
	filter   filtering
	rings    rings
	feeds    []*xdp.Feed
	native   bool                        // the filter runs in the driver
	quiet    func() error                // stops metering in the kernel
	own      func([]xdp.Tuple) error     // leaves traffic out
	refilter func(*CaptureOptions) error // gives the filter other rules
	owned    []xdp.Tuple                 // is left out
	again    []func() error              // what is done anew for an interface that was made anew
	loud     func() error                // turns offloads on again
	index    int                         // number of the interface whose offloads are off
	undo     []func() error              // what close does, the last first
	said     []string                    // how the interface is captured
	kernel   *xdp.Filter                 // filter, where it meters
	cpus     []int                       // by ring, where the filter steers to CPUs; else nil
	slack    uint64                      // packets that came while it was opened

	outgoing bool // what the host sends is captured, too
	foreign  bool // somebody else's XDP program was there first
	merged   bool // one packet may be several to the counters of the interface

	card      *nic.NIC
	dedicated bool
	where     string // the filter runs: xdp native, xdp generic, socket; empty: nowhere

	mu     sync.Mutex
	seen   portCounts // by the last look
	outage outage
	frozen bool // the rings take nothing any more, and what comes behind is not counted
}

// portCounts is what the counters of a port say, the rings left out.
type portCounts struct {
	nic     nicCounts
	host    uint64
	filter  []verdict
	steered [2]uint64 // sent to another CPU, and arrived there
}

// filtering is the filter in the kernel.
type filtering interface {
	verdicts() (rows []verdict, steered, arrived uint64, err error)
}

// rings are the rings of an interface.
type rings interface {
	Len() int
	Source(i int) frame.Source
	Counts() ringCounts
	State() (text string, interruptions uint64)
	Stop() // they work off what they hold, and end
	Close() error
}

// ringCounts are the counters of the rings of an interface.
type ringCounts struct {
	Packets, Dropped uint64  // taken by the kernel, and for want of room not
	Delivered, Bytes uint64  // handed to the workers
	Waiting          uint64  // not yet
	Held             float64 // share of the blocks that workers hold
}

// nicCounts are the counters of an interface.
type nicCounts struct {
	Packets, Bytes  uint64
	Sent, SentBytes uint64    // as far as they are captured
	Lost            []LiveRow // Reason, Packets and Lost
}

// all is how many packets there were to be captured.
func (c *nicCounts) all() uint64 { return c.Packets + c.Sent }

// verdict is what the filter did with packets.
type verdict struct {
	verdict, reason string
	packets, bytes  uint64
	passed          bool // to the rings
	metered         bool
	fed             bool // to the feeds
	lost            bool // they were wanted
}

// close takes down what was put up, the last first. It may be called twice.
// Counters stay as they were read last.
func (p *port) close() error {
	p.mu.Lock()
	p.frozen = true
	p.mu.Unlock()
	var errs []error
	for len(p.undo) > 0 {
		last := len(p.undo) - 1
		errs = append(errs, p.undo[last]())
		p.undo = p.undo[:last]
	}
	return errors.Join(errs...)
}

// ask lets f ask the card, while nobody closes it; where there is none, or none any
// more, f is not called.
func (p *port) ask(f func(card *nic.NIC)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.card != nil && !p.frozen {
		f(p.card)
	}
}

// hush ends metering in the kernel.
func (p *port) hush() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.quiet != nil && !p.frozen {
		_ = p.quiet() // at worst some packets are metered of which no report tells
	}
}

// stop ends the capture, when no meter counts any more. Of packets that come
// meanwhile nobody knows on which side of the end they are.
func (p *port) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.frozen { // closed, as a worker has failed
		return
	}
	p.read()
	before := p.seen.received()
	p.settle()
	p.rings.Stop()
	for _, f := range p.feeds {
		f.Stop()
	}
	p.read()
	p.slack += p.seen.received() - before
	p.frozen = true
}

// settle waits until what was steered to other CPUs before now has arrived there.
// On a busy machine it may wait for its turn; what is still missing after a
// second was lost.
func (p *port) settle() {
	sent := p.seen.steered[0]
	for i := 0; i < 100 && p.seen.steered[1] < sent; i++ {
		time.Sleep(10 * time.Millisecond)
		p.read()
	}
}

// received is how many packets have come, as far as it is known.
func (c *portCounts) received() uint64 {
	sum := uint64(0)
	for _, v := range c.filter {
		sum += v.packets
	}
	return max(sum, c.nic.all())
}

// backlog is how many packets the kernel's backlog has dropped, of all interfaces.
func (p *port) backlog() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.seen.host
}

// traffic is how many bytes have come, and how many packets the kernel has metered.
func (p *port) traffic() (bytes, metered uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.frozen {
		p.read()
	}
	bytes = p.seen.nic.Bytes + p.seen.nic.SentBytes
	if p.nic == nil {
		bytes = p.rings.Counts().Bytes
	}
	for _, v := range p.seen.filter {
		if v.metered {
			metered += v.packets
		}
	}
	return bytes, metered
}

// arrived is how many packets have come, by the last look, how many of them the
// kernel has metered, and whether the interface has a link.
func (p *port) arrived() (packets, metered uint64, up bool) {
	text, _ := p.rings.State()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, v := range p.seen.filter {
		if v.metered {
			metered += v.packets
		}
	}
	return p.seen.received(), metered, text == ""
}

// read reads the counters in the order in which packets meet them. One that
// cannot be read stays as it was.
func (p *port) read() {
	if p.nic != nil {
		if c, err := p.nic(); err == nil {
			p.seen.nic = c
		}
	}
	if p.host != nil {
		p.seen.host = p.host()
	}
	if p.filter != nil {
		if rows, steered, arrived, err := p.filter.verdicts(); err == nil {
			p.seen.filter, p.seen.steered = rows, [2]uint64{steered, arrived}
		}
	}
}

// remedy is what to do about packets that are missing between the interface and
// the rings, where the reason is known.
func (p *port) remedy() string {
	switch {
	case p.foreign:
		return "another XDP program may keep them: detach it"
	case p.seen.host > 0:
		return "raise net.core.netdev_max_backlog"
	}
	return ""
}

// look adds the rows and sums of the interface to a look, and returns how many
// packets the rings have handed out, and how many the kernel has metered.
func (p *port) look(to *look) (delivered, metered uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	text, times := p.rings.State()
	if !p.frozen {
		p.read()
	}
	p.outage.look(&p.seen, p.rings.Counts(), text != "", times)
	row := func(stage, reason string, packets, bytes uint64, lost bool) {
		to.rows = append(to.rows, LiveRow{Interface: p.name, Stage: stage, Reason: reason, Packets: packets, Bytes: bytes, Lost: lost})
	}
	s := sum{iface: p.name, slack: p.slack, outage: p.outage.packets, elsewhere: p.seen.host, remedy: p.remedy()}
	from := "the interface"
	if p.nic != nil {
		c := &p.seen.nic
		s.in = c.all()
		row(StageNIC, "received", c.Packets, c.Bytes, false)
		row(StageNIC, "sent", c.Sent, c.SentBytes, false)
		for _, r := range c.Lost {
			row(StageNIC, r.Reason, r.Packets, 0, r.Lost)
		}
	}
	if p.filter != nil {
		all, passed := uint64(0), uint64(0)
		for _, v := range p.seen.filter {
			all += v.packets
			if v.passed {
				passed += v.packets
			}
			if v.metered {
				metered += v.packets
			}
			row(StageFilter, v.verdict+" "+v.reason, v.packets, v.bytes, v.lost)
		}
		delivered = p.lookFeeds(to, row)
		if p.nic != nil && !p.merged {
			s.between, s.out = from+" and the filter", all
			if p.native {
				s.elsewhere, s.remedy = 0, ""
			}
			to.sums = append(to.sums, s)
		}
		from = "the filter"
		s = sum{iface: p.name, slack: p.slack, outage: p.outage.packets, elsewhere: p.seen.host, remedy: p.remedy(), in: passed}
		if sent, arrived := p.seen.steered[0], p.seen.steered[1]; sent > 0 {
			to.sums = append(to.sums, sum{iface: p.name, between: "the filter and the CPUs it steers to", in: sent, out: arrived, slack: p.slack})
			s.in = passed - min(passed, sent) + arrived
		}
	}
	row(StageNIC, "outages, of which nobody knows what they lost", times, 0, true)
	c := p.rings.Counts()
	row(StageRing, "taken", c.Packets, c.Bytes, false)
	row(StageRing, "full", c.Dropped, 0, true)
	if p.nic != nil && !p.merged || p.filter != nil {
		s.between, s.out = from+" and the rings", c.Packets+c.Dropped
		to.sums = append(to.sums, s)
	}
	to.sums = append(to.sums, sum{iface: p.name, between: "the rings and their readers", in: c.Packets, out: c.Delivered, waits: c.Waiting})
	return delivered + c.Delivered, metered
}

// lookFeeds adds the rows and sums of the feeds to a look, and returns how many
// packets they have handed out.
func (p *port) lookFeeds(to *look, row func(stage, reason string, packets, bytes uint64, lost bool)) uint64 {
	if len(p.feeds) == 0 {
		return 0
	}
	fed := uint64(0)
	for _, v := range p.seen.filter {
		if v.fed {
			fed += v.packets
		}
	}
	var all xdp.FeedStats
	held := false
	for _, f := range p.feeds {
		s := f.Stats()
		held = held || s.Held > 0
		all.Taken, all.Full, all.Packets, all.Bytes = all.Taken+s.Taken, all.Full+s.Full, all.Packets+s.Packets, all.Bytes+s.Bytes
	}
	waits := uint64(0)
	if held { // nobody counts them, and they may be all that is not handed out
		waits = all.Taken - min(all.Taken, all.Packets)
	}
	row(StageFeed, "taken", all.Taken, all.Bytes, false)
	row(StageFeed, "full", all.Full, 0, true)
	to.sums = append(to.sums, sum{iface: p.name, between: "the filter and the feeds", in: fed, out: all.Taken},
		sum{iface: p.name, between: "the feeds and their readers", in: all.Taken, out: all.Packets, waits: waits})
	return all.Packets
}
