package call

import (
	"bytes"
	"cmp"
	"slices"

	"ringside/flow/record"
	"ringside/flow/rtp"
)

// digit is a DTMF digit that came in an INFO request.
type digit struct {
	time     int64
	duration uint32 // ms
	event    uint8  // as in RFC 4733
	from     record.Side
}

// dial keeps the digit of an INFO request, if it has one: application/dtmf-relay
// ("Signal=5", "Duration=160") or application/dtmf ("5"), which no RFC describes.
func (c *call) dial(e *event) {
	if e.m.Body.IsZero() || len(c.dialled) == maxDigits {
		return
	}
	e.m.EachBody(func(contentType, body []byte) bool {
		if end := bytes.IndexByte(contentType, ';'); end >= 0 {
			contentType = contentType[:end]
		}
		switch contentType = bytes.TrimSpace(contentType); {
		case bytes.EqualFold(contentType, []byte("application/dtmf-relay")),
			bytes.EqualFold(contentType, []byte("application/dtmf")):
		default:
			return true
		}
		d, ok := digitOf(body)
		if ok {
			d.time, d.from = e.meta.Time, e.sender
			c.dialled = append(c.dialled, d)
		}
		return false
	})
}

// digitOf reads lines of NAME=VALUE, and takes a line without a name for the
// signal.
func digitOf(body []byte) (d digit, ok bool) {
	for len(body) > 0 {
		line := body
		if end := bytes.IndexByte(body, '\n'); end >= 0 {
			line, body = body[:end], body[end+1:]
		} else {
			body = nil
		}
		name, value := []byte(nil), line
		if eq := bytes.IndexByte(line, '='); eq >= 0 {
			name, value = bytes.TrimSpace(line[:eq]), line[eq+1:]
		}
		value = bytes.TrimSpace(value)
		switch {
		case bytes.EqualFold(name, []byte("Duration")):
			d.duration = uint32(min(number(value), 1<<32-1))
		case !ok && (len(name) == 0 || bytes.EqualFold(name, []byte("Signal"))):
			d.event, ok = eventOf(value)
		}
	}
	return d, ok
}

// eventOf is the event (RFC 4733 section 3.2) of a signal: a digit, the number
// of an event that is no digit, or the flash of a hook.
func eventOf(b []byte) (event uint8, ok bool) {
	if len(b) == 1 {
		i := bytes.IndexByte([]byte("0123456789*#ABCD"), bytes.ToUpper(b)[0])
		return uint8(max(i, 0)), i >= 0
	}
	if bytes.EqualFold(b, []byte("flash")) || bytes.EqualFold(b, []byte("hf")) {
		return 16, true
	}
	if len(b) == 2 && b[0] == '1' && b[1] >= '0' && b[1] <= '6' {
		return 10 + b[1] - '0', true
	}
	return 0, false
}

// allDigits are the digits of the call in order.
func (c *call) allDigits() []record.Digit {
	if len(c.dialled)+len(c.digits) == 0 {
		return nil
	}
	for _, d := range c.dialled {
		c.digits = append(c.digits, record.Digit{
			Time: d.time, From: d.from, Digit: rtp.EventName(d.event), Method: record.DigitINFO, Duration: d.duration,
		})
	}
	slices.SortStableFunc(c.digits, func(a, b record.Digit) int {
		return cmp.Or(
			cmp.Compare(a.Time, b.Time), cmp.Compare(a.From, b.From), cmp.Compare(a.Method, b.Method),
			cmp.Compare(a.SSRC, b.SSRC), cmp.Compare(a.Digit, b.Digit))
	})
	return slices.Clip(c.digits[:min(len(c.digits), maxDigits)])
}
