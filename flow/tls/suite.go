package tls

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"fmt"
	"hash"
)

// mode is how a cipher protects a record.
type mode uint8

const (
	modeGCM    mode = iota // RFC 5288
	modeCCM                // RFC 6655
	modeChaCha             // RFC 7905
	modeCBC                // RFC 5246 section 6.2.3.2
)

// bulk is a cipher as suites use it.
type bulk struct {
	name string // the end of the suite's name
	mode mode
	key  int              // bytes
	tag  int              // bytes of an AEAD's tag
	mac  func() hash.Hash // of CBC
	prf  func() hash.Hash // from TLS 1.2 on
	des  bool             // 3DES, not AES
}

var (
	aes128gcm  = bulk{name: "AES_128_GCM_SHA256", mode: modeGCM, key: 16, tag: 16, prf: sha256.New}
	aes256gcm  = bulk{name: "AES_256_GCM_SHA384", mode: modeGCM, key: 32, tag: 16, prf: sha512.New384}
	aes128ccm  = bulk{name: "AES_128_CCM", mode: modeCCM, key: 16, tag: 16, prf: sha256.New}
	aes256ccm  = bulk{name: "AES_256_CCM", mode: modeCCM, key: 32, tag: 16, prf: sha256.New}
	aes128ccm8 = bulk{name: "AES_128_CCM_8", mode: modeCCM, key: 16, tag: 8, prf: sha256.New}
	aes256ccm8 = bulk{name: "AES_256_CCM_8", mode: modeCCM, key: 32, tag: 8, prf: sha256.New}
	chacha     = bulk{name: "CHACHA20_POLY1305_SHA256", mode: modeChaCha, key: 32, tag: 16, prf: sha256.New}

	aes128sha    = bulk{name: "AES_128_CBC_SHA", mode: modeCBC, key: 16, mac: sha1.New, prf: sha256.New}
	aes256sha    = bulk{name: "AES_256_CBC_SHA", mode: modeCBC, key: 32, mac: sha1.New, prf: sha256.New}
	aes128sha256 = bulk{name: "AES_128_CBC_SHA256", mode: modeCBC, key: 16, mac: sha256.New, prf: sha256.New}
	aes256sha256 = bulk{name: "AES_256_CBC_SHA256", mode: modeCBC, key: 32, mac: sha256.New, prf: sha256.New}
	aes256sha384 = bulk{name: "AES_256_CBC_SHA384", mode: modeCBC, key: 32, mac: sha512.New384, prf: sha512.New384}
	des3sha      = bulk{name: "3DES_EDE_CBC_SHA", mode: modeCBC, key: 24, mac: sha1.New, prf: sha256.New, des: true}

	// In TLS 1.3 the suites with CCM name their hash.
	aes128ccm13  = bulk{name: "AES_128_CCM_SHA256", mode: modeCCM, key: 16, tag: 16, prf: sha256.New}
	aes128ccm813 = bulk{name: "AES_128_CCM_8_SHA256", mode: modeCCM, key: 16, tag: 8, prf: sha256.New}
)

// suite is a cipher suite of the IANA registry.
type suite struct {
	id       uint16
	exchange string // of keys; empty in TLS 1.3
	*bulk
}

func (s *suite) name() string {
	if s.exchange == "" {
		return "TLS_" + s.bulk.name
	}
	return "TLS_" + s.exchange + "_WITH_" + s.bulk.name
}

// rsa reports whether the client sends the premaster secret to the server's
// RSA key, which opens it.
func (s *suite) rsa() bool { return s.exchange == "RSA" }

var suites = []suite{
	{0x1301, "", &aes128gcm}, {0x1302, "", &aes256gcm}, {0x1303, "", &chacha},
	{0x1304, "", &aes128ccm13}, {0x1305, "", &aes128ccm813},

	{0x009c, "RSA", &aes128gcm}, {0x009d, "RSA", &aes256gcm},
	{0x009e, "DHE_RSA", &aes128gcm}, {0x009f, "DHE_RSA", &aes256gcm},
	{0x00a2, "DHE_DSS", &aes128gcm}, {0x00a3, "DHE_DSS", &aes256gcm},
	{0x00a6, "DH_anon", &aes128gcm}, {0x00a7, "DH_anon", &aes256gcm},
	{0x00a8, "PSK", &aes128gcm}, {0x00a9, "PSK", &aes256gcm},
	{0x00aa, "DHE_PSK", &aes128gcm}, {0x00ab, "DHE_PSK", &aes256gcm},
	{0xc02b, "ECDHE_ECDSA", &aes128gcm}, {0xc02c, "ECDHE_ECDSA", &aes256gcm},
	{0xc02d, "ECDH_ECDSA", &aes128gcm}, {0xc02e, "ECDH_ECDSA", &aes256gcm},
	{0xc02f, "ECDHE_RSA", &aes128gcm}, {0xc030, "ECDHE_RSA", &aes256gcm},
	{0xc031, "ECDH_RSA", &aes128gcm}, {0xc032, "ECDH_RSA", &aes256gcm},
	{0xd001, "ECDHE_PSK", &aes128gcm}, {0xd002, "ECDHE_PSK", &aes256gcm},

	{0xcca8, "ECDHE_RSA", &chacha}, {0xcca9, "ECDHE_ECDSA", &chacha}, {0xccaa, "DHE_RSA", &chacha},
	{0xccab, "PSK", &chacha}, {0xccac, "ECDHE_PSK", &chacha}, {0xccad, "DHE_PSK", &chacha},

	{0xc09c, "RSA", &aes128ccm}, {0xc09d, "RSA", &aes256ccm},
	{0xc09e, "DHE_RSA", &aes128ccm}, {0xc09f, "DHE_RSA", &aes256ccm},
	{0xc0a0, "RSA", &aes128ccm8}, {0xc0a1, "RSA", &aes256ccm8},
	{0xc0a2, "DHE_RSA", &aes128ccm8}, {0xc0a3, "DHE_RSA", &aes256ccm8},
	{0xc0ac, "ECDHE_ECDSA", &aes128ccm}, {0xc0ad, "ECDHE_ECDSA", &aes256ccm},
	{0xc0ae, "ECDHE_ECDSA", &aes128ccm8}, {0xc0af, "ECDHE_ECDSA", &aes256ccm8},

	{0x002f, "RSA", &aes128sha}, {0x0035, "RSA", &aes256sha},
	{0x0032, "DHE_DSS", &aes128sha}, {0x0038, "DHE_DSS", &aes256sha},
	{0x0033, "DHE_RSA", &aes128sha}, {0x0039, "DHE_RSA", &aes256sha},
	{0x0034, "DH_anon", &aes128sha}, {0x003a, "DH_anon", &aes256sha},
	{0xc004, "ECDH_ECDSA", &aes128sha}, {0xc005, "ECDH_ECDSA", &aes256sha},
	{0xc009, "ECDHE_ECDSA", &aes128sha}, {0xc00a, "ECDHE_ECDSA", &aes256sha},
	{0xc00e, "ECDH_RSA", &aes128sha}, {0xc00f, "ECDH_RSA", &aes256sha},
	{0xc013, "ECDHE_RSA", &aes128sha}, {0xc014, "ECDHE_RSA", &aes256sha},
	{0xc018, "ECDH_anon", &aes128sha}, {0xc019, "ECDH_anon", &aes256sha},

	{0x003c, "RSA", &aes128sha256}, {0x003d, "RSA", &aes256sha256},
	{0x0040, "DHE_DSS", &aes128sha256}, {0x006a, "DHE_DSS", &aes256sha256},
	{0x0067, "DHE_RSA", &aes128sha256}, {0x006b, "DHE_RSA", &aes256sha256},
	{0x006c, "DH_anon", &aes128sha256}, {0x006d, "DH_anon", &aes256sha256},
	{0xc023, "ECDHE_ECDSA", &aes128sha256}, {0xc024, "ECDHE_ECDSA", &aes256sha384},
	{0xc027, "ECDHE_RSA", &aes128sha256}, {0xc028, "ECDHE_RSA", &aes256sha384},

	{0x000a, "RSA", &des3sha}, {0x0013, "DHE_DSS", &des3sha}, {0x0016, "DHE_RSA", &des3sha},
	{0xc008, "ECDHE_ECDSA", &des3sha}, {0xc012, "ECDHE_RSA", &des3sha},
}

func findSuite(id uint16) (*suite, string) {
	for i := range suites {
		if s := &suites[i]; s.id == id {
			return s, s.name()
		}
	}
	return nil, fmt.Sprintf("0x%04x", id)
}

// fits reports whether the suite belongs to the version.
func (s *suite) fits(version uint16) bool {
	if (s.exchange == "") != (version == version13) {
		return false
	}
	old := s.mac != nil && s.mac().Size() == sha1.Size
	return old || version >= version12
}

// oldHash is the hash of a transcript before TLS 1.2: MD5 and SHA-1, one after
// the other (RFC 4346 section 7.4.9).
func oldHash(b []byte) []byte {
	m, s := md5.Sum(b), sha1.Sum(b)
	return append(m[:], s[:]...)
}
