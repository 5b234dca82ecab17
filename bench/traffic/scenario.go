package traffic

import (
	"fmt"
	"net/netip"
	"strings"

	"ringside/flow/record"
)

// Scenario is what happens in a call.
type Scenario uint8

// Scenarios.
const (
	Answered        Scenario = iota // INVITE, 180, 200, ACK, talk, BYE from either side
	Busy                            // 486 or 600
	Cancelled                       // CANCEL while it rings
	NoAnswer                        // 480 or 408 after ringing
	NoResponse                      // INVITE again and again, nothing comes back
	Ringing                         // 180, and then nothing more
	Rejected                        // 503, 404 or 603
	Forbidden                       // 403
	Auth401                         // challenged by the called, sent again with credentials
	Auth407                         // challenged by a proxy
	Forked                          // two called ring, one answers
	Hold                            // re-INVITE to hold and to resume
	HoldAtEnd                       // hung up while on hold
	OneWay                          // RTP from one side only
	NoRTP                           // no RTP at all
	Silence                         // one side stops sending RTP long before the end
	EarlyMedia                      // 183 with SDP, RTP before the answer
	Announcement                    // 183 with SDP and RTP, then a failure
	LateSDP                         // offer in the 200, answer in the ACK, which RTP overtakes
	EarlyRTP                        // RTP of both sides before any SDP
	Redirected                      // 302, and the caller gives up
	Followed                        // 302, and the caller follows
	ByeUnanswered                   // BYE again and again, no 200
	NoBye                           // the talk ends without a BYE
	Retransmitted                   // INVITE, 200 and BYE sent again
	Reliable                        // PRACK and UPDATE before the answer
	Transferred                     // REFER with its NOTIFYs
	Informed                        // INFO inside the dialog
	SSRCChange                      // another SSRC in mid-call
	PayloadChange                   // another codec in mid-call, same SSRC
	NAT                             // RTP from another address than SDP says
	PortReuse                       // two calls, one after the other on the same media port
	MidCall                         // captured from the middle on, BYE only
	MidCallReinvite                 // captured from the middle on, with a re-INVITE
	Compact                         // short header names
	Folded                          // folded header lines
	scenarioCount
)

var scenarios = [scenarioCount]struct {
	name   string
	script func(*call)
}{
	Answered:        {"answered", (*call).answered},
	Busy:            {"busy", (*call).busyLine},
	Cancelled:       {"cancelled", (*call).cancelled},
	NoAnswer:        {"no-answer", (*call).noAnswer},
	NoResponse:      {"no-response", (*call).noResponse},
	Ringing:         {"ringing", (*call).ringing},
	Rejected:        {"rejected", (*call).rejected},
	Forbidden:       {"forbidden", (*call).forbidden},
	Auth401:         {"auth-401", (*call).auth401},
	Auth407:         {"auth-407", (*call).auth407},
	Forked:          {"forked", (*call).forked},
	Hold:            {"hold", (*call).hold},
	HoldAtEnd:       {"hold-at-end", (*call).holdAtEnd},
	OneWay:          {"one-way", (*call).oneWay},
	NoRTP:           {"no-rtp", (*call).noRTP},
	Silence:         {"silence", (*call).silence},
	EarlyMedia:      {"early-media", (*call).earlyMedia},
	Announcement:    {"announcement", (*call).announcement},
	LateSDP:         {"late-sdp", (*call).lateSDP},
	EarlyRTP:        {"early-rtp", (*call).earlyRTP},
	Redirected:      {"redirected", (*call).redirected},
	Followed:        {"followed", (*call).followed},
	ByeUnanswered:   {"bye-unanswered", (*call).byeUnanswered},
	NoBye:           {"no-bye", (*call).noBye},
	Retransmitted:   {"retransmitted", (*call).retransmitted},
	Reliable:        {"prack", (*call).reliable},
	Transferred:     {"refer", (*call).transferred},
	Informed:        {"info", (*call).informed},
	SSRCChange:      {"ssrc-change", (*call).ssrcChange},
	PayloadChange:   {"payload-change", (*call).payloadChange},
	NAT:             {"nat", (*call).behindNAT},
	PortReuse:       {"port-reuse", (*call).answered},
	MidCall:         {"mid-call", (*call).midCall},
	MidCallReinvite: {"mid-call-reinvite", (*call).midCallReinvite},
	Compact:         {"compact", (*call).answered},
	Folded:          {"folded", (*call).answered},
}

func (s Scenario) String() string { return scenarios[s].name }

// Scenarios lists every scenario.
func Scenarios() []Scenario {
	var out []Scenario
	for i := range scenarioCount {
		out = append(out, i)
	}
	return out
}

// ParseScenario is the inverse of String.
func ParseScenario(name string) (Scenario, error) {
	var names []string
	for i := range scenarioCount {
		if scenarios[i].name == name {
			return i, nil
		}
		names = append(names, scenarios[i].name)
	}
	return 0, fmt.Errorf("parse scenario %q: not one of %s", name, strings.Join(names, ", "))
}

// invite opens the call with an offer, and lets it be tried.
func (c *call) invite(edit ...func(*msg)) *msg {
	m := c.request(caller, "INVITE", append([]func(*msg){withSDP(c.describe(caller, "sendrecv"))}, edit...)...)
	c.trying(m)
	c.wait(50, 400)
	return m
}

// ring is the 180 of a new dialog.
func (c *call) ring(inv *msg) {
	c.newTag()
	c.respond(inv, 180)
	c.wait(400, 4000)
}

// pickUp answers with SDP and acknowledges; RTP begins.
func (c *call) pickUp(inv *msg) {
	ok := c.respond(inv, 200, withSDP(c.describe(called, "sendrecv")))
	c.media.from[called] = c.t + ms
	c.ack(ok)
	c.media.from[caller] = c.t + ms
	c.truth.Outcome = record.Answered
}

// talk lets the conversation go by; what happens within it takes from it.
func (c *call) talk() { c.t += c.g.opt.Talk.draw(&c.rnd) / 1000 * 1000 }

// some is a side at random.
func (c *call) some() record.Side {
	if c.rnd.chance(0.5) {
		return caller
	}
	return called
}

// hangUp is the BYE of one side. The other goes on sending until it has it.
func (c *call) hangUp(by record.Side) *msg {
	c.endMedia(by)
	bye := c.request(by, "BYE")
	c.endMedia(other(by))
	c.truth.HungUp, c.truth.EndReason = by, record.EndBye
	return c.respond(bye, 200)
}

func (c *call) endMedia(s record.Side) {
	if c.media.from[s] > 0 {
		c.media.to[s] = c.t + 5*ms
	}
}

func (c *call) answered() {
	inv := c.invite()
	c.ring(inv)
	c.pickUp(inv)
	c.talk()
	c.hangUp(c.some())
}

// refuse is a final failure with its ACK.
func (c *call) refuse(inv *msg, status uint16, edit ...func(*msg)) {
	c.newTag()
	m := c.respond(inv, status, edit...)
	c.ackFailure(inv, m.tag)
	c.truth.EndReason = record.EndRejected
	c.tag = -1
}

func (c *call) busyLine() {
	inv := c.invite()
	status := uint16(486)
	if c.rnd.chance(0.2) {
		status = 600
	}
	c.refuse(inv, status)
	c.truth.Outcome = record.Busy
}

func (c *call) cancelled() {
	inv := c.invite()
	c.ring(inv)
	tag := c.tag
	c.send(msg{method: "CANCEL", by: caller, cseq: inv.cseq, tx: inv.tx, tag: -1})
	c.send(msg{method: "CANCEL", status: 200, reason: "OK", by: caller, cseq: inv.cseq, tx: inv.tx, tag: tag})
	c.respond(inv, 487)
	c.ackFailure(inv, tag)
	c.truth.Outcome, c.truth.EndReason, c.truth.HungUp = record.Cancelled, record.EndCancel, caller
}

func (c *call) noAnswer() {
	inv := c.invite()
	c.ring(inv)
	c.wait(5000, 20000)
	status := uint16(480)
	if c.rnd.chance(0.5) {
		status = 408
	}
	m := c.respond(inv, status)
	c.ackFailure(inv, m.tag)
	c.truth.Outcome, c.truth.EndReason = record.NoAnswer, record.EndRejected
}

func (c *call) noResponse() {
	c.proxy = netip.AddrPort{}
	m := c.request(caller, "INVITE", withSDP(c.describe(caller, "sendrecv")))
	for i, after := 0, c.t1; i < 6; i++ { // timer A, RFC 3261 section 17.1.1.2
		c.repeat(m, after)
		after = 2*after + c.t1
	}
	c.truth.Outcome = record.NoAnswer
	c.timer = 120 * sec
}

func (c *call) ringing() {
	inv := c.invite()
	c.ring(inv)
	c.truth.Outcome = record.NoAnswer
	c.timer = 180 * sec
}

func (c *call) rejected() {
	inv := c.invite()
	c.refuse(inv, []uint16{503, 404, 603}[c.rnd.below(3)])
	c.truth.Outcome = record.Failed
}

func (c *call) forbidden() {
	inv := c.invite()
	c.refuse(inv, 403)
	c.truth.Outcome = record.AuthFailed
}

func (c *call) auth401() { c.challenged(401, "WWW-Authenticate", "Authorization") }
func (c *call) auth407() { c.challenged(407, "Proxy-Authenticate", "Proxy-Authorization") }

// challenged asks for credentials, and is answered with them (RFC 3261 section 22).
func (c *call) challenged(status uint16, ask, give string) {
	inv := c.request(caller, "INVITE", withSDP(c.describe(caller, "sendrecv")))
	nonce := fmt.Sprintf("%016x", c.rnd.next())
	realm := c.b[0].domain
	c.refuse(inv, status, withExtra(fmt.Sprintf("%s: Digest realm=%q, nonce=%q, algorithm=MD5, qop=\"auth\"\r\n", ask, realm, nonce)))
	user := "u" + strings.TrimLeft(c.a.number, "+0")
	c.truth.AuthUser = user
	uri := "sip:" + c.b[0].number + "@" + realm
	inv = c.invite(withExtra(fmt.Sprintf(
		"%s: Digest username=%q, realm=%q, nonce=%q, uri=%q, response=%q, algorithm=MD5, cnonce=\"0a4f113b\", qop=auth, nc=00000001\r\n",
		give, user, realm, nonce, uri, digest(user, realm, nonce, uri))))
	c.ring(inv)
	c.pickUp(inv)
	c.talk()
	c.hangUp(c.some())
}

func (c *call) forked() {
	inv := c.invite()
	c.ring(inv)
	first := c.tag
	c.ring(inv)
	c.truth.Forks = 1
	if c.rnd.chance(0.5) {
		c.tag = first
	}
	c.pickUp(inv)
	c.talk()
	c.hangUp(c.some())
}

func (c *call) lateSDP() {
	inv := c.request(caller, "INVITE")
	c.trying(inv)
	c.wait(50, 400)
	c.ring(inv)
	ok := c.respond(inv, 200, withSDP(c.describe(called, "sendrecv")))
	c.media.from[called] = c.t + 2*ms
	c.wait(40, 200) // the ACK takes a longer way than RTP
	c.ack(ok, withSDP(c.describe(caller, "sendrecv")))
	c.media.from[caller] = c.t + ms
	c.truth.Outcome = record.Answered
	c.talk()
	c.hangUp(c.some())
}

func (c *call) earlyRTP() {
	inv := c.request(caller, "INVITE")
	c.trying(inv)
	c.wait(50, 400)
	c.ring(inv)
	c.wait(500, 600)
	c.media.from[called] = c.t - 400*ms
	c.media.from[caller] = c.t - 300*ms
	ok := c.respond(inv, 200, withSDP(c.describe(called, "sendrecv")))
	c.ack(ok, withSDP(c.describe(caller, "sendrecv")))
	c.truth.Outcome = record.Answered
	c.talk()
	c.hangUp(c.some())
}

func (c *call) earlyMedia() {
	inv := c.invite()
	c.newTag()
	c.respond(inv, 183, withSDP(c.describe(called, "sendrecv")))
	c.media.from[called] = c.t + ms
	if c.rnd.chance(0.5) {
		c.media.from[caller] = c.t + 20*ms
	}
	c.wait(1000, 5000)
	ok := c.respond(inv, 200, withSDP(c.describe(called, "sendrecv")))
	c.ack(ok)
	if c.media.from[caller] == 0 {
		c.media.from[caller] = c.t + ms
	}
	c.truth.Outcome = record.Answered
	c.flag(record.EarlyMedia)
	c.talk()
	c.hangUp(c.some())
}

func (c *call) announcement() {
	inv := c.invite()
	c.newTag()
	c.respond(inv, 183, withSDP(c.describe(called, "sendonly")))
	c.media.from[called] = c.t + ms
	c.wait(3000, 8000)
	c.media.to[called] = c.t
	status := uint16(480)
	c.truth.Outcome = record.NoAnswer
	if c.rnd.chance(0.5) {
		status, c.truth.Outcome = 503, record.Failed
	}
	m := c.respond(inv, status)
	c.ackFailure(inv, m.tag)
	c.truth.EndReason = record.EndRejected
	c.flag(record.EarlyMedia)
}

// redirect sends the caller elsewhere.
func (c *call) redirect() {
	inv := c.invite()
	c.refuse(inv, 302, withExtra("Contact: <"+string(appendContact(nil, &c.b[1]))+">\r\n"))
	c.truth.Outcome = record.Redirected
}

func (c *call) redirected() { c.redirect() }

func (c *call) followed() {
	c.proxy = netip.AddrPort{}
	c.redirect()
	c.wait(5, 50)
	c.peer = 1
	inv := c.invite()
	c.ring(inv)
	c.pickUp(inv)
	c.talk()
	c.hangUp(c.some())
}

func (c *call) reliable() {
	inv := c.invite()
	c.newTag()
	early := c.respond(inv, 183, withSDP(c.describe(called, "sendrecv")), withExtra("Require: 100rel\r\nRSeq: 1\r\n"))
	prack := c.request(caller, "PRACK", withExtra(fmt.Sprintf("RAck: 1 %d INVITE\r\n", early.cseq)))
	c.respond(prack, 200)
	c.wait(20, 100)
	update := c.request(caller, "UPDATE", withSDP(c.describe(caller, "sendrecv")))
	c.respond(update, 200, withSDP(c.describe(called, "sendrecv")))
	c.wait(100, 500)
	c.respond(inv, 180)
	c.wait(500, 3000)
	ok := c.respond(inv, 200)
	c.media.from[called] = c.t + ms
	c.ack(ok)
	c.media.from[caller] = c.t + ms
	c.truth.Outcome = record.Answered
	c.flag(record.EarlyMedia)
	c.talk()
	c.hangUp(c.some())
}
