package suite

import (
	"errors"
	"math"
	"math/rand/v2"
	"testing"
)

// system is a simulated system: it loses above a limit, cannot be sent to above
// another, and fails at times for no reason.
type system struct {
	limit, send float64
	noise       float64 // chance that a trial fails below the limit
	tries       int     // of a rate, as Bench.Tries
	r           *rand.Rand
	asked       int
}

func (s *system) holds(rate float64) (float64, bool, error) {
	rate = min(rate, s.send)
	for range max(s.tries, 1) {
		s.asked++
		if rate <= s.limit && (s.noise == 0 || s.r.Float64() >= s.noise) {
			return rate, true, nil
		}
	}
	return rate, false, nil
}

func TestSearch(t *testing.T) {
	const begin, exact = 0.6e6, 1.08
	for _, tc := range []struct {
		name   string
		system system
		want   float64
		sender bool
	}{
		{"far above the first try", system{limit: 2.9e6, send: math.Inf(1)}, 2.9e6, false},
		{"near it", system{limit: 0.61e6, send: math.Inf(1)}, 0.61e6, false},
		{"far below", system{limit: 0.02e6, send: math.Inf(1)}, 0.02e6, false},
		{"never loses", system{limit: math.Inf(1), send: 2e6}, 2e6, true},
		{"always loses", system{limit: 0, send: math.Inf(1)}, 0, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := tc.system
			got, sender, err := search(begin, firstStep, exact, s.holds)
			if err != nil || got > tc.want || got < tc.want/exact || s.asked > 25 {
				t.Errorf("got %.0f after %d tries, %v; want at most %.0f, and %.0f at the least", got, s.asked, err, tc.want, tc.want/exact)
			}
			if sender != tc.sender {
				t.Errorf("the sender's limit: %v, want %v", sender, tc.sender)
			}
		})
	}
}

// A system that fails one time in ten for no reason is found all the same, where each
// rate has three tries.
func TestSearchInNoise(t *testing.T) {
	const limit, exact, seeds = 1.3e6, 1.15, 200
	within := 0
	for seed := range uint64(seeds) {
		s := &system{limit: limit, send: math.Inf(1), noise: 0.1, tries: 3, r: rand.New(rand.NewPCG(seed, 7))}
		got, _, err := search(0.4e6, firstStep, exact, s.holds)
		if err != nil || got > limit {
			t.Fatalf("seed %d: got %.0f, %v", seed, got, err)
		}
		if got >= limit/exact {
			within++
		}
	}
	if within < seeds*95/100 {
		t.Errorf("%d of %d searches end within %.0f %% of the limit", within, seeds, 100*(exact-1))
	}
}

func TestSearchFails(t *testing.T) {
	broken := errors.New("broken")
	if _, _, err := search(1e5, firstStep, 1.1, func(float64) (float64, bool, error) { return 0, false, broken }); !errors.Is(err, broken) {
		t.Errorf("got %v, want the measurement's error", err)
	}
}
