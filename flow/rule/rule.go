// Package rule says which calls are stored and how: signalling, RTP, its headers
// only, or nothing. Rules are text, one a line; docs/rules.md is their manual.
//
//	rule emergency: called 112|911* -> sip full, rtp full
//	rule bad: mos < 3.5 or loss > 5% -> rtp full, lookback 30s
//	default -> sip full, rtp none
//
// They are read from the top, and the first one whose conditions all hold
// decides. A condition that nothing is known about yet does not hold, and
// neither does its opposite: so a rule may come true while the call runs. It then
// takes over from a rule below it, but what is stored never becomes less.
//
// A Set is compiled, does not change, and may be used by any number of
// goroutines. Deciding allocates nothing and takes no lock.
package rule

import (
	"fmt"
	"net/netip"
	"time"
)

// Class is a kind of packets that rules decide about.
type Class uint8

// Classes, in the order of those of the spool.
const (
	SIP Class = iota
	RTP
	Register // REGISTER requests and their responses
	Classes  = 3
)

var classNames = [Classes]string{"sip", "rtp", "register"}

func (c Class) String() string { return classNames[min(int(c), Classes-1)] }

// Level is how much of a packet is stored.
type Level uint8

// Levels. Header is an RTP packet up to the end of its RTP header, or a SIP
// message without its body.
const (
	None Level = iota
	Header
	Full
)

var levelNames = [...]string{"none", "header", "full"}

func (l Level) String() string { return levelNames[min(int(l), len(levelNames)-1)] }

// Policy is what the rules say of a call so far. It holds no pointers.
type Policy struct {
	Want     [Classes]Level
	Rule     uint16 // 0: the default, else 1 + its index in Rules
	Watch    Watch
	LookBack time.Duration // packets of so long before the rule came true are wanted too
}

// Watch is the set of rules that a bad quality of the call would make true.
type Watch uint64

// maxWatched is how many rules of a set may have conditions of quality.
const maxWatched = 64

// maxRules is how many rules a set may have.
const maxRules = 10_000

// maxLookBack bounds what capture must hold back for all calls.
const maxLookBack = 5 * time.Minute

// Quality is how the worst stream of a call did lately.
type Quality struct {
	MOS    float64 // listening; 0: not known
	Loss   float64 // per cent
	Jitter float64 // ms
}

// Rule is one line of a set.
type Rule struct {
	Name string
	Line int // in the text
	Want [Classes]Level

	given    [Classes]bool // levels that the rule names; the others are the default's
	lookBack time.Duration
	all      [][]term // groups, each of alternatives: all must hold
	bad      [][]term // groups of conditions of quality: all must hold too
	watch    Watch    // its own bit, if it has any
	above    Watch    // of the rules above it
}

// Set is a compiled set of rules.
type Set struct {
	rules   []Rule
	base    Rule // the default
	zone    *time.Location
	local   []netip.Prefix
	watched int
	outcome bool // a rule asks for one
}

// Everything is the set without rules that stores all packets whole.
func Everything() *Set {
	return &Set{base: Rule{Name: "default", Want: [Classes]Level{Full, Full, Full}}}
}

// Rules lists the rules in their order, without the default.
func (s *Set) Rules() []Rule { return s.rules }

// Default is what decides where no rule does.
func (s *Set) Default() *Rule { return &s.base }

// Name is the name of the rule that a policy comes from.
func (s *Set) Name(p Policy) string {
	if i := int(p.Rule); i > 0 && i <= len(s.rules) {
		return s.rules[i-1].Name
	}
	return s.base.Name
}

// MayWant is the most that any rule could want of a class, so that no more need
// be copied.
func (s *Set) MayWant(c Class) Level {
	most := s.base.Want[c]
	for i := range s.rules {
		most = max(most, s.rules[i].Want[c])
	}
	return most
}

// LookBack is the longest look-back of any rule: for how long packets must be
// held that no rule wants yet.
func (s *Set) LookBack() time.Duration {
	most := time.Duration(0)
	for i := range s.rules {
		most = max(most, s.rules[i].lookBack)
	}
	return most
}

// Beyond is a rule that wants more of RTP, or looks back further, than any rule of
// the set of the start, with how it does; nil if none does. The default goes first: where a
// rule does not name a level it has that of the default.
func (s *Set) Beyond(start *Set) (*Rule, string) {
	rtp, back := start.MayWant(RTP), start.LookBack()
	if why := s.base.beyond(rtp, back); why != "" {
		return &s.base, why
	}
	for i := range s.rules {
		if why := s.rules[i].beyond(rtp, back); why != "" {
			return &s.rules[i], why
		}
	}
	return nil, ""
}

// beyond is how the rule goes further than those of the start did; empty if not.
func (r *Rule) beyond(rtp Level, back time.Duration) string {
	switch {
	case r.Want[RTP] > rtp:
		return fmt.Sprintf("%s wants more of RTP (%s) than any rule did at the start (%s)", r.Name, r.Want[RTP], rtp)
	case r.lookBack > back:
		return fmt.Sprintf("%s looks back further (%v) than any rule did at the start (%v)", r.Name, r.lookBack, back)
	}
	return ""
}

// AsksOutcome says whether the rules are to be asked once more when a call is over.
func (s *Set) AsksOutcome() bool { return s.outcome }

// Decide is the policy of a call by its first message.
func (s *Set) Decide(x *Subject) Policy {
	return s.Again(Policy{Want: s.base.Want}, x)
}

// Again is the policy of a call by a further message, and by all before: p is
// what they gave. Only rules above the one that decided are asked, and levels
// only rise.
func (s *Set) Again(p Policy, x *Subject) Policy {
	for i := range s.rules[:s.undecided(p)] {
		r := &s.rules[i]
		switch {
		case s.holds(r, x) != yes:
		case r.watch != 0:
			p.Watch |= r.watch
		default:
			return p.by(r, i)
		}
	}
	return p
}

// Fires is the policy of a call whose quality is known now, and whether that
// made a rule true. Ask it for calls whose policy has a Watch.
func (s *Set) Fires(p Policy, q Quality) (Policy, bool) {
	if p.Watch == 0 {
		return p, false
	}
	for i := range s.rules[:s.undecided(p)] {
		if r := &s.rules[i]; p.Watch&r.watch != 0 && r.poor(&q) {
			return p.by(r, i), true
		}
	}
	return p, false
}

// undecided is how many rules stand above the one that decided.
func (s *Set) undecided(p Policy) int {
	if p.Rule == 0 {
		return len(s.rules)
	}
	return min(int(p.Rule)-1, len(s.rules))
}

// by is the policy after a rule took over.
func (p Policy) by(r *Rule, i int) Policy {
	p.Rule = uint16(i + 1)
	p.Watch &= r.above
	p.LookBack = r.lookBack
	for c := range p.Want {
		p.Want[c] = max(p.Want[c], r.Want[c])
	}
	return p
}

// holds says whether all conditions hold but those of quality.
func (s *Set) holds(r *Rule, x *Subject) truth {
	all := yes
	for _, g := range r.all {
		if all = min(all, s.any(g, x)); all == no {
			return no
		}
	}
	return all
}

// any says whether one of several conditions holds.
func (s *Set) any(g []term, x *Subject) truth {
	any := no
	for i := range g {
		if any = max(any, s.term(&g[i], x)); any == yes {
			return yes
		}
	}
	return any
}

// poor says whether the conditions of quality hold.
func (r *Rule) poor(q *Quality) bool {
	for _, g := range r.bad {
		any := false
		for i := range g {
			any = any || g[i].poor(q)
		}
		if !any {
			return false
		}
	}
	return true
}
