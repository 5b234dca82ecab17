package cli

import (
	"encoding/json"
	"strings"
	"testing"

	sizing "ringside/tuning/size"
)

func TestSize(t *testing.T) {
	code, out, said := run(t, "size", "--calls", "2000", "--recording", "header", "--retention", "30")
	if code != 0 {
		t.Fatalf("exit %d: %s", code, said)
	}
	for _, want := range []string{"200,000 RTP/s of 214 bytes in 4,000 streams", "cores", "ringbuffer", "30 days take 41.9 TiB", "rows and", "a link of 1 Gbit/s"} {
		if !strings.Contains(out, want) {
			t.Errorf("the answer does not have %q:\n%s", want, out)
		}
	}
}

func TestSizeJSON(t *testing.T) {
	code, out, said := run(t, "size", "--calls", "500", "--codec", "g729", "--packet-time", "40ms", "--recording", "full",
		"--disk", "4TB", "--call-rate", "5", "--share", "0.5", "--compression", "lz4", "--here", "--json")
	if code != 0 {
		t.Fatalf("exit %d: %s", code, said)
	}
	var n sizing.Need
	if err := json.Unmarshal([]byte(out), &n); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if n.Load.RTP != 25_000 || n.Disk != 4e12 || n.Retention <= 0 || n.Cores < 2 || n.RowsDay == 0 || n.Memory == 0 {
		t.Errorf("%+v", n)
	}
}

// TestSizeRefused: a wrong flag is named, with what to write.
func TestSizeRefused(t *testing.T) {
	for _, c := range []struct {
		args, says string
	}{
		{"", "--calls 2000"},
		{"--calls -5", "a number above 0"},
		{"--calls x", "a number above 0"},
		{"--calls 10 --codec mp3", "write one of G.711"},
		{"--calls 10 --recording all", "write meter, header or full"},
		{"--calls 10 --retention soon", "--retention \"soon\": write a number of days"},
		{"--calls 10 --retention -1", "a number of days"},
		{"--calls 10 --disk 4XB", "--disk"},
		{"--calls 10 --disk 0", "above 0"},
		{"--calls 10 --disk 4TB --retention 3", "give one of them"},
		{"--calls 1000 --call-rate 1", "at least 5.556"},
		{"--calls 10 --share 3", "from 0 to 1"},
		{"--calls 10 more", "unknown command"},
	} {
		code, out, said := run(t, append([]string{"size"}, strings.Fields(c.args)...)...)
		if code != exitUsage || !strings.Contains(said, c.says) || out != "" {
			t.Errorf("size %s: exit %d, %q, and should say %q", c.args, code, said, c.says)
		}
	}
}
