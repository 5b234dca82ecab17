package sip

import "bytes"

// Head is what the start line and the header section of a message say about
// where it ends in a stream (RFC 3261 section 18.3).
type Head struct {
	Len  int   // bytes of start line and header section, with the empty line behind
	Body int64 // Content-Length, -1: none

	// Next, if not 0, is where another start line stands within the header
	// section. What stands before it is no message, but the rest of one.
	Next int
}

// HeadEnd is where the header section ends whose message b begins with: behind
// its empty line. It is 0 where b ends before. The first from bytes are known to
// have no end, from an earlier call with less of the same stream.
func HeadEnd(b []byte, from int) int {
	for i := max(from-3, 0); ; {
		eol := bytes.IndexByte(b[i:], '\n')
		if eol < 0 {
			return 0
		}
		i += eol + 1
		switch {
		case i < len(b) && b[i] == '\n':
			return i + 1
		case i+1 < len(b) && b[i] == '\r' && b[i+1] == '\n':
			return i + 2
		}
	}
}

// ReadHead reads a whole header section, which HeadEnd has found.
func ReadHead(b []byte) Head {
	const version, length = "SIP/2.0", "content-length"
	h := Head{Len: len(b), Body: -1}
	for pos := bytes.IndexByte(b, '\n') + 1; pos < len(b); {
		eol := bytes.IndexByte(b[pos:], '\n')
		if eol < 0 {
			break
		}
		line := b[pos : pos+eol]
		if n := len(line); n > len(version) {
			if line[n-1] == '\r' {
				n--
			}
			if (line[n-1] == '0' && string(line[n-len(version):n]) == version || string(line[:4]) == version[:4]) && Looks(b[pos:]) {
				h.Next = pos
				break
			}
		}
		if len(line) > 0 && h.Body < 0 && (line[0]|0x20 == 'c' || line[0]|0x20 == 'l') {
			f := nextField(b, pos)
			if n := f.nameEnd - pos; (n == 1 || n == len(length)) && headerOf(b[pos:f.nameEnd]) == hContentLength {
				h.Body = number(b, f.lo, f.hi)
			}
		}
		pos += eol + 1
	}
	return h
}

// NextStart is the first line of b at from or behind that begins as a SIP
// message (Looks), or -1. The byte at from counts as the begin of a line.
func NextStart(b []byte, from int) int {
	for from < len(b) {
		if b[from] > ' ' && Looks(b[from:]) {
			return from
		}
		eol := bytes.IndexByte(b[from:], '\n')
		if eol < 0 {
			break
		}
		from += eol + 1
	}
	return -1
}

// Might reports whether b, which has no line end, can be the begin of a start
// line: a method or the SIP version, and what has come of the line after it.
func Might(b []byte) bool {
	const longest = 32 // bytes of a method's name
	i := during(b, 0, min(len(b), longest+1), cToken)
	switch {
	case i == len(b):
		return i <= longest
	case i == 0:
		return false
	case b[i] == '/':
		const version = "SIP/2.0 "
		n := min(len(b), len(version))
		return string(b[:n]) == version[:n]
	case b[i] != ' ' && b[i] != '\t':
		return false
	}
	i = skipBlank(b, i, len(b))
	if i < len(b) && b[i] == '<' {
		i++
	}
	scheme := i
	for i < len(b) && (is(b[i], cAlpha|cDigit) || b[i] == '+' || b[i] == '-' || b[i] == '.') {
		i++
	}
	return i == len(b) || i > scheme && b[i] == ':'
}
