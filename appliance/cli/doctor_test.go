package cli

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ringside/tuning/doctor"
	"ringside/tuning/inventory"
)

func TestWriteDoctor(t *testing.T) {
	found := []doctor.Finding{
		{ID: "ring-size", Of: "eth1", Severity: doctor.Severe, Title: "the rings of eth1 are small", Evidence: "512 of at most 4096 descriptors",
			Why: "a burst that comes while a processor is busy finds no place, and is lost", Remedy: "ethtool -G eth1 rx 4096 and a command that is so long that no line could hold it all at once"},
		{ID: "x", Severity: doctor.Note, Title: "harm\x1b[2J", Evidence: "a\x1bb", Why: "c\u202ed", Remedy: "e\nf"},
	}
	for _, tc := range []struct {
		name  string
		found []doctor.Finding
	}{{"doctor.txt", found}, {"doctor-well.txt", nil}} {
		var b strings.Builder
		if err := writeDoctor(&b, look{width: 60, zone: time.UTC}, tc.found); err != nil {
			t.Fatal(err)
		}
		if strings.ContainsAny(b.String(), "\x1b\u202e") {
			t.Error("control characters reach the terminal")
		}
		golden(t, tc.name, b.String())
	}
}

// The doctor looks at the machine that the test runs on, whatever that is like.
func TestDoctorHere(t *testing.T) {
	dir := t.TempDir()
	conf := written(t, "ringside.conf", "interface = lo\nspooldir = "+filepath.Join(dir, "spool")+"\nspool_root = yes\ndb = "+filepath.Join(dir, "calls.db")+"\n")
	code, out, stderr := run(t, "doctor", "--config", conf, "--control", filepath.Join(dir, "none"), "--json")
	var report struct {
		Findings []doctor.Finding
		Facts    inventory.Facts
	}
	if err := json.Unmarshal([]byte(out), &report); err != nil {
		t.Fatalf("exit %d, %v: %s%s", code, err, out, stderr)
	}
	f := &report.Facts
	if f.Host.CPUs < 1 || len(f.Interfaces) != 1 || f.Interfaces[0].Name != "lo" || len(f.Volumes) != 2 || f.Volumes[0].Reserve < 10<<30 {
		t.Errorf("%+v", f)
	}
	if severe := doctor.Worst(report.Findings); severe != (code == exitFailure) {
		t.Errorf("exit %d, severe: %v: %s", code, severe, stderr)
	}
	if code, out, _ := run(t, "doctor", "--config", conf, "--control", filepath.Join(dir, "none")); !strings.Contains(out, "no service answers") || code == exitUsage {
		t.Errorf("exit %d: %s", code, out)
	}
	if code, _, stderr := run(t, "doctor", "--config", written(t, "bad.conf", "interfase = x\n")); code != exitConfig || !strings.Contains(stderr, "check-config") {
		t.Errorf("exit %d: %s", code, stderr)
	}
}
