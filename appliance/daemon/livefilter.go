package daemon

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"ringside/dataplane/xdp"
)

// meterSlots is how many streams the meter in the kernel has room for, of each
// interface: some 30,000 before it refuses one in a hundred, 68 MiB.
const meterSlots = 1 << 17

// defaultSIPPorts are those that a dedicated interface takes SIP on.
var defaultSIPPorts = []uint16{5060, 5061, 5080}

// What a source may send of requests that belong to no call before they are
// sampled, and all sources together. It is far beyond what a registrar answers;
// beyond it is a flood, of which nothing is lost by a sample.
var (
	floodLimit  = xdp.Limit{PerSecond: 2_000, TotalPerSecond: 20_000, Sample: 100}
	floodLimits = xdp.Limits{Register: floodLimit, Options: floodLimit, Other: floodLimit}
)

// filterSettings are the rules that the options ask for. Unless the interface is
// dedicated, or ports are named, whatever is not known is passed on.
func filterSettings(o *CaptureOptions) xdp.Settings {
	s := xdp.DefaultSettings()
	s.Allow, s.Deny = o.Allow, o.Deny
	s.PassOther = !o.Dedicated && o.SIPPorts == nil && o.RTPPorts == [2]uint16{}
	ports := o.SIPPorts
	if ports == nil {
		ports = defaultSIPPorts
	}
	s.SIP = xdp.Ports{UDP: ports, TCP: ports, SCTP: ports, TLS: ports, WS: ports}
	if o.RTPPorts != [2]uint16{} {
		s.RTP = xdp.RTP{Rule: xdp.InRangeOrLearned, Ranges: []xdp.PortRange{{First: o.RTPPorts[0], Last: o.RTPPorts[1]}}}
	}
	s.VXLAN = o.vxlan
	if o.Dedicated {
		s.Limit = floodLimits
	}
	return s
}

// Values of CaptureOptions.Steer beside flow.
const (
	steerQueue = "queue"
	steerCPU   = "cpu"
)

// openFilter puts the filter on the interface, if there can be one. It returns
// the program for the sockets of the rings, -1 for none. What is missing is
// said, and done in user space instead; what cannot be done there is an error.
func (p *port) openFilter(o CaptureOptions, index uint16) (socket int, err error) {
	mode, err := xdp.ParseMode(cmp.Or(o.XDP, "auto"))
	if err != nil {
		return -1, err
	}
	settings := filterSettings(&o)
	slots := 0
	if o.KernelMeter {
		slots = cmp.Or(o.MeterSlots, meterSlots)
	}
	if o.Steer == steerCPU && o.Rings > 1 {
		cpus, _ := onlineCPUs()
		if settings.CPUs, err = steerCPUs(cpus, o.Rings); err != nil {
			return -1, fmt.Errorf("capture from %s: %w", p.name, err)
		}
	}
	to := xdp.Options{
		Iface: p.name, Index: index, Dedicated: o.Dedicated, Mode: mode, Settings: settings, MeterSlots: slots, Endpoints: o.Endpoints, Unnamed: o.unnamed,
	}
	if (o.unnamed > xdp.Meter || !o.KernelMeter) && !o.noFeed {
		to.Feeds, to.FeedMemory = max(1, o.Rings), cmp.Or(o.RingMemory, defaultRingMemory)
		to.FeedWhole = o.unnamed == xdp.Full || o.chosen
	}
	f, err := xdp.Open(to)
	if err != nil {
		err = fmt.Errorf("%s: no filter in the kernel: %w", p.name, withoutBPF(err))
		if len(o.Allow)+len(o.Deny) > 0 { // what must not be seen is not to be seen by mistake
			return -1, fmt.Errorf("%w: --allow and --deny need it", err)
		}
		p.say("%v: every packet comes to user space, and all RTP is measured there", err)
		return -1, nil
	}
	p.undo = append(p.undo, f.Close)
	if f.Mode() != xdp.None {
		p.again, p.cpus = append(p.again, f.Reattach), settings.CPUs
	} else if o.Steer == steerCPU {
		p.say("%s: without XDP packets are not steered to CPUs, but dealt out by flow", p.name)
	}
	p.filter, p.native = kernelFilter{f}, f.Mode() == xdp.Native
	p.own = func(own []xdp.Tuple) error {
		settings.Own = own
		return f.Set(settings)
	}
	p.refilter = func(to *CaptureOptions) error {
		now := filterSettings(to)
		now.Own, now.CPUs = settings.Own, settings.CPUs
		if err := f.Set(now); err != nil {
			return err
		}
		settings = now
		return nil
	}
	where := "XDP, " + f.Mode().String()
	if p.where = "xdp " + f.Mode().String(); f.Mode() == xdp.None {
		where, p.where = "at the rings' sockets", "socket"
	}
	if why := f.Why(); why != "" {
		if lack := lacking(); o.Dedicated && mode != xdp.None && lack != "" { // it is not XDP that is missing
			why = "for XDP give " + lack
		}
		where += " (" + why + ")"
	}
	does := "all RTP is measured in user space"
	if f.Meters() != nil {
		p.kernel = f
		p.quiet = func() error {
			settings.RTP = xdp.RTP{Rule: xdp.NoRTP}
			return f.Set(settings)
		}
		does = "RTP that nobody records is measured in the kernel"
	}
	switch p.feeds = f.Feeds(); {
	case len(p.feeds) > 0 && f.Meters() == nil:
		does = fmt.Sprintf("all RTP is measured in user space, and comes through %d %s past the rings", len(p.feeds), nouns(len(p.feeds), "feed"))
	case len(p.feeds) > 0:
		does = fmt.Sprintf("RTP is measured in the kernel, and what is recorded of it comes through %d %s past the rings", len(p.feeds), nouns(len(p.feeds), "feed"))
	}
	p.say("%s: filter: %s; %s", p.name, where, does)
	return f.SocketFilter(), nil
}

// kernelFilter is the filter as a port sees it.
type kernelFilter struct{ *xdp.Filter }

func (k kernelFilter) verdicts() (rows []verdict, steered, arrived uint64, err error) {
	st, err := k.Stats()
	if err != nil {
		return nil, 0, 0, err
	}
	for _, r := range st.Rows {
		rows = append(rows, verdict{
			verdict: r.Verdict, reason: r.Reason, packets: r.Packets, bytes: r.Bytes,
			passed:  r.Verdict == xdp.Pass || r.Verdict == xdp.Cut || r.Verdict == xdp.Delivered,
			metered: r.Metered(),
			fed:     r.Verdict == xdp.Fed || r.Verdict == xdp.Handed,
			lost:    r.Verdict == xdp.Drop && (strings.HasSuffix(r.Reason, "over limit") || r.Reason == "no headroom"),
		})
	}
	return rows, st.Steered.Packets, st.Arrived.Packets, nil
}

// SetFilter gives the filters in the kernel other addresses and ports, as
// CaptureOptions has them. Where one takes them and the next does not, the first
// gets back what it had.
func (l *Live) SetFilter(allow, deny []netip.Prefix, sip []uint16, rtp [2]uint16) error {
	was, to := l.options.CaptureOptions, l.options.CaptureOptions
	to.Allow, to.Deny, to.SIPPorts, to.RTPPorts = allow, deny, sip, rtp
	for i, p := range l.ports {
		if err := p.setFilter(&to); err != nil {
			for _, done := range l.ports[:i] {
				_ = done.setFilter(&was)
			}
			return fmt.Errorf("change the filter of %s: %w", p.name, err)
		}
	}
	l.options.CaptureOptions = to
	return nil
}

func (p *port) setFilter(o *CaptureOptions) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.frozen {
		return nil
	}
	if p.refilter == nil {
		if len(o.Allow)+len(o.Deny) > 0 {
			return errors.New("there is none in the kernel, which addresses to take or not to take needs")
		}
		return nil
	}
	return p.refilter(o)
}
