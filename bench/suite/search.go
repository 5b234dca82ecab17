package suite

import (
	"context"

	"ringside/bench/report"
)

// late is for which share of the time a program may still be at work behind the
// end of a rate that it holds: a large ring must not hide a slow reader.
const late = 0.05

// Search for a rate: where it ends, and its steps. Below a part of the rate that
// it begins with it finds nothing: then the machine has no time at all for it.
const (
	leastPart, mostRate = 1.0 / 100, 20e6
	firstStep           = 1.5
	mostAsked           = 14  // rates
	gross               = 0.1 // share of packets lost that no chance explains
	short               = 1.2 // a sender that offers less than the rate by this factor can do no more
)

// found is the result of a search.
type found struct {
	rate   float64 // the highest that held, as it was offered
	sender bool    // the sender could do no more
	stolen bool    // where it ends, the host had the CPUs in each try
	curve  []report.Point
	best   outcome // at that rate
}

// search finds the rate at which a subject begins to lose.
func (b *Bench) search(ctx context.Context, t trial, begin, step float64) (f found, err error) {
	f.rate, f.sender, err = search(begin, step, b.Exact, func(rate float64) (got float64, ok bool, err error) {
		t.rate = rate
		void := true
		for try := 0; try < b.Tries; try++ {
			r, err := b.insist(ctx, t)
			if err != nil {
				return 0, false, err
			}
			if !b.void(&r) {
				f.curve = append(f.curve, report.Point{Offered: r.rate, Lost: r.lost()})
				void = false
			}
			if r.lost() > b.Free || r.behind > 1e9*late*r.took {
				if r.lost() > gross {
					try++ // one more look at most at what is so far off
				}
				continue
			}
			if r.rate >= f.best.rate {
				f.best = r
			}
			// A sender that was short may only have been held up.
			if got, ok = max(got, r.rate), true; got >= rate/short {
				break
			}
		}
		if !ok { // the last that does not hold is the one next to the result
			f.stolen = void
		}
		return got, ok, nil
	})
	return f, err
}

// search finds the greatest rate that holds: up in steps, or down in larger ones,
// then by halving, until two rates are as near as exact says. A sender that cannot
// do a rate offers less, and then the greatest that it has offered is the result. 0:
// none holds.
func search(begin, step, exact float64, holds func(rate float64) (got float64, ok bool, err error)) (best float64, sender bool, err error) {
	good, bad := 0.0, 0.0
	for rate, asked := begin, 0; rate >= begin*leastPart && rate <= mostRate && asked < mostAsked; asked++ {
		got, ok, err := holds(rate)
		if err != nil {
			return 0, false, err
		}
		if ok {
			best, good = max(best, got), rate
			if got < rate/short {
				return best, true, nil
			}
		} else {
			bad = rate
		}
		switch {
		case bad == 0:
			rate *= step
		case good == 0:
			rate /= step * step
		default:
			if bad/good < exact {
				return best, false, nil
			}
			rate = (good + bad) / 2
		}
	}
	return best, best > 0 && bad == 0, nil
}
