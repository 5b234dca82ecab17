package tls

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	gotls "crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	mrand "math/rand/v2"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"
)

// piece is what one side wrote at once.
type piece struct {
	fromClient bool
	b          []byte
}

// tape is a connection as both sides wrote it, in that order.
type tape struct {
	mu     sync.Mutex
	pieces []piece
}

func (r *tape) add(fromClient bool, b []byte) {
	r.mu.Lock()
	r.pieces = append(r.pieces, piece{fromClient, bytes.Clone(b)})
	r.mu.Unlock()
}

// side is one end of a pipe that is recorded.
type side struct {
	net.Conn
	tape   *tape
	client bool
}

func (s side) Write(b []byte) (int, error) {
	s.tape.add(s.client, b)
	return s.Conn.Write(b)
}

// talk is what the two sides of a test say to each other, in turns, the client
// first.
type talk [][]byte

func (k talk) of(client bool) (all []byte) {
	for i, b := range k {
		if (i%2 == 0) == client {
			all = append(all, b...)
		}
	}
	return all
}

// smallTalk is SIP, and one message larger than a record.
func smallTalk() talk {
	large := bytes.Repeat([]byte("INVITE sip:bob@example.org SIP/2.0\r\n"), 1500)
	return talk{
		[]byte("REGISTER sip:example.org SIP/2.0\r\n\r\n"), []byte("SIP/2.0 200 OK\r\n\r\n"),
		large, large[:40000], []byte("\r\n\r\n"), []byte("\r\n"),
	}
}

// converse does the talk over both ends of a connection.
func converse(t testing.TB, client, server io.ReadWriter, k talk) {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- k.run(server, false) }()
	if err := k.run(client, true); err != nil {
		t.Fatalf("client: %v", err)
	}
	if err := <-done; err != nil {
		t.Fatalf("server: %v", err)
	}
}

func (k talk) run(conn io.ReadWriter, client bool) error {
	for i, b := range k {
		if (i%2 == 0) == client {
			if _, err := conn.Write(b); err != nil {
				return err
			}
			continue
		}
		if _, err := io.ReadFull(conn, make([]byte, len(b))); err != nil {
			return err
		}
	}
	return nil
}

// recorded does the talk over TLS as Go speaks it.
func recorded(t testing.TB, client, server *gotls.Config, k talk) []piece {
	t.Helper()
	a, b := socketPair(t) // not net.Pipe: both sides may write at once
	r := &tape{}
	tc, ts := gotls.Client(side{a, r, true}, client), gotls.Server(side{b, r, false}, server)
	converse(t, tc, ts, k)
	a.Close()
	b.Close()
	return r.pieces
}

func socketPair(t testing.TB) (a, b net.Conn) {
	t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	var ends [2]net.Conn
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "socket")
		if ends[i], err = net.FileConn(f); err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	return ends[0], ends[1]
}

// heard is what a Conn made of a connection.
type heard struct {
	client, server []byte // data that each of them sent
	states         [2]State
	info           Info
}

// listen feeds the pieces as they are.
func listen(c *Conn, pieces []piece) (h heard) {
	for _, p := range pieces {
		to, state := &h.client, &h.states[0]
		if !p.fromClient {
			to, state = &h.server, &h.states[1]
		}
		*state = c.Feed(p.fromClient, p.b, func(b []byte) { *to = append(*to, b...) })
	}
	h.info = c.Info()
	return h
}

// check compares what was heard with what was said.
func (h *heard) check(t *testing.T, k talk) {
	t.Helper()
	if h.states != [2]State{Decrypting, Decrypting} {
		t.Errorf("states %v, want both decrypting", h.states)
	}
	if want := k.of(true); !bytes.Equal(h.client, want) {
		t.Errorf("heard %d bytes of the client, it sent %d", len(h.client), len(want))
	}
	if want := k.of(false); !bytes.Equal(h.server, want) {
		t.Errorf("heard %d bytes of the server, it sent %d", len(h.server), len(want))
	}
}

// cut cuts pieces into random smaller ones, and joins neighbours of one
// direction now and then.
func cut(r *mrand.Rand, pieces []piece) (out []piece) {
	for _, p := range pieces {
		if n := len(out); n > 0 && out[n-1].fromClient == p.fromClient && r.IntN(2) == 0 {
			p.b = append(out[n-1].b[:len(out[n-1].b):len(out[n-1].b)], p.b...)
			out = out[:n-1]
		}
		largest := []int{1, 7, 100, 1460, 20000}[r.IntN(5)]
		for len(p.b) > 0 {
			n := min(1+r.IntN(largest), len(p.b))
			out = append(out, piece{p.fromClient, p.b[:n]})
			p.b = p.b[n:]
		}
	}
	return out
}

// certificate makes a certificate for sip.example.org, and its key in PEM.
func certificate(t testing.TB, ecc bool) (gotls.Certificate, []byte) {
	t.Helper()
	var key any
	var public any
	var text []byte
	if ecc {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		key, public = k, &k.PublicKey
	} else {
		k := rsaKey(t)
		key, public = k, &k.PublicKey
		text = pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(k)})
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "sip.example.org"},
		NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<32, 0), DNSNames: []string{"sip.example.org"},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, key)
	if err != nil {
		t.Fatal(err)
	}
	return gotls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, text
}

// rsaKey is slow to make, and the same for all tests.
var rsaOnce = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

func rsaKey(t testing.TB) *rsa.PrivateKey {
	t.Helper()
	k, err := rsaOnce()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// configs are those of a client and a server that agree on a version, and log
// their keys.
func configs(cert gotls.Certificate, version uint16, log io.Writer) (client, server *gotls.Config) {
	client = &gotls.Config{
		InsecureSkipVerify: true, ServerName: "sip.example.org", NextProtos: []string{"sip/2"},
		MinVersion: version, MaxVersion: version, KeyLogWriter: log,
	}
	server = &gotls.Config{
		Certificates: []gotls.Certificate{cert}, NextProtos: []string{"sip/2"},
		MinVersion: version, MaxVersion: version,
	}
	return client, server
}

// keysOf reads a key log.
func keysOf(t testing.TB, log []byte) *Keys {
	t.Helper()
	k := NewKeys()
	if err := k.ReadLog(bytes.NewReader(log)); err != nil {
		t.Fatal(err)
	}
	return k
}
