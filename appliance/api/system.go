package api

import (
	"net/http"
	"net/http/pprof"
	"runtime"
	"strconv"
	"strings"

	"ringside/appliance/auth"
	"ringside/writer/store"
)

// What the appliance says of itself.

func (q *request) about() error {
	if err := q.params().done(); err != nil {
		return err
	}
	out := About{}
	if q.a.o.About != nil {
		out = q.a.o.About()
	}
	if out.Name == "" {
		out.Name = "ringside"
	}
	if out.Go == "" {
		out.Go = runtime.Version()
	}
	if out.Started.IsZero() {
		out.Started = q.a.started.UTC()
	}
	out.Can = []string{}
	s := &q.a.o.Sources
	for _, k := range []struct {
		name  string
		there bool
	}{
		{"store", q.a.o.Store != nil}, {"live", s.Live != nil}, {"capture", s.Capture != nil}, {"spool", s.Spool != nil},
		{"packets", s.Packets != nil}, {"audio", s.Audio != nil}, {"rules", s.Rules != nil}, {"settings", s.Settings != nil}, {"bundle", s.Bundle != nil},
	} {
		if k.there {
			out.Can = append(out.Can, k.name)
		}
	}
	return q.json(out)
}

func (q *request) openapi() error {
	h := q.w.Header()
	h.Set("Content-Type", "application/json")
	if acceptsGzip(q.r) {
		h.Set("Content-Encoding", "gzip")
		h.Add("Vary", "Accept-Encoding")
		q.w.Write(specGzip())
		return nil
	}
	q.w.Write(Spec)
	return nil
}

func (q *request) listInterfaces() error {
	if err := q.params().done(); err != nil {
		return err
	}
	if q.a.o.Capture == nil {
		return fail(codeMissing, "nothing is captured here")
	}
	out := Interfaces{Items: q.a.o.Capture.Interfaces()}
	if out.Items == nil {
		out.Items = []Interface{}
	}
	for i := range out.Items {
		if out.Items[i].Rings == nil {
			out.Items[i].Rings = []Ring{}
		}
	}
	return q.json(out)
}

func (q *request) ledger() error {
	if err := q.params().done(); err != nil {
		return err
	}
	if q.a.o.Capture == nil {
		return fail(codeMissing, "nothing is captured here")
	}
	l := q.a.o.Capture.Ledger()
	if l.Rows == nil {
		l.Rows = []LedgerRow{}
	}
	return q.json(l)
}

func (q *request) spoolSource() (Spool, error) {
	if q.a.o.Spool == nil {
		return nil, fail(codeMissing, "there is no spool: packets are not stored")
	}
	return q.a.o.Spool, nil
}

func (q *request) spool() error {
	if err := q.params().done(); err != nil {
		return err
	}
	src, err := q.spoolSource()
	if err != nil {
		return err
	}
	o, err := src.Overview(q.r.Context())
	if err != nil {
		return err
	}
	if o.Volumes == nil {
		o.Volumes = []SpoolVolume{}
	}
	if o.Classes == nil {
		o.Classes = []SpoolClass{}
	}
	if o.Held == nil || !q.id.Scope.All() { // Call-IDs are of calls, which a scope may hide
		o.Held = []string{}
	}
	return q.json(o)
}

func (q *request) listSegments() error {
	p := q.params()
	limit := int(p.number("limit", 1, maxPage, 100))
	offset := int(p.number("cursor", 0, 1<<31, 0))
	if err := p.done(); err != nil {
		return err
	}
	src, err := q.spoolSource()
	if err != nil {
		return err
	}
	items, total, err := src.Segments(q.r.Context(), offset, limit)
	if err != nil {
		return err
	}
	if items == nil {
		items = []SpoolSegment{}
	}
	out := Segments{Items: items, Total: total}
	if next := offset + len(items); len(items) > 0 && next < total {
		out.Next = strconv.Itoa(next)
	}
	return q.json(out)
}

func (q *request) holdCall() error {
	return q.held(func(s Spool, c CallRef) error { return s.Hold(q.r.Context(), c) })
}

func (q *request) releaseCall() error {
	return q.held(func(s Spool, c CallRef) error { return s.Release(q.r.Context(), c.CallID) })
}

func (q *request) held(do func(Spool, CallRef) error) error {
	src, err := q.spoolSource()
	if err != nil {
		return err
	}
	c, err := q.call()
	if err != nil {
		return err
	}
	if err := q.audited(q.r.PathValue("id"), c.CallID); err != nil {
		return err
	}
	if err := do(src, refOf(c)); err != nil {
		return err
	}
	return q.nothing()
}

func (q *request) rulesSource() (Rules, error) {
	if q.a.o.Rules == nil {
		return nil, fail(codeMissing, "there are no capture rules: nothing is stored by them")
	}
	return q.a.o.Rules, nil
}

func (q *request) getRules() error {
	src, err := q.rulesSource()
	if err != nil {
		return err
	}
	text, path, err := src.Rules()
	if err != nil {
		return err
	}
	return q.json(RulesText{Text: text, Path: path, Writable: path != "", Pending: src.Pending(), Problems: problems(src.Check(text))})
}

func problems(p []RuleProblem) []RuleProblem {
	if p == nil {
		return []RuleProblem{}
	}
	return p
}

func broken(p []RuleProblem) bool {
	for _, k := range p {
		if !k.Warning {
			return true
		}
	}
	return false
}

func (q *request) checkRules() error {
	var n NewRules
	if err := q.body(&n); err != nil {
		return err
	}
	src, err := q.rulesSource()
	if err != nil {
		return err
	}
	p := problems(src.Check(n.Text))
	return q.json(RulesCheck{!broken(p), p})
}

func (q *request) putRules() error {
	var n NewRules
	if err := q.body(&n); err != nil {
		return err
	}
	src, err := q.rulesSource()
	if err != nil {
		return err
	}
	if p := src.Check(n.Text); broken(p) {
		return fail(codeInvalid, "line %d: %s", p[0].Line, p[0].Text)
	}
	if err := q.audited("", strconv.Itoa(strings.Count(n.Text, "\n")+1)+" lines"); err != nil {
		return err
	}
	if err := src.Put(q.r.Context(), n.Text); err != nil {
		return err
	}
	return q.getRules()
}

func (q *request) settings() (Settings, error) {
	if q.a.o.Settings == nil {
		return nil, fail(codeMissing, "there is no configuration file here")
	}
	return q.a.o.Settings, nil
}

func (q *request) listSettings() error {
	if err := q.params().done(); err != nil {
		return err
	}
	src, err := q.settings()
	if err != nil {
		return err
	}
	out := SettingsList{Items: []Setting{}}
	for _, s := range src.Settings() {
		if s.Secret {
			s.Value = ""
		}
		out.Items = append(out.Items, s)
	}
	return q.json(out)
}

func (q *request) reload() error {
	src, err := q.settings()
	if err != nil {
		return err
	}
	if err := q.audited("", ""); err != nil {
		return err
	}
	r, err := src.Reload(q.r.Context())
	if err != nil {
		return fail(codeInvalid, "%v", err)
	}
	if r.Changed == nil {
		r.Changed = []Change{}
	}
	if r.Restart == nil {
		r.Restart = []string{}
	}
	return q.json(r)
}

func (q *request) supportBundle() error {
	if err := q.params().done(); err != nil {
		return err
	}
	if q.a.o.Bundle == nil {
		return fail(codeMissing, "this appliance makes no bundles")
	}
	if err := q.audited("", ""); err != nil {
		return err
	}
	out := &sending{q: q, mediaType: "application/zip", name: "ringside-support-" + stamp(q.a.o.Now().UnixNano()) + ".zip"}
	return q.a.o.Bundle.Write(q.r.Context(), out)
}

// alive and ready are for whoever starts processes: they need no login, and say
// nothing of calls.
func (q *request) alive() error {
	out := Alive{OK: true}
	if q.a.o.Health != nil {
		if err := q.a.o.Health.Alive(); err != nil {
			out = Alive{Why: err.Error()}
			return q.jsonAs(http.StatusServiceUnavailable, out)
		}
	}
	return q.json(out)
}

func (q *request) ready() error {
	out := Readiness{Ready: true, Checks: []Check{}}
	if q.a.o.Health != nil {
		out.Checks = append(out.Checks, q.a.o.Health.Ready()...)
	}
	status := http.StatusOK
	for i, c := range out.Checks {
		if !q.id.Can(auth.StatusRead) { // reasons name hosts, files and users of databases
			out.Checks[i].Why = ""
		}
		if !c.OK {
			out.Ready, status = false, http.StatusServiceUnavailable
		}
	}
	return q.jsonAs(status, out)
}

// metrics is for programs, which send an API token. Whoever serves this API may let
// those of its own machine have the page as it is.
func (q *request) metrics() error {
	if q.a.o.Metrics == nil {
		return fail(codeMissing, "there are no metrics here")
	}
	q.a.o.Metrics.ServeHTTP(q.w, q.r)
	return nil
}

func (q *request) profile() error {
	if err := q.audited(cut(q.r.URL.Path, 100), cut(q.r.URL.RawQuery, 200)); err != nil {
		return err
	}
	switch strings.TrimPrefix(q.r.URL.Path, "/debug/pprof/") {
	case "cmdline": // arguments may hold passwords
		return fail(codeNotFound, "there is no such profile")
	case "profile":
		pprof.Profile(q.w, q.r)
	case "symbol":
		pprof.Symbol(q.w, q.r)
	case "trace":
		pprof.Trace(q.w, q.r)
	default:
		pprof.Index(q.w, q.r)
	}
	return nil
}

// figures are statistics over time.

func (q *request) overview() error {
	p := q.params()
	var from, to int64
	p.moment("from", &from)
	p.moment("to", &to)
	if err := p.done(); err != nil {
		return err
	}
	s, err := q.store()
	if err != nil {
		return err
	}
	query, err := overviewQuery(from, to, p.now.UnixNano())
	if err != nil {
		return err
	}
	query.Scope = q.scope()
	o, err := s.Overview(q.r.Context(), query)
	if err != nil {
		return err
	}
	out := Overview{Overview: o, Events: []Event{}}
	if out.Outcomes == nil {
		out.Outcomes = []store.OutcomePair{}
	}
	if out.Hours == nil {
		out.Hours = []store.OverviewHour{}
	}
	events, err := s.Events(q.r.Context(), store.EventFilter{From: o.From, To: o.To, Scope: q.scope(), Kinds: notable}, store.Page{Limit: 10})
	if err != nil {
		return err
	}
	for i := range events.Records {
		out.Events = append(out.Events, eventOf(&events.Records[i]))
	}
	if q.a.o.Live != nil {
		status := q.a.o.Live.Status()
		if status.CPU == nil {
			status.CPU = []float64{}
		}
		out.Live = &status
	}
	return q.json(out)
}
