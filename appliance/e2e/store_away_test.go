package e2e

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"ringside/bench/mariadb"
	"ringside/bench/traffic"
	"ringside/writer/store"
)

// awayTest is a read into a server that is going to be away, with a queue.
type awayTest struct {
	server  *mariadb.Server
	at      place
	queue   string
	records string // --json
	capture []byte // pcap with nanoseconds
	truth   *traffic.Truth
	given   int // bytes of the capture
	f       *fed
}

// newAway makes traffic of some minutes and starts a read of it that waits for
// its first bytes.
func newAway(t *testing.T, seed uint64, minutes int) *awayTest {
	t.Helper()
	server := startMariaDB(t)
	a := &awayTest{server: server, at: onServer(server, "ringside"), queue: filepath.Join(t.TempDir(), "queue"), records: filepath.Join(t.TempDir(), "records.json")}
	var path string
	path, a.truth = generate(t, traffic.Options{
		Seed: seed, Calls: minutes * 20, Rate: 1. / 3, Talk: traffic.Length{Mean: 2 * time.Second}, RTCP: true, Digits: 0.3, Proxied: 0.2,
		Format: traffic.PcapNano, Background: 1,
	})
	var err error
	if a.capture, err = os.ReadFile(path); err != nil {
		t.Fatal(err)
	}
	makeSchema(t, a.at.db)
	// Who comes to the table of calls is written down, in order.
	a.at.sql(t, "CREATE DATABASE watch; CREATE TABLE watch.arrivals (n BIGINT AUTO_INCREMENT PRIMARY KEY, id BIGINT NOT NULL);"+
		"CREATE TRIGGER arrived AFTER INSERT ON calls FOR EACH ROW INSERT INTO watch.arrivals (id) VALUES (NEW.id)")
	return a
}

// makeSchema makes a store with nothing in it.
func makeSchema(t *testing.T, db string) {
	t.Helper()
	s, err := store.Open(t.Context(), store.Options{Path: db})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func (a *awayTest) start(t *testing.T, json string, flags ...string) {
	t.Helper()
	a.f = feed(t, a.capture, append(flags, "--db", a.at.db, "--queue", a.queue, "--json", json, "--workers", "2")...)
}

// until hands out what was captured in the first minutes.
func (a *awayTest) until(t *testing.T, minutes int) {
	t.Helper()
	at := len(a.capture)
	le := binary.LittleEndian
	begin := le.Uint32(a.capture[24:])
	for i := 24; i < len(a.capture); i += 16 + int(le.Uint32(a.capture[i+8:])) {
		if le.Uint32(a.capture[i:])-begin >= uint32(60*minutes) {
			at = i
			break
		}
	}
	if at <= a.given {
		t.Fatalf("there is no traffic until minute %d", minutes)
	}
	a.f.give(t, at-a.given, 4*minutes, 20*time.Millisecond)
	a.given = at
}

// queued is how many bytes of records wait for the server.
func (a *awayTest) queued(t *testing.T) (n int64) {
	for _, size := range filesOf(t, a.queue, ".queue") {
		n += size
	}
	return n
}

func (a *awayTest) calls(t *testing.T) string {
	return strings.TrimSpace(a.at.sql(t, "SELECT COUNT(*) FROM calls"))
}

// check looks at the store when all is over: nothing is lost, all is there once,
// came in the order in which it was reported, and is true.
func (a *awayTest) check(t *testing.T) {
	t.Helper()
	checkStored(t, a.at, a.records, a.truth)
	var e export
	e.read(t, a.records)
	var reported, came []string
	for _, c := range e.calls {
		reported = append(reported, fmt.Sprint(c.ID))
	}
	seen := map[string]bool{}
	again := 0
	for _, row := range a.at.rowsOf(t, "SELECT id FROM watch.arrivals ORDER BY n") {
		if seen[row[0]] {
			again++
			continue
		}
		seen[row[0]] = true
		came = append(came, row[0])
	}
	if !slices.Equal(came, reported) {
		t.Errorf("calls came in another order than they were reported, the first %d of %d agree", agreeing(came, reported), len(reported))
	}
	t.Logf("%d calls came, %d of them more than once", len(came), again)
}

// agreeing is how long two lists are the same.
func agreeing(a, b []string) int {
	i := 0
	for i < len(a) && i < len(b) && a[i] == b[i] {
		i++
	}
	return i
}

// checkStored compares a store with what was reported and with the truth, each
// record once.
func checkStored(t *testing.T, at place, records string, truth *traffic.Truth) {
	t.Helper()
	var e export
	e.read(t, records)
	got := contentsOf(t, at.db)
	sameRecords(t, "the store against what was reported", got.lines, e.lines())
	differ(t, traffic.Compare(truth, got.calls, got.orphans))
	if rows := at.rowsOf(t, "SELECT COUNT(*), COUNT(DISTINCT id), COUNT(DISTINCT call_id) FROM calls"); rows[0][0] != rows[0][1] || rows[0][0] != rows[0][2] ||
		rows[0][0] != fmt.Sprint(len(truth.Calls)) {
		t.Errorf("calls, ids, Call-IDs: %v, want %d of each", rows, len(truth.Calls))
	}
}

// end hands out the rest, and looks at what was said.
func (a *awayTest) end(t *testing.T) {
	t.Helper()
	if summary := a.f.end(t); strings.Contains(summary, "NOT BALANCE") {
		t.Errorf("the ledger does not balance:\n%s", summary)
	}
	if said := a.f.errs.String(); strings.Contains(said, "wait in") || strings.Contains(said, "parked") {
		t.Errorf("something is left: %s", said)
	}
	status, _ := ringside(t, 0, "store", "status", "--queue", a.queue)
	if !strings.HasPrefix(status, "0 records wait") || !strings.Contains(status, "\n0 records are parked") {
		t.Errorf("something is left: %s", status)
	}
}

// TestDatabaseAway: the server is away for ten minutes of traffic, crashes while
// records come, and ringside is killed while its queue holds records. Nothing is
// lost, all comes in order and by itself, each call is there once, and is true.
func TestDatabaseAway(t *testing.T) {
	withoutRace(t)
	t.Parallel()
	t.Run("stopped", func(t *testing.T) { testDatabaseStopped(t, 71) })
	t.Run("stopped, live", func(t *testing.T) { testDatabaseStopped(t, 76, "--replay", "--replay-pps", "1000000") }) // which waits for no database
	t.Run("killed", testDatabaseKilled)
	t.Run("ringside killed", testQueueKilled)
}

func testDatabaseStopped(t *testing.T, seed uint64, flags ...string) {
	a := newAway(t, seed, 16)
	a.start(t, a.records, flags...)
	a.until(t, 2)
	holdsSoon(t, "calls are in the store", func() bool { return a.calls(t) != "0" })
	stored := a.calls(t)
	ok(t, a.server.Stop())
	a.until(t, 12)
	holdsSoon(t, "records wait in the queue", func() bool { return a.queued(t) > 0 })
	waited := a.queued(t)
	ok(t, a.server.Start())
	began := time.Now()
	a.until(t, 13)
	holdsSoon(t, "the queue is empty", func() bool { return a.queued(t) == 0 })
	t.Logf("ten minutes without a server: %s calls were stored before, %d bytes of records waited, and were gone %v after it was back",
		stored, waited, time.Since(began).Round(time.Millisecond))
	a.end(t)
	a.check(t)
}

func testDatabaseKilled(t *testing.T) {
	a := newAway(t, 72, 13)
	a.start(t, a.records)
	for i := range 3 {
		a.until(t, 4*i+1)
		before := a.calls(t)
		holdsSoon(t, "calls are in the store", func() bool { return a.calls(t) != "0" })
		a.until(t, 4*i+2) // the server is busy with these
		ok(t, a.server.Kill())
		a.until(t, 4*i+3)
		holdsSoon(t, "records wait in the queue", func() bool { return a.queued(t) > 0 })
		ok(t, a.server.Start())
		t.Logf("kill %d: %s calls were stored a minute before, %s after it, %d bytes wait", i+1, before, a.calls(t), a.queued(t))
		a.until(t, 4*i+4)
		holdsSoon(t, "the queue is empty", func() bool { return a.queued(t) == 0 })
	}
	a.end(t)
	a.check(t)
}

func testQueueKilled(t *testing.T) {
	a := newAway(t, 73, 8)
	a.start(t, "-")
	a.until(t, 1)
	holdsSoon(t, "calls are in the store", func() bool { return a.calls(t) != "0" })
	ok(t, a.server.Stop())
	a.until(t, 6)
	holdsSoon(t, "records wait in the queue", func() bool { return a.queued(t) > 0 })
	time.Sleep(promised) // then all that was reported must be on disk
	ok(t, a.f.process.Process.Kill())
	_ = a.f.process.Wait() // it was killed
	var due export
	for line := range strings.Lines(a.f.out.String()) {
		if strings.HasSuffix(line, "\n") {
			due.line(t, []byte(line))
		}
	}
	status, _ := ringside(t, 0, "store", "status", "--queue", a.queue)
	t.Logf("killed after %d calls were reported: %s", len(due.calls), strings.ReplaceAll(strings.TrimSpace(status), "\n", ", "))

	// It starts again and reads nothing at all.
	ok(t, a.server.Start())
	before := a.calls(t)
	nothing := filepath.Join(t.TempDir(), "nothing.pcap")
	if err := os.WriteFile(nothing, a.capture[:24], 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"read", "--quiet", "--db", a.at.db, "--queue", a.queue, nothing}
	partly := 0
	for i := range 12 { // and is killed while it empties the queue, or the server is
		p := process(args...)
		ok(t, p.Start())
		time.Sleep(time.Duration(10*i) * time.Millisecond)
		if i%3 == 2 {
			ok(t, a.server.Kill())
			ok(t, a.server.Start())
		}
		_ = p.Process.Kill()
		_ = p.Wait() // it was killed, or was done
		if n := a.calls(t); n != before && a.queued(t) > 0 {
			partly++
		}
	}
	t.Logf("after %d of 12 kills some of the queue was stored, and some waited", partly)
	ringside(t, 0, args...)
	got := contentsOf(t, a.at.db)
	missing := slices.DeleteFunc(due.lines(), func(line string) bool { _, in := slices.BinarySearch(got.lines, line); return in })
	missing = withCalls(slices.DeleteFunc(missing, func(line string) bool { return strings.HasPrefix(line, "link ") }))
	if len(missing) > 0 || len(due.calls) == 0 {
		t.Errorf("%d of %d reported records are lost: %.300s", len(missing), len(due.byID), strings.Join(missing, "\n"))
	}
	t.Logf("%s calls were stored before it started again, %s after", before, a.calls(t))

	// And reads the same again, all of it: what is stored is replaced.
	whole := filepath.Join(t.TempDir(), "whole.pcap")
	if err := os.WriteFile(whole, a.capture, 0o600); err != nil {
		t.Fatal(err)
	}
	ringside(t, 0, "read", "--quiet", "--db", a.at.db, "--queue", a.queue, "--json", a.records, whole)
	checkStored(t, a.at, a.records, a.truth)
}
