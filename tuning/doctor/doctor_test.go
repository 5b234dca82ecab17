package doctor_test

import (
	"flag"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"ringside/tuning/doctor"
	"ringside/tuning/inventory"
	"ringside/tuning/inventory/inventorytest"
	"ringside/tuning/setting"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestExamine(t *testing.T) {
	const gib = 1 << 30
	well := &doctor.Service{Running: true, State: "healthy", StoreQueue: 0.01, Budget: 4 * gib, Limit: 30 * gib, Drops: []doctor.Drop{{Interface: "eno1", Stage: "nic", Reason: "missed"}}}
	badly := &doctor.Service{
		Running: true, State: "degraded", StoreQueue: 0.8, Budget: 3 * gib,
		Why: []doctor.Condition{
			{Text: "only one direction of calls is seen: let the mirror port copy both, received and sent"},
			{Text: "enp9: no link", Failing: true},
			{Text: "packets are lost: ens1 ring full, 12 a second"},
		},
		Drops: []doctor.Drop{
			{Interface: "ens1", Stage: "ring", Reason: "full", Packets: 123456, Rate: 12},
			{Stage: "spool", Reason: "no memory", Packets: 7},
			{Stage: "a stage to come", Reason: "unknown", Packets: 1},
		},
		Gaps: []string{"ens1: 17 packets are missing between the filter and the rings"},
	}
	for _, tc := range []struct {
		name    string
		o       inventory.Options
		reserve int64
		service *doctor.Service
		severe  bool
	}{
		{"healthy", inventory.Options{PID: 900, Interfaces: []string{"eno1"}, Volumes: inventorytest.Volumes("/var/spool/ringside", "/var/lib/ringside")}, 10 * gib, well, false},
		{"bad", inventory.Options{PID: 900, Interfaces: []string{"ens1", "enp9"}, Volumes: inventorytest.Volumes("/var/spool/ringside", "/mnt/nas/db")}, 10 * gib, badly, true},
		{"vm", inventory.Options{}, 0, &doctor.Service{StoreQueue: -1}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.o.Root, tc.o.Caller = inventorytest.Tree(t, filepath.Join("..", "inventory", "testdata", tc.name+".txt"))
			if len(tc.o.Volumes) > 0 {
				tc.o.Volumes[0].Reserve = tc.reserve
			}
			found := doctor.Examine(inventory.Read(tc.o), tc.service)
			var b strings.Builder
			for _, f := range found {
				fmt.Fprintf(&b, "%s %s %s\n  %s\n  read: %s\n  why: %s\n  do: %s\n", f.Severity, f.ID, f.Of, f.Title, f.Evidence, f.Why, f.Remedy)
				if f.Title == "" || f.Evidence == "" || f.Why == "" || f.Remedy == "" {
					t.Errorf("%s does not say everything", f.ID)
				}
			}
			inventorytest.Golden(t, filepath.Join("testdata", tc.name+".txt"), b.String(), *update)
			if doctor.Worst(found) != tc.severe {
				t.Errorf("severe: %v, want %v", !tc.severe, tc.severe)
			}
			if tc.name == "healthy" && len(found) != 0 {
				t.Errorf("a machine that is set up well has %d findings", len(found))
			}
		})
	}
}

// One fact at a time: what it brings about, and what it does not.
func TestOneFact(t *testing.T) {
	well := func() *inventory.Facts {
		return &inventory.Facts{
			Host: inventory.Host{CPUs: 4}, Kernel: inventory.Kernel{BTF: true, JIT: 1}, Memory: inventory.Memory{Total: 8 << 30},
			Clock: inventory.Clock{Source: "tsc", Known: true, Synced: true},
			Interfaces: []inventory.Interface{{Name: "a", Carrier: true, XDP: "native", Packets: 1000,
				Ethtool: inventory.Ethtool{Ring: 4096, RingMax: 8192, Channels: 4, ChannelsMax: 8, Spread: 4}}},
		}
	}
	nic := func(change func(*inventory.Interface)) func(*inventory.Facts) {
		return func(f *inventory.Facts) { change(&f.Interfaces[0]) }
	}
	volume := func(v inventory.Volume) func(*inventory.Facts) {
		return func(f *inventory.Facts) { f.Volumes = []inventory.Volume{v} }
	}
	for _, tc := range []struct {
		name   string
		change func(*inventory.Facts)
		want   string // severity and id; empty: nothing
	}{
		{"nothing", func(*inventory.Facts) {}, ""},
		{"clock not known", func(f *inventory.Facts) { f.Clock = inventory.Clock{} }, ""},
		{"JIT not known", func(f *inventory.Facts) { f.Kernel.JIT = inventory.Unknown }, ""},
		{"rights of all", func(f *inventory.Facts) { f.Rights = inventory.Rights{Of: 1, Has: 1<<41 - 1, Raw: "1ffffffffff"} }, ""},
		{"sys_admin stands for bpf", func(f *inventory.Facts) { f.Rights = inventory.Rights{Of: 1, Has: 1<<21 | 1<<12 | 1<<13, Raw: "x"} }, ""},
		{"no raw sockets", func(f *inventory.Facts) { f.Rights = inventory.Rights{Of: 1, Has: 1<<21 | 1<<12, Raw: "x"} }, "severe rights"},
		{"few missed", nic(func(i *inventory.Interface) { i.Packets, i.Missed = 1e9, 1 }), "warning missed"},
		{"many missed", nic(func(i *inventory.Interface) { i.Missed = 1 }), "severe missed"},
		{"driver does not say", nic(func(i *inventory.Interface) {
			i.Ethtool = inventory.Ethtool{Ring: -1, RingMax: -1, Channels: -1, ChannelsMax: -1, GRO: -1, LRO: -1, Spread: -1}
		}), ""},
		{"GRO of a virtual interface", nic(func(i *inventory.Interface) { i.Virtual, i.Ethtool.GRO = true, 1 }), ""},
		{"interrupts everywhere", nic(func(i *inventory.Interface) {
			i.IRQs = []inventory.IRQ{{Number: 1, CPUs: "0-3"}, {Number: 2, CPUs: "0-3"}}
		}), ""},
		{"irqbalance", func(f *inventory.Facts) {
			f.Programs, f.Interfaces[0].IRQs = []string{"irqbalance"}, []inventory.IRQ{{Number: 1, CPUs: "0-3"}, {Number: 2, CPUs: "0-3"}}
		}, "warning irqbalance"},
		{"irqbalance that nobody may ask", func(f *inventory.Facts) {
			f.Programs, f.Interfaces[0].IRQs = []string{"irqbalance"}, []inventory.IRQ{{Number: 1, CPUs: "0-3"}, {Number: 2, CPUs: "0-3"}}
			f.Unread = map[string]string{setting.Banned: "permission denied"}
		}, "note irqbalance"},
		{"interrupts on one", nic(func(i *inventory.Interface) { i.IRQs = []inventory.IRQ{{Number: 1, CPUs: "2"}, {Number: 2, CPUs: "2"}} }), "warning irqs"},
		{"spool on root", volume(inventory.Volume{Name: "spool", Dir: "/s", Root: true, Total: 100, Free: 90}), "warning spool-root"},
		{"store on root", volume(inventory.Volume{Name: "store", Dir: "/s", Root: true, Total: 100, Free: 90}), ""},
		{"in memory", volume(inventory.Volume{Name: "spool", Dir: "/s", Total: 100, Free: 90, Type: "tmpfs"}), "severe volume-type"},
		{"nearly full", volume(inventory.Volume{Name: "store", Dir: "/s", Total: 100, Free: 4}), "warning disk"},
		{"a little swap", func(f *inventory.Facts) { f.Memory.SwapTotal, f.Memory.SwapUsed = 1<<30, 1<<20 }, ""},
		{"no link, and nobody asks for it", nic(func(i *inventory.Interface) { i.Carrier = false }), ""},
		{"no link", nic(func(i *inventory.Interface) { i.Carrier, i.Captured = false, true }), "severe link"},
		{"no interface", func(f *inventory.Facts) { f.Interfaces = nil }, "note no-interface"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := well()
			tc.change(f)
			got := ""
			for _, found := range doctor.Examine(f, &doctor.Service{Running: true, StoreQueue: -1}) {
				got += string(found.Severity) + " " + found.ID
			}
			if got != tc.want {
				t.Errorf("%q, want %q", got, tc.want)
			}
		})
	}
}
