package flow

import (
	"slices"
	"sync"

	"ringside/dataplane/frame"
	"ringside/flow/record"
)

// A mirror port has less room than the traffic that it copies. When it is full
// the switch drops copies, and nobody else: the network delivered the packets, no
// counter of ours has seen them go, and the calls sounded well. What gives it
// away is that streams which have nothing in common lose packets in the same
// second.
//
// So each shard counts, second by second, how many streams it has and how many
// of them lost something. A second in which at least mirrorStreams lost, half of
// all, and no one address was at an end of each, is one of mirror loss, if it stands
// out among the seconds around it: where all lose all the time, a bad network is
// likelier. If our own capture lost frames then, that has its own mark (gaps). It is
// said in records, and no figure is changed for it. Where RTCP told of loss, the
// network had its part.
type mirrorLoss struct {
	mu      sync.Mutex
	seconds []lossy // in order of their clocks
}

// mirrorStreams is how many streams must lose at once.
const mirrorStreams = 20

// lossy is what the shards have seen in one second.
type lossy struct {
	begin   int64 // clock, a whole second
	streams int   // that there were
	lost    int   // of these, those that lost packets
	common  common
	mirror  bool // it was, as is known for good
}

// common are the addresses that all streams of a set have at an end.
type common struct {
	addrs [2]frame.Addr
	n     int
	begun bool
}

func (c *common) add(k *flowKey) {
	if !c.begun {
		c.addrs, c.n, c.begun = [2]frame.Addr{k.src, k.dst}, 2, true
		return
	}
	c.keep(func(a frame.Addr) bool { return a == k.src || a == k.dst })
}

func (c *common) keep(stays func(frame.Addr) bool) {
	n := 0
	for _, a := range c.addrs[:c.n] {
		if stays(a) {
			c.addrs[n] = a
			n++
		}
	}
	c.n = n
}

// merge makes c the addresses that both sets have in common.
func (c *common) merge(o *common) {
	switch {
	case !o.begun:
	case !c.begun:
		*c = *o
	default:
		c.keep(func(a frame.Addr) bool { return slices.Contains(o.addrs[:o.n], a) })
	}
}

// around is how many seconds on each side a second of mirror loss stands out of,
// and mirrorExcess by how much.
const (
	around       = 5
	mirrorExcess = 4
)

// judge reports whether the i-th second was one of mirror loss, by what was seen
// up to a clock.
func (m *mirrorLoss) judge(i int, asOf int64) bool {
	s := &m.seconds[i]
	if s.mirror {
		return true
	}
	if s.lost < mirrorStreams || 2*s.lost < s.streams || s.common.n > 0 {
		return false
	}
	seen, streams, lost := 0, 0, 0
	for k := max(0, i-around); k < len(m.seconds) && k <= i+around; k++ {
		o := &m.seconds[k]
		if k == i || o.begin < s.begin-around*second || o.begin > s.begin+around*second || o.begin+second > asOf {
			continue
		}
		seen, streams, lost = seen+1, streams+o.streams, lost+o.lost
	}
	return seen >= 3 && mirrorExcess*lost*s.streams <= s.lost*streams
}

// add takes what one shard has seen in a second. What was seen before clock
// oldest is complete: what is not of interest there is forgotten.
func (m *mirrorLoss) add(l *lossy, oldest int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	i, found := slices.BinarySearchFunc(m.seconds, l.begin, func(s lossy, begin int64) int { return int(s.begin/second - begin/second) })
	if !found {
		m.forget(oldest)
		if len(m.seconds) >= maxMirrorSeconds {
			m.seconds = slices.Delete(m.seconds, 0, maxMirrorSeconds/2)
		}
		i, _ = slices.BinarySearchFunc(m.seconds, l.begin, func(s lossy, begin int64) int { return int(s.begin/second - begin/second) })
		m.seconds = slices.Insert(m.seconds, i, *l)
		return
	}
	s := &m.seconds[i]
	s.streams += l.streams
	s.lost += l.lost
	s.common.merge(&l.common)
}

// forget keeps of what is long complete only the seconds of mirror loss.
func (m *mirrorLoss) forget(oldest int64) {
	known := 0 // seconds that can be judged for good
	for known < len(m.seconds) && m.seconds[known].begin+(around+1)*second < oldest {
		m.seconds[known].mirror = m.judge(known, oldest)
		known++
	}
	n := 0
	for i := range m.seconds {
		// Those before the first that is not known are still around it.
		if s := &m.seconds[i]; i >= known-around || s.mirror {
			m.seconds[n] = *s
			n++
		}
	}
	m.seconds = m.seconds[:n]
}

// maxMirrorSeconds is how many seconds are remembered.
const maxMirrorSeconds = 1 << 15

// within reports whether the mirror lost packets in a second that from to to
// touches. Every shard must have metered up to asOf.
func (m *mirrorLoss) within(from, to, asOf int64, ours *gaps) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	i, _ := slices.BinarySearchFunc(m.seconds, from, func(s lossy, from int64) int { return int(s.begin/second - from/second) })
	for ; i < len(m.seconds) && m.seconds[i].begin <= to; i++ {
		if s := &m.seconds[i]; m.judge(i, asOf) && !ours.within(s.begin-second, s.begin+second, end) {
			return true
		}
	}
	return false
}

// count is in how many seconds the mirror lost packets.
func (m *mirrorLoss) count(ours *gaps) (n uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range m.seconds {
		if s := &m.seconds[i]; m.judge(i, end) && !ours.within(s.begin-second, s.begin+second, end) {
			n++
		}
	}
	return n
}

// missed notes that stream i lost packets at a clock.
func (s *Shard) missed(i uint32, clock int64) {
	s.tellLosses(clock)
	c := s.streams.coldAt(i)
	if now := uint32(clock / second); c.missed != now {
		c.missed = now
		s.losses.lost++
		s.losses.common.add(&s.streams.at(i).key)
	}
}

// tellLosses tells of the second before, if one has begun since.
func (s *Shard) tellLosses(clock int64) {
	begin := clock - clock%second
	if begin <= s.losses.begin {
		return
	}
	if s.losses.streams = s.streams.used; s.losses.streams > 0 {
		s.group.mirrorLoss.add(&s.losses, s.lowest(meteredMark))
	}
	s.losses = lossy{begin: begin}
}

// mirrorLost marks the streams of a call that lasted while the mirror lost
// packets, unless RTCP says that the network did.
func (s *Shard) mirrorLost(rec *record.Call, clock int64) {
	for i := range rec.Streams {
		r := &rec.Streams[i]
		if r.Lost > 0 && r.RTCP.Lost <= 0 && s.group.mirrorLoss.within(r.First, r.Last+second, clock, &s.group.gaps) {
			rec.Flags |= record.MirrorLoss
			if r.Flags != "" {
				r.Flags += ","
			}
			r.Flags += "mirror-loss"
		}
	}
}
