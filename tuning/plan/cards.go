package plan

import (
	"slices"

	"ringside/tuning/inventory"
)

// card is what is known of a kind of card beside what its driver says.
type card struct {
	driver string
	name   string
	manual string // of its driver

	reach    int  // queues that are of use; 0: all that it has
	firm     bool // the hash deals out to no more, whoever asks for it
	reachWhy string
	reachBy  string

	usecs  string // interrupts are held back by so many microseconds; empty: it cannot be set
	frames string // or until so many packets have come; empty: it cannot be set
}

const (
	scaling   = "kernel: Documentation/networking/scaling.rst"
	ethtool   = "ethtool(8)"
	suricata  = "Suricata user guide: High Performance Configuration"
	netSysctl = "kernel: Documentation/admin-guide/sysctl/net.rst"
	symmetric = "Woo, Park: Scalable TCP Session Monitoring with Symmetric Receive-side Scaling (KAIST 2012); " + suricata
)

// x550 are the devices of ixgbe that came after the 82599 and the X540.
var x550 = []string{"1563", "15d1", "15aa", "15ab", "15ac", "15ad", "15ae", "15b0", "15c2", "15c3", "15c4", "15c6", "15c7", "15c8", "15ce", "15e4", "15e5"}

// steady is how long interrupts are held back: less than half a tick of an 8 kHz RTP
// clock (125 us), so that it is not seen in jitter.
const steady = "50"

// cardOf knows a card by its driver and device.
func cardOf(n *inventory.Interface) card {
	driver := n.DriverName()
	intel := "kernel: Documentation/networking/device_drivers/ethernet/intel/"
	switch driver {
	case "ixgbe":
		c := card{driver: driver, name: "Intel 82599 or X540", manual: intel + "ixgbe.rst", usecs: steady,
			reach: 16, firm: true, reachWhy: "an entry of its table has 4 bits: of the 63 queues that it offers the hash reaches 16, the rest are for Flow Director",
			reachBy: "kernel: drivers/net/ethernet/intel/ixgbe/ixgbe.h, IXGBE_MAX_RSS_INDICES"}
		if len(n.Device) == 9 && slices.Contains(x550, n.Device[5:]) {
			c.name, c.reach, c.reachWhy, c.reachBy = "Intel X550", 63, "it has interrupts for 63 queues", "kernel: drivers/net/ethernet/intel/ixgbe/ixgbe.h, IXGBE_MAX_RSS_INDICES_X550"
		}
		return c
	case "i40e":
		return card{driver: driver, name: "Intel 700 series", manual: intel + "i40e.rst", usecs: steady}
	case "ice":
		return card{driver: driver, name: "Intel 800 series", manual: intel + "ice.rst", usecs: steady}
	case "igb", "igc":
		return card{driver: driver, name: "Intel 1 Gigabit", manual: intel + "igb.rst", usecs: steady}
	case "mlx5_core":
		return card{driver: driver, name: "NVIDIA ConnectX", manual: "kernel: Documentation/networking/device_drivers/ethernet/mellanox/mlx5/", usecs: steady, frames: "64"}
	case "bnxt_en":
		return card{driver: driver, name: "Broadcom NetXtreme-C/E", manual: "kernel: drivers/net/ethernet/broadcom/bnxt/bnxt_ethtool.c", usecs: steady, frames: "64"}
	case "ena":
		most := n.Ethtool.Limits["channels.combined"]
		return card{driver: driver, name: "Amazon ENA", manual: "kernel: Documentation/networking/device_drivers/ethernet/amazon/ena.rst", usecs: steady,
			reach: most / 2, reachWhy: "XDP in the driver needs a queue to send with for each to receive with: only half of them can be used",
			reachBy: "kernel: drivers/net/ethernet/amazon/ena/ena_xdp.h, ena_xdp_legal_queue_count"}
	case "virtio_net":
		return card{driver: driver, name: "virtio", manual: "kernel: drivers/net/virtio_net.c"}
	}
	if driver == "" {
		driver = "unknown"
	}
	return card{driver: driver, name: driver, manual: ethtool, usecs: steady}
}
