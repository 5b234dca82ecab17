// Package spool keeps captured packets on disk, so that those of one call are
// found again with a few reads.
//
// Packets come clustered by call: a Shard copies each into the chunk of its
// Tape, in an arena outside the Go heap. A chunk is a complete pcapng section,
// with the key of the call as its comment. One that is full, old, or of a
// minute that is over goes to a writer, becomes one frame (writer/compress), and
// is appended to the segment of its class and minute. A segment ends with its
// index, in a skippable frame, so that it is an ordinary capture file for
// everybody else: zstd -dc segment | tshark -r -.
//
// # What a crash may cost
//
// A segment has a hidden name until it is complete, synced and renamed. Open
// closes the hidden ones that a crash left, cut behind their last whole frame.
// A process that is killed loses what was not written: chunks younger than
// ChunkAge, and what waits for FlushAge. A power cut also loses what was written
// less than SyncAge ago.
//
// # What a failing disk costs
//
// Nothing here blocks a shard. Without memory a packet is refused; while the
// file system fails, chunks are given up; both are counted by class, and CDRs go
// on. Writing is tried again by itself. A short write is done again at the same
// place. A file whose sync failed is not trusted any more: it is read, and its
// whole frames are copied. A packet is in the minute of its clock; its time may
// be earlier, and is what a query compares.
package spool

import (
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"ringside/writer/compress"
	"ringside/writer/pcap"
)

// Options of a Spool. Zero fields take their defaults.
type Options struct {
	Dir        string // required
	FS         FS     // default OS
	Memory     int64  // bytes of the arena; default 64 MiB
	Shards     int    // default 1
	Writers    int    // goroutines that compress and write; default 1
	Interfaces []string
	Section    pcap.Section // of every section; Comment is the key of the call

	ChunkAge time.Duration // by the frames' clock, until a chunk is written; default 10 s
	FlushAge time.Duration // until bytes are written to the file; default 1 s
	SyncAge  time.Duration // until the file is synced; default 5 s

	// Ladders say how each class is compressed. By default SIP and REGISTER
	// with zstd, less hard the more there is to do; RTP not at all, since its
	// payload hardly shrinks.
	Ladders [Classes]compress.Ladder

	Limits Limits
	Hold   []Hold           // held calls from the start on: the first pruning is part of Open
	Now    func() time.Time // default time.Now
}

var (
	signallingLadder = compress.Ladder{{Format: compress.Zstd, Level: compress.Better}, {Format: compress.Zstd, Level: compress.Default},
		{Format: compress.Zstd, Level: compress.Fast}, {Format: compress.Zstd, Level: compress.Store}}
	mediaLadder = compress.Ladder{{Format: compress.Plain}}
)

func (o *Options) defaults() {
	for _, d := range []struct {
		of *time.Duration
		is time.Duration
	}{{&o.ChunkAge, 10 * time.Second}, {&o.FlushAge, time.Second}, {&o.SyncAge, 5 * time.Second}} {
		if *d.of <= 0 {
			*d.of = d.is
		}
	}
	if o.FS == nil {
		o.FS = OS
	}
	if o.Memory <= 0 {
		o.Memory = 64 << 20
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	o.Shards, o.Writers = max(o.Shards, 1), max(o.Writers, 1)
	for c := range o.Ladders {
		if len(o.Ladders[c]) == 0 {
			o.Ladders[c] = signallingLadder
			if Class(c) == RTP {
				o.Ladders[c] = mediaLadder
			}
		}
	}
	// Every chunk has a copy of these, and the least chunk is small.
	for _, s := range []*string{&o.Section.Hardware, &o.Section.OS, &o.Section.App} {
		*s = (*s)[:min(len(*s), 64)]
	}
	names := make([]string, len(o.Interfaces))
	for i, n := range o.Interfaces {
		names[i] = n[:min(len(n), maxInterface-36)]
	}
	o.Interfaces = names
}

// Spool is an open spool directory.
type Spool struct {
	opts   Options
	fs     FS
	root   string
	volume uint64
	unlock func()
	arena  *arena
	room   int64 // bytes that may wait for one writer
	shards []*Shard

	running  []*writer
	writers  sync.WaitGroup
	flushing []chan chan struct{}
	stop     chan struct{}
	keeper   sync.WaitGroup
	once     sync.Once
	closeErr error

	stored, refused, lost, dropped [Classes]counter
	cut, errors, stops             atomic.Uint64
	short                          atomic.Int32 // 1: no room for RTP; 2: for nothing
	rescan                         atomic.Bool  // files changed behind the catalog's back

	mu       sync.Mutex
	live     map[*segment]bool // being written
	catalog  map[string]*kept  // closed segments, by path
	why      []error           // by writer: why it is stopped
	pruned   Pruned
	held     []Hold
	recover  []Recovered
	keepErr  error
	forecast [Classes]Forecast
}

// Stats is a snapshot. Packets = Stored + Refused + Lost + Dropped + what is in
// the arena.
type Stats struct {
	Stored  [Classes]Counts // handed to segments; bytes of sections
	Refused [Classes]Counts // packets for which there was no memory; captured bytes
	Lost    [Classes]Counts // given up since the file system failed or is full; bytes of sections
	Dropped [Classes]Counts // given up by Drop; bytes of sections

	Cut      uint64 // packets longer than a chunk, stored in part
	Errors   uint64 // of the file system
	Stops    uint64 // times that a writer stopped
	Stopped  error  // why one is stopped now
	Waiting  int64  // bytes that wait for writers
	Pages    int    // of 4 KiB in the arena
	Used     int
	Peak     int
	Segments int   // closed
	Bytes    int64 // of closed segments
	Pruned   Pruned
	KeepErr  error // why retention did not work the last time
	Short    bool  // the reserve of the volume is touched: RTP is not stored, or nothing
	Forecast [Classes]Forecast
}

// Open opens a spool directory, which must exist: making it could hide that a
// volume is not mounted. It recovers what a crash left. Quotas that cannot fit
// are refused.
func Open(o Options) (*Spool, error) {
	o.defaults()
	space, err := o.FS.Space(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("open spool: %w", err)
	}
	if o.Limits, err = o.Limits.fit(space); err != nil {
		return nil, fmt.Errorf("open spool %s: %w", o.Dir, err)
	}
	unlock, err := o.FS.Lock(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("open spool: %w", err)
	}
	s := &Spool{opts: o, fs: o.FS, root: o.Dir, volume: space.Volume, unlock: unlock,
		stop: make(chan struct{}), live: map[*segment]bool{}, why: make([]error, o.Writers)}
	if err := s.start(); err != nil {
		unlock()
		return nil, err
	}
	return s, nil
}

func (s *Spool) start() error {
	var err error
	if s.recover, err = Recover(s.fs, s.root); err != nil {
		return err
	}
	if err := s.load(); err != nil {
		return err
	}
	if s.arena, err = newArena(s.opts.Memory); err != nil {
		return err
	}
	s.room = int64(len(s.arena.mem) / s.opts.Writers)
	for id := range s.opts.Writers {
		w := &writer{spool: s, id: id, in: make(chan int32, s.arena.pages())}
		s.running = append(s.running, w)
		s.flushing = append(s.flushing, make(chan chan struct{}))
	}
	for i := range s.opts.Shards {
		s.shards = append(s.shards, &Shard{spool: s, writer: s.running[i%s.opts.Writers], head: none, tail: none,
			oldest: never, gens: make([]uint32, s.arena.pages())})
	}
	s.Hold(s.opts.Hold)
	s.Keep()
	s.keeper.Add(1)
	go s.keep()
	for _, w := range s.running {
		s.writers.Add(1)
		go w.run()
	}
	return nil
}

// Shard is the i-th shard, for one goroutine.
func (s *Spool) Shard(i int) *Shard { return s.shards[i] }

// Recovered says what Open saved.
func (s *Spool) Recovered() []Recovered { return s.recover }

// Flush writes what the shards have handed over; their open chunks are flushed
// by themselves (Shard.Flush). It does not sync.
func (s *Spool) Flush() {
	for i := range s.running {
		done := make(chan struct{})
		select {
		case s.flushing[i] <- done:
			<-done
		case <-s.stop:
			return
		}
	}
}

// Close writes and closes all segments. The shards' goroutines must have ended,
// and Fetch must not run.
func (s *Spool) Close() error {
	s.once.Do(func() {
		close(s.stop)
		s.keeper.Wait()
		for _, sh := range s.shards {
			sh.Flush()
		}
		for _, w := range s.running {
			close(w.in)
		}
		s.writers.Wait()
		s.closeErr = errors.Join(errors.Join(s.why...), s.arena.close())
		s.unlock()
	})
	return s.closeErr
}

// Stats is what became of the packets.
func (s *Spool) Stats() Stats {
	st := Stats{Cut: s.cut.Load(), Errors: s.errors.Load(), Stops: s.stops.Load(), Short: s.short.Load() > 0, Pages: s.arena.pages()}
	for c := range Classes {
		st.Stored[c], st.Refused[c], st.Lost[c], st.Dropped[c] = s.stored[c].get(), s.refused[c].get(), s.lost[c].get(), s.dropped[c].get()
	}
	for _, w := range s.running {
		st.Waiting += w.waiting.Load()
	}
	st.Used, st.Peak = s.arena.use()
	s.mu.Lock()
	defer s.mu.Unlock()
	st.Stopped, st.Pruned, st.KeepErr, st.Forecast = errors.Join(s.why...), s.pruned, s.keepErr, s.forecast
	for _, k := range s.catalog {
		st.Segments++
		st.Bytes += k.Bytes
	}
	return st
}

func (s *Spool) interfaceName(i uint16) string {
	if int(i) < len(s.opts.Interfaces) {
		return s.opts.Interfaces[i]
	}
	return ""
}

// largest is the order of the largest chunk at this use of the arena: where
// calls are many, chunks are small.
func (s *Spool) largest() uint8 {
	used, _ := s.arena.use()
	switch free := s.arena.pages() - used; {
	case free > s.arena.pages()/2:
		return maxOrder
	case free > s.arena.pages()/4:
		return 2
	default:
		return 0
	}
}

// full says that there is no room on the volume for a class.
func (s *Spool) full(c Class) bool {
	short := s.short.Load()
	return short > 1 || short == 1 && c == RTP
}

// mounted says whether the directory lies on the volume that it was on at the
// start.
func (s *Spool) mounted() error {
	space, err := s.fs.Space(s.root)
	if err != nil {
		return err
	}
	if space.Volume != s.volume {
		return fmt.Errorf("spool %s lies on another volume than at the start: mount the one of before, or start again", s.root)
	}
	return nil
}

// probe writes a small file and removes it.
func (s *Spool) probe(id int) error {
	path := filepath.Join(s.root, fmt.Sprintf(".probe-%d", id))
	f, err := s.fs.Create(path)
	if err != nil {
		_ = s.fs.Remove(path) // one that an earlier attempt could not remove
		return fmt.Errorf("try to write: %w", err)
	}
	_, err = f.WriteAt(make([]byte, pageBytes), 0)
	if err = errors.Join(err, f.Close(), s.fs.Remove(path)); err != nil {
		return fmt.Errorf("try to write: %w", err)
	}
	return nil
}

// What writers tell.

func (s *Spool) begun(g *segment) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.live[g] = true
}

func (s *Spool) abandoned(g *segment) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.live, g)
}

func (s *Spool) closed(g *segment) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.live, g)
	s.catalog[g.final().Path()] = &kept{Name: g.final(), Bytes: g.written}
}

func (s *Spool) report(id int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.why[id] = err
}
