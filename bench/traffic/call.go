package traffic

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"ringside/flow/record"
)

const (
	ms  = int64(time.Millisecond)
	sec = int64(time.Second)
)

// The sides of a call, short, because scenarios name them in every line.
const (
	caller = record.SideCaller
	called = record.SideCalled
)

func other(s record.Side) record.Side { return caller + called - s }

// party is one user agent of a call.
type party struct {
	sig     netip.AddrPort // SIP
	media   netip.AddrPort // RTP as SDP says
	real    netip.AddrPort // RTP as it is: differs behind a NAT
	number  string
	domain  string
	display string // "" or a display name without its quotes
	agent   string
	version uint32 // of its SDP
	cseq    uint32
}

// msg is one SIP message on one hop. It is rendered when its time comes; the
// same msg gives the same bytes each time.
type msg struct {
	at     int64
	method string      // of the request, or of the request that a response answers
	status uint16      // 0: request
	reason string      // reason phrase of a response
	by     record.Side // who sent the request
	cseq   uint32
	tx     uint32 // number of the transaction in the call: names the branch
	tag    int8   // index of the called party's tag, -1: none
	peer   int8   // index of the called party: 1 after a redirect
	hop    int8   // 0: the caller's, 1: between proxy and called
	copy   bool   // the same message was on another hop before
	again  bool   // retransmission
	local  bool   // between neighbours only: not passed on by the proxy
	unseen bool   // the capture missed it
	sdp    *sdp
	extra  string // more header lines, each with its CRLF
	ctype  string // of body
	body   string // when there is no SDP
}

// towardCalled tells the direction of m.
func (m *msg) towardCalled() bool { return (m.status == 0) == (m.by == caller) }

// call is a call in progress: its script of SIP messages, made when the call
// begins, and its streams.
type call struct {
	node
	g       *Generator
	n       uint64 // number of the call
	kind    Scenario
	rnd     random
	truth   Call
	callID  string
	fromTag string
	tags    []string // To tags of the called's dialogs
	tag     int8     // the dialog that counts: index in tags, -1: none yet
	a       party
	b       [2]party // the called; the second after a redirect
	peer    int8
	proxy   netip.AddrPort // invalid: none
	flows   []flow         // signalling, by direction

	transport record.Transport
	paths     []path // connections of SIP, by hop
	t1        int64  // ns until the first retransmission
	pad       int    // bytes that make INVITEs and their 200s large
	msgs      []msg
	sent      int // messages of msgs that are out
	streams   []*stream
	busy      int // sources of frames that are not done
	codec     Codec
	second    Codec // offered as well; where a call switches its payload type
	event     uint8 // payload type of telephone-event
	dtx       bool
	mux       bool
	compact   bool
	folded    bool
	txs       uint32
	t         int64 // the script's clock, while it is written
	begin     int64 // capture of the call begins (mid-call scenarios), else 0
	timer     int64 // of the state that a call without an end is left in, ns
	media     mediaPlan
}

// mediaPlan gathers what a scenario says about RTP before the streams are made.
type mediaPlan struct {
	from, to [3]int64  // per side: first and last moment, 0: no RTP
	mutes    [3][]span // per side: no packets
	change   int64     // when the caller's SSRC or both sides' codec changes, 0: never
}

type span struct{ from, to int64 }

func (c *call) party(s record.Side) *party {
	if s == caller {
		return &c.a
	}
	return &c.b[c.peer]
}

// wait lets lo to hi milliseconds pass.
func (c *call) wait(lo, hi int64) { c.t += c.rnd.between(lo*1000, hi*1000) * 1000 }

// transit is the time that a message is under way between two neighbours.
func (c *call) transit() { c.wait(1, 6) }

// send puts m on every hop of its way, beginning at the script's clock, which
// afterwards stands at its arrival.
func (c *call) send(m msg) {
	m.peer = c.peer
	hops := []int8{0}
	if c.proxy.IsValid() {
		hops = []int8{0, 1}
		if !m.towardCalled() {
			hops = []int8{1, 0}
		}
	}
	for i, h := range hops {
		m.hop, m.copy, m.at = h, i > 0, c.t
		c.msgs = append(c.msgs, m)
		c.transit()
		if m.local {
			break
		}
	}
}

// request sends a new request of one side in a transaction of its own and
// returns it, for its responses.
func (c *call) request(by record.Side, method string, edit ...func(*msg)) *msg {
	p := c.party(by)
	c.txs++
	if method != "ACK" {
		p.cseq++
	}
	m := msg{method: method, by: by, cseq: p.cseq, tx: c.txs, tag: c.tag}
	for _, e := range edit {
		e(&m)
	}
	c.send(m)
	return &m
}

// respond answers req.
func (c *call) respond(req *msg, status uint16, edit ...func(*msg)) *msg {
	m := *req
	m.status, m.reason, m.tag = status, reasons[status], c.tag
	m.sdp, m.extra, m.ctype, m.body = nil, "", "", ""
	m.again, m.copy = false, false
	for _, e := range edit {
		e(&m)
	}
	c.send(m)
	return &m
}

// Edits of a message.
func withSDP(s *sdp) func(*msg)       { return func(m *msg) { m.sdp = s } }
func withExtra(h string) func(*msg)   { return func(m *msg) { m.extra += h } }
func withBody(t, b string) func(*msg) { return func(m *msg) { m.ctype, m.body = t, b } }

// trying is the 100 of each neighbour to req, which lies in the past: the
// first hop's comes at once, so the script's clock does not move.
func (c *call) trying(req *msg) {
	for i := range c.msgs {
		m := c.msgs[i]
		if m.status != 0 || m.tx != req.tx || m.method != req.method || m.again {
			continue
		}
		r := m
		r.status, r.reason, r.tag = 100, reasons[100], -1
		if req.tag >= 0 {
			r.tag = req.tag
		}
		r.sdp, r.extra, r.local = nil, "", true
		r.at = m.at + c.rnd.between(400, 900)*1000
		c.msgs = append(c.msgs, r)
	}
}

// ackFailure acknowledges a final response of 300 or above, in the
// transaction of the INVITE (RFC 3261 section 17.1.1.3).
func (c *call) ackFailure(inv *msg, tag int8) {
	c.send(msg{method: "ACK", by: inv.by, cseq: inv.cseq, tx: inv.tx, tag: tag})
}

// ack acknowledges a 2xx, in a transaction of its own.
func (c *call) ack(inv *msg, edit ...func(*msg)) {
	c.txs++
	m := msg{method: "ACK", by: inv.by, cseq: inv.cseq, tx: c.txs, tag: c.tag}
	for _, e := range edit {
		e(&m)
	}
	c.send(m)
}

// repeat sends the last message of the kind once more on the first hop of its
// way after the given time, without moving the script's clock. The same bytes
// again: nothing but the time differs.
func (c *call) repeat(like *msg, after int64) {
	for i := range c.msgs {
		m := c.msgs[i]
		if m.method == like.method && m.status == like.status && m.tx == like.tx && !m.copy && !m.again {
			m.again = true
			m.at += after
			c.msgs = append(c.msgs, m)
			return
		}
	}
	panic(fmt.Sprintf("traffic: no %s %d to repeat", like.method, like.status))
}

// newTag opens another dialog of the called and makes it the one that counts.
func (c *call) newTag() int8 {
	c.tags = append(c.tags, fmt.Sprintf("%x", c.rnd.next()>>(16+uint(len(c.tags))*4)))
	c.tag = int8(len(c.tags) - 1)
	return c.tag
}

// trim leaves the messages from the begin of the capture on, in order of time.
func (c *call) trim() {
	if c.begin > 0 {
		c.msgs = slices.DeleteFunc(c.msgs, func(m msg) bool { return m.at < c.begin })
	}
	c.sort()
}

// close ends the script: messages as they are in the file, and the truth about
// them.
func (c *call) close() {
	c.msgs = slices.DeleteFunc(c.msgs, func(m msg) bool { return m.unseen })
	stamp := c.g.opt.Format.stamp
	for i := range c.msgs {
		c.msgs[i].at = stamp(c.msgs[i].at)
	}
	c.sort()
	if c.transport == record.SCTP {
		c.firstComesFirst()
	}
	c.observe()
}

// firstComesFirst lets the message that is seen first be the first one, and not
// that which was sent first: with SCTP a message may overtake one before it.
func (c *call) firstComesFirst() {
	type copies struct {
		method string
		status uint16
		tx     uint32
		tag    int8
		hop    int8
	}
	first := map[copies]*msg{}
	for i := range c.msgs {
		m := &c.msgs[i]
		k := copies{m.method, m.status, m.tx, m.tag, m.hop}
		if a := first[k]; a == nil {
			first[k] = m
		} else if a.again {
			a.again, m.again = m.again, a.again
		}
	}
}

func (c *call) sort() {
	slices.SortStableFunc(c.msgs, func(a, b msg) int { return cmp.Compare(a.at, b.at) })
}
