package replay

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
)

// ReadFile reads all frames of a capture file of Ethernet frames, pcap or pcapng.
func ReadFile(name string) ([]Frame, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("read capture: %w", err)
	}
	defer f.Close()
	frames, err := Read(f)
	if err != nil {
		return nil, fmt.Errorf("read capture %s: %w", name, err)
	}
	return frames, nil
}

// longestBlock is the most bytes a record or block may have.
const longestBlock = 1 << 20

// Read reads all frames of a capture.
func Read(from io.Reader) ([]Frame, error) {
	r, err := NewReader(from)
	if err != nil {
		return nil, err
	}
	var frames []Frame
	for {
		f, err := r.Next()
		if errors.Is(err, io.EOF) {
			return frames, nil
		}
		if err != nil {
			return nil, fmt.Errorf("after %d frames: %w", len(frames), err)
		}
		frames = append(frames, f)
	}
}

// Reader reads a capture frame by frame.
type Reader struct {
	in    *bufio.Reader
	order binary.ByteOrder
	next  func() (Frame, error)
	unit  int64   // pcap: ns in the unit of fractions
	units []int64 // pcapng: units of time in a second, of each interface
}

// NewReader reads the beginning of a capture.
func NewReader(from io.Reader) (*Reader, error) {
	r := &Reader{in: bufio.NewReaderSize(from, 1<<18)}
	head, err := r.in.Peek(4)
	if err != nil {
		return nil, errors.New("no capture: shorter than its header")
	}
	r.next = r.record
	switch magic := binary.LittleEndian.Uint32(head); magic {
	case 0xa1b2c3d4, 0xa1b23c4d:
		r.order = binary.LittleEndian
	case 0xd4c3b2a1, 0x4d3cb2a1:
		r.order = binary.BigEndian
	case 0x0a0d0d0a:
		r.next = r.block
	default:
		return nil, fmt.Errorf("no pcap or pcapng file: it begins with %#08x; unpack it, or convert it with editcap -F pcapng", magic)
	}
	if r.order != nil {
		if err := r.header(); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// Next reads a frame; behind the last one it returns io.EOF.
func (r *Reader) Next() (Frame, error) { return r.next() }

// bytes reads exactly n bytes; io.EOF only before the first of them.
func (r *Reader) bytes(n uint32) ([]byte, error) {
	if n > longestBlock {
		return nil, fmt.Errorf("a block of %d bytes is broken", n)
	}
	b := make([]byte, n)
	if m, err := io.ReadFull(r.in, b); err != nil && (m > 0 || !errors.Is(err, io.EOF)) {
		return nil, fmt.Errorf("the file ends in a block: %w", io.ErrUnexpectedEOF)
	} else if err != nil {
		return nil, io.EOF
	}
	return b, nil
}

// body is bytes of which the file must have all.
func (r *Reader) body(n uint32) ([]byte, error) {
	b, err := r.bytes(n)
	if errors.Is(err, io.EOF) && n > 0 {
		return nil, fmt.Errorf("the file ends in a block: %w", io.ErrUnexpectedEOF)
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return b, err
}

// header reads the header of a pcap file.
func (r *Reader) header() error {
	h, err := r.body(24)
	if err != nil {
		return err
	}
	r.unit = 1000
	if r.order.Uint32(h) == 0xa1b23c4d {
		r.unit = 1
	}
	return checkLink(r.order.Uint32(h[20:]) & 0xffff)
}

func checkLink(link uint32) error {
	if link != 1 {
		return fmt.Errorf("link type %d: only Ethernet (1) can be sent", link)
	}
	return nil
}

// record reads one record of a pcap file.
func (r *Reader) record() (Frame, error) {
	h, err := r.bytes(16)
	if err != nil {
		return Frame{}, err
	}
	data, err := r.body(r.order.Uint32(h[8:]))
	if err != nil {
		return Frame{}, err
	}
	t := int64(r.order.Uint32(h))*1e9 + int64(r.order.Uint32(h[4:]))*r.unit
	return Frame{t, data}, nil
}

// block reads blocks of a pcapng file, until one is a packet.
func (r *Reader) block() (Frame, error) {
	for {
		kind, b, err := r.whole()
		if err != nil {
			return Frame{}, err
		}
		switch kind {
		case 1:
			if err := r.iface(b); err != nil {
				return Frame{}, err
			}
		case 6:
			return r.packet(b)
		case 3:
			return Frame{}, errors.New("a simple packet block has no time; convert the file with editcap -F pcap")
		}
	}
}

// whole reads one block of a pcapng file.
func (r *Reader) whole() (kind uint32, body []byte, err error) {
	h, err := r.bytes(8)
	if err != nil {
		return 0, nil, err
	}
	if binary.LittleEndian.Uint32(h) == 0x0a0d0d0a { // the same in both orders
		magic, err := r.in.Peek(4)
		if err != nil {
			return 0, nil, io.ErrUnexpectedEOF
		}
		r.order = binary.LittleEndian
		if binary.BigEndian.Uint32(magic) == 0x1a2b3c4d {
			r.order = binary.BigEndian
		}
		r.units = nil
	}
	if r.order == nil || r.order.Uint32(h[4:]) < 12 {
		return 0, nil, errors.New("a block is broken")
	}
	b, err := r.body(r.order.Uint32(h[4:]) - 8)
	if err != nil {
		return 0, nil, err
	}
	return r.order.Uint32(h), b[:len(b)-4], nil // without the length again
}

// iface reads an interface description block: its link type and unit of time.
func (r *Reader) iface(b []byte) error {
	if len(b) < 8 {
		return errors.New("an interface block is broken")
	}
	unit := int64(1e6)
	for o := b[8:]; len(o) >= 4; {
		code, n := r.order.Uint16(o), int(r.order.Uint16(o[2:]))
		if code == 0 || 4+n > len(o) {
			break
		}
		if code == 9 && n == 1 { // if_tsresol
			v, base := o[4], int64(10)
			if v&0x80 != 0 {
				base = 2
			}
			unit = 1
			for range min(v&0x7f, 60) {
				if unit > 1<<60/base {
					return fmt.Errorf("times in parts of %d to the power of -%d seconds are too fine", base, v&0x7f)
				}
				unit *= base
			}
		}
		o = o[min(4+(n+3)&^3, len(o)):]
	}
	r.units = append(r.units, unit)
	return checkLink(uint32(r.order.Uint16(b)))
}

// packet reads an enhanced packet block.
func (r *Reader) packet(b []byte) (Frame, error) {
	if len(b) < 20 || uint64(r.order.Uint32(b)) >= uint64(len(r.units)) || uint64(r.order.Uint32(b[12:])) > uint64(len(b)-20) {
		return Frame{}, errors.New("a packet block is broken")
	}
	unit := r.units[r.order.Uint32(b)]
	t := int64(r.order.Uint32(b[4:]))<<32 | int64(r.order.Uint32(b[8:]))
	// Not t*1e9/unit, which overflows.
	ns := t/unit*1e9 + int64(float64(t%unit)/float64(unit)*1e9+0.5)
	n := r.order.Uint32(b[12:])
	return Frame{ns, b[20 : 20+n : 20+n]}, nil
}
