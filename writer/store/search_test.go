package store

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"ringside/flow/record"
)

// plan is how the database would answer.
func plan(t *testing.T, s *Store, query string, args ...any) string {
	t.Helper()
	words := "EXPLAIN QUERY PLAN "
	if s.server != nil {
		words = "EXPLAIN "
	}
	rows, err := s.read.Query(words+query, args...)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	for rows.Next() {
		row := make([]any, len(columns))
		for i := range row {
			row[i] = new(any)
		}
		if err := rows.Scan(row...); err != nil {
			t.Fatal(err)
		}
		for i, c := range columns {
			v := *row[i].(*any)
			if b, ok := v.([]byte); ok {
				v = string(b)
			}
			if s.server != nil || c == "detail" {
				fmt.Fprintf(&out, "%s=%v ", c, v)
			}
		}
		out.WriteString("\n")
	}
	return out.String()
}

// TestSearchPlan asks the database how it would search an hour, and some hours: by
// the index that is meant, and without sorting where that has the order of time.
func TestSearchPlan(t *testing.T) { onBoth(t, testSearchPlan) }

func testSearchPlan(t *testing.T, open opener) {
	s := sample(t, open)
	const day = 24 * 3600 * second
	for name, c := range map[string]struct {
		filter  Filter
		index   string
		inOrder bool // an hour of it is not sorted
	}{
		"time":           {Filter{}, "PRIMARY", true},
		"domain":         {Filter{Domain: "x"}, "PRIMARY", true},
		"Call-ID":        {Filter{CallID: "x"}, "calls_call_id", true},
		"exact":          {Filter{Caller: Match{"100", Exact}}, "calls_caller", true},
		"exact in a day": {Filter{Called: Match{"100", Exact}, From: 1, To: day}, "calls_called", true},
		"either":         {Filter{Number: Match{"100", Exact}}, "calls_called", true},
		"prefix":         {Filter{Called: Match{"100", Prefix}}, "calls_called", false},
		"suffix":         {Filter{Caller: Match{"100", Suffix}}, "calls_caller_reverse", false},
		"either suffix":  {Filter{Number: Match{"123", Suffix}, From: 1}, "calls_called_reverse", false},
		"short prefix":   {Filter{Caller: Match{"1", Prefix}}, "PRIMARY", true},
		"contains":       {Filter{Caller: Match{"123", Contains}}, "PRIMARY", true},
		"address":        {Filter{Addr: mustAddr(t, "10.0.0.1")}, "PRIMARY", true},
		"caller address": {Filter{CallerAddr: mustAddr(t, "10.0.0.1"), StatusMin: 200}, "PRIMARY", true},
		"network":        {Filter{MediaAddr: mustAddr(t, "10.0.0.0/24")}, "PRIMARY", false},
		"status":         {Filter{StatusMin: 486, StatusMax: 486}, "calls_status", true},
		"status range":   {Filter{StatusMin: 400, StatusMax: 499}, "calls_status", false},
		"outcome":        {Filter{Outcomes: []record.Outcome{record.Busy}}, "calls_status", false},
		"MOS":            {Filter{MOSBelow: 3}, "calls_mos", false},
		"scope":          {Filter{Scope: Scope{Prefixes: []string{"+49"}}}, "calls_caller", false},
		"scope, network": {Filter{Scope: Scope{Nets: []netip.Prefix{mustAddr(t, "10.0.0.0/24")}}}, "PRIMARY", false},
	} {
		t.Run(name, func(t *testing.T) {
			q, err := s.search(c.filter, Page{})
			if err != nil {
				t.Fatal(err)
			}
			for _, hours := range []int64{1, 5} {
				query, args := q.keys(step{0, hours * hourNs, q.by})
				p := plan(t, s, query+" ORDER BY start_at DESC, id DESC LIMIT 10", args...)
				wrong := !strings.Contains(p, c.index)
				if s.server == nil {
					wrong = wrong || strings.Contains(p, "SCAN") || strings.HasPrefix(c.index, "calls_") && len(q.rest.conds) == 0 && !strings.Contains(p, "COVERING INDEX "+c.index) || hours == 1 && c.inOrder == strings.Contains(p, "TEMP B-TREE")
				} else {
					wrong = wrong || strings.Contains(p, "type=ALL") && !strings.Contains(p, "<") // the union is read, not a table
				}
				if wrong {
					t.Errorf("%d hours of %s\nplan:\n%s", hours, query, p)
				}
			}
		})
	}
}

// TestSearchFindsAll compares the search, page by page in both directions, with
// looking at every call.
func TestSearchFindsAll(t *testing.T) { onBoth(t, testSearchFindsAll) }

func testSearchFindsAll(t *testing.T, open opener) {
	s := open(t)
	r := rand.New(rand.NewPCG(3, 4))
	day := time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC)
	var calls []*record.Call
	for i := range 1200 { // over some 20 days, with gaps, many in the last hours
		c := plausible(r, i, 1200, day)
		if i%3 == 0 {
			c.Start -= int64(r.IntN(20)*24) * hourNs
		}
		c.Caller.Number, c.ID = fmt.Sprintf("+49%03d", r.IntN(200)), int64(i+1)
		calls = append(calls, c)
	}
	calls = append(calls, &record.Call{ID: 5000, Start: 5, Caller: record.Party{Number: "+49007"}}, &record.Call{ID: 5001, Start: 1<<62 + 1, Caller: record.Party{Number: "+49007"}})
	insert(t, s, calls...)
	rows := make([]Row, len(calls))
	for i, c := range calls {
		rows[i] = asRow(c)
	}
	from, to := day.AddDate(0, 0, -12).UnixNano()+77, day.UnixNano()+13*hourNs+5
	for name, c := range map[string]struct {
		f    Filter
		want func(*Row) bool
	}{
		"exact": {Filter{Caller: Match{"+49007", Exact}}, func(c *Row) bool { return c.Caller.Number == "+49007" }},
		"prefix": {Filter{Number: Match{"+4900", Prefix}}, func(c *Row) bool {
			return strings.HasPrefix(c.Caller.Number, "+4900") || strings.HasPrefix(c.Called.Number, "+4900")
		}},
		"suffix": {Filter{Number: Match{"007", Suffix}}, func(c *Row) bool {
			return strings.HasSuffix(c.Caller.Number, "007") || strings.HasSuffix(c.Called.Number, "007")
		}},
		"in a time": {Filter{Caller: Match{"+490", Prefix}, From: from, To: to}, func(c *Row) bool {
			return strings.HasPrefix(c.Caller.Number, "+490") && c.Start >= from && c.Start < to
		}},
		"status":      {Filter{StatusMin: 404, StatusMax: 404}, func(c *Row) bool { return c.LastStatus == 404 }},
		"statuses":    {Filter{StatusMin: 487, StatusMax: 599}, func(c *Row) bool { return c.LastStatus >= 487 && c.LastStatus <= 599 }},
		"MOS":         {Filter{MOSBelow: 3.5}, func(c *Row) bool { return c.MOSMin != nil && *c.MOSMin < 3.5 }},
		"outcome":     {Filter{Outcomes: []record.Outcome{record.Busy, record.Failed}, MOSBelow: 0}, func(c *Row) bool { return c.Outcome == record.Busy || c.Outcome == record.Failed }},
		"media":       {Filter{MediaAddr: mustAddr(t, "10.8.0.0/29"), Sensors: []uint16{1}}, func(c *Row) bool { return len(c.Streams) > 0 && c.Streams[0].Dst.Addr().As4()[3] < 8 && c.Sensor == 1 }},
		"trunk":       {Filter{SignalAddr: mustAddr(t, "10.7.0.12")}, func(c *Row) bool { return addrName(c.Called.Addr) == "10.7.0.12" }},
		"not indexed": {Filter{Domain: "SBC.example.net", MinDuration: 5 * time.Minute}, func(c *Row) bool { return c.Caller.Domain != "" && c.Duration >= int64(5*time.Minute) }},
		"all":         {Filter{}, func(*Row) bool { return true }},
		"scope": {Filter{Scope: Scope{Sensors: []uint16{1, 2}, Prefixes: []string{"+491"}, Nets: []netip.Prefix{mustAddr(t, "10.7.0.0/29")}}}, func(c *Row) bool {
			return Scope{Sensors: []uint16{1, 2}, Prefixes: []string{"+491"}, Nets: []netip.Prefix{mustAddr(t, "10.7.0.0/29")}}.InScope(&c.Call)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			var want []int64
			slices.SortFunc(rows, func(a, b Row) int { return int(min(1, max(-1, a.Start-b.Start))) })
			for i := range rows {
				if c.want(&rows[i]) {
					want = append(want, rows[i].ID)
				}
			}
			if len(want) == 0 {
				t.Fatal("nothing to be found")
			}
			for _, ascending := range []bool{true, false} {
				if got := pages(t, s, c.f, Page{Limit: 60, Ascending: ascending}); !slices.Equal(got, want) {
					t.Errorf("ascending %v: found %d calls %.80v, want %d: %.80v", ascending, len(got), fmt.Sprint(got), len(want), fmt.Sprint(want))
				}
				slices.Reverse(want)
			}
			if n, err := s.Count(t.Context(), c.f); err != nil || int(n) != len(want) {
				t.Errorf("count %d, error %v, want %d", n, err, len(want))
			}
			if n, err := s.CountUpTo(t.Context(), c.f); err != nil || int(n.Calls) != len(want) || n.More {
				t.Errorf("count up to %+v, error %v, want %d", n, err, len(want))
			}
			if sum, err := s.Summary(t.Context(), c.f); err != nil || int(sum.Calls) != len(want) {
				t.Errorf("summary of %d calls, error %v, want %d", sum.Calls, err, len(want))
			}
		})
	}
}

// pages is the ids of all pages.
func pages(t *testing.T, s *Store, f Filter, p Page) []int64 {
	t.Helper()
	var out []int64
	for {
		r, err := s.Calls(t.Context(), f, p)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, ids(r.Calls)...)
		if p.Cursor = r.Next; p.Cursor == "" {
			return out
		}
	}
}

// TestSlowQuery: what would take too long ends with an error that says what to do.
func TestSlowQuery(t *testing.T) {
	s, err := Open(t.Context(), Options{Path: Memory, QueryTime: time.Nanosecond})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	insert(t, s, at(1, 1))
	ask := map[string]func(context.Context) error{
		"list":   func(ctx context.Context) error { _, err := s.Calls(ctx, Filter{Domain: "x"}, Page{}); return err },
		"count":  func(ctx context.Context) error { _, err := s.CountUpTo(ctx, Filter{Domain: "x"}); return err },
		"series": func(ctx context.Context) error { _, err := s.Series(ctx, SeriesQuery{From: 1, To: 2}); return err },
		"top": func(ctx context.Context) error {
			_, err := s.Top(ctx, TopQuery{From: 1, To: 2, By: ByTrunk})
			return err
		},
		"overview": func(ctx context.Context) error { _, err := s.Overview(ctx, OverviewQuery{To: 1 << 60}); return err },
	}
	for name, ask := range ask {
		t.Run(name, func(t *testing.T) {
			if err := ask(t.Context()); !errors.Is(err, ErrSlow) || !strings.Contains(err.Error(), "narrow its time range") {
				t.Errorf("error %v, want ErrSlow", err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			if err := ask(ctx); !errors.Is(err, context.Canceled) || errors.Is(err, ErrSlow) {
				t.Errorf("cancelled: error %v", err)
			}
		})
	}
}
