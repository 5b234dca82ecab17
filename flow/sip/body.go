package sip

import "bytes"

// SDP is the first session description in the body, borrowed from m.Buf, or
// nil. A body without a Content-Type is one if it begins as one.
func (m *Message) SDP() (sdp []byte) {
	m.EachBody(func(contentType, body []byte) bool {
		if IsSDP(contentType) || len(contentType) == 0 && bytes.HasPrefix(body, []byte("v=0")) {
			sdp = body
		}
		return sdp == nil
	})
	return sdp
}

// IsSDP reports whether the Content-Type is application/sdp, in any case and
// with any parameters.
func IsSDP(contentType []byte) bool {
	return equalFold(mediaType(contentType), "application/sdp")
}

// EachBody calls f with the Content-Type and bytes of the body, or of each part
// of a multipart body (RFC 2046 section 5.1; RFC 5621), down to parts of parts,
// until f returns false. Both are borrowed; a Content-Type that is not there is
// empty. A multipart body without its boundary is one body.
func (m *Message) EachBody(f func(contentType, body []byte) bool) {
	if m.Body.IsZero() {
		return
	}
	eachPart(m.Get(m.ContentType), m.Get(m.Body), 2, f)
}

// eachPart walks the parts of body, at most depth multiparts deep, and reports
// whether to go on.
func eachPart(contentType, body []byte, depth int, f func(contentType, body []byte) bool) bool {
	boundary := boundaryOf(contentType)
	if depth == 0 || len(boundary) == 0 {
		return f(contentType, body)
	}
	_, next, last := delimiter(body, boundary)
	if next < 0 {
		return f(contentType, body)
	}
	for !last {
		body = body[next:]
		var end int
		end, next, last = delimiter(body, boundary)
		if next < 0 { // the last delimiter is cut off
			end, last = len(body), true
		}
		partType, part := splitPart(body[:end])
		if len(part) > 0 && !eachPart(partType, part, depth-1, f) {
			return false
		}
	}
	return true
}

// delimiter finds the next line "--boundary" of body: the text before it ends at
// end, what follows it begins at next (-1: there is none); last tells "--boundary--".
func delimiter(body, boundary []byte) (end, next int, last bool) {
	for pos := 0; ; {
		i := bytes.Index(body[pos:], boundary)
		if i < 0 {
			return 0, -1, false
		}
		i += pos
		pos = i + len(boundary)
		start := i - 2
		if start < 0 || string(body[start:i]) != "--" || start > 0 && body[start-1] != '\n' {
			continue
		}
		last = bytes.HasPrefix(body[pos:], []byte("--"))
		eol := bytes.IndexByte(body[pos:], '\n')
		if eol < 0 {
			eol = len(body) - pos - 1
			last = true
		}
		if rest := body[pos : pos+eol+1]; !last && skipBlank(rest, 0, len(rest)) < len(rest) {
			continue // a longer boundary that begins like ours
		}
		return lineEnd(body, start), pos + eol + 1, last
	}
}

// lineEnd is where the line before start ends: the line end belongs to the
// delimiter (RFC 2046 section 5.1.1).
func lineEnd(b []byte, start int) int {
	if start > 0 && b[start-1] == '\n' {
		start--
		if start > 0 && b[start-1] == '\r' {
			start--
		}
	}
	return start
}

// splitPart separates a part's own header section from its content.
func splitPart(b []byte) (contentType, body []byte) {
	pos := 0
	for {
		h := nextField(b, pos)
		switch {
		case h.isEnd():
			return contentType, b[h.next:]
		case h.next < 0:
			return contentType, nil
		case h.nameEnd > pos && headerOf(b[pos:h.nameEnd]) == hContentType:
			contentType = b[h.lo:h.hi]
		}
		pos = h.next
	}
}

// boundaryOf is the boundary of a multipart Content-Type, empty for others.
func boundaryOf(contentType []byte) []byte {
	t := mediaType(contentType)
	if len(t) < len("multipart/") || !equalFold(t[:len("multipart/")], "multipart/") {
		return nil
	}
	return param(contentType, len(t), len(contentType), "boundary").of(contentType)
}

// mediaType is a Content-Type without its parameters.
func mediaType(contentType []byte) []byte {
	end := cut(contentType, 0, len(contentType), ';', ';')
	return contentType[:trimRight(contentType, 0, end)]
}
