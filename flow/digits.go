package flow

import (
	"encoding/binary"

	"ringside/flow/record"
	"ringside/flow/rtp"
)

// maxDigits is how many digits of one stream are kept.
const maxDigits = 256

// digitOf is one digit as its packets tell it (RFC 4733). All packets of an
// event have one RTP timestamp, the last is sent three times, and the duration
// grows from one to the next.
type digitOf struct {
	time     int64
	ts       uint32
	duration uint16 // timestamp units
	event    uint8
	volume   uint8
}

// digit takes a telephone-event packet of stream i.
func (s *Shard) digit(i uint32, p *sample) {
	if p.len < 4 {
		return
	}
	e, _ := rtp.ParseEvent(binary.BigEndian.AppendUint32(make([]byte, 0, 4), p.dlsr))
	list := s.digits[i]
	for n := len(list) - 1; n >= 0 && n >= len(list)-2; n-- { // the one before too: packets may come out of order
		if d := &list[n]; d.ts == p.ts && d.event == e.Event {
			d.duration = max(d.duration, e.Duration)
			return
		}
	}
	if len(list) < maxDigits {
		s.digits[i] = append(list, digitOf{p.time, p.ts, e.Duration, e.Event, e.Volume})
	}
}

// digitsOf are the digits of a stream as its call keeps them. rate is the
// stream's clock in Hz.
func digitsOf(list []digitOf, from record.Side, ssrc, rate uint32) []record.Digit {
	out := make([]record.Digit, len(list))
	for i, d := range list {
		out[i] = record.Digit{
			Time: d.time, From: from, Digit: rtp.EventName(d.event), Method: record.DigitRTP,
			Volume: d.volume, SSRC: ssrc,
		}
		if rate > 0 {
			out[i].Duration = uint32(uint64(d.duration) * 1000 / uint64(rate))
		}
	}
	return out
}
