package gauge

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"ringside/tuning/inventory"
)

// moment writes the files of a moment: packets, lost ones, ticks of two processors in
// softirqs of 1,000 each.
func moment(t *testing.T, packets, missed, dropped, soft0, soft1, ticks int) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range map[string]string{
		"sys/class/net/eth1/statistics/rx_packets":       fmt.Sprint(packets),
		"sys/class/net/eth1/statistics/rx_missed_errors": fmt.Sprint(missed),
		"proc/net/softnet_stat":                          fmt.Sprintf("00000001 %08x 00000000\n00000001 00000000 00000000", dropped),
		"proc/stat":                                      fmt.Sprintf("cpu 1 1 1 1 1 1 1 1 0 0\ncpu0 0 0 0 %d 0 0 %d 0 0 0\ncpu1 0 0 0 %d 0 0 %d 0 0 0\nintr 1 2", ticks-soft0, soft0, ticks-soft1, soft1),
		"proc/interrupts":                                fmt.Sprintf("   CPU0 CPU1\n 60: %d 0 PCI-MSI eth1-TxRx-0\n 61: 0 %d PCI-MSI eth1-TxRx-1\n 62: 9 9 PCI-MSI eth1", packets/10, packets/20),
	} {
		at := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(at, []byte(text+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

var card = &inventory.Interface{Name: "eth1", Driver: "ixgbe", IRQs: []inventory.IRQ{{Number: 60, Queue: 0}, {Number: 61, Queue: 1}, {Number: 62, Queue: inventory.Unknown}}}

func TestBetween(t *testing.T) {
	stats := func(q0, q1, lost uint64) map[string]uint64 {
		return map[string]uint64{"rx_queue_0_packets": q0, "rx_queue_1_packets": q1, "rx_no_dma_resources": lost, "tx_queue_0_packets": 5, "rx_no_buffer_count": 3 * lost}
	}
	a := Take(moment(t, 1000, 10, 5, 100, 0, 1000), card, stats(600, 400, 7))
	b := Take(moment(t, 21000, 30, 6, 600, 100, 2000), card, stats(15600, 5400, 17))
	r := Between(a, b, 2)
	for name, got := range map[string][2]float64{
		"packets": {r.Packets, 10_000}, "missed": {r.Lost["interface: rx_missed_errors"], 10}, "backlog": {r.Lost["kernel: backlog (softnet_stat)"], 0.5},
		"of the card": {r.Lost["card: rx_no_dma_resources"], 5}, "softirq": {r.Softirq, 0.6}, "busiest": {r.Busiest, 0.5}, "queues": {float64(r.Used), 2},
		"largest": {r.Largest, 0.75}, "interrupts": {r.IRQs, 1500},
	} {
		if got[0] != got[1] {
			t.Errorf("%s: %v, want %v", name, got[0], got[1])
		}
	}
	if _, ok := r.Lost["card: rx_no_buffer_count"]; ok {
		t.Error("packets that may have arrived after all are counted as lost")
	}
	// A counter that has begun anew is not a loss of billions.
	if again := Between(b, a, 2); again.Packets != 500 {
		t.Errorf("%+v", again)
	}
	// Where the driver does not count by queue, interrupts do.
	if r := Between(Take(moment(t, 0, 0, 0, 0, 0, 10), card, nil), Take(moment(t, 2000, 0, 0, 0, 0, 20), card, nil), 1); r.Used != 2 || r.Largest < 0.6 {
		t.Errorf("%+v", r)
	}
}

func TestCompare(t *testing.T) {
	busy := Rates{Packets: 100_000, Lost: map[string]float64{"card: x": 12, "kernel: y": 0}, Softirq: 1, Busiest: 1, Used: 1, Largest: 1}
	well := Rates{Packets: 110_000, Lost: map[string]float64{"card: x": 0, "kernel: y": 0}, Softirq: 1.1, Busiest: 0.3, Used: 4, Largest: 0.27}
	other := well
	other.Packets = 300_000
	for _, tc := range []struct {
		name          string
		before, after Rates
		caveat        string
	}{
		{"better", busy, well, ""},
		{"no loss", well, well, "nothing was lost"},
		{"other traffic", busy, other, "not the same"},
		{"traffic that began", Rates{}, other, "not the same"},
		{"quiet", Rates{Packets: 3}, Rates{Packets: 900}, "cannot be measured"},
		{"queues that nobody counts", Rates{Packets: 5000, Lost: busy.Lost}, Rates{Packets: 5000, Lost: busy.Lost}, "which queues"},
	} {
		c := Compare(tc.before, tc.after)
		if got := strings.Join(c.Caveats, "; "); (tc.caveat == "") != (got == "") || !strings.Contains(got, tc.caveat) {
			t.Errorf("%s: %q", tc.name, got)
		}
		if len(c.Lines) < 4 {
			t.Errorf("%s: %v", tc.name, c.Lines)
		}
	}
	if c := Compare(busy, well); c.Lines[1].Before != "12.0" || c.Lines[1].After != "0.0" {
		t.Errorf("%v", c.Lines)
	}
}

// A measurement by itself is no comparison.
func TestRows(t *testing.T) {
	rows := Rows(Rates{Packets: 5000, Lost: map[string]float64{"a": 0, "b": 2}, Softirq: 0.5, Used: 3, Largest: 0.5})
	want := []Row{{"packets a second", []string{"5000"}}, {"lost a second, b", []string{"2.0"}}, {"processors busy in softirq", []string{"0.50"}}, {"the busiest of them", []string{"0 %"}},
		{"queues that got packets", []string{"3"}}, {"share of the largest queue", []string{"50 %"}}}
	if !reflect.DeepEqual(rows, want) {
		t.Errorf("%v", rows)
	}
	if got := (Rates{Packets: 5000, Used: 1}).Caveats(); got != nil {
		t.Errorf("%q", got)
	}
	if got := strings.Join((Rates{}).Caveats(), "; "); !strings.Contains(got, "fewer than 1000") || !strings.Contains(got, "which queues") || strings.Contains(got, "helped") {
		t.Errorf("%q", got)
	}
}

// What the driver of the loopback interface counts, and one that is not there.
func TestStatistics(t *testing.T) {
	if stats, err := Statistics("lo"); err != nil || len(stats) != 0 {
		t.Errorf("%v, %v", stats, err)
	}
	if _, err := Statistics("no-such-if0"); err == nil || !strings.Contains(err.Error(), "no-such-if0") {
		t.Error(err)
	}
}
