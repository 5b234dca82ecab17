package pcap

import (
	"fmt"
	"io"

	"ringside/dataplane/frame"
)

// Format is a format of capture files.
type Format uint8

// Formats.
const (
	PcapNG  Format = iota
	Classic        // pcap with nanoseconds
)

// writeSize is from how many bytes on a Writer writes.
const writeSize = 256 << 10

// Writer streams a capture file to an io.Writer. It belongs to one goroutine.
type Writer struct {
	to     io.Writer
	buf    []byte
	ifaces []Interface
	format Format
	begun  bool
	err    error // the first one; nothing is written after it
}

// NewWriter begins a file. Nothing is written before the first Flush, or
// writeSize bytes.
func NewWriter(to io.Writer, format Format, s *Section) *Writer {
	w := &Writer{to: to, format: format, buf: make([]byte, 0, writeSize+(128<<10))}
	if format == PcapNG {
		w.buf = AppendSection(w.buf, s)
	}
	return w
}

// Interface is the index of an interface in the file. It is described when it
// is named first. A classic file has one link type: another is an error.
func (w *Writer) Interface(i Interface) (uint16, error) {
	if w.format == Classic {
		if len(w.ifaces) > 0 && w.ifaces[0].Link != i.Link {
			return 0, fmt.Errorf("write pcap: packets of link types %d and %d cannot be in one pcap file: choose pcapng", w.ifaces[0].Link, i.Link)
		}
		if len(w.ifaces) == 0 {
			w.ifaces = append(w.ifaces, i)
			w.header(i.Link)
		}
		return 0, nil
	}
	for n := range w.ifaces {
		if w.ifaces[n] == i {
			return uint16(n), nil
		}
	}
	if len(w.ifaces) > 0xFFFF {
		return 0, fmt.Errorf("write pcapng: more than %d interfaces in one section", 0xFFFF)
	}
	w.ifaces = append(w.ifaces, i)
	w.buf = AppendInterface(w.buf, &i)
	return uint16(len(w.ifaces) - 1), nil
}

func (w *Writer) header(link frame.LinkType) {
	if !w.begun {
		w.buf, w.begun = AppendFileHeader(w.buf, link), true
	}
}

// Write adds a packet, whose Iface is what Interface returned.
func (w *Writer) Write(p *Packet) error {
	if w.err != nil {
		return w.err
	}
	if int(p.Iface) >= len(w.ifaces) {
		return fmt.Errorf("write packet: interface %d was not described", p.Iface)
	}
	if w.format == Classic {
		w.buf = AppendRecord(w.buf, p)
	} else {
		w.buf = AppendPacket(w.buf, p)
	}
	if len(w.buf) >= writeSize {
		return w.Flush()
	}
	return nil
}

// Flush writes what there is. A classic file without packets is one of
// Ethernet.
func (w *Writer) Flush() error {
	if w.err != nil {
		return w.err
	}
	if w.format == Classic {
		w.header(frame.LinkEthernet)
	}
	if len(w.buf) == 0 {
		return nil
	}
	if _, err := w.to.Write(w.buf); err != nil {
		w.err = fmt.Errorf("write capture: %w", err)
	}
	w.buf = w.buf[:0]
	return w.err
}
