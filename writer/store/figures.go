package store

import (
	"fmt"

	"ringside/flow/record"
)

// Tally counts calls: what statistics add up, and all figures follow from. Each
// counter is an integer, so that what was added can be taken away again.
type Tally struct {
	Calls    int64
	Outcomes [9]int64 // by record.Outcome

	Connected int64 // calls with an answer
	Talk      int64 // ms from answer to end, of those

	PDD     int64            // ms, of the calls that rang or were answered
	PDDHist [pddBins]int64   // calls by PDD; the sum is how many have one
	MOS     int64            // thousandths, of the calls that have one
	MOSHist [mosBins]int64   // calls by MOS
	Streams int64            // calls with RTP
	Loss    int64            // millionths of the packets, of those
	Jitter  int64            // µs, of those
	Classes [classBins]int64 // calls by the class of their last final status: none, 2xx … 6xx

	Ended int64 // calls that ended then, whenever they began
}

const (
	pddBins   = 10
	mosBins   = 10
	classBins = 6
)

// Borders of the histograms: bin i holds edges[i] <= v < edges[i+1].
var (
	pddEdges = [pddBins + 1]int64{0, 250, 500, 1000, 1500, 2000, 3000, 5000, 8000, 15000, 60000}    // ms; the last bin has no end
	binEdges = [mosBins + 1]int64{1000, 2000, 2580, 3100, 3350, 3600, 3850, 4030, 4200, 4340, 5000} // thousandths of a MOS
)

// most keeps a damaged record from making nonsense of a sum.
const most = int64(1) << 40

// count adds a call n times: 1, or -1 to take it away.
func (t *Tally) count(c *Row, n int64) {
	t.Calls += n
	if o := int(c.Outcome); o < len(t.Outcomes) {
		t.Outcomes[o] += n
	}
	if c.Connected != nil {
		t.Connected += n
		t.Talk += n * min(*c.Connected/1e6, most)
	}
	if c.PDD != nil {
		ms := min(*c.PDD/1e6, most)
		t.PDD += n * ms
		t.PDDHist[bin(pddEdges[:], ms)] += n
	}
	if c.MOSMin != nil {
		m := scaled(*c.MOSMin, 1e3, 5000)
		t.MOS += n * m
		t.MOSHist[bin(binEdges[:], m)] += n
	}
	if c.LossMax != nil && c.JitterMax != nil {
		t.Streams += n
		t.Loss += n * scaled(*c.LossMax, 1e4, 1e6)
		t.Jitter += n * scaled(*c.JitterMax, 1e3, most)
	}
	t.Classes[class(c.LastStatus)] += n
}

// scaled is v in units of 1/by, between 0 and limit.
func scaled(v, by float64, limit int64) int64 {
	v *= by
	switch {
	case !(v > 0): // NaN too
		return 0
	case v >= float64(limit):
		return limit
	}
	return int64(v + 0.5)
}

// bin is the place of v in a histogram; what is beyond an end is in the last bin.
func bin(edges []int64, v int64) int {
	i := 0
	for i < len(edges)-2 && v >= edges[i+1] {
		i++
	}
	return i
}

// class is the place of a status in Tally.Classes.
func class(status uint16) int {
	if status < 200 || status > 699 {
		return 0
	}
	return int(status/100) - 1
}

// add adds o n times.
func (t *Tally) add(o *Tally, n int64) {
	for _, c := range tallyCells {
		*c.ptr(t) += n * *c.ptr(o)
	}
}

// tallyCell is a counter and its column.
type tallyCell struct {
	name string
	ptr  func(*Tally) *int64
}

var tallyCells = makeTallyCells()

func makeTallyCells() []tallyCell {
	cells := []tallyCell{
		{"calls", func(t *Tally) *int64 { return &t.Calls }},
		{"connected", func(t *Tally) *int64 { return &t.Connected }},
		{"talk_ms", func(t *Tally) *int64 { return &t.Talk }},
		{"pdd_ms", func(t *Tally) *int64 { return &t.PDD }},
		{"mos_milli", func(t *Tally) *int64 { return &t.MOS }},
		{"with_rtp", func(t *Tally) *int64 { return &t.Streams }},
		{"loss_ppm", func(t *Tally) *int64 { return &t.Loss }},
		{"jitter_us", func(t *Tally) *int64 { return &t.Jitter }},
		{"ended", func(t *Tally) *int64 { return &t.Ended }},
	}
	for i, name := range []string{"unknown", "answered", "busy", "no_answer", "cancelled", "redirected", "auth_failed", "failed", "partial"} {
		cells = append(cells, tallyCell{name, func(t *Tally) *int64 { return &t.Outcomes[i] }})
	}
	for i := range classBins {
		name := fmt.Sprintf("status_%dxx", i+1)
		if i == 0 {
			name = "status_none"
		}
		cells = append(cells, tallyCell{name, func(t *Tally) *int64 { return &t.Classes[i] }})
	}
	for i := range pddBins {
		cells = append(cells, tallyCell{fmt.Sprintf("pdd_%d", pddEdges[i]), func(t *Tally) *int64 { return &t.PDDHist[i] }})
	}
	for i := range mosBins {
		cells = append(cells, tallyCell{fmt.Sprintf("mos_%d", binEdges[i]), func(t *Tally) *int64 { return &t.MOSHist[i] }})
	}
	return cells
}

// Figures are what a Tally says. A nil figure does not exist: there was no call
// to compute it from.
type Figures struct {
	Calls    int64    `json:"calls"`
	Answered int64    `json:"answered"`
	Failed   int64    `json:"failed"`              // outcomes failed and auth-failed
	ASR      *float64 `json:"asr,omitempty"`       // answer-seizure ratio: answered calls, per cent of those seen from their INVITE to an outcome
	NER      *float64 `json:"ner,omitempty"`       // network effectiveness ratio: answered, busy, not answered and cancelled, per cent of the same (ITU-T E.425)
	ACD      *float64 `json:"acd_s,omitempty"`     // average call duration: seconds from answer to end of answered calls
	Talk     float64  `json:"talk_s"`              // sum of those seconds
	PDD      *float64 `json:"pdd_s,omitempty"`     // mean post-dial delay, s
	PDDP95   *float64 `json:"pdd_p95_s,omitempty"` // 95th percentile, from a histogram
	MOS      *float64 `json:"mos,omitempty"`       // mean of the calls' MOS (the worst stream's)
	MOSP10   *float64 `json:"mos_p10,omitempty"`   // 10th percentile, from a histogram
	Loss     *float64 `json:"loss_pct,omitempty"`  // mean of the calls' loss (the worst stream's), per cent
	Jitter   *float64 `json:"jitter_ms,omitempty"` // mean of the calls' greatest jitter, ms

	Classes [classBins]int64 `json:"classes"` // calls by the class of their last final status: none, 2xx, 3xx, 4xx, 5xx, 6xx
}

// Figures is what t says.
func (t *Tally) Figures() Figures {
	o := &t.Outcomes
	f := Figures{
		Calls: t.Calls, Answered: o[record.Answered], Failed: o[record.Failed] + o[record.AuthFailed],
		Talk: float64(t.Talk) / 1e3, Classes: t.Classes,
		ACD: ratio(t.Talk, t.Connected, 1e-3),
		MOS: ratio(t.MOS, sum(t.MOSHist[:]), 1e-3), MOSP10: percentile(binEdges[:], t.MOSHist[:], 0.10, 1e-3),
		PDD: ratio(t.PDD, sum(t.PDDHist[:]), 1e-3), PDDP95: percentile(pddEdges[:], t.PDDHist[:], 0.95, 1e-3),
		Loss: ratio(t.Loss, t.Streams, 1e-4), Jitter: ratio(t.Jitter, t.Streams, 1e-3),
	}
	seized := t.Calls - o[record.Partial] - o[record.OutcomeUnknown]
	f.ASR = ratio(f.Answered, seized, 100)
	f.NER = ratio(f.Answered+o[record.Busy]+o[record.NoAnswer]+o[record.Cancelled], seized, 100)
	return f
}

func sum(n []int64) (total int64) {
	for _, v := range n {
		total += v
	}
	return total
}

// ratio is a/b in a unit, nil if there is no b.
func ratio(a, b int64, unit float64) *float64 {
	if b <= 0 {
		return nil
	}
	return new(float64(a) / float64(b) * unit)
}

// percentile is the value below which a part of the histogram lies, taken to be
// spread evenly within its bin. The last bin's end is as wide as its edges say.
func percentile(edges, bins []int64, part, unit float64) *float64 {
	total := sum(bins)
	if total <= 0 {
		return nil
	}
	left := part * float64(total)
	for i, n := range bins {
		if left <= float64(n) && n > 0 {
			low, high := float64(edges[i]), float64(edges[i+1])
			return new((low + (high-low)*left/float64(n)) * unit)
		}
		left -= float64(n)
	}
	return new(float64(edges[len(bins)]) * unit)
}
