package store

import (
	"errors"
	"fmt"

	"modernc.org/sqlite"
	lib "modernc.org/sqlite/lib"
)

// dialect is what differs between databases. Everything else is SQL that they
// share.
type dialect struct {
	driver string // name in database/sql
	// insertInto begins an INSERT. That of several rows need not be undone by
	// itself when it fails: its transaction is rolled back.
	insertInto string
	// hasTable is a query that counts the tables of a name, and allTables one
	// that counts all.
	hasTable, allTables string
	// ddl puts a statement of the schema into the words of the database; the
	// schema is written in SQLite's.
	ddl func(string) string
	// rejected reports that the database will never take these rows, as
	// opposed to not taking any now.
	rejected func(error) bool
	// explained is an error that opening the database gave, with what to do.
	explained func(error) error
}

var sqliteDialect = dialect{
	driver: "sqlite",
	// Without a journal per statement, which costs a tenth of the time.
	insertInto: "INSERT OR FAIL INTO",
	hasTable:   "SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = ?",
	allTables:  "SELECT COUNT(*) FROM sqlite_master WHERE type = 'table'",
	ddl:        func(s string) string { return s },
	rejected:   sqliteRejected,
	explained:  sqliteExplained,
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
