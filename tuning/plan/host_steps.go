package plan

import (
	"fmt"
	"strconv"
	"strings"

	"ringside/tuning/inventory"
)

const cpuDir = "/sys/devices/system/cpu/cpu"

// governor is how fast processors run.
func (p *planner) governor() {
	var changes []Setting
	seen := false
	for _, c := range inventory.Set(p.facts.Host.Online) {
		key := fmt.Sprintf("%s%d/cpufreq/scaling_governor", cpuDir, c)
		_, ok := p.now[key]
		seen = seen || ok
		changes = append(changes, p.file(key, "performance")...)
	}
	if !seen {
		return // the firmware or the hypervisor decides
	}
	found := "performance on all"
	if len(changes) > 0 {
		found = fmt.Sprintf("%s on %d of %d", changes[0].Found, len(changes), p.facts.Host.CPUs)
	}
	p.add(Step{ID: "governor", Title: "clock rate of processors", Found: found, Want: "performance", Command: "cpupower frequency-set -g performance",
		Why:    "a processor that was slow takes milliseconds to get faster when packets come: as long as a ring lasts",
		Effect: "rates are the same at noon as at night; more power is used", Source: "kernel: Documentation/admin-guide/pm/cpufreq.rst", Changes: changes}, false)
}

// latency is how long a processor that takes packets may need to wake up, in us.
const latency = 20

// idle is how deep processors sleep.
func (p *planner) idle() {
	deepest := inventory.Idle{}
	for _, s := range p.facts.Host.Idle {
		if s.Latency > deepest.Latency {
			deepest = s
		}
	}
	if deepest.Latency == 0 {
		return // nobody says, as in a virtual machine
	}
	s := Step{ID: "idle", Title: "sleep of processors", Found: fmt.Sprintf("down to %s, %d us to wake up", deepest.Name, deepest.Latency),
		Source: "kernel: Documentation/admin-guide/pm/cpuidle.rst (PM QoS for CPUs); commit 37efa4b41ffb"}
	if deepest.Latency <= latency {
		s.Why = fmt.Sprintf("no state takes longer than %d us", latency)
		p.add(s, false)
		return
	}
	for _, c := range p.used() {
		key := fmt.Sprintf("%s%d/power/pm_qos_resume_latency_us", cpuDir, c)
		// 0 is no limit; n/a is no sleep at all.
		if v, err := strconv.Atoi(p.now[key]); err == nil && (v == 0 || v > latency) {
			s.Changes = append(s.Changes, p.file(key, strconv.Itoa(latency))...)
		}
	}
	if len(s.Changes) == 0 {
		s.Found = fmt.Sprintf("at most %d us to wake up, on %s", latency, List(p.used()))
	}
	s.Want = fmt.Sprintf("at most %d us, on %s", latency, List(p.used()))
	s.Command = fmt.Sprintf("echo %d > %s%d/power/pm_qos_resume_latency_us, and so on", latency, cpuDir, p.plan.CPUs[0])
	s.Why = "a packet that comes to a processor asleep is stamped when it has woken up, so its jitter is wrong by that; other processors may sleep as they like, which /dev/cpu_dma_latency would not let them"
	s.Effect = "stamps after a pause are right; these processors use more power"
	p.add(s, false)
}

// sysctl is a step about a setting of the kernel that is to be at least so much, or
// exactly so.
func (p *planner) sysctl(s Step, name string, want int64, least bool) {
	key := "/proc/sys/" + strings.ReplaceAll(name, ".", "/")
	found, ok := p.now[key]
	if !ok {
		return
	}
	value := strconv.FormatInt(want, 10)
	if n, err := strconv.ParseInt(found, 10, 64); !least || err != nil || n < want {
		s.Changes = append(s.Changes, p.file(key, value)...)
	}
	if s.Found != "" {
		s.Found, s.Want, s.Command = s.Found+", ", s.Want+", ", s.Command+" "
	} else {
		s.Command = "sysctl -w "
	}
	short := name[strings.LastIndexByte(name, '.')+1:]
	s.Found += short + " " + found
	s.Want += short + " " + value
	s.Command += name + "=" + value
	p.add(s, false)
}

// numa is memory that moves.
func (p *planner) numa() {
	if len(p.facts.Host.Nodes) < 2 {
		return
	}
	p.sysctl(Step{ID: "numa-balancing", Title: "memory that moves between nodes", Why: "the kernel takes pages away for a moment to see who uses them, and moves them: a worker that touches one stands still meanwhile",
		Effect: "no pauses of workers; memory stays where it was first used", Source: "kernel: Documentation/admin-guide/sysctl/kernel.rst (numa_balancing)"}, "kernel.numa_balancing", 0, false)
	near := ""
	for _, n := range p.facts.Host.Nodes {
		if n.Number == p.nic.Node {
			near = n.CPUs
		}
	}
	if near == "" {
		return
	}
	p.add(Step{ID: "service-cpus", State: ByHand, Title: "processors of the service", Found: "all of " + plural(len(p.facts.Host.Nodes), "node"), Want: "node " + strconv.Itoa(p.nic.Node) + ", and the first core",
		Command: fmt.Sprintf("systemctl edit ringside: [Service] CPUAffinity=%s", List(append(inventory.Set(near), p.mgmt...))),
		Why:     "workers on the other node read packets over the link between the nodes; the service takes the processors that it is given, and leaves the first core to everything else",
		Effect:  "rings and workers are on the node of the card", Source: "systemd.exec(5), CPUAffinity; kernel: Documentation/admin-guide/mm/numaperf.rst", Lasts: true}, false)
}

// pages are huge pages that nobody asked for.
func (p *planner) pages() {
	const key = "/sys/kernel/mm/transparent_hugepage/enabled"
	found, ok := p.now[key]
	if !ok {
		return
	}
	s := Step{ID: "thp", Title: "transparent huge pages", Found: found, Want: "madvise", Command: "echo madvise > " + key,
		Why: "with always the kernel puts pages together while threads wait, and memory looks more than it is", Effect: "fewer pauses; what asks for huge pages still gets them",
		Source: "kernel: Documentation/admin-guide/mm/transhuge.rst"}
	if found == "always" {
		s.Changes = p.file(key, "madvise")
	}
	p.add(s, false)
}

// budget is how long a processor takes packets at a stretch.
func (p *planner) budget() {
	const fast, often = 10_000, 1000
	b := p.facts.Backlog
	if p.plan.Speed < fast && b.Squeezed <= often {
		return
	}
	key := "/proc/sys/net/core/netdev_budget"
	found, ok := p.now[key]
	if !ok {
		return
	}
	s := Step{ID: "budget", Title: "packets at a stretch", Source: netSysctl,
		Why:    fmt.Sprintf("a processor gives up after so many packets or microseconds, though more are waiting; it has %d times (softnet_stat)", b.Squeezed),
		Effect: "rings are emptied in one go; other work on these processors waits up to 8 ms"}
	const packets = 600
	if n, err := strconv.Atoi(found); err == nil && n < packets {
		s.Changes = p.file(key, strconv.Itoa(packets))
	}
	s.Found, s.Want, s.Command = "netdev_budget "+found, "netdev_budget 600", "sysctl -w net.core.netdev_budget=600"
	p.sysctl(s, "net.core.netdev_budget_usecs", 8000, true)
}

// backlog is where packets wait that are handed from one processor to another.
func (p *planner) backlog() {
	used := p.nic.Virtual || p.facts.Backlog.Dropped > 0
	for _, s := range p.plan.Steps {
		used = used || s.ID == "rps" && s.State == Change && s.Want != "off"
	}
	s := Step{ID: "backlog", Title: "packets between processors", Source: netSysctl, Why: "packets wait here that RPS or a virtual interface hands to another processor; a thousand are a millisecond",
		Effect: "bursts are not dropped between processors (softnet_stat, second column)"}
	if !used {
		s.State, s.Effect, s.Found, s.Why = Leave, "", fmt.Sprintf("netdev_max_backlog %d", p.facts.Backlog.MaxBacklog), "nothing is handed from one processor to another on this card, and nothing was dropped there"
		p.add(s, false)
		return
	}
	if d := p.facts.Backlog.Dropped; d > 0 {
		s.Why += fmt.Sprintf("; %d were dropped since the machine was started", d)
	}
	p.sysctl(s, "net.core.netdev_max_backlog", 10_000, true)
}

// stamps is when the kernel stamps packets.
func (p *planner) stamps() {
	p.sysctl(Step{ID: "timestamps", Title: "when packets are stamped", Source: netSysctl, Why: "1 stamps before packets wait for another processor, 0 afterwards: then the wait is seen as jitter",
		Effect: "jitter is that of the network"}, "net.core.netdev_tstamp_prequeue", 1, false)
}

func (p *planner) jit() {
	p.sysctl(Step{ID: "jit", Title: "compiled filters", Source: netSysctl, Why: "without it the programs in the kernel are interpreted", Effect: "the filter and the meter take a fraction of the time"}, "net.core.bpf_jit_enable", 1, true)
}

// nothing is what people tune, and need not.
func (p *planner) nothing() {
	if v, ok := p.now["/proc/sys/net/core/rmem_max"]; ok {
		p.add(Step{ID: "rmem", State: Leave, Title: "buffers of sockets", Found: "rmem_max " + v, Source: netSysctl + "; packet(7)",
			Why: "the capture reads from rings in memory of its own (--ringbuffer), which this does not limit"}, false)
	}
	p.add(Step{ID: "huge-pages", State: Leave, Title: "reserved huge pages", Found: strconv.FormatInt(max(0, p.facts.Memory.HugePages), 10), Source: "kernel: Documentation/admin-guide/mm/hugetlbpage.rst",
		Why: "rings are of pages that the kernel finds by itself; reserved ones would lie idle"}, false)
	if p.nic.Ethtool.HardwareTime {
		p.add(Step{ID: "hardware-time", State: Leave, Title: "stamps of the card", Found: "the card can stamp all packets", Source: "kernel: Documentation/networking/timestamping.rst",
			Why: "the capture uses stamps of the kernel: one clock for all cards, kept by NTP or PTP. With the steps above they are late by some ten microseconds"}, false)
	}
}

// advice is what only people can do.
func (p *planner) advice() {
	hand := func(id, title, found, command, why, effect, source string) {
		p.add(Step{ID: id, State: ByHand, Title: title, Found: found, Command: command, Why: why, Effect: effect, Source: source, Lasts: true}, false)
	}
	most := p.channelsMax()
	switch p.card.driver {
	case "virtio_net":
		if cpus := p.facts.Host.CPUs; most > 0 && most < cpus {
			hand("host-queues", "queues of the virtual card", fmt.Sprintf("%d at most, for %d processors", most, cpus), fmt.Sprintf("at the hypervisor: <driver name='vhost' queues='%d'/>", cpus),
				"the hypervisor says how many there are, and more than processors are of no use", "packets are spread by the host, and no processor takes all", "libvirt: domain XML, multiqueue virtio-net")
		}
		if limit := p.nic.Ethtool.Limits["rings.rx"]; limit > 0 && limit < 1024 {
			hand("host-rings", "rings of the virtual card", plural(limit, "descriptor"), "at the hypervisor: <driver rx_queue_size='1024'/>",
				"the hypervisor sets their size, and 256 last for a quarter of a millisecond at a million packets a second", "bursts are not lost between host and guest", "libvirt: domain XML, rx_queue_size")
		}
	case "ena":
		const mtu = 3498 // a page, less headroom, the shared info of an skb, and headers
		if p.nic.MTU > mtu {
			hand("mtu", "MTU", strconv.FormatInt(p.nic.MTU, 10), fmt.Sprintf("ip link set %s mtu %d", p.nic.Name, mtu), "XDP in the driver takes frames that fit into a page, and is refused with a larger MTU",
				"the filter runs in the driver; frames that are longer are not received", "kernel: drivers/net/ethernet/amazon/ena/ena_xdp.h, ENA_XDP_MAX_MTU")
		}
		hand("allowances", "what the instance may take", "see the counters", "ethtool -S "+p.nic.Name+" | grep allowance_exceeded", "beyond the rate of its type an instance loses packets that no tuning here can save",
			"a larger type, or less mirrored traffic, where these counters grow", "Amazon EC2 user guide: network performance metrics of ENA")
	case "ice":
		if most == 1 {
			hand("safe-mode", "safe mode", "1 queue", "put ice.pkg into /lib/firmware/intel/ice/ddp, and load the driver again", "without its package the driver runs with one queue and without the hash", "all queues can be used", p.card.manual+" (Dynamic Device Personalization)")
		}
	case "mlx5_core":
		if n, ok := p.number("rings.rx"); ok && n > 0 {
			hand("out-of-buffer", "where loss is seen", "rx_out_of_buffer, rx_discards_phy", "ethtool -S "+p.nic.Name+" | grep -E 'out_of_buffer|discards_phy'",
				"out_of_buffer: a processor was too slow, or a ring too small. discards_phy: the card or the PCIe bus was too slow, which more queues do not help", "one knows what to change", p.card.manual+"counters.rst")
		}
	}
}
