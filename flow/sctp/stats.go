package sctp

import "fmt"

// Kind is a kind of chunk.
type Kind uint8

// Kinds of chunks.
const (
	Data Kind = iota
	IData
	Init // and INIT ACK
	SACK
	Heartbeat // and its acknowledgment
	Abort
	Shutdown // with SHUTDOWN ACK and SHUTDOWN COMPLETE
	Error
	Cookie // COOKIE ECHO and COOKIE ACK
	ForwardTSN
	OtherChunk

	numKinds
)

var kindNames = [numKinds]string{
	"data", "i-data", "init", "sack", "heartbeat", "abort", "shutdown", "error", "cookie", "forward-tsn", "other",
}

// String is the name of the kind in reports and metrics.
func (k Kind) String() string {
	if k < numKinds {
		return kindNames[k]
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

func kindOf(chunkType byte) Kind {
	switch chunkType {
	case typeData:
		return Data
	case typeIData:
		return IData
	case typeInit, typeInitAck:
		return Init
	case typeSack:
		return SACK
	case 4, 5:
		return Heartbeat
	case typeAbort:
		return Abort
	case 7, 8, typeShutdownComplete:
		return Shutdown
	case 9:
		return Error
	case 10, 11:
		return Cookie
	case typeForwardTSN, 194: // 194: I-FORWARD-TSN
		return ForwardTSN
	}
	return OtherChunk
}

// Loss says why a chunk was given up without its message.
type Loss uint8

// Losses.
const (
	TimedOut     Loss = iota // the rest did not come within Limits.Hole
	Acknowledged             // the peer has the rest: it was lost on the way to us
	Abandoned                // by its sender (FORWARD TSN)
	Ended                    // the association is over, or began anew
	Evicted                  // gave way to others when a limit was reached

	numLosses
)

var lossNames = [numLosses]string{"timed-out", "acknowledged", "abandoned", "ended", "evicted"}

// String is the name of the loss in reports and metrics.
func (l Loss) String() string {
	if l < numLosses {
		return lossNames[l]
	}
	return fmt.Sprintf("loss %d", uint8(l))
}

// Stats are the counters of a table.
//
//	Chunks[Data] + Chunks[IData] = Delivered + Retransmitted + Σ GivenUp + Waiting + Short + HeaderCut + Empty
type Stats struct {
	Packets   uint64
	Truncated uint64           // of these, packets with chunks that the capture does not have
	Malformed uint64           // of these, packets with a chunk whose length cannot be; the rest is not read
	Chunks    [numKinds]uint64 // by Kind
	Unread    uint64           // of these, too short for their kind, or cut there; those with data are below

	Delivered     uint64            // in messages
	Retransmitted uint64            // seen before
	GivenUp       [numLosses]uint64 // without their message, by Loss
	Waiting       uint64
	Short         uint64 // shorter than their header
	HeaderCut     uint64 // captured shorter than their header
	Empty         uint64 // without data, which may not be

	Messages uint64
	Cut      uint64 // of these, without all their bytes: cut by the snap length

	Directions uint64 // known now
	Begun      uint64 // directions
	Restarts   uint64 // of directions: another association between the same endpoints
	Forgotten  uint64 // directions: idle, or some time after their end
	Displaced  uint64 // directions that gave way to others
	Bytes      uint64 // memory in use for chunks
}

// Stats is a copy of the counters since the table began.
func (t *Table) Stats() Stats {
	s := t.stats
	s.Directions = uint64(t.directions.used)
	s.Bytes = uint64(t.cells.used * cellSize)
	return s
}

// Add adds the counters of another table.
func (s *Stats) Add(o *Stats) {
	for _, p := range []struct{ to, from *uint64 }{
		{&s.Packets, &o.Packets}, {&s.Truncated, &o.Truncated}, {&s.Malformed, &o.Malformed}, {&s.Unread, &o.Unread},
		{&s.Delivered, &o.Delivered}, {&s.Retransmitted, &o.Retransmitted}, {&s.Waiting, &o.Waiting},
		{&s.Short, &o.Short}, {&s.HeaderCut, &o.HeaderCut}, {&s.Empty, &o.Empty},
		{&s.Messages, &o.Messages}, {&s.Cut, &o.Cut}, {&s.Directions, &o.Directions}, {&s.Begun, &o.Begun},
		{&s.Restarts, &o.Restarts}, {&s.Forgotten, &o.Forgotten}, {&s.Displaced, &o.Displaced}, {&s.Bytes, &o.Bytes},
	} {
		*p.to += *p.from
	}
	for i, n := range o.Chunks {
		s.Chunks[i] += n
	}
	for i, n := range o.GivenUp {
		s.GivenUp[i] += n
	}
}
