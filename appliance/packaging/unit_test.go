package packaging_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const (
	unit     = "systemd/ringside.service"
	tuneUnit = "systemd/ringside-tune.service"
)

// The services have what they need, and nothing else. That which tunes is root, as
// files of the kernel are, and may write them.
func TestUnitIsHardened(t *testing.T) {
	analyze := need(t, "systemd-analyze")
	for unit, most := range map[string]string{unit: "26", tuneUnit: "29"} {
		out, err := exec.Command(analyze, "security", "--offline=true", "--no-pager", "--threshold="+most, unit).CombinedOutput()
		if strings.Contains(string(out), "unrecognized option") {
			t.Skip("systemd-analyze is too old to look at files")
		}
		if err != nil {
			t.Errorf("%s: its exposure is above %s of 100: %v\n%s", unit, most, err, out)
		}
	}
}

// systemd understands every line.
func TestUnitIsValid(t *testing.T) {
	analyze := need(t, "systemd-analyze")
	for _, unit := range []string{unit, tuneUnit} {
		b, err := os.ReadFile(unit)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Base(unit)
		copied := filepath.Join(t.TempDir(), name)
		// The program is not installed here, nor are its pages.
		text := strings.ReplaceAll(documentation.ReplaceAllString(string(b), ""), "/usr/bin/ringside", "/bin/true")
		if err := os.WriteFile(copied, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command(analyze, "verify", "--recursive-errors=no", copied).CombinedOutput()
		if strings.Contains(string(out), "unrecognized option") {
			t.Skip("systemd-analyze is too old")
		}
		if err != nil || strings.Contains(string(out), name+":") {
			t.Errorf("%v\n%s", err, out)
		}
	}
}

var documentation = regexp.MustCompile(`(?m)^Documentation=.*\n`)

// What tunes does so once, before the capture, with a directory that is its own: what
// is written there is done as root.
func TestTuneUnitManners(t *testing.T) {
	b, err := os.ReadFile(tuneUnit)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		"Type=oneshot", "RemainAfterExit=yes", "Before=ringside.service", "ExecStart=/usr/bin/ringside tune --apply --saved",
		"StateDirectory=ringside-tune", "StateDirectoryMode=0700", "NoNewPrivileges=yes", "ConditionDirectoryNotEmpty=/var/lib/ringside-tune",
	} {
		if !strings.Contains(string(b), "\n"+line+"\n") {
			t.Errorf("the unit lacks %s", line)
		}
	}
	for _, line := range []string{"ProtectKernelTunables=yes", "User=", "PrivateNetwork=yes"} { // it could do nothing then
		if strings.Contains(string(b), "\n"+line) {
			t.Errorf("the unit has %s", line)
		}
	}
}

// Restarts would not mend a command line or a configuration; exit codes 2 and 78 are
// those of docs/run.md.
func TestUnitManners(t *testing.T) {
	b, err := os.ReadFile(unit)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		"Type=notify", "WatchdogSec=30", "RestartPreventExitStatus=2 78", "User=ringside", "NoNewPrivileges=yes",
		"ExecStart=/usr/bin/ringside run --config /etc/ringside/ringside.conf", "MemoryDenyWriteExecute=yes",
	} {
		if !strings.Contains(string(b), "\n"+line+"\n") {
			t.Errorf("the unit lacks %s", line)
		}
	}
}
