package stream

import (
	"ringside/dataplane/frame"
	"ringside/flow/record"
	"ringside/flow/sctp"
	"ringside/flow/sip"
)

// chunks takes a packet of SCTP (RFC 4168) and says what it was.
func (t *Table) chunks(p *frame.Packet) kind {
	t.now = *p
	t.now.Payload = nil
	before := t.stats.Messages[record.SCTP]
	t.sctp.Packet(p, t.sctpMessage)
	if t.stats.Messages[record.SCTP] > before {
		return kindSCTP
	}
	return kindSCTPOther
}

// datagram takes a user message of SCTP.
func (t *Table) datagram(u *sctp.Message) {
	b := u.Data[padding(u.Data):]
	if !sip.Looks(b) {
		t.stats.NotSIP++
		return
	}
	t.stats.Messages[record.SCTP]++
	t.shown = t.now
	if u.Cut {
		t.stats.Cut++
	}
	t.message = Message{Data: b, Src: u.Src, Dst: u.Dst, Transport: record.SCTP, Cut: u.Cut, Packet: &t.shown, Kept: u.Frames}
	t.options.Emit(&t.message)
}
