package suite

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"ringside/bench/report"
)

// built is ringside, built once for all tests.
var built = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "ringbench-test-")
	if err != nil {
		return "", err
	}
	made = dir
	out, err := exec.Command("go", "build", "-o", dir, "../../appliance/cmd/ringside").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return filepath.Join(dir, "ringside"), nil
})

var made string // by built

func TestMain(m *testing.M) {
	code := m.Run()
	if made != "" {
		_ = os.RemoveAll(made)
	}
	os.Exit(code)
}

// program is ringside.
func program(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("builds ringside")
	}
	path, err := built()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// What ringside says of a live capture is understood: under every load what it has
// handled is what was offered, but for what a busy machine loses on the way; calls
// are in the records, and drops have a place.
func TestRingside(t *testing.T) {
	b := small(t)
	b.Ringside, b.Calls, b.Settle = program(t), 20, 100*time.Millisecond
	loads, err := b.loads(t.Context(), scenarios())
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		on     *subject
		load   string
		queues int
		calls  bool
	}{
		{metered, "media", 2, true},
		{whole, "media", 1, true},
		{general, "setups", 1, true},
		{general, "registers", 1, false},
		{general, "carrier", 1, false},
	} {
		t.Run(tc.on.name+", "+tc.load, func(t *testing.T) {
			r, err := b.measure(t.Context(), trial{on: tc.on, load: loads[tc.load], rate: 5000, span: b.Span, queues: tc.queues, where: tc.on == metered})
			if err != nil {
				t.Fatal(err)
			}
			if r.offered == 0 || r.arrived > r.offered || r.handled == 0 || r.handled > r.offered || r.handled+r.offered/2 < r.arrived {
				t.Errorf("of %d offered %d arrived, %d were handled", r.offered, r.arrived, r.handled)
			}
			if r.program <= 0 || r.took <= 0 || !strings.HasPrefix(r.command, "ringside run") || !strings.Contains(r.xdp, "XDP") {
				t.Errorf("program %v ns, took %v s, command %q, filter %q", r.program, r.took, r.command, r.xdp)
			}
			if c := r.records; tc.calls && (!c.Known || c.CallsFound == 0 || c.CallsFound > c.Calls) {
				t.Errorf("records %+v", c)
			}
		})
	}
}

// A run of one scenario and of the files makes a report that can be written.
func TestSuite(t *testing.T) {
	b := small(t)
	b.Ringside, b.Calls, b.Runs, b.Settle = program(t), 5, 1, 100*time.Millisecond
	b.Span, b.Tries, b.Exact, b.Free = 100*time.Millisecond, 1, 2, 0.95 // any rate holds that can be sent
	var out bytes.Buffer
	r, err := b.Suite(t.Context(), Plan{Quick: true, Only: []string{"pre-filter only"}, Budget: time.Minute, Packets: 200000, Command: "ringbench suite"}, &out)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Scenarios) != 1 || len(r.Scenarios[0].Rows) != 2 || len(r.Files) != 0 {
		t.Fatalf("got %+v", r)
	}
	for _, row := range r.Scenarios[0].Rows {
		if row.Failed != "" || len(row.Sum) != 1 || len(row.Curve) == 0 {
			t.Errorf("got %+v", row)
		}
	}
	if r.Noise.Share < 0.3 || len(r.Noise.Loop) < 2 || r.Host.CPUs == 0 || r.Host.Kernel == "" {
		t.Errorf("noise %+v, host %+v", r.Noise, r.Host)
	}
	if err := r.WriteMarkdown(&out); err != nil {
		t.Fatal(err)
	}
	// The time is over before it begins: that is said, and nothing is measured.
	if r, err = b.Suite(t.Context(), Plan{Quick: true, Only: []string{"pre-filter only"}, Budget: time.Nanosecond}, &out); err != nil {
		t.Fatal(err)
	}
	if got := r.Scenarios[0].Rows[0].Failed; !strings.Contains(got, "--budget") {
		t.Errorf("it says %q", got)
	}
}

func TestFiles(t *testing.T) {
	b := New()
	b.Ringside, b.Folder, b.Runs, b.until = program(t), t.TempDir(), 1, time.Now().Add(time.Hour)
	r := &suiteRun{Bench: b, out: new(bytes.Buffer), began: time.Now(), rep: &report.Report{}}
	dir := t.TempDir()
	c := Plan{Packets: 200000}.captures()[0]
	c.options.Calls = 20
	path := filepath.Join(dir, "load.pcap")
	f, err := generateFile(t.Context(), c, path)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.readers(t.Context(), c, &f, path, dir); err != nil {
		t.Fatal(err)
	}
	if f.Calls != 20 || len(f.Rows) != 2 {
		t.Fatalf("got %+v", f)
	}
	for _, row := range f.Rows {
		if row.Failed != "" || len(row.CPU) != 2 || row.Memory.Least() < 1000 || strings.Contains(row.Command, dir) {
			t.Errorf("got %+v", row)
		}
	}
	// A program that fails is a row, not the end.
	b.Ringside = "/no/such/program"
	if err := r.readers(t.Context(), c, &f, path, dir); err != nil || !strings.HasPrefix(f.Rows[0].Failed, "failed: ") {
		t.Errorf("%v: %+v", err, f.Rows[0])
	}
}

func TestNoise(t *testing.T) {
	rep := &report.Report{Method: report.Method{Exact: 1.15, Runs: 2}, Scenarios: []report.Scenario{{Rows: []report.Row{{Rate: report.Figure{100, 150}}}}}}
	if n := noise([]float64{10, 10, 10.1}, rep); n.Share < 0.19 || n.Share > 0.21 {
		t.Errorf("rounds that differ by two fifths: %v", n.Share)
	}
	rep.Scenarios[0].Rows[0].Rate = report.Figure{100, 101}
	if n := noise([]float64{10, 10, 10.1}, rep); n.Share < 0.149 || n.Share > 0.151 {
		t.Errorf("a quiet machine: %v, want as exact as the search", n.Share)
	}
	if n := noise([]float64{10, 10, 12, 14, 20, 20}, rep); n.Share < 0.38 {
		t.Errorf("a machine whose speed doubles: %v", n.Share)
	}
	// Nobody knows how much rounds would differ where no program has two rates of its own,
	// however many rounds were meant.
	for name, rows := range map[string][]report.Row{
		"no rows":            nil,
		"one round":          {{Rate: report.Figure{100}}},
		"the sender's limit": {{Rate: report.Figure{100, 101}, Sender: true}},
		"the host's":         {{Rate: report.Figure{100, 101}, Stolen: true}},
	} {
		rep.Scenarios[0].Rows = rows
		if n := noise([]float64{10, 10, 10.1}, rep); n.Share != 0.3 {
			t.Errorf("%s: %v, want 0.3", name, n.Share)
		}
	}
	rep.Scenarios[0].Rows = []report.Row{{Rate: report.Figure{100, 101}}, {Rate: report.Figure{100}}, {Rate: report.Figure{100}}}
	if n := noise([]float64{10, 10, 10.1}, rep); n.Share != 0.3 {
		t.Errorf("most programs have one rate: %v, want 0.3", n.Share)
	}
	rep.Scenarios[0].Rows = []report.Row{{Rate: report.Figure{100, 101}}, {Rate: report.Figure{100, 300}, Sender: true}}
	if n := noise([]float64{10, 10, 10.1}, rep); n.Share > 0.151 {
		t.Errorf("rates that are the sender's count: %v", n.Share)
	}
}

// The ledger is asked for until it has seen what arrived.
func TestDrops(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for asked := 0; ; asked++ {
			c, err := l.Accept()
			if err != nil {
				return
			}
			seen := 10
			if asked > 1 {
				seen = 100
			}
			b, _ := json.Marshal(map[string]any{
				"rows": []map[string]any{
					{"stage": "nic", "reason": "received", "packets": seen},
					{"stage": "ring", "reason": "full", "packets": 7, "lost": true},
					{"stage": "filter", "reason": "drop no headroom", "packets": 0, "lost": true},
					{"stage": "ring", "reason": "taken", "packets": 93},
				},
				"gaps": []map[string]any{{"between": "the filter and the rings", "packets": 3}, {"between": "x", "packets": -3}},
			})
			_, _ = c.Read(make([]byte, 100))
			_, _ = c.Write(append([]byte("HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n"), b...))
			_ = c.Close()
		}
	}()
	got, err := drops(socket, 100)
	want := []report.Drop{{Stage: "ring", Reason: "full", Packets: 7}, {Stage: "between", Reason: "the filter and the rings", Packets: 3}}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %+v, %v", got, err)
	}
	if _, err := drops(socket+"x", 100); err == nil {
		t.Error("nobody answers, and it is no error")
	}
}

func TestCheck(t *testing.T) {
	for _, tc := range []struct {
		want   string
		change func(*Bench)
	}{
		{"0 runs", func(b *Bench) { b.Runs = 0 }},
		{"two ends", func(b *Bench) { b.From = "eth1" }},
		{"both are eth1", func(b *Bench) { b.From, b.To = "eth1", "eth1" }},
		{"exactness 1", func(b *Bench) { b.Exact = 1 }},
		{"priority 20", func(b *Bench) { b.Nice = 20 }},
		{"no CPU", func(b *Bench) { b.Receive = nil }},
	} {
		b := New()
		tc.change(b)
		if err := b.Check(); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("got %v, want an error about %q", err, tc.want)
		}
	}
	if err := New().Check(); err != nil {
		t.Errorf("the defaults: %v", err)
	}
	b := New()
	b.Ringside = "/no/such/program"
	if err := b.Ready(); err == nil {
		t.Error("it is ready without ringside")
	}
	b = New()
	b.Ringside, b.Floor, b.Folder = ".", "floor.o", "spool"
	if os.Geteuid() == 0 {
		if err := b.Ready(); err != nil {
			t.Skip(err)
		}
		for _, path := range []string{b.Ringside, b.Floor, b.Folder} {
			if !filepath.IsAbs(path) {
				t.Errorf("%s is not absolute, and programs run in folders of their own", path)
			}
		}
	}
	for n, want := range map[int][2]int{1: {1, 1}, 2: {1, 1}, 8: {2, 6}} {
		if send, receive := CPUs(n); len(send) != want[0] || len(receive) != want[1] {
			t.Errorf("%d CPUs: %v send, %v receive", n, send, receive)
		}
	}
	if !errors.Is(attachedNowhere(), exec.ErrNotFound) {
		t.Error("a program that is not there starts")
	}
}

func TestChannels(t *testing.T) {
	const said = "Channel parameters for eth1:\nPre-set maximums:\nRX:\t\t%s\nTX:\t\tn/a\nCombined:\t64\n" +
		"Current hardware settings:\nRX:\t\t%[1]s\nTX:\t\tn/a\nOther:\t\t1\nCombined:\t%s\n"
	for _, tc := range []struct {
		rx, combined, kind string
		n                  int
	}{{"n/a", "8", "combined", 8}, {"4", "n/a", "rx", 4}, {"0", "0", "combined", 1}} {
		if kind, n := parseChannels(fmt.Sprintf(said, tc.rx, tc.combined)); kind != tc.kind || n != tc.n {
			t.Errorf("%+v: got %s, %d", tc, kind, n)
		}
	}
}

func TestCostAt(t *testing.T) {
	for holds, want := range map[float64]float64{5e6: 400e3, 800e3: 400e3, 799e3: 200e3, 100e3: 50e3, 0: 3125} {
		if got := costAt(holds); got != want {
			t.Errorf("%v: at %v, want %v", holds, got, want)
		}
	}
}

func attachedNowhere() error {
	_, err := start(exec.Command("no-such-program-at-all"), "ready")
	return err
}
