package auth

import (
	"context"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// Login begins a session for somebody who knows the password, and sends its
// cookie. It fails with ErrCredentials, ErrBusy or a LockedError.
func (a *Auth) Login(w http.ResponseWriter, r *http.Request, name, password string) (*Identity, error) {
	from := a.ClientAddr(r)
	u, err := a.authenticate(r.Context(), from, name, password)
	if err != nil {
		a.noteFailed("login", name, from, err)
		return nil, err
	}
	id, err := a.newSession(w, r, u)
	if err != nil {
		return nil, err
	}
	detail := ""
	if u.MustChange {
		detail = "has to set a new password"
	}
	return id, a.note(With(r.Context(), id), "login", u.Name, detail, nil)
}

// authenticate finds the account that a name and a password are of. It hashes
// once, whether there is such an account or not.
func (a *Auth) authenticate(ctx context.Context, from netip.Addr, name, password string) (account, error) {
	name = canonical(name)
	f, _ := a.users.view()
	found := f.find(name)
	t, wait := a.guard.begin(a.o.Now(), name, from, found != nil)
	if wait > 0 {
		return account{}, &LockedError{wait}
	}
	stored, hash := a.hasher.decoy(), ""
	if found != nil {
		hash = found.Hash
		if p, err := parsePHC(hash); err == nil {
			stored = p
		}
	}
	password = password[:min(len(password), maxPassword+1)]
	ok, err := a.hasher.verify(ctx, stored, password)
	switch {
	case err != nil:
		t.undo()
		return account{}, err
	case !ok || found == nil || found.Disabled:
		t.failed()
		return account{}, ErrCredentials
	}
	t.passed()
	if stored.cost != a.hasher.cost {
		a.rehash(ctx, name, hash, password)
	}
	return *found, nil
}

// rehash brings the hash of a password to the cost of today, unless the password
// has changed meanwhile. Sessions hold.
func (a *Auth) rehash(ctx context.Context, name, old, password string) {
	hash, err := a.hasher.hash(ctx, password)
	if err != nil {
		return // with the next login
	}
	err = a.changeAccount(name, func(u *account) error {
		if u.Hash == old {
			u.Hash = hash
		}
		return nil
	})
	if err != nil {
		a.o.Log.Error("hash of a password not renewed", "user", name, "err", err)
	}
}

// Logout ends the session of a request, if it has one, and takes its cookie back.
func (a *Auth) Logout(w http.ResponseWriter, r *http.Request) error {
	a.clearCookie(w, r)
	id := From(r.Context())
	if id == nil || id.Session == "" {
		return nil
	}
	return a.note(r.Context(), "logout", id.User, "", a.endSession(id.Session))
}

// ChangePassword lets somebody who is logged in set a new password. All sessions
// of the account end; the request gets a new one.
func (a *Auth) ChangePassword(w http.ResponseWriter, r *http.Request, old, fresh string) (*Identity, error) {
	id := From(r.Context())
	switch {
	case id == nil:
		return nil, ErrNoLogin
	case id.Session == "":
		return nil, ErrSession
	}
	if _, err := a.authenticate(r.Context(), id.From, id.User, old); err != nil {
		a.noteFailed("user.password", id.User, id.From, err)
		return nil, err
	}
	err := error(nil)
	if old == fresh {
		err = invalid("password", "it is the same as before")
	} else {
		err = a.setPassword(r.Context(), id.User, fresh, false)
	}
	if a.note(r.Context(), "user.password", id.User, "by the user", err) != nil {
		return nil, err
	}
	f, _ := a.users.view()
	u := f.find(id.User)
	if u == nil {
		return nil, ErrExpired
	}
	return a.newSession(w, r, *u)
}

func (a *Auth) setupPath() string { return filepath.Join(a.o.Dir, "setup-token") }

// prepareSetup makes a setup token if there is no account, and removes it if
// there is one.
func (a *Auth) prepareSetup() error {
	if f, _ := a.users.view(); len(f.Users) > 0 {
		return a.finishSetup()
	}
	if a.SetupToken() != "" {
		return nil
	}
	dir := filepath.Dir(a.setupPath())
	tmp, err := os.CreateTemp(dir, ".setup.json.*") // 0600
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = fmt.Fprintln(tmp, hex.EncodeToString(random(16)))
	adopt(tmp, dir)
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	// Who comes second takes the token of the first.
	if err := os.Link(tmp.Name(), a.setupPath()); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// SetupToken is what the first admin is made with; empty once there is an
// account. It is for the log of the daemon, never for a response.
func (a *Auth) SetupToken() string {
	if f, _ := a.users.view(); len(f.Users) > 0 {
		return ""
	}
	b, err := os.ReadFile(a.setupPath())
	if s := strings.TrimSpace(string(b)); err == nil && len(s) == 32 {
		return s
	}
	return ""
}

// NeedsSetup reports whether there is no account yet.
func (a *Auth) NeedsSetup() bool {
	f, _ := a.users.view()
	return len(f.Users) == 0
}

// Setup makes the first account, an admin who may listen as well, and logs in.
func (a *Auth) Setup(w http.ResponseWriter, r *http.Request, setupToken, name, password string) (*Identity, error) {
	from := a.ClientAddr(r)
	id, err := a.setup(w, r, from, setupToken, name, password)
	if err != nil {
		a.noteFailed("setup", name, from, err)
		return nil, err
	}
	return id, a.note(With(r.Context(), id), "setup", id.User, "first admin", nil)
}

func (a *Auth) setup(w http.ResponseWriter, r *http.Request, from netip.Addr, setupToken, name, password string) (*Identity, error) {
	if !a.NeedsSetup() {
		return nil, ErrSetupDone
	}
	t, wait := a.guard.begin(a.o.Now(), "setup|"+sourceOf(from), from, false)
	if wait > 0 {
		return nil, &LockedError{wait}
	}
	want := a.SetupToken()
	if want == "" || subtle.ConstantTimeCompare([]byte(strings.TrimSpace(setupToken)), []byte(want)) != 1 {
		t.failed()
		return nil, ErrSetup
	}
	t.passed()
	u, err := a.createUser(r.Context(), NewUser{Name: name, Password: password, Roles: []Role{Admin, Listener}}, true)
	if err != nil {
		return nil, err
	}
	f, _ := a.users.view()
	acc := f.find(u.Name)
	if acc == nil {
		return nil, noUser(u.Name)
	}
	return a.newSession(w, r, *acc)
}

// finishSetup removes the setup token.
func (a *Auth) finishSetup() error {
	if err := os.Remove(a.setupPath()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the setup token, which is good for nothing any more: %w", err)
	}
	return nil
}

// sieve keeps floods of failed attempts from filling the audit: of those beyond
// sieveMost a minute the next entry says how many there were.
type sieve struct {
	mu     sync.Mutex
	minute time.Time
	n      map[string]int // by action
	left   map[string]int // not written
}

const sieveMost = 20

// pass reports whether to write an entry, and how many were left out before it.
func (s *sieve) pass(action string, now time.Time) (left int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if m := now.Truncate(time.Minute); s.n == nil || !m.Equal(s.minute) {
		s.minute, s.n = m, map[string]int{}
	}
	if s.left == nil {
		s.left = map[string]int{}
	}
	if s.n[action]++; s.n[action] > sieveMost {
		s.left[action]++
		return 0, false
	}
	left = s.left[action]
	delete(s.left, action)
	return left, true
}

// noteFailed writes an attempt to get in that failed.
func (a *Auth) noteFailed(action, name string, from netip.Addr, err error) {
	left, ok := a.sieve.pass(action, a.o.Now())
	if !ok {
		return
	}
	e := Entry{Action: action, Object: cut(canonical(name), 80), From: addrString(from), Outcome: Failed, Detail: err.Error()}
	var locked *LockedError
	if errors.As(err, &locked) {
		e.Outcome = Denied
	}
	if left > 0 {
		e.Detail += fmt.Sprintf("; %d more like it are not listed", left)
	}
	a.write(e)
}
