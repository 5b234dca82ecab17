// Package pcapin reads captures from files and standard input: pcap and
// pcapng, plain or in gzip, zstd or lz4, one file or many merged by time.
//
// # Who reads
//
// For plain files the Reader has no goroutine of its own. Any number of workers
// call Next; one at a time takes the reader lock, reads a block of the file,
// splits it into frames, and works on them while another reads on. Next returns
// nil to a worker that finds the lock taken. Nothing but the workers bounds the
// batches that are out: none should take more than it can hold.
//
// # Who owns the bytes
//
// The frames of a batch point into the blocks that the bytes were read into.
// Blocks are counted by the batches that use them and come back when the last
// of these is released: no copy and no allocation per frame.
//
// # Order
//
// Seq, Time and Clock depend on the input alone: not on the block size, the
// number of workers, or who reads. Several files are merged by the clocks that
// their frames would have if each file were the only one; of equal clocks the
// file that begins earlier comes first, then the one that was named first. A
// file is opened when the merge reaches its first frame and closed at its end,
// so a rotating capture of thousands of files needs one open file at a time.
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
	"io"
	"sync"
	"sync/atomic"

	"ringside/dataplane/frame"
)

// ErrClosed is what Next returns after Close.
var ErrClosed = errors.New("read capture: reader is closed")

const (
	defaultBlock = 128 << 10 // with its frames and packets it fits a core's second-level cache
	minBlock     = 4 << 10
	maxBlock     = 16 << 20
)

// Options says what to read.
type Options struct {
	// Inputs are files, directories (all captures below, hidden files
	// excepted), glob patterns, or "-" for standard input.
	Inputs []string

	BlockSize int       // bytes read at a time; default 128 KiB
	Stdin     io.Reader // what "-" reads; default is the standard input of the process
}

// Reader reads captures. It is a frame.Source for any number of workers.
type Reader struct {
	count  counters
	pools  pools
	live   []*liveInput // pipes, opened by Open
	closed atomic.Bool
	mark   atomic.Int64 // what Mark promises; stored by whoever reads

	mu    sync.Mutex // held by the worker that reads; guards what follows
	merge merge
	block int    // bytes
	seq   uint64 // of the next frame
	next  int64  // least clock of the next frame
	ended bool   // the last frames were taken
}

// Open finds the inputs and, when there are several, the time of each one's
// first frame.
func Open(opt Options) (*Reader, error) {
	if opt.BlockSize <= 0 {
		opt.BlockSize = defaultBlock
	}
	paths, err := expand(opt.Inputs)
	if err != nil {
		return nil, err
	}
	r := &Reader{block: min(max(opt.BlockSize, minBlock), maxBlock)}
	if err := r.prepare(paths, opt.Stdin); err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

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
func (r *Reader) Next() (*frame.Batch, error) {
	if !r.mu.TryLock() {
		return nil, nil
	}
	defer r.mu.Unlock()
	if r.closed.Load() {
		return nil, ErrClosed
	}
	if r.ended {
		return nil, io.EOF
	}
	b := r.pools.batch()
	r.fill(b)
	r.mark.Store(r.next)
	if len(b.Frames) > 0 {
		return &b.Batch, nil
	}
	b.Release()
	if r.ended {
		return nil, io.EOF
	}
	return nil, nil
}

// Mark implements frame.Source. It speaks of the calls of Next that come after:
// the batch of a call that is still on its way, for another worker, may lie below.
func (r *Reader) Mark() int64 { return r.mark.Load() }

// fill collects the frames of one batch.
func (r *Reader) fill(b *batch) {
	m := &r.merge
	for len(b.Frames) < batchFrames {
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
			if !r.refill(f, b) {
				break // a pipe that is quiet
			}
			m.down()
			continue
		}
		if r.takeBlock(f, b) {
			break
		}
		r.takeRun(f, b)
	}
	r.count.frames.Add(uint64(len(b.Frames)))
}

// openDue opens the files that begin before the next frame.
func (r *Reader) openDue() {
	m := &r.merge
	for len(m.waiting) > 0 && (len(m.active) == 0 || m.waiting[0].first <= m.active[0].key()) {
		f := m.waiting[0]
		m.waiting[0] = nil
		m.waiting = m.waiting[1:]
		r.count.file.Store(&f.path)
		m.push(f)
	}
}

// refill reads a block of f. It returns false when nothing came.
func (r *Reader) refill(f *file, b *batch) bool {
	size := r.block
	if n := len(r.merge.active); n == 1 {
		// Read as if for takeBlock: numbered, and into the batch itself.
		f.seq = r.seq
		swapFrames(f, b)
	} else {
		size = min(size, max(mergeBytes/n, minBlock))
	}
	return f.fill(size)
}

// takeBlock takes all frames of f at once if no other file comes between them.
func (r *Reader) takeBlock(f *file, b *batch) bool {
	m := &r.merge
	if f.pos > 0 || len(m.active) > 1 || len(m.waiting) > 0 && f.next > m.waiting[0].first {
		return false
	}
	if first := &f.frames[0]; first.Seq != r.seq || first.Clock < r.next {
		r.number(f.frames)
	} else {
		r.seq += uint64(len(f.frames))
		r.next = f.next
	}
	b.use(f.blk)
	if !swapFrames(f, b) {
		b.Frames = append(b.Frames, f.frames...)
	}
	f.taken()
	return true
}

// swapFrames swaps the frames of f for those of the batch if it is still empty.
func swapFrames(f *file, b *batch) bool {
	if len(b.Frames) > 0 {
		return false
	}
	b.Frames, f.frames = f.frames, b.Frames
	return true
}

// takeRun takes the frames of f up to the next one of another file.
func (r *Reader) takeRun(f *file, b *batch) {
	frames := f.frames[f.pos:]
	n := r.merge.run(f, frames)
	b.use(f.blk)
	r.number(frames[:n])
	b.Frames = append(b.Frames, frames[:n]...)
	if f.pos += n; f.pos == len(f.frames) {
		f.taken()
	}
	r.merge.down()
}

// number puts frames of several files into one order.
func (r *Reader) number(frames []frame.Frame) {
	for i := range frames {
		f := &frames[i]
		f.Seq = r.seq
		r.seq++
		f.Clock = max(r.next, f.Clock)
		r.next = f.Clock + 1
	}
}
