package register

import (
	"bytes"

	"ringside/flow/sip"
)

// headers are the values of header fields that sip.Message does not have. They
// are borrowed from the message, or stand in the scratch of the table.
type headers struct {
	contacts []byte // all values of Contact, unfolded, with commas between
	path     []byte // likewise of Path
	event    []byte // package and id parameter of Event
	state    []byte // Subscription-State
	etag     []byte // SIP-ETag
	ifMatch  []byte // SIP-If-Match
	encoding []byte // Content-Encoding
	stale    bool   // a challenge because of an old nonce (RFC 7616 section 3.3)
	received bool   // what a hop before this one received came from another address than its sender thought

	contactBuf, pathBuf []byte
}

// read reads the header fields of m.
func (h *headers) read(m *sip.Message) {
	*h = headers{contactBuf: h.contactBuf[:0], pathBuf: h.pathBuf[:0]}
	m.EachHeader(func(name, value []byte) bool {
		switch len(name) {
		case 1:
			switch name[0] | 0x20 {
			case 'm':
				h.contactBuf = appendValue(h.contactBuf, value)
			case 'o':
				h.event = value
			case 'e':
				h.encoding = value
			case 'v':
				h.via(value)
			}
		case 3:
			if bytes.EqualFold(name, []byte("Via")) {
				h.via(value)
			}
		case 4:
			if bytes.EqualFold(name, []byte("Path")) {
				h.pathBuf = appendValue(h.pathBuf, value)
			}
		case 5:
			if bytes.EqualFold(name, []byte("Event")) {
				h.event = value
			}
		case 7:
			if bytes.EqualFold(name, []byte("Contact")) {
				h.contactBuf = appendValue(h.contactBuf, value)
			}
		case 8:
			if bytes.EqualFold(name, []byte("SIP-ETag")) {
				h.etag = value
			}
		case 12:
			if bytes.EqualFold(name, []byte("SIP-If-Match")) {
				h.ifMatch = value
			}
		case 16:
			switch {
			case bytes.EqualFold(name, []byte("Content-Encoding")):
				h.encoding = value
			case bytes.EqualFold(name, []byte("WWW-Authenticate")):
				h.stale = h.stale || isStale(value)
			}
		case 18:
			switch {
			case bytes.EqualFold(name, []byte("Subscription-State")):
				h.state = value
			case bytes.EqualFold(name, []byte("Proxy-Authenticate")):
				h.stale = h.stale || isStale(value)
			}
		}
		return true
	})
	h.contacts, h.path = h.contactBuf, h.pathBuf
}

// via notes what the last Via says: that of the sender itself.
func (h *headers) via(value []byte) {
	for len(value) > 0 {
		var one []byte
		one, value = nextValue(value)
		sent, params, _ := bytes.Cut(one, []byte(";"))
		if i := bytes.LastIndexAny(sent, " \t\n"); i >= 0 {
			sent = sent[i+1:]
		}
		host, _ := hostPort(sent)
		from := param(params, "received")
		h.received = len(from) > 0 && !bytes.Equal(from, host)
	}
}

func appendValue(dst, v []byte) []byte {
	if len(dst) > 0 {
		dst = append(dst, ", "...)
	}
	if bytes.IndexByte(v, '\n') >= 0 {
		return sip.Unfold(dst, v)
	}
	return append(dst, v...)
}

// isStale reports whether a challenge was for an old nonce: its parameters are
// behind the scheme, with commas between.
func isStale(challenge []byte) bool {
	for {
		i := bytes.IndexByte(challenge, '=')
		if i < 0 {
			return false
		}
		name, rest := trim(challenge[:i]), trim(challenge[i+1:])
		if n := len(name) - len("stale"); n >= 0 && bytes.EqualFold(name[n:], []byte("stale")) {
			rest = bytes.TrimLeft(rest, `"`)
			return len(rest) >= 4 && bytes.EqualFold(rest[:4], []byte("true"))
		}
		if len(rest) > 0 && rest[0] == '"' {
			rest = rest[quoted(rest):]
		}
		challenge = rest
	}
}

// quoted is the length of the quoted string that b begins with.
func quoted(b []byte) int {
	for i := 1; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(b)
}

// until is where the first stop stands in b outside of quotes and, if angles is
// set, angle brackets; or len(b).
func until(b []byte, stop byte, angles bool) int {
	for i := 0; i < len(b); i++ {
		switch {
		case b[i] == stop:
			return i
		case b[i] == '"':
			i += quoted(b[i:]) - 1
		case b[i] == '<' && angles:
			if n := bytes.IndexByte(b[i:], '>'); n > 0 {
				i += n
			} else {
				angles = false // so that a run of them is not searched again for each
			}
		}
	}
	return len(b)
}

// nextValue is the first value of a list, and the rest.
func nextValue(b []byte) (value, rest []byte) {
	i := until(b, ',', true)
	return trim(b[:i]), b[min(i+1, len(b)):]
}

// nextParam is the first parameter in a run of "name=value" with semicolons
// between, its value without quotes, and the rest.
func nextParam(b []byte) (name, value, rest []byte) {
	i := until(b, ';', false)
	name, value, _ = bytes.Cut(b[:i], []byte("="))
	value = trim(value)
	if len(value) > 0 && value[0] == '"' {
		value = bytes.Trim(value, `"`)
	}
	return trim(name), value, b[min(i+1, len(b)):]
}

// param is the value of the parameter called name.
func param(b []byte, name string) []byte {
	for len(b) > 0 {
		var n, v []byte
		if n, v, b = nextParam(b); equalFold(n, name) {
			return v
		}
	}
	return nil
}

func trim(b []byte) []byte {
	for len(b) > 0 && isBlank(b[0]) {
		b = b[1:]
	}
	for len(b) > 0 && isBlank(b[len(b)-1]) {
		b = b[:len(b)-1]
	}
	return b
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

// equalFold compares with a name in lower case.
func equalFold(b []byte, name string) bool {
	if len(b) != len(name) {
		return false
	}
	for i, c := range b {
		if lower(c) != name[i] {
			return false
		}
	}
	return true
}

// number is the number that b begins with, at most 2^32-1; -1 if there is none.
func number(b []byte) int64 {
	n := int64(-1)
	for _, d := range b {
		if d < '0' || d > '9' {
			break
		}
		n = min(max(n, 0)*10+int64(d-'0'), 1<<32-1)
	}
	return n
}
