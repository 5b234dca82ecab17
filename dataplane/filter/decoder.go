package filter

import "ringside/dataplane/frame"

// Stats count what a Decoder did. Matched + Filtered are the packets that the
// decoder inside has made.
type Stats struct {
	Matched  uint64 // packets handed on
	Filtered uint64 // packets left out
}

// Add adds the counts of another worker's decoder.
func (s *Stats) Add(o Stats) {
	s.Matched += o.Matched
	s.Filtered += o.Filtered
}

// Decoder hands on what another decoder makes, but for packets that a filter
// refuses. Fragments pass, and are judged when they have been put together. It
// belongs to one worker, as the decoder inside does.
type Decoder struct {
	inside frame.Decoder
	filter *Filter
	stats  Stats
}

var _ frame.Decoder = (*Decoder)(nil)

// NewDecoder puts f behind inside.
func NewDecoder(inside frame.Decoder, f *Filter) *Decoder { return &Decoder{inside: inside, filter: f} }

// Decode decodes b, and takes out of b.Packets what does not match.
func (d *Decoder) Decode(b *frame.Batch) {
	d.inside.Decode(b)
	d.keep(b, 0, d.filter.framed)
}

// Join joins f, and takes what does not match out of the packets it adds.
func (d *Decoder) Join(f *frame.Fragment, t *frame.Tunnel, into *frame.Batch) {
	from := len(into.Packets)
	d.inside.Join(f, t, into)
	d.keep(into, from, false)
}

// keep judges the packets of b from the one on. Packets stand in the order of
// their frames.
func (d *Decoder) keep(b *frame.Batch, from int, framed bool) {
	n, at := from, 0
	for i := from; i < len(b.Packets); i++ {
		p := &b.Packets[i]
		var t *frame.Tunnel
		if p.Tunnel > 0 {
			t = &b.Tunnels[p.Tunnel-1]
		}
		var fr *frame.Frame
		if framed {
			for at < len(b.Frames) && b.Frames[at].Seq != p.Seq {
				at++
			}
			if at < len(b.Frames) {
				fr = &b.Frames[at]
			}
		}
		if !d.filter.match(p, t, fr) {
			continue
		}
		if n != i {
			b.Packets[n] = *p
		}
		n++
	}
	d.stats.Matched += uint64(n - from)
	d.stats.Filtered += uint64(len(b.Packets) - n)
	b.Packets = b.Packets[:n]
}

// Stats is a copy of the counters; to be called by the worker, or after it.
func (d *Decoder) Stats() Stats { return d.stats }
