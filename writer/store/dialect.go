package store

import (
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"

	"modernc.org/sqlite"
	lib "modernc.org/sqlite/lib"
)

// dialect is what differs between databases. Everything else is SQL that they
// share.
type dialect struct {
	// insertInto begins an INSERT. That of several rows need not be undone by
	// itself when it fails: its transaction is rolled back.
	insertInto string
	// values is how many values a statement of many rows takes; more gains
	// nothing (bench/results).
	values int
	// cancels is whether statements are interrupted when their context ends: a
	// server may keep one waiting for ever. SQLite's driver would start a
	// goroutine for each; there the context is looked at between records.
	cancels bool
	// tx is how a transaction that writes is begun.
	tx *sql.TxOptions
	// hasTable is a query that counts the tables of a name, and allTables one
	// that counts all.
	hasTable, allTables string
	// byTime and byIndex have a query look at calls by their start, or by an index
	// of that name; byHour says that indexes begin with the hour. thenJoin joins a
	// table that is looked at second.
	byTime   string
	byIndex  func(index string) string
	byHour   bool
	thenJoin string
	// hours are the lengths of the steps of a search; the last one is repeated.
	hours []int64
	// upsert are the words between an INSERT and what is changed of a row that is
	// there, and inserted is the value that would have been inserted.
	upsert   string
	inserted func(column string) string
	// ddl puts a statement of the schema into the words of the database; the
	// schema is written in SQLite's.
	ddl func(string) string
	// applied reports that a statement of the schema failed because it had been
	// carried out before, by a migration that was interrupted. Nil: a migration
	// is a transaction, of which nothing remains then.
	applied func(error) bool
	// rejected reports that the database will never take these rows, as
	// opposed to not taking any now.
	rejected func(error) bool
}

// addTo is the end of an INSERT of rollups, by which what is there is added to.
func (d *dialect) addTo() string {
	var set []string
	for _, c := range tallyCells {
		set = append(set, c.name+" = "+c.name+" + "+d.inserted(c.name))
	}
	return d.upsert + strings.Join(set, ", ")
}

var sqliteDialect = dialect{
	// Without a journal per statement, which costs a tenth of the time.
	insertInto: "INSERT OR FAIL INTO",
	values:     400,
	hasTable:   "SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = ?",
	allTables:  "SELECT COUNT(*) FROM sqlite_master WHERE type = 'table'",
	byTime:     " NOT INDEXED",
	byIndex:    func(index string) string { return " INDEXED BY " + index },
	byHour:     true,
	thenJoin:   " CROSS JOIN ",
	hours:      []int64{1, 4, 16, 64, 256, 1024},
	upsert:     " ON CONFLICT (dim, from_at, value, sensor) DO UPDATE SET ",
	inserted:   func(c string) string { return "excluded." + c },
	ddl:        func(s string) string { return s },
	rejected:   sqliteRejected,
}

// SQLite by itself puts ASCII alone into lower case, a server the letters of every
// alphabet. Searches shall find the same in both.
func init() {
	sqlite.MustRegisterFunction("lower", &sqlite.FunctionImpl{
		NArgs: 1, Deterministic: true,
		VolatileArgs: true, // whole, also behind a NUL; and they are not kept
		Scalar: func(_ *sqlite.FunctionContext, args []driver.Value) (driver.Value, error) {
			if text, ok := args[0].(string); ok {
				return strings.ToLower(text), nil
			}
			return args[0], nil
		},
	})
}

func sqliteExplained(err error) error {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return err
	}
	switch e.Code() & 0xff {
	case lib.SQLITE_NOTADB:
		return fmt.Errorf("%w: %w", errForeign, err)
	case lib.SQLITE_CORRUPT:
		return fmt.Errorf("the file is damaged: take a copy of it from before, or get out what can be read with sqlite3 FILE .recover: %w", err)
	}
	return err
}

func sqliteRejected(err error) bool {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return false
	}
	switch e.Code() & 0xff { // without the extended part
	case lib.SQLITE_CONSTRAINT, lib.SQLITE_MISMATCH, lib.SQLITE_TOOBIG, lib.SQLITE_RANGE:
		return true
	}
	return false
}
