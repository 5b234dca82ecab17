package store

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"strconv"
	"time"
)

// CountLimit is how far Counted counts one by one.
const CountLimit = 100_000

// Counted is a number of calls.
type Counted struct {
	Calls int64 `json:"calls"`
	More  bool  `json:"more,omitempty"` // there are more than these
}

// CountUpTo counts the calls that f chooses as far as that takes little: all of
// them where rollups tell, else up to CountLimit.
func (s *Store) CountUpTo(ctx context.Context, f Filter) (Counted, error) {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	out, known, err := s.countRolled(ctx, f)
	if err == nil && !known {
		out.Calls, out.More, err = s.countCalls(ctx, f, CountLimit)
	}
	if err != nil {
		return Counted{}, fmt.Errorf("count calls: %w", s.slow(ctx, err))
	}
	return out, nil
}

// countRolled counts the calls of full minutes by rollups, if they know, and those
// before and after one by one.
func (s *Store) countRolled(ctx context.Context, f Filter) (out Counted, known bool, err error) {
	low := (max(f.From, minuteNs) + minuteNs - 1) / minuteNs * minuteNs
	high := alignDown(cmp.Or(f.To, math.MaxInt64/2), time.Minute)
	if low >= high {
		return out, false, nil
	}
	asked := talliesQuery{from: low, to: high, step: minuteNs, filter: f}
	r, ok := rolledFor(&asked, &dimensions[0])
	if !ok || r.none {
		return out, ok, nil
	}
	if pending, err := s.rollupsPending(ctx, low, high); err != nil || pending {
		return out, false, err
	}
	w := new(where)
	w.add("dim = ?", r.dim)
	w.times("from_at", low, high)
	oneOf(w, "value", r.values, func(s string) string { return s })
	w.sensors(r.sensors)
	err = s.read.QueryRowContext(ctx, "SELECT COALESCE(SUM(calls), 0) FROM "+minuteTable.name+w.String(), w.args...).Scan(&out.Calls)
	for _, edge := range [][2]int64{{f.From, low}, {high, cmp.Or(f.To, math.MaxInt64)}} {
		if err != nil || edge[0] >= edge[1] {
			continue
		}
		part := f
		part.From, part.To = edge[0], edge[1]
		var n int64
		n, _, err = s.countCalls(ctx, part, math.MaxInt64)
		out.Calls += n
	}
	return out, err == nil, err
}

// countCalls counts up to limit calls; more: there are others.
func (s *Store) countCalls(ctx context.Context, f Filter, limit int64) (n int64, more bool, err error) {
	q, err := s.search(f, Page{})
	if err != nil {
		return 0, false, err
	}
	err = q.steps(ctx, false, func(st step) (bool, error) {
		query, args := q.keys(st)
		if len(st.by) == 0 && len(q.full.conds) == 0 && st.low > 0 && st.high-st.low < 10_000*hourNs {
			query, args = q.keysBy(&access{index: "calls_status", cond: "start_at >= 0"}, st) // a narrow index, for the time alone
		}
		if limit < math.MaxInt64 {
			query += " LIMIT " + strconv.FormatInt(limit+1-n, 10)
		}
		var found int64
		err := s.read.QueryRowContext(ctx, "SELECT COUNT(*) FROM ("+query+") AS found", args...).Scan(&found)
		n += found
		return n > limit, err
	})
	return min(n, limit), n > limit, err
}
