package traffic

import "math"

// g722 encodes sounds below 4 kHz by ITU-T G.722 at 64 kbit/s. The mirror filter
// that splits a sound into two bands is spared: the lower band is the sound at
// 8 kHz, the upper one is silent. Names are those of the recommendation.
type g722 struct{ low, high band }

// band is the adaptive predictor of one sub-band (G.722 sections 3.5, 3.6).
type band struct {
	s, sz int32    // predicted signal, and its part by zeros
	r     [3]int32 // reconstructed signal, newest first
	p     [3]int32 // the same without the part by poles
	a     [2]int32 // coefficients of poles
	b     [6]int32 // coefficients of zeros
	d     [7]int32 // quantised differences, newest first
	nb    int32    // logarithm of the step
	det   int32    // step
}

// Tables of G.722: adaptation of the logarithmic step (WL, WH by code), its
// inverse (ILB), the inverse quantisers of 6, 4 and 2 bits.
var (
	g722WL = [16]int32{-60, 3042, 1198, 538, 334, 172, 58, -30, 3042, 1198, 538, 334, 172, 58, -30, -60}
	g722WH = [4]int32{798, -214, 798, -214}

	g722ILB = [32]int32{
		2048, 2093, 2139, 2186, 2233, 2282, 2332, 2383, 2435, 2489, 2543, 2599, 2656, 2714, 2774, 2834,
		2896, 2960, 3025, 3091, 3158, 3228, 3298, 3371, 3444, 3520, 3597, 3676, 3756, 3838, 3922, 4008,
	}
	g722QM2 = [4]int32{-7408, -1616, 7408, 1616}
	g722QM4 = [16]int32{
		0, -20456, -12896, -8968, -6288, -4240, -2584, -1200,
		20456, 12896, 8968, 6288, 4240, 2584, 1200, 0,
	}
	g722QM6 = [64]int32{
		-136, -136, -136, -136, -24808, -21904, -19008, -16704, -14984, -13512, -12280, -11192, -10232, -9360, -8576, -7856,
		-7192, -6576, -6000, -5456, -4944, -4464, -4008, -3576, -3168, -2776, -2400, -2032, -1688, -1360, -1040, -728,
		24808, 21904, 19008, 16704, 14984, 13512, 12280, 11192, 10232, 9360, 8576, 7856, 7192, 6576, 6000, 5456,
		4944, 4464, 4008, 3576, 3168, 2776, 2400, 2032, 1688, 1360, 1040, 728, 432, 136, -432, -136,
	}
)

func newG722() *g722 { return &g722{low: band{det: 32}, high: band{det: 8}} }

// encode is the octet of the next sample at 8 kHz, in -1..1. Of all codes it
// takes the one that the decoder makes the least error of.
func (g *g722) encode(x float64) byte {
	l, h := &g.low, &g.high
	want := int32(16383*math.Max(-1, math.Min(1, x))) - l.s
	six := nearest(g722QM6[4:], l.det, want) + 4 // the first four codes are not sent
	four := six >> 2
	d := l.det * g722QM4[four] >> 15
	l.nb = min(max(l.nb*127>>7+g722WL[four], 0), 18432)
	l.det = scale(l.nb, 8)
	l.predict(d)

	two := nearest(g722QM2[:], h.det, -h.s)
	d = h.det * g722QM2[two] >> 15
	h.nb = min(max(h.nb*127>>7+g722WH[two], 0), 22528)
	h.det = scale(h.nb, 10)
	h.predict(d)
	return byte(two<<6 | six)
}

// nearest is the code whose difference comes nearest to the one wanted.
func nearest(codes []int32, det, want int32) (best int) {
	least := int32(math.MaxInt32)
	for i, q := range codes {
		d := det*q>>15 - want
		if d = max(d, -d); d < least {
			least, best = d, i
		}
	}
	return best
}

// scale is the step of a logarithm: SCALEL with 8, SCALEH with 10.
func scale(nb, shift int32) int32 {
	mantissa := g722ILB[nb>>6&31]
	if n := shift - nb>>11; n >= 0 {
		return mantissa >> n << 2
	}
	return mantissa << (nb>>11 - shift) << 2
}

// predict adapts the predictor to the difference d, and predicts (blocks RECONS,
// PARREC, UPPOL2, UPPOL1, UPZERO, DELAYA, FILTEP, FILTEZ, PREDIC of both bands).
func (b *band) predict(d int32) {
	b.d[0] = d
	b.r[0] = clamp16(b.s + d)
	b.p[0] = clamp16(b.sz + d)
	sg := [3]int32{b.p[0] >> 15, b.p[1] >> 15, b.p[2] >> 15}

	w := clamp16(b.a[0] << 2)
	if sg[0] == sg[1] {
		w = -w
	}
	w = min(w, 32767) >> 7
	if sg[0] == sg[2] {
		w += 128
	} else {
		w -= 128
	}
	a2 := min(max(w+b.a[1]*32512>>15, -12288), 12288)

	step := int32(-192)
	if sg[0] == sg[1] {
		step = 192
	}
	limit := clamp16(15360 - a2)
	a1 := min(max(clamp16(step+b.a[0]*32640>>15), -limit), limit)
	b.a = [2]int32{a1, a2}

	step = 128
	if d == 0 {
		step = 0
	}
	for i := range b.b {
		w := -step
		if b.d[i+1]>>15 == d>>15 {
			w = step
		}
		b.b[i] = clamp16(w + b.b[i]*32640>>15)
	}
	copy(b.d[1:], b.d[:6])
	copy(b.r[1:], b.r[:2])
	copy(b.p[1:], b.p[:2])

	sp := clamp16(b.a[0]*clamp16(b.r[1]*2)>>15 + b.a[1]*clamp16(b.r[2]*2)>>15)
	b.sz = 0
	for i := range b.b {
		b.sz += b.b[i] * clamp16(b.d[i+1]*2) >> 15
	}
	b.sz = clamp16(b.sz)
	b.s = clamp16(sp + b.sz)
}

func clamp16(x int32) int32 { return min(max(x, -32768), 32767) }
