// Package decode turns frames into packets: from the link-layer header to the
// payload of the transport protocol.
//
// A Decoder walks the frames of a batch and writes one frame.Packet for each
// UDP, TCP or SCTP datagram. Every frame that yields no packet is counted under
// exactly one Reason, so that
//
//	frames = packets + Σ reasons
//
// holds at any time (the ledger). What is worth knowing about a frame without
// being a reason to leave it out is a Note, counted beside the ledger.
//
// Packets borrow the bytes of their frames: they live as long as the batch.
//
// # Layers
//
// walk reads the layers below the transport header, one function per layer.
// Ethernet II, 802.3 with LLC and SNAP, 802.1Q and 802.1ad tags, Linux cooked
// capture, raw IP and BSD loopback lead to IPv4 and IPv6, and these to a
// transport protocol. Tunnels are named and counted, not opened; fragments are
// not put together.
//
// # What a packet needs, and what may be missing
//
// A packet has its whole transport header. Its payload may be incomplete:
// len(Payload) < Len says so, and the flags say why. FlagCut means that bytes
// of this very frame are missing from the capture: by the snap length, or by
// something upstream that slices packets. FlagFragment marks the first fragment
// of a datagram: Payload ends with the fragment, while Len is that of the whole
// datagram for UDP, whose header knows it, and that of the fragment for TCP and
// SCTP. A first fragment has FlagCut only if bytes of the fragment itself are
// missing.
package decode

import (
	"slices"

	"ringside/dataplane/frame"
)

// Decoder decodes the frames of one worker. It must not be used by two
// goroutines at a time, and that includes Stats. The zero Decoder is ready.
type Decoder struct {
	stats Stats
}

// Batch decodes b.Frames into b.Packets, replacing what was there. It allocates
// only when b.Packets has not the capacity for a packet per frame.
func (d *Decoder) Batch(b *frame.Batch) {
	packets := slices.Grow(b.Packets[:0], len(b.Frames))[:len(b.Frames)]
	n := 0
	for i := range b.Frames {
		f := &b.Frames[i]
		var h headers
		r := walk(f, &h)
		if r == none {
			r = transport(f, &h, &packets[n])
		}
		if int(f.Len) > len(f.Data) {
			h.notes |= 1 << NoteCut
		}
		if f.Len > maxPlain && int(f.Len) > maxPlain+tagLen*int(h.tags) {
			h.notes |= 1 << NoteOversize
		}
		if h.notes != 0 {
			d.stats.note(h.notes)
		}
		if r == none {
			n++
			continue
		}
		d.stats.leave(r, f, &h)
	}
	b.Packets = packets[:n]
	d.stats.Frames += uint64(len(b.Frames))
	d.stats.Packets += uint64(n)
}

// Stats is a copy of the counters since the Decoder began.
func (d *Decoder) Stats() Stats { return d.stats }
