// Package meter measures RTP streams: one Hot and one Cold per SSRC on a flow,
// fed with every packet in capture order.
//
// It is the Go implementation of docs/design/meter.md, an integer state machine
// that a kernel program can follow with equal counters, bit for bit; names here
// are those of that page. What floats (milliseconds, MOS) is computed when a
// stream is read (Finish), and once per 10 s.
//
// Hot and Cold are plain data without pointers. A table keeps them in two
// arrays: a clean packet touches Hot only. The zero values are a stream before
// its first packet. A stream belongs to one goroutine.
package meter

import "ringside/flow/quality"

// Constants of the state machine; the page says why.
const (
	window     = 64
	maxDropout = 1000
	interval   = 10_000_000_000 // ns
	maxSkew    = 4_000_000_000  // ns
	talkSkew   = 300_000_000    // ns
	block      = 128            // timed packets
	depthF1    = 50_000_000     // ns
	depthF2    = 200_000_000    // ns
	depthMax   = 500_000_000    // ns
	adMargin   = 50_000_000     // ns
	adShift    = 9
	minRate    = 1_000   // Hz
	maxRate    = 384_000 // Hz
)

// Class is what a packet carries.
type Class uint8

// Classes of packets.
const (
	Media   Class = iota
	Event         // telephone-event, RFC 4733
	Comfort       // comfort noise, RFC 3389
)

// Packet is one RTP packet of a stream.
type Packet struct {
	Time   int64  // arrival, ns since the Unix epoch
	TS     uint32 // RTP timestamp
	Len    uint32 // payload octets on the wire, without padding
	Rate   uint32 // clock rate of Type, Hz; 0: unknown
	Seq    uint16
	Type   uint8 // payload type
	Class  Class
	Marker bool
}

// Flags of Hot. The low four bits say in which views a run of bad numbers is
// open.
const (
	flagRuns      = 0x0f
	flagCandidate = 0x10
	flagAnchored  = 0x20
	flagConfirmed = 0x40
)

// Views of a sequence number: what is bad in it.
const (
	viewNet   = iota // never received
	viewF1           // or late for the fixed 50 ms buffer
	viewF2           // or late for the fixed 200 ms buffer
	viewAdapt        // or late for the adaptive buffer
	views
)

// Hot is the part of a stream's state that every packet touches: 152 bytes,
// which with a 40-byte key are three cache lines.
type Hot struct {
	recv      uint64    // bit i: number highest-i was received
	late      [3]uint64 // bit i: number highest-i came too late for F1, F2, adaptive
	last      int64     // largest arrival, ns
	anchor    int64     // arrival of the last timed packet, ns
	end       int64     // end of the running interval, ns
	transit   int64     // sum of D, ns
	jitter    uint64    // RFC 3550 A.8, ns × 16
	jitterSum uint64    // ns
	bytes     uint64
	gapMax    uint64 // ns
	highest   uint32 // extended sequence number
	anchorTS  uint32 // timestamp of the last timed packet
	period    uint32 // ns per tick × 4096
	rate      uint32 // Hz, of period
	cur       uint32 // transit above this block's minimum, ns
	prev      uint32 // transit above the last block's minimum, ns
	spread    uint32 // recent peak of the deviation, ns
	packets   uint32
	timed     uint32
	jitterMax uint32 // ns
	gapMin    uint32 // ns, saturated
	step      uint32 // voted timestamp step, ticks
	ptVotes   uint32
	pt        uint8 // voted payload type
	lastPT    uint8
	stepVotes uint8
	flags     uint8
}

// Cold is the rest: touched by what is not a clean packet, by the first 64
// numbers of an epoch, every 128th packet and every 10 s.
type Cold struct {
	first     int64  // first arrival, ns
	base      uint32 // lowest extended number of the epoch
	closed    uint32 // expected of closed epochs
	duplicate uint32
	reordered uint32
	stray     uint32
	resets    uint32
	markers   uint32
	events    uint32
	comfort   uint32
	bad       [views]uint32
	bursts    [views]uint32
	run       uint32 // open run of the network view
	runHist   [10]uint32
	runMax    uint32
	delay     [8]uint32 // classes 1..7
	cand      uint16    // sequence number of the candidate
	skewN     uint32
	skewT     [2]int64 // lowest transit of the first and the last block, ns
	skewA     [2]int64 // and when the block ended

	// Of the interval: the counters at the end of the last one, and what
	// quality has made of those before.
	markExits  uint32
	markBad    [views]uint32
	markBursts [views]uint32
	pending    uint32 // ms whose numbers have not left the window
	intervals  uint32 // closed so far; those without a packet do not exist
	quality    quality.Average
}

// Started reports whether the stream has seen a packet.
func (h *Hot) Started() bool { return h.packets > 0 }

// Packets is the number of packets so far, duplicates included.
func (h *Hot) Packets() uint32 { return h.packets }

// Last is the latest arrival, ns since the Unix epoch.
func (h *Hot) Last() int64 { return h.last }

// Highest is the extended highest sequence number; 0 before the first packet.
func (h *Hot) Highest() uint32 { return h.highest }

// MaxDropout is the largest step of sequence numbers that is a loss.
const MaxDropout = maxDropout

// Confirmed reports whether two packets have followed each other in order with
// neighbouring numbers, which is taken for proof of RTP (RFC 3550 A.1). No
// counter depends on it.
func (h *Hot) Confirmed() bool { return h.flags&flagConfirmed != 0 }

// kind is what a packet is to the sequence.
type kind uint8

const (
	forward   kind = iota // a new highest number
	behind                // reordered, inside the window
	duplicate             //
	held                  // a jump that its successor must confirm
)

// Packet counts p. It allocates nothing.
func (h *Hot) Packet(c *Cold, p *Packet) {
	if h.packets == 0 {
		h.start(c, p)
		return
	}
	if p.Time >= h.end {
		h.closeInterval(c, p.Time)
	}
	gap := p.Time - h.last
	if gap < 0 {
		gap = 0
	} else {
		h.last = p.Time
	}
	h.gapMax = max(h.gapMax, uint64(gap))
	h.gapMin = uint32(min(uint64(h.gapMin), uint64(gap)))
	h.packets++
	h.bytes += uint64(p.Len)

	d := int32(int16(p.Seq - uint16(h.highest)))
	k := forward
	if d == 1 && h.flags&(flagRuns|flagCandidate) == 0 &&
		int64(h.recv) < 0 && int64(h.late[0]|h.late[1]|h.late[2]) >= 0 {
		// The number that leaves the window is good, after a good one.
		h.recv = h.recv<<1 | 1
		h.late[0] <<= 1
		h.late[1] <<= 1
		h.late[2] <<= 1
		h.highest++
		h.flags |= flagConfirmed
	} else {
		k = h.sequence(c, p.Seq, d)
	}
	if k <= behind && p.Class == Media && !p.Marker {
		h.media(c, p, d, k)
		return
	}
	h.content(c, p, d, k)
}

// start takes the first packet of the stream.
func (h *Hot) start(c *Cold, p *Packet) {
	c.first = p.Time
	c.base = 65536 + uint32(p.Seq)
	h.last = p.Time
	h.end = p.Time + interval
	h.highest = c.base
	h.recv = 1
	h.gapMin = 1<<32 - 1
	h.packets = 1
	h.bytes = uint64(p.Len)
	h.content(c, p, 0, forward)
}

// content counts what the packet carries, and times it.
func (h *Hot) content(c *Cold, p *Packet, d int32, k kind) {
	if k == duplicate {
		return
	}
	if p.Marker {
		c.markers++
	}
	if p.Class != Media {
		if p.Class == Event {
			c.events++
		} else {
			c.comfort++
		}
		return
	}
	if k != held {
		h.media(c, p, d, k)
	}
}
