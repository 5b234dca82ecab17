package tui

import (
	"cmp"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"ringside/flow/record"
)

// Widths of a ladder in columns.
const (
	ladderTime = 11 // of the time before it
	leastSpan  = 16 // between two lifelines; below, the ladder is a list
	widestSpan = 36 // it gets no clearer above
	leastArrow = 4  // of an arrow that its label leaves free
)

// host is the address of a host without its port.
func host(a netip.AddrPort) string {
	if !a.IsValid() {
		return ""
	}
	return a.Addr().String()
}

func (v *callView) name(i int) string {
	if v.ports {
		return v.ends[i].String()
	}
	return host(v.ends[i])
}

// letter names a lifeline where its address has no room.
func letter(i int) string {
	if i < 0 {
		return "?"
	}
	s := string(rune('A' + i%26))
	if i >= 26 {
		s += fmt.Sprint(i / 26)
	}
	return s
}

// ladder draws the call as arrows between hosts; on a terminal that is too narrow
// for that many, as a list.
func (m *model) ladder(room int) []string {
	v := &m.call
	span := min(widestSpan, (m.width-ladderTime)/max(1, len(v.ends)))
	drawn := span >= leastSpan
	var out []string
	if drawn {
		out = append(out, m.look.head.Render(m.g.cut(m.heads(span), m.width)))
	} else {
		out = m.legend(room / 2)
	}
	room -= len(out)
	v.first = window(v.first, v.at, room, len(v.lines))
	for i := v.first; i < len(v.lines) && i < v.first+room; i++ {
		r := &v.lines[i]
		row := m.offset(r)
		if drawn {
			row += m.arrow(r, span)
		} else {
			row += m.listed(r)
		}
		row = strings.TrimRight(m.g.cut(row, m.width), " ")
		if i == v.at {
			row = m.look.cursor.Render(m.g.fit(m.g.mark+strings.TrimPrefix(row, " "), m.width))
		} else if r.message != nil {
			row = m.look.of(r.message).Render(row)
		} else {
			row = m.look.ofStream(r.stream).Render(row)
		}
		out = append(out, row)
	}
	return out
}

// offset is the time of a line since the first.
func (m *model) offset(r *rung) string {
	return fmt.Sprintf(" %*.3f  ", ladderTime-3, float64(r.time-m.call.lines[0].time)/float64(time.Second))
}

// heads are the hosts above their lifelines.
func (m *model) heads(span int) string {
	v := &m.call
	row := strings.Repeat(" ", ladderTime)
	for i := range v.ends {
		name := m.g.cut(v.name(i), span-1)
		pad := max(0, span/2-cells(name)/2)
		row += m.g.fit(strings.Repeat(" ", pad)+name, span)
	}
	return strings.TrimRight(row, " ")
}

// legend says which letter is which host.
func (m *model) legend(room int) []string {
	var out []string
	for i := range m.call.ends {
		if len(out) == room-1 && i < len(m.call.ends)-1 {
			return append(out, m.look.dim.Render(fmt.Sprintf("     and %d more", len(m.call.ends)-i)))
		}
		out = append(out, m.look.head.Render(m.g.cut(fmt.Sprintf("  %2s %s", letter(i), m.call.name(i)), m.width)))
	}
	return out
}

// listed is a line of the list that stands for a ladder.
func (m *model) listed(r *rung) string {
	hop := letter(r.src) + " " + m.g.line + m.g.right + " " + letter(r.dst) + "  "
	return hop + m.what(r, m.width-ladderTime-cells(hop))
}

// what is the label of a line in so many columns; its marks are kept when it is cut.
func (m *model) what(r *rung, room int) string {
	if r.stream != nil {
		return m.g.cut(streamLabel(r.stream), room)
	}
	marks := ""
	if r.message.SDP {
		marks += " +SDP"
	}
	if r.times > 1 {
		marks += fmt.Sprintf(" %s%d", m.g.times, r.times)
	}
	return m.g.cut(label(*r.message), max(1, room-cells(marks))) + marks
}

// streamLabel is what stands on the arrow of a stream.
func streamLabel(s *record.Stream) string {
	text := clean(cmp.Or(s.Codec, "RTP"))
	if s.MOS.LQ > 0 {
		text += fmt.Sprintf(" MOS %.2f", s.MOS.LQ)
	}
	if s.Expected > 0 && s.Lost > 0 {
		text += fmt.Sprintf(" lost %.1f%%", 100*float64(s.Lost)/float64(s.Expected))
	}
	return text
}

func spanOf(s *record.Stream) time.Duration { return time.Duration(s.Last - s.First) }

// canvas is a line to draw on, by column. The second column of a wide character is
// empty.
type canvas []string

// put writes clean text from a column on; what would go over the end is left out.
func (c canvas) put(at int, s string) {
	for _, r := range s {
		w := cells(string(r))
		switch {
		case w == 0 && at > 0 && at <= len(c):
			c[at-1] += string(r) // it goes with the one before
		case at < 0 || at+w > len(c):
			return
		case w > 0:
			c[at] = string(r)
			if w == 2 {
				c[at+1] = ""
			}
		}
		at += w
	}
}

// arrow draws a line of the ladder.
func (m *model) arrow(r *rung, span int) string {
	v := &m.call
	row := make(canvas, span*len(v.ends))
	for i := range row {
		row[i] = " "
	}
	life := func(i int) int { return span/2 + i*span }
	for i := range v.ends {
		row[life(i)] = m.g.life
	}
	line := m.g.line
	if r.stream != nil {
		line = m.g.dots
	}
	switch {
	case r.src < 0 || r.dst < 0: // media of a host that signals nothing
		known := max(r.src, r.dst)
		if known < 0 {
			row.put(0, m.what(r, len(row)))
			break
		}
		sign, other := m.g.right+" ", r.streamEnd(r.dst < 0)
		if r.dst >= 0 {
			sign = m.g.left + " "
		}
		at := life(known) + 1
		row.put(at, sign+m.what(r, max(8, len(row)-at-3-len(other)))+" "+other)
	case r.src == r.dst: // sent to itself
		row.put(life(r.src)+1, m.g.left+" "+m.what(r, len(row)-life(r.src)-3))
	default:
		lo, hi := min(life(r.src), life(r.dst)), max(life(r.src), life(r.dst))
		for i := lo + 1; i < hi; i++ {
			row[i] = line
		}
		text := " " + m.what(r, hi-lo-1-leastArrow) + " "
		row.put(lo+1+(hi-lo-1-cells(text))/2, text)
		if r.src < r.dst {
			row[hi-1] = m.g.right
		} else {
			row[lo+1] = m.g.left
		}
	}
	return strings.Join(row, "")
}

// streamEnd is the end of a stream that is no lifeline.
func (r *rung) streamEnd(dst bool) string {
	if dst {
		return host(r.stream.Dst)
	}
	return host(r.stream.Src)
}
