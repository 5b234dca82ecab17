package sip

import "bytes"

// SessionIDs are the UUIDs of Session-ID (RFC 7989 section 5), of the sender of
// the message and of its peer: 32 hexadecimal digits each, or empty where there
// is none, it is the null UUID, or something else.
func (m *Message) SessionIDs() (local, remote []byte) {
	v := m.Get(m.SessionID)
	end := until(v, 0, len(v), cNameEnd)
	return uuid(v[:end]), uuid(param(v, end, len(v), "remote").of(v))
}

// uuid is b if it is a UUID, and not the null one.
func uuid(b []byte) []byte {
	if len(b) != 32 {
		return nil
	}
	null := true
	for _, c := range b {
		if !isDigit(c) && (c|0x20 < 'a' || c|0x20 > 'f') {
			return nil
		}
		null = null && c == '0'
	}
	if null {
		return nil
	}
	return b
}

// ReplacesCallID is the Call-ID of the dialog that Replaces names (RFC 3891
// section 6.1).
func (m *Message) ReplacesCallID() []byte {
	v := m.Get(m.Replaces)
	if semi := bytes.IndexByte(v, ';'); semi >= 0 {
		v = v[:trimRight(v, 0, semi)]
	}
	return v
}

// ICID is the IMS charging identifier of P-Charging-Vector (RFC 7315 section
// 4.6), which all legs of a session share.
func (m *Message) ICID() []byte {
	v := m.Get(m.ChargingVector)
	return param(v, 0, len(v), "icid-value").of(v)
}
