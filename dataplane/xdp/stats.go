package xdp

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"

	"ringside/bpf"
)

// Verdicts.
const (
	Drop      = "drop"
	Metered   = "meter"      // metered, and dropped
	Fed       = "meter+feed" // metered, and put into a Feed, whole or cut
	Handed    = "feed"       // put into a Feed and not metered
	Delivered = "meter+pass" // metered, and passed behind a note, whole or cut
	Cut       = "cut"        // passed, cut behind the headers (socket filter only)
	Pass      = "pass"
)

// Row counts the frames of one reason. Each frame is in one row.
type Row struct {
	Reason  string
	Verdict string
	Packets uint64
	Bytes   uint64 // length of the frames as they were received
}

// Reasons for which RTP is dropped that was metered, and was to be delivered.
const (
	noHeadroom = "no headroom" // for its note
	feedFull   = "feed full"
	rtpShed    = "RTP, feed full" // and not metered: user space is behind by all of the feed
)

// Metered says whether the meter has counted the frames of a row.
func (r *Row) Metered() bool {
	switch r.Verdict {
	case Metered, Fed, Delivered:
		return true
	}
	return r.Verdict == Drop && (r.Reason == noHeadroom || r.Reason == feedFull)
}

// rows are the reasons and verdicts in the order of enum rs_reason, bpf/include/reason.h.
var rows = [...]Row{
	{Reason: "own traffic", Verdict: Drop},
	{Reason: "denied", Verdict: Drop},
	{Reason: "not allowed", Verdict: Drop},
	{Reason: "other", Verdict: Drop},
	{Reason: "fragment of dropped", Verdict: Drop},
	{Reason: "REGISTER over limit", Verdict: Drop},
	{Reason: "OPTIONS over limit", Verdict: Drop},
	{Reason: "request over limit", Verdict: Drop},
	{Reason: noHeadroom, Verdict: Drop},
	{Reason: feedFull, Verdict: Drop},
	{Reason: rtpShed, Verdict: Drop},
	{Reason: "RTP", Verdict: Metered},
	{Reason: "RTP header", Verdict: Fed},
	{Reason: "RTP whole", Verdict: Fed},
	{Reason: "RTP sample", Verdict: Fed},
	{Reason: "RTP", Verdict: Handed},
	{Reason: "RTP header", Verdict: Delivered},
	{Reason: "RTP whole", Verdict: Delivered},
	{Reason: "RTP sample", Verdict: Delivered},
	{Reason: "RTP", Verdict: Cut},
	{Reason: "SIP", Verdict: Pass},
	{Reason: "REGISTER sample", Verdict: Pass},
	{Reason: "OPTIONS sample", Verdict: Pass},
	{Reason: "request sample", Verdict: Pass},
	{Reason: "RTP", Verdict: Pass},
	{Reason: "RTP, meter full", Verdict: Pass},
	{Reason: "RTP, meter busy", Verdict: Pass},
	{Reason: "RTCP", Verdict: Pass},
	{Reason: "STUN", Verdict: Pass},
	{Reason: "media endpoint", Verdict: Pass},
	{Reason: "fragment of passed", Verdict: Pass},
	{Reason: "fragment alone", Verdict: Pass},
	{Reason: "RTP in fragments", Verdict: Pass},
	{Reason: "other", Verdict: Pass},
	{Reason: "link layer", Verdict: Pass},
	{Reason: "bad IP header", Verdict: Pass},
	{Reason: "extension headers", Verdict: Pass},
	{Reason: "protocol", Verdict: Pass},
	{Reason: "tunnel", Verdict: Pass},
	{Reason: "tunnel in tunnel", Verdict: Pass},
	{Reason: "bad UDP or RTP header", Verdict: Pass},
	{Reason: "truncated", Verdict: Pass},
}

// Places in the map of steering, bpf/include/deliver.h.
const (
	arrivedAt = 0 // read first, so that no more arrive than were sent
	sentAt    = 1
)

// Traffic counts frames.
type Traffic struct{ Packets, Bytes uint64 }

// Stats is what the filter has done since it was opened. No figure ever falls.
type Stats struct {
	Rows []Row // every reason and verdict, always in the same order; their sum is what was received

	// Of what passed: sent to another CPU, and arrived there. What is missing was lost
	// in the queue between them, or is in it.
	Steered, Arrived Traffic
}

// Received is the sum of all rows.
func (s *Stats) Received() (t Traffic) {
	for i := range s.Rows {
		t.Packets += s.Rows[i].Packets
		t.Bytes += s.Rows[i].Bytes
	}
	return t
}

// Stats reads the counters.
func (f *Filter) Stats() (Stats, error) {
	s := Stats{Rows: append([]Row(nil), rows[:]...)}
	// Steering first: what is steered later is in the rows already.
	if m := f.objects.Maps[bpf.PrefilterMapRsSteering]; m != nil {
		var steering [2]Traffic
		if err := sumCPUs(m, steering[:]); err != nil {
			return Stats{}, err
		}
		s.Steered, s.Arrived = steering[sentAt], steering[arrivedAt]
	}
	var counts [len(rows)]Traffic
	if err := sumCPUs(f.objects.Maps[bpf.PrefilterMapRsCounts], counts[:]); err != nil {
		return Stats{}, err
	}
	for i, t := range counts {
		s.Rows[i].Packets, s.Rows[i].Bytes = t.Packets, t.Bytes
	}
	return s, nil
}

// sumCPUs adds up the entries of a map that each CPU has for itself, in one call.
func sumCPUs(m *ebpf.Map, to []Traffic) error {
	cpus, err := ebpf.PossibleCPU()
	if err != nil {
		return fmt.Errorf("count the CPUs: %w", err)
	}
	var cursor ebpf.MapBatchCursor
	keys, values := make([]uint32, len(to)), make([]bpf.PrefilterRsTraffic, len(to)*cpus)
	n, err := m.BatchLookup(&cursor, keys, values, nil)
	if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return fmt.Errorf("read the filter's counters: %w", err)
	}
	if n != len(to) {
		return fmt.Errorf("read the filter's counters: %d of %d", n, len(to))
	}
	for i, v := range values {
		t := &to[keys[i/cpus]]
		t.Packets += v.Packets
		t.Bytes += v.Bytes
	}
	return nil
}
