package rule

import (
	"net/netip"
	"time"

	"ringside/flow/record"
)

// truth is what is known of a condition: that of all is the least, that of any
// the greatest (Kleene's logic).
type truth uint8

const (
	no truth = iota
	unknown
	yes
)

func is(b bool) truth {
	if b {
		return yes
	}
	return no
}

// kind is what a condition is about.
type kind uint8

const (
	kAddress kind = iota
	kCallerAddress
	kCalledAddress
	kNumber
	kCaller
	kCalled
	kDomain
	kHeader
	kAgent
	kMethod
	kDirection
	kSensor
	kInterface
	kVLAN
	kTime
	kStatus
	kOutcome
	kMOS
	kLoss
	kJitter
)

// kinds are their words, in rules and in sentences.
var kinds = [...]struct{ word, about string }{
	kAddress:       {"address", "the signalling address of either party"},
	kCallerAddress: {"caller-address", "the signalling address of the caller"},
	kCalledAddress: {"called-address", "the signalling address of the called party"},
	kNumber:        {"number", "the number of either party"},
	kCaller:        {"caller", "the number of the caller"},
	kCalled:        {"called", "the number of the called party"},
	kDomain:        {"domain", "the domain of either party"},
	kHeader:        {"header", "the header"},
	kAgent:         {"agent", "the user agent of either party"},
	kMethod:        {"method", "the method"},
	kDirection:     {"direction", "the direction"},
	kSensor:        {"sensor", "the sensor"},
	kInterface:     {"interface", "the interface"},
	kVLAN:          {"vlan", "the VLAN"},
	kTime:          {"time", "the time at which the call begins"},
	kStatus:        {"status", "a status that the caller gets"},
	kOutcome:       {"outcome", "the outcome"},
	kMOS:           {"mos", "the MOS of a stream"},
	kLoss:          {"loss", "the packet loss of a stream"},
	kJitter:        {"jitter", "the jitter of a stream"},
}

// directions are the values of that condition, by whether caller and called are
// local.
var directions = []string{"in", "out", "internal", "transit"}

const (
	dirIn = iota
	dirOut
	dirInternal
	dirTransit
)

// term is one condition.
type term struct {
	kind  kind
	not   bool
	name  string         // of a header
	short byte           // its compact name, 0 for none
	nets  []netip.Prefix // what of these it has depends on the kind
	texts []pattern      // of a header none: it exists
	nums  []span
	times []hours
	set   uint32  // names by their bits
	limit float64 // quality is worse than that
}

// span is a range of numbers, both inclusive.
type span struct{ low, high int32 }

func (s *Set) term(t *term, x *Subject) truth {
	v := s.ask(t, x)
	if t.not {
		return yes - v
	}
	return v
}

func (s *Set) ask(t *term, x *Subject) truth {
	switch t.kind {
	case kAddress:
		return max(inside(t.nets, x.CallerAddr), inside(t.nets, x.CalledAddr))
	case kCallerAddress:
		return inside(t.nets, x.CallerAddr)
	case kCalledAddress:
		return inside(t.nets, x.CalledAddr)
	case kNumber:
		return is(match(t.texts, x.Caller) || match(t.texts, x.Called))
	case kCaller:
		return is(match(t.texts, x.Caller))
	case kCalled:
		return is(match(t.texts, x.Called))
	case kDomain:
		return is(match(t.texts, x.CallerDomain) || match(t.texts, x.CalledDomain))
	case kHeader:
		return t.header(x)
	case kAgent:
		return text(t.texts, x.Agent)
	case kMethod:
		return text(t.texts, x.Method)
	case kDirection:
		return s.direction(t, x)
	case kSensor:
		return is(t.within(int32(x.Sensor)))
	case kInterface:
		if x.Iface < 0 {
			return unknown
		}
		return is(t.within(x.Iface))
	case kVLAN:
		return is(t.within(x.VLAN))
	case kTime:
		return s.time(t, x.Time)
	case kStatus:
		return t.status(x.Status)
	case kOutcome:
		if x.Outcome == record.OutcomeUnknown {
			return unknown
		}
		return is(t.set>>x.Outcome&1 != 0)
	}
	return unknown // quality: see poor
}

func inside(nets []netip.Prefix, a netip.Addr) truth {
	if !a.IsValid() {
		return unknown
	}
	a = a.Unmap()
	for _, n := range nets {
		if n.Contains(a) {
			return yes
		}
	}
	return no
}

// text compares something that not every message has.
func text(p []pattern, b []byte) truth {
	if len(b) == 0 {
		return unknown
	}
	return is(match(p, b))
}

func (t *term) within(v int32) bool {
	for _, n := range t.nums {
		if v >= n.low && v <= n.high {
			return true
		}
	}
	return false
}

// status compares a status. A challenge (401, 407) is no failure yet: it counts
// where it is named. That a call does not get a status is known only once it has
// a final one.
func (t *term) status(code uint16) truth {
	if code == 0 {
		return unknown
	}
	v := int32(code)
	challenge := code == 401 || code == 407
	for _, n := range t.nums {
		if v >= n.low && v <= n.high && (!challenge || n.low == n.high) {
			return yes
		}
	}
	if code < 200 || challenge {
		return unknown
	}
	return no
}

func (s *Set) direction(t *term, x *Subject) truth {
	from, to := inside(s.local, x.CallerAddr), inside(s.local, x.CalledAddr)
	if from == unknown || to == unknown {
		return unknown
	}
	d := dirTransit
	switch {
	case from == yes && to == yes:
		d = dirInternal
	case from == yes:
		d = dirOut
	case to == yes:
		d = dirIn
	}
	return is(t.set>>d&1 != 0)
}

func (s *Set) time(t *term, ns int64) truth {
	if ns == 0 {
		return unknown
	}
	at := time.Unix(0, ns).In(s.zone)
	for i := range t.times {
		if t.times[i].has(at) {
			return yes
		}
	}
	return no
}

// header looks for a header field in the message. One that a request which
// begins something does not have, it does not have; of any other message that
// says nothing.
func (t *term) header(x *Subject) truth {
	m := x.Message
	if m == nil {
		return unknown
	}
	found, matched := false, false
	m.EachHeader(func(name, value []byte) bool {
		if equalFold(name, t.name) || t.short != 0 && len(name) == 1 && name[0]|0x20 == t.short {
			found = true
			matched = len(t.texts) == 0 || match(t.texts, value)
		}
		return !matched
	})
	switch {
	case matched:
		return yes
	case found || !m.Response && begins(m.Method):
		return no
	}
	return unknown
}

func (t *term) poor(q *Quality) bool {
	switch t.kind {
	case kMOS:
		return q.MOS > 0 && q.MOS < t.limit
	case kLoss:
		return q.Loss > t.limit
	default:
		return q.Jitter > t.limit
	}
}

// hours are those of some days of the week.
type hours struct {
	first, last time.Weekday // both inclusive; Sunday may follow Saturday
	from, to    int          // minutes of the day; to is past it, and less than from if it is on the next one
}

const day = 24 * 60

func (h *hours) has(t time.Time) bool {
	hour, minute, _ := t.Clock()
	now, today := 60*hour+minute, t.Weekday()
	if h.from < h.to {
		return h.on(today) && now >= h.from && now < h.to
	}
	return h.on(today) && now >= h.from || h.on((today+6)%7) && now < h.to
}

func (h *hours) on(d time.Weekday) bool {
	return (d-h.first+7)%7 <= (h.last-h.first+7)%7
}
