package cli

import (
	"strings"
	"testing"
)

func TestSpoolProbe(t *testing.T) {
	code, out, errOut := run(t, "spool", "probe", "--size", "3MiB", t.TempDir())
	if code != 0 || !strings.HasPrefix(out, "3.0 MiB in ") || !strings.Contains(out, "G.711 calls") {
		t.Errorf("exit %d, %q %s", code, out, errOut)
	}
	if code, _, errOut := run(t, "spool", "probe", t.TempDir()+"/none"); code != exitUnavailable || !strings.Contains(errOut, "none") {
		t.Errorf("no directory: exit %d, %s", code, errOut)
	}
}
