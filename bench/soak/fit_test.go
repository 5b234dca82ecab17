package soak

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"ringside/bench/report"
)

// noise is the live heap as it looks in a run of some minutes, in MiB, a sample each two
// seconds: it is known anew with each collection, some twenty seconds apart, and has in
// it what requests and batches held at that moment, mostly little, at times much.
func noise(r *rand.Rand, minutes, perMinute float64) (at []time.Duration, v []float64) {
	next, x := 0.0, 0.0
	for s := 0.0; s < minutes*60; s += 2 {
		if s >= next {
			next = s + 15 + 10*r.Float64()
			x = 18 + perMinute*s/60 + 0.7*r.ExpFloat64() + 0.3*math.Sin(s/45)
			if r.Float64() < 0.1 {
				x += 3 * r.Float64()
			}
		}
		at = append(at, time.Duration(s*float64(time.Second)))
		v = append(v, x)
	}
	return at, v
}

// TestFit: a leak of 1 MiB a minute is found in what ten minutes leave behind the
// warm-up, and tables that still fill are not taken for one.
func TestFit(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 11))
	const runs = 300
	found, alarms := 0, 0
	for range runs {
		limit := Bound(HeapLimit(150 * time.Second))
		filling := 0.4 * r.Float64()
		if fitMemory(noise(r, 7.5, 1+filling)).Low > limit {
			found++
		}
		if fitMemory(noise(r, 7.5, filling)).Low > limit {
			alarms++
		}
	}
	t.Logf("of %d runs each: leaks found %d, alarms without one %d", runs, found, alarms)
	if found < runs*99/100 {
		t.Errorf("a leak of 1 MiB a minute is found in %d of %d runs", found, runs)
	}
	if alarms > runs/100 {
		t.Errorf("%d of %d runs without a leak fail", alarms, runs)
	}
}

// fitMemory fits a series as that of memory is.
func fitMemory(at []time.Duration, v []float64) Line { return Fit(at, v, report.Figure.Least) }

// TestLine: slope and bounds of lines that are known.
func TestLine(t *testing.T) {
	var at []time.Duration
	var rising, level, stepped []float64
	for i := range 60 {
		at = append(at, time.Duration(i)*time.Second)
		rising = append(rising, 3+2*float64(i)/60)
		level = append(level, 5)
		stepped = append(stepped, float64(40+i/50)) // once one more, near the end
	}
	for _, c := range []struct {
		name  string
		v     []float64
		slope float64
		of    Bound
		rises bool
	}{
		{"a line", rising, 2, 1.9, true},
		{"a level", level, 0, 0.1, false},
		{"one step", stepped, 0, 0.1, false},
	} {
		l := Fit(at, c.v, report.Figure.Median)
		if math.Abs(l.Slope-c.slope) > 1e-9 || (l.Low > c.of) != c.rises || float64(l.Low) > l.Slope || float64(l.High) < l.Slope {
			t.Errorf("%s: %+v", c.name, l)
		}
	}
	// A tenth of wild samples changes nothing.
	for i := 0; i < 60; i += 10 {
		rising[i] += 1000
	}
	if l := Fit(at, rising, report.Figure.Median); math.Abs(l.Slope-2) > 0.2 {
		t.Errorf("with wild samples: %+v", l)
	}
	if l := Fit(nil, nil, report.Figure.Median); !math.IsInf(float64(l.Low), -1) || !math.IsInf(float64(l.High), 1) {
		t.Errorf("of nothing: %+v", l)
	}
	if l := Fit(at[:3], rising[:3], report.Figure.Median); l.Low > 0 {
		t.Errorf("three samples are sure of something: %+v", l)
	}
}

func TestField(t *testing.T) {
	page := []byte("# HELP go_goroutines x\ngo_goroutines 26\ngo_goroutines_more 1\nlost_total{stage=\"a b\"} 3\nlost_total{stage=\"c\"} 4.5e1\n")
	for name, want := range map[string]float64{"go_goroutines": 26, "lost_total": 48, "not_there": 0} {
		if got := field(page, name); got != want {
			t.Errorf("%s: %v, not %v", name, got, want)
		}
	}
	status := []byte("VmRSS:\t  226424 kB\nThreads:\t12\n")
	if field(status, "VmRSS:") != 226424 || field(status, "Threads:") != 12 {
		t.Error("the status of a process is not read")
	}
}
