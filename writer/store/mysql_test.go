package store

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"ringside/bench/mariadb"
	"ringside/flow/record"
)

func TestMySQLDDL(t *testing.T) {
	for in, want := range map[string]string{
		"CREATE TABLE t (\n    start_at BIGINT NOT NULL,\n    call_id VARCHAR(255) NOT NULL,\n    method VARCHAR(64) NOT NULL,\n    kind VARCHAR(16) NOT NULL\n) WITHOUT ROWID": "CREATE TABLE t (\n    start_at BIGINT NOT NULL,\n    call_id VARCHAR(1024) NOT NULL,\n    method VARCHAR(255) NOT NULL,\n    kind VARCHAR(16) NOT NULL\n)" +
			" ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PARTITION BY RANGE (start_at) (PARTITION pmax VALUES LESS THAN MAXVALUE)",
		"CREATE INDEX i ON t (call_id)":                                "CREATE INDEX i ON t (call_id(255))",
		"CREATE INDEX i ON t (caller_number)":                          "CREATE INDEX i ON t (caller_number)",
		"CREATE INDEX i ON calls (start_at / 3600000000000, mos_min)":  "CREATE INDEX i ON calls (mos_min)",
		"/* sqlite */ DROP INDEX i":                                    "",
		"CREATE VIEW v AS SELECT CAST(ROUND(x / 1e9) AS INTEGER) AS y": "CREATE OR REPLACE SQL SECURITY INVOKER VIEW v AS SELECT CAST(CAST(x / 1e9 AS DECIMAL(30)) AS SIGNED) AS y",
		"SELECT datetime(c.end_at / 1000000000, 'unixepoch')":          "SELECT TIMESTAMP '1970-01-01 00:00:00' + INTERVAL (c.end_at DIV 1000000000) SECOND",
	} {
		if got := mysqlDDL(in); got != want {
			t.Errorf("%s\nbecomes %s\nwant    %s", in, got, want)
		}
	}
	for _, m := range migrations() {
		for _, statement := range statements(m.sql) {
			for _, word := range []string{"ROWID", "unixepoch", "AS INTEGER", "VARCHAR(64)"} {
				if got := mysqlDDL(statement); strings.Contains(got, word) {
					t.Errorf("%s: %s remains in %.80s", m.name, word, got)
				}
			}
		}
	}
}

func TestServerVersion(t *testing.T) {
	for version, ok := range map[string]bool{
		"10.11.19-MariaDB-0+deb12u1": true, "11.4.2-MariaDB": true, "5.5.5-10.6.1-MariaDB-log": true, "10.4.34-MariaDB": false, "5.5.68-MariaDB": false,
		"8.0.13": true, "8.4.0": true, "9.1.0-commercial": true, "8.0.12": false, "5.7.44-log": false,
		"8.0.11-TiDB-v7.5.0": true, "a cluster of its own": true,
	} {
		if err := checkServerVersion(version); (err == nil) != ok {
			t.Errorf("%s: %v", version, err)
		} else if err != nil && !strings.Contains(err.Error(), "or later") {
			t.Errorf("%s: %v does not say which", version, err)
		}
	}
}

// tryOpen opens a store and closes it again.
func tryOpen(t *testing.T, o Options) error {
	t.Helper()
	s, err := Open(t.Context(), o)
	if err == nil {
		s.Close()
	}
	return err
}

// TestOpenServer opens stores on a server that have something amiss, and
// expects to be told what to do.
func TestOpenServer(t *testing.T) {
	server := startServer(t)
	root := admin(t)
	at := func(login, database string) string {
		return "mysql://" + login + "@unix(" + server.Socket + ")/" + database
	}
	execOn(t, root, "CREATE USER poor IDENTIFIED BY 'p@ss'")
	execOn(t, root, "CREATE DATABASE foreign_db")
	execOn(t, root, "CREATE TABLE foreign_db.mine (x INT)")
	for _, c := range []struct {
		name, dsn string
		readOnly  bool
		says      []string
		away      bool
	}{
		{"wrong password", at("poor:secret", "x"), false, []string{"does not let poor in", "password-file"}, true},
		{"may not make it", at("poor:p@ss", "no_such"), false, []string{"poor lacks rights", "GRANT ALL PRIVILEGES ON `no_such`.* TO 'poor'"}, true},
		{"none to read", at("root", "no_such"), true, []string{"there is no such database"}, true},
		{"somebody else's", at("root", "foreign_db"), false, []string{"not a ringside store", "name another"}, false},
		{"no server", "mysql://u@unix(/none/socket)/x", false, []string{"cannot be reached", "is it running"}, true},
		{"no TLS", at("root", "x") + "?tls=skip-verify", false, []string{"has no TLS"}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := tryOpen(t, Options{Path: c.dsn, ReadOnly: c.readOnly})
			for _, part := range c.says {
				if err == nil || !strings.Contains(err.Error(), part) {
					t.Errorf("error %v, want one with %q", err, part)
				}
			}
			if err != nil && (strings.Contains(err.Error(), "p@ss") || strings.Contains(err.Error(), "secret")) {
				t.Errorf("error %v tells the password", err)
			}
			if Away(err) != c.away {
				t.Errorf("away %v: %v", !c.away, err)
			}
		})
	}
	t.Run("odd name", func(t *testing.T) {
		dsn := at("root", "odd%20%60name%60%20-1")
		s := open(t, dsn)
		insert(t, s, &record.Call{ID: 1})
		r, err := Open(t.Context(), Options{Path: dsn, ReadOnly: true})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		if n, err := r.Count(t.Context(), Filter{}); n != 1 || err != nil {
			t.Errorf("%d calls, error %v", n, err)
		}
		if err := r.Insert(t.Context(), Batch{}); !errors.Is(err, ErrReadOnly) {
			t.Errorf("insert: error %v, want ErrReadOnly", err)
		}
	})
	t.Run("converted", func(t *testing.T) {
		s := open(t, newDatabase(t))
		execOn(t, s.write, "ALTER TABLE calls CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci")
		if err := tryOpen(t, Options{Path: server.DSN(s.server.database)}); err == nil || !strings.Contains(err.Error(), "ALTER TABLE calls CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_bin") {
			t.Errorf("error %v", err)
		}
		execOn(t, s.write, "ALTER TABLE calls CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")
		if err := tryOpen(t, Options{Path: server.DSN(s.server.database)}); err != nil {
			t.Errorf("once it is mended: %v", err)
		}
	})
	t.Run("newer schema", func(t *testing.T) {
		s := open(t, newDatabase(t))
		execOn(t, s.write, "INSERT INTO schema_version VALUES (99, 0)")
		if err := tryOpen(t, Options{Path: server.DSN(s.server.database)}); err == nil || !strings.Contains(err.Error(), "schema version 99 is newer") {
			t.Errorf("error %v", err)
		}
	})
}

// TestServerMigrationInterrupted cuts migrations short after some of their
// statements, and expects the next one to do what is left.
func TestServerMigrationInterrupted(t *testing.T) {
	if testing.Short() {
		t.Skip("makes a schema a dozen times")
	}
	s := openEmpty(t)
	var all int
	for _, m := range migrations() {
		all += len(statements(m.sql))
	}
	want := rowCounts(t, s)
	last := len(migrations())
	for n := 0; n < all; n += 16 { // of some; each costs as much as a schema
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			db := admin(t)
			name := fmt.Sprintf("cut_%d", n)
			execOn(t, db, "CREATE DATABASE "+name)
			execOn(t, db, "USE "+name)
			execOn(t, db, "CREATE TABLE schema_version (version INT NOT NULL PRIMARY KEY, applied_at BIGINT NOT NULL)")
			left := n
			for _, m := range migrations() {
				for _, statement := range statements(m.sql) {
					words := mysqlDDL(statement)
					if words == "" { // of SQLite alone
						continue
					}
					if left == 0 {
						break
					}
					execOn(t, db, words)
					left--
				}
				if left == 0 {
					break
				}
				execOn(t, db, "INSERT INTO schema_version VALUES (?, 0)", m.version)
			}
			whole := open(t, startServer(t).DSN(name))
			if v, err := schemaVersion(t.Context(), whole.read, &mysqlDialect); v != last || err != nil {
				t.Errorf("version %d, error %v, want %d", v, err, last)
			}
			if got := rowCounts(t, whole); len(got) != len(want) {
				t.Errorf("tables %v", got)
			}
			put(t, whole, compatBatch())
			checkRow(t, oneRow(t, whole, "SELECT * FROM cdr WHERE ID = 20"), map[string]any{"caller": "100"})
			execOn(t, db, "DROP DATABASE "+name)
		})
	}
}

// TestServerAway stops and kills the server under a store, which must say so,
// and go on when the server is there again.
func TestServerAway(t *testing.T) {
	server, err := mariadb.New(mariadb.NoSync) // that no other test uses
	if errors.Is(err, mariadb.ErrMissing) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Remove() })
	s := open(t, server.DSN("away"))
	insert(t, s, &record.Call{ID: 1})
	for i, end := range []func() error{server.Stop, server.Kill} {
		if err := end(); err != nil {
			t.Fatal(err)
		}
		if err := s.Insert(t.Context(), Batch{Calls: []*record.Call{{ID: 2}}}); !Away(err) || s.dialect.rejected(err) {
			t.Errorf("insert without a server: %v, want one that is away", err)
		}
		if _, err := s.Count(t.Context(), Filter{}); !Away(err) {
			t.Errorf("count without a server: %v, want one that is away", err)
		}
		lazy, err := Open(t.Context(), Options{Path: server.DSN(fmt.Sprintf("lazy_%d", i)), Lazy: true})
		if err != nil {
			t.Fatalf("open lazily: %v", err)
		}
		defer lazy.Close()
		if err := lazy.Insert(t.Context(), Batch{Calls: []*record.Call{{ID: 3}}}); !Away(err) {
			t.Errorf("insert into what was never there: %v", err)
		}
		if err := server.Start(); err != nil {
			t.Fatal(err)
		}
		for name, st := range map[string]*Store{"again": s, "lazy": lazy} {
			err := eventually(t, func() error { return st.Insert(t.Context(), Batch{Calls: []*record.Call{{ID: int64(10 + i)}}}) })
			if err != nil {
				t.Errorf("%s: insert once the server is back: %v", name, err)
			}
		}
		if n, err := lazy.Count(t.Context(), Filter{}); n != 1 || err != nil {
			t.Errorf("lazy: %d calls, error %v", n, err)
		}
		want := int64(2 + i)
		if err := eventually(t, func() error { _, err := s.Count(t.Context(), Filter{}); return err }); err != nil {
			t.Error(err)
		}
		if n, err := s.Count(t.Context(), Filter{}); n != want || err != nil {
			t.Errorf("%d calls, error %v, want %d", n, err, want)
		}
	}
}

// TestServerKeepsWaiting gives up on a server that does not come to an end.
func TestServerKeepsWaiting(t *testing.T) {
	s := openEmpty(t)
	other := admin(t)
	execOn(t, other, "LOCK TABLES "+quoteName(s.server.database)+".call_leg WRITE")
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := s.Insert(ctx, Batch{Calls: records(t, 3)}); !errors.Is(err, context.DeadlineExceeded) || !Away(err) {
		t.Errorf("insert into a locked table: %v", err)
	}
	execOn(t, other, "UNLOCK TABLES")
	if err := eventually(t, func() error { return s.Insert(t.Context(), Batch{Calls: records(t, 3)}) }); err != nil {
		t.Errorf("once it is unlocked: %v", err)
	}
	if n := rowCounts(t, s); n["calls"] != 3 || n["call_leg"] != 9 {
		t.Errorf("rows %v", n)
	}
}

// eventually tries again what fails because the server is away.
func eventually(t *testing.T, do func() error) error {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		if err := do(); !Away(err) || time.Now().After(end) {
			return err
		}
	}
}

// TestServerTLS connects with TLS, with the right certificate and with others.
func TestServerTLS(t *testing.T) {
	dir, err := os.MkdirTemp("", "tls-") // that the server's account may read
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	cert, key := certificate(t, dir, "db.example")
	server, err := mariadb.New(mariadb.NoSync, "--ssl-cert="+cert, "--ssl-key="+key, "--ssl-ca="+cert)
	if errors.Is(err, mariadb.ErrMissing) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Remove() })
	for options, says := range map[string]string{
		"tls=yes&tls-name=db.example&tls-ca=" + cert: "",
		"tls=skip-verify":                               "",
		"tls=yes&tls-name=db.example":                   "give tls-ca=FILE",
		"tls=yes&tls-name=other.example&tls-ca=" + cert: "give tls-name=NAME",
	} {
		s, err := Open(t.Context(), Options{Path: server.DSN("tls") + "?" + options})
		switch {
		case says != "":
			if err == nil || !strings.Contains(err.Error(), says) {
				t.Errorf("%s: error %v, want %q", options, err, says)
			}
		case err != nil:
			t.Errorf("%s: %v", options, err)
		default:
			if row := oneRow(t, s, "SHOW STATUS LIKE 'Ssl_cipher'"); row["Value"] == "" {
				t.Errorf("%s: connected without TLS", options)
			}
		}
		if s != nil {
			s.Close()
		}
	}
}

// dialer connects, or fails, as the test says.
type dialer struct {
	err   error
	dials int
}

func (d *dialer) Connect(context.Context) (driver.Conn, error) { d.dials++; return nil, d.err }
func (d *dialer) Driver() driver.Driver                        { return nil }

func TestRedial(t *testing.T) {
	now := time.Unix(1000, 0)
	d := &dialer{err: errors.New("refused")}
	r := newRedial(d)
	r.now = func() time.Time { return now }
	try := func() error { _, err := r.Connect(context.Background()); return err }
	wait := redialMin
	for i := range 12 {
		if err := try(); !errors.Is(err, d.err) || d.dials != i+1 {
			t.Fatalf("attempt %d: %d dials, error %v", i, d.dials, err)
		}
		now = now.Add(wait/2 - 1)
		if err := try(); !errors.Is(err, d.err) || d.dials != i+1 || !strings.Contains(err.Error(), "not tried again for another") {
			t.Fatalf("attempt %d, too early: %d dials, error %v", i, d.dials, err)
		}
		now = now.Add(wait/2 + 1)
		wait = min(2*wait, redialMax)
	}
	d.err = nil
	for range 2 {
		if err := try(); err != nil {
			t.Fatal(err)
		}
	}
	d.err = errors.New("refused")
	if err := try(); err == nil || strings.Contains(err.Error(), "not tried") {
		t.Errorf("the first failure after a connection: %v", err)
	}
	if now = now.Add(redialMin); d.dials != 15 || try() == nil || d.dials != 16 {
		t.Errorf("the wait does not begin anew after a connection: %d dials", d.dials)
	}
}

func TestAway(t *testing.T) {
	for _, c := range []struct {
		err            error
		away, rejected bool
	}{
		{nil, false, false},
		{errors.New("anything"), false, false},
		{driver.ErrBadConn, true, false},
		{mysql.ErrInvalidConn, true, false},
		{context.DeadlineExceeded, true, false},
		{mysql.ErrPktTooLarge, false, true},
		{&mysql.MySQLError{Number: 3}, true, false}, // error writing a file
		{&mysql.MySQLError{Number: 1040}, true, false},
		{&mysql.MySQLError{Number: 1114}, true, false},
		{&mysql.MySQLError{Number: 1213}, true, false},
		{&mysql.MySQLError{Number: 1290}, true, false},
		{&mysql.MySQLError{Number: 1406}, false, true},
		{&mysql.MySQLError{Number: 1048}, false, true},
		{&mysql.MySQLError{Number: 1054}, false, false}, // no such column: nobody's fault but the schema's
		{&mysql.MySQLError{Number: 1146}, false, false},
	} {
		wrapped := c.err
		if wrapped != nil {
			wrapped = fmt.Errorf("insert: %w", c.err)
		}
		if Away(wrapped) != c.away || mysqlRejected(wrapped) != c.rejected {
			t.Errorf("%v: away %v, rejected %v", c.err, Away(wrapped), mysqlRejected(wrapped))
		}
	}
	for number := range mysqlAway {
		if mysqlRejects[number] {
			t.Errorf("error %d is both", number)
		}
	}
}
