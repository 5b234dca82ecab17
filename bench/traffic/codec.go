package traffic

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
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

// audioFor makes the pool of a codec: speech-like companded samples for PCMU,
// PCMA and G722, incompressible bytes for the rest.
func audioFor(c *Codec) *audio {
	a := &audio{data: make([]byte, chunks*c.Bytes), size: c.Bytes}
	r := newRandom(uint64(c.Clock), uint64(c.Bytes))
	companded := c.Name == "PCMU" || c.Name == "PCMA" || c.Name == "G722"
	level, phase := 0.0, 0.0
	for i := range a.data {
		if !companded {
			a.data[i] = byte(r.next())
			continue
		}
		if i%400 == 0 { // a new level every 50 ms, pauses included
			level = 0.3 * r.unit() * float64(r.below(4)) / 3
		}
		phase += 2 * math.Pi * (110 + 60*math.Sin(float64(i)/9000)) / 8000
		x := level * (math.Sin(phase) + 0.5*math.Sin(3*phase) + 0.2*math.Sin(7*phase) + 0.05*r.normal())
		a.data[i] = mulaw(x)
		if c.Name == "PCMA" {
			a.data[i] ^= 0x2a
		}
	}
	if c.Name == "opus" { // each piece one hybrid full-band frame of 20 ms, RFC 6716 section 3.1
		for i := range chunks {
			a.data[i*c.Bytes] = 15 << 3
		}
	}
	for i := range a.sums {
		a.sums[i] = uint32(fold(sum(a.data[i*c.Bytes : (i+1)*c.Bytes])))
	}
	return a
}

// mulaw compands x in -1..1 (ITU-T G.711, continuous form).
func mulaw(x float64) byte {
	x = max(-1, min(1, x))
	y := math.Log1p(255*math.Abs(x)) / math.Log(256)
	b := byte(127 * y)
	if x < 0 {
		b |= 0x80
	}
	return ^b
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
