package call

import (
	"ringside/flow/record"
	"ringside/flow/sip"
)

// leg is a dialog of the call, or a To tag that a final response brought.
type leg struct {
	tag                uint64
	name               text
	first, answer, bye int64
	status             uint16
	dialog             bool // a response from 101 to 299 made it (RFC 3261 section 12.1)
}

// branch is an INVITE transaction on one hop.
type branch struct {
	id   uint64
	vias uint8 // how far from the caller
	done bool  // has a final response
}

// attempt takes an INVITE outside a dialog: the first one, another try with a
// higher CSeq (RFC 3261 sections 8.1.3.4 and 22.2), or a copy on another hop
// or branch.
func (c *call) attempt(e *event, reorder int64) {
	m, meta := e.m, e.meta
	if c.invites == 0 && (!c.noInvite || meta.Clock-c.begun <= reorder) {
		// The first INVITE; a response that was faster does not change that.
		c.noInvite = false
		c.start = min(c.start, meta.Time)
		c.parties(m, meta, e.k)
		c.user, c.domain = c.keep(m.Get(m.RequestURI.User)), c.keep(m.Get(m.RequestURI.Host))
	}
	c.addTag(e.k.from)
	if m.CSeq > c.cseq {
		c.cseq = m.CSeq
		c.branches = c.branches[:0]
		if c.phase == failed {
			c.phase = trying
			c.end = 0
		}
	}
	if m.CSeq < c.cseq || len(c.branches) == maxBranches {
		return
	}
	for i := range c.branches {
		if c.branches[i].id == e.k.branch {
			return
		}
	}
	if c.phase == failed && len(c.branches) > 0 { // a proxy tries the next target
		c.phase = trying
		c.end = 0
	}
	c.branches = append(c.branches, branch{id: e.k.branch, vias: m.Vias})
}

// nearest reports whether a message on a hop speaks for the whole INVITE: no
// hop that is nearer to the caller was captured. What a proxy does on one
// branch of a fork is its own matter, and other branches may ring. b is the
// transaction, nil if its INVITE was not captured.
func (c *call) nearest(e *event) (b *branch, ok bool) {
	vias := e.m.Vias
	for i := range c.branches {
		if c.branches[i].id == e.k.branch {
			b = &c.branches[i]
			vias = b.vias
		}
	}
	for i := range c.branches {
		if c.branches[i].vias < vias {
			return b, false
		}
	}
	return b, true
}

// settled notes a final failure, and reports whether it settles the INVITE:
// all transactions nearest to the caller have failed.
func (c *call) settled(e *event) bool {
	b, ok := c.nearest(e)
	if b == nil {
		return ok
	}
	b.done = true
	for i := range c.branches {
		if o := &c.branches[i]; !o.done && o.vias <= b.vias {
			return false
		}
	}
	return ok
}

// isInitial reports whether a response belongs to an INVITE that began the
// call, and not to one inside its dialog.
func (c *call) isInitial(e *event) bool {
	switch {
	case e.from == record.SideCalled:
		return false
	case c.noInvite:
		return c.reinvite[e.from] == 0 || c.reinvite[e.from] != e.m.CSeq
	}
	return e.m.CSeq <= c.cseq && c.reinvite[e.from] != e.m.CSeq
}

// inviteAnswered takes a response to an INVITE.
func (t *Table) inviteAnswered(c *call, e *event) {
	m := e.m
	initial := c.isInitial(e)
	switch {
	case m.Status == 100:
		if initial && c.trying100 == 0 {
			c.trying100 = e.meta.Time
		}
	case m.Status < 200:
		c.provisional = m.Status
		if initial {
			c.rings(e)
		}
	case m.Status < 300:
		c.finalStatus(e)
		c.sessionTimer(e)
		if initial {
			c.answered(e)
		}
	default:
		if !initial || c.answer == 0 {
			c.finalStatus(e)
			c.reasons(m)
		}
		c.declined(e)
		if initial {
			t.fails(c, e)
		} else {
			c.refused(e)
			c.doubtful = c.doubtful || m.Status == 481 || m.Status == 408
		}
	}
}

func (c *call) finalStatus(e *event) {
	c.status, c.statusReason = e.m.Status, c.keep(e.m.Get(e.m.Reason))
}

// declined counts challenges and redirections, once for each request.
func (c *call) declined(e *event) {
	request := uint64(e.from)<<32 | uint64(e.m.CSeq) | 1<<40
	switch {
	case e.m.Status == 401 || e.m.Status == 407:
		if c.challenged != request {
			c.challenges++
		}
		c.challenged = request
	case e.m.Status/100 == 3:
		if c.redirected != request {
			c.redirects++
		}
		c.redirected = request
	}
}

func (c *call) rings(e *event) {
	if e.m.Status == 180 && c.ring180 == 0 {
		c.ring180 = e.meta.Time
	}
	if e.m.Status == 183 && c.ring183 == 0 {
		c.ring183 = e.meta.Time
	}
	if l := c.leg(e.m, e.k.to, e.meta.Time); l != nil {
		l.dialog = true
		l.rank(e.m.Status)
	}
	if c.phase == trying || c.phase == failed {
		c.phase = early
		c.end = 0
	}
}

func (c *call) answered(e *event) {
	l := c.leg(e.m, e.k.to, e.meta.Time)
	again := false
	if l != nil {
		again = l.answer != 0
		if !again {
			l.answer = e.meta.Time
		}
		l.dialog = true
		l.rank(e.m.Status)
	}
	if c.phase == byeSeen || c.phase == byeDone {
		// The answer of another dialog of a fork goes on with the call. That of
		// the dialog that was hung up, or of the only one, comes too late.
		if l == nil || again || l.bye != 0 || c.answer == 0 && len(c.legs) == 1 {
			return
		}
		c.bye = 0
	}
	c.phase = established
	c.end, c.hungUp = 0, record.SideUnknown
	if c.answer == 0 {
		c.answer = e.meta.Time
	}
}

// fails takes a final failure of the INVITE that began the call.
func (t *Table) fails(c *call, e *event) {
	if s := e.m.Status; s >= 400 && s != 401 && s != 407 || c.hasLeg(e.k.to) {
		if l := c.leg(e.m, e.k.to, e.meta.Time); l != nil {
			l.rank(s)
		}
	}
	if !c.settled(e) {
		return
	}
	switch c.phase {
	case trying, early:
		c.phase = failed
	case failed, canceled:
	default:
		return
	}
	if c.end == 0 {
		c.end = e.seen.first
		t.ending(c, e.meta.Clock)
	}
}

func (c *call) cancel(e *event) {
	if _, ok := c.nearest(e); !ok || c.phase != trying && c.phase != early {
		return
	}
	c.phase = canceled
	c.wasCanceled = true
	c.hungUp = e.from
	c.reasons(e.m)
}

// hangUp takes a BYE. It ends its own dialog, and the call if that was the
// last one.
func (t *Table) hangUp(c *call, e *event) {
	tag := e.k.to
	if e.from == record.SideCalled {
		tag = e.k.from
	}
	if c.hasLeg(tag) { // else it is meant for the call, whatever became of its tags
		for i := range c.legs {
			l := &c.legs[i]
			if l.tag == tag && l.bye == 0 {
				l.bye = e.meta.Time
			}
		}
		for i := range c.legs {
			l := &c.legs[i]
			lives := l.answer != 0 || c.answer == 0 && l.dialog && l.status < 200
			if lives && l.bye == 0 {
				return
			}
		}
	}
	c.reasons(e.m)
	if c.bye == 0 {
		c.bye, c.end = e.meta.Time, e.meta.Time
		c.hungUp = e.from
		t.ending(c, e.meta.Clock)
	}
	if c.phase != byeDone {
		c.phase = byeSeen
	}
}

// leg is the call's dialog of a To tag, made if it is new; nil for an empty
// tag, or when there are too many.
func (c *call) leg(m *sip.Message, tag uint64, now int64) *leg {
	if tag == 0 {
		return nil
	}
	for i := range c.legs {
		if c.legs[i].tag == tag {
			return &c.legs[i]
		}
	}
	if len(c.legs) == maxLegs {
		return nil
	}
	c.legs = append(c.legs, leg{tag: tag, name: c.keep(m.Get(m.To.Tag)), first: now})
	return &c.legs[len(c.legs)-1]
}

func (c *call) hasLeg(tag uint64) bool {
	for i := range c.legs {
		if c.legs[i].tag == tag {
			return true
		}
	}
	return false
}

// rank keeps the highest-ranking status of a leg: a success, then a failure,
// then the last provisional one.
func (l *leg) rank(status uint16) {
	switch {
	case l.status/100 == 2:
	case status >= 200 || l.status < 200:
		l.status = status
	}
}
