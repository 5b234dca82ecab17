package api

import (
	"context"
	"net/netip"
	"time"

	"ringside/appliance/auth"
	"ringside/flow/record"
	"ringside/writer/store"
)

// chosen is a list of calls that a query asks for: what the store looks for, and
// what is then asked of each.
type chosen struct {
	filter store.Filter
	left   func(*facts) bool // nil: nothing
}

// callFilter reads the conditions of a query. All of them must hold, and the
// scope of the caller is always one.
func (q *request) callFilter(p *params) (c chosen, err error) {
	f := &c.filter
	p.moment("from", &f.From)
	p.moment("to", &f.To)
	read(p, "caller", &f.Caller, store.ParseMatch)
	read(p, "called", &f.Called, store.ParseMatch)
	read(p, "number", &f.Number, store.ParseMatch)
	f.Domain, f.CallID, f.Agent, f.Codec = p.text("domain"), p.text("call_id"), p.text("agent"), p.text("codec")
	for name, to := range map[string]*netip.Prefix{
		"addr": &f.Addr, "signal_addr": &f.SignalAddr, "caller_addr": &f.CallerAddr, "called_addr": &f.CalledAddr, "media_addr": &f.MediaAddr,
	} {
		read(p, name, to, store.ParseAddr)
	}
	p.status(&f.StatusMin, &f.StatusMax)
	readList(p, "outcome", &f.Outcomes, named[record.Outcome])
	readList(p, "end", &f.EndReasons, named[record.EndReason])
	readList(p, "sensor", &f.Sensors, parseSensor)
	p.flags("flag", &f.Flags)
	p.flags("no_flag", &f.NotFlags)
	for name, to := range map[string]*time.Duration{
		"min_duration": &f.MinDuration, "max_duration": &f.MaxDuration, "min_connected": &f.MinConnected,
		"max_connected": &f.MaxConnected, "min_pdd": &f.MinPDD, "max_pdd": &f.MaxPDD,
	} {
		read(p, name, to, parseSpan)
	}
	for name, to := range map[string]*float64{
		"mos_below": &f.MOSBelow, "mos_above": &f.MOSAbove, "loss_above": &f.LossAbove, "jitter_above": &f.JitterAbove,
	} {
		read(p, name, to, parseFloat)
	}
	f.MinMessages = uint32(p.number("min_messages", 0, 1<<31, 0))
	f.MaxMessages = uint32(p.number("max_messages", 0, 1<<31, 0))
	f.Scope = q.scope()
	e, qerr := q.a.calls.parse(p.text("q"))
	if qerr != nil {
		return c, qerr
	}
	c.left = narrow(e, f, p.now)
	return c, nil
}

func (p *params) status(low, high *uint16) {
	s := p.text("status")
	if s == "" {
		return
	}
	var err error
	if *low, *high, err = store.ParseStatus(s); err != nil {
		p.fail("status", "%v", err)
	}
}

func (p *params) flags(name string, to *record.Flags) {
	var list []record.Flags
	readList(p, name, &list, parseFlag)
	for _, f := range list {
		*to |= f
	}
}

// How long and how far calls are looked at one by one, in one request.
const (
	lookTime  = 5 * time.Second
	lookCalls = 20_000
	lookPage  = 500
)

// page is a page of calls. Where calls must be looked at one by one, a page ends
// when it is half full or has taken its time, and the next one goes on there.
func (q *request) page(c chosen, p store.Page) (CallPage, error) {
	s, err := q.store()
	if err != nil {
		return CallPage{}, err
	}
	ctx := q.r.Context()
	out := CallPage{Items: []CallRow{}}
	if c.left == nil {
		r, err := s.Calls(ctx, c.filter, p)
		for i := range r.Calls {
			out.Items = append(out.Items, rowOf(&r.Calls[i]))
		}
		out.Next = r.Next
		return out, err
	}
	want, looked, until := p.Limit, 0, time.Now().Add(lookTime)
	for {
		p.Limit = min(lookPage, want-len(out.Items)) // never more than fit, so that the cursor is that of a page's end
		r, err := s.Calls(ctx, c.filter, p)
		if err != nil {
			return out, err
		}
		for i := range r.Calls {
			if c.left(&facts{row: &r.Calls[i], load: load(ctx, s, r.Calls[i].ID)}) {
				out.Items = append(out.Items, rowOf(&r.Calls[i]))
			}
		}
		looked += len(r.Calls)
		out.Next = r.Next
		if n := len(r.Calls); n > 0 && r.Next != "" {
			out.Searched = r.Calls[n-1].Start
		}
		p.Cursor = r.Next
		if r.Next == "" || len(out.Items) > want/2 || looked >= lookCalls || time.Now().After(until) {
			if out.Next == "" {
				out.Searched = 0
			}
			return out, nil
		}
	}
}

// load reads a whole call; nil if it is not there any more.
func load(ctx context.Context, s *store.Store, id int64) func() *record.Call {
	return func() *record.Call {
		c, err := s.Call(ctx, id)
		if err != nil {
			return nil
		}
		return c
	}
}

func rowOf(r *store.Row) CallRow {
	return CallRow{ID: ID(r.ID), FlagNames: r.Flags.Names(), Row: *r}
}

func (q *request) listCalls() error {
	p := q.params()
	form, err := q.accept("application/json", mediaCSV, mediaNDJSON)
	if err != nil {
		return err
	}
	c, err := q.callFilter(p)
	if err != nil {
		return err
	}
	page := p.page()
	columns := p.text("columns")
	if err := p.done(); err != nil {
		return err
	}
	if form == "application/json" {
		r, err := q.page(c, page)
		if err != nil {
			return err
		}
		return q.json(r)
	}
	return export(q, form, "calls", columns, defaultColumns(), func(cursor string) ([]CallRow, string, error) {
		page.Limit, page.Cursor = maxPage, cursor
		r, err := q.page(c, page)
		return r.Items, r.Next, err
	})
}

func (q *request) countCalls() error {
	p := q.params()
	c, err := q.callFilter(p)
	if err != nil {
		return err
	}
	if err := p.done(); err != nil {
		return err
	}
	s, err := q.store()
	if err != nil {
		return err
	}
	if c.left == nil {
		n, err := s.CountUpTo(q.r.Context(), c.filter)
		if err != nil {
			return err
		}
		return q.json(Count{n.Calls, !n.More})
	}
	n, until, page := int64(0), time.Now().Add(lookTime), store.Page{Limit: maxPage}
	for {
		r, err := q.page(c, page)
		if err != nil {
			return err
		}
		n += int64(len(r.Items))
		if page.Cursor = r.Next; r.Next == "" || time.Now().After(until) {
			return q.json(Count{n, r.Next == ""})
		}
	}
}

// figuresOf is the filter of what is computed by the database alone.
func (c *chosen) figuresOf() (store.Filter, error) {
	if c.left != nil {
		return c.filter, fail(codeFilter, "figures can be had of conditions that the database can look for: leave out or, not, and what /api/v1/calls/filter says is not indexed")
	}
	return c.filter, nil
}

func (q *request) summarizeCalls() error {
	p := q.params()
	c, err := q.callFilter(p)
	if err != nil {
		return err
	}
	if err := p.done(); err != nil {
		return err
	}
	f, err := c.figuresOf()
	if err != nil {
		return err
	}
	s, err := q.store()
	if err != nil {
		return err
	}
	sum, err := s.Summary(q.r.Context(), f)
	if err != nil {
		return err
	}
	if sum.Outcomes == nil {
		sum.Outcomes = []store.OutcomeCount{}
	}
	return q.json(sum)
}

func (q *request) checkFilter() error {
	p := q.params()
	src := p.text("q")
	pos := p.number("pos", 0, maxQuery, int64(len([]rune(src))))
	if err := p.done(); err != nil {
		return err
	}
	out := FilterCheck{OK: true, Errors: []FilterError{}, Completions: q.a.calls.complete(src, int(pos))}
	e, qerr := q.a.calls.parse(src)
	if qerr != nil {
		out.OK, out.Errors = false, append(out.Errors, FilterError(*qerr))
		return q.json(out)
	}
	out.Indexed = narrow(e, new(store.Filter), p.now) == nil
	return q.json(out)
}

func (q *request) listColumns() error {
	out := List[Column]{Items: callColumns}
	if err := q.params().done(); err != nil {
		return err
	}
	return q.json(out)
}

func (q *request) getCall() error {
	if err := q.params().done(); err != nil {
		return err
	}
	c, err := q.call()
	if err != nil {
		return err
	}
	s := q.a.o.Store
	ctx := q.r.Context()
	out := Call{ID: ID(c.ID), FlagNames: c.Flags.Names(), Row: store.Row{Call: *c}, Quality: []Quality{}}
	r, err := s.Calls(ctx, store.Filter{CallID: c.CallID, From: c.Start, To: c.Start + 1}, store.Page{})
	if err != nil {
		return err
	}
	for _, row := range r.Calls {
		if row.ID == c.ID {
			out.Derived = row.Derived
		}
	}
	q.conceal(&out.Row.Call)
	if out.Links, err = q.links(c.ID); err != nil {
		return err
	}
	reports, err := s.QualityReports(ctx, c.CallID)
	if err != nil {
		return err
	}
	for _, r := range reports {
		out.Quality = append(out.Quality, Quality{ID(r.ID), r})
	}
	return q.json(out)
}

// conceal takes out of a record what its reader has no right to: the keys of
// media, always; digits, which may be a PIN, from whoever may not read signalling.
func (q *request) conceal(c *record.Call) {
	for i := range c.Media {
		c.Media[i].Crypto = suites(c.Media[i].Crypto)
	}
	if !q.id.Can(auth.SignallingRead) {
		c.Digits = nil
	}
}

// links is what links a call with others. Of those that the caller may not see
// there is nothing.
func (q *request) links(id int64) ([]Link, error) {
	found, err := q.a.o.Store.Links(q.r.Context(), id)
	if err != nil {
		return nil, err
	}
	out := []Link{}
	for _, l := range found {
		link := Link{Reason: l.Link.Reason, Key: l.Link.Key, Score: l.Link.Score}
		if l.Call != nil {
			if !q.scope().InScope(&l.Call.Call) {
				continue
			}
			row := rowOf(l.Call)
			link.Call = &row
		} else if !q.id.Scope.All() {
			continue
		}
		out = append(out, link)
	}
	return out, nil
}

func (q *request) getLegs() error {
	if err := q.params().done(); err != nil {
		return err
	}
	c, err := q.call()
	if err != nil {
		return err
	}
	links, err := q.links(c.ID)
	if err != nil {
		return err
	}
	legs := c.Legs
	if legs == nil {
		legs = []record.Leg{}
	}
	return q.json(Legs{legs, links})
}
