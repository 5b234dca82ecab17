// Package setting reads and writes the settings of a machine that tuning changes.
//
// A setting has a key and a value, both text. A key is one of
//
//	/proc/sys/net/core/netdev_budget     a file of the kernel, of those that are known here
//	nic/eth1/rings.rx                    a setting of a driver (package driver)
//	irqbalance/banned                    what irqbalance leaves alone: irqs 60,61 cpus 2-3
//
// Only keys that Known knows are written: a journal that somebody has forged can ask
// for nothing else.
package setting

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"golang.org/x/sys/unix"

	"ringside/tuning/driver"
)

// ErrGone says that there is no such setting: the queue, the interrupt, or the
// interface is not there, or its driver does not know it.
var ErrGone = errors.New("there is no such setting")

// Driver is what drivers are asked with: driver.Socket, or a test.
type Driver interface {
	Get(name, key string) (string, error)
	Set(name, key, value string) error
}

// Machine is where settings are.
type Machine struct {
	Root   string // "/", or a tree of files that stands for a machine
	Driver Driver

	// Restart restarts a unit whose settings have changed, if it runs; nil: nobody does.
	Restart func(unit string) error
}

// files are the files that may be written.
var files = regexp.MustCompile(`^(` + strings.Join([]string{
	`/proc/sys/net/core/(netdev_max_backlog|netdev_budget|netdev_budget_usecs|netdev_tstamp_prequeue|rmem_max|bpf_jit_enable)`,
	`/proc/sys/kernel/numa_balancing`,
	`/proc/irq/[0-9]{1,9}/smp_affinity_list`,
	`/sys/kernel/mm/transparent_hugepage/enabled`,
	`/sys/devices/system/cpu/cpu[0-9]{1,5}/cpufreq/scaling_governor`,
	`/sys/devices/system/cpu/cpu[0-9]{1,5}/power/pm_qos_resume_latency_us`,
	`/sys/class/net/[^/]{1,15}/queues/(rx-[0-9]{1,5}/rps_cpus|tx-[0-9]{1,5}/xps_cpus)`,
}, `|`) + `)$`)

// Banned is the key of what irqbalance leaves alone.
const Banned = "irqbalance/banned"

// NIC is the key of a setting of a driver.
func NIC(iface, name string) string { return "nic/" + iface + "/" + name }

// Known reports whether a key is that of a setting.
func Known(key string) bool {
	if iface, name, ok := ofDriver(key); ok {
		return Plain(iface) && driver.Known(name)
	}
	return key == Banned || files.MatchString(key) && !strings.Contains(key, "/../")
}

// ofDriver takes apart the key of a setting of a driver.
func ofDriver(key string) (iface, name string, ok bool) {
	rest, ok := strings.CutPrefix(key, "nic/")
	if !ok {
		return "", "", false
	}
	return strings.Cut(rest, "/")
}

// Plain reports whether a name can be one of an interface, and leads nowhere else.
func Plain(name string) bool {
	return name != "" && name != "." && name != ".." && len(name) < 16 && !strings.ContainsAny(name, "/\x00")
}

// Read is the value of a setting; ErrGone where there is none.
func (m *Machine) Read(key string) (string, error) {
	if !Known(key) {
		return "", fmt.Errorf("read %s: no such setting is known", key)
	}
	if key == Banned {
		return m.banned()
	}
	if iface, name, ok := ofDriver(key); ok {
		value, err := m.Driver.Get(iface, name)
		if errors.Is(err, driver.ErrUnsupported) || errors.Is(err, unix.ENODEV) {
			err = fmt.Errorf("read %s: %w: %w", key, ErrGone, err)
		}
		return value, err
	}
	b, err := os.ReadFile(filepath.Join(m.Root, key))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", fmt.Errorf("read %s: %w", key, ErrGone)
	case err != nil:
		return "", fmt.Errorf("read a setting: %w", err)
	}
	return Value(string(b)), nil
}

// Value is what a file of the kernel says: of a choice, "always [madvise] never",
// what is chosen.
func Value(text string) string {
	text = strings.TrimSpace(text)
	if _, chosen, ok := strings.Cut(text, "["); ok {
		if chosen, _, ok = strings.Cut(chosen, "]"); ok {
			return chosen
		}
	}
	return text
}

// Write changes a setting.
func (m *Machine) Write(key, value string) error {
	if !Known(key) {
		return fmt.Errorf("write %s: no such setting is known", key)
	}
	if key == Banned {
		return m.ban(value)
	}
	if iface, name, ok := ofDriver(key); ok {
		return m.Driver.Set(iface, name, value)
	}
	// Files of the kernel are there already; one that is not is not made.
	f, err := os.OpenFile(filepath.Join(m.Root, key), os.O_WRONLY|os.O_TRUNC, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("write %s: %w", key, ErrGone)
	}
	if err != nil {
		return fmt.Errorf("write a setting: %w", err)
	}
	_, err = f.WriteString(value + "\n") // at one blow, as the kernel wants it
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write %q to a setting: %w", value, err)
	}
	return nil
}
