package api

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"

	"ringside/appliance/auth"
	"ringside/flow/record"
	"ringside/writer/store"
)

// list answers with a list, in one of its forms: a page as JSON, or all pages.
func list[T any](q *request, p *params, what string, some []string, get func(store.Page) ([]T, string, error)) error {
	form, err := q.accept("application/json", mediaCSV, mediaNDJSON)
	if err != nil {
		return err
	}
	page := p.page()
	columns := p.text("columns")
	if err := p.done(); err != nil {
		return err
	}
	if form != "application/json" {
		return export(q, form, what, columns, some, func(cursor string) ([]T, string, error) {
			page.Limit, page.Cursor = maxPage, cursor
			return get(page)
		})
	}
	items, next, err := get(page)
	if err != nil {
		return err
	}
	if items == nil {
		items = []T{}
	}
	return q.json(List[T]{items, next})
}

// wrapped turns records into what the API shows of them.
func wrapped[R, T any](from []R, err error, wrap func(*R) T) ([]T, error) {
	out := make([]T, len(from))
	for i := range from {
		out[i] = wrap(&from[i])
	}
	return out, err
}

func (q *request) registrationFilter(p *params) (f store.RegistrationFilter) {
	p.moment("from", &f.From)
	p.moment("to", &f.To)
	p.moment("at", &f.At)
	read(p, "aor", &f.AOR, store.ParseMatch)
	read(p, "user", &f.User, store.ParseMatch)
	f.Domain, f.Contact, f.Agent, f.CallID = p.text("domain"), p.text("contact"), p.text("agent"), p.text("call_id")
	read(p, "addr", &f.Addr, store.ParseAddr)
	readList(p, "state", &f.States, named[record.RegistrationState])
	p.status(&f.StatusMin, &f.StatusMax)
	f.Failed = p.yes("failed")
	readList(p, "sensor", &f.Sensors, parseSensor)
	f.Scope = q.scope()
	return f
}

func (q *request) listRegistrations() error {
	p := q.params()
	f := q.registrationFilter(p)
	s, err := q.store()
	if err != nil {
		return err
	}
	return list(q, p, "registrations", nil, func(page store.Page) ([]Registration, string, error) {
		r, err := s.Registrations(q.r.Context(), f, page)
		items, err := wrapped(r.Records, err, func(r *record.Registration) Registration { return Registration{ID(r.ID), *r} })
		return items, r.Next, err
	})
}

func (q *request) summarizeRegistrations() error {
	p := q.params()
	f := q.registrationFilter(p)
	if err := p.done(); err != nil {
		return err
	}
	s, err := q.store()
	if err != nil {
		return err
	}
	sum, err := s.SummarizeRegistrations(q.r.Context(), f)
	if err != nil {
		return err
	}
	if sum.States == nil {
		sum.States = map[record.RegistrationState]int64{}
	}
	return q.json(sum)
}

func (q *request) exchangeFilter(p *params) (f store.ExchangeFilter) {
	p.moment("from", &f.From)
	p.moment("to", &f.To)
	readList(p, "kind", &f.Kinds, named[record.ExchangeKind])
	readList(p, "state", &f.States, func(s string) (string, error) { return s, nil })
	read(p, "caller", &f.Caller, store.ParseMatch)
	read(p, "called", &f.Called, store.ParseMatch)
	read(p, "number", &f.Number, store.ParseMatch)
	f.Domain, f.CallID, f.Event, f.Agent = p.text("domain"), p.text("call_id"), p.text("event"), p.text("agent")
	if f.Text = p.text("text"); f.Text != "" && !q.id.Can(auth.SignallingRead) {
		p.fail("text", "texts of messages can be searched with the permission %s only", auth.SignallingRead)
	}
	read(p, "addr", &f.Addr, store.ParseAddr)
	read(p, "caller_addr", &f.CallerAddr, store.ParseAddr)
	read(p, "called_addr", &f.CalledAddr, store.ParseAddr)
	p.status(&f.StatusMin, &f.StatusMax)
	f.Failed = p.yes("failed")
	readList(p, "sensor", &f.Sensors, parseSensor)
	f.Scope = q.scope()
	return f
}

func (q *request) listExchanges() error {
	p := q.params()
	f := q.exchangeFilter(p)
	s, err := q.store()
	if err != nil {
		return err
	}
	return list(q, p, "exchanges", nil, func(page store.Page) ([]Exchange, string, error) {
		r, err := s.Exchanges(q.r.Context(), f, page)
		items, err := wrapped(r.Records, err, func(e *record.Exchange) Exchange {
			if !q.id.Can(auth.SignallingRead) { // what people write to each other
				e.Text = ""
			}
			return Exchange{ID(e.ID), *e}
		})
		return items, r.Next, err
	})
}

func (q *request) summarizeExchanges() error {
	p := q.params()
	f := q.exchangeFilter(p)
	if err := p.done(); err != nil {
		return err
	}
	s, err := q.store()
	if err != nil {
		return err
	}
	sum, err := s.SummarizeExchanges(q.r.Context(), f)
	if err != nil {
		return err
	}
	if sum == nil {
		sum = []store.ExchangeCount{}
	}
	return q.json(List[store.ExchangeCount]{Items: sum})
}

func (q *request) eventFilter(p *params) (f store.EventFilter) {
	p.moment("from", &f.From)
	p.moment("to", &f.To)
	readList(p, "kind", &f.Kinds, named[record.EventKind])
	read(p, "aor", &f.AOR, store.ParseMatch)
	f.Target, f.CallID, f.Method, f.Agent = p.text("target"), p.text("call_id"), p.text("method"), p.text("agent")
	read(p, "addr", &f.Addr, store.ParseAddr)
	read(p, "source", &f.Source, store.ParseAddr)
	p.status(&f.StatusMin, &f.StatusMax)
	readList(p, "sensor", &f.Sensors, parseSensor)
	f.Scope = q.scope()
	return f
}

func eventOf(e *record.Event) Event { return Event{ID(e.ID), *e} }

func (q *request) listEvents() error {
	p := q.params()
	f := q.eventFilter(p)
	s, err := q.store()
	if err != nil {
		return err
	}
	return list(q, p, "events", nil, func(page store.Page) ([]Event, string, error) {
		r, err := s.Events(q.r.Context(), f, page)
		items, err := wrapped(r.Records, err, eventOf)
		return items, r.Next, err
	})
}

func (q *request) summarizeEvents() error {
	p := q.params()
	f := q.eventFilter(p)
	if err := p.done(); err != nil {
		return err
	}
	s, err := q.store()
	if err != nil {
		return err
	}
	sum, err := s.SummarizeEvents(q.r.Context(), f)
	if err != nil {
		return err
	}
	out := List[EventCount]{Items: []EventCount{}}
	for k, n := range sum {
		out.Items = append(out.Items, EventCount{k, n})
	}
	slices.SortFunc(out.Items, func(a, b EventCount) int { return cmp.Compare(a.Kind, b.Kind) })
	return q.json(out)
}

func (q *request) listOrphans() error {
	p := q.params()
	var f store.OrphanFilter
	p.moment("from", &f.From)
	p.moment("to", &f.To)
	read(p, "addr", &f.Addr, store.ParseAddr)
	read(p, "ssrc", &f.SSRC, func(s string) (uint32, error) {
		v, err := strconv.ParseUint(s, 0, 32)
		if err != nil {
			return 0, fmt.Errorf("%q is no SSRC: write it decimal, or as 0x…", cut(s, 40))
		}
		return uint32(v), nil
	})
	f.Codec = p.text("codec")
	f.Scope = q.scope()
	s, err := q.store()
	if err != nil {
		return err
	}
	return list(q, p, "orphans", nil, func(page store.Page) ([]Orphan, string, error) {
		r, err := s.Orphans(q.r.Context(), f, page)
		items, err := wrapped(r.Streams, err, func(s *record.Stream) Orphan {
			return Orphan{ID(store.OrphanID(s)), lossOf(s), *s}
		})
		return items, r.Next, err
	})
}

// visible reports whether the caller may see something of a sensor, with numbers
// and addresses. It is Scope.InScope for what is no record.
func (q *request) visible(sensor uint16, numbers []string, addrs ...netip.AddrPort) bool {
	hosts := make([]netip.Addr, len(addrs))
	for i, a := range addrs {
		hosts[i] = a.Addr()
	}
	return q.id.Scope.Covers(sensor, numbers, hosts)
}
