package auth

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestSessionEnds(t *testing.T) {
	yes, none := true, Scope{}
	scope := Scope{Sensors: []uint16{7}}
	for _, tc := range []struct {
		name  string
		do    func(w *world, c *http.Cookie)
		holds bool
	}{
		{"nothing happens", func(*world, *http.Cookie) {}, true},
		{"after a while without a request", func(w *world, _ *http.Cookie) { w.add(2*time.Hour - time.Second) }, true},
		{"idle for too long", func(w *world, _ *http.Cookie) { w.add(2 * time.Hour) }, false},
		{"used all the time, for too long", func(w *world, c *http.Cookie) {
			for range 24 {
				w.add(time.Hour)
				w.is(c)
			}
		}, false},
		{"used for long", func(w *world, c *http.Cookie) {
			for range 23 {
				w.add(time.Hour)
				w.is(c)
			}
		}, true},
		{"the roles change", func(w *world, _ *http.Cookie) {
			_, _ = w.UpdateUser(as("root"), "viewer", UserChange{Roles: &[]Role{Analyst}})
		}, false},
		{"the scope changes", func(w *world, _ *http.Cookie) {
			_, _ = w.UpdateUser(as("root"), "viewer", UserChange{Scope: &scope})
		}, false},
		{"disabled", func(w *world, _ *http.Cookie) {
			_, _ = w.UpdateUser(as("root"), "viewer", UserChange{Disabled: &yes})
		}, false},
		{"a change of nothing", func(w *world, _ *http.Cookie) {
			_, _ = w.UpdateUser(as("root"), "viewer", UserChange{Scope: &none, Roles: &[]Role{Viewer}})
		}, true},
		{"a new password", func(w *world, _ *http.Cookie) { _ = w.SetPassword(as("root"), "viewer", good+"!", false) }, false},
		{"the user is deleted and made again", func(w *world, _ *http.Cookie) {
			_ = w.DeleteUser(as("root"), "viewer")
			w.user("viewer", Viewer)
		}, false},
		{"revoked", func(w *world, _ *http.Cookie) { _ = w.RevokeSession(as("root"), w.Sessions("viewer")[0].ID) }, false},
		{"logged out", func(w *world, c *http.Cookie) {
			r := request("POST", "192.0.2.1", c)
			_ = w.Logout(httptest.NewRecorder(), r.WithContext(With(r.Context(), w.is(c))))
		}, false},
		{"too many sessions of the user", func(w *world, _ *http.Cookie) {
			for range maxUserSessions {
				w.add(time.Second)
				w.mustLogin("viewer")
			}
		}, false},
		{"a restart", func(w *world, _ *http.Cookie) {
			_ = w.Close()
			c := w.clock
			*w = *open(w.t, w.o.Dir, func(o *Options) { o.Now = c.now })
			w.clock = c
		}, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			cookie := w.mustLogin("viewer")
			id := w.is(cookie)
			if id == nil || !w.Still(id) {
				t.Fatalf("identity after the login: %+v, still %v", id, w.Still(id))
			}
			tc.do(w, cookie)
			if still := w.Still(id); still != tc.holds {
				t.Errorf("still good: %v, want %v", still, tc.holds)
			}
			if listed := len(w.Sessions("viewer")) > 0 && w.Sessions("viewer")[len(w.Sessions("viewer"))-1].ID == id.Session; listed != tc.holds {
				t.Errorf("listed: %v, want %v", listed, tc.holds)
			}
			if got := w.is(cookie) != nil; got != tc.holds {
				t.Errorf("the session holds: %v, want %v", got, tc.holds)
			}
		})
	}
}

// The file of sessions must not give a session to whoever reads it.
func TestSessionFile(t *testing.T) {
	w := newWorld(t)
	cookie := w.mustLogin("viewer")
	b, err := os.ReadFile(filepath.Join(w.o.Dir, "sessions.json"))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(b), cookie.Value) {
		t.Error("the file has what the cookie says")
	}
	for _, name := range []string{"sessions.json", "users.json", "users.json.bak", "lock"} {
		if info, err := os.Stat(filepath.Join(w.o.Dir, name)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
	s := w.Sessions("viewer")[0]
	if s.From != "192.0.2.1" || strings.Contains(cookie.Value, s.ID) {
		t.Errorf("session as listed: %+v", s)
	}
}

// Uses are written at most once a minute.
func TestTouches(t *testing.T) {
	w := newWorld(t)
	cookie := w.mustLogin("viewer")
	path := filepath.Join(w.o.Dir, "sessions.json")
	w.is(cookie)
	before, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	for range 50 {
		w.add(time.Second)
		w.is(cookie)
	}
	if now, _ := os.Stat(path); stampOf(now) != stampOf(before) {
		t.Error("the file was written within a minute")
	}
	w.add(time.Minute)
	w.is(cookie)
	if now, _ := os.Stat(path); stampOf(now) == stampOf(before) {
		t.Error("the file was not written after a minute")
	}
	if f, _ := w.activity.view(); !f.Sessions[0].Seen.Equal(w.now()) {
		t.Errorf("seen %s, now %s", f.Sessions[0].Seen, w.now())
	}
}

func FuzzCookie(f *testing.F) {
	w := &world{Auth: &Auth{}}
	w.activity.path, w.users.path = filepath.Join(f.TempDir(), "none"), filepath.Join(f.TempDir(), "none")
	secret := make([]byte, 32)
	act := &activity{Sessions: []session{{Hash: hashOf(secret), User: "x"}}}
	f.Add(base64.RawURLEncoding.EncodeToString(secret))
	f.Add("")
	f.Add("AAAA")
	f.Fuzz(func(t *testing.T, s string) {
		if act.find(s) != nil && s != base64.RawURLEncoding.EncodeToString(secret) {
			t.Errorf("cookie %q finds a session", s)
		}
	})
}

func TestTokens(t *testing.T) {
	w := newWorld(t)
	perms := []Permission{CallsRead, PacketsRead}
	tok, secret, err := w.CreateToken(as("root"), "analyst", NewToken{Name: "nightly report", Permissions: perms, Scope: Scope{Sensors: []uint16{7}}})
	if err != nil {
		t.Fatal(err)
	}
	if b, _ := os.ReadFile(filepath.Join(w.o.Dir, "users.json")); strings.Contains(string(b), secret[21:]) {
		t.Error("the file has the secret")
	}
	send := func(auth string) (*Identity, int) {
		r := request("POST", "192.0.2.7")
		r.Header.Set("Authorization", auth)
		r.Header.Set("Sec-Fetch-Site", "cross-site") // no browser sends the token by itself
		id, status, _ := w.who(r)
		return id, status
	}
	id, status := send("bearer  " + secret)
	if id == nil || status != 200 || id.User != "analyst" || id.Token != tok.ID || !id.Can(PacketsRead) || id.Can(SignallingRead) || len(id.Scope.Sensors) != 1 {
		t.Fatalf("identity %+v, status %d", id, status)
	}
	w.add(2 * time.Minute)
	send("Bearer " + secret)
	if got, _ := w.Token(tok.ID); got.LastUse == nil || got.LastUse.From != "192.0.2.7" {
		t.Errorf("last use: %+v", got.LastUse)
	}
	for _, bad := range []string{"Bearer", "Bearer ", "Bearer x", "Bearer " + secret[:len(secret)-1], "Bearer " + secret[:len(secret)-1] + "x",
		"Bearer " + secret + "0", "Bearer rst_" + strings.Repeat("0", 16) + secret[20:]} {
		if id, status := send(bad); id != nil || status != 401 && bad != "Bearer" {
			t.Errorf("%q: identity %+v, status %d", bad, id, status)
		}
	}
	if strings.Contains(w.log.String(), secret[21:60]) {
		t.Error("the audit tells a secret")
	}
	if err := w.RevokeToken(as("root"), tok.ID); err != nil {
		t.Fatal(err)
	}
	if id, status := send("Bearer " + secret); id != nil || status != 401 || w.Still(id) {
		t.Errorf("revoked: identity %+v, status %d", id, status)
	}
}

// A token never can more than its owner.
func TestTokenFollowsItsOwner(t *testing.T) {
	yes := true
	for _, tc := range []struct {
		name string
		do   func(w *world)
		can  []Permission // nil: the token is refused
	}{
		{"as it was made", func(*world) {}, []Permission{CallsRead, PacketsRead}},
		{"the owner loses a role", func(w *world) {
			_, _ = w.UpdateUser(as("root"), "analyst", UserChange{Roles: &[]Role{Viewer}})
		}, []Permission{CallsRead}},
		{"the owner gains a role", func(w *world) {
			_, _ = w.UpdateUser(as("root"), "analyst", UserChange{Roles: &[]Role{Admin}, Scope: &Scope{}})
		}, []Permission{CallsRead, PacketsRead}},
		{"the owner's scope leaves it out", func(w *world) {
			_, _ = w.UpdateUser(as("root"), "analyst", UserChange{Scope: &Scope{Sensors: []uint16{8}}})
		}, nil},
		{"the owner is disabled", func(w *world) { _, _ = w.UpdateUser(as("root"), "analyst", UserChange{Disabled: &yes}) }, nil},
		{"the owner must change the password", func(w *world) { _ = w.SetPassword(as("root"), "analyst", good+"!", true) }, nil},
		{"the owner is deleted", func(w *world) { _ = w.DeleteUser(as("root"), "analyst") }, nil},
		{"it expires", func(w *world) { w.add(90 * 24 * time.Hour) }, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			_, secret, err := w.CreateToken(as("root"), "analyst", NewToken{Name: "x", Permissions: []Permission{PacketsRead, CallsRead}, Scope: Scope{Sensors: []uint16{7}}})
			if err != nil {
				t.Fatal(err)
			}
			before, err := w.tokenIdentity(secret, w.now(), netip.Addr{})
			if err != nil || !w.Still(before) {
				t.Fatal(err)
			}
			tc.do(w)
			id, err := w.tokenIdentity(secret, w.now(), netip.Addr{})
			if tc.can == nil {
				if !errors.Is(err, ErrToken) || w.Still(before) {
					t.Errorf("identity %+v, error %v", id, err)
				}
				return
			}
			if err != nil || joined(id.Permissions) != joined(tc.can) || w.Still(before) != (len(tc.can) == 2) {
				t.Errorf("identity %+v, error %v, want %v", id, err, tc.can)
			}
		})
	}
}

func TestTokensRefused(t *testing.T) {
	w := newWorld(t)
	now := w.now()
	own := func(name string, perms ...Permission) context.Context {
		return With(context.Background(), &Identity{User: name, Permissions: perms, Session: "s"})
	}
	token := With(context.Background(), &Identity{User: "root", Permissions: Permissions(), Token: "t"})
	for _, tc := range []struct {
		name string
		ctx  context.Context
		user string
		n    NewToken
		want string
	}{
		{"no name", as("root"), "viewer", NewToken{Permissions: []Permission{CallsRead}}, "name: say"},
		{"no permission", as("root"), "viewer", NewToken{Name: "x"}, "at least one"},
		{"unknown permission", as("root"), "viewer", NewToken{Name: "x", Permissions: []Permission{"root"}}, `"root" is none`},
		{"unknown user", as("root"), "nobody", NewToken{Name: "x", Permissions: []Permission{CallsRead}}, "not found"},
		{"more than the owner", as("root"), "viewer", NewToken{Name: "x", Permissions: []Permission{CallsRead, AudioRead}}, "viewer does not have audio:read"},
		{"more than the maker", own("root", UsersManage), "listener", NewToken{Name: "x", Permissions: []Permission{AudioRead}}, "audio:read is missing"},
		{"by a token", token, "root", NewToken{Name: "x", Permissions: []Permission{CallsRead}}, "log in"},
		{"expired", as("root"), "viewer", NewToken{Name: "x", Permissions: []Permission{CallsRead}, Expires: now}, "in the future"},
		{"for ever", as("root"), "viewer", NewToken{Name: "x", Permissions: []Permission{CallsRead}, Expires: now.AddDate(9, 0, 0)}, "three years"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if _, _, err := w.CreateToken(tc.ctx, tc.user, tc.n); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want %q", err, tc.want)
			}
		})
	}
	if n := len(w.Tokens("")); n != 0 {
		t.Errorf("%d tokens were made", n)
	}
}

// A token that somebody has found must not end what else its user has.
func TestTokensRevoke(t *testing.T) {
	w := newWorld(t)
	id := w.is(w.mustLogin("viewer"))
	made := func() Token {
		tok, _, err := w.CreateToken(as("root"), "viewer", NewToken{Name: "x", Permissions: []Permission{CallsRead}})
		if err != nil {
			t.Fatal(err)
		}
		return tok
	}
	one, other := made(), made()
	by := func(token string, perms ...Permission) context.Context {
		return With(context.Background(), &Identity{User: "viewer", Token: token, Permissions: perms})
	}
	for _, tc := range []struct {
		name string
		do   func() error
		want error
	}{
		{"another token", func() error { return w.RevokeToken(by(one.ID, CallsRead), other.ID) }, ErrSession},
		{"a session", func() error { return w.RevokeSession(by(one.ID, CallsRead), id.Session) }, ErrSession},
		{"itself", func() error { return w.RevokeToken(by(one.ID, CallsRead), one.ID) }, nil},
		{"another, as a manager", func() error { return w.RevokeToken(by("m", UsersManage), other.ID) }, nil},
		{"a session, as a manager", func() error { return w.RevokeSession(by("m", UsersManage), id.Session) }, nil},
		{"once more", func() error { return w.RevokeSession(by("m", UsersManage), id.Session) }, ErrNotFound},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if err := tc.do(); !errors.Is(err, tc.want) {
				t.Errorf("error %v, want %v", err, tc.want)
			}
		})
	}
	if len(w.Tokens("viewer")) != 0 || len(w.Sessions("viewer")) != 0 {
		t.Errorf("left: %v, %v", w.Tokens("viewer"), w.Sessions("viewer"))
	}
}

func FuzzParseToken(f *testing.F) {
	f.Add("rst_0123456789abcdef_" + strings.Repeat("0f", 32))
	f.Add("rst__")
	f.Fuzz(func(t *testing.T, s string) {
		id, secret, ok := parseToken(s)
		if ok && (len(secret) != 32 || !strings.HasPrefix(s, "rst_"+id+"_") || len(id) != 16) {
			t.Errorf("%q is read as %q, %x", s, id, secret)
		}
	})
}

// Everything at once, for the race detector.
func TestConcurrent(t *testing.T) {
	w := newWorld(t)
	cookie := w.mustLogin("viewer")
	var wg sync.WaitGroup
	for i := range 4 {
		for _, do := range []func(){
			func() { w.is(cookie) },
			func() { _, _ = w.login("viewer", good+"!", "192.0.2."+string(rune('1'+i))) },
			func() { w.Sessions(""); w.Tokens(""); w.Users(); w.Stats() },
			func() {
				if tok, _, err := w.CreateToken(as("root"), "viewer", NewToken{Name: "x", Permissions: []Permission{CallsRead}}); err == nil {
					_ = w.RevokeToken(as("root"), tok.ID)
				}
			},
			func() { _ = w.SetPreferences("viewer", []byte(`{"theme":"dark"}`)); w.Preferences("viewer") },
			func() {
				_, _ = w.Audit.Query(context.Background(), AuditFilter{})
				_, _ = w.Audit.Verify(context.Background())
			},
			func() { w.add(time.Second); _ = w.flushTouches(w.now(), true) },
		} {
			wg.Go(func() {
				for range 5 {
					do()
				}
			})
		}
	}
	wg.Wait()
	if w.is(cookie) == nil {
		t.Error("the session does not hold")
	}
	if v, err := w.Audit.Verify(context.Background()); err != nil || len(v.Breaks) > 0 {
		t.Errorf("audit: %+v, %v", v, err)
	}
}
