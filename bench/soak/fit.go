package soak

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"time"

	"ringside/bench/report"
)

// leastSamples must be there behind the warm-up.
const leastSamples = 16

// mostWindows is how many points a line is fitted through at most. Each stands for
// the samples of a window.
const mostWindows = 48

// Bound is an end of a range, infinite where nothing is sure. In JSON, which knows no
// infinity, that is null.
type Bound float64

func (b Bound) known() bool { return !math.IsInf(float64(b), 0) }

// MarshalJSON writes the bound.
func (b Bound) MarshalJSON() ([]byte, error) {
	if !b.known() {
		return []byte("null"), nil
	}
	return json.Marshal(float64(b))
}

// String is the bound as it stands in a table.
func (b Bound) String() string {
	if !b.known() {
		return "?"
	}
	return fmt.Sprintf("%+.3f", float64(b))
}

// Line is a line through a series, per minute.
type Line struct {
	Slope float64 `json:"slope"`
	// Low and High are where the true slope lies with a confidence of 98 %.
	Low    Bound   `json:"low"`
	High   Bound   `json:"high"`
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
func Fit(at []time.Duration, values []float64, reduce func(report.Figure) float64) Line {
	x, y := windows(at, values, reduce)
	var slopes []float64
	for i := range x {
		for j := range i {
			slopes = append(slopes, (y[i]-y[j])/(x[i]-x[j]))
		}
	}
	if len(slopes) == 0 {
		return Line{Low: Bound(math.Inf(-1)), High: Bound(math.Inf(1)), Median: report.Figure(y).Median(), Points: len(y)}
	}
	slices.Sort(slopes)
	l := Line{Slope: report.Figure(slopes).Median(), Median: report.Figure(y).Median(), Points: len(y)}
	n := float64(len(y))
	spread := deviations * math.Sqrt(n*(n-1)*(2*n+5)/18*inflation(x, y, l.Slope))
	low := int(math.Floor((float64(len(slopes)) - spread) / 2))
	high := int(math.Ceil((float64(len(slopes)) + spread) / 2))
	l.Low, l.High = Bound(math.Inf(-1)), Bound(math.Inf(1))
	if low >= 0 && high < len(slopes) {
		l.Low, l.High = Bound(slopes[low]), Bound(slopes[high])
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
func windows(at []time.Duration, values []float64, reduce func(report.Figure) float64) (x, y []float64) {
	each := max(1, (len(values)+mostWindows-1)/mostWindows)
	for i := 0; i+each <= len(values); i += each {
		x = append(x, (at[i]+at[i+each-1]).Minutes()/2)
		y = append(y, reduce(values[i:i+each]))
	}
	return x, y
}
