package store

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"math"
	"net/netip"

	"ringside/flow/record"
)

// ErrReadOnly is returned for writing to a store opened for queries only.
var ErrReadOnly = errors.New("store is open read-only")

// Batch is what one transaction stores.
type Batch struct {
	Calls   []*record.Call
	Orphans []*record.Stream // streams that no call claimed
}

// Insert stores a batch whole or not at all. A record that is stored already,
// or more than once in the batch, is replaced, with all that belongs to it.
// The records are not kept.
func (s *Store) Insert(ctx context.Context, b Batch) error {
	if s.write == nil {
		return ErrReadOnly
	}
	if len(b.Calls)+len(b.Orphans) == 0 {
		return nil
	}
	tx, err := s.write.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("insert %s: begin: %w", describe(b), err)
	}
	defer tx.Rollback()
	if err := s.insert.batch(ctx, tx, b); err != nil {
		return fmt.Errorf("insert %s: %w", describe(b), err)
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("insert %s: commit: %w", describe(b), err)
	}
	return nil
}

// describe names a batch: its record if it is one.
func describe(b Batch) string {
	switch {
	case len(b.Calls) == 1 && len(b.Orphans) == 0:
		return fmt.Sprintf("call %d (Call-ID %.200q)", b.Calls[0].ID, b.Calls[0].CallID)
	case len(b.Calls) == 0 && len(b.Orphans) == 1:
		o := b.Orphans[0]
		return fmt.Sprintf("orphan stream %s to %s, SSRC %#x", o.Src, o.Dst, o.SSRC)
	}
	return fmt.Sprintf("batch of %d calls, %d orphan streams", len(b.Calls), len(b.Orphans))
}

// OrphanID is the deterministic id of a stream that no call claimed: a 63-bit
// hash of its endpoints, SSRC and first packet.
func OrphanID(s *record.Stream) int64 {
	h := fnv.New64a()
	var b [18]byte
	for _, e := range []netip.AddrPort{s.Src, s.Dst} {
		a := e.Addr().As16()
		copy(b[:], a[:])
		binary.BigEndian.PutUint16(b[16:], e.Port())
		h.Write(b[:])
	}
	binary.BigEndian.PutUint32(b[:], s.SSRC)
	binary.BigEndian.PutUint64(b[4:], uint64(s.First))
	h.Write(b[:12])
	return int64(h.Sum64() & math.MaxInt64)
}

// findMany is how many calls one look-up of stored calls takes.
const findMany = 64

// inserter holds the prepared statements of Insert, for the one writing
// connection.
type inserter struct {
	find         *sql.Stmt // which calls of findMany starts are stored
	remove       []*sql.Stmt
	removeOrphan *sql.Stmt

	calls    [2]*sql.Stmt
	legs     [2]*sql.Stmt
	messages [2]*sql.Stmt
	media    [2]*sql.Stmt
	streams  [2]*sql.Stmt
}

func newInserter(ctx context.Context, db *sql.DB, d *dialect) (*inserter, error) {
	in := new(inserter)
	var err error
	prepare := func(query string) (stmt *sql.Stmt) {
		if err == nil {
			stmt, err = db.PrepareContext(ctx, query)
		}
		return stmt
	}
	in.find = prepare("SELECT start_at, id FROM calls WHERE start_at IN (" + marks(findMany) + ")")
	for _, t := range []string{callTable.name, legTable.name, messageTable.name, mediaTable.name} {
		in.remove = append(in.remove, prepare("DELETE FROM "+t+" WHERE start_at = ? AND id = ?"))
	}
	in.remove = append(in.remove, prepare("DELETE FROM stream WHERE orphan = 0 AND start_at = ? AND id = ?"))
	in.removeOrphan = prepare("DELETE FROM stream WHERE orphan = 1 AND start_at = ? AND id = ?")

	both := func(table string, columns []string) (out [2]*sql.Stmt) {
		out[0] = prepare(insertSQL(d.insertInto, table, columns, 1))
		out[1] = prepare(insertSQL(d.insertInto, table, columns, rowsPerInsert(len(columns))))
		return out
	}
	in.calls = both(callTable.name, callTable.columns())
	in.legs = both(legTable.name, legTable.columns())
	in.messages = both(messageTable.name, messageTable.columns())
	in.media = both(mediaTable.name, mediaTable.columns())
	in.streams = both(streamTable.name, streamTable.columns())
	if err != nil {
		return nil, fmt.Errorf("prepare statements: %w", err)
	}
	return in, nil
}

// rowsPerInsert is how many rows one statement takes: some hundred values,
// beyond which nothing is gained.
func rowsPerInsert(columns int) int { return max(2, 400/columns) }

// rows collects the rows of one table into statements of many rows.
type rows struct {
	ctx       context.Context
	table     string
	one, many *sql.Stmt
	columns   int
	args      []any
}

func newRows(ctx context.Context, tx *sql.Tx, table string, columns int, stmts [2]*sql.Stmt) *rows {
	full := rowsPerInsert(columns) * columns
	return &rows{ctx, table, tx.StmtContext(ctx, stmts[0]), tx.StmtContext(ctx, stmts[1]), columns, make([]any, 0, full)}
}

// flushFull writes the collected rows if they fill a statement.
func (r *rows) flushFull() error {
	if len(r.args) < cap(r.args) {
		return nil
	}
	return r.exec(r.many, r.args)
}

// flush writes what is left, row by row.
func (r *rows) flush() error {
	for i := 0; i < len(r.args); i += r.columns {
		if err := r.exec(r.one, r.args[i:i+r.columns]); err != nil {
			return err
		}
	}
	r.args = r.args[:0]
	return nil
}

func (r *rows) exec(stmt *sql.Stmt, args []any) error {
	if _, err := stmt.ExecContext(r.ctx, args...); err != nil {
		return fmt.Errorf("insert into %s: %w", r.table, err)
	}
	if len(args) == len(r.args) {
		r.args = r.args[:0]
	}
	return nil
}

// batch stores b within tx. Statements run without the caller's cancellation,
// which a driver may pay for with a goroutine each; it is looked at between
// them instead.
func (in *inserter) batch(ctx context.Context, tx *sql.Tx, b Batch) error {
	bare := context.WithoutCancel(ctx)
	calls, orphans := latest(b.Calls, func(c *record.Call) int64 { return c.ID }), latest(b.Orphans, OrphanID)
	if err := in.removeStored(bare, tx, calls, orphans); err != nil {
		return err
	}
	w := &batchWriter{
		calls:    newRows(bare, tx, callTable.name, len(callTable.columns()), in.calls),
		legs:     newRows(bare, tx, legTable.name, len(legTable.columns()), in.legs),
		messages: newRows(bare, tx, messageTable.name, len(messageTable.columns()), in.messages),
		media:    newRows(bare, tx, mediaTable.name, len(mediaTable.columns()), in.media),
		streams:  newRows(bare, tx, streamTable.name, len(streamTable.columns()), in.streams),
	}
	for _, c := range calls {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := w.call(c); err != nil {
			return err
		}
	}
	for _, o := range orphans {
		if err := w.stream(o, &o.CallID, 1, o.First, OrphanID(o), 0); err != nil {
			return err
		}
	}
	return w.flush()
}

// latest keeps the last record of each id, in order.
func latest[T any](records []*T, id func(*T) int64) []*T {
	last := make(map[int64]int, len(records))
	for i, r := range records {
		last[id(r)] = i
	}
	if len(last) == len(records) {
		return records
	}
	out := make([]*T, 0, len(last))
	for i, r := range records {
		if last[id(r)] == i {
			out = append(out, r)
		}
	}
	return out
}

// removeStored deletes what an earlier batch stored of these records.
func (in *inserter) removeStored(ctx context.Context, tx *sql.Tx, calls []*record.Call, orphans []*record.Stream) error {
	find := tx.StmtContext(ctx, in.find)
	for len(calls) > 0 {
		n := min(len(calls), findMany)
		keys, err := findCalls(ctx, find, calls[:n])
		if err != nil {
			return fmt.Errorf("look up stored calls: %w", err)
		}
		for _, key := range keys {
			for _, stmt := range in.remove {
				if _, err := tx.StmtContext(ctx, stmt).ExecContext(ctx, key.start, key.id); err != nil {
					return fmt.Errorf("replace call %d: %w", key.id, err)
				}
			}
		}
		calls = calls[n:]
	}
	remove := tx.StmtContext(ctx, in.removeOrphan)
	for _, o := range orphans {
		if _, err := remove.ExecContext(ctx, o.First, OrphanID(o)); err != nil {
			return fmt.Errorf("replace orphan stream: %w", err)
		}
	}
	return nil
}

// rowKey is the primary key of a call. The id stands for the start too, which
// is part of the hash; the start comes first so that rows of one time lie
// together, and looking there is looking at pages just written.
type rowKey struct{ start, id int64 }

// findCalls is the keys of those calls, at most findMany, that are stored.
func findCalls(ctx context.Context, find *sql.Stmt, calls []*record.Call) ([]rowKey, error) {
	args := make([]any, findMany)
	sought := make(map[rowKey]bool, len(calls))
	for i := range args {
		c := calls[min(i, len(calls)-1)]
		args[i] = c.Start
		sought[rowKey{c.Start, c.ID}] = true
	}
	found, err := find.QueryContext(ctx, args...)
	if err != nil {
		return nil, err
	}
	defer found.Close()
	var keys []rowKey
	for found.Next() {
		var k rowKey
		if err := found.Scan(&k.start, &k.id); err != nil {
			return nil, err
		}
		if sought[k] {
			keys = append(keys, k)
		}
	}
	return keys, found.Err()
}

// batchWriter turns records into rows of the five tables.
type batchWriter struct {
	calls, legs, messages, media, streams *rows

	callRow   Row       // the call at hand
	streamRow streamRow // the stream at hand
}

func (w *batchWriter) call(c *record.Call) error {
	w.callRow = Row{*c, derive(c)}
	w.calls.args = bind(w.calls.args, callTable.fields, &w.callRow)
	if err := w.calls.flushFull(); err != nil {
		return err
	}
	if err := children(w.legs, legTable.fields, c, c.Legs); err != nil {
		return err
	}
	if err := children(w.messages, messageTable.fields, c, c.Messages); err != nil {
		return err
	}
	if err := children(w.media, mediaTable.fields, c, c.Media); err != nil {
		return err
	}
	for i := range c.Streams {
		s := &c.Streams[i]
		var callID *string
		if s.CallID != c.CallID {
			callID = &s.CallID
		}
		if err := w.stream(s, callID, 0, c.Start, c.ID, i); err != nil {
			return err
		}
	}
	return nil
}

func (w *batchWriter) stream(s *record.Stream, callID *string, orphan, start, id int64, seq int) error {
	w.streamRow = streamRow{*s, callID}
	w.streams.args = bind(append(w.streams.args, orphan, start, id, int64(seq)), streamTable.fields, &w.streamRow)
	return w.streams.flushFull()
}

func children[T any](r *rows, fields []field[T], c *record.Call, list []T) error {
	for i := range list {
		r.args = bind(append(r.args, c.Start, c.ID, int64(i)), fields, &list[i])
		if err := r.flushFull(); err != nil {
			return err
		}
	}
	return nil
}

func (w *batchWriter) flush() error {
	for _, r := range []*rows{w.calls, w.legs, w.messages, w.media, w.streams} {
		if err := r.flush(); err != nil {
			return err
		}
	}
	return nil
}
