package e2e

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"ringside/appliance/daemon"
	"ringside/flow/record"
)

// inNamespace tells the test binary that it runs in a network namespace of its
// own, where it may listen and capture as it likes.
const inNamespace = "RINGSIDE_TEST_NAMESPACE"

// The way of a call in the namespace: sipp → clear hop → a TLS client → TLS hop
// → a TLS server → sipp.
const (
	clearHop  = "127.0.0.1:5060"
	tlsHop    = "127.0.0.1:5061"
	serverHop = "127.0.0.1:5070"

	sippCalls = 3
)

// TestTLSCalls makes calls with sipp that go over TCP in clear and then over TLS,
// captures both hops, and reads them: the calls are the same.
func TestTLSCalls(t *testing.T) {
	if os.Getenv(inNamespace) == "" {
		enterNamespace(t)
		return
	}
	run(t, "ip", "link", "set", "lo", "up")
	ecc, rsaCert := makeCertificate(t, false), makeCertificate(t, true)
	for _, tc := range []struct {
		name    string
		version uint16
		suite   uint16 // of TLS 1.2
		cert    tls.Certificate
		openssl string // argument that chooses the version: OpenSSL is the client
		private bool   // the server's key opens it, not a key log
	}{
		{"1.3 with OpenSSL", tls.VersionTLS13, 0, ecc, "-tls1_3", false},
		{"1.2 with OpenSSL", tls.VersionTLS12, tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, ecc, "-tls1_2", false},
		{"1.3", tls.VersionTLS13, 0, rsaCert, "", false},
		{"1.2 with ChaCha20", tls.VersionTLS12, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256, rsaCert, "", false},
		{"1.2 with an RSA key", tls.VersionTLS12, tls.TLS_RSA_WITH_AES_128_CBC_SHA, rsaCert, "", true},
	} {
		if testing.Short() && tc.openssl == "" && !tc.private { // for the race detector, which is slow
			continue
		}
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			log := filepath.Join(dir, "keys.log")
			server := &tls.Config{Certificates: []tls.Certificate{tc.cert}, MinVersion: tc.version, MaxVersion: tc.version}
			client := &tls.Config{InsecureSkipVerify: true, MinVersion: tc.version, MaxVersion: tc.version}
			if tc.suite != 0 {
				server.CipherSuites, client.CipherSuites = []uint16{tc.suite}, []uint16{tc.suite}
			}
			encrypt := func() (io.ReadWriteCloser, error) { return openSSL(log, tc.openssl) }
			if tc.openssl == "" {
				f, err := os.Create(log)
				if err != nil {
					t.Fatal(err)
				}
				defer f.Close()
				client.KeyLogWriter = f
				encrypt = func() (io.ReadWriteCloser, error) { return tls.Dial("tcp", tlsHop, client) }
			}
			all := filepath.Join(dir, "all.pcap")
			captureCalls(t, dir, all, server, encrypt)

			o := daemon.ReadOptions{KeyLogs: []string{log}}
			if tc.private {
				o.KeyLogs, o.RSAKeys = nil, []string{filepath.Join(dir, "key.pem")}
				writeKey(t, o.RSAKeys[0], tc.cert)
			}
			inClear := hop(t, all, "port 5060 or udp")
			encrypted := hop(t, all, "port 5061 or udp")
			compareHops(t, readKeyed(t, daemon.ReadOptions{}, inClear), readKeyed(t, o, encrypted))

			blind := readKeyed(t, daemon.ReadOptions{}, encrypted)
			if len(blind.calls) != 0 || len(blind.orphans) == 0 {
				t.Errorf("without keys: %d calls, %d streams of no call", len(blind.calls), len(blind.orphans))
			}
			if !slices.ContainsFunc(blind.report.Ledger, func(r daemon.LedgerRow) bool { return r.Reason == "tls-encrypted" && r.Count > 0 }) {
				t.Errorf("without keys: encrypted signalling is not counted: %+v", blind.report.Ledger)
			}
		})
	}
}

// enterNamespace runs the test again in a network namespace of its own.
func enterNamespace(t *testing.T) {
	t.Helper()
	for _, name := range []string{"ip", "tcpdump", "sipp", "openssl"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("no %s here: on Debian, apt-get install iproute2 tcpdump sip-tester openssl", name)
		}
	}
	args := []string{"-test.run=^TestTLSCalls$", "-test.v", "-test.timeout=5m"}
	if testing.Short() {
		args = append(args, "-test.short")
	}
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), inNamespace+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	out, err := cmd.CombinedOutput()
	switch {
	case errors.Is(err, syscall.EPERM):
		t.Skipf("no right to make a network namespace: run the test as root: %v", err)
	case err != nil:
		t.Errorf("in the namespace: %v\n%s", err, out)
	case !bytes.Contains(out, []byte("--- PASS: TestTLSCalls/")):
		t.Errorf("in the namespace nothing was tested:\n%s", out)
	}
}

func run(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}

// background starts a program that is stopped, with time to finish, by the
// function it returns.
func background(t *testing.T, name string, args ...string) (out *bytes.Buffer, stop func()) {
	t.Helper()
	out = &bytes.Buffer{}
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stop = func() {
		cancel()
		_ = cmd.Wait() // sipp says that it was stopped
	}
	t.Cleanup(cancel)
	return out, stop
}

// captureCalls makes calls over both hops while tcpdump listens.
func captureCalls(t *testing.T, dir, file string, server *tls.Config, encrypt func() (io.ReadWriteCloser, error)) {
	t.Helper()
	in, err := tls.Listen("tcp", tlsHop, server)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	go forward(in, func() (io.ReadWriteCloser, error) { return net.Dial("tcp", serverHop) })
	plain, err := net.Listen("tcp", clearHop)
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	go forward(plain, encrypt)

	said, stopCapture := background(t, "tcpdump", "-i", "lo", "-n", "-s", "0", "-B", "8192", "--immediate-mode", "-U", "-w", file)
	_, stopCalled := background(t, "sipp", "-sn", "uas", "-i", "127.0.0.1", "-p", "5070", "-t", "t1", "-mp", "7000", "-rtp_echo", "-nostdin")
	waitFor(t, "the called side", func() bool {
		c, err := net.Dial("tcp", serverHop)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	waitFor(t, "tcpdump", func() bool { _, err := os.Stat(file); return err == nil })

	scenario, sound := filepath.Join(dir, "uac.xml"), filepath.Join(dir, "sound.raw")
	if err := os.WriteFile(scenario, []byte(strings.ReplaceAll(callerScenario, "SOUND", sound)), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(sound, bytes.Repeat([]byte{0x55, 0xd5}, 2400), 0o644); err != nil { // 600 ms
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	caller := exec.CommandContext(ctx, "sipp", "-sf", scenario, "-i", "127.0.0.1", "-p", "5080", "-t", "t1",
		"-m", fmt.Sprint(sippCalls), "-l", "1", "-r", "10", "-nostdin", clearHop)
	caller.Dir = dir
	if out, err := caller.CombinedOutput(); err != nil {
		t.Fatalf("sipp: %v\n%s", err, out)
	}
	stopCalled()
	stopCapture()
	if !strings.Contains(said.String(), "0 packets dropped by kernel") {
		t.Fatalf("tcpdump did not keep up:\n%s", said)
	}
}

// waitFor waits until something is so.
func waitFor(t *testing.T, what string, so func() bool) {
	t.Helper()
	for range 1000 {
		if so() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("%s does not come up", what)
}

// forward passes connections on to those that dial makes.
func forward(l net.Listener, dial func() (io.ReadWriteCloser, error)) {
	for {
		a, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer a.Close()
			b, err := dial()
			if err != nil {
				return // the calls fail, and say so
			}
			defer b.Close()
			go func() {
				_, _ = io.Copy(a, b)
				a.Close()
			}()
			_, _ = io.Copy(b, a)
		}()
	}
}

// openSSL is a connection that OpenSSL makes over the TLS hop.
func openSSL(log, version string) (io.ReadWriteCloser, error) {
	cmd := exec.Command("openssl", "s_client", "-quiet", version, "-connect", tlsHop, "-keylogfile", log)
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	return piped{out, in, cmd}, cmd.Start()
}

// piped is a program as a connection.
type piped struct {
	io.Reader
	io.WriteCloser
	cmd *exec.Cmd
}

func (p piped) Close() error {
	return errors.Join(p.WriteCloser.Close(), p.cmd.Wait())
}

// makeCertificate makes a key and a certificate.
func makeCertificate(t *testing.T, rsaKey bool) tls.Certificate {
	t.Helper()
	var key, public any
	if rsaKey {
		k, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			t.Fatal(err)
		}
		key, public = k, &k.PublicKey
	} else {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		key, public = k, &k.PublicKey
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "sip.example.org"},
		NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<32, 0),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func writeKey(t *testing.T, path string, cert tls.Certificate) {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

// hop takes the packets of one hop, and the media, out of a capture.
func hop(t *testing.T, all, filter string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "hop.pcap")
	run(t, "tcpdump", "-r", all, "-w", path, filter)
	return path
}

// readKeyed reads a capture with 1 and 4 workers, which must agree.
func readKeyed(t *testing.T, o daemon.ReadOptions, path string) reading {
	t.Helper()
	var one reading
	for _, workers := range []int{1, 4} {
		var r reading
		o := o
		o.Paths, o.Workers = []string{path}, workers
		o.Call = func(c *record.Call) { r.calls = append(r.calls, c) }
		o.Orphan = func(s *record.Stream) { r.orphans = append(r.orphans, s) }
		rd, err := daemon.NewRead(o)
		if err != nil {
			t.Fatal(err)
		}
		if err := rd.Run(context.Background()); err != nil {
			t.Fatal(err)
		}
		if r.report = rd.Report(); !r.report.Balanced {
			t.Errorf("%d workers: the ledger does not balance: %+v", workers, r.report.Ledger)
		}
		if workers == 1 {
			one = r
		} else if dump(t, &r) != dump(t, &one) {
			t.Errorf("%d workers: other records than one worker", workers)
		}
	}
	return one
}

// compareHops compares the calls of both hops: all but addresses, transport,
// and times by as much as the way from hop to hop takes.
func compareHops(t *testing.T, inClear, encrypted reading) {
	t.Helper()
	if len(inClear.calls) != sippCalls || len(encrypted.calls) != sippCalls {
		t.Fatalf("%d calls in clear, and %d encrypted, want %d", len(inClear.calls), len(encrypted.calls), sippCalls)
	}
	byCallID := func(a, b *record.Call) int { return strings.Compare(a.CallID, b.CallID) }
	slices.SortFunc(inClear.calls, byCallID)
	slices.SortFunc(encrypted.calls, byCallID)
	for i, want := range inClear.calls {
		got := encrypted.calls[i]
		if got.Transport != record.TLS || got.Flags&record.Encrypted == 0 || want.Transport != record.TCP {
			t.Errorf("call %s came over %s and %s, %v", got.CallID, want.Transport, got.Transport, got.Flags.Names())
		}
		if want.Outcome != record.Answered || len(want.Streams) != 2 || want.Streams[0].Packets < 20 {
			t.Errorf("call %s in clear is %s and has %d streams", want.CallID, want.Outcome, len(want.Streams))
		}
		wantTimes, gotTimes := withoutHop(want), withoutHop(got)
		a, b := asJSON(t, want), asJSON(t, got)
		if a != b {
			t.Errorf("call %s differs: in clear\n%s\nencrypted\n%s", want.CallID, a, b)
		}
		if len(wantTimes) != len(gotTimes) {
			t.Fatalf("call %s: %d times in clear, %d encrypted", want.CallID, len(wantTimes), len(gotTimes))
		}
		for i := range wantTimes {
			if d := time.Duration(gotTimes[i] - wantTimes[i]).Abs(); d > time.Second {
				t.Errorf("call %s: time %d differs by %v", want.CallID, i, d)
			}
		}
	}
}

// withoutHop takes out of a call what depends on the hop, and returns its times.
func withoutHop(c *record.Call) (times []int64) {
	take := func(at *int64) {
		if *at != 0 {
			times = append(times, *at)
			*at = 1
		}
	}
	for _, at := range []*int64{&c.Start, &c.Trying, &c.Ring, &c.Answer, &c.ByeAt, &c.End, &c.Last} {
		take(at)
	}
	for i := range c.Legs {
		take(&c.Legs[i].First)
		take(&c.Legs[i].Answer)
	}
	client := c.Messages[0].Src
	for i := range c.Messages {
		m := &c.Messages[i]
		take(&m.Time)
		// From the caller's side or to it; the same on both hops.
		m.Dst = netip.AddrPortFrom(netip.IPv4Unspecified(), uint16(1+b2i(m.Src == client)))
		m.Src = netip.AddrPort{}
	}
	for i := range c.Media {
		take(&c.Media[i].From)
	}
	c.ID, c.Transport, c.Flags = 0, 0, c.Flags&^record.Encrypted
	c.Caller.Addr, c.Called.Addr = netip.AddrPort{}, netip.AddrPort{}
	return times
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

func asJSON(t *testing.T, c *record.Call) string {
	t.Helper()
	b, err := json.MarshalIndent(c, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%s %v", b, c.Flags.Names())
}

// callerScenario is a call of sipp with sound, which the called side echoes.
const callerScenario = `<?xml version="1.0" encoding="UTF-8" ?>
<scenario name="caller">
<send><![CDATA[
INVITE sip:bob@[remote_ip]:[remote_port] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: "Alice" <sip:alice@example.org>;tag=a[call_number]
To: <sip:bob@example.org>
Call-ID: [call_id]
CSeq: 1 INVITE
Contact: <sip:alice@[local_ip]:[local_port];transport=[transport]>
Max-Forwards: 70
User-Agent: sipp
Content-Type: application/sdp
Content-Length: [len]

v=0
o=alice 1 1 IN IP4 [local_ip]
s=-
c=IN IP4 [local_ip]
t=0 0
m=audio [rtpstream_audio_port] RTP/AVP 8
a=rtpmap:8 PCMA/8000
]]></send>
<recv response="180" optional="true"/>
<recv response="200" rtd="true"/>
<send><![CDATA[
ACK sip:bob@[remote_ip]:[remote_port] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: "Alice" <sip:alice@example.org>;tag=a[call_number]
To: <sip:bob@example.org>[peer_tag_param]
Call-ID: [call_id]
CSeq: 1 ACK
Max-Forwards: 70
Content-Length: 0

]]></send>
<pause milliseconds="200"/>
<nop><action><exec rtp_stream="SOUND,1,8,PCMA/8000"/></action></nop>
<pause milliseconds="800"/>
<send><![CDATA[
BYE sip:bob@[remote_ip]:[remote_port] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: "Alice" <sip:alice@example.org>;tag=a[call_number]
To: <sip:bob@example.org>[peer_tag_param]
Call-ID: [call_id]
CSeq: 2 BYE
Max-Forwards: 70
Content-Length: 0

]]></send>
<recv response="200"/>
</scenario>
`
