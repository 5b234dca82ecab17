package metrics

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"ringside/flow/record"
)

var update = flag.Bool("update", false, "write testdata anew")

// fixed is a source that always says the same.
type fixed Snapshot

func (f fixed) Snapshot() Snapshot { return Snapshot(f) }

// full has something of everything.
func full() fixed {
	return fixed{
		Build:   Build{"v1.2.3", "0123abc", "go1.26.0"},
		Now:     time.Unix(1_790_000_000, 500_000_000),
		Sensor:  7,
		Name:    "north",
		Ready:   true,
		Workers: []float64{0.25, 0.5},
		Interfaces: []Interface{
			{Name: "eth1", Up: true, Speed: 1.25e9, Packets: 103, Bytes: 10_300, Dropped: 3, Verdicts: []Count{{"pass", 70}, {"meter", 20}, {"drop", 10}, {"pass", 5}},
				Rings: []Ring{{Packets: 40, Drops: 1, Freezes: 1, Fill: 0.125, Age: 15 * time.Millisecond}, {Packets: 35, Age: -1}}},
			{Name: "eth2"},
		},
		Lost:   []Count{{"ring", 1}, {"nic", 3}},
		Gaps:   1,
		Decode: []Count{{"arp", 12}, {"truncated-ip", 1}},
		Flow: &Flow{
			Calls: 12, Registrations: 5, Streams: 24, RTP: 9000, Orphan: 11,
			Messages: []Count{{"UDP", 100}, {"TLS", 7}}, Requests: []Count{{"INVITE", 20}, {"BYE", 8}},
			ParseErrors: []Count{{"bad-start-line", 2}}, Responses: [7]uint64{0, 40, 30, 0, 5, 1, 0},
		},
		Spool: &Spool{
			Bytes: 1 << 30, Oldest: time.Unix(1_789_000_000, 0), Free: 1 << 32, Used: 4096, Memory: 1 << 27,
			Reach:   []Reach{{"sip", 30 * 24 * time.Hour, 7 * 24 * time.Hour}, {"rtp", 0, 0}},
			Refused: 1, Failed: 2, Discarded: 3, Packed: []Packing{{"sip", 5000, 1000}, {"rtp", 0, 0}},
		},
		Store: &Store{Pending: 4, QueuedBytes: 8192, Errors: 1, Away: true},
	}
}

// call is an answered one with two streams.
func call() *record.Call {
	s := func(mos float64, lost uint64, jitter float64) record.Stream {
		return record.Stream{MOS: record.MOS{LQ: mos}, Counters: record.Counters{Expected: 1000, Lost: lost, JitterAvg: jitter}}
	}
	const start = int64(1_790_000_000_000_000_000)
	return &record.Call{
		Outcome: record.Answered, Start: start, Ring: start + 1_500_000_000, Answer: start + 4_000_000_000,
		Streams: []record.Stream{s(4.35, 0, 1.5), s(3.5, 20, 25)},
	}
}

func page(t *testing.T, m *Metrics) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if w.Code != http.StatusOK {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	return w.Body.String()
}

// ours are the lines of a page that are about ringside.
func ours(page string) string {
	var b strings.Builder
	for l := range strings.Lines(page) {
		if strings.HasPrefix(strings.TrimPrefix(strings.TrimPrefix(l, "# HELP "), "# TYPE "), "ringside_") {
			b.WriteString(l)
		}
	}
	return b.String()
}

// Dashboards and rules of users go by names, types and labels: a change of the page
// is a change of an interface.
func TestPage(t *testing.T) {
	m := New(full())
	m.ObserveCall(call())
	m.ObserveRequest("/api/v1/calls", 200, 20*time.Millisecond)
	m.ObserveWrite("write", 3*time.Millisecond)
	m.ObserveWrite("sync", 30*time.Millisecond)
	m.ObserveBatch(8 * time.Millisecond)
	got := page(t, m)
	for _, name := range []string{"go_goroutines ", "process_resident_memory_bytes "} {
		if !strings.Contains(got, "\n"+name) {
			t.Errorf("the page lacks %s", name)
		}
	}
	const golden = "testdata/page.txt"
	if *update {
		if err := os.WriteFile(golden, []byte(ours(got)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if ours(got) != string(want) {
		t.Errorf("the page is not that of %s (go test -update writes it):\n%s", golden, ours(got))
	}
	problems, err := promlint.New(strings.NewReader(got)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("promlint: %s: %s", p.Metric, p.Text)
	}
}

// A service that only shows a store has no capture, and no figures of one.
func TestNothingIsCaptured(t *testing.T) {
	got := ours(page(t, New(fixed{})))
	for _, absent := range []string{"ringside_calls_active", "ringside_ring_", "ringside_spool_", "ringside_store_up", "ringside_ledger_gaps"} {
		if strings.Contains(got, absent) {
			t.Errorf("%s is on the page of a service without it", absent)
		}
	}
	if !strings.Contains(got, `ringside_calls_total{outcome="answered"} 0`) {
		t.Error("counters do not begin at 0: the first calls would be no increase")
	}
}

func TestObserveCall(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*record.Call)
		want   string // <histogram> <count> <sum>
	}{
		{"worst stream", func(*record.Call) {}, "mos 1 3.5; jitter 1 0.025; loss 1 0.02; setup 1 1.5"},
		{"nothing rang", func(c *record.Call) { c.Ring = 0 }, "mos 1 3.5; jitter 1 0.025; loss 1 0.02; setup 1 4"},
		{"answered before it rang", func(c *record.Call) { c.Ring = c.Answer + 1 }, "mos 1 3.5; jitter 1 0.025; loss 1 0.02; setup 1 4"},
		{"no INVITE seen", func(c *record.Call) { c.Flags |= record.MidCall }, "mos 1 3.5; jitter 1 0.025; loss 1 0.02; setup 0 0"},
		{"we lost packets", func(c *record.Call) { c.Flags |= record.Incomplete }, "mos 0 0; jitter 0 0; loss 0 0; setup 1 1.5"},
		{"the mirror lost packets", func(c *record.Call) { c.Flags |= record.MirrorLoss }, "mos 0 0; jitter 0 0; loss 0 0; setup 1 1.5"},
		{"a stream of few packets", func(c *record.Call) { c.Streams[1].Expected = fewest - 1 }, "mos 1 4.35; jitter 1 0.0015; loss 1 0; setup 1 1.5"},
		{"MOS not known", func(c *record.Call) { c.Streams[0].MOS.LQ, c.Streams[1].MOS.LQ = 0, 0 }, "mos 0 0; jitter 1 0.025; loss 1 0.02; setup 1 1.5"},
		{"no media", func(c *record.Call) { c.Streams = nil }, "mos 0 0; jitter 0 0; loss 0 0; setup 1 1.5"},
		{"not answered", func(c *record.Call) { c.Ring, c.Answer = 0, 0 }, "mos 1 3.5; jitter 1 0.025; loss 1 0.02; setup 0 0"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := call()
			tc.change(c)
			m := New(fixed{})
			m.ObserveCall(c)
			got := page(t, m)
			var parts []string
			for _, h := range []struct{ short, name string }{{"mos", "mos"}, {"jitter", "jitter_seconds"}, {"loss", "loss_ratio"}, {"setup", "setup_seconds"}} {
				parts = append(parts, fmt.Sprintf("%s %s %s", h.short, value(t, got, "ringside_call_"+h.name+"_count"), value(t, got, "ringside_call_"+h.name+"_sum")))
			}
			if s := strings.Join(parts, "; "); s != tc.want {
				t.Errorf("%s, want %s", s, tc.want)
			}
		})
	}
}

// value is that of a sample without labels.
func value(t *testing.T, page, name string) string {
	t.Helper()
	found := regexp.MustCompile(`(?m)^` + name + ` (.+)$`).FindStringSubmatch(page)
	if found == nil {
		t.Fatalf("the page lacks %s", name)
	}
	return found[1]
}

// Whatever calls hold, the page does not grow.
func TestPageDoesNotGrow(t *testing.T) {
	m := New(full())
	m.ObserveCall(call())
	before := strings.Count(page(t, m), "\n")
	for i := range 1000 {
		c := call()
		c.CallID, c.Caller.Number, c.LastReason = fmt.Sprint("id", i), fmt.Sprint(i), fmt.Sprint("reason\n", i)
		c.Outcome = record.Answered
		m.ObserveCall(c)
	}
	if after := strings.Count(page(t, m), "\n"); after != before {
		t.Errorf("%d lines became %d", before, after)
	}
	for i := range 10 * maxRoutes {
		m.ObserveRequest(fmt.Sprint("/r", i), 200, time.Millisecond)
	}
	if n := strings.Count(page(t, m), "ringside_api_request_seconds_count"); n > maxRoutes+1 {
		t.Errorf("%d routes have a line", n)
	}
	m.ObserveCall(&record.Call{Outcome: 200}) // of a later version
}

// Labels that name people, addresses or calls are not for metrics.
func TestLabels(t *testing.T) {
	m := New(full())
	m.ObserveRequest("/api/v1/calls", 200, time.Millisecond)
	allowed := []string{"class", "code", "commit", "go", "iface", "le", "method", "name", "op", "outcome", "queue", "reason", "ring", "route", "sensor", "stage", "transport", "verdict", "version"}
	for _, l := range regexp.MustCompile(`([a-z_]+)="`).FindAllStringSubmatch(ours(page(t, m)), -1) {
		if !slices.Contains(allowed, l[1]) {
			t.Errorf("label %s", l[1])
		}
	}
}

func TestMethods(t *testing.T) {
	s := httptest.NewServer(New(full()).Handler())
	defer s.Close()
	for _, tc := range []struct {
		method string
		want   int
	}{{http.MethodGet, 200}, {http.MethodHead, 200}, {http.MethodPost, 405}, {http.MethodDelete, 405}} {
		t.Run(tc.method, func(t *testing.T) {
			req, err := http.NewRequest(tc.method, s.URL, nil)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if resp.StatusCode != tc.want {
				t.Errorf("status %d, want %d", resp.StatusCode, tc.want)
			}
			if _, err := io.Copy(io.Discard, resp.Body); err != nil {
				t.Error(err)
			}
		})
	}
}

// Records, requests and scrapes come from many goroutines.
func TestConcurrently(t *testing.T) {
	m := New(full())
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 200 {
				m.ObserveCall(call())
				m.ObserveRequest("/api/v1/calls", 200, time.Millisecond)
			}
		})
	}
	for range 10 {
		if !bytes.Contains([]byte(page(t, m)), []byte("ringside_calls_total")) {
			t.Error("the page lacks calls")
		}
	}
	wg.Wait()
	if got := page(t, m); !strings.Contains(got, `ringside_calls_total{outcome="answered"} 800`) {
		t.Error("calls were not all counted")
	}
}

func BenchmarkObserveCall(b *testing.B) {
	m, c := New(fixed{}), call()
	b.ReportAllocs()
	for b.Loop() {
		m.ObserveCall(c)
	}
}
