package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"ringside/appliance/daemon"
	"ringside/flow/record"
)

// heard is what ringside makes of a tape.
type heard struct {
	calls         []*record.Call
	orphans       []*record.Stream
	registrations []*record.Registration
	exchanges     []*record.Exchange
	events        []*record.Event
	links         []*record.Link
	quality       []*record.QualityReport
	report        daemon.Report
	lines         string // all records in the order in which they came, as JSON
}

// hearOnce reads a capture as o says.
func hearOnce(t *testing.T, path string, o daemon.ReadOptions) *heard {
	t.Helper()
	h := new(heard)
	var lines strings.Builder
	keep := func(kind string, r any) {
		text, err := json.Marshal(r)
		if err != nil {
			t.Error(err)
		}
		fmt.Fprintf(&lines, "%s %s\n", kind, text)
	}
	o.Paths = []string{path}
	if o.Dedup == "" {
		o.Dedup = "off"
	}
	o.Call = func(r *record.Call) { h.calls = append(h.calls, r); keep("call", r) }
	o.Orphan = func(r *record.Stream) { h.orphans = append(h.orphans, r); keep("orphan", r) }
	o.Registration = func(r *record.Registration) { h.registrations = append(h.registrations, r); keep("registration", r) }
	o.Exchange = func(r *record.Exchange) { h.exchanges = append(h.exchanges, r); keep("exchange", r) }
	o.Event = func(r *record.Event) { h.events = append(h.events, r); keep("event", r) }
	o.Link = func(r *record.Link) { h.links = append(h.links, r); keep("link", r) }
	o.Quality = func(r *record.QualityReport) { h.quality = append(h.quality, r); keep("quality", r) }
	rd, err := daemon.NewRead(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := rd.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	h.report, h.lines = rd.Report(), lines.String()
	if !h.report.Balanced {
		t.Errorf("%d workers: the ledger does not balance: %+v", o.Workers, h.report.Ledger)
	}
	return h
}

// hear reads a capture with 1, 2 and 4 workers, which all must say the same, and
// checks that no two records of a kind have the same ID.
func hear(t *testing.T, path string, o daemon.ReadOptions) *heard {
	t.Helper()
	var one *heard
	for _, workers := range []int{1, 2, 4} {
		o.Workers = workers
		h := hearOnce(t, path, o)
		if one == nil {
			one = h
		} else if h.lines != one.lines {
			t.Errorf("%d workers say\n%s\none says\n%s", workers, h.lines, one.lines)
		}
	}
	one.unique(t)
	return one
}

// unique checks the IDs.
func (h *heard) unique(t *testing.T) {
	t.Helper()
	seen := make(map[string]bool)
	check := func(kind string, id int64) {
		key := fmt.Sprint(kind, " ", id)
		if id <= 0 || seen[key] {
			t.Errorf("ID of %s: 0, negative, or not the only one", key)
		}
		seen[key] = true
	}
	for _, r := range h.calls {
		check("call", r.ID)
	}
	for _, r := range h.registrations {
		check("registration", r.ID)
	}
	for _, r := range h.exchanges {
		check("exchange", r.ID)
	}
	for _, r := range h.events {
		check("event", r.ID)
	}
	for _, r := range h.links {
		check("link", r.ID)
	}
	for _, r := range h.quality {
		check("quality report", r.ID)
	}
}

// onlyCall is the one call that was heard.
func (h *heard) onlyCall(t *testing.T) *record.Call {
	t.Helper()
	if len(h.calls) != 1 {
		t.Fatalf("%d calls, want 1:\n%s", len(h.calls), h.lines)
	}
	return h.calls[0]
}

// call is the one with a Call-ID.
func (h *heard) call(t *testing.T, id string) *record.Call {
	t.Helper()
	for _, c := range h.calls {
		if c.CallID == id {
			return c
		}
	}
	t.Fatalf("no call %s:\n%s", id, h.lines)
	return nil
}

// flowOf is the stream of a call from one address to another.
func flowOf(t *testing.T, c *record.Call, from, to string) *record.Stream {
	t.Helper()
	for i := range c.Streams {
		if s := &c.Streams[i]; s.Src.String() == from && s.Dst.String() == to {
			return s
		}
	}
	t.Fatalf("no stream from %s to %s in %+v", from, to, c.Streams)
	return nil
}

// when is a time of a record as tests write it.
func when(ns int64) time.Duration { return time.Duration(ns - tapeStart) }

// eventLines are the events of these kinds, or all, in the order of their times:
// "50ms reg-new 1001@example.com 200".
func (h *heard) eventLines(kinds ...record.EventKind) []string {
	var out []*record.Event
	for _, e := range h.events {
		if len(kinds) == 0 || slices.Contains(kinds, e.Kind) {
			out = append(out, e)
		}
	}
	line := func(e *record.Event) string {
		s := fmt.Sprintf("%v %v %s", when(e.Time), e.Kind, e.AOR)
		if e.Status != 0 {
			s += fmt.Sprintf(" %d", e.Status)
		}
		if e.Count != 1 {
			s += fmt.Sprintf(" x%d", e.Count)
		}
		return s
	}
	slices.SortStableFunc(out, func(a, b *record.Event) int {
		if a.Time != b.Time {
			return int(a.Time - b.Time)
		}
		return strings.Compare(line(a), line(b))
	})
	lines := make([]string, len(out))
	for i, e := range out {
		lines[i] = line(e)
	}
	return lines
}

// sameLines compares lists line by line.
func sameLines(t *testing.T, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s:\n%s\nwant\n%s", what, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// same compares records, whose IDs clear has taken away.
func same[T any](t *testing.T, what string, got []*T, clear func(*T), want ...T) {
	t.Helper()
	asLines := func(r *T) string {
		text, err := json.MarshalIndent(r, "", " ")
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	if len(got) != len(want) {
		t.Errorf("%d %s, want %d", len(got), what, len(want))
	}
	for i := range min(len(got), len(want)) {
		r := *got[i]
		clear(&r)
		g, w := strings.Split(asLines(&r), "\n"), strings.Split(asLines(&want[i]), "\n")
		if slices.Equal(g, w) {
			continue
		}
		t.Errorf("%s %d:\n%s", what, i, difference(g, w))
	}
}
