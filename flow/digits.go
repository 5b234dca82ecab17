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
// grows from one to the next. An event that is too long for the field goes on
// with another timestamp, where the first duration ended (section 2.5.1.3).
type digitOf struct {
	time   int64  // of its first packet, ns
	ts     uint32 // timestamp of its first part
	part   uint32 // timestamp of its last part
	before uint32 // duration of the parts before that, timestamp units
	rate   uint32 // Hz; 0: not known

	duration uint16 // of the last part, timestamp units
	event    uint8
	volume   uint8
}

const longestPart = 0xffff // timestamp units

// takes reports whether a packet belongs to the digit, and counts it if so.
func (d *digitOf) takes(ts uint32, e rtp.Event) bool {
	switch {
	case d.event != e.Event:
		return false
	case ts == d.part:
		d.duration = max(d.duration, e.Duration)
		return true
	case ts == d.part+longestPart && d.duration > longestPart/2:
		d.before += longestPart
		d.part, d.duration = ts, e.Duration
		return true
	}
	return false
}

// digit takes a telephone-event packet of stream i.
func (s *Shard) digit(i uint32, p *sample) {
	if p.len < 4 {
		return
	}
	e, _ := rtp.ParseEvent(binary.BigEndian.AppendUint32(make([]byte, 0, 4), p.dlsr))
	list := s.digits[i]
	for n := len(list) - 1; n >= 0 && n >= len(list)-2; n-- { // the one before too: packets may come out of order
		if list[n].takes(p.ts, e) {
			return
		}
	}
	if len(list) < maxDigits {
		s.digits[i] = append(list, digitOf{
			time: p.time, ts: p.ts, part: p.ts, rate: s.streams.at(i).rate,
			duration: e.Duration, event: e.Event, volume: e.Volume,
		})
	}
}

func (d *digitOf) record(from record.Side, ssrc uint32) record.Digit {
	out := record.Digit{
		Time: d.time, From: from, Digit: rtp.EventName(d.event), Method: record.DigitRTP,
		Volume: d.volume, SSRC: ssrc,
	}
	if d.rate > 0 {
		out.Duration = uint32((uint64(d.before) + uint64(d.duration)) * 1000 / uint64(d.rate))
	}
	return out
}

// digitsOf are the digits of all streams of a call. One that was captured on
// both sides of a relay counts once.
func digitsOf(streams []*measured) (out []record.Digit) {
	type press struct {
		ssrc, ts uint32
		event    uint8
		from     record.Side
	}
	known := make(map[press]int)
	for _, m := range streams {
		for i := range m.digits {
			d := &m.digits[i]
			r := d.record(m.record.From, m.record.SSRC)
			k := press{r.SSRC, d.ts, d.event, r.From}
			if n, ok := known[k]; !ok {
				known[k] = len(out)
				out = append(out, r)
			} else if r.Time < out[n].Time {
				out[n] = r
			}
		}
	}
	return out
}
