package filter

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// tokenKind is what a token can be.
type tokenKind uint8

const (
	tokEnd    tokenKind = iota
	tokSign             // operators and brackets; text says which
	tokWord             // keywords and names
	tokNumber           // number has the value
	tokQuad             // two to four decimal numbers with dots: number and bits
	tokSix              // an IPv6 address: addr
	tokMAC              // an Ethernet address: number
)

type token struct {
	kind    tokenKind
	escaped bool   // a word behind a backslash: a name even if it is a keyword
	bits    uint8  // of a tokQuad that were written: 16, 24 or 32
	at      int    // byte of the text
	end     int    // byte behind it
	text    string // as written, without the backslash
	number  uint64
	addr    netip.Addr
}

// is reports whether t is the sign or the keyword what.
func (t *token) is(what string) bool {
	return (t.kind == tokSign || t.kind == tokWord && !t.escaped) && t.text == what
}

// signs, the longer ones first.
var signs = []string{"&&", "||", "==", "!=", "<=", ">=", "<<", ">>", "(", ")", "[", "]", "!", "&", "|", "^", "+", "-", "*", "/", "%", "<", ">", "=", ":"}

// lex splits text. The last token is a tokEnd.
func lex(text string) ([]token, error) {
	if len(text) > maxText {
		return nil, &Error{text, maxText, fmt.Sprintf("more than %d bytes: shorten the expression, or choose addresses by the allow-list", maxText)}
	}
	var tokens []token
	depth := 0 // in square brackets a colon is a sign, elsewhere part of an address
	for at := 0; ; {
		for at < len(text) && strings.IndexByte(" \t\r\n", text[at]) >= 0 {
			at++
		}
		if at == len(text) {
			return append(tokens, token{at: at, end: at}), nil
		}
		n := 0
		for at+n < len(text) && wordByte(text[at+n], n, depth > 0) {
			n++
		}
		if n == 0 {
			t, err := lexSign(text, at)
			if err != nil {
				return nil, err
			}
			switch t.text {
			case "[":
				depth++
			case "]":
				depth = max(depth-1, 0)
			}
			tokens = append(tokens, t)
			at = t.end
			continue
		}
		t, says := lexWord(text[at : at+n])
		if says != "" {
			return nil, &Error{text, at, says}
		}
		t.at, t.end = at, at+n
		tokens = append(tokens, t)
		at += n
	}
}

// wordByte reports whether c, the nth of its word, belongs to the word.
func wordByte(c byte, n int, bracketed bool) bool {
	switch {
	case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_':
		return true
	case c == '\\':
		return n == 0
	case c == ':':
		return !bracketed
	}
	return n > 0 && (c == '-' || c == '.')
}

func lexSign(text string, at int) (token, error) {
	for _, s := range signs {
		if strings.HasPrefix(text[at:], s) {
			return token{kind: tokSign, at: at, end: at + len(s), text: s}, nil
		}
	}
	return token{}, &Error{text, at, "an expression has no such sign: write words, addresses, numbers and operators only"}
}

// lexWord says what a word is, or what is wrong with it.
func lexWord(s string) (token, string) {
	t := token{kind: tokWord, text: s}
	switch {
	case s[0] == '\\':
		if t.text, t.escaped = s[1:], true; len(s) == 1 {
			return t, "a backslash stands before a name that is a keyword too: \\tcp"
		}
	case isMAC(s, &t.number):
		t.kind = tokMAC
	case strings.Contains(s, ":"):
		a, err := netip.ParseAddr(s)
		if err != nil {
			return t, fmt.Sprintf("%q is neither an IPv6 address nor an Ethernet address", s)
		}
		t.kind, t.addr = tokSix, a
	case s[0] >= '0' && s[0] <= '9' && strings.Trim(s, "0123456789.") == "" && strings.Contains(s, "."):
		return lexQuad(t)
	case s[0] >= '0' && s[0] <= '9':
		n, err := strconv.ParseUint(s, 0, 32) // 0x5f, 0137
		if err == nil && !strings.Contains(s, "_") {
			t.kind, t.number = tokNumber, n
		} else if err != nil && strings.Trim(s, "0123456789") == "" {
			return t, fmt.Sprintf("%s: numbers are octal behind a 0, and go up to 4294967295", s)
		}
	}
	return t, ""
}

// lexQuad reads two to four numbers with dots between.
func lexQuad(t token) (token, string) {
	parts := strings.Split(t.text, ".")
	if len(parts) > 4 {
		return t, fmt.Sprintf("%s is no IPv4 address: it has more than four numbers", t.text)
	}
	for _, part := range parts {
		n, err := strconv.ParseUint(part, 10, 8)
		if err != nil {
			return t, fmt.Sprintf("%s is no IPv4 address: write numbers from 0 to 255 between the dots", t.text)
		}
		t.number = t.number<<8 | n
		t.bits += 8
	}
	t.kind = tokQuad
	t.number <<= 32 - t.bits
	return t, ""
}

// isMAC reads an Ethernet address: six numbers with colons or dashes, or three
// with dots.
func isMAC(s string, to *uint64) bool {
	sep, groups, bits := ":", 6, 8
	switch {
	case strings.Contains(s, "-"):
		sep = "-"
	case strings.Contains(s, "."):
		sep, groups, bits = ".", 3, 16
	}
	parts := strings.Split(s, sep)
	if len(parts) != groups {
		return false
	}
	v := uint64(0)
	for _, part := range parts {
		n, err := strconv.ParseUint(part, 16, bits)
		if err != nil || len(part) > bits/4 || sep == "." && len(part) != 4 {
			return false
		}
		v = v<<bits | n
	}
	*to = v
	return true
}
