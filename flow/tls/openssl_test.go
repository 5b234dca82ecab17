package tls

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/pem"
	"io"
	mrand "math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// patience is how long the programs of a test may take for one step.
const patience = 20 * time.Second

// watched is the output of a program, to be waited for.
type watched struct {
	mu   sync.Mutex
	b    bytes.Buffer
	more chan struct{}
}

func (w *watched) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	select {
	case w.more <- struct{}{}:
	default:
	}
	return w.b.Write(b)
}

func (w *watched) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.String()
}

func (w *watched) wait(t *testing.T, text string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for !strings.Contains(w.String(), text) {
		select {
		case <-w.more:
		case <-ctx.Done():
			all := w.String()
			t.Fatalf("no %q came; the end of the output:\n%s", text, all[max(0, len(all)-2000):])
		}
	}
}

// program is one that runs.
type program struct {
	cmd      *exec.Cmd
	in       io.WriteCloser
	out, err *watched
}

func start(t *testing.T, args ...string) *program {
	t.Helper()
	p := &program{cmd: exec.Command("openssl", args...), out: &watched{more: make(chan struct{}, 1)}, err: &watched{more: make(chan struct{}, 1)}}
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.err
	var err error
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.stop)
	return p
}

func (p *program) stop() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

// leave ends a client as it likes to: its session may be resumed.
func (p *program) leave(t *testing.T) {
	t.Helper()
	p.in.Close()
	gone := make(chan error, 1)
	go func() { gone <- p.cmd.Wait() }()
	select {
	case err := <-gone:
		if err != nil {
			t.Fatalf("openssl s_client: %v\n%s", err, p.err)
		}
	case <-time.After(patience):
		t.Fatal("openssl s_client does not leave")
	}
}

func (p *program) say(t *testing.T, text string) {
	t.Helper()
	if _, err := io.WriteString(p.in, text); err != nil {
		t.Fatal(err)
	}
}

// relay passes connections on from one socket to another, and records them.
func relay(t *testing.T, from, to string) <-chan *tape {
	t.Helper()
	l, err := net.Listen("unix", from)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	tapes := make(chan *tape, 16)
	go func() {
		for {
			a, err := l.Accept()
			if err != nil {
				return
			}
			b, err := net.Dial("unix", to)
			if err != nil {
				a.Close()
				continue
			}
			r := &tape{}
			tapes <- r
			go carry(side{b, r, true}, a)
			go carry(side{a, r, false}, b)
		}
	}()
	return tapes
}

func carry(to, from net.Conn) {
	_, _ = io.Copy(struct{ io.Writer }{to}, from)
	to.Close()
}

// lab is an OpenSSL server behind a relay.
type lab struct {
	dir    string
	server *program
	tapes  <-chan *tape
	keys   *Keys // of all connections
	rsa    []byte
}

func newLab(t *testing.T, args ...string) *lab {
	t.Helper()
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip("no openssl here to talk to")
	}
	// Socket names must be short.
	dir, err := os.MkdirTemp("", "tls")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	l := &lab{dir: dir, keys: NewKeys()}
	for _, ecc := range []bool{true, false} {
		cert, text := certificate(t, ecc)
		name := "rsa"
		if ecc {
			der, err := x509.MarshalECPrivateKey(cert.PrivateKey.(*ecdsa.PrivateKey))
			if err != nil {
				t.Fatal(err)
			}
			name, text = "ecc", pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})
		} else {
			l.rsa = text
		}
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]})...)
		if err := os.WriteFile(l.path(name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	l.server = start(t, append([]string{"s_server", "-unix", l.path("server"), "-unlink",
		"-cert", l.path("rsa"), "-key", l.path("rsa"), "-dcert", l.path("ecc"), "-dkey", l.path("ecc")}, args...)...)
	for until := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		if _, err := os.Stat(l.path("server")); err == nil {
			break
		}
		if time.Now().After(until) {
			t.Fatalf("openssl s_server does not start:\n%s", l.server.err)
		}
	}
	l.tapes = relay(t, l.path("relay"), l.path("server"))
	return l
}

func (l *lab) path(name string) string { return filepath.Join(l.dir, name) }

func (l *lab) connect(t *testing.T, args ...string) (*program, *tape) {
	t.Helper()
	c := start(t, append([]string{"s_client", "-unix", l.path("relay"), "-servername", "sip.example.org",
		"-keylogfile", l.path("log")}, args...)...)
	select {
	case r := <-l.tapes:
		return c, r
	case <-time.After(patience):
		t.Fatalf("openssl s_client does not connect:\n%s%s", c.out, c.err)
	}
	return nil, nil
}

// converse has the client and the server say lines to each other in turns.
// Lines that are commands to OpenSSL begin with a capital letter alone.
func (l *lab) converse(t *testing.T, c *program, k talk) {
	t.Helper()
	for i, b := range k {
		from, to := c, l.server
		if i%2 == 1 {
			from, to = l.server, c
		}
		from.say(t, string(b))
		to.out.wait(t, string(b))
	}
}

// pieces are what was recorded, with the client gone.
func (l *lab) pieces(t *testing.T, c *program, r *tape) []piece {
	t.Helper()
	c.stop()
	log, err := os.ReadFile(l.path("log"))
	if err != nil {
		t.Fatal(err)
	}
	if err := l.keys.ReadLog(bytes.NewReader(log)); err != nil {
		t.Fatal(err)
	}
	return r.copy()
}

func (r *tape) copy() []piece {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.pieces)
}

// lines is what the two say; every line is another, so that it can be waited for.
func lines() talk {
	return talk{
		[]byte("OPTIONS sip:a@example.org SIP/2.0\n"), []byte("SIP/2.0 200 Fine\n"),
		[]byte(strings.Repeat("INVITE sip:b@example.org SIP/2.0;", 200) + "end\n"), []byte("SIP/2.0 486 Busy\n"),
	}
}

// hear checks that a connection is heard, whole and cut.
func hear(t *testing.T, keys *Keys, pieces []piece, k talk) Info {
	t.Helper()
	h := listen(NewConn(keys), pieces)
	h.check(t, k)
	r := mrand.New(mrand.NewPCG(3, 4))
	for range 3 {
		h := listen(NewConn(keys), cut(r, pieces))
		h.check(t, k)
	}
	return h.info
}

func TestOpenSSL(t *testing.T) {
	const level0 = ":@SECLEVEL=0"
	for _, tc := range []struct {
		version, suite string
		server, client []string
	}{
		{"-tls1_3", "TLS_AES_128_GCM_SHA256", nil, nil},
		{"-tls1_3", "TLS_AES_256_GCM_SHA384", nil, nil},
		{"-tls1_3", "TLS_CHACHA20_POLY1305_SHA256", nil, nil},
		{"-tls1_3", "TLS_AES_128_CCM_SHA256", nil, nil},
		{"-tls1_3", "TLS_AES_128_CCM_8_SHA256", nil, nil},
		{"-tls1_2", "ECDHE-ECDSA-AES128-GCM-SHA256", nil, nil},
		{"-tls1_2", "DHE-RSA-AES128-GCM-SHA256", nil, nil},
		{"-tls1_2", "DHE-RSA-AES256-GCM-SHA384", nil, nil},
		{"-tls1_2", "DHE-RSA-CHACHA20-POLY1305", nil, nil},
		{"-tls1_2", "DHE-RSA-AES128-CCM", nil, nil},
		{"-tls1_2", "DHE-RSA-AES256-CCM8", nil, nil},
		{"-tls1_2", "ECDHE-ECDSA-AES128-CCM8", nil, nil},
		{"-tls1_2", "ECDHE-ECDSA-AES256-CCM", nil, nil},
		{"-tls1_2", "ADH-AES128-GCM-SHA256" + level0, nil, nil},
		{"-tls1_2", "PSK-AES128-GCM-SHA256", []string{"-psk", "c0ffee"}, []string{"-psk", "c0ffee"}},
		// In CBC mode OpenSSL encrypts, then authenticates.
		{"-tls1_2", "ECDHE-ECDSA-AES256-SHA384", nil, nil},
		{"-tls1_2", "ECDHE-RSA-AES256-SHA384", nil, nil},
		{"-tls1_2", "DHE-RSA-AES256-SHA256", nil, nil},
		{"-tls1_2", "DHE-RSA-AES128-SHA", nil, nil},
		{"-tls1_1", "ECDHE-RSA-AES128-SHA" + level0, nil, nil},
		{"-tls1", "DHE-RSA-AES256-SHA" + level0, nil, nil},
		// The server's key opens these.
		{"-tls1_2", "AES128-GCM-SHA256", nil, nil},
		{"-tls1_2", "AES256-CCM8", nil, nil},
		{"-tls1_2", "AES128-SHA", nil, nil},
		{"-tls1_2", "AES256-SHA256", nil, nil},
		{"-tls1_1", "AES256-SHA" + level0, nil, nil},
		{"-tls1", "AES128-SHA" + level0, nil, nil},
	} {
		t.Run(strings.TrimPrefix(tc.version, "-")+" "+tc.suite, func(t *testing.T) {
			choice := []string{tc.version, "-cipher", tc.suite}
			if tc.version == "-tls1_3" {
				choice = []string{tc.version, "-ciphersuites", tc.suite}
			}
			l := newLab(t, append(append(tc.server, "-quiet"), choice...)...)
			c, r := l.connect(t, append(append(tc.client, "-quiet"), choice...)...)
			k := lines()
			l.converse(t, c, k)
			pieces := l.pieces(t, c, r)
			info := hear(t, l.keys, pieces, k)
			if strings.HasPrefix(info.Suite, "TLS_RSA_") {
				keys := NewKeys()
				if err := keys.AddRSA(l.rsa); err != nil {
					t.Fatal(err)
				}
				hear(t, keys, pieces, k)
			} else if strings.HasPrefix(tc.suite, "AES") {
				t.Errorf("suite %s", info.Suite)
			}
		})
	}
}

// TestOpenSSLWays has what a connection may do beside talking.
func TestOpenSSLWays(t *testing.T) {
	for _, tc := range []struct {
		name           string
		server, client []string
		before         string // the client's line before each of its others
		reply          string // and the server's
	}{
		{"padded records", []string{"-tls1_3", "-quiet", "-record_padding", "512"}, []string{"-quiet", "-record_padding", "100"}, "", ""},
		{"split messages", []string{"-tls1_3", "-quiet", "-max_send_frag", "512"}, []string{"-quiet", "-max_send_frag", "512"}, "", ""},
		{"split messages before 1.3", []string{"-tls1_2", "-quiet", "-max_send_frag", "512"}, []string{"-quiet", "-max_send_frag", "512"}, "", ""},
		{"hello retry request", []string{"-tls1_3", "-quiet", "-groups", "P-384"}, []string{"-quiet", "-groups", "X25519:P-384"}, "", ""},
		{"client certificate", []string{"-tls1_3", "-quiet", "-verify", "1"}, []string{"-quiet", "-cert", "rsa", "-key", "rsa"}, "", ""},
		{"client certificate before 1.3", []string{"-tls1_2", "-quiet", "-cipher", "AES128-SHA", "-verify", "1"}, []string{"-quiet", "-cert", "rsa", "-key", "rsa"}, "", ""},
		{"no middlebox compatibility", []string{"-tls1_3", "-quiet", "-no_middlebox"}, []string{"-quiet", "-no_middlebox"}, "", ""},
		{"client updates keys", []string{"-tls1_3"}, nil, "K\n", ""},
		{"server updates keys", []string{"-tls1_3"}, nil, "", "K\n"},
		{"client renegotiates", []string{"-tls1_2", "-client_renegotiation"}, nil, "R\n", ""},
		{"client renegotiates with RSA", []string{"-tls1_2", "-client_renegotiation", "-cipher", "AES128-SHA"}, nil, "R\n", ""},
		{"server renegotiates", []string{"-tls1_2"}, nil, "", "r\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l := newLab(t, tc.server...)
			for i, a := range tc.client {
				if a == "rsa" {
					tc.client[i] = l.path("rsa")
				}
			}
			c, r := l.connect(t, tc.client...)
			r.quiet(t, 0) // the handshake is over
			k := lines()
			for i, b := range k {
				from, to, command := c, l.server, tc.before
				if i%2 == 1 {
					from, to, command = l.server, c, tc.reply
				}
				if command != "" {
					had := len(r.copy())
					from.say(t, command)
					r.quiet(t, had)
				}
				from.say(t, string(b))
				to.out.wait(t, strings.TrimSpace(string(b)))
			}
			pieces := l.pieces(t, c, r)
			info := hear(t, l.keys, pieces, k)
			if strings.HasPrefix(info.Suite, "TLS_RSA_") {
				keys := NewKeys()
				if err := keys.AddRSA(l.rsa); err != nil {
					t.Fatal(err)
				}
				hear(t, keys, pieces, k)
			}
		})
	}
}

// TestOpenSSLUpdateLost loses the messages that change the keys of TLS 1.3: the
// next keys are found without them.
func TestOpenSSLUpdateLost(t *testing.T) {
	const updateSize = headerLen + 5 + 1 + 16 // of the record with a KeyUpdate
	l := newLab(t, "-tls1_3")
	c, r := l.connect(t)
	r.quiet(t, 0)
	k := lines()
	for i, b := range k {
		from, to := c, l.server
		if i%2 == 1 {
			from, to = l.server, c
		}
		had := len(r.copy())
		from.say(t, "k\n")
		r.quiet(t, had)
		from.say(t, string(b))
		to.out.wait(t, strings.TrimSpace(string(b)))
	}
	conn, lost := NewConn(l.keys), 0
	pieces := l.pieces(t, c, r)
	var h heard
	for _, p := range pieces {
		if len(p.b) == updateSize && p.b[0] == typeApplication {
			lost++
			conn.Gap(p.fromClient, len(p.b))
			continue
		}
		more := listen(conn, []piece{p})
		h.client, h.server = append(h.client, more.client...), append(h.server, more.server...)
		h.states[map[bool]int{true: 0, false: 1}[p.fromClient]] = max(more.states[0], more.states[1])
	}
	if lost != len(k) {
		t.Errorf("%d updates were lost, want %d", lost, len(k))
	}
	h.check(t, k)
}

// quiet waits until more than so many pieces have been written, and no more come.
func (r *tape) quiet(t *testing.T, had int) {
	t.Helper()
	count := func() int { return len(r.copy()) }
	for until := time.Now().Add(patience); count() <= had; time.Sleep(time.Millisecond) {
		if time.Now().After(until) {
			t.Fatal("nothing was sent")
		}
	}
	for n := -1; n != count(); time.Sleep(50 * time.Millisecond) {
		n = count()
	}
}

// TestOpenSSLResumed has sessions that are taken up again, which an RSA key opens
// only for who heard the first connection.
func TestOpenSSLResumed(t *testing.T) {
	for _, tc := range []struct {
		name string
		args []string
		rsa  bool
	}{
		{"session id", []string{"-tls1_2", "-no_ticket", "-cipher", "AES128-SHA"}, true},
		{"ticket", []string{"-tls1_2", "-cipher", "AES128-GCM-SHA256"}, true},
		{"forward secret", []string{"-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256"}, false},
		{"tls 1.3", []string{"-tls1_3"}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l := newLab(t, append([]string{"-quiet"}, tc.args...)...)
			k := lines()
			private := NewKeys()
			if err := private.AddRSA(l.rsa); err != nil {
				t.Fatal(err)
			}
			for i := range 3 {
				name := l.path("session")
				args := append([]string{"-sess_out", name}, tc.args...)
				if i > 0 {
					args = append(args, "-sess_in", name)
				}
				c, r := l.connect(t, args...)
				for i, b := range k {
					from, to := c, l.server
					if i%2 == 1 {
						from, to = l.server, c
					}
					from.say(t, string(b))
					to.out.wait(t, string(b))
				}
				l.server.out.mu.Lock()
				l.server.out.b.Reset()
				l.server.out.mu.Unlock()
				resumed := strings.Contains(c.out.String(), "Reused, ")
				if resumed != (i > 0) {
					t.Errorf("connection %d is resumed: %v", i, resumed)
				}
				c.leave(t)
				pieces := l.pieces(t, c, r)
				hear(t, l.keys, pieces, k)
				if tc.rsa {
					hear(t, private, pieces, k)
				}
			}
		})
	}
}

// TestOpenSSLEarly has 0-RTT data, which is not read, before data that is.
func TestOpenSSLEarly(t *testing.T) {
	for _, accepts := range []bool{true, false} {
		t.Run(map[bool]string{true: "accepted", false: "refused"}[accepts], func(t *testing.T) {
			l := newLab(t, "-tls1_3", "-early_data")
			first, _ := l.connect(t, "-sess_out", l.path("session"))
			l.converse(t, first, lines())
			if accepts {
				first.leave(t)
			} else {
				first.stop() // a session that ends so is forgotten
				l.server.out.wait(t, "ERROR")
			}
			early := strings.Repeat("OPTIONS too early\n", 300)
			if err := os.WriteFile(l.path("early"), []byte(early), 0o600); err != nil {
				t.Fatal(err)
			}
			c, r := l.connect(t, "-sess_in", l.path("session"), "-early_data", l.path("early"))
			l.server.out.wait(t, map[bool]string{true: "OPTIONS too early", false: "Early data was rejected"}[accepts])
			k := talk{[]byte("MESSAGE in time\n"), []byte("SIP/2.0 200 In Time\n")}
			l.converse(t, c, k)
			info := hear(t, l.keys, l.pieces(t, c, r), k)
			if info.Skipped == 0 {
				t.Error("no record of 0-RTT was counted")
			}
		})
	}
}
