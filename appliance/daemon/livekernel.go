package daemon

import (
	"runtime"
	"sync/atomic"

	"ringside/dataplane/frame"
	"ringside/dataplane/xdp"
	"ringside/flow"
	"ringside/flow/rtp"
	"ringside/flow/rule"
)

// meters are the meters in the kernel of all interfaces, as the shards see them:
// one table. A slot of theirs is the slot in its own table times the number of
// tables, plus the number of its table.
type meters struct {
	of   []*xdp.Meters
	turn int // table that is asked first, so that none is left out for long
}

var _ flow.Meters = (*meters)(nil)

func (m *meters) table(slot uint32) (*xdp.Meters, uint32) {
	n := uint32(len(m.of))
	return m.of[slot%n], slot / n
}

// poll appends what the meters have counted since they were last asked, as far as
// there is room. It is for one goroutine.
func (m *meters) poll(to []frame.Metered) []frame.Metered {
	for range m.of {
		table := m.turn
		m.turn = (m.turn + 1) % len(m.of)
		from := len(to)
		to = m.of[table].Poll(to)
		for i := from; i < len(to); i++ {
			to[i].Slot = to[i].Slot*uint32(len(m.of)) + uint32(table)
		}
	}
	return to
}

// takeTries is how often a stream is read or let go of. Reading fails while a
// program that was interrupted holds the stream, and always once the slot was let
// go; letting go when a packet comes in between.
const takeTries = 100

// Read is flow.Meters'.
func (m *meters) Read(slot uint32, state []byte) bool {
	t, slot := m.table(slot)
	for range takeTries {
		if _, ok := t.Read(slot, (*[xdp.StateSize]byte)(state)); ok {
			return true
		}
		runtime.Gosched()
	}
	return false
}

// Take is flow.Meters'.
func (m *meters) Take(slot uint32, state []byte) bool {
	t, slot := m.table(slot)
	ok := false
	for range takeTries {
		var packets uint32
		if packets, ok = t.Read(slot, (*[xdp.StateSize]byte)(state)); ok && t.Release(slot, packets) {
			return true
		}
		runtime.Gosched()
	}
	return ok
}

// Want is flow.Meters'.
func (m *meters) Want(slot uint32, level rule.Level) {
	t, slot := m.table(slot)
	t.SetPolicy(slot, uint8(policyOf(level)))
}

// endpoints tell the filters of all interfaces what SDP says.
type endpoints struct {
	of     []*xdp.Filter
	failed atomic.Uint64 // could not be told: their RTP is measured, and not recorded from its first packet
}

var _ flow.Endpoints = (*endpoints)(nil)

// Publish is flow.Endpoints'.
func (e *endpoints) Publish(at frame.Endpoint, level rule.Level, payloads []rtp.Payload) {
	m := xdp.Media{Policy: policyOf(level)}
	for _, p := range payloads {
		m.Payloads = append(m.Payloads, xdp.Payload{Rate: p.Rate, Type: p.Type, Class: classOf(p.Codec)})
	}
	for _, f := range e.of {
		if f.Publish(at, m) != nil {
			e.failed.Add(1)
		}
	}
}

// Withdraw is flow.Endpoints'.
func (e *endpoints) Withdraw(at frame.Endpoint) {
	for _, f := range e.of {
		_ = f.Withdraw(at) // what cannot be taken back is replaced when somebody has the address again
	}
}

// policyOf is what the kernel does with packets of which so much is wanted.
func policyOf(l rule.Level) xdp.Policy {
	switch l {
	case rule.Header:
		return xdp.HeaderOnly
	case rule.Full:
		return xdp.Full
	}
	return xdp.Meter
}

// mayRecord is the most that the rules of a spool may want of RTP.
func mayRecord(o *SpoolOptions) (xdp.Policy, error) {
	if o == nil {
		return xdp.Unknown, nil
	}
	_, rules, err := readRules(*o)
	if err != nil {
		return xdp.Unknown, err
	}
	return policyOf(rules.MayWant(rule.RTP)), nil
}

func classOf(c rtp.Codec) xdp.Class {
	switch c {
	case rtp.TelephoneEvent:
		return xdp.Event
	case rtp.CN:
		return xdp.Comfort
	}
	return xdp.Voice
}
