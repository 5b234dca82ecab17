package traffic

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net/netip"
	"slices"

	"ringside/flow/record"
)

const (
	maxPhones    = 1 << 20
	maxGateways  = 1 << 12
	maxProxies   = 32
	gatewayPorts = 24000 // RTP ports of one address: 16384, 16386, …
)

// Generator makes the traffic of one run. It is used by one goroutine, once.
type Generator struct {
	opt   Options
	out   *capture
	truth io.Writer // nil: none
	queue queue
	link  link
	wire  *wire  // nil: frames are written as they are made
	rnd   random // arrivals, background and noise; calls have their own

	truthErr error
	order    uint64
	calls    int   // that began
	turns    int   // scenarios taken in turn
	live     int   // that are not over
	stop     int64 // no call begins after this, 0: no such moment
	waiting  []*call
	pools    map[audioKey]*audio
	totals   Totals

	scenarioTotal, codecTotal, harmTotal, transportTotal float64

	arrival, other, noisy, hostile node

	attacks attacks
}

type audioKey struct {
	name  string
	bytes int
	side  record.Side
}

// New checks the options and prepares a run.
func New(o Options) (*Generator, error) {
	if err := o.fill(); err != nil {
		return nil, err
	}
	g := &Generator{opt: o, rnd: newRandom(o.Seed, 0), link: link{o.VLANs}, pools: map[audioKey]*audio{}}
	g.scenarioTotal, g.codecTotal, g.harmTotal = total(o.Scenarios), total(o.Codecs), total(o.Impairments)
	g.transportTotal = total(o.Transports)
	g.totals.Type = "totals"
	g.wire = newWire(&g.opt, &g.totals)
	start := o.Start.UnixNano()
	if o.Duration > 0 {
		g.stop = start + int64(o.Duration)
	}
	g.arrival = node{at: start, due: dueArrival}
	g.schedule(&g.arrival, o.Rate)
	g.other = node{at: start, due: dueOther}
	g.schedule(&g.other, o.Background)
	g.noisy = node{at: start, due: dueNoise}
	g.schedule(&g.noisy, o.Noise)
	g.attacks.rnd = newRandom(o.Seed, 1<<61)
	g.hostile = node{at: start, due: dueHostile}
	g.scheduleFrom(&g.attacks.rnd, &g.hostile, o.Hostile)
	return g, nil
}

// schedule puts n back for its next turn of a Poisson process.
func (g *Generator) schedule(n *node, rate float64) { g.scheduleFrom(&g.rnd, n, rate) }

func (g *Generator) scheduleFrom(r *random, n *node, rate float64) {
	if rate <= 0 {
		return
	}
	n.at += int64(r.exponential(float64(sec) / rate))
	n.order = g.nextOrder()
	g.queue.put(n)
}

func (g *Generator) nextOrder() uint64 {
	g.order++
	return g.order
}

// Run writes the capture to w and, unless truth is nil, the truth to truth. It
// returns when the last call is over, or with the first error of a writer.
func (g *Generator) Run(ctx context.Context, w, truth io.Writer) (Totals, error) {
	g.truth = truth
	g.out = newCapture(w, g.opt.Format, g.opt.SnapLen)
	for turns := 0; ; turns++ {
		n := g.queue.take()
		if n == nil {
			break
		}
		if g.wire != nil {
			g.wire.deliver(g, n.at-wireLag)
		}
		g.step(n)
		if g.out.err != nil {
			return g.totals, fmt.Errorf("write capture: %w", g.out.err)
		}
		if g.truthErr != nil {
			return g.totals, g.truthErr
		}
		if turns&0xffff == 0 && ctx.Err() != nil {
			return g.totals, fmt.Errorf("generate traffic: %w", ctx.Err())
		}
	}
	if g.wire != nil {
		g.wire.deliver(g, 1<<63-1)
	}
	g.verdicts(1<<63-1, record.EndOfCapture)
	g.out.flush()
	if g.out.err != nil {
		return g.totals, fmt.Errorf("write capture: %w", g.out.err)
	}
	if g.wire != nil {
		for _, d := range g.wire.duplicates() {
			g.writeTruth(&d)
		}
	}
	g.writeTruth(&g.totals)
	return g.totals, g.truthErr
}

// step does what is due.
func (g *Generator) step(n *node) {
	switch n.due {
	case duePacket:
		s := n.media
		s.emit(g)
		if s.advance() {
			g.queue.put(&s.node)
		} else {
			g.released(s.call)
		}
	case dueReport:
		s := n.media
		s.report(g)
		if s.nextReport() {
			g.queue.put(&s.reports.node)
		} else {
			g.released(s.call)
		}
	case dueMessage:
		g.message(n.call)
	case dueArrival:
		if g.arrivalsOver(n.at) {
			return
		}
		g.arrive(n.at)
		g.schedule(n, g.opt.Rate)
	case dueFrame:
		g.datagram(n.at, n.frame.flow, n.frame.payload)
		*n.frame.count++
	case dueOther:
		if g.live > 0 || !g.arrivalsOver(n.at) {
			g.background(n.at)
			g.schedule(n, g.opt.Background)
		}
	case dueNoise:
		if g.live > 0 || !g.arrivalsOver(n.at) {
			g.noise(n.at)
			g.schedule(n, g.opt.Noise)
		}
	case dueHostile:
		if g.live > 0 || !g.arrivalsOver(n.at) {
			g.attack(n.at)
			g.scheduleFrom(&g.attacks.rnd, n, g.opt.Hostile)
		}
	case dueCarried:
		g.carried(n.carrier)
	case dueVerdict:
		g.waiting = append(g.waiting, n.call)
		g.verdicts(g.totals.LastTime, record.EndTimeout)
	}
}

func (g *Generator) arrivalsOver(at int64) bool {
	return g.opt.Calls > 0 && g.calls >= g.opt.Calls || g.stop > 0 && at >= g.stop
}

// frameDone closes the frame in the room of the capture: a host has sent it.
func (g *Generator) frameDone(t int64, size int) {
	if g.wire != nil {
		g.wire.send(t, g.out.built(size))
		return
	}
	g.written(t, size)
}

// rawDone closes a frame that is written as it is.
func (g *Generator) rawDone(t int64, size int) {
	if g.wire != nil {
		g.wire.hold(t, g.out.built(size))
		return
	}
	g.written(t, size)
}

// written closes the frame in the room of the capture: it is in the file.
func (g *Generator) written(t int64, size int) {
	if len(g.waiting) > 0 {
		g.verdicts(t, record.EndTimeout)
	}
	if g.totals.Frames == 0 {
		g.totals.FirstTime = t
	}
	g.totals.LastTime = t
	g.totals.Frames++
	g.totals.Bytes += uint64(size)
	g.out.done(t, size)
}

// verdicts ends the calls that had no end: a frame after their last timer, at
// the time t, shows that it ran out, and the end of the file that it did not.
func (g *Generator) verdicts(t int64, why record.EndReason) {
	g.waiting = slices.DeleteFunc(g.waiting, func(c *call) bool {
		if t < c.node.at {
			return false
		}
		c.truth.EndReason = why
		g.writeTruth(&c.truth)
		return true
	})
}

// message writes the next SIP message of a call.
func (g *Generator) message(c *call) {
	m := &c.msgs[c.sent]
	f := c.signalling(m)
	b := g.out.room()
	p := c.render(b[f.size:f.size:len(b)], m)
	f.headers(b, len(p), sum(p))
	g.frameDone(m.at, f.size+len(p))
	g.totals.SIPCalls++
	if c.sent++; c.sent < len(c.msgs) {
		c.at = c.msgs[c.sent].at
		g.queue.put(&c.node)
		return
	}
	g.released(c)
}

// signalling is the flow that m belongs to.
func (c *call) signalling(m *msg) *flow {
	src, dst := c.hopEnds(m)
	for i := range c.flows {
		if c.flows[i].src == src && c.flows[i].dst == dst {
			return &c.flows[i]
		}
	}
	c.flows = append(c.flows, flow{})
	f := &c.flows[len(c.flows)-1]
	c.g.link.setup(f, src, dst, protoUDP, 62, 24)
	f.id = uint16(c.rnd.next())
	return f
}

// released notes that one source of frames of a call is done. After the last
// one the truth is known, except why a call without an end was closed.
func (g *Generator) released(c *call) {
	if c.busy--; c.busy > 0 {
		return
	}
	c.finish()
	g.live--
	if c.truth.EndReason != record.EndUnknown {
		g.writeTruth(&c.truth)
		return
	}
	c.node.at, c.due = c.truth.Last+c.timer, dueVerdict
	g.queue.put(&c.node)
}

// arrive begins a call, or the two calls of a port that is used again.
func (g *Generator) arrive(at int64) {
	kind := pick(&g.rnd, g.opt.Scenarios, g.scenarioTotal)
	if g.opt.InTurn {
		kind = g.opt.Scenarios[g.turns%len(g.opt.Scenarios)].Value
		g.turns++
	}
	c := g.script(kind, at, nil, nil)
	together := []*call{c}
	if c.transport != record.UDP && kind != PortReuse && c.rnd.chance(g.opt.Streams.Shared) {
		for range 1 + c.rnd.below(3) {
			kind := pick(&c.rnd, g.opt.Scenarios, g.scenarioTotal)
			if kind == PortReuse {
				kind = Answered
			}
			together = append(together, g.script(kind, at+c.rnd.between(0, 300)*ms, nil, c))
		}
	}
	g.launch(together)
	if kind == PortReuse {
		last := c.msgs[len(c.msgs)-1].at
		g.launch([]*call{g.script(kind, last+c.rnd.between(3000, 8000)*ms, c, nil)})
	}
}

// script writes the script of a call. before, unless nil, is a call whose media
// port at the called's side it uses again; leader, unless nil, one whose
// connections it shares.
func (g *Generator) script(kind Scenario, at int64, before, leader *call) *call {
	g.calls++
	g.live++
	n := uint64(g.calls)
	c := &call{g: g, n: n, kind: kind, rnd: newRandom(g.opt.Seed, n), tag: -1, t: at}
	c.node = node{order: g.nextOrder(), call: c, due: dueMessage}
	c.order = n << 20
	c.truth.Scenario, c.truth.Flags = kind.String(), []string{}
	c.cast()
	if before != nil {
		c.b[0].media, c.b[0].real = before.b[0].media, before.b[0].media
		c.flag(record.PortReuse)
	}
	if leader != nil {
		c.transport, c.proxy, c.a.sig = leader.transport, leader.proxy, leader.a.sig
		for i := range c.b {
			c.b[i].sig = leader.b[i].sig
		}
	}
	scenarios[kind].script(c)
	c.trim()
	return c
}

// launch lets calls go their ways: their messages one by one, or all on common
// connections.
func (g *Generator) launch(calls []*call) {
	var carry *carrier
	if calls[0].transport != record.UDP {
		carry = g.carry(calls)
	}
	for _, c := range calls {
		c.close()
		c.planStreams()
		c.busy++
		if carry == nil {
			c.at = c.msgs[0].at
			g.queue.put(&c.node)
		}
	}
	if carry != nil {
		g.queue.put(&carry.node)
	}
}

// cast chooses who takes part and how.
func (c *call) cast() {
	g, r := c.g, &c.rnd
	o := &g.opt
	v6 := r.chance(o.IPv6) && c.kind != NAT && c.kind != PortReuse
	phone, gate := c.n%uint64(o.Phones), c.n%uint64(o.Gateways)
	turn, gateTurn := c.n/uint64(o.Phones), c.n/uint64(o.Gateways)
	phoneBase, gateBase := g.phoneAddr(0, v6), g.gatewayAddr(0, v6)
	c.a = party{
		sig:   netip.AddrPortFrom(g.phoneAddr(phone, v6), 5060),
		media: g.mediaOf(phoneBase, phone, turn),
	}
	for i := range c.b {
		at := gate + uint64(i)*maxGateways
		c.b[i] = party{
			sig:   netip.AddrPortFrom(g.gatewayAddr(at, v6), 5060),
			media: g.mediaOf(gateBase, at, gateTurn),
		}
	}
	for i, p := range []*party{&c.a, &c.b[0], &c.b[1]} {
		p.real = p.media
		p.number = numbers[r.below(len(numbers))] + fmt.Sprint(1000000+r.below(9000000))
		p.domain = fmt.Sprintf("%s%d.example.%s", []string{"pbx", "sip", "sbc"}[i], r.below(100), []string{"com", "net", "org"}[r.below(3)])
		p.agent = agents[r.below(len(agents))]
		p.version = 1 + uint32(r.below(1000))
		p.cseq = uint32(r.below(30000))
		if r.chance(0.6) {
			p.display = displays[r.below(len(displays))]
		}
		if !v6 && r.chance(0.25) {
			p.domain = p.sig.Addr().String()
		}
	}
	c.b[1].number, c.b[1].domain, c.b[1].display = c.b[0].number, c.b[0].domain, c.b[0].display
	if r.chance(o.Proxied) {
		c.proxy = netip.AddrPortFrom(proxyAddr(r.below(o.Proxies), v6), 5060)
	}
	c.fromTag = fmt.Sprintf("%x", r.next()>>20)
	c.callID = fmt.Sprintf("%016x-%d@%s", r.next(), c.n, c.a.sig.Addr())
	c.compact, c.folded = c.kind == Compact, c.kind == Folded
	c.dtx, c.mux = r.chance(o.DTX), r.chance(o.Mux)
	c.chooseCodec()
	c.t1, c.transport = 500*ms, record.UDP
	if r.chance(o.FastT1) {
		c.t1 = 60 * ms
	}
	if r.chance(o.Large) {
		c.pad = int(r.between(1500, 7000))
	}
	if o.Transports != nil {
		c.transport = pick(r, o.Transports, g.transportTotal)
	}
}

// chooseCodec takes one that the scenario can do with: without SDP the meaning
// of a dynamic payload type cannot be known.
func (c *call) chooseCodec() {
	g, r := c.g, &c.rnd
	c.codec = pick(r, g.opt.Codecs, g.codecTotal)
	early := c.kind == LateSDP || c.kind == EarlyRTP || c.kind == MidCall || c.kind == MidCallReinvite
	if early && c.codec.Dynamic {
		c.codec = codecs[0]
	}
	c.event = 101
	if c.codec.Dynamic {
		c.codec.Payload = 96 + uint8(r.below(5))
		c.event = 102 + uint8(r.below(20))
	}
}

func (g *Generator) phoneAddr(i uint64, v6 bool) netip.Addr {
	if v6 {
		return offset(netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 0, 1}), i+1)
	}
	return offset(netip.AddrFrom4([4]byte{10, 100, 0, 0}), i)
}

func (g *Generator) gatewayAddr(i uint64, v6 bool) netip.Addr {
	if v6 {
		return offset(netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 0, 2}), i+1)
	}
	return offset(netip.AddrFrom4([4]byte{198, 18, 0, 0}), i)
}

func proxyAddr(i int, v6 bool) netip.Addr {
	if v6 {
		return offset(netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 0, 3}), uint64(i)+1)
	}
	return offset(netip.AddrFrom4([4]byte{192, 0, 2, 10}), uint64(i))
}

// mediaOf is the RTP endpoint of the turn-th call of the i-th address after base.
func (g *Generator) mediaOf(base netip.Addr, i, turn uint64) netip.AddrPort {
	a := offset(base, i)
	b := a.As16()
	first := mix(binary.BigEndian.Uint64(b[8:]))
	return netip.AddrPortFrom(a, uint16(16384+2*((turn+first%gatewayPorts)%gatewayPorts)))
}

// offset is the i-th address after a.
func offset(a netip.Addr, i uint64) netip.Addr {
	if a.Is4() {
		b := a.As4()
		binary.BigEndian.PutUint32(b[:], binary.BigEndian.Uint32(b[:])+uint32(i))
		return netip.AddrFrom4(b)
	}
	b := a.As16()
	binary.BigEndian.PutUint64(b[8:], binary.BigEndian.Uint64(b[8:])+i)
	return netip.AddrFrom16(b)
}

func (g *Generator) vlanID() int32 {
	if len(g.opt.VLANs) == 0 {
		return -1
	}
	return int32(g.opt.VLANs[0])
}

func (g *Generator) audioOf(c *Codec, side record.Side) *audio {
	k := audioKey{c.Name, c.Bytes, side}
	if g.pools[k] == nil {
		g.pools[k] = audioFor(c, side)
	}
	return g.pools[k]
}

var (
	numbers  = []string{"+4930", "0049221", "+1212", "0044207", "00420", "089", "1", "+3312"}
	displays = []string{"Alice Archer", "Müller, Jörg", "Front Desk", "Bob", "+1 (212) 555-0100", "李雷", "Anonymous", "Ext. 4711"}
	agents   = []string{
		"Asterisk PBX 20.5.0", "Yealink SIP-T46U 108.86.0.20", "Cisco/SPA525G2-7.6.2c", "FreeSWITCH-mod_sofia/1.10.11",
		"Grandstream GXP2170 1.0.11.74", "Linphone/5.2.6 (belle-sip/5.3.95)", "snomD785/10.1.169.13", "Kamailio (5.7.4)",
	}
)
