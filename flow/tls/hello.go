package tls

import (
	"bytes"
	"crypto/sha256"

	"golang.org/x/crypto/cryptobyte"
)

// Handshake message types (RFC 8446 section 4, RFC 5246 section 7.4).
const (
	helloRequest        = 0
	clientHello         = 1
	serverHello         = 2
	newSessionTicket    = 4
	encryptedExtensions = 8
	clientKeyExchange   = 16
	finished            = 20
	keyUpdate           = 24
)

// Extensions that matter here (IANA tls-extensiontype-values).
const (
	extServerName        = 0
	extALPN              = 16
	extEncryptThenMAC    = 22
	extExtendedMaster    = 23
	extSessionTicket     = 35
	extEarlyData         = 42
	extSupportedVersions = 43
)

// retryRandom is the random of a ServerHello that is a HelloRetryRequest.
var retryRandom = sha256.Sum256([]byte("HelloRetryRequest"))

// hellos is what a handshake settles.
type hellos struct {
	haveClient, haveServer bool

	client, server [32]byte // randoms
	offered        uint16   // version in the ClientHello: what a premaster secret begins with
	version        uint16
	suite          *suite

	extended       bool // extended master secret (RFC 7627)
	encryptThenMAC bool
	early          bool // the client may send 0-RTT data
	retried        bool // there was a HelloRetryRequest

	exchanged bool   // there was a ClientKeyExchange: no session was resumed
	master    secret // empty while not known
	id        [32]byte
	idLen     int      // of the session id that the server gave
	echoed    bool     // the client had sent that session id
	ticket    [32]byte // hash of the ticket that the client sent; zero if none
	issued    [32]byte // hash of the ticket that the server gave; zero if none
}

// readClient reads the body of a ClientHello.
func (s *hellos) readClient(body []byte, info *Info) bool {
	in := cryptobyte.String(body)
	var id, suites, methods, extensions cryptobyte.String
	if !in.ReadUint16(&s.offered) || !in.CopyBytes(s.client[:]) ||
		!in.ReadUint8LengthPrefixed(&id) || !in.ReadUint16LengthPrefixed(&suites) ||
		!in.ReadUint8LengthPrefixed(&methods) {
		return false
	}
	s.haveClient = true
	s.idLen = copy(s.id[:], id)
	if in.Empty() {
		return true
	}
	if !in.ReadUint16LengthPrefixed(&extensions) {
		return false
	}
	for !extensions.Empty() {
		var kind uint16
		var data cryptobyte.String
		if !extensions.ReadUint16(&kind) || !extensions.ReadUint16LengthPrefixed(&data) {
			return false
		}
		switch kind {
		case extServerName:
			info.ServerName = serverName(data)
		case extSessionTicket:
			if len(data) > 0 {
				s.ticket = hashOf(data)
			}
		case extEarlyData:
			s.early = true
		}
	}
	return true
}

// serverName is the host name of a server_name extension (RFC 6066 section 3).
func serverName(data cryptobyte.String) string {
	var list, name cryptobyte.String
	var kind uint8
	if !data.ReadUint16LengthPrefixed(&list) || !list.ReadUint8(&kind) || kind != 0 ||
		!list.ReadUint16LengthPrefixed(&name) {
		return ""
	}
	return printable(name)
}

// alpn is the protocol that a server chose (RFC 7301 section 3.1).
func alpn(data cryptobyte.String) string {
	var list, name cryptobyte.String
	if !data.ReadUint16LengthPrefixed(&list) || !list.ReadUint8LengthPrefixed(&name) {
		return ""
	}
	return printable(name)
}

// printable is b as text, or nothing: it is shown to people.
func printable(b []byte) string {
	if len(b) > 255 || bytes.ContainsFunc(b, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return ""
	}
	return string(b)
}

// readServer reads the body of a ServerHello. It reports false if that is not
// well-formed. What is not supported leaves suite nil.
func (s *hellos) readServer(body []byte, info *Info) bool {
	in := cryptobyte.String(body)
	var id, extensions cryptobyte.String
	var number uint16
	var compression uint8
	if !in.ReadUint16(&s.version) || !in.CopyBytes(s.server[:]) || !in.ReadUint8LengthPrefixed(&id) ||
		!in.ReadUint16(&number) || !in.ReadUint8(&compression) {
		return false
	}
	if !in.Empty() && !in.ReadUint16LengthPrefixed(&extensions) {
		return false
	}
	for !extensions.Empty() {
		var kind uint16
		var data cryptobyte.String
		if !extensions.ReadUint16(&kind) || !extensions.ReadUint16LengthPrefixed(&data) {
			return false
		}
		switch kind {
		case extSupportedVersions:
			if !data.ReadUint16(&s.version) {
				return false
			}
		case extEncryptThenMAC:
			s.encryptThenMAC = true
		case extExtendedMaster:
			s.extended = true
		case extALPN:
			info.ALPN = alpn(data)
		}
	}
	s.suite, info.Suite = findSuite(number)
	info.Version = s.version
	if compression != 0 || s.version < version10 || s.version > version13 ||
		s.suite != nil && !s.suite.fits(s.version) {
		s.suite = nil
	}
	s.haveServer = s.server != retryRandom
	s.retried = s.retried || !s.haveServer
	s.echoed = s.idLen > 0 && bytes.Equal(s.id[:s.idLen], id)
	s.id = [32]byte{}
	s.idLen = copy(s.id[:], id)
	return true
}

// readExtensions reads the body of an EncryptedExtensions.
func readExtensions(body []byte, info *Info) {
	in := cryptobyte.String(body)
	var extensions cryptobyte.String
	if !in.ReadUint16LengthPrefixed(&extensions) {
		return
	}
	var kind uint16
	var data cryptobyte.String
	for extensions.ReadUint16(&kind) && extensions.ReadUint16LengthPrefixed(&data) {
		if kind == extALPN {
			info.ALPN = alpn(data)
		}
	}
}

// hashOf makes the key of a ticket, which may be of any length.
func hashOf(ticket []byte) [32]byte { return sha256.Sum256(ticket) }
