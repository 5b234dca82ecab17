package rule

import (
	"net/netip"

	"ringside/flow/record"
	"ringside/flow/sip"
)

// Subject is what a message of a call tells. Bytes are borrowed for the time of
// the question.
type Subject struct {
	Time   int64 // of the first message of the call, ns; 0: not known
	Sensor uint16
	Iface  int32 // -1: not known
	VLAN   int32 // of the first message, -1: untagged

	// Signalling addresses and From and To, as record.Call has them: they do
	// not change places with the direction of the message.
	CallerAddr, CalledAddr     netip.Addr
	Caller, Called             []byte // user part
	CallerDomain, CalledDomain []byte

	Agent   []byte // User-Agent or Server of this message
	Method  []byte // of the request that began the call
	Status  uint16 // of a response to that, 0: this is none
	Outcome record.Outcome

	Message *sip.Message // its headers are looked at; nil: not known
}

// SubjectOf fills in what a message tells by itself, taken for one of the
// caller's requests or the answer to one. For a later request of the called party
// the owner of the call knows better, and sets Caller and Called.
func SubjectOf(m *sip.Message, src, dst netip.Addr) Subject {
	x := Subject{
		Iface: -1, VLAN: -1, CallerAddr: src, CalledAddr: dst,
		Caller: m.Get(m.From.User), Called: m.Get(m.To.User),
		CallerDomain: m.Get(m.From.Host), CalledDomain: m.Get(m.To.Host),
		Agent: m.Get(m.UserAgent), Method: m.Get(m.CSeqMethod), Message: m,
	}
	if len(x.Agent) == 0 {
		x.Agent = m.Get(m.Server)
	}
	if m.Response {
		x.CallerAddr, x.CalledAddr = dst, src
		if begins(m.Method) {
			x.Status = m.Status
		}
	}
	if !begins(m.Method) {
		x.Method = nil
	}
	return x
}

// begins says whether a request of this method begins a call or an exchange.
func begins(m sip.Method) bool {
	switch m {
	case sip.ACK, sip.BYE, sip.CANCEL, sip.PRACK, sip.UPDATE, sip.INFO, sip.REFER, sip.NOTIFY:
		return false
	}
	return true
}
