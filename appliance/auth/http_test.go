package auth

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
)

func TestMiddleware(t *testing.T) {
	w := newWorld(t)
	cookie := w.mustLogin("viewer")
	for _, tc := range []struct {
		name   string
		method string
		cookie *http.Cookie
		header string // "Name: value"
		user   string
		why    error
		status int
	}{
		{"nobody", "GET", nil, "", "", ErrNoLogin, 200},
		{"session", "GET", cookie, "", "viewer", nil, 200},
		{"session that there is not", "GET", &http.Cookie{Name: "ringside", Value: strings.Repeat("A", 43)}, "", "", ErrExpired, 200},
		{"hostile cookie", "GET", &http.Cookie{Name: "ringside", Value: strings.Repeat("../", 2000)}, "", "", ErrExpired, 200},
		{"cookie of TLS without it", "GET", &http.Cookie{Name: "__Host-ringside", Value: cookie.Value}, "", "", ErrNoLogin, 200},
		{"token that there is not", "GET", cookie, "Authorization: Bearer rst_x", "", nil, 401},
		{"other scheme", "GET", cookie, "Authorization: Basic eDp5", "viewer", nil, 200},

		{"change from our page", "POST", cookie, "Sec-Fetch-Site: same-origin", "viewer", nil, 200},
		{"change by a program", "POST", cookie, "", "viewer", nil, 200},
		{"change from another site", "POST", cookie, "Sec-Fetch-Site: cross-site", "", nil, 403},
		{"change from another host of the site", "DELETE", cookie, "Sec-Fetch-Site: same-site", "", nil, 403},
		{"change from another origin, old browser", "PUT", cookie, "Origin: http://evil.example", "", nil, 403},
		{"change from an opaque origin", "POST", cookie, "Origin: null", "", nil, 403},
		{"change from our origin, old browser", "POST", cookie, "Origin: http://ringside.example", "viewer", nil, 200},
		{"login from another site", "POST", nil, "Sec-Fetch-Site: cross-site", "", nil, 403},
		{"link from another site", "GET", cookie, "Sec-Fetch-Site: cross-site", "viewer", nil, 200},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := request(tc.method, "192.0.2.1")
			if tc.cookie != nil {
				r.AddCookie(tc.cookie)
			}
			if name, value, ok := strings.Cut(tc.header, ": "); ok {
				r.Header.Set(name, value)
			}
			id, status, why := w.who(r)
			user := ""
			if id != nil {
				user = id.User
			}
			if user != tc.user || !errors.Is(why, tc.why) || status != tc.status {
				t.Errorf("user %q, why %v, status %d; want %q, %v, %d", user, why, status, tc.user, tc.why, tc.status)
			}
		})
	}
}

func TestRefuse(t *testing.T) {
	w := newWorld(t)
	r := request("GET", "192.0.2.1")
	r.Header.Set("Authorization", "Bearer rst_x")
	rec := httptest.NewRecorder()
	w.Middleware(http.NotFoundHandler()).ServeHTTP(rec, r)
	var problem struct {
		Status int
		Detail string
	}
	if err := json.NewDecoder(rec.Body).Decode(&problem); err != nil || problem.Status != 401 || problem.Detail != ErrToken.Error() {
		t.Errorf("problem %+v, %v", problem, err)
	}
	for name, want := range map[string]string{"Content-Type": "application/problem+json", "Cache-Control": "no-store", "WWW-Authenticate": `Bearer realm="ringside"`} {
		if got := rec.Header().Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if got := w.actions(AuditFilter{Action: "token"}); len(got) == 0 || got[len(got)-1] != "token failed" {
		t.Errorf("audit %q", got)
	}
}

func TestCookie(t *testing.T) {
	w := open(t, t.TempDir(), func(o *Options) { o.TrustedProxies = nets("10.0.0.0/8") })
	w.user("root", Admin)
	for _, tc := range []struct {
		name, from, proto string
		tls, secure       bool
	}{
		{"plain", "192.0.2.1", "", false, false},
		{"TLS", "192.0.2.1", "", true, true},
		{"TLS at a trusted proxy", "10.0.0.1", "https", false, true},
		{"plain at a trusted proxy", "10.0.0.1", "http", false, false},
		{"what anybody says", "192.0.2.1", "https", false, false},
		{"what a client says through a trusted proxy", "10.0.0.1", "https, http", false, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := request("POST", tc.from)
			if tc.tls {
				r.TLS = &tls.ConnectionState{}
			}
			if tc.proto != "" {
				r.Header.Set("X-Forwarded-Proto", tc.proto)
			}
			rec := httptest.NewRecorder()
			if _, err := w.Login(rec, r, "root", good); err != nil {
				t.Fatal(err)
			}
			c := rec.Result().Cookies()[0]
			if c.Secure != tc.secure || strings.HasPrefix(c.Name, "__Host-") != tc.secure || !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.Path != "/" || c.Domain != "" {
				t.Errorf("cookie %s, want secure: %v", c, tc.secure)
			}
		})
	}
}

func TestLogoutTakesTheCookieBack(t *testing.T) {
	w := newWorld(t)
	rec := httptest.NewRecorder()
	r := request("POST", "192.0.2.1", w.mustLogin("viewer"))
	w.Middleware(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if err := w.Logout(rw, r); err != nil {
			t.Error(err)
		}
	})).ServeHTTP(rec, r)
	if c := rec.Result().Cookies(); len(c) != 1 || c[0].MaxAge >= 0 || c[0].Value != "" {
		t.Errorf("cookies %v", c)
	}
	if n := len(w.Sessions("")); n != 0 {
		t.Errorf("%d sessions after the logout", n)
	}
}

func TestClientAddr(t *testing.T) {
	a := &Auth{o: Options{TrustedProxies: nets("10.0.0.0/8", "::1/128")}}
	for _, tc := range []struct {
		name, peer string
		forwarded  []string
		want       string
	}{
		{"direct", "192.0.2.1:5", nil, "192.0.2.1"},
		{"direct, and lies", "192.0.2.1:5", []string{"198.51.100.1"}, "192.0.2.1"},
		{"one proxy", "10.0.0.1:5", []string{"198.51.100.1"}, "198.51.100.1"},
		{"two proxies", "10.0.0.1:5", []string{"198.51.100.1, 10.0.0.2"}, "198.51.100.1"},
		{"two headers", "10.0.0.1:5", []string{"198.51.100.1", "10.0.0.2"}, "198.51.100.1"},
		{"lies before the proxy", "10.0.0.1:5", []string{"127.0.0.1, 198.51.100.1"}, "198.51.100.1"},
		{"no header", "10.0.0.1:5", nil, "10.0.0.1"},
		{"rubbish", "10.0.0.1:5", []string{"198.51.100.1, <script>"}, "10.0.0.1"},
		{"rubbish before a proxy", "10.0.0.1:5", []string{"x, 10.0.0.2"}, "10.0.0.2"},
		{"with a port", "[::1]:5", []string{"198.51.100.1:4711"}, "198.51.100.1"},
		{"IPv6 in brackets", "[::1]:5", []string{"[2001:db8::1]"}, "2001:db8::1"},
		{"IPv4 in IPv6", "[::ffff:10.0.0.1]:5", []string{"::ffff:198.51.100.1"}, "198.51.100.1"},
		{"proxies alone", "10.0.0.1:5", []string{"10.0.0.3, 10.0.0.2"}, "10.0.0.3"},
		{"very many", "10.0.0.1:5", []string{strings.Repeat("198.51.100.1, ", 99999) + "198.51.100.2"}, "198.51.100.2"},
		{"a socket without address", "@", nil, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := httptest.NewRequest("GET", "/", nil)
			r.RemoteAddr = tc.peer
			r.Header["X-Forwarded-For"] = tc.forwarded
			if got := addrString(a.ClientAddr(r)); got != tc.want {
				t.Errorf("client %q, want %q", got, tc.want)
			}
		})
	}
}

func TestIdentityInContext(t *testing.T) {
	if id := From(context.Background()); id != nil || !errors.Is(Why(context.Background()), ErrNoLogin) {
		t.Errorf("identity %+v", id)
	}
	ctx := With(context.Background(), &Identity{User: "x", Session: "s1", From: netip.MustParseAddr("192.0.2.1")})
	if e := NewEntry(ctx, "call.pcap", "7"); e.User != "x" || e.Via != "session s1" || e.From != "192.0.2.1" || Why(ctx) != nil {
		t.Errorf("entry %+v", e)
	}
	if id := Local("root"); !id.Can(AudioRead) || id.Via() != "local" {
		t.Errorf("at the machine: %+v", id)
	}
}

func TestOrigins(t *testing.T) {
	if _, err := Open(Options{Dir: t.TempDir(), Origins: []string{"ringside.example"}}); err == nil || !strings.Contains(err.Error(), `origin "ringside.example"`) {
		t.Errorf("origin without a scheme: %v", err)
	}
	w := open(t, t.TempDir(), func(o *Options) { o.Origins = []string{"https://portal.example"} })
	r := request("POST", "192.0.2.1")
	r.Header.Set("Origin", "https://portal.example")
	if _, status, _ := w.who(r); status != 200 {
		t.Errorf("from an origin that is trusted: %d", status)
	}
}

// What each request costs: two looks at files, and a hash of the cookie.
func BenchmarkMiddleware(b *testing.B) {
	a, err := Open(Options{Dir: b.TempDir(), Cost: cheap})
	if err != nil {
		b.Fatal(err)
	}
	if _, err := a.CreateUser(as("test"), NewUser{Name: "root", Password: good, Roles: []Role{Admin}}); err != nil {
		b.Fatal(err)
	}
	rec := httptest.NewRecorder()
	if _, err := a.Login(rec, request("POST", "192.0.2.1"), "root", good); err != nil {
		b.Fatal(err)
	}
	r := request("GET", "192.0.2.1", rec.Result().Cookies()[0])
	h := a.Middleware(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	b.ReportAllocs()
	for b.Loop() {
		h.ServeHTTP(rec, r)
	}
}

// What a login costs at the cost of production.
func BenchmarkHash(b *testing.B) {
	h := newHasher(CostFor(0), 1, 1)
	for b.Loop() {
		if _, err := h.hash(b.Context(), good); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAuditWrite(b *testing.B) {
	a, err := OpenAudit(AuditOptions{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if err := a.Write(Entry{User: "root", Action: "call.pcap", Object: "4611686018427387904"}); err != nil {
			b.Fatal(err)
		}
	}
}
