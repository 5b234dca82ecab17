// Package stream puts SIP together that comes on streams: over TCP, in TLS, in
// WebSocket frames (RFC 7118) of both, and over SCTP.
//
// A Table takes the segments of many flows in the order of their clocks. It
// brings each direction into order, finds out what the flow carries by how it
// begins, cuts the bytes into messages, and emits each one as soon as its last
// byte is there. Most flows carry no SIP. They cost a look-up and 64 bytes.
//
// # What is captured is not what was received
//
// A receiver gets every byte in the end. An observer does not: the capture
// begins in the middle, loses packets, sees one direction alone. So a hole in a
// direction is either filled by a late segment or given up, as soon as one of
// these holds:
//
//   - the peer acknowledged what lies beyond it, and ackGrace has passed: it was
//     lost to us alone
//   - the snap length cut it off
//   - more bytes wait behind it than Options.MaxFlowBytes
//   - nothing moved on for Options.ReorderTimeout
//
// What comes behind a lost hole is read from the next start line on. A message
// with a hole in its body is emitted without the rest of the body, marked Cut;
// one with a hole in its header section is dropped, and counted.
//
// # Order
//
// Everything is a function of the packets and their clocks. A timer fires
// before the first packet whose clock has reached its deadline. Messages are
// emitted in the order of their clocks.
//
// # Memory
//
// Flows, and the bytes they hold, are bounded. What has to go to make room is
// counted, and hits what lay still for longest first; flows with SIP go last.
// Records of TLS of which not everything has come count as well; connections
// whose handshake is not over are bounded by number.
package stream

import (
	"cmp"
	"math/rand/v2"
	"time"

	"ringside/dataplane/frame"
	"ringside/flow/record"
	"ringside/flow/sctp"
	"ringside/flow/sip"
	"ringside/flow/tls"
)

// Options of a Table. Zero values stand for the defaults.
type Options struct {
	MaxFlows     int   // TCP flows known at one time; 131,072
	MaxBytes     int64 // buffers of all flows together, after each packet, and as much again for TLS handshakes; 64 MiB
	MaxFlowBytes int   // bytes of one direction that wait behind a hole; 256 KiB
	MaxMessage   int   // longest SIP message in bytes; 128 KiB

	IdleTimeout    time.Duration // after which a silent flow is forgotten; 1 h
	ReorderTimeout time.Duration // for which a hole, or the rest of a message, is waited for; 1 min

	Keys *tls.Keys // nil: nothing is decrypted
	Emit func(*Message)
}

const (
	defaultFlows     = 1 << 17
	defaultBytes     = 64 << 20
	defaultFlowBytes = 256 << 10
	defaultMessage   = 128 << 10
	defaultIdle      = time.Hour
	defaultReorder   = time.Minute
)

// linger is for how long a flow is known after its end, so that late
// retransmissions do not look like another one.
const linger = int64(time.Minute)

// ackGrace is for how long a hole is waited for that the peer does not have: a
// mirror port may show an acknowledgment before what it acknowledges. It is less
// than a peer takes to answer, as what comes behind the hole must not be read
// after the answer to it.
const ackGrace = int64(1 * time.Millisecond)

// Message is one SIP message. It is borrowed: it and its bytes are valid during
// the call of Emit.
type Message struct {
	Data      []byte // from the first byte of the start line on: the message and nothing else
	Src, Dst  frame.Endpoint
	Transport record.Transport
	Cut       bool // bytes of the body are missing

	// Packet is the packet that completed the message, without its payload.
	// Where a message waited for a hole that was then given up, Clock is when
	// that was, and Time when its own last byte came. Where that was not upon
	// a packet of its own direction, Tunnel is 0.
	Packet *frame.Packet

	// Kept are the frames that the message came in, as far as copies of them are
	// kept (frame.Packet.Kept): the last ones if they are very many.
	Kept []frame.Kept
}

// Table is the streams of one shard. It must not be used by two goroutines at a
// time.
type Table struct {
	options Options
	stats   Stats

	clock     int64  // of the last packet or timer
	lastClock int64  // of the last packet
	lastSeq   uint64 // of the last packet
	due       int64  // no timer is due before this clock
	index     []slot
	flows     [][]flow
	free      []uint32 // flows not in use
	used      int
	order     [numLists]list // flows by when they were last seen
	wait      queue          // directions that hold bytes
	proofs    queue          // directions with a hole that the peer does not have
	conns     []*conn        // in use, and spare ones that can be used again
	spare     []uint32

	opening     connList // TLS of which nothing is decrypted yet, by when it began
	maxOpening  int
	sealed      connList // TLS that is decrypted and holds bytes, by when it last moved on
	sealedBytes int64
	buffers     buffers
	seed        uint64 // keeps strangers from choosing slots; results do not depend on it
	sctp        *sctp.Table

	// What is being worked on.
	now      frame.Packet // the packet, or what stands for it when a timer fires
	from     *half        // the direction that now came in, nil for a timer
	reading  *half        // whose plaintext TLS gives
	message  Message
	shown    frame.Packet // that message points to
	parsed   sip.Message
	carriers []frame.Kept // of message
	unmask   []byte

	// Bound once, so that passing them allocates nothing.
	plainText   func([]byte)
	sctpMessage func(*sctp.Message)
}

// New makes a table.
func New(o Options) *Table {
	o.MaxFlows = cmp.Or(o.MaxFlows, defaultFlows)
	o.MaxBytes = cmp.Or(o.MaxBytes, defaultBytes)
	o.MaxFlowBytes = cmp.Or(o.MaxFlowBytes, defaultFlowBytes)
	o.MaxMessage = cmp.Or(o.MaxMessage, defaultMessage)
	o.IdleTimeout = cmp.Or(o.IdleTimeout, defaultIdle)
	o.ReorderTimeout = cmp.Or(o.ReorderTimeout, defaultReorder)
	if o.Emit == nil {
		o.Emit = func(*Message) {}
	}
	t := &Table{options: o, index: make([]slot, 1024), seed: rand.Uint64(), maxOpening: max(16, int(o.MaxBytes/openingBytes)), sctp: sctp.New(sctp.Limits{})}
	for i := range t.order {
		t.order[i] = list{oldest: none, newest: none}
	}
	t.wait.number, t.proofs.number = queueWait, queueProof
	t.plainText = t.plain
	t.sctpMessage = t.datagram
	return t
}

// Packet takes a packet of TCP or SCTP.
func (t *Table) Packet(p *frame.Packet) {
	if p.Clock >= t.due {
		t.Advance(p.Clock)
	}
	t.clock = max(t.clock, p.Clock)
	t.lastClock, t.lastSeq = t.clock, p.Seq
	if p.Proto == frame.ProtoTCP {
		*t.stats.kind(t.segment(p))++
	} else {
		*t.stats.kind(t.chunks(p))++
	}
	for t.buffers.used+t.sealedBytes > t.options.MaxBytes && (t.wait.first != nil || t.sealed.first != nil) {
		if t.wait.first == nil || t.sealed.first != nil && t.sealedBytes > t.buffers.used {
			t.release()
		} else {
			t.relieve()
		}
	}
	if t.opening.len > t.maxOpening {
		t.limitOpening()
	}
}

// Advance fires the timers whose deadline is not later than clock.
func (t *Table) Advance(clock int64) {
	t.sctp.Expire(clock)
	for t.due <= clock {
		if !t.fire(clock) {
			return
		}
	}
}
