package store

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"ringside/flow/record"
)

// TestScope stores records of every kind, and compares what lists show of them in
// a scope with what the scope says of each.
func TestScope(t *testing.T) { onBoth(t, testScope) }

func testScope(t *testing.T, open opener) {
	s, ctx := open(t), t.Context()
	var b Batch
	for i := range 24 {
		id, sensor, at := int64(i+1), uint16(i%3), int64(1000+i)
		number := []string{"+4930", "+4930123", "100", ""}[i%4]
		addr := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i % 2), 0, byte(i % 5)}), 5060)
		other := netip.MustParseAddrPort("[2001:db8::1]:5060")
		if i%7 == 0 {
			other = netip.AddrPort{}
		}
		a, o := record.Party{Number: number, Addr: addr}, record.Party{Number: "200", Addr: other}
		if i%2 == 1 {
			a, o = o, a
		}
		b.Calls = append(b.Calls, &record.Call{ID: id, Start: at, CallID: fmt.Sprint(i), Sensor: sensor, Caller: a, Called: o})
		b.Exchanges = append(b.Exchanges, &record.Exchange{ID: id, Start: at, Sensor: sensor, Kind: record.TextMessage, Caller: a, Called: o})
		b.Registrations = append(b.Registrations, &record.Registration{ID: id, Start: at, Sensor: sensor, User: number, Src: a.Addr, Dst: o.Addr})
		b.Events = append(b.Events, &record.Event{ID: id, Time: at, Sensor: sensor, AOR: number + "@x", Src: a.Addr, Dst: o.Addr})
		b.Orphans = append(b.Orphans, &record.Stream{First: at, SSRC: uint32(id), Src: a.Addr, Dst: o.Addr})
	}
	put(t, s, b)
	net := func(p string) netip.Prefix { return mustAddr(t, p) }
	for name, scope := range map[string]Scope{
		"all": {}, "sensors": {Sensors: []uint16{1, 2}}, "prefix": {Prefixes: []string{"+4930"}}, "prefixes": {Prefixes: []string{"+49301", "10"}},
		"network": {Nets: []netip.Prefix{net("10.1.0.0/16")}}, "networks": {Nets: []netip.Prefix{net("10.0.0.3"), net("2001:db8::/32")}},
		"every kind":    {Sensors: []uint16{0}, Prefixes: []string{"+49"}, Nets: []netip.Prefix{net("10.0.0.0/16")}},
		"nothing":       {Sensors: []uint16{99}},
		"no such":       {Prefixes: []string{"' OR 1=1 --"}},
		"many prefixes": {Prefixes: []string{"1", "2", "3", "4", "5", "6", "7"}},
	} {
		t.Run(name, func(t *testing.T) {
			calls, err := s.Calls(ctx, Filter{Scope: scope}, Page{Ascending: true})
			check(t, "calls", err, ids(calls.Calls), inScope(b.Calls, scope.InScope, func(c *record.Call) int64 { return c.ID }))
			n, err := s.Count(ctx, Filter{Scope: scope})
			check(t, "count", err, n, int64(len(calls.Calls)))
			exchanges, err := s.Exchanges(ctx, ExchangeFilter{Scope: scope}, Page{Ascending: true})
			check(t, "exchanges", err, idsOf(exchanges.Records, func(e *record.Exchange) int64 { return e.ID }), inScope(b.Exchanges, scope.ExchangeInScope, func(e *record.Exchange) int64 { return e.ID }))
			regs, err := s.Registrations(ctx, RegistrationFilter{Scope: scope}, Page{Ascending: true})
			check(t, "registrations", err, idsOf(regs.Records, func(r *record.Registration) int64 { return r.ID }), inScope(b.Registrations, scope.RegistrationInScope, func(r *record.Registration) int64 { return r.ID }))
			events, err := s.Events(ctx, EventFilter{Scope: scope}, Page{Ascending: true})
			check(t, "events", err, idsOf(events.Records, func(e *record.Event) int64 { return e.ID }), inScope(b.Events, scope.EventInScope, func(e *record.Event) int64 { return e.ID }))
			orphans, err := s.Orphans(ctx, OrphanFilter{Scope: scope}, Page{Ascending: true})
			check(t, "orphans", err, idsOf(orphans.Streams, func(o *record.Stream) int64 { return int64(o.SSRC) }), inScope(b.Orphans, scope.OrphanInScope, func(o *record.Stream) int64 { return int64(o.SSRC) }))
		})
	}
}

func check[T any](t *testing.T, what string, err error, got, want T) {
	t.Helper()
	if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s: %v, error %v, want %v", what, got, err, want)
	}
}

// inScope is the ids of the records that a scope says are inside.
func inScope[T any](list []*T, in func(*T) bool, id func(*T) int64) []int64 {
	var out []int64
	for _, v := range list {
		if in(v) {
			out = append(out, id(v))
		}
	}
	slices.Sort(out)
	return out
}

func idsOf[T any](list []T, id func(*T) int64) []int64 {
	var out []int64
	for i := range list {
		out = append(out, id(&list[i]))
	}
	return out
}
