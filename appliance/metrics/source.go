package metrics

import "time"

// Source is asked for a Snapshot at each scrape, by several goroutines at once. It
// must not wait for the capture's threads.
type Source interface {
	Snapshot() Snapshot
}

// Snapshot is what the appliance has counted since it started, and how it does now.
// What is nil is not there, and has no metrics.
type Snapshot struct {
	Build   Build
	Now     time.Time // by the appliance's clock
	Sensor  uint16
	Name    string // of the sensor, as people call it
	Ready   bool
	Workers []float64 // by ring: share of one CPU

	Interfaces []Interface
	Lost       []Count // packets lost on their way, by stage of the ledger
	Gaps       int     // in the ledger, that last
	Decode     []Count // frames that yielded no packet, by reason
	Flow       *Flow
	Spool      *Spool
	Store      *Store
}

// Build says what the program was built from.
type Build struct{ Version, Commit, Go string }

// Count is a named counter. Names come from tables of the program, never from the
// network.
type Count struct {
	Name string
	N    uint64
}

// Interface is one that is captured.
type Interface struct {
	Name     string
	Up       bool
	Speed    float64 // of the link, bytes a second; 0: not known
	Packets  uint64  // received, and sent where that is captured, by the card's count
	Bytes    uint64  // of them; 0: not known
	Dropped  uint64  // packets, by the card and the kernel before the rings
	Verdicts []Count // packets by what the filter in the kernel did
	Rings    []Ring
}

// Ring is one of an interface.
type Ring struct {
	Packets, Drops, Freezes uint64
	Fill                    float64 // share of it that waits, 0 to 1

	// Age is how old the last block was when the worker got it, as it said when it
	// was last asked; less than 0: nothing has come since.
	Age time.Duration
}

// Flow is what the shards have found.
type Flow struct {
	Calls, Registrations, Streams uint64    // that go on
	Messages                      []Count   // SIP, by transport
	Requests                      []Count   // SIP, by method
	ParseErrors                   []Count   // SIP, by reason
	Responses                     [7]uint64 // SIP, by class, 1 to 6; 0: any other
	RTP, Orphan                   uint64    // packets
}

// Spool is where packets are kept.
type Spool struct {
	Bytes     int64     // of closed segments
	Oldest    time.Time // minute of the oldest segment; zero: there is none
	Free      int64     // of its volume
	Used      int64     // of the memory for packets that wait
	Memory    int64     // all of it
	Stopped   bool      // it takes no packets, or not all
	Reach     []Reach
	Refused   uint64 // packets for which there was no memory
	Failed    uint64 // packets lost by the disk
	Discarded uint64 // packets given up by a rule
	Packed    []Packing
}

// Packing is how well a class of the spool compresses.
type Packing struct {
	Class         string
	Plain, Packed uint64 // bytes before and behind
}

// Reach is how far back a class of the spool will go at the rate of its last day.
type Reach struct {
	Class  string
	Lasts  time.Duration // 0: not known
	Policy time.Duration // how far it is to go; 0: not said
}

// Store is where records go.
type Store struct {
	Pending     uint64 // records that are not in the database yet
	QueuedBytes int64  // of the queue on disk
	Errors      uint64 // records that the database did not take, and that are lost so
	Parked      uint64 // records that it rejected, kept on disk
	Lost        uint64 // records that are neither stored nor kept
	Away        bool
}
