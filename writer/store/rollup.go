package store

import (
	"cmp"
	"context"
	"database/sql"
	"slices"
	"strings"
)

// Rollups are calls counted by the minute and the hour in which they began, by
// sensor and by the values of dimensions, in the transaction that stores them.
// A call that is replaced is taken away first, as it was stored, so that storing
// it twice does not count it twice.

// rollupRow is what is counted of a time, a value and a sensor.
type rollupRow struct {
	rollupKey
	Tally
}

// rollupKey is the key of a rollup.
type rollupKey struct {
	dim    string
	from   int64 // ns
	value  string
	sensor uint16
}

var (
	minuteTable = table[rollupRow]{name: "rollup_minute", fields: rollupFields()}
	hourTable   = table[rollupRow]{name: "rollup_hour", fields: rollupFields()}
)

func rollupFields() []field[rollupRow] {
	fields := []field[rollupRow]{
		{"from_at", func(r *rollupRow) any { return &r.from }},
		{"dim", func(r *rollupRow) any { return &r.dim }},
		{"value", func(r *rollupRow) any { return &r.value }},
		{"sensor", func(r *rollupRow) any { return &r.sensor }},
	}
	for _, c := range tallyCells {
		fields = append(fields, field[rollupRow]{c.name, func(r *rollupRow) any { return c.ptr(&r.Tally) }})
	}
	return fields
}

// rollups are the changes that a batch makes.
type rollups struct{ minutes, hours map[rollupKey]*Tally }

func newRollups() *rollups {
	return &rollups{make(map[rollupKey]*Tally), make(map[rollupKey]*Tally)}
}

const (
	minuteNs = int64(60e9)
	hourNs   = 60 * minuteNs
)

// count counts a call n times: 1, or -1 to take it away.
func (r *rollups) count(c *Row, n int64) {
	minute, hour := c.Start-c.Start%minuteNs, c.Start-c.Start%hourNs
	for i := range dimensions {
		d := &dimensions[i]
		if d.grain == unkept || d.name == BySensor || d.name == ByClass {
			continue // of which nothing is kept, or what something else tells
		}
		for _, v := range d.of(c) {
			if d.grain == minutely {
				tallyAt(r.minutes, rollupKey{d.kept(), minute, v, c.Sensor}).count(c, n)
			}
			tallyAt(r.hours, rollupKey{d.kept(), hour, v, c.Sensor}).count(c, n)
		}
	}
	tallyAt(r.minutes, rollupKey{totals, c.End - c.End%minuteNs, "", c.Sensor}).Ended += n
	tallyAt(r.hours, rollupKey{totals, c.End - c.End%hourNs, "", c.Sensor}).Ended += n
}

func tallyAt(m map[rollupKey]*Tally, k rollupKey) *Tally {
	t := m[k]
	if t == nil {
		t = new(Tally)
		m[k] = t
	}
	return t
}

// flush adds the changes to what is stored, in the order of their keys, which
// keeps two writers from waiting for each other.
func (r *rollups) flush(ctx context.Context, in *inserter, tx *sql.Tx) error {
	if err := flushRollups(newRows(ctx, in, tx, &minuteTable), &minuteTable, r.minutes); err != nil {
		return err
	}
	return flushRollups(newRows(ctx, in, tx, &hourTable), &hourTable, r.hours)
}

func flushRollups(to *rows, t *table[rollupRow], changes map[rollupKey]*Tally) error {
	keys := make([]rollupKey, 0, len(changes))
	for k, v := range changes {
		if *v != (Tally{}) {
			keys = append(keys, k)
		}
	}
	slices.SortFunc(keys, func(a, b rollupKey) int {
		return cmp.Or(strings.Compare(a.dim, b.dim), cmp.Compare(a.from, b.from), strings.Compare(a.value, b.value), cmp.Compare(a.sensor, b.sensor))
	})
	for _, k := range keys {
		row := rollupRow{k, *changes[k]}
		to.args = bind(to.args, t.fields, &row)
		if err := to.flushFull(); err != nil {
			return err
		}
	}
	return to.flush()
}

// takeAway takes the calls of those keys out of the rollups, as they are stored.
func (r *rollups) takeAway(ctx context.Context, q querier, keys []rowKey) error {
	query := "SELECT " + strings.Join(callTable.columns(), ", ") + " FROM calls WHERE start_at = ? AND id = ?"
	for _, k := range keys {
		stored, err := all(ctx, q, callTable.fields, query, k.start, k.id)
		if err != nil {
			return err
		}
		for i := range stored {
			if stored[i].rolled {
				r.count(&stored[i], -1)
			}
		}
	}
	return nil
}
