package filter

import (
	"fmt"

	"ringside/dataplane/frame"
)

// parser reads tokens by recursive descent. The grammar is that of libpcap: and
// and or bind equally, from left to right; not binds closer. A value without
// words before it takes those of the value before ("port 5060 or 5061").
type parser struct {
	text   string
	tokens []token
	at     int
	depth  int // of brackets and nots

	suspect *Error // why the last bracket with bytes of headers in it is no number
}

// maxDepth bounds nesting.
const maxDepth = 100

// words are the qualifiers before a value.
type words struct {
	proto token // of kind tokWord, or of none
	dir   direction
	of    string // host, net, port, portrange, proto; "" is host
	known bool   // there were any
}

func (p *parser) peek() *token { return &p.tokens[p.at] }

// take steps over the next token if it is one of what.
func (p *parser) take(what ...string) bool {
	for _, w := range what {
		if p.peek().is(w) {
			p.at++
			return true
		}
	}
	return false
}

// fail is an error at t.
func (p *parser) fail(t *token, format string, a ...any) error {
	return &Error{p.text, t.at, fmt.Sprintf(format, a...)}
}

// deeper counts a level of nesting; the caller undoes it with p.depth--.
func (p *parser) deeper() error {
	if p.depth++; p.depth > maxDepth {
		return p.fail(p.peek(), "more than %d brackets and nots in one another: write it flatter", maxDepth)
	}
	return nil
}

// parse reads the whole expression; nil is the empty one.
func (p *parser) parse() (*node, error) {
	if p.peek().kind == tokEnd {
		return nil, nil
	}
	n, _, err := p.expression(words{})
	if t := p.peek(); err == nil && t.kind != tokEnd {
		err = p.fail(t, "write and, or, or nothing before %q", t.text)
	}
	if err != nil && p.suspect != nil && p.suspect.At > err.(*Error).At {
		err = p.suspect
	}
	return n, err
}

// expression reads operands joined by and and or. It returns the qualifiers of
// the last one, which stand for values behind it.
func (p *parser) expression(q words) (*node, words, error) {
	n, q, err := p.operand(q)
	for err == nil {
		isAnd, second := p.take("and", "&&"), p.peek()
		if !isAnd && !p.take("or", "||") {
			break
		}
		if isAnd {
			second = p.peek()
		}
		var b *node
		if b, q, err = p.operand(q); err != nil {
			break
		}
		if !isAnd {
			n = either(n, b)
			continue
		}
		if asksVLAN(n) && asksVLAN(b) {
			return nil, q, p.fail(second, "only the outermost VLAN tag of a packet is known: leave out the second vlan")
		}
		n = all(n, b)
	}
	return n, q, err
}

// asksVLAN reports whether n holds only for packets of a VLAN.
func asksVLAN(n *node) bool {
	return n.join == leaf && n.test.kind == testVLAN || n.join == and && (asksVLAN(n.a) || asksVLAN(n.b))
}

// operand reads a test, a bracket, or a not with one of these.
func (p *parser) operand(q words) (*node, words, error) {
	if err := p.deeper(); err != nil {
		return nil, q, err
	}
	defer func() { p.depth-- }()
	if p.take("not", "!") {
		n, q, err := p.operand(q)
		if err != nil {
			return nil, q, err
		}
		return negate(n), q, nil
	}
	if n, ok, err := p.relation(); ok || err != nil {
		return n, words{}, err
	}
	t := p.peek()
	switch {
	case p.take("("):
		n, inside, err := p.expression(q)
		if err != nil {
			return nil, q, err
		}
		if !p.take(")") {
			return nil, q, p.fail(p.peek(), "a ) is missing here")
		}
		if inside != q {
			inside = words{} // as in libpcap: what is said in brackets stays there
		}
		return n, inside, nil
	case t.kind == tokEnd:
		return nil, q, p.fail(t, "the expression ends where a test is missing: write one, such as port 5060")
	case t.kind == tokSign, t.is("and"), t.is("or"):
		return nil, q, p.fail(t, "a test is missing before %q: write one, such as port 5060", t.text)
	case t.kind == tokWord && !t.escaped && isKeyword(t.text):
		return p.head()
	case !q.known && t.kind == tokWord && isKeyword(lower(t.text)):
		return nil, q, p.fail(t, "words are in lower case: write %s", lower(t.text))
	case !q.known && t.kind == tokWord:
		return nil, q, p.fail(t, "%q is no word of filters: names are not looked up; write an address behind host or net, a number behind port", t.text)
	case !q.known:
		return nil, q, p.fail(t, "what is %s? Write host, net, port, portrange or proto before it", t.text)
	}
	n, err := p.value(q)
	return n, q, err
}

// head reads a test that begins with a keyword.
func (p *parser) head() (*node, words, error) {
	first := p.peek()
	if says, ok := refused[first.text]; ok {
		return nil, words{}, p.fail(first, "%s: %s", first.text, says)
	}
	if n, ok, err := p.special(); ok || err != nil {
		return n, words{}, err
	}
	q := words{known: true}
	if isProto(first.text) {
		q.proto = *first
		p.at++
	}
	begun := p.at
	if err := p.direction(&q); err != nil {
		return nil, q, err
	}
	for _, of := range []string{"host", "net", "portrange", "port", "proto", "protochain"} {
		if p.take(of) {
			q.of = of
			break
		}
	}
	if p.at == begun && q.proto.kind == tokWord {
		n, err := p.protocol(first)
		return n, words{}, err
	}
	n, err := p.values(q)
	return n, q, err
}

// direction reads src, dst, and what joins them.
func (p *parser) direction(q *words) error {
	from, to := "src", "dst"
	switch {
	case p.take("src"):
		q.dir = srcEnd
	case p.take("dst"):
		q.dir, from, to = dstEnd, to, from
	default:
		return nil
	}
	switch joins, next := p.peek(), p.tokens[min(p.at+1, len(p.tokens)-1)]; {
	case !next.is("src") && !next.is("dst"):
	case !next.is(to):
		return p.fail(&next, "write %s, or src or dst", from)
	case joins.is("or"), joins.is("||"):
		q.dir = anyEnd
		p.at += 2
	case joins.is("and"), joins.is("&&"):
		q.dir = bothEnds
		p.at += 2
	}
	return nil
}

// values reads the value behind qualifiers, or some in brackets.
func (p *parser) values(q words) (*node, error) {
	if err := p.deeper(); err != nil {
		return nil, err
	}
	defer func() { p.depth-- }()
	if p.take("not", "!") {
		n, err := p.values(q)
		if err != nil {
			return nil, err
		}
		return negate(n), nil
	}
	if !p.take("(") {
		return p.value(q)
	}
	n, err := p.values(q)
	for err == nil {
		isAnd := p.take("and", "&&")
		if !isAnd && !p.take("or", "||") {
			break
		}
		var b *node
		if b, err = p.values(q); err != nil {
			break
		}
		if isAnd {
			n = all(n, b)
		} else {
			n = either(n, b)
		}
	}
	if err == nil && !p.take(")") {
		err = p.fail(p.peek(), "a ) is missing here")
	}
	return n, err
}

// special reads tests that are not qualifiers with a value.
func (p *parser) special() (*node, bool, error) {
	t := p.peek()
	if t.is("less") || t.is("greater") {
		p.at++
		n, err := p.number("a length in bytes")
		op := opLessEqual
		if t.is("greater") {
			op = opGreaterEqual
		}
		return one(test{kind: testValue, value: lengthRelation(op, n)}), true, err
	}
	if t.is("vlan") {
		p.at++
		id, anyID, err := p.optionalID(0xfff, "VLAN ids")
		return one(test{kind: testVLAN, id: id, any: anyID}), true, err
	}
	for _, w := range []struct {
		word string
		kind frame.TunnelKind
		most uint32
		ids  string
	}{
		{"mpls", frame.MPLS, 0xfffff, "labels"},
		{"pppoes", frame.PPPoE, 0xffff, "sessions"},
		{"vxlan", frame.VXLAN, 0xffffff, "VNIs"},
		{"geneve", frame.Geneve, 0xffffff, "VNIs"},
	} {
		if t.is(w.word) {
			p.at++
			id, anyID, err := p.optionalID(w.most, w.ids)
			return one(test{kind: testTunnel, tunnel: w.kind, id: id, any: anyID}), true, err
		}
	}
	next := &p.tokens[min(p.at+1, len(p.tokens)-1)]
	cast := t
	if isProto(t.text) && (next.is("multicast") || next.is("broadcast")) {
		cast = next
	}
	if cast.is("multicast") || cast.is("broadcast") {
		p.at++
		if cast == next {
			p.at++
		}
		n, err := p.cast(t, cast)
		return n, true, err
	}
	return nil, false, nil
}

// cast is the test that proto multicast, or broadcast, stands for.
func (p *parser) cast(proto, what *token) (*node, error) {
	broadcast := what.is("broadcast")
	switch {
	case proto == what, proto.is("ether"), proto.is("link"):
		if broadcast {
			return one(test{kind: testMAC, dir: dstEnd, mac: maxMAC, macMask: maxMAC}), nil
		}
		return one(test{kind: testMAC, dir: dstEnd, mac: 1 << 40, macMask: 1 << 40}), nil
	case broadcast:
		return nil, p.fail(proto, "which addresses of IP are broadcast is not known: name them with dst host, or write ether broadcast")
	case proto.is("ip"):
		return addrNode(dstEnd, 4, addr4(224<<24), 3), nil // from 224 on, as libpcap has it
	case proto.is("ip6"):
		return addrNode(dstEnd, 6, frame.Addr{Hi: 0xff << 56}, 8), nil
	}
	return nil, p.fail(proto, "write ip, ip6, ether or nothing before %s", what.text)
}

// number reads a number, which may stand in brackets.
func (p *parser) number(what string) (uint32, error) {
	brackets := 0
	for p.take("(") {
		brackets++
	}
	t := p.peek()
	if t.kind != tokNumber {
		return 0, p.fail(t, "%s is missing here: write a number", what)
	}
	p.at++
	for range brackets {
		if !p.take(")") {
			return 0, p.fail(p.peek(), "a ) is missing here")
		}
	}
	return uint32(t.number), nil
}

// optionalID reads an id of up to most, if one follows.
func (p *parser) optionalID(most uint32, ids string) (uint32, bool, error) {
	at, t := p.at, p.peek()
	for p.peek().is("(") {
		p.at++
	}
	follows := p.peek().kind == tokNumber
	if p.at = at; !follows {
		return 0, true, nil
	}
	id, err := p.number("an id")
	if err == nil && id > most {
		err = p.fail(t, "%s go up to %d", ids, most)
	}
	return id, false, err
}
