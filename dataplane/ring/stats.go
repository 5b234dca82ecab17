package ring

import "ringside/dataplane/frame"

// Stats are what one ring, or all of a Set, have done since they were opened.
// But for Waiting they only grow. Received = Packets + Drops + Damaged + Waiting:
// once nothing comes any more the sum is exact.
//
// Frames that were lost before the socket are not in it: in the card (its own
// statistics), in the backlog of a CPU (/proc/net/softnet_stat, second column;
// a veth's backlog also counts at the sending end, as tx_dropped), in the ring
// of a veth with XDP, in a cpumap. Nor are those that a socket filter refused.
type Stats struct {
	Received uint64 // frames that the kernel had for the ring
	Packets  uint64 // frames delivered
	Bytes    uint64 // of them, on the wire
	Drops    uint64 // frames that the kernel dropped, the ring being full
	Freezes  uint64 // how often the ring was full
	Blocks   uint64 // blocks read
	Notes    uint64 // notes of the filter taken off
	Late     uint64 // frames that came behind what Mark said by the system's clock
	Damaged  uint64 // frames that could not be found in their block
	Waiting  uint64 // frames in the ring that were not delivered yet
}

func (s *Stats) add(o *Stats) {
	s.Received += o.Received
	s.Packets += o.Packets
	s.Bytes += o.Bytes
	s.Drops += o.Drops
	s.Freezes += o.Freezes
	s.Blocks += o.Blocks
	s.Notes += o.Notes
	s.Late += o.Late
	s.Damaged += o.Damaged
	s.Waiting += o.Waiting
}

// Stats sums up the rings.
func (s *Set) Stats() Stats {
	var sum Stats
	for _, r := range s.rings {
		one := r.Stats()
		sum.add(&one)
	}
	return sum
}

// Stats may be called from any goroutine. It asks the kernel, so that drops are
// seen although the worker does not come round.
func (r *Ring) Stats() Stats {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ask()
	s := r.stats
	s.Waiting = r.waiting()
	return s
}

// waiting is how many frames are in the ring: in the block that is being read, in
// those that are to be read, and in that which the kernel fills.
func (r *Ring) waiting() uint64 {
	n := uint64(r.walk.left)
	if r.socket != nil {
		n += r.socket.frames()
	}
	for _, s := range r.fresh {
		n += s.frames()
	}
	return n
}

// ask adds up the kernel's counters. They are reset by reading (packet_getsockopt
// in net/packet/af_packet.c), so they are read here and nowhere else. What it
// finds was dropped before the block that is being filled now, at the latest.
func (r *Ring) ask() {
	s := r.socket
	if s == nil {
		return
	}
	packets, drops, freezes := s.statistics()
	r.stats.Received += packets // drops among them
	r.stats.Drops += drops
	r.stats.Freezes += freezes
	if drops > 0 {
		r.owed += drops
		r.due = s.filling()
	}
}

// lost is how many frames to tell with the first frame of the block that is
// begun. A block that was closed while drops had not been read yet says so
// (TP_STATUS_LOSING): they happened before it, or before one of those behind it
// that say so too. They are shared out among all of these, so that each is known
// to be behind a gap. What the statistics say without a block is told by the
// block that was being filled then.
func (r *Ring) lost() uint64 {
	s := r.socket
	losing := host.Uint32(s.block(r.current)[blockStatus:])&tpStatusLosing != 0
	if losing {
		r.ask()
	}
	share := r.owed
	switch {
	case share == 0:
		return 0
	case losing:
		behind := s.losing()
		share = (share + behind) / (behind + 1)
	case s.seq < r.due:
		return 0
	}
	r.owed -= share
	return share
}

var _ frame.Source = (*Ring)(nil)
