package main

import (
	"context"
	"fmt"
	"io"
	"slices"
)

// filterRate is a rate at which nothing is lost, and the receiving thread has as
// much to do at a time as when it is saturated. Flat out, up to every second frame is
// lost: then all streams have gaps, and the meter is on its slowest path.
const filterRate = 1e6

// liveFilter compares what a frame costs the receiving core, from the driver's
// queue to the verdict, in the floor, the pre-filter and the meter.
func liveFilter(ctx context.Context, s *liveSettings, out io.Writer) error {
	kinds := []struct {
		on    *subject
		calls int // two streams each
	}{{floor, 500}, {listed, 500}, {filtered, 500}, {metering, 5}, {metering, 500}, {metering, 5000}}
	loads := map[int]*calls{}
	for _, k := range kinds {
		if loads[k.calls] == nil {
			c, err := newCalls(ctx, k.calls)
			if err != nil {
				return err
			}
			loads[k.calls] = c
		}
	}
	for _, rate := range []float64{filterRate, 0} {
		type figures struct{ seen, cost, lost, ratio []float64 }
		all := make([]figures, len(kinds))
		for range s.runs {
			for i, k := range kinds {
				r, err := s.measure(ctx, k.on, loads[k.calls], rate)
				if err != nil {
					return fmt.Errorf("%s: %w", k.on.name, err)
				}
				f, cost := &all[i], r.kernel/float64(r.arrived)
				f.seen, f.cost, f.lost = append(f.seen, float64(r.arrived)/r.took/1e6), append(f.cost, cost), append(f.lost, 100*r.lost())
				f.ratio = append(f.ratio, all[0].cost[len(f.ratio)]/cost)
			}
		}
		title := "flat out"
		if rate > 0 {
			title = fmt.Sprintf("%.1f Mpps", rate/1e6)
		}
		head(out, title, "streams", "ns a frame, least / median", "so a core can do, Mpps", "seen, Mpps", "% lost", "rate to the floor's, least / median", "of the least costs")
		for i, k := range kinds {
			f := &all[i]
			row(out, k.on.name, fmt.Sprint(2*k.calls), spread(f.cost, "%.0f"), fmt.Sprintf("%.2f", 1e3/median(f.cost)),
				spread(f.seen, "%.2f"), spread(f.lost, "%.2f"), spread(f.ratio, "%.2f"), fmt.Sprintf("%.2f", least(all[0].cost)/least(f.cost)))
		}
		fmt.Fprintln(out)
	}
	return nil
}

// late is for which share of the time a program may still be at work behind the
// end of a rate that it holds: a large ring must not hide a slow reader.
const late = 0.05

// liveRate finds the highest rate at which nothing is lost.
func liveRate(ctx context.Context, s *liveSettings, out io.Writer) error {
	subjects := []*subject{dumped, dumped2, inUser, headers, metered}
	c, err := newCalls(ctx, s.calls)
	if err != nil {
		return err
	}
	found, begin := make([][]float64, len(subjects)), slices.Repeat([]float64{firstRate}, len(subjects))
	for round := range s.runs {
		for i, on := range subjects {
			best, err := s.search(ctx, on, c, begin[i])
			if err != nil {
				return fmt.Errorf("%s: %w", on.name, err)
			}
			found[i], begin[i] = append(found[i], best/1e6), max(best, leastRate)
			fmt.Fprintf(out, "round %d: %s: %.2f Mpps\n", round+1, on.name, best/1e6)
		}
	}
	fmt.Fprintln(out)
	head(out, "program", "loss-free Mpps, least / median", "each round", "to tcpdump's, of the medians")
	for i, on := range subjects {
		row(out, on.name, spread(found[i], "%.2f"), fmt.Sprintf("%.2f", found[i]), fmt.Sprintf("%.2f", median(found[i])/median(found[0])))
	}
	return nil
}

// Search for a rate: where it begins, how far it goes, and how exact it is.
const (
	firstRate, leastRate, mostRate = 0.6e6, 0.02e6, 6e6
	step, exact                    = 1.5, 1.08
)

// search finds the rate at which a subject begins to lose.
func (s *liveSettings) search(ctx context.Context, on *subject, c *calls, begin float64) (float64, error) {
	return search(begin, func(rate float64) (got float64, ok bool, err error) {
		for range s.tries {
			r, err := s.measure(ctx, on, c, rate)
			if err != nil {
				return 0, false, err
			}
			if r.lost() <= s.free && r.behind <= 1e9*late*r.took {
				return r.rate, true, nil
			}
		}
		return rate, false, nil
	})
}

// search finds the greatest rate that holds: up or down in large steps, then by
// halving. A sender that cannot do a rate offers less, and then the greatest that
// it has offered is the result.
func search(begin float64, holds func(rate float64) (got float64, ok bool, err error)) (float64, error) {
	good, bad, best := 0.0, 0.0, 0.0
	for rate := begin; rate >= leastRate && rate <= mostRate; {
		got, ok, err := holds(rate)
		if err != nil {
			return 0, err
		}
		if ok {
			best, good = max(best, got), rate
			if got < rate/1.2 {
				break
			}
		} else {
			bad = rate
		}
		switch {
		case bad == 0:
			rate *= step
		case good == 0:
			rate /= step
		default:
			if bad/good < exact {
				return best, nil
			}
			rate = (good + bad) / 2
		}
	}
	return best, nil
}

// liveCurve shows what is delivered of what is offered.
func liveCurve(ctx context.Context, s *liveSettings, out io.Writer) error {
	subjects := []*subject{dumped, inUser, headers, metered}
	rates := []float64{0.25, 0.5, 0.75, 1, 1.5, 2, 3}
	c, err := newCalls(ctx, s.calls)
	if err != nil {
		return err
	}
	title := []string{"Mpps offered"}
	for _, on := range subjects {
		title = append(title, on.name+": delivered Mpps (offered; % lost)")
	}
	head(out, title...)
	for _, rate := range rates {
		cells := []string{fmt.Sprintf("%.2f", rate)}
		for _, on := range subjects {
			var delivered, offered, lost []float64
			for range s.runs {
				r, err := s.measure(ctx, on, c, rate*1e6)
				if err != nil {
					return fmt.Errorf("%s: %w", on.name, err)
				}
				delivered, offered, lost = append(delivered, r.delivered()/1e6), append(offered, r.rate/1e6), append(lost, 100*r.lost())
			}
			cells = append(cells, fmt.Sprintf("%.2f (%.2f; %.3f)", median(delivered), median(offered), median(lost)))
		}
		row(out, cells...)
	}
	return nil
}

// costRate is a rate that all subjects can do but for moments.
const costRate = 0.4e6

// liveCost shows what a packet costs the receiving core, in the kernel's thread
// and in the program.
func liveCost(ctx context.Context, s *liveSettings, out io.Writer) error {
	subjects := []*subject{dumped, inUser, headers, metered}
	c, err := newCalls(ctx, s.calls)
	if err != nil {
		return err
	}
	longer := *s
	longer.span *= 3 // what a start costs is not to be in it
	type figures struct{ kernel, program, sum, lost []float64 }
	all := make([]figures, len(subjects))
	for range s.runs {
		for i, on := range subjects {
			r, err := longer.measure(ctx, on, c, costRate)
			if err != nil {
				return fmt.Errorf("%s: %w", on.name, err)
			}
			f, n := &all[i], float64(r.arrived)
			f.kernel, f.program = append(f.kernel, r.kernel/n), append(f.program, r.program/n)
			f.sum, f.lost = append(f.sum, (r.kernel+r.program)/n), append(f.lost, 100*r.lost())
		}
	}
	head(out, "program", "kernel's receiving thread, ns a packet", "program, user and system, ns a packet", "sum", "% lost")
	for i, on := range subjects {
		f := &all[i]
		row(out, on.name, spread(f.kernel, "%.0f"), spread(f.program, "%.0f"), spread(f.sum, "%.0f"), spread(f.lost, "%.3f"))
	}
	return nil
}
