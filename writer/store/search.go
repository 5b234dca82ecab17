package store

import (
	"context"
	"database/sql"
	"errors"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"ringside/flow/record"
)

// How calls are found. What no index knows is looked for call by call, newest
// first. Else the search goes through time in steps that get longer, each one
// query, until it has what is asked for. The first one looks at the newest calls as
// they are, which is where what is common is found. What is rare is then looked for
// in an index that begins with the hour: a step asks it for each of its hours. It
// never sorts more than the calls of a step.

// access is an index, and what is asked of it.
type access struct {
	index string // of calls; empty: the table call_addr
	cond  string
	args  []any
	roles int64 // of the address
	many  bool  // a call may be found more than once
	wide  bool  // the index is not by the hour
	exact bool  // what is found of an hour is in the order of time
}

const (
	// probeCalls are looked at first, whatever they are.
	probeCalls = 1500
	// maxAccess is how many indexes are asked together.
	maxAccess = 8
	// weighed is how many calls of an hour are counted to tell what is rare.
	weighed = 500
)

// way is a way to find all calls that a filter chooses: by indexes together, and
// then by what else they have to meet.
type way struct {
	by   []access
	rest Filter
}

// ways are those to find the calls of a filter, the best first as far as can be
// said without looking. None: they are found by time.
func (f Filter) ways() (out []way) {
	f.From, f.To = 0, 0
	if f.CallID != "" {
		rest := f
		rest.CallID = ""
		return []way{{[]access{{index: "calls_call_id", cond: "call_id = ?", args: []any{f.CallID}, wide: true, exact: true}}, rest}}
	}
	caller, called := numberColumn{"caller_number", "caller_reverse"}, numberColumn{"called_number", "called_reverse"}
	rest := f
	for _, n := range []struct {
		m       *Match
		columns []numberColumn
	}{{&rest.Caller, []numberColumn{caller}}, {&rest.Called, []numberColumn{called}}, {&rest.Number, []numberColumn{caller, called}}} {
		if m := *n.m; m.Value != "" && (m.Kind == Exact || m.Kind != Contains && len(m.Value) > 2) {
			*n.m = Match{}
			w := way{byNumber(m, n.columns...), rest}
			if *n.m = m; m.Kind == Exact {
				out = append([]way{w}, out...)
			} else {
				out = append(out, w)
			}
		}
	}
	for _, a := range []struct {
		p     *netip.Prefix
		roles int64
	}{{&rest.CallerAddr, roleCaller}, {&rest.CalledAddr, roleCalled}, {&rest.SignalAddr, roleSignal}, {&rest.MediaAddr, roleMedia}, {&rest.Addr, roleAny}} {
		if p := *a.p; p.IsValid() {
			*a.p = netip.Prefix{}
			out = append(out, way{[]access{byAddr(p, a.roles)}, rest})
			*a.p = p
		}
	}
	return append(out, f.otherWays()...)
}

// otherWays are by results and by scope.
func (f Filter) otherWays() (out []way) {
	if f.MOSBelow != 0 {
		rest := f
		rest.MOSBelow = 0
		out = append(out, way{[]access{{index: "calls_mos", cond: "mos_min < ?", args: []any{f.MOSBelow}}}, rest})
	}
	w, rest := new(where), f
	switch low, high := f.StatusMin, f.StatusMax; {
	case low == high && low != 0:
		w.add("last_status = ?", int64(low))
		rest.StatusMin, rest.StatusMax = 0, 0
	case low != 0 || high != 0:
		w.status("last_status", low, high)
		rest.StatusMin, rest.StatusMax = 0, 0
	case len(f.Outcomes) > 0 && !slices.ContainsFunc(f.Outcomes, func(o record.Outcome) bool { return !refused(o) }):
		w.status("last_status", 300, 699) // the outcome is still asked for
	}
	if len(w.conds) > 0 {
		out = append(out, way{[]access{{index: "calls_status", cond: strings.Join(w.conds, " AND "), args: w.args, exact: len(w.conds) == 1 && f.StatusMin == f.StatusMax}}, rest})
	}
	var by []access
	if n := len(f.Scope.Nets); n > 0 && n <= maxAccess {
		for _, p := range f.Scope.Nets {
			by = append(by, byAddr(p, roleSignal))
		}
		rest := f
		rest.Scope.Nets = nil
		out = append(out, way{by, rest})
	}
	if n := len(f.Scope.Prefixes); n > 0 && 2*n <= maxAccess {
		by = nil
		for _, p := range f.Scope.Prefixes {
			by = append(by, byNumber(Match{p, Prefix}, numberColumn{name: "caller_number"}, numberColumn{name: "called_number"})...)
		}
		rest := f
		rest.Scope.Prefixes = nil
		out = append(out, way{by, rest})
	}
	return out
}

// refused reports whether calls of an outcome have a final status of 300 or more.
func refused(o record.Outcome) bool {
	return o == record.Busy || o == record.Redirected || o == record.AuthFailed || o == record.Failed
}

func byNumber(m Match, columns ...numberColumn) []access {
	var by []access
	for _, c := range columns {
		index := "calls_" + strings.TrimSuffix(c.name, "_number")
		if m.Kind == Suffix {
			index = "calls_" + c.reverse
		}
		cond, args := m.cond(c, false)
		by = append(by, access{index: index, cond: cond, args: args, exact: m.Kind == Exact})
	}
	return by
}

func byAddr(p netip.Prefix, roles int64) access {
	cond, args := anyInside(p, "a.addr")
	return access{cond: cond, args: args, roles: roles, many: !p.IsSingleIP(), exact: p.IsSingleIP()}
}

// search looks for calls.
type search struct {
	s         *Store
	ways      []way
	by        []access // of the way that is taken; nil: by time
	full      *where   // all that the filter asks for, but for the time
	rest      *where   // what calls found by the indexes have to meet as well
	low, high int64    // of start_at: low <= start_at < high
	ascending bool
	after     *rowKey // the last one seen
}

func (s *Store) search(f Filter, p Page) (*search, error) {
	q := &search{s: s, low: math.MinInt64, high: math.MaxInt64, ascending: p.Ascending}
	if f.From != 0 {
		q.low = f.From
	}
	if f.To != 0 {
		q.high = f.To
	}
	q.ways = f.ways()
	f.From, f.To = 0, 0
	q.full = f.where()
	q.take(0)
	if p.Cursor != "" {
		key, ascending, ok := parseCursor(p.Cursor)
		if !ok || ascending != p.Ascending {
			return nil, ErrCursor
		}
		if q.after = &key; p.Ascending {
			q.low = max(q.low, key.start)
		} else if key.start < math.MaxInt64 {
			q.high = min(q.high, key.start+1)
		}
	}
	return q, nil
}

// take takes one of the ways.
func (q *search) take(i int) {
	if q.by, q.rest = nil, q.full; i < len(q.ways) {
		q.by, q.rest = q.ways[i].by, q.ways[i].rest.where()
	}
}

// weigh takes, of several ways, the one that finds the fewest calls in the hour of
// the first one there is.
func (q *search) weigh(ctx context.Context) error {
	edge, ok, err := q.edge(ctx, q.low, q.high, 0)
	if err != nil || !ok || edge < hourNs {
		return err
	}
	hour := edge - edge%hourNs
	st := step{low: max(q.low, hour), high: min(q.high, hour+hourNs)}
	best, least := 0, int64(weighed+1)
	for i, w := range q.ways {
		q.by, q.rest = w.by, new(where)
		st.by = w.by
		query, args := q.keys(st)
		var n int64
		err := q.s.read.QueryRowContext(ctx, "SELECT COUNT(*) FROM ("+query+" LIMIT "+strconv.Itoa(weighed)+") AS found", args...).Scan(&n)
		if err != nil {
			return err
		}
		if n < least {
			best, least = i, n
		}
	}
	q.take(best)
	return nil
}

// step is a time, and by which indexes it is searched.
type step struct {
	low, high int64
	by        []access // nil: call by call
}

// steps gives visit one step after the other until it has enough or there are no
// more calls.
func (q *search) steps(ctx context.Context, probe bool, visit func(step) (enough bool, err error)) error {
	if len(q.ways) > 1 {
		if err := q.weigh(ctx); err != nil {
			return err
		}
	}
	if len(q.by) == 0 || q.by[0].wide { // in the order of time as it is
		_, err := visit(step{q.low, q.high, q.by})
		return err
	}
	low, high := q.low, q.high
	widths := q.s.dialect.hours
	for i := 0; low < high; i++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		edge, ok, err := q.edge(ctx, low, high, 0)
		if err != nil || !ok {
			return err
		}
		st := step{low, high, q.by}
		width := widths[min(i, len(widths)-1)] - 1
		switch hour := edge / hourNs; {
		case edge < hourNs:
			st.by = nil // before 1970, or at its beginning: by time, all at once
		case q.ascending:
			st.low, st.high = max(low, edge), min(high, (hour+width+1)*hourNs)
		default:
			st.low, st.high = max(low, (hour-width)*hourNs), min(high, edge+1)
		}
		if probe && i == 0 && !q.by[0].exact {
			if st, err = q.probe(ctx, st); err != nil {
				return err
			}
		}
		if enough, err := visit(st); err != nil || enough {
			return err
		}
		if q.ascending {
			low = st.high
		} else {
			high = st.low
		}
	}
	return nil
}

// probe is the part of a step that is looked at first.
func (q *search) probe(ctx context.Context, st step) (step, error) {
	st.by = nil
	edge, ok, err := q.edge(ctx, st.low, st.high, probeCalls)
	if err != nil || !ok {
		return st, err
	}
	if q.ascending {
		st.high = edge + 1
	} else {
		st.low = edge
	}
	return st, nil
}

// edge is the start of the call in a time that comes first in the order of the
// search, or after so many others.
func (q *search) edge(ctx context.Context, low, high, offset int64) (at int64, ok bool, err error) {
	order := "DESC"
	if q.ascending {
		order = "ASC"
	}
	err = q.s.read.QueryRowContext(ctx, "SELECT start_at FROM calls"+q.s.dialect.byTime+
		" WHERE start_at >= ? AND start_at < ? ORDER BY start_at "+order+" LIMIT 1 OFFSET "+strconv.FormatInt(offset, 10), low, high).Scan(&at)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, false, nil
	}
	return at, err == nil, err
}

// keys is a query for the keys of the calls of a step.
func (q *search) keys(st step) (query string, args []any) {
	if len(st.by) == 0 {
		from, args := q.from(st)
		return "SELECT start_at, id" + from, args
	}
	var parts []string
	for _, a := range st.by {
		part, more := q.keysBy(&a, st)
		parts, args = append(parts, part), append(args, more...)
	}
	return strings.Join(parts, " UNION "), args
}

// from is the FROM clause of a query about the calls of a step.
func (q *search) from(st step) (string, []any) {
	if len(st.by) == 0 {
		w := q.bounds(st, "")
		w.conds, w.args = append(w.conds, q.full.conds...), append(w.args, q.full.args...)
		return " FROM calls" + q.s.dialect.byTime + w.String(), w.args
	}
	query, args := q.keys(st)
	return " FROM (SELECT start_at AS key_at, id AS key_id FROM (" + query + ") AS found) AS keyed" + q.s.dialect.thenJoin +
		"calls ON start_at = key_at AND id = key_id", args
}

// bounds is the condition on the time of calls of a step.
func (q *search) bounds(st step, table string) *where {
	w := new(where)
	if st.low != math.MinInt64 {
		w.add(table+"start_at >= ?", st.low)
	}
	if st.high != math.MaxInt64 {
		w.add(table+"start_at < ?", st.high)
	}
	if k := q.after; k != nil {
		beyond := "<"
		if q.ascending {
			beyond = ">"
		}
		w.add("("+table+"start_at "+beyond+" ? OR "+table+"id "+beyond+" ?)", k.start, k.id)
	}
	return w
}

func (q *search) keysBy(a *access, st step) (string, []any) {
	table, from := "", "calls"+q.s.dialect.byIndex(a.index)
	if a.index == "" {
		table, from = "a.", "call_addr a"
		if len(q.rest.conds) > 0 {
			from += q.s.dialect.thenJoin + "calls ON calls.start_at = a.start_at AND calls.id = a.id"
		}
	}
	w := new(where)
	if !a.wide && (a.index == "" || q.s.dialect.byHour) {
		hour := "a.hour"
		if a.index != "" {
			hour = "start_at / 3600000000000"
		}
		w.add(inHours(hour, st.low, st.high))
	}
	w.add(a.cond, a.args...)
	b := q.bounds(st, table)
	w.conds, w.args = append(w.conds, b.conds...), append(w.args, b.args...)
	if a.index == "" && a.roles != roleAny {
		w.add("a.roles & ? <> 0", a.roles)
	}
	w.conds, w.args = append(w.conds, q.rest.conds...), append(w.args, q.rest.args...)
	distinct := ""
	if a.many {
		distinct = "DISTINCT "
	}
	return "SELECT " + distinct + table + "start_at AS start_at, " + table + "id AS id FROM " + from + w.String(), w.args
}

// inHours is the condition that a column is one of the hours of a time.
func inHours(column string, low, high int64) string {
	first, last := low/hourNs, (high-1)/hourNs
	if first == last {
		return column + " = " + strconv.FormatInt(first, 10)
	}
	var list []string
	for h := first; h <= last; h++ {
		list = append(list, strconv.FormatInt(h, 10))
	}
	return column + " IN (" + strings.Join(list, ", ") + ")"
}

// page is the keys of up to limit calls, in order.
func (q *search) page(ctx context.Context, limit int) ([]rowKey, error) {
	var out []rowKey
	order := " ORDER BY start_at DESC, id DESC"
	if q.ascending {
		order = " ORDER BY start_at, id"
	}
	err := q.steps(ctx, true, func(st step) (bool, error) {
		query, args := q.keys(st)
		// Ordered again, all rows are there before the first one: SQLite's driver
		// interrupts a query up to its first row alone.
		query = "SELECT start_at, id FROM (" + query + order + " LIMIT " + strconv.Itoa(limit-len(out)) + ") AS found" + order
		err := groups(ctx, q.s.read, query, args, func(scan func(...any) error) error {
			var k rowKey
			err := scan(&k.start, &k.id)
			out = append(out, k)
			return err
		})
		return len(out) >= limit, err
	})
	return out, err
}

// rowsOf is the calls of keys, in their order; one that is gone is left out.
func (s *Store) rowsOf(ctx context.Context, keys []rowKey) ([]Row, error) {
	found := make(map[rowKey]Row, len(keys))
	for part := range slices.Chunk(keys, 500) {
		var args []any
		wanted := make(map[rowKey]bool, len(part))
		for _, k := range part {
			args = append(args, k.start)
			wanted[k] = true
		}
		rows, err := all(ctx, s.read, callTable.fields, "SELECT "+strings.Join(callTable.columns(), ", ")+
			" FROM calls WHERE start_at IN ("+marks(len(args))+")", args...)
		if err != nil {
			return nil, err
		}
		for _, r := range rows {
			if k := (rowKey{r.Start, r.ID}); wanted[k] {
				found[k] = r
			}
		}
	}
	out := make([]Row, 0, len(keys))
	for _, k := range keys {
		if r, ok := found[k]; ok {
			out = append(out, r)
		}
	}
	return out, nil
}
