package store

import (
	"cmp"
	"slices"

	"ringside/flow/record"
)

// Row is one call as lists show it: its own facts, without Legs, Messages,
// Streams, Media and Digits (Store.Call has those), and what was derived from them.
type Row struct {
	record.Call
	Derived

	rolled bool // it is counted in the rollups
}

// asRow is a call as it is stored.
func asRow(c *record.Call) Row { return Row{*c, derive(c), true} }

// Derived are figures of a call that filters and lists need, computed once,
// when the call is stored. A nil figure does not exist for this call.
type Derived struct {
	Duration    int64    `json:"duration"`             // ns from Start to End
	Connected   *int64   `json:"connected,omitempty"`  // ns from Answer to End; nil: not answered
	PDD         *int64   `json:"pdd,omitempty"`        // post-dial delay: ns from Start to Ring, else to Answer
	StreamCount int      `json:"stream_count"`         // RTP streams
	MOSMin      *float64 `json:"mos_min,omitempty"`    // lowest MOS.LQ of a stream
	LossMax     *float64 `json:"loss_max,omitempty"`   // highest loss of a stream, per cent of its expected packets
	JitterMax   *float64 `json:"jitter_max,omitempty"` // highest JitterMax of a stream, ms
	Codec       string   `json:"codec,omitempty"`      // of the stream with the most packets

	callerReverse, calledReverse string
	callerStream, calledStream   *int64 // which of Streams stands for a side in the view cdr
	compatFlags                  int64  // its flags
}

func derive(c *record.Call) Derived {
	d := Derived{
		Duration:      max(0, c.End-c.Start),
		StreamCount:   len(c.Streams),
		Codec:         mainCodec(c.Streams),
		callerReverse: reverse(c.Caller.Number),
		calledReverse: reverse(c.Called.Number),
		callerStream:  mostPackets(c.Streams, record.SideCaller),
		calledStream:  mostPackets(c.Streams, record.SideCalled),
		compatFlags:   compatFlags(c),
	}
	if c.Answer != 0 {
		d.Connected = new(max(0, c.End-c.Answer))
	}
	if ring := cmp.Or(c.Ring, c.Answer); ring != 0 {
		d.PDD = new(max(0, ring-c.Start))
	}
	for i := range c.Streams {
		s := &c.Streams[i]
		var loss float64
		if s.Expected > 0 {
			loss = 100 * float64(s.Lost) / float64(s.Expected)
		}
		if d.LossMax == nil || loss > *d.LossMax {
			d.LossMax = &loss
		}
		if d.JitterMax == nil || s.JitterMax > *d.JitterMax {
			d.JitterMax = &s.JitterMax
		}
		if s.MOS.LQ > 0 && (d.MOSMin == nil || s.MOS.LQ < *d.MOSMin) {
			d.MOSMin = &s.MOS.LQ
		}
	}
	return d
}

// reverse is s backwards, by character.
func reverse(s string) string {
	r := []rune(s)
	slices.Reverse(r)
	return string(r)
}
