package sip

import "bytes"

// Limits of one message. A UDP datagram holds 64 KiB; over a stream they keep a
// peer that never ends its header section from holding memory.
const (
	MaxHeaderBytes = 64 << 10
	MaxHeaders     = 1024

	maxMessage = 1 << 30 // bytes; keeps every Span in 32 bits
)

// Parse reads the message at the start of b and returns how many bytes of b it
// takes, with the empty lines before it (RFC 3261 section 7.5): up to the end of
// the body as Content-Length says, or all of b where it says nothing or more than
// there is (FlagCut). m borrows b.
//
// The error is a Reason. With NoCallID, NoCSeq, BadCSeq, NoFrom and NoTo the
// message is whole otherwise: n is its length, and m holds the rest of it. With
// Empty, n is the length of the empty lines. Else n is 0.
//
// A header line that b ends in the middle of is not read, because a Call-ID or a
// tag cut short would be taken for another one.
func (m *Message) Parse(b []byte) (n int, err error) {
	*m = Message{}
	m.Expires, m.ContentLen = -1, -1
	if len(b) > maxMessage {
		b = b[:maxMessage]
	}
	skip := leadingEmpty(b)
	b = b[skip:]
	m.Buf = b
	if len(b) == 0 {
		return skip, Empty
	}
	pos, err := m.startLine(b)
	if err != nil {
		return 0, err
	}
	cseq, pos, err := m.headers(b, pos)
	if err != nil {
		return 0, err
	}
	end := m.body(b, pos)
	m.Buf = b[:end:end]
	return skip + end, m.complete(cseq)
}

// leadingEmpty is the length of the line ends that b begins with.
func leadingEmpty(b []byte) int {
	i := 0
	for i < len(b) && (b[i] == '\r' || b[i] == '\n') {
		i++
	}
	return i
}

// startLine reads the request or status line and returns where the header
// section begins.
func (m *Message) startLine(b []byte) (int, error) {
	next := bytes.IndexByte(b[:min(len(b), MaxHeaderBytes)], '\n') + 1
	if next == 0 {
		if isVersion(b, 0) {
			return 0, BadStartLine
		}
		return 0, NotSIP
	}
	end := trimRight(b, 0, next)
	if isVersion(b[:end], 0) {
		return next, m.statusLine(b, end)
	}
	return next, m.requestLine(b, end)
}

// requestLine reads METHOD SP URI SP SIP/2.0 in b[:end] (RFC 3261 section 7.1).
// The URI is all between the method and the version, blanks too.
func (m *Message) requestLine(b []byte, end int) error {
	v := versionAt(b[:end])
	if v < 0 {
		return NotSIP
	}
	i := during(b, 0, v, cToken)
	lo, hi := skipBlank(b, i, v), trimRight(b, i, v)
	if i == 0 || lo == i || hi <= lo {
		return BadStartLine
	}
	if !bytes.HasPrefix(b[v+4:end], []byte("2.0")) {
		return BadVersion
	}
	m.MethodName = span(0, i)
	m.Method = ParseMethod(b[:i])
	if b[lo] == '<' && b[hi-1] == '>' {
		lo, hi = lo+1, hi-1
	}
	m.RequestURI.uri(b, lo, hi)
	return nil
}

// statusLine reads SIP/2.0 SP code SP reason in b[:end] (RFC 3261 section 7.2).
func (m *Message) statusLine(b []byte, end int) error {
	const version = len("SIP/2.0")
	if end < version || string(b[4:version]) != "2.0" {
		return BadVersion
	}
	lo := skipBlank(b, version, end)
	hi := during(b, lo, end, cDigit)
	if lo == version || lo == hi || hi < end && !is(b[hi], cBlank) {
		return BadStartLine
	}
	if hi-lo != 3 || b[lo] < '1' || b[lo] > '6' {
		return BadStatus
	}
	m.Response = true
	m.Status = uint16(b[lo]-'0')*100 + uint16(b[lo+1]-'0')*10 + uint16(b[lo+2]-'0')
	m.Reason = span(skipBlank(b, hi, end), end)
	return nil
}

// headers reads the header section that begins at pos and returns the value of
// CSeq and where the body begins.
func (m *Message) headers(b []byte, pos int) (cseq Span, body int, err error) {
	s := b[:min(len(b), MaxHeaderBytes)]
	var from, to, length Span // whole values, to tell a repetition from a contradiction
	for {
		f := nextField(s, pos)
		switch {
		case f.next < 0 && len(s) < len(b):
			return cseq, 0, HeaderTooLong
		case f.next < 0:
			m.Flags |= FlagOpen
			return cseq, len(b), nil
		case f.isEnd():
			return cseq, f.next, nil
		case f.nameEnd <= pos:
			m.Bad++
			pos = f.next
			continue
		}
		if m.Headers++; m.Headers > MaxHeaders {
			return cseq, 0, TooManyHeaders
		}
		v := span(f.lo, f.hi)
		switch headerOf(s[pos:f.nameEnd]) {
		case hCallID:
			m.first(&m.CallID, v)
		case hCSeq:
			m.first(&cseq, v)
		case hFrom:
			if m.first(&from, v) {
				m.From.parse(s, f.lo, f.hi)
			}
		case hTo:
			if m.first(&to, v) {
				m.To.parse(s, f.lo, f.hi)
			}
		case hContact:
			if m.Contact.URI.IsZero() && string(m.Get(v)) != "*" {
				m.Contact.parseFirst(s, f.lo, f.hi)
			}
		case hPAI:
			if m.PAI.URI.IsZero() {
				m.PAI.parseFirst(s, f.lo, f.hi)
			}
		case hVia:
			m.via(s, f.lo, f.hi)
		case hContentLength:
			if m.first(&length, v) {
				m.ContentLen = number(s, f.lo, f.hi)
			}
		case hContentType:
			m.first(&m.ContentType, v)
		case hExpires:
			if m.Expires < 0 {
				m.Expires = min(number(s, f.lo, f.hi), 1<<32-1)
			}
		case hRSeq, hRAck:
			if n := number(s, f.lo, f.hi); n >= 0 && n < 1<<32 {
				m.RSeq = uint32(n)
			}
		case hAuthorization:
			if m.AuthUser.IsZero() {
				m.AuthUser = authParam(s, f.lo, f.hi, "username")
			}
		case hUserAgent:
			keep(&m.UserAgent, v)
		case hServer:
			keep(&m.Server, v)
		case hReason:
			keep(&m.ReasonHeader, v)
		case hSessionID:
			keep(&m.SessionID, v)
		case hReferTo:
			keep(&m.ReferTo, v)
		case hReplaces:
			keep(&m.Replaces, v)
		case hXCallID:
			keep(&m.XCallID, v)
		case hChargingVector:
			keep(&m.ChargingVector, v)
		}
		pos = f.next
	}
}

// keep sets s to v unless it is set.
func keep(s *Span, v Span) {
	if s.IsZero() {
		*s = v
	}
}

// first sets s to v and reports true, unless it is set; then it notes whether v
// contradicts it.
func (m *Message) first(s *Span, v Span) bool {
	if s.IsZero() {
		*s = v
		return true
	}
	if !bytes.Equal(m.Get(*s), m.Get(v)) {
		m.Flags |= FlagRepeated
	}
	return false
}

// via reads a Via header, which may hold several values.
func (m *Message) via(b []byte, lo, hi int) {
	for lo < hi {
		end := valueEnd(b, lo, hi)
		if m.Via.IsZero() {
			m.Via = span(lo, trimRight(b, lo, end))
			if semi := bytes.IndexByte(b[lo:end], ';'); semi >= 0 {
				m.Branch = param(b, lo+semi, end, "branch")
			}
		}
		if m.Vias < 255 {
			m.Vias++
		}
		lo = skipBlank(b, end+1, hi)
	}
}

// body frames the body that begins at pos and returns where it ends.
func (m *Message) body(b []byte, pos int) int {
	end := len(b)
	switch rest := int64(end - pos); {
	case m.ContentLen > rest:
		m.Flags |= FlagCut
	case m.ContentLen >= 0 && m.ContentLen < rest:
		m.Flags |= FlagTrailing
		end = pos + int(m.ContentLen)
	}
	m.Body = span(pos, end)
	return end
}

// complete checks that the message has what puts it to a call, and reads CSeq.
func (m *Message) complete(cseq Span) error {
	if m.CallID.IsZero() {
		return NoCallID
	}
	if cseq.IsZero() {
		return NoCSeq
	}
	if !m.cseq(int(cseq.Off), int(cseq.Off+cseq.Len)) {
		return BadCSeq
	}
	if m.From.URI.IsZero() {
		return NoFrom
	}
	if m.To.URI.IsZero() {
		return NoTo
	}
	return nil
}

// cseq reads number and method (RFC 3261 section 20.16).
func (m *Message) cseq(lo, hi int) bool {
	b := m.Buf
	n := number(b, lo, hi)
	lo = skipBlank(b, during(b, lo, hi, cDigit), hi)
	end := during(b, lo, hi, cToken)
	if n < 0 || n >= 1<<32 || end == lo {
		return false
	}
	m.CSeq = uint32(n)
	m.CSeqMethod = span(lo, end)
	if m.Response {
		m.Method = ParseMethod(b[lo:end])
	} else if !bytes.Equal(b[lo:end], m.Get(m.MethodName)) {
		m.Flags |= FlagMethod
	}
	return true
}

// Looks reports whether b begins as a SIP/2.0 message. It costs a few
// nanoseconds on anything else, and is meant for every datagram of a port that
// nothing is known about. It takes a little less than Parse: a request line must
// have a URI with a scheme.
func Looks(b []byte) bool {
	if len(b) > 0 && b[0] <= '\r' {
		b = b[leadingEmpty(b):]
	}
	i := during(b, 0, len(b), cToken)
	if i == 0 || i+len(" s: SIP/2.0\n") > len(b) {
		return false
	}
	if b[i] == '/' && i == 3 && isVersion(b, 0) {
		return string(b[4:8]) == "2.0 "
	}
	if b[i] != ' ' && b[i] != '\t' {
		return false
	}
	method := i
	i = skipBlank(b, i, len(b)) // also line ends, which fold header lines
	if i < len(b) && b[i] == '<' {
		i++
	}
	if schemeEnd(b, i, len(b)) < 0 {
		return false
	}
	end := bytes.IndexByte(b[method:], '\n') // of the line, which must hold the URI
	if end < 0 || method+end < i {
		return false
	}
	line := b[:trimRight(b, 0, method+end)]
	v := versionAt(line)
	return v > i && bytes.HasPrefix(line[v+4:], []byte("2.0"))
}

// isVersion reports whether "SIP/" stands at b[i:], in any case (RFC 3261
// section 7.1).
func isVersion(b []byte, i int) bool {
	return len(b)-i >= 4 && b[i]|0x20 == 's' && b[i+1]|0x20 == 'i' && b[i+2]|0x20 == 'p' && b[i+3] == '/'
}

// versionAt is where the SIP version of a request line stands, the last word
// that begins with "SIP/", or -1.
func versionAt(line []byte) int {
	for i := len(line) - len("SIP/2.0"); i > 0; i-- {
		if isVersion(line, i) && is(line[i-1], cBlank) {
			return i
		}
	}
	return -1
}
