package doctor

import (
	"fmt"
	"slices"
	"strings"

	"ringside/tuning/setting"
)

// Capabilities that capturing uses, by number (linux/capability.h).
var capabilities = []struct {
	number   uint
	name     string
	severity Severity
	why      string
}{
	{13, "cap_net_raw", Severe, "without it no packet can be captured"},
	{12, "cap_net_admin", Warning, "without it an interface cannot be made to take all packets, and nothing is filtered in the kernel"},
	{39, "cap_bpf", Warning, "without it the filter and the meters of the kernel cannot be loaded: every RTP packet goes to user space"},
	{38, "cap_perfmon", Warning, "without it the programs of the kernel may not read packets as they must"},
}

func (e *examination) rights() {
	if e.Rights.Raw == "" {
		return
	}
	whose := "this process"
	if e.Rights.Of != 0 {
		whose = fmt.Sprintf("the service (process %d)", e.Rights.Of)
	}
	const sysAdmin = 21 // stands for cap_bpf and cap_perfmon
	for _, c := range capabilities {
		if e.Rights.Has&(1<<c.number) != 0 || c.number > 32 && e.Rights.Has&(1<<sysAdmin) != 0 {
			continue
		}
		severity, remedy := c.severity, "give it in the unit: AmbientCapabilities and CapabilityBoundingSet with "+strings.ToUpper(c.name)
		if e.Rights.Of == 0 { // who asks need not be who captures
			severity, remedy = Note, "run ringside doctor as root, or while the service runs"
		}
		e.add(Finding{"rights", c.name, severity, "the right " + c.name + " is missing", whose + " has the rights " + e.Rights.Raw, c.why, remedy})
	}
}

func (e *examination) kernel() {
	k := &e.Kernel
	if !k.BTF {
		e.add(Finding{"btf", "", Warning, "the kernel does not describe its own structures", "there is no /sys/kernel/btf/vmlinux (kernel " + k.Release + ")",
			"the programs of the kernel cannot be fitted to it: nothing is filtered and metered there",
			"use a kernel with CONFIG_DEBUG_INFO_BTF, as distributions have since 2020"})
	}
	if k.JIT == 0 {
		e.add(Finding{"jit", "", Warning, "programs of the kernel are interpreted", "net.core.bpf_jit_enable = 0",
			"the filter and the meters take several times the processor time", "sysctl -w net.core.bpf_jit_enable=1"})
	}
	if k.THP == "always" {
		e.add(Finding{"thp", "", Note, "huge pages are used without being asked for", "transparent_hugepage/enabled is always",
			"the kernel stops threads to make them, and memory looks more than it is", "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled"})
	}
}

func (e *examination) processors() {
	h := &e.Host
	for _, g := range []string{"powersave", "conservative", "ondemand"} {
		if n := h.Governors[g]; n > 0 {
			e.add(Finding{"governor", "", Warning, "processors save power", fmt.Sprintf("the governor of %d of %d is %s", n, h.CPUs, g),
				"a processor that sleeps or is slow when packets come lets rings fill up", "cpupower frequency-set -g performance"})
		}
	}
	if quota, period, ok := strings.Cut(e.Memory.CPUQuota, " "); ok && quota != "max" {
		e.add(Finding{"cpu-quota", "", Warning, "the service may not use all processor time", fmt.Sprintf("cpu.max is %s us in %s us", quota, period),
			"when the time is used up all of its threads stand still until the next period, and rings fill up", "take CPUQuota out of the unit"})
	}
	if h.Virtual {
		e.add(Finding{"virtual", "", Note, "the machine is virtual", strings.TrimSpace("a hypervisor runs it " + parenthesis(h.Product)),
			"processors may be taken away at any moment; packets wait or are lost then, and their times are less exact",
			"reserve its processors and memory at the hypervisor, and pass an interface through"})
	}
	if !slices.Contains(e.Programs, "irqbalance") || !slices.ContainsFunc(e.Interfaces, hasIRQs) {
		return
	}
	// It may have been told to leave some alone.
	if told, why := e.Settings[setting.Banned], e.Unread[setting.Banned]; why != "" {
		e.add(Finding{"irqbalance", "", Note, "irqbalance may move interrupts", why, "a queue's interrupts wander to processors that have other work, unless it was told to leave them alone", "ask again as root"})
	} else if told == "" || told == setting.None {
		e.add(Finding{"irqbalance", "", Warning, "irqbalance moves interrupts", "irqbalance runs",
			"a queue's interrupts wander to processors that have other work, and packets of a queue get out of order while they do",
			"systemctl disable --now irqbalance"})
	}
}

func parenthesis(s string) string {
	if s == "" {
		return ""
	}
	return "(" + s + ")"
}

// sources are clocks of the kernel that are quick to read.
var sources = []string{"tsc", "kvm-clock", "arch_sys_counter", "hyperv_clocksource_tsc_page", "xen", ""}

func (e *examination) clock() {
	c := &e.Clock
	helper := "no program that sets it is known to run"
	for _, p := range e.Programs {
		if slices.Contains([]string{"chronyd", "systemd-timesyn", "ntpd", "ntpsec", "openntpd", "ptp4l", "phc2sys"}, p) {
			helper = p + " runs"
		}
	}
	const largest = 100_000 // microseconds
	switch {
	case c.Known && !c.Synced:
		e.add(Finding{"clock", "", Warning, "the time of day is not synchronised", "the kernel says STA_UNSYNC; " + helper,
			"times of calls are wrong, and calls seen by two sensors do not fit together; when it is set, durations are wrong by that",
			"apt install chrony, and wait until \"chronyc tracking\" says Normal"})
	case c.Known && c.MaxError > largest:
		e.add(Finding{"clock", "", Note, "the time of day may be wrong", fmt.Sprintf("the kernel says: by at most %.3f s; %s", float64(c.MaxError)/1e6, helper),
			"calls seen by two sensors fit together less well", "chronyc tracking, and a time server that is nearer"})
	}
	if !slices.Contains(sources, c.Source) {
		e.add(Finding{"clock-source", "", Warning, "the clock is slow to read", "the clock source is " + c.Source,
			"every packet is stamped by it: that takes a microsecond or more instead of some 20 ns",
			"see dmesg for why tsc was given up; with newer firmware or tsc=reliable the kernel may use it"})
	}
}

func (e *examination) memory() {
	m, s := &e.Memory, e.service
	limit, from := m.Total, "the machine"
	if m.CgroupLimit > 0 && m.CgroupLimit < limit {
		limit, from = m.CgroupLimit, "its control group"
	}
	if s.Budget > 0 && limit > 0 && s.Budget > limit {
		e.add(Finding{"budget", "", Severe, "the service may come to take more memory than there is",
			fmt.Sprintf("its budget is %s, and %s has %s", size(s.Budget), from, size(limit)),
			"the kernel kills it when that happens", "set lower buffers (max_buffer_mem, calls_max), or raise MemoryMax of the unit"})
	}
	if m.CgroupKills > 0 {
		e.add(Finding{"oom", "", Severe, "the kernel has killed in the control group of the service",
			fmt.Sprintf("oom_kill %d in memory.events of %s", m.CgroupKills, m.Cgroup),
			"what was not written yet is lost each time", "journalctl -k -g oom; raise MemoryMax of the unit or set lower buffers"})
	} else if m.OOMKills > 0 {
		e.add(Finding{"oom", "", Warning, "the kernel has killed for want of memory", fmt.Sprintf("oom_kill %d in /proc/vmstat", m.OOMKills),
			"next time it may be the capture", "journalctl -k -g oom; move other programs off the machine, or add memory"})
	}
	const noticeable = 64 << 20
	if m.SwapUsed > noticeable {
		e.add(Finding{"swap", "", Warning, "memory is swapped out", fmt.Sprintf("%s of %s of swap are used", size(m.SwapUsed), size(m.SwapTotal)),
			"a thread that waits for a page does not read its ring", "free memory, then swapoff -a; a capture is better off without swap"})
	}
}

func (e *examination) backlog() {
	b := &e.Backlog
	if b.Dropped > 0 {
		e.add(Finding{"backlog", "", Warning, "the kernel's backlog was full", fmt.Sprintf("%s packets dropped (softnet_stat), netdev_max_backlog %d", count(b.Dropped), b.MaxBacklog),
			"packets that are handed from one processor to another were lost, since the machine was started",
			fmt.Sprintf("sysctl -w net.core.netdev_max_backlog=%d", max(10_000, 2*b.MaxBacklog))})
	}
	const often = 1000
	if b.Squeezed > often {
		e.add(Finding{"budget-net", "", Note, "processors run out of time for packets", fmt.Sprintf("%s times (softnet_stat), netdev_budget %d", count(b.Squeezed), b.Budget),
			"packets wait on the card meanwhile, and are lost if its rings are small",
			fmt.Sprintf("sysctl -w net.core.netdev_budget=%d net.core.netdev_budget_usecs=8000", max(600, 2*b.Budget))})
	}
}
