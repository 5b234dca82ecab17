package sdp

import (
	"bytes"
	"errors"
)

// ErrNotSDP is returned for bytes in which no line could be read.
var ErrNotSDP = errors.New("parse SDP: no line of the form letter=value")

// Parse reads a session description. s borrows b.
func (s *Session) Parse(b []byte) error {
	s.reset()
	good := 0
	var cur *Media // the description that attributes belong to; nil: the session
	skip := false  // a description that is not kept
	for len(b) > 0 {
		var line []byte
		line, b = cutLine(b)
		if len(line) == 0 {
			continue
		}
		kind, value, ok := splitLine(line)
		switch {
		case !ok:
		case kind == 'm':
			cur, ok = s.mediaLine(value)
			skip = cur == nil
		case skip && (kind == 'a' || kind == 'c'):
		case kind == 'a':
			ok = s.attribute(cur, value)
		case kind == 'c':
			ok = s.connection(cur, value)
		case kind == 'o':
			ok = s.Origin.parse(value)
		}
		if ok {
			good++
		} else {
			s.Bad++
		}
	}
	if good == 0 {
		return ErrNotSDP
	}
	return nil
}

// reset empties s. Beyond the counts the arrays keep what they held, which saves
// clearing 20 KiB.
func (s *Session) reset() {
	s.Origin, s.Conn, s.Direction = Origin{}, Conn{}, SendRecv
	s.Total, s.Bad, s.n = 0, 0, 0
	s.defaults.reset(nil)
}

// reset empties m and lets it inherit what the session says for all its media.
func (m *Media) reset(from *Media) {
	m.Kind, m.Port, m.Ports, m.Proto = Other, 0, 1, nil
	m.Conn, m.ownConn = Conn{}, false
	m.Direction, m.Ptime, m.MaxPtime = SendRecv, 0, 0
	m.RTCPPort, m.RTCPConn, m.RTCPMux = 0, Conn{}, false
	m.Setup, m.Fingerprint, m.ICE, m.T38 = false, false, false, false
	m.FormatsTotal, m.CandidatesTotal, m.CryptoTotal = 0, 0, 0
	if from != nil {
		m.Conn, m.Direction = from.Conn, from.Direction
		m.Ptime, m.MaxPtime, m.RTCPMux = from.Ptime, from.MaxPtime, from.RTCPMux
		m.Setup, m.Fingerprint, m.ICE = from.Setup, from.Fingerprint, from.ICE
	}
}

// cutLine takes the first line off b, without its end and the blanks around it.
func cutLine(b []byte) (line, rest []byte) {
	end := bytes.IndexByte(b, '\n')
	if end < 0 {
		return trim(b), nil
	}
	return trim(b[:end]), b[end+1:]
}

// splitLine splits "x=value" with one of the letters of RFC 8866 section 5.
func splitLine(line []byte) (kind byte, value []byte, ok bool) {
	if len(line) < 2 {
		return 0, nil, false
	}
	kind, value = line[0], line[1:]
	if value[0] != '=' { // "m =audio" is seen
		value = trim(value)
	}
	if len(value) == 0 || value[0] != '=' {
		return 0, nil, false
	}
	switch kind {
	case 'v', 'o', 's', 'i', 'u', 'e', 'p', 'c', 'b', 't', 'r', 'z', 'k', 'a', 'm':
		return kind, trim(value[1:]), true
	}
	return 0, nil, false
}

// mediaLine reads "audio 49170/2 RTP/AVP 0 8 101" (RFC 8866 section 5.14). It
// returns nil if the description is not kept, for want of room. One that cannot
// be read is kept with port 0: offer and answer go together by place.
func (s *Session) mediaLine(v []byte) (*Media, bool) {
	kind, v := word(v)
	ports, v := word(v)
	proto, v := word(v)
	port, rest, ok := number(ports, 65535)
	ok = ok && len(proto) > 0
	s.Total++
	if s.n == MaxMedia {
		return nil, ok
	}
	m := &s.media[s.n]
	s.n++
	m.reset(&s.defaults)
	m.Kind, m.Proto = kindOf(kind), proto
	if ok {
		m.Port = uint16(port)
	}
	if len(rest) > 1 && rest[0] == '/' {
		if n, _, ok := number(rest[1:], 65535); ok && n > 0 {
			m.Ports = uint16(n)
		}
	}
	for len(v) > 0 {
		var f []byte
		f, v = word(v)
		if m.FormatsTotal < MaxFormats {
			m.formats[m.FormatsTotal] = formatOf(f)
		}
		m.FormatsTotal++
	}
	return m, ok
}

func formatOf(b []byte) Format {
	if n, rest, ok := number(b, 127); ok && len(rest) == 0 {
		return Format{PT: uint8(n), Channels: 1}
	}
	return Format{PT: NoPT, Channels: 1, Name: b}
}

func kindOf(b []byte) Kind {
	switch string(b) {
	case "audio":
		return Audio
	case "video":
		return Video
	case "image":
		return Image
	case "application":
		return Application
	case "message":
		return Message
	case "text":
		return Text
	}
	return Other
}

// connection reads a c= line of the description cur, or of the session. The
// first one counts: more are layers of a multicast (RFC 8866 section 5.7).
func (s *Session) connection(cur *Media, v []byte) bool {
	c, _, ok := connOf(v)
	switch {
	case !ok:
		return false
	case cur == nil:
		if s.Conn.Host == nil {
			s.Conn, s.defaults.Conn = c, c
		}
	case !cur.ownConn:
		cur.Conn, cur.ownConn = c, true
	}
	return true
}

// connOf reads "IN IP4 192.0.2.1/127" and returns what follows.
func connOf(v []byte) (c Conn, rest []byte, ok bool) {
	net, v := word(v)
	family, v := word(v)
	host, v := word(v)
	if len(net) == 0 || len(family) == 0 || len(host) == 0 {
		return Conn{}, nil, false
	}
	if i := bytes.IndexByte(host, '/'); i > 0 { // TTL, number of addresses
		host = host[:i]
	}
	return hostConn(host), v, true
}

// hostConn is an address, or a host name.
func hostConn(host []byte) Conn {
	a, ok := parseAddr(host)
	return Conn{Addr: a, OK: ok, Host: host}
}

// parse reads "jdoe 3724394400 3724394405 IN IP4 198.51.100.1" (RFC 8866 section
// 5.2). A user name with blanks in it is seen, so it is read from the end.
func (o *Origin) parse(v []byte) bool {
	var last [5][]byte // address, its type, network type, version, id
	rest := v
	for i := range last {
		rest, last[i] = lastWord(rest)
	}
	if len(last[4]) == 0 {
		return false
	}
	if o.ID == nil {
		*o = Origin{Username: rest, ID: last[4], Version: last[3], Host: last[0]}
	}
	return true
}
