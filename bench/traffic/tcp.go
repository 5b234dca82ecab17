package traffic

import (
	"encoding/binary"
	"slices"
)

// Control bits of TCP (RFC 9293 section 3.1).
const (
	tcpFin uint8 = 1 << iota
	tcpSyn
	tcpRst
	tcpPsh
	tcpAck
)

// connection is a TCP connection that carries SIP, with or without WebSocket.
// Bytes of a direction are known by their place in it, from 0.
type connection struct {
	wiring
	ws     bool
	stamps bool // RFC 7323 timestamps, in microseconds
	mss    int  // payload bytes of a segment at most
	ends   [2]end
}

// end is what one end sends.
type end struct {
	isn   uint32
	data  []byte
	tail  []byte      // goes before its first message
	out   []*outgoing // messages that the observer does not have yet, in order
	got   []bool      // bytes that the other end has
	seen  []bool      // bytes that the observer has, or never will
	next  int         // all before has been sent
	acked int         // the other end has all before
	told  int         // the observer has all before
	fin   bool        // the other end knows that this end is done
	clock uint32      // of the timestamps
	echo  uint32      // the other end's last timestamp
	sure  bool        // WebSocket: the observer knows where frames begin
}

func newConnection(w wiring, ws bool) *connection {
	r := &w.by.rnd
	c := &connection{wiring: w, ws: ws, mss: 1460}
	c.self = c
	// Without an identification of the datagram, only timestamps tell two equal
	// acknowledgments from one that was captured twice.
	c.stamps = w.flows[0].v6 || r.chance(0.5)
	if w.flows[0].v6 {
		c.mss = 1440
	}
	if c.stamps {
		c.mss -= 12
	}
	for i := range c.ends {
		e := &c.ends[i]
		e.isn, e.clock = uint32(r.next()), uint32(r.next())
		e.sure = !w.midway
		if r.chance(0.1) { // wraps within the first messages
			e.isn = -uint32(r.below(3000))
		}
	}
	return c
}

// open makes the handshake, and that of WebSocket.
func (c *connection) open(at int64) int64 {
	r := &c.by.rnd
	if c.midway {
		return at + c.rest(at)
	}
	trip := r.between(300, 3000) * 1000
	syn := packet{at: at, flags: tcpSyn}
	if r.chance(c.by.harm.Behind) { // RFC 6298 section 2.1: the first timeout is 1 s
		again := syn
		syn.lost = true
		c.plan(syn)
		at += sec
		syn = again
		syn.at = at
	}
	c.plan(syn)
	c.plan(packet{at: at + trip/2, from: 1, flags: tcpSyn | tcpAck})
	at += trip
	c.plan(packet{at: at, flags: tcpAck})
	at += r.between(50, 300) * 1000
	if c.ws {
		at = c.upgrade(at)
	}
	return at
}

// rest is what the capture sees first of a connection that it comes upon in its
// midst: maybe the end of a message that began before. It returns the time that
// this takes.
func (c *connection) rest(at int64) int64 {
	r := &c.by.rnd
	if c.ws || !r.chance(0.5) {
		return 0
	}
	tail := []byte("f00d;branch=z9hG4bK0815\r\nContent-Length: 0\r\n\r\n")
	tail = tail[r.below(30):]
	from := r.below(2)
	if r.chance(0.5) { // in one segment with what comes next
		c.ends[from].tail = tail
		return 0
	}
	return c.put(from, at, tail, missNothing, 0, true) + ms - at
}

// write sends messages.
func (c *connection) write(from int, at int64, out []*outgoing) int64 {
	e := &c.ends[from]
	r := &c.by.rnd
	var b []byte
	miss, head := missNothing, 0
	split := !c.ws || e.sure
	if len(e.data) == 0 && out[0].miss == missNothing {
		b = append(b, e.tail...)
	}
	for _, o := range out {
		if c.ws {
			b = c.frames(b, from, o.data)
			e.sure = o.miss == missNothing
		} else {
			if o.miss == missNothing && r.chance(c.by.harm.Blank) {
				b = append(b, "\r\n\r\n"...) // RFC 3261 section 7.5, RFC 5626 section 3.5.1
			}
			b = append(b, o.data...)
		}
		o.end = len(e.data) + len(b)
		if miss = o.miss; miss == missBody {
			head = len(b) - len(o.data) + o.head
		}
		e.out = append(e.out, o)
	}
	return c.put(from, at, b, miss, head, split)
}

// put sends bytes as segments and has them acknowledged. Of what the capture
// misses, head bytes are not missed. It returns when the other end has all.
func (c *connection) put(from int, at int64, b []byte, miss, head int, split bool) int64 {
	e, r, h := &c.ends[from], &c.by.rnd, c.by.harm
	base := len(e.data)
	e.data = append(e.data, b...)
	cuts := c.cuts(base, len(e.data), miss, base+head, split)
	var made []*packet
	at = max(at, c.busy[from])
	for i, lo := range cuts[:len(cuts)-1] {
		at += r.between(10, 80) * 1000
		k := packet{at: at, from: from, flags: tcpAck, lo: lo, hi: cuts[i+1]}
		if i == len(cuts)-2 {
			k.flags |= tcpPsh
		}
		if miss == missAll || miss == missBody && lo >= base+head {
			k.unseen, k.missed = true, true
		}
		made = append(made, c.plan(k))
	}
	c.busy[from] = at
	done := max(at, c.ready[from])
	if miss == missNothing && !(c.midway && base == 0) {
		done = max(done, c.suffer(from, made))
	}
	c.ready[from] = done
	ack := done + r.between(50, 900)*1000
	c.plan(packet{at: ack, from: 1 - from, flags: tcpAck})
	if miss != missNothing { // the acknowledgment proves that the bytes will not come again
		c.hold[from] = ack + 100_000
		return ack
	}
	for r.chance(h.DupAck) {
		ack += r.between(20, 400) * 1000
		c.plan(packet{at: ack, from: 1 - from, flags: tcpAck})
	}
	return done
}

// cuts are the bounds of the segments of the bytes from lo to hi.
func (c *connection) cuts(lo, hi, miss, head int, split bool) []int {
	r := &c.by.rnd
	out := []int{lo}
	if split && r.chance(c.by.harm.Split) {
		for range 1 + r.below(4) {
			out = append(out, lo+1+r.below(max(1, hi-lo-1)))
		}
	}
	if miss == missBody { // the header section ends with a segment
		out = append(out, head)
	}
	slices.Sort(out)
	out = slices.Compact(append(out, hi))
	for i := 0; i+1 < len(out); i++ {
		if out[i+1]-out[i] > c.mss {
			out = slices.Insert(out, i+1, out[i]+c.mss)
		}
	}
	return out
}

// suffer lets the network do to segments of one write what it does, and tells
// when all of them have arrived.
func (c *connection) suffer(from int, made []*packet) int64 {
	r, h := &c.by.rnd, c.by.harm
	done := int64(0)
	for i, k := range made {
		before := r.chance(h.Lost)
		switch {
		case before || r.chance(h.Behind):
			k.unseen, k.lost = before, true
			at := made[len(made)-1].at + r.between(200, 400)*ms // the retransmission timer
			if i+1 < len(made) {                                // or duplicate acknowledgments
				at = made[len(made)-1].at + r.between(3, 30)*ms
				for _, later := range made[i+1:] {
					c.plan(packet{at: later.at + r.between(40, 90)*1000, from: 1 - from, flags: tcpAck})
				}
			}
			done = max(done, c.again(k, at, made[0].lo, made[len(made)-1].hi))
		case i+1 < len(made) && r.chance(h.Reorder):
			k.at = made[i+1].at + r.between(20, 1500)*1000
			done = max(done, k.at)
		}
	}
	return done
}

// again sends what k carries once more, maybe with other boundaries within the
// bytes from lo to hi. It returns when that has arrived.
func (c *connection) again(k *packet, at int64, lo, hi int) int64 {
	r := &c.by.rnd
	k2 := packet{at: at, from: k.from, flags: k.flags, lo: k.lo, hi: k.hi}
	if !r.chance(c.by.harm.Rebound) {
		c.plan(k2)
		return at
	}
	if k.hi-k.lo > 1 && r.chance(0.5) { // two for one
		mid := k.lo + 1 + r.below(k.hi-k.lo-1)
		k2.hi = mid
		c.plan(k2)
		k2.lo, k2.hi, k2.at = mid, k.hi, at+r.between(10, 80)*1000
		c.plan(k2)
		return k2.at
	}
	room := c.mss - (k.hi - k.lo)
	down := r.below(1 + min(room, k.lo-lo))
	up := r.below(1 + min(room-down, hi-k.hi))
	k2.lo, k2.hi = k.lo-down, k.hi+up
	c.plan(k2)
	return at
}

// idle sends a keep-alive of one kind or another.
func (c *connection) idle(until int64) {
	r := &c.by.rnd
	at := c.last + r.between(int64(sec), until-c.last)
	from := r.below(2)
	switch {
	case c.ws:
		c.put(from, at, c.control(from, wsPing, []byte("ringbench")), missNothing, 0, true)
		at = c.ready[from] + 2*ms
		c.put(1-from, at, c.control(1-from, wsPong, []byte("ringbench")), missNothing, 0, true)
	case r.chance(0.5):
		c.put(from, at, []byte("\r\n\r\n"), missNothing, 0, true)
		c.put(1-from, c.ready[from]+2*ms, []byte("\r\n"), missNothing, 0, true)
	case len(c.ends[from].data) > 0: // RFC 1122 section 4.2.3.6
		c.plan(packet{at: at, from: from, flags: tcpAck, probe: 1 + r.below(2)})
		c.plan(packet{at: at + r.between(200, 900)*1000, from: 1 - from, flags: tcpAck})
	}
}

// shut ends the connection in one of three ways: properly, by a reset, or not
// within the capture.
func (c *connection) shut() {
	r := &c.by.rnd
	at := max(c.last, c.ready[0], c.ready[1]) + r.between(100, 1500)*ms
	switch r.below(5) {
	case 0:
	case 1:
		c.plan(packet{at: at, from: r.below(2), flags: tcpRst | tcpAck})
	default:
		from := r.below(2)
		if c.ws {
			c.put(from, at, c.control(from, wsClose, []byte{3, 232}), missNothing, 0, true) // 1000, normal closure
			at = max(c.last, c.ready[from]) + 2*ms
		}
		for _, k := range []packet{{from: from, flags: tcpFin | tcpAck}, {from: 1 - from, flags: tcpAck}, {from: 1 - from, flags: tcpFin | tcpAck}, {from: from, flags: tcpAck}} {
			k.at = at
			k.lo = len(c.ends[k.from].data)
			k.hi = k.lo
			c.plan(k)
			at += r.between(100, 2000) * 1000
		}
	}
}

// pack makes the TCP header and payload of k.
func (c *connection) pack(k *packet) []byte {
	e, o := &c.ends[k.from], &c.ends[1-k.from]
	c.arrive(k)
	if k.unseen {
		return nil
	}
	seq := e.isn + 1 + uint32(k.lo)
	payload := e.data[k.lo:k.hi]
	switch {
	case k.flags&tcpSyn != 0:
		seq = e.isn
	case k.probe > 0:
		seq = e.isn + uint32(e.next)
		payload = make([]byte, k.probe-1)
	case k.lo == k.hi: // an acknowledgment, or the end
		seq = e.isn + 1 + uint32(e.next)
		if e.fin && k.flags&tcpFin == 0 {
			seq++
		}
	}
	ack := o.isn + 1 + uint32(o.acked)
	if o.fin {
		ack++
	}
	options := c.options(k)
	b := make([]byte, 20, 60+len(payload))
	be := binary.BigEndian
	f := &c.flows[k.from]
	be.PutUint16(b, f.src.Port())
	be.PutUint16(b[2:], f.dst.Port())
	be.PutUint32(b[4:], seq)
	if k.flags&tcpAck != 0 {
		be.PutUint32(b[8:], ack)
	}
	b[12], b[13] = uint8(20+len(options))/4<<4, k.flags
	be.PutUint16(b[14:], 64240)
	b = append(append(b, options...), payload...)
	// The ports are in l4Sum already.
	be.PutUint16(b[16:], ^fold(f.l4Sum+uint32(len(b))+sum(b[4:])))
	return b
}

// options of the header (RFC 9293 section 3.2, RFC 7323).
func (c *connection) options(k *packet) []byte {
	e, o := &c.ends[k.from], &c.ends[1-k.from]
	be := binary.BigEndian
	var b []byte
	if k.flags&tcpSyn != 0 {
		b = be.AppendUint16(append(b, 2, 4), uint16(c.mss))
		if !c.stamps {
			return append(b, 1, 1, 4, 2) // selective acknowledgments permitted
		}
	}
	if c.stamps {
		stamp := e.clock + uint32(k.at/1000)
		b = append(b, 1, 1, 8, 10)
		b = be.AppendUint32(b, stamp)
		b = be.AppendUint32(b, e.echo)
		if !k.lost {
			o.echo = stamp
		}
	}
	return b
}

// arrive notes what the observer and the other end have, now that k passes.
func (c *connection) arrive(k *packet) {
	e := &c.ends[k.from]
	e.next = max(e.next, k.hi)
	if !k.lost {
		e.acked = arrived(&e.got, e.acked, len(e.data), k.lo, k.hi)
		if k.flags&tcpFin != 0 {
			e.fin = true
		}
	}
	if k.unseen && !k.missed {
		return
	}
	e.told = arrived(&e.seen, e.told, len(e.data), k.lo, k.hi)
	for len(e.out) > 0 && e.out[0].end <= e.told {
		c.by.complete(e.out[0], k.at)
		e.out = e.out[1:]
	}
}

// arrived marks the bytes from lo to hi of size, and tells before which there
// is no gap; there was none before upTo.
func arrived(have *[]bool, upTo, size, lo, hi int) int {
	if *have == nil {
		*have = make([]bool, size)
	}
	for i := lo; i < hi; i++ {
		(*have)[i] = true
	}
	for upTo < size && (*have)[upTo] {
		upTo++
	}
	return upTo
}
