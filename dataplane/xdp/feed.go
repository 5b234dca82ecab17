package xdp

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"math/bits"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"ringside/bpf"
	"ringside/dataplane/frame"
)

// The layout of bpf/include/feed.h, in bytes.
const (
	feedControl = 4096 // before and behind each ring

	// Of struct rs_feed.
	headAt    = 0
	refusedAt = 8
	recordsAt = 16
	tailAt    = 64

	// Of struct rs_feed_record.
	recordTime    = 0
	recordLen     = 8
	recordRefused = 12
	recordKept    = 16
	recordFlags   = 20
	recordSize    = 24

	recordMetered = 1 // in recordFlags
)

const (
	leastFeed  = 64 << 10
	mostFeed   = 64 << 20
	feedFrames = 1024                  // of a batch
	feedHold   = 20 * time.Millisecond // after which a record is late
	feedWait   = time.Millisecond      // for which Next waits
)

// feeds are the rings of all CPUs, in one mapping, and those who read them.
type feeds struct {
	mem []byte
	of  []*Feed
}

// Feed is a frame.Source for one worker: RTP that the meter in the kernel has
// counted, as far as it is to be recorded, and all RTP where there is no such
// meter. It reads the rings of some of the CPUs,
// and sorts their frames by time. Frames lie in the rings until their batch is
// released; nothing is copied. What a ring had no room for is told by Lost.
type Feed struct {
	number uint64 // low bits of Seq
	iface  uint16
	mark   atomic.Int64
	system func() (at, ahead int64) // now, but in tests

	mu       sync.Mutex // what follows
	rings    []feedRing
	oldest   *feedBatch // that were handed out, in this order
	newest   *feedBatch
	idle     []*feedBatch
	stopping bool
	closed   bool
	count    uint64 // frames taken, for Seq
	clock    int64  // of the frame before
	promised int64  // mark by the steady clock
	now      int64  // steady clock, when records were looked at
	ahead    int64  // by how much it is ahead of the system's
	stats    FeedStats
}

// feedRing is the ring of one CPU.
type feedRing struct {
	data []byte // records, and the room behind them
	mask uint64
	head *uint64 // the program's
	tail *uint64 // ours
	full *uint64 // records that were refused
	sum  *uint64 // records that were not

	next    uint64 // place of the record that is read next
	seen    uint64 // head, as it was last looked at
	time    int64  // of the next record, if there is one
	refused uint32 // told so far
}

// feedBatch is a run of frames, and how far each ring is read with it.
type feedBatch struct {
	frame.Batch
	ends []uint64
	done bool
	next *feedBatch // handed out after it
}

// FeedStats counts what went through a feed. No figure but Held ever falls.
type FeedStats struct {
	Taken   uint64  // frames that the program has put in
	Full    uint64  // frames that it had no room for
	Packets uint64  // frames handed out
	Bytes   uint64  // their length on the wire
	Late    uint64  // frames that came after their time had been promised not to
	Held    float64 // share of the fullest ring that is in use
}

// feedSize is the size of each of n rings in that much memory: a power of two.
func feedSize(memory int64, n int) uint32 {
	each := uint64(min(max(memory/int64(n), leastFeed), mostFeed))
	return 1 << (bits.Len64(each) - 1)
}

// sizeFeeds prepares a collection for the feeds that the options ask for.
func (f *Filter) sizeFeeds(spec *ebpf.CollectionSpec, cpus int) error {
	if f.options.Mode == Generic {
		f.options.Feeds = 0
	}
	if f.options.Feeds <= 0 {
		return nil
	}
	f.options.Feeds = min(f.options.Feeds, cpus)
	size := feedSize(f.options.FeedMemory, cpus)
	m := spec.Maps[bpf.PrefilterMapRsFeeds]
	m.MaxEntries, m.ValueSize = uint32(cpus), feedControl+size+feedControl
	if err := spec.Variables[bpf.PrefilterVarFeedSize].Set(size); err != nil {
		return fmt.Errorf("set the size of the feeds: %w", err)
	}
	if f.options.FeedWhole {
		if err := spec.Variables[bpf.PrefilterVarFeedWhole].Set(uint8(1)); err != nil {
			return fmt.Errorf("say how much of RTP goes into the feeds: %w", err)
		}
	}
	return nil
}

// openFeeds maps the rings of a loaded program.
func (f *Filter) openFeeds() error {
	if f.options.Feeds <= 0 {
		return nil
	}
	m := f.objects.Maps[bpf.PrefilterMapRsFeeds]
	each, n := int(m.ValueSize()), int(m.MaxEntries())
	mem, err := unix.Mmap(m.FD(), 0, each*n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("map the feeds of %d CPUs, %d bytes each: %w", n, each, err)
	}
	f.feeds = &feeds{mem: mem}
	for i := range f.options.Feeds {
		f.feeds.of = append(f.feeds.of, newFeed(mem, each, i, f.options.Feeds, f.options.Index))
	}
	return nil
}

// startFeeding lets the program use the feeds, or not.
func (f *Filter) startFeeding(native bool) error {
	on := uint32(0)
	if native && f.feeds != nil {
		on = 1
	}
	if err := f.objects.Variables[bpf.PrefilterVarRsFeeding].Set(on); err != nil {
		return fmt.Errorf("switch the feeds: %w", err)
	}
	return nil
}

// close ends the feeds, and unmaps the rings.
func (f *feeds) close() {
	for _, o := range f.of {
		o.close()
	}
	if f.mem != nil {
		_ = unix.Munmap(f.mem) // an error would be a bug, and the process goes on
		f.mem = nil
	}
}

// newFeed is number i of n, which share the rings; each is so many bytes of mem.
func newFeed(mem []byte, each, i, n int, iface uint16) *Feed {
	f := &Feed{
		// Rings of sockets have the lower numbers.
		number: uint64(iface)<<8 | 0x80 | uint64(i)&0x7f, iface: iface, system: now,
		clock: math.MinInt64, promised: math.MinInt64,
	}
	f.mark.Store(math.MinInt64)
	for cpu := i; cpu*each < len(mem); cpu += n {
		ring := mem[cpu*each:][:each:each]
		words, _ := overlay(ring[:feedControl])
		f.rings = append(f.rings, feedRing{
			data: ring[feedControl:], mask: uint64(each) - 2*feedControl - 1,
			head: &words[headAt/8], tail: &words[tailAt/8], full: &words[refusedAt/8], sum: &words[recordsAt/8],
		})
	}
	return f
}

// Mark is frame.Source's: beyond what was delivered, and on a quiet link 20 ms
// behind the steady clock (frame.Steady). A record is there less than a microsecond after its
// time, unless its CPU was taken away.
func (f *Feed) Mark() int64 { return f.mark.Load() }

// Next is frame.Source's. It waits for a millisecond.
func (f *Feed) Next() (*frame.Batch, error) {
	b, err := f.Take()
	if b != nil || err != nil {
		return b, err
	}
	time.Sleep(feedWait)
	return f.Take()
}

// Take is the next batch of what is there; nil if there is nothing.
func (f *Feed) Take() (*frame.Batch, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil, io.EOF
	}
	if !f.look() {
		// A record that comes between the two looks is younger than at.
		at, _ := f.system()
		if !f.look() {
			if f.stopping {
				f.mark.Store(max(f.mark.Load(), f.clock+1))
				return nil, io.EOF
			}
			if to := at - int64(feedHold); to > f.mark.Load() {
				f.promised = to
				f.mark.Store(to)
			}
			return nil, nil
		}
	}
	return f.fill(), nil
}

// look looks at the heads of all rings, and says whether there is a record.
func (f *Feed) look() bool {
	some := false
	for i := range f.rings {
		r := &f.rings[i]
		r.seen = atomic.LoadUint64(r.head)
		if r.next != r.seen {
			r.time, some = int64(binary.LittleEndian.Uint64(r.record()[recordTime:])), true
		}
	}
	return some
}

// record is the next record.
func (r *feedRing) record() []byte { return r.data[r.next&r.mask:] }

// fill makes a batch of what was seen.
func (f *Feed) fill() *frame.Batch {
	b := f.batch()
	low := f.mark.Load()
	f.now, f.ahead = f.system()
	for len(b.Frames) < feedFrames {
		r, until := f.first()
		if r == nil {
			break
		}
		for len(b.Frames) < feedFrames && r.next != r.seen && r.time <= until {
			b.Frames = b.Frames[:len(b.Frames)+1]
			f.frame(r, &b.Frames[len(b.Frames)-1], low)
		}
	}
	f.mark.Store(f.clock + 1)
	for i := range f.rings {
		b.ends[i] = f.rings[i].next
	}
	if b.next = nil; f.newest != nil {
		f.newest.next = b
	} else {
		f.oldest = b
	}
	b.done, f.newest = false, b
	return &b.Batch
}

// first is the ring with the oldest record, and the time until which that is so.
func (f *Feed) first() (oldest *feedRing, until int64) {
	until = math.MaxInt64
	for i := range f.rings {
		r := &f.rings[i]
		switch {
		case r.next == r.seen:
		case oldest == nil:
			oldest = r
		case r.time < oldest.time:
			oldest, until = r, oldest.time
		default:
			until = min(until, r.time)
		}
	}
	return oldest, until
}

// frame takes a ring's next record.
func (f *Feed) frame(r *feedRing, to *frame.Frame, low int64) {
	rec := r.record()
	kept := binary.LittleEndian.Uint32(rec[recordKept:])
	refused := binary.LittleEndian.Uint32(rec[recordRefused:])
	flags := binary.LittleEndian.Uint32(rec[recordFlags:])
	clock := frame.Clock(r.time, f.now, f.ahead)
	f.clock = max(clock, f.clock+1, low)
	*to = frame.Frame{
		Time: r.time, Clock: f.clock, Seq: f.count<<16 | f.number,
		Data: rec[recordSize:][:kept:kept], Len: binary.LittleEndian.Uint32(rec[recordLen:]),
		Link: frame.LinkEthernet, Iface: f.iface, Metered: flags&recordMetered != 0, Lost: refused - r.refused,
	}
	if clock < f.promised {
		f.stats.Late++
	}
	f.count++
	f.stats.Packets++
	f.stats.Bytes += uint64(to.Len)
	r.refused = refused
	r.next += uint64(recordSize+kept+7) &^ 7
	if r.next != r.seen {
		r.time = int64(binary.LittleEndian.Uint64(r.record()[recordTime:]))
	}
}

// batch is an empty one.
func (f *Feed) batch() *feedBatch {
	if n := len(f.idle); n > 0 {
		b := f.idle[n-1]
		f.idle = f.idle[:n-1]
		return b
	}
	b := &feedBatch{ends: make([]uint64, len(f.rings))}
	b.Frames, b.Patient = make([]frame.Frame, 0, feedFrames), true
	b.Free = func(*frame.Batch) { f.free(b) }
	return b
}

// free takes a released batch back. The program may have the room of those before
// which there is none that is still in use.
func (f *Feed) free(b *feedBatch) {
	f.mu.Lock()
	defer f.mu.Unlock()
	b.Frames, b.Metered, b.done = b.Frames[:0], b.Metered[:0], true
	for f.oldest != nil && f.oldest.done {
		o := f.oldest
		if f.oldest = o.next; f.oldest == nil {
			f.newest = nil
		}
		if f.closed {
			continue
		}
		for i := range f.rings {
			atomic.StoreUint64(f.rings[i].tail, o.ends[i])
		}
		f.idle = append(f.idle, o)
	}
}

// Stop says that the program puts nothing in any more: Next gives what is there, and
// then io.EOF.
func (f *Feed) Stop() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stopping = true
}

// Stats counts. After Close of the filter it says what was so before.
func (f *Feed) Stats() FeedStats {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.readCounters()
	return f.stats
}

// readCounters reads the counters of the rings.
func (f *Feed) readCounters() {
	if f.closed {
		return
	}
	f.stats.Taken, f.stats.Full, f.stats.Held = 0, 0, 0
	for i := range f.rings {
		r := &f.rings[i]
		f.stats.Taken += atomic.LoadUint64(r.sum)
		f.stats.Full += atomic.LoadUint64(r.full)
		used := atomic.LoadUint64(r.head) - atomic.LoadUint64(r.tail)
		f.stats.Held = max(f.stats.Held, float64(used)/float64(r.mask+1))
	}
}

func (f *Feed) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return
	}
	f.readCounters()
	f.closed = true
	f.mark.Store(max(f.mark.Load(), f.clock+1))
}
