package inventory

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

func (t tree) host() Host {
	h := Host{Product: strings.TrimSpace(t.text("sys/class/dmi/id/sys_vendor") + " " + t.text("sys/class/dmi/id/product_name")), Governors: map[string]int{}}
	h.Online = t.text("sys/devices/system/cpu/online")
	h.CPUs = len(Set(h.Online))
	t.topology(&h)
	for line := range strings.SplitSeq(t.text("proc/cpuinfo"), "\n") {
		if name, flags, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "flags" {
			h.Virtual = slices.Contains(strings.Fields(flags), "hypervisor")
			break
		}
	}
	for _, cpu := range t.names("sys/devices/system/cpu") {
		if g := t.text("sys/devices/system/cpu", cpu, "cpufreq/scaling_governor"); g != "" {
			h.Governors[g]++
		}
	}
	return h
}

func (t tree) kernel() Kernel {
	k := Kernel{
		Release: t.text("proc/sys/kernel/osrelease"),
		BTF:     t.there("sys/kernel/btf/vmlinux"),
		JIT:     int(t.number("proc/sys/net/core/bpf_jit_enable")),
	}
	_, chosen, ok := strings.Cut(t.text("sys/kernel/mm/transparent_hugepage/enabled"), "[")
	if chosen, _, _ = strings.Cut(chosen, "]"); ok {
		k.THP = chosen
	}
	return k
}

func (t tree) memory(pid string) Memory {
	m := Memory{OOMKills: Unknown, CgroupKills: Unknown, MaxMapCount: t.number("proc/sys/vm/max_map_count"), HugePages: t.number("proc/sys/vm/nr_hugepages")}
	kib := t.table("proc/meminfo")
	m.Total, m.Available = kib["MemTotal:"]<<10, kib["MemAvailable:"]<<10
	m.SwapTotal, m.SwapUsed = kib["SwapTotal:"]<<10, (kib["SwapTotal:"]-kib["SwapFree:"])<<10
	if n, ok := t.table("proc/vmstat")["oom_kill"]; ok {
		m.OOMKills = n
	}
	for line := range strings.SplitSeq(t.text("proc", pid, "cgroup"), "\n") {
		if path, ok := strings.CutPrefix(line, "0::"); ok { // version 2
			m.Cgroup = path
		}
	}
	if m.Cgroup == "" {
		return m
	}
	// A limit of a group holds for the groups in it.
	for at := m.Cgroup; ; {
		if n := t.number("sys/fs/cgroup", at, "memory.max"); n > 0 && (m.CgroupLimit == 0 || n < m.CgroupLimit) {
			m.CgroupLimit = n
		}
		up := at[:max(0, strings.LastIndexByte(at, '/'))]
		if up == at || at == "" || at == "/" {
			break
		}
		at = up
	}
	m.CPUQuota = t.text("sys/fs/cgroup", m.Cgroup, "cpu.max")
	if n, ok := t.table("sys/fs/cgroup", m.Cgroup, "memory.events")["oom_kill"]; ok {
		m.CgroupKills = n
	}
	return m
}

// table is a file of names with numbers.
func (t tree) table(parts ...string) map[string]int64 {
	out := make(map[string]int64)
	for line := range strings.SplitSeq(t.text(parts...), "\n") {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		if n, err := strconv.ParseInt(f[1], 10, 64); err == nil {
			out[f[0]] = n
		}
	}
	return out
}

func (t tree) clock(c Caller) Clock {
	out := Clock{Source: t.text("sys/devices/system/clocksource/clocksource0/current_clocksource")}
	synced, most, err := c.Clock()
	if err == nil {
		out.Known, out.Synced, out.MaxError = true, synced, most
	}
	return out
}

func (t tree) rights(pid string) Rights {
	r := Rights{}
	r.Of, _ = strconv.Atoi(pid)
	for line := range strings.SplitSeq(t.text("proc", pid, "status"), "\n") {
		if hex, ok := strings.CutPrefix(line, "CapEff:"); ok {
			if n, err := strconv.ParseUint(strings.TrimSpace(hex), 16, 64); err == nil {
				r.Has, r.Raw = n, strings.TrimSpace(hex)
			}
		}
	}
	return r
}

// backlog reads what the kernel queues. The columns of softnet_stat are of
// net/core/net-procfs.c: processed, dropped, squeezed, …, a line for each processor.
func (t tree) backlog() Backlog {
	b := Backlog{
		MaxBacklog: t.number("proc/sys/net/core/netdev_max_backlog"),
		RmemMax:    t.number("proc/sys/net/core/rmem_max"),
		Budget:     t.number("proc/sys/net/core/netdev_budget"),
	}
	for line := range strings.SplitSeq(t.text("proc/net/softnet_stat"), "\n") {
		f := strings.Fields(line)
		if len(f) < 3 {
			continue
		}
		dropped, _ := strconv.ParseUint(f[1], 16, 32)
		squeezed, _ := strconv.ParseUint(f[2], 16, 32)
		b.Dropped, b.Squeezed = b.Dropped+dropped, b.Squeezed+squeezed
	}
	return b
}

// programs are the processes of the machine.
func (t tree) programs() []Program {
	var out []Program
	for _, name := range t.names("proc") {
		if pid, err := strconv.Atoi(name); err == nil {
			if comm := t.text("proc", name, "comm"); comm != "" {
				out = append(out, Program{pid, comm})
			}
		}
	}
	return out
}

// mostListed is how many numbers a list can have: more than a kernel has processors.
const mostListed = 1 << 14

// Set is the numbers of a list as the kernel writes it: 0-3,8. What is none is left out.
func Set(list string) []int {
	var out []int
	for part := range strings.SplitSeq(strings.TrimSpace(list), ",") {
		from, to, err := span(part)
		for n := from; err == nil && n <= to && len(out) < mostListed; n++ {
			out = append(out, n)
		}
	}
	return out
}

// ParseSet is the numbers of a list that somebody has written; an error names what is
// wrong in it.
func ParseSet(list string) ([]int, error) {
	for part := range strings.SplitSeq(list, ",") {
		part = strings.TrimSpace(part)
		switch from, to, err := span(part); {
		case err != nil || from < 0 || from > to || strings.Trim(part, "0123456789-") != "":
			return nil, fmt.Errorf("%q is neither a number nor a range like 2-5", part)
		case to >= mostListed:
			return nil, fmt.Errorf("%q is too large: write numbers below %d", part, mostListed)
		}
	}
	return Set(strings.ReplaceAll(list, " ", "")), nil
}

// span are the first and the last number of a part of a list: 8, or 2-5.
func span(part string) (from, to int, err error) {
	low, high, ranged := strings.Cut(part, "-")
	if from, err = strconv.Atoi(low); err != nil || !ranged {
		return from, from, err
	}
	to, err = strconv.Atoi(high)
	return from, to, err
}
