package audio

import (
	"context"
	"errors"
	"fmt"
	"math"

	"ringside/flow/record"
	"ringside/flow/rtp"
)

// sweep is how often, in time of the packets, sounds are handed on, ns.
const sweep = 100e6

// mix reads the packets and hands on the samples of a part of the recording.
func (r *Recording) mix(ctx context.Context, w window, o Options, out *mixer) error {
	tracks := map[streamKey]*track{}
	var order []*track
	var clock, swept int64
	n := 0
	err := r.call.Packets(ctx, func(p *Packet) error {
		if n++; n%256 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		var h rtp.Header
		if !media(p, &h) {
			return nil
		}
		k := streamKey{p.Src, p.Dst, h.SSRC}
		as, ok := r.survey.heard[k]
		if !ok || o.Channels == Caller && as.side != record.SideCaller || o.Channels == Called && as.side != record.SideCalled {
			return nil
		}
		t := tracks[k]
		if t == nil {
			t = r.track(k, as, w, o, out)
			tracks[k] = t
			order = append(order, t)
		}
		if clock = max(clock, p.Time); clock >= swept+sweep {
			swept = clock
			if err := settle(out, order, clock, w.rate); err != nil {
				return err
			}
		}
		t.push(p, &h)
		return nil
	})
	if err == nil {
		err = finish(out, order, w)
	}
	if err != nil && !errors.Is(err, errDone) {
		return fmt.Errorf("render audio: %w", err)
	}
	return nil
}

func (r *Recording) track(k streamKey, as part, w window, o Options, out *mixer) *track {
	t := r.survey.book.track(k)
	t.side, t.out, t.rate, t.from = as.side, out, w.rate, w.from
	t.buffer, t.tones = o.Buffer, o.Tones
	if r.survey.book.encrypted(k) && !as.plain {
		t.opener = newOpener(r.survey.book.keys, as.side)
	}
	return t
}

// settle plays what waited long enough, and hands on what nothing can be added
// to any more.
func settle(out *mixer, tracks []*track, clock int64, rate int) error {
	for _, t := range tracks {
		t.release(clock - hold)
	}
	return handOn(out, tracks, out.at(clock-hold-stall, rate), rate)
}

// handOn hands on what is before a sample, in steps that comfort noise has room in.
func handOn(out *mixer, tracks []*track, to int64, rate int) error {
	for out.done < to {
		step := min(to, out.done+int64(rate))
		for _, t := range tracks {
			t.hush(step)
		}
		if err := out.advance(step); err != nil {
			return err
		}
	}
	return nil
}

// finish plays all that waits, and hands on the rest.
func finish(out *mixer, tracks []*track, w window) error {
	for _, t := range tracks {
		t.release(1<<63 - 1)
		t.until = min(t.until, t.end+samplesAt(hold, w.rate))
	}
	return handOn(out, tracks, w.to, w.rate)
}

// Peaks is how loud each of equal parts of a channel is, of 32767, and what is
// missing there.
type Peaks struct {
	Peak []int16  `json:"peak"` // loudest sample
	RMS  []int16  `json:"rms"`  // root of the mean square
	Lost []uint64 `json:"lost"` // packets that are missing in front of this part or in it, too late ones among them
}

// Waveform is a picture of a recording.
type Waveform struct {
	Start  int64 `json:"start_ns"`  // from the beginning of the recording
	Length int64 `json:"length_ns"` // of all parts together
	Caller Peaks `json:"caller"`
	Called Peaks `json:"called"`
}

// maxPoints is how many parts a waveform may have.
const maxPoints = 20000

// Waveform makes a picture of the part that Render would write, in a number of
// equal parts.
func (r *Recording) Waveform(ctx context.Context, points int, o Options) (*Waveform, error) {
	if points < 1 || points > maxPoints {
		return nil, fmt.Errorf("draw waveform: %d points: choose 1 to %d", points, maxPoints)
	}
	o.Channels = Stereo
	if o.Rate == 0 {
		o.Rate = Rates[0] // a picture needs no treble
	}
	w, err := r.window(o)
	if err != nil {
		return nil, err
	}
	n := w.to - w.from
	points = int(min(int64(points), max(1, n)))
	draw := &drawing{total: n, left: newPen(points), right: newPen(points)}
	out := newMixer(r.survey.base, w, draw.take)
	out.miss = func(side record.Side, pos int64, packets uint64) {
		if pos >= w.from && pos < w.to {
			draw.pen(side).lost[(pos-w.from)*int64(points)/n] += packets
		}
	}
	if err := r.mix(ctx, w, o, out); err != nil {
		return nil, err
	}
	return &Waveform{
		Start: o.Start, Length: ns(n, w.rate),
		Caller: draw.left.peaks(n), Called: draw.right.peaks(n),
	}, nil
}

func ns(samples int64, rate int) int64 { return ticks(samples, uint32(rate)) }

// drawing takes samples for a waveform.
type drawing struct {
	at, total   int64
	left, right pen
}

type pen struct {
	peak   []float32
	square []float64
	lost   []uint64
}

func newPen(points int) pen {
	return pen{make([]float32, points), make([]float64, points), make([]uint64, points)}
}

func (d *drawing) pen(side record.Side) *pen {
	if side == record.SideCalled {
		return &d.right
	}
	return &d.left
}

func (d *drawing) take(caller, called []float32) error {
	points := int64(len(d.left.peak))
	for i := range caller {
		p := d.at * points / d.total
		d.left.dot(p, caller[i])
		d.right.dot(p, called[i])
		d.at++
	}
	return nil
}

func (p *pen) dot(at int64, x float32) {
	p.peak[at] = max(p.peak[at], x, -x)
	p.square[at] += float64(x) * float64(x)
}

// peaks are the figures of n samples.
func (p *pen) peaks(n int64) Peaks {
	out := Peaks{Peak: make([]int16, len(p.peak)), RMS: make([]int16, len(p.peak)), Lost: p.lost}
	each := float64(n) / float64(len(p.peak))
	for i := range p.peak {
		out.Peak[i] = int16(min(p.peak[i], 32767))
		out.RMS[i] = int16(min(math.Sqrt(p.square[i]/each), 32767))
	}
	return out
}
