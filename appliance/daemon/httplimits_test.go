package daemon

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A name that is made to lead to the loopback gets a page of another site nothing.
func TestOwnHost(t *testing.T) {
	proxies := []netip.Prefix{netip.MustParsePrefix("127.0.0.9/32")}
	h := ownHost(proxies, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	for _, tc := range []struct {
		host, from string
		want       int
	}{
		{"127.0.0.1:8080", "127.0.0.1:5", http.StatusNoContent},
		{"localhost:8080", "127.0.0.1:5", http.StatusNoContent},
		{"LocalHost.", "127.0.0.1:5", http.StatusNoContent},
		{"ringside.localhost", "127.0.0.1:5", http.StatusNoContent},
		{"[::1]:8080", "[::1]:5", http.StatusNoContent},
		{"[::1]", "[::1]:5", http.StatusNoContent},
		{"", "127.0.0.1:5", http.StatusNoContent},
		{"evil.example", "127.0.0.1:5", http.StatusMisdirectedRequest},
		{"evil.example:8080", "127.0.0.1:5", http.StatusMisdirectedRequest},
		{"127.0.0.1.evil.example", "127.0.0.1:5", http.StatusMisdirectedRequest},
		{"localhost.evil.example:8080", "127.0.0.1:5", http.StatusMisdirectedRequest},
		{"notlocalhost", "127.0.0.1:5", http.StatusMisdirectedRequest},
		{"voip.example", "127.0.0.9:5", http.StatusNoContent},
	} {
		t.Run(tc.host, func(t *testing.T) {
			r := httptest.NewRequest("GET", "/", nil)
			r.Host, r.RemoteAddr = tc.host, tc.from
			w := httptest.NewRecorder()
			if h.ServeHTTP(w, r); w.Code != tc.want {
				t.Errorf("%d, want %d", w.Code, tc.want)
			}
		})
	}
}

// One address gets so many connections, all together so many, and those that end
// make room.
func TestBounded(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := newBounded(inner, []netip.Prefix{netip.MustParsePrefix("127.0.0.9/32")}, 4, 2)
	defer l.Close()
	accepted := make(chan net.Conn, 16)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, "x")
			accepted <- c
		}
	}()
	dial := func(from string) bool {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
		c, err := d.Dial("tcp", inner.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		n, _ := c.Read(make([]byte, 1))
		return n == 1
	}
	for i, tc := range []struct {
		from string
		want bool
	}{{"127.0.0.1", true}, {"127.0.0.1", true}, {"127.0.0.1", false}, {"127.0.0.9", true}, {"127.0.0.9", true}, {"127.0.0.2", false}} {
		if got := dial(tc.from); got != tc.want {
			t.Errorf("connection %d from %s: %v, want %v", i, tc.from, got, tc.want)
		}
	}
	first := <-accepted
	first.Close()
	first.Close() // counts once
	if !dial("127.0.0.2") {
		t.Error("a connection that has ended makes no room")
	}
	if dial("127.0.0.3") {
		t.Error("closing twice made room for two")
	}
}

// A body that does not come takes up no connection, wherever it is sent.
func TestTimely(t *testing.T) {
	read := make(chan time.Time, 1)
	write := make(chan time.Time, 1)
	w := &deadlines{ResponseWriter: httptest.NewRecorder(), read: read, write: write}
	timely(http.NotFoundHandler()).ServeHTTP(w, httptest.NewRequest("POST", "/", http.NoBody))
	if len(read) != 0 || len(write) != 1 {
		t.Errorf("without a body: %d, %d deadlines", len(read), len(write))
	}
	<-write
	r := httptest.NewRequest("POST", "/", nil)
	r.ContentLength = -1 // in chunks
	timely(http.NotFoundHandler()).ServeHTTP(w, r)
	if len(read) != 1 || len(write) != 1 {
		t.Errorf("with a body: %d, %d deadlines", len(read), len(write))
	}
}

// deadlines is a ResponseWriter that says which were set.
type deadlines struct {
	http.ResponseWriter
	read, write chan time.Time
}

func (d *deadlines) SetReadDeadline(at time.Time) error  { d.read <- at; return nil }
func (d *deadlines) SetWriteDeadline(at time.Time) error { d.write <- at; return nil }

// What goes wrong inside while somebody is answered is told to who wants warnings
// alone.
func TestPanicIsTold(t *testing.T) {
	var log said
	to := NewLog(log.say)
	to.Set("warn", false)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := newServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("no such row") }), to)
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	if res, err := http.Get("http://" + l.Addr().String()); err == nil {
		res.Body.Close()
		t.Errorf("it answers: %s", res.Status)
	}
	eventually(t, "the log says it", func() bool { return strings.Contains(log.String(), "no such row") })
	if err := errors.Join(server.Close(), <-ended); !errors.Is(err, http.ErrServerClosed) {
		t.Error(err)
	}
}

// A file that was named by mistake is not removed for a socket.
func TestControlNotSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "calls.db")
	if err := os.WriteFile(path, []byte("records"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := listenControl(path); !errors.Is(err, errNotSocket) {
		t.Errorf("%v, want %v", err, errNotSocket)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "records" {
		t.Errorf("the file is %q, %v", b, err)
	}
}

// The manager port has no login: other machines cannot reach it.
func TestManagerOnLoopback(t *testing.T) {
	dir := t.TempDir()
	for addr, want := range map[string]error{"127.0.0.1:0": nil, "0.0.0.0:0": ErrBadOption, ":0": ErrBadOption} {
		s, err := OpenService(t.Context(), ServiceOptions{StateDir: filepath.Join(dir, "state"), Manager: addr, Log: NewLog(func(string) {})})
		if !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", addr, err, want)
		}
		if err == nil {
			s.listeners.close(t.Context())
		}
	}
}
