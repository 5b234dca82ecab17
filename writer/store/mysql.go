package store

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"regexp"
	"strconv"
	"strings"

	"github.com/go-sql-driver/mysql"
)

var mysqlDialect = dialect{
	insertInto: "INSERT INTO",
	values:     2000,
	cancels:    true,
	// A transaction deletes and inserts rows of its own calls only; it need not
	// keep others from the gaps between them.
	tx:        &sql.TxOptions{Isolation: sql.LevelReadCommitted},
	hasTable:  "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = ?",
	allTables: "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = DATABASE()",
	byTime:    " FORCE INDEX (PRIMARY)",
	byIndex:   func(index string) string { return " FORCE INDEX (" + index + ")" },
	thenJoin:  " STRAIGHT_JOIN ",
	hours:     []int64{24, 96, 384, 1536},
	upsert:    " ON DUPLICATE KEY UPDATE ",
	inserted:  func(c string) string { return "VALUES(" + c + ")" },
	ddl:       mysqlDDL,
	applied: func(err error) bool {
		var e *mysql.MySQLError
		// Table, column or index is there already; or is not there to be dropped.
		return errors.As(err, &e) && (e.Number == 1050 || e.Number == 1060 || e.Number == 1061 || e.Number == 1091)
	},
	rejected: mysqlRejected,
}

const (
	// Text is compared by its bytes, as in SQLite.
	mysqlCollation = "utf8mb4_bin"
	// The last partition takes what comes after the days that there are
	// partitions for.
	lastPartition = "pmax"
)

// widths are the characters of columns that hold more than 255: SQLite does not
// look at widths, and flow keeps up to 1,024 bytes of a Call-ID, and two names
// of 255 in an address of record.
var widths = map[string]int{"call_id": 1024, "x_call_id": 1024, "replaces": 1024, "aor": 512}

// indexed is how many characters of such a column its index looks at: an index
// of InnoDB takes 3,072 bytes.
const indexed = 255

var (
	ddlTable    = regexp.MustCompile(`(?s)^CREATE TABLE (\w+) \(\s*(\w+).*\) WITHOUT ROWID$`)
	ddlWide     = regexp.MustCompile(`\b(\w+)(\s+)VARCHAR\((\d+)\)`)
	ddlIndex    = regexp.MustCompile(`^(CREATE INDEX \w+ ON \w+ )\((\w+)\)$`)
	ddlHour     = regexp.MustCompile(`^(CREATE INDEX \w+ ON calls )\(start_at / 3600000000000, `)
	ddlDatetime = regexp.MustCompile(`datetime\(([\w.]+) / 1000000000, 'unixepoch'\)`)
)

// unpartitioned are tables that are small, and old rows of which are not
// deleted by the day.
var unpartitioned = map[string]bool{"rollup_minute": true, "rollup_hour": true, "rollup_pending": true}

// mysqlDDL is a statement of the schema in the words of MySQL, or nothing if it
// is for SQLite alone. Each table is partitioned by the time that it begins with;
// Maintain makes the partitions of days. Indexes by the hour are without it: they
// are of one partition, which is about as narrow.
func mysqlDDL(s string) string {
	if strings.HasPrefix(s, "/* sqlite */") {
		return ""
	}
	s = ddlHour.ReplaceAllString(s, "$1(")
	s = ddlWide.ReplaceAllStringFunc(s, func(def string) string {
		m := ddlWide.FindStringSubmatch(def)
		n, err := strconv.Atoi(m[3])
		if w, ok := widths[m[1]]; ok {
			n = w
		} else if err == nil && n == 64 { // a name that came over the network
			n = 255
		}
		return fmt.Sprintf("%s%sVARCHAR(%d)", m[1], m[2], n)
	})
	if m := ddlTable.FindStringSubmatch(s); m != nil {
		by := m[2]
		if by == "orphan" {
			by = "start_at"
		}
		s = strings.TrimSuffix(s, " WITHOUT ROWID") + " ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE " + mysqlCollation
		if !unpartitioned[m[1]] {
			s += " PARTITION BY RANGE (" + by + ") (PARTITION " + lastPartition + " VALUES LESS THAN MAXVALUE)"
		}
	}
	if m := ddlIndex.FindStringSubmatch(s); m != nil && widths[m[2]] > 0 {
		s = fmt.Sprintf("%s(%s(%d))", m[1], m[2], indexed)
	}
	s = ddlDatetime.ReplaceAllString(s, "TIMESTAMP '1970-01-01 00:00:00' + INTERVAL ($1 DIV 1000000000) SECOND")
	// ROUND of a DOUBLE goes to the even one of two neighbours that are as near;
	// a DECIMAL, and SQLite and the reference too, go away from zero.
	s = strings.ReplaceAll(s, "CAST(ROUND(", "CAST(CAST(")
	s = strings.ReplaceAll(s, ") AS INTEGER)", " AS DECIMAL(30)) AS SIGNED)")
	s = strings.Replace(s, " TEXT GENERATED ", " DATETIME GENERATED ", 1)
	// Who asks a view needs rights of his own, and whoever made it may leave.
	return strings.Replace(s, "CREATE VIEW ", "CREATE OR REPLACE SQL SECURITY INVOKER VIEW ", 1)
}

// open makes the pool of connections to the database.
func (s *server) open(o Options, conns int) (*sql.DB, error) {
	return s.pool(s.config(s.database, o), conns)
}

func (s *server) pool(c *mysql.Config, conns int) (*sql.DB, error) {
	connector, err := mysql.NewConnector(c)
	if err != nil {
		return nil, err
	}
	db := sql.OpenDB(newRedial(connector))
	db.SetMaxOpenConns(conns)
	db.SetMaxIdleConns(conns)
	return db, nil
}

// prepare makes the database if it is not there, and refuses one in which the
// schema would not be what it should be.
func (s *server) prepare(ctx context.Context, db *sql.DB, o Options) error {
	err := db.PingContext(ctx)
	if isMySQL(err, 1049) {
		if err = s.create(ctx, o); err == nil {
			err = db.PingContext(ctx)
		}
	}
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	return checkServer(ctx, db)
}

// create makes the database, by a connection to none.
func (s *server) create(ctx context.Context, o Options) error {
	db, err := s.pool(s.config("", o), 1)
	if err != nil {
		return err
	}
	defer db.Close()
	query := "CREATE DATABASE IF NOT EXISTS " + quoteName(s.database) + " CHARACTER SET utf8mb4 COLLATE " + mysqlCollation
	if _, err := db.ExecContext(ctx, query); err != nil {
		return fmt.Errorf("create database %s: %w", s.database, err)
	}
	return nil
}

func quoteName(name string) string { return "`" + strings.ReplaceAll(name, "`", "``") + "`" }

// checkServer refuses a server that is too old, and tables whose text somebody
// has converted.
func checkServer(ctx context.Context, db *sql.DB) error {
	var version string
	if err := db.QueryRowContext(ctx, "SELECT VERSION()").Scan(&version); err != nil {
		return fmt.Errorf("ask for the server's version: %w", err)
	}
	if err := checkServerVersion(version); err != nil {
		return err
	}
	var table, collation string
	err := db.QueryRowContext(ctx, "SELECT table_name, table_collation FROM information_schema.tables"+
		" WHERE table_schema = DATABASE() AND table_name IN ('calls', 'stream', 'registration', 'exchange', 'event')"+
		" AND table_collation <> ? LIMIT 1", mysqlCollation).Scan(&table, &collation)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return nil
	case err != nil:
		return fmt.Errorf("ask for the collation of the tables: %w", err)
	}
	return fmt.Errorf("table %s has the collation %s, in which different texts are equal: ALTER TABLE %s CONVERT TO CHARACTER SET utf8mb4 COLLATE %s",
		table, collation, table, mysqlCollation)
}

var versionNumber = regexp.MustCompile(`(\d+)\.(\d+)\.(\d+)`)

// checkServerVersion refuses servers without default values that are
// expressions, which came with MariaDB 10.2 and MySQL 8.0.13. Of MariaDB those
// are asked for that are still maintained.
func checkServerVersion(version string) error {
	if strings.Contains(version, "TiDB") { // calls itself 8.0.11, and can do it
		return nil
	}
	oldest, name := [3]int{8, 0, 13}, "MySQL"
	v := version
	if strings.Contains(v, "MariaDB") {
		oldest, name = [3]int{10, 5, 0}, "MariaDB"
		v = strings.TrimPrefix(v, "5.5.5-") // what it says for old clients
	}
	m := versionNumber.FindStringSubmatch(v)
	if m == nil {
		return nil // a cluster with a way of its own to count
	}
	for i, least := range oldest {
		switch n, _ := strconv.Atoi(m[i+1]); {
		case n > least:
			return nil
		case n < least:
			return fmt.Errorf("the server is %s, which is too old: use %s %d.%d.%d or later", version, name, oldest[0], oldest[1], oldest[2])
		}
	}
	return nil
}

func isMySQL(err error, number uint16) bool {
	var e *mysql.MySQLError
	return errors.As(err, &e) && e.Number == number
}

// locked runs do while no other process that keeps this rule is between its
// own lock and unlock: migrations and partitions are not transactions.
func (s *server) locked(ctx context.Context, db *sql.DB, do func(*sql.Conn) error) error {
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	name := "ringside " + s.database
	if len(name) > 64 {
		name = name[:64]
	}
	var got sql.NullInt64
	err = conn.QueryRowContext(ctx, "SELECT GET_LOCK(?, 60)", name).Scan(&got)
	switch {
	case isMySQL(err, 1235), isMySQL(err, 1105): // some clusters have none
	case err != nil:
		return fmt.Errorf("wait for other processes: %w", err)
	case got.Int64 != 1:
		return fmt.Errorf("another process has been changing the schema for a minute: wait for it, or end it: %w", context.DeadlineExceeded)
	default:
		defer conn.ExecContext(context.WithoutCancel(ctx), "DO RELEASE_LOCK(?)", name)
	}
	return do(conn)
}

// explained is an error of the server, or of reaching it, with what to do.
func (s *server) explained(err error) error {
	if err == nil {
		return nil
	}
	var e *mysql.MySQLError
	if errors.As(err, &e) {
		if advice := s.advice(e.Number); advice != "" {
			return fmt.Errorf("%s: %w", advice, err)
		}
		return err
	}
	var unknown x509.UnknownAuthorityError
	var host x509.HostnameError
	var record tls.RecordHeaderError
	var network net.Error
	switch {
	case errors.Is(err, mysql.ErrNoTLS), errors.As(err, &record):
		return fmt.Errorf("the server has no TLS: turn it on there, or leave out tls=: %w", err)
	case errors.As(err, &unknown):
		return fmt.Errorf("the server's certificate is by nobody known here: give tls-ca=FILE: %w", err)
	case errors.As(err, &host):
		return fmt.Errorf("the server's certificate is of another name: give tls-name=NAME: %w", err)
	case errors.As(err, &network):
		return fmt.Errorf("the server cannot be reached: is it running, and the address right?: %w", err)
	}
	return err
}

// advice is what to do about an error of the server.
func (s *server) advice(number uint16) string {
	grant := fmt.Sprintf("GRANT ALL PRIVILEGES ON %s.* TO '%s'", quoteName(s.database), strings.ReplaceAll(s.user, "'", "''"))
	switch number {
	case 1045, 1698:
		return fmt.Sprintf("the server does not let %s in: check the password (password-file=FILE) and from where the user may come", s.user)
	case 1044, 1142, 1143, 1227, 1370:
		return s.user + " lacks rights: let an administrator say " + grant
	case 1049:
		return "there is no such database (opening it for writing makes it, if the user may)"
	case 1130:
		return "the server lets nobody in from this host: let an administrator say " + grant + "@'HOST'"
	case 1290, 1792, 1836:
		return "the server is read-only: name the one that is written to"
	case 1115, 1273:
		return "the server does not know " + mysqlCollation + ": use MariaDB 10.5 or MySQL 8.0.13, or later"
	case 1251, 2049, 2061:
		return "the server wants another way to log in than this client has: give the user a password with mysql_native_password or caching_sha2_password"
	}
	return ""
}
