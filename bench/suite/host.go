package suite

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"ringside/bench/report"
)

// host describes this machine and the link.
func (b *Bench) host(ctx context.Context) report.Host {
	h := report.Host{
		CPU: CPUName(), CPUs: runtime.NumCPU(), System: osRelease(), Governor: read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
		Virtual: virtual(), Send: b.Send, Receive: b.Receive, XDP: "not tried",
	}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		h.Kernel = unix.ByteSliceToString(u.Release[:])
	}
	var si syscall.Sysinfo_t
	if syscall.Sysinfo(&si) == nil {
		h.Memory = int64(si.Totalram) * int64(si.Unit)
	}
	load, _, _ := strings.Cut(read("/proc/loadavg"), " ")
	h.Load, _ = strconv.ParseFloat(load, 64)
	if b.From == "" {
		h.Link, h.NIC, h.Driver, h.Queues = "veth between two namespaces, threaded NAPI", "none: memory of the host", "veth", 1
		return h
	}
	h.Link = "wire from " + b.From + " to " + b.To
	h.Driver, h.NIC = driver(ctx, b.To), nicName(b.To)
	_, h.Queues = channels(b.To)
	if speed := read("/sys/class/net/" + b.To + "/speed"); speed != "" {
		h.Speed = speed + " Mbit/s"
	}
	return h
}

// CPUName is what the processor is called.
func CPUName() string {
	for line := range strings.Lines(read("/proc/cpuinfo")) {
		name, value, _ := strings.Cut(line, ":")
		if name = strings.TrimSpace(name); name == "model name" || name == "Model" {
			return strings.Join(strings.Fields(value), " ")
		}
	}
	return runtime.GOARCH
}

func osRelease() string {
	for line := range strings.Lines(read("/etc/os-release")) {
		if v, ok := strings.CutPrefix(line, "PRETTY_NAME="); ok {
			return strings.Trim(strings.TrimSpace(v), `"`)
		}
	}
	return "Linux"
}

// virtual is the hypervisor, or that there is one; empty on real hardware.
func virtual() string {
	vendor := read("/sys/class/dmi/id/sys_vendor")
	for line := range strings.Lines(read("/proc/cpuinfo")) {
		if strings.HasPrefix(line, "flags") && strings.Contains(line, " hypervisor") {
			return strings.TrimSpace("yes " + vendor)
		}
	}
	return ""
}

// driver is the driver of an interface, with its version and firmware as ethtool says them.
func driver(ctx context.Context, iface string) string {
	out, err := exec.CommandContext(ctx, "ethtool", "-i", iface).Output()
	if err != nil {
		return "unknown"
	}
	var parts []string
	for line := range strings.Lines(string(out)) {
		name, value, _ := strings.Cut(line, ":")
		switch value = strings.TrimSpace(value); {
		case name == "driver":
			parts = append(parts, value)
		case name == "firmware-version" && value != "":
			parts = append(parts, "firmware "+value)
		}
	}
	return strings.Join(parts, ", ")
}

// nicName is where the device is, and its vendor's and its own number.
func nicName(iface string) string {
	device, err := filepath.EvalSymlinks("/sys/class/net/" + iface + "/device")
	if err != nil {
		return "virtual"
	}
	return strings.TrimSpace(filepath.Base(device) + " " + read(device+"/vendor") + ":" + read(device+"/device"))
}

// version is what ringside says it is.
func version(ctx context.Context, program string) string {
	out, err := exec.CommandContext(ctx, program, "--version").Output()
	if err != nil {
		return "unknown"
	}
	return firstLine(string(out))
}

// read is the text of a file that may not be there.
func read(path string) string {
	b, _ := os.ReadFile(path)
	return strings.TrimSpace(string(b))
}

// firstLine is the first line of a text, not too long.
func firstLine(text string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	if r := []rune(line); len(r) > 300 {
		line = string(r[:300]) + "…"
	}
	return line
}
