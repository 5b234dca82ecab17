package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"ringside/appliance/auth"
)

func newUserToken(st *style, state *string) *cobra.Command {
	var r rights
	var can []string
	var name string
	var days int
	c := &cobra.Command{
		Use:   "token NAME --for WHAT --can PERMISSION",
		Short: "make an API token of a user, and print it",
		Long: `Make an API token of a user, and print it: nobody can see it again. It can do no
more than the user can, and is sent as "Authorization: Bearer rst_...".

Permissions: ` + wrappedPermissions(),
		Example: "  ringside user token reports --for \"nightly report\" --can calls:read,stats:read --days 365",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			scope, err := r.scope()
			if err != nil {
				return err
			}
			if days < 1 {
				return usage("--days %d: give at least one", days)
			}
			n := auth.NewToken{Name: name, Scope: scope, Expires: time.Now().AddDate(0, 0, days)}
			for _, p := range can {
				n.Permissions = append(n.Permissions, auth.Permission(strings.TrimSpace(p)))
			}
			return withUsers(c, *state, false, func(ctx context.Context, a *auth.Auth) error {
				t, secret, err := a.CreateToken(ctx, args[0], n)
				if err != nil {
					return fmt.Errorf("make API token: %w", err)
				}
				fmt.Fprintf(c.ErrOrStderr(), "API token %s of %s, good until %s\n", t.ID, t.User, st.on(c.ErrOrStderr()).moment(t.Expires.UnixNano()))
				_, err = fmt.Fprintln(c.OutOrStdout(), secret)
				return err
			})
		},
	}
	c.Flags().StringVar(&name, "for", "", "`WHAT` the token is for, as lists show it")
	c.Flags().StringSliceVar(&can, "can", nil, "a `PERMISSION` of the token; several may be given")
	c.Flags().IntVar(&days, "days", 90, "how long it is good")
	r.scopeFlags(c.Flags())
	return c
}

func wrappedPermissions() string {
	var parts []string
	for _, p := range auth.Permissions() {
		parts = append(parts, string(p))
	}
	return wrap(parts, ", ", 80, 0)
}

func newUserTokens(st *style, state *string) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "tokens [NAME]",
		Short: "list API tokens, of a user or of all",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return withUsers(c, *state, false, func(_ context.Context, a *auth.Auth) error {
				name := ""
				if len(args) > 0 {
					u, err := a.User(args[0])
					if err != nil {
						return fmt.Errorf("list API tokens: %w", err)
					}
					name = u.Name
				}
				tokens := a.Tokens(name)
				if asJSON {
					return writeJSONLines(c.OutOrStdout(), tokens)
				}
				l := st.on(c.OutOrStdout())
				var rows [][]string
				for _, t := range tokens {
					rows = append(rows, []string{t.ID, t.User, clean(t.Name), l.moment(t.Expires.UnixNano()), l.use(t.LastUse), strings.ReplaceAll(fmt.Sprint(t.Permissions), " ", ",")})
				}
				return writeTable(c.OutOrStdout(), l, []column{{head: "Id"}, {head: "User", least: 8}, {head: "For", least: 10}, {head: "Good until"}, {head: "Last use", drop: 2}, {head: "Can", least: 12, drop: 1}}, rows)
			})
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "as JSON lines")
	return c
}

func newUserRevoke(state *string) *cobra.Command {
	return &cobra.Command{
		Use:   "revoke ID…",
		Short: "end API tokens",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return withUsers(c, *state, false, func(ctx context.Context, a *auth.Auth) (err error) {
				for _, id := range args {
					err = errors.Join(err, a.RevokeToken(ctx, id))
				}
				return err
			})
		},
	}
}

func newUserAudit(st *style, state *string) *cobra.Command {
	var f auth.AuditFilter
	var asJSON, verify bool
	c := &cobra.Command{
		Use:   "audit",
		Short: "show who has done what, or check that nobody has changed that",
		Long: `Show who has logged in, downloaded, listened and changed something, the newest
first. --verify checks that no entry was changed or taken out: each holds the hash
of the one before. Keep the hash that it prints elsewhere, and entries cannot be
taken from the end without a trace either. The exit code is 1 if one was.`,
		Example: "  ringside user audit --user anna --action call\n  ringside user audit --verify",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return withUsers(c, *state, false, func(ctx context.Context, a *auth.Auth) error {
				if verify {
					return verifyAudit(ctx, c.OutOrStdout(), a)
				}
				page, err := a.Audit.Query(ctx, f)
				if err != nil {
					return err
				}
				if asJSON {
					return writeJSONLines(c.OutOrStdout(), page.Entries)
				}
				return writeAudit(c.OutOrStdout(), st.on(c.OutOrStdout()), page.Entries)
			})
		},
	}
	fl := c.Flags()
	fl.StringVar(&f.User, "user", "", "only of this user, a `NAME`")
	fl.StringVar(&f.Action, "action", "", "only this `ACTION` (login, call.pcap), or those that begin with it and a dot")
	fl.StringVar(&f.Text, "text", "", "only with this in object or detail")
	fl.IntVar(&f.Limit, "limit", 100, "at most so many, up to 1000")
	fl.BoolVar(&asJSON, "json", false, "as JSON lines")
	fl.BoolVar(&verify, "verify", false, "check the chain of hashes")
	return c
}

func writeAudit(out io.Writer, l look, entries []auth.Entry) error {
	var rows [][]string
	for _, e := range entries {
		rows = append(rows, []string{l.moment(e.Time.UnixNano()), clean(cmp.Or(e.User, "-")), clean(cmp.Or(e.From, e.Via)),
			clean(e.Action), string(e.Outcome), clean(e.Object), clean(e.Detail)})
	}
	return writeTable(out, l, []column{{head: "Time"}, {head: "User", least: 8}, {head: "From", drop: 2}, {head: "Action"}, {head: "Outcome"},
		{head: "Object", least: 12}, {head: "Detail", least: 12, drop: 1}}, rows)
}

func verifyAudit(ctx context.Context, out io.Writer, a *auth.Auth) error {
	v, err := a.Audit.Verify(ctx)
	if err != nil {
		return err
	}
	for _, b := range v.Breaks {
		fmt.Fprintln(out, clean(b.String()))
	}
	if len(v.Breaks) > 0 {
		return fmt.Errorf("verify audit: it was changed or damaged in %s", plural(len(v.Breaks), "place"))
	}
	_, err = fmt.Fprintf(out, "%s entries, %d to %d, are whole; the last one's hash is %s\n", count(v.Entries), v.First, v.Last, v.Head)
	return err
}
