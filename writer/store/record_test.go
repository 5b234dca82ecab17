package store

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"testing/quick"

	"ringside/flow/record"
)

func open(t testing.TB, path string) *Store {
	t.Helper()
	s, err := Open(context.Background(), Options{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func insert(t testing.TB, s *Store, calls ...*record.Call) {
	t.Helper()
	if err := s.Insert(context.Background(), Batch{Calls: calls}); err != nil {
		t.Fatal(err)
	}
}

func asJSON(t testing.TB, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestEveryFieldHasAColumn finds fields of records that would be lost in
// silence: each must be what some column points to.
func TestEveryFieldHasAColumn(t *testing.T) {
	t.Run("call", func(t *testing.T) {
		children := []string{".Legs", ".Messages", ".Streams", ".Media", ".Digits"} // tables of their own
		checkColumns(t, callTable.fields, func(r *Row) any { return &r.Call }, children...)
	})
	t.Run("leg", func(t *testing.T) { checkColumns(t, legTable.fields, func(l *record.Leg) any { return l }) })
	t.Run("message", func(t *testing.T) { checkColumns(t, messageTable.fields, func(m *record.Message) any { return m }) })
	t.Run("media", func(t *testing.T) { checkColumns(t, mediaTable.fields, func(m *record.Media) any { return m }) })
	t.Run("digit", func(t *testing.T) { checkColumns(t, digitTable.fields, func(d *record.Digit) any { return d }) })
	t.Run("registration", func(t *testing.T) {
		checkColumns(t, registrationTable.fields, func(r *record.Registration) any { return r })
	})
	t.Run("exchange", func(t *testing.T) { checkColumns(t, exchangeTable.fields, func(e *record.Exchange) any { return e }) })
	t.Run("event", func(t *testing.T) { checkColumns(t, eventTable.fields, func(e *record.Event) any { return e }) })
	t.Run("link", func(t *testing.T) { checkColumns(t, linkTable.fields, func(l *record.Link) any { return l }) })
	t.Run("quality", func(t *testing.T) {
		checkColumns(t, qualityTable.fields, func(q *record.QualityReport) any { return q })
	})
	t.Run("stream", func(t *testing.T) {
		// The Call-ID goes by way of streamRow.callID; the round trip has it.
		checkColumns(t, streamTable.fields, func(s *streamRow) any { return &s.Stream }, ".CallID")
	})
}

func checkColumns[T any](t *testing.T, fields []field[T], rec func(*T) any, elsewhere ...string) {
	t.Helper()
	v := new(T)
	stored := make(map[uintptr]bool)
	for _, f := range fields {
		stored[reflect.ValueOf(f.ptr(v)).Pointer()] = true
	}
	r := reflect.ValueOf(rec(v)).Elem()
	found := 0
	leaves("", r, func(path string, p any) {
		found++
		for _, e := range elsewhere {
			if path == e {
				return
			}
		}
		if !stored[reflect.ValueOf(p).Pointer()] {
			t.Errorf("%s%s is not stored: give it a line in tables.go and a column in a migration", r.Type(), path)
		}
	})
	if found == 0 {
		t.Fatal("no fields found")
	}
}

// TestTablesMatchSchema compares the Go lists with the database's columns.
func TestTablesMatchSchema(t *testing.T) { onBoth(t, testTablesMatchSchema) }

func testTablesMatchSchema(t *testing.T, open opener) {
	s := open(t)
	query := "SELECT name FROM pragma_table_info(?)"
	if s.server != nil {
		query = "SELECT column_name FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = ? AND generation_expression IS NULL"
	}
	for name, columns := range map[string][]string{
		callTable.name:         callTable.columns(),
		legTable.name:          legTable.columns(),
		messageTable.name:      messageTable.columns(),
		mediaTable.name:        mediaTable.columns(),
		digitTable.name:        digitTable.columns(),
		streamTable.name:       streamTable.columns(),
		registrationTable.name: registrationTable.columns(),
		exchangeTable.name:     exchangeTable.columns(),
		eventTable.name:        eventTable.columns(),
		linkTable.name:         linkTable.columns(),
		qualityTable.name:      qualityTable.columns(),
	} {
		t.Run(name, func(t *testing.T) {
			rows, err := s.read.Query(query, name)
			if err != nil {
				t.Fatal(err)
			}
			defer rows.Close()
			inSchema := make(map[string]bool)
			for rows.Next() {
				var c string
				if err := rows.Scan(&c); err != nil {
					t.Fatal(err)
				}
				inSchema[c] = true
			}
			for _, c := range columns {
				if !inSchema[c] {
					t.Errorf("column %s is not in the schema", c)
				}
				delete(inSchema, c)
			}
			for c := range inSchema {
				t.Errorf("column %s of the schema is not written", c)
			}
		})
	}
}

func TestRoundTrip(t *testing.T) { onBoth(t, testRoundTrip) }

func testRoundTrip(t *testing.T, open opener) {
	ctx := context.Background()
	bare := &record.Call{ID: 7, CallID: "bare", Start: 1, Streams: []record.Stream{{CallID: "bare"}, {CallID: ""}}}
	mapped := fullCall(t, 3)
	mapped.Caller.Addr = netip.MustParseAddrPort("[::ffff:10.0.0.1]:5060")
	mapped.Called.Addr = netip.AddrPortFrom(netip.Addr{}, 5060)
	odd := fullCall(t, 4)
	odd.Caller.Name = "nul\x00 quote' \"double\" % _ \\ ; -- \U0001F600"
	odd.Streams[0].SkewPPM = math.Inf(-1) // JSON has no infinity
	odd.Streams[0].Jitter = math.MaxFloat64
	odd.Flags = math.MaxUint32

	for name, c := range map[string]*record.Call{
		"full": fullCall(t, 1), "bare": bare, "mapped addresses": mapped, "odd values": odd,
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t)
			if s.server != nil && c == odd { // a column of a server takes no infinity
				odd.Streams[0].SkewPPM = -math.MaxFloat64
			}
			insert(t, s, fullCall(t, 8), c, fullCall(t, 9))
			got, err := s.Call(ctx, c.ID)
			if err != nil {
				t.Fatal(err)
			}
			same(t, got, c)
			byCallID, err := s.CallsByCallID(ctx, c.CallID)
			if err != nil || len(byCallID) != 1 {
				t.Fatalf("CallsByCallID: %d calls, error %v", len(byCallID), err)
			}
			same(t, byCallID[0], c)
		})
	}
}

func TestRoundTripJSON(t *testing.T) { onBoth(t, testRoundTripJSON) }

func testRoundTripJSON(t *testing.T, open opener) {
	s := open(t)
	c := fullCall(t, 1)
	insert(t, s, c)
	got, err := s.Call(context.Background(), c.ID)
	if err != nil {
		t.Fatal(err)
	}
	if a, b := asJSON(t, got), asJSON(t, c); a != b {
		t.Errorf("read back:\n%s\nwant:\n%s", a, b)
	}
}

func TestRoundTripRandom(t *testing.T) { onBoth(t, testRoundTripRandom) }

func testRoundTripRandom(t *testing.T, open opener) {
	s := open(t)
	check := func(id, start int64, number, agent string, lost uint64, ppm float64, loss [10]uint32, methods []string) bool {
		c := &record.Call{ID: id, Start: start, CallID: agent, Caller: record.Party{Number: number, Agent: agent}}
		for i, method := range methods {
			c.Messages = append(c.Messages, record.Message{Time: start + int64(i), Method: method, Retrans: i%2 == 0})
		}
		st := record.Stream{CallID: number}
		st.Lost, st.SkewPPM, st.LossRuns = lost, ppm, loss
		c.Streams = []record.Stream{st}
		insert(t, s, c)
		got, err := s.Call(context.Background(), id)
		if err != nil {
			t.Error(err)
			return false
		}
		return reflect.DeepEqual(got, c)
	}
	if err := quick.Check(check, &quick.Config{MaxCount: 100}); err != nil {
		t.Error(err)
	}
}

func TestOrphanRoundTrip(t *testing.T) { onBoth(t, testOrphanRoundTrip) }

func testOrphanRoundTrip(t *testing.T, open opener) {
	ctx := context.Background()
	s := open(t)
	want := fullCall(t, 1).Streams
	var b Batch
	for i := range want {
		b.Orphans = append(b.Orphans, &want[i])
	}
	for range 2 { // a batch sent twice is stored once
		if err := s.Insert(ctx, b); err != nil {
			t.Fatal(err)
		}
	}
	got, err := s.Orphans(ctx, OrphanFilter{}, Page{Ascending: true})
	if err != nil {
		t.Fatal(err)
	}
	same(t, got.Streams, want)
	if got.Next != "" {
		t.Errorf("next %q after the last page", got.Next)
	}
}

func TestOrphanID(t *testing.T) {
	s := fullCall(t, 1).Streams[0]
	seen := map[int64]string{OrphanID(&s): "itself"}
	for name, change := range map[string]func(*record.Stream){
		"src":   func(s *record.Stream) { s.Src = netip.AddrPortFrom(s.Src.Addr(), s.Src.Port()+1) },
		"dst":   func(s *record.Stream) { s.Dst = netip.AddrPortFrom(s.Dst.Addr().Next(), s.Dst.Port()) },
		"ssrc":  func(s *record.Stream) { s.SSRC++ },
		"first": func(s *record.Stream) { s.First++ },
		"swap":  func(s *record.Stream) { s.Src, s.Dst = s.Dst, s.Src },
	} {
		c := s
		change(&c)
		id := OrphanID(&c)
		if other, ok := seen[id]; ok || id < 0 {
			t.Errorf("id of %s is %d, as of %q", name, id, other)
		}
		seen[id] = name
	}
	c := s
	c.Packets++
	if OrphanID(&c) != OrphanID(&s) {
		t.Error("id depends on a counter")
	}
}

func TestCallNotFound(t *testing.T) { onBoth(t, testCallNotFound) }

func testCallNotFound(t *testing.T, open opener) {
	s := open(t)
	if _, err := s.Call(context.Background(), 1); !errors.Is(err, ErrNotFound) {
		t.Errorf("error %v, want ErrNotFound", err)
	}
	calls, err := s.CallsByCallID(context.Background(), "x")
	if err != nil || len(calls) != 0 {
		t.Errorf("%d calls, error %v, want none", len(calls), err)
	}
}

// rowCounts is the number of rows of each table.
func rowCounts(t testing.TB, s *Store) map[string]int {
	t.Helper()
	out := make(map[string]int)
	for _, table := range []string{"calls", "call_leg", "call_message", "call_media", "call_digit", "stream",
		"registration", "exchange", "event", "call_link", "quality_report"} {
		var n int
		if err := s.read.QueryRow("SELECT COUNT(*) FROM " + table).Scan(&n); err != nil {
			t.Fatal(err)
		}
		out[table] = n
	}
	return out
}

func TestInsertReplaces(t *testing.T) { onBoth(t, testInsertReplaces) }

func testInsertReplaces(t *testing.T, open opener) {
	ctx := context.Background()
	s := open(t)
	var calls []*record.Call
	for i := range int64(150) { // more than one look-up takes
		calls = append(calls, fullCall(t, i))
	}
	insert(t, s, calls...)
	first := rowCounts(t, s)
	if want := map[string]int{"calls": 150, "call_leg": 450, "call_message": 450, "call_media": 450, "call_digit": 450, "stream": 450,
		"registration": 0, "exchange": 0, "event": 0, "call_link": 0, "quality_report": 0}; !reflect.DeepEqual(first, want) {
		t.Fatalf("rows %v, want %v", first, want)
	}

	insert(t, s, calls...)
	if again := rowCounts(t, s); !reflect.DeepEqual(again, first) {
		t.Errorf("rows after the same batch %v, want %v", again, first)
	}

	// A later state of a call with fewer children, twice in one batch.
	early, late := *calls[140], *calls[140]
	late.Messages, late.Streams, late.LastReason = late.Messages[:1], nil, "later"
	insert(t, s, calls[3], &early, calls[4], &late)
	got, err := s.Call(ctx, late.ID)
	if err != nil {
		t.Fatal(err)
	}
	same(t, got, &late)

	// Calls of the same moment are not mistaken for each other.
	twin := late
	twin.ID++
	insert(t, s, &twin)
	insert(t, s, &twin)
	if n := rowCounts(t, s); n["calls"] != 151 || n["call_message"] != 449 || n["stream"] != 447 {
		t.Errorf("rows after a twin: %v", n)
	}
}

func TestInsertIsWhole(t *testing.T) { onBoth(t, testInsertIsWhole) }

func testInsertIsWhole(t *testing.T, open opener) {
	s := open(t)
	bad := fullCall(t, 2)
	bad.Streams[2].Jitter = math.NaN() // becomes NULL, which no column but a nullable one takes
	err := s.Insert(context.Background(), Batch{Calls: []*record.Call{fullCall(t, 1), bad, fullCall(t, 3)}})
	if err == nil || !strings.Contains(err.Error(), "stream") || !strings.Contains(err.Error(), "jitter") || !strings.Contains(err.Error(), "3 calls") {
		t.Fatalf("error %v, want one that names the column and the batch", err)
	}
	if !s.dialect.rejected(err) {
		t.Errorf("error %v does not count as a rejected row", err)
	}
	for table, n := range rowCounts(t, s) {
		if n != 0 {
			t.Errorf("%d rows of the failed batch are in %s", n, table)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.Insert(ctx, Batch{Calls: []*record.Call{fullCall(t, 1)}}); !errors.Is(err, context.Canceled) || s.dialect.rejected(err) {
		t.Errorf("insert under a cancelled context: %v", err)
	}
}

func TestDerive(t *testing.T) {
	stream := func(lost, expected uint64, jitter, mos float64) record.Stream {
		s := record.Stream{MOS: record.MOS{LQ: mos}}
		s.Lost, s.Expected, s.JitterMax = lost, expected, jitter
		return s
	}
	for name, c := range map[string]struct {
		call record.Call
		want Derived
	}{
		"unanswered, never rang": {
			record.Call{Start: 10, End: 15},
			Derived{Duration: 5},
		},
		"rang, not answered": {
			record.Call{Start: 10, Ring: 12, End: 20},
			Derived{Duration: 10, PDD: new(int64(2))},
		},
		"answered without ringing": {
			record.Call{Start: 10, Answer: 13, End: 20, Caller: record.Party{Number: "12é"}, Called: record.Party{Number: "+3"}},
			Derived{Duration: 10, PDD: new(int64(3)), Connected: new(int64(7)), callerReverse: "é21", calledReverse: "3+"},
		},
		"clock steps back": {
			record.Call{Start: 10, Ring: 8, Answer: 9, End: 5},
			Derived{PDD: new(int64(0)), Connected: new(int64(0))},
		},
		"streams": {
			record.Call{Streams: []record.Stream{stream(1, 100, 3, 4.1), stream(5, 50, 2, 0), stream(0, 0, 1, 3.9)}},
			Derived{StreamCount: 3, LossMax: new(10.0), JitterMax: new(3.0), MOSMin: new(3.9), compatFlags: compatZeroSSRC},
		},
		"streams without MOS": {
			record.Call{Streams: []record.Stream{stream(0, 100, 0, 0)}},
			Derived{StreamCount: 1, LossMax: new(0.0), JitterMax: new(0.0), compatFlags: compatZeroSSRC},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if got := derive(&c.call); !reflect.DeepEqual(got, c.want) {
				t.Errorf("derived %s, want %s", asJSON(t, got), asJSON(t, c.want))
			}
		})
	}
}
