package api_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"ringside/appliance/api"
	"ringside/appliance/auth"
	"ringside/flow/record"
)

// listener reads a stream of events from a real server.
type listener struct {
	t      *testing.T
	res    *http.Response
	lines  *bufio.Scanner
	cancel context.CancelFunc
}

func (w *world) listen(srv *httptest.Server, token, path string) *listener {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	r, err := http.NewRequestWithContext(ctx, "GET", srv.URL+path, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Accept", "text/event-stream")
	res, err := srv.Client().Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	if ct := res.Header.Get("Content-Type"); res.StatusCode != 200 || ct != "text/event-stream" {
		w.t.Fatalf("GET %s: %d %s", path, res.StatusCode, ct)
	}
	l := &listener{w.t, res, bufio.NewScanner(res.Body), cancel}
	l.lines.Buffer(nil, 1<<20)
	return l
}

// next is the next event; no name at the end of the stream.
func (l *listener) next() (event, data string) {
	for l.lines.Scan() {
		line := l.lines.Text()
		if v, ok := strings.CutPrefix(line, "event: "); ok {
			event = v
		}
		if v, ok := strings.CutPrefix(line, "data: "); ok {
			return event, v
		}
	}
	return "", ""
}

func (l *listener) close() {
	l.cancel()
	l.res.Body.Close()
}

func liveCall(id int64, number, addr string) api.LiveCall {
	return api.LiveCall{ID: id, CallID: fmt.Sprintf("live-%d", id), Sensor: 1, Start: 1e18 + id, State: "talking", Answer: 1e18 + 5e9, MOS: 3.1, Codec: "PCMA",
		Caller: record.Party{Number: number, Addr: netip.MustParseAddrPort(addr)}, Called: record.Party{Number: "112", Addr: netip.MustParseAddrPort("10.9.9.9:5060")}}
}

func TestLiveCalls(t *testing.T) {
	w := newWorld(t)
	w.src.calls = []api.LiveCall{liveCall(2, "+492", "10.0.0.2:5060"), liveCall(1, "+491", "10.0.0.1:5060"), liveCall(3, "+493", "10.0.0.3:5060")}
	w.src.at = time.Unix(1e9+60, 0)
	token, scoped := w.token("all", auth.Scope{}, auth.Viewer), w.token("few", auth.Scope{Prefixes: []string{"+492"}}, auth.Viewer)
	for _, tc := range []struct {
		token, query string
		want         []string
		total        int
	}{
		{token, "", []string{"1", "2", "3"}, 3},
		{token, "?limit=1", []string{"1"}, 3},
		{token, "?q=" + url.QueryEscape("caller:+493 codec:pcma mos<4 connected>50s"), []string{"3"}, 1},
		{token, "?q=codec:opus", nil, 0},
		{scoped, "", []string{"2"}, 1},
		{scoped, "?q=" + url.QueryEscape("number:* or mos>0"), []string{"2"}, 1},
	} {
		got := get[struct {
			rows
			Total int `json:"total"`
		}](w, tc.token, "/api/v1/live/calls"+tc.query)
		if !slices.Equal(ids(got.rows), tc.want) || got.Total != tc.total {
			t.Errorf("%s: %v of %d, want %v of %d", tc.query, ids(got.rows), got.Total, tc.want, tc.total)
		}
	}
	srv := httptest.NewServer(w.http)
	defer srv.Close()
	l := w.listen(srv, scoped, "/api/v1/live/calls")
	defer l.close()
	event, data := l.next()
	if event != "calls" || !strings.Contains(data, `"id":"2"`) || strings.Contains(data, "+491") {
		t.Errorf("event %s: %s", event, data)
	}
	w.src.mu.Lock()
	w.src.calls, w.src.at = nil, w.src.at.Add(time.Second)
	w.src.mu.Unlock()
	if _, data := l.next(); !strings.Contains(data, `"total":0`) {
		t.Errorf("after the calls have ended: %s", data)
	}
}

// The tail shows what its reader may see and asks for, and hostile text stays in
// its JSON.
func TestLiveSIP(t *testing.T) {
	w := newWorld(t)
	msg := func(from, method, text string) api.SIPMessage {
		return api.SIPMessage{Time: time.Unix(1, 0), Src: netip.MustParseAddrPort("10.0.0.1:5060"), Dst: netip.MustParseAddrPort("10.0.0.2:5060"),
			Method: method, From: from, To: "112", CallID: "x", Transport: "UDP", Text: text}
	}
	missed := msg("+491", "INVITE", "a")
	missed.Missed = 4
	w.src.sip = []api.SIPMessage{msg("+492", "INVITE", "hidden by scope"), missed, msg("+491", "REGISTER", "not asked for"),
		msg("+491", "INVITE", "b\r\n\r\nevent: calls\r\ndata: forged\n\n\xff<script>")}
	token := w.token("few", auth.Scope{Prefixes: []string{"+491"}}, auth.Analyst)
	srv := httptest.NewServer(w.http)
	defer srv.Close()
	l := w.listen(srv, token, "/api/v1/live/sip?q="+url.QueryEscape("method:INVITE"))
	var got []api.SIPMessage
	for range 2 {
		event, data := l.next()
		var m api.SIPMessage
		if err := json.Unmarshal([]byte(data), &m); err != nil || event != "sip" {
			t.Fatalf("event %s: %s: %v", event, data, err)
		}
		got = append(got, m)
	}
	if got[0].Text != "a" || got[0].Missed != 4 || !strings.HasPrefix(got[1].Text, "b\r\n\r\nevent") || !strings.HasSuffix(got[1].Text, "\uFFFD<script>") {
		t.Errorf("%+v", got)
	}
	l.close()
	if !w.eventually(func() bool { w.src.mu.Lock(); defer w.src.mu.Unlock(); return w.src.tails == 0 }) {
		t.Error("the source still sends after its reader has gone")
	}
}

// A stream ends when its reader may not read it any more.
func TestLiveEnds(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for a beat of five seconds")
	}
	w := newWorld(t)
	token := w.token("viv", auth.Scope{}, auth.Analyst)
	srv := httptest.NewServer(w.http)
	defer srv.Close()
	l := w.listen(srv, token, "/api/v1/live/sip")
	defer l.close()
	off := true
	if _, err := w.auth.UpdateUser(auth.With(t.Context(), auth.Local("test")), "viv", auth.UserChange{Disabled: &off}); err != nil {
		t.Fatal(err)
	}
	if event, data := l.next(); event != "end" || !strings.Contains(data, "login has ended") {
		t.Errorf("event %s: %s", event, data)
	}
	if event, data := l.next(); event != "" {
		t.Errorf("after the end: %s %s", event, data)
	}
}

// Streams end with the service, whole, and their readers may come again.
func TestLiveEndsWithTheService(t *testing.T) {
	w := newWorld(t)
	token := w.token("viv", auth.Scope{}, auth.Analyst)
	srv := httptest.NewServer(w.http)
	defer srv.Close()
	for _, path := range []string{"/api/v1/live/sip", "/api/v1/live/status", "/api/v1/live/calls"} {
		l := w.listen(srv, token, path)
		defer l.close()
		w.End()
		for event, data := l.next(); event != ""; event, data = l.next() {
			if event == "end" {
				t.Errorf("%s: the reader is told not to come again: %s", path, data)
			}
		}
		if err := l.lines.Err(); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func (w *world) eventually(ok func() bool) bool {
	for until := time.Now().Add(time.Minute); time.Now().Before(until); time.Sleep(10 * time.Millisecond) {
		if ok() {
			return true
		}
	}
	return false
}
