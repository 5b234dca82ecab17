package inventory

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"ringside/tuning/driver"
	"ringside/tuning/setting"
)

// ofKernel are files with a setting of the whole machine.
var ofKernel = []string{
	"/proc/sys/net/core/bpf_jit_enable", "/proc/sys/net/core/netdev_budget", "/proc/sys/net/core/netdev_budget_usecs",
	"/proc/sys/net/core/netdev_max_backlog", "/proc/sys/net/core/netdev_tstamp_prequeue", "/proc/sys/net/core/rmem_max",
	"/proc/sys/kernel/numa_balancing", "/sys/kernel/mm/transparent_hugepage/enabled",
}

// ofCPU are files with a setting of each processor.
var ofCPU = []string{"cpufreq/scaling_governor", "power/pm_qos_resume_latency_us"}

// settings are those of the machine, which of them somebody has configured, and which
// are there and cannot be read.
func (t tree) settings(programs []string) (now, own, unread map[string]string) {
	now, own, unread = make(map[string]string), make(map[string]string), make(map[string]string)
	t.keep(now, ofKernel...)
	for _, cpu := range Set(t.text("sys/devices/system/cpu/online")) {
		for _, f := range ofCPU {
			t.keep(now, fmt.Sprintf("/sys/devices/system/cpu/cpu%d/%s", cpu, f))
		}
	}
	for key, file := range t.sysctls() {
		own[key] = file
	}
	if slices.Contains(programs, "irqbalance") {
		m := setting.Machine{Root: t.root}
		if value, err := m.Read(setting.Banned); err != nil {
			unread[setting.Banned] = err.Error()
		} else {
			now[setting.Banned] = value
		}
		for _, file := range []string{"etc/default/irqbalance", "etc/sysconfig/irqbalance"} {
			for line := range strings.SplitSeq(t.text(file), "\n") {
				if name, _, ok := strings.Cut(line, "="); ok && strings.HasPrefix(name, "IRQBALANCE_") {
					own[setting.Banned] = "/" + file
				}
			}
		}
	}
	return now, own, unread
}

// keep puts what files say into a map.
func (t tree) keep(to map[string]string, files ...string) {
	for _, f := range files {
		if t.there(f) {
			to[f] = setting.Value(t.text(f))
		}
	}
}

// sysctls are the settings of the kernel that sysctl.d(5) sets, by file of /proc/sys,
// with the file that says so. A file in /usr/lib is the distribution's, nobody's own.
func (t tree) sysctls() map[string]string {
	out := make(map[string]string)
	read := func(file string) {
		for line := range strings.SplitSeq(t.text(file), "\n") {
			name, _, ok := strings.Cut(strings.TrimLeft(strings.TrimSpace(line), "-"), "=")
			if name = strings.TrimSpace(name); !ok || strings.HasPrefix(name, "#") || strings.HasPrefix(name, ";") {
				continue
			}
			if key := "/proc/sys/" + strings.ReplaceAll(name, ".", "/"); setting.Known(key) {
				out[key] = "/" + file
			}
		}
	}
	for _, dir := range []string{"run/sysctl.d", "etc/sysctl.d"} {
		for _, name := range t.names(dir) {
			if strings.HasSuffix(name, ".conf") {
				read(dir + "/" + name)
			}
		}
	}
	read("etc/sysctl.conf")
	return out
}

// ofInterface are settings of an interface that are files: which processors its queues
// are given to, and its interrupts.
func (t tree) ofInterface(i *Interface) map[string]string {
	out := make(map[string]string)
	for _, q := range t.names(classNet, i.Name, "queues") {
		for _, f := range []string{"rps_cpus", "xps_cpus"} {
			t.keep(out, "/"+classNet+"/"+i.Name+"/queues/"+q+"/"+f)
		}
	}
	for _, irq := range i.IRQs {
		t.keep(out, fmt.Sprintf("/proc/irq/%d/smp_affinity_list", irq.Number))
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

// topology reads how processors belong together.
func (t tree) topology(h *Host) {
	const cpus = "sys/devices/system/cpu"
	for _, cpu := range Set(h.Online) {
		core := t.text(cpus, fmt.Sprintf("cpu%d", cpu), "topology/thread_siblings_list")
		if core != "" && !slices.Contains(h.Cores, core) {
			h.Cores = append(h.Cores, core)
		}
	}
	for _, name := range t.names("sys/devices/system/node") {
		var n int
		if _, err := fmt.Sscanf(name, "node%d", &n); err != nil {
			continue
		}
		if list := t.text("sys/devices/system/node", name, "cpulist"); list != "" {
			h.Nodes = append(h.Nodes, Node{n, list})
		}
	}
	slices.SortFunc(h.Nodes, func(a, b Node) int { return a.Number - b.Number })
	for _, index := range t.names(cpus, "cpu0/cache") {
		if t.text(cpus, "cpu0/cache", index, "level") == "3" {
			h.L3 = t.text(cpus, "cpu0/cache", index, "size")
		}
	}
	for _, state := range t.names(cpus, "cpu0/cpuidle") {
		if name := t.text(cpus, "cpu0/cpuidle", state, "name"); name != "" {
			h.Idle = append(h.Idle, Idle{name, t.number(cpus, "cpu0/cpuidle", state, "latency")})
		}
	}
}

// shared says why the host needs an interface: for its addresses and default routes,
// or for those of what stands on it, a bridge, a bond, a VLAN.
func (t tree) shared(name string, c Caller) []string {
	routed := t.routed()
	var out []string
	seen := []string{name}
	for n := 0; n < len(seen); n++ {
		at := seen[n]
		const loopback = 772 // ARPHRD_LOOPBACK
		if t.number(classNet, at, "type") == loopback {
			out = append(out, at+" is the loopback interface")
		}
		for _, a := range c.Addresses(at) {
			p, err := netip.ParsePrefix(a)
			if err != nil || p.Addr().IsLinkLocalUnicast() || p.Addr().IsLoopback() {
				continue
			}
			out = append(out, fmt.Sprintf("%s has the address %s", at, p))
			break
		}
		if slices.Contains(routed, at) {
			out = append(out, "a default route leads to "+at)
		}
		for _, file := range t.names(classNet, at) {
			if above, ok := strings.CutPrefix(file, "upper_"); ok && !slices.Contains(seen, above) {
				seen = append(seen, above)
			}
		}
	}
	return out
}

// routed are the interfaces that a default route leads to. The columns are of
// net/ipv4/fib_trie.c and net/ipv6/route.c.
func (t tree) routed() (out []string) {
	for line := range strings.SplitSeq(t.text("proc/net/route"), "\n") {
		if f := strings.Fields(line); len(f) > 7 && f[1] == "00000000" && f[7] == "00000000" {
			out = append(out, f[0])
		}
	}
	for line := range strings.SplitSeq(t.text("proc/net/ipv6_route"), "\n") {
		f := strings.Fields(line)
		if len(f) == 10 && f[0] == strings.Repeat("0", 32) && f[1] == "00" && f[9] != "lo" {
			out = append(out, f[9])
		}
	}
	return out
}

// All are the settings of an interface by the keys of package setting: those of its
// driver and those that are files.
func (i *Interface) All() map[string]string {
	out := make(map[string]string, len(i.Settings)+len(i.Ethtool.Settings))
	for key, value := range i.Settings {
		out[key] = value
	}
	for name, value := range i.Ethtool.Settings {
		if driver.Known(name) {
			out[setting.NIC(i.Name, name)] = value
		}
	}
	return out
}
