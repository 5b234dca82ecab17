package audio

import (
	"fmt"
	"math"
	"slices"

	"ringside/flow/rtp"
)

// decoder turns the payloads of one stream into samples of one channel, in the
// range of 16 bits. It appends them to out.
type decoder interface {
	decode(payload []byte, out []float32) ([]float32, error)
}

// format is what a payload type stands for on a stream.
type format struct {
	codec    rtp.Codec
	clock    uint32 // of RTP timestamps, Hz
	channels int    // as rtpmap says, 1 or more
}

// linearRates are the clocks of L16 that are decoded, Hz.
var linearRates = []uint32{8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000}

// sampling is the rate in Hz of what a decoder makes, for a rendering at rate;
// 0: there is none for this format.
func (f format) sampling(rate int) int {
	switch f.codec {
	case rtp.PCMU, rtp.PCMA:
		return 8000
	case rtp.G722:
		return 16000
	case rtp.L16:
		if slices.Contains(linearRates, f.clock) && f.channels <= 8 {
			return int(f.clock)
		}
	case rtp.Opus:
		return rate
	}
	return 0
}

// needs is the least rate of a rendering that loses nothing of a format.
func (f format) needs() int {
	n := f.sampling(48000)
	for _, r := range Rates {
		if n <= r {
			return r
		}
	}
	return 48000
}

func (f format) newDecoder(rate int) (decoder, error) {
	switch f.codec {
	case rtp.PCMU:
		return companded{&mulaw}, nil
	case rtp.PCMA:
		return companded{&alaw}, nil
	case rtp.G722:
		return newG722(), nil
	case rtp.L16:
		return linear{max(1, f.channels)}, nil
	case rtp.Opus:
		return newOpus(rate)
	}
	return nil, fmt.Errorf("no decoder for %s", f.codec)
}

// ticks is how long a payload lasts, in units of the RTP clock. What is not
// known lasts 20 ms, as most do.
func (f format) ticks(payload []byte, length int) int64 {
	n := int64(length)
	switch f.codec {
	case rtp.PCMU, rtp.PCMA, rtp.G722: // G.722 has a clock of 8 kHz by mistake, RFC 3551 section 4.5.2
	case rtp.L16:
		n /= 2 * int64(max(1, f.channels))
	case rtp.Opus:
		n = opusTicks(payload) * int64(f.clock) / 48000
	default:
		n = int64(f.clock) / 50
	}
	return min(n, int64(f.clock)) // no packet has more than a second
}

// silent says that a payload is meant to be no sound.
func (f format) silent() bool {
	return f.codec == rtp.CN || f.codec == rtp.TelephoneEvent || f.codec == rtp.Tone
}

// aside says that a payload is no audio by which a stream keeps time. One that
// nobody named is mostly an event.
func (f format) aside() bool { return f.silent() || f.codec == rtp.Unknown }

// why is the reason that a format cannot be heard.
func (f format) why(pt uint8) string {
	switch {
	case f.codec == rtp.Unknown:
		return fmt.Sprintf("payload type %d is not known: no session description that was captured names it", pt)
	case f.codec.Video():
		return f.codec.String() + " is video"
	case f.codec == rtp.L16:
		return fmt.Sprintf("L16 at %d Hz with %d channels is not decoded", f.clock, f.channels)
	case f.codec == rtp.UDPTL:
		return "fax (T.38) is no audio"
	}
	return "codec " + f.codec.String() + ": there is no decoder for it here"
}

// noise is comfort noise (RFC 3389): white, as loud as the sender says. It is
// the same in every rendering.
type noise struct {
	level float32 // of samples, 16 bits; 0: silence
	state uint32
}

// set reads the level, -dBov, that the first octet of a payload has.
func (n *noise) set(payload []byte) {
	n.level = 0
	if len(payload) > 0 && payload[0]&0x7f < 90 {
		n.level = float32(32768 * math.Sqrt(3) * math.Pow(10, -float64(payload[0]&0x7f)/20))
	}
}

func (n *noise) next() float32 {
	n.state = n.state*1664525 + 1013904223
	return n.level * float32(int32(n.state)) / (1 << 31)
}

// keyTones are the two frequencies of each key (ITU-T Q.23), Hz, by event code.
var keyTones = [16][2]float64{
	{941, 1336}, {697, 1209}, {697, 1336}, {697, 1477}, {770, 1209}, {770, 1336}, {770, 1477}, {852, 1209},
	{852, 1336}, {852, 1477}, {941, 1209}, {941, 1477}, {697, 1633}, {770, 1633}, {852, 1633}, {941, 1633},
}

// keyTone is sample n of the tone of a key.
func keyTone(key uint8, n int64, rate int) float32 {
	t := 2 * math.Pi * float64(n) / float64(rate)
	f := keyTones[key]
	return float32(3000 * (math.Sin(f[0]*t) + math.Sin(f[1]*t)))
}
