package cli

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"ringside/flow/record"
	"ringside/writer/store"
)

// Exchanges are one kind of record, but three things to whoever asks: texts
// that people sent, what phones subscribed to, and which hosts answer. To
// telephone people an exchange is a switch. So there are three commands.

func newMessages(st *style) *cobra.Command {
	f := store.ExchangeFilter{Kinds: []record.ExchangeKind{record.TextMessage}}
	return newExchanges(st, &f, listing[record.Exchange]{
		use: "messages", noun: "text message", short: "list text messages (SIP MESSAGE) of a store",
		long: `List the text messages (SIP MESSAGE) of a store that meet every filter, newest
first, with their text.

` + filterHelp,
		example: "  ringside messages --db calls.db --number 1001 --from -24h\n" +
			"  ringside messages --db calls.db --state failed,timeout\n" +
			"  ringside messages --db calls.db --text invoice --csv",
		flags: func(fl *pflag.FlagSet) {
			exchangeFlags(fl, &f, "text messages sent", []string{"ok", "failed", "timeout", "pending"})
			fl.StringVar(&f.Text, "text", "", "`TEXT` in the message")
		},
		head: "Time", columns: messageColumns,
	})
}

func newSubscriptions(st *style) *cobra.Command {
	f := store.ExchangeFilter{Kinds: []record.ExchangeKind{record.Subscription, record.Publication}}
	return newExchanges(st, &f, listing[record.Exchange]{
		use: "subscriptions", noun: "subscription", short: "list subscriptions and publications of a store",
		long: `List the subscriptions (SUBSCRIBE with its NOTIFY) and publications (PUBLISH)
of a store that meet every filter, newest first.

` + filterHelp,
		example: "  ringside subscriptions --db calls.db --event dialog --state rejected,expired\n" +
			"  ringside subscriptions --db calls.db --kind publication --caller 1001",
		flags: func(fl *pflag.FlagSet) {
			exchangeFlags(fl, &f, "subscriptions that began", []string{"active", "terminated", "expired", "rejected", "unsolicited", "ok", "failed", "timeout", "pending"})
			fl.StringVar(&f.Event, "event", "", "event `PACKAGE`: dialog, presence, message-summary, …")
			fl.Func("kind", "`KIND`: subscription or publication", func(s string) error {
				k, err := named[record.ExchangeKind](s)
				if err != nil || !slices.Contains([]record.ExchangeKind{record.Subscription, record.Publication}, k) {
					return fmt.Errorf("parse kind %q: write subscription or publication", s)
				}
				f.Kinds = []record.ExchangeKind{k}
				return nil
			})
		},
		columns: subscriptionColumns,
	})
}

func newPeers(st *style) *cobra.Command {
	f := store.ExchangeFilter{Kinds: []record.ExchangeKind{record.Options}}
	return newExchanges(st, &f, listing[record.Exchange]{
		use: "peers", noun: "peer", short: "list which hosts answer OPTIONS, and how fast",
		long: `List the pairs of addresses of a store of which one asks the other by OPTIONS
whether it is there: whether it answers, how fast, and how often that changed.

` + filterHelp,
		example: "  ringside peers --db calls.db --state down\n" +
			"  ringside peers --db calls.db --called-addr 198.51.100.7",
		flags: func(fl *pflag.FlagSet) {
			exchangeFlags(fl, &f, "first asked", []string{"up", "down", "pending"})
		},
		columns: peerColumns,
	})
}

// newExchanges is a list of the exchanges that f chooses.
func newExchanges(st *style, f *store.ExchangeFilter, d listing[record.Exchange]) *cobra.Command {
	d.page = func(ctx context.Context, s *store.Store, p store.Page) ([]record.Exchange, string, error) {
		l, err := s.Exchanges(ctx, *f, p)
		return l.Records, l.Next, err
	}
	d.count = func(ctx context.Context, s *store.Store) (int64, error) { return s.CountExchanges(ctx, *f) }
	d.time = func(e *record.Exchange) int64 { return e.Start }
	d.csv = exchangeCSV
	return newListing(st, d)
}

// exchangeFlags are the flags that all lists of exchanges have.
func exchangeFlags(fl *pflag.FlagSet, f *store.ExchangeFilter, began string, states []string) {
	between(fl, began, &f.From, &f.To)
	list(fl, "state", "`STATES`: "+strings.Join(states, ", "), &f.States, func(s string) (string, error) {
		if !slices.Contains(states, s) {
			return "", fmt.Errorf("parse state %q: not one of %s", s, strings.Join(states, ", "))
		}
		return s, nil
	})
	parsed(fl, "caller", "`NUMBER` of who sent the request", &f.Caller, store.ParseMatch)
	parsed(fl, "called", "`NUMBER` of whom it was for", &f.Called, store.ParseMatch)
	parsed(fl, "number", "`NUMBER` of either party", &f.Number, store.ParseMatch)
	fl.StringVar(&f.Domain, "domain", "", "`DOMAIN` of either party")
	fl.StringVar(&f.CallID, "call-id", "", "SIP Call-`ID`")
	fl.StringVar(&f.Agent, "agent", "", "`TEXT` in the user agent of either party")
	parsed(fl, "addr", "`ADDRESS` of either party, or a prefix (10.0.0.0/8)", &f.Addr, store.ParseAddr)
	parsed(fl, "caller-addr", "`ADDRESS` of who sent the request", &f.CallerAddr, store.ParseAddr)
	parsed(fl, "called-addr", "`ADDRESS` of whom it was for", &f.CalledAddr, store.ParseAddr)
	statusFlag(fl, "last final `STATUS`: 404, 4xx, 400-499", &f.StatusMin, &f.StatusMax)
	fl.BoolVar(&f.Failed, "failed", false, "with a request that was refused or not answered")
	list(fl, "sensor", "sensor `IDS`", &f.Sensors, parseSensor)
}

// Columns that the lists have in common.
var (
	callerColumn = shown[record.Exchange]{column{head: "From", least: 14}, func(_ look, e *record.Exchange) string {
		return uri(e.Caller.Number, e.Caller.Domain)
	}}
	calledColumn = shown[record.Exchange]{column{head: "To", least: 14}, func(_ look, e *record.Exchange) string {
		return uri(e.Called.Number, e.Called.Domain)
	}}
	stateColumn = shown[record.Exchange]{column{head: "State"}, func(_ look, e *record.Exchange) string { return e.State }}
	codeColumn  = shown[record.Exchange]{column{head: "Code", right: true, drop: 2}, func(_ look, e *record.Exchange) string {
		return status(e.LastStatus)
	}}
	rttColumn = shown[record.Exchange]{column{head: "RTT", right: true, drop: 1}, func(_ look, e *record.Exchange) string {
		return roundTrip(e.RTT)
	}}
)

var messageColumns = []shown[record.Exchange]{
	callerColumn, calledColumn, stateColumn, codeColumn, rttColumn,
	{column{head: "Size", right: true, drop: 3}, func(_ look, e *record.Exchange) string { return count(e.Size) }},
	{column{head: "Text", least: 12}, func(_ look, e *record.Exchange) string {
		if e.Text == "" {
			return only(e.ContentType != "", "("+e.ContentType+")")
		}
		return strings.Join(strings.Fields(e.Text), " ") // one line
	}},
}

var subscriptionColumns = []shown[record.Exchange]{
	{column{head: "Kind", drop: 3}, func(_ look, e *record.Exchange) string { return e.Kind.String() }},
	callerColumn, calledColumn,
	{column{head: "Event", least: 6}, func(_ look, e *record.Exchange) string { return e.Event }},
	stateColumn, codeColumn,
	{column{head: "Expires", right: true, drop: 4}, func(_ look, e *record.Exchange) string {
		return only(e.Expires != 0, fmt.Sprintf("%d s", e.Expires))
	}},
	{column{head: "NOTIFY", right: true}, func(_ look, e *record.Exchange) string { return count(e.Notifies) }},
	rttColumn,
	{column{head: "Remark", least: 8, drop: 5}, func(_ look, e *record.Exchange) string { return e.Note }},
}

var peerColumns = []shown[record.Exchange]{
	{column{head: "From", least: 15}, func(l look, e *record.Exchange) string { return l.host(e.Caller.Addr) }},
	{column{head: "To", least: 20}, func(l look, e *record.Exchange) string { return l.host(e.Called.Addr) }},
	stateColumn,
	{column{head: "Asked", right: true}, func(_ look, e *record.Exchange) string { return count(e.Requests) }},
	{column{head: "Silent", right: true}, func(_ look, e *record.Exchange) string { return count(e.Timeouts) }},
	{column{head: "Changes", right: true, drop: 2}, func(_ look, e *record.Exchange) string { return count(e.Changes) }},
	codeColumn, rttColumn,
	{column{head: "RTT max", right: true, drop: 3}, func(_ look, e *record.Exchange) string { return roundTrip(e.RTTMax) }},
	{column{head: "Agent", least: 8, drop: 4}, func(_ look, e *record.Exchange) string { return e.Called.Agent }},
}

// exchangeCSV are the columns of a CSV export, as csvColumns are of calls.
var exchangeCSV = []csvColumn[record.Exchange]{
	{"id", func(e *record.Exchange) string { return strconv.FormatInt(e.ID, 10) }},
	{"kind", func(e *record.Exchange) string { return e.Kind.String() }},
	{"call_id", func(e *record.Exchange) string { return e.CallID }},
	{"sensor", func(e *record.Exchange) string { return fmt.Sprint(e.Sensor) }},
	{"start", func(e *record.Exchange) string { return stamp(e.Start) }},
	{"last", func(e *record.Exchange) string { return stamp(e.Last) }},
	{"end", func(e *record.Exchange) string { return stamp(e.End) }},
	{"state", func(e *record.Exchange) string { return e.State }},
	{"note", func(e *record.Exchange) string { return e.Note }},
	{"caller", func(e *record.Exchange) string { return e.Caller.Number }},
	{"caller_domain", func(e *record.Exchange) string { return e.Caller.Domain }},
	{"caller_addr", func(e *record.Exchange) string { return endpoint(e.Caller.Addr) }},
	{"caller_agent", func(e *record.Exchange) string { return e.Caller.Agent }},
	{"called", func(e *record.Exchange) string { return e.Called.Number }},
	{"called_domain", func(e *record.Exchange) string { return e.Called.Domain }},
	{"called_addr", func(e *record.Exchange) string { return endpoint(e.Called.Addr) }},
	{"called_agent", func(e *record.Exchange) string { return e.Called.Agent }},
	{"transport", func(e *record.Exchange) string { return e.Transport.String() }},
	{"event", func(e *record.Exchange) string { return e.Event }},
	{"expires_s", func(e *record.Exchange) string { return fmt.Sprint(e.Expires) }},
	{"requests", func(e *record.Exchange) string { return fmt.Sprint(e.Requests) }},
	{"answered", func(e *record.Exchange) string { return fmt.Sprint(e.Answered) }},
	{"failures", func(e *record.Exchange) string { return fmt.Sprint(e.Failures) }},
	{"timeouts", func(e *record.Exchange) string { return fmt.Sprint(e.Timeouts) }},
	{"notifies", func(e *record.Exchange) string { return fmt.Sprint(e.Notifies) }},
	{"retransmissions", func(e *record.Exchange) string { return fmt.Sprint(e.Retrans) }},
	{"changes", func(e *record.Exchange) string { return fmt.Sprint(e.Changes) }},
	{"status", func(e *record.Exchange) string { return status(e.LastStatus) }},
	{"reason", func(e *record.Exchange) string { return e.LastReason }},
	{"rtt_ms", func(e *record.Exchange) string { return only(e.RTT > 0, decimal(e.RTT)) }},
	{"rtt_max_ms", func(e *record.Exchange) string { return only(e.RTTMax > 0, decimal(e.RTTMax)) }},
	{"content_type", func(e *record.Exchange) string { return e.ContentType }},
	{"size", func(e *record.Exchange) string { return fmt.Sprint(e.Size) }},
	{"text", func(e *record.Exchange) string { return e.Text }},
}
