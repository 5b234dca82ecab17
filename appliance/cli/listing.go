package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"ringside/writer/store"
)

// filterHelp is said of every list.
const filterHelp = `Numbers may have a * at the start, the end, or both. Times are RFC 3339, or
YYYY-MM-DD[ HH:MM[:SS]] in local time (with --utc in UTC), or a span before now
(-2h). --json and --csv give the same form as the exports of "read".`

// listing is a command that lists records of the store: what differs between
// calls, registrations, events and the others.
type listing[T any] struct {
	use, noun, short, long, example string

	flags   func(*pflag.FlagSet) // the filter's
	page    func(context.Context, *store.Store, store.Page) (records []T, next string, err error)
	count   func(context.Context, *store.Store) (int64, error)
	head    string         // of the time, "Start" if empty
	time    func(*T) int64 // that the list is ordered by
	columns []shown[T]     // of the table, after the time
	csv     []csvColumn[T]
	keys    bool // records may have keys of encrypted media
}

// shown is a column of a table with what stands in it.
type shown[T any] struct {
	column
	cell func(l look, v *T) string
}

// listed are the flags that all lists have.
type listed struct {
	page                       store.Page
	db                         string
	json, csv, count, showKeys bool
}

// check finds flags that do not go together, and values that would be passed
// over.
func (f *listed) check(what string, fl *pflag.FlagSet) (err error) {
	given := fl.Changed
	fl.Visit(func(g *pflag.Flag) {
		if err == nil && g.Name != "cursor" && g.Value.Type() == "string" && g.Value.String() == "" { // no cursor: the first page
			err = usage("--%s: %w", g.Name, errEmpty)
		}
	})
	switch {
	case err != nil:
	case f.json && f.csv:
		return usage("list %s: choose one of --json and --csv", what)
	case f.count && (f.json || f.csv || given("cursor") || given("limit")):
		return usage("list %s: --count gives one number for all pages: leave out --json, --csv, --limit and --cursor", what)
	case f.showKeys && !f.json:
		return usage("list %s: only JSON has keys: add --json, or leave out --keys", what)
	case f.page.Limit < 1 || f.page.Limit > store.MaxLimit:
		return usage("list %s: --limit %d: a page has 1 to %d lines; --cursor gives the next one", what, f.page.Limit, store.MaxLimit)
	}
	return err
}

func newListing[T any](st *style, d listing[T]) *cobra.Command {
	var f listed
	c := &cobra.Command{
		Use: d.use + " --db PATH", Short: d.short, Long: d.long, Example: d.example,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := f.check(d.use, c.Flags()); err != nil {
				return err
			}
			if err := inZone(c.Flags(), st.zone()); err != nil {
				return coded{exitUsage, err}
			}
			s, err := openStore(c.Context(), f.db)
			if err != nil {
				return err
			}
			defer s.Close()
			return d.run(c.Context(), s, f, st, c.OutOrStdout(), c.ErrOrStderr())
		},
	}
	fl := c.Flags()
	fl.SortFlags = false
	d.flags(fl)
	fl.IntVar(&f.page.Limit, "limit", 50, fmt.Sprintf("lines of a page, at most %d", store.MaxLimit))
	fl.StringVar(&f.page.Cursor, "cursor", "", "next page, as the page before said it")
	fl.BoolVar(&f.page.Ascending, "oldest-first", false, "oldest first")
	fl.BoolVar(&f.count, "count", false, "only how many there are")
	fl.BoolVar(&f.json, "json", false, "whole records, one per line")
	fl.BoolVar(&f.csv, "csv", false, "as CSV")
	if d.keys {
		keysFlag(fl, &f.showKeys)
	}
	fl.StringVar(&f.db, "db", "", dbUsage)
	return c
}

// keysFlag is the flag that lets keys of encrypted media out.
func keysFlag(fl *pflag.FlagSet, to *bool) {
	fl.BoolVar(to, "keys", false, "let JSON have the keys of encrypted media (SDES)")
}

func (d *listing[T]) run(ctx context.Context, s *store.Store, f listed, st *style, stdout, stderr io.Writer) error {
	if f.count {
		n, err := d.count(ctx, s)
		if err == nil {
			_, err = fmt.Fprintln(stdout, n)
		}
		return err
	}
	records, next, err := d.page(ctx, s, f.page)
	if errors.Is(err, store.ErrCursor) {
		return coded{exitUsage, err}
	}
	if err != nil {
		return err
	}
	more := stdout
	switch {
	case f.json:
		more = stderr
		err = export(newJSON(keepOpen{stdout}, f.showKeys), records)
	case f.csv:
		more = stderr
		err = exportCSV(stdout, d.csv, records)
	case len(records) == 0:
		_, err = fmt.Fprintf(stdout, "no %ss\n", d.noun)
	default:
		err = d.table(stdout, st.on(stdout), records)
	}
	if err == nil && next != "" {
		_, err = fmt.Fprintf(more, "%smore: --cursor %s\n", only(more == stdout, "\n"), next)
	}
	return err
}

func export[T any](to sink, records []T) error {
	for i := range records {
		if err := to.take(&records[i]); err != nil {
			return errors.Join(err, to.close())
		}
	}
	return to.close()
}

func exportCSV[T any](w io.Writer, columns []csvColumn[T], records []T) error {
	to, err := newCSV(keepOpen{w}, columns)
	if err != nil {
		return err
	}
	return export(to, records)
}

// table shows records. What all dates have in common stands once, above it.
func (d *listing[T]) table(w io.Writer, l look, records []T) error {
	start := func(v *T) time.Time { return time.Unix(0, d.time(v)).In(l.zone) }
	first, last := start(&records[0]), start(&records[len(records)-1])
	heading, layout := plural(len(records), d.noun), time.DateTime
	switch {
	case first.Format(time.DateOnly) == last.Format(time.DateOnly):
		heading, layout = heading+first.Format(", 2006-01-02 MST"), time.TimeOnly
	case first.Year() == last.Year():
		heading, layout = heading+first.Format(", 2006 MST"), "01-02 15:04:05"
	}
	columns := []column{{head: cmp.Or(d.head, "Start")}}
	for _, c := range d.columns {
		columns = append(columns, c.column)
	}
	var rows [][]string
	for i := range records {
		row := []string{start(&records[i]).Format(layout)}
		for _, c := range d.columns {
			row = append(row, clean(c.cell(l, &records[i])))
		}
		rows = append(rows, row)
	}
	if _, err := fmt.Fprintln(w, heading); err != nil {
		return err
	}
	return writeTable(w, l, columns, rows)
}

// status is a SIP status, nothing for none.
func status(code uint16) string { return only(code != 0, fmt.Sprint(code)) }
