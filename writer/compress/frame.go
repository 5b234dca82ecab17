package compress

import (
	"fmt"
	"io"
	"math/bits"

	"ringside/writer/pcap"
)

// Magic numbers of frames.
const (
	zstdMagic = 0xFD2FB528
	lz4Magic  = 0x184D2204
	skipMagic = 0x184D2A50 // to 0x184D2A5F, of zstd and LZ4 alike
	skipMask  = 0xFFFFFFF0

	// plainSkip is a pcapng block type for local use (most significant bit
	// set). The lower bits say "RSI".
	plainSkip    = 0x80525349
	sectionMagic = 0x0A0D0D0A
)

const (
	zstdBlock = 128 << 10 // most bytes of a block
	lz4Raw    = 1 << 31   // this block is not compressed
)

// lz4Plain begins a frame of independent blocks of up to 4 MiB without
// checksums; its last byte is the checksum of the two before.
var lz4Plain = []byte{0x04, 0x22, 0x4D, 0x18, 0x60, 0x70, 0x73}

func storeZstd(dst, chunk []byte) []byte {
	dst = le.AppendUint32(dst, zstdMagic)
	dst = append(dst, 0xA0) // single segment, content size in 4 bytes
	dst = le.AppendUint32(dst, uint32(len(chunk)))
	for {
		n := min(len(chunk), zstdBlock)
		h := uint32(n) << 3
		if n == len(chunk) {
			h |= 1 // the last
		}
		dst = append(dst, byte(h), byte(h>>8), byte(h>>16))
		dst = append(dst, chunk[:n]...)
		if chunk = chunk[n:]; len(chunk) == 0 {
			return dst
		}
	}
}

func storeLZ4(dst, chunk []byte) []byte {
	dst = append(dst, lz4Plain...)
	dst = le.AppendUint32(dst, uint32(len(chunk))|lz4Raw)
	dst = append(dst, chunk...)
	return le.AppendUint32(dst, 0)
}

// SkipHeader is how many bytes of a skippable frame SkipLength needs.
const SkipHeader = gzipFixed + gzipExtra

const skipHeader = 8 // bytes in front of what a skippable frame carries

// SkipTail is the bytes behind what a skippable frame carries.
func SkipTail(f Format) int {
	if f == Plain {
		return 4
	}
	return 0
}

// AppendSkippable adds a skippable frame around body, whose length is a
// multiple of four.
func AppendSkippable(dst []byte, f Format, body []byte) []byte {
	if f == Gzip {
		return skipGzip(dst, body)
	}
	if f != Plain {
		dst = le.AppendUint32(dst, skipMagic)
		dst = le.AppendUint32(dst, uint32(len(body)))
		return append(dst, body...)
	}
	size := uint32(len(body) + skipHeader + 4)
	dst = le.AppendUint32(dst, plainSkip)
	dst = le.AppendUint32(dst, size)
	dst = append(dst, body...)
	return le.AppendUint32(dst, size)
}

// Measure says how long the frame is that b begins with, and whether it is a
// skippable one. It returns io.ErrUnexpectedEOF if b ends within the frame, and
// ErrDamaged if there is none; what is in the frame it does not look at.
func Measure(f Format, b []byte) (n int, skip bool, err error) {
	if len(b) < 4 {
		return 0, false, io.ErrUnexpectedEOF
	}
	magic := le.Uint32(b)
	switch {
	case f == Gzip:
		return measureGzip(b)
	case f != Plain && magic&skipMask == skipMagic, f == Plain && magic == plainSkip:
		n, err = measureSkip(f, b)
		return n, true, err
	case f == Zstd && magic == zstdMagic:
		n, err = measureZstd(b)
	case f == LZ4 && magic == lz4Magic:
		n, err = measureLZ4(b)
	case f == Plain && magic == sectionMagic:
		n, err = measureSection(b)
	default:
		err = fmt.Errorf("%w: begins with %#08x", ErrDamaged, magic)
	}
	return n, false, err
}

// SkipLength is the length of the skippable frame that b begins with, by its
// first SkipHeader bytes; 0 if b begins otherwise.
func SkipLength(f Format, b []byte) int64 {
	if f == Gzip {
		return int64(gzipSkip(b))
	}
	if len(b) < skipHeader {
		return 0
	}
	size := int64(le.Uint32(b[4:]))
	switch magic := le.Uint32(b); {
	case f != Plain && magic&skipMask == skipMagic:
		return size + skipHeader
	case f == Plain && magic == plainSkip && size >= skipHeader+4 && size%4 == 0:
		return size
	}
	return 0
}

// Magic is what every frame of a chunk begins with.
func Magic(f Format) []byte {
	if f == Gzip {
		return gzipHead
	}
	return le.AppendUint32(nil, [...]uint32{sectionMagic, lz4Magic, zstdMagic}[f])
}

// whole is the length of a frame if b holds all of it.
func whole(n int, b []byte) (int, error) {
	if n > len(b) {
		return 0, io.ErrUnexpectedEOF
	}
	return n, nil
}

func measureSkip(f Format, b []byte) (int, error) {
	if len(b) < skipHeader {
		return 0, io.ErrUnexpectedEOF
	}
	size := int(le.Uint32(b[4:]))
	if f != Plain {
		return whole(size+skipHeader, b)
	}
	if size < skipHeader+4 || size%4 != 0 {
		return 0, fmt.Errorf("%w: block of %d bytes", ErrDamaged, size)
	}
	if size > len(b) {
		return 0, io.ErrUnexpectedEOF
	}
	if le.Uint32(b[size-4:]) != uint32(size) {
		return 0, fmt.Errorf("%w: lengths of the block differ", ErrDamaged)
	}
	return size, nil
}

func measureSection(b []byte) (int, error) {
	if len(b) < 24 {
		return 0, io.ErrUnexpectedEOF
	}
	n := pcap.SectionLength(b)
	if n == 0 || n > MaxPlain {
		return 0, fmt.Errorf("%w: section without a length", ErrDamaged)
	}
	return whole(int(n), b)
}

// measureZstd walks the blocks of a frame (RFC 8878 section 3.1.1).
func measureZstd(b []byte) (int, error) {
	if len(b) < 5 {
		return 0, io.ErrUnexpectedEOF
	}
	d := b[4]
	single, checksum := d>>5&1 == 1, int(d>>2&1)*4
	at := 5 + []int{0, 1, 2, 4}[d&3] + []int{0, 2, 4, 8}[d>>6]
	if single {
		if d>>6 == 0 {
			at++
		}
	} else {
		at++ // window
	}
	if d&8 != 0 {
		return 0, fmt.Errorf("%w: reserved bit", ErrDamaged)
	}
	for {
		if at+3 > len(b) {
			return 0, io.ErrUnexpectedEOF
		}
		h := uint32(b[at]) | uint32(b[at+1])<<8 | uint32(b[at+2])<<16
		size := int(h >> 3)
		switch h >> 1 & 3 {
		case 1:
			size = 1 // one byte, repeated
		case 3:
			return 0, fmt.Errorf("%w: reserved block type", ErrDamaged)
		}
		if size > zstdBlock {
			return 0, fmt.Errorf("%w: block of %d bytes", ErrDamaged, size)
		}
		at += 3 + size
		if at > 2*MaxPlain {
			return 0, fmt.Errorf("%w: longer than %d bytes", ErrDamaged, 2*MaxPlain)
		}
		if h&1 == 1 {
			return whole(at+checksum, b)
		}
	}
}

// measureLZ4 walks the blocks of a frame (LZ4 frame format 1.6).
func measureLZ4(b []byte) (int, error) {
	if len(b) < 7 {
		return 0, io.ErrUnexpectedEOF
	}
	flags := b[4]
	if flags>>6 != 1 {
		return 0, fmt.Errorf("%w: LZ4 version %d", ErrDamaged, flags>>6)
	}
	blockSum, contentSum := int(flags>>4&1)*4, int(flags>>2&1)*4
	at := 7 + int(flags>>3&1)*8 + int(flags&1)*4
	for {
		if at+4 > len(b) {
			return 0, io.ErrUnexpectedEOF
		}
		size := le.Uint32(b[at:])
		at += 4
		if size == 0 {
			return whole(at+contentSum, b)
		}
		size &^= lz4Raw
		if size > 4<<20 || at > 2*MaxPlain {
			return 0, fmt.Errorf("%w: block of %d bytes", ErrDamaged, size)
		}
		at += int(size) + blockSum
	}
}

// Step is one way to compress.
type Step struct {
	Format Format
	Level  Level
}

// Ladder is the ways to compress one class of chunks, from the one for an idle
// machine to the one for the highest load.
type Ladder []Step

// Next chooses the step for the next chunk from the step at and the load: how
// many bytes wait, of how many that may. The load that leads one step down is
// twice the one that leads up again, so that the choice does not flutter. It
// moves one step at a time; the last step holds from half of the room on.
func (l Ladder) Next(at int, waiting, room int64) int {
	at = min(max(at, 0), len(l)-1)
	// Down from step i at room/2^(n-1-i): with four steps at an eighth, a
	// quarter, a half.
	down := func(i int) int64 { return room >> min(len(l)-1-i, bits.Len64(uint64(max(room, 0)))) }
	switch {
	case at < len(l)-1 && waiting >= max(down(at), 1):
		return at + 1
	case at > 0 && waiting < down(at-1)/2:
		return at - 1
	}
	return at
}
