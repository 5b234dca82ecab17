package store

import (
	"strings"

	"ringside/flow/record"
)

// Bits of cdr.flags, in the reference's order. Those of which ringside knows
// nothing are left out.
const (
	compatByeUnconfirmed = 1 << 2
	compatSRTPNoKey      = 1 << 4
	compatZeroSSRC       = 1 << 6
	compatDTMFRequest    = 1 << 8 // telephone-event in the caller's SDP
	compatDTMFResponse   = 1 << 9 // … in the called party's
	compatAudio          = 1 << 12
	compatImage          = 1 << 13
	compatVideo          = 1 << 14
	compatRTCP           = 1 << 17
	compatDuplicate      = 1 << 22
	compatUDP            = 1 << 24
	compatTCP            = 1 << 25
	compatTLS            = 1 << 26
)

// compatFlags are the flags of a call as the view cdr shows them.
func compatFlags(c *record.Call) int64 {
	var f int64
	set := func(bit int64, yes bool) {
		if yes {
			f |= bit
		}
	}
	set(compatByeUnconfirmed, c.EndReason == record.EndByeAlone)
	set(compatSRTPNoKey, c.Flags&record.SRTP != 0)
	for i := range c.Media {
		m := &c.Media[i]
		set(compatAudio, m.Kind == "audio")
		set(compatImage, m.Kind == "image")
		set(compatVideo, m.Kind == "video")
		dtmf := strings.Contains(m.Codecs, "telephone-event")
		set(compatDTMFRequest, dtmf && m.Side == record.SideCaller)
		set(compatDTMFResponse, dtmf && m.Side == record.SideCalled)
	}
	for i := range c.Streams {
		s := &c.Streams[i]
		set(compatZeroSSRC, s.SSRC == 0)
		set(compatRTCP, s.RTCP.Reports > 0)
		set(compatDuplicate, s.Duplicate > 0)
	}
	switch c.Transport {
	case record.UDP:
		f |= compatUDP
	case record.TCP, record.WS:
		f |= compatTCP
	case record.TLS, record.WSS:
		f |= compatTLS
	}
	return f
}

// mostPackets is the stream of a side with the most packets: the first of
// them, nil if the side sent none.
func mostPackets(streams []record.Stream, side record.Side) *int64 {
	best := -1
	for i := range streams {
		if streams[i].From == side && (best < 0 || streams[i].Packets > streams[best].Packets) {
			best = i
		}
	}
	if best < 0 {
		return nil
	}
	return new(int64(best))
}
