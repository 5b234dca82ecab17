package call

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"net/netip"
	"slices"
	"strings"
	"time"

	"ringside/dataplane/frame"
	"ringside/flow/record"
	"ringside/flow/sip"
)

// AddStream gives a media stream to a closed call, before Finish; false if
// there is no such call. s is copied.
func (t *Table) AddStream(ref Ref, s *record.Stream) bool {
	c := t.call(ref)
	if c == nil || c.phase != closed {
		return false
	}
	c.streams = append(c.streams, *s)
	return true
}

// AddDigits gives digits that were sent in RTP to a closed call, before Finish;
// false if there is no such call. d is copied.
func (t *Table) AddDigits(ref Ref, d []record.Digit) bool {
	c := t.call(ref)
	if c == nil || c.phase != closed {
		return false
	}
	c.digits = append(c.digits, d...)
	return true
}

// Finish builds the record of a closed call, and frees its slot; nil if there
// is no such call, or it still goes on.
func (t *Table) Finish(ref Ref) *record.Call {
	c := t.call(ref)
	if c == nil || c.phase != closed {
		return nil
	}
	r := c.record(t.options.Sensor)
	t.stats.Finished++
	c.reset()
	t.free = append(t.free, c)
	return r
}

// Capacities beyond which a slot does not keep its memory for the next call.
const (
	spareBytes    = 2 << 10
	spareMessages = 16
	spareOther    = 8
)

// reset makes the slot ready for another call.
func (c *call) reset() {
	*c = call{
		slot: c.slot, generation: c.generation + 1,
		bytes: spare(c.bytes, spareBytes), messages: spare(c.messages, spareMessages),
		endpoints: spare(c.endpoints, spareOther), legs: spare(c.legs, spareOther),
		media: spare(c.media, spareOther), branches: spare(c.branches, spareOther),
		dialled: spare(c.dialled, spareOther),
	}
}

func spare[T any](s []T, most int) []T {
	if cap(s) > most {
		return nil
	}
	return s[:0]
}

// endReason is why a call in this state is closed, where the state says so.
func (c *call) endReason(cause record.EndReason) record.EndReason {
	switch {
	case c.phase == byeDone:
		return record.EndBye
	case c.phase == byeSeen:
		return record.EndByeAlone
	case c.phase == failed:
		return record.EndRejected
	case c.phase == canceled && c.end != 0:
		return record.EndCancel
	}
	return cause
}

// outcome is what became of the call.
func (c *call) outcome() record.Outcome {
	switch {
	case c.noInvite:
		return record.Partial
	case c.answer != 0:
		return record.Answered
	case c.wasCanceled, c.bye != 0 && c.hungUp == record.SideCaller:
		return record.Cancelled
	}
	switch s := c.status; {
	case s == 0, s == 408, s == 480, s == 487:
		return record.NoAnswer
	case s == 486, s == 600:
		return record.Busy
	case s == 401, s == 403, s == 407:
		return record.AuthFailed
	case s/100 == 3:
		return record.Redirected
	case s/100 == 2:
		return record.NoAnswer // came after the BYE
	}
	return record.Failed
}

// Outcome is what has become of a call so far, with its last final status. It may
// be asked from within Closed.
func (t *Table) Outcome(ref Ref) (record.Outcome, uint16) {
	c := t.call(ref)
	if c == nil {
		return record.OutcomeUnknown, 0
	}
	return c.outcome(), c.status
}

func (c *call) record(sensor uint16) *record.Call {
	slices.SortStableFunc(c.streams, compareStreams)
	r := &record.Call{
		CallID: c.string(c.callID), Sensor: sensor,
		Start: c.start, Trying: c.trying100, Ring: cmp.Or(c.ring180, c.ring183),
		Answer: c.answer, ByeAt: c.bye, End: c.over(), Last: c.last,
		Outcome: c.outcome(), EndReason: c.reason, HungUp: c.hungUp,
		Caller: c.party(&c.caller), Called: c.party(&c.called),
		RequestUser: c.string(c.user), RequestDomain: c.string(c.domain),
		LastStatus: c.status, LastReason: c.string(c.statusReason), LastProvisional: c.provisional,
		SIPCause: c.sipCause, SIPText: c.string(c.sipText),
		Q850Cause: c.q850Cause, Q850Text: c.string(c.q850Text),
		Invites: c.invites, Reinvites: c.reinvites,
		Retransmissions: c.retrans, MaxRetransInv: c.retransInvite,
		Challenges: c.challenges, Holds: c.holds, Redirects: c.redirects, Refers: c.refers,
		Infos: c.infos, Pracks: c.pracks, Updates: c.updates,
		AuthUser: c.string(c.authUser),
		VLAN:     c.vlan, DSCP: c.dscp, Transport: c.transport, Tunnel: c.tunnel,
		SessionID: c.sessionIDs(), XCallID: c.string(c.xCallID), ICID: c.string(c.icid),
		LinkHeader: c.string(c.linkHeader), Replaces: c.string(c.replacing),
		Digits:   c.allDigits(),
		Messages: c.ladder(), MessagesTotal: c.total, Streams: c.streams,
	}
	c.dialogs(r)
	for i := range c.media {
		r.Media = append(r.Media, c.media[i].record(c))
	}
	r.ID = recordID(c.get(c.callID), c.get(c.caller.tag), c.start)
	r.Flags = c.flags | c.verdicts(r)
	return r
}

// over is when the call was over: what ended it, or the last sign of life.
func (c *call) over() int64 {
	if c.end != 0 {
		return c.end
	}
	last := c.last
	for i := range c.streams {
		if c.streams[i].Packets > 0 {
			last = max(last, c.streams[i].Last)
		}
	}
	return last
}

// recordID names a call for good: 63 bits of a hash that nobody can aim at the
// record of another call.
func recordID(callID, tag []byte, start int64) int64 {
	b := make([]byte, 0, 256)
	b = append(append(b, callID...), 0)
	b = append(append(b, tag...), 0)
	sum := sha256.Sum256(binary.BigEndian.AppendUint64(b, uint64(start)))
	return int64(binary.BigEndian.Uint64(sum[:]) >> 1)
}

func (c *call) party(p *party) record.Party {
	return record.Party{
		Number: c.string(p.number), Domain: c.string(p.domain),
		Name: sip.Unquote(c.get(p.name)), Tag: c.string(p.tag),
		Addr: addrPort(p.addr), Agent: c.string(p.agent), Contact: c.string(p.contact),
	}
}

// addrPort is e, invalid where it is not known.
func addrPort(e frame.Endpoint) netip.AddrPort {
	if e == (frame.Endpoint{}) {
		return netip.AddrPort{}
	}
	return e.Netip()
}

// dialogs lists the legs, and finds the tag of the called: of the dialog that
// was answered (and hung up last), else of the first dialog, else of the first
// final response.
func (c *call) dialogs(r *record.Call) {
	var best *leg
	for i := range c.legs {
		l := &c.legs[i]
		r.Legs = append(r.Legs, record.Leg{Tag: c.string(l.name), First: l.first, Answer: l.answer, Status: l.status})
		if l.dialog {
			r.Forks++
		}
		if best == nil || l.better(best) {
			best = l
		}
	}
	if r.Forks > 0 {
		r.Forks--
	}
	if best != nil {
		r.Called.Tag = c.string(best.name)
	}
}

func (l *leg) better(o *leg) bool {
	switch {
	case (l.answer != 0) != (o.answer != 0):
		return l.answer != 0
	case l.answer != 0:
		return o.bye != 0 && (l.bye == 0 || l.bye > o.bye)
	}
	return l.dialog && !o.dialog
}

func (c *call) ladder() []record.Message {
	out := make([]record.Message, 0, len(c.messages))
	at := make([]netip.AddrPort, maxEndpoints+1)
	for i, e := range c.endpoints {
		at[i] = addrPort(e)
	}
	c.inOrder(func(m *message) {
		name := c.string(m.name)
		if m.method != sip.MethodUnknown {
			name = m.method.String()
		}
		out = append(out, record.Message{
			Time: m.time, Src: at[m.src], Dst: at[m.dst],
			Method: name, Status: m.status, Reason: c.string(m.reason), CSeq: m.cseq,
			SDP: m.flags&withSDP != 0, Retrans: m.flags&retransmitted != 0,
		})
	})
	return out
}

func compareStreams(a, b record.Stream) int {
	return cmp.Or(
		cmp.Compare(a.From, b.From), cmp.Compare(a.First, b.First), cmp.Compare(a.SSRC, b.SSRC),
		a.Src.Compare(b.Src), a.Dst.Compare(b.Dst))
}

// silentAfter is for how long a direction may be quiet before the end.
const silentAfter = int64(10 * time.Second)

// verdicts are the flags that follow from the record as a whole.
func (c *call) verdicts(r *record.Call) (f record.Flags) {
	if c.noInvite {
		f |= record.MidCall
	}
	if int(c.total) > len(c.messages) {
		f |= record.MessagesCut
	}
	if c.hold.held() {
		f |= record.OnHoldAtEnd
	}
	if c.oneDirection() {
		f |= record.OneDirection
	}
	var last [3]int64 // packet of each side while the call was answered
	for i := range r.Streams {
		s := &r.Streams[i]
		f |= streamFlags(s)
		if s.Packets == 0 {
			continue
		}
		if !c.noInvite && (c.answer == 0 || s.First < c.answer) {
			f |= record.EarlyMedia
		}
		if named := c.namedAt(s); named != 0 && s.First < named {
			f |= record.LateSDP
		}
		if s.Last >= c.answer {
			last[s.From] = max(last[s.From], s.Last)
		}
	}
	if r.Outcome == record.Answered {
		f |= c.directions(last, r.End)
	}
	if f&record.OneDirection != 0 {
		f &^= record.OneWay | record.NoRTP
	}
	return f
}

// directions judges the media of an answered call by the last packet that each
// side sent. A direction that SDP never allowed is not missed.
func (c *call) directions(last [3]int64, end int64) (f record.Flags) {
	sent := func(s record.Side) bool { return last[s] != 0 }
	switch {
	case sent(record.SideUnknown): // of either side
	case !sent(record.SideCaller) && !sent(record.SideCalled):
		if c.expected != 0 {
			return record.NoRTP
		}
	case sent(record.SideCaller) != sent(record.SideCalled):
		if c.expected == bothWays {
			f |= record.OneWay
		}
	}
	if c.hold.held() {
		return f
	}
	for _, s := range []record.Side{record.SideCaller, record.SideCalled} {
		if sent(s) && c.flows&way(s) != 0 && last[s] < end-silentAfter {
			f |= record.Silence
		}
	}
	return f
}

// streamFlags are the flags of a call that its stream's flags imply.
func streamFlags(s *record.Stream) (f record.Flags) {
	for name := range strings.SplitSeq(s.Flags, ",") {
		switch strings.TrimSpace(name) {
		case "nat":
			f |= record.NATed
		case "incomplete":
			f |= record.Incomplete
		case "shared":
			f |= record.SharedMedia
		}
	}
	return f
}

// namedAt is when SDP first named the destination of a stream, or, where it
// never did, its source; 0 if neither.
func (c *call) namedAt(s *record.Stream) int64 {
	dst, src := int64(0), int64(0)
	for i := range c.media {
		m := &c.media[i]
		at := m.at.Netip()
		if at == s.Dst && (dst == 0 || m.from < dst) {
			dst = m.from
		}
		if at == s.Src && (src == 0 || m.from < src) {
			src = m.from
		}
	}
	return cmp.Or(dst, src)
}
