package api

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"ringside/appliance/auth"
	"ringside/flow/record"
	"ringside/writer/store"
)

// request is one on its way through its handler.
type request struct {
	a     *API
	rt    route
	w     *recorder
	r     *http.Request
	id    *auth.Identity // nil: nobody is logged in
	entry *auth.Entry    // that audited wrote
}

// store is where records are.
func (q *request) store() (*store.Store, error) {
	if q.a.o.Store == nil {
		return nil, fail(codeMissing, "no store is open: name one with db")
	}
	return q.a.o.Store, nil
}

// scope is what the caller may see of records.
func (q *request) scope() store.Scope {
	s := q.id.Scope
	return store.Scope{Sensors: s.Sensors, Prefixes: s.Prefixes, Nets: s.Nets}
}

// call is the call of the path, if the caller may see it.
func (q *request) call() (*record.Call, error) {
	id, err := parseID(q.r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	return q.callOf(id)
}

func (q *request) callOf(id int64) (*record.Call, error) {
	s, err := q.store()
	if err != nil {
		return nil, err
	}
	c, err := s.Call(q.r.Context(), id)
	if err != nil {
		return nil, err
	}
	if !q.scope().InScope(c) {
		return nil, store.ErrNotFound // as if it were not there
	}
	return c, nil
}

// parseID reads an id. Nothing else than digits is one.
func parseID(s string) (int64, error) {
	if s == "" || len(s) > 19 || strings.Trim(s, "0123456789") != "" {
		return 0, fail(codeNotFound, "there is no such id: one has digits only")
	}
	id, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0, fail(codeNotFound, "there is no such id")
	}
	return id, nil
}

// json answers with a value.
func (q *request) json(v any) error { return q.jsonAs(http.StatusOK, v) }

// gzipFrom is from how many bytes on compressing is worth it.
const gzipFrom = 1400

func (q *request) jsonAs(status int, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode the answer: %w", err)
	}
	h := q.w.Header()
	h.Set("Content-Type", "application/json")
	if len(body) >= gzipFrom && acceptsGzip(q.r) {
		h.Set("Content-Encoding", "gzip")
		h.Add("Vary", "Accept-Encoding")
		var b bytes.Buffer
		z, _ := gzip.NewWriterLevel(&b, gzip.BestSpeed)
		z.Write(body)
		z.Close()
		body = b.Bytes()
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	q.w.WriteHeader(status)
	if _, err := q.w.Write(body); err != nil {
		return errGone
	}
	return nil
}

func (q *request) nothing() error {
	q.w.WriteHeader(http.StatusNoContent)
	return nil
}

func acceptsGzip(r *http.Request) bool {
	for _, v := range r.Header.Values("Accept-Encoding") {
		for part := range strings.SplitSeq(v, ",") {
			name, params, _ := strings.Cut(strings.TrimSpace(part), ";")
			if strings.EqualFold(strings.TrimSpace(name), "gzip") {
				q, err := strconv.ParseFloat(strings.TrimPrefix(strings.ReplaceAll(params, " ", ""), "q="), 64)
				return err != nil || q > 0
			}
		}
	}
	return false
}

// body reads a JSON body: one value, nothing unknown in it, nothing behind it.
func (q *request) body(v any) error {
	if err := q.mediaType("application/json"); err != nil {
		return err
	}
	d := json.NewDecoder(q.r.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return bodyError(err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return fail(codeBody, "something stands behind the JSON value")
	}
	q.bodyRead()
	return nil
}

// bodyRead takes back the deadline for the body: the connection goes on.
func (q *request) bodyRead() { _ = q.w.control.SetReadDeadline(time.Time{}) }

// text reads a body of plain text.
func (q *request) text() (string, error) {
	if err := q.mediaType("text/plain"); err != nil {
		return "", err
	}
	b, err := io.ReadAll(q.r.Body)
	if err != nil {
		return "", bodyError(err)
	}
	q.bodyRead()
	return string(b), nil
}

func bodyError(err error) error {
	var size *http.MaxBytesError
	if errors.As(err, &size) {
		return err
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return fail(codeBody, "it did not come within %v", bodyTime)
	}
	return fail(codeBody, "%v", err)
}

func (q *request) mediaType(want string) error {
	got, _, err := mime.ParseMediaType(q.r.Header.Get("Content-Type"))
	if err != nil || got != want {
		return fail(codeMedia, "send Content-Type: %s", want)
	}
	return nil
}

// accept is which of some media types the caller wants; the first one if it does
// not say.
func (q *request) accept(offered ...string) (string, error) {
	header := strings.Join(q.r.Header.Values("Accept"), ",")
	if header == "" {
		return offered[0], nil
	}
	for part := range strings.SplitSeq(header, ",") {
		t, _, _ := strings.Cut(strings.TrimSpace(part), ";")
		if slices.Contains(offered, t) {
			return t, nil
		}
		if t == "*/*" || t == "application/*" {
			return offered[0], nil
		}
	}
	return "", fail(codeAccept, "it comes as %s", strings.Join(offered, ", "))
}

// params are the parameters of a query. What is read is ticked off: what nobody
// reads is a mistake of the caller, and must not be passed over.
type params struct {
	values url.Values
	err    error
	now    time.Time
}

func (q *request) params() *params {
	p := &params{now: q.a.o.Now()}
	v, err := url.ParseQuery(q.r.URL.RawQuery)
	if err != nil {
		p.err = fail(codeParameter, "the query cannot be read: %v", err)
	}
	p.values = v
	return p
}

// done is what was wrong with the parameters, unknown ones included.
func (p *params) done() error {
	if p.err != nil {
		return p.err
	}
	for name := range p.values {
		return fail(codeParameter, "there is no parameter %q here", cut(name, 40))
	}
	return nil
}

// text is a parameter as it stands. An empty one is as one that is not there.
func (p *params) text(name string) string {
	v := p.values[name]
	delete(p.values, name)
	if len(v) > 1 {
		p.fail(name, "stands more than once: separate values by commas, where several are possible")
	}
	if len(v) == 0 {
		return ""
	}
	if !utf8.ValidString(v[0]) || strings.ContainsRune(v[0], 0) {
		p.fail(name, "is not valid UTF-8")
		return ""
	}
	if len(v[0]) > maxQuery {
		p.fail(name, "is too long")
		return ""
	}
	return v[0]
}

func (p *params) fail(name, format string, args ...any) {
	if p.err == nil {
		p.err = fail(codeParameter, "%s: %s", name, fmt.Sprintf(format, args...))
	}
}

// read parses a parameter, if it is there.
func read[V any](p *params, name string, to *V, parse func(string) (V, error)) {
	s := p.text(name)
	if s == "" || p.err != nil {
		return
	}
	v, err := parse(s)
	if err != nil {
		p.fail(name, "%v", err)
		return
	}
	*to = v
}

// readList parses a parameter of values that commas separate.
func readList[V any](p *params, name string, to *[]V, parse func(string) (V, error)) {
	s := p.text(name)
	if s == "" || p.err != nil {
		return
	}
	for item := range strings.SplitSeq(s, ",") {
		v, err := parse(strings.TrimSpace(item))
		if err != nil {
			p.fail(name, "%v", err)
			return
		}
		*to = append(*to, v)
	}
}

func (p *params) moment(name string, to *int64) {
	read(p, name, to, func(s string) (int64, error) { return parseTime(s, p.now) })
}

func (p *params) number(name string, low, high, otherwise int64) int64 {
	v := otherwise
	read(p, name, &v, parseWhole)
	if v < low || v > high {
		p.fail(name, "%d is not from %d to %d", v, low, high)
		return otherwise
	}
	return v
}

func (p *params) yes(name string) (v bool) {
	read(p, name, &v, func(s string) (bool, error) {
		switch s {
		case "true", "1", "yes":
			return true, nil
		case "false", "0", "no":
			return false, nil
		}
		return false, fmt.Errorf("%q is neither true nor false", cut(s, 40))
	})
	return v
}

// choice is a parameter with few values; the first one is that of no parameter.
func (p *params) choice(name string, of ...string) string {
	v := of[0]
	read(p, name, &v, func(s string) (string, error) {
		if !slices.Contains(of, s) {
			return "", fmt.Errorf("%q is none of %s", cut(s, 40), strings.Join(of, ", "))
		}
		return s, nil
	})
	return v
}

// page is the part of a list that is wanted.
func (p *params) page() store.Page {
	return store.Page{
		Limit:     int(p.number("limit", 1, maxPage, 100)),
		Cursor:    p.text("cursor"),
		Ascending: p.choice("order", "desc", "asc") == "asc",
	}
}

// maxPage is the largest page of a list.
const maxPage = 1000

// cut shortens what somebody sent, at a whole character.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}
