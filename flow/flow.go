// Package flow turns packets into call records. It is made of shards, one per
// worker; each is single-threaded and owns its tables, and nothing in them is
// locked.
//
// A shard works in five stages, each bounded by what the others have reached:
//
//   - Joining. The worker that reads an IP fragment hands a copy to the shard
//     that its outermost addresses name. That shard puts fragments together in
//     the order of their clocks, up to the clock that every worker has read
//     (handed); what comes of them goes on as if it had been read.
//   - Assembly. TCP segments and packets of SCTP go to the shard that the hash
//     of their hosts names, which puts streams together up to the clock to which
//     every shard has joined, and hands on the SIP messages in them. What
//     signalling has been found up to which clock it says in signalled.
//   - Signalling. Whoever finds a SIP message parses it and hands it
//     to the shard that owns its call (a hash of the Call-ID names it). The
//     owner reads the messages of all in the order of (Clock, Seq), up
//     to the clock that every shard has signalled, runs the timers,
//     and publishes the media endpoints that SDP names in the directory. What
//     it has done up to which clock it says in settled. Registrations are owned
//     by the hash of their address of record, in the same stage.
//   - Media. The worker that reads RTP or RTCP takes a sample of it, and hands
//     that to the shard that meters its flow (a hash of the addresses names
//     it). That shard takes the samples of all workers in the order of their
//     clocks, but only up to the clock to which every owner has settled: the
//     directory then holds everything said until the packet was sent. A stream is
//     bound to its call when it is first seen, or later when its SDP turns up.
//     When a call is over, its owner asks all shards to report the streams of
//     it as of that clock (order, report); metered says how far a shard is.
//   - Records. When all shards have metered beyond the end of a call, its
//     record is built and leaves, in the order of its end. Behind that, on one
//     goroutine, events are limited and legs are linked.
//
// Where packets are recorded, the worker that reads a frame keeps a copy of it,
// and hands a reference on (keep.go). Signalling and media give those that
// capture rules want to a Recorder; a fifth mark, floor, says which copies nobody
// looks at any more.
//
// So every result is a function of the packets and their clocks alone. How
// many workers there are, and which of them is faster, changes nothing; only
// a full table does, and that is counted.
package flow

import (
	"cmp"
	"context"
	"errors"
	"math"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"ringside/dataplane/frame"
	"ringside/flow/call"
	"ringside/flow/event"
	"ringside/flow/record"
	"ringside/flow/register"
	"ringside/flow/relate"
	"ringside/flow/rule"
	"ringside/flow/sip"
	tcpstream "ringside/flow/stream"
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
	// Those that are nil are not called.
	Call         func(*record.Call)
	Orphan       func(*record.Stream) // a stream that no call claimed
	Registration func(*record.Registration)
	Exchange     func(*record.Exchange)
	Event        func(*record.Event)
	Link         func(*record.Link) // of two calls that were delivered before
	Quality      func(*record.QualityReport)

	// Message, if set, sees every SIP message that was understood, in the
	// order in which its owner reads it, on the goroutine of that shard. The
	// message is borrowed during the call.
	Message func(*sip.Message, *call.Meta)

	// Sessions bounds what is held of TCP and SCTP, of all shards together, and
	// holds the keys of TLS. Emit is the shards' own.
	Sessions tcpstream.Options

	Register register.Limits
	Events   event.Limits
	Links    relate.Options // how legs of one conversation are found

	// NATAlias says under which other address the media of an address that SDP
	// names is seen. Make it so in both directions where both are wanted.
	NATAlias map[frame.Addr]frame.Addr

	// BothSides gives a stream only to a call whose SDP names both its ends.
	// Else one end will do, as of two ends one is often behind a NAT.
	BothSides bool

	// Recorder, if set, makes the recorder of a shard. Rules, which must be set
	// then, say what it gets, and Memory is where copies of frames are held
	// meanwhile: at least MinKept for each worker, better the packets of some
	// seconds. It must stay until Run returns. Outside of the Go heap it is no
	// business of the collector.
	Recorder func(shard int) Recorder
	Rules    *rule.Set
	Memory   []byte

	// Meters and Endpoints, if set, are a filter in the kernel that meters RTP,
	// and what it is to know for that; see metered.go.
	Meters    Meters
	Endpoints Endpoints

	// Ahead is how many batches a worker may read ahead of the slowest; 0: 8.
	// Where sources are live, an idle one lets the others wait for its mark, and
	// this must be what comes meanwhile.
	Ahead int

	Dedup       Dedup
	DedupWindow time.Duration // 0: 10 ms

	// Sources is how many sources each worker may read, on its one thread; 0: 1.
	Sources int

	lanes int // slots of each lane, a power of two; 0: ringSlots
}

const (
	defaultMaxStreams = 1_000_000
	defaultMaxCalls   = 100_000
	defaultMaxFlows   = 1 << 18
	defaultMaxBytes   = 128 << 20
	directoryBits     = 16
	end               = int64(math.MaxInt64) // a mark beyond every clock: nothing follows
)

// Group is the shards that work on one capture together.
type Group struct {
	options    Options
	shards     []*Shard
	dir        *directory
	gaps       gaps
	mirrors    mirrors
	mirrorLoss mirrorLoss
	keeper     keeper
	last       last
	out        chan delivery
	failed     atomic.Bool // a worker gave up; the others need not wait for it
	asking     sync.Mutex  // by whoever puts a question; see livecalls.go
	asked      atomic.Pointer[question]
	rules      atomic.Pointer[rule.Set] // that decide of calls that begin
	wg         sync.WaitGroup
}

// NewGroup makes the shards. Each needs its worker to call Run.
func NewGroup(o Options) *Group {
	o.Workers = max(o.Workers, 1)
	if o.MaxStreams == 0 {
		o.MaxStreams = defaultMaxStreams
	}
	o.Limits.MaxCalls = cmp.Or(o.Limits.MaxCalls, defaultMaxCalls)
	o.Sessions.MaxFlows = cmp.Or(o.Sessions.MaxFlows, defaultMaxFlows)
	o.Sessions.MaxBytes = cmp.Or(o.Sessions.MaxBytes, defaultMaxBytes)
	o.Ahead = cmp.Or(o.Ahead, maxAhead)
	o.Sources = max(o.Sources, 1)
	if o.lanes == 0 {
		o.lanes = ringSlots
	}
	g := &Group{options: o, dir: newDirectory(directoryBits), out: make(chan delivery, 4*o.Workers)}
	if o.Endpoints != nil {
		g.dir.tell = g.tell
	}
	var d duplicates
	d.init(o.DedupWindow)
	g.mirrors.init(o.Dedup, &d)
	g.last.oneWay = make(map[[2]netip.Addr]int)
	g.last.limit, g.last.finder = event.New(o.Events), relate.New(o.Links)
	if o.Recorder != nil {
		g.initKeeper()
		g.rules.Store(o.Rules)
	}
	pools := newPools()
	for i := range o.Workers {
		g.shards = append(g.shards, newShard(g, i, pools))
	}
	for _, s := range g.shards {
		s.connect(g.shards)
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
	sum.Duplicates.sort()
	sum.LookBackShort = g.keeper.short.Load()
	sum.Mirrors = g.mirrors.report()
	sum.MirrorLoss = g.mirrorLoss.count(&g.gaps)
	g.last.mu.Lock()
	defer g.last.mu.Unlock()
	sum.Events, sum.Links = g.last.limit.Stats(), g.last.finder.Stats()
	return sum
}
