package tls

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"strings"
	"sync"
	"testing"
)

func TestReadLog(t *testing.T) {
	random, s48, s32 := strings.Repeat("0A", 32), strings.Repeat("bc", 48), strings.Repeat("de", 32)
	for _, tc := range []struct {
		name string
		log  string
		want int      // secrets
		bad  []string // in the error
	}{
		{"nothing", "", 0, nil},
		{"comments and blanks", "# SSL/TLS secrets log file\r\n\r\n   \n#\n", 0, nil},
		{"one", "CLIENT_RANDOM " + random + " " + s48 + "\n", 1, nil},
		{"no newline at the end", "CLIENT_RANDOM " + random + " " + s48, 1, nil},
		{"carriage returns", "CLIENT_RANDOM " + random + " " + s48 + "\r\n# x\r\n", 1, nil},
		{"twice the same", strings.Repeat("CLIENT_RANDOM "+random+" "+s48+"\n", 2), 1, nil},
		{"1.3", "CLIENT_HANDSHAKE_TRAFFIC_SECRET " + random + " " + s32 + "\nSERVER_HANDSHAKE_TRAFFIC_SECRET " + random + " " + s48 +
			"\nCLIENT_TRAFFIC_SECRET_0 " + random + " " + s32 + "\nSERVER_TRAFFIC_SECRET_0 " + random + " " + s32 + "\n", 4, nil},
		{"labels that say nothing to us", "EXPORTER_SECRET " + random + " " + s32 + "\nECH_CONFIG 00\nNEW_LABEL_9\n", 0, nil},
		{"RSA", "RSA 0123456789abcdef " + s48 + "\n", 1, nil},
		{"bad lines between good ones", "hello\nCLIENT_RANDOM " + random + " " + s48 + "\nCLIENT_RANDOM 00 11\n", 1, []string{"line 1:", "line 3:"}},
		{"too few values", "CLIENT_RANDOM " + random, 0, []string{"line 1: CLIENT_RANDOM has 1 values"}},
		{"too many values", "CLIENT_RANDOM " + random + " " + s48 + " 00", 0, []string{"has 3 values"}},
		{"short secret", "CLIENT_RANDOM " + random + " " + s32, 0, []string{"the secret of CLIENT_RANDOM has 64 digits"}},
		{"not hexadecimal", "CLIENT_RANDOM " + random[2:] + "xy " + s48, 0, []string{"value 1 of CLIENT_RANDOM"}},
		{"long line", "CLIENT_RANDOM " + strings.Repeat("0", 3*maxLine) + "\nCLIENT_RANDOM " + random + " " + s48, 1, []string{"line 1: longer than"}},
		{"not a key log", strings.Repeat("\x00\x01<html>\n", 50), 0, []string{"line 10:", "40 more lines"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			k := NewKeys()
			err := k.ReadLog(strings.NewReader(tc.log))
			if k.Len() != tc.want {
				t.Errorf("%d secrets, want %d", k.Len(), tc.want)
			}
			if (err != nil) != (tc.bad != nil) {
				t.Fatalf("error %v", err)
			}
			for _, want := range tc.bad {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not say %q", err, want)
				}
			}
		})
	}
}

// TestSecretsBounded has a key log that grows for ever.
func TestSecretsBounded(t *testing.T) {
	var r ring[int]
	gone := 0
	for i := range 10 {
		if old, full := r.push(i, 4); full {
			if old != gone {
				t.Errorf("%d makes room, want %d", old, gone)
			}
			gone++
		}
	}
	if gone != 6 || len(r.all) != 4 {
		t.Errorf("%d made room, %d are left", gone, len(r.all))
	}
}

func TestAddRSA(t *testing.T) {
	key := rsaKey(t)
	p8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	block := func(kind string, b []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}))
	}
	p1 := block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(key))
	for _, tc := range []struct {
		name, text string
		want       int
		bad        string
	}{
		{"PKCS 1", p1, 1, ""},
		{"PKCS 8", block("PRIVATE KEY", p8), 1, ""},
		{"with a certificate", block("CERTIFICATE", []byte{1}) + p1, 1, ""},
		{"two", p1 + block("PRIVATE KEY", p8), 2, ""},
		{"none", block("CERTIFICATE", []byte{1}), 0, "no RSA private key"},
		{"not PEM", "hello", 0, "no RSA private key"},
		{"encrypted", block("ENCRYPTED PRIVATE KEY", p8), 0, "decrypt it"},
		{"damaged", block("RSA PRIVATE KEY", []byte{1, 2}), 0, "read RSA key"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			k := NewKeys()
			err := k.AddRSA([]byte(tc.text))
			if k.Len() != tc.want || (err != nil) != (tc.bad != "") || err != nil && !strings.Contains(err.Error(), tc.bad) {
				t.Errorf("%d keys and error %v, want %d and %q", k.Len(), err, tc.want, tc.bad)
			}
		})
	}
}

// TestKeysTogether has connections that look for keys while more are read; the
// race detector watches.
func TestKeysTogether(t *testing.T) {
	pieces, log := readTape(t, "tls13")
	k := keysOf(t, log)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 20 {
				h := listen(NewConn(k), pieces)
				if h.states != [2]State{Decrypting, Decrypting} {
					t.Errorf("states %v", h.states)
				}
			}
		})
	}
	for i := range 1000 {
		line := fmt.Sprintf("CLIENT_RANDOM %064x %096x\n", i, i)
		if err := k.ReadLog(bytes.NewReader([]byte(line))); err != nil {
			t.Error(err)
		}
	}
	wg.Wait()
}
