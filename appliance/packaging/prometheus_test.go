package packaging_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ringside/appliance/metrics"
	"ringside/flow/record"
)

// appliance is a source whose database is away.
type appliance struct{}

func (appliance) Snapshot() metrics.Snapshot {
	return metrics.Snapshot{
		Build: metrics.Build{Version: "test"}, Now: time.Now(), Ready: true, Workers: []float64{0.5},
		Interfaces: []metrics.Interface{{Name: "eth1", Up: true, Rings: []metrics.Ring{{Packets: 7}}}},
		Flow:       &metrics.Flow{Calls: 3}, Spool: &metrics.Spool{Memory: 1 << 20}, Store: &metrics.Store{Away: true},
	}
}

// prom is a running Prometheus.
type prom struct {
	t   *testing.T
	url string
	log bytes.Buffer
}

// startPrometheus runs Debian's Prometheus, which scrapes an address every second
// and evaluates our rules as often.
func startPrometheus(t *testing.T, target string) *prom {
	t.Helper()
	program := need(t, "prometheus")
	rules, err := filepath.Abs(rulesFile)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	config := fmt.Sprintf(`global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: [%q]
scrape_configs:
  - job_name: ringside
    static_configs: [{targets: [%q]}]
`, rules, target)
	if err := os.WriteFile(filepath.Join(dir, "prometheus.yml"), []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0") // a port that is free
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	p := &prom{t: t, url: "http://" + addr}
	cmd := exec.Command(program, "--config.file="+filepath.Join(dir, "prometheus.yml"),
		"--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+addr)
	cmd.Stdout, cmd.Stderr = &p.log, &p.log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Log(p.log.String())
		}
	})
	return p
}

// get asks the API of Prometheus; false: it does not answer (yet).
func (p *prom) get(path string, to any) bool {
	res, err := http.Get(p.url + path)
	if err != nil {
		return false
	}
	defer res.Body.Close()
	return json.NewDecoder(res.Body).Decode(to) == nil
}

// answer is what Prometheus says to a query.
type answer struct {
	Status, Error string
	Data          struct {
		Result []struct {
			Value [2]any
		}
	}
}

func (p *prom) query(expr string) (out answer) {
	p.get("/api/v1/query?query="+url.QueryEscape(expr), &out)
	return out
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); !ok(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("waited for two minutes: " + what)
		}
	}
}

// A real Prometheus reads the page, works out the rules, and answers whatever the
// dashboards ask.
func TestPrometheus(t *testing.T) {
	m := metrics.New(appliance{})
	for range 10 {
		m.ObserveCall(&record.Call{Outcome: record.Answered, Start: 1, Ring: 2})
	}
	s := httptest.NewServer(m.Handler())
	defer s.Close()
	p := startPrometheus(t, strings.TrimPrefix(s.URL, "http://"))
	eventually(t, "the page is scraped", func() bool { return len(p.query(`up{job="ringside"} == 1`).Data.Result) == 1 })
	eventually(t, "an alert is pending", func() bool {
		return len(p.query(`ALERTS{alertname="RingsideStoreAway",alertstate="pending"}`).Data.Result) == 1
	})
	if r := p.query(`ringside_calls_total{outcome="answered"}`).Data.Result; len(r) != 1 || r[0].Value[1] != "10" {
		t.Errorf("calls: %v, want 10", r)
	}
	// Rules that were worked out before the first scrape may be pending for a while.
	eventually(t, "no alert is left beside that of the database", func() bool {
		r := p.query(`ALERTS{alertname!="RingsideStoreAway"}`)
		return r.Status == "success" && len(r.Data.Result) == 0
	})
	if r := p.query(`max_over_time(ALERTS{alertname!="RingsideStoreAway",alertstate="firing"}[10m])`).Data.Result; len(r) != 0 {
		t.Errorf("alerts beside that of the database: %v", r)
	}
	var rules struct {
		Data struct {
			Groups []struct {
				Rules []struct{ Name, Health, LastError string }
			}
		}
	}
	eventually(t, "rules are worked out", func() bool {
		p.get("/api/v1/rules", &rules)
		n := 0
		for _, g := range rules.Data.Groups {
			for _, r := range g.Rules {
				if r.Health == "err" {
					t.Fatalf("rule %s: %s", r.Name, r.LastError)
				}
				if r.Health == "ok" {
					n++
				}
			}
		}
		return n == len(alertNames(t))
	})
	p.askDashboards()
}

// askDashboards puts every question of the dashboards.
func (p *prom) askDashboards() {
	files, err := filepath.Glob("grafana/*.json")
	if err != nil {
		p.t.Fatal(err)
	}
	asked := 0
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			p.t.Fatal(err)
		}
		var d dashboard
		if err := json.Unmarshal(b, &d); err != nil {
			p.t.Fatal(err)
		}
		for _, panel := range d.Panels {
			for _, q := range panel.Targets {
				expr := strings.NewReplacer("$__rate_interval", "1m", "$instance", ".*").Replace(q.Expr)
				if a := p.query(expr); a.Status != "success" {
					p.t.Errorf("%s, panel %q: %s: %s", d.Title, panel.Title, expr, a.Error)
				}
				asked++
			}
		}
	}
	if asked < 40 {
		p.t.Errorf("dashboards have %d questions only", asked)
	}
}
