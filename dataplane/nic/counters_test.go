package nic

import (
	"reflect"
	"testing"
)

func TestMonotonic(t *testing.T) {
	for _, tc := range []struct {
		name   string
		values []uint64 // the first before counting begins
		sum    uint64
		resets int
	}{
		{"grows", []uint64{10, 15, 15, 40}, 30, 0},
		{"began anew", []uint64{1000, 1500, 20, 30}, 530, 1},
		{"wraps at 32 bits", []uint64{0xfffffff0, 0x10}, 0x20, 0},
		{"wraps twice", []uint64{0xf0000000, 0x10000000, 0xf0000000, 5}, 0x20000000 + 0xe0000000 + 0x10000005, 0},
		{"began anew near 32 bits", []uint64{0xfffffff0, 0x50000000}, 0x50000000, 1},
		{"a little less than before", []uint64{1000, 100_000, 99_990, 100_005}, 99_005, 0},
		{"began anew beyond 32 bits", []uint64{1 << 40, 7}, 7, 1},
	} {
		var m monotonic
		resets := 0
		for i, v := range tc.values {
			if m.read(v, i > 0, false) {
				resets++
			}
		}
		if m.sum != tc.sum || resets != tc.resets {
			t.Errorf("%s: %d with %d resets, want %d with %d", tc.name, m.sum, resets, tc.sum, tc.resets)
		}
	}
}

// drivers are statistics as drivers name them, with what is to be told of them
// when each counter has grown from 0 by the number given.
var drivers = []struct {
	driver string
	stats  []stat
	lost   uint64
	losses []Loss
	queues []Queue
}{
	{"ixgbe", []stat{{"rx_packets", 100}, {"rx_missed_errors", 5}, {"rx_no_buffer_count", 9}, {"rx_no_dma_resources", 3}, {"alloc_rx_page_failed", 1},
		{"tx_queue_0_packets", 7}, {"rx_queue_0_packets", 60}, {"rx_queue_0_bytes", 600}, {"rx_queue_1_packets", 40}, {"rx_queue_1_bytes", 400}},
		8, []Loss{{"rx_missed_errors", 5}, {"rx_no_dma_resources", 3}}, []Queue{{60, 600, 0}, {40, 400, 0}}},
	{"i40e, older", []stat{{"rx_dropped", 1}, {"port.rx_dropped", 4}, {"rx-0.packets", 6}, {"rx-0.bytes", 70}, {"tx-0.packets", 9}, {"veb.rx_discards", 8}},
		5, []Loss{{"port.rx_dropped", 4}, {"rx_dropped", 1}}, []Queue{{6, 70, 0}}},
	{"i40e", []stat{{"rx_dropped", 1}, {"rx_missed_errors", 4}, {"port.rx_discards", 4}},
		5, []Loss{{"port.rx_discards", 4}, {"rx_dropped", 1}}, nil},
	{"ice", []stat{{"rx_dropped", 7}, {"rx_dropped.nic", 2}, {"rx_crc_errors.nic", 1}, {"rx_queue_0_packets", 5}, {"rx_queue_0_bytes", 50}},
		9, []Loss{{"rx_dropped", 7}, {"rx_dropped.nic", 2}}, []Queue{{5, 50, 0}}},
	{"mlx5_core", []stat{{"rx_out_of_buffer", 4}, {"rx_discards_phy", 3}, {"rx_steer_missed_packets", 900}, {"rx0_packets", 5}, {"rx0_bytes", 55},
		{"rx0_buff_alloc_err", 1}, {"rx1_packets", 6}, {"rx1_xdp_drop", 9}, {"rx_prio0_packets", 3}},
		7, []Loss{{"rx_discards_phy", 3}, {"rx_out_of_buffer", 4}}, []Queue{{5, 55, 1}, {6, 0, 0}}},
	{"bnxt_en", []stat{{"[0]: rx_ucast_packets", 5}, {"[0]: rx_mcast_packets", 2}, {"[0]: rx_bcast_packets", 1}, {"[0]: rx_discards", 4}, {"[0]: rx_ucast_bytes", 50},
		{"[0]: tx_ucast_packets", 99}, {"rx_total_discard_pkts", 4}, {"rx_stat_discard", 1}},
		5, []Loss{{"rx_stat_discard", 1}, {"rx_total_discard_pkts", 4}}, []Queue{{8, 50, 4}}},
	{"virtio_net", []stat{{"rx0_packets", 5}, {"rx0_bytes", 50}, {"rx0_drops", 2}, {"rx0_xdp_drops", 7}, {"tx0_packets", 5}, {"rx1_drops", 1}},
		3, []Loss{{"rx0_drops", 2}, {"rx1_drops", 1}}, []Queue{{5, 50, 2}, {0, 0, 1}}},
	{"virtio_net, older", []stat{{"rx_queue_0_packets", 5}, {"rx_queue_0_bytes", 50}, {"rx_queue_0_drops", 2}, {"rx_queue_0_xdp_drops", 7}},
		2, []Loss{{"rx_queue_0_drops", 2}}, []Queue{{5, 50, 2}}},
	{"ena", []stat{{"rx_drops", 3}, {"rx_overruns", 1}, {"bw_in_allowance_exceeded", 2}, {"bw_out_allowance_exceeded", 5}, {"pps_allowance_exceeded", 4},
		{"queue_0_rx_cnt", 7}, {"queue_0_rx_bytes", 70}, {"queue_0_tx_cnt", 9}},
		10, []Loss{{"bw_in_allowance_exceeded", 2}, {"pps_allowance_exceeded", 4}, {"rx_drops", 3}, {"rx_overruns", 1}}, []Queue{{7, 70, 0}}},
	{"igb", []stat{{"rx_missed_errors", 2}, {"rx_no_buffer_count", 8}, {"rx_queue_0_packets", 3}, {"rx_queue_0_bytes", 30}, {"rx_queue_0_drops", 5}, {"rx_queue_0_alloc_failed", 1}},
		7, []Loss{{"rx_missed_errors", 2}, {"rx_queue_0_drops", 5}}, []Queue{{3, 30, 6}}},
	{"igc", []stat{{"rx_missed_errors", 2}, {"rx_queue_0_packets", 3}, {"rx_queue_0_drops", 5}}, 7, []Loss{{"rx_missed_errors", 2}, {"rx_queue_0_drops", 5}}, []Queue{{3, 0, 5}}},
	{"e1000e", []stat{{"rx_missed_errors", 2}, {"rx_no_buffer_count", 8}}, 2, []Loss{{"rx_missed_errors", 2}}, nil},
	{"veth", []stat{{"peer_ifindex", 9}, {"rx_queue_0_xdp_packets", 4}, {"rx_queue_0_xdp_bytes", 40}, {"rx_queue_0_drops", 1}, {"rx_queue_0_xdp_drops", 6}},
		1, []Loss{{"rx_queue_0_drops", 1}}, []Queue{{4, 40, 1}}},
	{"vmxnet3", []stat{{"Rx Queue#", 0}, {"  pkts rx OOB", 2}, {"  drv dropped rx total", 1}, {"     err", 1}, {"Rx Queue#", 1}, {"  pkts rx OOB", 3}, {"  drv dropped rx total", 0}},
		6, []Loss{{"drv dropped rx total", 1}, {"pkts rx OOB", 5}}, nil},
	{"unknown", []stat{{"rx_missed_errors", 2}, {"rx_queue_1_packets", 3}, {"rx_queue_99999999999999999999_packets", 3}, {"rx_queue_4096_packets", 3}, {"rx_queue__packets", 1}},
		0, nil, []Queue{{}, {3, 0, 0}}},
}

func TestDrivers(t *testing.T) {
	for _, tc := range drivers {
		t.Run(tc.driver, func(t *testing.T) {
			name := tc.driver
			for _, n := range []string{"i40e", "virtio_net"} {
				if len(name) > len(n) && name[:len(n)] == n {
					name = n
				}
			}
			zero := make([]stat, len(tc.stats))
			for i, s := range tc.stats {
				zero[i].name = s.name
			}
			c := counting{name: name}
			c.read(&link{index: 1}, zero)
			c.read(&link{index: 1}, tc.stats)
			got := c.counters()
			if got.Lost != tc.lost || !reflect.DeepEqual(got.Losses, tc.losses) || !reflect.DeepEqual(got.Queues, tc.queues) || got.Resets != 0 {
				t.Errorf("%+v\nwant lost %d, %v, %v", got, tc.lost, tc.losses, tc.queues)
			}
		})
	}
}

// What is counted goes on when the interface is made anew, whatever its
// counters say then, and a reset is told once.
func TestCountingGoesOn(t *testing.T) {
	at := func(packets, missed uint64) linkStats {
		return linkStats{statRxPackets: packets, statRxBytes: 10 * packets, statRxMissed: missed, statRxFIFO: missed + 1}
	}
	c := counting{name: "unknown"}
	for i, step := range []struct {
		index           int
		stats           linkStats
		packets, missed uint64
		resets          uint64
	}{
		{1, at(1000, 7), 0, 0, 0},
		{1, at(1500, 8), 500, 1, 0},
		{1, at(20, 8), 520, 1, 1},     // began anew
		{2, at(3000, 9), 3520, 10, 2}, // another interface, with more than the last
		{2, at(3001, 9), 3521, 10, 2},
	} {
		c.read(&link{index: step.index, stats: step.stats}, nil)
		got := c.counters()
		if got.Packets != step.packets || got.Missed != step.missed || got.Resets != step.resets || got.Lost != max(got.Missed, got.FIFO) {
			t.Errorf("step %d: %+v, want %+v", i, got, step)
		}
	}
}

func TestFeatures(t *testing.T) {
	f := features{names: make([]string, 40), blocks: []featureBlock{{}, {available: 1 << 3, active: 1 << 3}}}
	f.names[35], f.names[36] = "rx-gro", "rx-lro"
	if !f.active("rx-gro") || !f.changeable("rx-gro") || f.active("rx-lro") || f.changeable("rx-lro") || f.active("none") || f.changeable("none") {
		t.Error("a feature of the second block is not found")
	}
	if got := f.hurting(); !reflect.DeepEqual(got, []string{"rx-gro"}) {
		t.Errorf("%q", got)
	}
	f.blocks = f.blocks[:1]
	if f.active("rx-gro") || f.changeable("rx-gro") {
		t.Error("a feature beyond the blocks is on")
	}
}
