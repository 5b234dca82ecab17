package daemon

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"ringside/appliance/config"
)

// A service captures, keeps and serves: what came from the rings is seen through
// the API, with its messages, its quality over time, its sound and its packets. When
// it has ended nothing of it is left.
func TestService(t *testing.T) {
	dir := t.TempDir()
	o, rings := capturingFile(t, dir)
	goroutines, open := runtime.NumGoroutine(), fds(t)
	s := serving(t, dir, o)
	<-rings.quiet
	eventually(t, "ready", func() bool { return s.Status().Ready })
	cookie := s.login()

	var live struct{ Items []map[string]any }
	s.get("/api/v1/live/calls", cookie, &live)
	var ledger struct {
		Balanced bool
		Rows     []struct{ Stage string }
	}
	s.get("/api/v1/ledger", cookie, &ledger)
	if !ledger.Balanced || len(ledger.Rows) == 0 {
		t.Errorf("ledger: %+v", ledger)
	}
	var list struct {
		Items []struct {
			ID      string
			Outcome string
			CallID  string `json:"call_id"`
		}
	}
	eventually(t, "calls in the store", func() bool {
		s.get("/api/v1/calls?outcome=answered&limit=100", cookie, &list)
		return len(list.Items) >= 5
	})
	oldest := list.Items[len(list.Items)-1]
	s.checkCall("/api/v1/calls/"+oldest.ID, cookie, oldest.CallID)
	s.checkSpool(cookie)
	s.checkManager()
	ended := s.follow("/api/v1/live/status", cookie)
	s.stop()
	if err := <-ended; err != nil {
		t.Errorf("a stream of events is cut off at the end: %v", err)
	}
	eventually(t, "no goroutine is left", func() bool { return runtime.NumGoroutine() <= goroutines })
	eventually(t, "no descriptor is left", func() bool { return fds(t) <= open })
}

// follow reads a stream of events from its first byte on, and says how it ended.
func (r *running) follow(path, cookie string) <-chan error {
	r.t.Helper()
	req, err := http.NewRequest("GET", strings.TrimSuffix(r.url(), "/")+path, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("Cookie", cookie)
	req.Header.Set("Accept", "text/event-stream")
	res, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	if _, err := res.Body.Read(make([]byte, 1)); err != nil {
		r.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		defer res.Body.Close()
		_, err := io.Copy(io.Discard, res.Body)
		ended <- err
	}()
	return ended
}

// checkCall looks at all that there is of a call.
func (s *running) checkCall(path, cookie, callID string) {
	s.t.Helper()
	t := s.t
	var messages struct {
		Items []struct{ Method, Text string }
	}
	s.get(path+"/messages", cookie, &messages)
	if len(messages.Items) < 4 || !strings.Contains(messages.Items[0].Text, callID) || messages.Items[0].Method != "INVITE" {
		t.Errorf("messages: %d of them: %+v", len(messages.Items), messages.Items)
	}
	var streams struct {
		Items []struct {
			Packets   uint64
			Intervals []struct {
				Packets uint64
				MOS     float64
			}
		}
	}
	s.get(path+"/streams?step=1", cookie, &streams)
	if len(streams.Items) == 0 {
		t.Fatal("no streams")
	}
	for _, st := range streams.Items {
		sum := uint64(0)
		for _, i := range st.Intervals {
			sum += i.Packets
		}
		if sum != st.Packets || st.Intervals[0].MOS < 1 {
			t.Errorf("a stream of %d packets has %d over time: %+v", st.Packets, sum, st.Intervals)
		}
	}
	status, h, wav := s.web("GET", path+"/audio", cookie, "")
	if status != 200 || h.Get("Content-Type") != "audio/wav" || !bytes.HasPrefix(wav, []byte("RIFF")) {
		t.Errorf("audio: %d %s %.100q", status, h.Get("Content-Type"), wav)
	}
	status, _, packets := s.web("GET", path+"/pcap?format=pcapng", cookie, "")
	if status != 200 || !bytes.HasPrefix(packets, []byte("\n\r\r\n")) {
		t.Errorf("packets: %d %.100q", status, packets)
	}
	if status, _, b := s.web("GET", path+"/pcap", "", ""); status != http.StatusUnauthorized {
		t.Errorf("packets for nobody: %d %.100q", status, b)
	}
}

func (s *running) checkSpool(cookie string) {
	s.t.Helper()
	var spool struct {
		State   string
		Volumes []struct{ Dir string }
		Classes []struct{ Class string }
	}
	s.get("/api/v1/spool", cookie, &spool)
	if spool.State != "ok" || len(spool.Volumes) != 1 || len(spool.Classes) != 3 {
		s.t.Errorf("spool: %+v", spool)
	}
	var list []struct {
		Name, State, Filter string
		Packets             uint64
		Rings               []struct{ Packets uint64 }
	}
	var answer struct{ Items json.RawMessage }
	s.get("/api/v1/interfaces", cookie, &answer)
	if err := json.Unmarshal(answer.Items, &list); err != nil || len(list) != 1 || list[0].Name != "made-up0" || list[0].State != "up" || len(list[0].Rings) != 1 || list[0].Rings[0].Packets == 0 {
		s.t.Errorf("interfaces: %v %s", err, answer.Items)
	}
}

// ask sends a line to the manager port.
func (s *running) ask(line string) string {
	s.t.Helper()
	c, err := net.Dial("tcp", s.manager.listener.Addr().String())
	if err != nil {
		s.t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, line+"\n"); err != nil {
		s.t.Fatal(err)
	}
	b, err := io.ReadAll(c)
	if err != nil {
		s.t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

// The manager port answers as its readers are used to, and changes nothing.
func (s *running) checkManager() {
	s.t.Helper()
	t := s.t
	var stat map[string]any
	if err := json.Unmarshal([]byte(s.ask("sniffer_stat")), &stat); err != nil || stat["version"] != "test" || stat["status"] == nil || stat["calls"] == nil || stat["pps"] == nil {
		t.Errorf("sniffer_stat: %v %v", err, stat)
	}
	if got := s.ask("sniffer_stat plain"); !strings.Contains(got, "\nversion=test") {
		t.Errorf("plain: %s", got)
	}
	var rows [][]any
	if err := json.Unmarshal([]byte(s.ask("listcalls")), &rows); err != nil || len(rows) == 0 || rows[0][1] != "callid" {
		t.Errorf("listcalls: %v %v", err, rows)
	}
	for _, line := range []string{"terminating", "set_json_config {}", "getfile /etc/passwd", "", strings.Repeat("x", 3000)} {
		if got := s.ask(line); !strings.Contains(got, "unknown command") {
			t.Errorf("%.20q: %.100q", line, got)
		}
	}
	if got := s.ask("help"); !strings.Contains(got, "totalcalls ... ") {
		t.Errorf("help: %s", got)
	}
	if got := s.ask("crules_print"); !strings.Contains(got, "default") {
		t.Errorf("rules: %s", got)
	}
}

// A port that is taken is named, before an interface is touched, and nothing is
// left open.
func TestServicePortTaken(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	sock := filepath.Join(t.TempDir(), "taken.sock")
	c, err := listenControl(sock)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	taken := l.Addr().String()
	for name, tc := range map[string]struct {
		set  func(*ServiceOptions)
		says string
	}{
		"web":     {func(o *ServiceOptions) { o.HTTP.Addr = taken }, "web UI and API at " + taken},
		"manager": {func(o *ServiceOptions) { o.Manager = taken }, "manager port " + taken},
		"control": {func(o *ServiceOptions) { o.Control = sock }, "another ringside serves it"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			before := fds(t)
			touched := false
			o := ServiceOptions{
				StateDir: dir, Store: StoreOptions{Path: filepath.Join(dir, "calls.db")},
				Live: &LiveOptions{Interfaces: []string{"eth1"}, open: func(CaptureOptions, string, uint16) (*port, error) {
					touched = true
					return nil, errors.New("touched")
				}},
			}
			tc.set(&o)
			_, err := OpenService(t.Context(), o)
			if !errors.Is(err, ErrPort) || !strings.Contains(err.Error(), tc.says) || touched {
				t.Errorf("%v; touched %v", err, touched)
			}
			eventually(t, "nothing is left open", func() bool { return fds(t) <= before })
		})
	}
}

// While the database is away a service with a queue is ready, and says what is wrong.
func TestServiceStoreAway(t *testing.T) {
	dir := t.TempDir()
	o, rings := capturingFile(t, dir)
	l, err := net.Listen("tcp", "127.0.0.1:0") // a port that nobody will have
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	addr := l.Addr().String()
	l.Close()
	o.Store.Path = "mysql://nobody@" + addr + "/nothing?timeout=1s"
	s := serving(t, dir, o)
	<-rings.quiet
	eventually(t, "ready", func() bool { return s.Status().Ready })
	eventually(t, "the store is known to be away", func() bool {
		st := s.Status()
		return st.Store.Away && st.Health.State == StateDegraded && strings.Contains(st.Health.Why[0].Text, "store")
	})
	eventually(t, "the flight recording", func() bool { return len(s.flight.recordings()) == 1 })
	if status, _, b := s.web("GET", "/readyz", "", ""); status != 200 || !strings.Contains(string(b), `"store"`) {
		t.Errorf("readyz: %d %s", status, b)
	}
	s.stop()
	if st := s.Status().Store; st.Queued == 0 || st.Lost != 0 {
		t.Errorf("%+v", st)
	}
}

// A configuration is put into force as far as it can be; one that is wrong changes
// nothing.
func TestServiceReload(t *testing.T) {
	dir := t.TempDir()
	o, rings := capturingFile(t, dir)
	file := filepath.Join(dir, "ringside.conf")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	load := func() (*config.Config, config.Report, error) { return config.Load(file, config.LoadOptions{}) }
	write("interface = made-up0\nmaxpoolsize = 1GiB\nspool_reserve = 1MiB\nringbuffer = 1MiB\n")
	first, _, err := load()
	if err != nil {
		t.Fatal(err)
	}
	o.Live.Spool.Rules = first.Spool.DefaultRule()
	o.Config = ConfigOptions{Config: first, Load: load, Flags: map[string]string{"id_sensor": "7"}}
	s := serving(t, dir, o)
	<-rings.quiet
	reload := func() ([]config.Change, error) {
		var out []config.Change
		err := s.control().Get(t.Context(), "POST", "/reload", &out)
		return out, err
	}

	write("interface = made-up0\nmaxpoolsize = 2GiB\nspool_reserve = 1MiB\nringbuffer = 2MiB\nsavertp = header\ncleandatabase = 5\nid_sensor = 9\nname_sensor = north\nlog_level = debug\nlog_redact = yes\n")
	changes, err := reload()
	if err != nil {
		t.Fatal(err)
	}
	restart := make(map[string]bool)
	for _, c := range changes {
		restart[c.Key] = c.Restart
	}
	if want := map[string]bool{"maxpoolsize": false, "ringbuffer": true, "savertp": false, "cleandatabase": false, "name_sensor": false, "log_level": false, "log_redact": false}; fmt.Sprint(restart) != fmt.Sprint(want) {
		t.Errorf("changes: %v, want %v", restart, want)
	}
	if text, _, _ := s.Rules(); !strings.Contains(text, "rtp header") {
		t.Errorf("rules: %s", text)
	}
	if d := s.input.Describe(); !strings.Contains(d[len(d)-1], "2 GiB") && !strings.Contains(strings.Join(d, "\n"), "2 GiB") {
		t.Errorf("quota: %s", d)
	}
	if days := s.config.days(1)(); days != 5 {
		t.Errorf("records are kept for %d days", days)
	}
	if got := s.said.String(); !strings.Contains(got, "ringbuffer: 1MiB -> 2MiB (needs a restart)") {
		t.Errorf("not said:\n%s", got)
	}

	if got := s.said.String(); !strings.Contains(got, "api: ") {
		s.get("/healthz", "", new(struct{}))
		eventually(t, "requests are said", func() bool { return strings.Contains(s.said.String(), "api: /healthz: 200 after") })
	}
	eventually(t, "the status has what waits, and the name", func() bool {
		st := s.Status()
		return st.Name == "north" && fmt.Sprint(st.Pending) == "[ringbuffer: 2MiB]"
	})

	for name, bad := range map[string]string{
		"no such key": "interfaces = eth1\n",
		"too much":    "interface = made-up0\nmaxpoolsize = 900TiB\n",
	} {
		write(bad)
		_, err := reload()
		if refused := (*RefusedError)(nil); !errors.As(err, &refused) || !strings.Contains(err.Error(), "the old one holds") {
			t.Errorf("%s: %v", name, err)
		}
	}
	eventually(t, "the status says what is wrong with the configuration", func() bool {
		st := s.Status()
		return st.Health.State == StateDegraded && strings.Contains(fmt.Sprint(st.Health.Why), "the old one holds")
	})
	if now := s.config.now(); now.Spool.Quota.Total != 2<<30 {
		t.Errorf("what was refused holds: %d", now.Spool.Quota.Total)
	}
	s.stop()
}

// A run that did not end in order is explained at the next start; one that did is
// not mentioned.
func TestPreviousRun(t *testing.T) {
	now := time.Now()
	for _, tc := range []struct {
		name  string
		was   runState
		boot  string
		kills uint64
		says  string
	}{
		{"in order", runState{Clean: true}, "a", 0, ""},
		{"killed", runState{Boot: "a"}, "a", 0, "was killed or crashed"},
		{"memory", runState{Boot: "a", Kills: 1, Memory: 1 << 30}, "a", 2, "for want of memory"},
		{"machine", runState{Boot: "a"}, "b", 5, "with the machine"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			tc.was.Version, tc.was.Started, tc.was.Updated, tc.was.Status = "v1", now, now, "12 calls"
			if err := tc.was.save(dir); err != nil {
				t.Fatal(err)
			}
			got := previousRun(dir, tc.boot, tc.kills)
			if (got == "") != (tc.says == "") || !strings.Contains(got, tc.says) {
				t.Errorf("%q; want %q in it", got, tc.says)
			}
		})
	}
	if got := previousRun(t.TempDir(), "a", 0); got != "" {
		t.Errorf("there was none: %q", got)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, runStateName), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := previousRun(dir, "a", 0); !strings.Contains(got, "not known") {
		t.Errorf("half a file: %q", got)
	}
}

// The support bundle has no secret in it, and all of its parts can be read.
func TestBundle(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "ringside.conf")
	if err := os.WriteFile(file, []byte("mysqlpassword = hunter2\nmysqlhost = 192.0.2.1\nspooldir =\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, _, err := config.Load(file, config.LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	s := serving(t, dir, ServiceOptions{Config: ConfigOptions{Config: c}, HTTP: HTTPOptions{Addr: "127.0.0.1:0"}})
	eventually(t, "ready", func() bool { return s.Status().Ready })
	if st := s.Status(); st.Health.State != StateIdle {
		t.Errorf("nothing is captured: %+v", st.Health)
	}
	var b bytes.Buffer
	err = s.control().Do(t.Context(), "GET", "/bundle", func(r io.Reader) error { _, err := io.Copy(&b, r); return err })
	if err != nil {
		t.Fatal(err)
	}
	z, err := zip.NewReader(bytes.NewReader(b.Bytes()), int64(b.Len()))
	if err != nil {
		t.Fatal(err)
	}
	names := make(map[string]string)
	for _, f := range z.File {
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		names[f.Name] = string(text)
		if strings.Contains(string(text), "hunter2") || strings.Contains(string(text), s.auth.SetupToken()) {
			t.Errorf("%s has a secret in it", f.Name)
		}
	}
	for _, want := range []string{"status.json", "settings.json", "ledger.json", "flight.json", "heap.pprof", "goroutines.txt", "version.txt"} {
		if names["ringside/"+want] == "" {
			t.Errorf("no %s", want)
		}
	}
	s.stop()
}

// When nothing is captured any more no calls go on, whatever the last answer was.
func TestLiveListOver(t *testing.T) {
	var s Service
	s.calls.last = liveAnswer{calls: make([]LiveCall, 3), open: 7, at: time.Now()}
	if got := s.liveList(10); got.Total != 0 || len(got.Items) != 0 {
		t.Errorf("%d calls of %d", len(got.Items), got.Total)
	}
}
