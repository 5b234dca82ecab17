package pcapin

import (
	"fmt"
	"sync"
	"sync/atomic"
)

// maxDamages is how many damages are listed; beyond, they are only counted.
const maxDamages = 1000

// Damage is where a file could not be read on.
type Damage struct {
	File   string
	Offset int64 // bytes from the start of the capture, after decompression
	Reason string
}

// String is the damage on one line.
func (d Damage) String() string {
	return fmt.Sprintf("%s: damaged at byte %d: %s", d.File, d.Offset, d.Reason)
}

// Stats is a snapshot of what was read so far.
type Stats struct {
	Bytes         int64    // done with, of TotalBytes, as they lie on the disk
	TotalBytes    int64    // of all inputs; 0 when one of them is a pipe
	Files         int      // inputs found
	File          string   // the one opened last
	Passed        uint64   // files in directories that are no captures
	Frames        uint64   // read
	Cut           uint64   // frames shorter than on the wire; a merge counts them ahead of Frames
	UnknownBlocks uint64   // pcapng blocks of a type not known, passed over
	Dropped       uint64   // frames that the program that wrote the pcapng says it lost
	Damaged       uint64   // files with damage
	Damages       []Damage // the first 1,000
}

// counters is what Stats is made of.
type counters struct {
	bytes   atomic.Int64
	frames  atomic.Uint64
	cut     atomic.Uint64
	unknown atomic.Uint64
	dropped atomic.Uint64
	passed  atomic.Uint64
	file    atomic.Pointer[string]

	// Set by Open.
	total   int64
	files   int
	unsized bool

	mu      sync.Mutex
	damaged uint64
	damages []Damage
}

func (c *counters) damage(path string, offset int64, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.damaged++
	if len(c.damages) < maxDamages {
		c.damages = append(c.damages, Damage{path, offset, err.Error()})
	}
}

// Stats may be called from any goroutine.
func (r *Reader) Stats() Stats {
	c := &r.count
	s := Stats{
		Bytes: c.bytes.Load(), TotalBytes: c.total, Files: c.files,
		Passed: c.passed.Load(), Frames: c.frames.Load(), Cut: c.cut.Load(),
		UnknownBlocks: c.unknown.Load(), Dropped: c.dropped.Load(),
	}
	if c.unsized {
		s.TotalBytes = 0
	}
	if p := c.file.Load(); p != nil {
		s.File = *p
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	s.Damaged = c.damaged
	s.Damages = append([]Damage(nil), c.damages...)
	return s
}
