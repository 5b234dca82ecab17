package store

import (
	"database/sql"
	"errors"
	"fmt"

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

var sqliteDialect = dialect{
	// Without a journal per statement, which costs a tenth of the time.
	insertInto: "INSERT OR FAIL INTO",
	values:     400,
	hasTable:   "SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = ?",
	allTables:  "SELECT COUNT(*) FROM sqlite_master WHERE type = 'table'",
	ddl:        func(s string) string { return s },
	rejected:   sqliteRejected,
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
