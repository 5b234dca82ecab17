package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"

	"ringside/bench/mariadb"
)

// opener opens a store with nothing in it.
type opener func(testing.TB) *Store

// onBoth runs a test on SQLite and on MariaDB.
func onBoth(t *testing.T, test func(*testing.T, opener)) {
	t.Run("sqlite", func(t *testing.T) {
		test(t, func(t testing.TB) *Store { return open(t, Memory) })
	})
	t.Run("mariadb", func(t *testing.T) {
		startServer(t)
		test(t, openEmpty)
	})
}

// The MariaDB of this test program, started when a test asks for it. Databases
// are made once, and used by one test after the other.
var private struct {
	once   sync.Once
	server *mariadb.Server
	err    error

	mu   sync.Mutex
	made int
	free []string
}

func TestMain(m *testing.M) {
	code := m.Run()
	if private.server != nil {
		if err := private.server.Remove(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = max(code, 1)
		}
	}
	os.Exit(code)
}

// startServer is the server, or skips the test where there is none.
func startServer(t testing.TB) *mariadb.Server {
	t.Helper()
	private.once.Do(func() { private.server, private.err = mariadb.New(mariadb.NoSync) })
	if errors.Is(private.err, mariadb.ErrMissing) {
		t.Skip(private.err)
	}
	if private.err != nil {
		t.Fatal(private.err)
	}
	return private.server
}

// newDatabase is the DSN of a database that no other test uses, with nothing
// in it but perhaps the schema.
func newDatabase(t testing.TB) string {
	t.Helper()
	server := startServer(t)
	p := &private
	p.mu.Lock()
	defer p.mu.Unlock()
	var name string
	if n := len(p.free); n > 0 {
		name, p.free = p.free[n-1], p.free[:n-1]
	} else {
		p.made++
		name = fmt.Sprintf("test_%d", p.made)
	}
	return server.DSN(name)
}

// openEmpty opens a store on MariaDB, and makes it empty again afterwards.
func openEmpty(t testing.TB) *Store {
	t.Helper()
	s := open(t, newDatabase(t))
	t.Cleanup(func() {
		for _, table := range append(agedNames(), minuteTable.name, hourTable.name) {
			if _, err := s.write.ExecContext(context.Background(), "DELETE FROM "+table); err != nil {
				t.Error(err)
				return // the database is not used again
			}
		}
		private.mu.Lock()
		private.free = append(private.free, s.server.database)
		private.mu.Unlock()
	})
	return s
}

// admin is a connection to the server, to no database.
func admin(t testing.TB) *sql.DB {
	t.Helper()
	at, err := parseDSN(startServer(t).DSN("x"))
	if err != nil {
		t.Fatal(err)
	}
	var o Options
	o.setDefaults()
	db, err := at.pool(at.config("", o), 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func execOn(t testing.TB, db *sql.DB, query string, args ...any) {
	t.Helper()
	if _, err := db.Exec(query, args...); err != nil {
		t.Fatal(err)
	}
}
