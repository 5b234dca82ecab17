package rule

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Error is what is wrong with a set of rules, and where.
type Error struct {
	Line, Col int // from 1; columns are characters
	Text      string
}

func (e *Error) Error() string {
	return fmt.Sprintf("line %d, column %d: %s", e.Line, e.Col, e.Text)
}

// token is a word of a line, or one of the signs , | < > and ->.
type token struct {
	sign string // empty for a word
	text string // a word without its quotes, with its backslashes
	bare bool   // a word without quotes
	at   int    // byte of the line
}

// is says whether the token is a keyword or a sign.
func (t *token) is(what string) bool {
	return t.sign == what || t.bare && strings.EqualFold(t.text, what)
}

func (t *token) String() string {
	if t.sign != "" {
		return "'" + t.sign + "'"
	}
	return fmt.Sprintf("%q", t.text)
}

// lexer takes a line apart.
type lexer struct {
	line   string
	number int
}

func (l *lexer) fail(at int, format string, args ...any) error {
	return &Error{l.number, 1 + utf8.RuneCountInString(l.line[:at]), fmt.Sprintf(format, args...)}
}

// tokens takes the line apart from a place on. A # where a word could begin ends
// it.
func (l *lexer) tokens(at int) ([]token, error) {
	var out []token
	for at < len(l.line) {
		rest := l.line[at:]
		switch {
		case rest[0] == ' ' || rest[0] == '\t':
			at++
		case rest[0] == '#':
			return out, nil
		case strings.HasPrefix(rest, "->"):
			out = append(out, token{sign: "->", at: at})
			at += 2
		case strings.IndexByte(",|<>", rest[0]) >= 0:
			out = append(out, token{sign: rest[:1], at: at})
			at++
		case rest[0] == '"':
			n := wordEnd(rest[1:], `"`)
			if 1+n == len(rest) {
				return nil, l.fail(at, "the quote does not end: add a \"")
			}
			out = append(out, token{text: rest[1 : 1+n], at: at})
			at += n + 2
		default:
			n := wordEnd(rest, " \t,|<>\"")
			if strings.HasPrefix(rest[n:], ">") && rest[n-1] == '-' {
				n-- // an arrow without a blank before it
			}
			out = append(out, token{text: rest[:n], bare: true, at: at})
			at += n
		}
	}
	return out, nil
}

// wordEnd is where a word ends: before one of these characters without a
// backslash.
func wordEnd(s, ends string) int {
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		} else if strings.IndexByte(ends, s[i]) >= 0 {
			return i
		}
	}
	return len(s)
}
