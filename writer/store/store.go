// Package store keeps call records, and those of registrations, of other SIP, of
// events and of what endpoints reported, in an SQL database, and answers queries
// about them.
//
// The database is SQLite, embedded, one file, or one of a MySQL or MariaDB
// server. The SQL is kept to what they share; what differs is in a dialect.
//
// A record has a deterministic id, and storing it again replaces what was
// stored before, so that a batch sent twice leaves one set of rows. A batch is
// one transaction: a crash leaves whole batches only.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"
)

// Memory as the path of a store makes one that lives as long as it is open.
const Memory = ":memory:"

// Options of a store.
type Options struct {
	// Path of the database file. Missing folders are made. Memory: no file.
	// Or the name of a server (docs/store.md): mysql://USER@HOST/DATABASE. The
	// database is made if it is missing and the user may do that.
	Path string
	// Lazy opens a store that is Away. Its schema is made or migrated when the
	// first batch gets through.
	Lazy bool
	// ReadOnly opens an existing store for queries only.
	ReadOnly bool
	// BusyTimeout is how long to wait for another process that writes, or, of
	// a server, for a row that it locks (default 10 s).
	BusyTimeout time.Duration
	// CacheKiB bounds the page cache of SQLite's writing connection (default
	// 32768); each of the Readers gets a quarter of it.
	CacheKiB int
	// Readers is how many queries run at the same time (default 4).
	Readers int
	// QueryTime is how long a list or a figure may take before it is given up
	// with ErrSlow (default 15 s; less than 0: as long as it takes).
	QueryTime time.Duration
}

func (o *Options) setDefaults() {
	if o.BusyTimeout <= 0 {
		o.BusyTimeout = 10 * time.Second
	}
	if o.CacheKiB <= 0 {
		o.CacheKiB = 32 << 10
	}
	if o.Readers <= 0 {
		o.Readers = 4
	}
	if o.QueryTime == 0 {
		o.QueryTime = queryTime
	}
}

// What is found in the place of a store.
var (
	errFolder = errors.New("it is a folder: name the file of the store")
	errEmpty  = errors.New("the file is empty: nothing was stored there yet (ringside read --db does)")
)

// Store is an open call store. Its methods may be used concurrently.
type Store struct {
	dialect *dialect
	options Options
	server  *server // nil: SQLite
	read    *sql.DB
	write   *sql.DB // one connection; nil: read-only

	scanRows   int64 // how many calls statistics look at, where rollups do not tell; more are sampled
	rollupRows int   // how many rollups they look at, to rank values; of more hours a part is
	fewCalls   int64 // how many they have found by an index instead

	contact  sync.Mutex // held while the schema is being looked after
	inserter atomic.Pointer[inserter]
}

// Open opens the store, creating it or migrating its schema if need be.
func Open(ctx context.Context, o Options) (*Store, error) {
	o.setDefaults()
	s := &Store{dialect: &sqliteDialect, options: o, scanRows: 40_000, fewCalls: 20_000, rollupRows: 25_000}
	name, open := o.Path, s.openFile
	if isDSN(o.Path) {
		at, err := parseDSN(o.Path)
		if err != nil {
			return nil, fmt.Errorf("open store: %w", err)
		}
		s.dialect, s.server = &mysqlDialect, at
		name, open = at.String(), s.openServer // the name without the password
	}
	if err := open(ctx, o); err != nil {
		s.Close()
		return nil, fmt.Errorf("open store %s: %w", name, err)
	}
	return s, nil
}

func (s *Store) openFile(ctx context.Context, o Options) (err error) {
	switch {
	case o.Path == "":
		return errors.New("no path given: name a file, or " + Memory + " for none")
	case o.ReadOnly:
		if err := findFile(o.Path); err != nil {
			return err
		}
		if s.read, err = connectFile(o, o.Readers, o.CacheKiB/4); err != nil {
			return err
		}
		return s.explained(checkVersion(ctx, s.read, s.dialect, migrations()))
	case o.Path != Memory:
		if err := makeFile(o.Path); err != nil {
			return err
		}
	}
	if s.write, err = connectFile(o, 1, o.CacheKiB); err != nil {
		return err
	}
	if o.Path == Memory {
		s.read = s.write // the database is the connection
	} else {
		o.ReadOnly = true
		if s.read, err = connectFile(o, o.Readers, o.CacheKiB/4); err != nil {
			return err
		}
	}
	return s.firstContact(ctx)
}

// findFile says what is wrong with the file of a store that is to be read.
func findFile(path string) error {
	switch i, err := os.Stat(path); {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("there is none yet (ringside read --db makes it): %w", fs.ErrNotExist)
	case err != nil:
		return err
	case i.IsDir():
		return errFolder
	case i.Size() == 0:
		return errEmpty
	}
	return nil
}

func (s *Store) openServer(ctx context.Context, o Options) (err error) {
	if s.read, err = s.server.open(o, o.Readers); err != nil {
		return err
	}
	if o.ReadOnly {
		return s.explained(checkVersion(ctx, s.read, s.dialect, migrations()))
	}
	if s.write, err = s.server.open(o, 1); err != nil {
		return err
	}
	return s.firstContact(ctx)
}

// firstContact is ready when a store is opened. One that is away may be ready
// later.
func (s *Store) firstContact(ctx context.Context) error {
	_, err := s.ready(ctx)
	if s.options.Lazy && Away(err) {
		return nil
	}
	return err
}

// ready makes sure, once, that the database and its schema are there, and
// returns what inserts.
func (s *Store) ready(ctx context.Context) (*inserter, error) {
	if in := s.inserter.Load(); in != nil {
		return in, nil
	}
	s.contact.Lock()
	defer s.contact.Unlock()
	if in := s.inserter.Load(); in != nil {
		return in, nil
	}
	in, err := s.makeReady(ctx)
	if err != nil {
		return nil, s.explained(err)
	}
	s.inserter.Store(in)
	return in, nil
}

func (s *Store) makeReady(ctx context.Context) (*inserter, error) {
	if s.server == nil {
		if err := migrate(ctx, s.write, s.dialect, migrations()); err != nil {
			return nil, err
		}
		return newInserter(ctx, s.write, s.dialect)
	}
	if err := s.server.prepare(ctx, s.write, s.options); err != nil {
		return nil, err
	}
	err := s.server.locked(ctx, s.write, func(conn *sql.Conn) error {
		if err := migrate(ctx, conn, s.dialect, migrations()); err != nil {
			return err
		}
		return partitionsAhead(ctx, conn, time.Now())
	})
	if err != nil {
		return nil, err
	}
	return newInserter(ctx, s.write, s.dialect)
}

func connectFile(o Options, conns, cacheKiB int) (*sql.DB, error) {
	db, err := sql.Open("sqlite", sqliteDSN(o, cacheKiB))
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(conns)
	db.SetMaxIdleConns(conns)
	return db, nil
}

// makeFile makes the database file, so that it belongs to its owner and group
// alone: call records are nobody else's business.
func makeFile(path string) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return fmt.Errorf("create folder (choose another path, or let this user write there): %w", err)
	}
	if i, err := os.Stat(path); err == nil && i.IsDir() {
		return errFolder
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o640)
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("create file (let this user write in %s, or open it read-only): %w", dir, err)
	}
	if err != nil {
		return fmt.Errorf("create file: %w", err)
	}
	return f.Close()
}

// explained is an error that opening the store gave, with what to do.
func (s *Store) explained(err error) error {
	if s.server != nil {
		return s.server.explained(err)
	}
	return sqliteExplained(err)
}

// Close ends running queries and closes the database. The last one to close a
// store folds its write-ahead log into the database file.
func (s *Store) Close() error {
	var errs []error
	if s.read != nil && s.read != s.write {
		errs = append(errs, s.read.Close())
	}
	if s.write != nil {
		errs = append(errs, s.write.Close())
	}
	return errors.Join(errs...)
}

// sqliteDSN names the database and how a connection to it behaves: a
// write-ahead log, so that queries and the writer do not wait for each other;
// synchronous NORMAL, so that a crash of the process loses nothing and a power
// cut at most the last batches, never the database.
func sqliteDSN(o Options, cacheKiB int) string {
	q := url.Values{}
	pragma := func(name string, v any) { q.Add("_pragma", fmt.Sprintf("%s(%v)", name, v)) }
	q.Set("_busy_timeout", fmt.Sprint(o.BusyTimeout.Milliseconds()))
	pragma("cache_size", -cacheKiB)
	if o.ReadOnly {
		q.Set("mode", "ro")
	} else {
		pragma("journal_mode", "WAL")
		pragma("synchronous", "NORMAL")
		pragma("temp_store", "MEMORY")       // what a statement would need to be undone, which is little, goes to no file
		pragma("wal_autocheckpoint", 8192)   // pages of 4 KiB: 32 MiB
		pragma("journal_size_limit", 64<<20) // bytes that the log keeps once it is folded in
		q.Set("_txlock", "immediate")        // take the write lock at once, waiting for it
	}
	if o.Path == Memory {
		return Memory + "?" + q.Encode()
	}
	// An escaped path, lest a '?' or '%' in it be read as part of the URI.
	return "file:" + (&url.URL{Path: o.Path}).EscapedPath() + "?" + q.Encode()
}
