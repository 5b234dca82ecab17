package tui

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	tea "github.com/charmbracelet/bubbletea"
)

// list is the calls, with what is chosen of them and where the cursor is.
type list struct {
	asOf  int64 // ns since the epoch
	total int
	err   error
	all   []Call // those that go on, then those that ended while we looked
	shown []Call // of these those that the filter chooses, sorted

	by     int // index of sorts
	down   bool
	filter string
	typing bool

	at     string // id of the call under the cursor
	first  int    // line at the top
	follow bool   // the cursor stays on the first call
}

// sorts are what the list can be sorted by.
var sorts = []struct {
	name string
	cmp  func(a, b *Call) int
}{
	{"start", func(a, b *Call) int { return cmp.Compare(a.Start, b.Start) }},
	{"length", func(a, b *Call) int { return cmp.Compare(a.length(0), b.length(0)) }},
	{"MOS", func(a, b *Call) int { return cmp.Compare(a.MOS, b.MOS) }},
	{"loss", func(a, b *Call) int { return cmp.Compare(a.Loss, b.Loss) }},
	{"caller", func(a, b *Call) int { return cmp.Compare(a.Caller.Number, b.Caller.Number) }},
	{"called", func(a, b *Call) int { return cmp.Compare(a.Called.Number, b.Called.Number) }},
	{"state", func(a, b *Call) int { return cmp.Compare(a.State, b.State) }},
}

// length is how long a call lasts, or lasted by a moment. With no moment only the
// order counts: of two that go on the older is the longer.
func (c *Call) length(asOf int64) int64 {
	switch {
	case c.End != 0:
		return c.End - c.Start
	case asOf == 0:
		return 1<<62 - c.Start/2
	}
	return max(0, asOf-c.Start)
}

// ended is the state of a call that went on when last seen, and does not now.
const ended = "ended"

// take takes a new answer. Of a live source calls that are gone have ended, and
// stay for a while.
func (l *list) take(c Calls, live bool) {
	l.asOf, l.total = c.AsOf.UnixNano(), c.Total
	now := slices.Clone(c.Items)
	if live {
		there := make(map[string]bool, len(now))
		for i := range now {
			there[now[i].ID] = true
		}
		complete, left := c.Total <= len(now), 0
		for _, old := range l.all {
			if there[old.ID] || !complete && old.End == 0 || left == keepEnded {
				continue
			}
			if old.End == 0 {
				old.State, old.End = ended, l.asOf
			}
			now = append(now, old)
			left++
		}
	}
	l.all = now
	l.choose()
}

// choose applies filter and order.
func (l *list) choose() {
	words := strings.Fields(strings.ToLower(l.filter))
	l.shown = l.shown[:0:0]
	for i := range l.all {
		if l.all[i].matches(words) {
			l.shown = append(l.shown, l.all[i])
		}
	}
	by := sorts[l.by].cmp
	slices.SortStableFunc(l.shown, func(a, b Call) int {
		n := by(&a, &b)
		if l.down {
			n = -n
		}
		return cmp.Or(n, cmp.Compare(a.ID, b.ID))
	})
	if l.index() < 0 && len(l.shown) > 0 || l.follow && len(l.shown) > 0 {
		l.at = l.shown[min(len(l.shown)-1, max(0, l.first))].ID
		if l.follow {
			l.at = l.shown[0].ID
		}
	}
}

// matches reports whether a call has every word in it, and none of those after
// an exclamation mark.
func (c *Call) matches(words []string) bool {
	if len(words) == 0 {
		return true
	}
	text := strings.ToLower(strings.Join([]string{
		c.State, c.CallID, c.Caller.Number, c.Caller.Domain, c.Caller.Name, c.Caller.Agent, c.Caller.Addr.String(),
		c.Called.Number, c.Called.Domain, c.Called.Name, c.Called.Agent, c.Called.Addr.String(), c.Codec, fmt.Sprint(c.Status), strings.Join(c.Flags, " "),
	}, "\n"))
	for _, w := range words {
		not := strings.HasPrefix(w, "!")
		if w = strings.TrimPrefix(w, "!"); w != "" && strings.Contains(text, w) == not {
			return false
		}
	}
	return true
}

// index is the line of the cursor, -1 if there is none.
func (l *list) index() int {
	return slices.IndexFunc(l.shown, func(c Call) bool { return c.ID == l.at })
}

func (l *list) move(by int) {
	if len(l.shown) == 0 {
		return
	}
	l.at = l.shown[max(0, min(len(l.shown)-1, l.index()+by))].ID
}

// typed is a key on the filter line.
func (l *list) typed(k tea.KeyMsg) {
	r := []rune(l.filter)
	switch k.Type {
	case tea.KeyEnter:
		l.typing = false
	case tea.KeyEsc:
		l.typing, r = false, nil
	case tea.KeyBackspace:
		r = r[:max(0, len(r)-1)]
	case tea.KeyCtrlU:
		r = nil
	case tea.KeyRunes, tea.KeySpace:
		r = append(r, []rune(clean(string(k.Runes)))...)
	}
	const longest = 200
	l.filter = string(r[:min(len(r), longest)])
	l.choose()
}

// listKey is a key on the list.
func (m *model) listKey(key string) tea.Cmd {
	l := &m.list
	if by, ok := step(key, m.room()-1, len(l.shown)); ok {
		l.follow = false
		l.move(by)
		return nil
	}
	switch key {
	case "/":
		l.typing = true
	case "s":
		l.by = (l.by + 1) % len(sorts)
		l.choose()
	case "S":
		l.down = !l.down
		l.choose()
	case "f":
		l.follow = !l.follow
		l.choose()
	case "enter", "right", "l", "r":
		if i := l.index(); i >= 0 {
			m.open(&l.shown[i])
			return m.pollDetail()
		}
	}
	return nil
}

// column is one of the list.
type column struct {
	head  string
	width int
	right bool
	flex  bool // takes what is left
	drop  int  // columns are left out from the highest on where there is no room; 0: never
	text  func(m *model, c *Call) string
}

var columns = []column{
	{"State", 9, false, false, 0, func(_ *model, c *Call) string { return c.State }},
	{"Start", 8, false, false, 3, func(m *model, c *Call) string { return m.moment(c.Start, "15:04:05") }},
	{"Caller", 13, false, true, 0, func(_ *model, c *Call) string { return c.Caller.Number }},
	{"Called", 13, false, true, 0, func(_ *model, c *Call) string { return c.Called.Number }},
	{"Length", 7, true, false, 0, func(m *model, c *Call) string { return clock(time.Duration(c.length(m.list.asOf))) }},
	{"Code", 4, true, false, 4, func(_ *model, c *Call) string { return digits(c.Status > 0, "%.0f", float64(c.Status)) }},
	{"MOS", 4, true, false, 0, func(_ *model, c *Call) string { return digits(c.MOS > 0, "%.2f", c.MOS) }},
	{"Loss %", 6, true, false, 1, func(_ *model, c *Call) string { return digits(c.Streams > 0, "%.2f", c.Loss) }},
	{"Jitter", 6, true, false, 5, func(_ *model, c *Call) string { return digits(c.Streams > 0, "%.1f", c.Jitter) }},
	{"Codec", 8, false, false, 6, func(_ *model, c *Call) string { return c.Codec }},
	{"Msgs", 5, true, false, 7, func(_ *model, c *Call) string { return count(uint64(c.Messages)) }},
	{"From", 15, false, false, 8, func(_ *model, c *Call) string { return host(c.Caller.Addr) }},
	{"To", 15, false, false, 9, func(_ *model, c *Call) string { return host(c.Called.Addr) }},
}

// layout is the columns that fit, with their widths.
func layout(width int) []column {
	out := slices.Clone(columns)
	for {
		need, worst := 1, -1 // the mark
		for i, c := range out {
			need += 1 + c.width
			if c.drop > 0 && (worst < 0 || c.drop > out[worst].drop) {
				worst = i
			}
		}
		if need <= width || worst < 0 {
			left := max(0, width-need)
			for i := range out {
				if out[i].flex {
					more := min(14, left-left/2)
					out[i].width += more
					left -= more
				}
			}
			return out
		}
		out = slices.Delete(out, worst, worst+1)
	}
}

// viewList draws the list in so many lines.
func (m *model) viewList(room int) []string {
	l := &m.list
	cols := layout(m.width)
	head := " "
	for _, c := range cols {
		name := c.head
		if strings.EqualFold(strings.TrimSuffix(name, " %"), sorts[l.by].name) {
			arrow := m.g.up
			if l.down {
				arrow = m.g.down
			}
			name = m.g.cut(name, c.width-1) + arrow
		}
		head += " " + m.align(c, name)
	}
	out := []string{m.look.head.Render(m.g.cut(head, m.width))}
	room--
	cursor := l.index()
	l.first = window(l.first, max(0, cursor), room, len(l.shown))
	for i := l.first; i < len(l.shown) && i < l.first+room; i++ {
		out = append(out, m.callRow(cols, &l.shown[i], i == cursor))
	}
	if len(l.shown) == 0 {
		out = append(out, m.look.dim.Render(m.g.cut("  "+m.nothing(), m.width)))
	}
	return out
}

// nothing says why the list is empty.
func (m *model) nothing() string {
	switch {
	case m.list.asOf == 0 && m.list.err == nil:
		return "asking"
	case m.list.err != nil && m.list.asOf == 0:
		return clean(m.list.err.Error())
	case len(m.list.all) > 0:
		return "no call matches the filter: Esc clears it"
	case m.o.Live:
		return "no call goes on"
	}
	return "there is no call"
}

func (m *model) callRow(cols []column, c *Call, under bool) string {
	row := " "
	if under {
		row = m.g.mark
	}
	for _, col := range cols {
		row += " " + m.align(col, clean(col.text(m, c)))
	}
	row = m.g.cut(row, m.width)
	switch {
	case under:
		return m.look.cursor.Render(m.g.fit(row, m.width))
	case c.State == ended:
		return m.look.dim.Render(row)
	case c.MOS > 0 && c.MOS < badMOS, c.Loss > badLoss:
		return m.look.bad.Render(row)
	case c.State == "talking":
		return m.look.good.Render(row)
	}
	return row
}

// What is drawn as bad: a MOS below which many are dissatisfied (ITU-T G.107 Annex
// B), and a loss in per cent that is heard.
const (
	badMOS  = 3.6
	badLoss = 2.0
)

func (m *model) align(c column, text string) string {
	if c.right {
		return m.g.fitRight(text, c.width)
	}
	return m.g.fit(text, c.width)
}

func (m *model) moment(ns int64, layout string) string {
	if ns == 0 {
		return ""
	}
	return time.Unix(0, ns).In(m.o.Zone).Format(layout)
}
