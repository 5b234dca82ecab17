package meter

// sequence judges a packet that is not simply the next one, d numbers from the
// highest.
func (h *Hot) sequence(c *Cold, seq uint16, d int32) kind {
	switch {
	case d >= 1 && d <= maxDropout:
		h.dropCandidate(c)
		if d == 1 {
			h.flags |= flagConfirmed
		}
		h.advance(c, uint32(d))
		return forward
	case d <= 0 && d > -window:
		h.dropCandidate(c)
		bit := uint64(1) << uint32(-d)
		if h.recv&bit != 0 {
			c.duplicate++
			return duplicate
		}
		h.recv |= bit
		c.reordered++
		c.base = min(c.base, h.highest-uint32(-d))
		return behind
	}
	// A jump: believed only when the very next packet continues it
	// (RFC 3550 A.1, bad_seq).
	if h.flags&flagCandidate != 0 {
		switch seq {
		case c.cand:
			c.duplicate++
			return duplicate
		case c.cand + 1:
			h.restart(c)
			return forward
		}
		c.stray++
	}
	c.cand = seq
	h.flags |= flagCandidate
	return held
}

func (h *Hot) dropCandidate(c *Cold) {
	if h.flags&flagCandidate != 0 {
		c.stray++
		h.flags &^= flagCandidate
	}
}

// restart begins an epoch with the candidate and the packet behind it.
func (h *Hot) restart(c *Cold) {
	h.leaveAll(c)
	c.closed += h.highest - c.base + 1
	c.resets++
	h.flags = h.flags&^(flagRuns|flagCandidate|flagAnchored) | flagConfirmed
	c.base = 65536 + uint32(c.cand)
	h.highest = c.base + 1
	h.recv = 3
	h.late = [3]uint64{}
}

// advance moves the window d numbers on.
func (h *Hot) advance(c *Cold, d uint32) {
	n := min(d, window)
	h.leave(c, n)
	if d > window {
		h.lose(c, d-window)
	}
	// A shift by 64 or more gives 0.
	h.recv = h.recv<<d | 1
	for b := range h.late {
		h.late[b] <<= d
	}
	h.highest += d
}

// leaveAll judges all that is still in the window, highest included.
func (h *Hot) leaveAll(c *Cold) { h.leave(c, window) }

// leave judges the n oldest numbers of the window, oldest first.
func (h *Hot) leave(c *Cold, n uint32) {
	number := h.highest - (window - 1)
	for bit := uint64(1) << 63; n > 0; n-- {
		if number >= c.base {
			h.judge(c, bit)
		}
		number++
		bit >>= 1
	}
}

// judge counts the number at bit of the window in every view.
func (h *Hot) judge(c *Cold, bit uint64) {
	var bad uint8 // views, as in flags
	if h.recv&bit == 0 {
		bad = flagRuns
		c.run++
	} else {
		for b := range h.late {
			if h.late[b]&bit != 0 {
				bad |= 2 << b
			}
		}
		if c.run > 0 {
			c.closeRun()
		}
	}
	if bad|h.flags&flagRuns == 0 {
		return
	}
	for v := range c.bad {
		c.bad[v] += uint32(bad >> v & 1)
		c.bursts[v] += uint32(bad &^ h.flags >> v & 1)
	}
	h.flags = h.flags&^flagRuns | bad
}

// lose counts k numbers that were never in the window.
func (h *Hot) lose(c *Cold, k uint32) {
	for v := range c.bad {
		c.bad[v] += k
		c.bursts[v] += uint32(^h.flags >> v & 1)
	}
	c.run += k
	h.flags |= flagRuns
}

func (c *Cold) closeRun() {
	c.runHist[min(c.run, 10)-1]++
	c.runMax = max(c.runMax, c.run)
	c.run = 0
}

// exits is how many numbers have left the window, over all epochs.
func (h *Hot) exits(c *Cold) uint32 {
	if left := h.highest - (window - 1); left > c.base {
		return c.closed + left - c.base
	}
	return c.closed
}
