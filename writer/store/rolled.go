package store

import (
	"context"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// rolling is how rollups answer a question.
type rolling struct {
	table   string
	dim     string   // "": that of the query's dimension
	values  []string // of dim, that count; nil: all
	sensors []uint16 // nil: all
	hours   []int64  // that are looked at; nil: all
	none    bool     // nothing can be inside
}

// tableFor is the rollup table whose times fit a question, empty if none does.
func tableFor(from, to, step int64, g grain) string {
	switch {
	case g != unkept && from%hourNs == 0 && to%hourNs == 0 && step%hourNs == 0:
		return hourTable.name
	case g == minutely && from%minuteNs == 0 && to%minuteNs == 0 && step%minuteNs == 0:
		return minuteTable.name
	}
	return ""
}

// rolledFor says how rollups answer q, if they do: a filter may ask for sensors,
// and for one value of a dimension if lines are not of another.
func rolledFor(q *talliesQuery, d *dimension) (rolling, bool) {
	r := rolling{dim: d.kept()}
	g := d.grain
	f := q.filter
	f.From, f.To = 0, 0
	r.sensors, r.none = bothSensors(f.Sensors, f.Scope.Sensors)
	f.Sensors, f.Scope.Sensors = nil, nil
	if q.by == ByNone || q.by == BySensor {
		switch {
		case len(f.Outcomes) > 0:
			r.dim = string(ByOutcome)
			for _, o := range f.Outcomes {
				r.values = append(r.values, o.String())
			}
			f.Outcomes = nil
		case f.StatusMin >= 100 && f.StatusMax >= f.StatusMin && f.StatusMax < 700:
			r.dim = string(ByStatus)
			for n := f.StatusMin; n <= f.StatusMax; n++ {
				r.values = append(r.values, strconv.Itoa(int(n)))
			}
			f.StatusMin, f.StatusMax = 0, 0
		case f.SignalAddr.IsSingleIP():
			r.dim, g = string(ByTrunk), hourly
			r.values = []string{f.SignalAddr.Addr().String()}
			f.SignalAddr = Filter{}.SignalAddr
		}
	}
	if r.table = tableFor(q.from, q.to, q.step, g); r.table == "" {
		return r, false
	}
	return r, reflect.DeepEqual(f, Filter{}) || reflect.DeepEqual(f, Filter{Sensors: []uint16{}})
}

// bothSensors are those that two lists have in common, where no list is all; none
// reports that nothing is left.
func bothSensors(a, b []uint16) (both []uint16, none bool) {
	switch {
	case len(a) == 0:
		return b, false
	case len(b) == 0:
		return a, false
	}
	both = slices.DeleteFunc(slices.Clone(a), func(s uint16) bool { return !slices.Contains(b, s) })
	return both, len(both) == 0
}

// rolled answers q from rollups.
func (s *Store) rolled(ctx context.Context, q *talliesQuery, d *dimension, r rolling) (tallied, error) {
	out := tallied{exact: true}
	if r.none {
		return out, nil
	}
	if r.dim == "" {
		r.dim = d.kept()
	}
	pending, err := s.rollupsPending(ctx, q.from, q.to)
	if err != nil {
		return out, err
	}
	out.exact = !pending
	// All the lines there can be are few: both at once.
	if d.grain == minutely {
		got, err := s.readRollups(ctx, q, d, r, tallyCells)
		if err != nil {
			return out, err
		}
		out.values, out.more = got.ranked(q)
		return out, nil
	}
	err = s.rolledInTwo(ctx, q, d, r, &out)
	return out, err
}

// rolledInTwo finds first which values q is about, by what they are ranked by
// alone, and in a part of the hours if there are very many values (of trunks, where
// each phone is one); then their figures.
func (s *Store) rolledInTwo(ctx context.Context, q *talliesQuery, d *dimension, r rolling, out *tallied) error {
	one := *q
	one.step = q.to - q.from
	hours, part, err := s.someHours(ctx, q, r)
	if err != nil {
		return err
	}
	rough, r1 := one, r
	r1.hours = hours
	if part < 1 {
		out.exact, out.sampled = false, part
		rough.top, rough.minCalls = q.top+q.top/2, int64(part*float64(q.minCalls))
	}
	got, err := s.readRollups(ctx, &rough, d, r1, cellsFor(q.rank))
	if err != nil {
		return err
	}
	first, more := got.ranked(&rough)
	if len(first) == 0 {
		return nil
	}
	for _, v := range first {
		r.values = append(r.values, v.value)
	}
	r.hours = allHours(q)
	if !q.lines {
		q = &one
	}
	if got, err = s.readRollups(ctx, q, d, r, tallyCells); err != nil {
		return err
	}
	var left int
	out.values, left = got.ranked(q)
	out.more = more + left
	return nil
}

// probeHours is how many hours tell how many rollups there are.
const probeHours = 5

// someHours are hours of q that have no more rollups than may be looked at, about, spread
// over its time: nil, if all have.
func (s *Store) someHours(ctx context.Context, q *talliesQuery, r rolling) (hours []int64, part float64, err error) {
	all := allHours(q)
	if len(all) <= probeHours {
		return nil, 1, nil
	}
	w := new(where)
	w.add("dim = ?", r.dim)
	hourList(w, spread(all, probeHours))
	var n int
	if err := s.read.QueryRowContext(ctx, "SELECT COUNT(*) FROM "+r.table+w.String(), w.args...).Scan(&n); err != nil {
		return nil, 0, err
	}
	most := s.rollupRows * probeHours / max(1, n)
	if most >= len(all) {
		return nil, 1, nil
	}
	hours = spread(all, max(1, most))
	return hours, float64(len(hours)) / float64(len(all)), nil
}

// allHours are the hours of q.
func allHours(q *talliesQuery) (out []int64) {
	for at := q.from; at < q.to; at += hourNs {
		out = append(out, at)
	}
	return out
}

// spread is n of a list, an odd number of them, so that they are not of the same
// hour of each day.
func spread(list []int64, n int) (out []int64) {
	n |= 1
	for i := range min(n, len(list)) {
		out = append(out, list[i*len(list)/min(n, len(list))])
	}
	return out
}

// hourList is the condition that a rollup is of one of those hours.
func hourList(w *where, hours []int64) {
	list := make([]string, len(hours))
	for i, h := range hours {
		list[i] = strconv.FormatInt(h, 10)
	}
	w.add("from_at IN (" + strings.Join(list, ", ") + ")")
}

// cellsFor are the counters that a metric, and the number of calls, need.
func cellsFor(m Metric) []tallyCell {
	prefix := ""
	switch m {
	case MetricCalls, MetricAnswered, MetricFailed, MetricASR, MetricNER:
		prefix = "-"
	case MetricACD, MetricTalk:
		prefix = "talk_"
	case MetricPDD, MetricPDDP95:
		prefix = "pdd_"
	case MetricMOS, MetricMOSP10:
		prefix = "mos_"
	case MetricLoss:
		prefix = "loss_"
	case MetricJitter:
		prefix = "jitter_"
	default:
		prefix = "status_"
	}
	always := []string{"calls", "connected", "with_rtp", "unknown", "answered", "busy", "no_answer", "cancelled", "redirected", "auth_failed", "failed", "partial"}
	return slices.DeleteFunc(slices.Clone(tallyCells), func(c tallyCell) bool {
		return !slices.Contains(always, c.name) && !strings.HasPrefix(c.name, prefix)
	})
}

// readRollups sums counters by step and value.
func (s *Store) readRollups(ctx context.Context, q *talliesQuery, d *dimension, r rolling, cells []tallyCell) (gathering, error) {
	value := "value"
	if d.name == BySensor {
		value = "sensor"
	} else if d.name == ByNone {
		value = "''"
	}
	columns := []string{"from_at - (from_at - ?) % ? AS slot", value}
	for _, c := range cells {
		columns = append(columns, "SUM("+c.name+")")
	}
	w := new(where)
	w.add("dim = ?", r.dim)
	if r.hours != nil {
		hourList(w, r.hours)
	} else {
		w.times("from_at", q.from, q.to)
	}
	oneOf(w, "value", r.values, func(s string) string { return s })
	w.sensors(r.sensors)
	group := " GROUP BY slot"
	if d.name != ByNone {
		group += ", " + value
	}
	got := gathering{}
	args := append([]any{q.from, q.step}, w.args...)
	err := groups(ctx, s.read, "SELECT "+strings.Join(columns, ", ")+" FROM "+r.table+w.String()+group, args,
		func(scan func(...any) error) error {
			var slot int64
			var value string
			var t Tally
			dest := []any{&slot, &value}
			for _, c := range cells {
				dest = append(dest, c.ptr(&t))
			}
			if err := scan(dest...); err != nil {
				return err
			}
			if d.name == ByClass {
				value = classOf(value)
			}
			got.at(value, slot).add(&t, 1)
			return nil
		})
	return got, err
}

// classOf is the class of a status by its name.
func classOf(status string) string {
	n, _ := strconv.ParseUint(status, 10, 16)
	return className(uint16(n))
}

// rollupsPending reports whether calls of a time are still to be counted, which a
// version without rollups stored.
func (s *Store) rollupsPending(ctx context.Context, from, to int64) (bool, error) {
	var n int
	err := s.read.QueryRowContext(ctx, "SELECT COUNT(*) FROM rollup_pending WHERE from_at < ? AND until_at >= ?", to, from).Scan(&n)
	return n > 0, err
}

// concurrentBack is how long a call may last and still count among those at the
// same time.
const concurrentBack = 24 * hourNs

// concurrent is how many calls there were at the same time: those that had begun
// less those that had ended, at the full minutes; the most of each step.
func (s *Store) concurrent(ctx context.Context, q SeriesQuery) ([]Line, error) {
	d, _ := dimensionOf(q.By)
	t := talliesQuery{by: q.By, from: q.From - concurrentBack, to: q.To, step: minuteNs, filter: q.Filter, rank: MetricCalls, top: q.Top}
	t.filter.From, t.filter.To = t.from, t.to
	r, ok := rolledFor(&t, &d)
	if !ok || r.dim != totals {
		return nil, errConcurrent
	}
	if r.none {
		return nil, nil
	}
	got, err := s.readRollups(ctx, &t, &d, r, slices.DeleteFunc(slices.Clone(tallyCells), func(c tallyCell) bool { return c.name != "calls" && c.name != "ended" }))
	if err != nil {
		return nil, err
	}
	var lines []Line
	for value, v := range got {
		line := Line{Value: value, Points: make([]*float64, (q.To-q.From)/int64(q.Step))}
		var now int64
		for at := t.from; at < t.to; at += minuteNs {
			if t := v.slots[at]; t != nil {
				if now += t.Calls - t.Ended; at >= q.From {
					line.Calls += t.Calls
				}
			}
			if at < q.From {
				continue
			}
			p := &line.Points[(at-q.From)/int64(q.Step)]
			if *p == nil || float64(now) > **p {
				*p = new(float64(max(0, now)))
			}
		}
		lines = append(lines, line)
	}
	slices.SortFunc(lines, func(a, b Line) int { return int(b.Calls - a.Calls) })
	return lines[:min(len(lines), q.Top)], nil
}
