package flow

import (
	"ringside/dataplane/frame"
	"ringside/flow/rule"
)

// A source that has room enough lets its batches stay for the tens of milliseconds
// until their packets have been metered (frame.Batch.Patient). Then the worker that
// reads keeps no copies: a sample names the frame where it lies, and what is wanted
// of it is stored from there. A batch goes back when all shards have metered up
// to its end. Only a frame that nobody wants yet is copied, by the shard that
// holds it: it may have to wait for seconds.

// A reference to a frame that is lent: the bit that tells it from one to a copy,
// the shard that reads, the place of its batch among those it has lent, and that
// of the frame in it.
const (
	lentBit    = 1 << 31
	lentReader = 20
	lentBatch  = 10

	maxLenders = 1 << (31 - lentReader)
	maxLent    = 1 << (lentReader - lentBatch) // batches of one shard
	maxBorrow  = 1 << lentBatch                // frames of one batch
)

func isLent(ref uint32) bool { return ref&lentBit != 0 }

// loans are the batches that a shard has not given back yet. Whoever has a
// reference looks at batches; the rest is the shard's own.
type loans struct {
	batches [maxLent]*frame.Batch
	until   [maxLent]int64 // clock before which their frames come
	first   uint32         // number of the oldest; its place is the remainder by maxLent
	next    uint32
	packets []frame.Packet // room for those of the next one: they need not stay
}

// lend prepares a batch, and says whether its frames may be named.
func (s *Shard) lend(b *frame.Batch) bool {
	l := &s.loans
	if !b.Patient || !s.records() || s.id >= maxLenders || len(b.Frames) > maxBorrow || l.next-l.first == maxLent {
		return false
	}
	at := l.next % maxLent
	s.lending = lentBit | uint32(s.id)<<lentReader | at<<lentBatch
	l.batches[at] = b
	b.Packets, l.packets = l.packets, nil
	return true
}

// lent ends the classification of a batch that is lent, all of whose frames come
// before a clock.
func (s *Shard) lent(b *frame.Batch, until int64) {
	l := &s.loans
	l.packets, b.Packets = b.Packets[:0], nil
	l.until[l.next%maxLent] = until
	l.next++
	s.lending = 0
}

// giveBack releases the batches through which all shards have metered.
func (s *Shard) giveBack() {
	l := &s.loans
	if l.first == l.next {
		return
	}
	for low := s.lowest(meteredMark); l.first != l.next && l.until[l.first%maxLent] <= low; l.first++ {
		b := &l.batches[l.first%maxLent]
		(*b).Release()
		*b = nil
	}
}

func (g *Group) lentFrame(ref uint32) *frame.Frame {
	b := g.shards[ref&^lentBit>>lentReader].loans.batches[ref>>lentBatch%maxLent]
	return &b.Frames[ref%maxBorrow]
}

// takeLent gives a frame that is lent to the recorder.
func (s *Shard) takeLent(n uint32, level rule.Level, p *sample) {
	t, f := s.rec.tapes.at(n), s.group.lentFrame(p.kept)
	t.level = max(t.level, level)
	data := f.Data
	if level == rule.Header {
		data = data[:min(int(p.lost), len(data))]
	}
	r := s.recording(n, t, rule.RTP)
	r.Time, r.Clock, r.Data, r.Len = f.Time, f.Clock, data, f.Len
	r.Link, r.Iface = f.Link, f.Iface
}

// keepLent copies a frame that is lent and must be held for longer.
func (s *Shard) keepLent(p *sample) uint32 {
	f := s.group.lentFrame(p.kept)
	end, head := len(f.Data), int(p.lost)
	if s.rec.rtp == rule.Header {
		end = min(end, head)
	}
	return s.shelf.put(f, end, head)
}
