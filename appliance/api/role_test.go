package api_test

import (
	"slices"
	"strings"
	"testing"

	"ringside/appliance/api"
	"ringside/appliance/auth"
)

// Every route with every role: what openapi.json asks for is what decides, and
// nothing else.
func TestRoles(t *testing.T) {
	w := newWorld(t)
	c := w.answered()
	tokens := map[auth.Role]string{"": ""}
	for _, r := range auth.Roles() {
		tokens[r] = w.token("user-"+string(r), auth.Scope{}, r)
	}
	fill := strings.NewReplacer("{id}", c.ID, "{name}", "nobody", "{note}", "1")
	for _, rt := range api.Routes() {
		path := fill.Replace(rt.Path)
		if strings.Contains(path, "/live/sip") {
			path += "?q=(" // refused once it is allowed, so that it does not go on for ever
		}
		for role, token := range tokens {
			want := wanted(rt.Need, role)
			var body []string
			if rt.Method != "GET" && rt.Method != "DELETE" {
				body = []string{"{"} // never valid: nothing is changed
			}
			rec := w.ask(token, rt.Method, path, body...)
			got := "allowed"
			switch {
			case rec.Code == 401 && rt.Need != "public":
				got = "401"
			case rec.Code == 403:
				got = "403"
			}
			// Of tokens there are things that they cannot do, whatever the role.
			if rt.Need == "any" && got == "403" && want == "allowed" && strings.Contains(rec.Body.String(), "log in") {
				got = "allowed"
			}
			if got != want {
				t.Errorf("%s %s as %q: %s (%d %.120s), want %s", rt.Method, rt.Path, role, got, rec.Code, rec.Body, want)
			}
		}
	}
}

func wanted(need string, role auth.Role) string {
	switch {
	case need == "public":
		return "allowed"
	case role == "":
		return "401"
	case need == "any" || slices.Contains(role.Permissions(), auth.Permission(need)):
		return "allowed"
	}
	return "403"
}

// The roles themselves, so that a permission that moves to another role shows.
func TestWhoMayWhat(t *testing.T) {
	w := newWorld(t)
	c := w.answered()
	one := "/api/v1/calls/" + c.ID
	tokens := map[auth.Role]string{}
	for _, r := range auth.Roles() {
		tokens[r] = w.token("user-"+string(r), auth.Scope{}, r)
	}
	for _, tc := range []struct {
		path string
		may  []auth.Role
	}{
		{"/api/v1/calls", auth.Roles()},
		{one + "/ladder", []auth.Role{auth.Analyst, auth.Admin}},
		{one + "/messages", []auth.Role{auth.Analyst, auth.Admin}},
		{one + "/pcap", []auth.Role{auth.Analyst, auth.Admin}},
		{one + "/audio", []auth.Role{auth.Listener}},
		{one + "/waveform", []auth.Role{auth.Listener}},
		{"/api/v1/users", []auth.Role{auth.Admin}},
		{"/api/v1/audit", []auth.Role{auth.Admin}},
		{"/api/v1/settings", []auth.Role{auth.Operator, auth.Admin}},
		{"/debug/pprof/goroutine?debug=1", []auth.Role{auth.Admin}},
	} {
		for role, token := range tokens {
			rec := w.ask(token, "GET", tc.path)
			if ok := rec.Code == 200; ok != slices.Contains(tc.may, role) {
				t.Errorf("GET %s as %s: %d", tc.path, role, rec.Code)
			}
			if rec.Code != 200 {
				if got := problem(t, rec); got != "forbidden" {
					t.Errorf("GET %s as %s: code %s", tc.path, role, got)
				}
			}
		}
	}
}

// What is outside of somebody's scope is not there, whichever way it is asked for.
func TestScope(t *testing.T) {
	w := newWorld(t)
	c := w.answered()
	inside := w.token("inside", auth.Scope{Prefixes: []string{c.Caller.Number}}, auth.Roles()...)
	outside := w.token("outside", elsewhere, auth.Roles()...)
	all := w.everything()
	one := "/api/v1/calls/" + c.ID
	objects := []string{"GET " + one, "GET " + one + "/ladder", "GET " + one + "/messages", "GET " + one + "/streams", "GET " + one + "/legs",
		"GET " + one + "/pcap", "GET " + one + "/audio", "GET " + one + "/audio/info", "GET " + one + "/waveform", "GET " + one + "/notes",
		"POST " + one + "/notes", "DELETE " + one + "/notes/1", "PUT " + one + "/hold", "DELETE " + one + "/hold", "GET /api/v1/calls/pcap?ids=" + c.ID,
		"GET /api/v1/calls/pcap?call_id=" + c.CallID}
	for _, o := range objects {
		method, path, _ := strings.Cut(o, " ")
		var body []string
		if method == "POST" {
			body = []string{`{"text":"x"}`}
		}
		asked := len(w.src.log())
		rec := w.ask(outside, method, path, body...)
		if code := problem(t, rec); rec.Code != 404 || code != "not-found" {
			t.Errorf("%s outside of the scope: %d %s", o, rec.Code, code)
		}
		if now := w.src.log(); len(now) != asked {
			t.Errorf("%s outside of the scope asks the spool for %v", o, now[asked:])
		}
		if strings.HasSuffix(path, "/notes/1") {
			continue
		}
		if rec := w.ask(inside, method, path, body...); rec.Code >= 300 {
			t.Errorf("%s inside of the scope: %d %.200s", o, rec.Code, rec.Body)
		}
	}
	testScopeOfLists(t, w, all, outside)
	for _, r := range get[rows](w, inside, "/api/v1/calls?limit=1000").Items {
		if full := get[struct{ Called, Caller struct{ Number string } }](w, all, "/api/v1/calls/"+r.ID); full.Caller.Number != c.Caller.Number && full.Called.Number != c.Caller.Number {
			t.Errorf("call %s of %s is listed in a scope of %s", r.ID, full.Caller.Number, c.Caller.Number)
		}
	}
}

// testScopeOfLists asks every list for everything, as somebody who may see nothing.
func testScopeOfLists(t *testing.T, w *world, all, outside string) {
	t.Helper()
	when := "from=2026-01-05&to=2026-01-06"
	for _, list := range []string{"/api/v1/calls", "/api/v1/calls?q=number:*+or+mos%3E0", "/api/v1/registrations", "/api/v1/exchanges", "/api/v1/events", "/api/v1/orphans"} {
		if n := len(get[rows](w, outside, list).Items); n != 0 {
			t.Errorf("GET %s lists %d outside of the scope", list, n)
		}
		if n := len(get[rows](w, all, list).Items); n == 0 {
			t.Errorf("GET %s lists nothing without a scope: the test shows nothing", list)
		}
	}
	if n := get[api.Count](w, outside, "/api/v1/calls/count").Count; n != 0 {
		t.Errorf("%d calls are counted outside of the scope", n)
	}
	for _, figures := range []string{"/api/v1/calls/summary?" + when, "/api/v1/stats/top?" + when, "/api/v1/stats/series?" + when, "/api/v1/stats/overview?to=2026-01-05T10:00:00Z",
		"/api/v1/exchanges/summary", "/api/v1/events/summary", "/api/v1/registrations/summary"} {
		rec := w.ask(outside, "GET", figures)
		if rec.Code != 200 || counts(rec.Body.Bytes()) {
			t.Errorf("GET %s outside of the scope: %d %.300s", figures, rec.Code, rec.Body)
		}
		if rec := w.ask(all, "GET", figures); !counts(rec.Body.Bytes()) {
			t.Errorf("GET %s without a scope counts nothing: %.300s", figures, rec.Body)
		}
	}
	r := newRequest(outside, "GET", "/api/v1/calls")
	r.Header.Set("Accept", "application/x-ndjson")
	if rec := w.send(r); rec.Code != 200 || rec.Body.Len() != 0 {
		t.Errorf("an export outside of the scope: %d %.300s", rec.Code, rec.Body)
	}
}
