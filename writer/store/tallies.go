package store

import (
	"cmp"
	"context"
	"slices"
	"strings"
)

// talliesQuery asks for tallies of calls by step and value of a dimension.
type talliesQuery struct {
	by       Dimension
	from, to int64
	step     int64 // ns
	filter   Filter
	rank     Metric // what values are ordered by
	top      int    // values at most
	least    bool
	minCalls int64
	lines    bool // their steps are wanted too, not the total alone
}

// tallied is the answer.
type tallied struct {
	values  []valueTally // in order
	more    int
	exact   bool
	sampled float64
}

// valueTally is the calls of one value of a dimension.
type valueTally struct {
	value string
	total Tally
	slots map[int64]*Tally // by the start of the step
}

// tallies answers q from rollups if they tell it, else by looking at calls.
func (s *Store) tallies(ctx context.Context, q talliesQuery) (tallied, error) {
	q.filter.From, q.filter.To = q.from, q.to
	d, _ := dimensionOf(q.by)
	if r, ok := rolledFor(&q, &d); ok {
		return s.rolled(ctx, &q, &d, r)
	}
	return s.scanned(ctx, &q, &d)
}

// gathering collects tallies by value and step.
type gathering map[string]*valueTally

func (g gathering) at(value string, slot int64) *Tally {
	v := g[value]
	if v == nil {
		v = &valueTally{value: value, slots: make(map[int64]*Tally)}
		g[value] = v
	}
	t := v.slots[slot]
	if t == nil {
		t = new(Tally)
		v.slots[slot] = t
	}
	return t
}

// ranked is what was gathered, in the order that q asks for.
func (g gathering) ranked(q *talliesQuery) (out []valueTally, more int) {
	type ranking struct {
		*valueTally
		by *float64
	}
	var list []ranking
	for _, v := range g {
		v.total = Tally{}
		for _, t := range v.slots {
			v.total.add(t, 1)
		}
		f := v.total.Figures()
		if by := q.rank.of(&f); by != nil && f.Calls >= max(1, q.minCalls) {
			list = append(list, ranking{v, by})
		}
	}
	slices.SortFunc(list, func(a, b ranking) int {
		order := cmp.Compare(*b.by, *a.by)
		if q.least {
			order = -order
		}
		return cmp.Or(order, strings.Compare(a.value, b.value))
	})
	if len(list) > q.top {
		list, more = list[:q.top], len(list)-q.top
	}
	for _, r := range list {
		out = append(out, *r.valueTally)
	}
	return out, more
}
