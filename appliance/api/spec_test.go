package api_test

import (
	"bytes"
	"encoding/json"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"

	"ringside/appliance/api"
)

// spec is openapi.json, in which objects have no other fields than it says.
func spec(t *testing.T) *openapi3.T {
	t.Helper()
	doc, err := openapi3.NewLoader().LoadFromData(api.Spec)
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, s := range doc.Components.Schemas {
		if s.Value.Properties != nil {
			s.Value.AdditionalProperties = openapi3.AdditionalProperties{Has: new(false)}
		}
	}
	return doc
}

// Every route is in openapi.json with its permission and its audit, and the other
// way round.
func TestRoutesAreTheSpec(t *testing.T) {
	doc := spec(t)
	inSpec := map[string]string{}
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			need, _ := op.Extensions["x-permission"].(string)
			audit, _ := op.Extensions["x-audit"].(string)
			inSpec[method+" "+path] = need + " " + audit
			if op.Summary == "" || op.OperationID == "" {
				t.Errorf("%s %s has no summary or no operationId", method, path)
			}
		}
	}
	for _, r := range api.Routes() {
		if strings.HasPrefix(r.Path, "/debug/") { // no part of the contract
			continue
		}
		key := r.Method + " " + r.Path
		got, ok := inSpec[key]
		if want := r.Need + " " + r.Audit; !ok || got != want {
			t.Errorf("%s needs %q: openapi.json says %q", key, want, got)
		}
		delete(inSpec, key)
	}
	for key := range inSpec {
		t.Errorf("openapi.json has %s, which is not there", key)
	}
}

// exchange is a request and what is to come back.
type exchange struct {
	method, path string
	body         string
	accept       string
	status       int
}

// exchanges tries every route at least once, with what it gives.
func exchanges(c row) []exchange {
	v1, one := "/api/v1", "/api/v1/calls/"+c.ID
	e := []exchange{
		{"GET", v1 + "/session", "", "", 200},
		{"PUT", v1 + "/session/preferences", `{"theme":"dark"}`, "", 204},
		{"GET", v1 + "/setup", "", "", 200},
		{"POST", v1 + "/setup", `{"token":"x","user":"x","password":"x"}`, "", 409},
		{"POST", v1 + "/session", `{"user":"root","password":"` + password + `"}`, "", 200},
		{"POST", v1 + "/session", `{"user":"root","password":"wrong"}`, "", 401},
		{"GET", v1 + "/about", "", "", 200},
		{"GET", v1 + "/openapi.json", "", "", 200},
		{"GET", v1 + "/calls", "", "", 200},
		{"GET", v1 + "/calls?limit=1000", "", "", 200},
		{"GET", v1 + "/calls?q=" + "mos%3C3.5+or+not+codec:PCMA", "", "", 200},
		{"GET", v1 + "/calls?columns=id,caller.number", "", "text/csv", 200},
		{"GET", v1 + "/calls", "", "application/x-ndjson", 200},
		{"GET", v1 + "/calls/count", "", "", 200},
		{"GET", v1 + "/calls/summary", "", "", 200},
		{"GET", v1 + "/calls/columns", "", "", 200},
		{"GET", v1 + "/calls/filter?q=mos", "", "", 200},
		{"GET", v1 + "/calls/pcap?ids=" + c.ID, "", "", 200},
		{"GET", one, "", "", 200},
		{"GET", one + "/ladder", "", "", 200},
		{"GET", one + "/messages", "", "", 200},
		{"GET", one + "/streams", "", "", 200},
		{"GET", one + "/legs", "", "", 200},
		{"GET", one + "/pcap?format=pcap", "", "", 200},
		{"GET", one + "/audio", "", "", 200},
		{"GET", one + "/audio/info", "", "", 200},
		{"GET", one + "/waveform?points=10", "", "", 200},
		{"POST", one + "/notes", `{"text":"seen"}`, "", 201},
		{"POST", one + "/notes", `{"text":"two words","tag":true}`, "", 422},
		{"GET", one + "/notes", "", "", 200},
		{"DELETE", one + "/notes/1", "", "", 404},
		{"PUT", one + "/hold", "", "", 204},
		{"DELETE", one + "/hold", "", "", 204},
		{"GET", v1 + "/live/calls", "", "", 200},
		{"GET", v1 + "/live/status", "", "", 200},
		{"GET", v1 + "/registrations", "", "", 200},
		{"GET", v1 + "/registrations", "", "text/csv", 200},
		{"GET", v1 + "/registrations/summary", "", "", 200},
		{"GET", v1 + "/exchanges", "", "", 200},
		{"GET", v1 + "/exchanges/summary", "", "", 200},
		{"GET", v1 + "/events", "", "", 200},
		{"GET", v1 + "/events/summary", "", "", 200},
		{"GET", v1 + "/orphans", "", "", 200},
		{"GET", v1 + "/stats/overview?to=2026-01-05T10:00:00Z", "", "", 200},
		{"GET", v1 + "/stats/series?from=2026-01-05&to=2026-01-06&metric=asr&by=trunk&step=1h", "", "", 200},
		{"GET", v1 + "/stats/series?from=2026-01-05&to=2026-01-06&by=outcome", "", "text/csv", 200},
		{"GET", v1 + "/stats/top?from=2026-01-05&to=2026-01-06&by=codec", "", "", 200},
		{"GET", v1 + "/stats/top?from=2026-01-05&to=2026-01-06&by=caller", "", "text/csv", 200},
		{"GET", v1 + "/stats/series?metric=happiness", "", "", 400},
		{"GET", v1 + "/interfaces", "", "", 200},
		{"GET", v1 + "/ledger", "", "", 200},
		{"GET", v1 + "/spool", "", "", 200},
		{"GET", v1 + "/spool/segments?limit=2", "", "", 200},
		{"GET", v1 + "/rules", "", "", 200},
		{"POST", v1 + "/rules/check", `{"text":"bad"}`, "", 200},
		{"PUT", v1 + "/rules", `{"text":"bad"}`, "", 422},
		{"PUT", v1 + "/rules", `{"text":"good, but more"}`, "", 200},
		{"PUT", v1 + "/rules", `{"text":"good"}`, "", 200},
		{"GET", v1 + "/settings", "", "", 200},
		{"POST", v1 + "/reload", "", "", 200},
		{"GET", v1 + "/users", "", "", 200},
		{"POST", v1 + "/users", `{"name":"eve","password":"` + password + `","roles":["viewer"],"scope":{}}`, "", 201},
		{"GET", v1 + "/users/eve", "", "", 200},
		{"PATCH", v1 + "/users/eve", `{"disabled":true}`, "", 200},
		{"PUT", v1 + "/users/eve/password", `{"password":"another ` + password + `","must_change_password":true}`, "", 204},
		{"DELETE", v1 + "/users/eve", "", "", 204},
		{"GET", v1 + "/tokens", "", "", 200},
		{"GET", v1 + "/sessions", "", "", 200},
		{"DELETE", v1 + "/sessions/none", "", "", 404},
		{"DELETE", v1 + "/tokens/none", "", "", 404},
		{"GET", v1 + "/audit", "", "", 200},
		{"GET", v1 + "/audit/verify", "", "", 200},
		{"GET", v1 + "/support-bundle", "", "", 200},
		{"POST", v1 + "/parse", "INVITE sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP x\r\n\r\n", "", 200},
		{"GET", "/healthz", "", "", 200},
		{"GET", "/readyz", "", "", 200},
		{"GET", "/metrics", "", "", 200},
	}
	return e
}

// Every answer is as openapi.json says.
func TestAnswersFitTheSpec(t *testing.T) {
	w := newWorld(t)
	doc := spec(t)
	router, err := gorillamux.NewRouter(doc)
	if err != nil {
		t.Fatal(err)
	}
	openapi3filter.RegisterBodyDecoder("application/x-ndjson", openapi3filter.FileBodyDecoder)
	openapi3filter.RegisterBodyDecoder("application/x-pcapng", openapi3filter.FileBodyDecoder)
	openapi3filter.RegisterBodyDecoder("application/vnd.tcpdump.pcap", openapi3filter.FileBodyDecoder)
	openapi3filter.RegisterBodyDecoder("audio/wav", openapi3filter.FileBodyDecoder)
	openapi3filter.RegisterBodyDecoder("application/zip", openapi3filter.FileBodyDecoder)
	openapi3filter.RegisterBodyDecoder("text/csv", openapi3filter.FileBodyDecoder)
	token := w.everything()
	tried := map[string]bool{}
	for _, e := range exchanges(w.answered()) {
		t.Run(e.method+" "+e.path, func(t *testing.T) {
			var body []string
			if e.body != "" {
				body = []string{e.body}
			}
			r := newRequest(token, e.method, e.path, body...)
			if e.accept != "" {
				r.Header.Set("Accept", e.accept)
			}
			rec := w.send(r)
			if rec.Code != e.status {
				t.Fatalf("status %d, want %d: %.300s", rec.Code, e.status, rec.Body)
			}
			tried[fits(t, router, e, rec)] = true
		})
	}
	streams := []string{"GET /api/v1/live/sip", "GET /debug/pprof/", "DELETE /api/v1/session", "PUT /api/v1/session/password", "POST /api/v1/tokens"} // tried elsewhere
	for _, r := range api.Routes() {
		if key := r.Method + " " + r.Path; !tried[key] && !slices.Contains(streams, key) {
			t.Errorf("%s is never tried", key)
		}
	}
}

// fits compares an answer with openapi.json, and returns its route.
func fits(t *testing.T, router routers.Router, e exchange, rec *httptest.ResponseRecorder) string {
	t.Helper()
	r := httptest.NewRequest(e.method, e.path, strings.NewReader(e.body))
	if e.body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if strings.HasSuffix(e.path, "/parse") {
		r.Header.Set("Content-Type", "text/plain")
	}
	route, params, err := router.FindRoute(r)
	if err != nil {
		t.Fatal(err)
	}
	in := &openapi3filter.RequestValidationInput{Request: r, PathParams: params, Route: route,
		Options: &openapi3filter.Options{AuthenticationFunc: openapi3filter.NoopAuthenticationFunc, IncludeResponseStatus: true}}
	if e.status < 400 {
		if err := openapi3filter.ValidateRequest(t.Context(), in); err != nil {
			t.Errorf("the request is not as openapi.json says: %v", err)
		}
	}
	out := &openapi3filter.ResponseValidationInput{RequestValidationInput: in, Status: rec.Code, Header: rec.Header(), Options: in.Options}
	out.SetBodyBytes(rec.Body.Bytes())
	if err := openapi3filter.ValidateResponse(t.Context(), out); err != nil {
		t.Errorf("the answer is not as openapi.json says: %.2000s", err)
	}
	return e.method + " " + route.Path
}

// No answer has null where openapi.json promises a list, and ids are strings:
// JavaScript would lose digits.
func TestIdsAreStrings(t *testing.T) {
	w := newWorld(t)
	token := w.everything()
	number := regexp.MustCompile(`"(id|other_id|first_id)":\s*\d`)
	for _, path := range []string{"/api/v1/calls", "/api/v1/calls/" + w.answered().ID, "/api/v1/events", "/api/v1/exchanges", "/api/v1/registrations", "/api/v1/orphans", "/api/v1/live/calls"} {
		rec := w.ask(token, "GET", path)
		if m := number.Find(rec.Body.Bytes()); m != nil {
			t.Errorf("GET %s has a number for an id: %s", path, m)
		}
		if !json.Valid(rec.Body.Bytes()) || bytes.Contains(rec.Body.Bytes(), []byte(`"items":null`)) {
			t.Errorf("GET %s: %.200s", path, rec.Body)
		}
	}
}
