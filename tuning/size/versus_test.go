package size_test

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"ringside/bench/traffic"
)

var (
	loadFile = flag.String("load", "", "capture `FILE` of 12 million packets for TestVersus; it is generated if it is not there, and kept")
	versus   = flag.Int("runs", 3, "how often TestVersus reads")
)

// voipmonitor is what VoIPmonitor took for 12.0 million packets of 2,000 concurrent
// G.711 calls of 60 s, from a file in the page cache, on a machine of the same kind: processor
// time (user and system), peak memory. tcpdump -w /dev/null took 2.1 s beside it. It
// makes records and measures the quality of RTP, with so many simulated jitter
// buffers, and saves nothing: what ringside read does without a store, with three.
var voipmonitor = []struct {
	name           string
	least, most    float64 // CPU s
	small, largest float64 // bytes
}{
	{"three simulated buffers, as by default", 87, 135, 0.27e9, 1.3e9},
	{"one simulated buffer", 33, 33, 0.25e9, 1.1e9},
	{"none", 21, 31, 0.25e9, 1.1e9},
}

const tcpdumpThere = 2.1 // CPU s

// TestVersus measures reading those packets beside tcpdump, and gives ratios. The load is
// traffic's preset of that name.
func TestVersus(t *testing.T) {
	if !*measured {
		t.Skip("it only measures, and takes 2.6 GiB: add -measured, and -load FILE to keep the capture")
	}
	path := *loadFile
	if path == "" {
		path = filepath.Join(t.TempDir(), "load.pcap")
	}
	packets, calls := 12.0e6, 2000.0
	if _, err := os.Stat(path); err != nil {
		o, err := traffic.Preset("load")
		if err != nil {
			t.Fatal(err)
		}
		generateTo(t, path, o)
	}
	var ours, theirs, memory []float64
	for range *versus {
		if _, err := exec.LookPath("tcpdump"); err == nil {
			theirs = append(theirs, run(t, exec.Command("tcpdump", "-r", path, "-w", "/dev/null")))
		}
		cpu, peak := ringside(t, "read", "--quiet", "--workers", "1", path)
		ours, memory = append(ours, cpu), append(memory, peak)
	}
	cpu, peak := middle(ours), middle(memory)
	scale := 1.0
	if len(theirs) > 0 {
		scale = middle(theirs) / tcpdumpThere
		t.Logf("tcpdump -w /dev/null: %.2f CPU s %s, %.2f times what it took there", middle(theirs), spread(theirs), scale)
	}
	t.Logf("ringside read: %.2f CPU s %s, %.2f million packets a CPU second, %.1f MiB, %.1f KiB a call", cpu, spread(ours), packets/cpu/1e6, peak/(1<<20), peak/1024/calls)
	for _, v := range voipmonitor {
		t.Logf("to voipmonitor, %s: %.0f to %.0f times the packets a CPU second (%.0f to %.0f on a machine as slow as this one was), %.2f to %.2f of the memory",
			v.name, v.least/cpu, v.most/cpu, v.least*scale/cpu, v.most*scale/cpu, peak/v.largest, peak/v.small)
	}
	if v := voipmonitor[0]; v.least*scale/cpu < 20 { // each to the tcpdump beside it
		t.Errorf("asked were 20 times as many packets a CPU second as %s", v.name)
	}
	if v := voipmonitor[0]; peak > v.small/5 {
		t.Logf("asked was at most a fifth of the memory: that is so against %.2f GB and more", peak*5/1e9)
	}
}

func generateTo(t *testing.T, path string, o traffic.Options) {
	t.Helper()
	g, err := traffic.New(o)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := g.Run(t.Context(), f, nil); err != nil {
		t.Fatal(err)
	}
}

func middle(v []float64) float64 { return slices.Sorted(slices.Values(v))[len(v)/2] }

func spread(v []float64) string {
	return fmt.Sprintf("(%.2f to %.2f)", slices.Min(v), slices.Max(v))
}
