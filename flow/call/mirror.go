package call

import "ringside/flow/sip"

// oneDirection reports whether only one direction of the signalling was
// captured: no host of the call both sent and received messages, though one of
// them implies another the other way:
//
//   - a response, the request that it answers; but where the call begins with a
//     response, those to the same request do not, since the capture may have
//     begun in between;
//   - the ACK of an INVITE that was captured, its final response;
//   - any other request inside a dialog, the response that made the dialog, if
//     the first INVITE was captured, or the ACK to a 2xx that was.
//
// An INVITE that nobody answers implies nothing, however often it is sent.
func (c *call) oneDirection() bool {
	return len(c.messages) > 1 && !c.crosses() && c.implies()
}

// crosses reports whether a host both sent and received.
func (c *call) crosses() bool {
	var sent, received uint64 // hosts, by the index of their first endpoint
	for i := range c.messages {
		m := &c.messages[i]
		if m.src == noEndpoint || m.dst == noEndpoint {
			return true // too many to tell
		}
		sent |= 1 << c.host(m.src)
		received |= 1 << c.host(m.dst)
		if sent&received != 0 {
			return true
		}
	}
	return false
}

// host is the first endpoint with the address of endpoint i.
func (c *call) host(i uint8) uint8 {
	at := c.endpoints[i].Addr
	for n := range c.endpoints[:i] {
		if c.endpoints[n].Addr == at {
			return uint8(n)
		}
	}
	return i
}

// implies reports whether one of the messages implies another that was not
// captured, none having gone the other way.
func (c *call) implies() bool {
	first, accepted := &c.messages[0], false
	for i := range c.messages {
		m := &c.messages[i]
		switch {
		case m.status != 0:
			if first.status == 0 || m.method != first.method || m.cseq != first.cseq {
				return true
			}
			accepted = accepted || m.method == sip.INVITE && m.status/100 == 2
		case m.method == sip.ACK && c.has(sip.INVITE, m.cseq):
			return true
		case m.flags&inDialog != 0 && m.method != sip.ACK && (accepted || !c.noInvite):
			return true
		}
	}
	return false
}

// has reports whether a request was captured.
func (c *call) has(method sip.Method, cseq uint32) bool {
	for i := range c.messages {
		if m := &c.messages[i]; m.status == 0 && m.method == method && m.cseq == cseq {
			return true
		}
	}
	return false
}
