package spool

import (
	"fmt"
	"sync"

	"golang.org/x/sys/unix"
)

// Sizes of chunks: 4 KiB << order.
const (
	pageBytes = 4 << 10
	maxOrder  = 4
	maxChunk  = pageBytes << maxOrder
)

const none = -1 // no page

// arena is the memory of all chunks: pages of one anonymous mapping outside the
// Go heap, shared out by the buddy method. Its methods may be used
// concurrently; each takes a lock for some tens of instructions, once for a
// chunk and not for a packet.
type arena struct {
	mem    []byte
	chunks []chunk // by first page; owned by whoever holds the chunk

	mu         sync.Mutex
	heads      [maxOrder + 1]int32 // free chunks by order
	next, prev []int32             // in the lists of free chunks, by first page
	free       []int8              // order of the free chunk that begins at a page, or none
	used, peak int                 // pages
}

// newArena maps bytes, rounded down to chunks of the largest size.
func newArena(bytes int64) (*arena, error) {
	pages := int(bytes/maxChunk) << maxOrder
	if pages == 0 {
		return nil, fmt.Errorf("map spool memory: %d bytes are less than one chunk of %d", bytes, maxChunk)
	}
	mem, err := unix.Mmap(-1, 0, pages*pageBytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return nil, fmt.Errorf("map %d bytes of spool memory: %w", pages*pageBytes, err)
	}
	// All of it is touched now, so that the budget is what is used, and no
	// packet waits for the kernel to find memory. Old kernels know neither, and
	// find it when it is used.
	_ = unix.Madvise(mem, unix.MADV_HUGEPAGE)
	_ = unix.Madvise(mem, unix.MADV_POPULATE_WRITE)
	a := &arena{mem: mem, chunks: make([]chunk, pages), next: make([]int32, pages), prev: make([]int32, pages), free: make([]int8, pages)}
	for o := range a.heads {
		a.heads[o] = none
	}
	for p := range a.free {
		a.free[p] = none
	}
	for p := pages - 1<<maxOrder; p >= 0; p -= 1 << maxOrder {
		a.push(int32(p), maxOrder)
	}
	return a, nil
}

func (a *arena) close() error {
	mem := a.mem
	a.mem = nil
	if mem == nil {
		return nil
	}
	return unix.Munmap(mem)
}

// pages is the size of the arena.
func (a *arena) pages() int { return len(a.chunks) }

// buf is the memory of the chunk at a page.
func (a *arena) buf(page int32, order uint8) []byte {
	at := int(page) * pageBytes
	return a.mem[at : at+pageBytes<<order : at+pageBytes<<order]
}

func (a *arena) push(page int32, order int) {
	a.free[page] = int8(order)
	a.prev[page], a.next[page] = none, a.heads[order]
	if a.heads[order] != none {
		a.prev[a.heads[order]] = page
	}
	a.heads[order] = page
}

func (a *arena) unlink(page int32) {
	order := a.free[page]
	if a.prev[page] == none {
		a.heads[order] = a.next[page]
	} else {
		a.next[a.prev[page]] = a.next[page]
	}
	if a.next[page] != none {
		a.prev[a.next[page]] = a.prev[page]
	}
	a.free[page] = none
}

// get takes a chunk, if more than spare pages are free then; else it returns
// none.
func (a *arena) get(order uint8, spare int) int32 {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.used+1<<order+spare > len(a.chunks) {
		return none
	}
	from := int(order)
	for from <= maxOrder && a.heads[from] == none {
		from++
	}
	if from > maxOrder {
		return none
	}
	page := a.heads[from]
	a.unlink(page)
	for from > int(order) {
		from--
		a.push(page+1<<from, from)
	}
	a.used += 1 << order
	a.peak = max(a.peak, a.used)
	return page
}

// put gives a chunk back and joins it with its free neighbours.
func (a *arena) put(page int32, order uint8) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.used -= 1 << order
	o := int(order)
	for o < maxOrder {
		buddy := page ^ 1<<o
		if a.free[buddy] != int8(o) {
			break
		}
		a.unlink(buddy)
		page = min(page, buddy)
		o++
	}
	a.push(page, o)
}

// use is the pages in use now, and the most there were.
func (a *arena) use() (used, peak int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.used, a.peak
}
