package e2e

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"ringside/bench/mariadb"
)

// startMariaDB is a server of its own for a test, which is skipped where there is
// none to start.
func startMariaDB(t *testing.T, args ...string) *mariadb.Server {
	t.Helper()
	if _, err := exec.LookPath("mariadb"); err != nil {
		t.Skip("no client of MariaDB: the store is not tried on a server")
	}
	s, err := mariadb.New(append([]string{mariadb.NoSync}, args...)...)
	if errors.Is(err, mariadb.ErrMissing) {
		t.Skipf("the store is not tried on a server: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Remove(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// place is a database in which a store can be, and how to speak SQL to it with
// the client program that its own people made.
type place struct {
	name string // mariadb or sqlite
	db   string // as --db takes it
	sql  func(t *testing.T, query string) string
}

// onServer is a database of a server.
func onServer(s *mariadb.Server, database string) place {
	return place{"mariadb", s.DSN(database), func(t *testing.T, query string) string {
		t.Helper()
		return tool(t, "mariadb", "--no-defaults", "--socket="+s.Socket, "--user=root", "--skip-ssl", "--default-character-set=utf8mb4",
			"--batch", "--raw", "--skip-column-names", "--execute="+query, database)
	}}
}

// inFile is a database file.
func inFile(path string) place {
	return place{"sqlite", path, func(t *testing.T, query string) string {
		t.Helper()
		if _, err := exec.LookPath("sqlite3"); err != nil {
			t.Skip("no sqlite3: a store in a file is not asked by another program")
		}
		return tool(t, "sqlite3", "-batch", "-separator", "\t", "-nullvalue", "NULL", "-cmd", ".timeout 10000", path, query)
	}}
}

// onEach runs a test on a file and on a server.
func onEach(t *testing.T, test func(t *testing.T, at place)) {
	t.Run("sqlite", func(t *testing.T) { test(t, inFile(filepath.Join(t.TempDir(), "calls.db"))) })
	t.Run("mariadb", func(t *testing.T) { test(t, onServer(startMariaDB(t), "ringside")) })
}

// rowsOf are the rows of a query.
func (p place) rowsOf(t *testing.T, query string) [][]string {
	t.Helper()
	var out [][]string
	for line := range strings.Lines(p.sql(t, query)) {
		out = append(out, strings.Split(strings.TrimSuffix(line, "\n"), "\t"))
	}
	return out
}

// forServers is a folder that the account of the server may read.
func forServers(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "server-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// ok ends the test if what was done failed.
func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	ok(t, err)
	return b
}
