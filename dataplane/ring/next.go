package ring

import (
	"io"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"ringside/dataplane/frame"
)

const (
	maxFrames   = 1024                 // frames of a batch
	pollTime    = 2 * time.Millisecond // for how long Next waits
	askInterval = int64(time.Second)   // how often a quiet ring asks for the kernel's drops, ns
	holdBlocks  = 1                    // block timeouts after which a frame is late; one is under way for a moment, or in the open block, which is seen
)

// Ring is a frame.Source for one worker.
type Ring struct {
	options *Options
	number  uint64                   // low bits of Seq: interface and ring
	hold    int64                    // ns; see Mark
	system  func() (at, ahead int64) // now, but in tests
	mark    atomic.Int64
	poll    [1]unix.PollFd // of the worker

	// Held while blocks are looked at and figures read, never while waiting.
	mu       sync.Mutex
	socket   *socket   // nil: there is none yet
	fresh    []*socket // to go on with when socket is drained
	walk     walker    // through block current of socket, if left > 0
	current  int
	stopping bool // nothing comes any more: at the end, io.EOF
	closed   bool
	count    uint64 // frames taken, for Seq
	clock    int64  // of the frame before
	promised int64  // mark by the steady clock
	entered  int64  // steady clock when the block was entered
	ahead    int64  // and by how much it was ahead of the system's
	owed     uint64 // dropped by the kernel, and not told by a frame yet
	due      uint64 // number of the block whose first frame is to tell
	losing   uint32 // told by the next frame
	away     bool   // the interface was away: nobody knows how many frames that has lost
	asked    int64  // when the kernel was asked for its drops last, ns
	stats    Stats
	idle     []*batch
}

// batch is a run of frames of one block.
type batch struct {
	frame.Batch
	socket *socket
	block  int
}

func newRing(o *Options, i int) *Ring {
	r := &Ring{
		options: o,
		number:  uint64(o.Index)<<8 | uint64(i),
		hold:    holdBlocks * int64(o.BlockTimeout), system: now,
		clock: math.MinInt64, promised: math.MinInt64,
	}
	r.walk.snap = uint32(o.SnapLen)
	r.mark.Store(math.MinInt64)
	return r
}

// Mark is frame.Source's: beyond what was delivered, and on a quiet link a
// block timeout (the hold) behind the steady clock (frame.Steady), but not beyond
// what waits in the ring. A frame that was under way for longer than the hold keeps
// its Time; its Clock is the mark.
func (r *Ring) Mark() int64 { return r.mark.Load() }

// Next is frame.Source's. It waits for a block for up to 2 ms. An interface that
// is down or gone is a quiet link, not an error.
func (r *Ring) Next() (*frame.Batch, error) {
	b, err := r.Take()
	if b != nil || err != nil {
		return b, err
	}
	r.wait()
	return r.Take()
}

// Take is the next batch of what is there; nil if there is nothing.
func (r *Ring) Take() (*frame.Batch, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		if r.closed {
			return nil, io.EOF
		}
		if r.walk.left > 0 {
			if b := r.fill(); b != nil {
				return b, nil
			}
			continue
		}
		if r.socket != nil && r.socket.ready() {
			r.enter()
			continue
		}
		// A block that is handed over between the two looks is younger than at.
		at, ahead := r.system()
		switch {
		case r.socket != nil && r.socket.ready():
			r.enter()
		case r.socket != nil && !r.socket.drained():
			r.quiet(at, ahead)
			return nil, nil
		case len(r.fresh) > 0:
			r.turn()
		case r.stopping:
			r.ask()
			r.end()
			return nil, io.EOF
		default:
			r.quiet(at, ahead)
			return nil, nil
		}
	}
}

// enter begins the block that is ready.
func (r *Ring) enter() {
	s := r.socket
	r.current = s.next
	s.next = (s.next + 1) % len(s.refs)
	s.seq = host.Uint64(s.block(r.current)[blockSeq:])
	s.refs[r.current].Store(1) // ours, until the last frame is taken
	r.entered, r.ahead = r.system()
	r.walk.link = s.link
	r.walk.enter(s.block(r.current))
	r.stats.Blocks++
	if lost := r.lost(); lost > 0 {
		r.losing = uint32(min(uint64(r.losing)+lost, math.MaxUint32))
	}
	if r.walk.left == 0 {
		s.release(r.current)
	}
}

// fill takes a run of frames of the block. It returns nil if there is none, the
// block being damaged.
func (r *Ring) fill() *frame.Batch {
	s, b := r.socket, r.batch()
	frames := b.Frames[:0]
	low := r.mark.Load()
	var bytes uint64
	for r.walk.left > 0 && len(frames) < cap(frames) {
		frames = frames[:len(frames)+1]
		f := &frames[len(frames)-1]
		if !r.walk.take(f) {
			frames = frames[:len(frames)-1]
			break
		}
		clock := frame.Clock(f.Time, r.entered, r.ahead)
		if clock < r.promised {
			r.stats.Late++
		}
		r.clock = max(clock, r.clock+1, low)
		f.Clock = r.clock
		f.Seq = r.count<<16 | r.number
		f.Iface = r.options.Index
		r.count++
		bytes += uint64(f.Len)
	}
	r.stats.Damaged, r.stats.Notes = r.stats.Damaged+uint64(r.walk.damaged), r.stats.Notes+uint64(r.walk.notes)
	r.walk.damaged, r.walk.notes = 0, 0
	if len(frames) == 0 {
		r.idle = append(r.idle, b)
		s.release(r.current)
		return nil
	}
	if r.away {
		r.losing, r.away = max(r.losing, 1), false
	}
	frames[0].Lost, r.losing = r.losing, 0
	r.stats.Packets += uint64(len(frames))
	r.stats.Bytes += bytes
	r.mark.Store(r.clock + 1)
	b.Frames, b.socket, b.block = frames, s, r.current
	s.hold(r.current)
	if r.walk.left == 0 {
		s.release(r.current)
	}
	return &b.Batch
}

// batch is an empty one.
func (r *Ring) batch() *batch {
	if n := len(r.idle); n > 0 {
		b := r.idle[n-1]
		r.idle = r.idle[:n-1]
		return b
	}
	b := &batch{}
	b.Frames = make([]frame.Frame, 0, maxFrames)
	b.Free = func(*frame.Batch) { r.free(b) }
	return b
}

// free takes a released batch back.
func (r *Ring) free(b *batch) {
	s, block := b.socket, b.block
	b.Frames, b.Metered, b.socket = b.Frames[:0], b.Metered[:0], nil
	r.mu.Lock()
	r.idle = append(r.idle, b)
	r.mu.Unlock()
	s.unhold(block)
}

// quiet is what is done when there was nothing to take at that time.
func (r *Ring) quiet(at, ahead int64) {
	to := at - r.hold
	r.poll[0] = unix.PollFd{Fd: -1}
	if s := r.socket; s != nil {
		if waits := s.oldest(); waits < math.MaxInt64 {
			to = min(to, frame.Clock(waits, at, ahead))
		}
		if s.pollable() {
			r.poll[0] = unix.PollFd{Fd: int32(s.fd), Events: unix.POLLIN}
		}
		if at-r.asked > askInterval {
			r.ask()
			r.asked = at
		}
	}
	if to > r.mark.Load() {
		r.promised = to
		r.mark.Store(to)
	}
}

// end leaves the mark beyond every frame.
func (r *Ring) end() {
	if r.clock >= r.mark.Load() {
		r.mark.Store(r.clock + 1)
	}
}

// wait waits for a block.
func (r *Ring) wait() {
	timeout := unix.NsecToTimespec(int64(pollTime))
	if r.options.OwnThread {
		if !pollHere(r.poll[:], &timeout) {
			return
		}
	} else if n, err := unix.Ppoll(r.poll[:], &timeout, nil); err != nil || n == 0 {
		return // EINTR is as good as a timeout
	}
	if r.poll[0].Revents&unix.POLLERR != 0 {
		// The interface went down (ENETDOWN): reading the error takes it away. What
		// that means is the watch's business.
		_, _ = unix.GetsockoptInt(int(r.poll[0].Fd), unix.SOL_SOCKET, unix.SO_ERROR)
	}
}

// turn goes on with a fresh socket.
func (r *Ring) turn() {
	if r.socket != nil {
		r.ask()
		r.socket.retire()
	}
	r.socket = r.fresh[0]
	r.fresh = append(r.fresh[:0], r.fresh[1:]...)
}

// hand gives the ring a socket to go on with.
func (r *Ring) hand(s *socket) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.socket == nil {
		r.socket = s
		return
	}
	r.fresh = append(r.fresh, s)
}

// mute lets nothing in any more.
func (r *Ring) mute() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	var err error
	if r.socket != nil {
		err = r.socket.mute()
	}
	for _, s := range r.fresh {
		if e := s.mute(); e != nil {
			err = e
		}
	}
	return err
}

// stop says that nothing comes any more.
func (r *Ring) stop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stopping = true
}

func (r *Ring) close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	r.end()
	if r.socket != nil {
		r.ask()
		if r.walk.left > 0 {
			r.socket.release(r.current)
			r.walk.left = 0
		}
		r.socket.retire()
		r.socket = nil
	}
	for _, s := range r.fresh {
		s.retire()
	}
	r.fresh = nil
	return nil
}
