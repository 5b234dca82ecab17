package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"ringside/tuning/apply"
	"ringside/tuning/driver"
	"ringside/tuning/gauge"
	"ringside/tuning/inventory/inventorytest"
	"ringside/tuning/plan"
)

// tuned is a fixture host whose settings can be changed.
type tuned struct {
	iface    string
	settings map[string]string
	host     tuneHost
	state    string
	systemd  []string // what it was asked for
	deaf     bool     // there is none
}

func newTuned(t *testing.T, tree, iface string) *tuned {
	t.Helper()
	root, caller := inventorytest.Tree(t, filepath.Join("../../tuning/plan/testdata", tree+".txt"))
	asked := caller.(inventorytest.Asked)
	h := &tuned{iface: iface, settings: asked.NICs[iface].Settings, state: filepath.Join(t.TempDir(), "state")}
	boot := filepath.Join(root, "proc/sys/kernel/random/boot_id")
	if err := errors.Join(os.MkdirAll(filepath.Dir(boot), 0o755), os.WriteFile(boot, []byte("6f1f\n"), 0o644)); err != nil {
		t.Fatal(err)
	}
	h.host = tuneHost{root: root, caller: asked, driver: h, stats: func(string) (map[string]uint64, error) { return nil, nil },
		systemctl: func(_ context.Context, args ...string) error {
			h.systemd = append(h.systemd, strings.Join(args, " "))
			if h.deaf {
				return errors.New("systemd does not run here")
			}
			return nil
		}}
	return h
}

func (h *tuned) Get(_, key string) (string, error) {
	if v, ok := h.settings[key]; ok {
		return v, nil
	}
	return "", driver.ErrUnsupported
}

func (h *tuned) Set(_, key, value string) error { h.settings[key] = value; return nil }

// tune is one command line on the host.
func (h *tuned) tune(t *testing.T, f tuneFlags, args ...string) (code int, out string) {
	t.Helper()
	f.host, f.state = h.host, h.state
	if f.workload == "" {
		f.workload = "meter"
	}
	var b, progress bytes.Buffer
	err := f.run(t.Context(), args, look{width: 80, zone: time.UTC}, &b, &progress)
	if err != nil {
		return exitCode(err), b.String() + err.Error()
	}
	return exitOK, b.String()
}

func TestTunePlans(t *testing.T) {
	for _, tc := range []struct {
		name, tree, iface string
		f                 tuneFlags
	}{
		{"tune-shared.txt", "bnxt-shared", "eno1np0", tuneFlags{}},
		{"tune-virtio.txt", "virtio", "eth1", tuneFlags{}},
		{"tune-verbose.txt", "igb", "enp2s0", tuneFlags{verbose: true, workload: "full", cpus: "2-3"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := newTuned(t, tc.tree, tc.iface)
			before := strings.Join(sortedSettings(h), "\n")
			code, out := h.tune(t, tc.f, tc.iface)
			if code != exitOK {
				t.Errorf("exit %d", code)
			}
			golden(t, tc.name, out)
			if strings.Join(sortedSettings(h), "\n") != before {
				t.Error("a dry run has changed something")
			}
			if _, err := os.Stat(h.state); err == nil {
				t.Error("a dry run has written a journal")
			}
		})
	}
}

func sortedSettings(h *tuned) (out []string) {
	for k, v := range h.settings {
		out = append(out, k+"="+v)
	}
	slices.Sort(out)
	return out
}

// Applied, kept for the next start, applied then, and taken back.
func TestTuneApply(t *testing.T) {
	h := newTuned(t, "igb", "enp2s0")
	before := strings.Join(sortedSettings(h), "\n")
	code, out := h.tune(t, tuneFlags{apply: true, persist: true, seconds: 0.01}, "enp2s0")
	if code != exitOK {
		t.Fatalf("exit %d: %s", code, out)
	}
	for _, want := range []string{"done", "rings: rings.rx", "cannot be measured now", "applied again when the machine starts", "--undo enp2s0"} {
		if !strings.Contains(out, want) {
			t.Errorf("it does not say %q:\n%s", want, out)
		}
	}
	if h.settings["rings.rx"] == "256" || !slices.Contains(h.systemd, "enable ringside-tune.service") {
		t.Errorf("%v, systemd: %v", h.settings, h.systemd)
	}
	after := strings.Join(sortedSettings(h), "\n")

	// The machine starts anew.
	for _, kv := range strings.Split(before, "\n") {
		k, v, _ := strings.Cut(kv, "=")
		h.settings[k] = v
	}
	if err := os.WriteFile(filepath.Join(h.host.root, "proc/sys/kernel/random/boot_id"), []byte("2222\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if code, out := h.tune(t, tuneFlags{apply: true, saved: true}); code != exitOK || strings.Contains(out, "--persist") || !strings.Contains(out, "applied again when the machine starts") {
		t.Fatalf("exit %d: %s", code, out)
	}
	if now := strings.Join(sortedSettings(h), "\n"); now != after {
		t.Errorf("after the start:\n%s\nwant:\n%s", now, after)
	}
	var report struct {
		Outcomes  []apply.Outcome
		Forgotten bool
	}
	code, out = h.tune(t, tuneFlags{undo: true, all: true, json: true})
	if err := json.Unmarshal([]byte(out), &report); err != nil || code != exitOK || len(report.Outcomes) == 0 || !report.Forgotten {
		t.Errorf("exit %d, %v: %s", code, err, out)
	}
	if now := strings.Join(sortedSettings(h), "\n"); now != before {
		t.Errorf("taken back:\n%s\nwant:\n%s", now, before)
	}
	if !slices.Contains(h.systemd, "disable ringside-tune.service") {
		t.Errorf("systemd: %v", h.systemd)
	}
	if code, out := h.tune(t, tuneFlags{undo: true}, "enp2s0"); code != exitOK || !strings.Contains(out, "nothing is to be taken back") {
		t.Errorf("exit %d: %s", code, out)
	}
	if code, out := h.tune(t, tuneFlags{apply: true, saved: true}); code != exitOK || out != "" {
		t.Errorf("exit %d: %s", code, out)
	}
}

func TestTuneConflict(t *testing.T) {
	h := newTuned(t, "igb", "enp2s0")
	if code, out := h.tune(t, tuneFlags{apply: true}, "enp2s0"); code != exitOK {
		t.Fatalf("exit %d: %s", code, out)
	}
	h.settings["rings.rx"] = "999"
	code, out := h.tune(t, tuneFlags{undo: true}, "enp2s0")
	if code != exitFailure || !strings.Contains(out, "somebody has made it 999 since") || !strings.Contains(out, "--undo --force enp2s0") || h.settings["rings.rx"] != "999" {
		t.Errorf("exit %d: %s", code, out)
	}
	if code, out := h.tune(t, tuneFlags{undo: true, o: plan.Options{Force: true}}, "enp2s0"); code != exitOK || h.settings["rings.rx"] != "256" {
		t.Errorf("exit %d: %s", code, out)
	}
}

// Of two interfaces that share what irqbalance is told, both are taken back in any
// order.
func TestTuneTwo(t *testing.T) {
	h := newTuned(t, "igb", "enp2s0")
	irqs, err := os.ReadFile(filepath.Join(h.host.root, "proc/interrupts"))
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"proc/444/comm": "irqbalance", "proc/interrupts": string(irqs) + " 90:  1  0  PCI-MSI-edge  aaa9-TxRx-0",
		"proc/irq/90/smp_affinity_list": "0-3", "sys/class/net/aaa9/device/numa_node": "0", "sys/class/net/aaa9/carrier": "1",
	} {
		at := filepath.Join(h.host.root, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(at), 0o755), os.WriteFile(at, []byte(text+"\n"), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	dropIn := filepath.Join(h.host.root, "run/systemd/system/irqbalance.service.d/ringside-tune.conf")
	for name, cpus := range map[string]string{"enp2s0": "2", "aaa9": "3"} {
		if code, out := h.tune(t, tuneFlags{apply: true, cpus: cpus}, name); code != exitOK {
			t.Fatalf("exit %d: %s", code, out)
		}
	}
	if b, err := os.ReadFile(dropIn); err != nil || !strings.Contains(string(b), "--banirq=40 --banirq=90") || !strings.Contains(string(b), "CPULIST=2-3") {
		t.Errorf("%s, %v", b, err)
	}
	if code, out := h.tune(t, tuneFlags{undo: true, all: true}); code != exitOK {
		t.Errorf("exit %d: %s", code, out)
	}
	if _, err := os.Stat(dropIn); err == nil {
		t.Error("irqbalance still leaves interrupts alone")
	}
	if left, err := apply.Journals(h.state); err != nil || len(left) != 0 {
		t.Errorf("journals are left: %v, %v", left, err)
	}
}

// Where nobody applies it at the next start, that is said, and the plan is in force.
func TestTuneWithoutSystemd(t *testing.T) {
	h := newTuned(t, "igb", "enp2s0")
	h.deaf = true
	code, out := h.tune(t, tuneFlags{apply: true, persist: true}, "enp2s0")
	if code != exitFailure || !strings.Contains(out, "nobody applies it at the next start") || h.settings["feature.rx-gro"] != "off" {
		t.Errorf("exit %d: %s", code, out)
	}
	if !strings.Contains(out, "rings: rings.rx") || strings.Contains(out, "--persist does it") {
		t.Errorf("it does not say what was done, or advises what was asked for:\n%s", out)
	}
}

// What was done is shown also where it cannot be measured afterwards.
func TestTuneCannotMeasure(t *testing.T) {
	h := newTuned(t, "igb", "enp2s0")
	asked := 0
	h.host.stats = func(string) (map[string]uint64, error) {
		if asked++; asked > 2 {
			return nil, errors.New("the driver hangs")
		}
		return nil, nil
	}
	code, out := h.tune(t, tuneFlags{apply: true, persist: true, seconds: 0.01}, "enp2s0")
	if code != exitFailure || !strings.Contains(out, "the driver hangs") || !strings.Contains(out, "rings: rings.rx") || !strings.Contains(out, "applied again when the machine starts") {
		t.Errorf("exit %d: %s", code, out)
	}
	asked = 2
	if code, out := h.tune(t, tuneFlags{measure: true, seconds: 0.01}, "enp2s0"); code != exitFailure || !strings.Contains(out, "the driver hangs") {
		t.Errorf("exit %d: %s", code, out)
	}
}

// A plan is kept also where all is right already.
func TestTuneKeepsWhatIsRight(t *testing.T) {
	h := newTuned(t, "igb", "enp2s0")
	if code, out := h.tune(t, tuneFlags{apply: true}, "enp2s0"); code != exitOK || !strings.Contains(out, "--persist does it") {
		t.Fatalf("exit %d: %s", code, out)
	}
	code, out := h.tune(t, tuneFlags{apply: true, persist: true}, "enp2s0")
	if code != exitOK || !strings.Contains(out, "everything is as it should be") || !strings.Contains(out, "applied again when the machine starts") {
		t.Errorf("exit %d: %s", code, out)
	}
	if plans, err := apply.Plans(h.state); err != nil || !slices.Equal(plans, []string{"enp2s0"}) {
		t.Errorf("%v, %v", plans, err)
	}
}

// One interface whose journal cannot be read, and one whose plan cannot, keep nobody
// from the others.
func TestTuneUndoesTheOthers(t *testing.T) {
	h := newTuned(t, "igb", "enp2s0")
	before := strings.Join(sortedSettings(h), "\n")
	if code, out := h.tune(t, tuneFlags{apply: true}, "enp2s0"); code != exitOK {
		t.Fatalf("exit %d: %s", code, out)
	}
	for name, text := range map[string]string{"aaa0.journal": "nonsense\n", "bbb0.plan": "nonsense\n"} {
		if err := os.WriteFile(filepath.Join(h.state, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	stopped, cancel := context.WithCancel(t.Context())
	cancel()
	if err := (&tuneFlags{undo: true, all: true, host: h.host, state: h.state}).undoing(stopped, look{}, new(bytes.Buffer)); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if plans, err := apply.Plans(h.state); err != nil || len(plans) != 1 {
		t.Errorf("stopped, it went on to forget plans: %v, %v", plans, err)
	}
	code, out := h.tune(t, tuneFlags{undo: true, all: true})
	if code != exitFailure || !strings.Contains(out, "undo aaa0: ") || !strings.Contains(out, "remove it") {
		t.Errorf("exit %d: %s", code, out)
	}
	if now := strings.Join(sortedSettings(h), "\n"); now != before {
		t.Errorf("taken back:\n%s\nwant:\n%s", now, before)
	}
	if left, err := apply.Journals(h.state); err != nil || !slices.Equal(left, []string{"aaa0"}) {
		t.Errorf("journals are left: %v, %v", left, err)
	}
	if plans, err := apply.Plans(h.state); err != nil || len(plans) != 0 {
		t.Errorf("plans are left: %v, %v", plans, err)
	}
}

func TestTuneUsage(t *testing.T) {
	for _, tc := range []struct{ args, want string }{
		{"tune", "name an interface"},
		{"tune a b", "accepts at most 1"},
		{"tune --apply --undo lo", "one of"},
		{"tune --persist lo", "--apply"},
		{"tune --saved", "--apply"},
		{"tune --undo --all lo", "no interface is named"},
		{"tune --workload media lo", "sip, meter"},
		{"tune --cpus x lo", "2-5,8"},
		{"tune --cpus 2,x8 lo", `"x8" is neither a number`},
		{"tune --measure --seconds 0 lo", "nothing would be measured"},
		{"tune --queues -1 lo", "from 0 on"},
		{"tune --seconds 1000 lo", "from 0 to"},
		{"tune ../../etc", "no name of an interface"},
	} {
		if code, _, stderr := run(t, strings.Fields(tc.args)...); code != exitUsage || !strings.Contains(stderr, tc.want) {
			t.Errorf("%s: exit %d: %s", tc.args, code, stderr)
		}
	}
	if code, _, stderr := run(t, "tune", "no-such-if0"); code != exitUnavailable || !strings.Contains(stderr, "no such interface") {
		t.Errorf("exit %d: %s", code, stderr)
	}
}

// What is real here is only looked at.
func TestTuneHere(t *testing.T) {
	code, out, stderr := run(t, "tune", "lo", "--json")
	var report struct{ Plan plan.Plan }
	if err := json.Unmarshal([]byte(out), &report); err != nil || code != exitOK {
		t.Fatalf("exit %d, %v: %s%s", code, err, out, stderr)
	}
	if p := &report.Plan; p.Interface != "lo" || len(p.Steps) == 0 || len(p.Uses) == 0 {
		t.Errorf("%+v", p)
	}
	if code, out, stderr := run(t, "tune", "lo", "--measure", "--seconds", "0.01"); code != exitOK || !strings.Contains(out, "packets a second") || strings.Contains(out, "before") {
		t.Errorf("exit %d: %s%s", code, out, stderr)
	}
}

func TestWriteMeasured(t *testing.T) {
	var b strings.Builder
	c := gauge.Compare(
		gauge.Rates{Seconds: 3, Packets: 900_000, Lost: map[string]float64{"card: rx_no_dma_resources": 1200, "interface: rx_missed_errors": 0}, Softirq: 1, Busiest: 1, IRQs: 9000, Used: 1, Largest: 1},
		gauge.Rates{Seconds: 3, Packets: 902_000, Lost: map[string]float64{"card: rx_no_dma_resources": 0, "interface: rx_missed_errors": 0}, Softirq: 1.13, Busiest: 0.18, IRQs: 31000, Used: 7, Largest: 0.16})
	writeMeasured(&b, &c)
	golden(t, "tune-measured.txt", b.String())
}
