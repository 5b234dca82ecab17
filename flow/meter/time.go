package meter

// media votes on payload type and time step, and times an accepted media
// packet against the one before it.
func (h *Hot) media(c *Cold, p *Packet, d int32, k kind) {
	changed := p.Type != h.lastPT
	h.lastPT = p.Type
	if p.Type == h.pt && h.ptVotes > 0 {
		h.ptVotes++
	} else {
		h.vote(p.Type)
	}
	if p.Rate != h.rate {
		if p.Rate < minRate || p.Rate > maxRate {
			return
		}
		h.rate = p.Rate
		h.period = uint32((4096*1_000_000_000 + uint64(p.Rate)/2) / uint64(p.Rate))
		h.flags &^= flagAnchored
	}
	if p.Rate == 0 {
		return
	}
	if h.flags&flagAnchored == 0 {
		h.rebase(c, p)
		return
	}

	dts := int32(p.TS - h.anchorTS)
	diff := p.Time - h.anchor - (int64(dts)*int64(h.period)+2048)>>12
	size := diff
	if size < 0 {
		size = -size
	}
	cur := max(0, int64(h.cur)+diff)
	prev := max(0, int64(h.prev)+diff)
	dev := max(cur, prev)
	if uint64(size) > maxSkew || dev > maxSkew || (size > talkSkew && (p.Marker || changed)) {
		h.rebase(c, p)
		return
	}
	h.anchor, h.anchorTS = p.Time, p.TS
	h.transit += diff
	h.cur, h.prev = uint32(cur), uint32(prev)
	h.timed++

	if d == 1 && dts > 0 {
		h.voteStep(uint32(dts))
	}

	h.jitter += uint64(size) - (h.jitter+8)>>4
	j := h.jitter >> 4
	h.jitterSum += j
	h.jitterMax = max(h.jitterMax, uint32(j))

	limit := min(h.spread+adMargin, depthMax)
	if uint32(dev) > h.spread {
		h.spread = min(uint32(dev), depthMax)
	} else {
		h.spread -= h.spread >> adShift
	}
	if dev >= depthF1 {
		bit := uint64(1)
		if k == behind {
			bit <<= uint32(-d)
		}
		h.deviates(c, uint32(dev), limit, bit)
	}
	if h.timed%block == 0 {
		h.closeBlock(c, p.Time)
	}
}

// vote keeps the payload type that has the majority (Boyer and Moore), given
// one vote for another than the voted one.
func (h *Hot) vote(pt uint8) {
	if h.ptVotes == 0 {
		h.pt, h.ptVotes = pt, 1
	} else {
		h.ptVotes--
	}
}

// voteStep does the same for the timestamp step, with a short memory.
func (h *Hot) voteStep(step uint32) {
	switch {
	case step == h.step:
		if h.stepVotes < 255 {
			h.stepVotes++
		}
	case h.stepVotes == 0:
		h.step, h.stepVotes = step, 1
	default:
		h.stepVotes--
	}
}

// deviates counts a packet whose transit is 50 ms or more above the baseline;
// bit is its number in the window.
func (h *Hot) deviates(c *Cold, dev, limit uint32, bit uint64) {
	class := 1
	for _, bound := range [...]uint32{70e6, 90e6, 120e6, 150e6, 200e6, 300e6} {
		if dev >= bound {
			class++
		}
	}
	c.delay[class]++
	h.late[0] |= bit // dev is at least depthF1
	if dev >= depthF2 {
		h.late[1] |= bit
	}
	if dev >= limit {
		h.late[2] |= bit
	}
}

// closeBlock ends a block of the sliding minimum, and notes the minimum for the
// skew of the sender's clock.
func (h *Hot) closeBlock(c *Cold, now int64) {
	i := min(c.skewN, 1)
	c.skewT[i] = h.transit - int64(h.cur)
	c.skewA[i] = now
	c.skewN++
	h.prev, h.cur = h.cur, 0
}

// rebase begins a new time base with p, without a sample.
func (h *Hot) rebase(c *Cold, p *Packet) {
	h.anchor, h.anchorTS = p.Time, p.TS
	h.cur, h.prev = 0, 0
	c.skewN = 0
	h.flags |= flagAnchored
}
