package traffic

import (
	"bytes"
	"cmp"
	"net/netip"
	"slices"

	"ringside/flow/record"
)

// carrier sends the SIP of one call, or of a few that share their connections,
// over TCP, WebSocket or SCTP. All of it is planned when the calls begin, in two
// steps. First the messages are written to their connections, which become
// packets, some of them lost or late; what a message was delayed by delays all
// that its call does afterwards. Then the packets are taken in the order of
// their times: now what each end has received is known, so acknowledgments can
// be filled in, and so is when each message is complete for the observer.
type carrier struct {
	node
	g     *Generator
	rnd   random
	harm  *Streams
	calls []*call
	delay []delays
	lines []line
	plans []*packet
	sent  []carried // packets ready to go, in order
	next  int
}

// line is a TCP connection, with or without WebSocket, or an SCTP association.
type line interface {
	// open makes the handshake and tells when data may go.
	open(at int64) int64
	// write sends messages from one end at the time at, and tells when the other
	// end has all of it.
	write(from int, at int64, out []*outgoing) int64
	// idle fills the pause up to a moment.
	idle(until int64)
	// shut ends it.
	shut()
	// pack makes the transport header and payload of a packet, and marks the
	// messages that it completes. It is called in the order of time.
	pack(k *packet) []byte
	common() *wiring
}

// wiring is what all lines have in common. End 0 is the client.
type wiring struct {
	by     *carrier
	self   line
	flows  [2]flow
	last   int64    // time of the last packet, as planned
	ready  [2]int64 // when the other end has all that this end has sent
	busy   [2]int64 // when this end has put its last write on the wire
	hold   [2]int64 // this end sends nothing before
	opened bool
	midway bool // the capture begins after the handshake
}

// path is a connection between two hosts of a call.
type path struct {
	near, far      netip.AddrPort // as the call's parties name themselves
	client, server netip.AddrPort // of the connection
	line           line
}

// What the capture misses of a message.
const (
	missNothing = iota
	missBody
	missAll
)

// outgoing is a message that is being sent.
type outgoing struct {
	m    *msg
	data []byte
	head int // length of its header section
	miss int
	end  int // TCP: where it ends in the stream
	left int // SCTP: chunks that the observer does not have
}

// packet is one packet of a line, planned.
type packet struct {
	at     int64
	line   line
	from   int  // which end sends it
	unseen bool // lost before the point of capture, or missed by the capture
	missed bool // by the capture alone
	lost   bool // does not arrive at the other end
	flags  uint8
	lo, hi int // TCP: bytes of the stream
	probe  int // TCP: keep-alive probe of so many bytes, plus one
	chunks []chunk
}

// carried is a packet to be sent: all above IP.
type carried struct {
	at   int64
	flow *flow
	data []byte
}

// carry plans how the messages of calls travel.
func (g *Generator) carry(calls []*call) *carrier {
	first := calls[0]
	p := &carrier{g: g, rnd: newRandom(first.rnd.next(), 2), harm: &g.opt.Streams, calls: calls, delay: make([]delays, len(calls))}
	p.node = node{order: first.order, carrier: p, due: dueCarried}
	next := make([]int, len(calls))
	for {
		k := p.earliest(next)
		if k < 0 {
			break
		}
		p.send(k, next)
	}
	for _, l := range p.lines {
		l.shut()
	}
	for i, c := range calls {
		p.delay[i].apply(c)
	}
	p.pack()
	p.at = p.sent[0].at
	return p
}

// earliest is the call whose next message comes first, -1 when none is left.
func (p *carrier) earliest(next []int) int {
	best, at := -1, int64(0)
	for k, c := range p.calls {
		if next[k] == len(c.msgs) {
			continue
		}
		if t := p.delay[k].shift(c.msgs[next[k]].at); best < 0 || t < at {
			best, at = k, t
		}
	}
	return best
}

// send writes the next message of a call, with those that go along.
func (p *carrier) send(k int, next []int) {
	type taken struct {
		k  int
		at int64 // as the script has it
	}
	var batch []taken
	var out []*outgoing
	var l line
	var from int
	var at int64
	for {
		c := p.calls[k]
		m := &c.msgs[next[k]]
		to, end := p.line(c, m)
		t := p.delay[k].shift(m.at)
		if l == nil {
			l, from = to, end
		} else if to != l || end != from || t-at > 600*ms {
			break
		}
		o := p.compose(c, m, len(out) == 0)
		at = max(at, t)
		batch, out = append(batch, taken{k, m.at}), append(out, o)
		next[k]++
		if o.miss != missNothing || !p.rnd.chance(p.harm.Join) {
			break
		}
		if k = p.earliest(next); k < 0 {
			break
		}
	}
	w := l.common()
	if !w.opened {
		w.opened = true
		w.last = at
		at = l.open(at)
	}
	if at-w.last > 3*sec && p.rnd.chance(p.harm.KeepAlive) {
		l.idle(at - 500*ms)
	}
	at = max(at, w.hold[from])
	done := l.write(from, at, out)
	for i, b := range batch {
		// Of several messages of one call the last one counts.
		if !slices.ContainsFunc(batch[i+1:], func(o taken) bool { return o.k == b.k }) {
			p.delay[b.k].add(b.at, done-b.at)
		}
	}
}

// compose renders a message, and says what the capture misses of it; that is
// nothing of one that does not travel alone.
func (p *carrier) compose(c *call, m *msg, alone bool) *outgoing {
	o := &outgoing{m: m, data: c.render(nil, m)}
	o.head = bytes.Index(o.data, []byte("\r\n\r\n")) + 4
	if !alone || p.harm.Capture == 0 || c.proxy.IsValid() || m == &c.msgs[0] {
		return o
	}
	switch {
	case m.status == 0 && m.body != "" && (m.method == "INFO" || m.method == "NOTIFY"):
		if p.rnd.chance(p.harm.Capture) {
			if o.miss = missAll; c.transport == record.TCP && p.rnd.chance(0.6) {
				o.miss = missBody
				c.flag(record.SIPCut)
			}
		}
	case m.sdp != nil || m.again || m.method == "BYE" || m.method == "CANCEL":
	case m.status == 100, m.method == "ACK" && c.tags != nil && !c.failed(m), m.status >= 200 && m.method != "INVITE":
		if p.rnd.chance(p.harm.Capture) {
			o.miss = missAll
		}
	}
	switch o.miss {
	case missAll:
		m.unseen = true
		p.g.totals.Unseen++
	case missBody:
		p.g.totals.Cut++
	}
	return o
}

// line is the connection that m travels on, and which end sends it.
func (p *carrier) line(c *call, m *msg) (line, int) {
	near, far := c.hop(m)
	i := slices.IndexFunc(c.paths, func(a path) bool { return a.near == near && a.far == far })
	if i < 0 {
		c.paths = append(c.paths, p.connect(c, near, far))
		i = len(c.paths) - 1
	}
	if m.towardCalled() {
		return c.paths[i].line, 0
	}
	return c.paths[i].line, 1
}

// connect finds the connection between two hosts, or makes it.
func (p *carrier) connect(c *call, near, far netip.AddrPort) path {
	for _, other := range p.calls {
		for _, a := range other.paths {
			if a.near == near && a.far == far {
				return a
			}
		}
	}
	a := path{near: near, far: far, server: far}
	port := 32768 + (p.calls[0].n*3+uint64(len(p.lines)))%28000
	a.client = netip.AddrPortFrom(near.Addr(), uint16(port))
	if c.transport == record.WS {
		a.server = netip.AddrPortFrom(far.Addr(), 80)
	}
	w := wiring{by: p, midway: p.calls[0].begin > 0 || p.rnd.chance(p.harm.Midstream)}
	proto := uint8(protoTCP)
	if c.transport == record.SCTP {
		proto = protoSCTP
	}
	p.g.link.setup(&w.flows[0], a.client, a.server, proto, 62, 24)
	p.g.link.setup(&w.flows[1], a.server, a.client, proto, 62, 24)
	w.flows[0].id, w.flows[1].id = uint16(p.rnd.next()), uint16(p.rnd.next())
	if c.transport == record.SCTP {
		a.line = newAssociation(w)
	} else {
		a.line = newConnection(w, c.transport == record.WS)
	}
	p.lines = append(p.lines, a.line)
	return a
}

func (w *wiring) common() *wiring { return w }

// plan adds a packet.
func (w *wiring) plan(k packet) *packet {
	k.line = w.self
	w.last = max(w.last, k.at)
	w.by.plans = append(w.by.plans, &k)
	return &k
}

// pack makes the packets in the order of time. No two have the same time, so
// that the order of messages is certain.
func (p *carrier) pack() {
	slices.SortStableFunc(p.plans, func(a, b *packet) int { return cmp.Compare(a.at, b.at) })
	last := int64(0)
	for _, k := range p.plans {
		k.at = max(p.g.opt.Format.stamp(k.at), last+1000)
		last = k.at
		data := k.line.pack(k)
		if k.unseen {
			continue
		}
		p.sent = append(p.sent, carried{k.at, &k.line.common().flows[k.from], data})
	}
	p.plans = nil
}

// carried writes the next packet of a carrier.
func (g *Generator) carried(p *carrier) {
	k := &p.sent[p.next]
	b := g.out.room()
	n := k.flow.ip + 20
	if k.flow.v6 {
		n += 20
	}
	copy(b, k.flow.hdr[:n])
	k.flow.network(b, uint32(len(k.data)))
	copy(b[n:], k.data)
	g.frameDone(k.at, n+len(k.data))
	g.totals.Carriers++
	k.data = nil
	if p.next++; p.next < len(p.sent) {
		p.at = p.sent[p.next].at
		g.queue.put(&p.node)
		return
	}
	for _, c := range p.calls {
		g.released(c)
	}
}

// complete notes that a message is whole at the time t, or known to be cut.
func (p *carrier) complete(o *outgoing, t int64) {
	o.m.at = t
	if o.miss != missAll {
		p.g.totals.SIPCalls++
	}
}

// delays say how far a call is behind its script.
type delays []struct{ from, by int64 }

// add says that everything after from is late by so much.
func (d *delays) add(from, by int64) {
	*d = append(*d, struct{ from, by int64 }{from, by})
}

// shift is when that happens which the script has at t.
func (d delays) shift(t int64) int64 {
	for i := len(d) - 1; i >= 0; i-- {
		if d[i].from < t {
			return t + d[i].by
		}
	}
	return t
}

// apply delays what the script says about media.
func (d delays) apply(c *call) {
	p := &c.media
	for _, side := range []record.Side{caller, called} {
		for _, t := range []*int64{&p.from[side], &p.to[side]} {
			if *t > 0 {
				*t = d.shift(*t)
			}
		}
		for i := range p.mutes[side] {
			m := &p.mutes[side][i]
			m.from = d.shift(m.from)
			if m.to != 1<<63-1 {
				m.to = d.shift(m.to)
			}
		}
	}
	if p.change > 0 {
		p.change = d.shift(p.change)
	}
}

// path gives the addresses of the connection between two parties.
func (c *call) path(near, far netip.AddrPort) (client, server netip.AddrPort) {
	for _, a := range c.paths {
		if a.near == near && a.far == far {
			return a.client, a.server
		}
	}
	return near, far
}
