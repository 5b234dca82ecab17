package setting

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"ringside/tuning/driver"
)

// Only settings are written, whatever a journal says.
func TestKnown(t *testing.T) {
	for key, want := range map[string]bool{
		"/proc/sys/net/core/netdev_budget": true, "/proc/irq/60/smp_affinity_list": true, "/sys/class/net/eth1/queues/rx-3/rps_cpus": true,
		"/sys/devices/system/cpu/cpu12/cpufreq/scaling_governor": true, "/sys/kernel/mm/transparent_hugepage/enabled": true, "nic/eth1/rings.rx": true, Banned: true,
		"":            false,
		"/etc/shadow": false,
		"/proc/sys/net/core/netdev_budget/../../../kernel/core_pattern": false,
		"/proc/sys/kernel/core_pattern":                                 false,
		"/proc/irq/../irq/1/smp_affinity_list":                          false,
		"/sys/class/net/../queues/rx-0/rps_cpus":                        false,
		"/sys/class/net/a/b/queues/rx-0/rps_cpus":                       false,
		"proc/irq/60/smp_affinity_list":                                 false,
		"/proc/irq/60/smp_affinity_list\n":                              false,
		"nic/eth1/flash":                                                false,
		"nic/../rings.rx":                                               false,
		"nic//rings.rx":                                                 false,
		"nic/eth1":                                                      false,
		"irqbalance/other":                                              false,
	} {
		if got := Known(key); got != want {
			t.Errorf("%q: %v", key, got)
		}
	}
}

func TestFiles(t *testing.T) {
	m := &Machine{Root: t.TempDir()}
	const thp = "/sys/kernel/mm/transparent_hugepage/enabled"
	at := filepath.Join(m.Root, thp)
	if _, err := m.Read(thp); !errors.Is(err, ErrGone) {
		t.Error(err)
	}
	if err := m.Write(thp, "never"); !errors.Is(err, ErrGone) {
		t.Error(err)
	}
	if _, err := os.Stat(at); err == nil {
		t.Error("a file of the kernel was made")
	}
	if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(at, []byte("always [madvise] never\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if v, err := m.Read(thp); err != nil || v != "madvise" {
		t.Errorf("%q, %v", v, err)
	}
	if err := m.Write(thp, "never"); err != nil {
		t.Error(err)
	}
	if v, err := m.Read(thp); err != nil || v != "never" {
		t.Errorf("%q, %v", v, err)
	}
	for _, key := range []string{"/etc/passwd", "nic/x/y"} {
		if _, err := m.Read(key); err == nil {
			t.Errorf("%s was read", key)
		}
		if err := m.Write(key, "x"); err == nil {
			t.Errorf("%s was written", key)
		}
	}
}

type deaf struct{}

func (deaf) Get(string, string) (string, error) { return "", driver.ErrUnsupported }
func (deaf) Set(string, string, string) error   { return driver.ErrUnsupported }

func TestDriverHasNone(t *testing.T) {
	m := &Machine{Driver: deaf{}}
	if _, err := m.Read("nic/eth1/rings.rx"); !errors.Is(err, ErrGone) {
		t.Error(err)
	}
	if err := m.Write("nic/eth1/rings.rx", "1"); !errors.Is(err, driver.ErrUnsupported) {
		t.Error(err)
	}
}

type absent struct{}

func (absent) Get(string, string) (string, error) { return "", unix.ENODEV }
func (absent) Set(string, string, string) error   { return unix.ENODEV }

func TestInterfaceIsGone(t *testing.T) {
	m := &Machine{Driver: absent{}}
	if _, err := m.Read("nic/eth1/rings.rx"); !errors.Is(err, ErrGone) {
		t.Error(err)
	}
}

func TestIRQBalance(t *testing.T) {
	restarted := 0
	var fails error
	m := &Machine{Root: withSystemd(t), Restart: func(unit string) error {
		if unit != "irqbalance.service" {
			t.Errorf("%s was restarted", unit)
		}
		restarted++
		return fails
	}}
	if v, err := m.Read(Banned); err != nil || v != None {
		t.Errorf("%q, %v", v, err)
	}
	want := BanText([]int{60, 61, 7}, "2-5,8")
	if err := m.Write(Banned, want); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(m.Root, dropIn))
	if err != nil || !strings.Contains(string(b), "Environment=\"IRQBALANCE_ARGS=--banirq=60 --banirq=61 --banirq=7\"\nEnvironment=IRQBALANCE_BANNED_CPULIST=2-5,8\n") {
		t.Errorf("%s, %v", b, err)
	}
	if v, err := m.Read(Banned); err != nil || v != want {
		t.Errorf("%q, %v", v, err)
	}
	for _, bad := range []string{"", "irqs x cpus 1", "irqs 1 cpus 2\nExecStart=/bin/sh", "irqs 1", "irqs 1 cpus 2;3"} {
		if err := m.Write(Banned, bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
	if err := m.Write(Banned, None); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Dir(filepath.Join(m.Root, dropIn))); err == nil {
		t.Error("its directory is left")
	}
	if err := m.Write(Banned, None); err != nil || restarted != 3 {
		t.Errorf("%v, restarted %d times", err, restarted)
	}
	fails = errors.New("no systemd")
	if err := m.Write(Banned, want); !errors.Is(err, fails) {
		t.Error(err)
	}
	if err := os.WriteFile(filepath.Join(m.Root, dropIn), []byte("somebody's\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Read(Banned); err == nil || !strings.Contains(err.Error(), "remove it") {
		t.Error(err)
	}
}

// withSystemd is a machine that systemd runs on.
func withSystemd(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "run/systemd/system"), 0o755); err != nil {
		t.Fatal(err)
	}
	return root
}

// Where systemd does not run, it does not look afterwards as if it did.
func TestIRQBalanceWithoutSystemd(t *testing.T) {
	m := &Machine{Root: t.TempDir()}
	if err := m.Write(Banned, BanText([]int{60}, "2")); err == nil || !strings.Contains(err.Error(), "systemd does not run here") {
		t.Error(err)
	}
	if entries, err := os.ReadDir(m.Root); err != nil || len(entries) != 0 {
		t.Errorf("%v was made, %v", entries, err)
	}
}

// ringside-tune.service has a umask that hides its files; this one is read by all who
// plan.
func TestIRQBalanceIsReadable(t *testing.T) {
	m := &Machine{Root: withSystemd(t)}
	defer unix.Umask(unix.Umask(0o077))
	for range 2 { // also what is there already
		if err := m.Write(Banned, BanText([]int{60}, "2")); err != nil {
			t.Fatal(err)
		}
		at := filepath.Join(m.Root, dropIn)
		for name, want := range map[string]os.FileMode{at: 0o644, filepath.Dir(at): 0o755} {
			if info, err := os.Stat(name); err != nil || info.Mode().Perm() != want {
				t.Errorf("%v, %v, want %v", info.Mode(), err, want)
			}
			if err := os.Chmod(name, 0o700); err != nil {
				t.Fatal(err)
			}
		}
	}
}
