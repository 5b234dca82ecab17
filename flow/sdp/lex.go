package sdp

import (
	"bytes"
	"encoding/binary"

	"ringside/dataplane/frame"
)

func isBlank(c byte) bool { return c == ' ' || c == '\t' || c == '\r' }

// trim is b without the blanks around it.
func trim(b []byte) []byte {
	for len(b) > 0 && isBlank(b[0]) {
		b = b[1:]
	}
	for len(b) > 0 && isBlank(b[len(b)-1]) {
		b = b[:len(b)-1]
	}
	return b
}

// word takes the first word off b, which has no blanks around it; neither has
// the rest.
func word(b []byte) (w, rest []byte) {
	i := 0
	for i < len(b) && !isBlank(b[i]) {
		i++
	}
	w, rest = b[:i:i], b[i:]
	for len(rest) > 0 && isBlank(rest[0]) {
		rest = rest[1:]
	}
	return w, rest
}

// lastWord takes the last word off b.
func lastWord(b []byte) (rest, w []byte) {
	i := len(b)
	for i > 0 && !isBlank(b[i-1]) {
		i--
	}
	w, rest = b[i:], b[:i]
	for len(rest) > 0 && isBlank(rest[len(rest)-1]) {
		rest = rest[:len(rest)-1]
	}
	return rest, w
}

// cutByte splits b around the first c.
func cutByte(b []byte, c byte) (before, after []byte) {
	if i := bytes.IndexByte(b, c); i >= 0 {
		return b[:i], b[i+1:]
	}
	return b, nil
}

// number takes the number of at most limit off the beginning of b, and the
// blanks behind it.
func number(b []byte, limit uint32) (n uint32, rest []byte, ok bool) {
	i := 0
	var v uint64
	for i < len(b) && b[i] >= '0' && b[i] <= '9' {
		if v = v*10 + uint64(b[i]-'0'); v > uint64(limit) {
			return 0, nil, false
		}
		i++
	}
	rest = b[i:]
	for len(rest) > 0 && isBlank(rest[0]) {
		rest = rest[1:]
	}
	return uint32(v), rest, i > 0
}

// parseAddr reads an IPv4 or IPv6 address, whatever the line calls it. Brackets
// and a zone are taken off.
func parseAddr(b []byte) (frame.Addr, bool) {
	if len(b) > 2 && b[0] == '[' && b[len(b)-1] == ']' {
		b = b[1 : len(b)-1]
	}
	if bytes.IndexByte(b, ':') < 0 {
		ip, ok := parseIPv4(b)
		if !ok {
			return frame.Addr{}, false
		}
		return frame.AddrFrom4(ip[:]), true
	}
	b, _ = cutByte(b, '%')
	return parseIPv6(b)
}

// parseIPv4 reads four decimal numbers; leading zeros do not make them octal.
func parseIPv4(b []byte) (ip [4]byte, ok bool) {
	field, digits, v := 0, 0, 0
	for _, c := range b {
		switch {
		case c >= '0' && c <= '9':
			digits++
			v = v*10 + int(c-'0')
			if digits > 3 || v > 255 {
				return [4]byte{}, false
			}
			ip[field] = byte(v)
		case c == '.' && digits > 0 && field < 3:
			field, digits, v = field+1, 0, 0
		default:
			return [4]byte{}, false
		}
	}
	if field != 3 || digits == 0 {
		return [4]byte{}, false
	}
	return ip, true
}

// parseIPv6 reads the text form of RFC 4291 section 2.2.
func parseIPv6(b []byte) (frame.Addr, bool) {
	var ip [16]byte
	n, gap := 0, -1 // bytes read; where "::" stands
	if bytes.HasPrefix(b, []byte("::")) {
		gap, b = 0, b[2:]
	}
	for len(b) > 0 {
		if n == 16 {
			return frame.Addr{}, false
		}
		if v4, ok := parseIPv4(b); ok && n <= 12 && (n == 12 || gap >= 0) {
			copy(ip[n:], v4[:])
			n, b = n+4, nil
			break
		}
		v, digits := hex(b)
		if digits == 0 {
			return frame.Addr{}, false
		}
		binary.BigEndian.PutUint16(ip[n:], v)
		n, b = n+2, b[digits:]
		if len(b) == 0 {
			break
		}
		if len(b) < 2 || b[0] != ':' {
			return frame.Addr{}, false
		}
		b = b[1:]
		if b[0] == ':' {
			if gap >= 0 {
				return frame.Addr{}, false
			}
			gap, b = n, b[1:]
		}
	}
	if gap < 0 && n != 16 || gap >= 0 && n == 16 {
		return frame.Addr{}, false
	}
	if gap >= 0 {
		tail := n - gap
		copy(ip[16-tail:], ip[gap:n])
		clear(ip[gap : 16-tail])
	}
	return frame.AddrFrom16(ip[:]), true
}

// hex reads a number of one to four hexadecimal digits.
func hex(b []byte) (v uint16, digits int) {
	for digits < len(b) {
		c := b[digits] | 0x20
		var d byte
		switch {
		case b[digits] >= '0' && b[digits] <= '9':
			d = b[digits] - '0'
		case c >= 'a' && c <= 'f':
			d = c - 'a' + 10
		default:
			return v, digits
		}
		if digits++; digits > 4 {
			return 0, 0
		}
		v = v<<4 | uint16(d)
	}
	return v, digits
}
