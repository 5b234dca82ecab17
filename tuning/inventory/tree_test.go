package inventory_test

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"testing"

	"ringside/tuning/inventory"
	"ringside/tuning/inventory/inventorytest"
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
	if n := len(inventory.Set("0-999999999")); n > 1<<14 {
		t.Errorf("%d processors", n)
	}
}
