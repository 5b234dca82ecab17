package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"ringside/writer/store"
)

// prepare makes what a store needs for the records of the days to come. A server
// that is away gets it later.
func prepare(ctx context.Context, s *store.Store) error {
	_, err := s.Maintain(ctx, time.Now(), 0)
	if store.Away(err) {
		return nil
	}
	return err
}

func newStoreClean() *cobra.Command {
	var db string
	var days int
	c := &cobra.Command{
		Use:   "clean --db PATH --days N",
		Short: "remove old records, and make partitions for the days to come",
		Long: `Remove the records of calls, registrations and everything else that began more
than N full days (UTC) ago, in small steps beside whoever writes. On a server,
the partitions of whole days are dropped, and those of the next days made.`,
		Example: "  ringside store clean --db calls.db --days 90",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			switch {
			case db == "":
				return usage("name the store: --db PATH")
			case days < 1:
				return usage("say how many days are kept: --days N, at least 1")
			}
			there, err := openStore(c.Context(), db) // it is not made here
			if err != nil {
				return err
			}
			if err := there.Close(); err != nil {
				return err
			}
			s, err := store.Open(c.Context(), store.Options{Path: db})
			if err != nil {
				return err
			}
			m, err := s.Maintain(c.Context(), time.Now(), days)
			if closed := s.Close(); err == nil {
				err = closed
			}
			if err != nil {
				return fmt.Errorf("clean store %s: %w", store.Name(db), err)
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "removed %s rows and %s partitions, made %s partitions\n",
				count(m.Rows), count(m.Partitions), count(m.Added))
			return err
		},
	}
	c.Flags().StringVar(&db, "db", "", "the store, a `PATH` or mysql://USER@HOST/DATABASE")
	c.Flags().IntVar(&days, "days", 0, "`N` full days that are kept")
	return c
}
