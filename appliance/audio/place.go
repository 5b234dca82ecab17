package audio

// ticks is a time in ns of n units of an RTP clock.
func ticks(n int64, clock uint32) int64 {
	c := int64(clock)
	return n/c*1e9 + n%c*1e9/c
}

// place says when a packet is heard, ns: where its timestamp puts it, unless
// that is not believed any more.
func (t *track) place(h *held, clock uint32, next []held) int64 {
	step := ticks(int64(int32(h.ts-t.lastTS)), max(clock, 1))
	switch passed := h.time - t.lastAt; {
	case !t.placed:
		t.anchor(h, clock, h.time, next)
	case clock != t.clock: // the new one goes on where the old one was
		t.anchor(h, clock, h.time-t.lastD, nil)
	case h.restart, step-passed > jump, step < -jump:
		t.anchor(h, clock, h.time, next)
		t.resyncs++
	}
	t.ts += int64(int32(h.ts - t.lastTS))
	t.lastTS, t.lastAt = h.ts, h.time
	at := t.wall + ticks(t.ts, clock)
	off := h.time - at
	switch {
	case off > drift:
		// Has the network held it back, or the sender's clock stood still? Only the
		// network makes good for it.
		if least := t.least(h, at, clock, next); least > drift {
			off = least
		} else if off < stall {
			break
		}
		fallthrough
	case off < -drift:
		t.wall += off
		at += off
		t.resyncs++
	}
	t.lastD = h.time - at
	return at
}

// anchor puts the stream anew: h is heard at a time, or earlier if those behind
// it show that it was held back.
func (t *track) anchor(h *held, clock uint32, at int64, next []held) {
	t.placed, t.clock = true, clock
	t.ts, t.lastTS = 0, h.ts
	t.wall = at
	if least := t.least(h, at, clock, next); least < -drift {
		t.wall += max(least, -hold)
	}
}

// least is the smallest deviation of h, which is heard at a time, and of the
// packets behind it up to the next jump.
func (t *track) least(h *held, at int64, clock uint32, next []held) int64 {
	least, from, ts := h.time-at, h, int64(0)
	for i := range next {
		n := &next[i]
		if n.pt != h.pt {
			continue
		}
		d := int64(int32(n.ts - from.ts))
		step := ticks(d, clock)
		if n.restart || step < -jump || step-(n.time-from.time) > jump {
			break
		}
		ts, from = ts+d, n
		least = min(least, n.time-(at+ticks(ts, clock)))
	}
	return least
}

// lateness is how the meter of streams tells late packets (docs/design/meter.md,
// Time), so that "as heard" is what its figures say: the deviation of transit
// times from the smallest of 128 to 256 packets.
type lateness struct {
	timed     bool
	clock, ts uint32
	anchor    int64
	cur, prev int64
	n         int
}

// Steps of transit that begin anew, ns: any, and where the sender says that
// something begins.
const (
	maxSkew  = 4e9
	talkSkew = 300e6
)

// add is the deviation of a packet in order of arrival, ns.
func (l *lateness) add(at int64, ts, clock uint32, marker bool) int64 {
	if !l.timed || clock != l.clock {
		*l = lateness{timed: true, clock: clock, ts: ts, anchor: at}
		return 0
	}
	d := at - l.anchor - ticks(int64(int32(ts-l.ts)), clock)
	c, v := max(0, l.cur+d), max(0, l.prev+d)
	dev := max(c, v)
	if d > maxSkew || d < -maxSkew || dev > maxSkew || marker && (d > talkSkew || d < -talkSkew) {
		*l = lateness{timed: true, clock: clock, ts: ts, anchor: at}
		return 0
	}
	l.anchor, l.ts, l.cur, l.prev = at, ts, c, v
	if l.n++; l.n%128 == 0 {
		l.prev, l.cur = l.cur, 0
	}
	return dev
}
