package store

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"

	"ringside/flow/record"
)

// signals is a batch with three records of every kind but calls and streams.
func signals(t testing.TB) Batch {
	t.Helper()
	var b Batch
	for i := range int64(3) {
		b.Registrations = append(b.Registrations, full[record.Registration](t, i))
		b.Exchanges = append(b.Exchanges, full[record.Exchange](t, i))
		b.Events = append(b.Events, full[record.Event](t, i))
		b.Links = append(b.Links, full[record.Link](t, i))
		b.Quality = append(b.Quality, full[record.QualityReport](t, i))
	}
	return b
}

func put(t testing.TB, s *Store, b Batch) {
	t.Helper()
	if err := s.Insert(context.Background(), b); err != nil {
		t.Fatal(err)
	}
}

// values are what the pointers point to.
func values[T any](list []*T) []T {
	var out []T
	for _, p := range list {
		out = append(out, *p)
	}
	return out
}

// backwards is the same list the other way round: newest first.
func backwards[T any](list []T) []T {
	list = slices.Clone(list)
	slices.Reverse(list)
	return list
}

// TestSignalRoundTrip stores every record twice, also within a batch, and
// expects each once and as it was.
func TestSignalRoundTrip(t *testing.T) { onBoth(t, testSignalRoundTrip) }

func testSignalRoundTrip(t *testing.T, open opener) {
	ctx := context.Background()
	s := open(t)
	b := signals(t)
	early := *b.Events[1]
	early.Count = 1
	twice := b
	twice.Events = append([]*record.Event{&early}, b.Events...)
	put(t, s, twice)
	put(t, s, b)
	for table, n := range rowCounts(t, s) {
		want := 0
		if slices.Contains([]string{"registration", "exchange", "event", "call_link", "quality_report"}, table) {
			want = 3
		}
		if n != want {
			t.Errorf("%d rows in %s, want %d", n, table, want)
		}
	}
	registrations, err := s.Registrations(ctx, RegistrationFilter{}, Page{})
	if err != nil {
		t.Fatal(err)
	}
	same(t, registrations.Records, backwards(values(b.Registrations)))
	exchanges, err := s.Exchanges(ctx, ExchangeFilter{}, Page{})
	if err != nil {
		t.Fatal(err)
	}
	same(t, exchanges.Records, backwards(values(b.Exchanges)))
	events, err := s.Events(ctx, EventFilter{}, Page{Ascending: true})
	if err != nil {
		t.Fatal(err)
	}
	same(t, events.Records, values(b.Events))
	for _, l := range b.Links {
		links, err := s.Links(ctx, l.First)
		if err != nil {
			t.Fatal(err)
		}
		same(t, links, []LinkedCall{{Link: *l, OtherID: l.Second}})
	}
	for _, q := range b.Quality {
		reports, err := s.QualityReports(ctx, q.CallID)
		if err != nil {
			t.Fatal(err)
		}
		same(t, reports, []record.QualityReport{*q})
	}
}

// TestSignalBare stores records of which nothing is known.
func TestSignalBare(t *testing.T) { onBoth(t, testSignalBare) }

func testSignalBare(t *testing.T, open opener) {
	ctx := context.Background()
	s := open(t)
	put(t, s, Batch{Registrations: []*record.Registration{{}}, Exchanges: []*record.Exchange{{}}, Events: []*record.Event{{}}})
	r, err := s.Registrations(ctx, RegistrationFilter{}, Page{})
	if err != nil {
		t.Fatal(err)
	}
	same(t, r.Records, []record.Registration{{}})
	e, err := s.Exchanges(ctx, ExchangeFilter{}, Page{})
	if err != nil {
		t.Fatal(err)
	}
	same(t, e.Records, []record.Exchange{{}})
	v, err := s.Events(ctx, EventFilter{}, Page{})
	if err != nil {
		t.Fatal(err)
	}
	same(t, v.Records, []record.Event{{}})
}

func TestLinks(t *testing.T) { onBoth(t, testLinks) }

func testLinks(t *testing.T, open opener) {
	ctx := context.Background()
	s := open(t)
	a, b, c := fullCall(t, 1), fullCall(t, 2), fullCall(t, 3)
	link := func(id int64, x, y *record.Call, r record.LinkReason, score uint8) *record.Link {
		return &record.Link{ID: id, First: x.ID, Second: y.ID, Start: x.Start, Other: y.Start, Reason: r, Key: "k", Score: score}
	}
	ab, bc := link(1, a, b, record.LinkScore, 70), link(2, b, c, record.LinkSessionID, 100)
	put(t, s, Batch{Calls: []*record.Call{a, b}, Links: []*record.Link{ab, bc}})

	bare := func(c *record.Call) *Row {
		r := asRow(c)
		r.Legs, r.Messages, r.Streams, r.Media, r.Digits = nil, nil, nil, nil, nil
		return &r
	}
	for _, tc := range []struct {
		of   *record.Call
		want []LinkedCall
	}{
		{a, []LinkedCall{{*ab, b.ID, bare(b)}}},
		{b, []LinkedCall{{*bc, c.ID, nil}, {*ab, a.ID, bare(a)}}}, // the surest first; c is not stored
		{c, []LinkedCall{{*bc, b.ID, bare(b)}}},
		{fullCall(t, 4), nil},
	} {
		got, err := s.Links(ctx, tc.of.ID)
		if err != nil {
			t.Fatal(err)
		}
		same(t, got, tc.want)
	}
}

// TestSignalPages pages through each list.
func TestSignalPages(t *testing.T) { onBoth(t, testSignalPages) }

func testSignalPages(t *testing.T, open opener) {
	ctx := context.Background()
	s := open(t)
	var b Batch
	for id := range int64(23) {
		at := 100 + id/4 // several at a time
		b.Registrations = append(b.Registrations, &record.Registration{ID: id, Start: at})
		b.Exchanges = append(b.Exchanges, &record.Exchange{ID: id, Start: at})
		b.Events = append(b.Events, &record.Event{ID: id, Time: at})
	}
	put(t, s, b)
	lists := map[string]func(Page) ([]int64, string, error){
		"registrations": func(p Page) (ids []int64, next string, err error) {
			l, err := s.Registrations(ctx, RegistrationFilter{From: 1}, p)
			for _, r := range l.Records {
				ids = append(ids, r.ID)
			}
			return ids, l.Next, err
		},
		"exchanges": func(p Page) (ids []int64, next string, err error) {
			l, err := s.Exchanges(ctx, ExchangeFilter{From: 1}, p)
			for _, r := range l.Records {
				ids = append(ids, r.ID)
			}
			return ids, l.Next, err
		},
		"events": func(p Page) (ids []int64, next string, err error) {
			l, err := s.Events(ctx, EventFilter{From: 1}, p)
			for _, r := range l.Records {
				ids = append(ids, r.ID)
			}
			return ids, l.Next, err
		},
	}
	for name, page := range lists {
		t.Run(name, func(t *testing.T) {
			var got []int64
			p := Page{Limit: 7}
			for pages := 0; pages < 10; pages++ {
				ids, next, err := page(p)
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, ids...)
				if p.Cursor = next; next == "" {
					break
				}
			}
			for i := range got {
				if len(got) != 23 || got[i] != int64(22-i) {
					t.Fatalf("listed %v, want 22 to 0", got)
				}
			}
			if _, _, err := page(Page{Cursor: "garbage"}); !errors.Is(err, ErrCursor) {
				t.Errorf("error %v, want ErrCursor", err)
			}
		})
	}
}

func TestSignalSummaries(t *testing.T) { onBoth(t, testSignalSummaries) }

func testSignalSummaries(t *testing.T, open opener) {
	ctx := context.Background()
	s := sampleRegistrations(t, open)
	sum, err := s.SummarizeRegistrations(ctx, RegistrationFilter{To: 5000 * second})
	want := RegistrationSummary{Registrations: 4, Registers: 98, Successes: 6, Challenges: 1, Failures: 88, Timeouts: 3,
		States: map[record.RegistrationState]int64{record.Registered: 1, record.Expired: 1, record.Rejected: 1, record.Unregistered: 1}}
	if err != nil || !reflect.DeepEqual(sum, want) {
		t.Errorf("summary %+v, error %v, want %+v", sum, err, want)
	}
	if text := asJSON(t, sum); !strings.Contains(text, `"rejected":1`) {
		t.Errorf("JSON %s does not name the states", text)
	}
	put(t, s, Batch{Exchanges: []*record.Exchange{
		{ID: 1, Kind: record.TextMessage, State: "ok"}, {ID: 2, Kind: record.TextMessage, State: "ok"},
		{ID: 3, Kind: record.TextMessage, State: "failed"}, {ID: 4, Kind: record.Options, State: "down"},
	}})
	counts, err := s.SummarizeExchanges(ctx, ExchangeFilter{})
	wantCounts := []ExchangeCount{{record.TextMessage, "failed", 1}, {record.TextMessage, "ok", 2}, {record.Options, "down", 1}}
	if err != nil || !reflect.DeepEqual(counts, wantCounts) {
		t.Errorf("counts %v, error %v, want %v", counts, err, wantCounts)
	}
}

// TestSignalSearchPlan asks the database how it would search.
func TestSignalSearchPlan(t *testing.T) {
	s := open(t, Memory)
	const day = 24 * 3600 * second
	addr := mustAddr(t, "10.0.0.1")
	messages := []record.ExchangeKind{record.TextMessage}
	kinds := []record.EventKind{record.RegNew, record.AuthRefused}
	for name, c := range map[string]struct {
		table string
		where *where
		index string
	}{
		"registrations of a day":    {"registration", (&RegistrationFilter{From: 1, To: day}).where(), "PRIMARY KEY"},
		"AOR in a day":              {"registration", (&RegistrationFilter{AOR: Match{Value: "x"}, From: 1, To: day}).where(), "registration_aor"},
		"AOR prefix":                {"registration", (&RegistrationFilter{AOR: Match{"x", Prefix}}).where(), "registration_aor"},
		"user":                      {"registration", (&RegistrationFilter{User: Match{Value: "x"}}).where(), "registration_user"},
		"kind of exchange in a day": {"exchange", (&ExchangeFilter{Kinds: []record.ExchangeKind{record.Options}, From: 1, To: day}).where(), "exchange_kind"},
		"exchanges of a number":     {"exchange", (&ExchangeFilter{Number: Match{Value: "x"}}).where(), "exchange_called"},
		"exchanges of a Call-ID":    {"exchange", (&ExchangeFilter{CallID: "x"}).where(), "exchange_call_id"},
		"events of a kind":          {"event", (&EventFilter{Kinds: []record.EventKind{record.RegNew}, From: 1, To: day}).where(), "event_kind"},
		"events of a source":        {"event", (&EventFilter{Source: addr, From: 1, To: day}).where(), "event_src"},
		"events of a Call-ID":       {"event", (&EventFilter{CallID: "x"}).where(), "event_call_id"},

		"messages of a number":         {"exchange", (&ExchangeFilter{Kinds: messages, Number: Match{Value: "x"}}).where(), "exchange_called"},
		"messages of a caller":         {"exchange", (&ExchangeFilter{Kinds: messages, Caller: Match{"x", Prefix}}).where(), "exchange_caller"},
		"messages of a number's end":   {"exchange", (&ExchangeFilter{Kinds: messages, Caller: Match{"x", Suffix}}).where(), "exchange_kind"},
		"messages of a Call-ID":        {"exchange", (&ExchangeFilter{Kinds: messages, CallID: "x"}).where(), "exchange_call_id"},
		"events of a kind and source":  {"event", (&EventFilter{Kinds: kinds[:1], Source: addr}).where(), "event_src"},
		"events of kinds and Call-ID":  {"event", (&EventFilter{Kinds: kinds, CallID: "x"}).where(), "event_call_id"},
		"events of kinds and AOR":      {"event", (&EventFilter{Kinds: kinds, AOR: Match{Value: "x"}}).where(), "event_aor"},
		"events of a kind and network": {"event", (&EventFilter{Kinds: kinds[:1], Source: netip.MustParsePrefix("10.0.0.0/8")}).where(), "event_"},
	} {
		t.Run(name, func(t *testing.T) {
			at := "start_at"
			if c.table == "event" {
				at = "occurred_at"
			}
			query := "EXPLAIN QUERY PLAN SELECT * FROM " + c.table + c.where.String() + " ORDER BY " + at + " DESC, id DESC LIMIT 10"
			var plan strings.Builder
			err := groups(context.Background(), s.read, query, c.where.args, func(scan func(...any) error) error {
				var id, parent, unused int
				var detail string
				err := scan(&id, &parent, &unused, &detail)
				plan.WriteString(detail + "\n")
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(plan.String(), c.index) || strings.Contains(plan.String(), "SCAN") {
				t.Errorf("plan:\n%s", plan.String())
			}
		})
	}
}

// A page of subscriptions and publications is read in the order of time, instead
// of sorting all that there are.
func TestKindsAreNotSorted(t *testing.T) {
	s := open(t, Memory)
	w := (&ExchangeFilter{Kinds: []record.ExchangeKind{record.Subscription, record.Publication}}).where()
	var plan string
	err := groups(context.Background(), s.read, "EXPLAIN QUERY PLAN SELECT * FROM exchange"+w.String()+" ORDER BY start_at DESC, id DESC LIMIT 10", w.args,
		func(scan func(...any) error) error {
			var id, parent, unused int
			var detail string
			err := scan(&id, &parent, &unused, &detail)
			plan += detail + "\n"
			return err
		})
	if err != nil || plan == "" || strings.Contains(plan, "TEMP B-TREE") {
		t.Errorf("error %v, plan:\n%s", err, plan)
	}
}

// TestWriterOfSignals gives a Writer records of every kind, some of which the
// database rejects.
func TestWriterOfSignals(t *testing.T) {
	ctx := context.Background()
	s := open(t, Memory)
	w := NewWriter(s, WriterOptions{})
	b := signals(t)
	b.Registrations[1].RTT = math.NaN()
	b.Exchanges[2].RTTMax = math.NaN()
	b.Quality[0].XR.MOSLQ = math.NaN()
	b.Exchanges[0].Text = strings.Repeat("text ", 3000)
	for i := range 3 {
		w.Add(fullCall(t, int64(i)))
		w.AddRegistration(b.Registrations[i])
		w.AddExchange(b.Exchanges[i])
		w.AddEvent(b.Events[i])
		w.AddLink(b.Links[i])
		w.AddQuality(b.Quality[i])
	}
	err := w.Close(ctx)
	for _, part := range []string{
		fmt.Sprintf("insert registration %d", b.Registrations[1].ID), "registration.rtt_avg",
		fmt.Sprintf("insert %s %d", b.Exchanges[2].Kind, b.Exchanges[2].ID), "exchange.rtt_max",
		fmt.Sprintf("insert quality report %d", b.Quality[0].ID), "quality_report.xr_mos_lq",
	} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("error lacks %q: %v", part, err)
		}
	}
	got := w.Stats()
	if got.Stored()+got.Rejected != got.Added {
		t.Errorf("stats %+v do not add up", got)
	}
	got.Batches = 0
	want := WriterStats{Added: 18, Calls: 3, Registrations: 2, Exchanges: 2, Events: 3, Links: 3, Quality: 2, Rows: 3*16 + 12, Rejected: 3}
	if got != want {
		t.Errorf("stats %+v, want %+v", got, want)
	}
	if n := rowCounts(t, s); n["registration"] != 2 || n["exchange"] != 2 || n["event"] != 3 || n["call_link"] != 3 || n["quality_report"] != 2 {
		t.Errorf("rows %v", n)
	}
}

func typicalRegistration(r *rand.Rand, i int) *record.Registration {
	user := fmt.Sprintf("49%09d", r.IntN(1e9))
	at := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 5060)
	start := 1_750_000_000*second + int64(i)*2_000_000
	return &record.Registration{
		ID: r.Int64(), AOR: user + "@example.net", User: user, Domain: "example.net", Contact: "sip:" + user + "@" + at.String() + ";transport=udp",
		CallID: fmt.Sprintf("%016x@%s", r.Uint64(), at.Addr()), Agent: "Yealink SIP-T46S 66.85.0.5", AuthUser: user,
		Src: at, Dst: netip.MustParseAddrPort("10.200.0.1:5060"), Transport: record.UDP, VLAN: -1, Start: start, Last: start + 3000*second,
		End: start + 3600*second, ExpiresAt: start + 3600*second, Expires: 600, State: record.Registered, Registers: 7, Successes: 6, Challenges: 1,
		LastStatus: 200, LastReason: "OK", RTT: 12.5, RTTMin: 8, RTTMax: 40,
	}
}

func typicalEvent(r *rand.Rand, i int) *record.Event {
	g := typicalRegistration(r, i)
	return &record.Event{ID: g.ID, Time: g.Start, Kind: record.RegNew, Src: g.Src, Dst: g.Dst, AOR: g.AOR, Target: g.Contact,
		CallID: g.CallID, Method: "REGISTER", Status: 200, Text: "OK", Agent: g.Agent, Count: 1}
}

func BenchmarkInsertSignals(b *testing.B) {
	const batch = 1000
	fill := map[string]func(*rand.Rand, int, *Batch){
		"registrations": func(r *rand.Rand, i int, out *Batch) {
			out.Registrations = append(out.Registrations, typicalRegistration(r, i))
		},
		"events": func(r *rand.Rand, i int, out *Batch) { out.Events = append(out.Events, typicalEvent(r, i)) },
	}
	for _, name := range []string{"registrations", "events"} {
		b.Run(name, func(b *testing.B) {
			s := open(b, b.TempDir()+"/bench.db")
			r := rand.New(rand.NewPCG(1, 2))
			n := 0
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				var records Batch
				for range batch {
					fill[name](r, n, &records)
					n++
				}
				b.StartTimer()
				put(b, s, records)
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), name+"/s")
		})
	}
}
