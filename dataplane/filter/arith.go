package filter

// comparisons by their signs.
var comparisons = map[string]opcode{
	">": opGreater, ">=": opGreaterEqual, "=": opEqual, "==": opEqual, "<=": opLessEqual, "<": opLess, "!=": opNotEqual,
}

// operators from the loosest to the closest, as in libpcap's grammar.
var operators = [...]map[string]opcode{
	{"|": opOr},
	{"&": opAnd},
	{"<<": opShiftLeft, ">>": opShiftRight},
	{"+": opAdd, "-": opSub},
	{"*": opMul, "/": opDiv},
}

// greedy are operators that libpcap's grammar gives no rank: what stands left of
// one is the nearest operand, what stands right of it all that follows.
var greedy = map[string]opcode{"^": opXor, "%": opMod}

// relation reads a comparison of numbers, if one begins here. A bracket, or a
// number, may begin one or something else: then it is read again.
func (p *parser) relation() (*node, bool, error) {
	t, next := p.peek(), &p.tokens[min(p.at+1, len(p.tokens)-1)]
	sure := isProto(t.text) && t.kind == tokWord && !t.escaped && next.is("[") || t.is("len") || t.is("-")
	if !sure && !t.is("(") && t.kind != tokNumber {
		return nil, false, nil
	}
	begin := p.at
	r := &relation{}
	err := p.arithmetic(r, 0)
	compare, ok := comparisons[p.peek().text]
	if ok = ok && p.peek().kind == tokSign; !ok || err != nil {
		if err == nil {
			err = p.fail(p.peek(), "a comparison is missing here, such as = 5")
		}
		if sure {
			return nil, false, err
		}
		if r.loads {
			p.suspect = err.(*Error)
		}
		p.at = begin
		return nil, false, nil
	}
	p.at++
	r.compare = compare
	if err := p.arithmetic(r, 0); err != nil {
		return nil, false, err
	}
	if high := stackOf(r.steps); high > maxStack {
		return nil, false, p.fail(&p.tokens[begin], "the numbers are nested too deeply: write fewer brackets")
	}
	return one(test{kind: testValue, value: r}), true, nil
}

// stackOf is how many values the steps hold at most.
func stackOf(steps []step) int {
	n, most := 0, 0
	for _, s := range steps {
		switch s.op {
		case opNumber, opLength:
			n++
		case opLoad, opNegate:
		default:
			n--
		}
		most = max(most, n)
	}
	return most
}

// arithmetic reads operands joined by operators of a level, or closer ones.
func (p *parser) arithmetic(r *relation, level int) error {
	ranked, right := greedy, 0
	if level < len(operators) {
		ranked, right = operators[level], level+1
		if err := p.arithmetic(r, level+1); err != nil {
			return err
		}
	} else if err := p.term(r); err != nil {
		return err
	}
	for {
		sign := p.peek()
		op, ok := ranked[sign.text]
		if !ok || sign.kind != tokSign {
			return nil
		}
		p.at++
		if err := p.deeper(); err != nil {
			return err
		}
		if err := p.arithmetic(r, right); err != nil {
			return err
		}
		p.depth--
		if last := r.steps[len(r.steps)-1]; (op == opDiv || op == opMod) && last.op == opNumber && last.value == 0 {
			return p.fail(sign, "division by zero")
		}
		r.steps = append(r.steps, step{op: op})
	}
}

// term reads a number, a bracket, len, or bytes of a header.
func (p *parser) term(r *relation) error {
	if err := p.deeper(); err != nil {
		return err
	}
	defer func() { p.depth-- }()
	t := p.peek()
	p.at++
	switch {
	case t.is("-"):
		if err := p.arithmetic(r, len(operators)); err != nil {
			return err
		}
		r.steps = append(r.steps, step{op: opNegate})
		return nil
	case t.is("("):
		if err := p.arithmetic(r, 0); err != nil {
			return err
		}
		if !p.take(")") {
			return p.fail(p.peek(), "a ) is missing here")
		}
		return nil
	case t.is("len"):
		r.steps = append(r.steps, step{op: opLength})
		return nil
	case t.kind == tokNumber:
		r.steps = append(r.steps, step{op: opNumber, value: uint32(t.number)})
		return nil
	case t.kind == tokWord && !t.escaped && isProto(t.text) && p.peek().is("["):
		return p.load(r, t)
	case t.kind == tokWord:
		if v, ok := offsets[t.text]; ok {
			r.steps = append(r.steps, step{op: opNumber, value: v})
			return nil
		}
	}
	p.at--
	return p.fail(t, "a number is missing here: write one, or bytes of a header such as udp[8:4]")
}

// load reads [offset] or [offset:size] behind the protocol t.
func (p *parser) load(r *relation, t *token) error {
	s := step{op: opLoad, size: 1}
	switch t.text {
	case "ip":
		s.proto = headIP4
	case "ip6":
		s.proto = headIP6
	case "udp", "tcp", "sctp":
		s.proto = protocols[t.text].number
	case "ether", "link":
		return p.fail(t, "decoded packets keep no Ethernet header: write ether host, vlan or a byte of ip, ip6, udp, tcp or sctp")
	default:
		return p.fail(t, "packets of %s are not judged: write bytes of ip, ip6, udp, tcp or sctp", t.text)
	}
	r.loads = true
	p.at++ // [
	begin, at := len(r.steps), p.peek()
	if err := p.arithmetic(r, 0); err != nil {
		return err
	}
	if p.take(":") {
		size := p.peek()
		if size.kind != tokNumber || size.number != 1 && size.number != 2 && size.number != 4 {
			return p.fail(size, "1, 2 or 4 bytes can be read: write one of these behind the colon")
		}
		s.size = uint8(size.number)
		p.at++
	}
	if !p.take("]") {
		return p.fail(p.peek(), "a ] is missing here")
	}
	if index := r.steps[begin:]; len(index) == 1 && index[0].op == opNumber {
		if says := hiddenAt(s.proto, index[0].value, uint32(s.size)); says != "" {
			if s.proto == headIP4 && index[0].value < 8 {
				says += "; fragments are put together before they are judged"
			}
			return p.fail(at, "%s: leave the test out", says)
		}
	}
	r.steps = append(r.steps, s)
	return nil
}
