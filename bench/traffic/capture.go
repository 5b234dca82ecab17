package traffic

import (
	"encoding/binary"
	"fmt"
	"io"
)

// Format is a capture file format.
type Format uint8

// Formats of a capture file.
const (
	PcapMicro  Format = iota // pcap, microseconds
	PcapNano                 // pcap, nanoseconds
	PcapngNano               // pcapng, nanoseconds
)

var formatNames = []string{"pcap", "pcap-ns", "pcapng"}

func (f Format) String() string { return formatNames[f] }

// Formats lists the names that ParseFormat takes.
func Formats() []string { return formatNames }

// ParseFormat is the inverse of String.
func ParseFormat(s string) (Format, error) {
	for i, n := range formatNames {
		if n == s {
			return Format(i), nil
		}
	}
	return 0, fmt.Errorf("parse format %q: not one of %v", s, formatNames)
}

const (
	flushAt  = 1 << 18 // bytes gathered before a write
	maxFrame = 1 << 14 // more than any frame made here
)

// capture writes frames to a capture file through one buffer. A frame is built
// in place: room() gives the bytes to fill, done() closes the record.
type capture struct {
	w      io.Writer
	err    error // the first error of w; nothing is written after it
	buf    []byte
	n      int // bytes of buf in use
	start  int // where the record being built begins
	head   int // length of a record's header
	format Format
	snap   int
}

func newCapture(w io.Writer, format Format, snap int) *capture {
	c := &capture{w: w, buf: make([]byte, flushAt+2*maxFrame), format: format, snap: snap, head: 16}
	le := binary.LittleEndian
	switch format {
	case PcapngNano:
		c.head = 28
		b := c.buf
		// Section header block, then one interface with if_tsresol 9.
		le.PutUint32(b[0:], 0x0a0d0d0a)
		le.PutUint32(b[4:], 28)
		le.PutUint32(b[8:], 0x1a2b3c4d)
		le.PutUint32(b[12:], 1)
		le.PutUint64(b[16:], ^uint64(0)) // length of the section: not stated
		le.PutUint32(b[24:], 28)
		b = b[28:]
		le.PutUint32(b[0:], 1)
		le.PutUint32(b[4:], 32)
		le.PutUint16(b[8:], 1) // LINKTYPE_ETHERNET
		le.PutUint32(b[12:], uint32(snap))
		le.PutUint32(b[16:], 9|1<<16) // option 9, length 1
		b[20] = 9
		le.PutUint32(b[24:], 0)
		le.PutUint32(b[28:], 32)
		c.n = 60
	default:
		magic := uint32(0xa1b2c3d4)
		if format == PcapNano {
			magic = 0xa1b23c4d
		}
		le.PutUint32(c.buf[0:], magic)
		le.PutUint32(c.buf[4:], 2|4<<16)
		le.PutUint64(c.buf[8:], 0)
		le.PutUint32(c.buf[16:], uint32(snap))
		le.PutUint32(c.buf[20:], 1) // LINKTYPE_ETHERNET
		c.n = 24
	}
	return c
}

// stamp is t as the file can hold it.
func (f Format) stamp(t int64) int64 {
	if f == PcapMicro {
		return t - t%1000
	}
	return t
}

// room is where the next frame is to be written.
func (c *capture) room() []byte {
	c.start = c.n
	return c.buf[c.n+c.head : c.n+c.head+maxFrame]
}

// built is the frame of size bytes that was written into room().
func (c *capture) built(size int) []byte {
	return c.buf[c.start+c.head : c.start+c.head+size]
}

// done ends the frame of size bytes that was written into room().
func (c *capture) done(t int64, size int) {
	le := binary.LittleEndian
	b := c.buf[c.start:]
	kept := min(size, c.snap)
	switch c.format {
	case PcapngNano:
		padded := (kept + 3) &^ 3
		total := uint32(32 + padded)
		le.PutUint32(b[0:], 6) // enhanced packet block
		le.PutUint32(b[4:], total)
		le.PutUint32(b[8:], 0)
		le.PutUint32(b[12:], uint32(uint64(t)>>32))
		le.PutUint32(b[16:], uint32(t))
		le.PutUint32(b[20:], uint32(kept))
		le.PutUint32(b[24:], uint32(size))
		clear(b[28+kept : 28+padded])
		le.PutUint32(b[28+padded:], total)
		c.n += int(total)
	default:
		sec := t / 1e9
		frac := t - sec*1e9
		if c.format == PcapMicro {
			frac /= 1000
		}
		le.PutUint32(b[0:], uint32(sec))
		le.PutUint32(b[4:], uint32(frac))
		le.PutUint32(b[8:], uint32(kept))
		le.PutUint32(b[12:], uint32(size))
		c.n += 16 + kept
	}
	if c.n >= flushAt {
		c.flush()
	}
}

func (c *capture) flush() {
	if c.err == nil {
		_, c.err = c.w.Write(c.buf[:c.n])
	}
	c.n = 0
}
