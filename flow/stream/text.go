package stream

import (
	"bytes"

	"ringside/flow/record"
	"ringside/flow/sip"
	"ringside/flow/tls"
)

// verdict is what the first bytes of a stream say of it.
type verdict uint8

const (
	isOther   verdict = iota
	isOpen            // more bytes are needed
	isPad             // nothing but keep-alives so far
	isSIP             // also somewhere behind the begin, if that may be the middle of a stream
	isTLS             // a TLS record
	isUpgrade         // HTTP that changes to SIP over WebSocket
	isFrame           // a WebSocket frame that holds SIP
	isText            // perhaps the middle of a SIP message
)

// maxUndecided is for how many bytes a verdict is waited for.
const maxUndecided = 8 << 10

var (
	httpGet    = []byte("GET ")
	httpSwitch = []byte("HTTP/1.1 101")
)

// judge says what the stream is that begins with b. With joined, b may be the
// middle of one.
func judge(b []byte, joined bool) verdict {
	b = b[padding(b):]
	if len(b) == 0 {
		return isPad
	}
	if sip.Looks(b) {
		return isSIP
	}
	if tls.Looks(b) || len(b) < 3 && b[0] >= 20 && b[0] <= 24 && (len(b) == 1 || b[1] == 3) {
		if len(b) < 3 {
			return isOpen
		}
		return isTLS
	}
	if v := judgeFrame(b); v != isOther {
		return v
	}
	if bytes.HasPrefix(b, httpGet) || bytes.HasPrefix(b, httpSwitch) {
		n := sip.HeadEnd(b, 0)
		if n == 0 {
			return isOpen
		}
		if upgrades(b[:n]) {
			return isUpgrade
		}
		return isOther
	}
	if bytes.HasPrefix(httpSwitch, b) || bytes.IndexByte(b, '\n') < 0 && sip.Might(b) {
		return isOpen
	}
	if !joined {
		return isOther
	}
	if eol := bytes.IndexByte(b, '\n'); eol >= 0 && sip.NextStart(b, eol+1) >= 0 {
		return isSIP
	}
	for _, c := range b[:min(len(b), 32)] {
		if c < ' ' && c != '\r' && c != '\n' && c != '\t' {
			return isOther
		}
	}
	return isText
}

// revives reports whether a segment shows that a flow carries SIP after all.
func revives(b []byte) bool {
	if len(b) == 0 {
		return false
	}
	switch c := b[0]; {
	case c == 0x81, c == 0x82:
		return judgeFrame(b) == isFrame
	case c == 'G' && bytes.HasPrefix(b, httpGet):
		return judge(b, false) == isUpgrade
	case c < '\r' || c > 'z':
		return c == '\n' && sip.Looks(b)
	}
	return sip.Looks(b)
}

// padding is how many bytes of line ends or zeros b begins with: keep-alives
// between messages (RFC 5626 section 3.5.1).
func padding(b []byte) int {
	i := 0
	for i < len(b) && (b[i] == '\r' || b[i] == '\n' || b[i] == 0) {
		i++
	}
	return i
}

func isPadding(b []byte) bool { return len(b) > 0 && b[0] <= '\r' && padding(b) == len(b) }

// text reads the next bytes of a direction as they are without TLS. A message
// may begin where b does, rather than elsewhere.
func (t *Table) text(h *half, b []byte) {
	switch h.conn.flow.nature {
	case undecided:
		t.decide(h, b)
	case plainSIP:
		t.messages(h, b)
	case webSocket:
		t.frames(h, b)
	}
}

// textLost notes that n bytes are missing before those that come next, -1 if it
// is not known how many.
func (t *Table) textLost(h *half, n int) {
	switch h.conn.flow.nature {
	case undecided:
		t.drop(h)
		h.joined = true
	case plainSIP:
		t.messagesLost(h, n)
	case webSocket:
		t.framesLost(h, n)
	}
}

// finish ends a direction: the message that is not whole will not become so.
func (t *Table) finish(h *half) {
	if len(h.buf) == 0 {
		return
	}
	now := t.now.Time
	t.now.Time = h.time
	switch h.conn.flow.nature {
	case plainSIP:
		t.messageCut(h)
	case webSocket:
		t.frameCut(h)
	}
	t.now.Time = now
	t.drop(h)
}

// drop forgets the begin of a message.
func (t *Table) drop(h *half) {
	if h.buf != nil {
		t.buffers.put(h.buf)
		h.buf = nil
	}
	h.need, h.scanned = 0, 0
}

// decide finds out what a flow carries.
func (t *Table) decide(h *half, b []byte) {
	c := h.conn
	if len(h.buf) > 0 {
		h.buf = t.buffers.add(h.buf, b)
		b = h.buf
	}
	v := judge(b, h.joined)
	switch {
	case v == isPad:
		t.drop(h)
	case v == isOpen && len(b) <= maxUndecided:
		if len(h.buf) == 0 {
			h.buf = t.buffers.add(nil, b)
		}
	case v == isText && h.tried+len(b) <= maxUndecided:
		h.tried += len(b)
		line := b[bytes.LastIndexByte(b, '\n')+1:] // that may become a start line
		if len(line) == len(b) || !sip.Might(line) {
			line = nil
		}
		own := h.buf
		h.buf = nil
		if len(line) > 0 {
			h.buf = t.buffers.add(nil, line)
		}
		t.buffers.put(own)
	case v == isSIP:
		c.flow.nature = plainSIP
		t.again(h, b)
	case v == isUpgrade || v == isFrame:
		c.flow.nature = webSocket
		t.again(h, b)
	case v == isTLS && c.tls == nil && t.options.Keys != nil:
		t.open(h)
		t.again(h, b)
	case v == isTLS || c.tls != nil:
		c.flow.nature = encrypted
	default:
		c.flow.nature = other
	}
}

// again reads the bytes that came before it was known what they are: those of
// the other direction, then b.
func (t *Table) again(h *half, b []byte) {
	for n := range h.conn.half {
		h := &h.conn.half[n]
		h.seek, h.inLine, h.suspect = h.joined, h.joined, h.joined
	}
	read := t.text
	if h.conn.flow.nature == undecided { // but TLS
		read = t.deliver
	}
	peer := h.peer()
	early, own := peer.buf, h.buf
	peer.buf, h.buf = nil, nil
	if len(early) > 0 {
		read(peer, early)
	}
	t.buffers.put(early)
	read(h, b)
	t.buffers.put(own)
}

// upgrades reports whether the header section of HTTP changes the protocol to
// SIP over WebSocket (RFC 6455 section 4, RFC 7118 section 4).
func upgrades(head []byte) bool {
	web, sub := false, false
	for len(head) > 0 {
		line := head
		if eol := bytes.IndexByte(head, '\n'); eol >= 0 {
			line, head = head[:eol], head[eol+1:]
		} else {
			head = nil
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		switch {
		case is(name, "upgrade"):
			web = web || is(bytes.TrimSpace(value), "websocket")
		case is(name, "sec-websocket-protocol"):
			for more := true; more && !sub; {
				var one []byte
				one, value, more = bytes.Cut(value, []byte(","))
				sub = is(bytes.TrimSpace(one), "sip")
			}
		}
	}
	return web && sub
}

// is compares b with lower in any case.
func is(b []byte, lower string) bool {
	if len(b) != len(lower) {
		return false
	}
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			c |= 0x20
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

// emit hands on a message of a direction.
func (t *Table) emit(h *half, data []byte, cut bool) {
	c := h.conn
	c.garbage = 0
	t.shown = t.now
	if t.from != h {
		t.shown = h.last
		t.shown.Time, t.shown.Clock, t.shown.Seq, t.shown.Tunnel = t.now.Time, t.now.Clock, t.now.Seq, 0
	}
	m := &t.message
	*m = Message{Data: data, Cut: cut, Packet: &t.shown}
	m.Src, m.Dst = c.flow.ends(h.direction)
	switch web := c.flow.nature == webSocket; {
	case c.tls != nil && web:
		m.Transport = record.WSS
	case c.tls != nil:
		m.Transport = record.TLS
	case web:
		m.Transport = record.WS
	default:
		m.Transport = record.TCP
	}
	if cut {
		t.stats.Cut++
	}
	t.carriers = h.carriers(t.carriers[:0])
	m.Kept = t.carriers
	t.stats.Messages[m.Transport]++
	t.options.Emit(m)
}
