package pcapin

import (
	"math/bits"
	"sync"
	"sync/atomic"

	"ringside/dataplane/frame"
)

// block holds bytes as read. The file that reads into it and each round that
// has frames in it hold a reference.
type block struct {
	buf  []byte
	refs atomic.Int32
	home *pools

	round uint64 // id of the last round that used it; under the reader lock
}

func (b *block) release() {
	if b.refs.Add(-1) == 0 {
		b.home.putBlock(b)
	}
}

// round is what was read in one go: the blocks that hold its bytes. Its
// batches, one per worker, hold references to it.
type round struct {
	id     uint64 // never the same twice, unlike the address
	blocks []*block
	refs   atomic.Int32
}

// use keeps blk as long as the round lives. A round takes the frames of a
// block in one go or in runs among those of other files, so blk may be known.
func (rd *round) use(blk *block) {
	if blk.round == rd.id {
		return
	}
	blk.round = rd.id
	blk.refs.Add(1)
	rd.blocks = append(rd.blocks, blk)
}

// batch is a frame.Batch that knows its round.
type batch struct {
	frame.Batch
	round *round
}

// pools keep blocks, rounds and batches for reuse, last in first out, so that
// what is reused is still in the cache. sync.Pool would give them to the
// garbage collector in between.
type pools struct {
	mu      sync.Mutex
	blocks  [25][]*block // by the logarithm of their size
	rounds  []*round
	serial  uint64 // id of the last round
	batches []*batch
}

const keepBlocks = 64 // free blocks of one size that are worth keeping

// getBlock is a block of at least size bytes, referenced once.
func (p *pools) getBlock(size int) *block {
	class := bits.Len(uint(size - 1))
	p.mu.Lock()
	free := p.blocks[class]
	if n := len(free); n > 0 {
		b := free[n-1]
		p.blocks[class] = free[:n-1]
		p.mu.Unlock()
		b.refs.Store(1)
		return b
	}
	p.mu.Unlock()
	b := &block{buf: make([]byte, 1<<class), home: p}
	b.refs.Store(1)
	return b
}

func (p *pools) putBlock(b *block) {
	class := bits.Len(uint(len(b.buf) - 1))
	p.mu.Lock()
	if len(p.blocks[class]) < keepBlocks {
		p.blocks[class] = append(p.blocks[class], b)
	}
	p.mu.Unlock()
}

func (p *pools) round() *round {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.serial++
	if n := len(p.rounds); n > 0 {
		rd := p.rounds[n-1]
		p.rounds = p.rounds[:n-1]
		rd.id = p.serial
		return rd
	}
	return &round{id: p.serial}
}

// batch is an empty batch of rd.
func (p *pools) batch(rd *round) *batch {
	rd.refs.Add(1)
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.batches); n > 0 {
		b := p.batches[n-1]
		p.batches = p.batches[:n-1]
		b.round = rd
		return b
	}
	b := &batch{round: rd}
	b.Free = func(*frame.Batch) { p.free(b) }
	return b
}

// free takes a released batch back, and with the last one of a round its blocks.
func (p *pools) free(b *batch) {
	rd := b.round
	b.round = nil
	b.Frames, b.Packets = b.Frames[:0], b.Packets[:0]
	last := rd.refs.Add(-1) == 0
	if last {
		for i, blk := range rd.blocks {
			rd.blocks[i] = nil
			blk.release()
		}
		rd.blocks = rd.blocks[:0]
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.batches = append(p.batches, b)
	if last {
		p.rounds = append(p.rounds, rd)
	}
}

// queue hands batches from whichever worker holds the reader lock (one
// producer at a time) to the one worker that owns it.
type queue struct {
	slots []*batch      // a slot belongs to the consumer from tail's store to head's
	head  atomic.Uint64 // batches taken; stored by the consumer
	tail  atomic.Uint64 // batches put; stored under the reader lock
}

func (q *queue) init(size int) { q.slots = make([]*batch, size) }

func (q *queue) full() bool { return q.tail.Load()-q.head.Load() == uint64(len(q.slots)) }

// push needs a queue that is not full.
func (q *queue) push(b *batch) {
	t := q.tail.Load()
	q.slots[t%uint64(len(q.slots))] = b
	q.tail.Store(t + 1)
}

// pop returns nil when the queue is empty.
func (q *queue) pop() *batch {
	h := q.head.Load()
	if h == q.tail.Load() {
		return nil
	}
	slot := &q.slots[h%uint64(len(q.slots))]
	b := *slot
	*slot = nil
	q.head.Store(h + 1)
	return b
}
