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
	"ringside/flow/meter"
	"ringside/flow/register"
	"ringside/flow/sip"
	tcpstream "ringside/flow/stream"
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
	handed, joined, signalled, settled, metered mark
	floor                                       mark // no copy of a frame with a lesser clock is looked at any more; see keeper

	published atomic.Pointer[Stats]

	group *Group
	peers []*Shard
	id    int

	// What the marks are going to say once there is room in all lanes. Until
	// then a stage does nothing more: what went into the other lanes is not
	// read before that, and more of it could fill them for good.
	handedTo, joinedTo, signalledTo, settledTo, meteredTo int64

	// Lanes to each peer; the one to itself is used like any other.
	out     []outlet // by stage, then of further sources
	orders  []*lane[order]
	reports []*lane[report]

	// Their other ends.
	fragmentIn []inlet[fragment]
	segmentIn  []inlet[segment]
	signalIn   []inlet[signal]
	sampleIn   []inlet[sample]

	decoder frame.Decoder
	readers []reader
	busy    bool         // a large batch was read in the last turn
	readTo  int64        // clock before which all is that was read, of any source
	ahead   []int64      // marks of the batches read that somebody has not yet metered through
	endsAt  atomic.Int64 // clock at which what this worker reads ends, once it did
	message sip.Message  // the one being parsed
	kept    []frame.Kept // frames that it came in
	cursor  int          // frame of the batch that a packet was looked for at
	unsaid  uint32       // copy of the frame of an RTP or RTCP packet, until a sample of it is made
	header  int32        // bytes of that frame up to the end of the packet's header
	lending uint32       // begin of references to frames of the batch that is being classified; 0: it is not lent
	loans   loans

	rejoined frame.Batch         // what the last fragment completed
	sessions *tcpstream.Table    // of TCP and SCTP
	carried  *segment            // the segment that sessions has
	once     [numOnce]duplicates // by stage
	census   census

	table     *call.Table
	registers *register.Table
	advanced  int64                    // clock that its timers have run to
	named     map[call.Ref][]*endpoint // directory entries of each open call, oldest first
	closing   []closing                // calls over, records not built
	reused    map[call.Ref]bool        // calls on addresses that another had just left
	former    []former                 // endpoints that were given up, about in the order in which they can go
	probes    []probe                  // not answered by all shards yet
	alive     map[call.Ref]int64       // their answers so far: clock of the last media packet

	repeats []repeat // quality reports seen lately

	seq    uint64 // of the message being read
	callID []byte // of it

	media map[call.Ref][]*measured // reported streams of each call

	streams *streams
	digits  map[uint32][]digitOf  // dialled in each stream
	halves  map[uint32][]half     // of streams that were metered elsewhere before
	state   [meter.StateSize]byte // of one that the kernel meters, while it is read
	orderIn []order               // taken from all peers, by clock
	due     int64                 // clock of the next order or tick
	losses  lossy                 // of the second that lasts
	found   [lookahead]uint32
	tags    [lookahead]uint64

	shelf shelf
	rec   recording

	emitted   []emission
	mark      int64 // records that were finished before are emitted
	delivered int64 // the mark that the sink knows
	stats     Stats

	asked    *question // being answered, or answered already; see livecalls.go
	answered int       // how far; -1: it is
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

// maxAhead is how many batches a worker reads ahead of the slowest, unless Options say.
const maxAhead = 8

type pools struct{ fragments, segments, signals, samples, orders, reports *sync.Pool }

func newPools() pools {
	return pools{
		chunkPool[fragment](), chunkPool[segment](), chunkPool[signal](), chunkPool[sample](),
		chunkPool[order](), chunkPool[report](),
	}
}

func newShard(g *Group, id int, p pools) *Shard {
	o := &g.options
	n, slots := o.Workers, o.lanes
	s := &Shard{
		group: g, id: id, mark: -end, readTo: -end,
		out:    make([]outlet, numOutlets+o.Sources-1),
		named:  make(map[call.Ref][]*endpoint),
		media:  make(map[call.Ref][]*measured),
		reused: make(map[call.Ref]bool),
		alive:  make(map[call.Ref]int64),
		digits: make(map[uint32][]digitOf),
		halves: make(map[uint32][]half),
	}
	s.streams = newStreams(o.MaxStreams/n + 1)
	if o.Recorder != nil {
		s.initRecording(g)
	}
	for range n {
		s.orders = append(s.orders, newLane[order](p.orders, slots))
		s.reports = append(s.reports, newLane[report](p.reports, slots))
		for i := range s.out {
			o := &s.out[i]
			o.signals = append(o.signals, newLane[signal](p.signals, slots))
			if i != fromStreams {
				o.segments = append(o.segments, newLane[segment](p.segments, slots))
				o.samples = append(o.samples, newLane[sample](p.samples, slots))
			}
			if o.frames = i == fromFrames || i >= numOutlets; o.frames {
				o.fragments = append(o.fragments, newLane[fragment](p.fragments, slots))
			}
		}
	}
	for _, m := range []*mark{&s.handed, &s.joined, &s.signalled, &s.settled, &s.metered, &s.floor} {
		m.Store(-end)
	}
	for _, to := range []*int64{&s.handedTo, &s.joinedTo, &s.signalledTo, &s.settledTo, &s.meteredTo} {
		*to = -end
	}
	for i := range s.once {
		s.once[i].init(o.DedupWindow)
	}
	s.census.off = o.Dedup == DedupOff
	s.sessions = tcpstream.New(s.sessionOptions())
	limits := o.Limits
	limits.MaxCalls = share(limits.MaxCalls, n)
	var taking func(call.Ref)
	if s.records() {
		taking = s.taking
	}
	s.table = call.NewTable(call.Options{
		Taking:  taking,
		Limits:  limits,
		Sensor:  o.Sensor,
		Publish: s.publish,
		Ending:  s.ending,
		Closed:  s.closed,
		Probe:   s.probe,
	})
	s.registers = register.New(s.registerOptions())
	return s
}

// connect ties the inlets of a shard to the outlets of all. Stages come in
// order, so that of items of one frame those handed on first are read first.
func (s *Shard) connect(peers []*Shard) {
	s.peers = peers
	for stage := range s.out {
		for _, p := range peers {
			o := &p.out[stage]
			s.fragmentIn = appendInlet(s.fragmentIn, o.fragments, s.id)
			s.segmentIn = appendInlet(s.segmentIn, o.segments, s.id)
			s.signalIn = appendInlet(s.signalIn, o.signals, s.id)
			s.sampleIn = appendInlet(s.sampleIn, o.samples, s.id)
		}
	}
}

func appendInlet[T any](in []inlet[T], lanes []*lane[T], id int) []inlet[T] {
	if lanes == nil {
		return in
	}
	return append(in, inlet[T]{lane: lanes[id]})
}

// share is one shard's part of a limit; 0 stays 0 (the default).
func share(total, n int) int { return (total + n - 1) / n }

// reader is a source that a worker reads.
type reader struct {
	frame.Source
	to    *outlet
	ended bool
}

// prompt is a source that can be asked without waiting, as one must be that is
// read beside others.
type prompt interface {
	// Take is Next, but returns at once.
	Take() (*frame.Batch, error)
}

// Run reads src, which the workers may share, to its end. The decoder belongs
// to this worker. Further sources, at most as many as Options say, are read by
// turns, and none is waited for but src, when there is nothing else to do. Run
// returns when the records of everything read have been
// delivered, when ctx is cancelled, or when a source or another worker fails.
func (s *Shard) Run(ctx context.Context, src frame.Source, dec frame.Decoder, further ...frame.Source) error {
	s.decoder = dec
	s.readers = append(s.readers[:0], reader{Source: src, to: &s.out[fromFrames]})
	for i, f := range further {
		s.readers = append(s.readers, reader{Source: f, to: &s.out[numOutlets+i]})
	}
	var idle backoff
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		if s.group.failed.Load() {
			return nil
		}
		moved, err := s.receive()
		if err != nil {
			return err
		}
		moved = s.join() || moved
		moved = s.assemble() || moved
		moved = s.settle() || moved
		moved = s.meter() || moved
		moved = s.finish() || moved
		s.reply()
		if s.mark == end {
			s.giveBack()
			return nil
		}
		idle.wait(moved)
	}
}

// busyBatch is how many frames make a batch after which others are likely to be
// there already. After less, waiting a little spares much: each turn costs as much
// as some tens of frames.
const busyBatch = 256

// receive reads a batch of each source, if there is room for what comes of it, and
// hands over what was read. A worker with one source leaves it to that whether to
// wait where there is none; one with several waits for the first of them, unless
// it is busy.
func (s *Shard) receive() (moved bool, err error) {
	for len(s.ahead) > 0 && s.ahead[0] <= s.mark {
		s.ahead = slices.Delete(s.ahead, 0, 1)
	}
	s.giveBack()
	if s.handedTo > s.handed.Load() {
		return s.handOver(), nil
	}
	busy, room := s.busy, len(s.ahead) < s.group.options.Ahead && (!s.records() || s.room())
	s.busy = false
	for i := range s.readers {
		r := &s.readers[i]
		if r.ended || !room && !s.behind(r) {
			continue
		}
		next := r.Next
		if p, ok := r.Source.(prompt); ok && len(s.readers) > 1 && (busy || i > 0) {
			next = p.Take
		}
		b, err := next()
		switch {
		case errors.Is(err, io.EOF):
			r.ended, moved = true, true
			s.endsAt.Store(max(s.endsAt.Load(), r.Mark())) // beyond every frame: nobody has promised it yet
		case err != nil:
			return false, err
		case b != nil:
			s.busy = s.busy || len(b.Frames) >= busyBatch
			s.read(r, b)
			moved = true
		}
	}
	return s.handOver() || moved, nil
}

// behind says whether what was read of other sources waits for this one: then it is
// read although there is no room, since there will be none before.
func (s *Shard) behind(r *reader) bool {
	mark := r.Mark()
	for i := range s.readers {
		if o := &s.readers[i]; !o.ended && o.Mark() < mark {
			return false
		}
	}
	return mark < s.readTo
}

// read takes a batch apart.
func (s *Shard) read(r *reader, b *frame.Batch) {
	lent := s.lend(b)
	s.decoder.Decode(b)
	s.classify(b, r.to)
	mark := r.Mark()
	if lent {
		s.lent(b, mark)
	} else {
		b.Release()
	}
	s.ahead, s.readTo = append(s.ahead, mark), max(s.readTo, mark)
}

// handOver gives what was read to those who own it, and says how far that is: as far
// as the least of the sources, since this worker holds no batch that it has not
// read. Where a lane is full the mark waits, and so does everybody who depends on
// it; but not for what comes later than the mark, of a source that is ahead of others.
func (s *Shard) handOver() bool {
	if s.handedTo <= s.handed.Load() {
		s.handedTo = end
		for i := range s.readers {
			if r := &s.readers[i]; !r.ended {
				s.handedTo = min(s.handedTo, r.Mark())
			}
		}
	}
	if s.handedTo <= s.handed.Load() {
		return false
	}
	to := s.handedTo
	for i := range s.readers {
		if o := s.readers[i].to; !o.flush() {
			to = min(to, o.first())
		}
	}
	if to <= s.handed.Load() {
		return false
	}
	s.handed.Store(to)
	return true
}

// lastClock is when the capture ends. All workers have read to their ends.
func (s *Shard) lastClock() int64 {
	last := s.endsAt.Load()
	for _, p := range s.peers {
		last = max(last, p.endsAt.Load())
	}
	return last
}

// say raises a mark once everything that its stage has produced is handed over.
func (s *Shard) say(m *mark, to int64, from *outlet) bool {
	if to <= m.Load() || !from.flush() {
		return false
	}
	m.Store(to)
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

func handedMark(s *Shard) *mark    { return &s.handed }
func joinedMark(s *Shard) *mark    { return &s.joined }
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
	for i := range s.once {
		p.Duplicates.merge(&s.once[i].pairs)
		p.DedupFull += s.once[i].full
	}
	p.NotKept = s.shelf.lost
	p.Calls = s.table.Stats()
	p.Sessions = s.sessions.Stats()
	p.Registers = s.registers.Stats()
	s.published.Store(&p)
}

// emit adds a finished record.
func (s *Shard) emit(clock int64, rec any) {
	s.emitted = append(s.emitted, emission{clock, rec})
}
