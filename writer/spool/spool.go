// Package spool keeps captured packets on disk, so that those of one call are
// found again with a few reads.
//
// Packets come clustered by call: a Shard copies each into the chunk of its
// Tape, in an arena outside the Go heap. A chunk is a complete pcapng section,
// with the key of the call as its comment. One that is full, old, or of a
// minute that is over goes to a writer, becomes a frame (writer/compress), alone
// or with sections of other calls, and is appended to the segment of its class
// and minute. A segment ends with its index, in a skippable frame, so that it is
// an ordinary capture file for everybody else: tshark -r segment.
// docs/spool.md has the reasons and what users should know.
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
	FlushAge time.Duration // until bytes are written to the file; default 5 s
	SyncAge  time.Duration // until the file is synced; default 5 s

	// Ladders say how each class is compressed. By default SIP and REGISTER
	// with gzip, less hard the more there is to do; RTP not at all, since its
	// payload hardly shrinks.
	Ladders [Classes]compress.Ladder

	// Together is how many bytes of sections of each class make one frame. Where
	// they are compressed, small messages shrink twice as much together; but who
	// wants one call decodes the frame. By default 256 KiB of SIP and REGISTER,
	// and one section of RTP.
	Together [Classes]int

	Limits Limits // of Dir
	Tiers  []Tier // further directories, in the order in which segments move on
	// AllowRoot lets the spool lie on the root file system although a larger
	// one is mounted.
	AllowRoot bool
	Hold      []Hold           // held calls from the start on: the first pruning is part of Open
	Now       func() time.Time // default time.Now

	// Timed, if not nil, is told how long the disk took, by the goroutines that
	// write: for each piece of a segment, some hundred KiB, and for each sync.
	Timed func(op Op, took time.Duration)
}

// Op is something that a disk does.
type Op uint8

// What a disk does for a spool.
const (
	Write Op = iota
	Sync
)

var (
	signallingLadder = compress.Ladder{{Format: compress.Gzip, Level: compress.Better}, {Format: compress.Gzip, Level: compress.Default},
		{Format: compress.Gzip, Level: compress.Fast}, {Format: compress.Gzip, Level: compress.Store}}
	mediaLadder = compress.Ladder{{Format: compress.Plain}}
)

func (o *Options) defaults() {
	for _, d := range []struct {
		of *time.Duration
		is time.Duration
	}{{&o.ChunkAge, 10 * time.Second}, {&o.FlushAge, 5 * time.Second}, {&o.SyncAge, 5 * time.Second}} {
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
	for c := range o.Together {
		if o.Together[c] <= 0 && Class(c) != RTP {
			o.Together[c] = 256 << 10
		}
		o.Together[c] = min(o.Together[c], compress.MaxPlain-maxChunk)
	}
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

// together is how many bytes of a class make a frame of a format. A frame that
// is not compressed is one section.
func (o *Options) together(c Class, f compress.Format) int {
	if f == compress.Plain {
		return 0
	}
	return o.Together[c]
}

// Spool is an open spool directory.
type Spool struct {
	opts   Options
	fs     FS
	tiers  []*tier // the first is where segments are written
	root   string  // its directory
	arena  *arena
	room   int64 // bytes that may wait for one writer
	shards []*Shard

	running  []*writer
	writers  sync.WaitGroup
	stop     chan struct{}
	keeper   sync.WaitGroup
	once     sync.Once
	closeErr error

	stored, refused, lost, dropped [Classes]counter
	packed                         [Classes]packing
	cut, errors, stops             atomic.Uint64
	short                          atomic.Int32 // 1: no room for RTP; 2: for nothing
	away                           atomic.Bool  // the volume is not mounted
	rescan                         atomic.Bool  // files changed behind the catalog's back

	keeping sync.Mutex // one Keep at a time

	mu       sync.Mutex
	live     map[*segment]bool // being written
	catalog  map[spot]*kept    // closed segments
	why      []error           // by writer: why it is stopped
	pruned   Pruned
	held     []Hold // by the program
	listed   []Hold // by the list of the directory
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

	Plain, Packed [Classes]uint64 // bytes of sections that were made into frames, and of those

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
	Away     bool  // the volume is not mounted: nothing is stored until it is back
	Reserved int64 // bytes that the reservation file holds
	Forecast [Classes]Forecast
}

// Open opens a spool directory, which must exist: making it could hide that a
// volume is not mounted. It recovers what a crash left. Quotas that cannot fit
// are refused.
func Open(o Options) (*Spool, error) {
	o.defaults()
	if !o.AllowRoot {
		if mounts, err := o.FS.Mounts(); err == nil { // where nobody knows, all is allowed
			if err := refuseRoot(absolute(o.Dir), mounts); err != nil {
				return nil, err
			}
		}
	}
	s := &Spool{opts: o, fs: o.FS, root: o.Dir, stop: make(chan struct{}), live: map[*segment]bool{}, catalog: map[spot]*kept{}, why: make([]error, o.Writers)}
	for _, t := range append([]Tier{{o.Dir, o.Limits}}, o.Tiers...) {
		opened, err := openTier(o.FS, t.Dir, t.Limits)
		if err != nil {
			s.unlock()
			return nil, err
		}
		s.tiers = append(s.tiers, opened)
	}
	if err := s.start(); err != nil {
		s.unlock()
		return nil, err
	}
	return s, nil
}

// absolute is a path without links; as it is, if that cannot be found out.
func absolute(dir string) string {
	if abs, err := filepath.Abs(dir); err == nil {
		dir = abs
	}
	if plain, err := filepath.EvalSymlinks(dir); err == nil {
		dir = plain
	}
	return dir
}

func (s *Spool) unlock() {
	for _, t := range s.tiers {
		t.unlock()
	}
}

// Describe says in a line for each directory what it may hold, and in further
// lines what is to be known of its file system.
func (s *Spool) Describe() []string {
	var out []string
	s.mu.Lock()
	limits := s.limits()
	s.mu.Unlock()
	for i, t := range s.tiers {
		space, err := t.mounted(s.fs)
		if err != nil {
			out = append(out, err.Error())
			continue
		}
		out = append(out, limits[i].describe(t.dir, space))
		if w := warn(t.dir, t.kind); w != "" {
			out = append(out, w)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.held) + len(s.listed); n > 0 {
		out = append(out, fmt.Sprintf("spool %s: packets of held calls stay: %d", s.root, n))
	}
	return out
}

func (s *Spool) start() error {
	var err error
	for _, t := range s.tiers {
		recovered, err := Recover(s.fs, t.dir)
		if err != nil {
			return err
		}
		s.recover = append(s.recover, recovered...)
	}
	// Without the list of held calls nothing may be removed.
	if err := errors.Join(s.load(), s.tidy(), s.readHolds()); err != nil {
		return err
	}
	if s.arena, err = newArena(s.opts.Memory); err != nil {
		return err
	}
	s.room = int64(len(s.arena.mem) / s.opts.Writers)
	for id := range s.opts.Writers {
		w := &writer{spool: s, id: id, in: make(chan int32, s.arena.pages()), asks: make(chan flushAsk)}
		s.running = append(s.running, w)
	}
	for i := range s.opts.Shards {
		s.shards = append(s.shards, &Shard{spool: s, writer: s.running[i%s.opts.Writers], head: none, tail: none,
			oldest: never, asks: make(chan *ask, 16), gens: make([]uint32, s.arena.pages())})
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
	for _, w := range s.running {
		ask := flushAsk{write: true, done: make(chan struct{})}
		select {
		case w.asks <- ask:
			<-ask.done
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
	st := Stats{Cut: s.cut.Load(), Errors: s.errors.Load(), Stops: s.stops.Load(), Short: s.short.Load() > 0, Away: s.away.Load(),
		Reserved: s.tiers[0].reserved.Load(), Pages: s.arena.pages()}
	for c := range Classes {
		st.Stored[c], st.Refused[c], st.Lost[c], st.Dropped[c] = s.stored[c].get(), s.refused[c].get(), s.lost[c].get(), s.dropped[c].get()
		st.Plain[c], st.Packed[c] = s.packed[c].plain.Load(), s.packed[c].frames.Load()
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
	if s.away.Load() {
		return true
	}
	short := s.short.Load()
	return short > 1 || short == 1 && c == RTP
}

// mounted says whether the directory lies on the volume that it was on at the
// start.
func (s *Spool) mounted() error {
	_, err := s.tiers[0].mounted(s.fs)
	return err
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
	s.catalog[spot{0, g.final()}] = &kept{Name: g.final(), Bytes: g.written}
}

func (s *Spool) report(id int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.why[id] = err
}
