package tls

import (
	"bufio"
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
)

// What Keys keeps at most. The oldest make room.
const (
	maxSecrets  = 1 << 20
	maxSessions = 1 << 16
	maxLine     = 4096 // bytes of a line of a key log
	maxBadLines = 10   // that an error names
)

// label is what a secret of the key log is for.
type label uint8

const (
	labelMaster          label = iota // CLIENT_RANDOM: master secret up to TLS 1.2
	labelClientHandshake              // TLS 1.3 (RFC 8446 section 7.1)
	labelServerHandshake
	labelClientTraffic
	labelServerTraffic
	labelPremaster // RSA: by the first 8 bytes of the encrypted premaster secret
	labelIgnored
)

// labels of the NSS key log that are read. Others are passed over, as the
// format asks for.
var labels = map[string]label{
	"CLIENT_RANDOM":                   labelMaster,
	"CLIENT_HANDSHAKE_TRAFFIC_SECRET": labelClientHandshake,
	"SERVER_HANDSHAKE_TRAFFIC_SECRET": labelServerHandshake,
	"CLIENT_TRAFFIC_SECRET_0":         labelClientTraffic,
	"SERVER_TRAFFIC_SECRET_0":         labelServerTraffic,
	"RSA":                             labelPremaster,
}

// secretKey finds a secret: by the random of the ClientHello, mostly.
type secretKey struct {
	random [32]byte
	label  label
}

// secret is a master secret, or a traffic secret.
type secret struct {
	n uint8
	b [48]byte
}

func (s *secret) bytes() []byte { return s.b[:s.n] }

// session finds the master secret of a session that may be resumed, among
// those of one pair of hosts.
type session struct {
	peers uint64
	id    [32]byte // session id, or SHA-256 of a ticket
}

// Keys are the secrets that connections are opened with. Any number of
// goroutines may use them while one adds to them.
type Keys struct {
	changes atomic.Uint64 // grows with whatever is added

	mu       sync.RWMutex
	secrets  map[secretKey]secret
	order    ring[secretKey]
	private  []*rsa.PrivateKey
	sessions map[session]secret
	resumed  ring[session]
}

// NewKeys returns Keys without any.
func NewKeys() *Keys {
	return &Keys{secrets: map[secretKey]secret{}, sessions: map[session]secret{}}
}

// Len is the number of secrets and private keys.
func (k *Keys) Len() int {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return len(k.secrets) + len(k.private)
}

// ReadLog adds the secrets of a key log in the NSS format, until r ends. Lines
// that cannot be read are an error, which names them; the others are added all
// the same. A log that grows may be given to it piece by piece, in whole lines.
func (k *Keys) ReadLog(r io.Reader) error {
	in := bufio.NewReaderSize(r, maxLine)
	var bad []error
	left := 0
	for number := 1; ; number++ {
		line, err := in.ReadSlice('\n')
		long := err == bufio.ErrBufferFull
		for err == bufio.ErrBufferFull {
			_, err = in.ReadSlice('\n')
		}
		if err != nil && err != io.EOF {
			return fmt.Errorf("read key log: line %d: %w", number, err)
		}
		why := error(nil)
		if long {
			why = fmt.Errorf("longer than %d bytes", maxLine)
		} else {
			why = k.addLine(line)
		}
		switch {
		case why != nil && len(bad) < maxBadLines:
			bad = append(bad, fmt.Errorf("read key log: line %d: %w", number, why))
		case why != nil:
			left++
		}
		if err == io.EOF {
			break
		}
	}
	if left > 0 {
		bad = append(bad, fmt.Errorf("read key log: %d more lines like these", left))
	}
	return errors.Join(bad...)
}

func (k *Keys) addLine(line []byte) error {
	line = bytes.TrimSpace(line)
	if len(line) == 0 || line[0] == '#' {
		return nil
	}
	f := bytes.Fields(line)
	what, known := labels[string(f[0])]
	switch {
	case !known && isLabel(f[0]):
		return nil
	case !known:
		return errors.New("does not begin with a label such as CLIENT_RANDOM: is this a key log?")
	case len(f) != 3:
		return fmt.Errorf("%s has %d values, and needs 2", f[0], len(f)-1)
	}
	key, s := secretKey{label: what}, secret{}
	random := 32
	if what == labelPremaster {
		random = 8
	}
	if len(f[1]) != 2*random {
		return fmt.Errorf("the first value of %s has %d digits, and needs %d", f[0], len(f[1]), 2*random)
	}
	switch n := len(f[2]); {
	case n == 96, n == 64 && what != labelMaster && what != labelPremaster:
		s.n = uint8(n / 2)
	default:
		return fmt.Errorf("the secret of %s has %d digits, and needs 96, or 64 with SHA-256 in TLS 1.3", f[0], n)
	}
	for i, to := range [][]byte{key.random[:random], s.b[:s.n]} {
		if _, err := hex.Decode(to, f[1+i]); err != nil {
			return fmt.Errorf("value %d of %s: %w", i+1, f[0], err)
		}
	}
	k.mu.Lock()
	if _, have := k.secrets[key]; !have {
		if old, full := k.order.push(key, maxSecrets); full {
			delete(k.secrets, old)
		}
	}
	k.secrets[key] = s
	k.mu.Unlock()
	k.changes.Add(1)
	return nil
}

// isLabel reports whether b may be a label of the key log, known or not.
func isLabel(b []byte) bool {
	for _, c := range b {
		if (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' {
			return false
		}
	}
	return b[0] >= 'A' && b[0] <= 'Z'
}

// AddRSA adds the RSA private keys of a PEM file, PKCS #1 or PKCS #8. Other
// blocks, such as certificates, are passed over.
func (k *Keys) AddRSA(text []byte) error {
	var found []*rsa.PrivateKey
	for {
		var b *pem.Block
		if b, text = pem.Decode(text); b == nil {
			break
		}
		switch b.Type {
		case "RSA PRIVATE KEY":
			if b.Headers["DEK-Info"] != "" {
				return errors.New("read RSA key: it is encrypted: decrypt it with openssl rsa")
			}
			key, err := x509.ParsePKCS1PrivateKey(b.Bytes)
			if err != nil {
				return fmt.Errorf("read RSA key: %w", err)
			}
			found = append(found, key)
		case "PRIVATE KEY":
			key, err := x509.ParsePKCS8PrivateKey(b.Bytes)
			if err != nil {
				return fmt.Errorf("read private key: %w", err)
			}
			if key, ok := key.(*rsa.PrivateKey); ok {
				found = append(found, key)
			}
		case "ENCRYPTED PRIVATE KEY":
			return errors.New("read private key: it is encrypted: decrypt it with openssl pkey")
		}
	}
	if len(found) == 0 {
		return errors.New("read RSA key: no RSA private key in PEM form found; only these open connections without a key log")
	}
	k.mu.Lock()
	k.private = append(k.private, found...)
	k.mu.Unlock()
	k.changes.Add(1)
	return nil
}

// find returns the secret of a connection.
func (k *Keys) find(what label, random *[32]byte) (secret, bool) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	s, ok := k.secrets[secretKey{*random, what}]
	return s, ok
}

// hasRSA reports whether there is a private key.
func (k *Keys) hasRSA() bool {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return len(k.private) > 0
}

// premaster decrypts the premaster secret of an RSA key exchange (RFC 5246
// section 7.4.7.1): 48 bytes that begin with the version of the ClientHello.
func (k *Keys) premaster(sent []byte, version uint16) (secret, bool) {
	s := secret{n: 48}
	if len(sent) >= 8 {
		var first [32]byte
		copy(first[:8], sent)
		if s, ok := k.find(labelPremaster, &first); ok {
			return s, true
		}
	}
	k.mu.RLock()
	private := k.private
	k.mu.RUnlock()
	for _, key := range private {
		if key.Size() != len(sent) {
			continue
		}
		//lint:ignore SA1019 this is what TLS clients encrypt with; nobody learns from here how long it took
		b, err := rsa.DecryptPKCS1v15(nil, key, sent)
		if err == nil && len(b) == 48 && uint16(b[0])<<8|uint16(b[1]) == version {
			copy(s.b[:], b)
			return s, true
		}
	}
	return s, false
}

// remember keeps the master secret of a session that may be resumed.
func (k *Keys) remember(at session, master secret) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if _, have := k.sessions[at]; !have {
		if old, full := k.resumed.push(at, maxSessions); full {
			delete(k.sessions, old)
		}
	}
	k.sessions[at] = master
}

func (k *Keys) recall(at session) (secret, bool) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	s, ok := k.sessions[at]
	return s, ok
}

// ring is the order in which things came, the last n of them.
type ring[T any] struct {
	all  []T
	next int
}

// push adds v, and returns what it takes the place of when there are n already.
func (r *ring[T]) push(v T, n int) (old T, full bool) {
	if len(r.all) < n {
		r.all = append(r.all, v)
		return old, false
	}
	old, r.all[r.next] = r.all[r.next], v
	r.next = (r.next + 1) % n
	return old, true
}
