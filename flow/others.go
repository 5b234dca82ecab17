package flow

import (
	"slices"
	"strconv"

	"ringside/flow/record"
	"ringside/flow/register"
	"ringside/flow/sip"
	"ringside/flow/vq"
)

// registered reports whether messages of a method are for the table of
// registrations and exchanges where no call claims them. Those of REGISTER,
// PUBLISH and OPTIONS go there by themselves.
func registered(m sip.Method) bool {
	switch m {
	case sip.SUBSCRIBE, sip.NOTIFY, sip.MESSAGE:
		return true
	}
	return false
}

func (s *Shard) registerOptions() register.Options {
	o := &s.group.options
	l, n := o.Register, o.Workers
	for _, most := range []*int{&l.MaxBindings, &l.MaxExchanges, &l.MaxPeers, &l.MaxTransactions} {
		*most = share(*most, n)
	}
	return register.Options{
		Limits: l, Sensor: o.Sensor,
		Registration: func(r *record.Registration, clock int64) { s.emit(clock, r) },
		Exchange:     func(x *record.Exchange, clock int64) { s.emit(clock, x) },
		Event:        func(e *record.Event, clock int64) { s.emit(clock, e) },
	}
}

// qualityReport takes what an endpoint reports of a call (RFC 6035). It may
// come when the call is over, so it is a record of its own.
func (s *Shard) qualityReport(m *signal) {
	if m.msg.Response || m.msg.Method != sip.PUBLISH && m.msg.Method != sip.NOTIFY || !vq.Is(m.msg.Get(m.msg.ContentType)) {
		return
	}
	r := &record.QualityReport{Time: m.meta.Time, Sensor: s.group.options.Sensor, Src: m.meta.Src.Netip()}
	if err := vq.Parse(m.msg.Get(m.msg.Body), r); err != nil {
		s.stats.BadVQ++
		return
	}
	if s.reportedBefore(m) {
		return
	}
	if m.pass != 0 {
		r.CallID += passMark + strconv.Itoa(int(m.pass)+1)
	}
	s.stats.VQ++
	s.emit(m.meta.Clock, r)
}

// A report that comes again within repeatWait (ns of clock), on another hop, as a
// retransmission or with credentials, is the same. So many are remembered.
const (
	repeatWait = int64(64e9)
	maxRepeats = 1024
)

type repeat struct {
	body  uint64
	clock int64
}

// reportedBefore reports whether the body of a message was seen, and remembers it.
func (s *Shard) reportedBefore(m *signal) bool {
	h, clock := hashBytes(callHash(m.msg.Get(m.msg.CallID)), m.msg.Get(m.msg.Body)), m.meta.Clock
	n := 0
	for n < len(s.repeats) && (clock-s.repeats[n].clock >= repeatWait || len(s.repeats)-n >= maxRepeats) {
		n++
	}
	s.repeats = slices.Delete(s.repeats, 0, n)
	for _, r := range s.repeats {
		if r.body == h {
			return true
		}
	}
	s.repeats = append(s.repeats, repeat{h, clock})
	return false
}
