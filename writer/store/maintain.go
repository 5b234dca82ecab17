package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

const (
	// daysAhead is how many days from today on have partitions. Rows of later
	// days wait in the last one, and are moved when their day gets its own.
	daysAhead = 3
	// deleteStep is how many rows one transaction deletes, about: so few that a
	// batch of new rows does not wait for long.
	deleteStep = 500
)

// aged is a table whose rows get old, by a column that its key begins with.
type aged struct{ name, by, only string }

// agedTables are all tables, calls before what belongs to them: of a call that
// is half deleted nothing is shown.
func agedTables() []aged {
	return []aged{
		{callTable.name, "start_at", ""}, {addrTable.name, "start_at", ""}, {noteTable.name, "start_at", ""}, {legTable.name, "start_at", ""}, {messageTable.name, "start_at", ""},
		{mediaTable.name, "start_at", ""}, {digitTable.name, "start_at", ""},
		{streamTable.name, "start_at", "orphan = 0 AND "}, {streamTable.name, "start_at", "orphan = 1 AND "},
		{linkTable.name, "start_at", ""}, {qualityTable.name, "sent_at", ""},
		{registrationTable.name, "start_at", ""}, {exchangeTable.name, "start_at", ""}, {eventTable.name, "occurred_at", ""},
	}
}

// Maintained is what Maintain did.
type Maintained struct {
	Rows       int64 // deleted
	Partitions int   // dropped, of all tables
	Added      int   // partitions made for days to come, of all tables
}

// Maintain makes partitions for the days to come, and removes records that
// began more than days full days (UTC) before now; 0: none. Call it at start
// and every hour or so. It works in small steps, so that batches get in
// between; when it fails or ctx ends, what it did remains done.
func (s *Store) Maintain(ctx context.Context, now time.Time, days int) (Maintained, error) {
	var m Maintained
	if s.write == nil {
		return m, ErrReadOnly
	}
	_, err := s.ready(ctx)
	if err == nil && s.server != nil {
		err = s.server.locked(ctx, s.write, func(conn *sql.Conn) (err error) {
			m, err = maintainPartitions(ctx, conn, now, days)
			return err
		})
	}
	if err == nil {
		err = s.rollUp(ctx)
	}
	if err == nil && days > 0 {
		m.Rows, err = s.deleteBefore(ctx, cutoff(now, days))
		if err == nil {
			err = s.deleteRollups(ctx, now, days)
		}
	}
	if err != nil {
		return m, fmt.Errorf("maintain store: %w", s.explained(err))
	}
	return m, nil
}

func dayStart(t time.Time) time.Time { return t.UTC().Truncate(24 * time.Hour) }

// cutoff is the beginning (ns) of the oldest day kept.
func cutoff(now time.Time, days int) int64 { return dayStart(now).AddDate(0, 0, -days).UnixNano() }

// deleteBefore deletes rows of all tables that are older, step by step.
func (s *Store) deleteBefore(ctx context.Context, before int64) (int64, error) {
	var total int64
	for _, t := range agedTables() {
		for {
			n, err := s.deleteSome(ctx, t, before)
			if total += n; err != nil {
				return total, fmt.Errorf("delete old rows of %s: %w", t.name, err)
			}
			if n == 0 {
				break
			}
		}
	}
	return total, nil
}

// deleteSome deletes the oldest rows of a table that are older, and all that
// are as old as the last of them.
func (s *Store) deleteSome(ctx context.Context, t aged, before int64) (int64, error) {
	var upTo sql.NullInt64
	from := " FROM (SELECT " + t.by + " AS t FROM " + t.name + " WHERE " + t.only + t.by + " < ? ORDER BY " + t.by + " LIMIT ?) AS oldest"
	if err := s.read.QueryRowContext(ctx, "SELECT MAX(t)"+from, before, deleteStep).Scan(&upTo); err != nil || !upTo.Valid {
		return 0, err
	}
	r, err := s.write.ExecContext(ctx, "DELETE FROM "+t.name+" WHERE "+t.only+t.by+" <= ?", upTo.Int64)
	if err != nil {
		return 0, err
	}
	return r.RowsAffected()
}

// partition holds the rows before a time that the partition before it does not
// hold.
type partition struct {
	name  string
	bound int64 // ns; the last one has none
}

// partitions are those of a table in their order, without the last one. Of a
// table that it could not open, for want of room say, a server lists no partitions
// and gives no error; what stands in the way is then told by asking the table
// itself.
func partitions(ctx context.Context, q querier, table string) ([]partition, error) {
	out, last, err := listPartitions(ctx, q, table)
	if err != nil || last {
		return out, err
	}
	var rows int64
	if err := q.QueryRowContext(ctx, "SELECT COUNT(*) FROM (SELECT 1 FROM "+table+" LIMIT 1) AS one").Scan(&rows); err != nil {
		return nil, err
	}
	if out, last, err = listPartitions(ctx, q, table); err == nil && !last {
		err = fmt.Errorf("table %s has lost its partitions: let it be partitioned as CREATE TABLE did, with a last partition %s", table, lastPartition)
	}
	return out, err
}

// listPartitions says also whether there is a last partition, which has no bound.
func listPartitions(ctx context.Context, q querier, table string) (out []partition, last bool, err error) {
	rows, err := q.QueryContext(ctx, "SELECT partition_name, partition_description FROM information_schema.partitions"+
		" WHERE table_schema = DATABASE() AND table_name = ? AND partition_name IS NOT NULL ORDER BY partition_ordinal_position", table)
	if err != nil {
		return nil, false, err
	}
	defer rows.Close()
	for rows.Next() {
		var p partition
		var bound string
		if err := rows.Scan(&p.name, &bound); err != nil {
			return nil, false, err
		}
		if bound == "MAXVALUE" {
			last = true
			continue
		}
		if _, err := fmt.Sscan(bound, &p.bound); err != nil {
			return nil, false, fmt.Errorf("read bound %q of partition %s of %s: %w", bound, p.name, table, err)
		}
		out = append(out, p)
	}
	return out, last, rows.Err()
}

// missing are the partitions of days, up to daysAhead from now, that lie beyond
// those there are. The first of them takes all that is older too, also days of
// a gap.
func missing(have []partition, now time.Time) []partition {
	var out []partition
	for i := range daysAhead + 1 {
		day := dayStart(now).AddDate(0, 0, i)
		bound := day.AddDate(0, 0, 1).UnixNano()
		if len(have) == 0 || bound > have[len(have)-1].bound {
			out = append(out, partition{day.Format("p060102"), bound})
		}
	}
	return out
}

// expired are the partitions of which every row is older.
func expired(have []partition, before int64) []partition {
	i := slices.IndexFunc(have, func(p partition) bool { return p.bound > before })
	if i < 0 {
		i = len(have)
	}
	return have[:i]
}

// agedNames are the tables, each once.
func agedNames() []string {
	var out []string
	for _, t := range agedTables() {
		out = append(out, t.name)
	}
	return slices.Compact(out)
}

// partitionsAhead makes the partitions of days that are missing.
func partitionsAhead(ctx context.Context, conn *sql.Conn, now time.Time) error {
	_, err := maintainPartitions(ctx, conn, now, 0)
	return err
}

func maintainPartitions(ctx context.Context, conn *sql.Conn, now time.Time, days int) (Maintained, error) {
	var m Maintained
	// To change a table is to wait for transactions that use it, while those
	// that come after wait too. So it is not waited for long.
	if _, err := conn.ExecContext(ctx, "SET SESSION lock_wait_timeout = 5"); err != nil {
		return m, err
	}
	defer conn.ExecContext(context.WithoutCancel(ctx), "SET SESSION lock_wait_timeout = DEFAULT")
	var errs []error
	for _, table := range agedNames() {
		have, err := partitions(ctx, conn, table)
		if err != nil {
			errs = append(errs, fmt.Errorf("look up partitions of %s: %w", table, err))
			continue
		}
		if add := missing(have, now); len(add) > 0 {
			if _, err := conn.ExecContext(ctx, addSQL(table, add)); err != nil {
				errs = append(errs, fmt.Errorf("make partitions of %s: %w", table, err))
			} else {
				m.Added += len(add)
			}
		}
		if days <= 0 {
			continue
		}
		if drop := expired(have, cutoff(now, days)); len(drop) > 0 {
			if _, err := conn.ExecContext(ctx, dropSQL(table, drop)); err != nil {
				errs = append(errs, fmt.Errorf("drop partitions of %s: %w", table, err))
			} else {
				m.Partitions += len(drop)
			}
		}
	}
	return m, errors.Join(errs...)
}

func addSQL(table string, add []partition) string {
	var defs []string
	for _, p := range add {
		defs = append(defs, fmt.Sprintf("PARTITION %s VALUES LESS THAN (%d)", p.name, p.bound))
	}
	defs = append(defs, "PARTITION "+lastPartition+" VALUES LESS THAN MAXVALUE")
	return "ALTER TABLE " + table + " REORGANIZE PARTITION " + lastPartition + " INTO (" + strings.Join(defs, ", ") + ")"
}

func dropSQL(table string, drop []partition) string {
	var names []string
	for _, p := range drop {
		names = append(names, quoteName(p.name))
	}
	return "ALTER TABLE " + table + " DROP PARTITION " + strings.Join(names, ", ")
}
