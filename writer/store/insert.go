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
	"slices"
	"strings"

	"ringside/flow/record"
)

// ErrReadOnly is returned for writing to a store opened for queries only.
var ErrReadOnly = errors.New("store is open read-only")

// Batch is what one transaction stores.
type Batch struct {
	Calls         []*record.Call
	Orphans       []*record.Stream // streams that no call claimed
	Registrations []*record.Registration
	Exchanges     []*record.Exchange
	Events        []*record.Event
	Links         []*record.Link
	Quality       []*record.QualityReport
}

// Len is the number of records.
func (b *Batch) Len() int {
	return len(b.Calls) + len(b.Orphans) + len(b.Registrations) + len(b.Exchanges) + len(b.Events) + len(b.Links) + len(b.Quality)
}

// cut splits b after its first n records.
func (b *Batch) cut(n int) (first, rest Batch) {
	first.Calls, rest.Calls = cut(b.Calls, &n)
	first.Orphans, rest.Orphans = cut(b.Orphans, &n)
	first.Registrations, rest.Registrations = cut(b.Registrations, &n)
	first.Exchanges, rest.Exchanges = cut(b.Exchanges, &n)
	first.Events, rest.Events = cut(b.Events, &n)
	first.Links, rest.Links = cut(b.Links, &n)
	first.Quality, rest.Quality = cut(b.Quality, &n)
	return first, rest
}

// cut takes up to n of the list, and from n what it took.
func cut[T any](list []T, n *int) (first, rest []T) {
	k := min(*n, len(list))
	*n -= k
	return list[:k], list[k:]
}

// Insert stores a batch whole or not at all. A record that is stored already,
// or more than once in the batch, is replaced, with all that belongs to it.
// The records are not kept.
func (s *Store) Insert(ctx context.Context, b Batch) error {
	if s.write == nil {
		return ErrReadOnly
	}
	if b.Len() == 0 {
		return nil
	}
	in, err := s.ready(ctx)
	if err != nil {
		return fmt.Errorf("insert %s: %w", describe(b), notReady{err})
	}
	tx, err := s.write.BeginTx(ctx, s.dialect.tx)
	if err != nil {
		return fmt.Errorf("insert %s: begin: %w", describe(b), err)
	}
	defer tx.Rollback()
	if err := in.batch(ctx, tx, b); err != nil {
		return fmt.Errorf("insert %s: %w", describe(b), err)
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("insert %s: commit: %w", describe(b), err)
	}
	return nil
}

// describe names a batch: its record if it is one, else how many of each kind.
func describe(b Batch) string {
	if b.Len() == 1 {
		return describeOne(b)
	}
	var kinds []string
	for _, k := range []struct {
		n    int
		noun string
	}{
		{len(b.Calls), "calls"}, {len(b.Orphans), "orphan streams"}, {len(b.Registrations), "registrations"},
		{len(b.Exchanges), "exchanges"}, {len(b.Events), "events"}, {len(b.Links), "links"}, {len(b.Quality), "quality reports"},
	} {
		if k.n > 0 {
			kinds = append(kinds, fmt.Sprintf("%d %s", k.n, k.noun))
		}
	}
	return "batch of " + strings.Join(kinds, ", ")
}

func describeOne(b Batch) string {
	switch {
	case len(b.Calls) == 1:
		return fmt.Sprintf("call %d (Call-ID %.200q)", b.Calls[0].ID, b.Calls[0].CallID)
	case len(b.Orphans) == 1:
		o := b.Orphans[0]
		return fmt.Sprintf("orphan stream %s to %s, SSRC %#x", o.Src, o.Dst, o.SSRC)
	case len(b.Registrations) == 1:
		return fmt.Sprintf("registration %d (%.200q)", b.Registrations[0].ID, b.Registrations[0].AOR)
	case len(b.Exchanges) == 1:
		return fmt.Sprintf("%s %d (Call-ID %.200q)", b.Exchanges[0].Kind, b.Exchanges[0].ID, b.Exchanges[0].CallID)
	case len(b.Events) == 1:
		return fmt.Sprintf("event %d (%s)", b.Events[0].ID, b.Events[0].Kind)
	case len(b.Links) == 1:
		return fmt.Sprintf("link of calls %d and %d", b.Links[0].First, b.Links[0].Second)
	}
	return fmt.Sprintf("quality report %d (Call-ID %.200q)", b.Quality[0].ID, b.Quality[0].CallID)
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
	cancels bool // as in dialect

	find   *sql.Stmt // which calls of findMany starts are stored
	forget *sql.Stmt // deletes the addresses of a call, which its other rows tell
	remove []*sql.Stmt

	tables map[string]inserts
}

// inserts are the statements that insert rows into a table, of many rows first
// and of one row last.
type inserts []insertRows

type insertRows struct {
	rows int
	stmt *sql.Stmt
}

// orphans names the inserts of streams that no call claimed.
const orphans = "orphans"

func newInserter(ctx context.Context, db *sql.DB, d *dialect) (*inserter, error) {
	in := &inserter{cancels: d.cancels, tables: make(map[string]inserts)}
	var err error
	prepare := func(query string) (stmt *sql.Stmt) {
		if err == nil {
			stmt, err = db.PrepareContext(ctx, query)
		}
		return stmt
	}
	in.find = prepare("SELECT start_at, id FROM calls WHERE start_at IN (" + marks(findMany) + ")")
	in.forget = prepare(forgetAddrs)
	for _, t := range []string{callTable.name, legTable.name, messageTable.name, mediaTable.name, digitTable.name} {
		in.remove = append(in.remove, prepare("DELETE FROM "+t+" WHERE start_at = ? AND id = ?"))
	}
	in.remove = append(in.remove, prepare("DELETE FROM stream WHERE orphan = 0 AND start_at = ? AND id = ?"))

	each := func(as, insertInto, table string, columns []string, then ...string) {
		for _, n := range d.rowsPerInsert(len(columns)) {
			in.tables[as] = append(in.tables[as], insertRows{n, prepare(insertSQL(insertInto, table, columns, n) + strings.Join(then, ""))})
		}
	}
	each(callTable.name, d.insertInto, callTable.name, callTable.columns())
	each(legTable.name, d.insertInto, legTable.name, legTable.columns())
	each(messageTable.name, d.insertInto, messageTable.name, messageTable.columns())
	each(mediaTable.name, d.insertInto, mediaTable.name, mediaTable.columns())
	each(digitTable.name, d.insertInto, digitTable.name, digitTable.columns())
	each(streamTable.name, d.insertInto, streamTable.name, streamTable.columns())
	each(addrTable.name, d.insertInto, addrTable.name, addrTable.columns())
	for _, t := range []table[rollupRow]{minuteTable, hourTable} {
		each(t.name, d.insertInto, t.name, t.columns(), d.addTo())
	}
	// Records of one row need no looking up before they are replaced.
	const replace = "REPLACE INTO"
	each(orphans, replace, streamTable.name, streamTable.columns())
	each(registrationTable.name, replace, registrationTable.name, registrationTable.columns())
	each(exchangeTable.name, replace, exchangeTable.name, exchangeTable.columns())
	each(eventTable.name, replace, eventTable.name, eventTable.columns())
	each(linkTable.name, replace, linkTable.name, linkTable.columns())
	each(qualityTable.name, replace, qualityTable.name, qualityTable.columns())
	if err != nil {
		return nil, fmt.Errorf("prepare statements: %w", err)
	}
	return in, nil
}

// rowsPerInsert is how many rows the statements of a table take: as many as
// have the values that are worth while, a quarter of that, and so on to 1, so
// that what is left of a batch takes few statements too.
func (d *dialect) rowsPerInsert(columns int) []int {
	out := []int{1}
	for most := d.values / columns; most > 1; most /= 4 {
		out = append(out, most)
	}
	slices.Sort(out)
	slices.Reverse(out)
	return slices.Compact(out)
}

// rows collects the rows of one table into statements of many rows.
type rows struct {
	ctx     context.Context
	table   string
	stmts   inserts // of the transaction
	columns int
	args    []any
}

func newRows[T any](ctx context.Context, in *inserter, tx *sql.Tx, t *table[T]) *rows {
	return newRowsOf(ctx, in, tx, t, t.name)
}

// newRowsOf is newRows with the inserts of another name.
func newRowsOf[T any](ctx context.Context, in *inserter, tx *sql.Tx, t *table[T], as string) *rows {
	r := &rows{ctx: ctx, table: t.name, columns: len(t.key) + len(t.fields)}
	for _, i := range in.tables[as] {
		r.stmts = append(r.stmts, insertRows{i.rows, tx.StmtContext(ctx, i.stmt)})
	}
	r.args = make([]any, 0, r.stmts[0].rows*r.columns)
	return r
}

// flushFull writes the collected rows if they fill a statement.
func (r *rows) flushFull() error {
	if len(r.args) < cap(r.args) {
		return nil
	}
	return r.flush()
}

// flush writes what there is, by as few statements as do.
func (r *rows) flush() error {
	args := r.args
	for _, s := range r.stmts {
		for n := s.rows * r.columns; len(args) >= n; args = args[n:] {
			if _, err := s.stmt.ExecContext(r.ctx, args[:n]...); err != nil {
				return fmt.Errorf("insert into %s: %w", r.table, err)
			}
		}
	}
	r.args = r.args[:0]
	return nil
}

// batch stores b within tx. Where statements are not interrupted, the caller's
// cancellation is looked at between them.
func (in *inserter) batch(ctx context.Context, tx *sql.Tx, b Batch) error {
	bare := ctx
	if !in.cancels {
		bare = context.WithoutCancel(ctx)
	}
	if len(b.Calls)+len(b.Orphans) > 0 {
		if err := in.callBatch(ctx, bare, tx, b); err != nil {
			return err
		}
	}
	err := flat(ctx, bare, in, tx, &registrationTable, b.Registrations)
	if err == nil {
		err = flat(ctx, bare, in, tx, &exchangeTable, b.Exchanges)
	}
	if err == nil {
		err = flat(ctx, bare, in, tx, &eventTable, b.Events)
	}
	if err == nil {
		err = flat(ctx, bare, in, tx, &linkTable, b.Links)
	}
	if err == nil {
		err = flat(ctx, bare, in, tx, &qualityTable, b.Quality)
	}
	return err
}

// flat stores records of one row each.
func flat[T any](ctx, bare context.Context, in *inserter, tx *sql.Tx, t *table[T], records []*T) error {
	if len(records) == 0 {
		return nil
	}
	r := newRows(bare, in, tx, t)
	for _, v := range records {
		if err := ctx.Err(); err != nil {
			return err
		}
		r.args = bind(r.args, t.fields, v)
		if err := r.flushFull(); err != nil {
			return err
		}
	}
	return r.flush()
}

// callBatch stores the calls and orphan streams of b.
func (in *inserter) callBatch(ctx, bare context.Context, tx *sql.Tx, b Batch) error {
	calls := latest(b.Calls, func(c *record.Call) int64 { return c.ID })
	rolls := newRollups()
	if err := in.removeStored(bare, tx, calls, rolls); err != nil {
		return err
	}
	w := &batchWriter{
		calls:    newRows(bare, in, tx, &callTable),
		legs:     newRows(bare, in, tx, &legTable),
		messages: newRows(bare, in, tx, &messageTable),
		media:    newRows(bare, in, tx, &mediaTable),
		digits:   newRows(bare, in, tx, &digitTable),
		streams:  newRows(bare, in, tx, &streamTable),
		addrs:    newRows(bare, in, tx, &addrTable),
		orphans:  newRowsOf(bare, in, tx, &streamTable, orphans),
	}
	for _, c := range calls {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := w.call(c); err != nil {
			return err
		}
		rolls.count(&w.callRow, 1)
	}
	for _, o := range b.Orphans {
		if err := w.stream(w.orphans, o, &o.CallID, 1, o.First, OrphanID(o), 0); err != nil {
			return err
		}
	}
	if err := w.flush(); err != nil {
		return err
	}
	return rolls.flush(bare, in, tx)
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

// removeStored deletes what an earlier batch stored of these calls.
func (in *inserter) removeStored(ctx context.Context, tx *sql.Tx, calls []*record.Call, rolls *rollups) error {
	find := tx.StmtContext(ctx, in.find)
	for len(calls) > 0 {
		n := min(len(calls), findMany)
		keys, err := findCalls(ctx, find, calls[:n])
		if err != nil {
			return fmt.Errorf("look up stored calls: %w", err)
		}
		if err := rolls.takeAway(ctx, tx, keys); err != nil {
			return fmt.Errorf("read stored calls: %w", err)
		}
		for _, key := range keys {
			if err := in.forgetAddrs(ctx, tx, key); err != nil {
				return fmt.Errorf("replace call %d: %w", key.id, err)
			}
			for _, stmt := range in.remove {
				if _, err := tx.StmtContext(ctx, stmt).ExecContext(ctx, key.start, key.id); err != nil {
					return fmt.Errorf("replace call %d: %w", key.id, err)
				}
			}
		}
		calls = calls[n:]
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

// batchWriter turns calls and streams into rows of their tables.
type batchWriter struct {
	calls, legs, messages, media, digits, streams, addrs, orphans *rows

	callRow   Row       // the call at hand
	streamRow streamRow // the stream at hand
	addrRows  []addrRow // of the call at hand
}

func (w *batchWriter) call(c *record.Call) error {
	w.callRow = asRow(c)
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
	if err := children(w.digits, digitTable.fields, c, c.Digits); err != nil {
		return err
	}
	if err := w.addresses(c); err != nil {
		return err
	}
	for i := range c.Streams {
		s := &c.Streams[i]
		var callID *string
		if s.CallID != c.CallID {
			callID = &s.CallID
		}
		if err := w.stream(w.streams, s, callID, 0, c.Start, c.ID, i); err != nil {
			return err
		}
	}
	return nil
}

func (w *batchWriter) stream(to *rows, s *record.Stream, callID *string, orphan, start, id int64, seq int) error {
	w.streamRow = streamRow{*s, callID}
	to.args = bind(append(to.args, orphan, start, id, int64(seq)), streamTable.fields, &w.streamRow)
	return to.flushFull()
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
	for _, r := range []*rows{w.calls, w.legs, w.messages, w.media, w.digits, w.streams, w.addrs, w.orphans} {
		if err := r.flush(); err != nil {
			return err
		}
	}
	return nil
}
