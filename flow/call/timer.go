package call

// timers is a heap of the deadlines of all open calls, earliest first, and in
// the order of creation where they are equal.
//
// A call has one deadline. Each message moves it, nearly always to later, and
// that costs nothing: the entry keeps its place, and is put right when it
// comes to the top. Only a deadline that becomes earlier moves in the heap.
type timers []timer

type timer struct {
	deadline int64 // never later than the call's own
	call     *call
}

func (h timers) before(i, j int) bool {
	a, b := &h[i], &h[j]
	return a.deadline < b.deadline || a.deadline == b.deadline && a.call.birth < b.call.birth
}

func (h timers) swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].call.timer, h[j].call.timer = int32(i), int32(j)
}

func (h timers) up(i int) {
	for i > 0 {
		parent := (i - 1) / 2
		if !h.before(i, parent) {
			return
		}
		h.swap(i, parent)
		i = parent
	}
}

func (h timers) down(i int) {
	for {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(h); child++ {
			if h.before(child, least) {
				least = child
			}
		}
		if least == i {
			return
		}
		h.swap(i, least)
		i = least
	}
}

// add starts the timer of a new call.
func (h *timers) add(c *call, deadline int64) {
	c.deadline = deadline
	c.timer = int32(len(*h))
	*h = append(*h, timer{deadline, c})
	h.up(int(c.timer))
}

// set moves the deadline of a call.
func (h timers) set(c *call, deadline int64) {
	c.deadline = deadline
	if e := &h[c.timer]; deadline < e.deadline {
		e.deadline = deadline
		h.up(int(c.timer))
	}
}

// remove stops the timer of a call.
func (h *timers) remove(c *call) {
	i, last := int(c.timer), len(*h)-1
	h.swap(i, last)
	(*h)[last] = timer{}
	*h = (*h)[:last]
	if i < last {
		h.down(i)
		h.up(i)
	}
}

// due is the call whose deadline is the earliest if that is not later than
// clock, or nil. Its timer goes on.
func (h timers) due(clock int64) *call {
	for len(h) > 0 && h[0].deadline <= clock {
		c := h[0].call
		if c.deadline <= h[0].deadline {
			return c
		}
		h[0].deadline = c.deadline
		h.down(0)
	}
	return nil
}
