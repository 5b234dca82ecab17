package pcap

import (
	"errors"
	"fmt"

	"ringside/dataplane/frame"
)

// ErrDamaged says that a section is not as this package writes it.
var ErrDamaged = errors.New("damaged pcapng section")

// Reader reads the packets of one section that this package has written and
// that is whole in memory. The zero value reads nothing until Reset.
type Reader struct {
	Comment []byte      // of the section; borrowed
	Ifaces  []Interface // those described so far

	b   []byte
	at  int
	err error
}

// Reset begins to read a section.
func (r *Reader) Reset(section []byte) error {
	r.Comment, r.Ifaces, r.b, r.at, r.err = nil, r.Ifaces[:0], section, 0, nil
	kind, body, ok := r.block()
	if !ok || kind != blockSection || len(body) < 16 || le.Uint32(body) != byteOrder {
		return r.fail("no section header")
	}
	eachOption(body[16:], func(code uint16, value []byte) {
		if code == optComment && r.Comment == nil {
			r.Comment = value
		}
	})
	return nil
}

// Next reads a packet. It returns false at the end and where the section is
// damaged, which Err tells apart. The packet borrows from the section.
func (r *Reader) Next(p *Packet) bool {
	for r.err == nil && r.at < len(r.b) {
		kind, body, ok := r.block()
		switch {
		case !ok:
			_ = r.fail("block length")
		case kind == blockInterface:
			r.iface(body)
		case kind == blockPacket:
			return r.packet(p, body)
		case kind == blockSection:
			_ = r.fail("a second section")
		}
	}
	return false
}

// Err is what was wrong with the section.
func (r *Reader) Err() error { return r.err }

func (r *Reader) fail(what string) error {
	r.err = fmt.Errorf("%w: %s at byte %d", ErrDamaged, what, r.at)
	return r.err
}

// block takes the next block apart.
func (r *Reader) block() (kind uint32, body []byte, ok bool) {
	b := r.b[r.at:]
	if len(b) < 12 {
		return 0, nil, false
	}
	size := le.Uint32(b[4:])
	if size < 12 || size%4 != 0 || uint64(size) > uint64(len(b)) || le.Uint32(b[size-4:]) != size {
		return 0, nil, false
	}
	r.at += int(size)
	return le.Uint32(b), b[8 : size-4], true
}

func (r *Reader) iface(body []byte) {
	if len(body) < 8 {
		_ = r.fail("interface")
		return
	}
	i := Interface{Link: frame.LinkType(le.Uint16(body)), Snap: le.Uint32(body[4:])}
	resolution := byte(6) // what holds without the option
	eachOption(body[8:], func(code uint16, value []byte) {
		switch {
		case code == ifName:
			i.Name = string(value)
		case code == ifResolution && len(value) == 1:
			resolution = value[0]
		}
	})
	if resolution != nanoseconds {
		_ = r.fail("time resolution")
		return
	}
	r.Ifaces = append(r.Ifaces, i)
}

func (r *Reader) packet(p *Packet, body []byte) bool {
	if len(body) < 20 {
		_ = r.fail("packet")
		return false
	}
	captured, iface := le.Uint32(body[12:]), le.Uint32(body)
	if uint64(captured) > uint64(len(body)-20) || uint64(iface) >= uint64(len(r.Ifaces)) {
		_ = r.fail("packet")
		return false
	}
	*p = Packet{
		Time:  int64(uint64(le.Uint32(body[4:]))<<32 | uint64(le.Uint32(body[8:]))),
		Data:  body[20 : 20+captured],
		Len:   le.Uint32(body[16:]),
		Iface: uint16(iface),
	}
	// A loop without a closure: this runs for every packet that is fetched.
	for o := body[min(20+padded(int(captured)), len(body)):]; ; {
		code, value, rest, ok := option(o)
		if !ok {
			return true
		}
		switch {
		case code == optComment:
			p.Comment = value
		case code == epbFlags && len(value) == 4:
			p.Dir = Direction(value[0] & 3)
		}
		o = rest
	}
}

// option takes the first option off b.
func option(b []byte) (code uint16, value, rest []byte, ok bool) {
	if len(b) < 4 || le.Uint16(b) == optEnd {
		return 0, nil, nil, false
	}
	size := int(le.Uint16(b[2:]))
	if 4+padded(size) > len(b) {
		return 0, nil, nil, false
	}
	return le.Uint16(b), b[4 : 4+size], b[4+padded(size):], true
}

func eachOption(b []byte, f func(code uint16, value []byte)) {
	for {
		code, value, rest, ok := option(b)
		if !ok {
			return
		}
		f(code, value)
		b = rest
	}
}
