// Package ring captures from network interfaces through TPACKET_V3: rings of
// blocks that the kernel fills with frames and shares with the process
// (Documentation/networking/packet_mmap.rst).
//
// A Set is the rings of one interface. A Ring is a frame.Source for one worker:
// its batches point into the kernel's blocks, nothing is copied, and a block
// goes back to the kernel when the last of its batches is released. Batches may
// be released in any order, and by any goroutine. The kernel fills blocks in
// turn, though: it stops, and counts what it drops, at the first block that is
// not back.
//
// # What a frame is
//
// A VLAN tag that the interface or the kernel took out is put back. A note that
// the filter in the kernel put in front is taken off (struct rs_note,
// bpf/include/types.h), and says the length on the wire, the time, and whether
// the frame was metered.
//
// Time is the kernel's software stamp (CLOCK_REALTIME), taken when the frame
// leaves the driver. A hardware stamp is not asked for: its clock runs free of
// that by which the kernel's meter counts, and a stream must not mix the two.
//
// # An interface that goes away
//
// One that goes down is picked up by the kernel when it comes up. One that is
// removed and made anew under its name, or that was down at the start, is opened
// by a goroutine of the Set that watches it; the workers see a quiet link in
// between. One that is renamed stays. State tells.
package ring

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Options say what to capture and how.
type Options struct {
	Iface string // name of the interface; for a bond its own or that of one of its ports
	Index uint16 // Frame.Iface; less than 256, and different for each Set of the process

	Rings  int   // how many; 0 is 1, at most 256
	Memory int64 // of all rings together, bytes; 0 is 50 MiB

	// BlockSize is that of one block, a multiple of the page size; 0 chooses.
	// The kernel hands over a block when it is full, and BlockTimeout after it
	// began to fill it; 0 is 10 ms. A large block is cheaper when there is much
	// to read; many small ones are more patience for a worker that is late,
	// since on a quiet link each holds no more than BlockTimeout.
	BlockSize    int
	BlockTimeout time.Duration

	SnapLen int // longest frame to capture, bytes; 0 is whole frames

	Fanout        FanoutMode // which ring a frame goes to, if there are several
	FanoutProgram int        // descriptor of the program of FanoutEBPF; it stays the caller's

	// SocketFilter is the descriptor of an eBPF socket filter, which stays the
	// caller's; 0 or less is none. ClassicFilter is a classic one. Either says
	// for each frame how many bytes to keep. A classic one keeps no more than
	// SnapLen, whatever it says.
	SocketFilter  int
	ClassicFilter []unix.SockFilter

	// Prepare, if not nil, is called before the rings are opened for an interface
	// that has come again, in the network namespace of the Set: what filters
	// frames has to be there before the first one. Where it fails nothing is
	// captured, and it is tried again.
	Prepare func() error

	// OwnThread says that each ring is read by a thread of its own, and that Go has
	// processors (GOMAXPROCS) for more threads than these: Next then waits without
	// giving its processor to others, which is much cheaper.
	OwnThread bool

	Promiscuous bool // also frames for other hosts; what a mirror port sends is such
	Outgoing    bool // also what this host sends; usually not wanted
}

const (
	defaultMemory  = 50 << 20
	defaultTimeout = 10 * time.Millisecond
	largestBlock   = 256 << 10
	smallestBlock  = 64 << 10
	fewBlocks      = 16 // below, smaller blocks are better
	leastBlocks    = 4
	mostBlocks     = 1 << 19 // the kernel's list of them is one allocation of 4 MiB at most
	maxRings       = 256     // PACKET_FANOUT_MAX
	maxIfaces      = 256
	wholeFrame     = 1 << 18 // longer than any frame
)

// check fills in what was left to choose, and refuses what cannot be.
func (o *Options) check() error {
	if o.Rings == 0 {
		o.Rings = 1
	}
	if o.Memory == 0 {
		o.Memory = defaultMemory
	}
	if o.BlockTimeout == 0 {
		o.BlockTimeout = defaultTimeout
	}
	if o.SnapLen == 0 {
		o.SnapLen = wholeFrame
	}
	if o.BlockSize == 0 {
		o.BlockSize = largestBlock
		for o.BlockSize > smallestBlock && o.blocks() < fewBlocks {
			o.BlockSize /= 2
		}
	}
	page := unix.Getpagesize()
	switch {
	case o.Iface == "" || len(o.Iface) >= unix.IFNAMSIZ:
		return fmt.Errorf("capture from %q: not the name of an interface", o.Iface)
	case o.Rings < 0 || o.Rings > maxRings:
		return fmt.Errorf("capture from %s: %d rings: must be 1 to %d", o.Iface, o.Rings, maxRings)
	case o.Index >= maxIfaces:
		return fmt.Errorf("capture from %s: index %d: must be less than %d", o.Iface, o.Index, maxIfaces)
	case o.Rings > 1 && o.Fanout == FanoutNone:
		return fmt.Errorf("capture from %s: %d rings and no fanout: every ring would get every frame", o.Iface, o.Rings)
	case o.Fanout < FanoutNone || o.Fanout > FanoutEBPF:
		return fmt.Errorf("capture from %s: unknown fanout %d", o.Iface, o.Fanout)
	case o.BlockSize < page || o.BlockSize%page != 0:
		return fmt.Errorf("capture from %s: block of %d bytes: must be a multiple of %d", o.Iface, o.BlockSize, page)
	case o.blocks() < leastBlocks:
		return fmt.Errorf("capture from %s: %d bytes for %d rings: at least %d are needed", o.Iface, o.Memory, o.Rings, leastBlocks*o.BlockSize*o.Rings)
	case o.blocks() > mostBlocks:
		return fmt.Errorf("capture from %s: %d bytes for %d rings: at most %d are possible", o.Iface, o.Memory, o.Rings, mostBlocks*o.BlockSize*o.Rings)
	case o.BlockTimeout < time.Millisecond || o.BlockTimeout > time.Minute:
		return fmt.Errorf("capture from %s: block timeout %v: must be 1 ms to 1 min", o.Iface, o.BlockTimeout)
	case o.SnapLen < 14:
		return fmt.Errorf("capture from %s: snap length %d: must hold an Ethernet header", o.Iface, o.SnapLen)
	case o.SocketFilter > 0 && len(o.ClassicFilter) > 0:
		return fmt.Errorf("capture from %s: two socket filters", o.Iface)
	}
	return nil
}

// blocks is how many there are in one ring.
func (o *Options) blocks() int { return int(o.Memory / int64(o.Rings) / int64(o.BlockSize)) }

// Set is the rings of one interface. Its methods may be called from any
// goroutine.
type Set struct {
	options Options
	rings   []*Ring
	watch   *watch

	mu     sync.Mutex
	ending bool // no more sockets are opened
	closed bool
}

// Open begins to capture. It needs CAP_NET_RAW. An interface that is down is
// no error, one that does not exist is.
func Open(o Options) (*Set, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	s := &Set{options: o}
	for i := range o.Rings {
		s.rings = append(s.rings, newRing(&s.options, i))
	}
	var err error
	if s.watch, err = newWatch(s); err != nil {
		return nil, fmt.Errorf("capture from %s: %w", o.Iface, err)
	}
	if err := s.watch.start(); err != nil {
		return nil, errors.Join(fmt.Errorf("capture from %s: %w", o.Iface, err), s.Close())
	}
	return s, nil
}

// Rings is how many there are.
func (s *Set) Rings() int { return len(s.rings) }

// Ring is one of them, from 0. It is for one worker.
func (s *Set) Ring(i int) *Ring { return s.rings[i] }

// State says how the interface is.
func (s *Set) State() State { return s.watch.current() }

// open makes a socket with its ring for each of the rings, and hands them over.
func (s *Set) open(l link) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ending {
		return nil
	}
	sockets, err := openGroup(&s.options, l)
	if err != nil {
		return err
	}
	for i, r := range s.rings {
		r.hand(sockets[i])
	}
	return nil
}

// interrupted says that frames may have gone by while nothing was captured.
func (s *Set) interrupted() {
	for _, r := range s.rings {
		r.mu.Lock()
		r.away = true
		r.mu.Unlock()
	}
}

// Stop ends the capture: no frame is taken any more. What has arrived in the
// rings is still delivered, and then io.EOF.
func (s *Set) Stop() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ending {
		return nil
	}
	s.ending = true
	var errs []error
	for _, r := range s.rings {
		errs = append(errs, r.mute())
	}
	settle()
	for _, r := range s.rings {
		r.stop()
	}
	return errors.Join(errs...)
}

// Close stops the capture, drops what was not read, and gives everything back,
// the memory of a block when the last batch of its ring is released. Next
// returns io.EOF from then on.
func (s *Set) Close() error {
	err := s.Stop()
	s.watch.close()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return err
	}
	s.closed = true
	for _, r := range s.rings {
		err = errors.Join(err, r.close())
	}
	return err
}
