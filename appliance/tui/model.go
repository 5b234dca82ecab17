package tui

import (
	"context"
	"time"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/charmbracelet/lipgloss"
)

// screen is what is shown between the title and the health bar.
type screen int

const (
	onList screen = iota
	onCall
	onStreams
	onRaw
	onHelp
)

// pollEvery is how often a live source is asked; pollWait is how long it has.
const (
	pollEvery = time.Second
	pollWait  = 5 * time.Second
)

// keepEnded is how many calls that are over stay in the list.
const keepEnded = 500

// model is everything that is on the screen. It is changed by Update alone, from
// one goroutine.
type model struct {
	ctx  context.Context
	src  Source
	o    Options
	g    *glyphs
	look styles
	tick func() tea.Cmd // nil: nobody polls

	width, height int
	screen        screen
	back          screen // where help returns to
	paused        bool

	status    *Status
	statusErr error
	list      list
	call      callView
}

// What the source says, as it comes back from a poll.
type (
	gotCalls struct {
		calls Calls
		err   error
	}
	gotStatus struct {
		status *Status
		err    error
	}
	gotDetail struct {
		id     string
		detail *Detail
		err    error
	}
	tock struct{}
)

func newModel(ctx context.Context, src Source, o Options, r *lipgloss.Renderer) *model {
	m := &model{ctx: ctx, src: src, o: o, g: &fancy, look: newStyles(r), width: 80, height: 24}
	if o.ASCII {
		m.g = &ordinary
	}
	if m.o.Zone == nil {
		m.o.Zone = time.Local
	}
	m.list.down = true
	if o.Live {
		m.tick = func() tea.Cmd { return tea.Tick(pollEvery, func(time.Time) tea.Msg { return tock{} }) }
	}
	return m
}

// Init implements tea.Model.
func (m *model) Init() tea.Cmd { return tea.Batch(m.pollCalls(), m.pollStatus(), m.next()) }

func (m *model) next() tea.Cmd {
	if m.tick == nil {
		return nil
	}
	return m.tick()
}

// poll asks the source, with a deadline.
func (m *model) poll(ask func(context.Context) tea.Msg) tea.Cmd {
	return func() tea.Msg {
		ctx, cancel := context.WithTimeout(m.ctx, pollWait)
		defer cancel()
		return ask(ctx)
	}
}

func (m *model) pollCalls() tea.Cmd {
	return m.poll(func(ctx context.Context) tea.Msg {
		c, err := m.src.Calls(ctx)
		return gotCalls{c, err}
	})
}

func (m *model) pollStatus() tea.Cmd {
	return m.poll(func(ctx context.Context) tea.Msg {
		s, err := m.src.Status(ctx)
		return gotStatus{s, err}
	})
}

func (m *model) pollDetail() tea.Cmd {
	if m.screen == onList || m.call.of.ID == "" {
		return nil
	}
	c := m.call.of
	return m.poll(func(ctx context.Context) tea.Msg {
		d, err := m.src.Call(ctx, &c)
		return gotDetail{c.ID, d, err}
	})
}

// Update implements tea.Model.
func (m *model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
	case tock:
		if m.paused { // figures go on, what is read stands still
			return m, tea.Batch(m.pollStatus(), m.next())
		}
		return m, tea.Batch(m.pollCalls(), m.pollStatus(), m.pollDetail(), m.next())
	case gotCalls:
		m.list.err = msg.err
		if msg.err == nil && !(m.paused && m.list.asOf != 0) {
			m.list.take(msg.calls, m.o.Live)
			m.call.refresh(m.list.all)
		}
	case gotStatus:
		m.statusErr = msg.err
		if msg.err == nil {
			m.status = msg.status
		}
	case gotDetail:
		if msg.id == m.call.of.ID {
			m.call.take(msg.detail, msg.err)
		}
	case tea.KeyMsg:
		return m.key(msg)
	}
	return m, nil
}

// key is one key pressed.
func (m *model) key(k tea.KeyMsg) (tea.Model, tea.Cmd) {
	if k.String() == "ctrl+c" {
		return m, tea.Quit
	}
	if m.list.typing {
		m.list.typed(k)
		return m, nil
	}
	switch k.String() {
	case "q":
		if m.screen == onList {
			return m, tea.Quit
		}
		m.leave()
		return m, nil
	case "esc", "backspace":
		m.leave()
		return m, nil
	case "?":
		if m.screen != onHelp {
			m.back, m.screen = m.screen, onHelp
		}
		return m, nil
	case "p", " ":
		m.paused = !m.paused && m.o.Live
		return m, nil
	}
	switch m.screen {
	case onList:
		return m, m.listKey(k.String())
	case onCall, onStreams, onRaw:
		m.callKey(k.String())
	}
	return m, nil
}

// leave goes back by one screen.
func (m *model) leave() {
	switch m.screen {
	case onList:
		m.list.filter = ""
	case onHelp:
		m.screen = m.back
	case onRaw, onStreams:
		m.screen = onCall
	case onCall:
		m.screen = onList
	}
}

// room is how many lines lie between the title and the health bar.
func (m *model) room() int { return max(1, m.height-1-m.barLines()-1) }

// step is how far a key moves a cursor in a list with so many lines on the
// screen, and whether it is such a key.
func step(key string, page, all int) (by int, ok bool) {
	switch key {
	case "up", "k":
		return -1, true
	case "down", "j":
		return 1, true
	case "pgup", "ctrl+b":
		return -max(1, page-1), true
	case "pgdown", "ctrl+f":
		return max(1, page-1), true
	case "home", "g":
		return -all, true
	case "end", "G":
		return all, true
	}
	return 0, false
}

// window is the first line to show so that the cursor is seen, from what was the
// first before.
func window(first, cursor, room, all int) int {
	first = min(first, cursor)
	first = max(first, cursor-room+1)
	return max(0, min(first, all-room))
}
