package stream

import "ringside/flow/tls"

// openingBytes is what a TLS connection may hold before it is being decrypted,
// about. It bounds how many may be in that state.
const openingBytes = 128 << 10

// connList is connections of TLS in some order. One is in no more than one list.
type connList struct {
	first, last *conn
	len         int
}

func (l *connList) add(c *conn) {
	c.list, c.prev, c.next = l, l.last, nil
	if l.last != nil {
		l.last.next = c
	} else {
		l.first = c
	}
	l.last = c
	l.len++
}

// unlist takes a conn out of the list that it is in.
func (c *conn) unlist() {
	l := c.list
	if l == nil {
		return
	}
	if c.prev != nil {
		c.prev.next = c.next
	} else {
		l.first = c.next
	}
	if c.next != nil {
		c.next.prev = c.prev
	} else {
		l.last = c.prev
	}
	l.len--
	c.list, c.prev, c.next = nil, nil, nil
}

// open makes a conn one of TLS; h was the first to say so.
func (t *Table) open(h *half) {
	c := h.conn
	c.tls = tls.NewConn(t.options.Keys)
	hosts := c.flow.key()
	hosts.lowPort, hosts.highPort = 0, 0
	c.tls.Peers = hosts.hash(0)
	if c.client < 0 {
		c.client = h.direction
	}
	for d := range c.half {
		c.half[d].joined = false // what can be decrypted is there from its begin on
	}
	t.opening.add(c)
}

// limitOpening leaves the oldest connections whose handshake does not come to an
// end, so that the others have room.
func (t *Table) limitOpening() {
	for t.opening.len > t.maxOpening {
		c := t.opening.first
		t.stats.Relieved++
		c.flow.nature = encrypted
		t.settle(c)
	}
}

// deliver reads the next bytes of a direction.
func (t *Table) deliver(h *half, b []byte) {
	c := h.conn
	if c.tls == nil {
		t.text(h, b)
		return
	}
	t.feed(h, b)
	if peer := h.peer(); c.state[peer.direction] == tls.Handshake && peer.known {
		t.feed(peer, nil) // what had to wait for this direction
	}
	if final(c.state[0]) && final(c.state[1]) {
		c.flow.nature = encrypted
	}
	if c.state[0] == tls.Decrypting || c.state[1] == tls.Decrypting {
		if c.list == &t.opening {
			c.unlist()
		}
	}
	t.weigh(c)
}

// weigh notes what a connection holds that is being decrypted. Those that hold
// anything are listed by when they last moved on.
func (t *Table) weigh(c *conn) {
	if c.list == &t.opening {
		return
	}
	c.unlist()
	t.sealedBytes -= c.weight
	c.weight = int64(c.tls.Held())
	t.sealedBytes += c.weight
	if c.weight > 0 {
		t.sealed.add(c)
	}
}

// release makes room: the connection that lay still for longest gives up the
// records of which not everything has come.
func (t *Table) release() {
	c := t.sealed.first
	t.stats.Relieved++
	t.late(c)
	for d := range c.half {
		h := &c.half[d]
		if c.tls.Release(d == c.client) {
			t.stats.Gaps++
			t.now.Time = h.time
			t.textLost(h, -1)
		}
	}
	t.weigh(c)
	t.settle(c)
}

func (t *Table) feed(h *half, b []byte) {
	c := h.conn
	t.reading = h
	c.state[h.direction] = c.tls.Feed(h.direction == c.client, b, t.plainText)
}

func final(s tls.State) bool { return s >= tls.NoKeys }

// plain takes what TLS has decrypted.
func (t *Table) plain(b []byte) { t.text(t.reading, b) }
