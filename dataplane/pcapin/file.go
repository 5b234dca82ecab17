package pcapin

import (
	"errors"
	"fmt"
	"io"
	"os"

	"ringside/dataplane/frame"
)

const (
	batchFrames = 2048 // a batch of merged files ends after this many frames
	peekBlock   = 64 << 10
	mergeBytes  = 32 << 20  // shared by the blocks of all files that are merged at a time
	maxCapture  = 256 << 10 // bytes of one frame; what libpcap and Wireshark allow
	maxRecord   = 2 * maxCapture
	maxTime     = 1<<63 - 1<<48 // ns; as many clocks are left for the frames behind
)

type format uint8

const (
	formatUnknown format = iota
	formatPcap
	formatPcapng
)

// errNotCapture is the damage of a file that is something else.
var errNotCapture = errors.New("neither pcap nor pcapng")

// file reads one input and splits it into frames, block by block. It is idle
// (closed) until its first fill. All of it is guarded by the reader lock.
type file struct {
	path    string
	fromDir bool
	live    *liveInput // nil for a regular file
	size    int64      // bytes on disk; 0 if live
	order   int        // among the inputs by time
	first   int64      // time of the first frame, if peeked
	pools   *pools
	count   *counters
	lone    bool // the only input: the decompressor may run in parallel

	in      io.Reader // nil while closed
	os      *os.File
	raw     *counter
	end     func() // ends the decompressor
	packed  bool
	done    bool // the last frames are in frames
	started bool // the first bytes of the stream were there

	blk    *block // of the frames not yet taken; while it is filled, r to w are still to be split
	r, w   int
	tail   []byte // the beginning of a record, for the next block
	offset int64  // of blk.buf[0], or else the tail, in the plain stream
	need   int    // bytes of the next record
	skip   int64  // bytes to pass over

	format format
	pcap   pcapState
	ng     pcapngState
	cut    uint64 // frames of this block shorter than on the wire

	frames []frame.Frame // of the block
	pos    int           // those before it are taken
	seq    uint64        // of the next frame
	next   int64         // least clock of the next frame, if this were the only file
	last   int64         // time of the last frame
}

// open opens the file and its decompressor.
func (f *file) open() error {
	f.raw = &counter{total: &f.count.bytes}
	if f.live != nil {
		f.raw.r = f.live.r
	} else {
		file, err := os.Open(f.path)
		if err != nil {
			return err
		}
		f.os, f.raw.r = file, file
	}
	var err error
	f.in, f.packed, f.end, err = decompress(f.raw, f.lone)
	return err
}

// close gives back what the file holds, except frames not yet taken.
func (f *file) close() {
	if f.end != nil {
		f.end()
		f.end = nil
	}
	if f.os != nil {
		_ = f.os.Close() // it was only read
		f.os = nil
	}
	if f.raw != nil && f.size > 0 {
		// What is left behind a damage is done with, too.
		f.count.bytes.Add(max(0, f.size-f.raw.own.Load()))
	}
	f.in, f.raw = nil, nil
}

// release gives the block back when all frames are taken.
func (f *file) release() {
	f.close()
	f.taken()
	f.frames, f.tail, f.ng.ifaces = nil, nil, nil
}

// fill reads the next block, of size bytes or what the next record needs, and
// splits it into f.frames. It returns false if nothing came (of a pipe). All
// earlier frames are taken.
func (f *file) fill(size int) bool {
	f.cut = 0
	if f.in == nil {
		if err := f.open(); err != nil {
			f.damage(0, err)
			return true
		}
	}
	f.blk = f.pools.getBlock(max(size, f.need))
	had := copy(f.blk.buf, f.tail)
	f.r, f.w = 0, had
	err := f.read()
	f.started = f.started || f.w > 0
	f.split()
	f.count.cut.Add(f.cut)
	if err != nil && !f.done {
		f.ends(err)
	}
	came := f.w > had || f.done
	// The tail is copied at once, so that the block is free, and still in the
	// cache for the next read, as soon as its frames are.
	f.tail = append(f.tail[:0], f.blk.buf[f.r:f.w]...)
	f.offset += int64(f.r)
	if len(f.frames) == 0 {
		f.taken()
	}
	return came
}

// taken gives the block back when all its frames are taken.
func (f *file) taken() {
	f.frames, f.pos = f.frames[:0], 0
	if f.blk != nil {
		f.blk.release()
		f.blk = nil
	}
}

// ends tells what the end of the stream means.
func (f *file) ends(err error) {
	switch {
	case err != io.EOF:
		f.damage(f.offset+int64(f.w), err)
	case !f.started:
		f.damage(0, errors.New("file is empty"))
	case f.format == formatUnknown && f.need == 4:
		f.damage(0, errNotCapture)
	case f.skip > 0:
		f.damage(f.offset+int64(f.r), fmt.Errorf("cut short: %d bytes of a block are missing", f.skip))
	case f.r < f.w:
		f.damage(f.offset+int64(f.r), fmt.Errorf("cut short: %d of %d bytes of a record are there", f.w-f.r, f.need))
	default:
		f.finish()
	}
}

// read fills the block, or takes what a pipe has.
func (f *file) read() error {
	limited := f.live != nil && !f.packed && f.live.limit()
	for f.w < len(f.blk.buf) {
		n, err := f.in.Read(f.blk.buf[f.w:])
		f.w += n
		if limited && errors.Is(err, os.ErrDeadlineExceeded) {
			return nil
		}
		if err != nil {
			return err
		}
		if f.live != nil {
			return nil
		}
	}
	return nil
}

// split makes frames of the bytes in the block.
func (f *file) split() {
	for !f.done {
		if f.skip > 0 {
			n := min(f.skip, int64(f.w-f.r))
			f.r += int(n)
			if f.skip -= n; f.skip > 0 {
				return
			}
		}
		var more bool
		switch f.format {
		case formatUnknown:
			more = f.begin()
		case formatPcap:
			more = f.splitPcap()
		case formatPcapng:
			more = f.splitPcapng()
		}
		if !more {
			return
		}
	}
}

// begin tells the format of the file by its first four bytes. Like all that
// split a block it returns false when it needs more bytes, or is done.
func (f *file) begin() bool {
	b := f.blk.buf[f.r:f.w]
	if len(b) < 4 {
		f.need = 4
		return false
	}
	switch {
	case isPcap(b):
		f.format = formatPcap
		return f.pcapHeader()
	case isPcapng(b):
		f.format = formatPcapng
		return true
	}
	f.damage(f.offset+int64(f.r), errNotCapture)
	return false
}

// damage ends the file and notes why. The frames that were read stay.
func (f *file) damage(offset int64, err error) {
	if f.fromDir && errors.Is(err, errNotCapture) {
		f.count.passed.Add(1)
	} else {
		f.count.damage(f.path, offset, err)
	}
	f.finish()
}

// finish ends the file.
func (f *file) finish() {
	f.close()
	f.done = true
}
