package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"ringside/bench/corpus"
	"ringside/bench/traffic"
	"ringside/flow/record"
	"ringside/writer/store"
)

// contents is all that a store gives back: every call by its id with what is
// linked to it, and every list.
type contents struct {
	calls         []*record.Call // oldest first
	orphans       []*record.Stream
	registrations []record.Registration
	exchanges     []record.Exchange
	events        []record.Event
	lines         []string // every record, as JSON behind its kind, sorted
}

// openReader opens a store for queries.
func openReader(t *testing.T, db string) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), store.Options{Path: db, ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// walk reads a list to its end, page by page.
func walk[T any](t *testing.T, p store.Page, list func(store.Page) ([]T, string, error)) (out []T) {
	t.Helper()
	for {
		part, next, err := list(p)
		if err != nil {
			t.Fatal(err)
		}
		if out = append(out, part...); next == "" {
			return out
		}
		p.Cursor = next
	}
}

// contentsOf reads a whole store.
func contentsOf(t *testing.T, db string) *contents {
	t.Helper()
	s, ctx, c := openReader(t, db), t.Context(), new(contents)
	all := store.Page{Limit: 500, Ascending: true}
	lines := map[string]bool{}
	put := func(kind string, rec any) { lines[lineOf(t, kind, rec)] = true }
	for _, row := range walk(t, all, func(p store.Page) ([]store.Row, string, error) {
		r, err := s.Calls(ctx, store.Filter{}, p)
		return r.Calls, r.Next, err
	}) {
		call, err := s.Call(ctx, row.ID)
		if err != nil {
			t.Fatal(err)
		}
		links, err := s.Links(ctx, row.ID)
		if err != nil {
			t.Fatal(err)
		}
		reports, err := s.QualityReports(ctx, call.CallID)
		if err != nil {
			t.Fatal(err)
		}
		c.calls = append(c.calls, call)
		put("call", call)
		for i := range links {
			put("link", &links[i].Link)
		}
		for i := range reports {
			put("quality", &reports[i])
		}
	}
	for _, o := range walk(t, all, func(p store.Page) ([]record.Stream, string, error) {
		r, err := s.Orphans(ctx, store.OrphanFilter{}, p)
		return r.Streams, r.Next, err
	}) {
		c.orphans = append(c.orphans, &o)
		put("orphan", &o)
	}
	c.registrations = walk(t, all, func(p store.Page) ([]record.Registration, string, error) {
		r, err := s.Registrations(ctx, store.RegistrationFilter{}, p)
		return r.Records, r.Next, err
	})
	c.exchanges = walk(t, all, func(p store.Page) ([]record.Exchange, string, error) {
		r, err := s.Exchanges(ctx, store.ExchangeFilter{}, p)
		return r.Records, r.Next, err
	})
	c.events = walk(t, all, func(p store.Page) ([]record.Event, string, error) {
		r, err := s.Events(ctx, store.EventFilter{}, p)
		return r.Records, r.Next, err
	})
	for i := range c.registrations {
		put("registration", &c.registrations[i])
	}
	for i := range c.exchanges {
		put("exchange", &c.exchanges[i])
	}
	for i := range c.events {
		put("event", &c.events[i])
	}
	c.lines = slices.Sorted(maps.Keys(lines))
	return c
}

func lineOf(t *testing.T, kind string, rec any) string {
	t.Helper()
	text, err := json.Marshal(rec)
	if err != nil {
		t.Fatal(err)
	}
	return kind + " " + string(text)
}

// export is what "ringside read --json" wrote, line by line as contents has
// them. A record that came again has taken the place of the first.
type export struct {
	calls   []*record.Call
	orphans []*record.Stream
	byID    map[string]string
}

func (e *export) read(t *testing.T, path string) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		e.line(t, lines.Bytes())
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
}

// line takes one line: {"type": …} names the kind of all but calls and orphans.
func (e *export) line(t *testing.T, line []byte) {
	t.Helper()
	var head struct {
		Type   string
		Orphan bool
	}
	if err := json.Unmarshal(line, &head); err != nil {
		t.Fatal(err)
	}
	kind, rec := head.Type, any(nil)
	switch {
	case head.Orphan:
		o := new(record.Stream)
		kind, rec = "orphan", o
		e.orphans = append(e.orphans, o)
	case kind == "":
		c := new(record.Call)
		kind, rec = "call", c
		e.calls = append(e.calls, c)
	case kind == "registration":
		rec = new(record.Registration)
	case kind == "exchange":
		rec = new(record.Exchange)
	case kind == "event":
		rec = new(record.Event)
	case kind == "link":
		rec = new(record.Link)
	case kind == "quality":
		rec = new(record.QualityReport)
	}
	if err := json.Unmarshal(line, rec); err != nil {
		t.Fatal(err)
	}
	var id struct{ ID int64 }
	if err := json.Unmarshal(line, &id); err != nil {
		t.Fatal(err)
	}
	if o, ok := rec.(*record.Stream); ok {
		id.ID = store.OrphanID(o)
	}
	if e.byID == nil {
		e.byID = map[string]string{}
	}
	e.byID[fmt.Sprint(kind, id.ID)] = lineOf(t, kind, rec)
}

// lines are those of all records, sorted.
func (e *export) lines() []string { return slices.Sorted(maps.Values(e.byID)) }

// sameRecords compares two sets of records, field by field.
func sameRecords(t *testing.T, what string, got, want []string) {
	t.Helper()
	if slices.Equal(got, want) {
		return
	}
	var extra, missing []string
	in := func(list []string, s string) bool { _, ok := slices.BinarySearch(list, s); return ok }
	for _, s := range got {
		if !in(want, s) {
			extra = append(extra, s)
		}
	}
	for _, s := range want {
		if !in(got, s) {
			missing = append(missing, s)
		}
	}
	t.Errorf("%s: %d records, want %d; %d are other ones, %d missing", what, len(got), len(want), len(extra), len(missing))
	for i := range min(3, len(extra), len(missing)) {
		t.Error(firstDifference(extra[i], missing[i]))
	}
	for i := min(len(extra), len(missing)); i < min(3, len(missing)); i++ {
		t.Errorf("missing: %.300s", missing[i])
	}
}

// readBoth reads a capture into a file and into a server, and adds to e what was
// reported of it.
func readBoth(t *testing.T, e *export, file, server, capture string, flags ...string) {
	t.Helper()
	out := filepath.Join(t.TempDir(), "records.json")
	for i, db := range []string{file, server} {
		args := []string{"read", "--quiet", "--keys", "--workers", fmt.Sprint(1 + i), "--json", out, "--db", db, "--queue", filepath.Join(t.TempDir(), "queue")}
		if _, said := ringside(t, 0, append(append(args, flags...), capture)...); strings.Contains(said, "records") {
			t.Errorf("reading into %s left something: %s", db, said)
		}
	}
	e.read(t, out)
}

// TestStoreTruth: the truth tests through the database. What a server gives back
// of generated calls is what SQLite gives back and what was reported, field by
// field; and it is true.
func TestStoreTruth(t *testing.T) {
	withoutRace(t)
	server := startMariaDB(t)
	const calls = 6
	check := func(t *testing.T, name string, o traffic.Options) {
		path, truth := generate(t, o)
		var e export
		file, db := filepath.Join(t.TempDir(), "calls.db"), server.DSN(name)
		readBoth(t, &e, file, db, path)
		got := contentsOf(t, db)
		differ(t, traffic.Compare(truth, got.calls, got.orphans))
		sameRecords(t, "MariaDB against SQLite", got.lines, contentsOf(t, file).lines)
		sameRecords(t, "MariaDB against what was reported", got.lines, e.lines())
		onServer(server, name).sql(t, "DROP DATABASE "+name)
	}
	var all []traffic.Weighted[traffic.Scenario]
	for _, s := range traffic.Scenarios() {
		all = append(all, traffic.Weighted[traffic.Scenario]{Value: s, Weight: 1})
	}
	t.Run("scenarios", func(t *testing.T) {
		check(t, "scenarios", traffic.Options{
			Seed: 61, Calls: calls * len(all), Rate: 4, Scenarios: all, InTurn: true,
			Talk: traffic.Length{Kind: traffic.Uniform, Min: 3 * time.Second, Max: 15 * time.Second},
			Impairments: []traffic.Weighted[traffic.Impairment]{{Weight: 1}, {Weight: 1, Value: traffic.Impairment{
				Loss: 0.02, BurstIn: 0.004, BurstOut: 0.3, Jitter: 25 * time.Millisecond, Shape: traffic.Normal,
				Reorder: 0.01, ReorderDepth: 3, Duplicate: 0.01, Drift: 80, Wrap: 0.5, Reset: 0.2,
			}}},
			Digits: 0.3, DTX: 0.2, RTCP: true, Mux: 0.3, IPv6: 0.3, Proxied: 0.3, Background: 1, Noise: 5,
		})
	})
	for _, preset := range []string{"mixed", "streams"} {
		t.Run(preset, func(t *testing.T) {
			o, err := traffic.Preset(preset)
			if err != nil {
				t.Fatal(err)
			}
			o.Calls = 20 * calls
			check(t, preset, o)
		})
	}
}

// TestStoreCorpus: the corpus read into a server and into a file. All that both
// give back is the same, record by record and list by list, whatever is asked.
func TestStoreCorpus(t *testing.T) {
	withoutRace(t)
	t.Parallel()
	server := startMariaDB(t)
	file, db := filepath.Join(t.TempDir(), "calls.db"), server.DSN("corpus")
	var e export
	for i, row := range corpus.Index(t) {
		readBoth(t, &e, file, db, corpus.Capture(t, row["file"]), "--sensor", fmt.Sprint(1+i%3))
	}
	path, _ := generate(t, traffic.Options{
		Seed: 62, Calls: 60, Rate: 4, Talk: traffic.Length{Mean: 4 * time.Second}, RTCP: true, Digits: 0.5, IPv6: 0.3, Proxied: 0.3, Background: 3, Noise: 5,
		Impairments: []traffic.Weighted[traffic.Impairment]{{Weight: 1}, {Weight: 1, Value: traffic.Impairment{Loss: 0.1, Jitter: 60 * time.Millisecond}}},
	})
	readBoth(t, &e, file, db, path)
	readBoth(t, &e, file, db, storyTape(t).path(), "--link-header", "X-Conversation") // with what the others lack
	lite, maria := contentsOf(t, file), contentsOf(t, db)
	sameRecords(t, "MariaDB against SQLite", maria.lines, lite.lines)
	sameRecords(t, "MariaDB against what was reported", withCalls(maria.lines), withCalls(e.lines()))
	t.Logf("%d calls, %d streams of no call, %d registrations, %d exchanges, %d events: %d records in both",
		len(maria.calls), len(maria.orphans), len(maria.registrations), len(maria.exchanges), len(maria.events), len(maria.lines))

	tagOne(t, file, lite.calls[0].ID)
	tagOne(t, db, lite.calls[0].ID)
	t.Run("lists", func(t *testing.T) { sameLists(t, openReader(t, file), openReader(t, db), lite) })
	t.Run("commands", func(t *testing.T) {
		ask := func(args ...string) {
			t.Helper()
			fromFile, _ := ringside(t, 0, append(args, "--db", file)...)
			fromServer, _ := ringside(t, 0, append(args, "--db", db)...)
			if fromFile != fromServer {
				t.Errorf("ringside %s: %s", strings.Join(args, " "), firstDifference(fromServer, fromFile))
			}
			if fromFile == "" {
				t.Errorf("ringside %s says nothing", strings.Join(args, " "))
			}
		}
		for _, list := range []string{"calls", "registrations", "events", "messages", "subscriptions", "peers"} {
			ask(list, "--utc", "--limit", "1000")
			ask(list, "--json", "--limit", "1000")
		}
		for i := 0; i < len(maria.calls); i += 1 + len(maria.calls)/40 {
			ask("call", "--utc", fmt.Sprint(maria.calls[i].ID))
		}
	})
}

// withCalls leaves out quality reports: they are found by a call, and some are of
// calls that nobody captured.
func withCalls(lines []string) []string {
	return slices.DeleteFunc(slices.Clone(lines), func(s string) bool { return strings.HasPrefix(s, "quality ") })
}
