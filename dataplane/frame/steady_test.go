package frame

import (
	"sync"
	"testing"
)

func TestSteady(t *testing.T) {
	const s, ms = int64(1e9), int64(1e6)
	var c Steady
	for _, step := range []struct {
		name       string
		wall, mono int64
		now, ahead int64
	}{
		{"at first", 1000 * s, 10 * s, 1000 * s, 0},
		{"goes on", 1001 * s, 11 * s, 1001 * s, 0},
		{"read a little later", 1002*s - 5*ms, 12 * s, 1002*s - 5*ms, 0},
		{"set back by 100 s", 903 * s, 13 * s, 1003 * s, 100 * s},
		{"goes on from there", 905 * s, 15 * s, 1005 * s, 100 * s},
		{"set forward, not as far", 956 * s, 16 * s, 1006 * s, 50 * s},
		{"set forward beyond", 2000 * s, 20 * s, 2000 * s, 0},
		{"and back once more", 1011 * s, 21 * s, 2001 * s, 990 * s},
	} {
		if now, ahead := c.At(step.wall, step.mono); now != step.now || ahead != step.ahead {
			t.Errorf("%s: %d, %d ahead; want %d, %d", step.name, now, ahead, step.now, step.ahead)
		}
	}
}

// Whoever reads the clock, and however many do, it does not fall.
func TestSteadyTogether(t *testing.T) {
	var c Steady
	var wg sync.WaitGroup
	for i := range int64(4) {
		wg.Go(func() {
			for k := range int64(10_000) {
				c.At(k*(i+1)*steadyNoise, k)
			}
		})
	}
	wg.Wait()
	if now, ahead := c.At(0, 0); now != 9_999*(4*steadyNoise-1) || ahead != now {
		t.Errorf("%d, %d ahead", now, ahead)
	}
}

func TestClock(t *testing.T) {
	for _, tc := range []struct {
		name                   string
		time, now, ahead, want int64
	}{
		{"never set", 100, 110, 0, 100},
		{"never set, from the future", 200, 110, 0, 200},
		{"set back", 100, 1110, 1000, 1100},
		{"came before it was set back", 1105, 1110, 1000, 1110},
		{"from the future", 2000, 1110, 1000, 2000},
	} {
		if got := Clock(tc.time, tc.now, tc.ahead); got != tc.want {
			t.Errorf("%s: %d, want %d", tc.name, got, tc.want)
		}
	}
}
