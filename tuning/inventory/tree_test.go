package inventory_test

import (
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"ringside/tuning/inventory"
	"ringside/tuning/inventory/inventorytest"
	"ringside/tuning/setting"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestRead(t *testing.T) {
	for _, tc := range []struct {
		name string
		o    inventory.Options
	}{
		{"healthy", inventory.Options{PID: 900, Interfaces: []string{"eno1", "gone0", "../../etc"}, Volumes: inventorytest.Volumes("/var/spool/ringside", "/var/lib/ringside")}},
		{"bad", inventory.Options{PID: 900, Interfaces: []string{"ens1", "enp9"}, Volumes: inventorytest.Volumes("/var/spool/ringside", "/mnt/nas/db")}},
		{"vm", inventory.Options{}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.o.Root, tc.o.Caller = inventorytest.Tree(t, filepath.Join("testdata", tc.name+".txt"))
			got, err := json.MarshalIndent(inventory.Read(tc.o), "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			inventorytest.Golden(t, filepath.Join("testdata", tc.name+".json"), string(got)+"\n", *update)
		})
	}
}

// The device above a virtio device has its interrupts; above any other is a bridge,
// whose interrupts are its own.
func TestInterruptsOfTheDeviceAbove(t *testing.T) {
	for device, want := range map[string]int{"virtio3": 1, "0000:01:00.0": 0} {
		root := t.TempDir()
		write := func(name, text string) {
			at := filepath.Join(root, name)
			if err := errors.Join(os.MkdirAll(filepath.Dir(at), 0o755), os.WriteFile(at, []byte(text+"\n"), 0o644)); err != nil {
				t.Fatal(err)
			}
		}
		const above = "sys/devices/pci0000:00/0000:00:1c.0/"
		write(above+"msi_irqs/24", "msix")
		write(above+device+"/numa_node", "0")
		write("sys/class/net/eth1/carrier", "1")
		if err := os.Symlink("../../../devices/pci0000:00/0000:00:1c.0/"+device, filepath.Join(root, "sys/class/net/eth1/device")); err != nil {
			t.Fatal(err)
		}
		write("proc/interrupts", "  24:  7  0  PCI-MSI  pciehp")
		f := inventory.Read(inventory.Options{Root: root, Caller: inventorytest.Asked{}, Interfaces: []string{"eth1"}})
		if len(f.Interfaces) != 1 || len(f.Interfaces[0].IRQs) != want {
			t.Errorf("%s: %+v", device, f.Interfaces)
		}
	}
}

// What irqbalance leaves alone and cannot be read is not taken for nothing.
func TestUnread(t *testing.T) {
	root, asked := inventorytest.Tree(t, filepath.Join("testdata", "vm.txt"))
	dropIn := filepath.Join(root, "run/systemd/system/irqbalance.service.d/ringside-tune.conf")
	for name, text := range map[string]string{dropIn: "somebody's", filepath.Join(root, "proc/444/comm"): "irqbalance"} {
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(text+"\n"), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	f := inventory.Read(inventory.Options{Root: root, Caller: asked})
	if _, ok := f.Settings[setting.Banned]; ok || !strings.Contains(f.Unread[setting.Banned], "remove it") {
		t.Errorf("%v, unread %v", f.Settings, f.Unread)
	}
}

// A machine of which nothing can be read has no facts, and is no reason to fail.
func TestNothingToRead(t *testing.T) {
	f := inventory.Read(inventory.Options{Root: t.TempDir(), Caller: inventorytest.Asked{}, Interfaces: []string{"eth0"}})
	if len(f.Interfaces) != 0 || f.Host.CPUs != 0 || f.Kernel.BTF || f.Kernel.JIT != inventory.Unknown || f.Clock.Known || f.Rights.Raw != "" {
		t.Errorf("%+v", f)
	}
}

// What system calls say of the machine that the test runs on.
func TestSystem(t *testing.T) {
	f := inventory.Read(inventory.Options{Root: "/", Caller: inventory.System{}, Interfaces: []string{"lo"}, PID: os.Getpid(),
		Volumes: inventorytest.Volumes(filepath.Join(t.TempDir(), "not", "there", "yet"))})
	if f.Host.CPUs < 1 || f.Memory.Total < 1<<20 || f.Kernel.Release == "" || f.Rights.Of != os.Getpid() || f.Rights.Raw == "" {
		t.Errorf("%+v", f)
	}
	if len(f.Volumes) != 1 || f.Volumes[0].Total == 0 || f.Volumes[0].Free > f.Volumes[0].Total {
		t.Errorf("volumes %+v", f.Volumes)
	}
	if !f.Clock.Known && runtime.GOOS == "linux" {
		t.Error("the state of the clock is not known")
	}
	if len(f.Interfaces) != 1 || !f.Interfaces[0].Virtual || f.Interfaces[0].Ethtool.Ring != inventory.Unknown || f.Interfaces[0].Ethtool.GRO == inventory.Unknown {
		t.Errorf("loopback %+v", f.Interfaces)
	}
	if e := (inventory.System{}).Ethtool("a-name-that-is-too-long"); e.GRO != inventory.Unknown || e.Channels != inventory.Unknown {
		t.Errorf("%+v", e)
	}
}

func TestSet(t *testing.T) {
	for _, tc := range []struct {
		list string
		want []int
	}{
		{"", nil}, {"3", []int{3}}, {"0-3,8\n", []int{0, 1, 2, 3, 8}}, {"x,1", []int{1}}, {"4-2", nil}, {"1-y", nil},
	} {
		if got := inventory.Set(tc.list); !reflect.DeepEqual(got, tc.want) {
			t.Errorf("%q: %v, want %v", tc.list, got, tc.want)
		}
	}
	for list, wrong := range map[string]string{"2,x8": `"x8"`, "": `""`, "1,,2": `""`, "4-2": `"4-2"`, "1-": `"1-"`, "-1": `"-1"`, "0-99999": "16384", "+1": `"+1"`, "1- 2": `"1- 2"`} {
		if got, err := inventory.ParseSet(list); err == nil || !strings.Contains(err.Error(), wrong) {
			t.Errorf("%q is taken for %v, %v", list, got, err)
		}
	}
	if got, err := inventory.ParseSet("2-5,8, 11"); err != nil || !reflect.DeepEqual(got, []int{2, 3, 4, 5, 8, 11}) {
		t.Errorf("%v, %v", got, err)
	}
	if n := len(inventory.Set("0-999999999")); n > 1<<14 {
		t.Errorf("%d processors", n)
	}
}
