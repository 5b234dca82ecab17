package traffic

import (
	"fmt"
	"net/netip"
	"strconv"

	"ringside/flow/record"
)

var reasons = map[uint16]string{
	100: "Trying", 180: "Ringing", 181: "Call Is Being Forwarded", 183: "Session Progress",
	200: "OK", 202: "Accepted", 302: "Moved Temporarily",
	401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 407: "Proxy Authentication Required",
	408: "Request Timeout", 480: "Temporarily Unavailable", 486: "Busy Here", 487: "Request Terminated",
	488: "Not Acceptable Here", 503: "Service Unavailable", 600: "Busy Everywhere", 603: "Decline",
}

// viaNames are the transports as Via names them.
var viaNames = map[record.Transport]string{record.UDP: "UDP", record.TCP: "TCP", record.WS: "WS", record.SCTP: "SCTP"}

const allowed = "INVITE, ACK, CANCEL, OPTIONS, BYE, REFER, NOTIFY, INFO, PRACK, UPDATE"

// render appends the message to b as it stands on its hop.
func (c *call) render(b []byte, m *msg) []byte {
	from, to := c.identity(m)
	b = c.startLine(b, m)
	b = c.vias(b, m)
	b = c.routes(b, m)
	if m.status == 0 {
		forwards := 70
		if m.copy {
			forwards--
		}
		b = append(b, "Max-Forwards: "...)
		b = strconv.AppendInt(b, int64(forwards), 10)
		b = append(b, "\r\n"...)
	}
	b = append(b, c.name("From", "f")...)
	b = append(b, from...)
	b = append(b, c.name("To", "t")...)
	b = append(b, to...)
	b = append(b, c.name("Call-ID", "i")...)
	b = append(b, c.callID...)
	b = append(b, "\r\nCSeq: "...)
	b = strconv.AppendUint(b, uint64(m.cseq), 10)
	b = append(b, ' ')
	b = append(b, m.method...)
	b = append(b, "\r\n"...)
	if m.status != 100 && !m.local {
		b = c.sender(b, m)
	}
	b = append(b, m.extra...)
	if c.pad > 0 && m.method == "INVITE" && m.status != 100 {
		b = c.padding(b, "X-Note-", ": ", c.pad/2)
	}
	return c.content(b, m)
}

// name is a header's name with its colon, compact in calls of that scenario.
func (c *call) name(long, short string) string {
	if c.compact {
		return short + ": "
	}
	return long + ": "
}

// padding appends lines that mean nothing, of at least size bytes in all.
func (c *call) padding(b []byte, name, sep string, size int) []byte {
	for i, end := 0, len(b)+size; len(b) < end; i++ {
		b = fmt.Appendf(b, "%s%d%s%016x %016x %016x\r\n", name, i, sep, mix(c.order), mix(uint64(i)), mix(c.order+uint64(i)))
	}
	return b
}

func (c *call) startLine(b []byte, m *msg) []byte {
	if m.status != 0 {
		b = append(b, "SIP/2.0 "...)
		b = strconv.AppendUint(b, uint64(m.status), 10)
		b = append(b, ' ')
		b = append(b, m.reason...)
		return append(b, "\r\n"...)
	}
	b = append(b, m.method...)
	b = append(b, ' ')
	to := &c.b[m.peer]
	if m.by == called {
		to = &c.a
	}
	switch {
	case m.tag >= 0 && !(m.method == "ACK" && c.failed(m)): // inside a dialog: the peer's Contact
		b = appendContact(b, to)
	case m.peer > 0: // the Contact of the 302
		b = appendContact(b, to)
	default:
		b = append(b, "sip:"...)
		b = append(b, to.number...)
		b = append(b, '@')
		b = append(b, to.domain...)
	}
	return append(b, " SIP/2.0\r\n"...)
}

// failed tells whether the ACK m belongs to a final response of 300 or above:
// it shares the transaction of its INVITE.
func (c *call) failed(m *msg) bool {
	for i := range c.msgs {
		if c.msgs[i].tx == m.tx && c.msgs[i].method == "INVITE" {
			return true
		}
	}
	return false
}

func appendContact(b []byte, p *party) []byte {
	b = append(b, "sip:"...)
	b = append(b, p.number...)
	b = append(b, '@')
	return p.sig.AppendTo(b)
}

// vias are those of a request on its hop; a response has the same ones.
func (c *call) vias(b []byte, m *msg) []byte {
	far := c.proxy.IsValid() && (m.by == caller) == (m.hop == 1) // beyond the proxy, seen from the sender
	if far {
		b = c.via(b, c.proxy, m, 1)
	}
	from := c.a.sig
	if m.by == called {
		from = c.b[m.peer].sig
	}
	return c.via(b, from, m, 0)
}

func (c *call) via(b []byte, at netip.AddrPort, m *msg, hop uint64) []byte {
	b = append(b, c.name("Via", "v")...)
	b = append(b, "SIP/2.0/"...)
	b = append(b, viaNames[c.transport]...)
	b = append(b, ' ')
	b = at.AppendTo(b)
	if c.folded {
		b = append(b, "\r\n "...)
	}
	b = append(b, ";branch=z9hG4bK"...)
	b = strconv.AppendUint(b, mix(c.order<<20+uint64(m.tx)<<1+hop), 36)
	b = append(b, ";rport"...)
	if m.status != 0 {
		b = append(b, '=')
		b = strconv.AppendUint(b, uint64(at.Port()), 10)
	}
	return append(b, "\r\n"...)
}

// routes keep the proxy on the way of the dialog (RFC 3261 section 16.6).
func (c *call) routes(b []byte, m *msg) []byte {
	if !c.proxy.IsValid() || m.local {
		return b
	}
	first := (m.by == caller) == (m.hop == 0)
	switch {
	case m.method == "INVITE" && m.status == 0 && m.tag < 0:
		if first {
			return b
		}
		b = append(b, "Record-Route: <sip:"...)
	case m.method == "INVITE" && m.status > 100 && m.status < 300:
		b = append(b, "Record-Route: <sip:"...)
	case m.status == 0 && m.tag >= 0 && first && !(m.method == "ACK" && c.failed(m)):
		b = append(b, "Route: <sip:"...)
	default:
		return b
	}
	b = c.proxy.AppendTo(b)
	return append(b, ";lr>\r\n"...)
}

// identity is the From and the To of m, each up to its CRLF.
func (c *call) identity(m *msg) (from, to []byte) {
	a, p := &c.a, &c.b[0]
	tag := ""
	if m.tag >= 0 {
		tag = c.tags[m.tag]
	}
	x := c.address(make([]byte, 0, 160), a, c.fromTag)
	y := c.address(make([]byte, 0, 160), p, tag)
	if m.by == called {
		return y, x
	}
	return x, y
}

func (c *call) address(b []byte, p *party, tag string) []byte {
	if p.display != "" {
		b = append(b, '"')
		b = append(b, p.display...)
		b = append(b, '"')
		if c.folded {
			b = append(b, "\r\n\t"...)
		} else {
			b = append(b, ' ')
		}
	}
	b = append(b, "<sip:"...)
	b = append(b, p.number...)
	b = append(b, '@')
	b = append(b, p.domain...)
	b = append(b, '>')
	if tag != "" {
		b = append(b, ";tag="...)
		b = append(b, tag...)
	}
	return append(b, "\r\n"...)
}

// sender appends what names the sender: Contact, Allow, User-Agent or Server.
func (c *call) sender(b []byte, m *msg) []byte {
	side := m.by
	if m.status != 0 {
		side = other(side)
	}
	p := &c.a
	if side == called {
		p = &c.b[m.peer]
	}
	dialog := m.method == "INVITE" || m.method == "UPDATE" || m.method == "REFER"
	if dialog && m.status < 300 {
		b = append(b, c.name("Contact", "m")...)
		b = append(b, '<')
		b = appendContact(b, p)
		b = append(b, ">\r\n"...)
		b = append(b, "Allow: "...)
		if c.folded {
			b = append(b, "INVITE, ACK, CANCEL,\r\n  OPTIONS, BYE,\r\n\tREFER, NOTIFY, INFO, PRACK, UPDATE"...)
		} else {
			b = append(b, allowed...)
		}
		b = append(b, "\r\n"...)
		if m.method == "INVITE" {
			b = append(b, c.name("Supported", "k")...)
			b = append(b, "replaces, timer, 100rel\r\n"...)
		}
	}
	if m.status != 0 && side == called {
		b = append(b, "Server: "...)
	} else {
		b = append(b, "User-Agent: "...)
	}
	b = append(b, p.agent...)
	return append(b, "\r\n"...)
}

// content appends Content-Type, Content-Length and the body.
func (c *call) content(b []byte, m *msg) []byte {
	ctype, body := m.ctype, []byte(m.body)
	if m.sdp != nil {
		ctype, body = "application/sdp", m.sdp.text
	}
	if len(body) > 0 {
		b = append(b, c.name("Content-Type", "c")...)
		b = append(b, ctype...)
		b = append(b, "\r\n"...)
	}
	b = append(b, c.name("Content-Length", "l")...)
	b = strconv.AppendInt(b, int64(len(body)), 10)
	b = append(b, "\r\n\r\n"...)
	return append(b, body...)
}
