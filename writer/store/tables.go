package store

import (
	"fmt"
	"net/netip"
	"slices"

	"ringside/flow/record"
)

// The columns of the tables of calls and streams. A new field of a
// record needs a line here and a migration; a test finds fields without one.

var (
	childKey = []string{"start_at", "id", "seq"}

	callTable    = table[Row]{name: "calls", fields: callFields()}
	legTable     = table[record.Leg]{"call_leg", childKey, legFields()}
	messageTable = table[record.Message]{"call_message", childKey, messageFields()}
	mediaTable   = table[record.Media]{"call_media", childKey, mediaFields()}
	digitTable   = table[record.Digit]{"call_digit", childKey, digitFields()}
	addrTable    = table[addrRow]{name: "call_addr", fields: addrFields()}
	streamTable  = table[streamRow]{"stream", []string{"orphan", "start_at", "id", "seq"}, streamFields()}
)

// streamRow is a stream as stored. A stream of a call hardly ever names
// another Call-ID than the call's, which is not stored again: callID is nil.
type streamRow struct {
	record.Stream
	callID *string
}

func callFields() []field[Row] {
	return slices.Concat(
		[]field[Row]{
			{"start_at", func(c *Row) any { return &c.Start }},
			{"id", func(c *Row) any { return &c.ID }},
			{"call_id", func(c *Row) any { return &c.CallID }},
			{"sensor", func(c *Row) any { return &c.Sensor }},
			{"trying_at", func(c *Row) any { return &c.Trying }},
			{"ring_at", func(c *Row) any { return &c.Ring }},
			{"answer_at", func(c *Row) any { return &c.Answer }},
			{"bye_at", func(c *Row) any { return &c.ByeAt }},
			{"end_at", func(c *Row) any { return &c.End }},
			{"last_at", func(c *Row) any { return &c.Last }},
			{"outcome", func(c *Row) any { return &c.Outcome }},
			{"end_reason", func(c *Row) any { return &c.EndReason }},
			{"hung_up", func(c *Row) any { return &c.HungUp }},
		},
		within("caller_", partyFields(), func(c *Row) *record.Party { return &c.Caller }),
		within("called_", partyFields(), func(c *Row) *record.Party { return &c.Called }),
		[]field[Row]{
			{"request_user", func(c *Row) any { return &c.RequestUser }},
			{"request_domain", func(c *Row) any { return &c.RequestDomain }},
			{"last_status", func(c *Row) any { return &c.LastStatus }},
			{"last_reason", func(c *Row) any { return &c.LastReason }},
			{"last_provisional", func(c *Row) any { return &c.LastProvisional }},
			{"sip_cause", func(c *Row) any { return &c.SIPCause }},
			{"sip_text", func(c *Row) any { return &c.SIPText }},
			{"q850_cause", func(c *Row) any { return &c.Q850Cause }},
			{"q850_text", func(c *Row) any { return &c.Q850Text }},
			{"invites", func(c *Row) any { return &c.Invites }},
			{"reinvites", func(c *Row) any { return &c.Reinvites }},
			{"retransmissions", func(c *Row) any { return &c.Retransmissions }},
			{"max_retrans_inv", func(c *Row) any { return &c.MaxRetransInv }},
			{"challenges", func(c *Row) any { return &c.Challenges }},
			{"holds", func(c *Row) any { return &c.Holds }},
			{"forks", func(c *Row) any { return &c.Forks }},
			{"redirects", func(c *Row) any { return &c.Redirects }},
			{"refers", func(c *Row) any { return &c.Refers }},
			{"infos", func(c *Row) any { return &c.Infos }},
			{"pracks", func(c *Row) any { return &c.Pracks }},
			{"updates", func(c *Row) any { return &c.Updates }},
			{"auth_user", func(c *Row) any { return &c.AuthUser }},
			{"vlan", func(c *Row) any { return &c.VLAN }},
			{"dscp", func(c *Row) any { return &c.DSCP }},
			{"transport", func(c *Row) any { return &c.Transport }},
			{"flags", func(c *Row) any { return &c.Flags }},
			{"rule_name", func(c *Row) any { return &c.Rule }},
			{"sip_level", func(c *Row) any { return &c.SIPStored.Level }},
			{"sip_stored", func(c *Row) any { return &c.SIPStored.Packets }},
			{"sip_missed", func(c *Row) any { return &c.SIPStored.Missed }},
			{"rtp_level", func(c *Row) any { return &c.RTPStored.Level }},
			{"rtp_stored", func(c *Row) any { return &c.RTPStored.Packets }},
			{"rtp_missed", func(c *Row) any { return &c.RTPStored.Missed }},
			{"messages_total", func(c *Row) any { return &c.MessagesTotal }},
			{"session_id", func(c *Row) any { return &c.SessionID }},
			{"x_call_id", func(c *Row) any { return &c.XCallID }},
			{"icid", func(c *Row) any { return &c.ICID }},
			{"link_header", func(c *Row) any { return &c.LinkHeader }},
			{"replaces", func(c *Row) any { return &c.Replaces }},
			{"tunnel_kind", func(c *Row) any { return &c.Tunnel.Kind }},
			{"tunnel_src", func(c *Row) any { return &c.Tunnel.Src }},
			{"tunnel_dst", func(c *Row) any { return &c.Tunnel.Dst }},
			{"tunnel_id", func(c *Row) any { return &c.Tunnel.ID }},

			{"caller_reverse", func(c *Row) any { return &c.callerReverse }},
			{"called_reverse", func(c *Row) any { return &c.calledReverse }},
			{"duration", func(c *Row) any { return &c.Duration }},
			{"connected", func(c *Row) any { return &c.Connected }},
			{"pdd", func(c *Row) any { return &c.PDD }},
			{"stream_count", func(c *Row) any { return &c.StreamCount }},
			{"mos_min", func(c *Row) any { return &c.MOSMin }},
			{"loss_max", func(c *Row) any { return &c.LossMax }},
			{"jitter_max", func(c *Row) any { return &c.JitterMax }},
			{"caller_stream", func(c *Row) any { return &c.callerStream }},
			{"called_stream", func(c *Row) any { return &c.calledStream }},
			{"compat_flags", func(c *Row) any { return &c.compatFlags }},
			{"codec", func(c *Row) any { return &c.Codec }},
			{"rolled", func(c *Row) any { return &c.rolled }},
		},
	)
}

func partyFields() []field[record.Party] {
	return slices.Concat(
		[]field[record.Party]{
			{"number", func(p *record.Party) any { return &p.Number }},
			{"domain", func(p *record.Party) any { return &p.Domain }},
			{"name", func(p *record.Party) any { return &p.Name }},
			{"tag", func(p *record.Party) any { return &p.Tag }},
		},
		addr("", func(p *record.Party) *netip.AddrPort { return &p.Addr }),
		[]field[record.Party]{
			{"agent", func(p *record.Party) any { return &p.Agent }},
			{"contact", func(p *record.Party) any { return &p.Contact }},
		},
	)
}

func legFields() []field[record.Leg] {
	return []field[record.Leg]{
		{"tag", func(l *record.Leg) any { return &l.Tag }},
		{"first_at", func(l *record.Leg) any { return &l.First }},
		{"answer_at", func(l *record.Leg) any { return &l.Answer }},
		{"status", func(l *record.Leg) any { return &l.Status }},
	}
}

func messageFields() []field[record.Message] {
	return slices.Concat(
		[]field[record.Message]{{"sent_at", func(m *record.Message) any { return &m.Time }}},
		addr("src_", func(m *record.Message) *netip.AddrPort { return &m.Src }),
		addr("dst_", func(m *record.Message) *netip.AddrPort { return &m.Dst }),
		[]field[record.Message]{
			{"method", func(m *record.Message) any { return &m.Method }},
			{"status", func(m *record.Message) any { return &m.Status }},
			{"reason", func(m *record.Message) any { return &m.Reason }},
			{"cseq", func(m *record.Message) any { return &m.CSeq }},
			{"sdp", func(m *record.Message) any { return &m.SDP }},
			{"retrans", func(m *record.Message) any { return &m.Retrans }},
		},
	)
}

func mediaFields() []field[record.Media] {
	return slices.Concat(
		[]field[record.Media]{
			{"side", func(m *record.Media) any { return &m.Side }},
			{"kind", func(m *record.Media) any { return &m.Kind }},
		},
		addr("", func(m *record.Media) *netip.AddrPort { return &m.Addr }),
		[]field[record.Media]{
			{"codecs", func(m *record.Media) any { return &m.Codecs }},
			{"ptime", func(m *record.Media) any { return &m.Ptime }},
			{"mode", func(m *record.Media) any { return &m.Mode }},
			{"srtp", func(m *record.Media) any { return &m.SRTP }},
			{"from_at", func(m *record.Media) any { return &m.From }},
			{"epoch", func(m *record.Media) any { return &m.Epoch }},
			{"crypto", func(m *record.Media) any { return &m.Crypto }},
		},
	)
}

func digitFields() []field[record.Digit] {
	return []field[record.Digit]{
		{"pressed_at", func(d *record.Digit) any { return &d.Time }},
		{"side", func(d *record.Digit) any { return &d.From }},
		{"digit", func(d *record.Digit) any { return &d.Digit }},
		{"method", func(d *record.Digit) any { return &d.Method }},
		{"duration", func(d *record.Digit) any { return &d.Duration }},
		{"volume", func(d *record.Digit) any { return &d.Volume }},
		{"ssrc", func(d *record.Digit) any { return &d.SSRC }},
	}
}

func streamFields() []field[streamRow] {
	return slices.Concat(
		[]field[streamRow]{{"call_id", func(s *streamRow) any { return &s.callID }}},
		addr("src_", func(s *streamRow) *netip.AddrPort { return &s.Src }),
		addr("dst_", func(s *streamRow) *netip.AddrPort { return &s.Dst }),
		[]field[streamRow]{
			{"ssrc", func(s *streamRow) any { return &s.SSRC }},
			{"side", func(s *streamRow) any { return &s.From }},
			{"codec", func(s *streamRow) any { return &s.Codec }},
			{"payload", func(s *streamRow) any { return &s.Payload }},
			{"rate", func(s *streamRow) any { return &s.Rate }},
			{"ptime", func(s *streamRow) any { return &s.Ptime }},
			{"first_at", func(s *streamRow) any { return &s.First }},
			{"last_at", func(s *streamRow) any { return &s.Last }},
		},
		within("", counterFields(), func(s *streamRow) *record.Counters { return &s.Counters }),
		within("compat_", compatFields(), func(s *streamRow) *record.Compat { return &s.Compat }),
		within("mos_", mosFields(), func(s *streamRow) *record.MOS { return &s.MOS }),
		within("rtcp_", rtcpFields(), func(s *streamRow) *record.RTCP { return &s.RTCP }),
		within("xr_", xrFields(), func(s *streamRow) *record.XR { return &s.XR }),
		[]field[streamRow]{
			{"ttl_min", func(s *streamRow) any { return &s.TTLMin }},
			{"ttl_max", func(s *streamRow) any { return &s.TTLMax }},
			{"dscp", func(s *streamRow) any { return &s.DSCP }},
			{"vlan", func(s *streamRow) any { return &s.VLAN }},
			{"srtp", func(s *streamRow) any { return &s.SRTP }},
			{"epoch", func(s *streamRow) any { return &s.Epoch }},
			{"flags", func(s *streamRow) any { return &s.Flags }},
		},
	)
}

func counterFields() []field[record.Counters] {
	var runs, delays []field[record.Counters]
	for i := range len(record.Counters{}.LossRuns) {
		runs = append(runs, field[record.Counters]{fmt.Sprintf("loss_run_%d", i+1),
			func(c *record.Counters) any { return &c.LossRuns[i] }})
	}
	for i, ms := range []int{0, 50, 70, 90, 120, 150, 200, 300} {
		delays = append(delays, field[record.Counters]{fmt.Sprintf("delay_%d", ms),
			func(c *record.Counters) any { return &c.Delay[i] }})
	}
	return slices.Concat(
		[]field[record.Counters]{
			{"packets", func(c *record.Counters) any { return &c.Packets }},
			{"received", func(c *record.Counters) any { return &c.Received }},
			{"bytes", func(c *record.Counters) any { return &c.Bytes }},
			{"expected", func(c *record.Counters) any { return &c.Expected }},
			{"lost", func(c *record.Counters) any { return &c.Lost }},
			{"duplicate", func(c *record.Counters) any { return &c.Duplicate }},
			{"reordered", func(c *record.Counters) any { return &c.Reordered }},
			{"stray", func(c *record.Counters) any { return &c.Stray }},
			{"resets", func(c *record.Counters) any { return &c.Resets }},
			{"markers", func(c *record.Counters) any { return &c.Markers }},
			{"events", func(c *record.Counters) any { return &c.Events }},
			{"comfort", func(c *record.Counters) any { return &c.Comfort }},
		},
		runs,
		[]field[record.Counters]{
			{"loss_run_max", func(c *record.Counters) any { return &c.LossRunMax }},
			{"jitter", func(c *record.Counters) any { return &c.Jitter }},
			{"jitter_avg", func(c *record.Counters) any { return &c.JitterAvg }},
			{"jitter_max", func(c *record.Counters) any { return &c.JitterMax }},
		},
		delays,
		[]field[record.Counters]{
			{"delta_max", func(c *record.Counters) any { return &c.DeltaMax }},
			{"delta_min", func(c *record.Counters) any { return &c.DeltaMin }},
			{"skew_ppm", func(c *record.Counters) any { return &c.SkewPPM }},
			{"late_f1", func(c *record.Counters) any { return &c.LateF1 }},
			{"late_f2", func(c *record.Counters) any { return &c.LateF2 }},
			{"late_adapt", func(c *record.Counters) any { return &c.LateAdapt }},
		},
	)
}

func compatFields() []field[record.Compat] {
	return []field[record.Compat]{
		{"mos_f1", func(c *record.Compat) any { return &c.MosF1 }},
		{"mos_f1_min", func(c *record.Compat) any { return &c.MosF1Min }},
		{"mos_f2", func(c *record.Compat) any { return &c.MosF2 }},
		{"mos_f2_min", func(c *record.Compat) any { return &c.MosF2Min }},
		{"mos_adapt", func(c *record.Compat) any { return &c.MosAdapt }},
		{"mos_adapt_min", func(c *record.Compat) any { return &c.MosAdaptMin }},
		{"loss_perc", func(c *record.Compat) any { return &c.LossPerc }},
	}
}

func mosFields() []field[record.MOS] {
	return []field[record.MOS]{
		{"cq", func(m *record.MOS) any { return &m.CQ }},
		{"lq", func(m *record.MOS) any { return &m.LQ }},
		{"min", func(m *record.MOS) any { return &m.Min }},
		{"r", func(m *record.MOS) any { return &m.R }},
		{"ppl", func(m *record.MOS) any { return &m.Ppl }},
		{"burst_r", func(m *record.MOS) any { return &m.BurstR }},
		{"ie", func(m *record.MOS) any { return &m.Ie }},
		{"bpl", func(m *record.MOS) any { return &m.Bpl }},
		{"method", func(m *record.MOS) any { return &m.Method }},
		{"confidence", func(m *record.MOS) any { return &m.Confidence }},
		{"delay", func(m *record.MOS) any { return &m.Delay }},
		{"n", func(m *record.MOS) any { return &m.N }},
	}
}

func rtcpFields() []field[record.RTCP] {
	return []field[record.RTCP]{
		{"reports", func(r *record.RTCP) any { return &r.Reports }},
		{"lost", func(r *record.RTCP) any { return &r.Lost }},
		{"frac_avg", func(r *record.RTCP) any { return &r.FracAvg }},
		{"frac_max", func(r *record.RTCP) any { return &r.FracMax }},
		{"jitter_avg", func(r *record.RTCP) any { return &r.JitterAvg }},
		{"jitter_max", func(r *record.RTCP) any { return &r.JitterMax }},
		{"rtt", func(r *record.RTCP) any { return &r.RTT }},
		{"rtt_max", func(r *record.RTCP) any { return &r.RTTMax }},
		{"sender_packets", func(r *record.RTCP) any { return &r.SenderCount }},
	}
}

func xrFields() []field[record.XR] {
	return []field[record.XR]{
		{"reports", func(x *record.XR) any { return &x.Reports }},
		{"loss", func(x *record.XR) any { return &x.Loss }},
		{"discard", func(x *record.XR) any { return &x.Discard }},
		{"burst_loss", func(x *record.XR) any { return &x.BurstLoss }},
		{"gap_loss", func(x *record.XR) any { return &x.GapLoss }},
		{"burst", func(x *record.XR) any { return &x.Burst }},
		{"gap", func(x *record.XR) any { return &x.Gap }},
		{"rtt", func(x *record.XR) any { return &x.RTT }},
		{"end_delay", func(x *record.XR) any { return &x.EndDelay }},
		{"signal_db", func(x *record.XR) any { return &x.Signal }},
		{"noise_db", func(x *record.XR) any { return &x.Noise }},
		{"rerl_db", func(x *record.XR) any { return &x.RERL }},
		{"r", func(x *record.XR) any { return &x.R }},
		{"external_r", func(x *record.XR) any { return &x.ExternalR }},
		{"mos_lq", func(x *record.XR) any { return &x.MOSLQ }},
		{"mos_cq", func(x *record.XR) any { return &x.MOSCQ }},
		{"jitter_buffer", func(x *record.XR) any { return &x.JitterBuffer }},
		{"jitter_buffer_max", func(x *record.XR) any { return &x.JitterMax }},
	}
}
