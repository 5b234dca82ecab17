package defrag

import "fmt"

// Reason says why a datagram was refused, and its fragments with it.
type Reason uint8

// Reasons. Those up to Unaligned lie in one fragment, the others in how it
// goes with those before it.
const (
	_         Reason = iota
	Empty            // a fragment without payload
	TooLong          // reaches beyond 65,535 bytes (ping of death)
	Unaligned        // not a multiple of 8 bytes, and not the last
	Overlap          // shares bytes with another one, and is not the same (teardrop)
	TwoEnds          // two last fragments that end at different places
	BeyondEnd        // reaches beyond the last fragment
	TooMany          // more than Limits.MaxFragments

	numReasons
)

var reasonNames = [numReasons]string{
	"", "empty", "too-long", "unaligned", "overlap", "two-ends", "beyond-end", "too-many",
}

// String is the name of the reason in reports and metrics.
func (r Reason) String() string {
	if r < numReasons {
		return reasonNames[r]
	}
	return fmt.Sprintf("reason %d", uint8(r))
}

// Stats are the counters of a table.
//
//	Fragments = Used + Duplicates + Σ Refused + TimedOut + Stale + Evicted + Waiting
//	Begun     = Datagrams + DatagramsRefused + DatagramsTimedOut + DatagramsStale + DatagramsEvicted + DatagramsWaiting
type Stats struct {
	Fragments  uint64
	Used       uint64             // in datagrams that were completed
	Duplicates uint64             // copies of a fragment that was there
	Refused    [numReasons]uint64 // by Reason; the first is always 0
	TimedOut   uint64             // the rest of their datagram did not come in time
	Stale      uint64             // their identification was used again before the rest came
	Evicted    uint64             // gave way to others when a limit was reached
	Waiting    uint64

	Begun             uint64
	Datagrams         uint64 // completed
	DatagramsRefused  uint64
	DatagramsTimedOut uint64
	DatagramsStale    uint64
	DatagramsEvicted  uint64
	DatagramsWaiting  uint64

	Cut     uint64 // of Datagrams, those without all their bytes: cut by the snap length
	Bytes   uint64 // memory in use for fragments
	Sources uint64 // with waiting datagrams
}

// Stats is a copy of the counters since the table began.
func (t *Table) Stats() Stats {
	s := t.stats
	s.Bytes = uint64(t.cells.used * cellSize)
	s.Sources = uint64(t.sources.used)
	return s
}

// Add adds the counters of another table.
func (s *Stats) Add(o *Stats) {
	for _, p := range []struct{ to, from *uint64 }{
		{&s.Fragments, &o.Fragments}, {&s.Used, &o.Used}, {&s.Duplicates, &o.Duplicates},
		{&s.TimedOut, &o.TimedOut}, {&s.Stale, &o.Stale}, {&s.Evicted, &o.Evicted}, {&s.Waiting, &o.Waiting},
		{&s.Begun, &o.Begun}, {&s.Datagrams, &o.Datagrams}, {&s.DatagramsRefused, &o.DatagramsRefused},
		{&s.DatagramsTimedOut, &o.DatagramsTimedOut}, {&s.DatagramsStale, &o.DatagramsStale},
		{&s.DatagramsEvicted, &o.DatagramsEvicted}, {&s.DatagramsWaiting, &o.DatagramsWaiting},
		{&s.Cut, &o.Cut}, {&s.Bytes, &o.Bytes}, {&s.Sources, &o.Sources},
	} {
		*p.to += *p.from
	}
	for i, n := range o.Refused {
		s.Refused[i] += n
	}
}
