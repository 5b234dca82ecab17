package cli

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"ringside/appliance/daemon"
)

// runFlags is what the command line of run says.
type runFlags struct {
	readFlags
	capture     daemon.CaptureOptions
	interfaces  []string
	meter       string // kernel, user
	statusEvery time.Duration
	more        moreLimits
}

// Defaults that the help text states.
const defaultStatusEvery = 10 * time.Second

func addRunFlags(fl *pflag.FlagSet, f *runFlags) {
	o := &f.capture
	fl.SortFlags = false
	fl.StringArrayVarP(&f.interfaces, "interface", "i", nil, "capture from interface `NAME`; may be repeated")
	fl.BoolVar(&o.Dedicated, "dedicated", false, "the interfaces carry nothing of this host's own: what is not wanted may be dropped in the kernel")
	o.XDP = "auto"
	oneOfFlag(fl, "xdp", "where the kernel filters packets, a `MODE`: auto (the fastest that works; the default), native (in the driver), generic, none", &o.XDP, "auto", "native", "generic", "none")
	f.meter = "kernel"
	oneOfFlag(fl, "meter", "where RTP that nobody records is measured, a `PLACE`: kernel (the default, on dedicated interfaces with XDP), user", &f.meter, "kernel", "user")
	parsed(fl, "ringbuffer", "memory for the rings of each interface, a `SIZE` (default 64MiB); as much again for RTP that is recorded past them", &o.RingMemory, parseRing)
	fl.IntVar(&o.Rings, "rings", 0, "rings of each interface, with a thread each (0: as many as there are CPUs for them)")
	o.Steer = "flow"
	oneOfFlag(fl, "steer", "how several rings share packets, a `WAY`: flow (addresses and ports; the default), queue (of the card), cpu (flow, also of what is in tunnels; needs --dedicated and XDP)", &o.Steer, "flow", "queue", "cpu")
	list(fl, "allow", "take only packets from or to these `PREFIXES`: 192.0.2.0/24,2001:db8::/32; may be repeated", &o.Allow, parsePrefix)
	list(fl, "deny", "take no packets from or to these `PREFIXES`; may be repeated", &o.Deny, parsePrefix)
	fl.Func("sip-ports", "`PORTS` of SIP, and ranges of them, by which the kernel filters on dedicated interfaces (default 5060,5061,5080)", func(s string) (err error) {
		o.SIPPorts, err = parsePorts(o.SIPPorts, s)
		return err
	})
	parsed(fl, "rtp-ports", "`RANGE` of the ports of media, by which the kernel filters on dedicated interfaces (default 1024-65535)", &o.RTPPorts, parseRange)
	addRunServiceFlags(fl, &f.service)
	spanFlag(fl, "status-interval", "a line of status every `SPAN`, 0: none", defaultStatusEvery, &f.statusEvery)
	addRecordFlags(fl, &f.readFlags)
	fl.SetNormalizeFunc(runNames)
	f.live = true
}

// runNames are the names that other programs have for these flags.
func runNames(fl *pflag.FlagSet, name string) pflag.NormalizedName {
	switch n := oldNames(fl, name); n {
	case "sipport", "sip-port":
		return "sip-ports"
	case "rtp-port":
		return "rtp-ports"
	default:
		return n
	}
}

// check finds flags that do not go together.
func (f *runFlags) check(given func(string) bool) error {
	o := &f.capture
	switch {
	case len(f.interfaces) == 0 && f.service.config == "":
		return usage("name an interface: -i eth1 (\"ip link\" lists what there is), or a configuration: --config FILE")
	case slices.Contains(f.interfaces, ""):
		return usage("--interface: %w", errEmpty)
	case o.Rings < 0 || o.Rings > mostRings:
		return usage("--rings %d: write a number of rings up to %d, or 0 for as many as there are CPUs for them", o.Rings, mostRings)
	}
	sorted := slices.Sorted(slices.Values(f.interfaces))
	if len(slices.Compact(sorted)) < len(f.interfaces) {
		return usage("--interface: one is named twice")
	}
	if given("meter") && f.meter == "kernel" && (o.XDP == "none" || !o.Dedicated) {
		return usage("--meter kernel: measures where XDP may drop packets: add --dedicated, without --xdp none, or leave it out")
	}
	if o.Steer == "cpu" && (o.XDP == "none" || !o.Dedicated) {
		return usage("--steer cpu: XDP steers: add --dedicated, without --xdp none, or write --steer flow")
	}
	if given("meter") && f.meter == "kernel" && f.filter != "" {
		return usage("--meter kernel: the kernel does not know --filter, and would measure what it leaves out: leave one of them out")
	}
	o.KernelMeter = f.meter == "kernel" && f.filter == ""
	return f.readFlags.check(given)
}

// Limits of rings: what they work with at all, and what the kernel has room for.
const (
	leastRing = 1 << 20
	mostRing  = 128 << 30 // of one ring
	mostRings = 256       // sockets that share packets (PACKET_FANOUT_MAX)
)

func parseRing(s string) (int64, error) {
	n, err := parseSize(s)
	if err == nil && (n < leastRing || n > mostRing) {
		return 0, errors.New("write a size from 1MiB to 128GiB")
	}
	return n, err
}

// parsePrefix reads a prefix, or an address for one of its own.
func parsePrefix(s string) (netip.Prefix, error) {
	if p, err := netip.ParsePrefix(s); err == nil {
		if p != p.Masked() {
			return p, fmt.Errorf("%s has bits beyond its length: write %s", s, p.Masked())
		}
		return p, nil
	}
	a, err := netip.ParseAddr(s)
	if err != nil || a.Zone() != "" {
		return netip.Prefix{}, errors.New("write addresses and prefixes, as in 192.0.2.0/24,2001:db8::1")
	}
	return netip.PrefixFrom(a, a.BitLen()), nil
}

// parsePorts adds ports and ranges of them to a list: 5060-5070,5080.
func parsePorts(to []uint16, s string) ([]uint16, error) {
	for item := range strings.SplitSeq(s, ",") {
		r, err := parseRange(strings.TrimSpace(item))
		if err != nil {
			return nil, errors.New("write ports from 1 to 65535 and ranges of them, as in 5060-5070,5080")
		}
		for p := int(r[0]); p <= int(r[1]); p++ {
			to = append(to, uint16(p))
		}
	}
	slices.Sort(to)
	return slices.Compact(to), nil
}

// parseRange reads a range of ports, as in 10000-20000.
func parseRange(s string) (out [2]uint16, err error) {
	from, to, ranged := strings.Cut(s, "-")
	if !ranged {
		to = from
	}
	a, errA := strconv.ParseUint(strings.TrimSpace(from), 10, 16)
	b, errB := strconv.ParseUint(strings.TrimSpace(to), 10, 16)
	if err := cmp.Or(errA, errB); err != nil || a == 0 || b < a {
		return out, errors.New("write the least and the greatest port, as in 10000-20000")
	}
	return [2]uint16{uint16(a), uint16(b)}, nil
}
