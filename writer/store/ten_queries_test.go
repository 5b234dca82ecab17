package store

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"ringside/flow/record"
)

// question is what is asked of a filled store, many times with other values.
type question struct {
	name string
	ask  func(r *rand.Rand) error
}

// TestTen measures queries of a store with the calls of -fill: each question many
// times, in the order of chance. It fails on errors, not on times.
func TestTen(t *testing.T) {
	s := filled(t)
	t.Run("lists", func(t *testing.T) { askAll(t, s.listQuestions(t)) })
	t.Run("figures", func(t *testing.T) { askAll(t, s.figureQuestions(t)) })
}

func askAll(t *testing.T, questions []question) {
	times := *fillTimes
	took := make([][]time.Duration, len(questions))
	r := rand.New(rand.NewPCG(11, 12))
	for range times {
		for _, i := range r.Perm(len(questions)) {
			began := time.Now()
			if err := questions[i].ask(r); err != nil {
				t.Fatalf("%s: %v", questions[i].name, err)
			}
			took[i] = append(took[i], time.Since(began))
		}
	}
	var pools [2][]time.Duration // first pages and figures, next pages
	for i, q := range questions {
		slices.Sort(took[i])
		if took[i][len(took[i])-1] < 100*time.Microsecond {
			continue // there was no next page
		}
		pool := &pools[0]
		if strings.HasPrefix(q.name, "…") {
			pool = &pools[1]
		}
		if !strings.Contains(q.name, "+") { // several conditions were not asked for
			*pool = append(*pool, took[i]...)
		}
		logTimes(t, q.name, took[i])
	}
	for i, name := range []string{"all first pages, or figures", "all next pages"} {
		if slices.Sort(pools[i]); len(pools[i]) > 0 {
			logTimes(t, name, pools[i])
		}
	}
}

// logTimes says the median, the 95th percentile and the most of sorted times, ms.
func logTimes(t *testing.T, name string, took []time.Duration) {
	t.Helper()
	at := func(percent int) float64 { return ms(took[(len(took)*percent+99)/100-1]) }
	t.Logf("| %s | %.1f | %.1f | %.1f |", name, at(50), at(95), at(100))
}

func ms(d time.Duration) float64 { return float64(d) / 1e6 }

// pastDays is a range of so many days that ends at a time of chance.
func pastDays(r *rand.Rand, f Filter, days int) Filter {
	end := filledDay.AddDate(0, 0, 1).UnixNano() - r.Int64N(max(1, int64(fillDays-days)*24*hourNs))
	f.From, f.To = end-int64(days)*24*hourNs, end
	return f
}

// listQuestions ask for the first page of 100, and for the next.
func (s *Store) listQuestions(t *testing.T) []question {
	user := func(r *rand.Rand) string { return plausible(r, 1, 10, filledDay).Caller.Number }
	peer := func(r *rand.Rand) string { return plausible(r, 1, 10, filledDay).Called.Number }
	single := func(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }
	filters := []struct {
		name string
		of   func(r *rand.Rand) Filter
	}{
		{"time alone", func(*rand.Rand) Filter { return Filter{} }},
		{"caller, exact", func(r *rand.Rand) Filter { return Filter{Caller: Match{user(r), Exact}} }},
		{"either number, exact", func(r *rand.Rand) Filter { return Filter{Number: Match{peer(r), Exact}} }},
		{"number of three calls", func(*rand.Rand) Filter { return Filter{Number: Match{rareNumber, Exact}} }},
		{"number of no call", func(*rand.Rand) Filter { return Filter{Number: Match{"+999", Exact}} }},
		{"prefix, common", func(r *rand.Rand) Filter { return Filter{Caller: Match{"+4930555", Prefix}} }},
		{"prefix of 9", func(r *rand.Rand) Filter { return Filter{Number: Match{peer(r)[:9], Prefix}} }},
		{"prefix, rare", func(*rand.Rand) Filter { return Filter{Number: Match{"+88213", Prefix}} }},
		{"suffix of 3", func(r *rand.Rand) Filter { return Filter{Caller: Match{user(r)[10:], Suffix}} }},
		{"suffix of 6", func(r *rand.Rand) Filter { return Filter{Number: Match{peer(r)[6:], Suffix}} }},
		{"suffix, rare", func(*rand.Rand) Filter { return Filter{Number: Match{"3000001", Suffix}} }},
		{"address of a trunk", func(r *rand.Rand) Filter {
			return Filter{Addr: single(plausible(r, 1, 10, filledDay).Called.Addr.Addr())}
		}},
		{"address of a phone", func(r *rand.Rand) Filter {
			return Filter{Addr: single(plausible(r, 1, 10, filledDay).Caller.Addr.Addr())}
		}},
		{"media address", func(r *rand.Rand) Filter {
			return Filter{MediaAddr: single(netip.AddrFrom4([4]byte{10, 8, 0, byte(r.IntN(20))}))}
		}},
		{"address of one call", func(*rand.Rand) Filter { return Filter{Addr: single(rareAddr)} }},
		{"network, common", func(*rand.Rand) Filter { return Filter{SignalAddr: netip.MustParsePrefix("10.0.0.0/8")} }},
		{"network of 16 phones", func(r *rand.Rand) Filter {
			return Filter{Addr: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 20, byte(r.IntN(30)), 16}), 28)}
		}},
		{"network of no call", func(*rand.Rand) Filter { return Filter{Addr: netip.MustParsePrefix("203.0.113.0/24")} }},
		{"status 486", func(*rand.Rand) Filter { return Filter{StatusMin: 486, StatusMax: 486} }},
		{"status 4xx", func(*rand.Rand) Filter { return Filter{StatusMin: 400, StatusMax: 499} }},
		{"status 488, 2 in 100,000", func(*rand.Rand) Filter { return Filter{StatusMin: 488, StatusMax: 488} }},
		{"status 606, none", func(*rand.Rand) Filter { return Filter{StatusMin: 606, StatusMax: 606} }},
		{"MOS below 3.5", func(*rand.Rand) Filter { return Filter{MOSBelow: 3.5} }},
		{"MOS below 1.5, 1 in 100,000", func(*rand.Rand) Filter { return Filter{MOSBelow: 1.5} }},
		{"MOS below 1.1, none", func(*rand.Rand) Filter { return Filter{MOSBelow: 1.1} }},
		{"caller + status", func(r *rand.Rand) Filter { return Filter{Caller: Match{user(r), Exact}, StatusMin: 400} }},
		{"trunk + MOS below 3", func(r *rand.Rand) Filter {
			return Filter{SignalAddr: single(plausible(r, 1, 10, filledDay).Called.Addr.Addr()), MOSBelow: 3}
		}},
		{"outcome busy", func(*rand.Rand) Filter { return Filter{Outcomes: []record.Outcome{record.Busy}} }},
		{"scope of a prefix + status 4xx", func(r *rand.Rand) Filter {
			return Filter{Scope: Scope{Prefixes: []string{user(r)[:11]}}, StatusMin: 400, StatusMax: 499}
		}},
	}
	var out []question
	for _, days := range []int{1, fillDays} {
		for _, f := range filters {
			var next string
			var last Filter
			first := question{fmt.Sprintf("%s, %d days", f.name, days), func(r *rand.Rand) error {
				filter := pastDays(r, f.of(r), days)
				got, err := s.Calls(t.Context(), filter, Page{})
				if got.Next != "" {
					next, last = got.Next, filter
				}
				return err
			}}
			then := question{"… next page" + strings.Repeat(" +", strings.Count(f.name, "+")), func(*rand.Rand) error {
				if next == "" {
					return nil
				}
				_, err := s.Calls(t.Context(), last, Page{Cursor: next})
				return err
			}}
			out = append(out, first, then)
		}
	}
	return out
}

// figureQuestions ask for counts and statistics.
func (s *Store) figureQuestions(t *testing.T) []question {
	series := func(q SeriesQuery, days int) func(*rand.Rand) error {
		return func(r *rand.Rand) error {
			f := pastDays(r, Filter{}, days)
			q.From, q.To = f.From, f.To
			_, err := s.Series(t.Context(), q)
			return err
		}
	}
	top := func(by Dimension, m Metric, days int) func(*rand.Rand) error {
		return func(r *rand.Rand) error {
			f := pastDays(r, Filter{}, days)
			_, err := s.Top(t.Context(), TopQuery{By: by, Metric: m, From: f.From, To: f.To})
			return err
		}
	}
	count := func(f Filter, days int) func(*rand.Rand) error {
		return func(r *rand.Rand) error {
			_, err := s.CountUpTo(t.Context(), pastDays(r, f, days))
			return err
		}
	}
	return []question{
		{"overview", func(r *rand.Rand) error {
			_, err := s.Overview(t.Context(), OverviewQuery{To: pastDays(r, Filter{}, 2).To})
			return err
		}},
		{"overview of a sensor", func(r *rand.Rand) error {
			_, err := s.Overview(t.Context(), OverviewQuery{To: pastDays(r, Filter{}, 2).To, Scope: Scope{Sensors: []uint16{2}}})
			return err
		}},
		{"count, time alone, 30 days", count(Filter{}, fillDays)},
		{"count, MOS below 3.5, 30 days", count(Filter{MOSBelow: 3.5}, fillDays)},
		{"count, status 486, 1 day", count(Filter{StatusMin: 486, StatusMax: 486}, 1)},
		{"series, ASR, 1 day", series(SeriesQuery{Metric: MetricASR}, 1)},
		{"series, MOS p10, 30 days", series(SeriesQuery{Metric: MetricMOSP10}, fillDays)},
		{"series, calls by status, 7 days", series(SeriesQuery{By: ByStatus}, 7)},
		{"series, MOS by trunk, 7 days", series(SeriesQuery{Metric: MetricMOS, By: ByTrunk}, 7)},
		{"series, concurrent, 1 day", series(SeriesQuery{Metric: MetricConcurrent}, 1)},
		{"series, ASR of a prefix (sampled), 7 days", series(SeriesQuery{Metric: MetricASR, Filter: Filter{Caller: Match{"+4930", Prefix}}}, 7)},
		{"top codecs, 30 days", top(ByCodec, MetricCalls, fillDays)},
		{"top trunks, 1 day", top(ByTrunk, MetricCalls, 1)},
		{"top trunks, 30 days", top(ByTrunk, MetricCalls, fillDays)},
		{"top callers (sampled), 1 day", top(ByCaller, MetricCalls, 1)},
		{"top media addresses (sampled), 1 day", top(ByMedia, MetricCalls, 1)},
	}
}

// BenchmarkPlausible measures how fast calls as of -fill are stored beside the
// millions there are, in a day after theirs.
func BenchmarkPlausible(b *testing.B) {
	s := filled(b)
	r := rand.New(rand.NewPCG(9, uint64(time.Now().UnixNano())))
	day := filledDay.AddDate(0, 0, 2)
	n := 0
	for b.Loop() {
		calls := make([]*record.Call, 71)
		for i := range calls {
			calls[i] = plausible(r, n, 400_000, day)
			n++
		}
		insert(b, s, calls...)
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "calls/s")
}
