package flow

import (
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
	s.stats.VQ++
	s.emit(m.meta.Clock, r)
}
