package pcapin

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/bits"

	"ringside/dataplane/frame"
)

// Block types of pcapng (draft-ietf-opsawg-pcapng section 4 and 11.1).
const (
	blockSection   = 0x0a0d0d0a // the same in both byte orders
	blockInterface = 1
	blockPacket    = 2 // obsolete
	blockSimple    = 3
	blockNames     = 4
	blockStats     = 5
	blockEnhanced  = 6
	blockJournal   = 9
	blockSecrets   = 10
	blockCustom    = 0x00000bad
	blockCustomNot = 0x40000bad // not to be copied
)

const byteOrderMagic uint32 = 0x1a2b3c4d

// Options of interface and statistics blocks.
const (
	optEnd       = 0
	optIfDrop    = 5 // isb_ifdrop
	optDropCount = 4 // of a packet
	optOsDrop    = 7 // isb_osdrop
	optTsResol   = 9
	optTsOffs    = 14
)

const (
	blockHeader      = 8
	blockOverhead    = 12 // with the length at the end
	enhancedHeader   = 28
	enhancedOverhead = enhancedHeader + 4
	maxIfaces        = 1 << 16
	maxLargeBlock    = 1 << 30 // of a type that is passed over
)

// pcapngState is what the section header and the interface blocks say.
type pcapngState struct {
	swap   bool // big endian
	ifaces []iface
}

// iface is an interface of the section.
type iface struct {
	link    frame.LinkType
	snap    uint32 // 0 is no limit
	clock   resolution
	dropped uint64
}

func isPcapng(b []byte) bool { return binary.LittleEndian.Uint32(b) == blockSection }

// splitPcapng makes frames of the blocks in the block of memory.
func (f *file) splitPcapng() bool {
	for {
		f.splitEnhanced()
		b := f.blk.buf[f.r:f.w]
		if len(b) < blockOverhead {
			f.need = blockOverhead
			return false
		}
		kind := u32(b, f.ng.swap)
		if kind == blockSection && !f.sectionOrder(b) {
			return false
		}
		total := u32(b[4:], f.ng.swap)
		if total < blockOverhead {
			return f.broken("read pcapng block: length of %d bytes is out of bounds", total)
		}
		size := (int64(total) + 3) &^ 3 // some writers count without the padding
		if size > maxRecord {
			if kind == blockSection || f.carriesFrames(kind) || size > maxLargeBlock {
				return f.broken("read pcapng block: length of %d bytes is out of bounds", total)
			}
			f.passOver(kind)
			f.skip = size
			return true
		}
		if int64(len(b)) < size {
			f.need = int(size)
			return false
		}
		if end := u32(b[size-4:], f.ng.swap); end != total {
			return f.broken("read pcapng block: length is %d bytes at its start and %d at its end", total, end)
		}
		if err := f.ngBlock(kind, b[blockHeader:size-4]); err != nil {
			return f.broken("%w", err)
		}
		f.r += int(size)
	}
}

// splitEnhanced makes frames of the enhanced packet blocks that come next, which
// is nearly all there is. What is not quite as usual it leaves to ngBlock.
func (f *file) splitEnhanced() {
	swap, ifaces := f.ng.swap, f.ng.ifaces
	buf := f.blk.buf[:f.w]
	r, seq, next, last := f.r, f.seq, f.next, f.last
	out := f.frames
	for len(buf)-r >= enhancedOverhead {
		h := buf[r : r+enhancedHeader]
		total, n, captured := u32(h[4:], swap), u32(h[8:], swap), u32(h[20:], swap)
		if u32(h, swap) != blockEnhanced || total > maxRecord || total%4 != 0 || captured > maxCapture ||
			total < enhancedOverhead+captured || int(total) > len(buf)-r || uint64(n) >= uint64(len(ifaces)) {
			break
		}
		begin, end := r+enhancedHeader, r+int(total)
		if u32(buf[end-4:], swap) != total {
			break
		}
		i := &ifaces[n]
		last = i.clock.ns(uint64(u32(h[12:], swap))<<32 | uint64(u32(h[16:], swap)))
		clock := max(next, last)
		next = clock + 1
		wire := u32(h[24:], swap)
		if wire > captured {
			f.cut++
		}
		data := begin + int(captured)
		out = grow(out)
		p := &out[len(out)-1]
		p.Time, p.Clock, p.Seq = last, clock, seq
		p.Data, p.Len, p.Link, p.Iface = buf[begin:data:data], max(wire, captured), i.link, uint16(n)
		p.Lost = 0
		if after := data + int(-captured&3); end-4 > after {
			p.Lost = f.dropCount(buf[after : end-4])
		}
		seq++
		r = end
	}
	f.r, f.seq, f.next, f.last = r, seq, next, last
	f.frames = out
}

// broken ends the file at the block that begins at f.r.
func (f *file) broken(format string, args ...any) bool {
	f.damage(f.offset+int64(f.r), fmt.Errorf(format, args...))
	return false
}

func (f *file) carriesFrames(kind uint32) bool {
	return kind == blockInterface || kind == blockPacket || kind == blockSimple || kind == blockEnhanced
}

// sectionOrder reads the byte order of a section, which its length is in, too.
func (f *file) sectionOrder(b []byte) bool {
	switch byteOrderMagic {
	case u32(b[8:], false):
		f.ng.swap = false
	case u32(b[8:], true):
		f.ng.swap = true
	default:
		return f.broken("read pcapng section: byte order %#x is not known", u32(b[8:], false))
	}
	return true
}

// ngBlock reads one block by its body.
func (f *file) ngBlock(kind uint32, body []byte) error {
	switch kind {
	case blockEnhanced, blockPacket:
		if len(body) < 20 {
			return errors.New("read pcapng packet: block is too short")
		}
		n := u32(body, f.ng.swap)
		if kind == blockPacket {
			n = uint32(u16(body, f.ng.swap)) // a count of drops follows
		}
		return f.ngFrame(n, body[4:])
	case blockSimple:
		return f.simple(body)
	case blockSection:
		return f.section(body)
	case blockInterface:
		return f.iface(body)
	case blockStats:
		f.ifaceStats(body)
	default:
		f.passOver(kind)
	}
	return nil
}

// passOver counts a block that is not read if it should be known.
func (f *file) passOver(kind uint32) {
	switch kind {
	case blockNames, blockStats, blockJournal, blockSecrets, blockCustom, blockCustomNot:
	default:
		f.count.unknown.Add(1)
	}
}

// section begins a new section, in which interfaces are numbered anew.
func (f *file) section(body []byte) error {
	if len(body) < 16 {
		return errors.New("read pcapng section: block is too short")
	}
	if major := u16(body[4:], f.ng.swap); major != 1 {
		return fmt.Errorf("read pcapng section: version %d is not known", major)
	}
	f.ng.ifaces = f.ng.ifaces[:0]
	return nil
}

func (f *file) iface(body []byte) error {
	if len(body) < 8 {
		return errors.New("read pcapng interface: block is too short")
	}
	if len(f.ng.ifaces) == maxIfaces {
		return fmt.Errorf("read pcapng interface: there are more than %d", maxIfaces)
	}
	i := iface{
		link: frame.LinkType(u16(body, f.ng.swap)),
		snap: u32(body[4:], f.ng.swap),
	}
	resol, offset := byte(6), int64(0)
	f.options(body[8:], func(code uint16, v []byte) {
		switch {
		case code == optTsResol && len(v) >= 1:
			resol = v[0]
		case code == optTsOffs && len(v) >= 8:
			offset = int64(u64(v, f.ng.swap))
		}
	})
	i.clock = newResolution(resol, offset)
	f.ng.ifaces = append(f.ng.ifaces, i)
	return nil
}

// ifaceStats notes the losses that the capturing program counted. The counters
// run over the whole section, so of several blocks the last one holds.
func (f *file) ifaceStats(body []byte) {
	if len(body) < 12 {
		return
	}
	n := u32(body, f.ng.swap)
	if uint64(n) >= uint64(len(f.ng.ifaces)) {
		return
	}
	var dropped uint64
	f.options(body[12:], func(code uint16, v []byte) {
		if (code == optIfDrop || code == optOsDrop) && len(v) >= 8 {
			dropped += u64(v, f.ng.swap)
		}
	})
	if i := &f.ng.ifaces[n]; dropped > i.dropped {
		f.count.dropped.Add(dropped - i.dropped)
		i.dropped = dropped
	}
}

// dropCount is how many packets a packet's options say were lost since the one
// before on its interface (epb_dropcount).
func (f *file) dropCount(options []byte) (lost uint32) {
	f.options(options, func(code uint16, v []byte) {
		if code == optDropCount && len(v) == 8 {
			lost = uint32(min(u64(v, f.ng.swap), math.MaxUint32))
		}
	})
	return lost
}

// options calls do for each option; what is cut off is left out.
func (f *file) options(b []byte, do func(code uint16, value []byte)) {
	for len(b) >= 4 {
		code, n := u16(b, f.ng.swap), int(u16(b[2:], f.ng.swap))
		b = b[4:]
		if code == optEnd || n > len(b) {
			return
		}
		do(code, b[:n])
		b = b[min((n+3)&^3, len(b)):]
	}
}

// ngFrame reads a packet of interface n. In b lie the time, two lengths, and the
// bytes.
func (f *file) ngFrame(n uint32, b []byte) error {
	swap := f.ng.swap
	if uint64(n) >= uint64(len(f.ng.ifaces)) {
		return fmt.Errorf("read pcapng packet: interface %d is not described", n)
	}
	i := &f.ng.ifaces[n]
	captured, wire := u32(b[8:], swap), u32(b[12:], swap)
	data := b[16:]
	if captured > maxCapture || int(captured) > len(data) {
		return fmt.Errorf("read pcapng packet: length of %d bytes is out of bounds", captured)
	}
	f.last = i.clock.ns(uint64(u32(b, swap))<<32 | uint64(u32(b[4:], swap)))
	f.add(data[:captured:captured], wire, i.link, uint16(n))
	if options := int(captured+3) &^ 3; options < len(data) {
		f.frames[len(f.frames)-1].Lost = f.dropCount(data[options:])
	}
	return nil
}

// simple reads a packet without a time: it gets that of the one before.
func (f *file) simple(body []byte) error {
	if len(body) < 4 {
		return errors.New("read pcapng packet: block is too short")
	}
	if len(f.ng.ifaces) == 0 {
		return errors.New("read pcapng packet: interface 0 is not described")
	}
	i := &f.ng.ifaces[0]
	wire := u32(body, f.ng.swap)
	captured := wire
	if i.snap > 0 {
		captured = min(captured, i.snap)
	}
	captured = min(captured, uint32(len(body)-4)) // what the block holds
	if captured > maxCapture {
		return fmt.Errorf("read pcapng packet: length of %d bytes is out of bounds", captured)
	}
	f.add(body[4:4+captured:4+captured], wire, i.link, 0)
	return nil
}

// add appends a frame of the time f.last.
func (f *file) add(data []byte, wire uint32, link frame.LinkType, n uint16) {
	clock := max(f.next, f.last)
	f.next = clock + 1
	if wire > uint32(len(data)) {
		f.cut++
	}
	f.frames = append(f.frames, frame.Frame{
		Time: f.last, Clock: clock, Seq: f.seq,
		Data: data, Len: max(wire, uint32(len(data))), Link: link, Iface: n,
	})
	f.seq++
}

// resolution turns the time stamps of an interface into ns since the epoch.
type resolution struct {
	mul    uint64 // ns per unit, or
	div    uint64 // units per ns, or
	shift  uint   // units per second, as a power of two
	offset int64  // ns
}

// newResolution is the resolution by the options if_tsresol (a negative power of
// ten, or of two if the highest bit is set) and if_tsoffset (seconds).
func newResolution(resol byte, offset int64) resolution {
	const maxSeconds = math.MaxInt64 / 1_000_000_000
	r := resolution{offset: min(max(offset, -maxSeconds), maxSeconds) * 1e9}
	exp := uint(resol & 0x7f)
	switch {
	case resol&0x80 != 0:
		r.shift = exp
		if exp == 0 {
			r.mul = 1e9
		}
	case exp <= 9:
		r.mul = pow10(9 - exp)
	default:
		r.div = pow10(exp - 9)
	}
	return r
}

// pow10 is 10 to the n, or 0 where that is more than 64 bits hold.
func pow10(n uint) uint64 {
	if n > 19 {
		return 0
	}
	p := uint64(1)
	for range n {
		p *= 10
	}
	return p
}

// ns is the time of a stamp, from 1970 to 2262.
func (r *resolution) ns(stamp uint64) int64 {
	var hi, lo uint64
	switch {
	case r.mul > 0:
		hi, lo = bits.Mul64(stamp, r.mul)
	case r.div > 0:
		lo = stamp / r.div
	case r.shift > 0:
		hi, lo = bits.Mul64(stamp, 1e9)
		lo = lo>>r.shift | hi<<(64-r.shift) // 0 for shifts of 64 and more
		if r.shift >= 64 {
			lo = hi >> (r.shift - 64)
		}
		hi >>= r.shift
	}
	if hi > 0 || lo > maxTime {
		lo = maxTime
	}
	t := int64(lo)
	if r.offset > 0 && t > maxTime-r.offset {
		return maxTime
	}
	return max(0, t+r.offset)
}
