package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"ringside/flow/record"
	"ringside/writer/store"
)

// dbUsage says what --db takes where a store is asked.
const dbUsage = "the store: a `PATH`, or mysql://USER@HOST/DATABASE"

// openStore opens the store of a query. It must be there.
func openStore(ctx context.Context, path string) (*store.Store, error) {
	if path == "" {
		return nil, usage("no store named: give --db PATH, as in ringside read --db PATH FILE")
	}
	s, err := store.Open(ctx, store.Options{Path: path, ReadOnly: true, QueryTime: -1})
	if err != nil && exitCode(err) != exitNoPerm {
		return nil, coded{exitUnavailable, err}
	}
	return s, err
}

func newCalls(st *style) *cobra.Command {
	var f store.Filter
	return newListing(st, listing[record.Call]{
		use: "calls", noun: "call", short: "list calls of a store",
		long: `List the calls of a store that meet every filter, newest first.

` + filterHelp,
		example: "  ringside calls --db calls.db --outcome busy,no-answer --from -24h\n" +
			"  ringside calls --db calls.db --caller '+4930*' --mos-below 3.6\n" +
			"  ringside calls --db calls.db --flag one-way --json",
		flags: func(fl *pflag.FlagSet) { filterFlags(fl, &f) },
		page: func(ctx context.Context, s *store.Store, p store.Page) ([]record.Call, string, error) {
			return wholeCalls(ctx, s, f, p)
		},
		count:   func(ctx context.Context, s *store.Store) (int64, error) { return s.Count(ctx, f) },
		time:    func(c *record.Call) int64 { return c.Start },
		columns: callColumns, csv: csvColumns, keys: true,
	})
}

// filterFlags gives every condition of a filter its flag.
func filterFlags(fl *pflag.FlagSet, f *store.Filter) {
	between(fl, "calls that began", &f.From, &f.To)
	parsed(fl, "caller", "`NUMBER` of the caller", &f.Caller, store.ParseMatch)
	parsed(fl, "called", "`NUMBER` of the called party", &f.Called, store.ParseMatch)
	parsed(fl, "number", "`NUMBER` of either party", &f.Number, store.ParseMatch)
	fl.StringVar(&f.Domain, "domain", "", "`DOMAIN` of either party")
	fl.StringVar(&f.CallID, "call-id", "", "SIP Call-`ID`")
	fl.StringVar(&f.Agent, "agent", "", "`TEXT` in the user agent of either party")
	fl.StringVar(&f.Codec, "codec", "", "codec `NAME` of a stream")
	parsed(fl, "addr", "any `ADDRESS` of the call, or a prefix (10.0.0.0/8)", &f.Addr, store.ParseAddr)
	parsed(fl, "signal-addr", "signalling `ADDRESS` of either party", &f.SignalAddr, store.ParseAddr)
	parsed(fl, "caller-addr", "signalling `ADDRESS` of the caller", &f.CallerAddr, store.ParseAddr)
	parsed(fl, "called-addr", "signalling `ADDRESS` of the called party", &f.CalledAddr, store.ParseAddr)
	parsed(fl, "media-addr", "`ADDRESS` of media", &f.MediaAddr, store.ParseAddr)
	statusFlag(fl, "last final `STATUS`: 486, 4xx, 400-499", &f.StatusMin, &f.StatusMax)
	list(fl, "outcome", "`OUTCOMES`: answered, busy, no-answer, cancelled, …", &f.Outcomes, named[record.Outcome])
	list(fl, "end", "end `REASONS`: bye, cancel, rejected, timeout, …", &f.EndReasons, named[record.EndReason])
	list(fl, "sensor", "sensor `IDS`", &f.Sensors, parseSensor)
	fl.Func("flag", "`FLAGS` that are set: one-way, no-rtp, silence, …", addFlags(&f.Flags))
	fl.Func("no-flag", "`FLAGS` that are not set", addFlags(&f.NotFlags))
	spans := []struct {
		name, what string
		to         *time.Duration
	}{
		{"min-duration", "whole call at least", &f.MinDuration},
		{"max-duration", "whole call at most", &f.MaxDuration},
		{"min-connected", "time connected at least", &f.MinConnected},
		{"max-connected", "time connected at most", &f.MaxConnected},
		{"min-pdd", "post-dial delay at least", &f.MinPDD},
		{"max-pdd", "post-dial delay at most", &f.MaxPDD},
	}
	for _, s := range spans {
		fl.DurationVar(s.to, s.name, 0, s.what)
	}
	fl.Float64Var(&f.MOSBelow, "mos-below", 0, "MOS of the worst stream below")
	fl.Float64Var(&f.MOSAbove, "mos-above", 0, "MOS of the worst stream above")
	fl.Float64Var(&f.LossAbove, "loss-above", 0, "packet loss of the worst stream above (per cent)")
	fl.Float64Var(&f.JitterAbove, "jitter-above", 0, "maximum jitter of the worst stream above (ms)")
	fl.Uint32Var(&f.MinMessages, "min-messages", 0, "SIP messages at least")
	fl.Uint32Var(&f.MaxMessages, "max-messages", 0, "SIP messages at most")
	fl.StringVar(&f.Tag, "tag", "", "`TAG` that somebody gave the call")
}

// addFlags sets the flags of a call that are named.
func addFlags(to *record.Flags) func(string) error {
	return func(s string) error {
		for name := range strings.SplitSeq(s, ",") {
			bit, err := parseFlag(strings.TrimSpace(name))
			if err != nil {
				return err
			}
			*to |= bit
		}
		return nil
	}
}

func parseFlag(name string) (record.Flags, error) {
	all := (^record.Flags(0)).Names()
	for i, n := range all {
		if n == name {
			return 1 << i, nil
		}
	}
	return 0, fmt.Errorf("parse flag %q: not one of %s", name, strings.Join(all, ", "))
}

// wholeCalls reads the calls of one page with all that belongs to them.
func wholeCalls(ctx context.Context, s *store.Store, f store.Filter, p store.Page) (calls []record.Call, next string, err error) {
	r, err := s.Calls(ctx, f, p)
	if err != nil {
		return nil, "", err
	}
	for i := range r.Calls {
		c, err := s.Call(ctx, r.Calls[i].ID)
		if errors.Is(err, store.ErrNotFound) { // deleted meanwhile
			continue
		}
		if err != nil {
			return nil, "", err
		}
		calls = append(calls, *c)
	}
	return calls, r.Next, nil
}

var callColumns = []shown[record.Call]{
	{column{head: "Caller", least: 8}, func(_ look, c *record.Call) string { return c.Caller.Number }},
	{column{head: "Called", least: 8}, func(_ look, c *record.Call) string { return c.Called.Number }},
	{column{head: "Outcome"}, func(_ look, c *record.Call) string { return c.Outcome.String() }},
	{column{head: "Code", right: true, drop: 2}, func(_ look, c *record.Call) string { return status(c.LastStatus) }},
	{column{head: "PDD", right: true, drop: 1}, func(_ look, c *record.Call) string {
		d, ok := postDial(c)
		return only(ok, fmt.Sprintf("%.2f s", float64(d)/1e9))
	}},
	{column{head: "Length", right: true}, func(_ look, c *record.Call) string { return clock(duration(c)) }},
	{column{head: "MOS", right: true}, func(l look, c *record.Call) string { return l.mos(qualityOf(c).mos) }},
	{column{head: "Loss %", right: true}, func(_ look, c *record.Call) string {
		q := qualityOf(c)
		return only(q.heard, fmt.Sprintf("%.2f", q.loss))
	}},
	{column{head: "Codec", drop: 3}, func(_ look, c *record.Call) string { return qualityOf(c).codec }},
	{column{head: "Call-ID", least: 10}, func(_ look, c *record.Call) string { return c.CallID }},
}
