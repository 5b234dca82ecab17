package store

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	"ringside/flow/record"
)

// List is a page of records.
type List[T any] struct {
	Records []T    `json:"records"`
	Next    string `json:"next,omitempty"` // cursor of the next page; empty: this is the last
}

// Registrations lists the registrations that f chooses, by their start.
func (s *Store) Registrations(ctx context.Context, f RegistrationFilter, p Page) (List[record.Registration], error) {
	return list(ctx, s, &registrationTable, f.where(), p, func(r *record.Registration) rowKey { return rowKey{r.Start, r.ID} })
}

// Exchanges lists the exchanges that f chooses, by their start.
func (s *Store) Exchanges(ctx context.Context, f ExchangeFilter, p Page) (List[record.Exchange], error) {
	return list(ctx, s, &exchangeTable, f.where(), p, func(e *record.Exchange) rowKey { return rowKey{e.Start, e.ID} })
}

// Events lists the events that f chooses, by their time.
func (s *Store) Events(ctx context.Context, f EventFilter, p Page) (List[record.Event], error) {
	return list(ctx, s, &eventTable, f.where(), p, func(e *record.Event) rowKey { return rowKey{e.Time, e.ID} })
}

// list is a page of a table, ordered by its first column and its id.
func list[T any](ctx context.Context, s *Store, t *table[T], w *where, p Page, key func(*T) rowKey) (List[T], error) {
	order, err := p.order(w, t.fields[0].name, false)
	if err != nil {
		return List[T]{}, err
	}
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	query := "SELECT " + strings.Join(t.columns(), ", ") + " FROM " + t.name + w.String() + order
	rows, err := all(ctx, s.read, t.fields, query, append(w.args, p.limit()+1)...)
	if err != nil {
		return List[T]{}, fmt.Errorf("list %ss: %w", t.name, s.slow(ctx, err))
	}
	l := List[T]{Records: rows}
	if n := p.limit(); len(rows) > n {
		l.Records, l.Next = rows[:n], cursor(key(&rows[n-1]), p.Ascending)
	}
	return l, nil
}

// CountRegistrations is the number of registrations that f chooses.
func (s *Store) CountRegistrations(ctx context.Context, f RegistrationFilter) (int64, error) {
	return s.countRows(ctx, registrationTable.name, f.where())
}

// CountExchanges is the number of exchanges that f chooses.
func (s *Store) CountExchanges(ctx context.Context, f ExchangeFilter) (int64, error) {
	return s.countRows(ctx, exchangeTable.name, f.where())
}

// CountEvents is the number of event records that f chooses.
func (s *Store) CountEvents(ctx context.Context, f EventFilter) (int64, error) {
	return s.countRows(ctx, eventTable.name, f.where())
}

func (s *Store) countRows(ctx context.Context, table string, w *where) (int64, error) {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	var n int64
	if err := s.read.QueryRowContext(ctx, "SELECT COUNT(*) FROM "+table+w.String(), w.args...).Scan(&n); err != nil {
		return 0, fmt.Errorf("count %ss: %w", table, s.slow(ctx, err))
	}
	return n, nil
}

// LinkedCall is a link as one of its calls sees it.
type LinkedCall struct {
	Link    record.Link `json:"link"`
	OtherID int64       `json:"other_id"`       // of the other call
	Call    *Row        `json:"call,omitempty"` // the other call, nil if it is not in the store
}

// Links is what links the call of an id with others, in both directions, the
// surest links first.
func (s *Store) Links(ctx context.Context, id int64) ([]LinkedCall, error) {
	tx, err := s.read.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return nil, fmt.Errorf("read links of call %d: %w", id, err)
	}
	defer tx.Rollback()
	out, err := links(ctx, tx, id)
	if err != nil {
		return nil, fmt.Errorf("read links of call %d: %w", id, err)
	}
	return out, nil
}

func links(ctx context.Context, q querier, id int64) ([]LinkedCall, error) {
	found, err := all(ctx, q, linkTable.fields, "SELECT "+strings.Join(linkTable.columns(), ", ")+
		" FROM call_link WHERE first_id = ? OR second_id = ? ORDER BY score DESC, start_at, id", id, id)
	if err != nil {
		return nil, err
	}
	var out []LinkedCall
	for _, l := range found {
		start, other := l.Other, l.Second
		if l.Second == id {
			start, other = l.Start, l.First
		}
		rows, err := all(ctx, q, callTable.fields, "SELECT "+strings.Join(callTable.columns(), ", ")+
			" FROM calls WHERE start_at = ? AND id = ?", start, other)
		if err != nil {
			return nil, err
		}
		linked := LinkedCall{Link: l, OtherID: other}
		if len(rows) > 0 {
			linked.Call = &rows[0]
		}
		out = append(out, linked)
	}
	return out, nil
}

// QualityReports is what endpoints reported of the call of a SIP Call-ID,
// oldest first; none is no error.
func (s *Store) QualityReports(ctx context.Context, callID string) ([]record.QualityReport, error) {
	out, err := all(ctx, s.read, qualityTable.fields, "SELECT "+strings.Join(qualityTable.columns(), ", ")+
		" FROM quality_report WHERE call_id = ? ORDER BY sent_at, id", callID)
	if err != nil {
		return nil, fmt.Errorf("read quality reports of Call-ID %q: %w", callID, err)
	}
	return out, nil
}
