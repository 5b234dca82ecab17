package store

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestParseDSN(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(secret, []byte("s3cr3t \r\nsecond line\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for dsn, want := range map[string]server{
		"mysql://u@host/db":                                       {user: "u", network: "tcp", addr: "host:3306", database: "db"},
		"mariadb://u:p@host:3307/db":                              {user: "u", password: "p", network: "tcp", addr: "host:3307", database: "db"},
		"mysql://u:p@ss:w@[2001:db8::1]:1/db":                     {user: "u", password: "p@ss:w", network: "tcp", addr: "[2001:db8::1]:1", database: "db"},
		"mysql://u@[2001:db8::1]/db":                              {user: "u", network: "tcp", addr: "[2001:db8::1]:3306", database: "db"},
		"mysql://u@unix(/run/my@sqld.sock)/db":                    {user: "u", network: "unix", addr: "/run/my@sqld.sock", database: "db"},
		"mysql://u%40x:a%2Fb@h/my%20db":                           {user: "u@x", password: "a/b", network: "tcp", addr: "h:3306", database: "my db"},
		"mysql://u@h/db?timeout=3s&password-file=" + secret:       {user: "u", password: "s3cr3t ", network: "tcp", addr: "h:3306", database: "db", timeout: 3 * time.Second},
		"mysql://u@h/db?tls=yes":                                  {user: "u", network: "tcp", addr: "h:3306", database: "db"},
		"mysql://u@unix(/s)/db?tls=skip-verify":                   {user: "u", network: "unix", addr: "/s", database: "db"},
		"mysql://u@unix(/s)/db?tls=yes&tls-name=database.example": {user: "u", network: "unix", addr: "/s", database: "db"},
	} {
		got, err := parseDSN(dsn)
		if err != nil {
			t.Errorf("%s: %v", dsn, err)
			continue
		}
		if strings.Contains(dsn, "tls=") != (got.tls != nil) {
			t.Errorf("%s: TLS %v", dsn, got.tls)
		}
		if got.tls = nil; want.timeout == 0 {
			want.timeout = 10 * time.Second
		}
		if *got != want {
			t.Errorf("%s: %+v, want %+v", dsn, *got, want)
		}
		if name := Name(dsn); got.password != "" && strings.Contains(name, got.password) {
			t.Errorf("%s is named %s, which tells the password", dsn, name)
		}
	}
	for dsn, says := range map[string]string{
		"mysql://":                                "no user",
		"mysql://h/db":                            "no user",
		"mysql://u@/db":                           "no host",
		"mysql://u@:3306/db":                      "no host",
		"mysql://u@h":                             "no database",
		"mysql://u@h/":                            "no database",
		"mysql://u@unix(/s/db":                    "no path of a socket",
		"mysql://u:100%@h/db":                     "the password in the name of the store is not well percent-encoded",
		"mysql://u@h/db?compress=1":               `unknown option "compress"`,
		"mysql://u@h/db?timeout=3":                "write 10s",
		"mysql://u@h/db?tls=true":                 "write no, yes or skip-verify",
		"mysql://u@h/db?tls-ca=x":                 "add tls=yes",
		"mysql://u@unix(/s)/db?tls=yes":           "add tls-name",
		"mysql://u@h/db?tls=yes&tls-ca=/none":     "/none",
		"mysql://u@h/db?tls=yes&tls-cert=/n":      "tls-cert, tls-key",
		"mysql://u@h/db?password-file=/none":      "read password",
		"mysql://u:p@h/db?password-file=/none":    "give one of them",
		"mysql://u@h/db?tls=yes&tls-ca=" + secret: "no certificate in",
	} {
		if _, err := parseDSN(dsn); err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "100%") {
			t.Errorf("%s: error %v, want %q", dsn, err, says)
		}
	}
}

// certificate writes a certificate of a name, signed by itself, and its key.
func certificate(t testing.TB, dir, name string) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for path, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: pkcs8}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}
