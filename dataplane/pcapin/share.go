package pcapin

import (
	"math/bits"
	"sync"
	"sync/atomic"

	"ringside/dataplane/frame"
)

// block holds bytes as read. The file that reads into it and each batch that
// has frames in it hold a reference.
type block struct {
	buf  []byte
	refs atomic.Int32
	home *pools

	user uint64 // id of the last batch that used it; under the reader lock
}

func (b *block) release() {
	if b.refs.Add(-1) == 0 {
		b.home.putBlock(b)
	}
}

// batch is a frame.Batch with the blocks that hold its bytes.
type batch struct {
	frame.Batch
	id     uint64 // never the same twice, unlike the address
	blocks []*block
}

// use keeps blk as long as the batch lives. A batch takes the frames of a
// block in one go or in runs among those of other files, so blk may be known.
func (b *batch) use(blk *block) {
	if blk.user == b.id {
		return
	}
	blk.user = b.id
	blk.refs.Add(1)
	b.blocks = append(b.blocks, blk)
}

// pools keep blocks and batches for reuse, last in first out, so that what is
// reused is still in the cache. sync.Pool would give them to the garbage
// collector in between.
type pools struct {
	mu      sync.Mutex
	blocks  [25][]*block // by the logarithm of their size
	serial  uint64       // id of the last batch
	batches []*batch
}

const keepBytes = 64 << 20 // free blocks of one size that are worth keeping

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
	if len(p.blocks[class]) < keepBytes>>class {
		p.blocks[class] = append(p.blocks[class], b)
	}
	p.mu.Unlock()
}

// batch is an empty batch.
func (p *pools) batch() *batch {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.serial++
	if n := len(p.batches); n > 0 {
		b := p.batches[n-1]
		p.batches = p.batches[:n-1]
		b.id = p.serial
		return b
	}
	b := &batch{id: p.serial}
	b.Free = func(*frame.Batch) { p.free(b) }
	return b
}

// free takes a released batch back, and lets go of its blocks.
func (p *pools) free(b *batch) {
	b.Frames, b.Packets = b.Frames[:0], b.Packets[:0]
	for i, blk := range b.blocks {
		b.blocks[i] = nil
		blk.release()
	}
	b.blocks = b.blocks[:0]
	p.mu.Lock()
	defer p.mu.Unlock()
	p.batches = append(p.batches, b)
}
