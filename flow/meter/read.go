package meter

import (
	"ringside/flow/quality"
	"ringside/flow/record"
)

// closeInterval folds the running interval and opens the one that now is in.
func (h *Hot) closeInterval(c *Cold, now int64) {
	c.intervals++
	h.fold(c, interval/1_000_000)
	h.end += interval * int64(1+uint64(now-h.end)/interval)
}

// fold hands the numbers that have left the window since the last fold to
// quality, with a weight in ms. Without such numbers the weight waits.
func (h *Hot) fold(c *Cold, ms uint32) {
	h.foldAt(c, h.exits(c), ms)
}

func (h *Hot) foldAt(c *Cold, exits, ms uint32) {
	c.pending += ms
	n := exits - c.markExits
	if n == 0 {
		return
	}
	received := n - (c.bad[viewNet] - c.markBad[viewNet])
	var in [3]quality.Loss
	for i := range in {
		v := viewF1 + i
		in[i] = quality.Loss{
			Expected: n,
			Received: received,
			Bad:      c.bad[v] - c.markBad[v],
			Bursts:   c.bursts[v] - c.markBursts[v],
		}
	}
	c.quality.Add(c.pending, &in)
	c.markExits, c.markBad, c.markBursts, c.pending = exits, c.bad, c.bursts, 0
}

// Report is a stream as read.
type Report struct {
	First, Last int64  // ns since the Unix epoch
	Payload     uint8  // payload type of most media packets
	Rate        uint32 // clock of the last rate that was known, Hz; 0: none was
	Ptime       uint16 // ms between media packets, 0: not known
	Confirmed   bool   // two packets came in order; see Hot.Confirmed

	record.Counters
	Compat record.Compat
	Total  quality.Loss // whole stream behind the 200 ms buffer: input of quality.Estimate
	Worst  quality.Loss // its worst interval
}

// Finish reads a stream as if it ended now. It works on copies: h and c may go
// on, and be read again. A stream without packets gives the zero Report.
func Finish(hot *Hot, cold *Cold) Report {
	if hot.packets == 0 {
		return Report{}
	}
	h, c := *hot, *cold
	h.leaveAll(&c)
	stray := c.stray
	if h.flags&flagCandidate != 0 {
		stray++
	}
	expected := c.closed + h.highest - c.base + 1
	received := expected - c.bad[viewNet]
	h.foldAt(&c, expected, uint32(uint64(h.last-(h.end-interval))/1_000_000)+1)

	r := Report{
		First: c.first, Last: h.last,
		Payload: h.pt, Rate: h.rate, Confirmed: h.Confirmed(),
		Counters: record.Counters{
			Packets:    uint64(h.packets),
			Received:   uint64(received),
			Bytes:      h.bytes,
			Expected:   uint64(expected),
			Lost:       uint64(c.bad[viewNet]),
			Duplicate:  uint64(c.duplicate),
			Reordered:  uint64(c.reordered),
			Stray:      uint64(stray),
			Resets:     c.resets,
			Markers:    c.markers,
			Events:     c.events,
			Comfort:    c.comfort,
			LossRuns:   c.runHist,
			LossRunMax: c.runMax,
			Jitter:     ms(float64(h.jitter) / 16),
			JitterMax:  ms(float64(h.jitterMax)),
			Delay:      c.delay,
			LateF1:     uint64(c.bad[viewF1]),
			LateF2:     uint64(c.bad[viewF2]),
			LateAdapt:  uint64(c.bad[viewAdapt]),
			SkewPPM:    c.skew(),
		},
		Compat: c.quality.Compat(uint64(c.bad[viewNet]), uint64(received)),
		Total: quality.Loss{
			Expected: expected, Received: received,
			Bad: c.bad[viewF2], Bursts: c.bursts[viewF2],
		},
		Worst: c.quality.Worst(),
	}
	if h.timed > 0 {
		r.JitterAvg = ms(float64(h.jitterSum) / float64(h.timed))
	}
	r.Delay[0] = h.timed
	for _, n := range c.delay[1:] {
		r.Delay[0] -= n
	}
	if h.packets > 1 {
		r.DeltaMax, r.DeltaMin = ms(float64(h.gapMax)), ms(float64(h.gapMin))
	}
	if h.rate > 0 {
		r.Ptime = uint16(min((uint64(h.step)*1000+uint64(h.rate)/2)/uint64(h.rate), 1<<16-1))
	}
	return r
}

// skew is the drift of the sender's clock in ppm, from the lowest transit of
// the first and the last block of packets. Blocks less than 20 s apart say
// more about jitter than about a clock: 0.
func (c *Cold) skew() float64 {
	span := c.skewA[1] - c.skewA[0]
	if c.skewN < 2 || span < 20_000_000_000 {
		return 0
	}
	return float64(c.skewT[0]-c.skewT[1]) * 1e6 / float64(span)
}

func ms(ns float64) float64 { return ns / 1e6 }
