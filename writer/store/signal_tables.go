package store

import (
	"net/netip"
	"slices"

	"ringside/flow/record"
)

// The columns of the tables whose records are one row each. The first column
// is the time that the table is ordered by, the second the id; both together
// are its key.

var (
	registrationTable = table[record.Registration]{name: "registration", fields: registrationFields()}
	exchangeTable     = table[record.Exchange]{name: "exchange", fields: exchangeFields()}
	eventTable        = table[record.Event]{name: "event", fields: eventFields()}
	linkTable         = table[record.Link]{name: "call_link", fields: linkFields()}
	qualityTable      = table[record.QualityReport]{name: "quality_report", fields: qualityFields()}
)

func registrationFields() []field[record.Registration] {
	return slices.Concat(
		[]field[record.Registration]{
			{"start_at", func(r *record.Registration) any { return &r.Start }},
			{"id", func(r *record.Registration) any { return &r.ID }},
			{"sensor", func(r *record.Registration) any { return &r.Sensor }},
			{"aor", func(r *record.Registration) any { return &r.AOR }},
			{"aor_user", func(r *record.Registration) any { return &r.User }},
			{"aor_domain", func(r *record.Registration) any { return &r.Domain }},
			{"contact", func(r *record.Registration) any { return &r.Contact }},
			{"instance", func(r *record.Registration) any { return &r.Instance }},
			{"path", func(r *record.Registration) any { return &r.Path }},
			{"call_id", func(r *record.Registration) any { return &r.CallID }},
			{"agent", func(r *record.Registration) any { return &r.Agent }},
			{"auth_user", func(r *record.Registration) any { return &r.AuthUser }},
		},
		addr("src_", func(r *record.Registration) *netip.AddrPort { return &r.Src }),
		addr("dst_", func(r *record.Registration) *netip.AddrPort { return &r.Dst }),
		[]field[record.Registration]{
			{"transport", func(r *record.Registration) any { return &r.Transport }},
			{"vlan", func(r *record.Registration) any { return &r.VLAN }},
			{"nat", func(r *record.Registration) any { return &r.NATed }},
			{"last_at", func(r *record.Registration) any { return &r.Last }},
			{"end_at", func(r *record.Registration) any { return &r.End }},
			{"expires_at", func(r *record.Registration) any { return &r.ExpiresAt }},
			{"expires", func(r *record.Registration) any { return &r.Expires }},
			{"state", func(r *record.Registration) any { return &r.State }},
			{"registers", func(r *record.Registration) any { return &r.Registers }},
			{"successes", func(r *record.Registration) any { return &r.Successes }},
			{"challenges", func(r *record.Registration) any { return &r.Challenges }},
			{"failures", func(r *record.Registration) any { return &r.Failures }},
			{"timeouts", func(r *record.Registration) any { return &r.Timeouts }},
			{"retransmissions", func(r *record.Registration) any { return &r.Retrans }},
			{"last_status", func(r *record.Registration) any { return &r.LastStatus }},
			{"last_reason", func(r *record.Registration) any { return &r.LastReason }},
			{"rtt_avg", func(r *record.Registration) any { return &r.RTT }},
			{"rtt_min", func(r *record.Registration) any { return &r.RTTMin }},
			{"rtt_max", func(r *record.Registration) any { return &r.RTTMax }},
		},
	)
}

func exchangeFields() []field[record.Exchange] {
	return slices.Concat(
		[]field[record.Exchange]{
			{"start_at", func(e *record.Exchange) any { return &e.Start }},
			{"id", func(e *record.Exchange) any { return &e.ID }},
			{"kind", func(e *record.Exchange) any { return &e.Kind }},
			{"sensor", func(e *record.Exchange) any { return &e.Sensor }},
			{"call_id", func(e *record.Exchange) any { return &e.CallID }},
		},
		within("caller_", partyFields(), func(e *record.Exchange) *record.Party { return &e.Caller }),
		within("called_", partyFields(), func(e *record.Exchange) *record.Party { return &e.Called }),
		[]field[record.Exchange]{
			{"transport", func(e *record.Exchange) any { return &e.Transport }},
			{"vlan", func(e *record.Exchange) any { return &e.VLAN }},
			{"last_at", func(e *record.Exchange) any { return &e.Last }},
			{"end_at", func(e *record.Exchange) any { return &e.End }},
			{"state", func(e *record.Exchange) any { return &e.State }},
			{"note", func(e *record.Exchange) any { return &e.Note }},
			{"event", func(e *record.Exchange) any { return &e.Event }},
			{"expires", func(e *record.Exchange) any { return &e.Expires }},
			{"requests", func(e *record.Exchange) any { return &e.Requests }},
			{"answered", func(e *record.Exchange) any { return &e.Answered }},
			{"failures", func(e *record.Exchange) any { return &e.Failures }},
			{"timeouts", func(e *record.Exchange) any { return &e.Timeouts }},
			{"notifies", func(e *record.Exchange) any { return &e.Notifies }},
			{"retransmissions", func(e *record.Exchange) any { return &e.Retrans }},
			{"changes", func(e *record.Exchange) any { return &e.Changes }},
			{"last_status", func(e *record.Exchange) any { return &e.LastStatus }},
			{"last_reason", func(e *record.Exchange) any { return &e.LastReason }},
			{"rtt_avg", func(e *record.Exchange) any { return &e.RTT }},
			{"rtt_min", func(e *record.Exchange) any { return &e.RTTMin }},
			{"rtt_max", func(e *record.Exchange) any { return &e.RTTMax }},
			{"content_type", func(e *record.Exchange) any { return &e.ContentType }},
			{"body", func(e *record.Exchange) any { return &e.Text }},
			{"body_size", func(e *record.Exchange) any { return &e.Size }},
		},
	)
}

func eventFields() []field[record.Event] {
	return slices.Concat(
		[]field[record.Event]{
			{"occurred_at", func(e *record.Event) any { return &e.Time }},
			{"id", func(e *record.Event) any { return &e.ID }},
			{"kind", func(e *record.Event) any { return &e.Kind }},
			{"sensor", func(e *record.Event) any { return &e.Sensor }},
		},
		addr("src_", func(e *record.Event) *netip.AddrPort { return &e.Src }),
		addr("dst_", func(e *record.Event) *netip.AddrPort { return &e.Dst }),
		[]field[record.Event]{
			{"aor", func(e *record.Event) any { return &e.AOR }},
			{"target", func(e *record.Event) any { return &e.Target }},
			{"call_id", func(e *record.Event) any { return &e.CallID }},
			{"method", func(e *record.Event) any { return &e.Method }},
			{"status", func(e *record.Event) any { return &e.Status }},
			{"detail", func(e *record.Event) any { return &e.Text }},
			{"agent", func(e *record.Event) any { return &e.Agent }},
			{"occurrences", func(e *record.Event) any { return &e.Count }},
		},
	)
}

func qualityFields() []field[record.QualityReport] {
	return slices.Concat(
		[]field[record.QualityReport]{
			{"sent_at", func(q *record.QualityReport) any { return &q.Time }},
			{"id", func(q *record.QualityReport) any { return &q.ID }},
			{"sensor", func(q *record.QualityReport) any { return &q.Sensor }},
			{"call_id", func(q *record.QualityReport) any { return &q.CallID }},
			{"kind", func(q *record.QualityReport) any { return &q.Kind }},
		},
		addr("src_", func(q *record.QualityReport) *netip.AddrPort { return &q.Src }),
		[]field[record.QualityReport]{
			{"local_id", func(q *record.QualityReport) any { return &q.LocalID }},
			{"remote_id", func(q *record.QualityReport) any { return &q.RemoteID }},
		},
		addr("local_", func(q *record.QualityReport) *netip.AddrPort { return &q.Local }),
		addr("remote_", func(q *record.QualityReport) *netip.AddrPort { return &q.Remote }),
		[]field[record.QualityReport]{
			{"ssrc", func(q *record.QualityReport) any { return &q.SSRC }},
			{"codec", func(q *record.QualityReport) any { return &q.Codec }},
			{"reported_start", func(q *record.QualityReport) any { return &q.Start }},
			{"reported_stop", func(q *record.QualityReport) any { return &q.Stop }},
		},
		within("xr_", xrFields(), func(q *record.QualityReport) *record.XR { return &q.XR }),
	)
}

func linkFields() []field[record.Link] {
	return []field[record.Link]{
		{"start_at", func(l *record.Link) any { return &l.Start }},
		{"id", func(l *record.Link) any { return &l.ID }},
		{"first_id", func(l *record.Link) any { return &l.First }},
		{"second_id", func(l *record.Link) any { return &l.Second }},
		{"other_at", func(l *record.Link) any { return &l.Other }},
		{"reason", func(l *record.Link) any { return &l.Reason }},
		{"link_key", func(l *record.Link) any { return &l.Key }},
		{"score", func(l *record.Link) any { return &l.Score }},
	}
}
