package sip

import (
	"bytes"
	"unicode/utf8"
)

// Get is the bytes of s, borrowed from m.Buf.
func (m *Message) Get(s Span) []byte { return s.of(m.Buf) }

// String is s as text that can be kept: unfolded, and without the escapes where
// it is (part of) a quoted string, which a span just behind a quote is. What is
// not UTF-8 is read as Latin-1.
func (m *Message) String(s Span) string {
	if s.Off > 0 && m.Buf[s.Off-1] == '"' {
		return Unquote(m.Get(s))
	}
	return text(m.Get(s))
}

// Unquote is the text of the inside of a quoted string as it can be kept: escapes
// (RFC 3261 section 25.1, quoted-pair) and folds are gone, and what is not UTF-8
// is read as Latin-1.
func Unquote(b []byte) string {
	if bytes.IndexByte(b, '\\') < 0 {
		return text(b)
	}
	plain := make([]byte, 0, len(b))
	for i := 0; i < len(b); i++ {
		if b[i] == '\\' && i+1 < len(b) {
			i++
		}
		plain = append(plain, b[i])
	}
	return text(plain)
}

// text is b unfolded and in UTF-8.
func text(b []byte) string {
	if bytes.IndexByte(b, '\n') >= 0 {
		b = Unfold(nil, b)
	}
	if utf8.Valid(b) {
		return string(b)
	}
	r := make([]rune, len(b))
	for i, c := range b {
		r[i] = rune(c)
	}
	return string(r)
}

// Unfold appends value v to dst with a single space for each fold (RFC 3261
// section 7.3.1): a line end and the blanks around it.
func Unfold(dst, v []byte) []byte {
	for len(v) > 0 {
		eol := bytes.IndexByte(v, '\n')
		if eol < 0 {
			return append(dst, v...)
		}
		dst = append(dst, v[:trimRight(v, 0, eol)]...)
		dst = append(dst, ' ')
		v = v[skipBlank(v, eol, len(v)):]
	}
	return dst
}
