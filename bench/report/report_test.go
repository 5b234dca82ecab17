package report

import (
	"bytes"
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the golden files anew")

// sample is a report with everything in it that one can have.
func sample() *Report {
	row := func(name string, rate ...float64) Row {
		return Row{
			Program: name, Command: name + " run -i IFACE", Rate: rate, CostAt: 400000, Kernel: Figure{200, 220}, User: Figure{100, 90}, Sum: Figure{300, 310},
			Call: Figure{30, 31}, Memory: Figure{12.5, 13},
			Curve: []Point{{250000, 0}, {500000, 0.00002}, {1000000, 0.004}, {2000000, 0.31}},
		}
	}
	first := row("ringside, calls metered", 1200000, 1100000)
	first.Threads = []Share{{"kernel, receiving", 0.82}, {"ringside/4", 0.11}}
	first.Drops = []Drop{{"sender", "refused by the driver", 31000, 2000000}, {"ring", "full", 200, 2000000}}
	first.Records = Records{Calls: 500, CallsFound: 500, Packets: 1000000, PacketsHere: 999990, Known: true}
	other := row("tcpdump -w /dev/null", 700000, 750000)
	other.Peer = true
	blind := Row{Program: "voipmonitor", Peer: true, CostAt: 100000, Sum: Figure{2500}}
	return &Report{
		Schema: Schema, Date: time.Date(2026, 11, 21, 20, 15, 0, 0, time.UTC), Ringside: "ringside 1.0", Command: "ringbench suite",
		Took: 11*time.Minute + 3*time.Second,
		Host: Host{
			CPU: "Xeon | 2.5 GHz", CPUs: 2, Memory: 24 << 30, Kernel: "6.18", System: "Debian 12", Load: 0.25, Link: "wire from eth1 to eth2",
			NIC: "0000:3b:00.0 0x8086:0x1572", Driver: "i40e, firmware 8.30", Speed: "10000 Mbit/s", Queues: 4, XDP: "XDP, native", Send: []int{0}, Receive: []int{1},
		},
		Method: Method{Runs: 2, Span: time.Second, Free: 0.005, Tries: 3, Exact: 1.15, Calls: 500, Sender: "live XDP frames"},
		Noise:  Noise{Loop: Figure{9.9, 10, 12}, Share: 0.15},
		Peers:  []Peer{{Name: "tcpdump", Version: "tcpdump version 4.99.3"}, {Name: "sngrep", Missing: true, Remedy: "apt-get install sngrep"}},
		Files: []File{{
			Name: "Read a file", What: "G.711 calls of 10s", Packets: 2014000, Calls: 2000, Bytes: 460e6,
			Rows: []FileRow{
				{Program: "ringside, workers: 1", Command: "ringside read --quiet --workers 1 DIR/load.pcap", CPU: Figure{0.4, 0.42}, Wall: Figure{0.41, 0.43}, Memory: Figure{32000, 33000}},
				{Program: "sngrep", Command: "sngrep -N -I DIR/load.pcap", CPU: Figure{130}, Wall: Figure{133}, Memory: Figure{30000}, Counted: 2000, Counts: "dialogs"},
				{Program: "tshark", Command: "tshark", Failed: "failed: it was stopped after 2m0s"},
			},
		}},
		Scenarios: []Scenario{
			{Name: "calls metered", What: "RTP of calls.", PerCall: "a second of it", Queues: 1, Rows: []Row{first, other, blind}},
			{Name: "calls metered", What: "RTP of calls.", Queues: 4, Rows: []Row{{Program: "ringside, calls metered", Rate: Figure{3e6}, Sender: true, CostAt: 4e5, Sum: Figure{290}}}},
			{Name: "full recording", What: "To disk.", Queues: 1, Rows: []Row{{Program: "ringside", Failed: "failed: no room"}}},
		},
	}
}

// golden compares with a file in testdata.
func golden(t *testing.T, name string, write func(io.Writer) error) {
	t.Helper()
	var b bytes.Buffer
	if err := write(&b); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(b.Bytes(), want) {
		t.Errorf("%s is other than recorded (go test -update writes it anew):\n%s", name, b.String())
	}
}

func TestMarkdown(t *testing.T) { golden(t, "report.md", sample().WriteMarkdown) }

func TestPlots(t *testing.T) {
	plots := sample().Plots()
	if len(plots) != 1 || plots[0].Name != "calls-metered-1q.svg" || len(plots[0].Lines) != 2 {
		t.Fatalf("got %+v, want one plot of two lines", plots)
	}
	golden(t, plots[0].Name, plots[0].WriteSVG)
}

// A plot is well-formed whatever programs are called, and all of it is in the picture.
func TestPlotIsXML(t *testing.T) {
	p := Plot{Title: `a < b & "c"`, Lines: []Line{{"<script>", []Point{{5, 0}, {17, 1}, {3, 1e-9}}}, {"none", nil}}}
	var b bytes.Buffer
	if err := p.WriteSVG(&b); err != nil {
		t.Fatal(err)
	}
	d := xml.NewDecoder(bytes.NewReader(b.Bytes()))
	circles := 0
	for {
		tok, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("%v in\n%s", err, b.String())
		}
		if e, ok := tok.(xml.StartElement); ok && e.Name.Local == "circle" {
			circles++
		}
	}
	if circles != 3 || strings.Contains(b.String(), "<script>") || strings.Contains(b.String(), "NaN") {
		t.Errorf("%d points in\n%s", circles, b.String())
	}
	for _, lost := range []float64{0, 1e-9, 1e-3, 1, 7} {
		if y := atLost(lost); y < top || y > high-bottom {
			t.Errorf("a loss of %v is at %v, outside of the picture", lost, y)
		}
	}
}

func TestJSON(t *testing.T) {
	var b bytes.Buffer
	if err := sample().WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	got, err := ReadJSON(&b)
	if err != nil || !reflect.DeepEqual(got, sample()) {
		t.Errorf("%v: it comes back as\n%+v", err, got)
	}
	for name, text := range map[string]string{"garbage": "{", "another schema": `{"schema": 99}`} {
		if _, err := ReadJSON(strings.NewReader(text)); err == nil {
			t.Errorf("%s is read", name)
		}
	}
}

func TestCompare(t *testing.T) {
	before, now := sample(), sample()
	now.Scenarios[0].Rows[0].Rate = Figure{1e6, 1.02e6} // within the noise
	now.Files[0].Rows[0].CPU = Figure{0.7, 0.8}         // not
	var b bytes.Buffer
	differ, of, err := Compare(&b, before, now)
	if err != nil || differ != 1 || of != 9 {
		t.Errorf("%d of %d differ, %v:\n%s", differ, of, err, b.String())
	}
	if !strings.Contains(b.String(), "| Read a file, ringside, workers: 1: CPU s | 0.40 / 0.41 (±2 %) | 0.70 / 0.75 (±7 %) | 1.83 | DIFFERS |") {
		t.Errorf("no line of what differs in\n%s", b.String())
	}
	// What a run has not measured differs from what the other has.
	now.Scenarios[0].Rows[0].Rate = nil
	if differ, _, err = Compare(&b, before, now); err != nil || differ != 2 {
		t.Errorf("%d differ, %v; want 2", differ, err)
	}
}

// What failed in one run differs, and what one run did not come to is told.
func TestCompareWhatFailed(t *testing.T) {
	const late = "not measured: the time was over (--budget)"
	for _, tc := range []struct {
		name               string
		change             func(before, now *Report)
		differ, of, single int
	}{
		{"nothing", func(*Report, *Report) {}, 0, 9, 0},
		{"failed now", func(_, now *Report) { now.Scenarios[0].Rows[1].Failed = "failed: no such device" }, 1, 8, 0},
		{"failed before", func(before, _ *Report) { before.Files[0].Rows[1].Failed = "failed: killed" }, 1, 9, 0},
		{"failed in both", func(before, now *Report) {
			before.Files[0].Rows[1].Failed, now.Files[0].Rows[1].Failed = "failed: killed", "failed: no room"
		}, 0, 8, 0},
		{"not measured now", func(_, now *Report) { now.Scenarios[0].Rows[1].Failed = late }, 0, 7, 1},
		{"not measured before", func(before, _ *Report) { before.Scenarios[0].Rows[1].Failed = late }, 0, 7, 1},
		{"not there now", func(_, now *Report) { now.Scenarios, now.Files[0].Rows = now.Scenarios[:1], now.Files[0].Rows[:1] }, 0, 6, 4},
		{"not there before", func(before, _ *Report) {
			before.Scenarios, before.Files[0].Rows = before.Scenarios[:1], before.Files[0].Rows[:1]
		}, 0, 6, 4},
		{"of another scenario", func(before, _ *Report) {
			before.Scenarios[1].Rows[0].From, before.Scenarios[1].Rows[0].Failed = "calls metered", late
		}, 0, 7, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			before, now := sample(), sample()
			tc.change(before, now)
			var b bytes.Buffer
			differ, of, err := Compare(&b, before, now)
			told := strings.Contains(b.String(), fmt.Sprintf("\n%d rows are in one run only.\n", tc.single))
			if err != nil || differ != tc.differ || of != tc.of || told != (tc.single > 0) {
				t.Errorf("%v: %d of %d differ, want %d of %d, and %d rows in one run:\n%s", err, differ, of, tc.differ, tc.of, tc.single, b.String())
			}
		})
	}
}

// A rate that may be more agrees with all above it, and with nothing that is clearly below.
func TestCompareOpen(t *testing.T) {
	for _, tc := range []struct {
		before, now float64
		openBefore  bool
		openNow     bool
		differs     bool
	}{
		{1e6, 3e6, true, false, false},
		{1e6, 3e6, true, true, false},
		{3e6, 1e6, true, true, false},
		{3e6, 1e6, true, false, true},
		{1e6, 3e6, false, true, true},
		{3e6, 1e6, false, true, false},
		{1e6, 3e6, false, false, true},
	} {
		for _, stolen := range []bool{false, true} {
			run := func(rate float64, open bool) *Report {
				return &Report{Noise: Noise{Share: 0.15}, Scenarios: []Scenario{{Name: "x", Rows: []Row{
					{Program: "ringside", Rate: Figure{rate}, Stolen: open && stolen, Sender: open && !stolen}}}}}
			}
			var b bytes.Buffer
			differ, _, err := Compare(&b, run(tc.before, tc.openBefore), run(tc.now, tc.openNow))
			if err != nil || (differ == 1) != tc.differs || strings.Contains(b.String(), "at least") != (tc.openBefore || tc.openNow) || strings.Contains(b.String(), "Inf") {
				t.Errorf("%+v, stolen %v: %d differ, %v:\n%s", tc, stolen, differ, err, b.String())
			}
		}
	}
}

func TestRatio(t *testing.T) {
	for _, tc := range []struct {
		first, other Row
		want         string
	}{
		{Row{Rate: Figure{300}}, Row{Peer: true, Rate: Figure{100}}, "3.00"},
		{Row{Rate: Figure{300}, Sender: true}, Row{Peer: true, Rate: Figure{100}}, "at least 3.00"},
		{Row{Rate: Figure{300}}, Row{Peer: true, Rate: Figure{100}, Sender: true}, "at most 3.00"},
		{Row{Rate: Figure{300}, Sender: true}, Row{Peer: true, Rate: Figure{300}, Sender: true}, "neither's limit was found"},
		{Row{Rate: Figure{300}, Stolen: true}, Row{Peer: true, Rate: Figure{100}}, "at least 3.00"},
		{Row{Rate: Figure{300}, Sender: true}, Row{Peer: true, Rate: Figure{0}}, "–"},
		{Row{Rate: Figure{300}}, Row{Rate: Figure{100}}, "–"},
	} {
		s := Scenario{Rows: []Row{tc.first, tc.other}}
		if got := s.ratio(&s.Rows[1]); got != tc.want {
			t.Errorf("%+v: got %q", tc, got)
		}
	}
}

func TestFigure(t *testing.T) {
	for _, tc := range []struct {
		f                           Figure
		least, median, most, spread float64
		text                        string
	}{
		{nil, 0, 0, 0, 0, "–"},
		{Figure{3}, 3, 3, 3, 0, "3.0"},
		{Figure{4, 1, 2}, 1, 2, 4, 1.5, "1.0 / 2.0 (±75 %)"},
		{Figure{1, 3}, 1, 2, 3, 1, "1.0 / 2.0 (±50 %)"},
	} {
		if f := tc.f; f.Least() != tc.least || f.Median() != tc.median || f.Most() != tc.most || f.Spread() != tc.spread || f.show("%.1f") != tc.text {
			t.Errorf("%v: least %v, median %v, most %v, spread %v, %q", f, f.Least(), f.Median(), f.Most(), f.Spread(), f.show("%.1f"))
		}
	}
	if got := thousands(-1234567.4); got != "-1,234,567" {
		t.Errorf("got %s", got)
	}
}
