package store

import (
	"errors"
	"reflect"
	"testing"
	"time"

	"ringside/flow/record"
)

// daily is a batch with a record of every kind at a time.
func daily(t testing.TB, id int64, at time.Time) Batch {
	t.Helper()
	ns := at.UnixNano()
	call := fullCall(t, id)
	call.ID, call.Start = id, ns
	return Batch{
		Calls: []*record.Call{call}, Orphans: []*record.Stream{{First: ns, SSRC: uint32(id)}},
		Registrations: []*record.Registration{{ID: id, Start: ns}}, Exchanges: []*record.Exchange{{ID: id, Start: ns}},
		Events: []*record.Event{{ID: id, Time: ns}}, Links: []*record.Link{{ID: id, Start: ns}}, Quality: []*record.QualityReport{{ID: id, Time: ns}},
	}
}

func TestMaintain(t *testing.T) { onBoth(t, testMaintain) }

func testMaintain(t *testing.T, open opener) {
	s := open(t)
	now := time.Now().UTC()
	for age := range 10 { // days
		put(t, s, daily(t, int64(age+1), dayStart(now).AddDate(0, 0, -age)))
	}
	put(t, s, daily(t, 11, dayStart(now).AddDate(0, 0, -3).Add(-1)))
	put(t, s, daily(t, 12, now.AddDate(0, 0, 40)))
	before := rowCounts(t, s)
	if m, err := s.Maintain(t.Context(), now, 0); err != nil || m != (Maintained{}) {
		t.Errorf("without a limit: %+v, error %v", m, err)
	}
	if got := rowCounts(t, s); !reflect.DeepEqual(got, before) {
		t.Errorf("without a limit: rows %v, want %v", got, before)
	}
	m, err := s.Maintain(t.Context(), now, 3)
	if err != nil {
		t.Fatal(err)
	}
	got := rowCounts(t, s)
	for table, n := range before {
		if got[table] != n/12*5 { // today, three full days, and the one to come
			t.Errorf("%d rows left in %s, want %d of %d", got[table], table, n/12*5, n)
		}
	}
	if m.Rows == 0 {
		t.Errorf("%+v: no rows deleted", m)
	}
	for id, kept := range map[int64]bool{1: true, 4: true, 5: false, 10: false, 11: false, 12: true} {
		if _, err := s.Call(t.Context(), id); (err == nil) != kept || err != nil && !errors.Is(err, ErrNotFound) {
			t.Errorf("call %d: %v, kept %v", id, err, kept)
		}
	}
	if m, err := s.Maintain(t.Context(), now, 3); err != nil || m != (Maintained{}) {
		t.Errorf("again: %+v, error %v", m, err)
	}
}

// TestMaintainSteps deletes more rows than one step takes, many of one time.
func TestMaintainSteps(t *testing.T) { onBoth(t, testMaintainSteps) }

func testMaintainSteps(t *testing.T, open opener) {
	s := open(t)
	var b Batch
	for i := range 3*deleteStep + 7 {
		b.Events = append(b.Events, &record.Event{ID: int64(i), Time: int64(i / 100)})
	}
	b.Events = append(b.Events, &record.Event{ID: 1, Time: time.Now().UnixNano()})
	put(t, s, b)
	m, err := s.Maintain(t.Context(), time.Now(), 1)
	if err != nil || m.Rows != 3*deleteStep+7 || rowCounts(t, s)["event"] != 1 {
		t.Errorf("%+v, error %v, rows %v", m, err, rowCounts(t, s))
	}
}

// TestPartitions follows the partitions of a server through the days.
func TestPartitions(t *testing.T) {
	startServer(t)
	s := open(t, newDatabase(t)) // not used again: its partitions are of another time
	tables := len(agedNames())
	names := func(table string) []string {
		t.Helper()
		have, err := partitions(t.Context(), s.read, table)
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, p := range have {
			out = append(out, p.name)
		}
		return out
	}
	today := dayStart(time.Now())
	var want []string
	for i := range daysAhead + 1 {
		want = append(want, today.AddDate(0, 0, i).Format("p060102"))
	}
	for _, table := range agedNames() {
		if got := names(table); !reflect.DeepEqual(got, want) {
			t.Errorf("%s has %v, want %v", table, got, want)
		}
	}
	for i := range 12 {
		put(t, s, daily(t, int64(i+1), today.AddDate(0, 0, i).Add(time.Hour)))
	}
	// Ten days later, three days are kept: what is too old is dropped, and what
	// waited in the last one is moved.
	later := today.AddDate(0, 0, 10)
	m, err := s.Maintain(t.Context(), later.Add(5*time.Hour), 3)
	if wantDone := (Maintained{Rows: m.Rows, Partitions: (daysAhead + 1) * tables, Added: (daysAhead + 1) * tables}); err != nil || m != wantDone {
		t.Errorf("%+v, error %v, want %+v", m, err, wantDone)
	}
	if got := names("stream"); len(got) != daysAhead+1 || got[0] != later.Format("p060102") {
		t.Errorf("partitions %v", got)
	}
	if n := rowCounts(t, s); n["calls"] != 5 || n["event"] != 5 || n["stream"] != 5*4 {
		t.Errorf("rows %v, want those of five days", n)
	}
	var inLast int
	if err := s.read.QueryRow("SELECT COUNT(*) FROM calls PARTITION (pmax)").Scan(&inLast); err != nil || inLast != 0 {
		t.Errorf("%d calls wait in the last partition, error %v", inLast, err)
	}
	// Four days on, the oldest of those is dropped as a whole.
	if m, err := s.Maintain(t.Context(), later.AddDate(0, 0, 4), 3); err != nil || m.Partitions != tables || m.Added != 4*tables || m.Rows != 0 {
		t.Errorf("four days on: %+v, error %v", m, err)
	}
	if n := rowCounts(t, s)["calls"]; n != 1 {
		t.Errorf("%d calls four days on, want 1", n)
	}
	// A clock that goes back makes none twice.
	if m, err := s.Maintain(t.Context(), today, 3); err != nil || m != (Maintained{}) {
		t.Errorf("a day long ago: %+v, error %v", m, err)
	}
	if plan := oneRow(t, s, "EXPLAIN PARTITIONS SELECT * FROM calls WHERE start_at >= ? AND start_at < ?",
		today.AddDate(0, 0, 11).UnixNano(), today.AddDate(0, 0, 12).UnixNano()); plan["partitions"] != today.AddDate(0, 0, 11).Format("p060102") {
		t.Errorf("a day is looked for in %v", plan["partitions"])
	}
}
