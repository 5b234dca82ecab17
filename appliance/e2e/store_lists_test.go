package e2e

import (
	"context"
	"fmt"
	"math"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"ringside/flow/record"
	"ringside/writer/store"
)

// samples is about how many records of a kind filters are made of, with -full.
const samples = 12

// asked is a list of a store: ids of a page, how many there are in all, and what
// the summary says.
type asked[F any] struct {
	name    string
	filters []F
	page    func(context.Context, *store.Store, F, store.Page) (ids []int64, next string, err error)
	count   func(context.Context, *store.Store, F) (int64, error)
	summary func(context.Context, *store.Store, F) (string, error)
}

// same asks two stores the same: both give the same ids in the same order, both
// ways and over pages, and count the same. Every condition that there is must have
// told some records from others.
func (a asked[F]) same(t *testing.T, one, other *store.Store) {
	t.Helper()
	ctx, tells := t.Context(), map[string]bool{}
	var none F
	all, err := a.count(ctx, one, none)
	if err != nil || all == 0 {
		t.Fatalf("%s: %d, error %v", a.name, all, err)
	}
	differ := 0
	for _, f := range append(a.filters, none) {
		var answers, sums [2]string
		n := int64(0)
		for i, s := range []*store.Store{one, other} {
			if answers[i], sums[i], n, err = a.answer(ctx, s, f); err != nil {
				t.Fatalf("%s %+v: %v", a.name, f, err)
			}
		}
		if answers[0] != answers[1] || !alike(sums[0], sums[1]) {
			if differ++; differ <= 5 {
				t.Errorf("%s %+v: %s", a.name, f, firstDifference(answers[1]+sums[1], answers[0]+sums[0]))
			}
		}
		if v := reflect.ValueOf(f); n > 0 && n < all {
			for i := range v.NumField() {
				tells[v.Type().Field(i).Name] = tells[v.Type().Field(i).Name] || !v.Field(i).IsZero()
			}
		}
	}
	for i, typ := 0, reflect.TypeFor[F](); i < typ.NumField(); i++ {
		if !tells[typ.Field(i).Name] {
			t.Errorf("%s: no filter with %s told some records from others", a.name, typ.Field(i).Name)
		}
	}
	t.Logf("%s: %d filters, of %d records; the answers to %d differ", a.name, len(a.filters), all, differ)
}

// answer is what a store says to a filter: its ids and their count, and the summary.
func (a asked[F]) answer(ctx context.Context, s *store.Store, f F) (ids, sum string, n int64, err error) {
	var out strings.Builder
	for _, p := range []store.Page{{Limit: 40}, {Limit: 40, Ascending: true}} {
		for range 4 {
			ids, next, err := a.page(ctx, s, f, p)
			if err != nil {
				return "", "", 0, err
			}
			if fmt.Fprintln(&out, ids, next); next == "" {
				break
			}
			p.Cursor = next
		}
	}
	n, err = a.count(ctx, s, f)
	fmt.Fprintln(&out, n)
	if a.summary != nil && err == nil {
		sum, err = a.summary(ctx, s, f)
	}
	return out.String(), sum, n, err
}

// alike tells whether two summaries say the same. Databases add floating-point
// numbers in an order of their own, so that the last digits may differ.
func alike(a, b string) bool {
	x, y := strings.Fields(a), strings.Fields(b)
	return slices.EqualFunc(x, y, func(a, b string) bool {
		if a == b {
			return true
		}
		x, errX := strconv.ParseFloat(strings.Trim(a, "[{}]"), 64)
		y, errY := strconv.ParseFloat(strings.Trim(b, "[{}]"), 64)
		return errX == nil && errY == nil && math.Abs(x-y) <= 1e-9*math.Abs(x)
	})
}

func idsOf[T any](list []T, id func(*T) int64) (out []int64) {
	for i := range list {
		out = append(out, id(&list[i]))
	}
	return out
}

// sameLists asks two stores for every list by every filter, with values that are
// in them.
func sameLists(t *testing.T, one, other *store.Store, c *contents) {
	asked[store.Filter]{
		name: "calls", filters: each(c.calls, func(c *record.Call) []store.Filter { return callFilters(c) }),
		page: func(ctx context.Context, s *store.Store, f store.Filter, p store.Page) ([]int64, string, error) {
			r, err := s.Calls(ctx, f, p)
			return idsOf(r.Calls, func(r *store.Row) int64 { return r.ID }), r.Next, err
		},
		count: func(ctx context.Context, s *store.Store, f store.Filter) (int64, error) { return s.Count(ctx, f) },
		summary: func(ctx context.Context, s *store.Store, f store.Filter) (string, error) {
			sum, err := s.Summary(ctx, f)
			return fmt.Sprintf("%d %v %v %d %v %v %d %v %d %v", sum.Calls, sum.Outcomes, sum.ASR, sum.Connected, sum.TalkTime, sum.ACD,
				sum.Streams, sum.MOS, sum.MOSCalls, sum.MOSMean), err
		},
	}.same(t, one, other)
	asked[store.OrphanFilter]{
		name: "streams of no call", filters: each(c.orphans, orphanFilters),
		page: func(ctx context.Context, s *store.Store, f store.OrphanFilter, p store.Page) ([]int64, string, error) {
			r, err := s.Orphans(ctx, f, p)
			return idsOf(r.Streams, store.OrphanID), r.Next, err
		},
		count: func(ctx context.Context, s *store.Store, f store.OrphanFilter) (int64, error) {
			r, err := s.Orphans(ctx, f, store.Page{Limit: store.MaxLimit})
			return int64(len(r.Streams)), err
		},
	}.same(t, one, other)
	asked[store.RegistrationFilter]{
		name: "registrations", filters: each(pointers(c.registrations), registrationFilters),
		page: func(ctx context.Context, s *store.Store, f store.RegistrationFilter, p store.Page) ([]int64, string, error) {
			r, err := s.Registrations(ctx, f, p)
			return idsOf(r.Records, func(r *record.Registration) int64 { return r.ID }), r.Next, err
		},
		count: func(ctx context.Context, s *store.Store, f store.RegistrationFilter) (int64, error) {
			return s.CountRegistrations(ctx, f)
		},
		summary: func(ctx context.Context, s *store.Store, f store.RegistrationFilter) (string, error) {
			sum, err := s.SummarizeRegistrations(ctx, f)
			return fmt.Sprint(sum), err
		},
	}.same(t, one, other)
	asked[store.ExchangeFilter]{
		name: "exchanges", filters: each(pointers(c.exchanges), exchangeFilters),
		page: func(ctx context.Context, s *store.Store, f store.ExchangeFilter, p store.Page) ([]int64, string, error) {
			r, err := s.Exchanges(ctx, f, p)
			return idsOf(r.Records, func(r *record.Exchange) int64 { return r.ID }), r.Next, err
		},
		count: func(ctx context.Context, s *store.Store, f store.ExchangeFilter) (int64, error) {
			return s.CountExchanges(ctx, f)
		},
		summary: func(ctx context.Context, s *store.Store, f store.ExchangeFilter) (string, error) {
			sum, err := s.SummarizeExchanges(ctx, f)
			return fmt.Sprint(sum), err
		},
	}.same(t, one, other)
	asked[store.EventFilter]{
		name: "events", filters: each(pointers(c.events), eventFilters),
		page: func(ctx context.Context, s *store.Store, f store.EventFilter, p store.Page) ([]int64, string, error) {
			r, err := s.Events(ctx, f, p)
			return idsOf(r.Records, func(r *record.Event) int64 { return r.ID }), r.Next, err
		},
		count: func(ctx context.Context, s *store.Store, f store.EventFilter) (int64, error) {
			return s.CountEvents(ctx, f)
		},
		summary: func(ctx context.Context, s *store.Store, f store.EventFilter) (string, error) {
			sum, err := s.SummarizeEvents(ctx, f)
			return fmt.Sprint(sum), err
		},
	}.same(t, one, other)
}

func pointers[T any](list []T) (out []*T) {
	for i := range list {
		out = append(out, &list[i])
	}
	return out
}

// each makes filters of some records that are spread over a list.
func each[T, F any](list []*T, of func(*T) []F) (out []F) {
	for i := 0; i < len(list); i += 1 + every(8)*len(list)/samples {
		out = append(out, of(list[i])...)
	}
	return out
}

// matches are ways to ask for a number.
func matches(number string) (out []store.Match) {
	n := len(number)
	if n == 0 {
		return nil
	}
	return []store.Match{{Value: number}, {Value: number[:(n+1)/2], Kind: store.Prefix}, {Value: number, Kind: store.Prefix},
		{Value: number[n/2:], Kind: store.Suffix}, {Value: number[n/3 : n-n/3], Kind: store.Contains}}
}

// prefixes are networks of an address.
func prefixes(a netip.AddrPort) (out []netip.Prefix) {
	if a.IsValid() {
		for _, bits := range []int{a.Addr().BitLen(), a.Addr().BitLen() * 3 / 4, 7} {
			out = append(out, netip.PrefixFrom(a.Addr(), bits).Masked())
		}
	}
	return out
}

func callFilters(c *record.Call) []store.Filter {
	out := []store.Filter{
		{From: c.Start}, {To: c.Start}, {From: c.Start, To: c.Start + 1}, {From: c.Start - 60e9, To: c.Start + 60e9},
		{CallID: c.CallID}, {Domain: strings.ToUpper(c.Caller.Domain)}, {Domain: c.Called.Domain},
		{StatusMin: c.LastStatus}, {StatusMin: c.LastStatus, StatusMax: c.LastStatus}, {StatusMax: c.LastStatus},
		{Outcomes: []record.Outcome{c.Outcome}}, {Outcomes: []record.Outcome{c.Outcome, record.Busy}},
		{EndReasons: []record.EndReason{c.EndReason}}, {Sensors: []uint16{c.Sensor}}, {Sensors: []uint16{c.Sensor, 77}},
		{Flags: c.Flags}, {NotFlags: c.Flags}, {NotFlags: record.NoRTP | record.OneWay}, {Flags: record.NoRTP},
		{MinDuration: time.Duration(c.End - c.Start)}, {MaxDuration: time.Duration(c.End - c.Start)},
		{MinMessages: c.MessagesTotal}, {MaxMessages: c.MessagesTotal}, {Tag: "Echo"},
		{Scope: scopeOf(c.Caller.Number, c.Sensor, c.Called.Addr)}, {Scope: scopeOf(c.Called.Number, c.Sensor, netip.AddrPort{}), StatusMin: 200},
		{From: c.Start - 3600e9, To: c.Start + 3600e9, Outcomes: []record.Outcome{c.Outcome}, MinMessages: 2, Agent: "a"},
	}
	for _, agent := range []string{c.Caller.Agent, c.Called.Agent} {
		out = append(out, store.Filter{Agent: strings.ToUpper(agent[:len(agent)/2])})
	}
	for i, m := range slices.Concat(matches(c.Caller.Number), matches(c.Called.Number)) {
		day := []int64{0, c.Start - 7200e9, c.Start - 86400e9*3}[i%3]
		out = append(out, store.Filter{Caller: m}, store.Filter{Called: m}, store.Filter{Number: m},
			store.Filter{Number: m, From: day}, store.Filter{Caller: m, From: day, To: c.Start + 7200e9})
	}
	for _, addr := range []netip.AddrPort{c.Caller.Addr, c.Called.Addr} {
		for _, p := range prefixes(addr) {
			out = append(out, store.Filter{Addr: p}, store.Filter{SignalAddr: p}, store.Filter{CallerAddr: p}, store.Filter{CalledAddr: p})
		}
	}
	if c.Answer != 0 {
		out = append(out, store.Filter{MinConnected: time.Duration(c.End - c.Answer)}, store.Filter{MaxConnected: time.Duration(c.End - c.Answer)})
	}
	if c.Ring != 0 {
		out = append(out, store.Filter{MinPDD: time.Duration(c.Ring - c.Start)}, store.Filter{MaxPDD: time.Duration(c.Ring - c.Start)})
	}
	for i := range c.Streams {
		s := &c.Streams[i]
		loss := 100 * float64(s.Lost) / float64(max(1, s.Expected))
		out = append(out, store.Filter{Codec: strings.ToLower(s.Codec)}, store.Filter{MOSBelow: s.MOS.LQ}, store.Filter{MOSAbove: s.MOS.LQ},
			store.Filter{LossAbove: loss}, store.Filter{LossAbove: 0.001}, store.Filter{JitterAbove: s.JitterMax})
		for _, p := range prefixes(s.Src) {
			out = append(out, store.Filter{MediaAddr: p}, store.Filter{Addr: p})
		}
	}
	return out
}

// scopeOf is a scope of calls like one.
func scopeOf(number string, sensor uint16, addr netip.AddrPort) store.Scope {
	s := store.Scope{Sensors: []uint16{sensor, 77}}
	if n := len(number); n > 0 {
		s.Prefixes = []string{number[:(n+1)/2], "no such"}
	}
	if addr.IsValid() {
		s.Nets = prefixes(addr)[:2]
	}
	return s
}

// tagOne tags a call of a store.
func tagOne(t *testing.T, path string, id int64) {
	t.Helper()
	s, err := store.Open(t.Context(), store.Options{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.AddNote(t.Context(), store.Note{CallID: id, Author: "somebody", Tag: true, Text: "echo"}); err != nil {
		t.Fatal(err)
	}
}

func orphanFilters(s *record.Stream) []store.OrphanFilter {
	out := []store.OrphanFilter{{From: s.First}, {To: s.First}, {From: s.First, To: s.First + 1}, {SSRC: s.SSRC}, {Codec: strings.ToUpper(s.Codec)},
		{Scope: store.Scope{Nets: append(prefixes(s.Src), prefixes(s.Dst)...)}}, {Scope: store.Scope{Sensors: []uint16{1}}}}
	for _, p := range append(prefixes(s.Src), prefixes(s.Dst)...) {
		out = append(out, store.OrphanFilter{Addr: p}, store.OrphanFilter{Addr: p, From: s.First})
	}
	return out
}

func registrationFilters(r *record.Registration) []store.RegistrationFilter {
	out := []store.RegistrationFilter{
		{From: r.Start}, {To: r.Start}, {At: r.Start}, {At: r.Start + 30e9}, {Domain: strings.ToUpper(r.Domain)}, {CallID: r.CallID},
		{Contact: strings.ToUpper(r.Contact)}, {Agent: strings.ToUpper(r.Agent)}, {States: []record.RegistrationState{r.State}},
		{StatusMin: r.LastStatus}, {StatusMin: 300}, {StatusMax: r.LastStatus}, {Failed: true}, {Sensors: []uint16{r.Sensor}},
		{Scope: scopeOf(r.User, r.Sensor, r.Src)},
	}
	for _, m := range matches(r.AOR) {
		out = append(out, store.RegistrationFilter{AOR: m}, store.RegistrationFilter{AOR: m, From: r.Start})
	}
	for _, m := range matches(r.User) {
		out = append(out, store.RegistrationFilter{User: m})
	}
	for _, p := range append(prefixes(r.Src), prefixes(r.Dst)...) {
		out = append(out, store.RegistrationFilter{Addr: p})
	}
	return out
}

func exchangeFilters(e *record.Exchange) []store.ExchangeFilter {
	out := []store.ExchangeFilter{
		{From: e.Start}, {To: e.Start}, {Kinds: []record.ExchangeKind{e.Kind}}, {Kinds: []record.ExchangeKind{e.Kind, record.Options}},
		{States: []string{e.State}}, {Domain: strings.ToUpper(e.Caller.Domain)}, {CallID: e.CallID}, {Event: strings.ToUpper(e.Event)},
		{Agent: strings.ToUpper(e.Caller.Agent)}, {Text: strings.ToUpper(e.Text[:len(e.Text)/2])}, {Text: "E"}, {Text: "KÖLN"},
		{StatusMin: e.LastStatus}, {StatusMax: e.LastStatus}, {Failed: true}, {Sensors: []uint16{e.Sensor}},
		{Scope: scopeOf(e.Called.Number, e.Sensor, e.Caller.Addr)},
	}
	for _, m := range slices.Concat(matches(e.Caller.Number), matches(e.Called.Number)) {
		out = append(out, store.ExchangeFilter{Caller: m}, store.ExchangeFilter{Called: m}, store.ExchangeFilter{Number: m, From: e.Start - 3600e9})
	}
	for _, p := range append(prefixes(e.Caller.Addr), prefixes(e.Called.Addr)...) {
		out = append(out, store.ExchangeFilter{Addr: p}, store.ExchangeFilter{CallerAddr: p}, store.ExchangeFilter{CalledAddr: p})
	}
	return out
}

func eventFilters(e *record.Event) []store.EventFilter {
	out := []store.EventFilter{
		{From: e.Time}, {To: e.Time}, {Kinds: []record.EventKind{e.Kind}}, {Target: strings.ToUpper(e.Target)}, {CallID: e.CallID},
		{Method: strings.ToLower(e.Method)}, {Agent: strings.ToUpper(e.Agent)}, {StatusMin: e.Status}, {StatusMax: e.Status}, {Sensors: []uint16{e.Sensor}},
		{Scope: scopeOf(e.AOR, e.Sensor, e.Dst)},
	}
	for _, m := range matches(e.AOR) {
		out = append(out, store.EventFilter{AOR: m}, store.EventFilter{AOR: m, From: e.Time})
	}
	for _, p := range append(prefixes(e.Src), prefixes(e.Dst)...) {
		out = append(out, store.EventFilter{Addr: p}, store.EventFilter{Source: p})
	}
	return out
}
