package soak

import (
	"math"
	"slices"
	"time"
)

// leastSamples must be there behind the warm-up.
const leastSamples = 16

// mostWindows is how many points a line is fitted through at most. Each stands for
// the samples of a window.
const mostWindows = 48

// Line is a line through a series, per minute.
type Line struct {
	Slope float64 `json:"slope"`
	// Low and High are where the true slope lies with a confidence of 98 %.
	Low    float64 `json:"low"`
	High   float64 `json:"high"`
	Median float64 `json:"median"` // of the points
	Points int     `json:"points"`
}

// deviations is the quantile of the normal distribution: in 1 of 100 runs without
// any slope Low is above 0.
const deviations = 2.326

// Fit fits a line by Theil and Sen: the median of the slopes between any two
// points, which a quarter of the points may be wrong about. The confidence is
// Kendall's (P. K. Sen, Estimates of the regression coefficient based on
// Kendall's tau, 1968), with the variance made larger where one point resembles the
// next one: what is left of a collector's rhythm must not look like many
// witnesses.
//
// values belong to times. Each window of them is reduced to one point before.
func Fit(at []time.Duration, values []float64, reduce func([]float64) float64) Line {
	x, y := windows(at, values, reduce)
	var slopes []float64
	for i := range x {
		for j := range i {
			slopes = append(slopes, (y[i]-y[j])/(x[i]-x[j]))
		}
	}
	if len(slopes) == 0 {
		return Line{Low: math.Inf(-1), High: math.Inf(1)}
	}
	slices.Sort(slopes)
	l := Line{Slope: median(slopes), Median: median(slices.Clone(y)), Points: len(y)}
	n := float64(len(y))
	spread := deviations * math.Sqrt(n*(n-1)*(2*n+5)/18*inflation(x, y, l.Slope))
	low := int(math.Floor((float64(len(slopes)) - spread) / 2))
	high := int(math.Ceil((float64(len(slopes)) + spread) / 2))
	l.Low, l.High = math.Inf(-1), math.Inf(1)
	if low >= 0 && high < len(slopes) {
		l.Low, l.High = slopes[low], slopes[high]
	}
	return l
}

// inflation is by how much the variance grows since neighbours resemble each other:
// (1+r)/(1-r) for a correlation r of what the line leaves.
func inflation(x, y []float64, slope float64) float64 {
	rest := make([]float64, len(y))
	var mean float64
	for i := range y {
		rest[i] = y[i] - slope*x[i]
		mean += rest[i] / float64(len(y))
	}
	var both, all float64
	for i := range rest {
		all += (rest[i] - mean) * (rest[i] - mean)
		if i > 0 {
			both += (rest[i] - mean) * (rest[i-1] - mean)
		}
	}
	if all == 0 {
		return 1
	}
	r := min(max(0, both/all), 0.7)
	return (1 + r) / (1 - r)
}

// windows reduces samples to points: minutes, and values.
func windows(at []time.Duration, values []float64, reduce func([]float64) float64) (x, y []float64) {
	each := max(1, (len(values)+mostWindows-1)/mostWindows)
	for i := 0; i+each <= len(values); i += each {
		x = append(x, (at[i]+at[i+each-1]).Minutes()/2)
		y = append(y, reduce(slices.Clone(values[i:i+each])))
	}
	return x, y
}

func least(v []float64) float64 { return slices.Min(v) }

func median(v []float64) float64 {
	slices.Sort(v)
	if n := len(v); n%2 == 0 {
		return (v[n/2-1] + v[n/2]) / 2
	}
	return v[len(v)/2]
}
