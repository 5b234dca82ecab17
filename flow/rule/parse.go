package rule

import (
	"cmp"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // rules name time zones, and not every host has them
	"unicode"
)

// parser reads a set line by line.
type parser struct {
	set     Set
	errs    []error
	seen    map[string]int // names, and lines of which there may be one, with where they stand
	timed   lexer          // where a time is first asked for
	timedAt int
}

// maxErrors is how many errors are told at once.
const maxErrors = 20

// Parse compiles rules. The error has an *Error for every line that is wrong.
func Parse(text string) (*Set, error) {
	p := parser{seen: map[string]int{}}
	p.set.base = Rule{Name: "default", Want: [Classes]Level{SIP: Full, Register: Full}}
	text = strings.TrimPrefix(text, "\ufeff")
	number := 0
	for line := range strings.Lines(text) {
		number++
		l := lexer{strings.TrimRight(line, "\r\n"), number}
		if err := p.line(&l); err != nil {
			if p.errs = append(p.errs, err); len(p.errs) == maxErrors {
				break
			}
		}
	}
	if p.timed.number > 0 && p.seen[" zone"] == 0 {
		p.errs = append(p.errs, p.timed.fail(p.timedAt, "whose time is that? Add a line such as: zone Europe/Berlin"))
	}
	if len(p.errs) > 0 {
		slices.SortStableFunc(p.errs, func(a, b error) int {
			return cmp.Compare(a.(*Error).Line, b.(*Error).Line)
		})
		return nil, errors.Join(p.errs...)
	}
	s := &p.set
	above := Watch(0)
	for i := range s.rules {
		r := &s.rules[i]
		for c, given := range r.given {
			if !given {
				r.Want[c] = s.base.Want[c]
			}
		}
		r.above = above
		above |= r.watch
	}
	return s, nil
}

func (p *parser) line(l *lexer) error {
	if i := strings.IndexFunc(l.line, func(r rune) bool { return unicode.IsControl(r) && r != '\t' }); i >= 0 {
		return l.fail(i, "a control character: remove it")
	}
	at := len(l.line) - len(strings.TrimLeft(l.line, " \t"))
	end := at + strings.IndexFunc(l.line[at:]+" ", func(r rune) bool { return !unicode.IsLetter(r) })
	switch word := strings.ToLower(l.line[at:end]); word {
	case "":
		if at == len(l.line) || l.line[at] == '#' {
			return nil
		}
	case "rule":
		return p.rule(l, end)
	case "default", "zone", "local":
		if first, ok := p.seen[" "+word]; ok {
			return l.fail(at, "there is a %s already, in line %d: leave one of them", word, first)
		}
		p.seen[" "+word] = l.number
		t, err := l.tokens(end)
		if err != nil {
			return err
		}
		c := cursor{lexer: l, tokens: t}
		switch word {
		case "default":
			if err := c.need("->"); err != nil {
				return err
			}
			return c.actions(&p.set.base)
		case "zone":
			return p.zone(&c)
		default:
			return p.local(&c)
		}
	}
	return l.fail(at, "a line begins with rule, default, zone, local, or # for a comment")
}

// nameRune says what names of rules are made of.
func nameRune(r rune) bool {
	return unicode.IsLetter(r) || unicode.IsDigit(r) || r == '-' || r == '_' || r == '.'
}

func (p *parser) zone(c *cursor) error {
	w, err := c.word("the name of a time zone, such as Europe/Berlin, or Local")
	if err != nil {
		return err
	}
	name := onlyIf(strings.EqualFold(w.text, "local"), "Local", w.text)
	z, err := time.LoadLocation(name)
	if err != nil || name == "" {
		return c.fail(w.at, "no time zone %q: write one such as Europe/Berlin, UTC or Local", w.text)
	}
	p.set.zone = z
	return c.done()
}

func (p *parser) local(c *cursor) error {
	for {
		w, err := c.word("an address or a prefix, such as 10.0.0.0/8")
		if err != nil {
			return err
		}
		n, ok := parsePrefix(w.text)
		if !ok {
			return c.fail(w.at, "%q is no address: write one such as 10.0.0.0/8 or 2001:db8::1", w.text)
		}
		if p.set.local = append(p.set.local, n); !c.take(",") && !c.take("|") {
			return c.done()
		}
	}
}

func parsePrefix(s string) (netip.Prefix, bool) {
	if n, err := netip.ParsePrefix(s); err == nil {
		if a := n.Addr(); a.Is4In6() && n.Bits() >= 96 {
			n = netip.PrefixFrom(a.Unmap(), n.Bits()-96)
		}
		return n.Masked(), true
	}
	a, err := netip.ParseAddr(s)
	a = a.Unmap().WithZone("")
	return netip.PrefixFrom(a, a.BitLen()), err == nil
}

// rule reads what follows the word rule.
func (p *parser) rule(l *lexer, at int) error {
	for at < len(l.line) && (l.line[at] == ' ' || l.line[at] == '\t') {
		at++
	}
	end := at + strings.IndexFunc(l.line[at:]+" ", func(r rune) bool { return !nameRune(r) })
	colon := end + len(l.line[end:]) - len(strings.TrimLeft(l.line[end:], " \t"))
	r := Rule{Name: l.line[at:end], Line: l.number}
	switch first, ok := p.seen[r.Name]; {
	case r.Name == "" || !strings.HasPrefix(l.line[colon:], ":"):
		return l.fail(end, "a rule has a name with a colon behind it: rule emergency: called 112 -> rtp full")
	case ok:
		return l.fail(at, "line %d has a rule %s already: give this one another name", first, r.Name)
	case r.Name == p.set.base.Name:
		return l.fail(at, "default is no name of a rule: write default -> ..., or choose another name")
	case len(p.set.rules) == maxRules:
		return l.fail(at, "more than %d rules: put several values into one, as in called 112|110", maxRules)
	}
	p.seen[r.Name] = l.number
	tokens, err := l.tokens(colon + 1)
	if err != nil {
		return err
	}
	c := cursor{lexer: l, tokens: tokens}
	for !c.take("->") {
		if len(r.all)+len(r.bad) > 0 {
			if err := c.need(","); err != nil {
				return err
			}
		}
		if err := p.group(&c, &r); err != nil {
			return err
		}
	}
	if err := c.actions(&r); err != nil {
		return err
	}
	if len(r.bad) > 0 {
		if p.set.watched == maxWatched {
			return l.fail(at, "more than %d rules ask for quality: leave some out", maxWatched)
		}
		r.watch = 1 << p.set.watched
		p.set.watched++
	}
	p.set.rules = append(p.set.rules, r)
	return nil
}

// group reads conditions of which one must hold.
func (p *parser) group(c *cursor, r *Rule) error {
	var g []term
	begin := c.at()
	for {
		at := c.at()
		t, err := c.term()
		if err != nil {
			return err
		}
		switch {
		case t.kind == kDirection && p.seen[" local"] == 0:
			return c.fail(at, "a direction needs to know what is inside: add a line above, such as local 10.0.0.0/8")
		case t.kind == kTime && p.timed.number == 0:
			p.timed, p.timedAt = *c.lexer, at
		case t.kind == kOutcome:
			p.set.outcome = true
		}
		if g = append(g, t); !c.take("or") {
			break
		}
	}
	poor := 0
	for i := range g {
		if g[i].kind >= kMOS {
			poor++
		}
	}
	switch poor {
	case 0:
		r.all = append(r.all, g)
	case len(g):
		r.bad = append(r.bad, g)
	default:
		return c.fail(begin, "quality and other conditions cannot be alternatives of one rule: write two rules")
	}
	return nil
}

// cursor reads tokens one after the other.
type cursor struct {
	*lexer
	tokens []token
}

// at is where the next token begins.
func (c *cursor) at() int {
	if len(c.tokens) > 0 {
		return c.tokens[0].at
	}
	return len(c.line)
}

// take passes over a keyword or sign, if it is the next.
func (c *cursor) take(what string) bool {
	if len(c.tokens) == 0 || !c.tokens[0].is(what) {
		return false
	}
	c.tokens = c.tokens[1:]
	return true
}

func (c *cursor) need(what string) error {
	if c.take(what) {
		return nil
	}
	if what == "," {
		return c.fail(c.at(), "write a comma before a further condition, or before an alternative, -> before what is to be stored")
	}
	return c.fail(c.at(), "write %s here, and behind it what is to be stored", what)
}

// done is an error if something is left of the line.
func (c *cursor) done() error {
	if len(c.tokens) == 0 {
		return nil
	}
	return c.fail(c.at(), "the line should end here: remove %s and what follows", &c.tokens[0])
}

// word takes a word.
func (c *cursor) word(what string) (token, error) {
	if len(c.tokens) == 0 || c.tokens[0].sign != "" {
		return token{}, c.fail(c.at(), "write %s here", what)
	}
	t := c.tokens[0]
	c.tokens = c.tokens[1:]
	return t, nil
}

// actions reads what is to be stored.
func (c *cursor) actions(r *Rule) error {
	for {
		w, err := c.word("what is to be stored, such as sip full, rtp none")
		if err != nil {
			return err
		}
		if w.is("lookback") && r.Line > 0 {
			if err := c.lookBack(r); err != nil {
				return err
			}
		} else if err := c.level(w, r); err != nil {
			return err
		}
		if !c.take(",") {
			return c.done()
		}
	}
}

func (c *cursor) lookBack(r *Rule) error {
	w, err := c.word("a time, such as 30s")
	if err != nil {
		return err
	}
	d, err := time.ParseDuration(w.text)
	if err != nil || d <= 0 || d > maxLookBack {
		return c.fail(w.at, "%q is no look-back: write a time such as 30s, at most 5m", w.text)
	}
	r.lookBack = d
	return nil
}

func (c *cursor) level(class token, r *Rule) error {
	i := slices.Index(classNames[:], strings.ToLower(class.text))
	if i < 0 {
		return c.fail(class.at, "%q is nothing to store: write sip, rtp or register, or lookback in a rule", class.text)
	}
	if r.given[i] {
		return c.fail(class.at, "%s is said twice: leave one", classNames[i])
	}
	w, err := c.word("full, header or none")
	if err != nil {
		return err
	}
	v := slices.Index(levelNames[:], strings.ToLower(w.text))
	if v < 0 {
		return c.fail(w.at, "%q is no way to store: write full, header or none", w.text)
	}
	r.Want[i], r.given[i] = Level(v), true
	return nil
}
