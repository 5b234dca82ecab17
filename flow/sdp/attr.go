package sdp

import "bytes"

// attribute reads an a= line of the description cur, or of the session if nil.
// It reports false for a line that it knows but cannot read.
func (s *Session) attribute(cur *Media, v []byte) bool {
	m := cur
	if m == nil {
		m = &s.defaults
	}
	name, value := v, []byte(nil)
	if i := bytes.IndexByte(v, ':'); i >= 0 {
		name, value = trim(v[:i]), trim(v[i+1:])
	}
	switch string(name) {
	case "":
		return false
	case "sendrecv":
		s.direction(cur, SendRecv)
	case "sendonly":
		s.direction(cur, SendOnly)
	case "recvonly":
		s.direction(cur, RecvOnly)
	case "inactive":
		s.direction(cur, Inactive)
	case "rtpmap":
		return m.rtpmap(value)
	case "fmtp":
		return m.fmtp(value)
	case "ptime":
		return millis(value, &m.Ptime)
	case "maxptime":
		return millis(value, &m.MaxPtime)
	case "rtcp":
		return m.rtcp(value)
	case "rtcp-mux":
		m.RTCPMux = true
	case "setup":
		m.Setup = true
	case "fingerprint":
		m.Fingerprint = true
	case "ice-ufrag":
		m.ICE = true
	case "crypto":
		return m.addCrypto(value)
	case "candidate":
		return m.addCandidate(value)
	default:
		if len(name) > 3 && name[0]|0x20 == 't' && string(name[1:3]) == "38" {
			m.T38 = true // T38FaxVersion and others, ITU-T T.38 annex D
		}
	}
	return true
}

func (s *Session) direction(cur *Media, d Direction) {
	if cur != nil {
		cur.Direction = d
		return
	}
	s.Direction, s.defaults.Direction = d, d
}

// rtpmap reads "97 AMR/8000/2". It goes with every format of that number; one
// that the m= line does not name is no format.
func (m *Media) rtpmap(v []byte) bool {
	pt, v, ok := number(v, 127)
	encoding, _ := word(v)
	name, v := cutByte(encoding, '/')
	if !ok || len(name) == 0 {
		return false
	}
	rateText, v := cutByte(v, '/')
	rate, _, _ := number(rateText, 1<<31)
	channels, _, _ := number(v, 255)
	for i := range m.Formats() {
		if f := &m.formats[i]; uint32(f.PT) == pt {
			f.Name, f.Rate, f.Channels = name, rate, uint8(max(channels, 1))
		}
	}
	return true
}

// fmtp reads "101 0-15"; the first one of a format counts.
func (m *Media) fmtp(v []byte) bool {
	format, v := word(v)
	if len(format) == 0 {
		return false
	}
	want := formatOf(format)
	for i := range m.Formats() {
		f := &m.formats[i]
		if f.PT == want.PT && (f.PT != NoPT || bytes.Equal(f.Name, want.Name)) && len(f.Fmtp) == 0 {
			f.Fmtp = v
		}
	}
	return true
}

// millis reads a packet time in ms. Some write "20.0".
func millis(v []byte, ms *uint16) bool {
	n, _, ok := number(v, 65535)
	if ok {
		*ms = uint16(n)
	}
	return ok
}

// rtcp reads "53020" or "53020 IN IP4 126.16.64.4" (RFC 3605).
func (m *Media) rtcp(v []byte) bool {
	port, v, ok := number(v, 65535)
	if !ok {
		return false
	}
	m.RTCPPort = uint16(port)
	if c, _, ok := connOf(v); ok {
		m.RTCPConn = c
	}
	return true
}

// addCrypto reads "1 AES_CM_128_HMAC_SHA1_80 inline:…|2^20|1:32" (RFC 4568
// section 9.1).
func (m *Media) addCrypto(v []byte) bool {
	tag, v, ok := number(v, 1<<31)
	suite, v := word(v)
	key, _ := word(v)
	if !ok || len(key) == 0 {
		return false
	}
	if m.CryptoTotal < MaxCrypto {
		m.crypto[m.CryptoTotal] = Crypto{Tag: tag, Suite: suite, KeyParams: key}
	}
	m.CryptoTotal++
	return true
}

// addCandidate reads "1 1 UDP 2130706431 203.0.113.141 8998 typ host" (RFC 8839
// section 5.1); the TCP type and other extensions follow.
func (m *Media) addCandidate(v []byte) bool {
	_, v = word(v) // foundation
	component, v, ok1 := number(v, 255)
	transport, v := word(v)
	_, v = word(v) // priority
	host, v := word(v)
	port, v, ok2 := number(v, 65535)
	typ, v := word(v)
	kind, _ := word(v)
	if !ok1 || !ok2 || string(typ) != "typ" || len(kind) == 0 {
		return false
	}
	if m.CandidatesTotal < MaxCandidates {
		m.candidates[m.CandidatesTotal] = Candidate{
			Component: uint8(component),
			Type:      candidateTypeOf(kind),
			TCP:       len(transport) == 3 && transport[0]|0x20 == 't',
			Port:      uint16(port),
			Conn:      hostConn(host),
		}
	}
	m.CandidatesTotal++
	return true
}

func candidateTypeOf(b []byte) CandidateType {
	switch string(b) {
	case "host":
		return HostCandidate
	case "srflx":
		return ServerReflexive
	case "prflx":
		return PeerReflexive
	case "relay":
		return Relayed
	}
	return UnknownCandidate
}
