package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// ErrQuery is a question about statistics that has no answer: the words around
// it say what is wrong with it.
var ErrQuery = errors.New("statistics cannot be asked this way")

// Metric is a figure of statistics.
type Metric string

// Metrics. Their units are those of Figures; classes are calls by the class of
// their last final status.
const (
	MetricCalls      Metric = "calls"
	MetricAnswered   Metric = "answered"
	MetricFailed     Metric = "failed"
	MetricASR        Metric = "asr"
	MetricNER        Metric = "ner"
	MetricACD        Metric = "acd"
	MetricTalk       Metric = "talk"
	MetricPDD        Metric = "pdd"
	MetricPDDP95     Metric = "pdd_p95"
	MetricMOS        Metric = "mos"
	MetricMOSP10     Metric = "mos_p10"
	MetricLoss       Metric = "loss"
	MetricJitter     Metric = "jitter"
	MetricConcurrent Metric = "concurrent" // the most calls at the same time, at the full minutes of the step
	Metric2xx        Metric = "2xx"
	Metric3xx        Metric = "3xx"
	Metric4xx        Metric = "4xx"
	Metric5xx        Metric = "5xx"
	Metric6xx        Metric = "6xx"
)

// metrics are the figures, their units, and how they come from a Tally.
var metrics = []struct {
	name Metric
	unit string
	of   func(*Figures) *float64
}{
	{MetricCalls, "calls", func(f *Figures) *float64 { return whole(f.Calls) }},
	{MetricAnswered, "calls", func(f *Figures) *float64 { return whole(f.Answered) }},
	{MetricFailed, "calls", func(f *Figures) *float64 { return whole(f.Failed) }},
	{MetricASR, "%", func(f *Figures) *float64 { return f.ASR }},
	{MetricNER, "%", func(f *Figures) *float64 { return f.NER }},
	{MetricACD, "s", func(f *Figures) *float64 { return f.ACD }},
	{MetricTalk, "s", func(f *Figures) *float64 { return &f.Talk }},
	{MetricPDD, "s", func(f *Figures) *float64 { return f.PDD }},
	{MetricPDDP95, "s", func(f *Figures) *float64 { return f.PDDP95 }},
	{MetricMOS, "MOS", func(f *Figures) *float64 { return f.MOS }},
	{MetricMOSP10, "MOS", func(f *Figures) *float64 { return f.MOSP10 }},
	{MetricLoss, "%", func(f *Figures) *float64 { return f.Loss }},
	{MetricJitter, "ms", func(f *Figures) *float64 { return f.Jitter }},
	{MetricConcurrent, "calls", nil}, // not of one moment's calls: concurrent
	{Metric2xx, "calls", func(f *Figures) *float64 { return whole(f.Classes[1]) }},
	{Metric3xx, "calls", func(f *Figures) *float64 { return whole(f.Classes[2]) }},
	{Metric4xx, "calls", func(f *Figures) *float64 { return whole(f.Classes[3]) }},
	{Metric5xx, "calls", func(f *Figures) *float64 { return whole(f.Classes[4]) }},
	{Metric6xx, "calls", func(f *Figures) *float64 { return whole(f.Classes[5]) }},
}

func whole(n int64) *float64 { return new(float64(n)) }

// Metrics lists every metric in order.
func Metrics() []Metric {
	var out []Metric
	for _, m := range metrics {
		out = append(out, m.name)
	}
	return out
}

// Unit is the unit of a metric; empty: there is no such metric.
func (m Metric) Unit() string {
	for _, k := range metrics {
		if k.name == m {
			return k.unit
		}
	}
	return ""
}

// of is the metric of figures, nil where there is none.
func (m Metric) of(f *Figures) *float64 {
	for _, k := range metrics {
		if k.name == m && k.of != nil {
			return k.of(f)
		}
	}
	return nil
}

// SeriesQuery asks how a metric went over time.
type SeriesQuery struct {
	Metric   Metric        // default MetricCalls
	By       Dimension     // one line per value; default ByNone: one line
	From, To int64         // ns since the epoch; widened to full steps
	Step     time.Duration // full minutes; 0: one that gives some 100 points
	Filter   Filter        // its From and To are not looked at
	Top      int           // lines at most (default 10, at most 100), those with the most calls
}

// Series is a metric over time.
type Series struct {
	Metric  Metric    `json:"metric"`
	Unit    string    `json:"unit"`
	By      Dimension `json:"by,omitempty"`
	From    int64     `json:"from"`           // ns: start of the first step
	To      int64     `json:"to"`             // ns: end of the last step
	Step    int64     `json:"step"`           // ns
	Lines   []Line    `json:"lines"`          // by their calls, most first
	More    int       `json:"more,omitempty"` // lines left out, at least
	Exact   bool      `json:"exact"`
	Sampled float64   `json:"sampled,omitempty"` // part of the time that was looked at, where not Exact
}

// Line is one line of a Series.
type Line struct {
	Value  string     `json:"value"` // of the dimension; empty: none, or the only line
	Calls  int64      `json:"calls"`
	Points []*float64 `json:"points"` // one for each step; null: no calls to compute it from
}

// Step bounds.
const (
	minStep   = time.Minute
	maxPoints = 2000
	maxTop    = 100
)

// stepUnit are the steps that are chosen from when none is given.
var stepUnit = []time.Duration{time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 15 * time.Minute, 30 * time.Minute,
	time.Hour, 2 * time.Hour, 3 * time.Hour, 6 * time.Hour, 12 * time.Hour, 24 * time.Hour, 7 * 24 * time.Hour}

// check completes q, or says what is wrong with it.
func (q *SeriesQuery) check() error {
	q.Metric = cmp.Or(q.Metric, MetricCalls)
	if q.Metric.Unit() == "" {
		return fmt.Errorf("%w: metric %q is none of %v", ErrQuery, q.Metric, Metrics())
	}
	if err := checkAsked(q.By, q.From, q.To); err != nil {
		return err
	}
	if q.Metric == MetricConcurrent && q.By != ByNone && q.By != BySensor {
		return fmt.Errorf("%w: %s is known in all and by sensor, not by %s", ErrQuery, q.Metric, q.By)
	}
	q.Top = min(cmp.Or(max(0, q.Top), 10), maxTop)
	span := time.Duration(q.To - q.From)
	if q.Step == 0 {
		q.Step = stepUnit[len(stepUnit)-1]
		if i := slices.IndexFunc(stepUnit, func(d time.Duration) bool { return span/d <= 120 }); i >= 0 {
			q.Step = stepUnit[i]
		}
	}
	if q.Step < minStep || q.Step%minStep != 0 {
		return fmt.Errorf("%w: step %v is not a number of full minutes", ErrQuery, q.Step)
	}
	q.From, q.To = alignDown(q.From, q.Step), alignDown(q.To+int64(q.Step)-1, q.Step)
	if n := (q.To - q.From) / int64(q.Step); n > maxPoints {
		return fmt.Errorf("%w: %d steps of %v are more than %d: choose a longer step", ErrQuery, n, q.Step, maxPoints)
	}
	return nil
}

func checkAsked(by Dimension, from, to int64) error {
	if _, ok := dimensionOf(by); !ok {
		return fmt.Errorf("%w: dimension %q is none of %v", ErrQuery, by, Dimensions())
	}
	if from <= 0 || to <= from || to > 1<<62 {
		return fmt.Errorf("%w: give a time range, its beginning before its end", ErrQuery)
	}
	return nil
}

func alignDown(t int64, step time.Duration) int64 { return t - t%int64(step) }

// Series is how a metric went over time, in all or by a dimension. It comes from
// figures that are kept as calls are stored. Where a filter asks for what these do
// not tell, calls are looked at, and if they are too many, a part of them: Exact
// is false then.
func (s *Store) Series(ctx context.Context, q SeriesQuery) (Series, error) {
	if err := q.check(); err != nil {
		return Series{}, err
	}
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	out, err := s.series(ctx, q)
	if err != nil {
		return Series{}, fmt.Errorf("compute %s: %w", q.Metric, s.slow(ctx, err))
	}
	return out, nil
}

func (s *Store) series(ctx context.Context, q SeriesQuery) (Series, error) {
	out := Series{Metric: q.Metric, Unit: q.Metric.Unit(), By: q.By, From: q.From, To: q.To, Step: int64(q.Step)}
	if q.Metric == MetricConcurrent {
		lines, err := s.concurrent(ctx, q)
		out.Lines, out.Exact = lines, err == nil
		return out, err
	}
	got, err := s.tallies(ctx, talliesQuery{by: q.By, from: q.From, to: q.To, step: int64(q.Step), filter: q.Filter, rank: MetricCalls, top: q.Top, lines: true})
	if err != nil {
		return Series{}, err
	}
	out.Exact, out.Sampled, out.More = got.exact, got.sampled, got.more
	n := int((q.To - q.From) / int64(q.Step))
	for _, v := range got.values {
		line := Line{Value: v.value, Calls: v.total.Calls, Points: make([]*float64, n)}
		counts := q.Metric.Unit() == "calls"
		for i := range line.Points {
			t := v.slots[q.From+int64(i)*int64(q.Step)]
			if t == nil && !counts {
				continue
			} else if t == nil {
				t = new(Tally)
			}
			f := t.Figures()
			line.Points[i] = q.Metric.of(&f)
		}
		out.Lines = append(out.Lines, line)
	}
	return out, nil
}

// TopQuery asks for the values of a dimension that have the most of something.
type TopQuery struct {
	By       Dimension
	Metric   Metric // what they are ordered by (default MetricCalls)
	From, To int64  // ns since the epoch; widened to full minutes or, if Exact is to be had by that, hours
	Filter   Filter // its From and To are not looked at
	N        int    // default 10, at most 100
	Least    bool   // those with the least of it
	MinCalls int64  // of a value, to be listed
}

// Top is the values of a dimension in order.
type Top struct {
	By      Dimension  `json:"by"`
	Metric  Metric     `json:"metric"`
	From    int64      `json:"from"` // ns, of what was counted
	To      int64      `json:"to"`
	Values  []TopValue `json:"values"`
	More    int        `json:"more,omitempty"` // values left out
	Exact   bool       `json:"exact"`
	Sampled float64    `json:"sampled,omitempty"`
}

// TopValue is a value of a dimension with the figures of its calls.
type TopValue struct {
	Value string `json:"value"`
	Figures
}

// Top lists the values of a dimension that have the most of a metric.
func (s *Store) Top(ctx context.Context, q TopQuery) (Top, error) {
	q.Metric = cmp.Or(q.Metric, MetricCalls)
	q.N = min(cmp.Or(max(0, q.N), 10), maxTop)
	if q.Metric.Unit() == "" || q.Metric == MetricConcurrent {
		return Top{}, fmt.Errorf("%w: nothing is ordered by the metric %q", ErrQuery, q.Metric)
	}
	if err := checkAsked(q.By, q.From, q.To); err != nil {
		return Top{}, err
	}
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	unit := minStep
	if d, _ := dimensionOf(q.By); d.grain == hourly && time.Duration(q.To-q.From) >= 6*time.Hour {
		unit = time.Hour
	}
	q.From, q.To = alignDown(q.From, unit), alignDown(q.To+int64(unit)-1, unit)
	got, err := s.tallies(ctx, talliesQuery{by: q.By, from: q.From, to: q.To, step: q.To - q.From, filter: q.Filter,
		rank: q.Metric, top: q.N, least: q.Least, minCalls: q.MinCalls})
	if err != nil {
		return Top{}, fmt.Errorf("find top %s: %w", q.By, s.slow(ctx, err))
	}
	out := Top{By: q.By, Metric: q.Metric, From: q.From, To: q.To, Exact: got.exact, Sampled: got.sampled, More: got.more}
	for _, v := range got.values {
		out.Values = append(out.Values, TopValue{v.value, v.total.Figures()})
	}
	return out, nil
}

// OverviewQuery asks for the figures of a day beside those of the day before.
type OverviewQuery struct {
	To    int64         // ns since the epoch: now; rounded up to a minute
	Span  time.Duration // default 24 h; full hours
	Scope Scope
}

// Overview is a span of time beside the one before it.
type Overview struct {
	From     int64          `json:"from"` // ns
	To       int64          `json:"to"`
	Now      Figures        `json:"now"`      // of calls that began in [From, To)
	Before   Figures        `json:"before"`   // of calls that began as long before From
	Outcomes []OutcomePair  `json:"outcomes"` // those that occur, in the order of record.Outcomes
	Hours    []OverviewHour `json:"hours"`
	Exact    bool           `json:"exact"`
	Sampled  float64        `json:"sampled,omitempty"`
}

// OutcomePair is how many calls had an outcome, and had before.
type OutcomePair struct {
	OutcomeCount
	Before int64 `json:"before"`
}

// OverviewHour is an hour of an Overview.
type OverviewHour struct {
	At     int64   `json:"at"` // ns: its start; it ends with Overview.To
	Now    Figures `json:"now"`
	Before Figures `json:"before"` // the same hour of the span before
}
