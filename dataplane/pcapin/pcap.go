package pcapin

import (
	"encoding/binary"
	"fmt"
	"math/bits"

	"ringside/dataplane/frame"
)

// Magic numbers of pcap files, in their writer's byte order
// (draft-ietf-opsawg-pcap section 4).
const (
	magicMicro    = 0xa1b2c3d4
	magicNano     = 0xa1b23c4d
	magicModified = 0xa1b2cd34 // Kuznetsov's: eight more bytes per record
)

const (
	pcapFileHeader   = 24
	pcapRecordHeader = 16
	modifiedHeader   = pcapRecordHeader + 8
)

// pcapState is what the file header says about the records.
type pcapState struct {
	swap   bool   // big endian
	header int    // bytes of a record header
	unit   int64  // ns of a fraction of a second
	limit  uint32 // bytes of a frame that are too many
	link   frame.LinkType
}

func isPcap(b []byte) bool {
	m := binary.LittleEndian.Uint32(b)
	return pcapMagic(m) || pcapMagic(bits.ReverseBytes32(m))
}

func pcapMagic(m uint32) bool { return m == magicMicro || m == magicNano || m == magicModified }

// pcapHeader reads the file header.
func (f *file) pcapHeader() bool {
	b := f.blk.buf[f.r:f.w]
	if len(b) < pcapFileHeader {
		f.need = pcapFileHeader
		f.format = formatUnknown // to come back here
		return false
	}
	s := pcapState{header: pcapRecordHeader, unit: 1000}
	magic := binary.LittleEndian.Uint32(b)
	if !pcapMagic(magic) {
		s.swap = true
	}
	switch u32(b, s.swap) {
	case magicNano:
		s.unit = 1
	case magicModified:
		s.header = modifiedHeader
	}
	if major := u16(b[4:], s.swap); major != 2 {
		f.damage(f.offset+int64(f.r), fmt.Errorf("read pcap header: version %d is not known", major))
		return false
	}
	// Writers are careless about the snap length, but not by a factor of two.
	s.limit = maxCapture
	if snap := u32(b[16:], s.swap); snap > 0 && snap < maxCapture/2 {
		s.limit = max(2*snap, maxCapture/2)
	}
	// The upper bits hold the length of the frame check sequence.
	s.link = frame.LinkType(u32(b[20:], s.swap))
	f.pcap = s
	f.r += pcapFileHeader
	return true
}

// splitPcap makes frames of the records in the block.
func (f *file) splitPcap() bool {
	s := f.pcap
	buf := f.blk.buf[:f.w]
	r, seq, next, last := f.r, f.seq, f.next, f.last
	out := f.frames
	more := false
	f.need = s.header
	for len(buf)-r >= s.header {
		h := buf[r : r+pcapRecordHeader]
		sec, frac := binary.LittleEndian.Uint32(h), binary.LittleEndian.Uint32(h[4:])
		captured, wire := binary.LittleEndian.Uint32(h[8:]), binary.LittleEndian.Uint32(h[12:])
		if s.swap {
			sec, frac = bits.ReverseBytes32(sec), bits.ReverseBytes32(frac)
			captured, wire = bits.ReverseBytes32(captured), bits.ReverseBytes32(wire)
		}
		if captured > s.limit {
			f.r = r
			f.damage(f.offset+int64(r), fmt.Errorf("read pcap record: length of %d bytes is out of bounds", captured))
			break
		}
		if captured == 0 && wire == 0 && isPcap(h) {
			// Another file was appended to this one, its header looks like an
			// empty frame of the year 2055.
			more = true
			break
		}
		begin := r + s.header
		end := begin + int(captured)
		if end > len(buf) {
			f.need = end - r
			break
		}
		last = int64(sec)*1e9 + int64(frac)*s.unit
		clock := max(next, last)
		next = clock + 1
		if wire > captured {
			f.cut++
		}
		out = grow(out)
		p := &out[len(out)-1]
		p.Time, p.Clock, p.Seq = last, clock, seq
		p.Data, p.Len, p.Link, p.Iface = buf[begin:end:end], max(wire, captured), s.link, 0
		p.Lost = 0
		seq++
		r = end
	}
	f.r, f.seq, f.next, f.last = r, seq, next, last
	f.frames = out
	return more && f.pcapHeader()
}

// grow makes room for one more frame, to be set in full: what is there is old.
func grow(frames []frame.Frame) []frame.Frame {
	if n := len(frames); n < cap(frames) {
		return frames[:n+1]
	}
	return append(frames, frame.Frame{})
}

// u16 and u32 read the integers of a file, which is big endian if swap.
func u16(b []byte, swap bool) uint16 {
	v := binary.LittleEndian.Uint16(b)
	if swap {
		v = bits.ReverseBytes16(v)
	}
	return v
}

func u32(b []byte, swap bool) uint32 {
	v := binary.LittleEndian.Uint32(b)
	if swap {
		v = bits.ReverseBytes32(v)
	}
	return v
}

func u64(b []byte, swap bool) uint64 {
	v := binary.LittleEndian.Uint64(b)
	if swap {
		v = bits.ReverseBytes64(v)
	}
	return v
}
