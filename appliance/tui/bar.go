package tui

import (
	"fmt"
	"strings"
)

// barLines is how many lines the health bar takes: one where nothing is captured.
func (m *model) barLines() int {
	if !m.o.Live {
		return 1
	}
	return 3
}

// bar is how the capture does: rates; what is in use; what is lost or wrong. Each
// line leaves out what has no room, the least important last.
func (m *model) bar() []string {
	s := m.status
	switch {
	case s == nil && m.statusErr != nil:
		return []string{m.look.alarm.Render(m.g.cut(" no answer: "+clean(m.statusErr.Error()), m.width)), "", ""}
	case s == nil && !m.o.Live:
		return []string{m.look.dim.Render(m.g.cut(" "+clean(m.o.Name)+": nothing is captured here", m.width))}
	case s == nil:
		return []string{"", "", ""}
	}
	state := m.look.good
	switch s.State {
	case "degraded":
		state = m.look.warn
	case "failing":
		state = m.look.alarm
	}
	name := " " + clean(s.State) + " "
	if !s.Since.IsZero() {
		name += clock(s.Time.Sub(s.Since)) + " "
	}
	rates := m.joined(m.width-cells(name), " calls "+count(s.Calls)+" +"+few(s.CallRate)+"/s", "SIP "+few(s.SIPRate)+"/s",
		"RTP "+few(s.RTPRate)+"/s", "packets "+few(s.PacketRate)+"/s", few(s.BitRate/1e6)+" Mbit/s")
	return []string{state.Render(m.g.cut(name, m.width)) + rates, m.joined(m.width, m.uses()...), m.trouble()}
}

// uses are what is in use.
func (m *model) uses() []string {
	s := m.status
	out := []string{" rings " + percent(s.Rings)}
	if s.Spool >= 0 {
		out = append(out, "spool "+percent(s.Spool))
	}
	if s.StoreAway {
		out = append(out, "store AWAY")
	} else if s.Store >= 0 {
		out = append(out, "store "+percent(s.Store))
	}
	memory := size(s.Memory)
	if s.Budget > 0 {
		memory += " of " + size(s.Budget)
	}
	out = append(out, memory)
	if len(s.CPU) > 0 {
		var cpu []string
		for _, c := range s.CPU {
			cpu = append(cpu, fmt.Sprintf("%.0f", 100*c))
		}
		const most = 8
		if len(cpu) > most {
			cpu = append(cpu[:most], m.g.more)
		}
		out = append(out, "CPU "+strings.Join(cpu, " ")+" %")
	}
	return out
}

// trouble is what is lost, else what is wrong, else that nothing is.
func (m *model) trouble() string {
	s := m.status
	var parts []string
	for _, g := range s.Gaps {
		parts = append(parts, "LEDGER "+clean(g))
	}
	for _, d := range s.Drops {
		if d.Packets == 0 {
			continue
		}
		text := clean(d.Place) + " " + count(d.Packets)
		if d.Rate > 0 {
			text += " (" + few(d.Rate) + "/s)"
		}
		parts = append(parts, text)
	}
	why := clean(strings.Join(s.Why, "; "))
	switch {
	case len(parts) > 0 && why != "":
		parts = append(parts, why)
		fallthrough
	case len(parts) > 0:
		return m.look.alarm.Render(m.g.cut(" LOST "+strings.Join(parts, "  "), m.width))
	case why != "":
		return m.look.warn.Render(m.g.cut(" "+why, m.width))
	case s.State == "idle":
		return m.look.dim.Render(" nothing is captured")
	}
	return m.look.good.Render(" no packet lost")
}

// joined is parts with blanks between them, as many as fit.
func (m *model) joined(width int, parts ...string) string {
	out := ""
	for i, p := range parts {
		if i > 0 {
			p = "  " + p
		}
		if cells(out)+cells(p) > width {
			break
		}
		out += p
	}
	return out
}

func percent(v float64) string { return fmt.Sprintf("%.0f %%", 100*v) }
