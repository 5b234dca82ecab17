package api_test

import (
	"bytes"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"ringside/appliance/api"
	"ringside/appliance/auth"
)

// A defect is an answer like others, and the log has the place.
func TestPanic(t *testing.T) {
	var log bytes.Buffer
	w := newWorldWith(t, func(o *api.Options) {
		o.About = func() api.About { panic("a defect") }
		o.Log = slog.New(slog.NewTextHandler(&log, nil))
	})
	token := w.token("viv", auth.Scope{}, auth.Viewer)
	rec := w.ask(token, "GET", "/api/v1/about")
	if code := problem(t, rec); rec.Code != 500 || code != "internal" || strings.Contains(rec.Body.String(), "a defect") {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
	if id := rec.Header().Get("X-Request-Id"); !strings.Contains(log.String(), "a defect") || !strings.Contains(log.String(), id) || !strings.Contains(log.String(), "middleware_test.go") {
		t.Errorf("the log: %s", &log)
	}
}

// deadlines is a ResponseWriter that remembers what it was told.
type deadlines struct {
	*httptest.ResponseRecorder
	write []time.Time
}

func (d *deadlines) SetWriteDeadline(t time.Time) error {
	d.write = append(d.write, t)
	return nil
}

// Each piece of an answer has a deadline; the connection has none afterwards.
func TestDeadlines(t *testing.T) {
	w := newWorld(t)
	token := w.token("viv", auth.Scope{}, auth.Viewer)
	for _, path := range []string{"/api/v1/calls", "/api/v1/nothing", "/api/v1/session"} {
		d := &deadlines{ResponseRecorder: httptest.NewRecorder()}
		w.http.ServeHTTP(d, newRequest(token, "GET", path))
		if n := len(d.write); n < 2 || d.write[0].IsZero() || !d.write[n-1].IsZero() {
			t.Errorf("GET %s: deadlines %v", path, d.write)
		}
	}
}

// Every answer has the headers that keep browsers from making more of it than it is.
func TestHeaders(t *testing.T) {
	w := newWorld(t)
	for _, path := range []string{"/api/v1/calls", "/api/v1/openapi.json", "/healthz", "/nothing"} {
		h := w.ask("", "GET", path).Header()
		for name, want := range map[string]string{"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Cache-Control": "no-store",
			"Referrer-Policy": "no-referrer", "Cross-Origin-Resource-Policy": "same-origin"} {
			if h.Get(name) != want {
				t.Errorf("GET %s: %s is %q", path, name, h.Get(name))
			}
		}
		if len(h.Get("X-Request-Id")) != 16 {
			t.Errorf("GET %s: X-Request-Id %q", path, h.Get("X-Request-Id"))
		}
	}
}

// What was answered is told by route, not by path: metrics have few labels.
func TestObserve(t *testing.T) {
	var seen []string
	w := newWorldWith(t, func(o *api.Options) {
		o.Observe = func(route string, status int, _ time.Duration) {
			seen = append(seen, route+" "+map[bool]string{true: "ok", false: "failed"}[status < 400])
		}
	})
	token := w.token("viv", auth.Scope{}, auth.Viewer)
	w.ask(token, "GET", "/api/v1/calls/"+w.answered().ID)
	w.ask(token, "GET", "/api/v1/calls/1")
	w.ask(token, "GET", "/nothing")
	if got := strings.Join(seen, ", "); got != "/api/v1/calls/{id} ok, /api/v1/calls/{id} failed, / failed" {
		t.Error(got)
	}
}

// Others than the API's own handlers are guarded alike, and who is on the machine
// may do everything.
func TestGuardAndLocal(t *testing.T) {
	w := newWorld(t)
	viewer, admin := w.token("viv", auth.Scope{}, auth.Viewer), w.token("adm", auth.Scope{}, auth.Admin)
	guarded := w.Guard(auth.DebugRead, w.LocalHandler("nobody"))
	for token, want := range map[string]int{"": 401, viewer: 403, admin: 200} {
		rec := httptest.NewRecorder()
		guarded.ServeHTTP(rec, newRequest(token, "GET", "/healthz"))
		if rec.Code != want {
			t.Errorf("guarded: %d, want %d", rec.Code, want)
		}
	}
	rec := httptest.NewRecorder()
	w.LocalHandler("root").ServeHTTP(rec, newRequest("", "GET", "/api/v1/users"))
	if rec.Code != 200 {
		t.Errorf("local: %d %s", rec.Code, rec.Body)
	}
	rec = httptest.NewRecorder()
	w.LocalHandler("root").ServeHTTP(rec, newRequest("", "GET", "/api/v1/session"))
	if rec.Code != 200 || !strings.Contains(rec.Body.String(), `"via":"local"`) {
		t.Errorf("local: %d %s", rec.Code, rec.Body)
	}
}
