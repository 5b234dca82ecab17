// Package compress turns chunks of bytes into frames that stand alone, and
// back: one complete frame of zstd (RFC 8878) or LZ4, or one member of gzip (RFC
// 1952), for each chunk. A file of such frames is what the plain tools open, any
// frame of it can be decoded without the others, and a file that was cut loses
// only the last one.
//
// Wireshark 4.0 reads files of many gzip members, but loses its place in those
// of many zstd or LZ4 frames behind their first 128 KiB; they must be piped
// through zstd -dc or lz4 -dc.
//
// An index lies in a skippable frame, which every zstd and LZ4 reader passes
// over; with gzip, in the extra fields of empty members. In a plain pcapng file a frame is a section that states its length, and
// a skippable frame is a block of the types for local use, which readers pass
// over too.
package compress

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// Format is how the frames of one file are made.
type Format uint8

// Formats.
const (
	Plain Format = iota // pcapng sections as they are
	LZ4
	Zstd
	Gzip
	Formats = 4
)

var formats = [Formats]struct{ name, ext string }{{"none", ""}, {"lz4", ".lz4"}, {"zstd", ".zst"}, {"gzip", ".gz"}}

// String is the name of the format in settings.
func (f Format) String() string { return formats[min(int(f), len(formats)-1)].name }

// Ext is what a file name ends with, with the dot; empty for Plain.
func (f Format) Ext() string { return formats[min(int(f), len(formats)-1)].ext }

// Level is how hard a frame is compressed.
type Level uint8

// Levels. LZ4 knows Store and Fast; what is above counts as Fast.
const (
	Store Level = iota // not at all; the frame is one of its format still
	Fast
	Default
	Better
	Best
)

// MaxPlain is the most bytes of a chunk. A frame that claims more is damaged.
const MaxPlain = 1 << 20

// ErrDamaged says that bytes are no frame.
var ErrDamaged = errors.New("damaged frame")

var le = binary.LittleEndian

// Encoder makes frames. It belongs to one goroutine. The zero value is ready.
type Encoder struct {
	zstd [Best + 1]*zstd.Encoder
	gzip [Best + 1]*flate.Writer
	lz4  *lz4.Writer
	out  appender
}

// appender is the io.Writer that the LZ4 writer wants.
type appender struct{ b []byte }

func (a *appender) Write(p []byte) (int, error) {
	a.b = append(a.b, p...)
	return len(p), nil
}

// Append adds the frame of a chunk, which is not empty and at most MaxPlain
// bytes; of Plain, a pcapng section that states its length.
func (e *Encoder) Append(dst []byte, f Format, l Level, chunk []byte) ([]byte, error) {
	if len(chunk) == 0 || len(chunk) > MaxPlain {
		return dst, fmt.Errorf("compress chunk: %d bytes, want 1 to %d", len(chunk), MaxPlain)
	}
	switch {
	case f == Plain:
		return append(dst, chunk...), nil
	case f == LZ4 && l == Store:
		return storeLZ4(dst, chunk), nil
	case f == LZ4:
		return e.appendLZ4(dst, chunk)
	case f == Gzip:
		return e.appendGzip(dst, min(l, Best), chunk)
	case l == Store:
		return storeZstd(dst, chunk), nil
	}
	return e.appendZstd(dst, min(l, Best), chunk)
}

// Bound is the most bytes that Append adds for a chunk of n bytes.
func Bound(n int) int { return n + n/128 + 128 }

func (e *Encoder) appendZstd(dst []byte, l Level, chunk []byte) ([]byte, error) {
	if e.zstd[l] == nil {
		speed := [...]zstd.EncoderLevel{Fast: zstd.SpeedFastest, Default: zstd.SpeedDefault,
			Better: zstd.SpeedBetterCompression, Best: zstd.SpeedBestCompression}[l]
		enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(speed), zstd.WithEncoderConcurrency(1),
			zstd.WithWindowSize(128<<10), zstd.WithEncoderCRC(true))
		if err != nil {
			return dst, fmt.Errorf("make zstd encoder: %w", err)
		}
		e.zstd[l] = enc
	}
	return e.zstd[l].EncodeAll(chunk, dst), nil
}

func (e *Encoder) appendLZ4(dst, chunk []byte) ([]byte, error) {
	e.out.b = dst
	if e.lz4 == nil {
		e.lz4 = lz4.NewWriter(&e.out)
		err := e.lz4.Apply(lz4.BlockSizeOption(lz4.Block256Kb), lz4.ConcurrencyOption(1), lz4.ChecksumOption(true))
		if err != nil {
			return dst, fmt.Errorf("make lz4 encoder: %w", err)
		}
	} else {
		e.lz4.Reset(&e.out)
	}
	_, err := e.lz4.Write(chunk)
	err = errors.Join(err, e.lz4.Close())
	b := e.out.b
	e.out.b = nil
	if err != nil {
		return dst, fmt.Errorf("compress chunk with lz4: %w", err)
	}
	return b, nil
}

// Decoder opens frames. It belongs to one goroutine. The zero value is ready.
type Decoder struct {
	zstd *zstd.Decoder
	gzip io.ReadCloser
	lz4  *lz4.Reader
	src  sliceReader
}

// sliceReader is a bytes.Reader that is kept.
type sliceReader struct{ b []byte }

// ReadByte spares the gzip reader a buffer of its own.
func (s *sliceReader) ReadByte() (byte, error) {
	if len(s.b) == 0 {
		return 0, io.EOF
	}
	c := s.b[0]
	s.b = s.b[1:]
	return c, nil
}

func (s *sliceReader) Read(p []byte) (int, error) {
	if len(s.b) == 0 {
		return 0, io.EOF
	}
	n := copy(p, s.b)
	s.b = s.b[n:]
	return n, nil
}

// Append adds the chunk that one frame holds. The frame is whole: Measure says
// how long it is.
func (d *Decoder) Append(dst []byte, f Format, frame []byte) ([]byte, error) {
	switch f {
	case Plain:
		return append(dst, frame...), nil
	case LZ4:
		return d.appendLZ4(dst, frame)
	case Gzip:
		return d.appendGzip(dst, frame)
	}
	if d.zstd == nil {
		dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(MaxPlain), zstd.WithDecoderLowmem(true))
		if err != nil {
			return dst, fmt.Errorf("make zstd decoder: %w", err)
		}
		d.zstd = dec
	}
	out, err := d.zstd.DecodeAll(frame, dst)
	if err != nil {
		return dst, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return out, nil
}

func (d *Decoder) appendLZ4(dst, frame []byte) ([]byte, error) {
	d.src.b = frame
	if d.lz4 == nil {
		d.lz4 = lz4.NewReader(&d.src)
	} else {
		d.lz4.Reset(&d.src)
	}
	return readAll(dst, d.lz4)
}

// readAll adds what r gives, which must not be more than MaxPlain.
func readAll(dst []byte, r io.Reader) ([]byte, error) {
	had := len(dst)
	for {
		if len(dst) == cap(dst) {
			dst = append(dst, 0)[:len(dst)]
		}
		n, err := r.Read(dst[len(dst):cap(dst)])
		dst = dst[:len(dst)+n]
		switch {
		case err == io.EOF:
			return dst, nil
		case err != nil:
			return dst[:had], fmt.Errorf("%w: %w", ErrDamaged, err)
		case len(dst)-had > MaxPlain:
			return dst[:had], fmt.Errorf("%w: more than %d bytes in it", ErrDamaged, MaxPlain)
		}
	}
}
