package flow

import (
	"context"
	"errors"
	"io"
	"runtime"
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

	// Lanes to each peer; the one to itself is used like any other.
	signals []*lane[signal]
	orders  []*lane[order]
	reports []*lane[report]

	// Chunks being read, by the peer they came from.
	signalIn []cursor[signal]

	pending   []pending // batches read and not yet metered through
	read      int64     // watermark of the last batch read
	lastClock int64     // at which the capture ends, once it did
	ended     bool

	table    *call.Table
	advanced int64                    // clock that its timers have run to
	named    map[call.Ref][]*endpoint // directory entries of each open call
	closing  []closing                // calls over, records not built
	reused   map[call.Ref]bool        // calls on addresses that another had just left
	former   []former                 // endpoints of calls that are over, by when they can go
	probes   []int64                  // clocks of probes without their answers
	message  sip.Message              // the one being parsed

	seq   uint64                   // of the message being read
	media map[call.Ref][]*measured // reported streams of each call

	streams *streams
	orderIn []order // taken from all peers, by clock
	due     int64   // clock of the next order or tick
	ahead   [lookahead]located

	emitted   []emission
	mark      int64 // records that were finished before are emitted
	delivered int64 // the mark that the sink knows
	stats     Stats
}

type pending struct {
	batch *frame.Batch
	next  int // first packet not metered
}

type closing struct {
	ref   call.Ref
	clock int64
}

type former struct {
	endpoints []*endpoint
	until     int64
}

// cursor walks the chunks of one lane.
type cursor[T any] struct {
	chunk *[]T
	next  int
}

// maxPending is how many batches a worker reads ahead of its metering.
const maxPending = 4

type pools struct{ signals, orders, reports *sync.Pool }

func newPools() pools {
	return pools{chunkPool[signal](), chunkPool[order](), chunkPool[report]()}
}

func newShard(g *Group, id int, p pools) *Shard {
	n := g.options.Workers
	s := &Shard{
		group: g, id: id, read: -end, mark: -end,
		signalIn: make([]cursor[signal], n),
		named:    make(map[call.Ref][]*endpoint),
		media:    make(map[call.Ref][]*measured),
		reused:   make(map[call.Ref]bool),
	}
	s.streams = newStreams(g.options.MaxStreams/n + 1)
	for range n {
		s.signals = append(s.signals, newLane[signal](p.signals))
		s.orders = append(s.orders, newLane[order](p.orders))
		s.reports = append(s.reports, newLane[report](p.reports))
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

// Run reads src to its end. decode turns the frames of a batch into packets.
// It returns when the records of everything read have been delivered, when
// ctx is cancelled, or when the source or another worker fails.
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

// receive reads one batch, if there is room for it.
func (s *Shard) receive(src frame.Source, decode func(*frame.Batch)) (bool, error) {
	if s.ended || len(s.pending) >= maxPending {
		return s.signal(), nil
	}
	b, err := src.Next()
	switch {
	case errors.Is(err, io.EOF):
		s.ended = true
		s.lastClock = s.read // beyond every frame: no mark has promised it yet
		s.read = end
	case err != nil:
		return false, err
	case b == nil:
		return s.signal(), nil
	default:
		decode(b)
		s.classify(b)
		s.pending = append(s.pending, pending{batch: b})
		s.read = b.Watermark
	}
	s.signal()
	return true, nil
}

// signal hands over the SIP messages read, and says so. Where a lane is full
// the mark waits, and so does everybody who depends on it.
func (s *Shard) signal() bool {
	if s.signalled.Load() == s.read {
		return false
	}
	for _, l := range s.signals {
		if !l.flush() {
			return false
		}
	}
	s.signalled.Store(s.read)
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
	if b.turns < 16 {
		runtime.Gosched()
		return
	}
	time.Sleep(min(time.Duration(b.turns), 100) * 2 * time.Microsecond)
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
