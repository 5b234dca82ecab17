package tui

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ringside/flow/record"
)

// screenText is a terminal that tells when a frame is on it.
type screenText struct {
	mu    sync.Mutex
	buf   bytes.Buffer
	once  sync.Once
	drawn chan struct{}
}

func (s *screenText) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.buf.Write(b)
	if strings.Contains(s.buf.String(), "no packet lost") {
		s.once.Do(func() { close(s.drawn) })
	}
	return len(b), nil
}

// newPipe is a keyboard on which nobody types.
func newPipe() io.Reader { r, _ := io.Pipe(); return r }

// wait waits for something to come true.
func wait(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("waited in vain for " + what)
		}
	}
}

// answers are a server's, by path and query.
func answers(t *testing.T, of map[string]string, asked *sync.Map) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if asked != nil {
			n, _ := asked.LoadOrStore(r.URL.String(), new(atomic.Int64))
			n.(*atomic.Int64).Add(1)
		}
		text, ok := of[r.URL.String()]
		if !ok {
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprint(w, `{"title": "not found", "detail": "there is none"}`)
			return
		}
		fmt.Fprint(w, text)
		if strings.Contains(r.URL.Path, "/live/sip") {
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}
	}
}

const (
	tailed = `{"time":"2026-03-01T11:59:00.000001Z","src":"192.0.2.1:5060","dst":"192.0.2.2:5060","method":"INVITE","call_id":"c1","text":"INVITE sip:x SIP/2.0\r\n\r\nv=0"}`
	rows   = `[{"interface":"e0","stage":"nic","reason":"received","packets":9,"rate":1000},{"interface":"e0","stage":"ring","reason":"full","packets":7,"lost":true,"rate":2}]`
)

func TestSocket(t *testing.T) {
	call := record.Call{ID: 9, CallID: "c1", Messages: []record.Message{{Time: noon.UnixNano(), Src: at("192.0.2.2:5060"), Dst: at("192.0.2.1:5060"), Method: "INVITE", Status: 200}}}
	whole, err := json.Marshal(call)
	if err != nil {
		t.Fatal(err)
	}
	var asked sync.Map
	h := answers(t, map[string]string{
		"/live/calls?limit=1000": `{"as_of":"2026-03-01T12:00:00Z","total":1,"items":[{"id":"9","call_id":"c1","state":"talking","start":5,"caller":{"number":"1","addr":"192.0.2.1:5060"},"messages_total":2}]}`,
		"/status": `{"time":"2026-03-01T12:00:00Z","health":{"state":"degraded","since":"2026-03-01T11:00:00Z","why":[{"text":"ring"}]},
			"capture":{"calls":3,"calls_per_s":1,"sip_per_s":2,"rtp_per_s":3,"bits_per_s":4,"lost":[{"interface":"e0","stage":"ring","reason":"full","packets":7,"rate":2}],"rings":0.5,"spool":-1,"cpu":[0.5],"memory_bytes":6},
			"store":{"waiting":0.1,"away":true},"memory":{"limit_bytes":77}}`,
		"/ledger":                  `{"rows":` + rows + `,"gaps":[{"interface":"e0","between":"a and b","packets":4}]}`,
		"/live/sip":                tailed + "\nnonsense\n",
		"/live/call?id=9":          `{"call":` + string(whole) + `,"texts":[{"time":"2026-03-01T12:00:00Z","src":"192.0.2.2:5060","dst":"192.0.2.1:5060","status":200,"text":"SIP/2.0 200 OK"}],"why":""}`,
		"/live/call?id=9&texts=no": `{"call":` + string(whole) + `,"texts":[]}`,
	}, &asked)
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	server := &httptest.Server{Listener: l, Config: &http.Server{Handler: h}}
	server.Start()
	ctx, cancel := context.WithCancel(context.Background())
	defer server.Close()
	defer cancel()
	src := NewSocket(ctx, path)

	calls, err := src.Calls(ctx)
	if err != nil || len(calls.Items) != 1 || calls.Items[0].Caller.Number != "1" || !calls.AsOf.Equal(noon) {
		t.Fatalf("%+v, %v", calls, err)
	}
	st, err := src.Status(ctx)
	if err != nil || st.PacketRate != 1000 || len(st.Drops) != 1 || st.Drops[0] != (Drop{"e0 ring full", 7, 2}) || st.Budget != 77 || !st.StoreAway || st.State != "degraded" || len(st.Gaps) != 1 {
		t.Errorf("%+v, %v", st, err)
	}
	wait(t, "the tail", func() bool { return len(src.(*socket).tape.of("c1")) == 1 })
	for range 2 { // the second time its texts are known
		d, err := src.Call(ctx, &calls.Items[0])
		if err != nil || len(d.Messages) != 2 || d.Messages[0].Method != "INVITE" || !d.Messages[0].SDP || d.Messages[1].Text != "SIP/2.0 200 OK" {
			t.Fatalf("%+v, %v", d, err)
		}
	}
	if n, ok := asked.Load("/live/call?id=9"); !ok || n.(*atomic.Int64).Load() != 1 {
		t.Error("texts are not asked for once")
	}
	d, err := src.Call(ctx, &Call{ID: "10", CallID: "c1"}) // it has just ended
	if err != nil || len(d.Messages) != 1 {
		t.Errorf("%+v, %v", d, err)
	}
	if _, err := src.Call(ctx, &Call{ID: "11"}); !errors.Is(err, ErrGone) || !strings.Contains(err.Error(), "there is none") {
		t.Error(err)
	}
}

func TestRemote(t *testing.T) {
	of := map[string]string{
		"/api/v1/live/calls?limit=1000": `{"as_of":"2026-03-01T12:00:00Z","total":1,"items":[{"id":"9","call_id":"c1"}]}`,
		"/api/v1/live/status":           `{"state":"healthy","lost":9,"call_rate":4,"memory_budget_bytes":5,"cpu":[]}`,
		"/api/v1/ledger":                `{"rows":` + rows + `,"gaps":["one"]}`,
		"/api/v1/live/sip":              "retry: 2000\n\nevent: sip\ndata: " + tailed + "\n\n: \n\n",
		"/api/v1/calls/8/messages":      `{"items":[{"n":1,"time":5,"src":"192.0.2.2:5060","dst":"192.0.2.1:5060","method":"BYE","text":"BYE"}],"why":"w"}`,
		"/api/v1/calls/8/streams":       `{"items":[{"n":1,"ssrc":7}]}`,
	}
	h := answers(t, of, nil)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Header.Get("Authorization") != "Bearer rst_good":
			http.Error(w, `{"title":"who are you?"}`, http.StatusUnauthorized)
		case r.URL.Path == "/api/v1/calls/7/messages":
			http.Redirect(w, r, "http://192.0.2.99/steal", http.StatusFound)
		default:
			h(w, r)
		}
	}))
	ctx, cancel := context.WithCancel(context.Background())
	defer server.Close()
	defer cancel()
	src, err := NewRemote(ctx, server.URL+"/", "rst_good", nil)
	if err != nil {
		t.Fatal(err)
	}
	if calls, err := src.Calls(ctx); err != nil || len(calls.Items) != 1 || calls.Items[0].ID != "9" {
		t.Errorf("%+v, %v", calls, err)
	}
	st, err := src.Status(ctx)
	if err != nil || st.CallRate != 4 || st.Budget != 5 || len(st.Drops) != 2 || st.Drops[1] != (Drop{"elsewhere", 2, 0}) || st.PacketRate != 1000 {
		t.Errorf("%+v, %v", st, err)
	}
	if d, err := src.Call(ctx, &Call{ID: "8"}); err != nil || len(d.Messages) != 1 || d.Messages[0].Text != "BYE" || len(d.Streams) != 1 || d.Streams[0].SSRC != 7 {
		t.Errorf("%+v, %v", d, err)
	}
	wait(t, "the tail", func() bool { return len(src.(*remote).tape.of("c1")) == 1 })
	if d, err := src.Call(ctx, &Call{ID: "9", CallID: "c1"}); err != nil || len(d.Messages) != 1 {
		t.Errorf("%+v, %v", d, err)
	}
	if _, err := src.Call(ctx, &Call{ID: "7"}); err == nil || !strings.Contains(err.Error(), "302") {
		t.Errorf("a redirection was followed: %v", err)
	}
	other, err := NewRemote(ctx, server.URL, "rst_bad", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Calls(ctx); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "who are you") {
		t.Error(err)
	}
	for _, bad := range []string{"", "host", "ftp://x", "http://192.0.2.1", "http://example.net:80", "https://"} {
		if _, err := NewRemote(ctx, bad, "t", nil); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

// The tape is bounded, and the oldest go first.
func TestTape(t *testing.T) {
	p := tape{most: 10 * (256 + 100 + 4)}
	for i := range 100 {
		p.add(wire{CallID: fmt.Sprintf("c%d", i%5), Text: strings.Repeat("x", 100), Time: noon.Add(time.Duration(i))})
	}
	kept := 0
	for i := range 5 {
		for _, m := range p.of(fmt.Sprintf("c%d", i)) {
			if kept++; m.Time.Before(noon.Add(90)) {
				t.Errorf("one of %v is still there", m.Time)
			}
		}
	}
	if kept != 10 || len(p.calls) != 5 {
		t.Errorf("%d messages of %d calls", kept, len(p.calls))
	}
	p.add(wire{CallID: "big", Text: strings.Repeat("x", 1<<20)})
	if len(p.of("big")) != 1 || len(p.calls) != 1 {
		t.Errorf("%d calls beside one that fills it", len(p.calls))
	}
}

// Texts are put to the messages that they are of; those that are sent again are told.
func TestMerge(t *testing.T) {
	a, b := at("192.0.2.1:5060"), at("192.0.2.2:5060")
	listed := []record.Message{{Time: noon.UnixNano(), Src: a, Dst: b, Method: "INVITE"}}
	w := func(after time.Duration, text string) wire {
		return wire{Time: noon.Add(after), Src: a, Dst: b, Method: "INVITE", Text: text}
	}
	got := merge(listed, []wire{w(500*time.Nanosecond, "one"), w(time.Second, "one")}, []wire{w(time.Second, "one"), w(-time.Second, "zero\r\n\r\nv=0")})
	if len(got) != 3 || got[0].Text != "zero\r\n\r\nv=0" || !got[0].SDP || got[1].Text != "one" || got[1].Retrans || !got[2].Retrans {
		t.Errorf("%+v", got)
	}
}
