package audio

import (
	"context"
	"math"
	"testing"

	"github.com/tphakala/go-opus/opus"
)

// opusCall is a call of one direction with a tone in Opus; some packets are lost.
func opusCall(tb testing.TB, packets int, lost func(i int) bool) Call {
	tb.Helper()
	e, err := opus.NewEncoder(opus.EncoderConfig{SampleRate: 48000, Channels: 1, Bitrate: 32000})
	if err != nil {
		tb.Fatal(err)
	}
	s := &tape{}
	a := s.sender(alice, bob, 1)
	a.pt, a.ticks = 111, 960
	in, out := make([]int16, 960), make([]byte, 1500)
	for i := range packets {
		for k := range in {
			in[k] = int16(8000 * math.Sin(2*math.Pi*440*float64(i*960+k)/48000))
		}
		n, err := e.Encode(in, out)
		if err != nil {
			tb.Fatal(err)
		}
		if lost(i) {
			a.skip()
		} else {
			a.send(out[:n])
		}
	}
	return Call{Packets: s.source, SDP: [][]byte{opusTypes("111")}}
}

func TestOpusCall(t *testing.T) {
	r := open(t, opusCall(t, 100, func(i int) bool { return i == 50 || i == 51 }))
	if x := r.Streams[0]; r.Rate != 48000 || x.Codec != "opus" || x.Lost != 2 {
		t.Fatalf("described as %+v", r.Description)
	}
	for _, rate := range Rates {
		w := render(t, r, Options{Rate: rate})
		if len(w.left) != 2*rate {
			t.Errorf("%d samples at %d Hz", len(w.left), rate)
		}
		if gap := w.left[rate : rate+rate/25]; energy(gap) != 0 {
			t.Errorf("at %d Hz the lost packets have a level of %.1f", rate, energy(gap))
		}
		if p := pitch(w.left[rate/10:rate*9/10], rate); math.Abs(p-440) > 6 {
			t.Errorf("at %d Hz the tone is %.0f Hz high", rate, p)
		}
		if e := energy(w.left[rate*5/4 : rate*7/4]); math.Abs(e-8000/math.Sqrt2) > 300 {
			t.Errorf("at %d Hz its level is %.0f", rate, e)
		}
	}
}

// Of all that can be rendered this has the most to do.
func BenchmarkRenderOpus(b *testing.B) {
	r, err := Open(context.Background(), opusCall(b, 500, func(int) bool { return false }))
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		var n counter
		if err := r.Render(context.Background(), &n, Options{}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(10/(b.Elapsed().Seconds()/float64(b.N)), "s/s")
}
