package audio

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"ringside/flow/rtp"
)

// Samples of G.711 at the ends and in the middle of its scale (ITU-T G.711 tables 1 and 2).
func TestG711(t *testing.T) {
	for _, c := range []struct {
		name  string
		table *[256]float32
		code  byte
		want  float32
	}{
		{"mu-law loudest", &mulaw, 0x80, 32124},
		{"mu-law loudest negative", &mulaw, 0x00, -32124},
		{"mu-law silence", &mulaw, 0xff, 0},
		{"mu-law silence negative", &mulaw, 0x7f, 0},
		{"mu-law quietest", &mulaw, 0xfe, 8},
		{"A-law loudest", &alaw, 0xaa, 32256},
		{"A-law loudest negative", &alaw, 0x2a, -32256},
		{"A-law quietest", &alaw, 0xd5, 8},
		{"A-law quietest negative", &alaw, 0x55, -8},
	} {
		if got := c.table[c.code]; got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

// ffmpeg runs ffmpeg from one file to another, or skips the test.
func ffmpeg(t *testing.T, in []byte, args ...string) []byte {
	t.Helper()
	path, err := exec.LookPath("ffmpeg")
	if err != nil {
		t.Skip("no ffmpeg here to compare with")
	}
	dir := t.TempDir()
	from, to := filepath.Join(dir, "in"), filepath.Join(dir, "out")
	if err := os.WriteFile(from, in, 0o600); err != nil {
		t.Fatal(err)
	}
	all := []string{"-v", "error", "-nostdin"}
	for _, a := range args {
		switch a {
		case "IN":
			a = from
		case "OUT":
			a = to
		}
		all = append(all, a)
	}
	if out, err := exec.Command(path, all...).CombinedOutput(); err != nil {
		t.Fatalf("ffmpeg %v: %v: %s", args, err, out)
	}
	b, err := os.ReadFile(to)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// speech is a sound that changes in pitch and loudness, as 16-bit samples.
func speech(rate, n int) []byte {
	b := make([]byte, 0, 2*n)
	phase := 0.0
	for i := range n {
		s := float64(i) / float64(rate)
		phase += 2 * math.Pi * (180 + 80*math.Sin(3*s)) / float64(rate)
		x := 6000 * (math.Sin(phase) + 0.5*math.Sin(2*phase) + 0.3*math.Sin(5*phase) + 0.1*math.Sin(19*phase)) * (0.55 + 0.45*math.Sin(9*s))
		b = binary.LittleEndian.AppendUint16(b, uint16(int16(x)))
	}
	return b
}

func int16s(b []byte) []float32 {
	out := make([]float32, 0, len(b)/2)
	for ; len(b) >= 2; b = b[2:] {
		out = append(out, float32(int16(binary.LittleEndian.Uint16(b))))
	}
	return out
}

// noiseOctets are octets that no encoder would make.
func noiseOctets(n int) []byte {
	r := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// decoded is what a decoder makes of payloads.
func decoded(t *testing.T, d decoder, payloads ...[]byte) (out []float32) {
	t.Helper()
	for _, p := range payloads {
		var err error
		if out, err = d.decode(p, out); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// G.722 is specified bit by bit: every decoder makes the same samples.
func TestG722AsFFmpeg(t *testing.T) {
	coded := ffmpeg(t, speech(16000, 32000), "-f", "s16le", "-ar", "16000", "-ac", "1", "-i", "IN", "-c:a", "g722", "-f", "g722", "OUT")
	for name, in := range map[string][]byte{"speech": coded, "noise": noiseOctets(16000)} {
		t.Run(name, func(t *testing.T) {
			want := int16s(ffmpeg(t, in, "-f", "g722", "-i", "IN", "-f", "s16le", "OUT"))
			got := decoded(t, newG722(), in)
			if len(got) != len(want) || len(got) != 2*len(in) {
				t.Fatalf("%d samples of %d octets, ffmpeg makes %d", len(got), len(in), len(want))
			}
			for i := range got {
				if got[i] != want[i] {
					t.Fatalf("sample %d is %v, ffmpeg's %v", i, got[i], want[i])
				}
			}
		})
	}
}

// The sum is that of samples which were compared with ffmpeg, for where there is none.
func TestG722(t *testing.T) {
	sum := crc32.NewIEEE()
	for _, x := range decoded(t, newG722(), noiseOctets(16000)) {
		fmt.Fprintln(sum, x)
	}
	if got := sum.Sum32(); got != 0x31300922 {
		t.Errorf("samples of noise have the sum %#x", got)
	}
}

// oggPackets are the packets of an Ogg file (RFC 3533), without its two headers.
func oggPackets(b []byte) (out [][]byte) {
	var packet []byte
	for len(b) >= 27 && bytes.Equal(b[:4], []byte("OggS")) {
		lacing := b[27 : 27+int(b[26])]
		b = b[27+len(lacing):]
		for _, n := range lacing {
			packet = append(packet, b[:n]...)
			b = b[n:]
			if n < 255 {
				out, packet = append(out, packet), nil
			}
		}
	}
	return out[min(2, len(out)):]
}

// likeness is the correlation of a sound with another from some sample on: 1 if
// one is the other, louder or not.
func likeness(a, b []float32, from int) float64 {
	var ab, aa, bb float64
	for i, x := range a {
		if i+from >= len(b) {
			break
		}
		y := float64(b[i+from])
		ab, aa, bb = ab+float64(x)*y, aa+float64(x)*float64(x), bb+y*y
	}
	return ab / math.Sqrt(aa*bb+1)
}

// Each mode of Opus: SILK for low rates, hybrid, CELT.
func TestOpusAsFFmpeg(t *testing.T) {
	in := speech(48000, 2*48000)
	for _, c := range []struct {
		name     string
		args     []string
		min, max byte // configuration numbers (RFC 6716 table 2)
	}{
		{"SILK narrowband", []string{"-application", "voip", "-b:a", "8k", "-cutoff", "4000"}, 0, 3},
		{"SILK wideband", []string{"-application", "voip", "-b:a", "18k", "-cutoff", "8000"}, 8, 11},
		{"hybrid and others", []string{"-application", "voip", "-b:a", "40k"}, 12, 31},
		{"CELT", []string{"-application", "lowdelay", "-b:a", "64k"}, 16, 31},
		{"CELT of 5 ms", []string{"-application", "lowdelay", "-b:a", "64k", "-frame_duration", "5"}, 16, 31},
		{"60 ms", []string{"-application", "voip", "-b:a", "16k", "-frame_duration", "60"}, 0, 31},
	} {
		t.Run(c.name, func(t *testing.T) {
			args := append([]string{"-f", "s16le", "-ar", "48000", "-ac", "1", "-i", "IN", "-c:a", "libopus"}, c.args...)
			coded := ffmpeg(t, in, append(args, "-f", "ogg", "OUT")...)
			want := int16s(ffmpeg(t, coded, "-c:a", "libopus", "-i", "IN", "-ar", "48000", "-ac", "1", "-f", "s16le", "OUT"))
			packets := oggPackets(coded)
			inMode := 0
			var ticks int64
			for _, p := range packets {
				if m := p[0] >> 3; m >= c.min && m <= c.max {
					inMode++
				}
				ticks += opusTicks(p)
			}
			if inMode*2 < len(packets) {
				t.Fatalf("%d of %d packets are of this mode: the test does not test it", inMode, len(packets))
			}
			for _, rate := range Rates {
				d, err := newOpus(rate)
				if err != nil {
					t.Fatal(err)
				}
				got := decoded(t, d, packets...)
				if int64(len(got)) != ticks*int64(rate)/48000 {
					t.Errorf("%d samples at %d Hz of %d ticks", len(got), rate, ticks)
				}
				if rate != 48000 {
					continue
				}
				// ffmpeg leaves out what the encoder put in front: 6.5 ms, or 2.5.
				for from := 0; from < len(want)-9600; from += 9600 {
					if like := max(likeness(want[from:from+9600], got, from+312), likeness(want[from:from+9600], got, from+120)); like < 0.999 {
						t.Errorf("like ffmpeg's to %.4f after %d ms", like, from/48)
					}
				}
			}
		})
	}
}

// Whatever the octets, a decoder gives samples or an error.
func TestOpusOfNoise(t *testing.T) {
	d, err := newOpus(48000)
	if err != nil {
		t.Fatal(err)
	}
	noise := noiseOctets(60000)
	broken := 0
	for i := 0; i+300 < len(noise); i += 100 {
		out, err := d.decode(noise[i:i+2+i%290], nil)
		if err != nil {
			broken++
		}
		if len(out) > opusMax {
			t.Fatalf("%d samples of one packet", len(out))
		}
	}
	if broken == 0 {
		t.Error("no error for any of these packets")
	}
}

func TestLinear(t *testing.T) {
	got := decoded(t, linear{2}, []byte{0x10, 0, 0x20, 0, 0xff, 0xff, 0xff, 0xfd, 1})
	if len(got) != 2 || got[0] != 0x1800 || got[1] != -2 {
		t.Errorf("stereo became %v", got)
	}
}

func TestOpusTicks(t *testing.T) {
	for _, c := range []struct {
		packet []byte
		want   int64
	}{
		{nil, 0},
		{[]byte{0 << 3}, 480},
		{[]byte{1<<3 | 1}, 1920},
		{[]byte{3 << 3}, 2880},
		{[]byte{15 << 3}, 960},
		{[]byte{16<<3 | 3, 4}, 480},
		{[]byte{31<<3 | 3, 6}, 5760},
		{[]byte{31<<3 | 3, 7}, 0},
		{[]byte{31<<3 | 3}, 0},
	} {
		if got := opusTicks(c.packet); got != c.want {
			t.Errorf("%v lasts %d, want %d", c.packet, got, c.want)
		}
	}
}

// A tone keeps its level and its place when the rate changes, and nothing else
// is heard beside it.
func TestResample(t *testing.T) {
	for _, c := range []struct{ from, to int }{{8000, 16000}, {8000, 48000}, {16000, 48000}, {44100, 48000}, {16000, 8000}, {48000, 8000}, {11025, 16000}} {
		t.Run(fmt.Sprintf("%d to %d", c.from, c.to), func(t *testing.T) {
			const f = 1000
			r := newResampler(c.from, c.to)
			var out []float32
			for at := 0; at < c.from; at += c.from / 50 { // as packets of 20 ms
				var in []float32
				for i := at; i < min(at+c.from/50, c.from); i++ {
					in = append(in, float32(10000*math.Sin(2*math.Pi*f*float64(i)/float64(c.from))))
				}
				out = r.run(in, out)
			}
			if n := len(out); n < c.to*49/50-1 || n > c.to+1 {
				t.Fatalf("%d samples of a second", n)
			}
			out = out[r.delay:]
			worst := 0.0
			for i := c.to / 10; i < c.to*8/10; i++ {
				want := 10000 * math.Sin(2*math.Pi*f*float64(i)/float64(c.to))
				worst = max(worst, math.Abs(float64(out[i])-want))
			}
			// A delay is a whole number of samples; 44,100 Hz has none that fits exactly.
			if limit := 2*math.Pi*f/float64(c.to)*10000*0.5 + 30; worst > limit {
				t.Errorf("off by %.0f of 10000, at most %.0f is right", worst, limit)
			}
		})
	}
}

func TestResampleStopsWhatCannotBe(t *testing.T) {
	r := newResampler(48000, 8000)
	var in []float32
	for i := range 48000 {
		in = append(in, float32(10000*math.Sin(2*math.Pi*6000*float64(i)/48000)))
	}
	out := r.run(in, nil)
	for i, x := range out[100 : len(out)-100] {
		if x > 30 || x < -30 {
			t.Fatalf("6 kHz is heard at 8 kHz: sample %d is %v of 10000", i, x)
		}
	}
}

func TestFormats(t *testing.T) {
	for _, c := range []struct {
		f        format
		sampling int
		needs    int
		ticks    int64 // of 160 octets that begin with 0
	}{
		{format{rtp.PCMU, 8000, 1}, 8000, 8000, 160},
		{format{rtp.PCMA, 8000, 1}, 8000, 8000, 160},
		{format{rtp.G722, 8000, 1}, 16000, 16000, 160},
		{format{rtp.L16, 44100, 2}, 44100, 48000, 40},
		{format{rtp.L16, 44101, 1}, 0, 8000, 80},
		{format{rtp.L16, 16000, 1}, 16000, 16000, 80},
		{format{rtp.Opus, 48000, 2}, 16000, 48000, 480},
		{format{rtp.G729, 8000, 1}, 0, 8000, 160},
	} {
		if got := c.f.sampling(16000); got != c.sampling {
			t.Errorf("%v: sampling %d, want %d", c.f, got, c.sampling)
		}
		if got := c.f.needs(); got != c.needs {
			t.Errorf("%v: needs %d, want %d", c.f, got, c.needs)
		}
		if got := c.f.ticks(make([]byte, 160), 160); got != c.ticks {
			t.Errorf("%v: %d ticks, want %d", c.f, got, c.ticks)
		}
	}
}

// Whatever payload types are there, they have a clock.
func TestFindHasClock(t *testing.T) {
	b := newBook(&Call{SDP: [][]byte{[]byte("v=0\r\nc=IN IP4 10.0.0.2\r\nm=audio 5000 RTP/AVP 96 97\r\na=rtpmap:96 X/0\r\na=rtpmap:97 opus/4000000000\r\n")}})
	for pt := range uint8(128) {
		if f := b.find(streamKey{src: alice, dst: bob}, pt); f.clock < 1000 || f.clock > 384000 || f.channels < 1 {
			t.Errorf("payload type %d is %+v", pt, f)
		}
	}
}
