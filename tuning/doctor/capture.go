package doctor

import (
	"fmt"
	"slices"
	"strings"

	"ringside/tuning/inventory"
	"ringside/tuning/plan"
)

func hasIRQs(i inventory.Interface) bool { return len(i.IRQs) > 1 }

func (e *examination) interfaces() {
	if len(e.Interfaces) == 0 {
		e.add(Finding{"no-interface", "", Note, "there is no interface to look at", "none is captured, and none has a device",
			"there is nothing to capture from", "name interfaces: ringside doctor --interface NAME"})
	}
	for i := range e.Interfaces {
		n := &e.Interfaces[i]
		if !n.Captured && !n.Carrier { // nobody uses it
			continue
		}
		e.link(n)
		e.rings(n)
		e.queues(n)
		e.offloads(n)
		if len(n.Others) > 0 {
			var names []string
			for _, p := range n.Others {
				names = append(names, fmt.Sprintf("%s (%d)", p.Name, p.PID))
			}
			e.add(Finding{"other-capture", n.Name, Warning, "another program captures on " + n.Name, strings.Join(names, ", "),
				"each copies every packet once more, in the time of the processors that serve the interface", "end it, or let it read what ringside stores"})
		}
	}
}

// link is about what comes in at all.
func (e *examination) link(n *inventory.Interface) {
	if !n.Carrier {
		e.add(Finding{"link", n.Name, Severe, n.Name + " has no link", "carrier is 0",
			"nothing can be captured from it", "ip link set " + n.Name + " up; then look at cable, module and the switch port"})
	}
	if n.XDP == "generic" {
		e.add(Finding{"xdp", n.Name, Note, "the driver of " + n.Name + " does not run programs of the kernel by itself", "driver " + orUnknown(n.Driver),
			"the filter runs after the kernel has made a buffer for the packet: about half as many packets a second",
			"capture on a card with native XDP: Intel ixgbe, i40e, ice, Mellanox mlx5, …"})
	}
	const few = 10_000 // one of so many
	if n.Missed > 0 {
		severity := Warning
		if n.Missed*few > n.Packets {
			severity = Severe
		}
		e.add(Finding{"missed", n.Name, severity, "the card of " + n.Name + " has missed packets", fmt.Sprintf("rx_missed_errors %s of %s packets", count(n.Missed), count(n.Packets)),
			"they are in no call and no figure; since the interface was started",
			"larger rings and more queues, as the other findings say; then look whether it goes on: ip -s -s link show " + n.Name})
	}
	if n.Errors*few > n.Packets {
		e.add(Finding{"errors", n.Name, Warning, n.Name + " receives broken frames", fmt.Sprintf("rx_errors %s of %s packets", count(n.Errors), count(n.Packets)),
			"a bad cable or module, or frames longer than the MTU", "ethtool -S " + n.Name + ", and change the cable"})
	}
}

func orUnknown(s string) string {
	if s == "" {
		return "not known"
	}
	return s
}

// rings is about where packets wait on the card.
func (e *examination) rings(n *inventory.Interface) {
	t := &n.Ethtool
	if t.Ring <= 0 || t.RingMax <= 0 {
		return
	}
	const enough = 4096
	want := min(plan.RingSize(n.SpeedMbit, t.Channels, t.RingMax), enough)
	if t.Ring >= want {
		return
	}
	e.add(Finding{"ring-size", n.Name, Warning, "the rings of " + n.Name + " are small", fmt.Sprintf("%d of at most %d descriptors", t.Ring, t.RingMax),
		"a burst that comes while a processor is busy finds no place, and is lost",
		fmt.Sprintf("ethtool -G %s rx %d", n.Name, want)})
}

// queues is about how many processors share the work.
func (e *examination) queues(n *inventory.Interface) {
	t := &n.Ethtool
	cpus := e.Host.CPUs
	if want := plan.QueueCount(e.Facts, n.Name, plan.Meter); t.Channels > 0 && want > 1 && t.Channels < want {
		e.add(Finding{"queues", n.Name, Warning, n.Name + " uses few of its queues", fmt.Sprintf("%d of %d queues, on %d processors", t.Channels, t.ChannelsMax, cpus),
			"one processor takes what several could share", fmt.Sprintf("ethtool -L %s combined %d", n.Name, want)})
	}
	if t.Spread > 0 && t.Channels > 1 && t.Spread < t.Channels {
		e.add(Finding{"rss", n.Name, Warning, "packets of " + n.Name + " are not spread over all of its queues", fmt.Sprintf("%d of %d queues get packets", t.Spread, t.Channels),
			"the others are idle while these are full", fmt.Sprintf("ethtool -X %s equal %d", n.Name, t.Channels)})
	}
	var used []int
	for _, irq := range n.IRQs {
		for _, cpu := range inventory.Set(irq.CPUs) {
			if !slices.Contains(used, cpu) {
				used = append(used, cpu)
			}
		}
	}
	if want := min(len(n.IRQs), cpus); len(used) > 0 && want > 1 && 2*len(used) <= want {
		slices.Sort(used)
		e.add(Finding{"irqs", n.Name, Warning, "interrupts of " + n.Name + " go to few processors",
			fmt.Sprintf("%d interrupts on %d of %d processors (%s)", len(n.IRQs), len(used), cpus, joined(used)),
			"these are full while others are idle, and what they cannot take is lost on the card",
			fmt.Sprintf("for each of %s: echo CPU > /proc/irq/NUMBER/smp_affinity_list, each on a processor of its own", joined(numbers(n.IRQs)))})
	}
}

func numbers(irqs []inventory.IRQ) (out []int) {
	for _, i := range irqs {
		out = append(out, i.Number)
	}
	return out
}

func joined(n []int) string {
	const most = 8
	var out []string
	for i, v := range n {
		if i == most {
			out = append(out, "…")
			break
		}
		out = append(out, fmt.Sprint(v))
	}
	return strings.Join(out, ", ")
}

// offloads is about packets that are not those of the wire any more.
func (e *examination) offloads(n *inventory.Interface) {
	t := &n.Ethtool
	if t.LRO == 1 {
		e.add(Finding{"lro", n.Name, Warning, "the card of " + n.Name + " joins packets", "large-receive-offload is on",
			"segments of SIP over TCP come as one packet that was never sent, and native XDP is refused", "ethtool -K " + n.Name + " lro off"})
	}
	if t.GRO == 1 && !n.Virtual {
		e.add(Finding{"gro", n.Name, Note, "the kernel joins packets of " + n.Name, "generic-receive-offload is on",
			"it takes time, and a capture gains nothing from it", "ethtool -K " + n.Name + " gro off"})
	}
}

func (e *examination) volumes() {
	for _, v := range e.Volumes {
		of := v.Dir
		evidence := fmt.Sprintf("%s of %s are free", size(v.Free), size(v.Total))
		switch {
		case v.Reserve > 0 && v.Free < v.Reserve:
			e.add(Finding{"disk", of, Severe, "the volume of the " + v.Name + " is full", evidence + ", " + size(v.Reserve) + " are to stay free",
				"media are not stored until there is room; records and signalling go on", "df -h " + of + "; remove what is not ringside's, or set a smaller quota"})
		case v.Total > 0 && v.Free*20 < v.Total && v.Reserve == 0:
			e.add(Finding{"disk", of, Warning, "the volume of the " + v.Name + " is nearly full", evidence,
				"when it is full nothing more can be written", "df -h " + of})
		}
		if v.Root && v.Name == "spool" {
			e.add(Finding{"spool-root", of, Warning, "the spool is on the volume of the system", of + " is on /",
				"packets fill it up, and writing them slows down everything else", "mount a volume of its own at " + of})
		}
		switch v.Type {
		case "tmpfs", "ramfs":
			e.add(Finding{"volume-type", of, Severe, "the " + v.Name + " is in memory", of + " is a " + v.Type,
				"it takes the memory of the capture, and is gone after a restart", "name a directory on a disk"})
		case "nfs", "cifs", "fuse":
			e.add(Finding{"volume-type", of, Warning, "the " + v.Name + " is on another machine", of + " is a " + v.Type,
				"when the network or that machine is slow, packets and records wait, and packets are shed", "name a directory on a local disk"})
		}
	}
}

// remedies of losses, by the stage of the ledger.
var remedies = map[string]string{
	"nic":     "larger rings and more queues of the card, as the other findings say",
	"host":    "raise net.core.netdev_max_backlog",
	"filter":  "see ringside status for the reason that the filter names",
	"ring":    "raise the memory of the rings (ringbuffer), or let fewer packets through (filter, rules)",
	"feed":    "raise the memory of the rings (ringbuffer), or record fewer calls (rules)",
	"spool":   "raise max_buffer_mem, use a faster disk, or record fewer calls (rules)",
	"streams": "raise the limits of tables",
	"between": "read the ledger: ringside status, and the Interfaces page",
}

// running is what the service says.
func (e *examination) running() {
	s := e.service
	if !s.Running {
		e.add(Finding{"service", "", Note, "no service answers", "there is nobody at the control socket",
			"what it loses and why is not in these findings", "systemctl status ringside"})
		return
	}
	for _, d := range s.Drops {
		if d.Packets == 0 {
			continue
		}
		severity, now := Warning, ", none at the moment"
		if d.Rate > 0 {
			severity, now = Severe, fmt.Sprintf(", %.0f a second at the moment", d.Rate)
		}
		where := strings.TrimSpace(d.Interface + " " + d.Stage + " " + d.Reason)
		e.add(Finding{"drops", where, severity, "packets are lost here: " + where, count(d.Packets) + " since the service was started" + now,
			"calls of that time are marked incomplete; their figures are not the network's", orDefault(remedies[d.Stage], remedies["between"])})
	}
	for _, g := range s.Gaps {
		e.add(Finding{"ledger", "", Severe, "the ledger does not balance", g,
			"packets are missing that no counter knows of", "make a support bundle: ringside support-bundle"})
	}
	for _, c := range s.Why {
		severity := Warning
		if c.Failing {
			severity = Severe
		}
		if strings.HasPrefix(c.Text, "packets are lost") || strings.HasPrefix(c.Text, "the ledger does not balance") {
			continue // it is above
		}
		e.add(Finding{"service", "", severity, "the service is " + s.State, c.Text, "it says so itself", "ringside status, and journalctl -u ringside"})
	}
	const much = 0.5
	if !s.StoreAway && s.StoreQueue > much {
		e.add(Finding{"store-slow", "", Warning, "the store is slower than records come", fmt.Sprintf("%.0f %% of the queue to it are in use", 100*s.StoreQueue),
			"when it is full records go to the queue on disk, or are lost where there is none", "look at the database machine; for SQLite at the disk: iostat -x 1"})
	}
}

func orDefault(s, other string) string {
	if s == "" {
		return other
	}
	return s
}
