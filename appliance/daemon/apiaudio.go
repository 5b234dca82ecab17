package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"ringside/appliance/api"
	"ringside/appliance/audio"
	"ringside/dataplane/frame"
	"ringside/flow/record"
)

// apiAudio is api.Audio. Decoding takes a CPU, so only so many do it at a time.
type apiAudio struct {
	s     *Service
	slots chan struct{}
	shelf audioShelf
}

// audioSlots is how many calls are decoded at one time.
const audioSlots = 2

func newAudio(s *Service) *apiAudio { return &apiAudio{s: s, slots: make(chan struct{}, audioSlots)} }

// enter waits for its turn; there is none while too many wait.
func (a *apiAudio) enter(ctx context.Context) (leave func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	select {
	case a.slots <- struct{}{}:
		return func() { <-a.slots }, nil
	case <-ctx.Done():
		return nil, api.ErrBusy
	}
}

// open finds out what there is to hear of a call.
func (a *apiAudio) open(ctx context.Context, c *record.Call) (*audio.Recording, error) {
	if r := a.shelf.get(c, time.Now()); r != nil {
		return r, nil
	}
	source := func(ctx context.Context, emit func(*audio.Packet) error) error {
		var out audio.Packet
		return a.s.datagrams(ctx, queryOf([]api.CallRef{callRef(c)}, true, true), func(p *frame.Packet) error {
			out = audio.Packet{Time: p.Time, Src: p.Src.Netip(), Dst: p.Dst.Netip(), Data: p.Payload, Len: int(p.Len)}
			return emit(&out)
		})
	}
	r, err := audio.Open(ctx, audio.Call{Packets: source, Streams: c.Streams, Media: c.Media})
	if err == nil {
		a.shelf.put(c, r, time.Now())
	}
	return r, err
}

// Describe implements api.Audio.
func (a *apiAudio) Describe(ctx context.Context, c *record.Call) (api.AudioInfo, error) {
	out := api.AudioInfo{Streams: []api.AudioStream{}}
	leave, err := a.enter(ctx)
	if err != nil {
		return out, err
	}
	defer leave()
	r, err := a.open(ctx, c)
	if err != nil {
		return out, err
	}
	out.Playable, out.Rate, out.Seconds = r.Playable, r.Rate, time.Duration(r.Length).Seconds()
	out.Why, out.Notes = r.Why, r.Notes
	if r.Start != 0 {
		out.Start = time.Unix(0, r.Start).UTC()
	}
	for i := range r.Streams {
		s := &r.Streams[i]
		out.Streams = append(out.Streams, api.AudioStream{
			SSRC: s.SSRC, Side: sideOf(s.From), Codec: s.Codec, Playable: s.Playable, Why: s.Why, Packets: s.Packets, Lost: s.Lost,
		})
	}
	return out, nil
}

func sideOf(s record.Side) string {
	if s == record.SideCalled {
		return "b"
	}
	return "a"
}

// WAV implements api.Audio.
func (a *apiAudio) WAV(ctx context.Context, c *record.Call, q api.AudioQuery, to io.Writer) error {
	leave, err := a.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	r, err := a.open(ctx, c)
	if err != nil {
		return err
	}
	o := audio.Options{Start: int64(q.Start), Length: int64(q.Length), Buffer: int64(q.AsHeard), Tones: true}
	switch q.Side {
	case "a":
		o.Channels = audio.Caller
	case "b":
		o.Channels = audio.Called
	}
	return playable(r.Render(ctx, to, o), r)
}

// Waveform implements api.Audio.
func (a *apiAudio) Waveform(ctx context.Context, c *record.Call, points int) (api.Waveform, error) {
	out := api.Waveform{Channels: []api.WaveformChannel{}}
	leave, err := a.enter(ctx)
	if err != nil {
		return out, err
	}
	defer leave()
	r, err := a.open(ctx, c)
	if err != nil {
		return out, err
	}
	w, err := r.Waveform(ctx, points, audio.Options{})
	if err != nil {
		return out, playable(err, r)
	}
	out.Seconds = time.Duration(w.Length).Seconds()
	for _, c := range []struct {
		side  string
		peaks *audio.Peaks
	}{{"a", &w.Caller}, {"b", &w.Called}} {
		out.Channels = append(out.Channels, api.WaveformChannel{Side: c.side, Peaks: shares(c.peaks.Peak), Lost: c.peaks.Lost})
	}
	return out, nil
}

// shares are peaks as parts of the loudest there can be.
func shares(peaks []int16) []float64 {
	out := make([]float64, len(peaks))
	for i, p := range peaks {
		out[i] = min(1, float64(p)/32767)
	}
	return out
}

// playable is the API's word for what cannot be heard.
func playable(err error, r *audio.Recording) error {
	if errors.Is(err, audio.ErrNothing) {
		return fmt.Errorf("%w: %s", api.ErrNotPlayable, r.Why)
	}
	return err
}
