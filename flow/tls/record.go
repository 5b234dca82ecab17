package tls

// record reads one whole record.
func (c *Conn) record(h *half, r []byte, plain func([]byte)) verdict {
	if h.sealed {
		return c.sealedRecord(h, r, plain)
	}
	_, other := c.sides(h == &c.half[0])
	s := &c.hello
	mayCome := !other.lost && !other.over() // what this record needs of the other direction
	switch r[0] {
	case typeHandshake:
		first := byte(0)
		if len(h.message) == 0 && h.pass == 0 && len(r) > headerLen {
			first = r[headerLen]
		}
		if first == serverHello && !s.haveClient && mayCome ||
			first == clientKeyExchange && !s.haveServer && mayCome {
			return waits
		}
		c.messages(h, r[headerLen:])
	case typeChangeCipherSpec, typeApplication:
		data := r[0] == typeApplication
		switch {
		case s.haveServer && (!data || h.lost):
			// Application data here: the change of keys is what was lost.
			c.changeKeys(h)
			if data && !h.over() && h.state != NoKeys {
				return c.sealedRecord(h, r, plain)
			}
		case s.haveServer:
			h.end(Broken)
		case s.haveClient && !data && (s.early || s.retried):
			// For middleboxes only (RFC 8446 appendix D.4).
		case s.haveClient && s.early && c.isClient(h):
			c.info.Skipped++ // 0-RTT
		case s.haveClient && c.isClient(h) && mayCome:
			return waits
		case h.lost || other.lost || !data:
			h.end(Broken)
		default: // the beginning was not seen
			h.end(NoKeys)
		}
	}
	return taken
}

// sealedRecord reads a record that is encrypted.
func (c *Conn) sealedRecord(h *half, r []byte, plain func([]byte)) verdict {
	newest := c.hello.version == version13
	if newest && r[0] != typeApplication {
		return taken // an alert in clear, or for middleboxes only
	}
	if plain == nil && r[0] == typeApplication && (!newest || h.traffic) {
		return waits
	}
	b, kind, ok := c.openRecord(h, r)
	if !ok {
		if c.hello.early && !h.traffic && h.seq == 0 && !h.sync && c.isClient(h) {
			c.info.Skipped++ // 0-RTT, which the server may have refused
			return taken
		}
		return refused
	}
	c.info.Opened++
	h.state = Decrypting
	switch kind {
	case typeApplication:
		if len(b) > 0 {
			plain(b)
		}
	case typeHandshake:
		c.messages(h, b)
	case typeChangeCipherSpec: // after a renegotiation
		c.changeKeys(h)
	}
	return taken
}

// openRecord opens a record with the key that is in use or, after a loss, with
// whatever may have come into use.
func (c *Conn) openRecord(h *half, r []byte) ([]byte, byte, bool) {
	if cap(c.plain) < len(r) {
		c.plain = make([]byte, 0, (len(r)+1023)&^1023)
	}
	if h.open != nil {
		if b, kind, ok := h.open.open(c.plain, h.seq, r); ok {
			h.opened(h.open, h.seq, r)
			return b, kind, true
		}
	}
	if h.lost {
		if b, kind, ok := c.try(h, r); ok {
			return b, kind, true
		}
	}
	if h.open != nil {
		h.open.passed(r)
	}
	return nil, 0, false
}

// opened notes that a record was opened as number seq of a key.
func (h *half) opened(o *opener, seq uint64, r []byte) {
	h.open, h.seq, h.failed, h.searched = o, seq+1, 0, 0
	// A Finished that was lost, or not understood, may have changed the key.
	h.lost = h.astray && o.version == version13 && !h.traffic
	o.passed(r)
	o.note(seq, r)
}

// try opens a record after a loss: as a later number of the same key, or in TLS
// 1.3 under the key that comes next.
func (c *Conn) try(h *half, r []byte) ([]byte, byte, bool) {
	from := uint64(0)
	if h.open != nil {
		if seq, ok := h.open.guess(h.seq, r); ok {
			if b, kind, ok := h.open.open(c.plain, seq, r); ok {
				h.opened(h.open, seq, r)
				return b, kind, true
			}
		}
		if b, kind, ok := c.tryFrom(h, h.open, h.seq+1, r); ok {
			return b, kind, true
		}
	}
	if c.hello.version != version13 {
		return nil, 0, false
	}
	var next secret
	if h.traffic {
		next = nextTraffic(c.hello.suite, &h.current)
	} else {
		// Records that nothing could open were counted: most of them will have
		// had the traffic key.
		from = max(h.seq, maxTries/4) - maxTries/4
		next, _ = c.secret(h, labelClientTraffic)
	}
	o := c.trafficOpener(&next)
	if o == nil {
		return nil, 0, false
	}
	b, kind, ok := c.tryFrom(h, o, from, r)
	if ok {
		h.traffic, h.current, h.lost = true, next, false
	}
	return b, kind, ok
}

// tryFrom opens a record as one of the numbers from seq on.
func (c *Conn) tryFrom(h *half, o *opener, seq uint64, r []byte) ([]byte, byte, bool) {
	for last := seq + maxTries; seq < last; seq++ {
		if b, kind, ok := o.open(c.plain, seq, r); ok {
			h.opened(o, seq, r)
			return b, kind, true
		}
	}
	return nil, 0, false
}

// secret finds a secret of TLS 1.3 of one direction; what is that of the client.
func (c *Conn) secret(h *half, what label) (secret, bool) {
	if c.keys == nil {
		return secret{}, false
	}
	if !c.isClient(h) {
		what++ // labels of client and server take turns
	}
	s, ok := c.keys.find(what, &c.hello.client)
	return s, ok && int(s.n) == c.hello.suite.prf().Size()
}

// trafficOpener is the opener of a secret, nil if there is none.
func (c *Conn) trafficOpener(s *secret) *opener {
	if int(s.n) != c.hello.suite.prf().Size() {
		return nil
	}
	return trafficKeys(c.hello.suite, s.bytes())
}

// noKeys says that what comes is encrypted, and nothing opens it.
func (c *Conn) noKeys(h *half) {
	if c.keys == nil {
		h.end(NoKeys)
		return
	}
	h.state, h.open = NoKeys, nil
	h.message, h.pass = nil, 0
}

// handshakeKeys takes a direction of TLS 1.3 to the keys of the handshake.
func (c *Conn) handshakeKeys(h *half) {
	if h.over() {
		return
	}
	h.sealed, h.seq = true, 0
	c.useHandshakeKeys(h)
}

func (c *Conn) useHandshakeKeys(h *half) {
	c.asked(h)
	s, ok := c.secret(h, labelClientHandshake)
	if ok {
		h.open = c.trafficOpener(&s)
	} else if _, later := c.secret(h, labelClientTraffic); later {
		h.lost = true // what comes under the handshake's keys fails, and is passed over
	} else {
		c.noKeys(h)
	}
}

// trafficKeys takes a direction of TLS 1.3 to its first traffic secret.
func (c *Conn) trafficKeys(h *half) {
	h.traffic, h.seq = true, 0
	h.message, h.pass, h.astray = nil, 0, false
	c.useTrafficKeys(h)
}

func (c *Conn) useTrafficKeys(h *half) {
	c.asked(h)
	var ok bool
	if h.current, ok = c.secret(h, labelClientTraffic); !ok {
		c.noKeys(h)
		return
	}
	h.open = c.trafficOpener(&h.current)
}

// updateKeys takes a direction of TLS 1.3 to its next traffic secret.
func (c *Conn) updateKeys(h *half) {
	h.current = nextTraffic(c.hello.suite, &h.current)
	h.open, h.seq = c.trafficOpener(&h.current), 0
}

// changeKeys takes a direction up to TLS 1.2 to the keys that the handshake
// settled (RFC 5246 section 7.1).
func (c *Conn) changeKeys(h *half) {
	if !c.hello.haveServer {
		h.end(Broken)
		return
	}
	h.sealed, h.seq = true, 0
	h.message, h.pass, h.astray = nil, 0, false
	c.useMaster(h)
	s := &c.hello
	if c.isClient(h) || s.master.n == 0 { // the server's change comes after its ticket
		return
	}
	if s.idLen > 0 {
		c.keys.remember(session{c.Peers, s.id}, s.master)
	}
	if s.issued != [32]byte{} {
		c.keys.remember(session{c.Peers, s.issued}, s.master)
	}
}

func (c *Conn) useMaster(h *half) {
	c.asked(h)
	if !c.findMaster() {
		c.noKeys(h)
		return
	}
	h.open = c.hello.keyBlock(c.hello.master.bytes(), c.isClient(h))
}

// findMaster finds the master secret: of the key exchange, by the key log, or
// that of the session which is resumed.
func (c *Conn) findMaster() bool {
	s := &c.hello
	if s.master.n > 0 || c.keys == nil {
		return s.master.n > 0
	}
	ok := false
	if s.master, ok = c.keys.find(labelMaster, &s.client); ok {
		return true
	}
	if s.exchanged {
		return false
	}
	if s.ticket != [32]byte{} {
		if s.master, ok = c.keys.recall(session{c.Peers, s.ticket}); ok {
			return true
		}
	}
	if s.echoed {
		s.master, ok = c.keys.recall(session{c.Peers, s.id})
	}
	return ok
}

// asked notes which keys there were.
func (c *Conn) asked(h *half) {
	if c.keys != nil {
		h.changes = c.keys.changes.Load()
	}
}

// retry looks for the keys of a direction again, since there are more now. The
// numbers of its records have been counted.
func (c *Conn) retry(h *half) {
	h.state, h.lost, h.failed = Handshake, true, 0
	switch {
	case c.hello.version != version13:
		c.useMaster(h)
	case h.traffic:
		c.useTrafficKeys(h)
	default:
		c.useHandshakeKeys(h)
	}
}
