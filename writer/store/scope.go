package store

import (
	"net/netip"
	"slices"
	"strings"

	"ringside/flow/record"
)

// Scope is the part of the records that somebody may see: what meets every
// condition given, each by one of its values. It is ANDed with what else a
// filter asks for. The zero value is everything.
//
// What has nothing to compare is outside: a stream that no call claimed has no
// number and no sensor, so that a scope of numbers or sensors shows none.
type Scope struct {
	Sensors  []uint16
	Prefixes []string       // of the number of either party
	Nets     []netip.Prefix // of the signalling address of either party
}

// All reports whether the scope leaves nothing out.
func (s Scope) All() bool { return len(s.Sensors)+len(s.Prefixes)+len(s.Nets) == 0 }

// InScope reports whether a call is inside.
func (s Scope) InScope(c *record.Call) bool {
	return s.inside(c.Sensor, []string{c.Caller.Number, c.Called.Number}, c.Caller.Addr, c.Called.Addr)
}

// RegistrationInScope reports whether a registration is inside, by the user part
// of its address of record and both addresses of its REGISTER.
func (s Scope) RegistrationInScope(r *record.Registration) bool {
	return s.inside(r.Sensor, []string{r.User}, r.Src, r.Dst)
}

// ExchangeInScope is InScope of an exchange.
func (s Scope) ExchangeInScope(e *record.Exchange) bool {
	return s.inside(e.Sensor, []string{e.Caller.Number, e.Called.Number}, e.Caller.Addr, e.Called.Addr)
}

// EventInScope reports whether an event is inside, by its address of record and
// both addresses of its message.
func (s Scope) EventInScope(e *record.Event) bool {
	return s.inside(e.Sensor, []string{e.AOR}, e.Src, e.Dst)
}

// OrphanInScope reports whether a stream that no call claimed is inside.
func (s Scope) OrphanInScope(o *record.Stream) bool {
	return len(s.Sensors)+len(s.Prefixes) == 0 && s.inside(0, nil, o.Src, o.Dst)
}

func (s Scope) inside(sensor uint16, numbers []string, addrs ...netip.AddrPort) bool {
	if len(s.Sensors) > 0 && !slices.Contains(s.Sensors, sensor) {
		return false
	}
	begins := func(n string) bool {
		return slices.ContainsFunc(s.Prefixes, func(p string) bool { return strings.HasPrefix(n, p) })
	}
	if len(s.Prefixes) > 0 && !slices.ContainsFunc(numbers, begins) {
		return false
	}
	in := func(a netip.AddrPort) bool {
		return slices.ContainsFunc(s.Nets, func(n netip.Prefix) bool { return n.Contains(a.Addr()) })
	}
	return len(s.Nets) == 0 || slices.ContainsFunc(addrs, in)
}

// scope is the condition that a row is inside, by its columns: no numbers or no
// sensor column mean that a scope which asks for them shows nothing. The columns
// are not searched by: what else is asked for is narrower.
func (w *where) scope(s Scope, sensor string, numbers, addrs []string) {
	if len(s.Sensors) > 0 && sensor == "" || len(s.Prefixes) > 0 && len(numbers) == 0 {
		w.add("1 = 0")
		return
	}
	if sensor != "" {
		w.sensors(s.Sensors)
	}
	var conds []string
	var args []any
	for _, p := range s.Prefixes {
		for _, n := range numbers {
			c, more := Match{p, Prefix}.cond(numberColumn{name: n}, true)
			conds, args = append(conds, "("+c+")"), append(args, more...)
		}
	}
	if len(conds) > 0 {
		w.add("("+strings.Join(conds, " OR ")+")", args...)
	}
	conds, args = nil, nil
	for _, n := range s.Nets {
		columns := make([]string, len(addrs))
		for i, a := range addrs {
			columns[i] = unindexed(a, true)
		}
		c, more := anyInside(n, columns...)
		conds, args = append(conds, c), append(args, more...)
	}
	if len(conds) > 0 {
		w.add("("+strings.Join(conds, " OR ")+")", args...)
	}
}
