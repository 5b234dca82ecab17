// Package flow turns packets into call records. It is made of shards, one per
// worker; each is single-threaded and owns its tables, and nothing in them is
// locked.
//
// A shard works in three stages, each bounded by what the others have reached:
//
//   - Signalling. The worker that reads a SIP message parses it and hands it
//     to the shard that owns its call (a hash of the Call-ID names it). The
//     owner reads the messages of all workers in the order of (Clock, Seq), up
//     to the clock that every worker has read (signalled), runs the timers,
//     and publishes the media endpoints that SDP names in the directory. What
//     it has done up to which clock it says in settled.
//   - Media. The worker that reads RTP or RTCP takes a sample of it, and hands
//     that to the shard that meters its flow (a hash of the addresses names
//     it). That shard takes the samples of all workers in the order of their
//     clocks, but only up to the clock to which every owner has settled: the
//     directory then holds everything said until the packet was sent. A stream is
//     bound to its call when it is first seen, or later when its SDP turns up.
//     When a call is over, its owner asks all shards to report the streams of
//     it as of that clock (order, report); metered says how far a shard is.
//   - Records. When all shards have metered beyond the end of a call, its
//     record is built and leaves, in the order of its end.
//
// So every result is a function of the packets and their clocks alone. How
// many workers there are, and which of them is faster, changes nothing; only
// a full table does, and that is counted.
package flow

import (
	"context"
	"errors"
	"math"
	"sync"
	"sync/atomic"

	"ringside/flow/call"
	"ringside/flow/record"
	"ringside/flow/sip"
)

// Options of a Group.
type Options struct {
	Workers int    // shards; at least 1
	Sensor  uint16 // goes into the records

	Limits call.Limits // timers and sizes of the call tables, of all shards together

	// MaxStreams bounds the streams that are measured at one time, in all
	// shards together. 0: 1,000,000. A packet of a further stream is counted
	// (Stats.Refused) and not measured. Streams without a call may take up three quarters.
	MaxStreams int

	// Call and Orphan take the finished records, in the order in which calls
	// ended and streams fell silent, and never two at a time. The record
	// belongs to them. They may block; the shards then wait.
	Call   func(*record.Call)
	Orphan func(*record.Stream) // a stream that no call claimed

	// Message, if set, sees every SIP message that was understood, in the
	// order in which its owner reads it, on the goroutine of that shard. The
	// message is borrowed during the call.
	Message func(*sip.Message, *call.Meta)

	lanes int // slots of each lane, a power of two; 0: ringSlots
}

const (
	defaultMaxStreams = 1_000_000
	directoryBits     = 16
	end               = int64(math.MaxInt64) // a mark beyond every clock: nothing follows
)

// Group is the shards that work on one capture together.
type Group struct {
	options Options
	shards  []*Shard
	dir     *directory
	gaps    gaps
	out     chan delivery
	failed  atomic.Bool // a worker gave up; the others need not wait for it
	wg      sync.WaitGroup
}

// NewGroup makes the shards. Each needs its worker to call Run.
func NewGroup(o Options) *Group {
	o.Workers = max(o.Workers, 1)
	if o.MaxStreams == 0 {
		o.MaxStreams = defaultMaxStreams
	}
	if o.lanes == 0 {
		o.lanes = ringSlots
	}
	if o.Call == nil {
		o.Call = func(*record.Call) {}
	}
	if o.Orphan == nil {
		o.Orphan = func(*record.Stream) {}
	}
	g := &Group{options: o, dir: newDirectory(directoryBits), out: make(chan delivery, 4*o.Workers)}
	pools := newPools()
	for i := range o.Workers {
		g.shards = append(g.shards, newShard(g, i, pools))
	}
	for _, s := range g.shards {
		s.peers = g.shards
	}
	return g
}

// Run calls work for every shard, each on a goroutine of its own, and delivers
// the records until all have returned. It returns the errors of all workers.
func (g *Group) Run(ctx context.Context, work func(ctx context.Context, i int, s *Shard) error) error {
	errs := make([]error, len(g.shards))
	for i, s := range g.shards {
		g.wg.Go(func() {
			if errs[i] = work(ctx, i, s); errs[i] != nil {
				g.failed.Store(true)
			}
		})
	}
	go func() {
		g.wg.Wait()
		close(g.out)
	}()
	g.deliver()
	return errors.Join(errs...)
}

// Stats is the sum over all shards; safe at any time, exact after a Run that
// ended without an error.
func (g *Group) Stats() Stats {
	var sum Stats
	for _, s := range g.shards {
		if p := s.published.Load(); p != nil {
			sum.add(p)
		}
	}
	return sum
}
