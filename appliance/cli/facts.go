package cli

import (
	"cmp"

	"ringside/flow/record"
)

// The figures below are those that the store derives for its filters, so that
// what a table shows is what a filter compares. Spans are in nanoseconds.

// duration is the whole call, from its first message to its end.
func duration(c *record.Call) int64 { return max(0, c.End-c.Start) }

// connected is the talking time, 0 for a call that was not answered.
func connected(c *record.Call) int64 {
	if c.Answer == 0 {
		return 0
	}
	return max(0, c.End-c.Answer)
}

// postDial is the post-dial delay: to the first ringing, or to the answer of
// a call that was answered without.
func postDial(c *record.Call) (int64, bool) {
	rang := cmp.Or(c.Ring, c.Answer)
	return max(0, rang-c.Start), rang != 0
}

// quality is what the worst of a call's streams gave.
type quality struct {
	mos    float64 // least listening MOS of its streams, 0: none rated
	loss   float64 // most packet loss, per cent
	jitter float64 // most jitter, ms
	codec  string  // codec of the stream with most packets
	heard  bool    // there was a stream
}

func qualityOf(c *record.Call) quality {
	var q quality
	var most uint64
	for i := range c.Streams {
		s := &c.Streams[i]
		q.heard = true
		if rated(s) && (q.mos == 0 || s.MOS.LQ < q.mos) {
			q.mos = s.MOS.LQ
		}
		q.loss = max(q.loss, loss(s))
		q.jitter = max(q.jitter, s.JitterMax)
		if s.Packets > most {
			most, q.codec = s.Packets, s.Codec
		}
	}
	return q
}

// rated reports whether the stream has a MOS.
func rated(s *record.Stream) bool { return s.MOS.LQ > 0 }

// loss is the packet loss of a stream in per cent of what was expected.
func loss(s *record.Stream) float64 {
	if s.Expected == 0 {
		return 0
	}
	return 100 * float64(s.Lost) / float64(s.Expected)
}
