package tui

import (
	"fmt"
	"strings"

	"github.com/charmbracelet/lipgloss"
	"github.com/charmbracelet/x/ansi"

	"ringside/flow/record"
)

// styles are colours. A terminal without them shows the same text.
type styles struct {
	plain, head, title, dim, good, bad, alarm, warn, cursor, request, progress, success, failure lipgloss.Style
}

func newStyles(r *lipgloss.Renderer) styles {
	colour := func(c string) lipgloss.Style { return r.NewStyle().Foreground(lipgloss.Color(c)) }
	return styles{
		plain: r.NewStyle(), head: r.NewStyle().Bold(true), title: r.NewStyle().Bold(true).Reverse(true), dim: r.NewStyle().Faint(true),
		good: colour("2"), bad: colour("1"), alarm: colour("9").Bold(true), warn: colour("3").Bold(true), cursor: r.NewStyle().Reverse(true),
		request: colour("6"), progress: colour("3"), success: colour("2"), failure: colour("1"),
	}
}

// of is the style of a message.
func (s *styles) of(m *Message) lipgloss.Style {
	switch {
	case m.Retrans:
		return s.warn
	case m.Status == 0:
		return s.request
	case m.Status < 200:
		return s.progress
	case m.Status < 300:
		return s.success
	}
	return s.failure
}

// ofStream is the style of a stream.
func (s *styles) ofStream(of *record.Stream) lipgloss.Style {
	if of.MOS.LQ > 0 && of.MOS.LQ < badMOS {
		return s.failure
	}
	return s.dim
}

// View implements tea.Model: the title, the screen, the health bar, the keys.
func (m *model) View() string {
	room := m.room()
	var body []string
	switch m.screen {
	case onList:
		body = m.viewList(room)
	case onHelp:
		body = m.viewHelp()
	default:
		body = m.viewCall(room)
	}
	for len(body) < room {
		body = append(body, "")
	}
	lines := append([]string{m.look.title.Render(m.g.fit(m.title(), m.width))}, body[:room]...)
	lines = append(lines, m.bar()...)
	lines = append(lines, m.keys())
	lines = lines[:min(len(lines), max(1, m.height))]
	for i, l := range lines {
		if lipgloss.Width(l) > m.width { // on a terminal that is too small for anything
			lines[i] = ansi.Truncate(l, m.width, "")
		}
	}
	return strings.Join(lines, "\n")
}

// title is the first line.
func (m *model) title() string {
	text := " ringside top"
	switch m.screen {
	case onHelp:
		return text + "  help"
	case onList:
		text += fmt.Sprintf("  %s of %s calls", count(uint64(len(m.list.shown))), count(uint64(max(m.list.total, len(m.list.all)))))
		order := "up"
		if m.list.down {
			order = "down"
		}
		text += "  by " + sorts[m.list.by].name + " " + order
		if m.list.follow {
			text += "  following"
		}
		if m.list.filter != "" && !m.list.typing {
			text += "  filter: " + m.list.filter
		}
	default:
		c := &m.call.of
		text = fmt.Sprintf(" %s %s %s", clean(or(c.Caller.Number)), m.g.right, clean(or(c.Called.Number)))
		switch m.screen {
		case onStreams:
			text += "  streams"
		case onRaw:
			text += m.call.position()
		}
		text += "  " + clean(c.CallID)
	}
	if m.paused {
		text = " PAUSED" + text
	}
	if m.list.err != nil && m.list.asOf != 0 {
		text = " NO ANSWER: " + clean(m.list.err.Error()) + " " + text
	}
	return text
}

// or is a number, or what stands for one that is missing.
func or(number string) string {
	if number == "" {
		return "(none)"
	}
	return number
}

// keys is the last line.
func (m *model) keys() string {
	if m.list.typing {
		return m.look.plain.Render(m.g.fit("/"+m.list.filter+"_", m.width))
	}
	text := map[screen]string{
		onList:    "Enter open  / filter  s sort  S turn  f follow  p pause  ? help  q quit",
		onCall:    "Enter message  t streams  f follow  p pause  Esc back  ? help",
		onStreams: "t ladder  Esc back  ? help",
		onRaw:     "n next  N previous  Esc back  ? help",
		onHelp:    "Esc back",
	}[m.screen]
	return m.look.dim.Render(m.g.cut(text, m.width))
}

// viewHelp says what there is.
func (m *model) viewHelp() []string {
	text := `
  Up Down j k          move          PgUp PgDn g G   by pages, to the ends
  Enter                open          Esc             back; on the list: no filter
  /                    filter: words that a call must have, !word: must not have
  s S                  sort by the next column; turn the order
  f                    follow: stay with the newest
  t                    streams of the call, and its ladder again
  r                    the message as it was on the wire; n N: next, previous
  p                    pause: the list stands still, the health bar does not
  q                    back, on the list: leave; Ctrl-C: leave

  Red: MOS below 3.6, loss above 2 %, and in the bar packets that were lost here.`
	var out []string
	for l := range strings.SplitSeq(strings.TrimPrefix(text, "\n"), "\n") {
		out = append(out, m.g.cut(l, m.width))
	}
	return out
}
