package traffic

import (
	"fmt"
	"math"
	"math/bits"
	"slices"
	"strconv"
	"strings"

	"ringside/flow/record"
)

// Codec says how one kind of audio travels in RTP (RFC 3551 and the payload
// format of each).
type Codec struct {
	Name     string // encoding name, as in rtpmap
	Payload  uint8  // static payload type; 0 with Dynamic
	Dynamic  bool   // payload type is chosen per call from 96 to 127
	Clock    uint32 // RTP clock, Hz
	Channels uint8  // written in rtpmap when above 1
	Ptime    uint16 // ms of audio in a packet
	Bytes    int    // payload bytes of a packet at most
	Min      int    // payload bytes of a packet at least, for codecs of variable rate
	SID      int    // payload bytes of a silence descriptor of the codec's own; 0: RFC 3389 comfort noise
	Fmtp     string // format parameters
}

var codecs = []Codec{
	{Name: "PCMU", Payload: 0, Clock: 8000, Ptime: 20, Bytes: 160},
	{Name: "PCMA", Payload: 8, Clock: 8000, Ptime: 20, Bytes: 160},
	{Name: "G722", Payload: 9, Clock: 8000, Ptime: 20, Bytes: 160},
	{Name: "G729", Payload: 18, Clock: 8000, Ptime: 20, Bytes: 20, SID: 2, Fmtp: "annexb=yes"},
	{Name: "G723", Payload: 4, Clock: 8000, Ptime: 30, Bytes: 24, SID: 4, Fmtp: "annexa=yes"},
	{Name: "GSM", Payload: 3, Clock: 8000, Ptime: 20, Bytes: 33},
	{Name: "iLBC", Dynamic: true, Clock: 8000, Ptime: 30, Bytes: 50, Fmtp: "mode=30"},
	{Name: "AMR", Dynamic: true, Clock: 8000, Ptime: 20, Bytes: 32, SID: 7, Fmtp: "mode-set=7;octet-align=1"},
	{Name: "AMR-WB", Dynamic: true, Clock: 16000, Ptime: 20, Bytes: 61, SID: 7, Fmtp: "mode-set=8;octet-align=1"},
	{Name: "opus", Dynamic: true, Clock: 48000, Channels: 2, Ptime: 20, Bytes: 120, Min: 40, Fmtp: "minptime=10;useinbandfec=1"},
}

// large are codecs whose packets do not fit into a frame. They are made only
// when asked for by name.
var large = []Codec{
	{Name: "L16", Dynamic: true, Clock: 48000, Channels: 2, Ptime: 20, Bytes: 3840},
}

// Codecs are the names that ParseCodec takes.
func Codecs() []string {
	var out []string
	for _, c := range slices.Concat(codecs, large) {
		out = append(out, c.Name)
	}
	return out
}

// ParseCodec reads NAME or NAME@PTIME, as in "PCMU@30" (ms).
func ParseCodec(s string) (Codec, error) {
	name, ptime, given := strings.Cut(s, "@")
	for _, c := range slices.Concat(codecs, large) {
		if !strings.EqualFold(c.Name, name) {
			continue
		}
		if !given {
			return c, nil
		}
		ms, err := strconv.Atoi(ptime)
		if err != nil || ms < 10 || ms > 120 || ms%10 != 0 {
			return c, fmt.Errorf("parse codec %q: packet time must be 10, 20, … 120 ms", s)
		}
		c.Bytes = c.Bytes * ms / int(c.Ptime)
		c.Min = c.Min * ms / int(c.Ptime)
		c.Ptime = uint16(ms)
		return c, nil
	}
	return Codec{}, fmt.Errorf("parse codec %q: not one of %s", s, strings.Join(Codecs(), ", "))
}

const (
	chunks = 256 // pieces of audio in a pool, taken in turn
)

// audio is a pool of payload bytes: packets take pieces of it in turn, so that
// a stream's payload varies, while the sum over a piece is known beforehand.
type audio struct {
	data []byte
	size int // of a piece
	sums [chunks]uint32
}

// audioFor makes the pool of a codec for what a side sends: a tune for PCMU,
// PCMA and G722, incompressible bytes for the rest. Those of Opus are heard as
// silence: they cannot be music, since packets take pieces of any length.
func audioFor(c *Codec, side record.Side) *audio {
	a := &audio{data: make([]byte, chunks*c.Bytes), size: c.Bytes}
	r := newRandom(uint64(c.Clock), uint64(c.Bytes)+uint64(side)<<32)
	switch c.Name {
	case "PCMU":
		tune(a.data, &r, side, mulaw)
	case "PCMA":
		tune(a.data, &r, side, alaw)
	case "G722":
		tune(a.data, &r, side, newG722().encode)
	default:
		for i := range a.data {
			a.data[i] = byte(r.next())
		}
	}
	if c.Name == "opus" {
		// Each piece is a full-band CELT frame of 20 ms (RFC 6716 section 3.1), whose
		// first bit, which ones say, is that it is silent (section 4.3).
		for i := range chunks {
			copy(a.data[i*c.Bytes:], []byte{31 << 3, 0xff, 0xff, 0xff, 0xff})
		}
	}
	for i := range a.sums {
		a.sums[i] = uint32(fold(sum(a.data[i*c.Bytes : (i+1)*c.Bytes])))
	}
	return a
}

// A tune is made of notes of a scale that sounds well whatever sounds together,
// and of pauses, as speech has them. Who listens hears by the pitch which side
// it is, and by the steps of the tune what is missing.
const noteLength = 2560 // samples at 8 kHz: 320 ms, of which a pool has a whole number

// tune fills a pool with companded samples.
func tune(out []byte, r *random, side record.Side, compand func(float64) byte) {
	base := 220.0 // Hz
	if side == called {
		base = 440
	}
	steps := [...]float64{1, 9. / 8, 5. / 4, 3. / 2, 5. / 3, 2}
	at, level := 0, 0.0
	for i := range out {
		n := i % noteLength
		if n == 0 {
			at = max(0, min(len(steps)-1, at+r.below(5)-2))
			if level = 0.3; i > 0 && r.chance(0.2) {
				level = 0
			}
		}
		t := float64(n) / 8000
		// A string that is plucked, and damped before the next one.
		x := min(1, t*200) * math.Exp(-4*t) * min(1, float64(noteLength-n)/80)
		w := 2 * math.Pi * base * steps[at] * t
		x *= math.Sin(w) + 0.4*math.Exp(-6*t)*math.Sin(2*w) + 0.2*math.Exp(-9*t)*math.Sin(3*w)
		out[i] = compand(level*x + 0.0006*r.normal())
	}
}

// mulaw compands x in -1..1 (ITU-T G.711): a sign, the place of the first of 13
// bits above a bias of 33, and the four behind it.
func mulaw(x float64) byte {
	n := min(uint(math.Abs(x)*8159)+33, 8191)
	seg := bits.Len(n) - 6
	b := byte(seg<<4) | byte(n>>(seg+1)&0xf)
	if x < 0 {
		b |= 0x80
	}
	return ^b
}

// alaw compands x in -1..1 (ITU-T G.711): likewise of 12 bits, without a bias,
// and with every other bit turned over.
func alaw(x float64) byte {
	n := min(uint(math.Abs(x)*4096), 4095)
	seg := max(bits.Len(n)-5, 0)
	b := byte(seg<<4) | byte(n>>max(seg, 1)&0xf)
	if x >= 0 {
		b |= 0x80
	}
	return b ^ 0x55
}

// codecNamed is a codec by its exact encoding name.
func codecNamed(name string) *Codec {
	for i := range codecs {
		if codecs[i].Name == name {
			return &codecs[i]
		}
	}
	panic("traffic: no codec " + name)
}
