package auth

import (
	"net/netip"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Scope says which rows somebody sees: those that meet every dimension given. Of
// one dimension a single value is enough. The zero value is everything.
//
// It holds for every list, every figure and every single object: what is outside
// is not there. A row that has nothing to compare (a stream that no call claimed
// has no number) is outside of a scope that asks for it.
type Scope struct {
	Sensors  []uint16       `json:"sensors,omitempty"`
	Prefixes []string       `json:"prefixes,omitempty"` // of the number of either party, as records have it
	Nets     []netip.Prefix `json:"nets,omitempty"`     // of any address of the row
}

// maxScope is how many values a dimension may have.
const maxScope = 256

// All reports whether the scope leaves nothing out.
func (s Scope) All() bool { return len(s.Sensors)+len(s.Prefixes)+len(s.Nets) == 0 }

// Covers reports whether a row is inside: one of a sensor, with the numbers of
// its parties and its addresses.
func (s Scope) Covers(sensor uint16, numbers []string, addrs []netip.Addr) bool {
	if len(s.Sensors) > 0 && !slices.Contains(s.Sensors, sensor) {
		return false
	}
	if len(s.Prefixes) > 0 && !slices.ContainsFunc(numbers, func(n string) bool {
		return slices.ContainsFunc(s.Prefixes, func(p string) bool { return strings.HasPrefix(n, p) })
	}) {
		return false
	}
	return len(s.Nets) == 0 || slices.ContainsFunc(addrs, func(a netip.Addr) bool {
		return slices.ContainsFunc(s.Nets, func(n netip.Prefix) bool { return n.Contains(a.Unmap()) })
	})
}

// Narrow is the scope of what two scopes have in common, or false if that is
// nothing. Of prefixes and networks the narrower of two that overlap is left, so
// that one value meets both.
func (s Scope) Narrow(by Scope) (Scope, bool) {
	sensors, ok1 := narrow(s.Sensors, by.Sensors, func(a, b uint16) (uint16, bool) { return a, a == b })
	prefixes, ok2 := narrow(s.Prefixes, by.Prefixes, func(a, b string) (string, bool) {
		if len(a) < len(b) {
			a, b = b, a
		}
		return a, strings.HasPrefix(a, b)
	})
	nets, ok3 := narrow(s.Nets, by.Nets, func(a, b netip.Prefix) (netip.Prefix, bool) {
		if a.Bits() < b.Bits() {
			a, b = b, a
		}
		return a, a.Overlaps(b)
	})
	return Scope{sensors, prefixes, nets}, ok1 && ok2 && ok3
}

// narrow is what two lists have in common; no list is no condition.
func narrow[T comparable](a, b []T, common func(a, b T) (T, bool)) ([]T, bool) {
	switch {
	case len(a) == 0:
		return slices.Clone(b), true
	case len(b) == 0:
		return slices.Clone(a), true
	}
	var out []T
	for _, x := range a {
		for _, y := range b {
			if v, ok := common(x, y); ok && !slices.Contains(out, v) {
				out = append(out, v)
			}
		}
	}
	return out, len(out) > 0
}

// equal reports whether two scopes are written alike.
func (s Scope) equal(o Scope) bool {
	return slices.Equal(s.Sensors, o.Sensors) && slices.Equal(s.Prefixes, o.Prefixes) && slices.Equal(s.Nets, o.Nets)
}

// checkScope returns a scope in order: sorted, once each, networks masked.
func checkScope(s Scope) (Scope, error) {
	if n := max(len(s.Sensors), len(s.Prefixes), len(s.Nets)); n > maxScope {
		return s, invalid("scope", "%d values of one kind: at most %d are possible", n, maxScope)
	}
	for _, p := range s.Prefixes {
		if p == "" || len(p) > 64 || !utf8.ValidString(p) || strings.ContainsFunc(p, func(r rune) bool { return unicode.IsControl(r) || unicode.IsSpace(r) }) {
			return s, invalid("scope", "number prefix %q: write up to 64 characters without spaces, such as +4930", cut(p, 80))
		}
		if strings.ContainsAny(p, "*?%") {
			return s, invalid("scope", "number prefix %q: it is the beginning of a number, without a wildcard", p)
		}
	}
	nets := make([]netip.Prefix, 0, len(s.Nets))
	for _, n := range s.Nets {
		if !n.IsValid() {
			return s, invalid("scope", "a network is not valid: write one such as 10.1.0.0/16")
		}
		if n.Addr().Is4In6() {
			if n.Bits() < 96 {
				return s, invalid("scope", "network %s: write it as IPv4", n)
			}
			n = netip.PrefixFrom(n.Addr().Unmap(), n.Bits()-96)
		}
		nets = append(nets, n.Masked())
	}
	return Scope{unique(s.Sensors), unique(s.Prefixes), uniqueNets(nets)}, nil
}

func unique[T uint16 | string](of []T) []T {
	return slices.Compact(slices.Sorted(slices.Values(of)))
}

func uniqueNets(of []netip.Prefix) []netip.Prefix {
	return slices.Compact(slices.SortedFunc(slices.Values(of), netip.Prefix.Compare))
}
