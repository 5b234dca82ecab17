package call

import (
	"bytes"
	"strconv"

	"ringside/dataplane/frame"
	"ringside/flow/record"
	"ringside/flow/rtp"
	"ringside/flow/sdp"
	"ringside/flow/sip"
)

// Media is an endpoint that SDP named: where one side of a call receives.
type Media struct {
	Side  record.Side // who receives here
	Kind  sdp.Kind
	Mode  sdp.Direction // as that side sees it
	Mux   bool          // RTCP comes to the same port (RFC 5761)
	SRTP  bool
	Ptime uint16 // ms, 0: not said
	Epoch uint16 // of the offer: 0 of the call's first INVITE, then counting

	At   frame.Endpoint
	RTCP frame.Endpoint // equal to At if Mux

	// From is where the message came from, if it came straight from the side
	// that it speaks for, as far as Via tells; else zero. Behind a NAT media
	// comes from there too.
	From frame.Addr

	// Payload types that this side takes, the first N of the array.
	Payloads [sdp.MaxFormats]rtp.Payload
	N        int

	// ICE candidates of the media itself (component 1) on UDP with an address,
	// the first NCandidates of the array.
	Candidates     [sdp.MaxCandidates]frame.Endpoint
	CandidateTypes [sdp.MaxCandidates]sdp.CandidateType
	NCandidates    int
}

// media is what a call keeps of one.
type media struct {
	at     frame.Endpoint
	codecs text
	crypto text
	ptime  uint16
	side   record.Side
	kind   sdp.Kind
	mode   sdp.Direction
	srtp   bool
	epoch  uint16
	from   int64
}

func (m *media) record(c *call) record.Media {
	return record.Media{
		Side: m.side, Kind: m.kind.String(), Addr: addrPort(m.at), Codecs: c.string(m.codecs),
		Ptime: m.ptime, Mode: m.mode.String(), SRTP: m.srtp, From: m.from,
		Epoch: m.epoch, Crypto: c.string(m.crypto),
	}
}

// ways is a set of directions of media.
type ways uint8

const (
	fromCaller ways = 1 << iota
	fromCalled
	bothWays = fromCaller | fromCalled
)

func way(s record.Side) ways {
	if s == record.SideCaller {
		return fromCaller
	}
	return fromCalled
}

// direction is what the last SDP of one side says of its RTP.
type direction struct {
	known      bool
	send, recv bool
}

// hold is which side holds the call (RFC 3264 section 8.4): its last offer
// says sendonly or inactive, or puts the zero address.
type hold [3]struct {
	on   bool
	cseq uint32 // of that offer

	// What stood before it, should it be declined.
	before  bool
	was     direction
	counted bool
}

func (h *hold) held() bool {
	return h[0].on || h[record.SideCaller].on || h[record.SideCalled].on
}

// describe reads the SDP of a message.
func (t *Table) describe(c *call, e *event) {
	s := &t.session
	if err := s.Parse(e.m.SDP()); err != nil {
		t.stats.BadSDP++
		return
	}
	if e.m.Method == sip.PRACK || e.m.Method == sip.UPDATE || e.m.Response && e.m.Status < 200 {
		if c.answer == 0 && !c.noInvite {
			c.flags |= record.EarlyMedia
		}
	}
	offer := c.isOffer(e)
	if offer && !e.seen.copy {
		c.epoch++
	}
	was := c.direction[e.sender]
	now, onHold := direction{known: true}, true
	active, fax := false, false
	for i := range s.Media() {
		m := &s.Media()[i]
		if m.Port == 0 {
			continue
		}
		t.publish(c, e, m)
		fax = fax || isT38(m)
		if !bytes.Contains(m.Proto, []byte("RTP/")) {
			continue
		}
		active = true
		zero := m.Conn.OK && m.Conn.Addr.IsZero()
		now.send = now.send || m.Direction == sdp.SendRecv || m.Direction == sdp.SendOnly
		now.recv = now.recv || !zero && (m.Direction == sdp.SendRecv || m.Direction == sdp.RecvOnly)
		onHold = onHold && (zero || m.Direction == sdp.SendOnly || m.Direction == sdp.Inactive)
	}
	c.direction[e.sender] = now
	c.faxes(e, fax)
	if offer && (c.answer != 0 || c.noInvite) {
		c.offered(e, active && onHold, was)
	}
}

// isT38 reports whether a media description is one of fax (T.38 annex D).
func isT38(d *sdp.Media) bool {
	if d.Kind != sdp.Image {
		return false
	}
	for _, f := range d.Formats() {
		if f.PT == sdp.NoPT && bytes.EqualFold(f.Name, []byte("t38")) {
			return true
		}
	}
	return d.T38
}

// faxes takes note of whether a side's SDP names T.38 media. Both sides must
// have, the second one in what cannot be declined any more.
func (c *call) faxes(e *event, t38 bool) {
	c.fax[e.sender] = t38
	final := e.m.Response && e.m.Status/100 == 2 || e.m.Method == sip.ACK
	if t38 && final && c.fax[other(e.sender)] && e.sender != record.SideUnknown {
		c.flags |= record.Fax
	}
}

// publish tells of one active media description, and lists it.
func (t *Table) publish(c *call, e *event, d *sdp.Media) {
	srtp := bytes.Contains(d.Proto, []byte("SAVP")) || d.Fingerprint || d.CryptoTotal > 0
	if srtp {
		c.flags |= record.SRTP
	}
	if !d.Conn.OK || d.Conn.Addr.IsZero() || bytes.HasPrefix(d.Proto, []byte("TCP")) {
		return
	}
	m := &t.media
	m.Side, m.Kind, m.Mode, m.Mux, m.SRTP, m.Ptime = e.sender, d.Kind, d.Direction, d.RTCPMux, srtp, d.Ptime
	m.Epoch = c.epoch
	m.At = frame.Endpoint{Addr: d.Conn.Addr, Port: d.Port}
	m.RTCP = rtcpOf(d, m.At)
	t.payloads(d)
	m.From = frame.Addr{}
	if e.m.Response == (e.m.Vias > 1) {
		m.From = e.meta.Src.Addr
	}
	m.NCandidates = 0
	for _, cand := range d.Candidates() {
		if cand.Component == 1 && !cand.TCP && cand.Conn.OK && cand.Port != 0 {
			m.Candidates[m.NCandidates] = frame.Endpoint{Addr: cand.Conn.Addr, Port: cand.Port}
			m.CandidateTypes[m.NCandidates] = cand.Type
			m.NCandidates++
		}
	}
	codecs := c.keep(t.line)
	c.list(m, codecs, t.crypto(c, d), e.meta.Time)
	if t.options.Publish != nil {
		t.options.Publish(c.ref(), m, e.meta.Clock)
	}
}

// rtcpOf is where RTCP of a media description goes (RFC 3605, RFC 5761).
func rtcpOf(d *sdp.Media, at frame.Endpoint) frame.Endpoint {
	if d.RTCPMux {
		return at
	}
	at.Port++
	if d.RTCPPort != 0 {
		at.Port = d.RTCPPort
	}
	if d.RTCPConn.OK {
		at.Addr = d.RTCPConn.Addr
	}
	return at
}

// payloads fills the payload types of t.media, and t.line with their names.
func (t *Table) payloads(d *sdp.Media) {
	t.line = t.line[:0]
	t.media.N = 0
	for _, f := range d.Formats() {
		name := f.Name
		p := rtp.Payload{Type: f.PT, Codec: rtp.CodecByName(name), Rate: f.Rate}
		if len(name) == 0 {
			p.Codec, p.Rate = rtp.StaticPayload(f.PT)
		}
		if len(t.line) > 0 {
			t.line = append(t.line, ' ')
		}
		switch {
		case len(name) > 0:
			t.line = append(t.line, name...)
		case p.Codec != rtp.Unknown:
			t.line = append(t.line, p.Codec.String()...)
		default:
			t.line = strconv.AppendUint(t.line, uint64(f.PT), 10)
		}
		if f.PT != sdp.NoPT {
			t.media.Payloads[t.media.N] = p
			t.media.N++
		}
	}
}

// crypto keeps the SDES keys (RFC 4568) of a media description, one per line.
func (t *Table) crypto(c *call, d *sdp.Media) text {
	t.line = t.line[:0]
	for _, k := range d.Crypto() {
		if len(t.line) > 0 {
			t.line = append(t.line, '\n')
		}
		t.line = strconv.AppendUint(t.line, uint64(k.Tag), 10)
		t.line = append(append(t.line, ' '), k.Suite...)
		t.line = append(append(t.line, ' '), k.KeyParams...)
	}
	return c.keepMax(t.line, maxCrypto)
}

// list keeps a media endpoint for the record, once in each of its forms.
func (c *call) list(m *Media, codecs, crypto text, now int64) {
	e := media{
		at: m.At, codecs: codecs, crypto: crypto, ptime: m.Ptime,
		side: m.Side, kind: m.Kind, mode: m.Mode, srtp: m.SRTP,
	}
	for i := range c.media {
		o := c.media[i]
		o.from, o.epoch = 0, 0
		if o == e {
			return
		}
	}
	if len(c.media) < maxMedia {
		e.from, e.epoch = now, m.Epoch
		c.media = append(c.media, e)
	}
}

// isOffer reports whether SDP in a message is an offer after the first one (RFC
// 3264; RFC 3261 section 13.2.1): a re-INVITE's or UPDATE's is, and that of the
// response to a re-INVITE that had none.
func (c *call) isOffer(e *event) bool {
	m := e.m
	if !m.Response {
		return m.Method == sip.UPDATE || m.Method == sip.INVITE && e.k.to != 0
	}
	if m.Method != sip.INVITE || c.isInitial(e) {
		return false
	}
	request := sameKey(uint64(sip.INVITE), m.CSeq, e.k.from, e.k.to)
	for i := range c.messages {
		if c.messages[i].same == request {
			return c.messages[i].flags&withSDP == 0
		}
	}
	return false
}

// offered takes an offer of an established call.
func (c *call) offered(e *event, onHold bool, was direction) {
	if e.seen.copy {
		return
	}
	h := &c.hold[e.sender]
	h.cseq, h.before, h.was = e.m.CSeq, h.on, was
	h.counted = onHold && !c.hold.held()
	if h.counted {
		c.holds++
	}
	h.on = onHold
}

// refused takes back an offer that was declined.
func (c *call) refused(e *event) {
	c.fax[e.from] = false
	c.unhold(e)
}

// unhold takes back an offer that was declined: the session stays as it was
// (RFC 3261 section 14.1).
func (c *call) unhold(e *event) {
	h := &c.hold[e.from]
	if h.cseq != e.m.CSeq || h.cseq == 0 {
		return
	}
	if h.counted {
		c.holds--
	}
	h.on, h.counted = h.before, false
	if h.was.known {
		c.direction[e.from] = h.was
	}
	h.was = direction{}
}

// judge notes in which directions media may flow after an answer.
func (c *call) judge() {
	caller, called := c.direction[record.SideCaller], c.direction[record.SideCalled]
	if c.answer == 0 || !caller.known || !called.known {
		return
	}
	c.flows = 0
	if caller.send && called.recv {
		c.flows |= fromCaller
	}
	if called.send && caller.recv {
		c.flows |= fromCalled
	}
	c.expected |= c.flows
}
