package store

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"strings"
)

// scanSlices is how many pieces of time a sample is made of, at least.
const scanSlices = 60

// scanRow is a call as statistics look at it.
type scanRow struct {
	Row
	media netip.Addr // one of its media addresses, by ByMedia
}

// scanColumns are what a Tally needs of a call.
var scanColumns = []string{"start_at", "outcome", "last_status", "connected", "pdd", "mos_min", "loss_max", "jitter_max"}

// scanned answers q by looking at calls: all, if an index finds them or they are
// few enough, else those of the first part of each of many slices of the time.
func (s *Store) scanned(ctx context.Context, q *talliesQuery, d *dimension) (tallied, error) {
	part, byIndex, err := s.samplePart(ctx, q, d)
	if err != nil {
		return tallied{}, err
	}
	got := gathering{}
	for _, w := range sampleWindows(q, part) {
		f := q.filter
		f.From, f.To = w[0], w[1]
		err := s.scan(ctx, f, d, byIndex, func(r *scanRow) {
			values := []string{r.media.String()}
			if d.of != nil {
				values = d.of(&r.Row)
			}
			for _, v := range values {
				got.at(v, q.from+(r.Start-q.from)/q.step*q.step).count(&r.Row, 1)
			}
		})
		if err != nil {
			return tallied{}, err
		}
	}
	out := tallied{exact: part >= 1}
	if !out.exact {
		out.sampled = part
		got.scale(1 / part)
	}
	out.values, out.more = got.ranked(q)
	return out, nil
}

// samplePart is which part of the time is to be looked at, so that no more than
// so many calls are; byIndex: all of it, and an index finds the calls.
func (s *Store) samplePart(ctx context.Context, q *talliesQuery, d *dimension) (part float64, byIndex bool, err error) {
	if len(q.filter.ways()) > 0 && d.name != ByMedia {
		_, more, err := s.countCalls(ctx, q.filter, s.fewCalls)
		if err != nil || !more {
			return 1, true, err
		}
	}
	_, more, err := s.countCalls(ctx, Filter{From: q.from, To: q.to}, s.scanRows)
	if err != nil || !more {
		return 1, false, err
	}
	n, err := s.callsIn(ctx, q.from, q.to)
	return min(1, float64(s.scanRows)/float64(max(n, s.scanRows+1))), false, err
}

// callsIn is about how many calls began in a time, by the rollups.
func (s *Store) callsIn(ctx context.Context, from, to int64) (n int64, err error) {
	table := cmp.Or(tableFor(from, to, to-from, minutely), minuteTable.name)
	err = s.read.QueryRowContext(ctx, "SELECT COALESCE(SUM(calls), 0) FROM "+table+" WHERE dim = ? AND from_at >= ? AND from_at < ?",
		totals, from, to).Scan(&n)
	return n, err
}

// sampleWindows are the times to look at: the first part of each slice.
func sampleWindows(q *talliesQuery, part float64) [][2]int64 {
	if part >= 1 {
		return [][2]int64{{q.from, q.to}}
	}
	slice := q.step
	for (q.to-q.from)/slice < scanSlices && slice >= 2*minuteNs {
		slice /= 2
	}
	var out [][2]int64
	for from := q.from; from < q.to; from += slice {
		out = append(out, [2]int64{from, min(q.to, from+max(1, int64(part*float64(slice))))})
	}
	return out
}

// scale makes of counts of a sample what they would be of all.
func (g gathering) scale(by float64) {
	for _, v := range g {
		for _, t := range v.slots {
			for _, c := range tallyCells {
				p := c.ptr(t)
				*p = int64(float64(*p)*by + 0.5)
			}
		}
	}
}

// scan gives each call of a filter to take.
func (s *Store) scan(ctx context.Context, f Filter, d *dimension, byIndex bool, take func(*scanRow)) error {
	var fields []field[scanRow]
	columns := slices.Concat(scanColumns, d.needs)
	for _, c := range callTable.fields {
		if slices.Contains(columns, c.name) {
			fields = append(fields, field[scanRow]{c.name, func(r *scanRow) any { return c.ptr(&r.Row) }})
		}
	}
	if d.name == ByMedia {
		fields = append(fields, field[scanRow]{"media_addr", func(r *scanRow) any { return &r.media }})
		w := f.where()
		const inTime = " WHERE start_at >= ? AND start_at < ? AND "
		from := " FROM (SELECT start_at AS media_at, id AS media_id, src_addr AS media_addr FROM stream" + inTime + "orphan = 0 AND src_addr IS NOT NULL" +
			" UNION SELECT start_at, id, dst_addr FROM stream" + inTime + "orphan = 0 AND dst_addr IS NOT NULL" +
			" UNION SELECT start_at, id, addr FROM call_media" + inTime + "addr IS NOT NULL) AS media" + s.dialect.thenJoin +
			"calls ON start_at = media_at AND id = media_id"
		return s.scanFrom(ctx, fields, from+w.String(), append([]any{f.From, f.To, f.From, f.To, f.From, f.To}, w.args...), take)
	}
	q, err := s.search(f, Page{})
	if err != nil {
		return err
	}
	if !byIndex {
		q.ways = nil
		q.take(0)
	}
	return q.steps(ctx, false, func(st step) (bool, error) {
		from, args := q.from(st)
		return false, s.scanFrom(ctx, fields, from, args, take)
	})
}

func (s *Store) scanFrom(ctx context.Context, fields []field[scanRow], from string, args []any, take func(*scanRow)) error {
	var r scanRow
	dest := cells(nil, fields, &r)
	return groups(ctx, s.read, "SELECT "+strings.Join(names(fields), ", ")+from, args, func(scan func(...any) error) error {
		if err := scan(dest...); err != nil {
			return err
		}
		take(&r)
		return nil
	})
}
