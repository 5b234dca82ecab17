package sip

import "bytes"

// AddressAt reads the first name-addr or addr-spec at s, which is (part of) a
// header field's value in m.Buf, such as ReferTo.
func (m *Message) AddressAt(s Span) (a Address) {
	a.parseFirst(m.Buf, int(s.Off), int(s.Off+s.Len))
	return a
}

// parse reads the name-addr or addr-spec in [lo,hi) with its tag (RFC 3261
// section 20.10). There is but one, so a comma stands for itself: devices leave
// the quotes out around "Bell, Alexander".
func (a *Address) parse(b []byte, lo, hi int) {
	end, uriParams := a.nameAddr(b, lo, hi)
	a.Tag = param(b, end, hi, "tag")
	if a.Tag.IsZero() && uriParams < end {
		a.Tag = param(b, uriParams, end, "tag")
	}
}

// parseFirst reads the first address of the list in [lo,hi), without a tag.
func (a *Address) parseFirst(b []byte, lo, hi int) {
	*a = Address{}
	end := valueEnd(b, lo, hi)
	if end < hi && bytes.IndexByte(b[lo:end], ':') < 0 {
		end = hi // no URI before the comma: a display name that wants quotes
	}
	a.nameAddr(b, lo, trimRight(b, lo, end))
}

// nameAddr reads display name and URI in [lo,hi). It returns where the header's
// parameters begin, and the URI's own.
func (a *Address) nameAddr(b []byte, lo, hi int) (params, uriParams int) {
	lo = skipBlank(b, lo, hi)
	name := lo // where a display name begins that is no quoted string
	if lo < hi && b[lo] == '"' {
		name++ // nor one that ends
		if end := quoteEnd(b, lo, hi); end < hi {
			a.Display = span(name, end)
			name, lo = hi, end+1
		}
	}
	open := bytes.IndexByte(b[lo:hi], '<')
	if open < 0 {
		lo = skipBlank(b, lo, hi)
		end := lo
		for end < hi && b[end] != ';' && !is(b[end], cBlank) {
			end++
		}
		a.uri(b, lo, end)
		return end, end
	}
	open += lo
	if name < open {
		a.Display = span(name, trimRight(b, name, open))
	}
	end, next := hi, hi
	if n := bytes.IndexByte(b[open:hi], '>'); n > 0 {
		end = open + n
		next = end + 1
	}
	lo = skipBlank(b, open+1, end)
	return next, a.uri(b, lo, trimRight(b, lo, end))
}

// uri reads the URI in [lo,hi) and returns where its parameters begin. It knows
// the form scheme:user:password@host:port, the number of a tel URI (RFC 3966),
// and leaves other schemes alone.
func (a *Address) uri(b []byte, lo, hi int) int {
	a.URI = span(lo, hi)
	scheme := schemeEnd(b, lo, hi)
	if scheme >= 0 {
		a.Scheme = span(lo, scheme)
		lo = scheme + 1
	}
	user := until(b, lo, hi, cUserEnd)
	at := user
	if user < hi && b[user] != '@' { // password or parameters of the user, or no user at all
		at = lo + bytes.IndexByte(b[lo:hi], '@')
	}
	if at >= lo && at < hi {
		a.User = span(lo, user)
		return a.hostPort(b, at+1, hi)
	}
	switch {
	case a.Scheme.IsZero() || isSIP(a.Scheme.of(b)):
		return a.hostPort(b, lo, hi)
	case equalFold(a.Scheme.of(b), "tel"):
		a.User = span(lo, user)
		return user
	}
	return hi
}

func isSIP(scheme []byte) bool {
	return equalFold(scheme, "sip") || equalFold(scheme, "sips")
}

// hostPort reads host and port at b[lo] and returns where they end.
func (a *Address) hostPort(b []byte, lo, hi int) int {
	if lo < hi && b[lo] == '[' {
		return a.bracketed(b, lo+1, hi)
	}
	host := until(b, lo, hi, cHostEnd)
	end := host
	if host < hi && b[host] == ':' {
		end = until(b, host+1, hi, cHostEnd)
	}
	if end < hi && (b[end] == ':' || b[end] == '@') {
		return a.oddHost(b, lo, end, hi)
	}
	a.Host = span(lo, host)
	if host < end {
		a.Port = port(b, host+1, end)
	}
	return end
}

// bracketed reads an IPv6 address in brackets, the first of which stands before
// lo, and the port.
func (a *Address) bracketed(b []byte, lo, hi int) int {
	end := lo
	for end < hi && (b[end] == ':' || !is(b[end], cHostEnd)) {
		end++
	}
	n := bytes.IndexByte(b[lo:end], ']')
	if n < 0 {
		a.Host = span(lo, end) // no telling which colon is the port's
		return end
	}
	a.Host = span(lo, lo+n)
	if p := lo + n + 1; p < end && b[p] == ':' {
		a.Port = port(b, p+1, end)
	}
	return end
}

// oddHost reads a host that is an IPv6 address without its brackets, or that has
// another one before it ("user@domain@proxy"); b[i] gave it away.
func (a *Address) oddHost(b []byte, lo, i, hi int) int {
	end := i
	for end < hi && (b[end] == ':' || b[end] == '@' || !is(b[end], cHostEnd)) {
		end++
	}
	if at := bytes.LastIndexByte(b[lo:end], '@'); at >= 0 {
		return a.hostPort(b, lo+at+1, hi)
	}
	a.Host = span(lo, end)
	return end
}

// port is the port number in [lo,hi), 0 if it is none.
func port(b []byte, lo, hi int) uint16 {
	n := number(b, lo, hi)
	if n < 0 || n > 65535 {
		return 0
	}
	return uint16(n)
}

// schemeEnd is where the colon of the scheme that [lo,hi) begins with stands, or
// -1 (RFC 3986 section 3.1).
func schemeEnd(b []byte, lo, hi int) int {
	if hi-lo >= 4 && b[lo+3] == ':' && b[lo]|0x20 == 's' && b[lo+1]|0x20 == 'i' && b[lo+2]|0x20 == 'p' {
		return lo + 3 // nearly always
	}
	if lo >= hi || !is(b[lo], cAlpha) {
		return -1
	}
	for i := lo + 1; i < hi; i++ {
		switch c := b[i]; {
		case c == ':':
			return i
		case is(c, cAlpha|cDigit), c == '+', c == '-', c == '.':
		default:
			return -1
		}
	}
	return -1
}

// cut is where the first c or d of [lo,hi) stands, or hi.
func cut(b []byte, lo, hi int, c, d byte) int {
	for lo < hi && b[lo] != c && b[lo] != d {
		lo++
	}
	return lo
}
