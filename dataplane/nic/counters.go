package nic

import (
	"cmp"
	"slices"
	"strings"
)

// Counters are what an interface received and lost since it was opened. They
// never fall: where the kernel's counters wrap, or begin anew after the
// interface was reset or made again, these go on from the last values.
type Counters struct {
	Packets uint64 // received
	Bytes   uint64

	// Frames that were lost or damaged, as all interfaces count them (struct
	// rtnl_link_stats64). What is in one may be in another, too.
	Dropped   uint64 // by the driver or the kernel behind it: no memory, no room in the backlog, or nobody wanted the protocol
	Missed    uint64 // for want of room in the NIC
	Overrun   uint64 // ring buffer overrun
	FIFO      uint64 // overrun of the NIC's memory
	Errors    uint64 // all damaged frames, of which:
	Length    uint64 // of a wrong length
	CRC       uint64 // of a wrong checksum
	Frame     uint64 // not aligned
	NoHandler uint64 // received by an inactive slave of a bond, so by nobody

	SentPackets uint64
	SentBytes   uint64
	SentDropped uint64 // of a veth: what the other end had no room for

	// Lost is how many frames did not get past the NIC and its driver: by what
	// the driver says, where it is known, else the greatest of Missed, Overrun
	// and FIFO, which many drivers fill from one register.
	Lost   uint64
	Losses []Loss  // what the driver says, in its own words
	Queues []Queue // receive queues, where the driver counts them

	Resets uint64 // how often counters began anew
}

// Loss is a statistic of the driver that counts lost frames.
type Loss struct {
	Name  string
	Count uint64
}

// Queue is a receive queue.
type Queue struct {
	Packets, Bytes, Drops uint64
}

// counting turns counters of the kernel into monotonic ones.
type counting struct {
	begun  bool
	index  int // of the interface that was read last
	link   [statCount]monotonic
	driver map[string]*monotonic
	name   string // of the driver
	resets uint64
}

// monotonic is a counter that never falls.
type monotonic struct{ last, sum uint64 }

// Counters reads the counters of the interface.
func (n *NIC) Counters() (Counters, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	l, err := n.find()
	if err != nil {
		return n.counters.counters(), err
	}
	c := &n.counters
	if c.name == "" || c.index != l.index {
		if c.name, _, err = n.ethtool.driverInfo(l.name); err != nil {
			return c.counters(), err
		}
	}
	stats, err := n.ethtool.stats(l.name, l.index, &n.strings)
	if err != nil {
		return c.counters(), err
	}
	c.read(&l, stats)
	return c.counters(), nil
}

// read takes what the kernel says now.
func (c *counting) read(l *link, stats []stat) {
	if c.driver == nil {
		c.driver = map[string]*monotonic{}
	}
	anew, reset := c.begun && c.index != l.index, false
	for i := range c.link {
		reset = c.link[i].read(l.stats[i], c.begun, anew) || reset
	}
	for name, value := range c.telling(stats) {
		m := c.driver[name]
		if m == nil {
			// One that came with a queue, or with another driver, begins at 0.
			m = &monotonic{}
			c.driver[name] = m
		}
		reset = m.read(value, c.begun, anew) || reset
	}
	if reset || anew {
		c.resets++
	}
	c.begun, c.index = true, l.index
}

// telling are the statistics that say something of losses or queues. Some
// drivers repeat a name for each queue: those are added up.
func (c *counting) telling(stats []stat) map[string]uint64 {
	out := map[string]uint64{}
	for _, s := range stats {
		name := strings.TrimSpace(s.name)
		if _, _, ok := queueStat(name); ok || Lost(c.name, name) {
			out[name] += s.value
		}
	}
	return out
}

// read takes the next value and reports whether the counter began anew. Before
// it has begun to count, it only remembers the value.
func (m *monotonic) read(v uint64, begun, anew bool) (reset bool) {
	const wrap = 1 << 32 // counters of 32 bits, in old drivers
	switch {
	case !begun:
	case anew:
		m.sum += v
	case v >= m.last:
		m.sum += v - m.last
	case m.last < wrap && m.last >= wrap/4*3 && v < wrap/4:
		m.sum += v + wrap - m.last
	case m.last-v < m.last/16:
		// Some drivers add up what their queues count while they count, and come to
		// a little less than before. What began anew is much less.
		return false
	default:
		m.sum += v
		reset = true
	}
	m.last = v
	return reset
}

// counters is the sum so far.
func (c *counting) counters() Counters {
	at := func(i int) uint64 { return c.link[i].sum }
	out := Counters{
		Packets: at(statRxPackets), Bytes: at(statRxBytes),
		Dropped: at(statRxDropped), Missed: at(statRxMissed), Overrun: at(statRxOver), FIFO: at(statRxFIFO),
		Errors: at(statRxErrors), Length: at(statRxLength), CRC: at(statRxCRC), Frame: at(statRxFrame), NoHandler: at(statNoHandler),
		SentPackets: at(statTxPackets), SentBytes: at(statTxBytes), SentDropped: at(statTxDropped),
		Resets: c.resets,
	}
	for name, m := range c.driver {
		if Lost(c.name, name) {
			out.Losses = append(out.Losses, Loss{name, m.sum})
			out.Lost += m.sum
		}
		if queue, field, ok := queueStat(name); ok {
			for len(out.Queues) <= queue {
				out.Queues = append(out.Queues, Queue{})
			}
			q := &out.Queues[queue]
			*[...]*uint64{&q.Packets, &q.Bytes, &q.Drops}[field] += m.sum
		}
	}
	slices.SortFunc(out.Losses, func(a, b Loss) int { return cmp.Compare(a.Name, b.Name) })
	if len(out.Losses) == 0 {
		out.Lost = max(out.Missed, out.Overrun, out.FIFO)
	}
	return out
}
