package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"
	"time"
)

//go:embed schema/*.sql
var schemaFiles embed.FS

// migration is one step of the schema: the file schema/NNNN_name.sql.
type migration struct {
	version int
	name    string
	sql     string
}

// errForeign is a database that somebody else made.
var errForeign = errors.New("database is not a ringside store: name another file or database")

func migrations() []migration {
	m, err := readMigrations(schemaFiles)
	if err != nil {
		panic(err) // embedded, and read by every test
	}
	return m
}

// readMigrations reads schema/*.sql, which must be numbered from 1 without a
// gap.
func readMigrations(files fs.FS) ([]migration, error) {
	paths, err := fs.Glob(files, "schema/*.sql")
	if err != nil {
		return nil, err
	}
	var out []migration
	for i, p := range paths { // sorted by name
		name := path.Base(p)
		number, _, _ := strings.Cut(name, "_")
		version, err := strconv.Atoi(number)
		if err != nil || version != i+1 {
			return nil, fmt.Errorf("read migration %s: number it %04d", name, i+1)
		}
		text, err := fs.ReadFile(files, p)
		if err != nil {
			return nil, err
		}
		out = append(out, migration{version, name, string(text)})
	}
	return out, nil
}

// beginner is a database or a connection to it.
type beginner interface {
	BeginTx(context.Context, *sql.TxOptions) (*sql.Tx, error)
}

// migrate applies the migrations that the database lacks, each with its new
// version number in one transaction. Two processes may do so at the same time:
// SQLite's transaction takes the write lock before it reads the version. On
// MySQL each statement of a schema is a transaction of its own, so that the
// caller keeps others out, and a migration that was interrupted is applied
// again, its statements that had been carried out passed over.
func migrate(ctx context.Context, db beginner, d *dialect, steps []migration) error {
	for {
		done, err := migrateOnce(ctx, db, d, steps)
		if err != nil || done {
			return err
		}
	}
}

func migrateOnce(ctx context.Context, db beginner, d *dialect, steps []migration) (done bool, err error) {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return false, fmt.Errorf("begin migration: %w", err)
	}
	defer tx.Rollback()

	version, err := schemaVersion(ctx, tx, d)
	if err != nil {
		return false, err
	}
	if version == 0 {
		const create = "CREATE TABLE IF NOT EXISTS schema_version (version INT NOT NULL PRIMARY KEY, applied_at BIGINT NOT NULL)"
		if _, err := tx.ExecContext(ctx, create); err != nil {
			return false, fmt.Errorf("create schema_version: %w", err)
		}
	}
	if err := tooNew(version, steps); err != nil {
		return false, err
	}
	if version == len(steps) {
		return true, nil
	}
	step := steps[version]
	for _, statement := range statements(step.sql) {
		words := d.ddl(statement)
		if words == "" {
			continue
		}
		_, err := tx.ExecContext(ctx, words)
		if err != nil && !(d.applied != nil && d.applied(err)) {
			return false, fmt.Errorf("apply migration %s: %w", step.name, err)
		}
	}
	_, err = tx.ExecContext(ctx, "INSERT INTO schema_version (version, applied_at) VALUES (?, ?)",
		step.version, time.Now().UnixNano())
	if err != nil {
		return false, fmt.Errorf("apply migration %s: record version: %w", step.name, err)
	}
	if err := tx.Commit(); err != nil {
		return false, fmt.Errorf("apply migration %s: commit: %w", step.name, err)
	}
	return false, nil
}

// checkVersion refuses a database that these queries do not fit.
func checkVersion(ctx context.Context, db querier, d *dialect, steps []migration) error {
	version, err := schemaVersion(ctx, db, d)
	if err != nil {
		return err
	}
	if version < len(steps) {
		return fmt.Errorf("schema version %d is older than this program's %d: open the store once for writing, which migrates it (the next ringside read --db does)",
			version, len(steps))
	}
	return tooNew(version, steps)
}

func tooNew(version int, steps []migration) error {
	if version <= len(steps) {
		return nil
	}
	return fmt.Errorf("schema version %d is newer than this program's %d: use the ringside release that wrote it, or a later one",
		version, len(steps))
}

// querier is a database or a transaction.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// schemaVersion is the number of the last migration applied, 0 for an empty
// database.
func schemaVersion(ctx context.Context, db querier, d *dialect) (int, error) {
	var named, all int
	if err := db.QueryRowContext(ctx, d.hasTable, "schema_version").Scan(&named); err != nil {
		return 0, fmt.Errorf("read schema: %w", err)
	}
	if named == 0 {
		if err := db.QueryRowContext(ctx, d.allTables).Scan(&all); err != nil {
			return 0, fmt.Errorf("read schema: %w", err)
		}
		if all != 0 {
			return 0, errForeign
		}
		return 0, nil
	}
	var version sql.NullInt64
	if err := db.QueryRowContext(ctx, "SELECT MAX(version) FROM schema_version").Scan(&version); err != nil {
		return 0, fmt.Errorf("read schema version: %w", err)
	}
	return int(version.Int64), nil
}

// statements splits a migration, whose statements each end a line with ';'
// (a comment may follow on its own line, not after the ';').
func statements(text string) []string {
	var out []string
	for s := range strings.SplitSeq(text, ";\n") {
		var code []string
		for line := range strings.Lines(s) {
			if t := strings.TrimSpace(line); t != "" && !strings.HasPrefix(t, "--") {
				code = append(code, line)
			}
		}
		if len(code) > 0 {
			out = append(out, strings.TrimSpace(strings.Join(code, "")))
		}
	}
	return out
}
