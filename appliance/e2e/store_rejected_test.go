package e2e

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"ringside/bench/traffic"
	"ringside/flow/record"
)

// broken is a table that takes some rows and rejects others.
type broken struct {
	name          string
	break_, mend  string // SQL
	says          string // a part of the reason
	call          func(*record.Call) bool
	orphan        func(*record.Stream) bool
	registrations bool
}

func noOrphan(*record.Stream) bool { return false }

// many is a stream that tables take which take no long ones.
const many = 400

func long(s *record.Stream) bool { return s.Packets > many }
func longCall(c *record.Call) bool {
	return slices.ContainsFunc(c.Streams, func(s record.Stream) bool { return long(&s) })
}
func wordy(c *record.Call) bool { return len(c.LastReason) > 4 }
func dials(c *record.Call) bool { return len(c.Digits) > 0 }

var brokenTables = map[string][]broken{
	"mariadb": {
		{name: "a column too narrow", break_: "ALTER TABLE calls MODIFY last_reason VARCHAR(4) NOT NULL", mend: "ALTER TABLE calls MODIFY last_reason TEXT NOT NULL DEFAULT ('')",
			says: "last_reason", call: wordy, orphan: noOrphan},
		{name: "a check", break_: fmt.Sprintf("ALTER TABLE stream ADD CONSTRAINT not_many CHECK (packets <= %d)", many), mend: "ALTER TABLE stream DROP CONSTRAINT not_many",
			says: "not_many", call: longCall, orphan: long},
		{name: "a trigger", break_: "CREATE TRIGGER digits BEFORE INSERT ON call_digit FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'no digits here'", mend: "DROP TRIGGER digits",
			says: "no digits here", call: dials, orphan: noOrphan},
		{name: "a table that is gone", break_: "RENAME TABLE registration TO elsewhere", mend: "RENAME TABLE elsewhere TO registration",
			says: "registration", call: func(*record.Call) bool { return false }, orphan: noOrphan, registrations: true},
	},
	"sqlite": {
		{name: "a column too narrow", break_: "CREATE TRIGGER narrow BEFORE INSERT ON calls WHEN LENGTH(NEW.last_reason) > 4 BEGIN SELECT RAISE(ABORT, 'last_reason is too long'); END",
			mend: "DROP TRIGGER narrow", says: "last_reason is too long", call: wordy, orphan: noOrphan},
		{name: "a check", break_: fmt.Sprintf("CREATE TRIGGER not_many BEFORE INSERT ON stream WHEN NEW.packets > %d BEGIN SELECT RAISE(ABORT, 'not so many'); END", many),
			mend: "DROP TRIGGER not_many", says: "not so many", call: longCall, orphan: long},
		{name: "a trigger", break_: "CREATE TRIGGER digits BEFORE INSERT ON call_digit BEGIN SELECT RAISE(ABORT, 'no digits here'); END",
			mend: "DROP TRIGGER digits", says: "no digits here", call: dials, orphan: noOrphan},
	},
}

// TestRejectedRows: what a broken table rejects is parked, each record with the
// reason; all else is stored; once the table is mended, "ringside store retry"
// stores the rest, and all is true.
func TestRejectedRows(t *testing.T) {
	withoutRace(t)
	path, truth := generate(t, traffic.Options{
		Seed: 81, Calls: 120, Rate: 4, Talk: traffic.Length{Kind: traffic.Uniform, Min: time.Second, Max: 12 * time.Second}, RTCP: true, Digits: 0.4, Background: 4, Noise: 2,
		Scenarios: []traffic.Weighted[traffic.Scenario]{{Value: traffic.Answered, Weight: 6}, {Value: traffic.Busy, Weight: 2}, {Value: traffic.Cancelled, Weight: 1}, {Value: traffic.Auth407, Weight: 1}},
	})
	server := startMariaDB(t)
	for on, list := range brokenTables {
		for i, b := range list {
			t.Run(on+"/"+b.name, func(t *testing.T) {
				at := onServer(server, fmt.Sprintf("broken_%d", i))
				if on == "sqlite" {
					at = inFile(filepath.Join(t.TempDir(), "calls.db"))
				}
				b.try(t, at, path, truth)
			})
		}
	}
}

func (b *broken) try(t *testing.T, at place, path string, truth *traffic.Truth) {
	makeSchema(t, at.db)
	queue, out := filepath.Join(t.TempDir(), "queue"), filepath.Join(t.TempDir(), "records.json")
	if b.registrations {
		// A store that lacks a table when it is opened is refused; here it loses one
		// while it is written.
		b.loses(t, at, path, queue, out)
	} else {
		at.sql(t, b.break_)
		_, said := ringside(t, 0, "read", "--quiet", "--db", at.db, "--queue", queue, "--json", out, path)
		if !strings.Contains(said, "parked") || strings.Contains(said, "wait in") {
			t.Errorf("it says %q", said)
		}
	}
	var e export
	e.read(t, out)
	rejected := b.rejects(&e)
	parked, _ := ringside(t, 0, "store", "parked", "--json", "--queue", queue)
	left := len(rejected)
	for line := range strings.Lines(parked) {
		var p struct{ Time, Record, Reason string }
		if err := json.Unmarshal([]byte(line), &p); err != nil {
			t.Fatal(err)
		}
		left--
		if !slices.ContainsFunc(rejected, func(r string) bool { return strings.HasPrefix(p.Record, r) }) || !strings.Contains(p.Reason, b.says) {
			t.Errorf("parked: %+v", p)
		}
	}
	if left != 0 || len(rejected) == 0 {
		t.Errorf("%d records should be parked, %d of them are missing:\n%s", len(rejected), left, parked)
	}
	if !b.registrations {
		sameRecords(t, "what is stored beside them", callsAndOrphans(contentsOf(t, at.db).lines), b.accepted(t, &e))
	}
	t.Logf("%d of %d records rejected, and parked", len(rejected), len(e.byID))

	at.sql(t, b.mend)
	if done, _ := ringside(t, 0, "store", "retry", "--db", at.db, "--queue", queue); !strings.HasPrefix(done, fmt.Sprintf("%d records stored, 0 wait, 0 are parked", len(rejected))) {
		t.Errorf("retry says %q", done)
	}
	checkStored(t, at, out, truth)
}

// loses reads half of the capture, breaks the table, and reads the other half.
func (b *broken) loses(t *testing.T, at place, path, queue, out string) {
	capture := readFile(t, path)
	f := feed(t, capture, "--db", at.db, "--queue", queue, "--json", out)
	f.give(t, len(capture)/2, 5, 20*time.Millisecond)
	holdsSoon(t, "calls are in the store", func() bool { return strings.TrimSpace(at.sql(t, "SELECT COUNT(*) FROM calls")) != "0" })
	at.sql(t, b.break_)
	f.end(t)
}

// rejects are the records that the table rejects, as they are called.
func (b *broken) rejects(e *export) (out []string) {
	if b.registrations {
		for _, line := range e.lines() {
			if strings.HasPrefix(line, "registration ") {
				out = append(out, "registration ")
			}
		}
	}
	for _, c := range e.calls {
		if b.call(c) {
			out = append(out, fmt.Sprintf("call %d (", c.ID))
		}
	}
	for _, s := range e.orphans {
		if b.orphan(s) {
			out = append(out, fmt.Sprintf("orphan stream %s to %s, SSRC %#x", s.Src, s.Dst, s.SSRC))
		}
	}
	return out
}

// accepted are the lines of calls and orphans that the table takes.
func (b *broken) accepted(t *testing.T, e *export) (out []string) {
	for _, c := range e.calls {
		if !b.call(c) {
			out = append(out, lineOf(t, "call", c))
		}
	}
	for _, s := range e.orphans {
		if !b.orphan(s) {
			out = append(out, lineOf(t, "orphan", s))
		}
	}
	slices.Sort(out)
	return out
}

func callsAndOrphans(lines []string) []string {
	return slices.DeleteFunc(slices.Clone(lines), func(s string) bool { return !strings.HasPrefix(s, "call ") && !strings.HasPrefix(s, "orphan ") })
}
