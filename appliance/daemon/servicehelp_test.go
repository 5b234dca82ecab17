package daemon

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"ringside/bench/traffic"
)

// said are the lines of a service.
type said struct {
	mu    sync.Mutex
	lines []string
}

func (s *said) say(line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines = append(s.lines, line)
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.lines, "\n")
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("waited for a minute: " + what)
		}
	}
}

// running is a service that runs.
type running struct {
	*Service
	t     *testing.T
	said  *said
	end   context.CancelFunc
	ended chan error
}

// serving runs a service in the background. What is not set is put below dir.
func serving(t *testing.T, dir string, o ServiceOptions) *running {
	t.Helper()
	r := &running{t: t, said: new(said), ended: make(chan error, 1)}
	o.Version, o.StateDir, o.Log = "test", filepath.Join(dir, "state"), NewLog(r.said.say)
	if o.Control == "" {
		o.Control = filepath.Join(dir, "c.sock")
	}
	var err error
	if r.Service, err = OpenService(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithCancel(context.Background())
	r.end = end
	go func() { r.ended <- r.Service.Run(ctx) }()
	t.Cleanup(end)
	return r
}

// stop ends the service in order.
func (r *running) stop() {
	r.t.Helper()
	r.end()
	select {
	case err := <-r.ended:
		if err != nil {
			r.t.Errorf("the service ended with: %v\n%s", err, r.said)
		}
	case <-time.After(time.Minute):
		r.t.Fatal("the service does not end")
	}
}

func (r *running) control() *Control { return NewControl(r.o.Control) }

// web asks the port of the web UI as somebody with a cookie. Where that was too often
// it waits, as clients do: a test that waits for something asks as fast as it can.
func (r *running) web(method, path, cookie, body string) (int, http.Header, []byte) {
	r.t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		status, h, b := r.webOnce(method, path, cookie, body)
		if status != http.StatusTooManyRequests || !bytes.Contains(b, []byte("rate-limited")) || time.Now().After(end) {
			return status, h, b
		}
	}
}

func (r *running) webOnce(method, path, cookie, body string) (int, http.Header, []byte) {
	r.t.Helper()
	req, err := http.NewRequest(method, strings.TrimSuffix(r.url(), "/")+path, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if cookie != "" {
		req.Header.Set("Cookie", cookie)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Minute}
	res, err := client.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		r.t.Fatalf("%s %s: %v", method, path, err)
	}
	return res.StatusCode, res.Header, b
}

// login makes the first account, with a right to hear, and returns its cookie.
func (r *running) login() string {
	r.t.Helper()
	body := fmt.Sprintf(`{"token":%q,"user":"admin","password":"correct horse battery"}`, r.auth.SetupToken())
	status, h, b := r.web("POST", "/api/v1/setup", "", body)
	if status != http.StatusCreated {
		r.t.Fatalf("setup: %d %s", status, b)
	}
	cookie, _, _ := strings.Cut(h.Get("Set-Cookie"), ";")
	status, _, b = r.web("PATCH", "/api/v1/users/admin", cookie, `{"roles":["admin","analyst","listener","operator"]}`)
	if status != http.StatusOK {
		r.t.Fatalf("more roles: %d %s", status, b)
	}
	return r.cookie()
}

// cookie is that of another login of the first account.
func (r *running) cookie() string {
	r.t.Helper()
	status, h, b := r.web("POST", "/api/v1/session", "", `{"user":"admin","password":"correct horse battery"}`)
	if status != http.StatusOK {
		r.t.Fatalf("login: %d %s", status, b)
	}
	cookie, _, _ := strings.Cut(h.Get("Set-Cookie"), ";")
	return cookie
}

// get asks for JSON.
func (r *running) get(path, cookie string, to any) {
	r.t.Helper()
	status, _, b := r.web("GET", path, cookie, "")
	if status != http.StatusOK {
		r.t.Fatalf("%s: %d %s", path, status, b)
	}
	if err := json.Unmarshal(b, to); err != nil {
		r.t.Fatalf("%s: %v in %s", path, err, b)
	}
}

// capturing are the options of a service that captures a file from rings that are
// made up, into a store and a spool.
func capturingFile(t *testing.T, dir string) (ServiceOptions, *fakeRings) {
	t.Helper()
	g, err := traffic.New(traffic.Options{Seed: 5, Calls: 40, Rate: 2, RTCP: true, Talk: traffic.Length{Mean: 2 * time.Second}})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "calls.pcap")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	totals, err := g.Run(t.Context(), f, nil)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	rings := openFake(t, path, 1, totals.Frames)
	spool := filepath.Join(dir, "spool")
	if err := os.MkdirAll(spool, 0o755); err != nil {
		t.Fatal(err)
	}
	quota := SpoolQuota{Total: 1 << 30, Reserve: 1 << 20}
	return ServiceOptions{
		Live: &LiveOptions{
			ReadOptions:    ReadOptions{Spool: &SpoolOptions{Dir: spool, AllowRoot: true, Memory: 16 << 20, Quota: quota}},
			CaptureOptions: CaptureOptions{RingMemory: 1 << 20},
			Interfaces:     []string{"made-up0"}, open: rings.port(0),
		},
		Store: StoreOptions{Path: filepath.Join(dir, "calls.db"), Queue: filepath.Join(dir, "queue")},
		Spool: []SpoolDir{{Dir: spool, Limits: quota}},
		HTTP:  HTTPOptions{Addr: "127.0.0.1:0"}, Manager: "127.0.0.1:0",
	}, rings
}

// fds is how many descriptors this process has open.
func fds(t *testing.T) int {
	t.Helper()
	if l, err := net.Listen("tcp", "127.0.0.1:0"); err == nil { // the runtime's own come with the first socket
		l.Close()
	}
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}
