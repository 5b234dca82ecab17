package api

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"ringside/writer/store"
)

// The filter language. A condition is a field, an operator and a value, as in
// caller:+4930*, mos<3.5 or outcome:busy,no-answer; conditions are joined by and
// (which may be left out), or, not and parentheses. A word alone is looked for
// among numbers, addresses and Call-IDs.
//
// It is the same for calls, calls that go on, and SIP as it comes: a language is
// its list of fields, over what T they are asked of.

// Limits of an expression. It comes from the network, and is compiled into calls
// that nest as deep as it does.
const (
	maxQuery = 4096 // bytes
	maxTerms = 64
	maxDepth = 24
)

// field is something that can be asked of a T.
type field[T any] struct {
	name   string
	also   []string // other names of it
	help   string
	ops    string   // operators beside : and =, such as "<>"
	values []string // that it may have, for completion
	sample string   // what a value looks like, for completion

	// compile makes a condition of one value.
	compile func(op, value string) (func(T) bool, error)
}

// compares reports whether the field has an order.
func (f *field[T]) compares() bool { return strings.Contains(f.ops, "<") }

// language is the fields of one kind of things.
type language[T any] struct {
	fields []field[T]
	bare   func(word string) string // the field that a word alone is a value of
}

func (l *language[T]) field(name string) *field[T] {
	for i := range l.fields {
		f := &l.fields[i]
		if strings.EqualFold(f.name, name) {
			return f
		}
		for _, a := range f.also {
			if strings.EqualFold(a, name) {
				return f
			}
		}
	}
	return nil
}

// term is one condition.
type term[T any] struct {
	field  *field[T]
	op     string   // : < <= > >=
	values []string // one of them is enough
	negate bool
	match  func(T) bool // whole, negation included
}

// expression is a parsed filter: a thing passes if every part holds.
type expression[T any] struct {
	terms []term[T]      // joined by and at the top
	rest  []func(T) bool // what else is joined to them: or, and what not stands before
	all   func(T) bool
}

// QueryError is what is wrong with a filter expression, and where.
type QueryError FilterError

func (e *QueryError) Error() string {
	return fmt.Sprintf("filter, character %d: %s", e.Pos+1, e.Text)
}

// token is a piece of an expression. Places are in bytes.
type token struct {
	kind     byte // w a word, o an operator, ( ) and 0 at the end
	text     string
	quoted   bool
	from, to int
}

// operators, the longer ones first.
var operators = []string{"!=", "<=", ">=", ":", "=", "<", ">"}

// operatorAt is the operator that s begins with.
func operatorAt(s string) string {
	for _, op := range operators {
		if strings.HasPrefix(s, op) {
			return op
		}
	}
	return ""
}

// scan cuts an expression into tokens. After an operator everything up to a
// blank or parenthesis is the value, colons included: addresses have some.
func scan(s string) ([]token, *QueryError) {
	var out []token
	value := false
	for i := 0; i < len(s); {
		c := s[i]
		op := ""
		if !value {
			op = operatorAt(s[i:])
		}
		switch {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r':
			i++
			continue
		case c == '(' || c == ')':
			out = append(out, token{kind: c, text: s[i : i+1], from: i, to: i + 1})
			i++
		case op != "":
			out = append(out, token{kind: 'o', text: op, from: i, to: i + len(op)})
			i += len(op)
		case c == '"':
			t, err := quoted(s, i)
			if err != nil {
				return out, err
			}
			out, i = append(out, t), t.to
		default:
			t := word(s, i, value)
			out, i = append(out, t), t.to
		}
		value = out[len(out)-1].kind == 'o'
	}
	return append(out, token{from: len(s), to: len(s)}), nil
}

func quoted(s string, at int) (token, *QueryError) {
	var b strings.Builder
	for i := at + 1; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s) && (s[i+1] == '"' || s[i+1] == '\\'):
			i++
			b.WriteByte(s[i])
		case s[i] == '"':
			return token{kind: 'w', text: b.String(), quoted: true, from: at, to: i + 1}, nil
		default:
			b.WriteByte(s[i])
		}
	}
	return token{}, wrong(s, at, len(s), "the quote is never closed: write \" at its end")
}

func word(s string, at int, value bool) token {
	i := at
	if end := strings.IndexAny(s[at:], " \t\r\n()"); !value { // an IPv6 address alone has colons, too
		piece := s[at:]
		if end >= 0 {
			piece = piece[:end]
		}
		if _, err := store.ParseAddr(piece); err == nil {
			return token{kind: 'w', text: piece, from: at, to: at + len(piece)}
		}
	}
	for i < len(s) && !strings.ContainsRune(" \t\r\n()", rune(s[i])) && (value || operatorAt(s[i:]) == "") {
		i++
	}
	return token{kind: 'w', text: s[at:i], from: at, to: i}
}

// wrong is an error between two places in bytes, which it turns into characters.
func wrong(s string, from, to int, format string, args ...any) *QueryError {
	from = min(from, len(s))
	to = min(max(to, from), len(s))
	return &QueryError{
		Pos:  utf8.RuneCountInString(s[:from]),
		Len:  max(1, utf8.RuneCountInString(s[from:to])),
		Text: fmt.Sprintf(format, args...),
	}
}

// parser walks over the tokens of an expression.
type parser[T any] struct {
	lang  *language[T]
	src   string
	toks  []token
	at    int
	terms int
}

// node is a part of an expression: a term, or several joined.
type node[T any] struct {
	term  *term[T]
	and   []node[T] // joined by and; empty otherwise
	match func(T) bool
}

// parse reads an expression. An empty one is met by everything.
func (l *language[T]) parse(src string) (*expression[T], *QueryError) {
	if len(src) > maxQuery {
		return nil, wrong(src, maxQuery, len(src), "the filter has more than %d bytes", maxQuery)
	}
	if !utf8.ValidString(src) {
		return nil, &QueryError{Text: "the filter is not valid UTF-8", Len: 1}
	}
	e := &expression[T]{all: func(T) bool { return true }}
	toks, err := scan(src)
	if err != nil {
		return nil, err
	}
	if len(toks) == 1 {
		return e, nil
	}
	p := &parser[T]{lang: l, src: src, toks: toks}
	n, err := p.or(0)
	if err != nil {
		return nil, err
	}
	if t := p.peek(); t.kind != 0 {
		return nil, wrong(src, t.from, t.to, "%q is too much: nothing is open here", t.text)
	}
	e.all = n.match
	e.take(n)
	return e, nil
}

// take sorts what and joins at the top into terms and the rest.
func (e *expression[T]) take(n node[T]) {
	switch {
	case n.term != nil:
		e.terms = append(e.terms, *n.term)
	case len(n.and) > 0:
		for _, m := range n.and {
			e.take(m)
		}
	default:
		e.rest = append(e.rest, n.match)
	}
}

func (p *parser[T]) peek() token { return p.toks[p.at] }

func (p *parser[T]) next() token {
	t := p.toks[p.at]
	if p.at < len(p.toks)-1 {
		p.at++
	}
	return t
}

// keyword reports whether the next token is a word of the language itself.
func (p *parser[T]) keyword(word string) bool {
	t := p.peek()
	if t.kind != 'w' || t.quoted || !strings.EqualFold(t.text, word) {
		return false
	}
	// A field or a value may be called like it.
	return p.toks[min(p.at+1, len(p.toks)-1)].kind != 'o'
}

func (p *parser[T]) or(depth int) (node[T], *QueryError) {
	n, err := p.and(depth)
	if err != nil || !p.keyword("or") {
		return n, err
	}
	any := []func(T) bool{n.match}
	for p.keyword("or") {
		p.next()
		m, err := p.and(depth)
		if err != nil {
			return n, err
		}
		any = append(any, m.match)
	}
	return node[T]{match: func(v T) bool {
		for _, m := range any {
			if m(v) {
				return true
			}
		}
		return false
	}}, nil
}

func (p *parser[T]) and(depth int) (node[T], *QueryError) {
	n, err := p.unary(depth)
	if err != nil {
		return n, err
	}
	all := []node[T]{n}
	for {
		if p.keyword("and") {
			p.next()
		} else if t := p.peek(); t.kind == 0 || t.kind == ')' || p.keyword("or") {
			break
		}
		m, err := p.unary(depth)
		if err != nil {
			return n, err
		}
		all = append(all, m)
	}
	if len(all) == 1 {
		return n, nil
	}
	return node[T]{and: all, match: func(v T) bool {
		for _, m := range all {
			if !m.match(v) {
				return false
			}
		}
		return true
	}}, nil
}

func (p *parser[T]) unary(depth int) (node[T], *QueryError) {
	t := p.peek()
	switch {
	case depth > maxDepth:
		return node[T]{}, wrong(p.src, t.from, t.to, "the filter nests deeper than %d levels", maxDepth)
	case p.keyword("not"):
		p.next()
		n, err := p.unary(depth + 1)
		if err != nil {
			return n, err
		}
		return negated(n), nil
	case t.kind == '(':
		p.next()
		n, err := p.or(depth + 1)
		if err != nil {
			return n, err
		}
		if end := p.next(); end.kind != ')' {
			return n, wrong(p.src, t.from, t.to, "the parenthesis is never closed")
		}
		return n, nil
	}
	return p.term()
}

func negated[T any](n node[T]) node[T] {
	match := n.match
	out := node[T]{match: func(v T) bool { return !match(v) }}
	if n.term != nil {
		t := *n.term
		t.negate, t.match = !t.negate, out.match
		out.term = &t
	}
	return out
}
