package call

import (
	"time"

	"ringside/dataplane/frame"
	"ringside/flow/record"
	"ringside/flow/sip"
)

// phase is the state of a call.
type phase uint8

const (
	unused      phase = iota // the slot holds no call
	trying                   // INVITE, at most 100 since
	early                    // a provisional response above 100
	failed                   // a final failure; another try may follow
	canceled                 // CANCEL of the whole INVITE
	established              // a 2xx
	byeSeen                  // BYE of the last dialog
	byeDone                  // … and its answer
	closed                   // waits for Finish
)

// call is one slot of the table. The bytes it keeps are in its text, copied
// once; it borrows nothing. It stays in its slot and is used again.
type call struct {
	slot, generation uint32
	birth            uint64 // order of creation in the table
	hash             uint64 // of the Call-ID
	next             *call  // another call with that hash
	staler, fresher  *call  // neighbours by last activity
	timer            int32  // index in the heap
	deadline         int64  // clock at which the state has lasted too long
	since            int64  // clock at which the time of the state began
	begun            int64  // clock of the first message

	phase       phase
	probing     bool // asked whether media still flows
	doubtful    bool // the other side said that there is no such dialog
	noInvite    bool // the INVITE that began the call was not seen
	wasCanceled bool
	reason      record.EndReason
	flags       record.Flags
	session     int64 // Session-Expires, ns

	bytes     []byte
	callID    text
	endpoints []frame.Endpoint
	messages  []message
	total     uint32
	legs      []leg
	media     []media
	branches  []branch // INVITE transactions of the current attempt
	streams   []record.Stream
	dialled   []digit        // by INFO
	digits    []record.Digit // in RTP

	caller, called  party
	user, domain    text // of the Request-URI
	authUser        text
	tags            [maxTags]uint64 // From tags of the caller, in order of appearance
	nTags           uint8
	cseq            uint32       // of the current attempt of the first INVITE
	reinvite        [3]uint32    // CSeq of the last re-INVITE of each side
	challenged      uint64       // side and CSeq of the last challenge
	redirected      uint64       // … redirection
	hold            hold         // see media.go
	direction       [3]direction // what each side's SDP allows
	flows, expected ways         // directions of media now, and at any time
	vlan            int32
	dscp            uint8
	transport       record.Transport
	tunnel          record.Tunnel
	hungUp          record.Side
	epoch           uint16  // of the last offer
	fax             [3]bool // the last SDP of each side names T.38 media

	sessionID             [2]text // UUIDs, the lesser first
	xCallID, icid         text
	linkHeader, replacing text

	start, trying100, ring180, ring183, answer, bye, end, last int64

	status, provisional    uint16
	statusReason           text
	sipCause, q850Cause    uint16
	sipText, q850Text      text
	invites, reinvites     uint32
	retrans, retransInvite uint32
	challenges, holds      uint32
	redirects, refers      uint32
	infos, pracks, updates uint32
}

func (c *call) ref() Ref { return Ref(c.generation)<<32 | Ref(c.slot+1) }

// isOver reports whether only repeated messages are still expected, so that an
// INVITE begins another call.
func (c *call) isOver() bool {
	return c.phase == byeSeen || c.phase == byeDone || c.phase == canceled && c.end != 0
}

// begin fills a new call from its first message.
func (c *call) begin(m *sip.Message, meta *Meta, k *keys, how int) {
	c.phase = trying
	c.begun = meta.Clock
	c.start = meta.Time
	c.last = meta.Time
	c.vlan, c.dscp, c.transport, c.tunnel = meta.VLAN, meta.DSCP, meta.Transport, meta.Tunnel
	c.parties(m, meta, k)
	if how == fromStart {
		return
	}
	c.noInvite = true
	switch {
	case m.Response && m.Method == sip.INVITE:
		c.cseq = m.CSeq
	case m.Response && m.Method == sip.BYE:
		c.phase = byeSeen
		c.end, c.hungUp = meta.Time, record.SideCaller
	case m.Method != sip.CANCEL:
		c.phase = established
		if l := c.leg(m, k.to, meta.Time); l != nil {
			l.dialog = m.Method != sip.ACK // which may be for a failure
		}
	}
}

// event is a message on its way through the state machine.
type event struct {
	m      *sip.Message
	meta   *Meta
	k      *keys
	from   record.Side // who sent the request, of a response too
	sender record.Side // who sent this message
	seen   seen
}

// take changes the call by one of its messages.
func (t *Table) take(c *call, m *sip.Message, meta *Meta, k *keys) {
	e := event{m: m, meta: meta, k: k, seen: c.lookUp(k, meta.Time)}
	if !m.Response && m.Method == sip.INVITE && k.to == 0 {
		c.attempt(&e, int64(t.options.ReorderWait))
	}
	e.from = c.from(k)
	e.sender = e.from
	if m.Response {
		e.sender = other(e.from)
	}
	c.last = max(c.last, meta.Time)
	if meta.Cut || m.Flags&sip.FlagCut != 0 {
		c.flags |= record.SIPCut
	}
	if meta.Transport == record.TLS || meta.Transport == record.WSS {
		c.flags |= record.Encrypted
	}
	var flags uint8
	if body := m.SDP(); body != nil {
		flags |= withSDP
	}
	if !m.Response && k.to != 0 {
		flags |= inDialog
	}
	if again := e.seen.again; again != nil {
		flags |= retransmitted
		c.repeated(m, again)
		t.stats.Retransmissions++
	} else {
		c.agents(&e)
		if m.Method == sip.INVITE {
			t.links(c, m)
		}
		t.step(c, &e)
		if flags&withSDP != 0 {
			t.describe(c, &e)
		}
		if m.Response || m.Method == sip.ACK {
			c.judge()
		}
	}
	c.note(m, meta, k, t.options.MaxMessages, flags)
	t.wait(c, meta.Clock)
}

// wait starts the time of the call's state.
func (t *Table) wait(c *call, clock int64) {
	c.probing = false
	c.since = clock
	t.timers.set(c, clock+t.patience(c))
}

// patience is how long (ns) the state of a call may last.
func (t *Table) patience(c *call) int64 {
	o := &t.options.Timeouts
	var d time.Duration
	switch c.phase {
	case trying:
		d = o.Inv1st
	case early:
		d = o.InvEarlyDlg
	case failed:
		d = o.InvNeg
	case canceled:
		d = o.InvCanceled
	case byeSeen:
		d = o.InvByeSeen
	case byeDone:
		d = o.InvByeRepl
	default:
		if c.doubtful {
			d = o.InvNeg
		} else {
			d = max(o.InvEstablished, time.Duration(c.session))
		}
	}
	return int64(d)
}

func (c *call) repeated(m *sip.Message, first *message) {
	c.retrans++
	first.repeats++
	if !m.Response && m.Method == sip.INVITE {
		c.retransInvite = max(c.retransInvite, uint32(first.repeats))
	}
}

// step moves the state machine by a message that is no retransmission.
func (t *Table) step(c *call, e *event) {
	if e.m.Response {
		switch e.m.Method {
		case sip.INVITE:
			t.inviteAnswered(c, e)
		case sip.BYE:
			if c.phase == byeSeen && (e.m.Status/100 == 2 || e.m.Status == 481) {
				c.phase = byeDone
			}
			if e.m.Status >= 300 {
				c.reasons(e.m)
			}
		case sip.UPDATE:
			c.refreshed(e)
		}
		return
	}
	if !e.seen.copy {
		c.countRequest(e)
	}
	switch e.m.Method {
	case sip.INVITE:
		if e.k.to != 0 {
			c.reinvite[e.from] = e.m.CSeq
		}
	case sip.CANCEL:
		c.cancel(e)
	case sip.BYE:
		t.hangUp(c, e)
	}
}

func (c *call) countRequest(e *event) {
	switch e.m.Method {
	case sip.INVITE:
		c.invites++
		if e.k.to != 0 {
			c.reinvites++
		}
	case sip.PRACK:
		c.pracks++
	case sip.UPDATE:
		c.updates++
	case sip.INFO:
		c.infos++
		c.dial(e)
	case sip.REFER:
		c.refers++
	}
	if c.authUser.len == 0 && e.from == record.SideCaller {
		c.authUser = c.keep(e.m.Get(e.m.AuthUser))
	}
}

func (t *Table) ending(c *call, clock int64) {
	if t.options.Ending != nil {
		t.options.Ending(c.ref(), clock)
	}
}

// refreshed takes a response to an UPDATE (RFC 3311).
func (c *call) refreshed(e *event) {
	switch {
	case e.m.Status/100 == 2:
		c.sessionTimer(e)
	case e.m.Status >= 300:
		c.refused(e)
		c.doubtful = c.doubtful || e.m.Status == 481 || e.m.Status == 408
	}
}
