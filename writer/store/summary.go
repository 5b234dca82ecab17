package store

import (
	"context"
	"fmt"
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
	w := f.where()
	rows, err := s.read.QueryContext(ctx, "SELECT "+strings.Join(columns, ", ")+" FROM calls"+w.String()+
		" GROUP BY outcome", append(args, w.args...)...)
	if err != nil {
		return Summary{}, fmt.Errorf("summarize calls: %w", err)
	}
	defer rows.Close()

	counts := make(map[record.Outcome]int64)
	var mosSum float64
	for rows.Next() {
		var o record.Outcome
		var calls, streams, connected, mosCalls int64
		var talk, mos float64
		var buckets [len(sum.MOS)]int64
		dest := []any{cell{&o}, &calls, &streams, &connected, &talk, &mosCalls, &mos}
		for i := range buckets {
			dest = append(dest, &buckets[i])
		}
		if err := rows.Scan(dest...); err != nil {
			return Summary{}, fmt.Errorf("summarize calls: %w", err)
		}
		counts[o] += calls
		sum.Calls += calls
		sum.Streams += streams
		sum.Connected += connected
		sum.TalkTime += talk
		sum.MOSCalls += mosCalls
		mosSum += mos
		for i, n := range buckets {
			sum.MOS[i].Calls += n
		}
	}
	if err := rows.Err(); err != nil {
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
