package auth

import (
	"context"
	"encoding/base64"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
)

// Session is a login that holds, as its owner may see it.
type Session struct {
	ID      string    `json:"id"`
	User    string    `json:"user"`
	Created time.Time `json:"created"`
	Seen    time.Time `json:"seen"` // within a minute
	Expires time.Time `json:"expires"`
	From    string    `json:"from"`  // where the login came from
	Agent   string    `json:"agent"` // User-Agent of the login
}

// session is a Session as the file has it: the hash of what the cookie says. It
// holds while the account's stamp is the same.
type session struct {
	Hash    string    `json:"hash"`
	User    string    `json:"user"`
	Stamp   string    `json:"stamp"`
	Created time.Time `json:"created"`
	Seen    time.Time `json:"seen"`
	From    string    `json:"from,omitempty"`
	Agent   string    `json:"agent,omitempty"`
}

// activity is sessions.json: what changes as accounts are used.
type activity struct {
	Sessions []session      `json:"sessions"`
	Logins   map[string]Use `json:"logins,omitempty"` // last one by user
	Uses     map[string]Use `json:"uses,omitempty"`   // last one by API token
}

const (
	maxSessions     = 2000 // in all; the ones least used go first
	maxUserSessions = 20
	touchEvery      = time.Minute // how often uses are written
)

// id is what lists show of a session, and what does not give it away.
func (s *session) id() string { return s.Hash[:16] }

func (f *activity) check() error {
	for _, s := range f.Sessions {
		if len(s.Hash) != 64 {
			return fmt.Errorf("session of %q: its hash is not valid", cut(s.User, 80))
		}
	}
	return nil
}

func (f *activity) forgetUser(name string) {
	f.Sessions = slices.DeleteFunc(f.Sessions, func(s session) bool { return s.User == name })
	delete(f.Logins, name)
}

// touches are uses that the file does not say yet.
type touches struct {
	mu       sync.Mutex
	sessions map[string]time.Time // by hash
	tokens   map[string]Use
	flushed  time.Time
}

func (t *touches) session(hash string, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.sessions == nil {
		t.sessions = map[string]time.Time{}
	}
	t.sessions[hash] = now
}

func (t *touches) token(id string, u Use) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.tokens == nil {
		t.tokens = map[string]Use{}
	}
	t.tokens[id] = u
}

func (t *touches) seen(s *session) time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	if at, ok := t.sessions[s.Hash]; ok && at.After(s.Seen) {
		return at
	}
	return s.Seen
}

// take hands out what there is to write, if it is time to.
func (t *touches) take(now time.Time, force bool) (map[string]time.Time, map[string]Use) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if now.Sub(t.flushed).Abs() < touchEvery && !force || len(t.sessions)+len(t.tokens) == 0 {
		return nil, nil
	}
	s, k := t.sessions, t.tokens
	t.sessions, t.tokens, t.flushed = nil, nil, now
	return s, k
}

// flushTouches writes when sessions and tokens were last used, at most once a
// minute unless it must.
func (a *Auth) flushTouches(now time.Time, force bool) error {
	sessions, tokens := a.touched.take(now, force)
	if len(sessions)+len(tokens) == 0 {
		return nil
	}
	users, _ := a.users.view()
	return a.activity.update(true, func(f *activity) error {
		for i := range f.Sessions {
			if at, ok := sessions[f.Sessions[i].Hash]; ok && at.After(f.Sessions[i].Seen) {
				f.Sessions[i].Seen = at.UTC()
			}
		}
		if f.Uses == nil {
			f.Uses = map[string]Use{}
		}
		maps.Copy(f.Uses, tokens)
		maps.DeleteFunc(f.Uses, func(id string, _ Use) bool {
			return !slices.ContainsFunc(users.Tokens, func(t token) bool { return t.ID == id })
		})
		return nil
	})
}

// expires is when a session ends at the latest, as things are.
func (a *Auth) expires(s *session) time.Time {
	end, idle := s.Created.Add(a.o.Absolute), a.touched.seen(s).Add(a.o.Idle)
	if idle.Before(end) {
		return idle
	}
	return end
}

// holds reports whether a session is good, and whose it is.
func (a *Auth) holds(s *session, now time.Time) (*account, bool) {
	users, _ := a.users.view()
	u := users.find(s.User)
	return u, u != nil && !u.Disabled && u.Stamp == s.Stamp && now.Before(a.expires(s))
}

// newSession begins a session of an account and sends its cookie.
func (a *Auth) newSession(w http.ResponseWriter, r *http.Request, u account) (*Identity, error) {
	now := a.o.Now()
	from := a.ClientAddr(r)
	secret := random(32)
	s := session{Hash: hashOf(secret), User: u.Name, Stamp: u.Stamp, Created: now.UTC(), Seen: now.UTC(),
		From: addrString(from), Agent: cut(strings.ToValidUTF8(r.UserAgent(), "?"), 200)}
	err := a.activity.update(true, func(f *activity) error {
		f.Sessions = slices.DeleteFunc(f.Sessions, func(o session) bool { _, ok := a.holds(&o, now); return !ok })
		f.Sessions = append(f.Sessions, s)
		f.limit(u.Name)
		if f.Logins == nil {
			f.Logins = map[string]Use{}
		}
		f.Logins[u.Name] = Use{s.Created, s.From}
		return nil
	})
	if err != nil {
		if f, _ := a.activity.view(); !slices.ContainsFunc(f.Sessions, func(o session) bool { return o.Hash == s.Hash }) {
			return nil, err
		}
		a.o.Log.Error("session not written: it holds until the daemon ends", "user", u.Name, "err", err)
	}
	a.setCookie(w, r, base64.RawURLEncoding.EncodeToString(secret))
	id := a.sessionIdentity(&s, &u)
	id.From = from
	return id, nil
}

// limit ends the sessions that were not used for longest, if there are too many.
func (f *activity) limit(user string) {
	slices.SortStableFunc(f.Sessions, func(a, b session) int { return a.Seen.Compare(b.Seen) })
	of := 0
	for _, s := range f.Sessions {
		if s.User == user {
			of++
		}
	}
	f.Sessions = slices.DeleteFunc(f.Sessions, func(s session) bool {
		if s.User == user && of > maxUserSessions {
			of--
			return true
		}
		return false
	})
	f.Sessions = f.Sessions[max(0, len(f.Sessions)-maxSessions):]
}

func (a *Auth) sessionIdentity(s *session, u *account) *Identity {
	return &Identity{User: u.Name, Roles: slices.Clone(u.Roles), Permissions: permitted(u.Roles), Scope: u.Scope,
		MustChange: u.MustChange, Session: s.id(), Expires: s.Created.Add(a.o.Absolute)}
}

// find is a session that a cookie names, or nil.
func (f *activity) find(cookie string) *session {
	secret, err := base64.RawURLEncoding.Strict().DecodeString(cookie)
	if err != nil || len(secret) != 32 {
		return nil
	}
	hash := hashOf(secret)
	if i := slices.IndexFunc(f.Sessions, func(s session) bool { return s.Hash == hash }); i >= 0 {
		return &f.Sessions[i]
	}
	return nil
}

// cookieIdentity is who sends a session's cookie, or ErrExpired.
func (a *Auth) cookieIdentity(cookie string, now time.Time, from netip.Addr) (*Identity, error) {
	f, _ := a.activity.view()
	s := f.find(cookie)
	if s == nil {
		return nil, ErrExpired
	}
	u, ok := a.holds(s, now)
	if !ok {
		return nil, ErrExpired
	}
	a.touched.session(s.Hash, now)
	id := a.sessionIdentity(s, u)
	id.From = from
	return id, nil
}

// Still reports whether an identity has the same rights as when its request
// began. What streams for long asks now and then, and ends if not. It does not
// count as a use of the session.
func (a *Auth) Still(id *Identity) bool {
	now := a.o.Now()
	switch {
	case id == nil:
		return false
	case id.local:
		return true
	case id.Token != "":
		is, _ := a.identityOfToken(id.Token, now)
		return is != nil && slices.Equal(is.Permissions, id.Permissions) && is.Scope.equal(id.Scope)
	}
	f, _ := a.activity.view()
	i := slices.IndexFunc(f.Sessions, func(s session) bool { return s.id() == id.Session && s.User == id.User })
	if i < 0 {
		return false
	}
	_, ok := a.holds(&f.Sessions[i], now)
	return ok
}

// Sessions are those of a user that hold, or of all with an empty name, the last
// used first.
func (a *Auth) Sessions(user string) []Session {
	user = canonical(user)
	now := a.o.Now()
	f, _ := a.activity.view()
	out := []Session{}
	for i := range f.Sessions {
		s := &f.Sessions[i]
		if _, ok := a.holds(s, now); ok && (user == "" || s.User == user) {
			out = append(out, Session{s.id(), s.User, s.Created, a.touched.seen(s).UTC(), a.expires(s).UTC(), s.From, s.Agent})
		}
	}
	slices.SortStableFunc(out, func(x, y Session) int { return y.Seen.Compare(x.Seen) })
	return out
}

// Session is one that holds, or ErrNotFound.
func (a *Auth) Session(id string) (Session, error) {
	for _, s := range a.Sessions("") {
		if s.ID == id {
			return s, nil
		}
	}
	return Session{}, fmt.Errorf("session %q: %w", cut(id, 40), ErrNotFound)
}

// RevokeSession ends a session. A token that may not manage users can end none.
func (a *Auth) RevokeSession(ctx context.Context, id string) error {
	s, err := a.Session(id)
	if err == nil && From(ctx).limited() {
		err = ErrSession
	}
	if err == nil {
		err = a.endSession(id)
	}
	detail := ""
	if err == nil {
		detail = "of " + s.User
	}
	return a.note(ctx, "session.revoke", cut(id, 40), detail, err)
}

func (a *Auth) endSession(id string) error {
	return a.activity.update(true, func(f *activity) error {
		f.Sessions = slices.DeleteFunc(f.Sessions, func(s session) bool { return s.id() == id })
		return nil
	})
}
