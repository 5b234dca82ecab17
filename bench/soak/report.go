package soak

import (
	"fmt"
	"io"
	"math"
	"text/tabwriter"
	"time"
)

// Limits are how much may be gained in a minute. Zero stands for the default.
type Limits struct {
	// Heap is MiB of the live heap: 0.2, or 0.5 with less than a quarter of an hour to warm up.
	Heap        float64 `json:"heap_mib"`
	Memory      float64 `json:"memory_mib"`  // of Go and beside it, MiB; default 0.2
	Descriptors float64 `json:"descriptors"` // default 0.1
	Goroutines  float64 `json:"goroutines"`  // default 0.2
	Threads     float64 `json:"threads"`     // default 0.2
	Latency     float64 `json:"latency_ms"`  // control and API, ms; default 0.5
}

func (l Limits) withDefaults(warm time.Duration) Limits {
	heap := 0.5
	if warm >= tablesFull {
		heap = 0.2
	}
	for v, other := range map[*float64]float64{&l.Heap: heap, &l.Memory: 0.2, &l.Descriptors: 0.1, &l.Goroutines: 0.2, &l.Threads: 0.2, &l.Latency: 0.5} {
		if *v == 0 {
			*v = other
		}
	}
	return l
}

// Report is what a soak found.
type Report struct {
	Began   time.Time `json:"began"`
	Options Options   `json:"-"`
	Sent    Sent      `json:"sent"`
	Samples []Sample  `json:"samples"`
	Trends  []Trend   `json:"trends"`
	Failed  bool      `json:"failed"`
}

// Sent is what the service was sent.
type Sent struct {
	Frames  uint64        `json:"frames"`
	Refused uint64        `json:"refused"`
	Slipped time.Duration `json:"slipped_ns"` // by so much the sender was late at most
}

// Trend is the line through one series.
type Trend struct {
	Name  string  `json:"name"`
	Unit  string  `json:"unit,omitempty"`
	Limit float64 `json:"limit"`
	Line
	Rises bool `json:"rises"` // faster than the limit, and surely so
	// Blind is a series that varies so much that a rise of five times the limit
	// would not have been sure.
	Blind bool `json:"blind,omitempty"`
	// Cold is a series that takes longer to warm up than it was given. It is not judged.
	Cold bool          `json:"cold,omitempty"`
	Warm time.Duration `json:"warm_ns,omitempty"` // what it needs
}

// judge fits the lines behind the warm-up.
func (r *Report) judge() {
	kept := r.Samples
	for len(kept) > 0 && kept[0].At < r.Options.WarmUp {
		kept = kept[1:]
	}
	r.Trends, r.Failed = judge(kept, r.Options.Limits, r.Options.WarmUp)
}

func judge(kept []Sample, limits Limits, warm time.Duration) (trends []Trend, failed bool) {
	at := make([]time.Duration, len(kept))
	for i := range kept {
		at[i] = kept[i].At
	}
	for _, of := range series {
		values := make([]float64, len(kept))
		for i := range kept {
			values[i] = of.of(&kept[i]) / of.scale
		}
		t := Trend{Name: of.name, Unit: of.unit, Limit: of.limit(&limits), Line: Fit(at, values, of.reduce)}
		t.Warm, t.Cold = of.warm, warm < of.warm
		t.Rises = t.Low > t.Limit && !t.Cold
		t.Blind = t.High-t.Low > 8*t.Limit
		failed = failed || t.Rises
		trends = append(trends, t)
	}
	return trends, failed
}

// Write shows the report as a table.
func (r *Report) Write(w io.Writer) error {
	o := &r.Options
	var lost, cpu, calls float64
	if n := len(r.Samples); n > 0 {
		last, first := r.Samples[n-1], r.Samples[0]
		lost, calls = last.Lost, last.Calls
		cpu = (last.CPU - first.CPU) / (last.At - first.At).Seconds()
	}
	fmt.Fprintf(w, "%v at %d calls, %v of it to warm up; %d frames sent, %d refused; %.0f calls at the end, %.0f packets lost, CPU %.1f %%\n\n",
		o.For, o.Calls, o.WarmUp, r.Sent.Frames, r.Sent.Refused, calls, lost, 100*cpu)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "\tmedian\ta minute\tfrom\tto\tlimit\t\t")
	for _, v := range r.Trends {
		says := ""
		switch {
		case v.Rises:
			says = "RISES"
		case v.Cold:
			says = fmt.Sprintf("not judged: needs %.0f minutes to warm up", v.Warm.Minutes())
		case v.Blind:
			says = "too unsteady to tell"
		}
		fmt.Fprintf(t, "%s\t%.4g %s\t%+.3f\t%s\t%s\t%.2g\t%s\t\n", v.Name, v.Median, v.Unit, v.Slope, bound(v.Low), bound(v.High), v.Limit, says)
	}
	return t.Flush()
}

func bound(v float64) string {
	if math.IsInf(v, 0) {
		return "?"
	}
	return fmt.Sprintf("%+.3f", v)
}

// Rising names what rises.
func (r *Report) Rising() (names []string) {
	for _, t := range r.Trends {
		if t.Rises {
			names = append(names, t.Name)
		}
	}
	return names
}
