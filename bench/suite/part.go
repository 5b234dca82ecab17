package suite

import (
	"context"
	"fmt"
	"io"
	"slices"

	"ringside/bench/report"
)

// Part is one question about a live capture, for who works on its speed: all
// programs take turns, so that a noisy machine is the same for each.
type Part struct {
	Name, What string
	run        func(b *Bench, ctx context.Context, out io.Writer) error
	computed   bool // nothing is captured: it needs no program, and nobody's rights
}

// Parts are what there is to ask.
func Parts() []Part {
	return []Part{
		{"filter", "cost of a frame in the pre-filter and in the meter, beside the floor", (*Bench).partFilter, false},
		{"rate", "the rate at which ringside, and tcpdump, begin to lose", (*Bench).partRate, false},
		{"curve", "what is delivered of what is offered, up to twice that rate", (*Bench).partCurve, false},
		{"cost", "processor time for a packet, at a modest rate", (*Bench).partCost, false},
		{"steer", "share of each of 4 rings of 1,000 flows", (*Bench).steer, true},
	}
}

// RunPart answers one question, as tables of Markdown.
func (b *Bench) RunPart(ctx context.Context, p Part, out io.Writer) error {
	if !p.computed {
		if err := b.Ready(); err != nil {
			return err
		}
		if err := b.first(); err != nil {
			return err
		}
	}
	b.waits = b.Patience
	if err := p.run(b, ctx, out); err != nil {
		return fmt.Errorf("measure %s: %w", p.Name, err)
	}
	return nil
}

// spread writes least and median.
func spread(v []float64, format string) string {
	return fmt.Sprintf(format+" / "+format, report.Figure(v).Least(), report.Figure(v).Median())
}

// media generates calls whose RTP is sent.
func media(ctx context.Context, n int) (*load, error) {
	c, err := newCalls(ctx, n)
	if err != nil {
		return nil, err
	}
	return c.load(), nil
}

// filterRate is a rate at which nothing is lost, and the receiving thread has as
// much to do at a time as when it is saturated. Flat out, up to every second frame is
// lost: then all streams have gaps, and the meter is on its slowest path.
const filterRate = 1e6

// partFilter compares what a frame costs the receiving core, from the driver's
// queue to the verdict, in the floor, the pre-filter and the meter.
func (b *Bench) partFilter(ctx context.Context, out io.Writer) error {
	kinds := []struct {
		on    *subject
		calls int // two streams each
	}{{floor, 500}, {listed, 500}, {filtered, 500}, {metering, 5}, {metering, 500}, {metering, 5000}}
	loads := map[int]*load{}
	for _, k := range kinds {
		if loads[k.calls] == nil {
			l, err := media(ctx, k.calls)
			if err != nil {
				return err
			}
			loads[k.calls] = l
		}
	}
	for _, rate := range []float64{filterRate, 0} {
		type figures struct{ seen, cost, lost, ratio []float64 }
		all := make([]figures, len(kinds))
		for range b.Runs {
			for i, k := range kinds {
				r, err := b.insist(ctx, trial{on: k.on, load: loads[k.calls], rate: rate, span: b.Span})
				if err != nil {
					return fmt.Errorf("%s: %w", k.on.name, err)
				}
				f := &all[i]
				cost, _ := r.cost()
				f.seen, f.cost, f.lost = append(f.seen, float64(r.arrived)/r.took/1e6), append(f.cost, cost), append(f.lost, 100*r.lost())
				f.ratio = append(f.ratio, all[0].cost[len(f.ratio)]/cost)
			}
		}
		title := "flat out"
		if rate > 0 {
			title = fmt.Sprintf("%.1f Mpps", rate/1e6)
		}
		report.Table(out, title, "streams", "ns a frame, least / median", "so a core can do, Mpps", "seen, Mpps", "% lost", "rate to the floor's, least / median", "of the least costs")
		for i, k := range kinds {
			f := &all[i]
			report.Cells(out, k.on.name, fmt.Sprint(2*k.calls), spread(f.cost, "%.0f"), fmt.Sprintf("%.2f", 1e3/report.Figure(f.cost).Median()),
				spread(f.seen, "%.2f"), spread(f.lost, "%.2f"), spread(f.ratio, "%.2f"), fmt.Sprintf("%.2f", slices.Min(all[0].cost)/slices.Min(f.cost)))
		}
		fmt.Fprintln(out)
	}
	return nil
}

// partRate finds the highest rate at which nothing is lost.
func (b *Bench) partRate(ctx context.Context, out io.Writer) error {
	subjects := []*subject{dumped, dumped2, inUser, headers, metered}
	l, err := media(ctx, b.Calls)
	if err != nil {
		return err
	}
	const firstRate = 0.6e6
	rates, begin := make([]report.Figure, len(subjects)), slices.Repeat([]float64{firstRate}, len(subjects))
	for round := range b.Runs {
		for i, on := range subjects {
			f, err := b.search(ctx, trial{on: on, load: l, span: b.Span}, begin[i], firstStep)
			if err != nil {
				return fmt.Errorf("%s: %w", on.name, err)
			}
			rates[i], begin[i] = append(rates[i], f.rate/1e6), max(f.rate, firstRate/10)
			fmt.Fprintf(out, "round %d: %s: %.2f Mpps\n", round+1, on.name, f.rate/1e6)
		}
	}
	fmt.Fprintln(out)
	report.Table(out, "program", "loss-free Mpps, least / median", "each round", "to tcpdump's, of the medians")
	for i, on := range subjects {
		report.Cells(out, on.name, spread(rates[i], "%.2f"), fmt.Sprintf("%.2f", rates[i]), fmt.Sprintf("%.2f", rates[i].Median()/rates[0].Median()))
	}
	return nil
}

// partCurve shows what is delivered of what is offered.
func (b *Bench) partCurve(ctx context.Context, out io.Writer) error {
	subjects := []*subject{dumped, inUser, headers, metered}
	rates := []float64{0.25, 0.5, 0.75, 1, 1.5, 2, 3}
	l, err := media(ctx, b.Calls)
	if err != nil {
		return err
	}
	title := []string{"Mpps offered"}
	for _, on := range subjects {
		title = append(title, on.name+": delivered Mpps (offered; % lost)")
	}
	report.Table(out, title...)
	for _, rate := range rates {
		cells := []string{fmt.Sprintf("%.2f", rate)}
		for _, on := range subjects {
			var delivered, offered, lost report.Figure
			for range b.Runs {
				r, err := b.insist(ctx, trial{on: on, load: l, rate: rate * 1e6, span: b.Span})
				if err != nil {
					return fmt.Errorf("%s: %w", on.name, err)
				}
				delivered, offered, lost = append(delivered, r.delivered()/1e6), append(offered, r.rate/1e6), append(lost, 100*r.lost())
			}
			cells = append(cells, fmt.Sprintf("%.2f (%.2f; %.3f)", delivered.Median(), offered.Median(), lost.Median()))
		}
		report.Cells(out, cells...)
	}
	return nil
}

// costRate is a rate that all subjects can do but for moments.
const costRate float64 = 0.4e6

// partCost shows what a packet costs the receiving core, in the kernel's thread
// and in the program.
func (b *Bench) partCost(ctx context.Context, out io.Writer) error {
	subjects := []*subject{dumped, inUser, headers, metered}
	l, err := media(ctx, b.Calls)
	if err != nil {
		return err
	}
	type figures struct{ kernel, program, sum, lost []float64 }
	all := make([]figures, len(subjects))
	for range b.Runs {
		for i, on := range subjects {
			// Long: what a start costs is not to be in it.
			r, err := b.insist(ctx, trial{on: on, load: l, rate: costRate, span: 3 * b.Span})
			if err != nil {
				return fmt.Errorf("%s: %w", on.name, err)
			}
			f := &all[i]
			kernel, program := r.cost()
			f.kernel, f.program = append(f.kernel, kernel), append(f.program, program)
			f.sum, f.lost = append(f.sum, kernel+program), append(f.lost, 100*r.lost())
		}
	}
	report.Table(out, "program", "kernel's receiving thread, ns a packet", "program, user and system, ns a packet", "sum", "% lost")
	for i, on := range subjects {
		f := &all[i]
		report.Cells(out, on.name, spread(f.kernel, "%.0f"), spread(f.program, "%.0f"), spread(f.sum, "%.0f"), spread(f.lost, "%.3f"))
	}
	return nil
}
