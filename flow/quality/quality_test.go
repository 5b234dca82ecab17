package quality

import (
	"math"
	"testing"

	"ringside/flow/record"
	"ringside/flow/rtp"
)

func near(t *testing.T, what string, got, want, within float64) {
	t.Helper()
	if math.Abs(got-want) > within {
		t.Errorf("%s: got %.5f, want %.5f", what, got, want)
	}
}

func TestReferenceMOS(t *testing.T) {
	tests := []struct{ ppl, burst, want float64 }{
		{0, 0, 4.5},
		{0.1, 0, 4.5},
		{0.01, 1, 4.0930},
		{0.02, 2, 3.9111},
		{0.05, 1, 3.5912},
		{0.10, 1, 3.2843},
		{0.51, 1, 1},
	}
	for _, c := range tests {
		near(t, "MOS", ReferenceMOS(c.ppl, c.burst), c.want, 5e-5)
	}
}

func TestReference(t *testing.T) {
	tests := []struct {
		name string
		in   Loss
		want float64
	}{
		{"flawless", Loss{500, 500, 0, 0}, 4.5},
		{"four lost do not count", Loss{500, 496, 4, 4}, 4.5},
		{"five lost", Loss{505, 500, 5, 5}, ReferenceMOS(0.01, 1)},
		{"late packets are received", Loss{500, 500, 50, 10}, ReferenceMOS(0.1, 5*0.9)},
		{"a run from the interval before", Loss{110, 100, 10, 0}, ReferenceMOS(0.1, 10*0.9)},
		{"more lost than received", Loss{300, 100, 200, 1}, 1},
		{"nothing received", Loss{500, 0, 500, 1}, 4.5},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) { near(t, "MOS", Reference(c.in), c.want, 1e-9) })
	}
}

func TestMOS(t *testing.T) {
	tests := []struct{ r, want float64 }{
		{-5, 1}, {0, 1}, {3, 1}, {50, 2.575}, {60, 3.100}, {70, 3.597}, {80, 4.024},
		{90, 4.339}, {93.2, 4.409}, {100, 4.5}, {120, 4.5},
	}
	for _, c := range tests {
		near(t, "MOS", MOS(c.r), c.want, 5e-4)
	}
}

func TestRating(t *testing.T) {
	tests := []struct {
		name                string
		m                   Model
		ie, bpl, ppl, burst float64
		r, mos              float64 // r 0: not checked
	}{
		{"G.729A, 1 % random", Narrow, 11, 19, 1, 1, 78, 3.946},
		{"G.711, none", Narrow, 0, 25.1, 0, 1, 93.2, 4.4093},
		{"wideband, Ie 13", Wide, 13, 4.3, 0, 1, 116, 4.3371},
		{"wideband, Ie 41", Wide, 41, 4.3, 0, 1, 88, 3.5123},
		{"wideband, Ie 20, 2 %", Wide, 20, 4.3, 2, 1, 0, 3.4062},
		{"full band, none", FullBand, 0, 10, 0, 1, 148, 4.5},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			r := c.m.Rating(c.ie, c.bpl, c.ppl, c.burst, 0)
			if c.r != 0 {
				near(t, "R", r, c.r, 5e-3)
			}
			near(t, "MOS", c.m.MOS(r), c.mos, 5e-4)
		})
	}
}

func TestDelayImpairment(t *testing.T) {
	// Worked from G.107 (7-27): X = 1 at 200 ms, 2 at 400 ms.
	x1 := 25 * (math.Pow(2, 1./6) - 3*math.Pow(1+math.Pow(1./3, 6), 1./6) + 2)
	x2 := 25 * (math.Pow(65, 1./6) - 3*math.Pow(1+math.Pow(2./3, 6), 1./6) + 2)
	for _, c := range []struct{ ms, want float64 }{{0, 0}, {100, 0}, {200, x1}, {400, x2}} {
		near(t, "Idd", DelayImpairment(c.ms), c.want, 1e-9)
	}
	// And against the usual simplification, within its accuracy.
	near(t, "Idd at 400 ms", DelayImpairment(400), 0.024*400+0.11*(400-177.3)-10, 2.5)
	for ms := 0.; ms < 2000; ms += 10 {
		if DelayImpairment(ms+10) < DelayImpairment(ms) {
			t.Fatalf("more delay impairs less at %v ms", ms)
		}
	}
}

func TestPpl(t *testing.T) {
	tests := []struct {
		name       string
		in         Loss
		ppl, burst float64
	}{
		{"none", Loss{100, 100, 0, 0}, 0, 1},
		{"single losses are not less than random", Loss{100, 90, 10, 10}, 10, 1},
		{"runs of five", Loss{1000, 900, 100, 20}, 10, 4.5},
		{"nothing expected", Loss{}, 0, 1},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			ppl, burst := c.in.Ppl()
			near(t, "Ppl", ppl, c.ppl, 1e-9)
			near(t, "BurstR", burst, c.burst, 1e-9)
		})
	}
}

func TestAverage(t *testing.T) {
	var a Average
	if c := a.Compat(0, 0); c != (record.Compat{}) {
		t.Errorf("before the first interval: %+v", c)
	}
	clean := Loss{500, 500, 0, 0}
	bad := Loss{500, 450, 50, 50}
	worse := Loss{500, 400, 100, 20}
	a.Add(10_000, &[3]Loss{bad, clean, clean})
	a.Add(10_000, &[3]Loss{worse, bad, clean})
	a.Add(5_000, &[3]Loss{clean, clean, clean})
	c := a.Compat(5, 95)
	near(t, "F1", c.MosF1, (2*Reference(bad)+2*Reference(worse)+4.5)/5, 1e-4)
	near(t, "F1 min", c.MosF1Min, Reference(worse), 1e-4)
	near(t, "F2", c.MosF2, (2*4.5+2*Reference(bad)+4.5)/5, 1e-4)
	near(t, "F2 min", c.MosF2Min, Reference(bad), 1e-4)
	near(t, "adaptive", c.MosAdapt, 4.5, 0)
	near(t, "adaptive min", c.MosAdaptMin, 4.5, 0)
	near(t, "loss", c.LossPerc, 5, 0)
	if a.Worst() != bad {
		t.Errorf("worst interval of F2: %+v", a.Worst())
	}
	if got := Unconnected(c, 100); got != c {
		t.Errorf("100 packets count even unconnected: %+v", got)
	}
	if got := Unconnected(c, 99); got.MosF1 != 4.5 || got.MosF1Min != 4.5 || got.LossPerc != 5 {
		t.Errorf("unconnected: %+v", got)
	}
}

func TestEstimate(t *testing.T) {
	clean := Loss{1000, 1000, 0, 0}
	one := Loss{1000, 990, 10, 10}
	ten := Loss{500, 450, 50, 50}

	m := Estimate(rtp.PCMU, clean, clean, 0)
	near(t, "G.711 flawless", m.CQ, 4.4093, 5e-4)
	if m.CQ != m.LQ || m.Min != m.LQ || m.Method != "G.107" || m.Confidence != Published || m.N != 1000 {
		t.Errorf("flawless: %+v", m)
	}

	m = Estimate(rtp.G729, one, ten, 300)
	near(t, "G.729 LQ", m.LQ, 3.946, 5e-4)
	near(t, "G.729 CQ", m.CQ, MOS(78-DelayImpairment(300)), 5e-3)
	near(t, "worst", m.Min, MOS(93.2-11-84*10./29), 5e-4)
	near(t, "R", m.R, 78-DelayImpairment(300), 5e-3)
	if m.Delay != 300 || m.Ie != 11 || m.Bpl != 19 || m.Ppl != 1 {
		t.Errorf("inputs are not shown: %+v", m)
	}

	for _, codec := range []rtp.Codec{rtp.Unknown, rtp.H264, rtp.TelephoneEvent, rtp.CLEARMODE} {
		m = Estimate(codec, one, ten, 0)
		if m.CQ != 0 || m.LQ != 0 || m.Min != 0 || m.Confidence != "none" || m.Ppl != 1 {
			t.Errorf("%v has no score: %+v", codec, m)
		}
	}
	if m = Estimate(rtp.PCMU, Loss{}, Loss{}, 0); m.CQ != 0 || m.Confidence != "none" {
		t.Errorf("no packets: %+v", m)
	}
}

// TestConstants checks that every entry can be used and explained, and that
// more loss never scores better.
func TestConstants(t *testing.T) {
	for codec, k := range constants {
		t.Run(codec.String(), func(t *testing.T) {
			if k.Model == None || k.Bpl <= 0 || k.Ie < 0 || k.Source == "" {
				t.Errorf("incomplete: %+v", k)
			}
			if k.Confidence != Published && k.Confidence != Literature && k.Confidence != Estimated {
				t.Errorf("confidence %q", k.Confidence)
			}
			last := 4.5
			for bad := range uint32(1001) {
				m := Estimate(codec, Loss{1000, 1000, bad, bad}, Loss{}, 0)
				if m.LQ > last || m.LQ < 1 || math.IsNaN(m.LQ) {
					t.Fatalf("LQ %v at %d of 1000 bad, %v before", m.LQ, bad, last)
				}
				last = m.LQ
			}
		})
	}
}

func TestAllocations(t *testing.T) {
	var a Average
	in := [3]Loss{{500, 450, 50, 20}, {500, 460, 40, 20}, {500, 490, 10, 10}}
	if n := testing.AllocsPerRun(100, func() {
		a.Add(10_000, &in)
		m := Estimate(rtp.PCMA, in[1], a.Worst(), 120)
		sink += m.CQ
	}); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

var sink float64

func BenchmarkAdd(b *testing.B) {
	b.ReportAllocs()
	var a Average
	in := [3]Loss{{500, 450, 50, 20}, {500, 460, 40, 20}, {500, 490, 10, 10}}
	for b.Loop() {
		a.Add(10_000, &in)
	}
}

func BenchmarkEstimate(b *testing.B) {
	b.ReportAllocs()
	l := Loss{500, 450, 50, 20}
	for b.Loop() {
		sink += Estimate(rtp.PCMA, l, l, 120).CQ
	}
}
