package auth

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// cheap is a cost with which tests hash in microseconds.
var cheap = Cost{Memory: 64, Time: 1, Threads: 1}

const good = "correct horse battery"

// clock is a time that tests set.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func newClock() *clock { return &clock{t: time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// world is an Auth with a clock, and what it has logged.
type world struct {
	*Auth
	*clock
	t   *testing.T
	log *bytes.Buffer
}

func open(t *testing.T, dir string, change func(*Options)) *world {
	t.Helper()
	c, log := newClock(), &bytes.Buffer{}
	o := Options{Dir: dir, Cost: cheap, Now: c.now, Log: slog.New(slog.NewTextHandler(log, nil))}
	if change != nil {
		change(&o)
	}
	a, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return &world{a, c, t, log}
}

// newWorld has an admin "root" and users of the names of their roles.
func newWorld(t *testing.T) *world {
	t.Helper()
	w := open(t, t.TempDir(), nil)
	w.user("root", Admin)
	// The others in one step: each that is synced takes its time.
	err := w.users.update(false, func(f *accounts) error {
		for _, r := range []Role{Viewer, Analyst, Listener, Operator} {
			u := f.Users[0]
			u.Name, u.Roles, u.Stamp = string(r), []Role{r}, newStamp()
			f.Users = append(f.Users, u)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) user(name string, roles ...Role) {
	w.t.Helper()
	if _, err := w.CreateUser(as("test"), NewUser{Name: name, Password: good, Roles: roles}); err != nil {
		w.t.Fatal(err)
	}
}

// as is a context of somebody at the machine.
func as(user string) context.Context { return With(context.Background(), Local(user)) }

// request is one from an address, with a cookie or none.
func request(method, from string, cookies ...*http.Cookie) *http.Request {
	r := httptest.NewRequest(method, "http://ringside.example/api/v1/calls", nil)
	r.RemoteAddr = netip.AddrPortFrom(netip.MustParseAddr(from), 40000).String()
	for _, c := range cookies {
		r.AddCookie(c)
	}
	return r
}

// login logs in and returns the cookie.
func (w *world) login(name, password, from string) (*http.Cookie, error) {
	w.t.Helper()
	rec := httptest.NewRecorder()
	_, err := w.Login(rec, request("POST", from), name, password)
	if err != nil {
		if len(rec.Result().Cookies()) > 0 {
			w.t.Error("a login that failed sends a cookie")
		}
		return nil, err
	}
	return rec.Result().Cookies()[0], nil
}

func (w *world) mustLogin(name string) *http.Cookie {
	w.t.Helper()
	c, err := w.login(name, good, "192.0.2.1")
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// who sends a request through the middleware and returns who it was of, why
// nobody, and the status.
func (w *world) who(r *http.Request) (id *Identity, status int, why error) {
	w.t.Helper()
	rec := httptest.NewRecorder()
	w.Middleware(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		id, why = From(r.Context()), Why(r.Context())
	})).ServeHTTP(rec, r)
	return id, rec.Code, why
}

func (w *world) is(cookie *http.Cookie) *Identity {
	w.t.Helper()
	id, _, _ := w.who(request("GET", "192.0.2.1", cookie))
	return id
}

// actions are what the audit lists, the oldest first, as "action outcome".
func (w *world) actions(f AuditFilter) (out []string) {
	w.t.Helper()
	page, err := w.Audit.Query(context.Background(), f)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, e := range page.Entries {
		out = append([]string{e.Action + " " + string(e.Outcome)}, out...)
	}
	return out
}

func TestSetup(t *testing.T) {
	dir := t.TempDir()
	w := open(t, dir, nil)
	token := w.SetupToken()
	if len(token) != 32 || !w.NeedsSetup() {
		t.Fatalf("setup token %q, needs setup %v", token, w.NeedsSetup())
	}
	if info, err := os.Stat(filepath.Join(dir, "setup-token")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("file of the setup token: %v, %v", info, err)
	}
	if again := open(t, dir, nil).SetupToken(); again != token {
		t.Errorf("another start has the token %q, not %q", again, token)
	}
	setup := func(token, name, password string) (*httptest.ResponseRecorder, error) {
		rec := httptest.NewRecorder()
		_, err := w.Setup(rec, request("POST", "192.0.2.9"), token, name, password)
		return rec, err
	}
	var bad *InvalidError
	if _, err := setup(strings.Repeat("0", 32), "admin", good); !errors.Is(err, ErrSetup) {
		t.Errorf("wrong token: %v", err)
	}
	if _, err := setup(token, "admin", "short"); !errors.As(err, &bad) || bad.Field != "password" {
		t.Errorf("short password: %v", err)
	}
	rec, err := setup(token, "Admin", good)
	if err != nil {
		t.Fatal(err)
	}
	if id := w.is(rec.Result().Cookies()[0]); id == nil || id.User != "admin" || !id.Can(UsersManage) || !id.Can(AudioRead) {
		t.Errorf("first admin: %+v", id)
	}
	if _, err := os.Stat(filepath.Join(dir, "setup-token")); !os.IsNotExist(err) || w.SetupToken() != "" {
		t.Errorf("the setup token is there after setup: %v", err)
	}
	if _, err := setup(token, "second", good); !errors.Is(err, ErrSetupDone) {
		t.Errorf("second setup: %v", err)
	}
	if strings.Contains(w.log.String(), token) {
		t.Error("the audit tells the setup token")
	}
}

// Of many who use the token at once one becomes admin.
func TestSetupRace(t *testing.T) {
	w := open(t, t.TempDir(), nil)
	token := w.SetupToken()
	var wg sync.WaitGroup
	made := make(chan string, 8)
	for i := range cap(made) {
		wg.Go(func() {
			name := "admin" + string(rune('a'+i))
			if _, err := w.Setup(httptest.NewRecorder(), request("POST", "192.0.2.9"), token, name, good); err == nil {
				made <- name
			}
		})
	}
	wg.Wait()
	if len(made) != 1 || len(w.Users()) != 1 {
		t.Errorf("%d admins were made, there are %v", len(made), w.Users())
	}
}

func TestLogin(t *testing.T) {
	w := newWorld(t)
	off := true
	if _, err := w.UpdateUser(as("root"), "operator", UserChange{Disabled: &off}); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name, user, password string
		want                 error
	}{
		{"right", "viewer", good, nil},
		{"name in capitals", " Viewer ", good, nil},
		{"wrong password", "viewer", good + "x", ErrCredentials},
		{"empty password", "viewer", "", ErrCredentials},
		{"unknown user", "nobody", good, ErrCredentials},
		{"disabled user", "operator", good, ErrCredentials},
		{"no name", "", good, ErrCredentials},
		{"hostile name", "a\nb\x00" + strings.Repeat("x", 9000), good, ErrCredentials},
		{"huge password", "viewer", strings.Repeat("x", 1<<20), ErrCredentials},
	} {
		t.Run(tc.name, func(t *testing.T) {
			before := w.hasher.hashed.Load()
			if _, err := w.login(tc.user, tc.password, "192.0.2.1"); !errors.Is(err, tc.want) {
				t.Errorf("login: %v, want %v", err, tc.want)
			}
			// Whoever measures how long it takes learns nothing of accounts.
			if n := w.hasher.hashed.Load() - before; n != 1 {
				t.Errorf("%d hashes, want 1", n)
			}
		})
	}
	if u, _ := w.User("viewer"); u.LastLogin == nil || u.LastLogin.From != "192.0.2.1" {
		t.Errorf("last login: %+v", u.LastLogin)
	}
	if strings.Contains(w.log.String(), good) {
		t.Error("the audit tells a password")
	}
}

// A login with a hash of older costs renews it, and the session holds.
func TestRehash(t *testing.T) {
	w := newWorld(t)
	w.hasher.cost.Time = 2
	cookie := w.mustLogin("viewer")
	f, _ := w.users.view()
	if p, err := parsePHC(f.find("viewer").Hash); err != nil || p.cost.Time != 2 {
		t.Errorf("cost after the login: %+v, %v", p.cost, err)
	}
	if w.is(cookie) == nil {
		t.Error("the session has ended with the new hash")
	}
	w.mustLogin("viewer")
}

func TestChangePassword(t *testing.T) {
	w := newWorld(t)
	if err := w.SetPassword(as("root"), "viewer", good+" 1", true); err != nil {
		t.Fatal(err)
	}
	cookie, err := w.login("viewer", good+" 1", "192.0.2.1")
	if err != nil {
		t.Fatal(err)
	}
	other, _ := w.login("viewer", good+" 1", "192.0.2.2")
	id := w.is(cookie)
	if id == nil || id.Can(CallsRead) || !errors.Is(id.Require(CallsRead), ErrMustChange) {
		t.Fatalf("before the change: %+v", id)
	}
	change := func(old, fresh string) (*httptest.ResponseRecorder, error) {
		rec := httptest.NewRecorder()
		r := request("POST", "192.0.2.1")
		_, err := w.ChangePassword(rec, r.WithContext(With(r.Context(), id)), old, fresh)
		return rec, err
	}
	var bad *InvalidError
	if _, err := change("wrong password", good+" 2"); !errors.Is(err, ErrCredentials) {
		t.Errorf("wrong old password: %v", err)
	}
	if _, err := change(good+" 1", good+" 1"); !errors.As(err, &bad) {
		t.Errorf("same password: %v", err)
	}
	rec, err := change(good+" 1", good+" 2")
	if err != nil {
		t.Fatal(err)
	}
	if w.is(cookie) != nil || w.is(other) != nil {
		t.Error("sessions hold after the password has changed")
	}
	if id := w.is(rec.Result().Cookies()[0]); !id.Can(CallsRead) {
		t.Errorf("after the change: %+v", id)
	}
}

// Accounts that a command changes beside the daemon hold with its next request.
func TestTwoProcesses(t *testing.T) {
	w := newWorld(t)
	other := open(t, w.o.Dir, nil)
	cookie := w.mustLogin("viewer")
	if other.is(cookie) == nil {
		t.Error("the other does not know the session")
	}
	off := true
	if _, err := other.UpdateUser(as("root"), "viewer", UserChange{Disabled: &off}); err != nil {
		t.Fatal(err)
	}
	if w.is(cookie) != nil {
		t.Error("the session of a disabled user holds")
	}
	var wg sync.WaitGroup
	for i := range 8 {
		by := []*world{w, other}[i%2]
		wg.Go(func() { by.user("user"+string(rune('a'+i)), Viewer) })
	}
	wg.Wait()
	if n := len(w.Users()); n != 13 || len(other.Users()) != n {
		t.Errorf("%d and %d users, want 13", n, len(other.Users()))
	}
	if v, err := w.Audit.Verify(context.Background()); err != nil || len(v.Breaks) > 0 || v.Entries < 10 {
		t.Errorf("audit of two processes: %+v, %v", v, err)
	}
}

func TestBrokenFiles(t *testing.T) {
	for _, tc := range []struct{ name, file, content, want string }{
		{"not JSON", "users.json", `{"version":1,`, "users.json.bak"},
		{"empty", "users.json", "", "users.json.bak"},
		{"more behind", "users.json", `{"version":1} {}`, "follows the end"},
		{"unknown key", "users.json", `{"version":1,"user":[]}`, `unknown field "user"`},
		{"newer version", "users.json", `{"version":2}`, "version 2"},
		{"unknown role", "users.json", `{"version":1,"users":[{"name":"x","hash":"` + validPHC + `","roles":["god"],"stamp":"1"}]}`, `"god" is none`},
		{"plain password", "users.json", `{"version":1,"users":[{"name":"x","hash":"secret","roles":["admin"],"stamp":"1"}]}`, "user x: read hash"},
		{"name twice", "users.json", `{"version":1,"users":[{"name":"x","hash":"` + validPHC + `","roles":["admin"],"stamp":"1"},{"name":"x"}]}`, "there twice"},
		{"token", "users.json", `{"version":1,"tokens":[{"id":"x"}]}`, `token "x"`},
		{"sessions", "sessions.json", `[]`, "everybody logs in again"},
		{"session", "sessions.json", `{"sessions":[{"hash":"short"}]}`, "everybody logs in again"},
		{"preferences", "preferences.json", `x`, "saved filters"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, tc.file)
			if err := os.WriteFile(path, []byte(tc.content), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := Open(Options{Dir: dir})
			if err == nil || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("error %v, want one with %q and the path", err, tc.want)
			}
		})
	}
}

// A file of sessions that a later program has written is taken back by an older one.
func TestNewerSessions(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "sessions.json"), []byte(`{"sessions":[],"later":1}`), 0o600); err != nil {
		t.Fatal(err)
	}
	open(t, dir, nil)
}

// What is broken while the daemon runs changes nothing until it is put right.
func TestBrokenWhileRunning(t *testing.T) {
	w := newWorld(t)
	path := filepath.Join(w.o.Dir, "users.json")
	was, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	cookie := w.mustLogin("viewer")
	if w.Check() == nil || w.is(cookie) == nil {
		t.Errorf("check %v, identity %v", w.Check(), w.is(cookie))
	}
	if _, err := w.CreateUser(as("root"), NewUser{Name: "new", Password: good, Roles: []Role{Viewer}}); err == nil || !strings.Contains(err.Error(), "users.json.bak") {
		t.Errorf("create a user beside a broken file: %v", err)
	}
	if err := os.WriteFile(path, was, 0o600); err != nil {
		t.Fatal(err)
	}
	if w.Check() != nil || w.is(cookie) == nil {
		t.Errorf("put right: check %v", w.Check())
	}
}

// A crash while a file is written leaves the old one whole.
func TestCrashWhileSaving(t *testing.T) {
	w := newWorld(t)
	half := filepath.Join(w.o.Dir, ".users.json.123")
	if err := os.WriteFile(half, []byte(`{"version":1,"users":[{"na`), 0o600); err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(half, old, old); err != nil {
		t.Fatal(err)
	}
	again := open(t, w.o.Dir, nil)
	if n := len(again.Users()); n != 5 {
		t.Errorf("%d users after the crash, want 5", n)
	}
	if _, err := os.Stat(half); !os.IsNotExist(err) {
		t.Errorf("what the crash has left is there: %v", err)
	}
}

// A child that is being started has the descriptors of its parent until its program
// runs: the lock goes all the same.
func TestUnlockBesideChild(t *testing.T) {
	dir := t.TempDir()
	unlock, err := lockDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	childs := -1
	for _, f := range files {
		if to, err := os.Readlink("/proc/self/fd/" + f.Name()); err == nil && to == filepath.Join(dir, "lock") {
			n, err := strconv.Atoi(f.Name())
			if err != nil {
				t.Fatal(err)
			}
			if childs, err = syscall.Dup(n); err != nil {
				t.Fatal(err)
			}
		}
	}
	if childs < 0 {
		t.Fatal("no file is open for the lock")
	}
	defer syscall.Close(childs)
	unlock()
	if unlock, err = lockDir(dir); err != nil {
		t.Fatal(err)
	}
	unlock()
}

// A full disk, or one that is read-only, keeps nobody from logging in.
func TestDiskFull(t *testing.T) {
	w := newWorld(t)
	// A directory in the way of the audit's lock, and of the file's: nothing can be written.
	for _, lock := range []string{"lock", "audit/lock"} {
		path := filepath.Join(w.o.Dir, lock)
		if err := errors.Join(os.Remove(path), os.Mkdir(path, 0o700)); err != nil {
			t.Fatal(err)
		}
	}
	cookie := w.mustLogin("viewer")
	if w.is(cookie) == nil {
		t.Error("the session does not hold")
	}
	if err := w.Audit.Write(Entry{Action: "call.pcap"}); err == nil {
		t.Error("the audit has written an entry nowhere")
	}
	if !strings.Contains(w.log.String(), "session not written") || !strings.Contains(w.log.String(), "audit entry not written") {
		t.Errorf("log: %s", w.log)
	}
}
