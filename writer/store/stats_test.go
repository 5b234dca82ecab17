package store

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"ringside/flow/record"
)

var statsDay = time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC)

// statsCalls are calls of two days.
func statsCalls(n int) []*record.Call {
	r := rand.New(rand.NewPCG(5, 6))
	var calls []*record.Call
	for i := range n {
		c := plausible(r, i, n, statsDay.AddDate(0, 0, -(i%2)))
		c.Caller.Number, c.ID = fmt.Sprintf("+49%d", 100+r.IntN(200)), int64(i+1)
		calls = append(calls, c)
	}
	return calls
}

// counted is the tallies of calls by value and step, one by one.
func counted(calls []*record.Call, by Dimension, from, to, step int64, want func(*Row) bool) gathering {
	d, _ := dimensionOf(by)
	got := gathering{}
	for _, c := range calls {
		row := asRow(c)
		if c.Start < from || c.Start >= to || want != nil && !want(&row) {
			continue
		}
		values := []string{}
		if d.of != nil {
			values = d.of(&row)
		} else {
			for i := range c.Streams {
				values = append(values, c.Streams[i].Src.Addr().String(), c.Streams[i].Dst.Addr().String())
			}
		}
		for _, v := range values {
			got.at(v, from+(c.Start-from)/step*step).count(&row, 1)
		}
	}
	return got
}

// TestSeries compares series of every metric and dimension, from rollups and from
// calls, with counting one by one.
func TestSeries(t *testing.T) { onBoth(t, testSeries) }

func testSeries(t *testing.T, open opener) {
	s := open(t)
	calls := statsCalls(600)
	// Some are stored as they were at first, and then again, which must not count
	// them twice; some twice in a batch.
	for i, c := range calls {
		if i%10 == 0 {
			early := *c
			early.Outcome, early.LastStatus, early.Streams, early.Sensor = record.NoAnswer, 0, nil, 9
			insert(t, s, &early, calls[(i+1)%len(calls)], calls[(i+1)%len(calls)])
		}
	}
	insert(t, s, calls...)
	insert(t, s, calls[:100]...)
	from, to := statsDay.AddDate(0, 0, -1).UnixNano(), statsDay.AddDate(0, 0, 1).UnixNano()
	step := 3 * hourNs
	trunk := mustAddr(t, "10.7.0.3")
	filters := map[string]struct {
		f    Filter
		want func(*Row) bool
	}{
		"all":      {Filter{}, nil},
		"sensors":  {Filter{Sensors: []uint16{1, 2}, Scope: Scope{Sensors: []uint16{2, 3}}}, func(c *Row) bool { return c.Sensor == 2 }},
		"outcome":  {Filter{Outcomes: []record.Outcome{record.Busy}}, func(c *Row) bool { return c.Outcome == record.Busy }},
		"trunk":    {Filter{SignalAddr: trunk}, func(c *Row) bool { return c.Called.Addr.Addr() == trunk.Addr() }},
		"statuses": {Filter{StatusMin: 480, StatusMax: 489}, func(c *Row) bool { return c.LastStatus >= 480 && c.LastStatus < 490 }},
		"number":   {Filter{Caller: Match{"+49107", Exact}}, func(c *Row) bool { return c.Caller.Number == "+49107" }},
		"scope":    {Filter{Scope: Scope{Prefixes: []string{"+4911"}}}, func(c *Row) bool { return Scope{Prefixes: []string{"+4911"}}.InScope(&c.Call) }},
		"none":     {Filter{Sensors: []uint16{1}, Scope: Scope{Sensors: []uint16{2}}}, func(*Row) bool { return false }},
	}
	for name, c := range filters {
		for _, by := range append(Dimensions(), ByNone) {
			t.Run(name+" by "+string(by), func(t *testing.T) {
				want := counted(calls, by, from, to, step, c.want)
				q := talliesQuery{by: by, from: from, to: to, step: step, rank: MetricCalls, top: 10}
				list, more := want.ranked(&q)
				metrics := []Metric{MetricMOSP10}
				if name == "all" || by == ByNone {
					metrics = []Metric{MetricCalls, MetricASR, MetricPDDP95, MetricMOSP10, MetricLoss, Metric4xx}
				}
				for _, m := range metrics {
					got, err := s.Series(t.Context(), SeriesQuery{Metric: m, By: by, From: from, To: to, Step: time.Duration(step), Filter: c.f})
					if err != nil {
						t.Fatal(err)
					}
					if !got.Exact || got.More != more {
						t.Errorf("exact %v, %d more, want %d", got.Exact, got.More, more)
					}
					checkLines(t, &got, list)
				}
			})
		}
	}
}

// checkLines compares the lines of a series with tallies.
func checkLines(t *testing.T, got *Series, want []valueTally) {
	t.Helper()
	if len(got.Lines) != len(want) {
		t.Fatalf("%s: %d lines, want %d", got.Metric, len(got.Lines), len(want))
	}
	for i, line := range got.Lines {
		if line.Value != want[i].value || line.Calls != want[i].total.Calls {
			t.Errorf("%s: line %d is %q with %d calls, want %q with %d", got.Metric, i, line.Value, line.Calls, want[i].value, want[i].total.Calls)
			continue
		}
		for j, p := range line.Points {
			var f Figures
			tally, ok := want[i].slots[got.From+int64(j)*got.Step]
			if ok {
				f = tally.Figures()
			}
			v := got.Metric.of(&f)
			if !ok && got.Unit != "calls" {
				v = nil
			}
			if (p == nil) != (v == nil) || p != nil && math.Abs(*p-*v) > 1e-9 {
				t.Errorf("%s of %q at %d: %v, want %v", got.Metric, line.Value, j, asJSON(t, p), asJSON(t, v))
			}
		}
	}
}

func TestTop(t *testing.T) { onBoth(t, testTop) }

func testTop(t *testing.T, open opener) {
	s := open(t)
	calls := statsCalls(500)
	insert(t, s, calls...)
	from, to := statsDay.AddDate(0, 0, -1).UnixNano(), statsDay.AddDate(0, 0, 1).UnixNano()
	for _, by := range Dimensions() {
		for _, m := range []Metric{MetricCalls, MetricASR, MetricACD, MetricMOS, Metric4xx} {
			t.Run(fmt.Sprintf("%s by %s", m, by), func(t *testing.T) {
				q := TopQuery{By: by, Metric: m, From: from + 5, To: to - 5, N: 5, MinCalls: 3, Least: m == MetricMOS}
				got, err := s.Top(t.Context(), q)
				if err != nil {
					t.Fatal(err)
				}
				want, more := counted(calls, by, from, to, to-from, nil).ranked(&talliesQuery{rank: m, top: 5, minCalls: 3, least: q.Least})
				if got.From != from || got.To != to || !got.Exact || got.More != more || len(got.Values) != len(want) {
					t.Fatalf("%+v, want %d values and %d more", got, len(want), more)
				}
				for i, v := range got.Values {
					if v.Value != want[i].value || !reflect.DeepEqual(v.Figures, want[i].total.Figures()) {
						t.Errorf("%d: %s\nwant %s %s", i, asJSON(t, v), want[i].value, asJSON(t, want[i].total.Figures()))
					}
				}
			})
		}
	}
}

// TestSampled asks for more than is looked at: a part stands for all, and says so.
func TestSampled(t *testing.T) { onBoth(t, testSampled) }

func testSampled(t *testing.T, open opener) {
	s := open(t)
	calls := statsCalls(2000)
	insert(t, s, calls...)
	s.scanRows, s.fewCalls = 700, 10
	from, to := statsDay.AddDate(0, 0, -1).UnixNano(), statsDay.AddDate(0, 0, 1).UnixNano()
	got, err := s.Top(t.Context(), TopQuery{By: ByOutcome, From: from, To: to, Filter: Filter{Caller: Match{"+49", Prefix}}})
	if err != nil {
		t.Fatal(err)
	}
	if got.Exact || got.Sampled <= 0 || got.Sampled >= 1 {
		t.Errorf("exact %v, sampled %v, want a part", got.Exact, got.Sampled)
	}
	answered := 0
	for _, c := range calls {
		if c.Outcome == record.Answered {
			answered++
		}
	}
	if n := got.Values[0]; n.Value != "answered" || n.Calls < int64(answered*7/10) || n.Calls > int64(answered*13/10) {
		t.Errorf("%d calls %s, want about %d answered", n.Calls, n.Value, answered)
	}
	// Of very many trunks the first are found in some of the hours. Their figures
	// are whole.
	s.rollupRows = 300
	top, err := s.Top(t.Context(), TopQuery{By: ByTrunk, From: from, To: to, N: 3})
	if err != nil || top.Exact || top.Sampled <= 0 || top.Sampled >= 1 || len(top.Values) != 3 {
		t.Fatalf("top trunks %s, error %v, want 3 of a sample", asJSON(t, top), err)
	}
	all := counted(calls, ByTrunk, from, to, to-from, nil)
	for _, v := range top.Values {
		if want := all.at(v.Value, from).Figures(); !reflect.DeepEqual(v.Figures, want) {
			t.Errorf("trunk %s: %s, want %s", v.Value, asJSON(t, v.Figures), asJSON(t, want))
		}
	}
	s.fewCalls = 100 // an index finds them
	one, err := s.Top(t.Context(), TopQuery{By: ByOutcome, From: from, To: to, Filter: Filter{Caller: Match{"+49107", Exact}}})
	if err != nil || !one.Exact {
		t.Errorf("of one number: exact %v, error %v", one.Exact, err)
	}
}

func TestConcurrent(t *testing.T) { onBoth(t, testConcurrent) }

func testConcurrent(t *testing.T, open opener) {
	s := open(t)
	from := statsDay.UnixNano()
	call := func(id int64, sensor uint16, begin, end int64) *record.Call { // minutes
		return &record.Call{ID: id, Sensor: sensor, Start: from + begin*minuteNs, End: from + end*minuteNs}
	}
	insert(t, s, call(1, 1, -30, 15), call(2, 1, 0, 2), call(3, 2, 1, 21), call(4, 1, 11, 12))
	insert(t, s, call(4, 1, 11, 13)) // it lasted longer
	q := SeriesQuery{Metric: MetricConcurrent, From: from, To: from + 30*minuteNs, Step: 10 * time.Minute}
	for by, want := range map[Dimension][]Line{
		ByNone:   {{"", 3, []*float64{new(3.0), new(3.0), new(1.0)}}},
		BySensor: {{"1", 2, []*float64{new(2.0), new(2.0), new(0.0)}}, {"2", 1, []*float64{new(1.0), new(1.0), new(1.0)}}},
	} {
		q.By = by
		got, err := s.Series(t.Context(), q)
		if err != nil || !got.Exact || !reflect.DeepEqual(got.Lines, want) {
			t.Errorf("by %q: %s, error %v, want %s", by, asJSON(t, got), err, asJSON(t, want))
		}
	}
	q.By, q.Filter = ByNone, Filter{Domain: "x"}
	if _, err := s.Series(t.Context(), q); !errors.Is(err, ErrQuery) {
		t.Errorf("of a domain: error %v, want ErrQuery", err)
	}
}

func TestOverview(t *testing.T) { onBoth(t, testOverview) }

func testOverview(t *testing.T, open opener) {
	s := open(t)
	calls := statsCalls(1000)
	insert(t, s, calls...)
	to := statsDay.AddDate(0, 0, 1).UnixNano() - 7*minuteNs
	for name, scope := range map[string]Scope{"all": {}, "sensor": {Sensors: []uint16{2}}, "number": {Prefixes: []string{"+4911"}},
		"network": {Nets: []netip.Prefix{mustAddr(t, "10.7.0.0/30")}}} {
		t.Run(name, func(t *testing.T) {
			got, err := s.Overview(t.Context(), OverviewQuery{To: to - 5, Scope: scope})
			if err != nil {
				t.Fatal(err)
			}
			want := counted(calls, ByNone, to-48*hourNs, to, hourNs, func(c *Row) bool { return scope.InScope(&c.Call) })
			var all Tally
			for i, h := range got.Hours {
				at := to - 24*hourNs + int64(i)*hourNs
				if h.At != at || !reflect.DeepEqual(h.Now, want.at("", at).Figures()) || !reflect.DeepEqual(h.Before, want.at("", at-24*hourNs).Figures()) {
					t.Errorf("hour %d: %s", i, asJSON(t, h))
				}
				all.add(want.at("", at), 1)
			}
			if len(got.Hours) != 24 || !got.Exact || !reflect.DeepEqual(got.Now, all.Figures()) || got.Now.Calls == 0 {
				t.Errorf("%d hours, exact %v, now %s, want %s", len(got.Hours), got.Exact, asJSON(t, got.Now), asJSON(t, all.Figures()))
			}
			var outcomes int64
			for _, o := range got.Outcomes {
				outcomes += o.Calls
			}
			if outcomes != got.Now.Calls {
				t.Errorf("outcomes of %d calls, want %d", outcomes, got.Now.Calls)
			}
		})
	}
}

// TestStatsRefuse asks questions that have no answer.
func TestStatsRefuse(t *testing.T) {
	s := open(t, Memory)
	for name, q := range map[string]SeriesQuery{
		"metric": {Metric: "beauty", From: 1, To: 2}, "dimension": {By: "colour", From: 1, To: 2}, "no time": {}, "backwards": {From: 2, To: 1},
		"step": {From: 1, To: 2, Step: time.Second}, "too many steps": {From: 1, To: math.MaxInt64 / 4, Step: time.Minute},
		"beyond time": {From: 1, To: math.MaxInt64}, "concurrent by codec": {From: 1, To: 2, Metric: MetricConcurrent, By: ByCodec},
	} {
		if _, err := s.Series(t.Context(), q); !errors.Is(err, ErrQuery) {
			t.Errorf("%s: error %v, want ErrQuery", name, err)
		}
	}
	for name, q := range map[string]TopQuery{"metric": {Metric: MetricConcurrent, From: 1, To: 2}, "dimension": {By: "colour", From: 1, To: 2}} {
		if _, err := s.Top(t.Context(), q); !errors.Is(err, ErrQuery) {
			t.Errorf("top, %s: error %v, want ErrQuery", name, err)
		}
	}
	for name, q := range map[string]OverviewQuery{"no time": {}, "span": {To: 1 << 60, Span: time.Minute}, "long": {To: 1 << 60, Span: 1e6 * time.Hour}} {
		if _, err := s.Overview(t.Context(), q); !errors.Is(err, ErrQuery) {
			t.Errorf("overview, %s: error %v, want ErrQuery", name, err)
		}
	}
}

func TestPercentile(t *testing.T) {
	edges := []int64{0, 10, 20, 40}
	for _, c := range []struct {
		bins []int64
		part float64
		want float64
	}{
		{[]int64{10, 0, 0}, 0.5, 5}, {[]int64{10, 0, 0}, 1, 10}, {[]int64{5, 5, 0}, 0.75, 15}, {[]int64{0, 0, 4}, 0.5, 30}, {[]int64{1, 0, 1}, 0.95, 38},
	} {
		if got := percentile(edges, c.bins, c.part, 1); got == nil || math.Abs(*got-c.want) > 1e-9 {
			t.Errorf("%v of %v: %v, want %v", c.part, c.bins, asJSON(t, got), c.want)
		}
	}
	if got := percentile(edges, []int64{0, 0, 0}, 0.5, 1); got != nil {
		t.Errorf("of nothing: %v", *got)
	}
}

// TestRollupsOfEarlierCalls migrates a store whose calls are in no rollup: they are
// counted by and by, and figures say so until they are.
func TestRollupsOfEarlierCalls(t *testing.T) {
	path := t.TempDir() + "/old.db"
	old := rawOpen(t, path)
	if err := migrate(t.Context(), old, &sqliteDialect, migrations()[:4]); err != nil {
		t.Fatal(err)
	}
	const calls = 2*rollStep + 7
	var script strings.Builder
	for i := range calls {
		script.WriteString(zeroInsert(t, old, "calls", map[string]string{"id": fmt.Sprint(i + 1), "start_at": fmt.Sprint(statsDay.UnixNano() + int64(i)*minuteNs/10),
			"outcome": "'answered'", "end_reason": "'bye'", "caller_addr": "X'0A070003'", "end_at": fmt.Sprint(statsDay.UnixNano() + hourNs)}) + ";\n")
	}
	execScript(t, old, "BEGIN;\n"+script.String()+"COMMIT")
	if err := old.Close(); err != nil {
		t.Fatal(err)
	}
	s := open(t, path)
	q := SeriesQuery{From: statsDay.UnixNano(), To: statsDay.UnixNano() + 2*hourNs, Step: time.Hour}
	if got, err := s.Series(t.Context(), q); err != nil || got.Exact {
		t.Errorf("before: exact %v, error %v", got.Exact, err)
	}
	if n, err := s.Count(t.Context(), Filter{Addr: mustAddr(t, "10.7.0.3")}); err != nil || n != calls {
		t.Errorf("%d calls by their address, error %v, want %d", n, err, calls)
	}
	// One that is stored again meanwhile is counted once.
	again := &record.Call{ID: 3, Start: statsDay.UnixNano() + 2*minuteNs/10, End: statsDay.UnixNano() + hourNs, Outcome: record.Busy}
	insert(t, s, again)
	if _, err := s.Maintain(t.Context(), time.Now(), 0); err != nil {
		t.Fatal(err)
	}
	got, err := s.Series(t.Context(), q)
	if err != nil || !got.Exact || len(got.Lines) != 1 || got.Lines[0].Calls != calls {
		t.Errorf("after: %s, error %v, want %d calls", asJSON(t, got), err, calls)
	}
	if n, err := s.CountUpTo(t.Context(), Filter{}); err != nil || n.Calls != calls {
		t.Errorf("%+v calls, error %v, want %d", n, err, calls)
	}
}

// TestRollupsGo: rollups get old with the calls, but those of all calls by the hour.
func TestRollupsGo(t *testing.T) { onBoth(t, testRollupsGo) }

func testRollupsGo(t *testing.T, open opener) {
	s := open(t)
	now := time.Now().UTC()
	for i, age := range []int{0, 2, 40, 900} { // days
		insert(t, s, &record.Call{ID: int64(i + 1), Start: dayStart(now).AddDate(0, 0, -age).UnixNano(), Caller: record.Party{Domain: "x"}})
	}
	if _, err := s.Maintain(t.Context(), now, 7); err != nil {
		t.Fatal(err)
	}
	count := func(table, dim string) (n int) {
		t.Helper()
		if err := s.read.QueryRow("SELECT COALESCE(SUM(calls), 0) FROM "+table+" WHERE dim = ?", dim).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	got := []int{count("rollup_minute", "total"), count("rollup_minute", "status"), count("rollup_hour", "total"), count("rollup_hour", "outcome"), count("rollup_hour", "domain")}
	if want := []int{2, 2, 3, 3, 2}; !slices.Equal(got, want) {
		t.Errorf("calls in rollups %v, want %v", got, want)
	}
}
