package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"
)

// rollupDays is how many days the rollups are kept that have few values: by the
// hour, of all calls, and by status and outcome. What else there is goes with the
// calls it counts.
const rollupDays = 2 * 366

// rollStep is how many calls one transaction counts, of those that an earlier
// version stored.
const rollStep = 500

// deleteRollups deletes old rollups.
func (s *Store) deleteRollups(ctx context.Context, now time.Time, days int) error {
	for _, t := range []table[rollupRow]{minuteTable, hourTable} {
		seen := make(map[string]bool)
		for i := range dimensions {
			d := &dimensions[i]
			if d.grain == unkept || seen[d.kept()] {
				continue
			}
			seen[d.kept()] = true
			kept := days
			if t.name == hourTable.name && d.grain == minutely {
				kept = max(days, rollupDays)
			}
			_, err := s.write.ExecContext(ctx, "DELETE FROM "+t.name+" WHERE dim = ? AND from_at < ?", d.kept(), cutoff(now, kept))
			if err != nil {
				return fmt.Errorf("delete old rollups: %w", err)
			}
		}
	}
	return nil
}

// rollUp counts calls that a version without rollups stored, step by step.
func (s *Store) rollUp(ctx context.Context) error {
	for {
		done, err := s.rollUpSome(ctx)
		if err != nil {
			return fmt.Errorf("count calls of an earlier version: %w", err)
		}
		if done {
			return nil
		}
	}
}

// rollUpSome counts the oldest of them.
func (s *Store) rollUpSome(ctx context.Context) (done bool, err error) {
	in, err := s.ready(ctx)
	if err != nil {
		return false, err
	}
	tx, err := s.write.BeginTx(ctx, s.dialect.tx)
	if err != nil {
		return false, err
	}
	defer tx.Rollback()
	var from, until int64
	err = tx.QueryRowContext(ctx, "SELECT from_at, until_at FROM rollup_pending ORDER BY from_at LIMIT 1").Scan(&from, &until)
	if errors.Is(err, sql.ErrNoRows) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	calls, err := all(ctx, tx, callTable.fields, "SELECT "+strings.Join(callTable.columns(), ", ")+
		" FROM calls WHERE start_at >= ? AND start_at <= ? AND rolled = 0 ORDER BY start_at, id LIMIT ?", from, until, rollStep)
	if err != nil {
		return false, err
	}
	rolls := newRollups()
	for i := range calls {
		c := &calls[i]
		rolls.count(c, 1)
		if _, err := tx.ExecContext(ctx, "UPDATE calls SET rolled = 1 WHERE start_at = ? AND id = ?", c.Start, c.ID); err != nil {
			return false, err
		}
	}
	if err := rolls.flush(ctx, in, tx); err != nil {
		return false, err
	}
	if len(calls) < rollStep {
		_, err = tx.ExecContext(ctx, "DELETE FROM rollup_pending WHERE from_at = ?", from)
	} else {
		_, err = tx.ExecContext(ctx, "UPDATE rollup_pending SET from_at = ? WHERE from_at = ?", calls[len(calls)-1].Start, from)
	}
	if err != nil {
		return false, err
	}
	return false, tx.Commit()
}
