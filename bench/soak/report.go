package soak

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"
)

// Limits are how much may be gained in a minute.
type Limits struct {
	Heap        float64 `json:"heap_mib"`   // the live heap, MiB
	Memory      float64 `json:"memory_mib"` // of Go and beside it, MiB
	Descriptors float64 `json:"descriptors"`
	Goroutines  float64 `json:"goroutines"`
	Threads     float64 `json:"threads"`
	Latency     float64 `json:"latency_ms"` // control and API, ms
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

// judge fits the lines behind the warm-up. An error says that they say nothing.
func (r *Report) judge() error {
	kept := r.Samples
	for len(kept) > 0 && kept[0].At < r.Options.WarmUp {
		kept = kept[1:]
	}
	r.Trends, r.Failed = judge(kept, r.Options.Limits, r.Options.WarmUp)
	if len(kept) < leastSamples {
		return fmt.Errorf("only %d samples behind the warm-up, and %d are needed: answers took too long", len(kept), leastSamples)
	}
	return nil
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
		t.Rises = float64(t.Low) > t.Limit && !t.Cold
		t.Blind = float64(t.High-t.Low) > 8*t.Limit
		failed = failed || t.Rises
		trends = append(trends, t)
	}
	return trends, failed
}

// Write shows the report as a table.
func (r *Report) Write(w io.Writer) error {
	o := &r.Options
	var lost, cpu, calls float64
	took := o.For.String()
	if n := len(r.Samples); n > 0 {
		last, first := r.Samples[n-1], r.Samples[0]
		lost, calls = last.Lost, last.Calls
		if last.At < o.For-2*o.Every { // it did not come to its end
			took = last.At.Round(time.Second).String() + " of " + took
		}
		if n > 1 {
			cpu = (last.CPU - first.CPU) / (last.At - first.At).Seconds()
		}
	}
	fmt.Fprintf(w, "%s at %d calls, %v of it to warm up; %d frames sent, %d refused; %.0f calls at the end, %.0f packets lost, CPU %.1f %%\n\n",
		took, o.Calls, o.WarmUp, r.Sent.Frames, r.Sent.Refused, calls, lost, 100*cpu)
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
		fmt.Fprintf(t, "%s\t%.4g %s\t%+.3f\t%s\t%s\t%.2g\t%s\t\n", v.Name, v.Median, v.Unit, v.Slope, v.Low, v.High, v.Limit, says)
	}
	return t.Flush()
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
