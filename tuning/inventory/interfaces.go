package inventory

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"ringside/tuning/setting"
)

const classNet = "sys/class/net"

// interfaces are those that are asked for, or all with a device behind them.
func (t tree) interfaces(o *Options, programs []Program) []Interface {
	names, captured := o.Interfaces, len(o.Interfaces) > 0
	if !captured {
		for _, name := range t.names(classNet) {
			if t.there(classNet, name, "device") {
				names = append(names, name)
			}
		}
	}
	captures := t.captures(programs, o.PID)
	var out []Interface
	for _, name := range names {
		if !setting.Plain(name) || !t.there(classNet, name) {
			continue
		}
		i := t.nic(name)
		i.Captured = captured
		i.Ethtool = o.Caller.Ethtool(name)
		i.Others = captures[int(t.number(classNet, name, "ifindex"))]
		i.Shared = t.shared(name, o.Caller)
		i.Settings = t.ofInterface(&i)
		out = append(out, i)
	}
	return out
}

func (t tree) nic(name string) Interface {
	at := func(file string) []string { return []string{classNet, name, file} }
	i := Interface{
		Name: name, Virtual: !t.there(at("device")...), Driver: t.base(at("device/driver")...),
		Carrier: t.number(at("carrier")...) == 1, SpeedMbit: max(0, t.number(at("speed")...)), MTU: t.number(at("mtu")...),
		Node:    int(t.number(at("device/numa_node")...)),
		Packets: t.counter(at("statistics/rx_packets")...), Dropped: t.counter(at("statistics/rx_dropped")...),
		Missed: t.counter(at("statistics/rx_missed_errors")...), Errors: t.counter(at("statistics/rx_errors")...),
	}
	for _, q := range t.names(at("queues")...) {
		if strings.HasPrefix(q, "rx-") {
			i.RxQueues++
		}
	}
	i.XDP = xdpOf(i.Driver, i.Virtual)
	i.IRQs = t.irqs(name)
	if vendor := t.text(at("device/vendor")...); strings.HasPrefix(vendor, "0x") {
		i.Device = strings.TrimPrefix(vendor, "0x") + ":" + strings.TrimPrefix(t.text(at("device/device")...), "0x")
	}
	return i
}

// native are drivers that run XDP programs before a packet has a buffer of its own
// (docs.kernel.org lists none; these are those with ndo_bpf in the kernel's tree).
var native = []string{
	"atlantic", "bnxt_en", "dpaa2-eth", "ena", "enetc", "fec", "fsl_dpa", "funeth", "gve", "hv_netvsc", "i40e", "ice", "igb", "igc",
	"ixgbe", "ixgbevf", "iavf", "lan966x", "mana", "mlx4_en", "mlx4_core", "mlx5_core", "mtk_soc_eth", "mvneta", "mvpp2", "netsec", "nfp", "octeontx2",
	"qede", "sfc", "st_gmac", "stmmac", "thunder-nic", "ti_cpsw", "tsnep", "tun", "veth", "virtio_net", "vmxnet3", "xen-netfront",
}

func xdpOf(driver string, virtual bool) string {
	switch {
	case virtual && driver == "":
		return ""
	case slices.Contains(native, driver):
		return "native"
	}
	return "generic"
}

// irqs are the interrupts of the queues of an interface: of its device those that
// have come at all, or, where the bus does not say, those with its name.
func (t tree) irqs(name string) []IRQ {
	of := t.names(classNet, name, "device/msi_irqs")
	device := t.base(classNet, name, "device") // virtio0
	if strings.HasPrefix(device, "virtio") {
		// It has those of the PCI device above it; above any other device is a bridge,
		// which has its own. The path is not to be shortened: device is a link.
		if entries, err := os.ReadDir(t.path(classNet, name, "device") + "/../msi_irqs"); err == nil {
			for _, e := range entries {
				of = append(of, e.Name())
			}
		}
	}
	var out []IRQ
	for line := range strings.SplitSeq(t.text("proc/interrupts"), "\n") {
		number, rest, ok := strings.Cut(line, ":")
		number = strings.TrimSpace(number)
		n, err := strconv.Atoi(number)
		if !ok || err != nil {
			continue
		}
		fields := strings.Fields(rest)
		if len(fields) == 0 {
			continue
		}
		called := fields[len(fields)-1]
		named := called == name || strings.HasPrefix(called, name+"-") || strings.Contains(called, "-"+name+"-") || device != "" && strings.HasPrefix(called, device+"-")
		if !named && !(slices.Contains(of, number) && (taken(fields) || queueOf(called) >= 0)) {
			continue
		}
		cpus := t.text("proc/irq", number, "effective_affinity_list")
		if cpus == "" {
			cpus = t.text("proc/irq", number, "smp_affinity_list")
		}
		out = append(out, IRQ{n, cpus, called, queueOf(called)})
	}
	return out
}

// queueForms are the names of the interrupts of receive queues, by driver.
var queueForms = regexp.MustCompile(`(?i)(?:-TxRx-|-Tx-Rx-|-rx-|-comp-?|_comp|-input\.|^[^-]+-)(\d+)(?:@.*)?$`)

// queueOf is the queue that an interrupt is of: eth1-TxRx-3 of ixgbe, ice-eth1-TxRx-3,
// mlx5_comp3@pci:…, virtio0-input.3, eth1-Tx-Rx-3 of ena.
func queueOf(called string) int {
	found := queueForms.FindStringSubmatch(called)
	if found == nil {
		return Unknown
	}
	n, err := strconv.Atoi(found[1])
	if err != nil {
		return Unknown
	}
	return n
}

// taken reports whether a processor has had the interrupt.
func taken(fields []string) bool {
	for _, f := range fields {
		n, err := strconv.ParseUint(f, 10, 64)
		if err != nil {
			return false
		}
		if n > 0 {
			return true
		}
	}
	return false
}

// captures are the programs other than the service that have a socket for all
// packets of an interface, by its index; 0: of all interfaces. The columns of
// proc/net/packet are of net/packet/af_packet.c.
func (t tree) captures(programs []Program, service int) map[int][]Program {
	sockets := make(map[string]int) // interface by inode
	for line := range strings.SplitSeq(t.text("proc/net/packet"), "\n") {
		f := strings.Fields(line)
		if len(f) < 9 || f[3] != "0003" { // ETH_P_ALL
			continue
		}
		if index, err := strconv.Atoi(f[4]); err == nil {
			sockets[f[8]] = index
		}
	}
	out := make(map[int][]Program)
	if len(sockets) == 0 {
		return out
	}
	for _, p := range programs {
		if p.PID == service || p.Name == "ringside" {
			continue
		}
		dir := t.path("proc", strconv.Itoa(p.PID), "fd")
		for _, fd := range t.names("proc", strconv.Itoa(p.PID), "fd") {
			to, err := os.Readlink(filepath.Join(dir, fd))
			if err != nil {
				continue
			}
			inode, ok := strings.CutPrefix(to, "socket:[")
			index, found := sockets[strings.TrimSuffix(inode, "]")]
			if ok && found && !slices.Contains(out[index], p) {
				out[index] = append(out[index], p)
			}
		}
	}
	return out
}
