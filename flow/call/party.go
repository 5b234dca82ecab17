package call

import (
	"bytes"
	"time"

	"ringside/dataplane/frame"
	"ringside/flow/record"
	"ringside/flow/sip"
)

type party struct {
	number, domain, name, tag, agent, contact text
	addr                                      frame.Endpoint
	agentRank, contactRank                    uint8 // what they rest on, see agents
}

// parties reads who calls whom from the message that begins the call. Where
// that is not its INVITE, the sender of the request is taken for the caller.
func (c *call) parties(m *sip.Message, meta *Meta, k *keys) {
	from := func(p *party, a *sip.Address, addr frame.Endpoint) {
		p.number, p.domain = c.keep(m.Get(a.User)), c.keep(m.Get(a.Host))
		p.name, p.tag = c.keep(m.Get(a.Display)), c.keep(m.Get(a.Tag))
		p.addr = addr
	}
	caller, called := meta.Src, meta.Dst
	if m.Response {
		caller, called = called, caller
	}
	from(&c.caller, &m.From, caller)
	from(&c.called, &m.To, called)
	c.nTags = 0
	c.addTag(k.from)
}

func (c *call) addTag(tag uint64) {
	if c.isCaller(tag) {
		return
	}
	if c.nTags < maxTags {
		c.tags[c.nTags] = tag
		c.nTags++
	}
}

func (c *call) isCaller(tag uint64) bool {
	for _, t := range c.tags[:c.nTags] {
		if t == tag {
			return true
		}
	}
	return false
}

// from is the side that the From header names, by the tags (RFC 3261 section
// 12: whoever sends a request inside a dialog is its From).
func (c *call) from(k *keys) record.Side {
	switch {
	case c.isCaller(k.from):
		return record.SideCaller
	case c.isCaller(k.to):
		return record.SideCalled
	}
	for i := range c.legs {
		switch c.legs[i].tag {
		case k.from:
			return record.SideCalled
		case k.to:
			return record.SideCaller
		}
	}
	return record.SideUnknown
}

func other(s record.Side) record.Side {
	switch s {
	case record.SideCaller:
		return record.SideCalled
	case record.SideCalled:
		return record.SideCaller
	}
	return s
}

// agents keeps what the parties say of their software and address.
func (c *call) agents(e *event) {
	m := e.m
	p, rank := &c.caller, uint8(1)
	if e.sender == record.SideCalled {
		p = &c.called
		switch {
		case m.Response && (m.Status <= 100 || e.k.to == 0):
			return
		case m.Response && m.Method == sip.INVITE && m.Status/100 == 2:
			rank = 3
		case m.Response && m.Method == sip.INVITE && m.Status < 200:
			rank = 2
		}
	} else if e.sender != record.SideCaller {
		return
	}
	agent := m.Server
	if agent.IsZero() {
		agent = m.UserAgent
	}
	if !agent.IsZero() && rank > p.agentRank {
		p.agent, p.agentRank = c.keep(m.Get(agent)), rank
	}
	if !m.Contact.URI.IsZero() && rank > p.contactRank && (!m.Response || m.Status < 300) {
		p.contact, p.contactRank = c.keep(m.Get(m.Contact.URI)), rank
	}
}

// reasons keeps the Reason header fields (RFC 3326) of a message that ends
// something.
func (c *call) reasons(m *sip.Message) {
	if m.ReasonHeader.IsZero() {
		return
	}
	m.EachReason(func(protocol, cause, text []byte) {
		switch n := uint16(min(number(cause), 65535)); {
		case bytes.EqualFold(protocol, []byte("SIP")):
			c.sipCause, c.sipText = n, c.keep(text)
		case bytes.EqualFold(protocol, []byte("Q.850")):
			c.q850Cause, c.q850Text = n, c.keep(text)
		}
	})
}

// sessionTimer reads how long the session may last without a sign of life
// (RFC 4028 section 4), from the response that fixes it.
func (c *call) sessionTimer(e *event) {
	c.doubtful = false
	e.m.EachHeader(func(name, value []byte) bool {
		if !bytes.EqualFold(name, []byte("Session-Expires")) && !bytes.EqualFold(name, []byte("x")) {
			return true
		}
		c.session = min(number(value), 1<<32) * int64(time.Second)
		return false
	})
}

// number reads the digits at the start of b.
func number(b []byte) (n int64) {
	for _, d := range bytes.TrimLeft(b, " \t") {
		if d < '0' || d > '9' || n > 1<<40 {
			break
		}
		n = 10*n + int64(d-'0')
	}
	return n
}
