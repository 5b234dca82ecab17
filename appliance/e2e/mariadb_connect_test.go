package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ringside/bench/traffic"
)

// someTraffic is a minute of calls, as bytes of a capture and as its path.
func someTraffic(t *testing.T, seed uint64) (string, *traffic.Truth) {
	t.Helper()
	return generate(t, traffic.Options{
		Seed: seed, Calls: 120, Rate: 2, Talk: traffic.Length{Mean: time.Second}, Digits: 0.3, RTCP: true, Background: 1, Format: traffic.PcapNano,
	})
}

// TestReconnect: connections end between batches, because the server is restarted,
// or because it thinks that they have been idle for too long; it goes on by
// itself, with a queue and without.
func TestReconnect(t *testing.T) {
	withoutRace(t)
	t.Parallel()
	path, truth := someTraffic(t, 111)
	capture := readFile(t, path)
	for _, tc := range []struct {
		name     string
		queue    bool
		restarts bool
		args     []string
	}{
		{"restarted, with a queue", true, true, nil},
		{"restarted, without", false, true, nil},
		{"idle for too long, with a queue", true, false, []string{"--wait-timeout=1", "--interactive-timeout=1"}},
		{"idle for too long, without", false, false, []string{"--wait-timeout=1", "--interactive-timeout=1"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			server := startMariaDB(t, tc.args...)
			at := onServer(server, "ringside")
			records := filepath.Join(t.TempDir(), "records.json")
			args := []string{"--db", at.db, "--json", records}
			if tc.queue {
				args = append(args, "--queue", filepath.Join(t.TempDir(), "queue"))
			}
			f := feed(t, capture, args...)
			makeSchema(t, at.db)
			calls := func() string { return at.rowsOf(t, "SELECT COUNT(*) FROM calls")[0][0] }
			last := "0"
			for range 3 {
				f.give(t, len(capture)/4, 5, 20*time.Millisecond)
				holdsSoon(t, "more calls are in the store", func() bool { return calls() != last })
				time.Sleep(2500 * time.Millisecond) // all batches are stored, and the connection is idle
				last = calls()
				if tc.restarts {
					ok(t, server.Stop())
					ok(t, server.Start())
				}
			}
			f.end(t)
			if said := f.errs.String(); strings.Contains(said, "wait in") || strings.Contains(said, "parked") {
				t.Errorf("something is left: %s", said)
			}
			checkStored(t, at, records, truth)
		})
	}
}

// TestSmallPackets: a server that takes packets of no more than 16 KiB is given
// none that are larger, with a queue and without. A record that is larger by
// itself is parked, and stored once the server takes it.
func TestSmallPackets(t *testing.T) {
	withoutRace(t)
	path, truth := someTraffic(t, 112)
	server := startMariaDB(t, "--max-allowed-packet=16K")
	queue := filepath.Join(t.TempDir(), "queue")
	for _, flags := range [][]string{nil, {"--queue", queue}} {
		at := onServer(server, fmt.Sprintf("small_%d", len(flags)))
		records := filepath.Join(t.TempDir(), "records.json")
		_, said := ringside(t, 0, append([]string{"read", "--quiet", "--db", at.db, "--json", records, path}, flags...)...)
		if said != "" {
			t.Errorf("it says %q", said)
		}
		checkStored(t, at, records, truth)
	}

	w := newTape(t)
	for i, size := range []int{100, 16 << 10, 200} {
		m := w.alice(fmt.Sprint("text", i))
		m.ask(time.Duration(4*i)*sec, "MESSAGE", body("text/plain", strings.Repeat("x", size)))
		m.answer(time.Duration(4*i)*sec+20*msec, "202 Accepted")
	}
	w.idle(100 * sec)
	at := onServer(server, "large")
	if _, said := ringside(t, 0, "read", "--quiet", "--db", at.db, "--queue", queue, w.path()); !strings.Contains(said, "rejected 1 records") {
		t.Errorf("it says %q", said)
	}
	if parked, _ := ringside(t, 0, "store", "parked", "--queue", queue); !strings.Contains(parked, `"text1`) || !strings.Contains(parked, "max_allowed_packet") {
		t.Errorf("parked: %s", parked)
	}
	at.sql(t, "SET GLOBAL max_allowed_packet = 1 << 20")
	if done, _ := ringside(t, 0, "store", "retry", "--db", at.db, "--queue", queue); !strings.HasPrefix(done, "1 records stored, 0 wait, 0 are parked") {
		t.Errorf("retry says %q", done)
	}
	if rows := at.rowsOf(t, "SELECT LENGTH(message) FROM message ORDER BY calldate"); fmt.Sprint(rows) != "[[100] [16384] [200]]" {
		t.Errorf("the lengths of the texts are %v", rows)
	}
}

// TestConnectErrors: what is wrong with a connection is said so that it can be
// mended. Without a queue the read fails at once; with one the records wait.
func TestConnectErrors(t *testing.T) {
	withoutRace(t)
	dir := forServers(t)
	ca := newAuthority(t, dir, "ca")
	stranger := newAuthority(t, dir, "stranger")
	cert, key := ca.issue(t, dir, "server", "db.example")
	clientCert, clientKey := ca.issue(t, dir, "client", "ringside")
	port := freePort(t)
	server := startMariaDB(t, "--ssl-cert="+cert, "--ssl-key="+key, "--ssl-ca="+ca.path,
		"--skip-networking=0", "--bind-address=127.0.0.1", fmt.Sprintf("--port=%d", port))
	root := onServer(server, "mysql")
	root.sql(t, "CREATE DATABASE ringside; CREATE DATABASE other;"+
		"CREATE USER calls@'%' IDENTIFIED BY 'p@ss:w/rd' REQUIRE SSL; GRANT ALL PRIVILEGES ON ringside.* TO calls@'%';"+
		"CREATE USER known@'%' IDENTIFIED BY 'x' REQUIRE X509; GRANT ALL PRIVILEGES ON ringside.* TO known@'%'")
	path, truth := someTraffic(t, 113)
	secret := filepath.Join(dir, "password")
	ok(t, os.WriteFile(secret, []byte("p@ss:w/rd\n"), 0o600))
	at := func(login, database, options string) string {
		return fmt.Sprintf("mysql://%s@127.0.0.1:%d/%s?%s", login, port, database, options)
	}
	tls := "tls=yes&tls-name=db.example&tls-ca=" + ca.path
	for _, tc := range []struct{ name, db, says string }{
		{"wrong password", at("calls:wrong", "ringside", tls), "does not let calls in"},
		{"no password", at("calls", "ringside", tls), "does not let calls in"},
		{"TLS is asked for, and off here", at("calls:p%40ss%3Aw%2Frd", "ringside", ""), "does not let calls in"},
		{"a certificate is asked for", at("known:x", "ringside", tls), "does not let known in"},
		{"unknown authority", at("calls:p%40ss%3Aw%2Frd", "ringside", "tls=yes&tls-name=db.example&tls-ca="+stranger.path), "give tls-ca=FILE"},
		{"another name", at("calls:p%40ss%3Aw%2Frd", "ringside", "tls=yes&tls-ca="+ca.path), "give tls-name=NAME"},
		{"no rights", at("calls:p%40ss%3Aw%2Frd", "other", tls), "GRANT ALL PRIVILEGES ON `other`.* TO 'calls'"},
		{"nobody listens", fmt.Sprintf("mysql://calls@127.0.0.1:%d/ringside", freePort(t)), "is it running"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if _, err := quietly("read", "--quiet", "--db", tc.db, path); err == nil {
				t.Fatal("it can be read")
			}
			said, _ := quietly("read", "--quiet", "--db", tc.db, path)
			if !strings.Contains(said, tc.says) || strings.Contains(said, "w/rd") || strings.Count(said, "\n") != 1 {
				t.Errorf("without a queue it says %q, want a line with %q", said, tc.says)
			}
			queue := filepath.Join(t.TempDir(), "queue")
			said, err := quietly("read", "--quiet", "--db", tc.db, "--queue", queue, path)
			if err != nil {
				return // it cannot be told from a mistake that waiting does not mend
			}
			if !strings.Contains(said, tc.says) || !strings.Contains(said, "wait in") {
				t.Errorf("with a queue it says %q, want %q", said, tc.says)
			}
			out := filepath.Join(t.TempDir(), "records.json")
			ringside(t, 0, "read", "--quiet", "--json", out, path)
			right := onServer(server, "ringside")
			root.sql(t, "DROP DATABASE ringside; CREATE DATABASE ringside")
			ringside(t, 0, "store", "retry", "--db", at("calls", "ringside", tls+"&password-file="+secret), "--queue", queue)
			checkStored(t, right, out, truth)
		})
	}
	for name, db := range map[string]string{
		"TLS":                   at("calls:p%40ss%3Aw%2Frd", "ringside", tls),
		"password in a file":    at("calls", "ringside", tls+"&password-file="+secret),
		"any certificate":       at("calls", "ringside", "tls=skip-verify&password-file="+secret),
		"certificate of client": at("known:x", "ringside", tls+"&tls-cert="+clientCert+"&tls-key="+clientKey),
	} {
		t.Run(name, func(t *testing.T) {
			root.sql(t, "DROP DATABASE ringside; CREATE DATABASE ringside")
			records := filepath.Join(t.TempDir(), "records.json")
			ringside(t, 0, "read", "--quiet", "--db", db, "--json", records, path)
			checkStored(t, onServer(server, "ringside"), records, truth)
			if out, _ := ringside(t, 0, "calls", "--count", "--db", db); strings.TrimSpace(out) != fmt.Sprint(len(truth.Calls)) {
				t.Errorf("it counts %q", out)
			}
		})
	}
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ok(t, err)
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// authority issues certificates.
type authority struct {
	path string // of its own
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	last int64
}

func newAuthority(t *testing.T, dir, name string) *authority {
	t.Helper()
	a := &authority{path: filepath.Join(dir, name+".pem"), last: 1}
	var err error
	a.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	ok(t, err)
	a.cert = &x509.Certificate{SerialNumber: big.NewInt(a.last), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, a.cert, a.cert, a.key.Public(), a.key)
	ok(t, err)
	writePEM(t, a.path, "CERTIFICATE", der)
	return a
}

// issue makes a certificate of a name with its key.
func (a *authority) issue(t *testing.T, dir, file, name string) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	ok(t, err)
	a.last++
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(a.last), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}, a.cert, private.Public(), a.key)
	ok(t, err)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	ok(t, err)
	cert, key = filepath.Join(dir, file+"-cert.pem"), filepath.Join(dir, file+"-key.pem")
	writePEM(t, cert, "CERTIFICATE", der)
	writePEM(t, key, "PRIVATE KEY", pkcs8)
	return cert, key
}

func writePEM(t *testing.T, path, kind string, der []byte) {
	t.Helper()
	ok(t, os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o644))
}
