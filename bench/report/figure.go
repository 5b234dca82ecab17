package report

import (
	"fmt"
	"slices"
)

// Figure is one value measured several times. The least of costs is nearest to
// what the work takes; other users of the machine only add to it.
type Figure []float64

// Least is the smallest value, 0 of none.
func (f Figure) Least() float64 {
	if len(f) == 0 {
		return 0
	}
	return slices.Min(f)
}

// Most is the greatest value, 0 of none.
func (f Figure) Most() float64 {
	if len(f) == 0 {
		return 0
	}
	return slices.Max(f)
}

// Median is the value in the middle, 0 of none.
func (f Figure) Median() float64 {
	if len(f) == 0 {
		return 0
	}
	v := slices.Sorted(slices.Values(f))
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

// Spread is how far the values are apart, as a share of their median.
func (f Figure) Spread() float64 {
	if m := f.Median(); m > 0 {
		return (f.Most() - f.Least()) / m
	}
	return 0
}

// show writes least, median and spread; of one value, that.
func (f Figure) show(format string) string {
	switch {
	case len(f) == 0:
		return "–"
	case len(f) == 1:
		return fmt.Sprintf(format, f[0])
	}
	return fmt.Sprintf(format+" / "+format+" (±%.0f %%)", f.Least(), f.Median(), 50*f.Spread())
}

// agrees reports whether two figures lie as near as the noise of their runs lets
// them: the ranges of their values, each widened by its share, have something in
// common. A figure that only one run has agrees with nothing.
func (f Figure) agrees(noise float64, with Figure, withNoise float64) bool {
	if len(f) == 0 || len(with) == 0 {
		return len(f) == len(with)
	}
	return f.Least()/(1+noise) <= with.Most()*(1+withNoise) && with.Least()/(1+withNoise) <= f.Most()*(1+noise)
}
