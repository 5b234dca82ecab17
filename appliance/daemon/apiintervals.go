package daemon

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"ringside/appliance/api"
	"ringside/dataplane/frame"
	"ringside/flow/meter"
	"ringside/flow/quality"
	"ringside/flow/record"
	"ringside/flow/rtp"
)

// streamKey names a stream of a call.
type streamKey struct {
	src, dst netip.AddrPort
	ssrc     uint32
}

// course is a stream in the course of time: metered as when it was captured, and
// read at the end of each step.
type course struct {
	of    record.Stream
	codec rtp.Codec
	hot   meter.Hot
	cold  meter.Cold
	last  meter.Report // at the end of the step before
	out   []api.Interval

	least, most int64 // transit in this step, ns
	timed       bool
}

// mostIntervals bounds what one stream is told in.
const mostIntervals = 20_000

// Intervals implements api.Packets.
func (a apiPackets) Intervals(ctx context.Context, c *record.Call, step time.Duration) ([]api.StreamIntervals, error) {
	if step <= 0 {
		return nil, fmt.Errorf("read streams over time: a step of %v", step)
	}
	step = max(step, time.Duration(c.End-c.Start)/mostIntervals)
	courses := make(map[streamKey]*course)
	for i := range c.Streams {
		s := &c.Streams[i]
		courses[streamKey{s.Src, s.Dst, s.SSRC}] = &course{of: *s, codec: rtp.CodecByName([]byte(s.Codec))}
	}
	err := a.s.datagrams(ctx, queryOf([]api.CallRef{callRef(c)}, false, true), func(p *frame.Packet) error {
		var h rtp.Header
		if rtp.IsRTCP(p.Payload) || !rtp.ParseHeader(p.Payload, int(max(p.Len, uint32(len(p.Payload)))), &h) {
			return nil
		}
		if k := courses[streamKey{p.Src.Netip(), p.Dst.Netip(), h.SSRC}]; k != nil {
			k.packet(p, &h, c.Start, int64(step))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	out := []api.StreamIntervals{}
	for key, k := range courses {
		k.close()
		if len(k.out) > 0 {
			out = append(out, api.StreamIntervals{SSRC: key.ssrc, Src: key.src, Dst: key.dst, Step: step.Seconds(), Intervals: k.out})
		}
	}
	if len(out) == 0 {
		return nil, api.ErrNotStored
	}
	slices.SortFunc(out, func(a, b api.StreamIntervals) int {
		return cmp.Or(cmp.Compare(a.Intervals[0].Time, b.Intervals[0].Time), cmp.Compare(a.SSRC, b.SSRC))
	})
	return out, nil
}

// packet counts a packet in the step that it is in. Steps begin with the call.
func (k *course) packet(p *frame.Packet, h *rtp.Header, start, step int64) {
	at := start + (p.Time-start)/step*step
	if p.Time < start {
		at = start
	}
	if n := len(k.out); n == 0 || at > k.out[n-1].Time {
		k.close()
		if n > 0 { // steps without a packet are there, too
			for t := k.out[n-1].Time + step; t < at && len(k.out) < mostIntervals; t += step {
				k.out = append(k.out, api.Interval{Time: t})
			}
		}
		k.out = append(k.out, api.Interval{Time: at})
		k.timed = false
	}
	class := meter.Media
	switch {
	case h.Type == 13 && k.of.Payload != 13:
		class = meter.Comfort
	case h.Type != k.of.Payload:
		class = meter.Event
	}
	k.hot.Packet(&k.cold, &meter.Packet{
		Time: p.Time, TS: h.TS, Len: h.Len, Rate: k.of.Rate, Seq: h.Seq, Type: h.Type, Class: class, Marker: h.Marker,
	})
	if class != meter.Media || k.of.Rate == 0 {
		return
	}
	transit := p.Time - int64(h.TS)*int64(time.Second)/int64(k.of.Rate)
	if !k.timed {
		k.least, k.most, k.timed = transit, transit, true
	}
	k.least, k.most = min(k.least, transit), max(k.most, transit)
}

// close reads the meter at the end of a step.
func (k *course) close() {
	if len(k.out) == 0 || !k.hot.Started() {
		return
	}
	now := meter.Finish(&k.hot, &k.cold)
	i := &k.out[len(k.out)-1]
	if i.Packets > 0 {
		return // it is closed
	}
	was := &k.last
	i.Packets = uint32(now.Packets - was.Packets)
	i.Lost = more(now.Lost, was.Lost)
	i.Late = more(more64(now.LateF2, now.Lost), more64(was.LateF2, was.Lost))
	i.Jitter = now.Jitter
	if k.timed {
		i.Delay = float64(k.most-k.least) / float64(time.Millisecond)
	}
	total := quality.Loss{
		Expected: now.Total.Expected - min(was.Total.Expected, now.Total.Expected),
		Received: now.Total.Received - min(was.Total.Received, now.Total.Received),
		Bad:      now.Total.Bad - min(was.Total.Bad, now.Total.Bad),
		Bursts:   now.Total.Bursts - min(was.Total.Bursts, now.Total.Bursts),
	}
	i.MOS = quality.Estimate(k.codec, total, total, 0).LQ
	k.last = now
}

func more64(a, b uint64) uint64 { return a - min(a, b) }

func more(a, b uint64) uint32 { return uint32(more64(a, b)) }
