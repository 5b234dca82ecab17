package cli

import (
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"ringside/appliance/daemon"
)

func newSpoolHold() *cobra.Command {
	var db string
	c := &cobra.Command{
		Use:   "hold DIR CALL-ID…",
		Short: "keep the packets of calls from being removed",
		Long: `Keep the packets of calls, whatever quota and age say, until they are released.
A segment stays as a whole. Name the first directory of the spool; ringside may
write there meanwhile, and looks every ten seconds which calls are held.

With --db calls can be named by the ids of the store too, and only segments of the
time of each call are looked into; without, all that would be removed are.`,
		Example: "  ringside spool hold /var/spool/ringside a84b4c76e66710@pc33.example.com\n" +
			"  ringside spool hold --db calls.db /var/spool/ringside 4611686018427387904",
		Args: cobra.MinimumNArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			dir, ids := args[0], args[1:]
			if err := checkHeld(dir, ids); err != nil {
				return err
			}
			calls, unknown, err := holdsOf(c.Context(), db, ids)
			if err != nil {
				return err
			}
			for _, id := range unknown {
				fmt.Fprintf(c.ErrOrStderr(), "%s is not in the store: held as a Call-ID, whenever it is\n", clean(id))
			}
			n, err := daemon.HoldCalls(dir, calls)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "held in %s: %s\n", clean(dir), plural(n, "call"))
			return err
		},
	}
	c.Flags().StringVar(&db, "db", "", dbUsage)
	return c
}

func newSpoolRelease() *cobra.Command {
	return &cobra.Command{
		Use:   "release DIR CALL-ID…",
		Short: "let the packets of held calls be removed again",
		Long: `Let the packets of held calls be removed when quota or age say so. Name the calls
by their Call-IDs, as "ringside spool ls" lists them. The exit code is 1 if one of
them is not held; the others are released.`,
		Example: "  ringside spool release /var/spool/ringside a84b4c76e66710@pc33.example.com",
		Args:    cobra.MinimumNArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			dir, ids := args[0], args[1:]
			if err := checkHeld(dir, ids); err != nil {
				return err
			}
			ids = slices.Compact(slices.Sorted(slices.Values(ids)))
			released, held, err := daemon.ReleaseCalls(dir, ids)
			if err != nil {
				return err
			}
			if released < len(ids) {
				return fmt.Errorf("release calls in %s: %s not held: ringside spool ls lists those that are", dir, plural(len(ids)-released, "call"))
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "%s released, %s left in %s\n", plural(released, "call"), count(held), clean(dir))
			return err
		},
	}
}

func checkHeld(dir string, ids []string) error {
	if slices.Contains(ids, "") {
		return usage("a Call-ID is empty: give one, or leave it out")
	}
	return needSpool(dir)
}

// holdsOf are calls with the times in which they have packets, as far as a store
// tells. One that it does not have may still run.
func holdsOf(ctx context.Context, db string, ids []string) (out []daemon.SpoolHold, unknown []string, err error) {
	if db == "" {
		for _, id := range ids {
			out = append(out, daemon.SpoolHold{Key: id})
		}
		return out, nil, nil
	}
	s, err := openStore(ctx, db)
	if err != nil {
		return nil, nil, err
	}
	defer s.Close()
	for _, id := range ids {
		calls, err := findCalls(ctx, s, id)
		if err != nil {
			return nil, nil, err
		}
		if len(calls) == 0 {
			out, unknown = append(out, daemon.SpoolHold{Key: id}), append(unknown, id)
		}
		for _, c := range calls {
			t := timesOf(c)
			out = append(out, daemon.SpoolHold{Key: c.CallID, From: t.from, To: t.to})
		}
	}
	return out, unknown, nil
}
