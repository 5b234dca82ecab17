package packaging_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const unit = "systemd/ringside.service"

// The service has what capturing takes, and nothing else.
func TestUnitIsHardened(t *testing.T) {
	analyze := need(t, "systemd-analyze")
	out, err := exec.Command(analyze, "security", "--offline=true", "--no-pager", "--threshold=26", unit).CombinedOutput()
	if strings.Contains(string(out), "unrecognized option") {
		t.Skip("systemd-analyze is too old to look at files")
	}
	if err != nil {
		t.Errorf("its exposure is above 2.6 of 10: %v\n%s", err, out)
	}
}

// systemd understands every line.
func TestUnitIsValid(t *testing.T) {
	analyze := need(t, "systemd-analyze")
	b, err := os.ReadFile(unit)
	if err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(t.TempDir(), "ringside.service")
	// The program is not installed here, nor are its pages.
	text := strings.NewReplacer("/usr/bin/ringside", "/bin/true", "Documentation=man:ringside(8) man:ringside.conf(5)\n", "").Replace(string(b))
	if err := os.WriteFile(copied, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(analyze, "verify", "--recursive-errors=no", copied).CombinedOutput()
	if strings.Contains(string(out), "unrecognized option") {
		t.Skip("systemd-analyze is too old")
	}
	if err != nil || strings.Contains(string(out), "ringside.service:") {
		t.Errorf("%v\n%s", err, out)
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
