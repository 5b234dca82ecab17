package api_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/csv"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"ringside/appliance/api"
	"ringside/appliance/auth"
	"ringside/flow/record"
	"ringside/writer/store"
)

// Ids and names that are paths, scripts or SQL find nothing, and nobody is asked.
func TestHostileIds(t *testing.T) {
	w := newWorld(t)
	token := w.everything()
	for _, id := range []string{"..", "../../etc/passwd", "%2e%2e%2f%2e%2e%2fetc%2fpasswd", "..%5c..", "1%00", "1;DROP TABLE calls", "-1", "0x10", "1e3",
		"99999999999999999999999", "9223372036854775808", "<script>", "%0d%0aSet-Cookie:%20a=b", "１", "", " 1"} {
		for _, part := range []string{"", "/pcap", "/ladder", "/audio", "/notes"} {
			path := "/api/v1/calls/" + strings.NewReplacer(" ", "%20", "<", "%3C", ">", "%3E", ";", "%3B", "１", "%EF%BC%91").Replace(id) + part
			rec := w.ask(token, "GET", path)
			if id == "" && part == "" {
				continue // the list
			}
			if rec.Code == 307 || rec.Code == 301 { // cleaned, and asked again by the client
				if to := rec.Header().Get("Location"); !strings.HasPrefix(to, "/") || strings.HasPrefix(to, "//") {
					t.Errorf("GET %s leads to %q", path, to)
				}
				continue
			}
			if rec.Code == 200 && id == "" { // calls/pcap
				continue
			}
			if rec.Code != 404 {
				t.Errorf("GET %s: %d %.200s", path, rec.Code, rec.Body)
			}
			for name, values := range rec.Header() {
				if strings.ContainsAny(strings.Join(values, ""), "\r\n") || name == "Set-Cookie" {
					t.Errorf("GET %s answers with the header %s: %q", path, name, values)
				}
			}
		}
	}
	for _, name := range []string{"..%2f..%2fusers.json", "%00", "a%2fb"} {
		if rec := w.ask(token, "GET", "/api/v1/users/"+name); rec.Code != 404 {
			t.Errorf("GET user %s: %d", name, rec.Code)
		}
	}
}

// What a download is called is made of times and ids, whatever a call is called.
func TestNamesOfFiles(t *testing.T) {
	s, err := store.Open(t.Context(), store.Options{Path: store.Memory})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	evil := "x\"\r\nSet-Cookie: a=b\r\n\r\n<script>alert(1)</script>/../../etc/passwd"
	c := &record.Call{ID: 77, CallID: evil, Start: 1767603600e9, End: 1767603601e9, Caller: record.Party{Number: "=cmd|' /C calc'!A0", Name: "@SUM(1)", Agent: "-2+3", Domain: "\t=1"}, Called: record.Party{Number: "+49"}}
	if err := s.Insert(t.Context(), store.Batch{Calls: []*record.Call{c}}); err != nil {
		t.Fatal(err)
	}
	w := newWorldWith(t, func(o *api.Options) { o.Store = s })
	w.src.store = s
	token := w.everything()
	name := regexp.MustCompile(`^attachment; filename="ringside-[A-Za-z0-9.-]+"$`)
	for _, path := range []string{"/api/v1/calls/77/pcap", "/api/v1/calls/77/audio", "/api/v1/calls/pcap?ids=77", "/api/v1/support-bundle"} {
		rec := w.ask(token, "GET", path)
		h := rec.Header()
		if got := h.Get("Content-Disposition"); rec.Code != 200 || !name.MatchString(got) {
			t.Errorf("GET %s: %d, Content-Disposition %q", path, rec.Code, got)
		}
		if h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Set-Cookie") != "" || !strings.Contains(h.Get("Content-Security-Policy"), "default-src 'none'") {
			t.Errorf("GET %s: headers %v", path, h)
		}
	}
	testCSVInjection(t, w, token)
	rec := w.ask(token, "GET", "/api/v1/calls/77")
	if ct := rec.Header().Get("Content-Type"); ct != "application/json" || bytes.Contains(rec.Body.Bytes(), []byte("<script>")) {
		t.Errorf("a hostile Call-ID comes as %s: %.300s", ct, rec.Body)
	}
}

func testCSVInjection(t *testing.T, w *world, token string) {
	t.Helper()
	r := newRequest(token, "GET", "/api/v1/calls?columns=caller.number,caller.name,caller.agent,caller.domain,called.number,call_id,vlan")
	r.Header.Set("Accept", "text/csv")
	rec := w.send(r)
	lines, err := csv.NewReader(rec.Body).ReadAll()
	if err != nil || len(lines) != 2 {
		t.Fatalf("CSV of %d lines: %v", len(lines), err)
	}
	want := []string{"'=cmd|' /C calc'!A0", "'@SUM(1)", "'-2+3", "'\t=1", "'+49"}
	for i, cell := range want {
		if lines[1][i] != cell {
			t.Errorf("cell %s is %q, want %q", lines[0][i], lines[1][i], cell)
		}
	}
}

// What is too large, too much or nonsense is refused with a code.
func TestBadRequests(t *testing.T) {
	w := newWorld(t)
	token := w.everything()
	next := get[rows](w, token, "/api/v1/calls?limit=1").Next
	for _, tc := range []struct {
		method, path, body, kind string
		status                   int
		code                     string
	}{
		{"GET", "/api/v1/calls?limit=1000000", "", "", 400, "bad-parameter"},
		{"GET", "/api/v1/calls?limit=0", "", "", 400, "bad-parameter"},
		{"GET", "/api/v1/calls?limit=-1", "", "", 400, "bad-parameter"},
		{"GET", "/api/v1/calls?limit=9999999999999999999999", "", "", 400, "bad-parameter"},
		{"GET", "/api/v1/calls?cursor=nonsense", "", "", 400, "bad-cursor"},
		{"GET", "/api/v1/calls?order=asc&cursor=" + next, "", "", 400, "bad-cursor"},
		{"GET", "/api/v1/calls?colour=red", "", "", 400, "bad-parameter"},
		{"GET", "/api/v1/calls?status=4xx&status=5xx", "", "", 400, "bad-parameter"},
		{"GET", "/api/v1/calls?q=" + strings.Repeat("a", 5000), "", "", 400, "bad-parameter"},
		{"GET", "/api/v1/calls?q=" + strings.Repeat("(", 100), "", "", 400, "bad-filter"},
		{"GET", "/api/v1/calls?q=colour:red", "", "", 400, "bad-filter"},
		{"GET", "/api/v1/calls?q=%ff", "", "", 400, "bad-parameter"},
		{"GET", "/api/v1/calls?q=%zz", "", "", 400, "bad-parameter"},
		{"GET", "/api/v1/calls?caller=%00", "", "", 400, "bad-parameter"},
		{"GET", "/api/v1/calls/summary?q=a+or+b", "", "", 400, "bad-filter"},
		{"GET", "/api/v1/calls/pcap?limit=1000000", "", "", 400, "bad-parameter"},
		{"GET", "/api/v1/calls/pcap?ids=1,x", "", "", 400, "bad-parameter"},
		{"GET", "/api/v1/calls/pcap?number=nobody", "", "", 404, "not-found"},
		{"GET", "/api/v1/calls/" + w.answered().ID + "/waveform?points=100000000", "", "", 400, "bad-parameter"},
		{"GET", "/api/v1/calls/" + w.answered().ID + "/audio?start=-1", "", "", 400, "bad-parameter"},
		{"GET", "/api/v1/calls/" + w.answered().ID + "/audio?start=NaN", "", "", 400, "bad-parameter"},
		{"GET", "/api/v1/calls/" + w.answered().ID + "/streams?step=1ns", "", "", 400, "bad-parameter"},
		{"GET", "/api/v1/stats/series?step=1s", "", "", 400, "bad-parameter"},
		{"GET", "/api/v1/stats/overview?from=now&to=-1h", "", "", 400, "bad-parameter"},
		{"POST", "/api/v1/rules/check", `{"text":"` + strings.Repeat("x", 5<<20) + `"}`, "application/json", 413, "too-large"},
		{"POST", "/api/v1/session", `{"user":"` + strings.Repeat("x", 70<<10) + `"}`, "application/json", 413, "too-large"},
		{"POST", "/api/v1/session", `user=a&password=b`, "application/x-www-form-urlencoded", 415, "unsupported-media-type"},
		{"POST", "/api/v1/session", `{"user":"a","password":"b","role":"admin"}`, "application/json", 400, "bad-body"},
		{"POST", "/api/v1/session", `{"user":"a"} {}`, "application/json", 400, "bad-body"},
		{"POST", "/api/v1/session", `[`, "application/json", 400, "bad-body"},
		{"PUT", "/api/v1/session/preferences", `[1]`, "application/json", 422, "invalid"},
		{"POST", "/api/v1/calls", `{}`, "application/json", 405, "method-not-allowed"},
		{"TRACE", "/api/v1/calls", ``, "", 405, "method-not-allowed"},
		{"HEAD", "/api/v1/calls/pcap", ``, "", 405, "method-not-allowed"},
		{"GET", "/api/v1/nothing", "", "", 404, "not-found"},
		{"GET", "/debug/pprof/cmdline", "", "", 404, "not-found"},
	} {
		name := tc.path
		if len(name) > 60 {
			name = name[:60]
		}
		t.Run(tc.method+" "+name, func(t *testing.T) {
			r := newRequest(token, tc.method, tc.path, tc.body)
			r.Header.Set("Content-Type", tc.kind)
			rec := w.send(r)
			if rec.Code != tc.status {
				t.Errorf("%d %.300s, want %d", rec.Code, rec.Body, tc.status)
			}
			if tc.method != "HEAD" {
				if got := problem(t, rec); got != tc.code {
					t.Errorf("code %q, want %q", got, tc.code)
				}
			}
		})
	}
}

// A browser that another site has sent changes nothing.
func TestCrossSite(t *testing.T) {
	w := newWorld(t)
	w.everything()
	rec := w.ask("", "POST", "/api/v1/session", `{"user":"all","password":"`+password+`"}`)
	if rec.Code != 200 {
		t.Fatalf("login: %d %s", rec.Code, rec.Body)
	}
	cookie := rec.Result().Cookies()[0]
	if !cookie.HttpOnly || cookie.SameSite != http.SameSiteStrictMode {
		t.Errorf("cookie %v", cookie)
	}
	for _, tc := range []struct {
		header, value string
		status        int
	}{
		{"Sec-Fetch-Site", "cross-site", 403}, {"Sec-Fetch-Site", "same-site", 403}, {"Origin", "http://evil.example", 403}, {"Origin", "null", 403},
		{"Sec-Fetch-Site", "same-origin", 200}, {"Origin", "http://ringside.example", 200},
	} {
		r := newRequest("", "POST", "/api/v1/reload")
		r.AddCookie(cookie)
		r.Header.Set(tc.header, tc.value)
		rec := w.send(r)
		if rec.Code != tc.status {
			t.Errorf("with %s: %s: %d %s", tc.header, tc.value, rec.Code, rec.Body)
		}
		if rec.Code == 403 {
			if code := problem(t, rec); code != "cross-origin" {
				t.Errorf("with %s: %s: code %s", tc.header, tc.value, code)
			}
		}
	}
}

// Sessions, tokens and passwords through the API, as the UI does it.
func TestLogin(t *testing.T) {
	w := newWorld(t)
	w.token("viv", auth.Scope{}, auth.Viewer)
	w.token("ana", auth.Scope{}, auth.Analyst)
	login := func(user, pass string) (*http.Cookie, int) {
		rec := w.ask("", "POST", "/api/v1/session", `{"user":"`+user+`","password":"`+pass+`"}`)
		if rec.Code != 200 {
			return nil, rec.Code
		}
		return rec.Result().Cookies()[0], rec.Code
	}
	as := func(c *http.Cookie, method, path string, body ...string) *httptest.ResponseRecorder {
		r := newRequest("", method, path, body...)
		r.AddCookie(c)
		return w.send(r)
	}
	viv, _ := login("viv", password)
	other, _ := login("ana", password)
	theirs := strings.Split(as(other, "GET", "/api/v1/session").Body.String(), `"session":"`)[1][:8]
	var id string
	for _, s := range w.auth.Sessions("ana") {
		if strings.HasPrefix(s.ID, theirs) {
			id = s.ID
		}
	}
	if id == "" {
		t.Fatal("ana has no session")
	}
	if rec := as(viv, "DELETE", "/api/v1/sessions/"+id); rec.Code != 404 {
		t.Errorf("viv ends the session of ana: %d", rec.Code)
	}
	if rec := as(viv, "GET", "/api/v1/sessions"); strings.Contains(rec.Body.String(), "ana") || !strings.Contains(rec.Body.String(), `"current":true`) {
		t.Errorf("sessions of viv: %s", rec.Body)
	}
	rec := as(viv, "POST", "/api/v1/tokens", `{"name":"mine","permissions":["calls:read"]}`)
	if rec.Code != 201 || !strings.Contains(rec.Body.String(), `"secret":"rst_`) {
		t.Errorf("token of viv: %d %s", rec.Code, rec.Body)
	}
	if rec := as(viv, "POST", "/api/v1/tokens", `{"name":"more","permissions":["users:manage"]}`); rec.Code < 400 {
		t.Errorf("viv makes a token of an admin: %d %s", rec.Code, rec.Body)
	}
	if rec := as(viv, "PUT", "/api/v1/session/password", `{"old":"`+password+`","new":"another `+password+`"}`); rec.Code != 204 {
		t.Errorf("change of password: %d %s", rec.Code, rec.Body)
	}
	if rec := as(viv, "GET", "/api/v1/session"); rec.Code != 401 {
		t.Errorf("a session outlives its password: %d", rec.Code)
	}
	if _, code := login("viv", password); code != 401 {
		t.Errorf("the old password still logs in: %d", code)
	}
	if rec := as(other, "DELETE", "/api/v1/session"); rec.Code != 204 {
		t.Errorf("logout: %d", rec.Code)
	}
	if rec := as(other, "GET", "/api/v1/session"); rec.Code != 401 {
		t.Errorf("after logout: %d", rec.Code)
	}
}

// Guessing passwords ends with 429.
func TestGuessing(t *testing.T) {
	w := newWorld(t)
	w.token("viv", auth.Scope{}, auth.Viewer)
	for range 50 {
		rec := w.ask("", "POST", "/api/v1/session", `{"user":"viv","password":"guess"}`)
		if rec.Code == 429 {
			if problem(t, rec) != "locked" || rec.Header().Get("Retry-After") == "" {
				t.Errorf("locked: %v %s", rec.Header(), rec.Body)
			}
			return
		}
	}
	t.Error("fifty wrong passwords and still no lock")
}

// One caller who asks too often waits, others do not.
func TestRate(t *testing.T) {
	w := newWorldWith(t, func(o *api.Options) { o.Rate = 5 })
	busy, other := w.token("busy", auth.Scope{}, auth.Viewer), w.token("other", auth.Scope{}, auth.Viewer)
	limited := false
	for range 200 {
		rec := w.ask(busy, "GET", "/api/v1/session")
		if rec.Code == 429 {
			limited = problem(t, rec) == "rate-limited"
			break
		}
	}
	if !limited {
		t.Error("200 requests at once, and none is refused")
	}
	if rec := w.ask(other, "GET", "/api/v1/session"); rec.Code != 200 {
		t.Errorf("another caller: %d", rec.Code)
	}
}

// A body that never comes is not waited for, whoever sends it and wherever.
func TestSlowBody(t *testing.T) {
	w := newWorld(t)
	w.SetBodyTime(100 * time.Millisecond)
	token := w.everything()
	srv := httptest.NewServer(w.http)
	defer srv.Close()
	for _, tc := range []struct{ name, path, header, status string }{
		{"read", "/api/v1/rules/check", "Authorization: Bearer " + token, "400"},
		{"nobody is logged in", "/api/v1/rules/check", "X: y", "401"},
		{"refused before the API", "/api/v1/session", "Origin: http://evil.example", "403"},
		{"of no interest", "/api/v1/reload", "Authorization: Bearer " + token, "200"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, err := net.Dial("tcp", srv.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: x\r\n%s\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{\"text\":", tc.path, tc.header)
			c.SetDeadline(time.Now().Add(time.Minute))
			line, err := bufio.NewReader(c).ReadString('\n')
			if err != nil || !strings.Contains(line, " "+tc.status+" ") {
				t.Errorf("%q, %v: want %s", line, err, tc.status)
			}
		})
	}
}

// A connection that has sent one body serves the next request as long as it lasts.
func TestBodyThenMore(t *testing.T) {
	w := newWorld(t)
	w.SetBodyTime(300 * time.Millisecond)
	token := w.everything()
	srv := httptest.NewServer(w.http)
	defer srv.Close()
	c, err := net.Dial("tcp", srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(time.Minute))
	answers := bufio.NewReader(c)
	for i := range 2 {
		body := `{"text":"good"}`
		fmt.Fprintf(c, "POST /api/v1/rules/check HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", token, len(body), body)
		res, err := http.ReadResponse(answers, nil)
		if err != nil || res.StatusCode != 200 {
			t.Fatalf("request %d: %v, %v", i, res, err)
		}
		io.Copy(io.Discard, res.Body)
		time.Sleep(400 * time.Millisecond) // longer than a body may take
	}
}

// What fails inside is said with a code, and nothing of the inside.
func TestFailures(t *testing.T) {
	w := newWorld(t)
	token := w.everything()
	one := "/api/v1/calls/" + w.answered().ID
	for _, tc := range []struct {
		err    error
		path   string
		status int
		code   string
	}{
		{api.ErrNotStored, one + "/pcap", 404, "not-stored"},
		{api.ErrNotPlayable, one + "/audio", 422, "not-playable"},
		{api.ErrBusy, one + "/waveform", 503, "busy"},
		{api.ErrTooLarge, one + "/pcap", 413, "too-large"},
		{context.DeadlineExceeded, one + "/audio/info", 504, "timeout"},
		{errBroken, "/api/v1/spool", 500, "internal"},
		{errBroken, one + "/messages", 500, "internal"},
	} {
		w.src.fail = tc.err
		rec := w.ask(token, "GET", tc.path)
		if code := problem(t, rec); rec.Code != tc.status || code != tc.code || strings.Contains(rec.Body.String(), "secret") {
			t.Errorf("%v: GET %s: %d %s", tc.err, tc.path, rec.Code, rec.Body)
		}
	}
	w.src.fail = api.ErrNotStored
	if l := get[api.Ladder](w, token, one+"/ladder"); l.Bodies || l.Why == "" || len(l.Arrows) == 0 {
		t.Errorf("a ladder of what is not stored: %+v", l)
	}
	w.src.fail = errBroken
	if rec := w.ask("", "GET", "/readyz"); rec.Code != 503 || !strings.Contains(rec.Body.String(), `"ready":false`) {
		t.Errorf("readyz: %d %s", rec.Code, rec.Body)
	}
	if rec := w.ask("", "GET", "/healthz"); rec.Code != 503 {
		t.Errorf("healthz: %d %s", rec.Code, rec.Body)
	}
}

// Without a store, a spool or a capture the routes say so.
func TestNothingThere(t *testing.T) {
	w := newWorldWith(t, func(o *api.Options) { o.Store, o.Sources = nil, api.Sources{} })
	token := w.everything()
	for _, path := range []string{"/api/v1/calls", "/api/v1/calls/1", "/api/v1/calls/1/audio", "/api/v1/live/calls", "/api/v1/live/sip", "/api/v1/interfaces", "/api/v1/ledger",
		"/api/v1/spool", "/api/v1/rules", "/api/v1/settings", "/api/v1/support-bundle", "/api/v1/stats/overview", "/api/v1/events", "/api/v1/orphans"} {
		rec := w.ask(token, "GET", path)
		if code := problem(t, rec); rec.Code != 501 || code != "not-available" {
			t.Errorf("GET %s: %d %s", path, rec.Code, code)
		}
	}
	if a := get[api.About](w, token, "/api/v1/about"); len(a.Can) != 0 || a.Name != "ringside" {
		t.Errorf("about %+v", a)
	}
	if rec := w.ask("", "GET", "/readyz"); rec.Code != 200 {
		t.Errorf("readyz: %d", rec.Code)
	}
}

// A database that does not answer is 503, and logging in works all the same.
func TestStoreAway(t *testing.T) {
	s, err := store.Open(t.Context(), store.Options{Path: "mysql://nobody@127.0.0.1:1/none?timeout=200ms", Lazy: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	w := newWorldWith(t, func(o *api.Options) { o.Store = s })
	token := w.everything()
	for _, path := range []string{"/api/v1/calls", "/api/v1/calls/1", "/api/v1/calls/count", "/api/v1/stats/top", "/api/v1/events"} {
		rec := w.ask(token, "GET", path)
		if code := problem(t, rec); rec.Code != 503 || code != "store-away" || rec.Header().Get("Retry-After") == "" {
			t.Errorf("GET %s: %d %s", path, rec.Code, rec.Body)
		}
	}
	if rec := w.ask("", "POST", "/api/v1/session", `{"user":"root","password":"`+password+`"}`); rec.Code != 200 {
		t.Errorf("login: %d %s", rec.Code, rec.Body)
	}
}

// Every download, playback and change is in the audit log, with its outcome.
func TestAudited(t *testing.T) {
	w := newWorld(t)
	c := w.answered()
	one := "/api/v1/calls/" + c.ID
	token, viewer := w.everything(), w.token("viv", auth.Scope{}, auth.Viewer)
	w.ask(token, "GET", one+"/pcap")
	w.ask(token, "GET", one+"/audio?side=a")
	w.ask(token, "GET", one+"/messages")
	w.ask(token, "GET", "/api/v1/calls/pcap?"+url.Values{"q": {"callid:" + c.CallID}}.Encode())
	w.ask(token, "PUT", "/api/v1/rules", `{"text":"good"}`)
	w.ask(token, "PUT", one+"/hold")
	w.ask(viewer, "GET", one+"/pcap")
	r := newRequest(token, "GET", "/api/v1/calls?status=2xx")
	r.Header.Set("Accept", "text/csv")
	w.send(r)
	page, err := w.auth.Audit.Query(t.Context(), auth.AuditFilter{})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []struct {
		user, action, object string
		outcome              auth.Outcome
		bytes                bool
	}{
		{"all", "call.pcap", c.ID, auth.OK, false}, {"all", "call.pcap.sent", c.ID, auth.OK, true},
		{"all", "call.audio", c.ID, auth.OK, false}, {"all", "call.audio.sent", c.ID, auth.OK, true},
		{"all", "call.messages", c.ID, auth.OK, false}, {"all", "calls.pcap.sent", "1 calls", auth.OK, true},
		{"all", "rules.put", "", auth.OK, false}, {"all", "call.hold", c.ID, auth.OK, false},
		{"viv", "call.pcap", c.ID, auth.Denied, false}, {"all", "calls.export.sent", "", auth.OK, true},
	} {
		found := false
		for _, e := range page.Entries {
			found = found || e.User == want.user && e.Action == want.action && e.Object == want.object && e.Outcome == want.outcome && e.Bytes > 0 == want.bytes && e.From == "192.0.2.7"
		}
		if !found {
			t.Errorf("the audit log has no %+v: %+v", want, page.Entries)
		}
	}
}
