package tls

import "golang.org/x/crypto/cryptobyte"

// wanted reports whether messages of a type say something that matters.
func (c *Conn) wanted(kind byte) bool {
	switch kind {
	case clientHello, serverHello:
		return true
	case clientKeyExchange, newSessionTicket:
		return c.hello.version != version13
	case encryptedExtensions, finished, keyUpdate:
		return c.hello.version == version13
	}
	return false
}

// messages reads the handshake messages of a record (RFC 8446 section 5.1: a
// message may go over several records, and a record hold several).
func (c *Conn) messages(h *half, b []byte) {
	if h.astray {
		if !h.traffic {
			return // until the keys change
		}
		h.astray = false // messages after the handshake are short
	}
	for len(b) > 0 {
		if h.pass > 0 {
			n := min(h.pass, len(b))
			c.note(b[:n])
			h.pass, b = h.pass-n, b[n:]
			continue
		}
		need := 4
		if len(h.message) >= need {
			need += messageSize(h.message)
		}
		n := min(need-len(h.message), len(b))
		h.message = append(h.message, b[:n]...)
		b = b[n:]
		if len(h.message) < 4 {
			return
		}
		kind, size := h.message[0], messageSize(h.message)
		switch {
		case !c.wanted(kind) || size > maxMessage:
			if kind != helloRequest { // RFC 5246 section 7.4.1.1
				c.note(h.message)
			}
			h.pass, h.message = size, h.message[:0]
		case len(h.message) == 4+size:
			c.message(h, kind, h.message)
			if h.over() || h.state == NoKeys {
				return
			}
			h.message = h.message[:0]
		}
	}
}

func messageSize(m []byte) int { return int(m[1])<<16 | int(m[2])<<8 | int(m[3]) }

// message reads one handshake message, header included.
func (c *Conn) message(h *half, kind byte, m []byte) {
	s, body := &c.hello, m[4:]
	switch kind {
	case clientHello:
		c.begin(h, m)
	case serverHello:
		c.answer(h, m)
	case clientKeyExchange:
		c.note(m)
		c.exchange(body)
	case newSessionTicket:
		var life uint32
		var ticket cryptobyte.String
		in := cryptobyte.String(body)
		if in.ReadUint32(&life) && in.ReadUint16LengthPrefixed(&ticket) && len(ticket) > 0 {
			s.issued = hashOf(ticket)
		}
	case encryptedExtensions:
		readExtensions(body, &c.info)
	case finished:
		if h.sealed && !h.traffic {
			c.trafficKeys(h)
		}
	case keyUpdate:
		if h.traffic {
			c.updateKeys(h)
		}
	}
}

// begin reads a ClientHello: the first, the second after a HelloRetryRequest,
// or that of a renegotiation.
func (c *Conn) begin(h *half, m []byte) {
	s := &c.hello
	if s.version == version13 && s.haveServer {
		return
	}
	*s = hellos{retried: s.retried}
	if h == &c.half[0] {
		c.client = 0
	} else {
		c.client = 1
	}
	if !s.readClient(m[4:], &c.info) {
		h.end(Broken)
		return
	}
	c.noting = c.keys != nil && c.keys.hasRSA()
	c.transcript = c.transcript[:0]
	c.note(m)
}

// answer reads a ServerHello.
func (c *Conn) answer(h *half, m []byte) {
	s := &c.hello
	if !s.haveClient || s.haveServer || c.isClient(h) {
		h.end(Broken)
		return
	}
	if !s.readServer(m[4:], &c.info) {
		h.end(Broken)
		return
	}
	if s.suite == nil {
		c.half[0].end(Unsupported)
		c.half[1].end(Unsupported)
		return
	}
	c.note(m)
	if !s.suite.rsa() {
		c.noting, c.transcript = false, nil
	}
	if s.version == version13 && s.haveServer {
		c.handshakeKeys(&c.half[0])
		c.handshakeKeys(&c.half[1])
	}
}

// exchange reads a ClientKeyExchange: with RSA it holds the premaster secret.
func (c *Conn) exchange(body []byte) {
	s := &c.hello
	s.exchanged = true
	if c.keys == nil || !s.haveServer || !s.suite.rsa() {
		return
	}
	noted, transcript := c.noting, c.transcript
	c.noting, c.transcript = false, nil
	if _, logged := c.keys.find(labelMaster, &s.client); logged || s.extended && !noted {
		return
	}
	var sent cryptobyte.String
	in := cryptobyte.String(body)
	if !in.ReadUint16LengthPrefixed(&sent) {
		return
	}
	if pre, ok := c.keys.premaster(sent, s.offered); ok {
		s.master = s.masterSecret(pre.bytes(), transcript)
	}
}

// note adds to the transcript of the handshake.
func (c *Conn) note(b []byte) {
	if !c.noting {
		return
	}
	if len(c.transcript)+len(b) > maxNoted {
		c.noting, c.transcript = false, nil
		return
	}
	c.transcript = append(c.transcript, b...)
}
