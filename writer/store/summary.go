package store

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"ringside/flow/record"
)

// Summary is the calls that a filter chooses, in figures.
type Summary struct {
	Calls     int64          `json:"calls"`
	Outcomes  []OutcomeCount `json:"outcomes"`  // those that occur, in the order of record.Outcomes
	ASR       float64        `json:"asr"`       // answer-seizure ratio: answered calls, per cent of those seen from their INVITE to an outcome
	Connected int64          `json:"connected"` // calls with an answer
	TalkTime  float64        `json:"talk_s"`    // connected seconds of all calls
	ACD       float64        `json:"acd_s"`     // average call duration: TalkTime / Connected
	Streams   int64          `json:"streams"`   // RTP streams of the calls
	MOS       [6]MOSBucket   `json:"mos"`       // calls by their worst stream's MOS.LQ, worst first
	MOSCalls  int64          `json:"mos_calls"` // calls that have one
	MOSMean   float64        `json:"mos_mean"`  // its mean over those calls
}

// OutcomeCount is how many calls had an outcome.
type OutcomeCount struct {
	Outcome record.Outcome `json:"outcome"`
	Calls   int64          `json:"calls"`
}

// MOSBucket counts the calls with Low <= MOS < High.
type MOSBucket struct {
	Low   float64 `json:"low"`
	High  float64 `json:"high"`
	Calls int64   `json:"calls"`
}

// mosEdges are the borders of user satisfaction in ITU-T G.107 table B.1
// (R of 50, 60, 70, 80, 90), between 1 and beyond the top of every scale.
var mosEdges = [...]float64{1, 2.58, 3.10, 3.60, 4.03, 4.34, 5.01}

// Summary counts the calls that f chooses.
func (s *Store) Summary(ctx context.Context, f Filter) (Summary, error) {
	var sum Summary
	columns := []string{"outcome", "COUNT(*)", "SUM(stream_count)",
		// Seconds as a floating-point number: a sum of ns could overflow.
		"COUNT(connected)", "COALESCE(SUM(connected * 1e-9), 0.0)", "COUNT(mos_min)", "COALESCE(SUM(mos_min), 0.0)"}
	var args []any
	for i := range sum.MOS {
		b := &sum.MOS[i]
		b.Low, b.High = mosEdges[i], mosEdges[i+1]
		columns = append(columns, "COALESCE(SUM(CASE WHEN mos_min >= ? AND mos_min < ? THEN 1 ELSE 0 END), 0)")
		args = append(args, b.Low, b.High)
	}
	q, err := s.search(f, Page{})
	if err != nil {
		return Summary{}, fmt.Errorf("summarize calls: %w", err)
	}
	counts := make(map[record.Outcome]int64)
	var mosSum float64
	err = q.steps(ctx, false, func(st step) (bool, error) {
		from, more := q.from(st)
		return false, groups(ctx, s.read, "SELECT "+strings.Join(columns, ", ")+from+" GROUP BY outcome", slices.Concat(args, more),
			func(scan func(...any) error) error { return sum.take(scan, counts, &mosSum) })
	})
	if err != nil {
		return Summary{}, fmt.Errorf("summarize calls: %w", err)
	}
	for _, o := range record.Outcomes() {
		if counts[o] > 0 {
			sum.Outcomes = append(sum.Outcomes, OutcomeCount{o, counts[o]})
		}
	}
	answered := counts[record.Answered]
	if seized := sum.Calls - counts[record.Partial] - counts[record.OutcomeUnknown]; seized > 0 {
		sum.ASR = 100 * float64(answered) / float64(seized)
	}
	if sum.Connected > 0 {
		sum.ACD = sum.TalkTime / float64(sum.Connected)
	}
	if sum.MOSCalls > 0 {
		sum.MOSMean = mosSum / float64(sum.MOSCalls)
	}
	return sum, nil
}

// take adds a row of the query to the sums.
func (sum *Summary) take(scan func(...any) error, counts map[record.Outcome]int64, mosSum *float64) error {
	var o record.Outcome
	var calls, streams, connected, mosCalls int64
	var talk, mos float64
	var buckets [len(sum.MOS)]int64
	dest := []any{cell{&o}, &calls, &streams, &connected, &talk, &mosCalls, &mos}
	for i := range buckets {
		dest = append(dest, &buckets[i])
	}
	if err := scan(dest...); err != nil {
		return err
	}
	counts[o] += calls
	sum.Calls += calls
	sum.Streams += streams
	sum.Connected += connected
	sum.TalkTime += talk
	sum.MOSCalls += mosCalls
	*mosSum += mos
	for i, n := range buckets {
		sum.MOS[i].Calls += n
	}
	return nil
}

// RegistrationSummary is the registrations that a filter chooses, in figures.
type RegistrationSummary struct {
	Registrations int64                              `json:"registrations"`
	States        map[record.RegistrationState]int64 `json:"states"`     // registrations by state
	Registers     int64                              `json:"registers"`  // REGISTER requests
	Successes     int64                              `json:"successes"`  // answered by 2xx
	Challenges    int64                              `json:"challenges"` // answered by 401 or 407
	Failures      int64                              `json:"failures"`   // refused
	Timeouts      int64                              `json:"timeouts"`   // not answered
}

// SummarizeRegistrations counts the registrations that f chooses.
func (s *Store) SummarizeRegistrations(ctx context.Context, f RegistrationFilter) (RegistrationSummary, error) {
	w := f.where()
	sum := RegistrationSummary{States: make(map[record.RegistrationState]int64)}
	err := groups(ctx, s.read, "SELECT state, COUNT(*), SUM(registers), SUM(successes), SUM(challenges), SUM(failures), SUM(timeouts)"+
		" FROM registration"+w.String()+" GROUP BY state", w.args, func(scan func(...any) error) error {
		var state record.RegistrationState
		var n, registers, successes, challenges, failures, timeouts int64
		err := scan(cell{&state}, &n, &registers, &successes, &challenges, &failures, &timeouts)
		sum.States[state] = n
		sum.Registrations += n
		sum.Registers += registers
		sum.Successes += successes
		sum.Challenges += challenges
		sum.Failures += failures
		sum.Timeouts += timeouts
		return err
	})
	if err != nil {
		return RegistrationSummary{}, fmt.Errorf("summarize registrations: %w", err)
	}
	return sum, nil
}

// SummarizeEvents counts the events that f chooses by their kind, those
// included that a rate limit held back.
func (s *Store) SummarizeEvents(ctx context.Context, f EventFilter) (map[record.EventKind]int64, error) {
	w := f.where()
	sum := make(map[record.EventKind]int64)
	err := groups(ctx, s.read, "SELECT kind, SUM(occurrences) FROM event"+w.String()+" GROUP BY kind", w.args,
		func(scan func(...any) error) error {
			var kind record.EventKind
			var n int64
			err := scan(cell{&kind}, &n)
			sum[kind] = n
			return err
		})
	if err != nil {
		return nil, fmt.Errorf("summarize events: %w", err)
	}
	return sum, nil
}

// ExchangeCount is how many exchanges of a kind are in a state.
type ExchangeCount struct {
	Kind      record.ExchangeKind `json:"kind"`
	State     string              `json:"state"`
	Exchanges int64               `json:"exchanges"`
}

// SummarizeExchanges counts the exchanges that f chooses by kind and state.
func (s *Store) SummarizeExchanges(ctx context.Context, f ExchangeFilter) ([]ExchangeCount, error) {
	w := f.where()
	var sum []ExchangeCount
	err := groups(ctx, s.read, "SELECT kind, state, COUNT(*) FROM exchange"+w.String()+" GROUP BY kind, state ORDER BY kind, state", w.args,
		func(scan func(...any) error) error {
			var c ExchangeCount
			err := scan(cell{&c.Kind}, &c.State, &c.Exchanges)
			sum = append(sum, c)
			return err
		})
	if err != nil {
		return nil, fmt.Errorf("summarize exchanges: %w", err)
	}
	return sum, nil
}

// groups gives each row of a query to take.
func groups(ctx context.Context, q querier, query string, args []any, take func(scan func(...any) error) error) error {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := take(rows.Scan); err != nil {
			return err
		}
	}
	return rows.Err()
}
