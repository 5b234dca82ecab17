package ring

import (
	"encoding/binary"

	"ringside/dataplane/frame"
)

// Where things lie in a block: struct tpacket_block_desc with tpacket_hdr_v1 in
// it (include/uapi/linux/if_packet.h). All are 32 bits in host order, but for
// the sequence number.
const (
	blockStatus  = 8  // TP_STATUS_…; who stores it gives the block to the other side
	blockPackets = 12 // frames in the block
	blockFirst   = 16 // offset of the first frame's header
	blockSeq     = 24 // 64 bits: number of the block since the ring was made
	blockHeader  = 48 // what is before the first frame at least
)

// Where things lie in a frame's header: struct tpacket3_hdr.
const (
	headNext   = 0  // 32 bits: offset of the next header, from this one
	headSec    = 4  // 32 bits: arrival, seconds since the Unix epoch
	headNsec   = 8  // 32 bits
	headSnap   = 12 // 32 bits: bytes captured
	headLen    = 16 // 32 bits: bytes on the wire
	headStatus = 20 // 32 bits
	headMAC    = 24 // 16 bits: offset of the frame, from this header
	headTCI    = 32 // 32 bits: tag that was taken out of the frame
	headTPID   = 36 // 16 bits: and its ethertype
	headSize   = 48 // then a sockaddr_ll of 20 bytes, which nobody reads
)

// Where things lie in a note: struct rs_note (bpf/include/types.h).
const (
	noteType  = 12 // 16 bits, network order
	noteFlags = 14 // 16 bits
	noteMagic = 16 // 32 bits
	noteLen   = 20 // 32 bits: bytes on the wire, without the note
	noteTime  = 24 // 64 bits: arrival, ns since the Unix epoch
	noteSize  = 32

	noteEthertype  = 0x88b5
	noteMagicValue = 0x52535631
	noteMetered    = 1
)

// noteSkew is how far the time in a note may be from the kernel's own stamp, ns.
// The two are nanoseconds apart, or a queue's delay. More says that somebody on
// the wire made the note up. Its time is not believed then, nor is a length that
// no frame has: one frame far in the future would hold up every timer.
const noteSkew = int64(1e9)

const (
	tagSize  = 4      // of an IEEE 802.1Q tag
	tagAt    = 12     // where it belongs: behind the two addresses
	tagPlain = 0x8100 // its ethertype where the kernel does not say
)

var host = binary.NativeEndian

// walker goes through the frames of one block. It believes no length before it
// has compared it with the block's.
type walker struct {
	block   []byte
	at      uint64 // offset of the next header
	left    uint32 // frames not taken yet
	damaged uint32 // frames that could not be found
	notes   uint32 // notes taken off
	snap    uint32 // longest frame that is wanted, bytes
	link    frame.LinkType
}

// enter begins a block.
func (w *walker) enter(block []byte) {
	w.block = block
	w.at = uint64(host.Uint32(block[blockFirst:]))
	w.left = host.Uint32(block[blockPackets:])
}

// take sets f to the next frame: its time, bytes, length on the wire and link
// type, and whether it was metered. It reports false when the block is damaged,
// and is then at its end.
func (w *walker) take(f *frame.Frame) bool {
	size := uint64(len(w.block))
	if w.at < blockHeader || w.at+headSize > size {
		return w.damage()
	}
	h := w.block[w.at : w.at+headSize : w.at+headSize]
	mac, snap := uint64(host.Uint16(h[headMAC:])), uint64(host.Uint32(h[headSnap:]))
	from, to := w.at+mac, w.at+mac+snap
	if mac < headSize || to > size {
		return w.damage()
	}
	*f = frame.Frame{
		Time: int64(host.Uint32(h[headSec:]))*1e9 + int64(host.Uint32(h[headNsec:])),
		Len:  host.Uint32(h[headLen:]),
		Link: w.link,
	}
	if w.link == frame.LinkEthernet {
		from += w.note(f, w.block[from:to])
		from -= w.tag(f, h, from, to)
	}
	f.Data = w.block[from : from+min(to-from, uint64(w.snap)) : to]

	w.left--
	if w.left > 0 {
		next := uint64(host.Uint32(h[headNext:]))
		if next < headSize { // would not go on
			w.damage()
		}
		w.at += next
	}
	return true
}

// damage gives up what is left of the block.
func (w *walker) damage() bool {
	w.damaged += w.left
	w.left = 0
	return false
}

// note takes the filter's note off a frame, and returns its size.
func (w *walker) note(f *frame.Frame, data []byte) uint64 {
	if len(data) < noteSize ||
		binary.BigEndian.Uint16(data[noteType:]) != noteEthertype ||
		host.Uint32(data[noteMagic:]) != noteMagicValue {
		return 0
	}
	w.notes++
	f.Len = uint32(len(data) - noteSize)
	if n := host.Uint32(data[noteLen:]); n > f.Len && n < wholeFrame {
		f.Len = n
	}
	f.Metered = host.Uint16(data[noteFlags:])&noteMetered != 0
	if t := int64(host.Uint64(data[noteTime:])); t > f.Time-noteSkew && t < f.Time+noteSkew {
		f.Time = t
	}
	return noteSize
}

// tag puts back the VLAN tag that the interface or the kernel took out of a
// frame, and returns by how much the frame begins earlier. The room in front is
// that of the sockaddr_ll, or of the note: only the two addresses move.
func (w *walker) tag(f *frame.Frame, h []byte, from, to uint64) uint64 {
	status := host.Uint32(h[headStatus:])
	if status&tpStatusVLANValid == 0 || to-from < tagAt || from < w.at+headSize+tagSize {
		return 0
	}
	ethertype := uint16(tagPlain)
	if status&tpStatusVLANTPIDValid != 0 {
		ethertype = host.Uint16(h[headTPID:])
	}
	b := w.block[from-tagSize : from+tagAt : from+tagAt]
	copy(b, b[tagSize:])
	binary.BigEndian.PutUint16(b[tagAt:], ethertype)
	binary.BigEndian.PutUint16(b[tagAt+2:], uint16(host.Uint32(h[headTCI:])))
	f.Len += tagSize
	return tagSize
}
