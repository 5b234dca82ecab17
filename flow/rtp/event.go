package rtp

import (
	"encoding/binary"
	"strconv"
)

// Event is the payload of a telephone-event packet (RFC 4733 section 2.3). All
// packets of one event have the same timestamp; its last one is sent three
// times.
type Event struct {
	Event    uint8
	End      bool
	Volume   uint8  // -dBm0, of DTMF digits
	Duration uint16 // so far, in timestamp units
}

// ParseEvent reads the first event of a telephone-event payload; false if it
// is too short.
func ParseEvent(payload []byte) (e Event, ok bool) {
	if len(payload) < 4 {
		return e, false
	}
	return Event{
		Event:    payload[0],
		End:      payload[1]&0x80 != 0,
		Volume:   payload[1] & 0x3f,
		Duration: binary.BigEndian.Uint16(payload[2:]),
	}, true
}

var eventNames = [...]string{"0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "*", "#", "A", "B", "C", "D", "flash"}

// EventName is the digit that an event stands for (RFC 4733 section 3.2), or
// "flash" (RFC 2833 section 3.10), else its number.
func EventName(event uint8) string {
	if int(event) < len(eventNames) {
		return eventNames[event]
	}
	return strconv.Itoa(int(event))
}

// PrimaryOf finds the primary encoding in the payload of a RED packet (RFC
// 2198 section 3): its payload type, and its octets as far as captured. It is
// false where the block headers do not end within the payload.
func PrimaryOf(red []byte) (pt uint8, primary []byte, ok bool) {
	older := 0 // octets of the redundant blocks, which come first
	for i := 0; i < len(red); i += 4 {
		if red[i]&0x80 == 0 {
			from := min(i+1+older, len(red))
			return red[i] & 0x7f, red[from:], true
		}
		if i+4 > len(red) {
			break
		}
		older += int(binary.BigEndian.Uint16(red[i+2:]) & 0x3ff)
	}
	return 0, nil, false
}
