package daemon

import (
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"
)

// The page for Prometheus says of a capture what became of its packets and calls.
func TestServiceMetrics(t *testing.T) {
	o, rings := capturingFile(t, t.TempDir())
	s := serving(t, t.TempDir(), o)
	<-rings.quiet
	eventually(t, "ready", func() bool { return s.Status().Ready })
	sample := func(name string) float64 {
		_, _, body := s.web("GET", "/metrics", "", "")
		found := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(name) + ` (.+)$`).FindSubmatch(body)
		if found == nil {
			return -1
		}
		v, err := strconv.ParseFloat(string(found[1]), 64)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	for _, name := range []string{
		"ringside_ready", `ringside_interface_up{iface="made-up0"}`, `ringside_ring_packets_total{iface="made-up0",ring="0"}`,
		`ringside_sip_messages_total{transport="udp"}`, `ringside_sip_requests_total{method="INVITE"}`, `ringside_sip_responses_total{class="2xx"}`,
		"ringside_rtp_packets_total", "ringside_spool_up", "ringside_spool_free_bytes", "ringside_store_up",
		`ringside_calls_total{outcome="answered"}`, "ringside_call_mos_count", "ringside_call_setup_seconds_count",
		`ringside_writer_queue_limit_bytes{queue="spool"}`, `ringside_spool_write_seconds_count{op="write"}`, `ringside_spool_write_seconds_count{op="sync"}`,
		`ringside_compress_ratio{class="sip"}`, "ringside_cdr_batch_seconds_count",
	} {
		eventually(t, name+" is above 0", func() bool { return sample(name) > 0 })
	}
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	if name := `ringside_sensor_info{name="` + host + `",sensor="0"}`; sample(name) != 1 {
		t.Errorf("the page lacks %s", name)
	}
	for _, name := range []string{`ringside_calls_active{sensor="0"}`, `ringside_ring_drops_total{iface="made-up0",ring="0"}`, "ringside_cdr_pending", "ringside_ledger_gaps"} {
		if sample(name) < 0 {
			t.Errorf("the page lacks %s", name)
		}
	}
	s.get("/api/v1/ledger", s.login(), new(struct{}))
	if sample(`ringside_api_request_seconds_count{code="200",route="/api/v1/ledger"}`) != 1 {
		t.Error("requests to the API are not counted")
	}
	s.stop()
}

// The page is for programs of this machine: not for others, nor for those who have
// a proxy or a browser of this machine ask.
func TestMetricsAreLocal(t *testing.T) {
	for _, tc := range []struct {
		name, from, host, header string
		want                     bool
	}{
		{"Prometheus beside it", "127.0.0.1:4711", "127.0.0.1:8080", "", true},
		{"IPv6", "[::1]:4711", "[::1]:8080", "", true},
		{"by name", "127.0.0.1:4711", "localhost:8080", "", true},
		{"standard port", "127.0.0.1:4711", "127.0.0.1", "", true},
		{"another machine", "192.0.2.7:4711", "192.0.2.1:8080", "", false},
		{"another machine that lies about the host", "192.0.2.7:4711", "127.0.0.1:8080", "", false},
		{"through a proxy", "127.0.0.1:4711", "127.0.0.1:8080", "X-Forwarded-For", false},
		{"a page of another site", "127.0.0.1:4711", "127.0.0.1:8080", "Origin", false},
		{"a name bent to this machine", "127.0.0.1:4711", "evil.example:8080", "", false},
		{"the control socket", "@", "localhost", "", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := httptest.NewRequest("GET", "/metrics", nil)
			r.RemoteAddr, r.Host = tc.from, tc.host
			if tc.header != "" {
				r.Header.Set(tc.header, "192.0.2.7")
			}
			if got := local(r); got != tc.want {
				t.Errorf("local: %v, want %v", got, tc.want)
			}
		})
	}
}

// Whoever is not of this machine needs an account.
func TestMetricsNeedAnAccount(t *testing.T) {
	s := serving(t, t.TempDir(), ServiceOptions{HTTP: HTTPOptions{Addr: "127.0.0.1:0"}})
	for _, tc := range []struct {
		name, bearer, cookie string
		want                 int
	}{
		{"nobody", "", "", 401},
		{"a token that is none", "rst_0_0", "", 401},
		{"a session", "", s.login(), 200},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := httptest.NewRequest("GET", "/metrics", nil)
			r.RemoteAddr, r.Host = "192.0.2.7:4711", "127.0.0.1:8080"
			if tc.bearer != "" {
				r.Header.Set("Authorization", "Bearer "+tc.bearer)
			}
			if tc.cookie != "" {
				r.Header.Set("Cookie", tc.cookie)
			}
			w := httptest.NewRecorder()
			s.server.Handler.ServeHTTP(w, r)
			if w.Code != tc.want {
				t.Errorf("status %d, want %d: %s", w.Code, tc.want, w.Body)
			}
		})
	}
	s.stop()
}

func TestOldestSegment(t *testing.T) {
	dir := t.TempDir()
	if at := oldestSegment(dir); !at.IsZero() {
		t.Errorf("an empty spool: %v", at)
	}
	for _, name := range []string{
		"lost+found/x", ".reserve", "2026-01-31/07/.58-sip-0.pcapng.zst", "2026-01-31/08/02-rtp-1.pcapng.zst",
		"2026-01-31/08/01-sip-0.pcapng.zst", "2026-02-01/00/00-sip-0.pcapng.zst",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if at, want := oldestSegment(dir), time.Date(2026, 1, 31, 8, 1, 0, 0, time.UTC); !at.Equal(want) {
		t.Errorf("the oldest is %v, want %v", at.UTC(), want)
	}
}
