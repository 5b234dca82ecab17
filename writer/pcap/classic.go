package pcap

import "ringside/dataplane/frame"

const (
	classicMagic = 0xA1B23C4D // nanoseconds
	classicSnap  = 256 << 10
)

// AppendFileHeader adds the header of a classic pcap file with nanoseconds.
func AppendFileHeader(b []byte, link frame.LinkType) []byte {
	b = le.AppendUint32(b, classicMagic)
	b = le.AppendUint16(b, 2) // version 2.4
	b = le.AppendUint16(b, 4)
	b = le.AppendUint64(b, 0) // time zone and accuracy, always 0
	b = le.AppendUint32(b, classicSnap)
	return le.AppendUint32(b, uint32(link))
}

// AppendRecord adds a packet of a classic pcap file. Its seconds have 32 bits,
// which end in the year 2106.
func AppendRecord(b []byte, p *Packet) []byte {
	t := max(p.Time, 0)
	b = le.AppendUint32(b, uint32(t/1e9))
	b = le.AppendUint32(b, uint32(t%1e9))
	b = le.AppendUint32(b, uint32(len(p.Data)+p.inserted()))
	b = le.AppendUint32(b, p.wire())
	return appendData(b, p)
}
