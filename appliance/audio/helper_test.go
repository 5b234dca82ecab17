package audio

import (
	"bytes"
	"context"
	"encoding/binary"
	"math"
	"net/netip"
	"slices"
	"testing"
)

// start is when the calls of the tests begin.
const start = 1_700_000_000_000_000_000

const ms = 1_000_000

var (
	alice = netip.MustParseAddrPort("10.0.0.1:4000")
	bob   = netip.MustParseAddrPort("10.0.0.2:5000")
)

// tape is a source of packets that a test writes.
type tape struct{ packets []Packet }

func (s *tape) source(ctx context.Context, emit func(*Packet) error) error {
	slices.SortStableFunc(s.packets, func(a, b Packet) int { return int(a.Time - b.Time) })
	for i := range s.packets {
		p := s.packets[i]
		if err := emit(&p); err != nil {
			return err
		}
	}
	return nil
}

// sender writes the RTP packets of one stream.
type sender struct {
	to       *tape
	src, dst netip.AddrPort
	ssrc, ts uint32
	seq      uint16
	pt       uint8
	ticks    uint32 // of a packet
	late     int64  // how much later than its time a packet is captured, ns
	at       int64  // time of the next packet
	step     int64
	sent     int
	seal     func(b []byte) []byte // encrypts; nil: not
}

func (s *tape) sender(src, dst netip.AddrPort, ssrc uint32) *sender {
	return &sender{to: s, src: src, dst: dst, ssrc: ssrc, seq: 65500, ts: 4294960000, ticks: 160, at: start, step: 20 * ms}
}

// rtp is a packet with a payload.
func rtpPacket(pt uint8, seq uint16, ts, ssrc uint32, payload []byte) []byte {
	b := binary.BigEndian.AppendUint16([]byte{0x80, pt}, seq)
	b = binary.BigEndian.AppendUint32(b, ts)
	b = binary.BigEndian.AppendUint32(b, ssrc)
	return append(b, payload...)
}

// send sends one packet.
func (s *sender) send(payload []byte) {
	b := rtpPacket(s.pt, s.seq, s.ts, s.ssrc, payload)
	if s.seal != nil {
		b = s.seal(b)
	}
	s.to.packets = append(s.to.packets, Packet{Time: s.at + s.late, Src: s.src, Dst: s.dst, Data: b, Len: len(b)})
	s.skip()
}

// skip lets the time of a packet pass without it.
func (s *sender) skip() {
	s.seq, s.ts, s.at = s.seq+1, s.ts+s.ticks, s.at+s.step
	s.sent++
}

// tone sends packets of a tone of PCMU, of 8000 at its loudest.
func (s *sender) tone(packets int, hz float64) {
	for range packets {
		s.send(tone(hz, s.sent*160, 160))
	}
}

// tone is a part of a tone in PCMU.
func tone(hz float64, from, n int) []byte {
	out := make([]byte, n)
	for i := range out {
		out[i] = encodeMulaw(8000 * math.Sin(2*math.Pi*hz*float64(from+i)/8000))
	}
	return out
}

// encodeMulaw is the octet of the next sample of G.711.
func encodeMulaw(x float64) byte {
	best, at := math.Inf(1), 0
	for i, y := range mulaw {
		if d := math.Abs(float64(y) - x); d < best {
			best, at = d, i
		}
	}
	return byte(at)
}

func open(t *testing.T, c Call) *Recording {
	t.Helper()
	r, err := Open(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// wave is what a WAV file holds.
type wave struct {
	rate, channels int
	left, right    []float32
}

// render renders, and reads the file as others do.
func render(t *testing.T, r *Recording, o Options) wave {
	t.Helper()
	var b bytes.Buffer
	if err := r.Render(context.Background(), &b, o); err != nil {
		t.Fatal(err)
	}
	if size, err := r.Size(o); err != nil || size != int64(b.Len()) {
		t.Fatalf("Size says %d, %v, but %d bytes were written", size, err, b.Len())
	}
	return parseWAV(t, b.Bytes())
}

func parseWAV(t *testing.T, b []byte) (w wave) {
	t.Helper()
	le := binary.LittleEndian
	if len(b) < 44 || string(b[:4]) != "RIFF" || int(le.Uint32(b[4:])) != len(b)-8 || string(b[8:16]) != "WAVEfmt " ||
		string(b[36:40]) != "data" || int(le.Uint32(b[40:])) != len(b)-44 || le.Uint16(b[34:]) != 16 {
		t.Fatalf("no WAV file of 16 bits and %d bytes: % x", len(b), b[:min(44, len(b))])
	}
	w.channels, w.rate = int(le.Uint16(b[22:])), int(le.Uint32(b[24:]))
	if int(le.Uint32(b[28:])) != w.rate*w.channels*2 || int(le.Uint16(b[32:])) != 2*w.channels {
		t.Fatalf("block size and rate of the header do not fit")
	}
	for i, x := range int16s(b[44:]) {
		if i%w.channels == 0 {
			w.left = append(w.left, x)
		} else {
			w.right = append(w.right, x)
		}
	}
	return w
}

// loud are the parts of a sound that are no silence, as spans in ms.
func loud(x []float32, rate int) (out [][2]int) {
	const quiet = 30 // samples; a tone crosses zero in less
	last := -1 << 30
	for i, v := range x {
		if v > -50 && v < 50 {
			continue
		}
		if i-last > quiet*rate/8000 {
			out = append(out, [2]int{i, i})
		}
		out[len(out)-1][1] = i
		last = i
	}
	for i := range out {
		out[i][0] = (out[i][0]*1000 + rate/2) / rate
		out[i][1] = (out[i][1]*1000 + rate/2) / rate
	}
	return out
}

// spans compares the parts of a sound with those wanted, 2 ms more or less.
func spans(t *testing.T, name string, got, want [][2]int) {
	t.Helper()
	ok := len(got) == len(want)
	for i := range want {
		if ok {
			ok = abs(got[i][0]-want[i][0]) <= 2 && abs(got[i][1]-want[i][1]) <= 2
		}
	}
	if !ok {
		t.Errorf("%s is heard at %v ms, want %v", name, got, want)
	}
}

func abs(x int) int { return max(x, -x) }

// pitch is the frequency of a tone in a part of a sound, Hz; of a tune, that of
// what is loud in it.
func pitch(x []float32, rate int) float64 {
	crossings, sounding, below, last := 0, 0, false, -rate
	for i, v := range x {
		switch {
		case v < -500:
			below = true
		case v > 500 && below:
			below = false
			crossings++
		}
		if v > 500 || v < -500 {
			last = i
		}
		if i-last < rate/100 {
			sounding++
		}
	}
	return float64(crossings) * float64(rate) / float64(max(1, sounding))
}
