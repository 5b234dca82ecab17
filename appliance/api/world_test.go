package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"ringside/appliance/api"
	"ringside/appliance/auth"
	"ringside/appliance/daemon"
	"ringside/bench/traffic"
	"ringside/flow/record"
	"ringside/writer/store"
)

// filled is a store of generated traffic, made once for all tests.
var filled = sync.OnceValues(fill)

var testDir string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "ringside-api-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	testDir = dir
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// fill reads a generated capture with every scenario into a store.
func fill() (*store.Store, error) {
	var scenarios []traffic.Weighted[traffic.Scenario]
	for _, s := range traffic.Scenarios() {
		scenarios = append(scenarios, traffic.Weighted[traffic.Scenario]{Value: s, Weight: 1})
	}
	g, err := traffic.New(traffic.Options{Seed: 7, Calls: 3 * len(scenarios), Scenarios: scenarios, InTurn: true, Rate: 5,
		Talk: traffic.Length{Mean: 4 * time.Second}, RTCP: true, Background: 2, IPv6: 0.2, Digits: 0.3, Phones: 40,
		Impairments: []traffic.Weighted[traffic.Impairment]{{Weight: 1}, {Value: traffic.Impairment{Loss: 0.05, Jitter: 30 * time.Millisecond}, Weight: 1}, {Value: traffic.Impairment{Loss: 0.2}, Weight: 1}}})
	if err != nil {
		return nil, err
	}
	capture := filepath.Join(testDir, "calls.pcap")
	f, err := os.Create(capture)
	if err != nil {
		return nil, err
	}
	if _, err := g.Run(context.Background(), f, io.Discard); err != nil {
		return nil, err
	}
	if err := f.Close(); err != nil {
		return nil, err
	}
	s, err := store.Open(context.Background(), store.Options{Path: filepath.Join(testDir, "calls.db")})
	if err != nil {
		return nil, err
	}
	w := store.NewWriter(s, store.WriterOptions{Patient: true})
	r, err := daemon.NewRead(daemon.ReadOptions{Paths: []string{capture}, Workers: 1, Sensor: 1,
		Call: w.Add, Orphan: w.AddOrphan, Registration: w.AddRegistration, Exchange: w.AddExchange, Event: w.AddEvent, Link: w.AddLink, Quality: w.AddQuality})
	if err != nil {
		return nil, err
	}
	if err := r.Run(context.Background()); err != nil {
		return nil, err
	}
	w.AddQuality(&record.QualityReport{ID: 5, Time: 1, CallID: "nobody"})
	return s, w.Close(context.Background())
}

// world is an API with accounts, over the filled store and sources that say what
// they were asked.
type world struct {
	*api.API
	t     *testing.T
	auth  *auth.Auth
	store *store.Store
	src   *sources
	http  http.Handler
}

const password = "correct horse battery"

// hidden scopes that see nothing of the generated traffic.
var elsewhere = auth.Scope{Prefixes: []string{"no-number-begins-so"}}

func newWorld(t *testing.T) *world { return newWorldWith(t, nil) }

func newWorldWith(t *testing.T, change func(*api.Options)) *world {
	t.Helper()
	s, err := filled()
	if err != nil {
		t.Fatal(err)
	}
	au, err := auth.Open(auth.Options{Dir: t.TempDir(), Cost: auth.Cost{Memory: 64, Time: 1, Threads: 1}, Refuse: api.Refuse})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { au.Close() })
	w := &world{t: t, auth: au, store: s, src: &sources{store: s}}
	o := api.Options{Auth: au, Store: s, Rate: -1, Sources: w.src.all()}
	if change != nil {
		change(&o)
	}
	if w.API, err = api.New(o); err != nil {
		t.Fatal(err)
	}
	w.http = w.Handler()
	return w
}

// token makes a user with roles and a scope, and a token that may all that they
// may. It is quicker than a login.
func (w *world) token(name string, scope auth.Scope, roles ...auth.Role) string {
	w.t.Helper()
	local := auth.With(context.Background(), auth.Local("test"))
	if _, err := w.auth.User("root"); err != nil && name != "root" {
		w.token("root", auth.Scope{}, auth.Admin)
	}
	of := scope
	if slices.Contains(roles, auth.Admin) || slices.Contains(roles, auth.Operator) {
		of = auth.Scope{} // they see everything; their tokens need not
	}
	if _, err := w.auth.CreateUser(local, auth.NewUser{Name: name, Password: password, Roles: roles, Scope: of}); err != nil {
		w.t.Fatal(err)
	}
	var perms []auth.Permission
	for _, r := range roles {
		perms = append(perms, r.Permissions()...)
	}
	_, secret, err := w.auth.CreateToken(local, name, auth.NewToken{Name: "test", Permissions: perms, Scope: scope})
	if err != nil {
		w.t.Fatal(err)
	}
	return secret
}

// everything is who may do all that there is.
func (w *world) everything() string { return w.token("all", auth.Scope{}, auth.Roles()...) }

// ask sends a request with a token and returns the answer.
func (w *world) ask(token, method, path string, body ...string) *httptest.ResponseRecorder {
	w.t.Helper()
	return w.send(newRequest(token, method, path, body...))
}

func newRequest(token, method, path string, body ...string) *http.Request {
	r := httptest.NewRequest(method, "http://ringside.example"+path, strings.NewReader(strings.Join(body, "")))
	r.RemoteAddr = "192.0.2.7:4000"
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	if len(body) > 0 {
		r.Header.Set("Content-Type", "application/json")
		if strings.HasSuffix(path, "/parse") {
			r.Header.Set("Content-Type", "text/plain; charset=utf-8")
		}
	}
	return r
}

func (w *world) send(r *http.Request) *httptest.ResponseRecorder {
	rec := httptest.NewRecorder()
	func() {
		defer func() {
			if p := recover(); p != nil && p != http.ErrAbortHandler {
				panic(p)
			}
		}()
		w.http.ServeHTTP(rec, r)
	}()
	return rec
}

// get asks for JSON that must come.
func get[T any](w *world, token, path string) (v T) {
	w.t.Helper()
	rec := w.ask(token, "GET", path)
	if rec.Code != 200 {
		w.t.Fatalf("GET %s: %d %s", path, rec.Code, rec.Body)
	}
	if err := json.Unmarshal(rec.Body.Bytes(), &v); err != nil {
		w.t.Fatalf("GET %s: %v in %.300s", path, err, rec.Body)
	}
	return v
}

// problem is the code of an answer that is an error.
func problem(t *testing.T, rec *httptest.ResponseRecorder) string {
	t.Helper()
	if got := rec.Header().Get("Content-Type"); got != "application/problem+json" {
		t.Errorf("%d comes as %q: %.200s", rec.Code, got, rec.Body)
		return ""
	}
	var p api.Problem
	if err := json.Unmarshal(rec.Body.Bytes(), &p); err != nil {
		t.Fatal(err)
	}
	if p.Status != rec.Code || p.ID == "" || p.Title == "" {
		t.Errorf("problem %+v of status %d", p, rec.Code)
	}
	return p.Code
}

// row is what tests look at of a call in a list.
type row struct {
	ID     string       `json:"id"`
	CallID string       `json:"call_id"`
	Start  int64        `json:"start"`
	Caller record.Party `json:"caller"`
}

type rows struct {
	Items []row  `json:"items"`
	Next  string `json:"next"`
}

func ids(r rows) (out []string) {
	for _, i := range r.Items {
		out = append(out, i.ID)
	}
	return out
}

// answered is a call of the store that has streams.
func (w *world) answered() row {
	w.t.Helper()
	r, err := w.store.Calls(w.t.Context(), store.Filter{Outcomes: []record.Outcome{record.Answered}, MOSAbove: 1}, store.Page{Limit: 1})
	if err != nil || len(r.Calls) == 0 {
		w.t.Fatalf("no answered call: %v", err)
	}
	c := &r.Calls[0]
	return row{fmt.Sprint(c.ID), c.CallID, c.Start, c.Caller}
}

// sources stand for the running appliance.
type sources struct {
	store *store.Store
	mu    sync.Mutex
	asked []string // what was asked of the spool, by Call-ID
	held  []string
	rules string
	calls []api.LiveCall
	at    time.Time
	sip   []api.SIPMessage
	tails int             // that are open
	key   string          // of media, in session descriptions
	query api.PacketQuery // the last one
	fail  error
}

func (s *sources) all() api.Sources {
	return api.Sources{Live: s, Capture: s, Spool: s, Packets: s, Audio: s, Rules: ruleSource{s}, Settings: s, Health: s, Bundle: s, Metrics: http.HandlerFunc(s.page)}
}

func (s *sources) note(calls ...api.CallRef) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range calls {
		s.asked = append(s.asked, c.CallID)
	}
}

func (s *sources) log() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.asked)
}

func (s *sources) Calls() ([]api.LiveCall, time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls, s.at
}

func (s *sources) SIP(ctx context.Context, to chan<- api.SIPMessage) error {
	s.mu.Lock()
	s.tails++
	send := slices.Clone(s.sip)
	s.mu.Unlock()
	defer func() { s.mu.Lock(); s.tails--; s.mu.Unlock() }()
	for _, m := range send {
		select {
		case to <- m:
		case <-ctx.Done():
			return nil
		}
	}
	<-ctx.Done()
	return nil
}

func (s *sources) Status() api.LiveStatus {
	return api.LiveStatus{Time: time.Unix(1, 0).UTC(), State: "healthy", Since: time.Unix(0, 0).UTC(), Calls: 3}
}

func (s *sources) Interfaces() []api.Interface {
	return []api.Interface{{Name: "eth1", State: "up", Filter: "xdp native", Rings: []api.Ring{{Number: 0, CPU: 1}}}, {Name: "eth2", State: "down"}}
}

func (s *sources) Ledger() api.Ledger {
	return api.Ledger{Time: time.Unix(1, 0).UTC(), Balanced: true, Rows: []api.LedgerRow{{Stage: "ring", Reason: "full", Packets: 3, Lost: true}}}
}

func (s *sources) Overview(context.Context) (api.SpoolOverview, error) {
	return api.SpoolOverview{State: "ok", Volumes: []api.SpoolVolume{{Dir: "/spool", Total: 10}}, Classes: []api.SpoolClass{{Class: "sip", First: time.Unix(1, 0).UTC()}, {Class: "rtp"}}, Held: []string{"held@example.com"}}, s.fail
}

func (s *sources) Segments(_ context.Context, offset, limit int) ([]api.SpoolSegment, int, error) {
	var out []api.SpoolSegment
	for i := offset; i < min(5, offset+limit); i++ {
		out = append(out, api.SpoolSegment{Path: fmt.Sprintf("2026-01-31/23/%02d-sip-0.pcapng.gz", i), Class: "sip", Minute: time.Unix(int64(i), 0).UTC()})
	}
	return out, 5, nil
}

func (s *sources) Hold(_ context.Context, c api.CallRef) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held = append(s.held, c.CallID)
	return nil
}

func (s *sources) Release(_ context.Context, callID string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held = slices.DeleteFunc(s.held, func(h string) bool { return h == callID })
	return nil
}

func (s *sources) Export(_ context.Context, q api.PacketQuery, to io.Writer) (api.Exported, error) {
	s.note(q.Calls...)
	s.query = q
	if s.fail != nil {
		return api.Exported{}, s.fail
	}
	for _, c := range q.Calls {
		fmt.Fprintf(to, "packets of %s\n", c.CallID)
	}
	return api.Exported{Packets: uint64(len(q.Calls))}, nil
}

// Messages makes texts of what the record says, as a spool would have them.
func (s *sources) Messages(ctx context.Context, c api.CallRef, limit int) ([]api.SIPMessage, error) {
	s.note(c)
	if s.fail != nil {
		return nil, s.fail
	}
	calls, err := s.store.CallsByCallID(ctx, c.CallID)
	if err != nil {
		return nil, err
	}
	var out []api.SIPMessage
	for _, call := range calls {
		for i, m := range call.Messages[:min(limit, len(call.Messages))] {
			out = append(out, api.SIPMessage{Time: time.Unix(0, m.Time), Src: m.Src, Dst: m.Dst, Method: m.Method, Status: m.Status, Reason: m.Reason,
				CallID: c.CallID, Transport: "UDP", Text: textOf(c.CallID, s.key, m, i)})
		}
	}
	return out, nil
}

func textOf(callID, key string, m record.Message, i int) string {
	start := m.Method + " sip:x@example.com SIP/2.0"
	if m.Status != 0 {
		start = fmt.Sprintf("SIP/2.0 %d %s", m.Status, m.Reason)
	}
	body := ""
	if m.SDP {
		body = fmt.Sprintf("v=0\r\no=- 1 %d IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio %d RTP/AVP 0 8\r\na=sendrecv\r\n", i, 10000+i)
		if key != "" {
			body += "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:" + key + "\r\n"
		}
	}
	head := fmt.Sprintf("%s\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK%d\r\ni: %s\r\nCSeq: %d %s\r\n", start, i, callID, m.CSeq, m.Method)
	if body != "" {
		head += "Content-Type: application/sdp\r\n"
	}
	return head + fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(body), body)
}

func (s *sources) Intervals(_ context.Context, c *record.Call, step time.Duration) ([]api.StreamIntervals, error) {
	s.note(api.CallRef{CallID: c.CallID})
	var out []api.StreamIntervals
	for _, x := range c.Streams {
		out = append(out, api.StreamIntervals{SSRC: x.SSRC, Src: x.Src, Dst: x.Dst, Step: step.Seconds(), Intervals: []api.Interval{{Time: x.First, Packets: 50, MOS: 4.1}}})
	}
	return out, s.fail
}

func (s *sources) Describe(_ context.Context, c *record.Call) (api.AudioInfo, error) {
	s.note(api.CallRef{CallID: c.CallID})
	return api.AudioInfo{Playable: true, Seconds: 2, Rate: 8000}, s.fail
}

func (s *sources) WAV(_ context.Context, c *record.Call, q api.AudioQuery, to io.Writer) error {
	s.note(api.CallRef{CallID: c.CallID})
	if s.fail != nil {
		return s.fail
	}
	_, err := fmt.Fprintf(to, "RIFF %s %s %v %v %v", c.CallID, q.Side, q.Start, q.Length, q.AsHeard)
	return err
}

func (s *sources) Waveform(_ context.Context, c *record.Call, points int) (api.Waveform, error) {
	s.note(api.CallRef{CallID: c.CallID})
	return api.Waveform{Seconds: 2, Channels: []api.WaveformChannel{{Side: "a", Peaks: make([]float64, points)}, {Side: "b"}}}, s.fail
}

// ruleSource is Rules of sources; "bad" in a text is a mistake.
type ruleSource struct{ s *sources }

func (r ruleSource) Rules() (text, path string, err error) {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	return r.s.rules, "/etc/ringside/rules.conf", nil
}

func (r ruleSource) Pending() string {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	if strings.Contains(r.s.rules, "more") {
		return "they want more"
	}
	return ""
}

func (s *sources) page(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	io.WriteString(w, "ringside_ready 1\n")
}

func (r ruleSource) Check(text string) []api.RuleProblem {
	if i := strings.Index(text, "bad"); i >= 0 {
		return []api.RuleProblem{{Line: 1, Col: i + 1, Text: "it is bad"}}
	}
	return nil
}

func (r ruleSource) Put(_ context.Context, text string) error {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	r.s.rules = text
	return nil
}

func (s *sources) Settings() []api.Setting {
	return []api.Setting{{Key: "interface", Value: "eth1"}, {Key: "mysqlpassword", Value: "not to be seen", Secret: true}}
}

func (s *sources) Reload(context.Context) (api.Reloaded, error) {
	return api.Reloaded{Changed: []api.Change{{Key: "sipport", Old: "5060", New: "5070"}}}, s.fail
}

func (s *sources) Alive() error { return s.fail }

func (s *sources) Ready() []api.Check {
	if s.fail != nil {
		return []api.Check{{Name: "store", Why: s.fail.Error()}}
	}
	return []api.Check{{Name: "store", OK: true}}
}

func (s *sources) Write(_ context.Context, to io.Writer) error {
	if s.fail != nil {
		return s.fail
	}
	_, err := io.WriteString(to, "PK bundle")
	return err
}

var errBroken = errors.New("it is broken, and the reason names /secret/path")
