package pcap

import "slices"

// unknownLength is the length of a section that is not known yet.
const unknownLength = 1<<64 - 1

// lengthAt is where a section header says how long the section is behind it.
const lengthAt = 16

// AppendSection adds a section header. Its length is unknown until SetLength.
func AppendSection(b []byte, s *Section) []byte {
	at := len(b)
	b = le.AppendUint32(b, blockSection)
	b = le.AppendUint32(b, 0) // set by closeBlock
	b = le.AppendUint32(b, byteOrder)
	b = le.AppendUint16(b, 1) // version 1.0
	b = le.AppendUint16(b, 0)
	b = le.AppendUint64(b, unknownLength)
	fixed := len(b)
	b = appendOption(b, optComment, s.Comment)
	b = appendOption(b, shbHardware, s.Hardware)
	b = appendOption(b, shbOS, s.OS)
	b = appendOption(b, shbApp, s.App)
	return closeBlock(b, at, fixed)
}

// SetLength writes into the header of a section, which begins with b and is
// now whole, how long it is. Readers may then pass over it.
func SetLength(b []byte) {
	le.PutUint64(b[lengthAt:], uint64(len(b))-uint64(le.Uint32(b[4:])))
}

// SectionLength is the length of the section that b begins with, as its header
// says, with the header; b may end within the section. It is 0 if b holds no
// such header, or one that states no length.
func SectionLength(b []byte) int64 {
	if len(b) < lengthAt+8 || le.Uint32(b) != blockSection || le.Uint32(b[8:]) != byteOrder {
		return 0
	}
	header, behind := uint64(le.Uint32(b[4:])), le.Uint64(b[lengthAt:])
	if header < sectionFixed || behind > 1<<40 {
		return 0
	}
	return int64(header + behind)
}

// AppendInterface adds the description of the next interface of the section.
func AppendInterface(b []byte, i *Interface) []byte {
	at := len(b)
	b = le.AppendUint32(b, blockInterface)
	b = le.AppendUint32(b, 0)
	b = le.AppendUint16(b, uint16(i.Link))
	b = le.AppendUint16(b, 0)
	b = le.AppendUint32(b, i.Snap)
	fixed := len(b)
	b = appendOption(b, ifName, i.Name)
	b = append(b, ifResolution, 0, 1, 0, nanoseconds, 0, 0, 0)
	return closeBlock(b, at, fixed)
}

// InterfaceSize is the bytes that AppendInterface adds.
func InterfaceSize(i *Interface) int {
	n := 16 + 8 + 4 + 4
	if i.Name != "" {
		n += 4 + padded(len(i.Name))
	}
	return n
}

// AppendPacket adds an enhanced packet block.
func AppendPacket(b []byte, p *Packet) []byte {
	at, size := len(b), PacketSize(p)
	captured := len(p.Data) + p.inserted()
	b = slices.Grow(b, size)
	h := b[at : at+packetHead]
	le.PutUint64(h, blockPacket|uint64(size)<<32)
	le.PutUint64(h[8:], uint64(p.Iface)|uint64(p.Time)&^(1<<32-1)) // the time's upper half
	le.PutUint64(h[16:], uint64(uint32(p.Time))|uint64(captured)<<32)
	if p.Tag|uint32(p.Dir) == 0 && len(p.Comment) == 0 { // most packets
		b = b[:at+size]
		le.PutUint64(b[at+size-8:], uint64(size)<<32) // the padding, where there is some, comes before
		le.PutUint32(h[24:], p.wire())
		copy(b[at+packetHead:], p.Data)
		return b
	}
	le.PutUint32(h[24:], p.wire())
	b = b[:at+packetHead]
	b = pad(appendData(b, p), at)
	if p.Dir != Unknown {
		b = append(b, epbFlags, 0, 4, 0, byte(p.Dir), 0, 0, 0)
	}
	if len(p.Comment) > 0 {
		b = appendOption(b, optComment, p.Comment)
	}
	if p.Dir != Unknown || len(p.Comment) > 0 {
		b = le.AppendUint32(b, optEnd)
	}
	return le.AppendUint32(b, uint32(size))
}

// PacketSize is the bytes that AppendPacket adds.
func PacketSize(p *Packet) int {
	n := packetFixed + padded(len(p.Data)+p.inserted())
	if p.Dir != Unknown {
		n += 8
	}
	if len(p.Comment) > 0 {
		n += 4 + padded(min(len(p.Comment), maxOption))
	}
	if p.Dir != Unknown || len(p.Comment) > 0 {
		n += 4
	}
	return n
}

// appendOption adds an option that is not empty.
func appendOption[T string | []byte](b []byte, code uint16, value T) []byte {
	if len(value) == 0 {
		return b
	}
	value = value[:min(len(value), maxOption)]
	at := len(b)
	b = le.AppendUint16(b, code)
	b = le.AppendUint16(b, uint16(len(value)))
	return pad(append(b, value...), at)
}

// pad fills up what was added since at to four bytes.
func pad(b []byte, at int) []byte {
	for (len(b)-at)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

// closeBlock ends the options, if there are any behind the fixed part, and
// writes the length of the block that began at at into both its ends.
func closeBlock(b []byte, at, fixed int) []byte {
	if len(b) > fixed {
		b = le.AppendUint32(b, optEnd)
	}
	size := uint32(len(b) - at + 4)
	b = le.AppendUint32(b, size)
	le.PutUint32(b[at+4:], size)
	return b
}
