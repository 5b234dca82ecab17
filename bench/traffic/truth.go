package traffic

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"

	"ringside/flow/record"
)

// Call is what a perfect observer at the point of capture must report of a
// call. Names and meanings are those of record.Call, where it has them; the
// package comment states the rules where that leaves room.
type Call struct {
	Type     string `json:"type"` // "call"
	Scenario string `json:"scenario"`
	CallID   string `json:"call_id"`

	Start  int64 `json:"start"`
	Trying int64 `json:"trying,omitempty"`
	Ring   int64 `json:"ring,omitempty"`
	Answer int64 `json:"answer,omitempty"`
	ByeAt  int64 `json:"bye_at,omitempty"`
	End    int64 `json:"end"`
	Last   int64 `json:"last"`

	Outcome   record.Outcome   `json:"outcome"`
	EndReason record.EndReason `json:"end_reason"`
	HungUp    record.Side      `json:"hung_up"`

	Caller      Party  `json:"caller"`
	Called      Party  `json:"called"`
	RequestUser string `json:"request_user,omitempty"`
	AuthUser    string `json:"auth_user,omitempty"`

	LastStatus      uint16 `json:"last_status"`
	LastReason      string `json:"last_reason,omitempty"`
	LastProvisional uint16 `json:"last_provisional,omitempty"`

	Invites         uint32 `json:"invites"`
	Reinvites       uint32 `json:"reinvites,omitempty"`
	Retransmissions uint32 `json:"retransmissions"`
	MaxRetransInv   uint32 `json:"max_retrans_inv,omitempty"`
	Challenges      uint32 `json:"challenges,omitempty"`
	Holds           uint32 `json:"holds,omitempty"`
	Forks           uint32 `json:"forks,omitempty"`
	Redirects       uint32 `json:"redirects,omitempty"`
	Refers          uint32 `json:"refers,omitempty"`
	Infos           uint32 `json:"infos,omitempty"`
	Pracks          uint32 `json:"pracks,omitempty"`
	Updates         uint32 `json:"updates,omitempty"`

	VLAN          int32            `json:"vlan"`
	Transport     record.Transport `json:"transport"`
	Flags         []string         `json:"flags"` // names of record.Flags
	MessagesTotal uint32           `json:"messages_total"`
	Streams       []Stream         `json:"streams"` // by first packet
}

// Party is one end of a call.
type Party struct {
	Number string         `json:"number"`
	Domain string         `json:"domain"`
	Name   string         `json:"name,omitempty"`
	Tag    string         `json:"tag,omitempty"` // of the caller only
	Addr   netip.AddrPort `json:"addr"`
	Agent  string         `json:"agent,omitempty"`
}

// Stream is what a perfect observer must report of an RTP stream. One that no
// SDP named stands on a line of its own, with an empty call_id.
type Stream struct {
	Type    string         `json:"type,omitempty"` // "stream", on a line of its own
	CallID  string         `json:"call_id"`
	Src     netip.AddrPort `json:"src"`
	Dst     netip.AddrPort `json:"dst"`
	SSRC    uint32         `json:"ssrc"`
	From    record.Side    `json:"from"`
	Codec   string         `json:"codec"`
	Payload uint8          `json:"payload"`
	Rate    uint32         `json:"rate"`
	Ptime   uint16         `json:"ptime"`
	VLAN    int32          `json:"vlan"`
	TTLMin  uint8          `json:"ttl_min"`
	TTLMax  uint8          `json:"ttl_max"`

	First int64 `json:"first"`
	Last  int64 `json:"last"`

	record.Counters
	RTCP Seen `json:"rtcp"`

	Sent    uint32 `json:"sent"`    // packets that left the sender
	Dropped uint32 `json:"dropped"` // of these, lost before the point of capture
}

// Totals counts what is in the file, for the ledger.
type Totals struct {
	Type      string  `json:"type"` // "totals"
	Frames    uint64  `json:"frames"`
	Bytes     uint64  `json:"bytes"` // frame bytes on the wire
	SIPCalls  uint64  `json:"sip_calls"`
	SIPOther  uint64  `json:"sip_other"` // OPTIONS and REGISTER with their responses
	RTP       uint64  `json:"rtp"`
	RTCP      uint64  `json:"rtcp"`
	DNS       uint64  `json:"dns"`
	STUN      uint64  `json:"stun"`
	TCP       uint64  `json:"tcp"`
	Carriers  uint64  `json:"carriers,omitempty"`  // packets of connections that carry SIP; sip_calls counts the messages in them
	Unseen    uint64  `json:"unseen,omitempty"`    // SIP messages that the capture missed; part of no call
	Cut       uint64  `json:"cut,omitempty"`       // SIP messages of which the capture missed the end
	Fragments uint64  `json:"fragments,omitempty"` // IP fragments, copies apart
	Copies    uint64  `json:"copies,omitempty"`    // second copies of a mirror
	Hostile   Hostile `json:"hostile,omitzero"`    // frames of attacks
	Calls     uint64  `json:"calls"`
	Streams   uint64  `json:"streams"` // of calls and orphans
	Orphans   uint64  `json:"orphans"`
	FirstTime int64   `json:"first_time"`
	LastTime  int64   `json:"last_time"`
}

// observe fills in what follows from the messages alone. Outcome, end reason,
// who hung up, holds, forks and flags are set by the scenario that knows.
func (c *call) observe() {
	t := &c.truth
	t.Type, t.CallID, t.Transport = "call", c.callID, c.transport
	t.VLAN = c.g.vlanID()
	t.Start, t.Last = c.msgs[0].at, c.msgs[len(c.msgs)-1].at
	t.MessagesTotal = uint32(len(c.msgs))
	resent := map[[2]uint32]uint32{} // INVITE: transaction and hop
	earlyRing := int64(0)
	for i := range c.msgs {
		m := &c.msgs[i]
		if m.again {
			t.Retransmissions++
			if m.status == 0 && m.method == "INVITE" {
				k := [2]uint32{m.tx, uint32(m.hop)}
				resent[k]++
				t.MaxRetransInv = max(t.MaxRetransInv, resent[k])
			}
			continue
		}
		switch {
		case m.status == 0:
			c.observeRequest(m)
		case m.method == "INVITE":
			c.observeAnswer(m, &earlyRing)
		}
	}
	if t.Ring == 0 {
		t.Ring = earlyRing
	}
	c.observeParties()
	c.observeEnd()
}

func (c *call) observeRequest(m *msg) {
	t := &c.truth
	if m.method == "BYE" && t.ByeAt == 0 {
		t.ByeAt = m.at
	}
	if m.copy {
		return
	}
	switch m.method {
	case "INVITE":
		t.Invites++
		if m.tag >= 0 {
			t.Reinvites++
		}
	case "REFER":
		t.Refers++
	case "INFO":
		t.Infos++
	case "PRACK":
		t.Pracks++
	case "UPDATE":
		t.Updates++
	}
}

// observeAnswer notes a response to an INVITE.
func (c *call) observeAnswer(m *msg, earlyRing *int64) {
	t := &c.truth
	again := c.reinvite(m)
	set := func(at *int64) {
		if *at == 0 {
			*at = m.at
		}
	}
	switch {
	case m.status == 100:
		if !again {
			set(&t.Trying)
		}
	case m.status < 200:
		t.LastProvisional = m.status
		if m.status == 180 {
			set(&t.Ring)
		} else if m.status == 183 {
			set(earlyRing)
		}
	default:
		t.LastStatus, t.LastReason = m.status, m.reason
		if m.status < 300 && !again {
			set(&t.Answer)
		}
		if m.copy {
			break
		}
		switch {
		case m.status == 401 || m.status == 407:
			t.Challenges++
		case m.status >= 300 && m.status < 400:
			t.Redirects++
		}
	}
}

// reinvite tells whether the INVITE that m answers was sent inside the dialog.
func (c *call) reinvite(m *msg) bool {
	for i := range c.msgs {
		q := &c.msgs[i]
		if q.tx == m.tx && q.status == 0 && q.method == "INVITE" {
			return q.tag >= 0
		}
	}
	return false
}

// observeParties names both ends as the first request does: in every scenario
// that is one of the caller.
func (c *call) observeParties() {
	t := &c.truth
	m := &c.msgs[0]
	a, b := &c.a, &c.b[0]
	src, dst := c.hopEnds(m)
	t.Caller = Party{a.number, a.domain, a.display, c.fromTag, src, a.agent}
	t.Called = Party{b.number, b.domain, b.display, "", dst, ""}
	for i := range c.msgs {
		if m := &c.msgs[i]; m.status > 100 && m.by == caller || m.status == 0 && m.by == called {
			t.Called.Agent = c.b[m.peer].agent // after a redirect, of who answered
		}
	}
	if c.begin == 0 {
		t.RequestUser = b.number
	}
}

// hop is the parties of the hop that m is on, the caller's side first.
func (c *call) hop(m *msg) (near, far netip.AddrPort) {
	near, far = c.a.sig, c.b[m.peer].sig
	if c.proxy.IsValid() {
		if m.hop == 0 {
			far = c.proxy
		} else {
			near = c.proxy
		}
	}
	return near, far
}

// hopEnds are the addresses of the hop that m is on.
func (c *call) hopEnds(m *msg) (src, dst netip.AddrPort) {
	near, far := c.hop(m)
	if c.transport != record.UDP {
		near, far = c.path(near, far)
	}
	if m.towardCalled() {
		return near, far
	}
	return far, near
}

// observeEnd finds the moment the call was over. Where there was no sign of an
// end, the last packet still counts: finish does that.
func (c *call) observeEnd() {
	t := &c.truth
	switch t.EndReason {
	case record.EndBye, record.EndByeAlone:
		t.End = t.ByeAt
	case record.EndCancel, record.EndRejected:
		for i := range c.msgs {
			m := &c.msgs[i]
			if m.method == "INVITE" && m.status == t.LastStatus {
				t.End = m.at
				return
			}
		}
	default:
		t.End = t.Last
	}
}

// finish adds the streams to the truth of the call and writes it.
func (c *call) finish() {
	t := &c.truth
	g := c.g
	orphans := t.Outcome == record.Partial && !c.described()
	t.Streams = []Stream{}
	for _, s := range c.streams {
		if s.meter != nil {
			s.meter.finish(&s.truth)
		}
		s.truth.CallID = c.callID
		s.truth.Sent, s.truth.Dropped = s.sent, s.dropped
		s.truth.RTCP = s.reports.about
		s.truth.Codec, s.truth.Rate = c.codec.Name, c.codec.Clock
		if s.truth.Payload != c.codec.Payload {
			s.truth.Codec, s.truth.Rate = c.second.Name, c.second.Clock
		}
		g.totals.Streams++
		if orphans {
			s.truth.CallID, s.truth.Type, s.truth.From = "", "stream", record.SideUnknown
			s.truth.RTCP = Seen{} // what is RTCP of a stream without SDP is not stated
			g.totals.Orphans++
			g.writeTruth(&s.truth)
			continue
		}
		if t.EndReason == record.EndUnknown || t.EndReason == record.EndOfCapture {
			t.End = max(t.End, s.truth.Last)
		}
		t.Streams = append(t.Streams, s.truth)
	}
	g.totals.Calls++
	c.mediaVerdicts()
}

// mediaVerdicts sets the flags that depend on when RTP really arrived, which
// loss and jitter have a say in.
func (c *call) mediaVerdicts() {
	t := &c.truth
	var last [3]int64 // packet of each side since the answer
	for i := range t.Streams {
		s := &t.Streams[i]
		if s.Last >= t.Answer {
			last[s.From] = max(last[s.From], s.Last)
		}
		if t.Outcome != record.Partial && (t.Answer == 0 || s.First < t.Answer) {
			c.flag(record.EarlyMedia)
		}
		if s.First < c.namedAt(s) {
			c.flag(record.LateSDP)
		}
	}
	if t.Outcome != record.Answered {
		return
	}
	switch a, b := last[caller], last[called]; {
	case a == 0 && b == 0:
		c.flag(record.NoRTP)
	case a == 0 || b == 0:
		c.flag(record.OneWay)
	}
	if slices.Contains(t.Flags, record.OnHoldAtEnd.Names()[0]) {
		return
	}
	for _, at := range last {
		if at > 0 && at < t.End-10*sec {
			c.flag(record.Silence)
		}
	}
}

// namedAt is when SDP first named the destination of s, or, where none did,
// its source.
func (c *call) namedAt(s *Stream) int64 {
	for _, end := range []netip.AddrPort{s.Dst, s.Src} {
		for i := range c.msgs {
			if d := c.msgs[i].sdp; d != nil && d.media == end {
				return c.msgs[i].at
			}
		}
	}
	return 0
}

// described tells whether any message of the call carries SDP.
func (c *call) described() bool {
	for i := range c.msgs {
		if c.msgs[i].sdp != nil {
			return true
		}
	}
	return false
}

// flag adds a fact to the truth.
func (c *call) flag(f record.Flags) {
	for _, name := range f.Names() {
		if !slices.Contains(c.truth.Flags, name) {
			c.truth.Flags = append(c.truth.Flags, name)
		}
	}
}

func (g *Generator) writeTruth(line any) {
	if g.truth == nil || g.truthErr != nil {
		return
	}
	b, err := json.Marshal(line)
	if err == nil {
		_, err = g.truth.Write(append(b, '\n'))
	}
	if err != nil {
		g.truthErr = fmt.Errorf("write truth: %w", err)
	}
}
