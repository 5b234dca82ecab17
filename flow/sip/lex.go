package sip

import "bytes"

// Classes of bytes, as bits of class.
const (
	cToken    uint8 = 1 << iota // token (RFC 3261 section 25.1)
	cBlank                      // linear white space; within a value, CR and LF are part of a fold
	cDigit                      // 0 to 9
	cAlpha                      // ASCII letters
	cNameEnd                    // ends the name of a parameter
	cValueEnd                   // ends the token that a parameter has as value
	cHostEnd                    // ends the host in a URI
	cUserEnd                    // ends user name or number in a URI
)

var class = func() (t [256]uint8) {
	set := func(bit uint8, chars string) {
		for _, c := range []byte(chars) {
			t[c] |= bit
		}
	}
	const (
		blank = " \t\r\n"
		digit = "0123456789"
		alpha = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	)
	set(cToken, alpha+digit+"-.!%*_+`'~")
	set(cBlank, blank)
	set(cDigit, digit)
	set(cAlpha, alpha)
	set(cNameEnd, blank+"=;,")
	set(cValueEnd, blank+";,>")
	set(cHostEnd, blank+";?/>:@")
	set(cUserEnd, ":;@")
	return t
}()

func is(c, bits uint8) bool { return class[c]&bits != 0 }

func isDigit(c byte) bool { return is(c, cDigit) }

// until is the first place in [lo,hi) that holds a byte of the classes, or hi.
func until(b []byte, lo, hi int, classes uint8) int {
	if lo < hi {
		for i, c := range b[lo:hi] {
			if class[c]&classes != 0 {
				return lo + i
			}
		}
		return hi
	}
	return lo
}

// during is the first place in [lo,hi) that holds no byte of the classes, or hi.
func during(b []byte, lo, hi int, classes uint8) int {
	for lo < hi && class[b[lo]]&classes != 0 {
		lo++
	}
	return lo
}

// span is [lo,hi) as a Span.
func span(lo, hi int) Span {
	if hi <= lo {
		return Span{}
	}
	return Span{uint32(lo), uint32(hi - lo)}
}

// of is the bytes of s in b.
func (s Span) of(b []byte) []byte {
	end := s.Off + s.Len
	return b[s.Off:end:end]
}

// skipBlank is the first place in [lo,hi) that holds no blank, or hi or more.
func skipBlank(b []byte, lo, hi int) int {
	return during(b, lo, hi, cBlank)
}

// trimRight is the end of [lo,hi) without the blanks at its end.
func trimRight(b []byte, lo, hi int) int {
	for hi > lo && class[b[hi-1]]&cBlank != 0 {
		hi--
	}
	return hi
}

// number is the number that [lo,hi) begins with, or -1. What exceeds 60 bits
// becomes 1<<60.
func number(b []byte, lo, hi int) int64 {
	if lo >= hi || !isDigit(b[lo]) {
		return -1
	}
	var n int64
	for ; lo < hi && isDigit(b[lo]); lo++ {
		if n = n*10 + int64(b[lo]-'0'); n > 1<<56 {
			return 1 << 60
		}
	}
	return n
}

// quoteEnd is where the quoted string that begins at b[lo] has its closing
// quote, or hi.
func quoteEnd(b []byte, lo, hi int) int {
	for lo++; lo < hi; lo++ {
		switch b[lo] {
		case '\\':
			lo++
		case '"':
			return lo
		}
	}
	return hi
}

// valueEnd is the end of the value at b[lo] in a list: a comma outside quotes
// and angle brackets, or hi.
func valueEnd(b []byte, lo, hi int) int {
	if bytes.IndexByte(b[lo:hi], ',') < 0 {
		return hi
	}
	unclosed := false // so that a run of '<' is not searched again for each
	for ; lo < hi; lo++ {
		switch b[lo] {
		case ',':
			return lo
		case '"':
			lo = quoteEnd(b, lo, hi)
		case '<':
			if unclosed {
				break
			}
			if end := bytes.IndexByte(b[lo:hi], '>'); end > 0 {
				lo += end
			} else {
				unclosed = true
			}
		}
	}
	return hi
}

// param is the value of the parameter called name (in lower case) in [lo,hi), a
// run of ";name=value" with blanks anywhere; a quoted value without its quotes.
func param(b []byte, lo, hi int, name string) Span {
	for lo < hi {
		start := lo
		lo = until(b, lo, hi, cNameEnd)
		nameEnd := lo
		lo = skipBlank(b, lo, hi)
		if lo >= hi {
			break
		}
		if b[lo] != '=' {
			if b[lo] == ';' || b[lo] == ',' {
				lo++
			}
			lo = skipBlank(b, lo, hi)
			continue
		}
		lo = skipBlank(b, lo+1, hi)
		v, end := paramValue(b, lo, hi)
		if equalFold(b[start:nameEnd], name) {
			return v
		}
		lo = end
	}
	return Span{}
}

// paramValue is the token or quoted string at b[lo], and where it ends.
func paramValue(b []byte, lo, hi int) (Span, int) {
	if lo < hi && b[lo] == '"' {
		end := quoteEnd(b, lo, hi)
		return span(lo+1, end), min(end+1, hi)
	}
	end := until(b, lo, hi, cValueEnd)
	if end == lo && lo < hi && b[lo] == '>' {
		return Span{}, lo + 1
	}
	return span(lo, end), end
}

// authParam is the value of the parameter called name of credentials, which are
// a scheme and a comma-separated list (RFC 3261 section 20.7).
func authParam(b []byte, lo, hi int, name string) Span {
	lo = until(b, lo, hi, cBlank)
	return param(b, skipBlank(b, lo, hi), hi, name)
}
