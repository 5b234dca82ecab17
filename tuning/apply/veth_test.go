package apply

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"ringside/tuning/driver"
	"ringside/tuning/inventory"
	"ringside/tuning/plan"
	"ringside/tuning/setting"
)

const within = "RINGSIDE_TUNE_VETH" // set in the process that has a network of its own

// A veth with a network of its own is tuned by its driver and its files in /sys, and
// is as it was afterwards. The interrupts and the rest of the machine are a fixture.
func TestVeth(t *testing.T) {
	if os.Getenv(within) != "" {
		inNamespace(t)
		return
	}
	if os.Geteuid() != 0 {
		t.Skip("makes a network namespace: run as root")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("ip(8) is not installed")
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), exe, "-test.run=^TestVeth$", "-test.v")
	c.Env = append(os.Environ(), within+"=yes")
	// The namespaces go away with the process, and the veth with them.
	c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS}
	out, err := c.CombinedOutput()
	if errors.Is(err, os.ErrPermission) {
		t.Skipf("makes a network namespace: %v", err)
	}
	if strings.Contains(string(out), "SKIP: TestVeth") {
		t.Skipf("%s", out)
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

func inNamespace(t *testing.T) {
	newVeth(t)
	root := hostOf(t)
	s, err := driver.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	tuner := &Tuner{Machine: &setting.Machine{Root: root, Driver: s}, Dir: filepath.Join(t.TempDir(), "state"), Look: func() (*inventory.Facts, error) {
		return inventory.Read(inventory.Options{Root: root, Caller: inventory.System{}, Interfaces: []string{"tune0"}}), nil
	}}
	// As somebody may have left it.
	for key, value := range map[string]string{
		"nic/tune0/feature.rx-gro": "on", "/sys/class/net/tune0/queues/tx-1/xps_cpus": "1", "/sys/class/net/tune0/queues/rx-2/rps_cpus": "2", "/sys/class/net/tune0/queues/tx-3/xps_cpus": "2",
	} {
		if err := tuner.Machine.Write(key, value); err != nil {
			t.Fatal(err)
		}
	}
	before := veth(t, s, root)
	o := plan.Options{Interface: "tune0", Workload: plan.Meter, Queues: 1, CPUs: []int{0, 1}}
	_, out, err := tuner.Apply(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range out {
		if r.Fate != Done {
			t.Errorf("%+v", r)
		}
	}
	for key, want := range map[string]string{
		"nic/tune0/channels.rx": "1", "nic/tune0/feature.rx-gro": "off", "/proc/irq/60/smp_affinity_list": "0-1",
		"/sys/kernel/mm/transparent_hugepage/enabled": "madvise", "/proc/sys/net/core/netdev_max_backlog": "10000",
	} {
		if got, err := tuner.Machine.Read(key); err != nil || got != want {
			t.Errorf("%s is %q, want %q: %v", key, got, want, err)
		}
	}
	rps, err := tuner.Machine.Read("/sys/class/net/tune0/queues/rx-0/rps_cpus")
	if err != nil || !strings.HasSuffix(rps, "3") {
		t.Errorf("RPS is %q: %v", rps, err)
	}
	if slices.ContainsFunc(out, func(o Outcome) bool { return o.Fate == Failed }) {
		t.Fatal("some changes failed")
	}
	back, err := tuner.Undo(t.Context(), "tune0", false)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range back {
		if r.Fate == Conflict || r.Fate == Failed {
			t.Errorf("%+v", r)
		}
	}
	if after := veth(t, s, root); after != before {
		t.Errorf("it was:\n%s\nand is:\n%s", before, after)
	}
}

// newVeth makes the interface, in a namespace that is ours.
func newVeth(t *testing.T) {
	for _, m := range []struct {
		at, kind string
		flags    uintptr
	}{{"/", "", unix.MS_REC | unix.MS_PRIVATE}, {"/sys", "sysfs", 0}} {
		if err := unix.Mount("none", m.at, m.kind, m.flags, ""); err != nil {
			t.Skipf("mount %s: %v", m.at, err)
		}
	}
	for _, args := range []string{"link add tune0 numrxqueues 4 numtxqueues 4 type veth peer name tune1 numrxqueues 4 numtxqueues 4", "link set tune1 up", "link set tune0 up"} {
		if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
			t.Fatalf("ip %s: %v: %s", args, err, out)
		}
	}
}

// hostOf is a machine of which only the interfaces are real.
func hostOf(t *testing.T) string {
	root := t.TempDir()
	for name, text := range map[string]string{
		"proc/sys/kernel/random/boot_id": "6f1f-first", "proc/sys/net/core/netdev_max_backlog": "1000", "sys/devices/system/cpu/online": "0-1",
		"proc/irq/60/smp_affinity_list": "0-1", "sys/kernel/mm/transparent_hugepage/enabled": "always",
		"proc/interrupts": "  60:  1  0  PCI-MSI  other-TxRx-0",
	} {
		at := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(at, []byte(text+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, real := range []string{"sys/class", "proc/net"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(root, real)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink("/"+real, filepath.Join(root, real)); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// veth is everything that can be set of the interface, and the fixture.
func veth(t *testing.T, s *driver.Socket, root string) string {
	var b strings.Builder
	told := s.All("tune0")
	for _, k := range slices.Sorted(maps.Keys(told.Settings)) {
		fmt.Fprintf(&b, "%s = %s\n", k, told.Settings[k])
	}
	files, err := filepath.Glob("/sys/class/net/tune0/queues/*/*ps_cpus")
	if err != nil || len(files) == 0 {
		t.Fatal("the veth has no queues", err)
	}
	more, _ := filepath.Glob(root + "/proc/*/*/*/*")
	for _, f := range append(files, append(more, root+"/sys/kernel/mm/transparent_hugepage/enabled")...) {
		if text, err := os.ReadFile(f); err == nil {
			fmt.Fprintf(&b, "%s: %q\n", f, text)
		}
	}
	return b.String()
}
