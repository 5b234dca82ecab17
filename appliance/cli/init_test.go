package cli

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"ringside/appliance/config"
)

func TestInit(t *testing.T) {
	path := filepath.Join(t.TempDir(), "etc", "ringside.conf")
	code, stdout, stderr := run(t, "init", "--output", path)
	if code != exitOK || !strings.Contains(stdout, "set interface there, then run: ringside check-config "+path) {
		t.Fatalf("exit %d: %s%s", code, stdout, stderr)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("%v, %v", info, err)
	}
	c, report, err := config.Load(path, config.LoadOptions{})
	if err != nil || len(report.Findings) != 0 || !reflect.DeepEqual(c, config.Default()) {
		t.Errorf("it is not the default: %v, %v", err, report)
	}

	if err := os.WriteFile(path, []byte("# mine\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, stderr := run(t, "init", "-o", path); code != exitFailure || !strings.Contains(stderr, "is there already") {
		t.Errorf("exit %d: %s", code, stderr)
	}
	if code, _, stderr := run(t, "init", "-o", path, "--force"); code != exitOK {
		t.Errorf("exit %d: %s", code, stderr)
	}
	old, err := os.ReadFile(path + ".old")
	if err != nil || string(old) != "# mine\n" {
		t.Errorf("the old file: %q, %v", old, err)
	}
	left, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(left) != 2 {
		t.Errorf("files are left: %v, %v", left, err)
	}
	if code, stdout, _ := run(t, "init", "-o", "-"); code != exitOK || !strings.Contains(stdout, "\n#interface =\n") {
		t.Errorf("exit %d: %s", code, stdout)
	}
	if code, _, stderr := run(t, "init", "-o", "-", "-i", "nosuch0"); code != exitUnavailable || !strings.Contains(stderr, "--interface nosuch0: there is no such interface") {
		t.Errorf("exit %d: %s", code, stderr)
	}
}

// A machine of files: what is read of it, and what is passed over.
func TestProbe(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	file("sys/class/net/lo/type", "772\n")
	file("sys/class/net/eth0/type", "1\n")
	file("sys/class/net/eth0/speed", "1000\n")
	file("sys/class/net/eth0/carrier", "1\n")
	file("sys/class/net/eth1/type", "1\n")
	file("sys/class/net/eth1/speed", "-1\n")
	file("sys/class/net/eth1/carrier", "0\n")
	file("sys/class/net/eth2/type", "1\n")
	file("sys/class/net/bonding_masters", "bond0\n")
	file("drivers/ixgbe/x", "")
	if err := os.MkdirAll(filepath.Join(dir, "sys/class/net/eth1/device"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(dir, "drivers/ixgbe"), filepath.Join(dir, "sys/class/net/eth1/device/driver")); err != nil {
		t.Fatal(err)
	}
	file("proc/meminfo", "MemTotal:       16384 kB\nMemFree: 1 kB\n")
	file("proc/net/route", "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\teth1\neth0\t00000000\t0100000A\t0003\t0\t0\t0\t00000000\t0\neth1\t0000000A\t0\t1\t0\t0\t0\t00FFFFFF\n")
	zero := strings.Repeat("0", 32)
	file("proc/net/ipv6_route", zero+" 00 "+zero+" 00 "+zero+" 0 0 0 0 lo\n"+zero+" 00 "+zero+" 00 "+zero+" 0 0 0 0 eth2\n")
	got := probe(machine{sys: filepath.Join(dir, "sys"), proc: filepath.Join(dir, "proc"), addresses: func(name string) int { return map[string]int{"eth0": 2}[name] }})
	want := []config.Interface{
		{Name: "eth0", Mbit: 1000, Up: true, DefaultRoute: true, Addresses: 2},
		{Name: "eth1", Driver: "ixgbe"},
		{Name: "eth2", DefaultRoute: true},
	}
	if !reflect.DeepEqual(got.Interfaces, want) || got.Memory != 16<<20 {
		t.Errorf("got  %+v, %d bytes\nwant %+v", got.Interfaces, got.Memory, want)
	}
	if len(got.Volumes) != 2 || got.Volumes[0].Bytes == 0 || got.CPUs < 1 {
		t.Errorf("got %+v", got)
	}
	if empty := probe(machine{sys: dir + "/none", proc: dir + "/none"}); empty.Interfaces != nil || empty.Memory != 0 {
		t.Errorf("of nothing it reads %+v", empty)
	}
}

func TestChosen(t *testing.T) {
	p := config.Probe{Interfaces: []config.Interface{{Name: "eth0"}, {Name: "eth1"}}, Chosen: []string{"eth1", "eth1"}}
	if err := checkChosen(p); err == nil || !strings.Contains(err.Error(), "eth1 is named twice") {
		t.Error(err)
	}
	p.Chosen = []string{"eth1", "eth0"}
	if err := checkChosen(p); err != nil {
		t.Error(err)
	}
}
