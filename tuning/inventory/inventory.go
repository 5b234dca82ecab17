// Package inventory reads what a machine is and how it is set up, as far as that
// matters to capturing: processors, memory, kernel, clocks, volumes, interfaces.
//
// It only reads, and judges nothing. Files of /proc and /sys are read below a root,
// so that a tree of files can stand for a machine; what only system calls say comes
// from a Caller. What cannot be read is left at its zero value, or at Unknown where
// zero would say something.
package inventory

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Unknown stands for a number that could not be read.
const Unknown = -1

// Facts are what was read.
type Facts struct {
	Host       Host        `json:"host"`
	Kernel     Kernel      `json:"kernel"`
	Memory     Memory      `json:"memory"`
	Clock      Clock       `json:"clock"`
	Rights     Rights      `json:"rights"`
	Backlog    Backlog     `json:"backlog"`
	Interfaces []Interface `json:"interfaces"`
	Volumes    []Volume    `json:"volumes"`
	Programs   []string    `json:"programs"` // helpers that run and matter: irqbalance, chronyd, …

	Settings map[string]string `json:"settings"`         // of the machine, by file or by what package setting calls them
	Own      map[string]string `json:"own,omitempty"`    // settings that somebody has configured, with the file that says so
	Unread   map[string]string `json:"unread,omitempty"` // settings that are there and could not be read, with the reason
}

// Host is the machine.
type Host struct {
	CPUs      int            `json:"cpus"`
	Virtual   bool           `json:"virtual"`   // under a hypervisor
	Product   string         `json:"product"`   // as the firmware has it
	Governors map[string]int `json:"governors"` // of the clock rate, with the number of processors

	Online string   `json:"online"`          // processors, as a list
	Cores  []string `json:"cores"`           // processors that share a core, as lists
	Nodes  []Node   `json:"nodes,omitempty"` // of memory
	L3     string   `json:"l3,omitempty"`    // cache of the last level, as the kernel writes it: 30720K
	Idle   []Idle   `json:"idle,omitempty"`  // states that a processor without work goes to
}

// Node is a node of memory, with the processors that are near.
type Node struct {
	Number int    `json:"number"`
	CPUs   string `json:"cpus"`
}

// Idle is a state of sleep.
type Idle struct {
	Name    string `json:"name"`
	Latency int64  `json:"latency_us"` // until it runs again
}

// Kernel is what the kernel offers.
type Kernel struct {
	Release string `json:"release"`
	BTF     bool   `json:"btf"` // types of its own structures, which BPF programs need
	JIT     int    `json:"jit"` // net.core.bpf_jit_enable
	THP     string `json:"thp"` // transparent huge pages: always, madvise, never
}

// Memory is in bytes.
type Memory struct {
	Total       int64  `json:"total"`
	Available   int64  `json:"available"`
	SwapTotal   int64  `json:"swap_total"`
	SwapUsed    int64  `json:"swap_used"`
	OOMKills    int64  `json:"oom_kills"`     // of the machine since it was started
	Cgroup      string `json:"cgroup"`        // of the service, or else of this process
	CgroupLimit int64  `json:"cgroup_limit"`  // 0: none
	CgroupKills int64  `json:"cgroup_kills"`  // by its limit
	CPUQuota    string `json:"cpu_quota"`     // cpu.max: "max 100000", or microseconds in a period
	MaxMapCount int64  `json:"max_map_count"` // vm.max_map_count
	HugePages   int64  `json:"huge_pages"`    // reserved; the capture uses none
}

// Clock is the time of day.
type Clock struct {
	Source   string `json:"source"` // of the kernel: tsc, kvm-clock, hpet
	Known    bool   `json:"known"`  // the two below
	Synced   bool   `json:"synced"` // adjtimex(2) without STA_UNSYNC
	MaxError int64  `json:"max_error_us"`
}

// Rights are those of the service, or else of this process.
type Rights struct {
	Of  int    `json:"of"`       // process id
	Has uint64 `json:"has"`      // effective capabilities, capabilities(7)
	Raw string `json:"reported"` // as the kernel reports them; empty: not known
}

// Backlog is what the kernel queues before sockets.
type Backlog struct {
	MaxBacklog int64  `json:"netdev_max_backlog"`
	RmemMax    int64  `json:"rmem_max"`
	Budget     int64  `json:"netdev_budget"`
	Dropped    uint64 `json:"dropped"`  // for a full backlog, since the start of the machine
	Squeezed   uint64 `json:"squeezed"` // times that a processor had no time left to go on
}

// Interface is one that is captured, or could be.
type Interface struct {
	Name      string `json:"name"`
	Captured  bool   `json:"captured"` // it was asked for by name
	Virtual   bool   `json:"virtual"`  // no device behind it
	Driver    string `json:"driver"`
	Carrier   bool   `json:"carrier"`
	SpeedMbit int64  `json:"speed_mbit"` // 0: not known
	MTU       int64  `json:"mtu"`
	XDP       string `json:"xdp"` // native, generic, or nothing: what its driver can do
	Node      int    `json:"numa_node"`

	RxQueues int    `json:"rx_queues"`
	IRQs     []IRQ  `json:"irqs"` // of its queues
	Packets  uint64 `json:"rx_packets"`
	Dropped  uint64 `json:"rx_dropped"`
	Missed   uint64 `json:"rx_missed"` // by the card: its rings were full
	Errors   uint64 `json:"rx_errors"`

	Ethtool Ethtool   `json:"ethtool"`
	Others  []Program `json:"others"` // programs that capture on it

	Device   string            `json:"device,omitempty"`   // vendor:device on the PCI bus, 8086:10fb
	Shared   []string          `json:"shared,omitempty"`   // why the host needs it: addresses, default routes
	Settings map[string]string `json:"settings,omitempty"` // by file: RPS and XPS of its queues, its interrupts
}

// DriverName is the driver of its device, or, where it has none, what its driver calls
// itself: veth.
func (i *Interface) DriverName() string {
	if i.Driver != "" {
		return i.Driver
	}
	return i.Ethtool.Driver
}

// Program is a process.
type Program struct {
	PID  int    `json:"pid"`
	Name string `json:"name"`
}

// IRQ is an interrupt, with the processors that take it.
type IRQ struct {
	Number int    `json:"number"`
	CPUs   string `json:"cpus"` // as a list: 0-3,8
	Name   string `json:"name"`
	Queue  int    `json:"queue"` // that it is of; Unknown: of none
}

// Ethtool is what the driver says. Unknown where it does not.
type Ethtool struct {
	Ring        int `json:"ring"` // descriptors to receive into
	RingMax     int `json:"ring_max"`
	Channels    int `json:"channels"` // queues
	ChannelsMax int `json:"channels_max"`
	GRO         int `json:"gro"`    // 1: on
	LRO         int `json:"lro"`    // 1: on
	Spread      int `json:"spread"` // queues that receive-side scaling uses

	Driver       string            `json:"driver,omitempty"` // as it calls itself
	Firmware     string            `json:"firmware,omitempty"`
	Bus          string            `json:"bus,omitempty"`
	Settings     map[string]string `json:"settings,omitempty"` // all that can be changed, by the names of package driver
	Limits       map[string]int    `json:"limits,omitempty"`   // of channels and rings
	Rules        int               `json:"rules"`              // that somebody has set for flows
	HardwareTime bool              `json:"hardware_time"`      // the card can stamp every packet
}

// Volume is a file system.
type Volume struct {
	Name    string `json:"name"` // what it is for
	Dir     string `json:"dir"`
	Root    bool   `json:"root"` // it is that of /
	Total   int64  `json:"total"`
	Free    int64  `json:"free"`
	Reserve int64  `json:"reserve"` // that is to stay free; 0: none
	Type    string `json:"type"`
}

// Caller is what only system calls say.
type Caller interface {
	Ethtool(name string) Ethtool
	Clock() (synced bool, maxError int64, err error)
	Volume(dir string) (Volume, error) // Root, Total, Free, Type
	Addresses(name string) []string    // of an interface: 192.0.2.1/24
}

// Options say what to read.
type Options struct {
	Root       string   // "/"
	Caller     Caller   // System{}
	PID        int      // the service; 0: this process
	Interfaces []string // those that are captured; none: all with a device
	Volumes    []Volume // Name, Dir and Reserve
}

// Read looks at a machine.
func Read(o Options) *Facts {
	t := tree{o.Root}
	pid := "self"
	if o.PID != 0 {
		pid = strconv.Itoa(o.PID)
	}
	f := &Facts{Host: t.host(), Kernel: t.kernel(), Memory: t.memory(pid), Clock: t.clock(o.Caller), Rights: t.rights(pid), Backlog: t.backlog()}
	programs := t.programs()
	for _, p := range programs {
		if slices.Contains(helpers, p.Name) && !slices.Contains(f.Programs, p.Name) {
			f.Programs = append(f.Programs, p.Name)
		}
	}
	slices.Sort(f.Programs)
	f.Settings, f.Own, f.Unread = t.settings(f.Programs)
	f.Interfaces = t.interfaces(&o, programs)
	for _, v := range o.Volumes {
		if found, err := o.Caller.Volume(v.Dir); err == nil {
			found.Name, found.Dir, found.Reserve = v.Name, v.Dir, v.Reserve
			f.Volumes = append(f.Volumes, found)
		}
	}
	return f
}

// helpers are programs that matter to a capture, by the 15 characters that the
// kernel keeps of a name.
var helpers = []string{"irqbalance", "chronyd", "systemd-timesyn", "ntpd", "ntpsec", "ptp4l", "phc2sys", "openntpd", "tuned"}

// tree is the files of a machine.
type tree struct{ root string }

func (t tree) path(parts ...string) string {
	return filepath.Join(append([]string{t.root}, parts...)...)
}

// text is what a file says; of one that cannot be read, nothing.
func (t tree) text(parts ...string) string {
	b, err := os.ReadFile(t.path(parts...))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// number is what a file says as a number.
func (t tree) number(parts ...string) int64 {
	n, err := strconv.ParseInt(t.text(parts...), 10, 64)
	if err != nil {
		return Unknown
	}
	return n
}

func (t tree) counter(parts ...string) uint64 { return uint64(max(0, t.number(parts...))) }

// names are what a folder holds, sorted.
func (t tree) names(parts ...string) []string {
	entries, err := os.ReadDir(t.path(parts...))
	if err != nil {
		return nil
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

// there reports whether a file exists.
func (t tree) there(parts ...string) bool {
	_, err := os.Stat(t.path(parts...))
	return err == nil
}

// base is the last part of where a link leads.
func (t tree) base(parts ...string) string {
	to, err := os.Readlink(t.path(parts...))
	if err != nil {
		return ""
	}
	return filepath.Base(to)
}
