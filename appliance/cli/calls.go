package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"ringside/flow/record"
	"ringside/writer/store"
)

// openStore opens the store of a query. It must be there.
func openStore(ctx context.Context, path string) (*store.Store, error) {
	if path == "" {
		return nil, usage("no store named: give --db PATH, as in ringside read --db PATH FILE")
	}
	s, err := store.Open(ctx, store.Options{Path: path, ReadOnly: true})
	if err != nil && exitCode(err) != exitNoPerm {
		return nil, coded{exitUnavailable, err}
	}
	return s, err
}

func newCalls(st *style) *cobra.Command {
	var f store.Filter
	var p store.Page
	var db string
	var asJSON, asCSV, number bool
	c := &cobra.Command{
		Use:   "calls --db PATH",
		Short: "list calls of a store",
		Long: `List the calls of a store that meet every filter, newest first.

Numbers may have a * at the start, the end, or both. Times are RFC 3339, or
YYYY-MM-DD[ HH:MM[:SS]] in local time, or a span before now (-2h). --json and
--csv give the same form as the exports of "read".`,
		Example: "  ringside calls --db calls.db --outcome busy,no-answer --from -24h\n" +
			"  ringside calls --db calls.db --caller '+4930*' --mos-below 3.6\n" +
			"  ringside calls --db calls.db --flag one-way --json",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if asJSON && asCSV {
				return usage("list calls: choose one of --json and --csv")
			}
			s, err := openStore(c.Context(), db)
			if err != nil {
				return err
			}
			defer s.Close()
			out := c.OutOrStdout()
			switch {
			case number:
				n, err := s.Count(c.Context(), f)
				if err == nil {
					_, err = fmt.Fprintln(out, n)
				}
				return err
			case asJSON:
				return exportCalls(c.Context(), s, f, p, newJSON(keepOpen{out}), c.ErrOrStderr())
			case asCSV:
				sink, err := newCSV(keepOpen{out})
				if err != nil {
					return err
				}
				return exportCalls(c.Context(), s, f, p, sink, c.ErrOrStderr())
			}
			return listCalls(c.Context(), s, f, p, st.on(out), out)
		},
	}
	fl := c.Flags()
	fl.SortFlags = false
	filterFlags(fl, &f)
	fl.IntVar(&p.Limit, "limit", 50, fmt.Sprintf("calls of a page, at most %d", store.MaxLimit))
	fl.StringVar(&p.Cursor, "cursor", "", "next page, as the page before said it")
	fl.BoolVar(&p.Ascending, "oldest-first", false, "oldest calls first")
	fl.BoolVar(&number, "count", false, "only how many there are")
	fl.BoolVar(&asJSON, "json", false, "whole records, one per line")
	fl.BoolVar(&asCSV, "csv", false, "as CSV")
	fl.StringVar(&db, "db", "", "the store, a `PATH`")
	return c
}

// filterFlags gives every condition of a filter its flag.
func filterFlags(fl *pflag.FlagSet, f *store.Filter) {
	moment := func(name, help string, to *int64) {
		fl.Func(name, help, func(s string) (err error) { *to, err = parseTime(s, time.Now()); return err })
	}
	moment("from", "calls that began at this `TIME` or later", &f.From)
	moment("to", "calls that began before this `TIME`", &f.To)
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
	fl.Func("status", "last final `STATUS`: 486, 4xx, 400-499", func(s string) (err error) {
		f.StatusMin, f.StatusMax, err = store.ParseStatus(s)
		return err
	})
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
}

// parsed is a flag whose text parse reads.
func parsed[T any](fl *pflag.FlagSet, name, help string, to *T, parse func(string) (T, error)) {
	fl.Func(name, help, func(s string) error {
		v, err := parse(s)
		if err == nil {
			*to = v
		}
		return err
	})
}

// list is a flag that takes several values, separated by commas.
func list[T any](fl *pflag.FlagSet, name, help string, to *[]T, parse func(string) (T, error)) {
	fl.Func(name, help, func(s string) error {
		for item := range strings.SplitSeq(s, ",") {
			v, err := parse(strings.TrimSpace(item))
			if err != nil {
				return err
			}
			*to = append(*to, v)
		}
		return nil
	})
}

// named reads a value by its name.
func named[T any, P interface {
	*T
	UnmarshalText([]byte) error
}](s string) (v T, err error) {
	err = P(&v).UnmarshalText([]byte(s))
	return v, err
}

func parseSensor(s string) (uint16, error) {
	var v uint16
	if _, err := fmt.Sscanf(s, "%d", &v); err != nil || fmt.Sprint(v) != s {
		return 0, fmt.Errorf("parse sensor %q: a sensor is a number from 0 to 65535", s)
	}
	return v, nil
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

// parseTime reads a time as RFC 3339, as local time, or as a span before now.
func parseTime(s string, now time.Time) (int64, error) {
	if d, err := time.ParseDuration(s); err == nil && d < 0 {
		return now.Add(d).UnixNano(), nil
	}
	if t, err := time.Parse(time.RFC3339Nano, s); err == nil {
		return t.UnixNano(), nil
	}
	for _, layout := range []string{time.DateOnly, "2006-01-02 15:04", time.DateTime, "2006-01-02T15:04", "2006-01-02T15:04:05"} {
		if t, err := time.ParseInLocation(layout, s, now.Location()); err == nil {
			return t.UnixNano(), nil
		}
	}
	return 0, fmt.Errorf("parse time %q: write 2026-01-31, 2026-01-31 15:04, RFC 3339, or -2h", s)
}

// listCalls shows one page as a table.
func listCalls(ctx context.Context, s *store.Store, f store.Filter, p store.Page, l look, w io.Writer) error {
	calls, next, err := page(ctx, s, f, p)
	if err != nil {
		return err
	}
	if len(calls) == 0 {
		_, err := fmt.Fprintln(w, "no calls")
		return err
	}
	if err := writeCalls(w, l, calls); err != nil {
		return err
	}
	if next != "" {
		_, err = fmt.Fprintf(w, "\nmore: --cursor %s\n", next)
	}
	return err
}

// page reads the calls of one page whole.
func page(ctx context.Context, s *store.Store, f store.Filter, p store.Page) (calls []*record.Call, next string, err error) {
	r, err := s.Calls(ctx, f, p)
	if errors.Is(err, store.ErrCursor) {
		return nil, "", coded{exitUsage, err}
	}
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
		calls = append(calls, c)
	}
	return calls, r.Next, nil
}

// exportCalls writes one page to a sink. Where the next page begins goes to
// standard error.
func exportCalls(ctx context.Context, s *store.Store, f store.Filter, p store.Page, to sink, stderr io.Writer) error {
	calls, next, err := page(ctx, s, f, p)
	for i := 0; i < len(calls) && err == nil; i++ {
		err = to.call(calls[i])
	}
	if err = errors.Join(err, to.close()); err == nil && next != "" {
		_, err = fmt.Fprintf(stderr, "more: --cursor %s\n", next)
	}
	return err
}

var callColumns = []column{
	{head: "Start"}, {head: "Caller", least: 8}, {head: "Called", least: 8}, {head: "Outcome"},
	{head: "Code", right: true, drop: 2}, {head: "PDD", right: true, drop: 1}, {head: "Length", right: true},
	{head: "MOS", right: true}, {head: "Loss %", right: true}, {head: "Codec", drop: 3}, {head: "Call-ID", least: 10},
}

// writeCalls shows calls as a table. What all dates have in common stands once,
// above it.
func writeCalls(w io.Writer, l look, calls []*record.Call) error {
	var rows [][]string
	start := func(c *record.Call) time.Time { return time.Unix(0, c.Start).In(l.zone) }
	first, last := start(calls[0]), start(calls[len(calls)-1])
	heading, layout := plural(len(calls), "call"), time.DateTime
	switch {
	case first.Format(time.DateOnly) == last.Format(time.DateOnly):
		heading, layout = heading+first.Format(", 2006-01-02 MST"), time.TimeOnly
	case first.Year() == last.Year():
		heading, layout = heading+first.Format(", 2006 MST"), "01-02 15:04:05"
	}
	for _, c := range calls {
		q := qualityOf(c)
		pdd, lossText, status := "", "", ""
		if d, ok := postDial(c); ok {
			pdd = fmt.Sprintf("%.2f s", float64(d)/1e9)
		}
		if q.heard {
			lossText = fmt.Sprintf("%.2f", q.loss)
		}
		if c.LastStatus != 0 {
			status = fmt.Sprint(c.LastStatus)
		}
		rows = append(rows, []string{
			start(c).Format(layout), clean(c.Caller.Number), clean(c.Called.Number),
			c.Outcome.String(), status, pdd, clock(duration(c)), l.mos(q.mos), lossText, clean(q.codec), clean(c.CallID),
		})
	}
	if _, err := fmt.Fprintln(w, heading); err != nil {
		return err
	}
	return writeTable(w, l, callColumns, rows)
}
