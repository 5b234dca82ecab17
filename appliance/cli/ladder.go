package cli

import (
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"

	"ringside/flow/record"
)

const (
	timeWidth   = 11 // columns of the time offset before a ladder
	leastSpan   = 16 // columns between two lifelines below which a ladder becomes a list
	widestSpan  = 34 // and above which it gets no clearer
	leastLabels = 4  // columns of an arrow's line that its label leaves free
)

// step is one line of a ladder: a message, with the times that it was sent
// again on the same hop.
type step struct {
	record.Message
	times int
}

// steps collapses retransmissions into the message that they repeat.
func steps(msgs []record.Message) []step {
	type key struct {
		src, dst netip.AddrPort
		method   string
		status   uint16
		cseq     uint32
	}
	var out []step
	seen := make(map[key]int, len(msgs))
	for _, m := range msgs {
		k := key{m.Src, m.Dst, m.Method, m.Status, m.CSeq}
		if at, ok := seen[k]; ok && m.Retrans {
			out[at].times++
			continue
		}
		seen[k] = len(out)
		out = append(out, step{m, 1})
	}
	return out
}

// label is what stands on a message's arrow, in at most room columns. The
// marks at its end are kept when it is cut.
func (l look) label(s step, room int) string {
	text := clean(s.Method)
	if s.Status != 0 {
		text = strings.TrimSpace(fmt.Sprintf("%d %s", s.Status, clean(s.Reason)))
		if s.Method != "INVITE" {
			text += " (" + clean(s.Method) + ")"
		}
	}
	marks := ""
	if s.SDP {
		marks += " +SDP"
	}
	if s.times > 1 {
		marks += " " + l.times(s.times)
	}
	return l.shorten(text, max(1, room-cells(marks))) + marks
}

// writeLadder draws the messages between the endpoints that exchanged them,
// endpoints in order of appearance, times as offsets from the first message.
func writeLadder(w io.Writer, l look, msgs []record.Message) error {
	if len(msgs) == 0 {
		return nil
	}
	var ends []netip.AddrPort
	for _, m := range msgs {
		for _, a := range []netip.AddrPort{m.Src, m.Dst} {
			if !slices.Contains(ends, a) {
				ends = append(ends, a)
			}
		}
	}
	var b strings.Builder
	span := min(widestSpan, (l.textWidth()-timeWidth)/len(ends))
	if span < leastSpan {
		l.list(&b, ends, msgs)
	} else {
		l.draw(&b, ends, msgs, span)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func offset(m, first record.Message) string {
	return fmt.Sprintf("%*.3f  ", timeWidth-2, float64(m.Time-first.Time)/1e9)
}

// draw writes the ladder with one lifeline per endpoint, span columns apart.
func (l look) draw(b *strings.Builder, ends []netip.AddrPort, msgs []record.Message, span int) {
	l.heads(b, ends, span)
	life := func(i int) int { return span/2 + i*span }
	bar, line := l.pick("│", "|"), []rune(l.pick("─", "-"))[0]
	right, left := l.pick("►", ">"), l.pick("◄", "<")
	blank := func() []rune {
		row := []rune(strings.Repeat(" ", span*len(ends)))
		for i := range ends {
			row[life(i)] = []rune(bar)[0]
		}
		return row
	}
	put := func(row []rune, at int, s string) {
		copy(row[max(at, 0):], []rune(s))
	}
	for _, s := range steps(msgs) {
		row := blank()
		from, to := life(slices.Index(ends, s.Src)), life(slices.Index(ends, s.Dst))
		if from == to { // sent to itself
			put(row, from+1, l.pick("◄ ", "< ")+l.label(s, len(row)-from-3))
		} else {
			lo, hi := min(from, to), max(from, to)
			for i := lo + 1; i < hi; i++ {
				row[i] = line
			}
			text := " " + l.label(s, hi-lo-1-leastLabels) + " "
			put(row, lo+1+(hi-lo-1-cells(text))/2, text)
			if from < to {
				put(row, hi-1, right)
			} else {
				put(row, lo+1, left)
			}
		}
		b.WriteString(offset(s.Message, msgs[0]) + strings.TrimRight(string(row), " ") + "\n")
	}
}

// heads writes the endpoints above their lifelines: in one line, or address
// above port, or as letters that a legend explains.
func (l look) heads(b *strings.Builder, ends []netip.AddrPort, span int) {
	fits := func(text func(netip.AddrPort) string) bool {
		return !slices.ContainsFunc(ends, func(a netip.AddrPort) bool { return cells(text(a)) >= span })
	}
	centred := func(text func(int, netip.AddrPort) string) {
		row := strings.Repeat(" ", timeWidth)
		for i, a := range ends {
			s := text(i, a)
			pad := max(0, span/2-cells(s)/2)
			row += padRight(strings.Repeat(" ", pad)+s, span)
		}
		b.WriteString(strings.TrimRight(row, " ") + "\n")
	}
	host := func(a netip.AddrPort) string { return a.Addr().String() }
	switch {
	case fits(l.address):
		centred(func(_ int, a netip.AddrPort) string { return l.address(a) })
	case fits(host):
		centred(func(_ int, a netip.AddrPort) string { return host(a) })
		centred(func(_ int, a netip.AddrPort) string { return fmt.Sprintf(":%d", a.Port()) })
	default:
		l.legend(b, ends)
		centred(func(i int, _ netip.AddrPort) string { return letter(i) })
	}
}

// list writes one line per message, for more endpoints than a ladder can hold.
func (l look) list(b *strings.Builder, ends []netip.AddrPort, msgs []record.Message) {
	l.legend(b, ends)
	for _, s := range steps(msgs) {
		hop := letter(slices.Index(ends, s.Src)) + l.pick(" ─► ", " -> ") + letter(slices.Index(ends, s.Dst))
		room := l.textWidth() - timeWidth - cells(hop) - 2
		b.WriteString(offset(s.Message, msgs[0]) + hop + "  " + l.label(s, room) + "\n")
	}
}

func (l look) legend(b *strings.Builder, ends []netip.AddrPort) {
	for i, a := range ends {
		fmt.Fprintf(b, "%*s  %s\n", timeWidth-2, letter(i), l.address(a))
	}
}

// letter names the i-th endpoint: A to Z, then A1, B1, …
func letter(i int) string {
	s := string(rune('A' + i%26))
	if i >= 26 {
		s += fmt.Sprint(i / 26)
	}
	return s
}
