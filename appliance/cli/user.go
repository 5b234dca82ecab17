package cli

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/base32"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"os/user"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"ringside/appliance/auth"
)

func newUser(st *style) *cobra.Command {
	c := &cobra.Command{
		Use:   "user",
		Short: "accounts of the web interface and the API",
		Long: `Accounts of the web interface and the API: who may log in, as what, and what was
done. Changes hold at once, also while ringside runs.

Roles: viewer (call records, charts), analyst (and signalling, pcap), listener (and
audio), operator (and capture, spool, rules), admin (everything but audio).`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return usage("say what to do: add, list, change, passwd, disable, enable, delete, token, tokens, revoke or audit")
		},
	}
	var state string
	c.PersistentFlags().StringVar(&state, "state", "/var/lib/ringside", "the state directory, a `DIR`")
	c.AddCommand(newUserAdd(&state), newUserList(st, &state), newUserChange(&state), newUserPasswd(&state),
		newUserEnable(&state, "disable", "keep a user from logging in", true), newUserEnable(&state, "enable", "let a disabled user log in again", false),
		newUserDelete(&state), newUserToken(st, &state), newUserTokens(st, &state), newUserRevoke(&state), newUserAudit(st, &state))
	return c
}

// withUsers opens accounts, calls do as whoever runs the command, and closes them.
// Only making the first account may make the directory, too.
func withUsers(c *cobra.Command, state string, first bool, do func(ctx context.Context, a *auth.Auth) error) error {
	dir := auth.Dir(state)
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) && !first {
		return coded{exitUnavailable, fmt.Errorf("open accounts: %w: name the state directory of the daemon with --state, or make the first account with \"ringside user add\"", err)}
	}
	a, err := auth.Open(auth.Options{Dir: dir})
	if err != nil {
		return err
	}
	return errors.Join(do(auth.With(c.Context(), auth.Local(login())), a), a.Close())
}

// login is who runs the command, for the audit.
func login() string {
	if name := os.Getenv("SUDO_USER"); name != "" {
		return name
	}
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return fmt.Sprint("uid ", os.Getuid())
}

// rights are the flags that say what an account may see.
type rights struct {
	roles          []string
	sensors        []uint
	prefixes, nets []string
}

func (r *rights) flags(fl *pflag.FlagSet) {
	fl.StringSliceVar(&r.roles, "role", nil, "a `ROLE` of the user; several may be given")
	r.scopeFlags(fl)
}

func (r *rights) scopeFlags(fl *pflag.FlagSet) {
	fl.UintSliceVar(&r.sensors, "sensor", nil, "only calls of this sensor, an `ID`; several may be given")
	fl.StringSliceVar(&r.prefixes, "prefix", nil, "only calls from or to numbers that begin so; several may be given")
	fl.StringSliceVar(&r.nets, "net", nil, "only calls with an address in this `NETWORK`; several may be given")
}

func (r *rights) roleList() []auth.Role {
	out := make([]auth.Role, len(r.roles))
	for i, s := range r.roles {
		out[i] = auth.Role(strings.TrimSpace(s))
	}
	return out
}

func (r *rights) scope() (auth.Scope, error) {
	s := auth.Scope{Prefixes: r.prefixes}
	for _, n := range r.sensors {
		if n > 65535 {
			return s, usage("--sensor %d: sensors have numbers up to 65535", n)
		}
		s.Sensors = append(s.Sensors, uint16(n))
	}
	for _, text := range r.nets {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			a, errAddr := netip.ParseAddr(text)
			if errAddr != nil {
				return s, usage("--net %q: write a network such as 10.1.0.0/16, or an address", text)
			}
			p = netip.PrefixFrom(a, a.BitLen())
		}
		s.Nets = append(s.Nets, p)
	}
	return s, nil
}

// passwordFlags say where a new password comes from.
type passwordFlags struct{ generate, mustChange bool }

func (p *passwordFlags) flags(fl *pflag.FlagSet) {
	fl.BoolVar(&p.generate, "generate", false, "make a password, print it, and have it changed at the first login")
	fl.BoolVar(&p.mustChange, "must-change", false, "have the password changed at the first login")
}

// password is a new one: made, typed twice at a terminal, or a line of input.
func (p *passwordFlags) password(c *cobra.Command) (string, error) {
	if p.generate {
		p.mustChange = true
		b := make([]byte, 10)
		_, _ = rand.Read(b) // it does not return errors
		return strings.ToLower(base32.StdEncoding.EncodeToString(b)), nil
	}
	if f, ok := c.InOrStdin().(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return typePassword(f, c.ErrOrStderr())
	}
	line, err := bufio.NewReader(io.LimitReader(c.InOrStdin(), 4096)).ReadString('\n')
	line = strings.TrimRight(line, "\r\n")
	if line == "" {
		return "", usage("no password: give it as a line of standard input, or --generate")
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return line, err
}

func typePassword(f *os.File, prompt io.Writer) (string, error) {
	var typed [2]string
	for i, ask := range []string{"Password: ", "Again: "} {
		fmt.Fprint(prompt, ask)
		b, err := term.ReadPassword(int(f.Fd()))
		fmt.Fprintln(prompt)
		if err != nil {
			return "", fmt.Errorf("read password: %w", err)
		}
		typed[i] = string(b)
	}
	if typed[0] != typed[1] {
		return "", usage("the two passwords differ: try again")
	}
	return typed[0], nil
}

// shown prints a password that was made.
func (p *passwordFlags) shown(out io.Writer, password string) error {
	if !p.generate {
		return nil
	}
	_, err := fmt.Fprintln(out, "password:", password)
	return err
}

func newUserAdd(state *string) *cobra.Command {
	var r rights
	var p passwordFlags
	c := &cobra.Command{
		Use:   "add NAME --role ROLE",
		Short: "make an account",
		Long: `Make an account. The password is asked for at a terminal, else a line of standard
input. The first account must be that of an admin; the setup token is then gone.`,
		Example: "  ringside user add anna --role admin,listener\n" +
			"  ringside user add berlin --role analyst --prefix +4930 --net 10.30.0.0/16 --generate",
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if len(r.roles) == 0 {
				return usage("say what the user may do: --role viewer, analyst, listener, operator or admin")
			}
			scope, err := r.scope()
			if err != nil {
				return err
			}
			return withUsers(c, *state, true, func(ctx context.Context, a *auth.Auth) error {
				password, err := p.password(c)
				if err != nil {
					return err
				}
				u, err := a.CreateUser(ctx, auth.NewUser{Name: args[0], Password: password, Roles: r.roleList(), Scope: scope, MustChange: p.mustChange})
				if err != nil {
					return fmt.Errorf("add user: %w", err)
				}
				_, err = fmt.Fprintf(c.OutOrStdout(), "user %s: %s, sees %s\n", u.Name, roleNames(u.Roles), clean(u.Scope.String()))
				return errors.Join(err, p.shown(c.OutOrStdout(), password))
			})
		},
	}
	r.flags(c.Flags())
	p.flags(c.Flags())
	return c
}

func roleNames(roles []auth.Role) string {
	s := make([]string, len(roles))
	for i, r := range roles {
		s[i] = string(r)
	}
	return strings.Join(s, ", ")
}

func newUserChange(state *string) *cobra.Command {
	var r rights
	var all bool
	c := &cobra.Command{
		Use:     "change NAME",
		Short:   "give a user other roles, or other calls to see",
		Long:    "Give a user other roles, or other calls to see. What is given replaces what was\nthere; sessions of the user end.",
		Example: "  ringside user change berlin --role viewer --prefix +4930,+4933",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			fl := c.Flags()
			scoped := fl.Changed("sensor") || fl.Changed("prefix") || fl.Changed("net")
			if scoped && all {
				return usage("--all goes with none of --sensor, --prefix and --net")
			}
			var change auth.UserChange
			if roles := r.roleList(); fl.Changed("role") {
				change.Roles = &roles
			}
			scope, err := r.scope()
			if err != nil {
				return err
			}
			if scoped || all {
				change.Scope = &scope
			}
			if change == (auth.UserChange{}) {
				return usage("say what to change: --role, --sensor, --prefix, --net or --all")
			}
			return withUsers(c, *state, false, func(ctx context.Context, a *auth.Auth) error {
				u, err := a.UpdateUser(ctx, args[0], change)
				if err != nil {
					return fmt.Errorf("change user: %w", err)
				}
				_, err = fmt.Fprintf(c.OutOrStdout(), "user %s: %s, sees %s\n", u.Name, roleNames(u.Roles), clean(u.Scope.String()))
				return err
			})
		},
	}
	r.flags(c.Flags())
	c.Flags().BoolVar(&all, "all", false, "let the user see all calls")
	return c
}

func newUserPasswd(state *string) *cobra.Command {
	var p passwordFlags
	c := &cobra.Command{
		Use:     "passwd NAME",
		Short:   "set a new password",
		Long:    "Set a new password. Sessions of the user end, and attempts that failed are\nforgotten. API tokens hold: see \"ringside user tokens\".",
		Example: "  ringside user passwd anna --generate",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return withUsers(c, *state, false, func(ctx context.Context, a *auth.Auth) error {
				if _, err := a.User(args[0]); err != nil { // before anything is asked
					return fmt.Errorf("set password: %w", err)
				}
				password, err := p.password(c)
				if err != nil {
					return err
				}
				if err := a.SetPassword(ctx, args[0], password, p.mustChange); err != nil {
					return fmt.Errorf("set password: %w", err)
				}
				return p.shown(c.OutOrStdout(), password)
			})
		},
	}
	p.flags(c.Flags())
	return c
}

func newUserEnable(state *string, verb, short string, disabled bool) *cobra.Command {
	return &cobra.Command{
		Use:   verb + " NAME",
		Short: short,
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return withUsers(c, *state, false, func(ctx context.Context, a *auth.Auth) error {
				if _, err := a.UpdateUser(ctx, args[0], auth.UserChange{Disabled: &disabled}); err != nil {
					return fmt.Errorf("%s user: %w", verb, err)
				}
				return nil
			})
		},
	}
}

func newUserDelete(state *string) *cobra.Command {
	return &cobra.Command{
		Use:   "delete NAME",
		Short: "remove an account with its sessions and API tokens",
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return withUsers(c, *state, false, func(ctx context.Context, a *auth.Auth) error {
				if err := a.DeleteUser(ctx, args[0]); err != nil {
					return fmt.Errorf("delete user: %w", err)
				}
				return nil
			})
		},
	}
}

func newUserList(st *style, state *string) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "list",
		Short: "list accounts",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return withUsers(c, *state, false, func(_ context.Context, a *auth.Auth) error {
				users := a.Users()
				if asJSON {
					return writeJSONLines(c.OutOrStdout(), users)
				}
				l := st.on(c.OutOrStdout())
				var rows [][]string
				for _, u := range users {
					state := "active"
					switch {
					case u.Disabled:
						state = "disabled"
					case u.MustChange:
						state = "must change password"
					}
					rows = append(rows, []string{u.Name, roleNames(u.Roles), clean(u.Scope.String()), state, l.use(u.LastLogin)})
				}
				return writeTable(c.OutOrStdout(), l, []column{{head: "Name", least: 10}, {head: "Roles"}, {head: "Sees", least: 10, drop: 1}, {head: "State"}, {head: "Last login", drop: 2}}, rows)
			})
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "as JSON lines")
	return c
}

// use is when and from where something was used last.
func (l look) use(u *auth.Use) string {
	if u == nil {
		return "never"
	}
	return strings.TrimSpace(l.moment(u.Time.UnixNano()) + " " + clean(u.From))
}

func writeJSONLines[T any](out io.Writer, of []T) error {
	enc := json.NewEncoder(out)
	for _, v := range of {
		if err := enc.Encode(v); err != nil {
			return err
		}
	}
	return nil
}
