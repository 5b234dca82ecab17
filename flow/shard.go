package flow

import (
	"context"
	"errors"
	"io"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"ringside/dataplane/frame"
	"ringside/flow/call"
	"ringside/flow/record"
	"ringside/flow/sip"
)

// mark is a clock that one shard advances and all read, on a line of its own.
type mark struct {
	atomic.Int64
	_ [56]byte
}

// Shard is one worker's part of the work. Its methods are for that worker.
type Shard struct {
	// How far this shard is; see the package comment. Each says: everything
	// with a lesser clock is done, and what follows from it has been handed on.
	signalled, settled, metered mark

	published atomic.Pointer[Stats]

	group *Group
	peers []*Shard
	id    int

	// A mark that waits for room in a lane. Until it is up, its stage does
	// nothing more: what went into the other lanes is not read before that, and
	// more of it could fill them for good.
	held                 bool  // signalled
	settledTo, meteredTo int64 // what settled and metered are going to say

	// Lanes to each peer; the one to itself is used like any other.
	signals []*lane[signal]
	samples []*lane[sample]
	orders  []*lane[order]
	reports []*lane[report]

	// Chunks being read, by the peer they came from.
	signalIn []cursor[signal]
	sampleIn []cursor[sample]

	ahead     []int64 // marks of the batches read that somebody has not yet metered through
	lastClock int64   // at which the capture ends, once it did
	ended     bool

	table    *call.Table
	advanced int64                    // clock that its timers have run to
	named    map[call.Ref][]*endpoint // directory entries of each open call, oldest first
	closing  []closing                // calls over, records not built
	reused   map[call.Ref]bool        // calls on addresses that another had just left
	former   []former                 // endpoints that were given up, about in the order in which they can go
	probes   []probe                  // not answered by all shards yet
	alive    map[call.Ref]int64       // their answers so far: clock of the last media packet
	message  sip.Message              // the one being parsed

	seq   uint64                   // of the message being read
	media map[call.Ref][]*measured // reported streams of each call

	streams *streams
	orderIn []order // taken from all peers, by clock
	due     int64   // clock of the next order or tick
	found   [lookahead]uint32

	emitted   []emission
	mark      int64 // records that were finished before are emitted
	delivered int64 // the mark that the sink knows
	stats     Stats
}

type closing struct {
	ref   call.Ref
	clock int64
}

type probe struct {
	ref   call.Ref
	clock int64
}

type former struct {
	endpoints []*endpoint
	until     int64
}

// maxAhead is how many batches a worker reads ahead of the slowest.
const maxAhead = 8

type pools struct{ signals, samples, orders, reports *sync.Pool }

func newPools() pools {
	return pools{chunkPool[signal](), chunkPool[sample](), chunkPool[order](), chunkPool[report]()}
}

func newShard(g *Group, id int, p pools) *Shard {
	n := g.options.Workers
	s := &Shard{
		group: g, id: id, mark: -end, settledTo: -end, meteredTo: -end,
		signalIn: make([]cursor[signal], n),
		sampleIn: make([]cursor[sample], n),
		named:    make(map[call.Ref][]*endpoint),
		media:    make(map[call.Ref][]*measured),
		reused:   make(map[call.Ref]bool),
		alive:    make(map[call.Ref]int64),
	}
	s.streams = newStreams(g.options.MaxStreams/n + 1)
	slots := g.options.lanes
	for range n {
		s.signals = append(s.signals, newLane[signal](p.signals, slots))
		s.samples = append(s.samples, newLane[sample](p.samples, slots))
		s.orders = append(s.orders, newLane[order](p.orders, slots))
		s.reports = append(s.reports, newLane[report](p.reports, slots))
	}
	for _, m := range []*mark{&s.signalled, &s.settled, &s.metered} {
		m.Store(-end)
	}
	limits := g.options.Limits
	limits.MaxCalls = share(limits.MaxCalls, n)
	s.table = call.NewTable(call.Options{
		Limits:  limits,
		Sensor:  g.options.Sensor,
		Publish: s.publish,
		Ending:  s.ending,
		Closed:  s.closed,
		Probe:   s.probe,
	})
	return s
}

// share is one shard's part of a limit; 0 stays 0 (the default).
func share(total, n int) int { return (total + n - 1) / n }

// Run reads src, which the workers may share, to its end. decode turns the
// frames of a batch into packets. It returns when the records of everything
// read have been delivered, when ctx is cancelled, or when the source or
// another worker fails.
func (s *Shard) Run(ctx context.Context, src frame.Source, decode func(*frame.Batch)) error {
	var idle backoff
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		if s.group.failed.Load() {
			return nil
		}
		moved, err := s.receive(src, decode)
		if err != nil {
			return err
		}
		moved = s.settle() || moved
		moved = s.meter() || moved
		moved = s.finish() || moved
		if s.mark == end {
			return nil
		}
		idle.wait(moved)
	}
}

// receive reads one batch, if there is room for what comes of it, and hands
// over what was read.
func (s *Shard) receive(src frame.Source, decode func(*frame.Batch)) (moved bool, err error) {
	for len(s.ahead) > 0 && s.ahead[0] <= s.mark {
		s.ahead = slices.Delete(s.ahead, 0, 1)
	}
	if !s.ended && !s.held && len(s.ahead) < maxAhead {
		b, err := src.Next()
		switch {
		case errors.Is(err, io.EOF):
			s.ended, moved = true, true
			s.lastClock = src.Mark() // beyond every frame: nobody has promised it yet
		case err != nil:
			return false, err
		case b != nil:
			decode(b)
			s.classify(b)
			b.Release()
			s.ahead, moved = append(s.ahead, src.Mark()), true
		}
	}
	return s.handOver(src) || moved, nil
}

// handOver gives what was read to those who own it, and says how far that is:
// as far as the source, since this worker holds no batch. Where a lane is full
// the mark waits, and so does everybody who depends on it.
func (s *Shard) handOver(src frame.Source) bool {
	mark := end
	if !s.ended {
		mark = src.Mark()
	}
	if mark <= s.signalled.Load() {
		return false
	}
	signals, samples := flushAll(s.signals), flushAll(s.samples)
	if s.held = !signals || !samples; s.held {
		return false
	}
	s.signalled.Store(mark)
	return true
}

// lowest is the least of one mark over all shards. It is loaded before the
// lanes are emptied: what the mark promises is in them by then.
func (s *Shard) lowest(which func(*Shard) *mark) int64 {
	low := end
	for _, p := range s.peers {
		low = min(low, which(p).Load())
	}
	return low
}

func signalledMark(s *Shard) *mark { return &s.signalled }
func settledMark(s *Shard) *mark   { return &s.settled }
func meteredMark(s *Shard) *mark   { return &s.metered }

// backoff waits for other workers: a few turns at once, then short sleeps.
type backoff struct{ turns int }

func (b *backoff) wait(moved bool) {
	if moved {
		b.turns = 0
		return
	}
	b.turns++
	if b.turns < 1000 {
		runtime.Gosched()
		return
	}
	time.Sleep(50 * time.Microsecond)
}

func (s *Shard) publishStats() {
	p := s.stats
	p.ActiveStreams = uint64(s.streams.used)
	p.Calls = s.table.Stats()
	s.published.Store(&p)
}

// emit adds a finished record.
func (s *Shard) emit(clock int64, c *record.Call, o *record.Stream) {
	s.emitted = append(s.emitted, emission{clock, c, o})
}
