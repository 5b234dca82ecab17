// Package tls opens the TLS records of captured connections, where their keys
// are known: from a key log in the NSS format (SSLKEYLOGFILE), or from the RSA
// key of the server for suites without forward secrecy.
//
// It reads TLS 1.0 to 1.3 with AES-GCM, AES-CCM, ChaCha20-Poly1305, and AES or
// 3DES in CBC mode. It does what a receiver does and sends nothing: certificates
// and signatures are not looked at, only what the keys depend on.
//
// A Conn takes the bytes of one connection, each direction in order, and gives
// what the records hold. It keeps at most one record and one handshake message
// of each direction, and copies nothing that comes whole. A direction that
// cannot be opened costs the reading of its record headers, or nothing.
//
// # Which side is the client
//
// Whoever sends the ClientHello. What the caller believes only tells the two
// directions apart.
//
// # Loss
//
// Records are numbered, and the numbers are not on the wire, but authentication
// proves a guess. After a Gap the next record is looked for by its header, and
// opened by trying the numbers that it may have.
package tls

// Sizes in bytes.
const (
	headerLen  = 5
	maxRecord  = 1<<14 + 2048 // content of a record that is encrypted (RFC 5246 section 6.2.3)
	maxMessage = 1 << 14      // handshake message that is read; longer ones are passed over
	maxHeld    = 1 << 15      // of one direction, waiting for the other
	maxNoted   = 1 << 16      // of a handshake, for the extended master secret
)

// Record content types (RFC 8446 section 5.1).
const (
	typeChangeCipherSpec = 20
	typeAlert            = 21
	typeHandshake        = 22
	typeApplication      = 23
	typeHeartbeat        = 24
)

// Protocol versions.
const (
	version10 = 0x0301
	version11 = 0x0302
	version12 = 0x0303
	version13 = 0x0304
)

// State is how far the reading of one direction is.
type State uint8

// States of a direction. The last three are final, but for NoKeys while there
// is a key log that may still grow.
const (
	Handshake   State = iota // not encrypted yet, or nothing of it opened yet
	Decrypting               // records are being opened
	NoKeys                   // encrypted, and nothing is known that opens it
	Unsupported              // a version, a suite or a feature that is not read here
	Broken                   // wrong keys, damaged, or more lost than can be made up for
)

var stateNames = [...]string{"handshake", "decrypting", "no keys", "unsupported", "broken"}

func (s State) String() string { return stateNames[min(int(s), len(stateNames)-1)] }

// Looks reports whether b begins with the header of a TLS record. Three bytes
// are enough for an answer.
func Looks(b []byte) bool {
	if len(b) < 3 || b[0] < typeChangeCipherSpec || b[0] > typeHeartbeat || b[1] != 3 || b[2] > 4 {
		return false
	}
	if len(b) < headerLen {
		return true
	}
	n := int(b[3])<<8 | int(b[4])
	return n > 0 && n <= maxRecord
}

// Info is what a connection says of itself, for reports.
type Info struct {
	Version    uint16 // as on the wire, 0x0303 for TLS 1.2; 0 before the ServerHello
	Suite      string // name of the IANA registry; a number if it is not read here
	ServerName string // server_name that the client asked for
	ALPN       string // protocol that the server chose
	Opened     uint64 // records
	Skipped    uint64 // encrypted records that were not opened, 0-RTT among them
}

// VersionName is Version for people.
func (i *Info) VersionName() string {
	switch i.Version {
	case 0:
		return ""
	case 0x0300:
		return "SSL 3.0"
	case version10, version11, version12, version13:
		return "TLS 1." + string(rune('0'+i.Version-version10))
	}
	return "unknown"
}
