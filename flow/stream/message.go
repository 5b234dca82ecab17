package stream

import (
	"bytes"

	"ringside/flow/sip"
)

// Where messages end (RFC 3261 sections 18.3 and 20.14).
//
// A message is its header section and the body that Content-Length names. What
// senders get wrong:
//
//   - No Content-Length: the body goes on to the next start line, or to the end
//     of the segment.
//   - Content-Length too small: what is left of the body is passed over, up to
//     the next start line.
//   - Content-Length too great: the message takes what follows, unless a segment
//     begins with another message; then it ends there, and is Cut. A body that
//     may hold a message is taken as long as it says.
//   - Content-Length beyond MaxMessage: the message is emitted without body, Cut,
//     and the next start line is looked for.
//
// Line ends and zeros between messages are keep-alives.

const (
	maxLine    = 4 << 10   // longest start line that comes in several segments
	maxGarbage = 256 << 10 // between messages; with more, a flow is no SIP
)

// messages reads the next bytes of a direction of SIP.
func (t *Table) messages(h *half, b []byte) {
	if h.skip > 0 {
		n := min(h.skip, len(b))
		h.skip -= n
		if b = b[n:]; len(b) == 0 {
			return
		}
	}
	if h.need > 0 && b[0] > ' ' && sip.Looks(b) && t.whole(b) && !t.embeds(h.buf) {
		t.finish(h)
	}
	if len(h.buf) == 0 {
		if n := t.split(h, b); n < len(b) {
			h.buf = t.buffers.add(h.buf, b[n:])
		}
		return
	}
	h.buf = t.buffers.add(h.buf, b)
	if len(h.buf) < h.need {
		return
	}
	n := t.split(h, h.buf)
	if n == len(h.buf) {
		t.drop(h)
		return
	}
	h.buf = h.buf[:copy(h.buf, h.buf[n:])]
}

// whole reports whether b begins with a message that has all it must have, up to
// the end of its header section.
func (t *Table) whole(b []byte) bool {
	n := sip.HeadEnd(b, 0)
	return n > 0 && t.sound(b[:n])
}

// embeds reports whether the message that b begins with has a body that may hold
// a message: message/sip (RFC 3261 section 27.5), or one part of several.
func (t *Table) embeds(b []byte) bool {
	if _, err := t.parsed.Parse(b[:sip.HeadEnd(b, 0)]); err != nil {
		return false
	}
	kind, _, _ := bytes.Cut(t.parsed.Get(t.parsed.ContentType), []byte("/"))
	return is(kind, "message") || is(kind, "multipart")
}

// sound reports whether a message proves to be one.
func (t *Table) sound(b []byte) bool {
	_, err := t.parsed.Parse(b)
	return err == nil && t.parsed.Flags&sip.FlagMethod == 0
}

// split emits the messages of b and returns how much of b they take, with what
// lies between them. The rest is the begin of a message.
func (t *Table) split(h *half, b []byte) int {
	for i := 0; i < len(b); {
		if h.seek {
			n := t.search(h, b[i:])
			t.garbage(h, n)
			if i += n; h.seek || h.conn.flow.nature != plainSIP {
				return i
			}
		}
		if n := padding(b[i:]); n > 0 {
			t.stats.KeepAlives++
			i += n
			continue
		}
		rest := b[i:]
		if !sip.Looks(rest) {
			if len(rest) <= maxLine && bytes.IndexByte(rest, '\n') < 0 && sip.Might(rest) {
				return i
			}
			i += t.leave(h, rest)
			continue
		}
		n := t.one(h, rest)
		if n == 0 {
			return i
		}
		i += n
	}
	return len(b)
}

// one emits the message that b begins with and returns how much of b it
// takes; 0 if it is not whole.
func (t *Table) one(h *half, b []byte) int {
	if h.need > 0 { // of a message that the buffer began with
		n := h.need
		h.need = 0
		t.emit(h, b[:n], false)
		return n
	}
	longest := min(sip.MaxHeaderBytes, t.options.MaxMessage)
	end := sip.HeadEnd(b, h.scanned)
	if end == 0 && len(b) <= longest {
		h.scanned = len(b)
		return 0
	}
	if end == 0 || end > longest {
		t.stats.TooLong++
		t.stats.Dropped++
		return t.leave(h, b)
	}
	h.scanned = 0
	head := sip.ReadHead(b[:end])
	if head.Next > 0 {
		t.stats.Dropped++
		return head.Next
	}
	if h.suspect && !t.sound(b[:end]) {
		t.stats.Dropped++
		h.seek, h.inLine = true, false
		return end
	}
	h.suspect = false
	switch {
	case head.Body < 0:
		n := openEnd(b, end)
		t.emit(h, b[:n], false)
		return n
	case int64(end)+head.Body > int64(t.options.MaxMessage):
		t.stats.TooLong++
		t.stats.Resyncs++
		t.emit(h, b[:end], true)
		h.seek, h.inLine, h.suspect = true, false, true
		return end
	case end+int(head.Body) > len(b):
		h.need = end + int(head.Body)
		return 0
	}
	n := end + int(head.Body)
	t.emit(h, b[:n], false)
	return n
}

// openEnd is where a message ends whose header section ends at from and does not
// say how long the body is.
func openEnd(b []byte, from int) int {
	if next := sip.NextStart(b, from); next >= 0 {
		return next
	}
	if isPadding(b[from:]) {
		return from
	}
	line := max(bytes.LastIndexByte(b, '\n')+1, from) // that may become a start line
	if line < len(b) && sip.Might(b[line:]) {
		return line
	}
	return len(b)
}

// leave gives up what b begins with: a start line is looked for behind its first
// line. It returns how much of b that passes over.
func (t *Table) leave(h *half, b []byte) int {
	if !h.suspect {
		t.stats.Resyncs++
	}
	h.scanned = 0
	h.seek, h.inLine, h.suspect = true, false, true
	n := bytes.IndexByte(b, '\n') + 1
	if n == 0 {
		n, h.inLine = len(b), true
	}
	t.garbage(h, n)
	return n
}

// search looks for a start line. It returns how much of b is none; if it has
// found one, or what may become one, h.seek is false.
func (t *Table) search(h *half, b []byte) int {
	i := 0
	if h.inLine {
		// After a hole, a message may begin just there.
		if sip.Looks(b) || len(b) <= maxLine && bytes.IndexByte(b, '\n') < 0 && sip.Might(b) {
			h.seek = false
			return 0
		}
		if i = bytes.IndexByte(b, '\n') + 1; i == 0 {
			return len(b)
		}
		h.inLine = false
	}
	if at := sip.NextStart(b, i); at >= 0 {
		h.seek = false
		return at
	}
	if last := bytes.LastIndexByte(b, '\n') + 1; last > i {
		i = last
	}
	if rest := b[i:]; len(rest) > 0 {
		if len(rest) <= maxLine && sip.Might(rest) {
			h.seek = false
			return i
		}
		h.inLine = true
	}
	return len(b)
}

// garbage counts bytes that are of no message.
func (t *Table) garbage(h *half, n int) {
	t.stats.Garbage += uint64(n)
	c := h.conn
	if c.garbage += n; c.garbage > maxGarbage {
		if c.flow.nature = other; c.tls != nil {
			c.flow.nature = encrypted
		}
	}
}

// messageCut emits the message that the buffer begins with as far as it came,
// if its header section did.
func (t *Table) messageCut(h *half) {
	if h.need == 0 {
		t.stats.Dropped++
		return
	}
	t.emit(h, h.buf, true)
}

// messagesLost notes that n bytes are missing.
func (t *Table) messagesLost(h *half, n int) {
	rest := h.skip // of the message that was cut
	if len(h.buf) > 0 {
		if h.need > 0 {
			rest = h.need - len(h.buf)
		}
		t.messageCut(h)
		t.drop(h)
	}
	h.skip = 0
	if n >= 0 && rest > 0 && n <= rest {
		h.skip = rest - n
		return
	}
	if !h.seek {
		t.stats.Resyncs++
	}
	h.seek, h.inLine, h.suspect = true, true, true
}
