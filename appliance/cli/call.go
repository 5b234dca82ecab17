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
	var asJSON bool
	c := &cobra.Command{
		Use:   "call ID --db PATH",
		Short: "show one call: ladder, parties, timing, quality",
		Long: `Show the calls of a SIP Call-ID, or the call of an id: the ladder of its
signalling, parties, timing, and its streams with loss, jitter and MOS.`,
		Example: "  ringside call --db calls.db a84b4c76e66710@pc33.example.com",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
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
			return showCalls(c.OutOrStdout(), st.on(c.OutOrStdout()), calls, asJSON)
		},
	}
	c.Flags().StringVar(&db, "db", "", "the store, a `PATH`")
	c.Flags().BoolVar(&asJSON, "json", false, "the whole record, one per line")
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

func showCalls(w io.Writer, l look, calls []*record.Call, asJSON bool) error {
	if asJSON {
		out := newJSON(keepOpen{w})
		for _, c := range calls {
			if err := out.call(c); err != nil {
				return err
			}
		}
		return out.close()
	}
	for i, c := range calls {
		if i > 0 {
			if _, err := fmt.Fprintln(w); err != nil {
				return err
			}
		}
		if err := writeCall(w, l, c); err != nil {
			return err
		}
	}
	return nil
}
