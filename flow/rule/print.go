package rule

import (
	"fmt"
	"math/bits"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// String is the set in its canonical form, without comments. Parse makes the
// same set of it.
func (s *Set) String() string {
	var b strings.Builder
	if s.zone != nil {
		fmt.Fprintf(&b, "zone %s\n", s.zone)
	}
	for i, n := range s.local {
		b.WriteString(onlyIf(i == 0, "local ", ", ") + prefix(n))
	}
	if len(s.local) > 0 {
		b.WriteByte('\n')
	}
	for i := range s.rules {
		b.WriteString(s.rules[i].String() + "\n")
	}
	b.WriteString(s.base.String() + "\n")
	return b.String()
}

// String is the line of the rule.
func (r *Rule) String() string {
	head := "default"
	if r.Line > 0 {
		head = "rule " + r.Name + ":"
	}
	for i, g := range r.groups() {
		head += onlyIf(i == 0, " ", ", ")
		for j := range g {
			head += onlyIf(j == 0, "", " or ") + g[j].String()
		}
	}
	var to []string
	for c, level := range r.Want {
		if r.given[c] || r.Line == 0 {
			to = append(to, fmt.Sprintf("%s %s", Class(c), level))
		}
	}
	if r.lookBack > 0 {
		to = append(to, "lookback "+r.lookBack.String())
	}
	return head + " -> " + strings.Join(to, ", ")
}

// groups are all conditions, those of quality last.
func (r *Rule) groups() [][]term {
	return append(append([][]term{}, r.all...), r.bad...)
}

// String is the condition as it is written.
func (t *term) String() string {
	s := onlyIf(t.not, "not ", "") + kinds[t.kind].word
	if t.kind == kHeader {
		s += " " + quoted(t.name)
		if len(t.texts) == 0 {
			return s + " exists"
		}
		s += " is"
	}
	if u, ok := units[t.kind]; ok {
		return s + " " + u.sign + " " + strconv.FormatFloat(t.limit, 'f', -1, 64) + u.unit
	}
	return s + " " + strings.Join(t.list(), "|")
}

// list is the values of a condition.
func (t *term) list() []string {
	var out []string
	for _, n := range t.nets {
		out = append(out, prefix(n))
	}
	for _, p := range t.texts {
		out = append(out, p.String())
	}
	for _, n := range t.nums {
		switch {
		case n.low < 0:
			out = append(out, "none")
		case n.low == n.high:
			out = append(out, fmt.Sprint(n.low))
		case t.kind == kStatus && n.low%100 == 0 && n.high == n.low+99:
			out = append(out, fmt.Sprintf("%dxx", n.low/100))
		default:
			out = append(out, fmt.Sprintf("%d-%d", n.low, n.high))
		}
	}
	for i := range t.times {
		out = append(out, t.times[i].String())
	}
	names := directions
	if t.kind == kOutcome {
		names = outcomes
	}
	for set := t.set; set != 0; set &= set - 1 {
		out = append(out, names[bits.TrailingZeros32(set)])
	}
	return out
}

// prefix is a prefix, or the one address that it has.
func prefix(n netip.Prefix) string {
	if n.IsSingleIP() {
		return n.Addr().String()
	}
	return n.String()
}

func (h *hours) String() string {
	days := dayNames[h.first]
	if h.last != h.first {
		days += "-" + dayNames[h.last]
	}
	if h.from == 0 && h.to == day {
		return days
	}
	clock := fmt.Sprintf("%02d:%02d-%02d:%02d", h.from/60, h.from%60, h.to/60, h.to%60)
	if (h.last-h.first+7)%7 == 6 {
		return clock
	}
	return days + " " + clock
}

// Meaning says in words when the rule decides, and what it stores.
func (r *Rule) Meaning() string {
	var when []string
	for _, g := range r.groups() {
		var any []string
		for i := range g {
			any = append(any, g[i].meaning())
		}
		when = append(when, strings.Join(any, ", or "))
	}
	s := "in all other cases"
	switch {
	case len(when) > 0:
		s = "if " + strings.Join(when, ", and ")
	case r.Line > 0:
		s = "in all cases that come this far"
	}
	s += ": store signalling " + amount(r.Want[SIP]) + ", RTP " + amount(r.Want[RTP]) + ", registrations " + amount(r.Want[Register])
	if r.lookBack > 0 {
		s += fmt.Sprintf("; with the %s before the rule came true", r.lookBack)
	}
	return s
}

func amount(l Level) string {
	return [...]string{"not at all", "headers only", "whole"}[l]
}

func (t *term) meaning() string {
	about := kinds[t.kind].about
	if t.kind == kHeader {
		about += " " + t.name
		if len(t.texts) == 0 {
			return about + onlyIf(t.not, " is not there", " is there")
		}
	}
	if u, ok := units[t.kind]; ok {
		return fmt.Sprintf("%s turns %s %s%s", about, onlyIf(u.sign == "<", "lower than", "higher than"), strconv.FormatFloat(t.limit, 'f', -1, 64), u.unit)
	}
	be := " is "
	if t.nets != nil {
		be = " is in "
	}
	s := about + onlyIf(t.not, strings.Replace(be, "is", "is not", 1), be)
	return s + strings.Join(t.list(), " or ")
}

// Warnings tell what is allowed, but can hardly be meant.
func (s *Set) Warnings() []string {
	var out []string
	all := ""
	for i := range s.rules {
		r := &s.rules[i]
		if all != "" {
			out = append(out, fmt.Sprintf("line %d: rule %s is never asked: rule %s above decides in all cases", r.Line, r.Name, all))
		}
		if len(r.groups()) == 0 && all == "" {
			all = r.Name
		}
		if r.lookBack > 0 && !r.late() {
			out = append(out, fmt.Sprintf("line %d: rule %s is true from the first message on, or never: its lookback does nothing", r.Line, r.Name))
		}
		if r.needs(kOutcome) && r.lookBack == 0 {
			out = append(out, fmt.Sprintf("line %d: rule %s comes true when the call is over: without a lookback nothing is left to store", r.Line, r.Name))
		}
		if r.needs(kHeader, kAgent) && r.needs(kOutcome) {
			out = append(out, fmt.Sprintf("line %d: rule %s never comes true: when the outcome is known there is no message to have a header or an agent", r.Line, r.Name))
		} else if r.needs(kHeader, kAgent) && r.needs(kStatus) {
			out = append(out, fmt.Sprintf("line %d: rule %s comes true only by a response that has the header or agent itself, not by one to a request that has it", r.Line, r.Name))
		}
		if len(r.bad) > 0 && r.Want == s.base.Want {
			out = append(out, fmt.Sprintf("line %d: rule %s stores what the default stores already", r.Line, r.Name))
		}
	}
	return out
}

// late says whether the rule may come true after the first message.
func (r *Rule) late() bool {
	if len(r.bad) > 0 {
		return true
	}
	for _, g := range r.all {
		for i := range g {
			switch g[i].kind {
			case kStatus, kOutcome, kAgent, kHeader:
				return true
			}
		}
	}
	return false
}

// needs says whether a condition of one of these kinds must hold for the rule.
func (r *Rule) needs(kinds ...kind) bool {
	for _, g := range r.all {
		if !slices.ContainsFunc(g, func(t term) bool { return !slices.Contains(kinds, t.kind) }) {
			return true
		}
	}
	return false
}
