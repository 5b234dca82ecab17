// Package pcapin reads captures from files and standard input: pcap and
// pcapng, plain or in gzip, zstd or lz4, one file or many merged by time.
//
// # Who reads
//
// For plain files the Reader has no goroutine of its own. The worker that
// calls Next and finds its queue empty takes the reader lock, reads one block
// of the file, splits it into frames and puts one batch per worker into the
// workers' queues; the others find theirs filled. So N workers keep N threads
// busy. Nobody reads while any queue is full, which bounds the memory. Next
// returns nil to a worker that can neither take nor read.
//
// # Who owns the bytes
//
// The frames of all batches of one round point into the block that the bytes
// were read into. Blocks are counted by the batches that use them and come back
// when the last of these is released: no copy and no allocation per frame.
//
// # Order
//
// Seq, Time and Clock depend on the input alone: not on the block size, the
// number of workers, or who reads. Several files are merged by their running
// maximum of time; of equal times the file that begins earlier comes first,
// then the one that was named first. A file is opened when the merge reaches
// its first frame and closed at its end, so a rotating capture of thousands of
// files needs one open file at a time.
//
// # What the formats leave open
//
// Iface is the number of the interface in its pcapng section, 0 in pcap. A
// simple packet block has no time and gets that of the frame before it. Len is
// never below the captured length, whatever the file says. Times before 1970
// are 0.
//
// # Damage
//
// A file is read up to its first damage, which is listed with its offset. The
// frames before it stay, the other files are read on. A compressed file whose
// checksum is wrong has given its frames by then: the checksum comes last.
package pcapin

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"ringside/dataplane/frame"
)

// ErrClosed is what Next returns after Close.
var ErrClosed = errors.New("read capture: reader is closed")

const (
	defaultBlock = 128 << 10 // per worker; with its frames and packets it fits a core's second-level cache
	defaultQueue = 8
	minBlock     = 4 << 10
	maxBlock     = 16 << 20
)

// Options says what to read and who reads it.
type Options struct {
	// Inputs are files, directories (all captures below, hidden files
	// excepted), glob patterns, or "-" for standard input.
	Inputs []string

	Workers int // number of sources; default 1

	// Steer chooses the worker of a frame: its result modulo Workers. It must
	// depend on the frame alone. Needed, and called, when Workers is above 1.
	// It runs under the reader lock.
	Steer func(*frame.Frame) uint32

	BlockSize int       // bytes read at a time; default 128 KiB per worker, at most 512 KiB
	Queue     int       // batches that may wait for a worker; default 8
	Stdin     io.Reader // what "-" reads; default is the standard input of the process
}

// Reader reads captures on behalf of its workers.
type Reader struct {
	steer   func(*frame.Frame) uint32
	sources []source
	count   counters
	pools   pools
	live    []*liveInput // pipes, opened by Open
	closed  atomic.Bool

	mu      sync.Mutex // held by the worker that reads; guards what follows
	merge   merge
	block   int // bytes
	multi   bool
	seq     uint64 // of the next frame
	clock   int64  // of the last frame
	ended   bool   // the last batches are in the queues
	scratch []*batch
}

// source is one worker's end of the Reader.
type source struct {
	reader *Reader
	queue  queue
}

// Open finds the inputs and, when there are several, the time of each one's
// first frame.
func Open(opt Options) (*Reader, error) {
	if opt.Workers <= 0 {
		opt.Workers = 1
	}
	if opt.Workers > 1 && opt.Steer == nil {
		return nil, fmt.Errorf("open capture: %d workers need a function to steer frames", opt.Workers)
	}
	if opt.BlockSize <= 0 {
		opt.BlockSize = defaultBlock * min(opt.Workers, 4)
	}
	if opt.Queue <= 0 {
		opt.Queue = defaultQueue
	}
	paths, err := expand(opt.Inputs)
	if err != nil {
		return nil, err
	}
	r := &Reader{
		steer:   opt.Steer,
		sources: make([]source, opt.Workers),
		block:   min(max(opt.BlockSize, minBlock), maxBlock),
		multi:   len(paths) > 1,
		scratch: make([]*batch, opt.Workers),
	}
	for i := range r.sources {
		r.sources[i].reader = r
		r.sources[i].queue.init(opt.Queue)
	}
	if err := r.prepare(paths, opt.Stdin); err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

// Source is what worker i reads its frames from.
func (r *Reader) Source(i int) frame.Source { return &r.sources[i] }

// Close ends the reading. It may be called at any time and more than once; it
// waits for the worker that is reading. Batches that are out stay valid.
func (r *Reader) Close() error {
	if r.closed.Swap(true) {
		return nil
	}
	for _, l := range r.live {
		l.interrupt()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.merge.close()
	for _, l := range r.live {
		l.close()
	}
	return nil
}

// Next implements frame.Source.
func (s *source) Next() (*frame.Batch, error) {
	if b := s.queue.pop(); b != nil {
		return &b.Batch, nil
	}
	r := s.reader
	if !r.mu.TryLock() {
		return nil, nil
	}
	defer r.mu.Unlock()
	// The worker that held the lock until now may have served us.
	if b := s.queue.pop(); b != nil {
		return &b.Batch, nil
	}
	if r.closed.Load() {
		return nil, ErrClosed
	}
	if r.ended {
		return nil, io.EOF
	}
	for i := range r.sources {
		if r.sources[i].queue.full() {
			return nil, nil
		}
	}
	r.read()
	if b := s.queue.pop(); b != nil {
		return &b.Batch, nil
	}
	return nil, nil
}

// read fills one batch per worker and queues them. A round without frames
// queues nothing, unless it is the last.
func (r *Reader) read() {
	rd := r.pools.round()
	for i := range r.scratch {
		r.scratch[i] = r.pools.batch(rd)
	}
	n := r.fill(rd)
	if n == 0 && !r.ended {
		for i, b := range r.scratch {
			r.scratch[i] = nil
			b.Release()
		}
		return
	}
	watermark := r.clock
	if r.ended {
		watermark++
	}
	for i, b := range r.scratch {
		r.scratch[i] = nil
		b.Watermark = watermark
		r.sources[i].queue.push(b)
	}
}

// fill collects the frames of one round and says how many they are.
func (r *Reader) fill(rd *round) int {
	m := &r.merge
	total := 0
	for total < roundFrames {
		r.openDue()
		if len(m.active) == 0 {
			r.ended = true
			break
		}
		f := m.active[0]
		if f.pos == len(f.frames) {
			if f.done {
				m.popDone()
				continue
			}
			if !r.refill(f) {
				break // a pipe that is quiet
			}
			m.down()
			continue
		}
		if n := r.takeBlock(f, rd); n > 0 {
			total += n
			break
		}
		total += r.takeRun(f, rd)
	}
	r.count.frames.Add(uint64(total))
	return total
}

// openDue opens the files that begin before the next frame.
func (r *Reader) openDue() {
	m := &r.merge
	for len(m.waiting) > 0 && (len(m.active) == 0 || m.waiting[0].first <= m.active[0].key()) {
		f := m.waiting[0]
		m.waiting[0] = nil
		m.waiting = m.waiting[1:]
		f.clock = max(f.clock, f.first, r.clock)
		r.count.file.Store(&f.path)
		m.push(f)
	}
}

// refill reads a block of f. It returns false when nothing came.
func (r *Reader) refill(f *file) bool {
	size := r.block
	if n := len(r.merge.active); n == 1 {
		// Read as if for takeBlock: numbered, and into the batch itself.
		f.seq = r.seq
		r.swapFrames(f)
	} else {
		size = min(size, max(mergeBytes/n, minBlock))
	}
	return f.fill(size)
}

// takeBlock takes all frames of f at once if no other file comes between them.
func (r *Reader) takeBlock(f *file, rd *round) int {
	m := &r.merge
	n := len(f.frames)
	if f.pos > 0 || len(m.active) > 1 || len(m.waiting) > 0 && f.clock >= m.waiting[0].first {
		return 0
	}
	if first := &f.frames[0]; first.Seq != r.seq || first.Clock < r.clock {
		r.number(f.frames)
	} else {
		r.seq += uint64(n)
		r.clock = f.clock
	}
	rd.use(f.blk)
	if !r.swapFrames(f) {
		r.deal(f.frames)
	}
	f.taken()
	return n
}

// swapFrames swaps the frames of f for the still empty ones of the only batch.
func (r *Reader) swapFrames(f *file) bool {
	b := r.scratch[0]
	if len(r.scratch) > 1 || len(b.Frames) > 0 {
		return false
	}
	b.Frames, f.frames = f.frames, b.Frames
	return true
}

// takeRun takes the frames of f up to the next one of another file.
func (r *Reader) takeRun(f *file, rd *round) int {
	frames := f.frames[f.pos:]
	n := r.merge.run(f, frames)
	rd.use(f.blk)
	r.number(frames[:n])
	r.deal(frames[:n])
	if f.pos += n; f.pos == len(f.frames) {
		f.taken()
	}
	r.merge.down()
	return n
}

// number puts frames of several files into one order.
func (r *Reader) number(frames []frame.Frame) {
	for i := range frames {
		f := &frames[i]
		f.Seq = r.seq
		r.seq++
		r.clock = max(r.clock, f.Clock)
		f.Clock = r.clock
	}
}

// deal gives each frame to its worker's batch.
func (r *Reader) deal(frames []frame.Frame) {
	if len(r.scratch) == 1 {
		b := r.scratch[0]
		b.Frames = append(b.Frames, frames...)
		return
	}
	n := uint32(len(r.scratch))
	for i := range frames {
		b := r.scratch[r.steer(&frames[i])%n]
		b.Frames = append(b.Frames, frames[i])
	}
}
