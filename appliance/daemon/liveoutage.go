package daemon

import "ringside/dataplane/nic"

// outage follows how often an interface was away, and how many packets came about
// that time.
//
// An interface that is removed takes its last counts with it, and one that is made
// anew receives before anything is attached to it. So of packets that come from
// the last look before an outage to the first look behind it nobody knows by which
// counters they were seen. The look before that counts too: what the interface
// was, and what it has counted, is not asked at the same moment.
type outage struct {
	packets uint64 // that came then, as far as any counter knows
	times   uint64
	away    bool
	before  [3]uint64 // what the counters said at the last look
	growth  uint64    // of the look before
}

// look takes what a port has seen, whether its interface is away, and how often
// it ceased to be captured.
func (o *outage) look(seen *portCounts, rings ringCounts, away bool, times uint64) {
	now := [3]uint64{seen.nic.all(), 0, rings.Packets + rings.Dropped}
	for _, v := range seen.filter {
		now[1] += v.packets
	}
	growth := uint64(0)
	for i := range now {
		growth = max(growth, now[i]-min(now[i], o.before[i]))
	}
	if began := times != o.times; began || away || o.away {
		o.packets += growth
		if began {
			o.packets += o.growth
		}
		growth = 0 // it is in there
		o.away = away || began
	}
	o.before, o.growth, o.times = now, growth, times
}

// prepare puts everything on the interface that it had, before it is captured
// from again.
func (p *port) prepare() error {
	for _, do := range p.again {
		if err := do(); err != nil {
			return err
		}
	}
	return nil
}

// quieten turns off the offloads of an interface that was made anew. That it does
// not work is no reason not to capture.
func (p *port) quieten(n *nic.NIC) error {
	s, err := n.State()
	if err != nil || s.Index == p.index {
		return nil
	}
	if _, restore, err := n.Quiet(); err == nil {
		p.loud, p.index = restore, s.Index
	}
	return nil
}
