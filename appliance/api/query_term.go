package api

import (
	"strings"
)

// term reads one condition.
func (p *parser[T]) term() (node[T], *QueryError) {
	t := p.next()
	if t.kind != 'w' || p.isJoin(t) {
		return node[T]{}, p.missing(t)
	}
	if p.terms++; p.terms > maxTerms {
		return node[T]{}, wrong(p.src, t.from, t.to, "the filter has more than %d conditions", maxTerms)
	}
	op := p.peek()
	if op.kind != 'o' {
		f := p.lang.field(p.lang.bare(t.text))
		return p.condition(f, ":", t)
	}
	f := p.lang.field(t.text)
	if f == nil || t.quoted {
		return node[T]{}, wrong(p.src, t.from, t.to, "there is no field %q%s", t.text, p.lang.like(t.text))
	}
	p.next()
	v := p.peek()
	if v.kind != 'w' {
		return node[T]{}, wrong(p.src, op.from, op.to, "a value is missing behind %q, such as %s%s%s", f.name+op.text, f.name, op.text, f.sample)
	}
	p.next()
	if strings.ContainsAny(op.text, "<>") && !f.compares() {
		return node[T]{}, wrong(p.src, op.from, op.to, "%s has no order: write %s:%s", f.name, f.name, f.sample)
	}
	return p.condition(f, op.text, v)
}

// isJoin reports whether a token joins conditions, and so cannot be one.
func (p *parser[T]) isJoin(t token) bool {
	if t.quoted || p.peek().kind == 'o' {
		return false
	}
	return strings.EqualFold(t.text, "and") || strings.EqualFold(t.text, "or")
}

// missing says that a condition was expected at a token.
func (p *parser[T]) missing(t token) *QueryError {
	switch t.kind {
	case 0:
		return wrong(p.src, t.from, t.to, "a condition is missing at the end")
	case 'o':
		return wrong(p.src, t.from, t.to, "a field is missing before %q", t.text)
	}
	return wrong(p.src, t.from, t.to, "a condition is missing before %q", t.text)
}

// condition compiles a field with one value or several.
func (p *parser[T]) condition(f *field[T], op string, v token) (node[T], *QueryError) {
	negate := op == "!="
	if op == "=" || op == "!=" {
		op = ":"
	}
	values := []string{v.text}
	if !v.quoted && op == ":" {
		values = strings.FieldsFunc(v.text, func(r rune) bool { return r == ',' || r == '|' })
	}
	if len(values) == 0 || values[0] == "" {
		return node[T]{}, wrong(p.src, v.from, v.to, "the value of %s is empty: write one, such as %s", f.name, f.sample)
	}
	if p.terms += len(values) - 1; p.terms > maxTerms {
		return node[T]{}, wrong(p.src, v.from, v.to, "the filter has more than %d conditions", maxTerms)
	}
	any := make([]func(T) bool, len(values))
	for i, value := range values {
		m, err := f.compile(op, value)
		if err != nil {
			return node[T]{}, wrong(p.src, v.from, v.to, "%s: %v", f.name, err)
		}
		any[i] = m
	}
	t := &term[T]{field: f, op: op, values: values, match: func(v T) bool {
		for _, m := range any {
			if m(v) {
				return true
			}
		}
		return false
	}}
	n := node[T]{term: t, match: t.match}
	if negate {
		n = negated(n)
	}
	return n, nil
}

// like suggests fields for a name that is none.
func (l *language[T]) like(name string) string {
	var found []string
	for _, f := range l.fields {
		for _, n := range append([]string{f.name}, f.also...) {
			if near(strings.ToLower(name), n) {
				found = append(found, f.name)
				break
			}
		}
	}
	if len(found) == 0 || len(found) > 4 {
		var all []string
		for _, f := range l.fields {
			all = append(all, f.name)
		}
		return ": there are " + strings.Join(all, ", ")
	}
	return ": did you mean " + strings.Join(found, " or ") + "?"
}

// near reports whether two names differ by little: one begins like the other, or
// a letter was added, left out or mistaken.
func near(a, b string) bool {
	if len(a) >= 2 && (strings.HasPrefix(b, a) || strings.HasPrefix(a, b)) {
		return true
	}
	if len(a) > len(b) {
		a, b = b, a
	}
	if len(b)-len(a) > 1 || len(a) < 2 {
		return false
	}
	i := 0
	for i < len(a) && a[i] == b[i] {
		i++
	}
	if len(a) == len(b) {
		return i == len(a) || a[i+1:] == b[i+1:] || i+2 <= len(a) && a[i+2:] == b[i+2:] && a[i] == b[i+1] && a[i+1] == b[i]
	}
	return a[i:] == b[i+1:]
}
