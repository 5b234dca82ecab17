package call

import (
	"cmp"

	"ringside/flow/record"
)

// Open is a call that goes on, as it stands. Of its record only what a list of
// calls shows is there: no legs, messages, media and digits, and End is 0.
type Open struct {
	Ref    Ref
	State  string // setup, ringing, talking, held, ending
	Record record.Call
}

// Peek calls f with the calls that go on, looking at so many slots from one on.
// It returns the slot to go on with, -1 when there are no more. Between two calls
// of it the table may have changed: a call may be missed, but is not seen twice
// unless it took another slot.
func (t *Table) Peek(from, slots int, f func(Open)) (next int) {
	last := min(from+slots, len(t.slots))
	for _, c := range t.slots[min(from, last):last] {
		if c.phase != unused && c.phase != closed {
			f(Open{c.ref(), c.state(), c.brief(t.options.Sensor)})
		}
	}
	if last == len(t.slots) {
		return -1
	}
	return last
}

// state is what the call does, for people.
func (c *call) state() string {
	switch c.phase {
	case early:
		return "ringing"
	case established:
		if c.hold.held() {
			return "held"
		}
		return "talking"
	case failed, canceled, byeSeen, byeDone:
		return "ending"
	}
	return "setup"
}

// brief is the record of a call that goes on.
func (c *call) brief(sensor uint16) record.Call {
	return record.Call{
		ID:     recordID(c.get(c.callID), c.get(c.caller.tag), c.start),
		CallID: c.string(c.callID), Sensor: sensor,
		Start: c.start, Trying: c.trying100, Ring: cmp.Or(c.ring180, c.ring183), Answer: c.answer, Last: c.last,
		Caller: c.party(&c.caller), Called: c.party(&c.called),
		RequestUser: c.string(c.user), RequestDomain: c.string(c.domain),
		LastStatus: c.status, LastReason: c.string(c.statusReason), LastProvisional: c.provisional,
		Invites: c.invites, Reinvites: c.reinvites, Retransmissions: c.retrans, Holds: c.holds,
		VLAN: c.vlan, DSCP: c.dscp, Transport: c.transport, Tunnel: c.tunnel,
		Flags: c.flags, MessagesTotal: c.total,
	}
}
