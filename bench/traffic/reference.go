package traffic

import "slices"

// reference is the meter of docs/design/meter.md a second time, written from
// that page alone, for exactness and not for speed: it keeps what it knows of
// each open sequence number in a list, where the meter has bit masks, and
// decides on a number when it has left the window. It exists to be compared.
type reference struct {
	packets, bytes, duplicate, reordered, stray uint64
	resets, markers, events, comfort            uint32

	first, last    int64
	gapMax, gapMin int64

	started bool
	open    []number // the numbers of the epoch that can still change, ascending
	highest int64
	base    int64
	closed  uint64 // numbers expected in earlier epochs
	held    int    // sequence number of the packet that may begin an epoch, -1: none
	views   [4]view

	votes   int
	payload uint8
	lastPT  uint8
	rate    uint32
	period  int64

	anchored           bool
	anchor             int64
	anchorTS           uint32
	cur, prev, transit int64
	spread             int64
	timed              uint64
	jitter             int64
	jitterSum          uint64
	jitterMax          int64
	delay              [8]uint32
	step               int64
	stepVotes          int
	skewN              int
	skewT0, skewA0     int64
	skewT1, skewA1     int64
}

// number is one sequence number of the window.
type number struct {
	n    int64
	got  bool
	late [3]bool // too late for the buffers of 50, 200 and at most 500 ms
}

// view counts what is bad for one observer: the network, or a buffer.
type view struct {
	bad, bursts uint64
	run         uint64
	runs        [10]uint32
	longest     uint64
}

const (
	window     = 64
	maxDropout = 1000
	maxSkew    = 4 * sec
	talkSkew   = 300 * ms
	noCand     = -1
)

type arrivalKind int

const (
	isForward arrivalKind = iota
	isBehind
	isDuplicate
	isHeld
)

// add takes the packet d as captured at t; rate is the clock of its payload type.
func (m *reference) add(t int64, d *delivery, rate uint32) {
	var dist int64
	kind := isForward
	if !m.started {
		m.started = true
		m.first, m.last, m.held = t, t, noCand
		m.begin(int64(d.seq), 1)
	} else {
		gap := max(0, t-m.last)
		if m.packets == 1 {
			m.gapMin = gap
		}
		m.gapMin, m.gapMax = min(m.gapMin, gap, 1<<32-1), max(m.gapMax, gap)
		m.last += gap
		dist = int64(int16(d.seq - uint16(m.highest)))
		kind = m.place(d.seq, dist)
	}
	m.packets++
	m.bytes += uint64(d.size)
	if kind == isDuplicate {
		return
	}
	if d.marker {
		m.markers++
	}
	switch d.class {
	case classEvent:
		m.events++
	case classComfort:
		m.comfort++
	}
	if kind != isHeld && d.class == classMedia {
		m.media(t, d, dist, rate)
	}
}

// begin opens an epoch with n consecutive numbers, the first being seq.
func (m *reference) begin(seq, n int64) {
	m.base = 1<<16 + seq
	m.highest = m.base + n - 1
	m.open = m.open[:0]
	for i := range n {
		m.open = append(m.open, number{n: m.base + i, got: true})
	}
}

// place finds the place of a packet among the sequence numbers ("Sequence numbers").
func (m *reference) place(seq uint16, dist int64) arrivalKind {
	switch {
	case dist >= 1 && dist <= maxDropout:
		m.dropHeld()
		for range dist {
			m.highest++
			m.open = append(m.open, number{n: m.highest})
		}
		m.open[len(m.open)-1].got = true
		m.settle(m.highest - window)
		return isForward
	case dist >= -(window-1) && dist <= 0:
		m.dropHeld()
		x := m.find(m.highest + dist)
		if x.got {
			m.duplicate++
			return isDuplicate
		}
		x.got = true
		m.reordered++
		return isBehind
	}
	if m.held == int(seq) {
		m.duplicate++
		return isDuplicate
	}
	if m.held != noCand && uint16(m.held+1) == seq {
		m.restart()
		return isForward
	}
	m.dropHeld()
	m.held = int(seq)
	return isHeld
}

func (m *reference) dropHeld() {
	if m.held != noCand {
		m.stray++
		m.held = noCand
	}
}

// restart begins an epoch with the held packet and the one after it.
func (m *reference) restart() {
	m.settle(m.highest)
	m.closed += uint64(m.highest - m.base + 1)
	m.resets++
	for i := range m.views {
		m.views[i].endRun()
	}
	seq := int64(m.held)
	m.held = noCand
	m.anchored = false
	m.begin(seq, 2)
}

// find is the open number n; the epoch grows downwards to have it.
func (m *reference) find(n int64) *number {
	for n < m.base {
		m.base--
		m.open = slices.Insert(m.open, 0, number{n: m.base})
	}
	return &m.open[n-m.open[0].n]
}

// settle judges the numbers up to and including last, in their order.
func (m *reference) settle(last int64) {
	k := 0
	for k < len(m.open) && m.open[k].n <= last {
		x := &m.open[k]
		m.views[0].judge(x.got)
		for i, late := range x.late {
			m.views[i+1].judge(x.got && !late)
		}
		k++
	}
	m.open = slices.Delete(m.open, 0, k)
}

func (v *view) judge(good bool) {
	switch {
	case good:
		v.endRun()
	default:
		if v.run == 0 {
			v.bursts++
		}
		v.bad++
		v.run++
	}
}

func (v *view) endRun() {
	if v.run > 0 {
		v.runs[min(v.run, 10)-1]++
		v.longest = max(v.longest, v.run)
		v.run = 0
	}
}

// media measures the time of an accepted media packet ("Time").
func (m *reference) media(t int64, d *delivery, dist int64, rate uint32) {
	switch {
	case m.votes == 0:
		m.payload, m.votes = d.pt, 1
	case m.payload == d.pt:
		m.votes++
	default:
		m.votes--
	}
	changed := d.pt != m.lastPT
	m.lastPT = d.pt
	if rate < 1000 || rate > 384000 {
		return
	}
	if rate != m.rate {
		m.rate = rate
		m.period = (4096*sec + int64(rate)/2) / int64(rate)
		m.anchored = false
	}
	if !m.anchored {
		m.rebase(t, d.ts)
		return
	}
	dts := int64(int32(d.ts - m.anchorTS))
	dev := t - m.anchor - (dts*m.period+2048)>>12
	above := max(0, m.cur+dev, m.prev+dev)
	if size := abs(dev); size > maxSkew || above > maxSkew || (d.marker || changed) && size > talkSkew {
		m.rebase(t, d.ts)
		return
	}
	m.anchor, m.anchorTS = t, d.ts
	m.transit += dev
	m.cur, m.prev = max(0, m.cur+dev), max(0, m.prev+dev)
	m.timed++
	m.voteStep(dist, dts)

	m.jitter += abs(dev) - (m.jitter+8)>>4
	m.jitterSum += uint64(m.jitter >> 4)
	m.jitterMax = max(m.jitterMax, m.jitter>>4)

	m.judgeDelay(above, dist)
	if m.timed%128 == 0 {
		m.endBlock(t)
	}
}

func (m *reference) voteStep(dist, dts int64) {
	switch {
	case dist != 1 || dts <= 0:
	case m.step == dts:
		m.stepVotes = min(255, m.stepVotes+1)
	case m.stepVotes == 0:
		m.step, m.stepVotes = dts, 1
	default:
		m.stepVotes--
	}
}

// judgeDelay files the deviation of a packet and decides for which buffers it
// came too late.
func (m *reference) judgeDelay(above, dist int64) {
	limit := min(m.spread+50*ms, 500*ms)
	if above > m.spread {
		m.spread = min(above, 500*ms)
	} else {
		m.spread -= m.spread >> 9
	}
	bounds := []int64{50 * ms, 70 * ms, 90 * ms, 120 * ms, 150 * ms, 200 * ms, 300 * ms}
	class := 0
	for class < len(bounds) && above >= bounds[class] {
		class++
	}
	m.delay[class]++
	at := m.highest
	if dist < 0 && dist >= -(window-1) {
		at += dist
	}
	x := m.find(at)
	x.late[0] = above >= 50*ms
	x.late[1] = above >= 200*ms
	x.late[2] = above >= limit
}

func (m *reference) endBlock(t int64) {
	low := m.transit - m.cur
	if m.skewN == 0 {
		m.skewT0, m.skewA0 = low, t
	} else {
		m.skewT1, m.skewA1 = low, t
	}
	m.skewN++
	m.prev, m.cur = m.cur, 0
}

func (m *reference) rebase(t int64, ts uint32) {
	m.anchor, m.anchorTS = t, ts
	m.cur, m.prev, m.skewN = 0, 0, 0
	m.anchored = true
}

// finish ends the stream and fills in what is known of it.
func (m *reference) finish(s *Stream) {
	if !m.started {
		return
	}
	m.settle(m.highest)
	for i := range m.views {
		m.views[i].endRun()
	}
	m.dropHeld()
	expected := m.closed + uint64(m.highest-m.base+1)
	s.First, s.Last = m.first, m.last
	s.Payload = m.payload
	s.Packets, s.Bytes = m.packets, m.bytes
	s.Expected, s.Lost = expected, m.views[0].bad
	s.Received = expected - s.Lost
	s.Duplicate, s.Reordered, s.Stray = m.duplicate, m.reordered, m.stray
	s.Resets, s.Markers, s.Events, s.Comfort = m.resets, m.markers, m.events, m.comfort
	s.LossRuns, s.LossRunMax = m.views[0].runs, uint32(m.views[0].longest)
	s.LateF1, s.LateF2, s.LateAdapt = m.views[1].bad, m.views[2].bad, m.views[3].bad
	s.Delay = m.delay
	s.Jitter = float64(m.jitter) / 16 / 1e6
	s.JitterMax = float64(m.jitterMax) / 1e6
	if m.timed > 0 {
		s.JitterAvg = float64(m.jitterSum) / float64(m.timed) / 1e6
	}
	s.DeltaMax, s.DeltaMin = float64(m.gapMax)/1e6, float64(m.gapMin)/1e6
	if m.skewN >= 2 && m.skewA1-m.skewA0 >= 20*sec {
		s.SkewPPM = -float64(m.skewT1-m.skewT0) * 1e6 / float64(m.skewA1-m.skewA0)
	}
	if m.rate > 0 {
		s.Ptime = uint16((m.step*1000 + int64(m.rate)/2) / int64(m.rate))
	}
}

func abs(x int64) int64 { return max(x, -x) }
