// Package pcap writes packets as Wireshark reads them: pcapng sections
// (draft-ietf-opsawg-pcapng) and classic pcap with nanoseconds, and reads back
// the sections that it has written.
//
// The Append functions add one block to a buffer and allocate nothing if the
// buffer has room; PacketSize says how much room a packet takes. Writer streams
// to an io.Writer with them. All is little endian.
package pcap

import (
	"encoding/binary"

	"ringside/dataplane/frame"
)

// Direction of a packet as the capturing interface saw it (epb_flags, bits 0-1).
type Direction uint8

// Directions.
const (
	Unknown Direction = iota
	Inbound
	Outbound
)

// Packet is one captured frame. Data and Comment are borrowed.
type Packet struct {
	Time    int64     // ns since the Unix epoch
	Data    []byte    // captured bytes from the link-layer header on
	Comment []byte    // the key of the call; empty for none; pcapng only
	Len     uint32    // bytes on the wire; more than len(Data) if cut
	Tag     uint32    // VLAN tag that was stripped: TPID<<16 | TCI; 0 for none; Ethernet only
	Iface   uint16    // index of the interface in its section
	Dir     Direction // pcapng only
}

// Interface is what a section says of one interface.
type Interface struct {
	Name string // if_name; empty for none
	Link frame.LinkType
	Snap uint32 // most bytes of a frame; 0: no limit
}

// Section is what a section says of the capture as a whole. Empty fields are
// not written.
type Section struct {
	Hardware string // shb_hardware
	OS       string // shb_os
	App      string // shb_userappl
	Comment  string // opt_comment; the spool puts the key of the call here
}

// Types of blocks.
const (
	blockSection   = 0x0A0D0D0A
	blockInterface = 1
	blockPacket    = 6
)

// Codes of options.
const (
	optEnd       = 0
	optComment   = 1
	shbHardware  = 2
	shbOS        = 3
	shbApp       = 4
	ifName       = 2
	ifResolution = 9
	epbFlags     = 2
)

const (
	byteOrder    = 0x1A2B3C4D
	nanoseconds  = 9      // if_tsresol: 10^-9 s
	maxOption    = 0xFFFC // bytes of one option, padded
	packetFixed  = 32     // bytes of a packet block without data and options
	packetHead   = 28     // of these, in front of the data
	sectionFixed = 28
	macBytes     = 12 // destination and source address, in front of a VLAN tag
	tagBytes     = 4
)

var le = binary.LittleEndian

func padded(n int) int { return (n + 3) &^ 3 }

// inserted is the bytes that putting back the VLAN tag adds.
func (p *Packet) inserted() int {
	if p.Tag != 0 && len(p.Data) >= macBytes {
		return tagBytes
	}
	return 0
}

// wire is the length on the wire, the tag included.
func (p *Packet) wire() uint32 { return max(p.Len, uint32(len(p.Data))) + uint32(p.inserted()) }

// appendData adds the captured bytes with the tag in its place.
func appendData(b []byte, p *Packet) []byte {
	if p.inserted() == 0 {
		return append(b, p.Data...)
	}
	b = append(b, p.Data[:macBytes]...)
	b = binary.BigEndian.AppendUint32(b, p.Tag)
	return append(b, p.Data[macBytes:]...)
}
