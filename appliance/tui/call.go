package tui

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"ringside/flow/record"
)

// callView is one call: its ladder, its streams, one of its messages.
type callView struct {
	of     Call
	detail *Detail // nil: not there yet
	err    error
	lines  []rung
	ends   []netip.AddrPort // lifelines from left to right
	ports  bool             // one for each port, not for each host

	at, first int // on the ladder
	top       int // first line of the raw message, or of the streams
	follow    bool
}

// rung is a line of the ladder: a message, with the times that it was sent again
// on the same hop, or a stream.
type rung struct {
	time     int64
	src, dst int // lifelines
	message  *Message
	stream   *record.Stream
	times    int
}

// open shows a call.
func (m *model) open(c *Call) {
	m.screen = onCall
	m.call = callView{of: *c}
}

// take takes a new answer about the call. What was known stays where the source
// does not know it any more: the call may just have ended.
func (v *callView) take(d *Detail, err error) {
	if v.err = err; err != nil {
		return
	}
	if v.detail != nil && len(d.Messages) == 0 && len(d.Streams) == 0 {
		return
	}
	end := v.at >= len(v.lines)-1
	v.detail = d
	v.build()
	if v.follow && end {
		v.at = len(v.lines) - 1
	}
	v.at = max(0, min(v.at, len(v.lines)-1))
}

// refresh takes what the list says of the call now.
func (v *callView) refresh(calls []Call) {
	for i := range calls {
		if calls[i].ID == v.of.ID {
			v.of = calls[i]
			return
		}
	}
}

// build makes the ladder.
func (v *callView) build() {
	d := v.detail
	v.lines, v.ends, v.ports = nil, nil, false
	for i := range d.Messages { // on one host, ports tell them apart
		v.ports = v.ports || d.Messages[i].Src.Addr() == d.Messages[i].Dst.Addr()
	}
	type key struct {
		src, dst netip.AddrPort
		method   string
		status   uint16
		text     string
	}
	seen := map[key]int{}
	for i := range d.Messages {
		msg := &d.Messages[i]
		k := key{msg.Src, msg.Dst, msg.Method, msg.Status, msg.Text}
		if at, ok := seen[k]; ok && msg.Retrans {
			v.lines[at].times++
			continue
		}
		seen[k] = len(v.lines)
		v.lines = append(v.lines, rung{time: msg.Time, src: v.end(msg.Src), dst: v.end(msg.Dst), message: msg, times: 1})
	}
	for i := range d.Streams {
		s := &d.Streams[i]
		v.lines = append(v.lines, rung{time: s.First, src: v.find(s.Src), dst: v.find(s.Dst), stream: s, times: 1})
	}
	slices.SortStableFunc(v.lines, func(a, b rung) int { return cmp.Compare(a.time, b.time) })
}

func (v *callView) key(a netip.AddrPort) netip.AddrPort {
	if v.ports {
		return a
	}
	return netip.AddrPortFrom(a.Addr(), 0)
}

// end is the lifeline of an address, made if there is none.
func (v *callView) end(a netip.AddrPort) int {
	k := v.key(a)
	i := slices.Index(v.ends, k)
	if i < 0 {
		i = len(v.ends)
		v.ends = append(v.ends, k)
	}
	return i
}

// find is the lifeline of the host of an address, -1 if it has none. Media has
// ports of its own.
func (v *callView) find(a netip.AddrPort) int {
	return slices.IndexFunc(v.ends, func(e netip.AddrPort) bool { return e.Addr() == a.Addr() })
}

// callKey is a key on one of the screens of a call.
func (m *model) callKey(key string) {
	v := &m.call
	switch m.screen {
	case onCall:
		if by, ok := step(key, m.room(), len(v.lines)); ok {
			v.at = max(0, min(v.at+by, len(v.lines)-1))
			return
		}
		switch key {
		case "enter", "r", "right", "l":
			m.openRung()
		case "left", "h":
			m.screen = onList
		case "t", "tab":
			m.screen, v.top = onStreams, 0
		case "f":
			v.follow = !v.follow
			if v.follow {
				v.at = max(0, len(v.lines)-1)
			}
		}
	case onStreams, onRaw:
		if by, ok := step(key, m.room(), 1<<20); ok {
			v.top = max(0, v.top+by) // the view knows the end
			return
		}
		switch key {
		case "left", "h":
			m.screen = onCall
		case "t", "tab":
			m.screen = onCall
		case "n", "N":
			m.nextMessage(map[string]int{"n": 1, "N": -1}[key])
		}
	}
}

// openRung shows what the cursor of the ladder is on.
func (m *model) openRung() {
	v := &m.call
	if v.at >= len(v.lines) {
		return
	}
	v.top = 0
	if m.screen = onRaw; v.lines[v.at].stream != nil {
		m.screen = onStreams
	}
}

// nextMessage shows the next message, or the one before.
func (m *model) nextMessage(by int) {
	v := &m.call
	if m.screen != onRaw {
		return
	}
	for i := v.at + by; i >= 0 && i < len(v.lines); i += by {
		if v.lines[i].message != nil {
			v.at, v.top = i, 0
			return
		}
	}
}

// position says which of the messages is shown.
func (v *callView) position() string {
	n, all := 0, 0
	for i := range v.lines {
		if v.lines[i].message != nil {
			if all++; i <= v.at {
				n++
			}
		}
	}
	return fmt.Sprintf("  message %d of %d", n, all)
}

// viewCall draws what the title of a call's screens says below the first line.
func (m *model) viewCall(room int) []string {
	v := &m.call
	if v.detail == nil || len(v.lines) == 0 {
		why := "asking"
		switch {
		case v.err != nil:
			why = v.err.Error()
		case v.detail != nil:
			why = cmp.Or(v.detail.Why, "no message of this call is known yet")
		}
		return []string{"", m.look.dim.Render(m.g.cut("  "+clean(why), m.width))}
	}
	switch m.screen {
	case onStreams:
		return m.scrolled(m.streams(), room)
	case onRaw:
		return m.scrolled(m.raw(), room)
	}
	return m.ladder(room)
}

// scrolled is the part of lines that is looked at.
func (m *model) scrolled(lines []string, room int) []string {
	v := &m.call
	v.top = max(0, min(v.top, len(lines)-room))
	return lines[v.top:min(len(lines), v.top+room)]
}

// streams describes the streams of the call.
func (m *model) streams() []string {
	d := m.call.detail
	if len(d.Streams) == 0 {
		return []string{"", m.look.dim.Render("  no RTP of this call is known")}
	}
	var out []string
	for i := range d.Streams {
		s := &d.Streams[i]
		head := fmt.Sprintf(" %d  %s → %s  %s", i+1, s.Src, s.Dst, clean(cmp.Or(s.Codec, "codec not known")))
		if m.o.ASCII {
			head = strings.ReplaceAll(head, "→", "->")
		}
		lost := 0.0
		if s.Expected > 0 {
			lost = 100 * float64(s.Lost) / float64(s.Expected)
		}
		lines := []string{
			fmt.Sprintf("    from %s   SSRC 0x%08X   payload type %d   %d ms a packet   %s", s.From, s.SSRC, s.Payload, s.Ptime, clock(spanOf(s))),
			fmt.Sprintf("    packets %s   lost %s (%.2f %%)   jitter at most %.1f ms", count(uint64(s.Packets)), count(uint64(s.Lost)), lost, s.JitterMax),
			fmt.Sprintf("    MOS %s", cmp.Or(digits(s.MOS.LQ > 0, "%.2f", s.MOS.LQ), "not known")),
		}
		if s.Flags != "" {
			lines[2] += "   " + clean(s.Flags)
		}
		out = append(out, m.look.head.Render(m.g.cut(head, m.width)))
		for _, l := range lines {
			l = m.g.cut(l, m.width)
			if s.MOS.LQ > 0 && s.MOS.LQ < badMOS {
				l = m.look.bad.Render(l)
			}
			out = append(out, l)
		}
		out = append(out, "")
	}
	return out
}

// raw is the message under the cursor as it was on the wire, long lines wrapped.
func (m *model) raw() []string {
	v := &m.call
	msg := v.lines[v.at].message
	if msg == nil {
		return nil
	}
	head := fmt.Sprintf(" %s  %s %s %s", m.moment(msg.Time, "2006-01-02 15:04:05.000000"), msg.Src, strings.TrimSpace(m.g.line+m.g.right), msg.Dst)
	out := []string{m.look.head.Render(m.g.cut(head, m.width)), ""}
	if msg.Text == "" {
		text := cmp.Or(v.detail.Why, "its text is not stored")
		return append(out, m.look.dim.Render(m.g.cut("  "+label(*msg)+": "+clean(text), m.width)))
	}
	body := false
	for i, line := range strings.Split(strings.ReplaceAll(msg.Text, "\r\n", "\n"), "\n") {
		line = clean(strings.ReplaceAll(line, "\t", "    "))
		body = body || line == ""
		style := m.look.plain
		switch {
		case i == 0:
			style = m.look.of(msg)
		case body:
			style = m.look.dim
		}
		for first := true; first || line != ""; first = false {
			part := m.g.head(line, m.width-2)
			line = line[len(part):]
			out = append(out, style.Render("  "+part))
		}
	}
	return out
}

// label is what stands on the arrow of a message.
func label(m Message) string {
	text := clean(m.Method)
	if m.Status != 0 {
		text = strings.TrimSpace(fmt.Sprintf("%d %s", m.Status, clean(m.Reason)))
		if m.Method != "INVITE" {
			text += " (" + clean(m.Method) + ")"
		}
	}
	return text
}
