package store

import (
	"net/netip"

	"ringside/flow/record"
)

// The filters of the lists beside calls. They are made of the same conditions
// as Filter: the zero value of a field is none, numbers are Matches, addresses
// prefixes, and From and To bound the time that the list is ordered by.

// RegistrationFilter chooses registrations.
type RegistrationFilter struct {
	From, To int64 // Start in [From, To), ns since the epoch
	Scope    Scope // what may be seen at all
	At       int64 // the binding was there at this time: Start <= At < End

	AOR     Match  // user@domain
	User    Match  // user part of the AOR
	Domain  string // of the AOR, in any case
	Contact string // contained in the contact, in any case
	Agent   string // contained in the user agent, in any case
	CallID  string // of the last REGISTER, exact

	Addr netip.Prefix // of the user agent or the registrar

	States               []record.RegistrationState
	StatusMin, StatusMax uint16 // last final status
	Failed               bool   // a REGISTER was refused or not answered
	Sensors              []uint16
}

func (f *RegistrationFilter) where() *where {
	w := new(where)
	byTime := f.From != 0 || f.To != 0
	w.times("start_at", f.From, f.To)
	if f.At != 0 {
		w.add("start_at <= ?", f.At)
		w.add("end_at > ?", f.At)
	}
	w.number(f.AOR, byTime, numberColumn{name: "aor"})
	w.number(f.User, byTime, numberColumn{name: "aor_user"})
	w.fold(f.Domain, "aor_domain")
	w.contains(f.Contact, "contact")
	w.contains(f.Agent, "agent")
	w.is("call_id", f.CallID)
	w.inside(f.Addr, "src_addr", "dst_addr")
	oneOf(w, "state", f.States, record.RegistrationState.String)
	w.status("last_status", f.StatusMin, f.StatusMax)
	if f.Failed {
		w.add("failures + timeouts > 0")
	}
	w.sensors(f.Sensors)
	w.scope(f.Scope, "sensor", []string{"aor_user"}, []string{"src_addr", "dst_addr"})
	return w
}

// ExchangeFilter chooses exchanges.
type ExchangeFilter struct {
	From, To int64 // Start in [From, To), ns since the epoch
	Scope    Scope // what may be seen at all

	Kinds  []record.ExchangeKind
	States []string // as record.Exchange.State

	Caller Match  // number of who sent the first request
	Called Match  // number of whom it was for
	Number Match  // of either
	Domain string // of either, in any case
	CallID string // exact
	Event  string // event package, in any case
	Agent  string // contained in the user agent of either, in any case
	Text   string // contained in the text of a message, in any case

	Addr       netip.Prefix // signalling address of either
	CallerAddr netip.Prefix
	CalledAddr netip.Prefix

	StatusMin, StatusMax uint16 // last final status
	Failed               bool   // a request was refused or not answered
	Sensors              []uint16
}

func (f *ExchangeFilter) where() *where {
	w := new(where)
	byTime := f.From != 0 || f.To != 0
	caller, called := numberColumn{name: "caller_number"}, numberColumn{name: "called_number"}
	w.times("start_at", f.From, f.To)
	// The index of kinds gives one kind in the order of time. Several would be
	// sorted, all that there are; and a party or a Call-ID is rarer than a kind.
	byOther := len(f.Kinds) > 1 || f.CallID != "" || !byTime && (f.Caller.narrow() || f.Called.narrow() || f.Number.narrow())
	oneOf(w, unindexed("kind", byOther), f.Kinds, record.ExchangeKind.String)
	oneOf(w, "state", f.States, func(s string) string { return s })
	w.number(f.Caller, byTime, caller)
	w.number(f.Called, byTime, called)
	w.number(f.Number, byTime, caller, called)
	w.fold(f.Domain, "caller_domain", "called_domain")
	w.is("call_id", f.CallID)
	w.fold(f.Event, "event")
	w.contains(f.Agent, "caller_agent", "called_agent")
	w.contains(f.Text, "body")
	w.inside(f.Addr, "caller_addr", "called_addr")
	w.inside(f.CallerAddr, "caller_addr")
	w.inside(f.CalledAddr, "called_addr")
	w.status("last_status", f.StatusMin, f.StatusMax)
	if f.Failed {
		w.add("failures + timeouts > 0")
	}
	w.sensors(f.Sensors)
	w.scope(f.Scope, "sensor", []string{"caller_number", "called_number"}, []string{"caller_addr", "called_addr"})
	return w
}

// EventFilter chooses events.
type EventFilter struct {
	From, To int64 // Time in [From, To), ns since the epoch
	Scope    Scope // what may be seen at all

	Kinds []record.EventKind

	AOR    Match  // of the registration, or From
	Target string // contained in the contact, or To, in any case
	CallID string // exact
	Method string // in any case
	Agent  string // contained in the user agent, in any case

	Addr   netip.Prefix // either address of the message
	Source netip.Prefix // who sent it

	StatusMin, StatusMax uint16
	Sensors              []uint16
}

func (f *EventFilter) where() *where {
	w := new(where)
	byTime := f.From != 0 || f.To != 0
	w.times("occurred_at", f.From, f.To)
	// An address of record, a Call-ID or a host is rarer than a kind.
	byOther := f.CallID != "" || f.AOR.narrow() && !byTime || f.Source.IsSingleIP()
	oneOf(w, unindexed("kind", byOther), f.Kinds, record.EventKind.String)
	w.number(f.AOR, byTime, numberColumn{name: "aor"})
	w.contains(f.Target, "target")
	w.is("call_id", f.CallID)
	w.fold(f.Method, "method")
	w.contains(f.Agent, "agent")
	w.inside(f.Addr, "src_addr", "dst_addr")
	w.inside(f.Source, "src_addr")
	w.status("status", f.StatusMin, f.StatusMax)
	w.sensors(f.Sensors)
	w.scope(f.Scope, "sensor", []string{"aor"}, []string{"src_addr", "dst_addr"})
	return w
}
