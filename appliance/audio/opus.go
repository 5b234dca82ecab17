package audio

import (
	"fmt"

	"github.com/tphakala/go-opus/opus"
)

// opusDecoder decodes Opus (RFC 6716) at the rate of the rendering, as mono.
type opusDecoder struct {
	rate int
	d    *opus.Decoder
	pcm  []int16
}

// opusMax is the longest packet, in samples at 48 kHz: 120 ms.
const opusMax = 5760

func newOpus(rate int) (*opusDecoder, error) {
	o := &opusDecoder{rate: rate, pcm: make([]int16, rate*opusMax/48000)}
	return o, o.renew()
}

// renew forgets what the decoder made of the stream so far.
func (o *opusDecoder) renew() (err error) {
	if o.d, err = opus.NewDecoder(o.rate, 1); err != nil {
		return fmt.Errorf("make Opus decoder: %w", err)
	}
	return nil
}

func (o *opusDecoder) decode(payload []byte, out []float32) (_ []float32, err error) {
	if len(payload) < 2 {
		return out, nil // discontinuous transmission: nothing to hear
	}
	// Packets may be anything. A decoder that stumbles over one must not take
	// the service with it; it goes on with a new state.
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("decode Opus: %v", p)
			if e := o.renew(); e != nil {
				err = e
			}
		}
	}()
	n, err := o.d.Decode(payload, o.pcm)
	if err != nil {
		return out, fmt.Errorf("decode Opus: %w", err)
	}
	for _, x := range o.pcm[:n] {
		out = append(out, float32(x))
	}
	return out, nil
}

// opusTicks is the length of a packet in samples at 48 kHz (RFC 6716 section
// 3.1), 0 if it is none.
func opusTicks(payload []byte) int64 {
	if len(payload) == 0 {
		return 0
	}
	var frame int64
	switch c := payload[0] >> 3; {
	case c < 12: // SILK: 10, 20, 40, 60 ms
		frame = [4]int64{480, 960, 1920, 2880}[c&3]
	case c < 16: // hybrid: 10, 20 ms
		frame = 480 << (c & 1)
	default: // CELT: 2.5, 5, 10, 20 ms
		frame = 120 << (c & 3)
	}
	frames := int64(1)
	switch payload[0] & 3 {
	case 1, 2:
		frames = 2
	case 3:
		if len(payload) < 2 {
			return 0
		}
		frames = int64(payload[1] & 0x3f)
	}
	if frame*frames > opusMax {
		return 0
	}
	return frame * frames
}
