package call

import (
	"bytes"

	"ringside/flow/sip"
)

// links keeps what an INVITE, or a response to it, says of other calls. The
// first value of each counts; of Session-ID the first with both UUIDs, because
// an INVITE does not know that of its peer yet (RFC 7989 section 6).
func (t *Table) links(c *call, m *sip.Message) {
	if !m.SessionID.IsZero() && c.sessionID[1].len == 0 {
		c.keepSessionIDs(m)
	}
	if m.Response && m.Status/100 != 2 {
		return
	}
	if !m.XCallID.IsZero() && c.xCallID.len == 0 {
		c.xCallID = c.keep(m.Get(m.XCallID))
	}
	if !m.ChargingVector.IsZero() && c.icid.len == 0 {
		c.icid = c.keep(m.ICID())
	}
	if !m.Replaces.IsZero() && c.replacing.len == 0 {
		c.replacing = c.keepMax(m.ReplacesCallID(), maxCallID)
	}
	if t.options.LinkHeader != "" && c.linkHeader.len == 0 {
		m.EachHeader(func(name, value []byte) bool {
			if len(name) != len(t.options.LinkHeader) || !bytes.EqualFold(name, []byte(t.options.LinkHeader)) {
				return true
			}
			c.linkHeader = c.keep(value)
			return false
		})
	}
}

// keepSessionIDs keeps the UUIDs of Session-ID, the lesser first.
func (c *call) keepSessionIDs(m *sip.Message) {
	var low, high [32]byte
	local, remote := m.SessionIDs()
	one, both := lower(&low, local), lower(&high, remote)
	if !one {
		low, one, both = high, both, false
	}
	if !one || !both && c.sessionID[0].len != 0 {
		return
	}
	switch order := bytes.Compare(low[:], high[:]); {
	case !both || order == 0:
		c.sessionID = [2]text{c.keep(low[:])}
	case order < 0:
		c.sessionID = [2]text{c.keep(low[:]), c.keep(high[:])}
	default:
		c.sessionID = [2]text{c.keep(high[:]), c.keep(low[:])}
	}
}

// lower copies a UUID in lower case; false if there is none.
func lower(to *[32]byte, uuid []byte) bool {
	for i := range uuid {
		to[i] = uuid[i]
		if to[i] >= 'A' && to[i] <= 'F' {
			to[i] |= 0x20
		}
	}
	return len(uuid) > 0
}

// sessionIDs is the session identifier of the record: both UUIDs with a
// semicolon between them, or the only one that is known.
func (c *call) sessionIDs() string {
	s := c.string(c.sessionID[0])
	if c.sessionID[1].len != 0 {
		s += ";" + c.string(c.sessionID[1])
	}
	return s
}
