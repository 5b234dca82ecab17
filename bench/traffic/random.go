package traffic

import (
	"math"
	"math/bits"
)

// random is a small seeded generator (xoshiro256++ by Blackman and Vigna).
// Every call has its own, seeded by the run's seed and the number of the call,
// so that what one call does never depends on another.
type random struct{ s [4]uint64 }

// newRandom seeds by splitmix64, as the authors of xoshiro advise.
func newRandom(seed, stream uint64) random {
	x := seed ^ bits.RotateLeft64(stream*0x9e3779b97f4a7c15, 31)
	var r random
	for i := range r.s {
		x += 0x9e3779b97f4a7c15
		r.s[i] = mix(x)
	}
	return r
}

// mix is the output function of splitmix64.
func mix(z uint64) uint64 {
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

func (r *random) next() uint64 {
	s := &r.s
	out := bits.RotateLeft64(s[0]+s[3], 23) + s[0]
	t := s[1] << 17
	s[2] ^= s[0]
	s[3] ^= s[1]
	s[1] ^= s[2]
	s[0] ^= s[3]
	s[2] ^= t
	s[3] = bits.RotateLeft64(s[3], 45)
	return out
}

// below is uniform in 0..n-1; n is small against 2^64, so the bias of the
// multiplication is of no account.
func (r *random) below(n int) int {
	hi, _ := bits.Mul64(r.next(), uint64(n))
	return int(hi)
}

// unit is uniform in [0, 1).
func (r *random) unit() float64 { return float64(r.next()>>11) / (1 << 53) }

// chance is true with probability p.
func (r *random) chance(p float64) bool { return p > 0 && r.unit() < p }

// between is uniform in lo..hi.
func (r *random) between(lo, hi int64) int64 {
	if hi <= lo {
		return lo
	}
	return lo + int64(r.below(int(hi-lo)+1))
}

// exponential has the given mean.
func (r *random) exponential(mean float64) float64 { return -mean * math.Log(1-r.unit()) }

// normal has mean 0 and standard deviation 1 (Box and Muller).
func (r *random) normal() float64 {
	return math.Sqrt(-2*math.Log(1-r.unit())) * math.Cos(2*math.Pi*r.unit())
}

// pick chooses by weight; total is the sum of the weights.
func pick[T any](r *random, from []Weighted[T], total float64) T {
	x := r.unit() * total
	for i := range from {
		if x -= from[i].Weight; x < 0 {
			return from[i].Value
		}
	}
	return from[len(from)-1].Value
}
