package cli

import (
	"bufio"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"ringside/appliance/config"
)

// machine is where what is known of a machine is read.
type machine struct {
	sys, proc string
	addresses func(name string) int // of an interface
}

var thisMachine = machine{sys: "/sys", proc: "/proc", addresses: addressesOf}

// probe looks at a machine. What cannot be read is left out.
func probe(m machine) config.Probe {
	p := config.Probe{CPUs: runtime.NumCPU(), Memory: m.memory(), Interfaces: m.interfaces()}
	p.Host, _ = os.Hostname()
	standard := config.Default()
	for _, v := range []config.Volume{
		{Key: "spooldir", Dir: standard.Spool.Dir},
		{Key: "db", Dir: filepath.Dir(standard.Store.Path)},
	} {
		if measure(&v) {
			p.Volumes = append(p.Volumes, v)
		}
	}
	return p
}

// measure asks for the volume that a directory is on, or would be.
func measure(v *config.Volume) bool {
	at := v.Dir
	for {
		var s, root syscall.Statfs_t
		switch err := syscall.Statfs(at, &s); {
		case err == nil:
			v.Bytes, v.Free = int64(s.Blocks)*s.Bsize, int64(s.Bavail)*s.Bsize
			v.Root = syscall.Statfs("/", &root) == nil && root.Fsid == s.Fsid
			return true
		case at == filepath.Dir(at):
			return false
		}
		at = filepath.Dir(at)
	}
}

// memory is how many bytes the machine has.
func (m machine) memory() int64 {
	for _, fields := range m.lines("meminfo") {
		if len(fields) > 1 && fields[0] == "MemTotal:" {
			kib, _ := strconv.ParseInt(fields[1], 10, 64)
			return kib << 10
		}
	}
	return 0
}

// lines are the fields of the lines of a file of /proc.
func (m machine) lines(name string) [][]string {
	f, err := os.Open(filepath.Join(m.proc, name))
	if err != nil {
		return nil
	}
	defer f.Close()
	var out [][]string
	for in := bufio.NewScanner(f); in.Scan(); {
		out = append(out, strings.Fields(in.Text()))
	}
	return out
}

// interfaces are those of the machine but the loopback, by name.
func (m machine) interfaces() []config.Interface {
	folder := filepath.Join(m.sys, "class", "net")
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil
	}
	routes := m.defaultRoutes()
	var out []config.Interface
	for _, e := range entries {
		dir := filepath.Join(folder, e.Name())
		const loopback = "772" // ARPHRD_LOOPBACK
		if e.Name() == "lo" || word(dir, "type") == loopback || word(dir, "type") == "" {
			continue
		}
		i := config.Interface{Name: e.Name(), DefaultRoute: slices.Contains(routes, e.Name()), Addresses: m.addresses(e.Name())}
		i.Up = word(dir, "carrier") == "1"
		if mbit, err := strconv.Atoi(word(dir, "speed")); err == nil && mbit > 0 {
			i.Mbit = mbit
		}
		if driver, err := os.Readlink(filepath.Join(dir, "device", "driver")); err == nil {
			i.Driver = filepath.Base(driver)
		}
		out = append(out, i)
	}
	return out
}

// word is what a file of /sys says; of a file that cannot be read, nothing.
func word(dir, name string) string {
	b, _ := os.ReadFile(filepath.Join(dir, name))
	return strings.TrimSpace(string(b))
}

// defaultRoutes are the interfaces by which the machine reaches others.
func (m machine) defaultRoutes() []string {
	var out []string
	for _, f := range m.lines("net/route") { // Iface Destination Gateway Flags … Mask
		if len(f) > 7 && f[1] == "00000000" && f[7] == "00000000" {
			out = append(out, f[0])
		}
	}
	for _, f := range m.lines("net/ipv6_route") { // destination, its length, …, interface
		if len(f) == 10 && f[1] == "00" && strings.Trim(f[0], "0") == "" && f[9] != "lo" {
			out = append(out, f[9])
		}
	}
	return out
}

// addressesOf are how many an interface has, without those that every one has by
// itself (link-local IPv6).
func addressesOf(name string) int {
	i, err := net.InterfaceByName(name)
	if err != nil {
		return 0
	}
	list, _ := i.Addrs()
	n := 0
	for _, a := range list {
		if p, err := netip.ParsePrefix(a.String()); err == nil && !p.Addr().IsLinkLocalUnicast() {
			n++
		}
	}
	return n
}
