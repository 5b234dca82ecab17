package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"

	"ringside/flow/record"
	"ringside/writer/store"
)

func newCall(st *style) *cobra.Command {
	var db string
	var asJSON, keys, digits bool
	c := &cobra.Command{
		Use:   "call ID --db PATH",
		Short: "show one call: ladder, parties, timing, quality",
		Long: `Show the calls of a SIP Call-ID, or the call of an id: the ladder of its
signalling, parties, timing, its streams with loss, jitter and MOS, what its
endpoints reported, and the calls that are linked with it.

--json gives the record of the call, then those of its links and reports, each
marked by its "type".`,
		Example: "  ringside call --db calls.db a84b4c76e66710@pc33.example.com",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if keys && !asJSON {
				return usage("show call: only JSON has keys: add --json, or leave out --keys")
			}
			s, err := openStore(c.Context(), db)
			if err != nil {
				return err
			}
			defer s.Close()
			calls, err := findCalls(c.Context(), s, args[0])
			if err != nil {
				return err
			}
			if len(calls) == 0 {
				return fmt.Errorf("show call %s: %w; give its Call-ID whole, as ringside calls --db %s --json has it", args[0], store.ErrNotFound, db)
			}
			pages, err := pagesOf(c.Context(), s, calls, digits)
			if err != nil {
				return err
			}
			if asJSON {
				return exportPages(newJSON(keepOpen{c.OutOrStdout()}, keys), pages)
			}
			return showPages(c.OutOrStdout(), st.on(c.OutOrStdout()), pages)
		},
	}
	c.Flags().StringVar(&db, "db", "", dbUsage)
	c.Flags().BoolVar(&asJSON, "json", false, "the whole records, one per line")
	c.Flags().BoolVar(&digits, "digits", false, "show which DTMF digits were dialled")
	keysFlag(c.Flags(), &keys)
	return c
}

// findCalls looks for an id of the store, and else for a Call-ID.
func findCalls(ctx context.Context, s *store.Store, id string) ([]*record.Call, error) {
	if n, err := strconv.ParseInt(id, 10, 64); err == nil {
		c, err := s.Call(ctx, n)
		if err == nil {
			return []*record.Call{c}, nil
		}
		if !errors.Is(err, store.ErrNotFound) {
			return nil, err
		}
	}
	return s.CallsByCallID(ctx, id)
}

// pagesOf adds to calls what other tables have of them.
func pagesOf(ctx context.Context, s *store.Store, calls []*record.Call, digits bool) ([]callPage, error) {
	var out []callPage
	for _, c := range calls {
		links, err := s.Links(ctx, c.ID)
		if err != nil {
			return nil, err
		}
		reports, err := s.QualityReports(ctx, c.CallID)
		if err != nil {
			return nil, err
		}
		out = append(out, callPage{c, links, reports, digits})
	}
	return out, nil
}

func exportPages(to sink, pages []callPage) error {
	var err error
	take := func(rec any) {
		if err == nil {
			err = to.take(rec)
		}
	}
	for _, p := range pages {
		take(p.call)
		for i := range p.links {
			take(&p.links[i].Link)
		}
		for i := range p.reports {
			take(&p.reports[i])
		}
	}
	return errors.Join(err, to.close())
}

func showPages(w io.Writer, l look, pages []callPage) error {
	for i, p := range pages {
		if i > 0 {
			if _, err := fmt.Fprintln(w); err != nil {
				return err
			}
		}
		if err := writeCall(w, l, p); err != nil {
			return err
		}
	}
	return nil
}
