package daemon

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"ringside/flow/call"
	"ringside/flow/sip"
)

// The service manager hears that the service is ready, that it lives, that it
// reloads and when, and that it stops (sd_notify(3)).
func TestNotify(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify.sock")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_USEC", "30000000")
	t.Setenv("WATCHDOG_PID", fmt.Sprint(os.Getpid()))
	dir := t.TempDir()
	o, rings := capturingFile(t, dir)
	s := serving(t, dir, o)
	<-rings.quiet
	heard := make(map[string]string)
	listen := func(until string) {
		t.Helper()
		b := make([]byte, 64<<10)
		for end := time.Now().Add(time.Minute); ; {
			if _, ok := heard[until]; ok {
				return
			}
			_ = l.SetReadDeadline(end)
			n, err := l.Read(b)
			if err != nil {
				t.Fatalf("waited for %s: %v; heard %v", until, err, heard)
			}
			for line := range strings.SplitSeq(string(b[:n]), "\n") {
				key, value, _ := strings.Cut(line, "=")
				if key == "WATCHDOG" && heard["READY"] == "" {
					t.Error("it lives before it is ready")
				}
				heard[key] = value
			}
		}
	}
	listen("READY")
	if s.notify.watchdog != 30*time.Second || !strings.Contains(heard["STATUS"], "calls") {
		t.Errorf("watchdog %v, status %q", s.notify.watchdog, heard["STATUS"])
	}
	listen("WATCHDOG")
	s.notify.reloading()
	listen("MONOTONIC_USEC")
	if heard["RELOADING"] != "1" || heard["MONOTONIC_USEC"] == "" {
		t.Errorf("%v", heard)
	}
	s.stop()
	listen("STOPPING")
}

func TestBudget(t *testing.T) {
	options := func(change func(*LiveOptions)) *LiveOptions {
		o := &LiveOptions{Interfaces: []string{"a", "b"}, CaptureOptions: CaptureOptions{RingMemory: 64 << 20}}
		o.Spool = &SpoolOptions{Memory: 256 << 20}
		change(o)
		return o
	}
	for _, tc := range []struct {
		name   string
		o      *LiveOptions
		limit  int64
		says   string // of an error
		calls  int
		others map[string]int64
	}{
		{name: "plenty", o: options(func(*LiveOptions) {}), limit: 64 << 30, calls: mostCalls, others: map[string]int64{"rings": 128 << 20, "spool": 256 << 20}},
		{name: "dedicated", o: options(func(o *LiveOptions) { o.Dedicated, o.KernelMeter = true, true }), limit: 64 << 30, calls: mostCalls,
			others: map[string]int64{"feeds": 128 << 20, "meters": 2 * meterBytes}},
		{name: "little", o: options(func(*LiveOptions) {}), limit: 1 << 30},
		{name: "too little", o: options(func(*LiveOptions) {}), limit: 512 << 20, says: "does not fit"},
		{name: "asked for too much", o: options(func(o *LiveOptions) { o.Limits.MaxCalls = 10_000_000 }), limit: 8 << 30, says: "does not fit"},
		{name: "as asked for", o: options(func(o *LiveOptions) { o.Limits.MaxCalls = 5 }), limit: 8 << 30, calls: 5},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b, err := budgetOf(tc.o, tc.limit, "by the test")
			if tc.says != "" {
				if !errors.Is(err, ErrBadOption) || !strings.Contains(err.Error(), tc.says) {
					t.Errorf("%v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if b.Sum() > tc.limit || tc.o.Limits.MaxCalls < 1 || tc.o.MaxStreams < 1 || tc.calls != 0 && tc.o.Limits.MaxCalls != tc.calls {
				t.Errorf("%s; %d calls, %d streams", b, tc.o.Limits.MaxCalls, tc.o.MaxStreams)
			}
			heap := int64(0)
			for _, p := range b.Parts {
				if p.Heap {
					heap += p.Bytes
				}
				if want, ok := tc.others[p.Name]; ok && p.Bytes != want {
					t.Errorf("%s: %d, want %d", p.Name, p.Bytes, want)
				}
				delete(tc.others, p.Name)
			}
			if len(tc.others) > 0 {
				t.Errorf("not counted: %v", tc.others)
			}
			if b.heapLimit() < heap {
				t.Errorf("the heap gets %d, and may need %d", b.heapLimit(), heap)
			}
		})
	}
}

// What is remembered is the last quarter of an hour, in order; of files the last
// ones stay.
func TestFlight(t *testing.T) {
	f := flight{dir: t.TempDir()}
	for i := range flightSpan + 7 {
		f.add(sample{Active: uint64(i)})
	}
	got := f.samples()
	if len(got) != flightSpan || got[0].Active != 7 || got[len(got)-1].Active != flightSpan+6 || f.last().Active != flightSpan+6 {
		t.Errorf("%d samples from %d to %d", len(got), got[0].Active, got[len(got)-1].Active)
	}
	at := time.Unix(1_800_000_000, 0)
	for i := range flightFiles + 3 {
		path, err := f.write(at.Add(time.Duration(i)*flightEvery), []string{"why"})
		if err != nil || path == "" {
			t.Fatalf("%q, %v", path, err)
		}
		if again, err := f.write(at.Add(time.Duration(i)*flightEvery+time.Second), nil); again != "" || err != nil {
			t.Errorf("a second later: %q, %v", again, err)
		}
	}
	list := f.recordings()
	b, err := os.ReadFile(list[0])
	if len(list) != flightFiles || err != nil || strings.Count(string(b), "\n") != flightSpan+1 || !strings.Contains(string(b), `"why"`) {
		t.Errorf("%d files; %v", len(list), err)
	}
}

// Who listens to SIP gets copies, as fast as it takes them, and is told what it
// missed; the shards wait for nobody.
func TestTap(t *testing.T) {
	var tap tap
	text := []byte("OPTIONS sip:b@b SIP/2.0\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\r\nFrom: <sip:a@a>;tag=1\r\nTo: <sip:b@b>\r\nCall-ID: one\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n")
	var m sip.Message
	if _, err := m.Parse(text); err != nil {
		t.Fatal(err)
	}
	tap.message(&m, &call.Meta{}) // nobody listens
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	block, got, done := make(chan struct{}), make(chan SIPMessage, 10*tapRate), make(chan error, 1)
	go func() {
		done <- tap.listen(ctx, func(m *SIPMessage) error {
			<-block
			got <- *m
			return nil
		})
	}()
	eventually(t, "somebody listens", func() bool { return tap.listeners.Load() != nil })
	for range 2 * tapQueue {
		tap.message(&m, &call.Meta{})
	}
	clear(text) // what was lent is taken back
	close(block)
	first := <-got
	if id := first.Parsed.Get(first.Parsed.CallID); string(id) != "one" || first.Missed != 0 {
		t.Errorf("%q, missed %d", id, first.Missed)
	}
	eventually(t, "what was missed is told", func() bool {
		tap.message(&m, &call.Meta{})
		for {
			select {
			case m := <-got:
				if m.Missed > 0 {
					return true
				}
			default:
				return false
			}
		}
	})
	cancel()
	if err := <-done; err != nil || tap.listeners.Load() != nil {
		t.Errorf("%v; %v", err, tap.listeners.Load())
	}
}

// The socket of a process that is gone is taken over; that of one that lives is not.
func TestControlSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "below", "c.sock")
	first, err := listenControl(path)
	if err != nil {
		t.Fatal(err)
	}
	if i, err := os.Stat(path); err != nil || i.Mode().Perm() != 0o660 {
		t.Errorf("%v, %v", i.Mode(), err)
	}
	if _, err := listenControl(path); !errors.Is(err, ErrPort) {
		t.Errorf("twice: %v", err)
	}
	first.(*net.UnixListener).SetUnlinkOnClose(false)
	first.Close() // as kill -9 does
	second, err := listenControl(path)
	if err != nil {
		t.Fatalf("after a crash: %v", err)
	}
	second.Close()
	if err := NewControl(path).Get(t.Context(), "GET", "/status", nil); !errors.Is(err, ErrNotRunning) {
		t.Errorf("nobody is there: %v", err)
	}
}

func TestHTTPOptions(t *testing.T) {
	for _, tc := range []struct {
		o    HTTPOptions
		says string
	}{
		{HTTPOptions{Addr: "127.0.0.1:8080"}, ""},
		{HTTPOptions{Addr: "[::1]:8080"}, ""},
		{HTTPOptions{Addr: "localhost:8080"}, ""},
		{HTTPOptions{Addr: "0.0.0.0:8080"}, "in the clear"},
		{HTTPOptions{Addr: ":8080"}, "in the clear"},
		{HTTPOptions{Addr: "192.0.2.1:8080"}, "in the clear"},
		{HTTPOptions{Addr: "example.com:8080"}, "in the clear"},
		{HTTPOptions{Addr: "192.0.2.1:8080", Insecure: true}, ""},
		{HTTPOptions{Addr: "192.0.2.1:8080", Cert: "c", Key: "k"}, ""},
		{HTTPOptions{Addr: "127.0.0.1:8080", Cert: "c"}, "go together"},
		{HTTPOptions{Addr: "8080"}, "an address and a port"},
	} {
		err := tc.o.check()
		if (err == nil) != (tc.says == "") || err != nil && !(strings.Contains(err.Error(), tc.says) && errors.Is(err, ErrBadOption)) {
			t.Errorf("%+v: %v", tc.o, err)
		}
	}
}

// issue writes a certificate for 127.0.0.1 and its key.
func issue(t *testing.T, cert, key string, serial int64) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(serial), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	b, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	for path, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: b}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// With a certificate the web UI speaks TLS, its cookies go nowhere else, and a
// certificate that is renewed is used without a restart.
func TestServiceTLS(t *testing.T) {
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	issue(t, cert, key, 1)
	s := serving(t, dir, ServiceOptions{HTTP: HTTPOptions{Addr: "127.0.0.1:0", Cert: cert, Key: key}})
	client := http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}}
	serial := func() int64 {
		res, err := client.Get(s.url())
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		return res.TLS.PeerCertificates[0].SerialNumber.Int64()
	}
	if !strings.HasPrefix(s.url(), "https://") || serial() != 1 {
		t.Errorf("%s, certificate %d", s.url(), serial())
	}
	old := http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}}}
	if _, err := old.Get(s.url()); err == nil {
		t.Error("TLS 1.1 is spoken")
	}
	s.stop()

	c := &certificate{cert: cert, key: key}
	if _, err := c.get(nil); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		change func()
		serial int64
	}{
		{func() { issue(t, cert, key, 2) }, 2},
		{func() { _ = os.WriteFile(key, []byte("half"), 0o600) }, 2}, // being replaced
	} {
		step.change()
		later := time.Now().Add(time.Duration(step.serial) * time.Hour)
		_ = os.Chtimes(key, later, later)
		c.looked = time.Time{}
		pair, err := c.get(nil)
		if err != nil {
			t.Fatal(err)
		}
		leaf, err := x509.ParseCertificate(pair.Certificate[0])
		if err != nil || leaf.SerialNumber.Int64() != step.serial {
			t.Errorf("certificate %v, want %d (%v)", leaf.SerialNumber, step.serial, err)
		}
	}
	if _, err := (&certificate{cert: "not-there", key: key}).get(nil); err == nil || !strings.Contains(err.Error(), "not-there") {
		t.Errorf("no file: %v", err)
	}
}

// Workers that stand still are found out, and then the service manager is not told
// any more that all is well.
func TestStandstill(t *testing.T) {
	dir := t.TempDir()
	o, rings := capturingFile(t, dir)
	hold := make(chan struct{})
	o.Live.Message = func(*sip.Message, *call.Meta) { <-hold } // a worker that hangs
	s := serving(t, dir, o)
	eventually(t, "a worker is missed", func() bool { return s.stalled.Load() != 0 })
	now := time.Now()
	if !s.movesAt(now) || s.movesAt(now.Add(standstill+time.Second)) {
		t.Error("one that hangs for a moment is all right, one that hangs for longer is not")
	}
	close(hold)
	<-rings.quiet
	eventually(t, "it moves again", func() bool { return s.stalled.Load() == 0 })
	eventually(t, "it is fine", func() bool { return slices.Contains([]string{StateHealthy, StateDegraded}, s.Status().Health.State) })
	s.stop()
}

// When all is read the service goes on with what was found: calls, their packets
// and their sound, though nothing is captured any more.
func TestServiceReads(t *testing.T) {
	dir := t.TempDir()
	o, rings := capturingFile(t, dir)
	rings.Close()
	read := o.Live.ReadOptions
	read.Paths, read.Workers = []string{filepath.Join(dir, "calls.pcap")}, 2
	o.Live, o.Read, o.Store.Patient = nil, &read, true
	s := serving(t, dir, o)
	eventually(t, "all is read", func() bool { return strings.Contains(s.said.String(), "everything is read") })
	cookie := s.login()
	var list struct {
		Items []struct {
			ID     string
			CallID string `json:"call_id"`
		}
	}
	eventually(t, "every call is there", func() bool {
		s.get("/api/v1/calls?limit=100", cookie, &list)
		return len(list.Items) == 40
	})
	s.checkCall("/api/v1/calls/"+list.Items[7].ID, cookie, list.Items[7].CallID)
	eventually(t, "it is idle", func() bool { return s.Status().Health.State == StateIdle })
	s.stop()
	if r := s.Report(); !r.Balanced || r.Early {
		t.Errorf("%+v", r)
	}
}
