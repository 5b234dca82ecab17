package store

import (
	"context"
	"database/sql"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"strings"

	"ringside/flow/record"
)

// ErrNotFound is returned for a call that is not in the store.
var ErrNotFound = errors.New("call not found")

// ErrCursor is returned for a cursor that no answer to this query gave.
var ErrCursor = errors.New("cursor does not fit the query: start again without one")

// Page chooses a part of a list, which is ordered by start, then id.
type Page struct {
	Limit     int    // rows (default 100, at most MaxLimit)
	Cursor    string // Next of the page before; empty: the first page
	Ascending bool   // oldest first, instead of newest first
}

// MaxLimit is the largest page.
const MaxLimit = 10000

func (p *Page) limit() int {
	if p.Limit <= 0 {
		return 100
	}
	return min(p.Limit, MaxLimit)
}

// order is the ORDER BY of the page, by the time column at, and its condition
// on where to begin goes into w. The cursor is the key of the last row seen, so
// that rows stored meanwhile neither repeat nor hide others. The condition on
// the time alone is what lets the database begin there; not where byOther says
// that the query goes by another index.
func (p *Page) order(w *where, at string, byOther bool) (string, error) {
	order, beyond := " ORDER BY "+at+" DESC, id DESC", "<"
	if p.Ascending {
		order, beyond = " ORDER BY "+at+", id", ">"
	}
	if p.Cursor != "" {
		key, ascending, ok := parseCursor(p.Cursor)
		if !ok || ascending != p.Ascending {
			return "", ErrCursor
		}
		w.add(fmt.Sprintf("%s %s= ? AND (%s %s ? OR id %s ?)", unindexed(at, byOther), beyond, at, beyond, beyond),
			key.start, key.start, key.id)
	}
	return order + " LIMIT ?", nil
}

func cursor(k rowKey, ascending bool) string {
	b := make([]byte, 17)
	if ascending {
		b[0] = 1
	}
	binary.BigEndian.PutUint64(b[1:], uint64(k.start))
	binary.BigEndian.PutUint64(b[9:], uint64(k.id))
	return base64.RawURLEncoding.EncodeToString(b)
}

func parseCursor(s string) (k rowKey, ascending, ok bool) {
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil || len(b) != 17 || b[0] > 1 {
		return k, false, false
	}
	k.start = int64(binary.BigEndian.Uint64(b[1:]))
	k.id = int64(binary.BigEndian.Uint64(b[9:]))
	return k, b[0] == 1, true
}

// Result is a page of calls.
type Result struct {
	Calls []Row  `json:"calls"`
	Next  string `json:"next,omitempty"` // cursor of the next page; empty: this is the last
}

// Calls lists the calls that f chooses.
func (s *Store) Calls(ctx context.Context, f Filter, p Page) (Result, error) {
	q, err := s.search(f, p)
	if err != nil {
		return Result{}, err
	}
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	keys, err := q.page(ctx, p.limit()+1)
	var r Result
	if n := p.limit(); len(keys) > n {
		keys = keys[:n]
		r.Next = cursor(keys[n-1], p.Ascending)
	}
	if err == nil {
		r.Calls, err = s.rowsOf(ctx, keys)
	}
	if err != nil {
		return Result{}, fmt.Errorf("list calls: %w", s.slow(ctx, err))
	}
	return r, nil
}

// Count is the number of calls that f chooses, counted one by one: CountUpTo says
// sooner that there are very many.
func (s *Store) Count(ctx context.Context, f Filter) (int64, error) {
	n, _, err := s.countCalls(ctx, f, math.MaxInt64)
	if err != nil {
		return 0, fmt.Errorf("count calls: %w", err)
	}
	return n, nil
}

// Call is the whole call of an id, as it was stored, or ErrNotFound.
func (s *Store) Call(ctx context.Context, id int64) (*record.Call, error) {
	calls, err := s.whole(ctx, "id = ?", id)
	if err != nil {
		return nil, fmt.Errorf("read call %d: %w", id, err)
	}
	if len(calls) == 0 {
		return nil, fmt.Errorf("read call %d: %w", id, ErrNotFound)
	}
	return calls[0], nil
}

// CallsByCallID is the whole calls of a SIP Call-ID, oldest first; none is no
// error.
func (s *Store) CallsByCallID(ctx context.Context, callID string) ([]*record.Call, error) {
	calls, err := s.whole(ctx, "call_id = ?", callID)
	if err != nil {
		return nil, fmt.Errorf("read calls of Call-ID %q: %w", callID, err)
	}
	return calls, nil
}

// whole reads calls with their children in one transaction, so that all are of
// the same moment.
func (s *Store) whole(ctx context.Context, cond string, arg any) ([]*record.Call, error) {
	tx, err := s.read.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return nil, err
	}
	defer tx.Rollback()
	query := "SELECT " + strings.Join(callTable.columns(), ", ") + " FROM calls WHERE " + cond + " ORDER BY start_at, id"
	rows, err := all(ctx, tx, callTable.fields, query, arg)
	if err != nil {
		return nil, err
	}
	var out []*record.Call
	for i := range rows {
		c := &rows[i].Call
		if c.Legs, err = childrenOf(ctx, tx, &legTable, c); err != nil {
			return nil, err
		}
		if c.Messages, err = childrenOf(ctx, tx, &messageTable, c); err != nil {
			return nil, err
		}
		if c.Media, err = childrenOf(ctx, tx, &mediaTable, c); err != nil {
			return nil, err
		}
		if c.Digits, err = childrenOf(ctx, tx, &digitTable, c); err != nil {
			return nil, err
		}
		if c.Streams, err = streamsOf(ctx, tx, c); err != nil {
			return nil, err
		}
		out = append(out, c)
	}
	return out, nil
}

func childrenOf[T any](ctx context.Context, q querier, t *table[T], c *record.Call) ([]T, error) {
	query := "SELECT " + strings.Join(names(t.fields), ", ") + " FROM " + t.name + " WHERE start_at = ? AND id = ? ORDER BY seq"
	return all(ctx, q, t.fields, query, c.Start, c.ID)
}

func streamsOf(ctx context.Context, q querier, c *record.Call) ([]record.Stream, error) {
	query := "SELECT " + strings.Join(names(streamTable.fields), ", ") +
		" FROM stream WHERE orphan = 0 AND start_at = ? AND id = ? ORDER BY seq"
	rows, err := all(ctx, q, streamTable.fields, query, c.Start, c.ID)
	if err != nil {
		return nil, err
	}
	var out []record.Stream
	for _, r := range rows {
		if r.Stream.CallID = c.CallID; r.callID != nil {
			r.Stream.CallID = *r.callID
		}
		out = append(out, r.Stream)
	}
	return out, nil
}

// all reads every row of a query whose columns are fields.
func all[T any](ctx context.Context, q querier, fields []field[T], query string, args ...any) ([]T, error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []T
	var v T
	dest := cells(nil, fields, &v)
	for rows.Next() {
		if err := rows.Scan(dest...); err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, rows.Err()
}

// OrphanFilter chooses streams that no call claimed. The zero value of a field
// is no condition.
type OrphanFilter struct {
	From, To int64        // First in [From, To), ns since the epoch
	Scope    Scope        // what may be seen at all
	Addr     netip.Prefix // sending or receiving
	SSRC     uint32
	Codec    string
}

// OrphanResult is a page of streams that no call claimed.
type OrphanResult struct {
	Streams []record.Stream `json:"streams"`
	Next    string          `json:"next,omitempty"`
}

// Orphans lists streams that no call claimed, by first packet.
func (s *Store) Orphans(ctx context.Context, f OrphanFilter, p Page) (OrphanResult, error) {
	w := new(where)
	w.add("orphan = 1")
	w.times("start_at", f.From, f.To)
	w.inside(f.Addr, "src_addr", "dst_addr")
	if f.SSRC != 0 {
		w.add("ssrc = ?", int64(f.SSRC))
	}
	w.fold(f.Codec, "codec")
	w.scope(f.Scope, "", nil, []string{"src_addr", "dst_addr"})
	order, err := p.order(w, "start_at", false)
	if err != nil {
		return OrphanResult{}, err
	}
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	query := "SELECT " + strings.Join(names(streamTable.fields), ", ") + " FROM stream" + w.String() + order
	rows, err := all(ctx, s.read, streamTable.fields, query, append(w.args, p.limit()+1)...)
	if err != nil {
		return OrphanResult{}, fmt.Errorf("list orphan streams: %w", s.slow(ctx, err))
	}
	var r OrphanResult
	for i := range rows {
		if i == p.limit() {
			last := &r.Streams[i-1]
			r.Next = cursor(rowKey{last.First, OrphanID(last)}, p.Ascending)
			break
		}
		if id := rows[i].callID; id != nil {
			rows[i].Stream.CallID = *id
		}
		r.Streams = append(r.Streams, rows[i].Stream)
	}
	return r, nil
}
