package stream

import "ringside/flow/tls"

// openingBytes is what a TLS connection may hold before it is being decrypted,
// about. It bounds how many may be in that state.
const openingBytes = 128 << 10

// opening is the TLS connections of which nothing is decrypted yet, in the order
// in which they began.
type opening struct {
	first, last *conn
	len         int
}

func (o *opening) add(c *conn) {
	c.opening = true
	c.openPrev, c.openNext = o.last, nil
	if o.last != nil {
		o.last.openNext = c
	} else {
		o.first = c
	}
	o.last = c
	o.len++
}

func (o *opening) remove(c *conn) {
	if !c.opening {
		return
	}
	if c.openPrev != nil {
		c.openPrev.openNext = c.openNext
	} else {
		o.first = c.openNext
	}
	if c.openNext != nil {
		c.openNext.openPrev = c.openPrev
	} else {
		o.last = c.openPrev
	}
	c.opening, c.openPrev, c.openNext = false, nil, nil
	o.len--
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
		t.opening.remove(c)
	}
}

func (t *Table) feed(h *half, b []byte) {
	c := h.conn
	t.reading = h
	c.state[h.direction] = c.tls.Feed(h.direction == c.client, b, t.plainText)
}

func final(s tls.State) bool { return s >= tls.NoKeys }

// plain takes what TLS has decrypted.
func (t *Table) plain(b []byte) { t.text(t.reading, b) }
