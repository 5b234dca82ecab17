package store

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"ringside/flow/record"
)

// Overview is the figures of a day, or another span, beside those of the one
// before, in all and hour by hour.
func (s *Store) Overview(ctx context.Context, q OverviewQuery) (Overview, error) {
	span := cmp.Or(q.Span, 24*time.Hour)
	if span < time.Hour || span%time.Hour != 0 || span > 31*24*time.Hour {
		return Overview{}, fmt.Errorf("%w: a span of %v is not 1 to 744 full hours", ErrQuery, span)
	}
	to := alignDown(q.To+int64(minStep)-1, minStep)
	from := to - int64(span)
	if err := checkAsked(ByNone, from-int64(span), to); err != nil {
		return Overview{}, err
	}
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	got, err := s.tallies(ctx, talliesQuery{from: from - int64(span), to: to, step: int64(time.Hour), filter: Filter{Scope: q.Scope}, rank: MetricCalls, top: 1, lines: true})
	if err != nil {
		return Overview{}, fmt.Errorf("compute overview: %w", s.slow(ctx, err))
	}
	return got.overview(from, to), nil
}

// overview is made of tallies of the hours of two spans that end with to.
func (got *tallied) overview(from, to int64) Overview {
	out := Overview{From: from, To: to, Exact: got.exact, Sampled: got.sampled}
	var slots map[int64]*Tally
	if len(got.values) > 0 {
		slots = got.values[0].slots
	}
	var now, before Tally
	for at := from; at < to; at += int64(time.Hour) {
		var a, b Tally
		if t := slots[at]; t != nil {
			a = *t
		}
		if t := slots[at-(to-from)]; t != nil {
			b = *t
		}
		now.add(&a, 1)
		before.add(&b, 1)
		out.Hours = append(out.Hours, OverviewHour{at, a.Figures(), b.Figures()})
	}
	out.Now, out.Before = now.Figures(), before.Figures()
	for _, o := range record.Outcomes() {
		if n, b := now.Outcomes[o], before.Outcomes[o]; n+b > 0 {
			out.Outcomes = append(out.Outcomes, OutcomePair{OutcomeCount{o, n}, b})
		}
	}
	return out
}
