package api

import (
	"context"
	"crypto/rand"
	_ "embed" // openapi.json
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"ringside/appliance/auth"
	"ringside/writer/store"
)

// Spec is openapi.json: the contract of this API.
//
//go:embed openapi.json
var Spec []byte

// Options are what an API is made of. Only Auth is needed.
type Options struct {
	Auth  *auth.Auth
	Store *store.Store // nil: there is none, and what asks for records answers 501
	Sources

	About func() About     // may be nil
	Log   *slog.Logger     // gets what is wrong here; default: nothing
	Now   func() time.Time // default: time.Now
	Rate  float64          // requests per second of one caller (default 50; negative: any)

	// Observe, if not nil, is told of every request that was answered: its route
	// (a pattern, never a path), its status, and how long it took.
	Observe func(route string, status int, took time.Duration)
}

// API answers requests. It is safe for concurrent use.
type API struct {
	o       Options
	mux     *http.ServeMux
	calls   *language[*facts]
	limits  *limits
	started time.Time

	bodyTime time.Duration // for a whole body to come

	ending context.Context // streams of events end with it
	end    context.CancelFunc
}

// New checks the options and builds the routes.
func New(o Options) (*API, error) {
	if o.Auth == nil {
		return nil, errors.New("build the API: accounts are missing: nobody could log in")
	}
	if o.Log == nil {
		o.Log = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	a := &API{o: o, mux: http.NewServeMux(), calls: callFields(o.Now), limits: newLimits(o.Rate), started: o.Now(), bodyTime: bodyTime}
	a.ending, a.end = context.WithCancel(context.Background())
	for _, rt := range routes {
		a.mux.Handle(rt.method+" "+rt.path, a.route(rt))
	}
	a.mux.Handle("/", a.route(route{path: "/", need: public, handle: (*request).unknown}))
	return a, nil
}

// Handler answers whoever comes over HTTP: the routes of openapi.json, and
// /debug/pprof/. Its paths are those below /api/, /healthz, /readyz, /metrics and /debug/.
func (a *API) Handler() http.Handler {
	return a.outer(a.o.Auth.Middleware(a.mux))
}

// End ends streams of events, which have no end of their own, so that a server need
// not wait for them. Their readers come again, to whatever is there then.
func (a *API) End() { a.end() }

// LocalHandler answers somebody on this machine whom the system vouches for, as
// on a socket that only its owner can open. They may do everything.
func (a *API) LocalHandler(user string) http.Handler {
	return a.outer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.mux.ServeHTTP(w, r.WithContext(auth.With(r.Context(), auth.Local(user))))
	}))
}

// Guard lets through to another handler who has a permission, with the same
// limits and headers as all routes.
func (a *API) Guard(need auth.Permission, next http.Handler) http.Handler {
	rt := route{path: "guarded", need: need, kind: download, handle: func(q *request) error {
		next.ServeHTTP(q.w, q.r)
		return nil
	}}
	return a.outer(a.o.Auth.Middleware(a.route(rt)))
}

// Refuse answers requests that appliance/auth refuses, like all other errors: it
// is for auth.Options.
func Refuse(w http.ResponseWriter, _ *http.Request, _ int, err error) {
	writeProblem(w, failureOf(err), w.Header().Get(requestID))
}

const requestID = "X-Request-Id"

// outer is what every answer has, whoever asks.
func (a *API) outer(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var id [8]byte
		rand.Read(id[:]) // never fails
		h := w.Header()
		h.Set(requestID, hex.EncodeToString(id[:]))
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		h.Set("Cache-Control", "no-store")
		if r.ContentLength != 0 {
			// Also for a body that nobody will read: the server does before it answers.
			_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(a.bodyTime))
		}
		if r.TLS != nil {
			h.Set("Strict-Transport-Security", "max-age=31536000")
		}
		next.ServeHTTP(w, r)
	})
}

// unknown is what no route answers to.
func (q *request) unknown() error {
	var allowed []string
	for _, m := range []string{"GET", "POST", "PUT", "PATCH", "DELETE"} {
		other := q.r.Clone(q.r.Context())
		other.Method = m
		if _, pattern := q.a.mux.Handler(other); pattern != "/" && pattern != "" {
			allowed = append(allowed, m)
		}
	}
	if len(allowed) > 0 && !slices.Contains(allowed, q.r.Method) {
		q.w.Header().Set("Allow", strings.Join(allowed, ", "))
		return fail(codeMethod, "%s is not possible here, only %s", q.r.Method, strings.Join(allowed, ", "))
	}
	return fail(codeNotFound, "there is nothing at this path: /api/v1/openapi.json lists what there is")
}
