package cli

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"ringside/flow/record"
	"ringside/writer/store"
)

func newEvents(st *style) *cobra.Command {
	var f store.EventFilter
	return newListing(st, listing[record.Event]{
		use: "events", noun: "event", short: "list events of a store",
		long: `List the events of a store that meet every filter, newest first. A line may
stand for several events of its kind and source, where a rate limit held some
back: "×40".

` + filterHelp,
		example: "  ringside events --db calls.db --kind auth-failed --from -1h\n" +
			"  ringside events --db calls.db --source 203.0.113.0/24\n" +
			"  ringside events --db calls.db --aor '1001@*' --json",
		flags: func(fl *pflag.FlagSet) { eventFlags(fl, &f) },
		page: func(ctx context.Context, s *store.Store, p store.Page) ([]record.Event, string, error) {
			l, err := s.Events(ctx, f, p)
			return l.Records, l.Next, err
		},
		count:   func(ctx context.Context, s *store.Store) (int64, error) { return s.CountEvents(ctx, f) },
		head:    "Time",
		time:    func(e *record.Event) int64 { return e.Time },
		columns: eventColumns, csv: eventCSV,
	})
}

func eventFlags(fl *pflag.FlagSet, f *store.EventFilter) {
	between(fl, "events", &f.From, &f.To)
	list(fl, "kind", "`KINDS`: call-start, auth-failed, reg-new, reg-expired, peer-down, …", &f.Kinds, parseEventKind)
	parsed(fl, "aor", "address of record of a registration, else From, `USER@DOMAIN`", &f.AOR, store.ParseMatch)
	fl.StringVar(&f.Target, "target", "", "`TEXT` in the contact of a registration, else in To")
	fl.StringVar(&f.CallID, "call-id", "", "SIP Call-`ID`")
	fl.StringVar(&f.Method, "method", "", "SIP `METHOD`")
	fl.StringVar(&f.Agent, "agent", "", "`TEXT` in the user agent")
	parsed(fl, "addr", "either `ADDRESS` of the message, or a prefix (10.0.0.0/8)", &f.Addr, store.ParseAddr)
	parsed(fl, "source", "`ADDRESS` that sent the request", &f.Source, store.ParseAddr)
	statusFlag(fl, "`STATUS`: 403, 4xx, 400-499", &f.StatusMin, &f.StatusMax)
	list(fl, "sensor", "sensor `IDS`", &f.Sensors, parseSensor)
}

// parseEventKind reads the name of a kind, which an empty text is not.
func parseEventKind(s string) (record.EventKind, error) {
	var names []string
	for _, k := range record.EventKinds() {
		if k.String() == s {
			return k, nil
		}
		names = append(names, k.String())
	}
	return 0, fmt.Errorf("parse event %q: not one of %s", s, strings.Join(names, ", "))
}

var eventColumns = []shown[record.Event]{
	{column{head: "Event"}, func(l look, e *record.Event) string {
		return e.Kind.String() + only(e.Count > 1, " "+l.pick("×", "x")+count(e.Count))
	}},
	{column{head: "From", least: 16}, func(_ look, e *record.Event) string { return e.AOR }},
	{column{head: "To", least: 8, drop: 3}, func(_ look, e *record.Event) string { return e.Target }},
	{column{head: "Method", drop: 1}, func(_ look, e *record.Event) string { return e.Method }},
	{column{head: "Code", right: true}, func(_ look, e *record.Event) string { return status(e.Status) }},
	{column{head: "Source", least: 21}, func(l look, e *record.Event) string { return l.address(e.Src) }},
	{column{head: "Text", least: 6, drop: 2}, func(_ look, e *record.Event) string { return e.Text }},
	{column{head: "Agent", least: 6, drop: 4}, func(_ look, e *record.Event) string { return e.Agent }},
}

// eventCSV are the columns of a CSV export, as csvColumns are of calls.
var eventCSV = []csvColumn[record.Event]{
	{"id", func(e *record.Event) string { return strconv.FormatInt(e.ID, 10) }},
	{"sensor", func(e *record.Event) string { return fmt.Sprint(e.Sensor) }},
	{"time", func(e *record.Event) string { return stamp(e.Time) }},
	{"kind", func(e *record.Event) string { return e.Kind.String() }},
	{"count", func(e *record.Event) string { return strconv.FormatUint(e.Count, 10) }},
	{"src", func(e *record.Event) string { return endpoint(e.Src) }},
	{"dst", func(e *record.Event) string { return endpoint(e.Dst) }},
	{"aor", func(e *record.Event) string { return e.AOR }},
	{"target", func(e *record.Event) string { return e.Target }},
	{"call_id", func(e *record.Event) string { return e.CallID }},
	{"method", func(e *record.Event) string { return e.Method }},
	{"status", func(e *record.Event) string { return status(e.Status) }},
	{"text", func(e *record.Event) string { return e.Text }},
	{"agent", func(e *record.Event) string { return e.Agent }},
}
