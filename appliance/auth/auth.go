// Package auth decides who may do what: accounts with passwords, sessions, API
// tokens, roles, row scopes, lock-out, and the audit of all that.
//
// It keeps its state in a few files in a directory of its own, not in the
// database: logging in must work while that is away. Files are replaced as a
// whole and locked while they change, so that commands can change accounts
// beside a running daemon, which sees it with the next request.
//
// It knows no calls and no routes: an Identity says which permissions somebody
// has, and a Scope which rows; whoever serves requests asks.
package auth

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Options are where accounts live, and how long things last. Only Dir is needed.
type Options struct {
	Dir string // of its own, made if it is not there; 0700

	Cost   Cost  // of a password's hash; default: CostFor(Memory)
	Memory int64 // bytes that the process may use; 0: plenty

	Idle     time.Duration // a session ends after so long without a request; default 2 h
	Absolute time.Duration // a session ends after so long; default 24 h

	TrustedProxies []netip.Prefix // whose X-Forwarded-For and X-Forwarded-Proto are believed
	Origins        []string       // scheme://host[:port] of pages beside our own that may change things

	AuditKeep  time.Duration // entries older than that are removed; default 366 days
	AuditBytes int64         // oldest files go when all take more; default 1 GiB

	Log    *slog.Logger     // gets every entry of the audit, too; default: none
	Now    func() time.Time // default: time.Now
	Refuse Refuse           // answers requests that are refused before a handler sees them; default: problem details
}

// Refuse answers a request that Middleware does not let pass.
type Refuse func(w http.ResponseWriter, r *http.Request, status int, err error)

const (
	loginSlots = 1  // hashes at once: each has four lanes, and capture needs the cores
	loginQueue = 30 // logins that wait
)

// Dir is where accounts live in the state directory of the appliance.
func Dir(state string) string { return filepath.Join(state, "auth") }

// Auth is safe for concurrent use.
type Auth struct {
	Audit *Audit

	o        Options
	users    file[accounts]
	activity file[activity]
	prefs    file[preferences]
	hasher   *hasher
	guard    *guard
	touched  touches
	sieve    sieve
	cross    *http.CrossOriginProtection
}

// Open reads accounts, or makes the directory for them. Where there is none, a
// setup token is made, with which the first admin is.
func Open(o Options) (*Auth, error) {
	o = o.defaults()
	if o.Dir == "" {
		return nil, errors.New("open accounts: name a directory for them")
	}
	if err := makeDir(o.Dir); err != nil {
		return nil, fmt.Errorf("open accounts: %w", err)
	}
	a := &Auth{o: o, hasher: newHasher(o.Cost, loginSlots, loginQueue), guard: newGuard(), cross: http.NewCrossOriginProtection()}
	for _, origin := range o.Origins {
		if err := a.cross.AddTrustedOrigin(origin); err != nil {
			return nil, fmt.Errorf("open accounts: origin %q: %w", origin, err)
		}
	}
	path := func(name string) string { return filepath.Join(o.Dir, name) }
	a.users.path, a.users.remedy = path("users.json"), "put back users.json.bak, which is what it was before the last change, or remove both to begin with a new setup token"
	a.activity.path, a.activity.remedy = path("sessions.json"), "remove it: everybody logs in again"
	a.prefs.path, a.prefs.remedy = path("preferences.json"), "remove it: saved filters and columns are lost"
	a.users.strict = true
	_, errUsers := a.users.view()
	_, errActivity := a.activity.view()
	_, errPrefs := a.prefs.view()
	if err := errors.Join(errUsers, errActivity, errPrefs); err != nil {
		return nil, fmt.Errorf("open accounts: %w", err)
	}
	var err error
	if a.Audit, err = OpenAudit(AuditOptions{Dir: path("audit"), Keep: o.AuditKeep, Bytes: o.AuditBytes, Now: o.Now, Log: o.Log}); err != nil {
		return nil, err
	}
	if err := a.prepareSetup(); err != nil {
		return nil, fmt.Errorf("open accounts: %w", err)
	}
	return a, nil
}

func (o Options) defaults() Options {
	if o.Cost == (Cost{}) {
		o.Cost = CostFor(o.Memory)
	}
	o.Idle = cmp.Or(o.Idle, 2*time.Hour)
	o.Absolute = cmp.Or(o.Absolute, 24*time.Hour)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Refuse == nil {
		o.Refuse = refuse
	}
	return o
}

// makeDir makes a directory that only its owner may look into, and removes what a
// crash has left in it half-written.
func makeDir(dir string) error {
	if err := ownDir(dir); err != nil {
		return err
	}
	left, err := filepath.Glob(filepath.Join(dir, ".*.json.*"))
	for _, name := range left {
		// Another process may be writing it just now.
		if i, err := os.Stat(name); err == nil && time.Since(i.ModTime()) > time.Minute {
			_ = os.Remove(name)
		}
	}
	return err
}

// Close writes what is not written yet: when sessions and tokens were last used.
func (a *Auth) Close() error {
	return errors.Join(a.flushTouches(a.o.Now(), true), a.Audit.Close())
}

// Stats are counts since the start, and what there is.
type Stats struct {
	Users, Sessions, Tokens int
	Logins, Failed, Locked  uint64 // attempts to log in: good, bad, and refused without a look
	Hashes                  uint64 // of passwords
}

// Stats is a snapshot for metrics.
func (a *Auth) Stats() Stats {
	users, _ := a.users.view()
	act, _ := a.activity.view()
	g := a.guard.stats()
	return Stats{len(users.Users), len(act.Sessions), len(users.Tokens), g.good, g.bad, g.locked, a.hasher.hashed.Load()}
}

// Check is nil while the files of accounts can be read. Until a broken one is put
// right, what it said before holds.
func (a *Auth) Check() error {
	_, errUsers := a.users.view()
	_, errActivity := a.activity.view()
	return errors.Join(errUsers, errActivity)
}

// note writes an entry of the audit about what somebody did, and returns err.
func (a *Auth) note(ctx context.Context, action, object, detail string, err error) error {
	e := NewEntry(ctx, action, object)
	e.Detail = detail
	if err != nil {
		e.Outcome = Failed
		e.Detail = strings.Trim(detail+": "+err.Error(), ": ")
	}
	a.write(e)
	return err
}

// write puts an entry into the audit. An account that cannot be audited can still
// be managed: a full disk must not lock out who can free it.
func (a *Auth) write(e Entry) {
	if err := a.Audit.Write(e); err != nil {
		a.o.Log.Error("audit entry not written", "action", e.Action, "user", e.User, "err", err)
	}
}
