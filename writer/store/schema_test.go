package store

import (
	"context"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"ringside/flow/record"
)

var update = flag.Bool("update", false, "write testdata/version1.sql anew; only before version 1 was ever released")

// catalogue describes the schema of a database: its columns and indexes.
func catalogue(t *testing.T, db *sql.DB) []string {
	t.Helper()
	const columns = `SELECT m.name || '.' || c.name || ' ' || c.type || ' notnull ' || c."notnull" || ' key ' || c.pk
		FROM sqlite_master m JOIN pragma_table_info(m.name) c WHERE m.type = 'table' ORDER BY m.name, c.name`
	const indexes = `SELECT m.name || ' index ' || i.name || ' unique ' || i."unique" || ' on ' || COALESCE(c.name, '?') || ' ' || c.seqno
		FROM sqlite_master m JOIN pragma_index_list(m.name) i JOIN pragma_index_info(i.name) c WHERE m.type = 'table' ORDER BY 1`
	var out []string
	for _, q := range []string{columns, indexes} {
		rows, err := db.Query(q)
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		for rows.Next() {
			var line string
			if err := rows.Scan(&line); err != nil {
				t.Fatal(err)
			}
			out = append(out, line)
		}
		if err := rows.Err(); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

func rawOpen(t *testing.T, path string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	t.Cleanup(func() { db.Close() })
	return db
}

func execScript(t *testing.T, db *sql.DB, script string) {
	t.Helper()
	if _, err := db.Exec(script); err != nil {
		t.Fatal(err)
	}
}

// TestMigrateFromVersion1 opens a store as version 1 left it: its schema must
// become that of a new store, and its call must be readable.
func TestMigrateFromVersion1(t *testing.T) {
	const fixture = "testdata/version1.sql"
	ctx := context.Background()
	if *update {
		writeFixture(t, fixture)
	}
	script, err := os.ReadFile(fixture)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "old.db")
	old := rawOpen(t, path)
	execScript(t, old, string(script))
	const start, id = 1_750_000_000 * second, 1              // of the call of the fixture
	for _, table := range []string{"call_media", "stream"} { // which have more columns since
		execScript(t, old, zeroInsert(t, old, table, map[string]string{"start_at": fmt.Sprint(start), "id": fmt.Sprint(id)}))
	}
	if err := old.Close(); err != nil {
		t.Fatal(err)
	}

	migrated, fresh := open(t, path), open(t, Memory)
	if got, want := catalogue(t, migrated.read), catalogue(t, fresh.read); !reflect.DeepEqual(got, want) {
		t.Errorf("migrated schema:\n%s\nnew schema:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	r, err := migrated.Calls(ctx, Filter{CallID: "version-1@example.net"}, Page{})
	if err != nil || len(r.Calls) != 1 {
		t.Fatalf("%d calls, error %v", len(r.Calls), err)
	}
	c, err := migrated.Call(ctx, r.Calls[0].ID)
	if err != nil || c.Caller.Number != "+4930123456" || c.Start != 1_750_000_000*second || c.Caller.Addr.String() != "192.0.2.1:5060" {
		t.Errorf("call %+v, error %v", c, err)
	}
	want := record.Stream{CallID: c.CallID}
	if len(c.Media) != 1 || c.Media[0] != (record.Media{}) || len(c.Streams) != 1 || c.Streams[0] != want {
		t.Errorf("media %+v, streams %+v: want one empty each", c.Media, c.Streams)
	}
	if c.Tunnel != (record.Tunnel{}) || c.SessionID != "" || c.Digits != nil {
		t.Errorf("a call of version 1 knows more than it did: %+v", c)
	}
	insert(t, migrated, fullCall(t, 1))
	put(t, migrated, signals(t))
}

// zeroInsert is an INSERT of a row in which what is not given is zero or NULL.
func zeroInsert(t *testing.T, db *sql.DB, table string, given map[string]string) string {
	t.Helper()
	rows, err := db.Query(`SELECT name, type, "notnull" FROM pragma_table_info(?)`, table)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var names, vals []string
	for rows.Next() {
		var name, kind string
		var notnull bool
		if err := rows.Scan(&name, &kind, &notnull); err != nil {
			t.Fatal(err)
		}
		v, ok := given[name]
		switch {
		case ok:
		case !notnull:
			continue
		case strings.Contains(kind, "INT") || kind == "DOUBLE":
			v = "0"
		default:
			v = "''"
		}
		names, vals = append(names, name), append(vals, v)
	}
	return fmt.Sprintf("INSERT INTO %s (%s)\nVALUES (%s)", table, strings.Join(names, ", "), strings.Join(vals, ", "))
}

// writeFixture writes version 1 as a script.
func writeFixture(t *testing.T, path string) {
	t.Helper()
	steps := migrations()[:1]
	var b strings.Builder
	b.WriteString("CREATE TABLE schema_version (version INT NOT NULL PRIMARY KEY, applied_at BIGINT NOT NULL);\n" +
		"INSERT INTO schema_version VALUES (1, 0);\n")
	for _, s := range statements(steps[0].sql) {
		b.WriteString(s + ";\n")
	}
	db := rawOpen(t, ":memory:")
	execScript(t, db, b.String())
	values := map[string]string{"start_at": "1750000000000000000", "id": "1", "call_id": "'version-1@example.net'", "outcome": "'answered'",
		"end_reason": "'bye'", "hung_up": "'caller'", "caller_number": "'+4930123456'", "caller_reverse": "'6543210394+'",
		"caller_addr": "X'C0000201'", "caller_port": "5060"}
	b.WriteString(zeroInsert(t, db, "calls", values) + ";\n")
	if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}

func steps(t *testing.T, files fs.FS) []migration {
	t.Helper()
	m, err := readMigrations(files)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestMigrate(t *testing.T) {
	ctx := context.Background()
	file := func(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s)} }
	one := fstest.MapFS{"schema/0001_a.sql": file("-- first;\n-- and only\nCREATE TABLE a (x INT);\nCREATE INDEX ax ON a (x);\n")}
	two := fstest.MapFS{"schema/0001_a.sql": one["schema/0001_a.sql"],
		"schema/0002_b.sql": file("ALTER TABLE a ADD COLUMN y INT;\nINSERT INTO a VALUES (1, 2);\n")}
	broken := fstest.MapFS{"schema/0001_a.sql": one["schema/0001_a.sql"],
		"schema/0002_b.sql": file("CREATE TABLE b (x INT);\nCREATE TABLE a (x INT);\n")}
	version := func(t *testing.T, db *sql.DB) int {
		t.Helper()
		v, err := schemaVersion(ctx, db, &sqliteDialect)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}

	t.Run("step by step is as at once", func(t *testing.T) {
		a, b := rawOpen(t, ":memory:"), rawOpen(t, ":memory:")
		for _, f := range []fs.FS{one, one, two, two} {
			if err := migrate(ctx, a, &sqliteDialect, steps(t, f)); err != nil {
				t.Fatal(err)
			}
		}
		if err := migrate(ctx, b, &sqliteDialect, steps(t, two)); err != nil {
			t.Fatal(err)
		}
		if got, want := catalogue(t, a), catalogue(t, b); !reflect.DeepEqual(got, want) {
			t.Errorf("step by step:\n%s\nat once:\n%s", got, want)
		}
		if version(t, a) != 2 || version(t, b) != 2 {
			t.Errorf("versions %d and %d, want 2", version(t, a), version(t, b))
		}
	})
	t.Run("a step that fails leaves nothing", func(t *testing.T) {
		db := rawOpen(t, ":memory:")
		err := migrate(ctx, db, &sqliteDialect, steps(t, broken))
		if err == nil || !strings.Contains(err.Error(), "0002_b.sql") {
			t.Errorf("error %v, want one that names the migration", err)
		}
		if v := version(t, db); v != 1 {
			t.Errorf("version %d, want 1", v)
		}
		for _, line := range catalogue(t, db) {
			if strings.HasPrefix(line, "b.") {
				t.Errorf("half a migration: %s", line)
			}
		}
		if err := migrate(ctx, db, &sqliteDialect, steps(t, two)); err != nil {
			t.Errorf("migrate once it is mended: %v", err)
		}
	})
	t.Run("newer than known", func(t *testing.T) {
		db := rawOpen(t, ":memory:")
		if err := migrate(ctx, db, &sqliteDialect, steps(t, two)); err != nil {
			t.Fatal(err)
		}
		err := migrate(ctx, db, &sqliteDialect, steps(t, one))
		if err == nil || !strings.Contains(err.Error(), "schema version 2 is newer than this program's 1: use ") {
			t.Errorf("error %v, want one that says what to do", err)
		}
	})
	t.Run("misnumbered", func(t *testing.T) {
		for _, name := range []string{"0002_a.sql", "a.sql", "0000_a.sql"} {
			if _, err := readMigrations(fstest.MapFS{"schema/" + name: file("")}); err == nil {
				t.Errorf("%s: no error", name)
			}
		}
	})
}

func TestOpen(t *testing.T) {
	ctx := context.Background()
	tryOpen := func(o Options) error {
		s, err := Open(ctx, o)
		if err == nil {
			s.Close()
		}
		return err
	}
	wantError := func(t *testing.T, err error, parts ...string) {
		t.Helper()
		for _, p := range parts {
			if err == nil || !strings.Contains(err.Error(), p) {
				t.Errorf("error %v, want one with %q", err, p)
			}
		}
	}
	t.Run("no path", func(t *testing.T) { wantError(t, tryOpen(Options{}), "no path") })
	t.Run("new folders, odd names", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "a", "100% ?mode=ro&x #", "calls.db")
		s := open(t, path)
		insert(t, s, fullCall(t, 1))
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if p := info.Mode().Perm(); p&0o007 != 0 {
			t.Errorf("others may read the store: %o", p)
		}
	})
	t.Run("folder cannot be made", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		wantError(t, tryOpen(Options{Path: filepath.Join(file, "sub", "calls.db")}), "create folder", file, "choose another path")
	})
	t.Run("a folder", func(t *testing.T) {
		wantError(t, tryOpen(Options{Path: t.TempDir()}), "open store", "it is a folder", "name the file")
	})
	t.Run("not a database", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(file, []byte(strings.Repeat("text ", 1000)), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, readOnly := range []bool{false, true} {
			err := tryOpen(Options{Path: file, ReadOnly: readOnly})
			wantError(t, err, "not a ringside store", "name another file")
			if !errors.Is(err, errForeign) {
				t.Errorf("read-only %v: error %v, want %v", readOnly, err, errForeign)
			}
		}
	})
	t.Run("damaged", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "calls.db")
		open(t, file).Close()
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for i := 100; i < len(b); i++ { // all but the header
			b[i] = 0xff
		}
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
		for _, readOnly := range []bool{false, true} {
			wantError(t, tryOpen(Options{Path: file, ReadOnly: readOnly}), "the file is damaged", ".recover")
		}
	})
	t.Run("empty file, read-only", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "calls.db")
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		wantError(t, tryOpen(Options{Path: file, ReadOnly: true}), "the file is empty")
	})
	t.Run("somebody else's database", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "file")
		db := rawOpen(t, file)
		execScript(t, db, "CREATE TABLE mine (x INT)")
		if err := tryOpen(Options{Path: file}); !errors.Is(err, errForeign) {
			t.Errorf("error %v, want %v", err, errForeign)
		}
	})
	t.Run("newer schema", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "file")
		s := open(t, file)
		if _, err := s.write.Exec("INSERT INTO schema_version VALUES (99, 0)"); err != nil {
			t.Fatal(err)
		}
		for _, readOnly := range []bool{false, true} {
			wantError(t, tryOpen(Options{Path: file, ReadOnly: readOnly}), file, "schema version 99 is newer")
		}
	})
	t.Run("read-only", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "calls.db")
		wantError(t, tryOpen(Options{Path: file, ReadOnly: true}), "there is none yet")
		c := fullCall(t, 1)
		w := open(t, file)
		insert(t, w, c)
		r, err := Open(ctx, Options{Path: file, ReadOnly: true})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		got, err := r.Call(ctx, c.ID)
		if err != nil {
			t.Fatal(err)
		}
		same(t, got, c)
		if err := r.Insert(ctx, Batch{}); !errors.Is(err, ErrReadOnly) {
			t.Errorf("insert: error %v, want ErrReadOnly", err)
		}
	})
	t.Run("read-only, older schema", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "calls.db")
		execScript(t, rawOpen(t, file), "CREATE TABLE schema_version (version INT NOT NULL PRIMARY KEY, applied_at BIGINT NOT NULL)")
		wantError(t, tryOpen(Options{Path: file, ReadOnly: true}), "older", "open the store once for writing")
	})
	t.Run("busy", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "calls.db")
		a := open(t, file)
		b, err := Open(ctx, Options{Path: file, BusyTimeout: time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		tx, err := a.write.BeginTx(ctx, nil)
		if err != nil {
			t.Fatal(err)
		}
		err = b.Insert(ctx, Batch{Calls: records(t, 1)})
		wantError(t, err, "locked")
		if b.dialect.rejected(err) {
			t.Errorf("a locked database counts as a rejected row: %v", err)
		}
		if err := tx.Rollback(); err != nil {
			t.Fatal(err)
		}
		if err := b.Insert(ctx, Batch{Calls: records(t, 1)}); err != nil {
			t.Errorf("insert once the lock is gone: %v", err)
		}
	})
}
