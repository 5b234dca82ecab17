package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"time"

	"ringside/appliance/auth"
)

// What requests may take.
const (
	quickTime    = 30 * time.Second // for an answer that is no stream
	downloadTime = time.Hour
	bodyTime     = 15 * time.Second // for the whole body to come
	writeTime    = 30 * time.Second // for each piece of an answer to go
	bodyBytes    = 64 << 10
	stillEvery   = 5 * time.Second // how often a stream asks whether its reader still may, and sends a comment
)

// recorder is the ResponseWriter of a request: it knows what was written, and
// gives up on readers that do not read.
type recorder struct {
	http.ResponseWriter
	control *http.ResponseController
	status  int
	bytes   int64
}

func (w *recorder) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *recorder) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	// A server of tests may have no deadlines.
	_ = w.control.SetWriteDeadline(time.Now().Add(writeTime))
	n, err := w.ResponseWriter.Write(b)
	w.bytes += int64(n)
	return n, err
}

// Unwrap is for http.ResponseController.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// finish sends what has been written, and takes the deadline back: the connection
// may serve somebody else next.
func (w *recorder) finish() {
	if w.status != 0 {
		_ = w.control.Flush()
	}
	_ = w.control.SetWriteDeadline(time.Time{})
}

// route is the way of a request through its row of the table.
func (a *API) route(rt route) http.Handler {
	return http.HandlerFunc(func(hw http.ResponseWriter, r *http.Request) {
		began := time.Now()
		w := &recorder{ResponseWriter: hw, control: http.NewResponseController(hw)}
		q := &request{a: a, rt: rt, w: w, id: auth.From(r.Context())}
		ctx, cancel := rt.kind.bound(r.Context())
		defer cancel()
		if rt.kind == events {
			defer context.AfterFunc(a.ending, cancel)()
		}
		q.r = r.WithContext(ctx)
		err := q.safely()
		if a.o.Observe != nil {
			defer func() { a.o.Observe(rt.path, w.status, time.Since(began)) }()
		}
		q.closeAudit(err)
		if err == nil {
			w.finish()
			return
		}
		f := failureOf(err)
		if f.code == codeInternal && !errors.Is(err, errGone) && r.Context().Err() == nil {
			a.o.Log.Error("a request failed", "request", w.Header().Get(requestID), "route", rt.path, "err", err)
		}
		if w.status == 0 {
			writeProblem(w, f, w.Header().Get(requestID))
			w.finish()
			return
		}
		// Something has gone out as if all were well: only cutting the connection
		// tells the reader that it is not whole.
		if r.Context().Err() == nil && rt.kind != events {
			panic(http.ErrAbortHandler)
		}
	})
}

// safely is serve, with a defect in a handler as an error like others.
func (q *request) safely() (err error) {
	defer func() {
		p := recover()
		if p == http.ErrAbortHandler {
			panic(p)
		}
		if p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return q.serve()
}

// serve asks the limits and the table, and then the handler.
func (q *request) serve() error {
	release, err := q.a.limits.enter(q.caller(), q.rt.kind)
	if err != nil {
		return err
	}
	defer release()
	if q.r.Method == http.MethodHead && q.rt.kind != quick {
		return fail(codeMethod, "HEAD is not possible here, only GET")
	}
	if err := q.allowed(); err != nil {
		return err
	}
	limit := q.rt.body
	if limit == 0 {
		limit = bodyBytes
	}
	if q.r.ContentLength > limit {
		return fail(codeTooLarge, "the body has more than %d bytes", limit)
	}
	q.r.Body = http.MaxBytesReader(q.w, q.r.Body, limit)
	return q.rt.handle(q)
}

// allowed is the one place that decides whether somebody may call a route.
func (q *request) allowed() error {
	switch q.rt.need {
	case public:
		return nil
	case anybody:
		if q.id == nil {
			return auth.Why(q.r.Context())
		}
		return nil
	}
	if q.id == nil {
		return auth.Why(q.r.Context())
	}
	return q.id.Require(q.rt.need)
}

// caller is by whom requests are counted.
func (q *request) caller() string {
	if q.id != nil {
		return "user " + q.id.User
	}
	return "addr " + q.a.o.Auth.ClientAddr(q.r).String()
}

// audited writes into the audit log that somebody gets to see or changes an
// object. It is called before the first byte goes out: what cannot be written
// down does not happen.
func (q *request) audited(object, detail string) error {
	e := auth.NewEntry(q.r.Context(), q.rt.audit, object)
	e.Detail = detail
	q.entry = &e
	return q.a.o.Auth.Audit.Write(e)
}

// closeAudit writes how it ended: that it was refused, or how much was sent.
func (q *request) closeAudit(err error) {
	if q.rt.audit == "" || q.id == nil {
		return
	}
	e := auth.NewEntry(q.r.Context(), q.rt.audit, q.r.PathValue("id"))
	switch {
	case q.entry == nil && err == nil:
		e.Detail = cut(q.r.URL.RawQuery, 1000)
	case q.entry == nil:
		f := failureOf(err)
		e.Detail, e.Outcome = f.name, auth.Failed
		if f.status == 401 || f.status == 403 {
			e.Outcome = auth.Denied
		}
	case q.rt.kind == quick && err == nil:
		return // it is written already
	default:
		e = *q.entry
		e.Action += ".sent"
		e.Bytes = q.w.bytes
		if err != nil && q.r.Context().Err() == nil {
			e.Detail, e.Outcome = failureOf(err).name, auth.Failed
		}
	}
	if err := q.a.o.Auth.Audit.Write(e); err != nil {
		q.a.o.Log.Error("the audit log could not be written", "action", e.Action, "err", err)
	}
}

// kind says how an answer goes out.
type kind uint8

const (
	quick    kind = iota // at once, in one piece
	download             // a stream with an end
	events               // a stream without
)

func (k kind) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	switch k {
	case quick:
		return context.WithTimeout(ctx, quickTime)
	case download:
		return context.WithTimeout(ctx, downloadTime)
	}
	return context.WithCancel(ctx)
}
