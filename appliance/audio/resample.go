package audio

import "math"

// resampler changes the sampling rate of one stream by the ratio of two whole
// numbers: a low-pass in as many phases as there are samples to make of one,
// of which each output sample needs one phase.
type resampler struct {
	up, down int
	taps     [][]float32 // by phase, for the newest sample first
	x        []float32   // samples that the next output still needs, then new ones
	at       int         // of the next output: at/up is the newest sample it needs
	delay    int64       // of the low-pass, output samples
}

// lobes is half the length of the low-pass in samples of the lower rate: with a
// Kaiser window of 7 some 70 dB of what it stops.
const lobes = 12

func newResampler(from, to int) *resampler {
	g := gcd(from, to)
	r := &resampler{up: to / g, down: from / g}
	wide := float64(max(r.up, r.down)) / float64(r.up) // input samples in one of the lower rate
	n := int(math.Ceil(2 * lobes * wide))
	centre := float64(n) / 2
	r.taps = make([][]float32, r.up)
	for p := range r.taps {
		r.taps[p] = make([]float32, n)
		sum := 0.0
		for k := range n {
			t := float64(k) + float64(p)/float64(r.up) - centre // from the centre, input samples
			h := sinc(0.94*t/wide) * kaiser(t/centre)
			r.taps[p][k] = float32(h)
			sum += h
		}
		for k := range n { // every phase passes a constant as it is
			r.taps[p][k] /= float32(sum)
		}
	}
	r.delay = int64(math.Round(centre * float64(r.up) / float64(r.down)))
	r.reset()
	return r
}

// reset forgets the samples before: they are followed by others.
func (r *resampler) reset() {
	n := len(r.taps[0])
	r.x = append(r.x[:0], make([]float32, n-1)...)
	r.at = (n - 1) * r.up
}

// run appends the samples that follow from in to out.
func (r *resampler) run(in, out []float32) []float32 {
	r.x = append(r.x, in...)
	for ; r.at/r.up < len(r.x); r.at += r.down {
		newest := r.at / r.up
		var y float32
		for k, h := range r.taps[r.at%r.up] {
			y += h * r.x[newest-k]
		}
		out = append(out, y)
	}
	// The next output needs the samples up to n-1 before its newest.
	if drop := r.at/r.up - (len(r.taps[0]) - 1); drop > 0 {
		r.x = r.x[:copy(r.x, r.x[drop:])]
		r.at -= drop * r.up
	}
	return out
}

func sinc(x float64) float64 {
	if x == 0 {
		return 1
	}
	return math.Sin(math.Pi*x) / (math.Pi * x)
}

// kaiser is the window at x in -1..1.
func kaiser(x float64) float64 {
	if x < -1 || x > 1 {
		return 0
	}
	const beta = 7
	return bessel(beta*math.Sqrt(1-x*x)) / bessel(beta)
}

// bessel is the modified Bessel function of the first kind, of order 0.
func bessel(x float64) float64 {
	sum, term := 1.0, 1.0
	for k := 1.0; term > 1e-12*sum; k++ {
		term *= x / 2 / k * (x / 2 / k)
		sum += term
	}
	return sum
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}
