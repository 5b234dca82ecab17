package sip

import "bytes"

// field is one header field in a buffer: its name ends at nameEnd, its value is
// [lo,hi) without the blanks around it, the next line begins at next, which is -1
// if the buffer ends within the field. (Four words, so that it stays in registers.)
type field struct{ nameEnd, lo, hi, next int }

// isEnd reports whether f is no field, but the empty line that ends the section.
func (f field) isEnd() bool { return f.nameEnd < 0 }

// nextField reads the header field at b[pos:], which may be folded over several
// lines (RFC 3261 section 7.3.1). A line without a name has nameEnd <= pos.
func nextField(b []byte, pos int) field {
	eol := bytes.IndexByte(b[pos:], '\n')
	if eol < 0 {
		return field{next: -1}
	}
	end := pos + eol
	if eol == 0 || eol == 1 && b[pos] == '\r' {
		return field{nameEnd: -1, next: end + 1}
	}
	for end+1 < len(b) && (b[end+1] == ' ' || b[end+1] == '\t') {
		eol = bytes.IndexByte(b[end+1:], '\n')
		if eol < 0 {
			return field{next: -1}
		}
		end += 1 + eol
	}
	colon := bytes.IndexByte(b[pos:end], ':')
	if colon < 0 {
		return field{next: end + 1}
	}
	colon += pos
	lo := skipBlank(b, colon+1, end)
	return field{trimRight(b, pos, colon), lo, trimRight(b, lo, end), end + 1}
}

// header is a header field that Parse reads.
type header uint8

const (
	hOther header = iota
	hAuthorization
	hCallID
	hChargingVector
	hContact
	hContentLength
	hContentType
	hCSeq
	hExpires
	hFrom
	hPAI
	hRAck
	hReason
	hReferTo
	hReplaces
	hRSeq
	hServer
	hSessionID
	hTo
	hUserAgent
	hVia
	hXCallID
)

// headerOf knows a header field by its name, long or compact, in any case.
func headerOf(name []byte) header {
	switch len(name) {
	case 1:
		return compactHeader(name[0] | 0x20)
	case 2:
		return ifNamed(name, "to", hTo)
	case 3:
		return ifNamed(name, "via", hVia)
	case 4:
		switch name[1] | 0x20 {
		case 'r':
			return ifNamed(name, "from", hFrom)
		case 's':
			if name[0]|0x20 == 'c' {
				return ifNamed(name, "cseq", hCSeq)
			}
			return ifNamed(name, "rseq", hRSeq)
		case 'a':
			return ifNamed(name, "rack", hRAck)
		}
	case 5:
		if name[0]|0x20 == 'x' {
			return ifNamed(name, "x-cid", hXCallID)
		}
	case 6:
		if name[0]|0x20 == 's' {
			return ifNamed(name, "server", hServer)
		}
		return ifNamed(name, "reason", hReason)
	case 7:
		switch name[1] | 0x20 {
		case 'a':
			return ifNamed(name, "call-id", hCallID)
		case 'o':
			return ifNamed(name, "contact", hContact)
		case 'x':
			return ifNamed(name, "expires", hExpires)
		}
	case 8:
		switch name[2] | 0x20 {
		case 'f':
			return ifNamed(name, "refer-to", hReferTo)
		case 'p':
			return ifNamed(name, "replaces", hReplaces)
		case 'c':
			return ifNamed(name, "x-callid", hXCallID)
		}
	case 9:
		if name[0]|0x20 == 'x' {
			return ifNamed(name, "x-call-id", hXCallID)
		}
	case 10:
		if name[0]|0x20 == 'u' {
			return ifNamed(name, "user-agent", hUserAgent)
		}
		return ifNamed(name, "session-id", hSessionID)
	case 12:
		return ifNamed(name, "content-type", hContentType)
	case 13:
		return ifNamed(name, "authorization", hAuthorization)
	case 14:
		return ifNamed(name, "content-length", hContentLength)
	case 17:
		if name[1] == '-' {
			return ifNamed(name, "p-charging-vector", hChargingVector)
		}
	case 19:
		if name[1] == '-' {
			return ifNamed(name, "p-asserted-identity", hPAI)
		}
		return ifNamed(name, "proxy-authorization", hAuthorization)
	}
	return hOther
}

// compactHeader knows the compact forms (RFC 3261 section 7.3.3, RFC 3515).
func compactHeader(c byte) header {
	switch c {
	case 'i':
		return hCallID
	case 'm':
		return hContact
	case 'l':
		return hContentLength
	case 'c':
		return hContentType
	case 'f':
		return hFrom
	case 'r':
		return hReferTo
	case 't':
		return hTo
	case 'v':
		return hVia
	}
	return hOther
}

func ifNamed(name []byte, want string, h header) header {
	if equalFold(name, want) {
		return h
	}
	return hOther
}

// equalFold compares b with lower, which has ASCII letters in lower case,
// hyphens and slashes only.
func equalFold(b []byte, lower string) bool {
	if len(b) != len(lower) {
		return false
	}
	for len(b) >= 4 && len(lower) >= 4 {
		have := uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3])<<24
		want := uint32(lower[0]) | uint32(lower[1])<<8 | uint32(lower[2])<<16 | uint32(lower[3])<<24
		if have|0x20202020 != want {
			return false
		}
		b, lower = b[4:], lower[4:]
	}
	for i := range min(len(b), len(lower)) {
		if b[i]|0x20 != lower[i] {
			return false
		}
	}
	return true
}

// EachHeader calls f with the name and value of each header field, in order,
// until f returns false. Both are borrowed; a value may be folded (see Unfold).
func (m *Message) EachHeader(f func(name, value []byte) bool) {
	b := m.Buf
	pos := bytes.IndexByte(b, '\n') + 1
	if pos == 0 {
		return
	}
	for {
		h := nextField(b, pos)
		if h.isEnd() || h.next < 0 {
			return
		}
		if h.nameEnd > pos && !f(b[pos:h.nameEnd], b[h.lo:h.hi]) {
			return
		}
		pos = h.next
	}
}

// EachReason calls f with each value of the Reason header fields (RFC 3326):
// protocol ("SIP", "Q.850"), cause, and text without its quotes, each empty
// where it is not there (see Unquote). They are borrowed.
func (m *Message) EachReason(f func(protocol, cause, text []byte)) {
	if m.ReasonHeader.IsZero() {
		return
	}
	m.EachHeader(func(name, v []byte) bool {
		if headerOf(name) != hReason {
			return true
		}
		for lo := 0; lo < len(v); {
			end := valueEnd(v, lo, len(v))
			semi := bytes.IndexByte(v[lo:end], ';')
			if semi < 0 {
				semi = end - lo
			}
			semi += lo
			protocol := v[lo:trimRight(v, lo, semi)]
			cause, text := param(v, semi, end, "cause"), param(v, semi, end, "text")
			if len(protocol) > 0 {
				f(protocol, cause.of(v), text.of(v))
			}
			lo = skipBlank(v, end+1, len(v))
		}
		return true
	})
}
