package compress

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/klauspost/compress/flate"
)

// A gzip member says nowhere how long it is. Those that are made here say it in
// a field of their header: "RS", 4, length of the member u32. An index lies in
// empty members, in fields "RI", since a field holds less than 64 KiB.
const (
	gzipFixed = 10 // bytes of a header without its extra fields
	gzipExtra = 6  // length of all fields, and name and length of the only one
	gzipEnd   = 8  // CRC-32 and length
	gzipPiece = 65000
	gzipEmpty = gzipFixed + gzipExtra + 2 + gzipEnd // bytes of an empty member around a field
)

// gzipHead begins every member: deflate, extra fields, no time, unknown system.
var gzipHead = []byte{0x1F, 0x8B, 8, 4, 0, 0, 0, 0, 0, 255}

func appendHead(dst []byte, name string, length int) []byte {
	dst = append(dst, gzipHead...)
	dst = le.AppendUint16(dst, uint16(4+length))
	dst = append(dst, name...)
	return le.AppendUint16(dst, uint16(length))
}

func (e *Encoder) appendGzip(dst []byte, l Level, chunk []byte) ([]byte, error) {
	at := len(dst)
	dst = appendHead(dst, "RS", 4)
	e.out.b = le.AppendUint32(dst, 0)
	var err error
	if w := e.gzip[l]; w != nil {
		w.Reset(&e.out)
	} else {
		level := [...]int{Store: flate.NoCompression, Fast: 1, Default: 5, Better: 7, Best: 9}[l]
		if e.gzip[l], err = flate.NewWriter(&e.out, level); err != nil {
			return dst[:at], fmt.Errorf("make gzip encoder: %w", err)
		}
	}
	_, err = e.gzip[l].Write(chunk)
	err = errors.Join(err, e.gzip[l].Close())
	b := e.out.b
	e.out.b = nil
	if err != nil {
		return dst[:at], fmt.Errorf("compress chunk with gzip: %w", err)
	}
	b = le.AppendUint32(b, crc32.ChecksumIEEE(chunk))
	b = le.AppendUint32(b, uint32(len(chunk)))
	le.PutUint32(b[at+gzipFixed+gzipExtra:], uint32(len(b)-at))
	return b, nil
}

func (d *Decoder) appendGzip(dst, frame []byte) ([]byte, error) {
	const head = gzipFixed + gzipExtra + 4
	if len(frame) < head+gzipEnd {
		return dst, fmt.Errorf("%w: gzip member of %d bytes", ErrDamaged, len(frame))
	}
	d.src.b = frame[head : len(frame)-gzipEnd]
	if d.gzip == nil {
		d.gzip = flate.NewReader(&d.src)
	} else if err := d.gzip.(flate.Resetter).Reset(&d.src, nil); err != nil {
		return dst, fmt.Errorf("reset gzip decoder: %w", err)
	}
	had := len(dst)
	dst, err := readAll(dst, d.gzip)
	if err != nil {
		return dst, err
	}
	end := frame[len(frame)-gzipEnd:]
	if len(d.src.b) > 0 || le.Uint32(end) != crc32.ChecksumIEEE(dst[had:]) || le.Uint32(end[4:]) != uint32(len(dst)-had) {
		return dst[:had], fmt.Errorf("%w: sum or length of the gzip member", ErrDamaged)
	}
	return dst, nil
}

// skipGzip adds empty members with pieces of a body. All but the first are of
// one length, so that a place in it can be found from its end.
func skipGzip(dst, body []byte) []byte {
	for len(body) > 0 {
		n := len(body) % gzipPiece
		if n == 0 {
			n = gzipPiece
		}
		dst = appendHead(dst, "RI", n)
		dst = append(dst, body[:n]...)
		dst = append(dst, 3, 0) // no data
		dst = le.AppendUint64(dst, 0)
		body = body[n:]
	}
	return dst
}

// gzipSkip is the length of a member with a piece of an index, 0 if b begins
// with something else.
func gzipSkip(b []byte) int {
	if len(b) < gzipFixed+gzipExtra || string(b[:gzipFixed]) != string(gzipHead) || string(b[gzipFixed+2:gzipFixed+4]) != "RI" {
		return 0
	}
	return gzipEmpty + int(le.Uint16(b[gzipFixed+4:]))
}

func measureGzip(b []byte) (n int, skip bool, err error) {
	if len(b) < gzipFixed+gzipExtra+4 {
		return 0, false, io.ErrUnexpectedEOF
	}
	if n := gzipSkip(b); n > 0 {
		n, err = whole(n, b)
		return n, true, err
	}
	n = int(le.Uint32(b[gzipFixed+gzipExtra:]))
	if string(b[:gzipFixed]) != string(gzipHead) || string(b[gzipFixed+2:gzipFixed+6]) != "RS\x04\x00" || n < gzipEmpty || n > 2*MaxPlain {
		return 0, false, fmt.Errorf("%w: gzip member without its length", ErrDamaged)
	}
	n, err = whole(n, b)
	return n, false, err
}

// ReadBack fills b with bytes of the body of the skippable frame at the end of a
// file of size bytes: those that begin back bytes before the end of the body.
func ReadBack(f io.ReaderAt, format Format, size, back int64, b []byte) error {
	if format != Gzip {
		_, err := f.ReadAt(b, size-int64(SkipTail(format))-back)
		return err
	}
	for len(b) > 0 {
		piece := (back - 1) / gzipPiece // counted from the end
		n := min(back-piece*gzipPiece, int64(len(b)))
		if _, err := f.ReadAt(b[:n], size-2-gzipEnd-piece*gzipEmpty-back); err != nil {
			return err
		}
		b, back = b[n:], back-n
	}
	return nil
}
