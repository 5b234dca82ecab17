package setting

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// irqbalance moves interrupts every ten seconds. What it leaves alone it takes from
// its command line and its environment (irqbalance(1)), so it is told by a drop-in of
// its unit, in /run: interrupts that it does not move, and processors that it gives
// no others. It also listens at a socket, but that takes no more than some 50
// interrupts, and older versions crash when they are asked there.
const dropIn = "run/systemd/system/irqbalance.service.d/ringside-tune.conf"

var (
	bans  = regexp.MustCompile(`^irqs ([0-9]+(?:,[0-9]+)*) cpus ([0-9]+(?:-[0-9]+)?(?:,[0-9]+(?:-[0-9]+)?)*)$`)
	given = regexp.MustCompile(`(?m)^# (irqs .*)$`)
)

// None is the value of Banned where irqbalance may move everything.
const None = "none"

// BanText is the value of Banned for some interrupts and a list of processors.
func BanText(irqs []int, cpus string) string {
	return "irqs " + strings.Trim(strings.Join(strings.Fields(fmt.Sprint(irqs)), ","), "[]") + " cpus " + cpus
}

// BanLists are the interrupts and the processors of a value of Banned, as lists.
func BanLists(value string) (irqs, cpus string) {
	if found := bans.FindStringSubmatch(value); found != nil {
		return found[1], found[2]
	}
	return "", ""
}

// banned is what irqbalance was told to leave alone, by us.
func (m *Machine) banned() (string, error) {
	b, err := os.ReadFile(filepath.Join(m.Root, dropIn))
	if errors.Is(err, fs.ErrNotExist) {
		return None, nil
	}
	if err != nil {
		return "", fmt.Errorf("read what irqbalance leaves alone: %w", err)
	}
	if found := given.FindSubmatch(b); found != nil && bans.Match(found[1]) {
		return string(found[1]), nil
	}
	return "", fmt.Errorf("read what irqbalance leaves alone: %s is not as it was written: remove it", filepath.Join(m.Root, dropIn))
}

// ban tells irqbalance what to leave alone.
func (m *Machine) ban(value string) error {
	path := filepath.Join(m.Root, dropIn)
	if value == None {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("let irqbalance move all interrupts: %w", err)
		}
		_ = os.Remove(filepath.Dir(path)) // somebody else may have a file there
		return m.restart()
	}
	found := bans.FindStringSubmatch(value)
	if found == nil {
		return fmt.Errorf("tell irqbalance what to leave alone: %q are no interrupts and processors", value)
	}
	text := "# " + value + "\n[Service]\nEnvironment=\"IRQBALANCE_ARGS=--banirq=" + strings.ReplaceAll(found[1], ",", " --banirq=") +
		"\"\nEnvironment=IRQBALANCE_BANNED_CPULIST=" + found[2] + "\n"
	if err := writeDropIn(path, text); err != nil {
		return fmt.Errorf("tell irqbalance what to leave alone: %w", err)
	}
	return m.restart()
}

// writeDropIn makes the file, and the directory that it is in, but not the one above:
// by that systemd is known to run (sd_booted(3)). Whoever plans reads what is in it
// without rights, so a umask does not count.
func writeDropIn(path, text string) error {
	dir := filepath.Dir(path)
	switch err := os.Mkdir(dir, 0o755); {
	case errors.Is(err, fs.ErrNotExist):
		return errors.New("systemd does not run here: keep irqbalance off these interrupts yourself")
	case err != nil && !errors.Is(err, fs.ErrExist):
		return err
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		return err
	}
	return errors.Join(os.Chmod(dir, 0o755), os.Chmod(path, 0o644))
}

func (m *Machine) restart() error {
	if m.Restart == nil {
		return nil
	}
	return m.Restart("irqbalance.service")
}
