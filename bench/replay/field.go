package replay

import (
	"encoding/binary"
	"fmt"
)

// FieldKind is how a Field is written.
type FieldKind uint8

// Kinds of Field.
const (
	Uint16 FieldKind = iota // two bytes, big-endian
	Uint32                  // four bytes, big-endian
	Hex                     // eight lower-case hexadecimal digits
)

// size is how many bytes the kind takes.
func (k FieldKind) size() int { return [...]int{2, 4, 8}[k] }

// Field is a place that is different in every frame, so that few frames in
// memory are many on the wire. In the frame with number n it says
//
//	first + Step × (n / Each modulo Count)
//
// where first is what the frame holds there, for Hex 0.
type Field struct {
	At    int // offset in the frame
	Kind  FieldKind
	Each  uint32 // frames in a row that get the same value; 0: 1
	Count uint32 // how many values there are; 0: all
	Step  uint32 // from one value to the next; 0: 1
}

// maxFields is how many fields a frame can have.
const maxFields = 16

// checkFields makes sure that all fields lie within all frames.
func checkFields(fields []Field, frames []Frame) error {
	if len(fields) > maxFields {
		return fmt.Errorf("check fields: %d fields: at most %d", len(fields), maxFields)
	}
	for i, f := range fields {
		if f.Kind > Hex {
			return fmt.Errorf("check fields: field %d: no kind %d", i, f.Kind)
		}
		for j := range frames {
			if f.At < 0 || f.At+f.Kind.size() > len(frames[j].Data) {
				return fmt.Errorf("check fields: field %d is at byte %d, frame %d has %d bytes", i, f.At, j, len(frames[j].Data))
			}
		}
	}
	return nil
}

// value is how far the field has come in frame n.
func (f *Field) value(n uint64) uint32 {
	v := n / uint64(max(f.Each, 1))
	if f.Count != 0 {
		v %= uint64(f.Count)
	}
	return uint32(v) * max(f.Step, 1)
}

// put writes the field of frame number n into a copy of the frame.
func (f *Field) put(b []byte, l *layout, n uint64) {
	v := f.value(n)
	var w [8]byte
	switch f.Kind {
	case Uint16:
		binary.BigEndian.PutUint16(w[:], binary.BigEndian.Uint16(b[f.At:])+uint16(v))
	case Uint32:
		binary.BigEndian.PutUint32(w[:], binary.BigEndian.Uint32(b[f.At:])+v)
	case Hex:
		for i := range w {
			w[i] = "0123456789abcdef"[v>>(28-4*i)&15]
		}
	}
	l.replace(b, f.At, w[:f.Kind.size()])
}
