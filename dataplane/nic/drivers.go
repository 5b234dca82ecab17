package nic

import (
	"strconv"
	"strings"
)

// losing are the statistics of drivers that count frames which the NIC, or its
// driver, lost before anybody saw them. Those of one driver count different
// frames, so that their sum is right. A # stands for the number of a queue.

// Left out on purpose: rx_no_buffer_count of Intel's older drivers, whose frames
// waited in the NIC's memory and may have arrived after all.
var losing = map[string][]string{
	"ixgbe":      {"rx_missed_errors", "rx_no_dma_resources"},
	"i40e":       {"port.rx_dropped", "port.rx_discards", "rx_dropped"},
	"ice":        {"rx_dropped.nic", "rx_dropped"},
	"mlx5_core":  {"rx_out_of_buffer", "rx_discards_phy"},
	"bnxt_en":    {"rx_total_discard_pkts", "rx_total_ring_discards", "rx_total_oom_discards", "rx_stat_discard"},
	"virtio_net": {"rx_queue_#_drops", "rx#_drops", "rx#_hw_drops"},
	"ena":        {"rx_drops", "rx_overruns", "bw_in_allowance_exceeded", "pps_allowance_exceeded"},
	"igb":        {"rx_missed_errors", "rx_queue_#_drops"},
	"igc":        {"rx_missed_errors", "rx_queue_#_drops"},
	"e1000e":     {"rx_missed_errors"},
	"veth":       {"rx_queue_#_drops"},
	"vmxnet3":    {"pkts rx OOB", "drv dropped rx total"},
}

// Lost reports whether a statistic of a driver counts lost frames.
func Lost(driver, name string) bool {
	for _, pattern := range losing[driver] {
		before, behind, numbered := strings.Cut(pattern, "#")
		if !numbered {
			if name == pattern {
				return true
			}
			continue
		}
		middle, ok := strings.CutPrefix(name, before)
		if middle, fits := strings.CutSuffix(middle, behind); ok && fits && digits(middle) {
			return true
		}
	}
	return false
}

// queueField is what a statistic of a queue counts.
type queueField uint8

const (
	queuePackets queueField = iota
	queueBytes
	queueDrops
)

// queueForms are the forms of names in which drivers tell about a receive queue.
// A # stands for its number. A driver has one form of each field, but for those
// that tell unicast, multicast and broadcast apart, which are added up.
var queueForms = []struct {
	form  string
	field queueField
}{
	{"rx_queue_#_packets", queuePackets}, // ixgbe, igb, ice, virtio_net of older kernels
	{"rx#_packets", queuePackets},        // mlx5, virtio_net
	{"rx-#.packets", queuePackets},       // i40e
	{"rx-#.rx_packets", queuePackets},
	{"queue_#_rx_cnt", queuePackets},        // ena
	{"[#]: rx_ucast_packets", queuePackets}, // bnxt
	{"[#]: rx_mcast_packets", queuePackets},
	{"[#]: rx_bcast_packets", queuePackets},
	{"rx_queue_#_xdp_packets", queuePackets}, // veth
	{"rx_queue_#_bytes", queueBytes},
	{"rx#_bytes", queueBytes},
	{"rx-#.bytes", queueBytes},
	{"rx-#.rx_bytes", queueBytes},
	{"queue_#_rx_bytes", queueBytes},
	{"[#]: rx_ucast_bytes", queueBytes},
	{"[#]: rx_mcast_bytes", queueBytes},
	{"[#]: rx_bcast_bytes", queueBytes},
	{"rx_queue_#_xdp_bytes", queueBytes},
	{"rx_queue_#_drops", queueDrops}, // igb, virtio_net, veth
	{"rx#_drops", queueDrops},
	{"rx#_hw_drops", queueDrops},
	{"[#]: rx_discards", queueDrops},
	{"rx_queue_#_alloc_failed", queueDrops},
	{"rx#_buff_alloc_err", queueDrops},
	{"queue_#_rx_page_alloc_fail", queueDrops},
}

// QueuePackets is the receive queue whose packets a statistic counts, if it is such a
// one.
func QueuePackets(name string) (queue int, ok bool) {
	queue, field, ok := queueStat(name)
	return queue, ok && field == queuePackets
}

// queueStat takes apart the name of a statistic of a receive queue.
func queueStat(name string) (queue int, field queueField, ok bool) {
	for _, f := range queueForms {
		before, behind, _ := strings.Cut(f.form, "#")
		middle, begins := strings.CutPrefix(name, before)
		middle, ends := strings.CutSuffix(middle, behind)
		if !begins || !ends || !digits(middle) {
			continue
		}
		n, err := strconv.Atoi(middle)
		return n, f.field, err == nil && n < maxQueues
	}
	return 0, 0, false
}

// maxQueues bounds the rows that a driver's names can ask for.
const maxQueues = 4096

func digits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}
