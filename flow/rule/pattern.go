package rule

import (
	"errors"
	"strings"
)

// pattern is a text with anything before it, behind it, or both.
type pattern struct {
	text       string // in lower case where case does not count
	fold       bool
	head, tail bool // anything may stand before, behind
}

// errStar tells where a star may stand.
var errStar = errors.New(`'*' stands at the start or the end: write \* for the character itself`)

// parsePattern reads a word of a rule. A backslash takes the next character as
// it is.
func parsePattern(raw string, fold bool) (pattern, error) {
	p := pattern{fold: fold}
	var b strings.Builder
	for i := 0; i < len(raw); i++ {
		switch c := raw[i]; {
		case c == '\\' && i+1 < len(raw):
			i++
			b.WriteByte(raw[i])
		case c != '*':
			b.WriteByte(c)
		case i == 0:
			p.head = true
		case i == len(raw)-1:
			p.tail = true
		default:
			return p, errStar
		}
	}
	p.text = b.String()
	if fold {
		p.text = lower(p.text)
	}
	if p.text == "" { // anything, or nothing
		p.head, p.tail = p.head || p.tail, p.head || p.tail
	}
	return p, nil
}

// String is the pattern as parsePattern reads it, in quotes if it needs them.
func (p pattern) String() string {
	if p.text == "" {
		return onlyIf(p.head, "*", `""`)
	}
	var b strings.Builder
	if p.head {
		b.WriteByte('*')
	}
	for i := range len(p.text) {
		if c := p.text[i]; c == '*' || c == '\\' || c == '"' {
			b.WriteByte('\\')
		}
		b.WriteByte(p.text[i])
	}
	if p.tail {
		b.WriteByte('*')
	}
	return quoted(b.String())
}

func onlyIf(cond bool, a, b string) string {
	if cond {
		return a
	}
	return b
}

// quoted puts a word into quotes that would not be one word without.
func quoted(raw string) string {
	if raw == "" || strings.EqualFold(raw, "or") || strings.EqualFold(raw, "not") || raw[0] == '#' || strings.ContainsAny(raw, " \t,|<>") || strings.Contains(raw, "->") {
		return `"` + raw + `"`
	}
	return raw
}

// match says whether one of the patterns fits.
func match(ps []pattern, b []byte) bool {
	for i := range ps {
		if ps[i].match(b) {
			return true
		}
	}
	return false
}

func (p *pattern) match(b []byte) bool {
	n := len(p.text)
	if len(b) < n {
		return false
	}
	switch {
	case p.head && p.tail:
		for i := 0; i+n <= len(b); i++ {
			if p.same(b[i : i+n]) {
				return true
			}
		}
		return false
	case p.head:
		return p.same(b[len(b)-n:])
	case p.tail:
		return p.same(b[:n])
	}
	return len(b) == n && p.same(b)
}

func (p *pattern) same(b []byte) bool {
	if p.fold {
		return equalFold(b, p.text)
	}
	return string(b) == p.text
}

// equalFold compares bytes with a text in lower case; only ASCII letters have
// one.
func equalFold(b []byte, low string) bool {
	if len(b) != len(low) {
		return false
	}
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			c |= 0x20
		}
		if c != low[i] {
			return false
		}
	}
	return true
}

// lower is s with its ASCII letters in lower case.
func lower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			b[i] |= 0x20
		}
	}
	return string(b)
}
