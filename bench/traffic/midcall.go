package traffic

import (
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"net/netip"

	"ringside/flow/record"
)

// connect sets the call up until both talk.
func (c *call) connect() {
	inv := c.invite()
	c.ring(inv)
	c.pickUp(inv)
}

// half lets half of the conversation pass and returns the other half, ns.
func (c *call) half() int64 {
	whole := c.g.opt.Talk.draw(&c.rnd) / 2000 * 1000
	c.t += whole
	return whole
}

// offer sends an offer inside the dialog and has it answered.
func (c *call) offer(by record.Side, mode, answer string, edit ...func(*sdp)) {
	inv := c.request(by, "INVITE", withSDP(c.describe(by, mode, edit...)))
	c.trying(inv)
	ok := c.respond(inv, 200, withSDP(c.describe(other(by), answer)))
	c.ack(ok)
}

// putOnHold offers hold in one of the three ways that are in use, and says
// from when on which side is mute.
func (c *call) putOnHold(by record.Side) (from int64) {
	c.truth.Holds++
	switch c.rnd.below(3) {
	case 0: // music for the other side
		c.offer(by, "sendonly", "recvonly")
		c.media.mute(other(by), c.t)
	case 1:
		c.offer(by, "inactive", "inactive")
		c.media.mute(caller, c.t)
		c.media.mute(called, c.t)
	default: // RFC 2543: a connection address of zero
		c.offer(by, "sendrecv", "sendrecv", func(s *sdp) { s.hole = true })
		c.media.mute(other(by), c.t)
	}
	return c.t
}

// mute stops the packets of a side from a moment on; unmute lets them go on.
func (p *mediaPlan) mute(s record.Side, at int64) {
	p.mutes[s] = append(p.mutes[s], span{at, 1<<63 - 1})
}

func (p *mediaPlan) unmute(at int64) {
	for s := range p.mutes {
		if n := len(p.mutes[s]); n > 0 {
			p.mutes[s][n-1].to = min(p.mutes[s][n-1].to, at)
		}
	}
}

func (c *call) hold() {
	c.connect()
	rest := c.half()
	by := c.some()
	c.putOnHold(by)
	c.wait(1500, 6000)
	c.offer(by, "sendrecv", "sendrecv")
	c.media.unmute(c.t)
	c.t += rest
	c.hangUp(c.some())
}

func (c *call) holdAtEnd() {
	c.connect()
	c.talk()
	by := c.some()
	c.putOnHold(by)
	c.wait(1500, 6000)
	c.flag(record.OnHoldAtEnd)
	c.hangUp(by)
}

func (c *call) oneWay() {
	c.connect()
	c.media.from[c.some()] = 0
	c.talk()
	c.hangUp(c.some())
}

func (c *call) noRTP() {
	c.connect()
	c.media.from = [3]int64{}
	c.talk()
	c.hangUp(c.some())
}

func (c *call) silence() {
	c.connect()
	c.talk()
	quiet := c.some()
	c.media.to[quiet] = c.t
	c.wait(11000, 15000)
	by := c.some()
	until := c.media.to[quiet]
	c.hangUp(by)
	c.media.to[quiet] = until
}

func (c *call) byeUnanswered() {
	c.connect()
	c.talk()
	by := c.some()
	c.endMedia(by)
	bye := c.request(by, "BYE")
	c.endMedia(other(by))
	for i, after := 0, c.t1; i < 4; i++ {
		c.repeat(bye, after)
		after = 2*after + c.t1
	}
	c.truth.HungUp, c.truth.EndReason = by, record.EndByeAlone
}

func (c *call) noBye() {
	c.connect()
	c.talk()
	c.endMedia(caller)
	c.wait(10, 500)
	c.endMedia(called)
	c.truth.EndReason = record.EndOfCapture
}

// retransmitted repeats the INVITE until the 100 comes, the 200 until the ACK,
// and the BYE until its 200.
func (c *call) retransmitted() {
	inv := c.request(caller, "INVITE", withSDP(c.describe(caller, "sendrecv")))
	again := 1 + c.rnd.below(2)
	c.repeat(inv, c.t1)
	if again == 2 {
		c.repeat(inv, 3*c.t1)
	}
	c.wait(1600, 1700)
	c.ring(inv)
	ok := c.respond(inv, 200, withSDP(c.describe(called, "sendrecv")))
	c.media.from[called] = c.t + ms
	c.repeat(ok, c.t1)
	c.wait(510, 600)
	c.ack(ok)
	c.media.from[caller] = c.t + ms
	c.truth.Outcome = record.Answered
	c.talk()
	by := c.some()
	c.endMedia(by)
	bye := c.request(by, "BYE")
	c.repeat(bye, c.t1)
	c.wait(510, 600)
	c.endMedia(other(by))
	c.respond(bye, 200)
	c.truth.HungUp, c.truth.EndReason = by, record.EndBye
}

func (c *call) transferred() {
	c.connect()
	rest := c.half()
	by := c.some()
	refer := c.request(by, "REFER", withExtra("Refer-To: <sip:5678@example.org>\r\n"))
	c.respond(refer, 202)
	for _, line := range []string{"SIP/2.0 100 Trying\r\n", "SIP/2.0 200 OK\r\n"} {
		state := "active;expires=60"
		if line[8] == '2' {
			state = "terminated;reason=noresource"
		}
		notify := c.request(other(by), "NOTIFY",
			withExtra("Event: refer\r\nSubscription-State: "+state+"\r\n"), withBody("message/sipfrag;version=2.0", line))
		c.respond(notify, 200)
		c.wait(100, 700)
	}
	c.t += rest
	c.hangUp(by)
}

func (c *call) informed() {
	c.connect()
	rest := c.half()
	for range 1 + c.rnd.below(4) {
		info := c.request(caller, "INFO", withBody("application/dtmf-relay",
			fmt.Sprintf("Signal=%d\r\nDuration=160\r\n", c.rnd.below(10))))
		c.respond(info, 200)
		c.wait(150, 500)
	}
	c.t += rest
	c.hangUp(c.some())
}

func (c *call) ssrcChange() {
	c.connect()
	rest := c.half()
	c.media.change = c.t
	c.t += rest
	c.hangUp(c.some())
}

func (c *call) payloadChange() {
	c.second = *codecNamed("PCMA")
	if c.codec.Name == "PCMA" {
		c.second = *codecNamed("PCMU")
	}
	c.second.Bytes = c.second.Bytes * int(c.codec.Ptime) / int(c.second.Ptime)
	c.second.Ptime = c.codec.Ptime
	c.ssrcChange()
}

// behindNAT has the caller behind a NAT that its SDP does not know of; the
// called sends to where it gets RTP from (symmetric RTP, RFC 4961).
func (c *call) behindNAT() {
	c.a.media = c.g.mediaOf(netip.AddrFrom4([4]byte{172, 16, 0, 0}), c.n%uint64(c.g.opt.Phones), c.n/uint64(c.g.opt.Phones))
	c.a.real = c.g.mediaOf(netip.AddrFrom4([4]byte{100, 64, 0, 0}), c.n%uint64(c.g.opt.Phones), c.n/uint64(c.g.opt.Phones)+777)
	c.flag(record.NATed)
	inv := c.invite()
	c.ring(inv)
	c.pickUp(inv)
	c.media.from[called] = c.media.from[caller] + 30*ms
	c.talk()
	c.hangUp(c.some())
}

func (c *call) midCall() {
	c.connect()
	rest := c.half()
	c.begin = c.t
	c.t += rest
	c.hangUp(caller)
	c.truth.Outcome = record.Partial
	c.flag(record.MidCall)
}

func (c *call) midCallReinvite() {
	c.connect()
	rest := c.half()
	c.begin = c.t
	c.wait(100, 300)
	c.offer(caller, "sendrecv", "sendrecv")
	c.t += rest
	c.hangUp(c.some())
	c.truth.Outcome = record.Partial
	c.flag(record.MidCall)
}

// digest is the response of RFC 2617 section 3.2.2 with qop auth; the password
// is "secret" for everybody.
func digest(user, realm, nonce, uri string) string {
	h := func(s string) string {
		d := md5.Sum([]byte(s))
		return hex.EncodeToString(d[:])
	}
	return h(h(user+":"+realm+":secret") + ":" + nonce + ":00000001:0a4f113b:auth:" + h("INVITE:"+uri))
}
