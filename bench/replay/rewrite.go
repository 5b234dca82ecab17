package replay

import (
	"bytes"
	"encoding/binary"
)

// editKind is what an edit changes.
type editKind uint8

const (
	editAddress editKind = iota // an IPv4 address in a header
	editQuad                    // an IPv4 address in text
	editToken                   // a Call-ID, tag or branch
	editSSRC
)

// edit is a part of a frame that is other in every pass.
type edit struct {
	at, n uint16
	kind  editKind
}

// apply changes the part as it is in a pass, the first of which is 0.
func (e *edit) apply(f []byte, l *layout, loop uint64) {
	var room [64]byte
	w := room[:e.n]
	copy(w, f[e.at:])
	switch e.kind {
	case editAddress:
		moveAddress((*[4]byte)(w), loop)
	case editQuad:
		var a [4]byte
		if parseQuad(w, &a) { // it is none if it was in a token that was turned
			moveAddress(&a, loop)
			printQuad(w, a)
		}
	case editToken:
		turn(w, loop)
	case editSSRC:
		// Odd, so that different SSRCs stay different.
		binary.BigEndian.PutUint32(w, binary.BigEndian.Uint32(w)+uint32(loop)*0x9e3779b1)
	}
	l.replace(f, int(e.at), w)
}

// findEdits lists what of a frame changes with the pass.
func findEdits(f []byte, l *layout) []edit {
	if l.ip == 0 {
		return nil
	}
	var out []edit
	if from, _ := l.addresses(); !l.v6 {
		for _, at := range []int{from, from + 4} {
			if movable(f[at]) {
				out = append(out, edit{uint16(at), 4, editAddress})
			}
		}
	}
	if l.payload == 0 || l.end > 1<<16-1 {
		return out
	}
	p := f[l.payload:l.end]
	switch {
	case isText(p):
		out = textEdits(out, p, l.payload)
	case l.proto == protoUDP && len(p) >= 8 && p[0]>>6 == 2:
		out = mediaEdits(out, p, l.payload)
	}
	return out
}

// isText reports whether a payload is a SIP message, or a part of one.
func isText(p []byte) bool {
	return bytes.Contains(p, []byte("SIP/2.0")) || bytes.Contains(p, []byte("\nc=IN IP4 ")) || bytes.HasPrefix(p, []byte("v=0\r\n"))
}

// tokens are what precedes an identifier. Where lineStart is set, only at the begin of a line.
var tokens = []struct {
	before    string
	lineStart bool
}{
	{"call-id:", true},
	{"i:", true},
	{"replaces:", true},
	{"in-reply-to:", true},
	{"tag=", false}, // also from-tag and to-tag
	{"branch=z9hg4bk", false},
}

// longestToken is how much of a token is looked at, from its end.
const longestToken = 16

// textEdits finds identifiers and addresses in SIP.
func textEdits(out []edit, p []byte, base int) []edit {
	for i := 0; i < len(p); i++ {
		for _, t := range tokens {
			if p[i]|0x20 != t.before[0] || t.lineStart && i > 0 && p[i-1] != '\n' || !bytes.EqualFold(p[i:min(i+len(t.before), len(p))], []byte(t.before)) {
				continue
			}
			from := i + len(t.before)
			for from < len(p) && (p[from] == ' ' || p[from] == '\t') {
				from++
			}
			to := from
			for to < len(p) && isTokenByte(p[to]) {
				to++
			}
			from = max(from, to-longestToken)
			if to > from {
				out = append(out, edit{uint16(base + from), uint16(to - from), editToken})
			}
			break
		}
	}
	for i := 0; i < len(p); {
		if p[i] < '0' || p[i] > '9' {
			i++
			continue
		}
		to := i
		for to < len(p) && (p[to] == '.' || p[to] >= '0' && p[to] <= '9') {
			to++
		}
		var a [4]byte
		if (i == 0 || !isWordByte(p[i-1])) && parseQuad(p[i:to], &a) && movable(a[0]) {
			out = append(out, edit{uint16(base + i), uint16(to - i), editQuad})
		}
		i = to
	}
	return out
}

// isTokenByte reports whether a byte can be in the part of an identifier that is
// turned: what stands before the @ of a Call-ID, or before the next parameter.
func isTokenByte(c byte) bool {
	switch c {
	case '@', ';', ',', '>', '"', '\r', '\n', ' ', '\t', '?', '&':
		return false
	}
	return c > ' ' && c < 0x7f
}

// isWordByte reports whether a byte before digits makes them a part of a word.
func isWordByte(c byte) bool {
	return c == '.' || c == '-' || c == '_' || c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z'
}

// mediaEdits finds SSRCs in RTP and RTCP (RFC 3550 sections 5.1 and 6.4, RFC 3611).
func mediaEdits(out []edit, p []byte, base int) []edit {
	add := func(at, limit int) {
		if at+4 <= limit {
			out = append(out, edit{uint16(base + at), 4, editSSRC})
		}
	}
	if p[1] < 192 || p[1] > 223 {
		add(8, len(p))
		return out
	}
	for at := 0; at+8 <= len(p) && p[at]>>6 == 2; {
		n := int(p[at] & 31)
		end := min(at+4*(int(binary.BigEndian.Uint16(p[at+2:]))+1), len(p))
		switch p[at+1] {
		case 200, 201: // sender and receiver reports
			add(at+4, end)
			first := at + 8
			if p[at+1] == 200 {
				first = at + 28
			}
			for i := range n {
				add(first+24*i, end)
			}
		case 203: // goodbye
			for i := range n {
				add(at+4+4*i, end)
			}
		case 202: // descriptions: of the first chunk
			if n > 0 {
				add(at+4, end)
			}
		case 207: // extended reports
			add(at+4, end)
			for b := at + 8; b+8 <= end; {
				if t := p[b]; t != 4 && t != 5 { // all but the times have an SSRC
					add(b+4, end)
				}
				b += 4 * (int(binary.BigEndian.Uint16(p[b+2:])) + 1)
			}
		default:
			add(at+4, end)
		}
		at = end
	}
	return out
}

// movable reports whether an address may become another one, by its first
// octet: not 0.0.0.0, which means hold, nor loopback and multicast.
func movable(first byte) bool { return first != 0 && first != 127 && first < 224 }

// moveAddress makes another address of a, with as many digits in each octet. The
// first octet stays; two addresses never become one; a thousand passes differ.
func moveAddress(a *[4]byte, loop uint64) {
	if !movable(a[0]) {
		return
	}
	for i := 1; i < 4; i++ {
		base, size := byte(0), uint64(10)
		switch {
		case a[i] >= 100:
			base, size = 100, 156
		case a[i] >= 10:
			base, size = 10, 90
		}
		a[i] = base + byte((uint64(a[i]-base)+loop%size)%size)
		loop /= size
	}
}

// turn moves each letter and digit of a token on by a step that follows from
// the pass, so that it stays what it is: digit, lower or upper case. The steps are
// far apart, so that one call does not become the next one of the capture: that
// takes identifiers of six letters and digits or more.
func turn(w []byte, loop uint64) {
	steps := loop * 0x9e3779b97f4a7c15
	for i := len(w) - 1; i >= 0; i-- {
		base, size := byte(0), uint64(26)
		switch c := w[i]; {
		case c >= '0' && c <= '9':
			base, size = '0', 10
		case c >= 'a' && c <= 'z':
			base = 'a'
		case c >= 'A' && c <= 'Z':
			base = 'A'
		default:
			continue
		}
		w[i] = base + byte((uint64(w[i]-base)+steps%size)%size)
		steps /= size
	}
}

// parseQuad reads an address in text, if w is one and nothing else.
func parseQuad(w []byte, a *[4]byte) bool {
	part, digits, v := 0, 0, 0
	for i := 0; i <= len(w); i++ {
		if i < len(w) && w[i] != '.' {
			if digits == 1 && v == 0 { // 01 is no octet
				return false
			}
			v = v*10 + int(w[i]-'0')
			if digits++; digits > 3 {
				return false
			}
			continue
		}
		if digits == 0 || v > 255 || part > 3 {
			return false
		}
		a[part] = byte(v)
		part, digits, v = part+1, 0, 0
	}
	return part == 4
}

// printQuad writes an address into w, which it fills.
func printQuad(w []byte, a [4]byte) {
	i := len(w)
	for part := 3; part >= 0; part-- {
		v := a[part]
		for {
			i--
			w[i] = '0' + v%10
			if v /= 10; v == 0 {
				break
			}
		}
		if part > 0 {
			i--
			w[i] = '.'
		}
	}
}
