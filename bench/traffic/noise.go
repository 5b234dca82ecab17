package traffic

import (
	"encoding/binary"
	"fmt"
	"net/netip"
)

// frame is one frame that was made beforehand: a response that follows.
type frame struct {
	node
	flow    *flow
	payload []byte
	count   *uint64 // what of the totals it belongs to
}

// later queues a datagram for a moment to come.
func (g *Generator) later(at int64, f *flow, payload []byte, count *uint64) {
	fr := &frame{flow: f, payload: payload, count: count}
	fr.node = node{at: at, order: g.nextOrder(), frame: fr, due: dueFrame}
	g.queue.put(&fr.node)
}

// datagram writes payload as one UDP datagram at the time t.
func (g *Generator) datagram(t int64, f *flow, payload []byte) {
	b := g.out.room()
	copy(b[f.size:], payload)
	f.headers(b, len(payload), sum(payload))
	g.frameDone(g.opt.Format.stamp(t), f.size+len(payload))
}

// background makes one OPTIONS or REGISTER transaction. A REGISTER is
// challenged first, as most are.
func (g *Generator) background(t int64) {
	r := &g.rnd
	phone := netip.AddrPortFrom(g.phoneAddr(uint64(r.below(g.opt.Phones)), false), 5060)
	registrar := netip.AddrPortFrom(g.gatewayAddr(0, false), 5060)
	up, down := new(flow), new(flow)
	g.link.setup(up, phone, registrar, protoUDP, 64, 24)
	g.link.setup(down, registrar, phone, protoUDP, 64, 24)
	id := r.next()
	cseq := 1 + r.below(1000)
	method, user := "OPTIONS", "ping"
	extra := ""
	if r.chance(0.5) {
		method, user = "REGISTER", fmt.Sprintf("%d", 1000+r.below(9000))
		extra = fmt.Sprintf("Contact: <sip:%s@%s>\r\nExpires: 3600\r\n", user, phone)
	}
	message := func(start string, cseq int, tag, more string) []byte {
		return fmt.Appendf(nil, "%s\r\nVia: SIP/2.0/UDP %s;branch=z9hG4bK%x%d;rport\r\nMax-Forwards: 70\r\n"+
			"From: <sip:%s@example.com>;tag=%x\r\nTo: <sip:%s@example.com>%s\r\nCall-ID: bg-%x@%s\r\nCSeq: %d %s\r\n%sContent-Length: 0\r\n\r\n",
			start, phone, id>>24, cseq, user, id>>40, user, tag, id, phone.Addr(), cseq, method, more)
	}
	start := method + " sip:example.com SIP/2.0"
	toTag := fmt.Sprintf(";tag=%x", mix(id)>>40)
	g.datagram(t, up, message(start, cseq, "", extra))
	g.totals.SIPOther++
	t += r.between(1000, 20000) * 1000
	if method == "REGISTER" {
		g.later(t, down, message("SIP/2.0 401 Unauthorized", cseq, toTag, `WWW-Authenticate: Digest realm="example.com", nonce="f00d"`+"\r\n"), &g.totals.SIPOther)
		t += r.between(1000, 20000) * 1000
		cseq++
		auth := fmt.Sprintf("Authorization: Digest username=%q, realm=\"example.com\", nonce=\"f00d\", uri=\"sip:example.com\", response=\"%016x%016x\"\r\n", user, id, mix(id))
		g.later(t, up, message(start, cseq, "", extra+auth), &g.totals.SIPOther)
		t += r.between(1000, 20000) * 1000
	}
	g.later(t, down, message("SIP/2.0 200 OK", cseq, toTag, extra), &g.totals.SIPOther)
}

// noise writes one frame that is no VoIP, or a question whose answer follows.
func (g *Generator) noise(t int64) {
	r := &g.rnd
	host := g.phoneAddr(uint64(r.below(g.opt.Phones)), false)
	port := uint16(32768 + r.below(28000))
	up, down := new(flow), new(flow)
	pair := func(server string, to uint16, proto uint8) {
		a, b := netip.AddrPortFrom(host, port), netip.AddrPortFrom(netip.MustParseAddr(server), to)
		g.link.setup(up, a, b, proto, 64, 0)
		g.link.setup(down, b, a, proto, 57, 0)
	}
	reply := t + r.between(500, 30000)*1000
	switch r.below(3) {
	case 0:
		pair("192.0.2.53", 53, protoUDP)
		q := fmt.Appendf(nil, "%c%c\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x06host%02d\x07example\x03com\x00\x00\x01\x00\x01",
			rune(r.below(128)), rune(r.below(128)), r.below(100))
		a := append([]byte(nil), q...)
		a[2], a[3], a[7] = 0x81, 0x80, 1
		a = append(a, 0xc0, 12, 0, 1, 0, 1, 0, 0, 1, 44, 0, 4, 192, 0, 2, byte(r.below(250)))
		g.datagram(t, up, q)
		g.totals.DNS++
		g.later(reply, down, a, &g.totals.DNS)
	case 1:
		pair("192.0.2.78", 3478, protoUDP)
		q := make([]byte, 20)
		binary.BigEndian.PutUint32(q, 1<<16)          // Binding request
		binary.BigEndian.PutUint32(q[4:], 0x2112a442) // magic cookie, RFC 8489 section 5
		binary.BigEndian.PutUint64(q[8:], r.next())
		binary.BigEndian.PutUint32(q[16:], uint32(r.next()))
		a := append([]byte(nil), q...)
		a[0], a[3] = 1, 12 // Binding success
		a = append(a, 0, 0x20, 0, 8, 0, 1)
		a = binary.BigEndian.AppendUint16(a, port^0x2112)
		h := host.As4()
		a = binary.BigEndian.AppendUint32(a, binary.BigEndian.Uint32(h[:])^0x2112a442)
		g.datagram(t, up, q)
		g.totals.STUN++
		g.later(reply, down, a, &g.totals.STUN)
	default:
		pair("192.0.2.80", 443, protoTCP)
		b := g.out.room()
		payload := make([]byte, r.below(900))
		for i := range payload {
			payload[i] = byte(r.next())
		}
		n := up.segment(b, uint32(r.next()), uint32(r.next()), 0x18, payload)
		g.frameDone(g.opt.Format.stamp(t), n)
		g.totals.TCP++
	}
}
