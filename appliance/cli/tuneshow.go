package cli

import (
	"fmt"
	"io"
	"strings"

	"ringside/tuning/apply"
	"ringside/tuning/gauge"
	"ringside/tuning/plan"
)

// writeTune shows a plan, what became of it, and what was measured.
func writeTune(w io.Writer, l look, r *tuneReport, verbose bool) error {
	var b strings.Builder
	switch {
	case r.Undone != "":
		writeUndone(&b, l, r)
	case r.Now != nil:
		writeRows(&b, gauge.Rows(*r.Now), r.Now.Caveats())
	case r.Plan != nil && r.dry:
		writePlan(&b, l, r.Plan, verbose)
	case r.Plan != nil:
		writeApplied(&b, l, r)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func planHead(b *strings.Builder, l look, p *plan.Plan) {
	where := ""
	if p.Nodes > 1 && p.Node >= 0 {
		where = fmt.Sprintf(", NUMA node %d of %d", p.Node, p.Nodes)
	}
	speed := fmt.Sprintf("%d Mbit/s", p.Speed)
	if p.Speed >= 1000 && p.Speed%1000 == 0 {
		speed = fmt.Sprintf("%d Gbit/s", p.Speed/1000)
	}
	if p.Assumed {
		speed += " assumed"
	}
	fmt.Fprintf(b, "%s: %s (%s), %s%s\n", clean(p.Interface), clean(p.Card), clean(p.Driver), speed, where)
	fmt.Fprintf(b, "workload %s: %s, processors %s\n", p.Workload, plural(p.Queues, "queue"), plan.List(p.CPUs))
	if len(p.Uses) > 0 {
		b.WriteString(wrap(strings.Fields("shared with the host: "+clean(strings.Join(p.Uses, "; "))), "", l.textWidth(), 2) + "\n")
	}
	b.WriteString("\n")
}

// writePlan shows the steps: those that do something in full, the others in a line.
func writePlan(b *strings.Builder, l look, p *plan.Plan, verbose bool) {
	planHead(b, l, p)
	var right []string
	for i := range p.Steps {
		s := &p.Steps[i]
		switch {
		case verbose || s.State == plan.Change || s.State == plan.Held || s.State == plan.ByHand:
			writeStep(b, l, s)
		case s.State == plan.Right:
			right = append(right, s.Title)
		}
	}
	if len(right) > 0 && !verbose {
		writeShort(b, l, plan.Right, strings.Join(right, ", "))
	}
	for i := range p.Steps {
		if s := &p.Steps[i]; s.State == plan.Leave && !verbose {
			writeShort(b, l, plan.Leave, s.Title+": "+s.Why)
		}
	}
	fmt.Fprintf(b, "\n%s, %d held back, %d by hand, %d right\n", plural(p.Count(plan.Change), "step"), p.Count(plan.Held), p.Count(plan.ByHand), p.Count(plan.Right))
	if p.Count(plan.Change) > 0 {
		fmt.Fprintf(b, "Nothing was changed. ringside tune --apply %[1]s does it, --undo %[1]s takes it back.\n", clean(p.Interface))
	}
}

// writeShort shows what needs nothing.
func writeShort(b *strings.Builder, l look, state plan.State, text string) {
	const indent = 9
	text = wrap(strings.Fields(clean(text)), "", max(20, l.textWidth()-indent), 0)
	fmt.Fprintf(b, "%-8s %s\n", strings.ToUpper(string(state)), strings.ReplaceAll(text, "\n", "\n"+strings.Repeat(" ", indent)))
}

// writeStep shows a step. Commands are not broken into lines: they are to be copied.
func writeStep(b *strings.Builder, l look, s *plan.Step) {
	const indent = 11
	fmt.Fprintf(b, "%-8s %s\n", strings.ToUpper(string(s.State)), clean(s.Title))
	lasts := "lost when the machine starts anew, unless --persist"
	switch {
	case s.State != plan.Change && s.State != plan.Held && s.State != plan.ByHand:
		lasts = ""
	case s.Lasts:
		lasts = "stays when the machine starts anew"
	case s.Resets:
		lasts += "; the link goes away for a moment"
	}
	for _, f := range []struct{ name, text string }{
		{"found", s.Found}, {"want", s.Want}, {"do", s.Command}, {"why", s.Why}, {"effect", s.Effect}, {"source", s.Source}, {"lasts", lasts}, {"held", s.Held},
	} {
		switch {
		case f.text == "":
		case f.name == "do":
			fmt.Fprintf(b, "  %-7s  %s\n", f.name, clean(f.text))
		default:
			text := wrap(strings.Fields(clean(f.text)), "", max(20, l.textWidth()-indent), 0)
			fmt.Fprintf(b, "  %-7s  %s\n", f.name, strings.ReplaceAll(text, "\n", "\n"+strings.Repeat(" ", indent)))
		}
	}
	b.WriteString("\n")
}

// writeApplied shows what became of each step.
func writeApplied(b *strings.Builder, l look, r *tuneReport) {
	planHead(b, l, r.Plan)
	if len(r.Outcomes) == 0 {
		b.WriteString("everything is as it should be\n")
	}
	for i := 0; i < len(r.Outcomes); {
		j := i
		for j < len(r.Outcomes) && r.Outcomes[j].Step == r.Outcomes[i].Step {
			j++
		}
		writeOutcomes(b, l, r.Outcomes[i].Step, r.Outcomes[i:j])
		i = j
	}
	for i := range r.Plan.Steps {
		if s := &r.Plan.Steps[i]; s.State == plan.Held || s.State == plan.ByHand {
			text := s.Held
			if s.State == plan.ByHand {
				text = s.Command
			}
			fmt.Fprintf(b, "%-9s  %s: %s\n", s.State, clean(s.Title), clean(text))
		}
	}
	if r.Measured != nil {
		b.WriteString("\n")
		writeMeasured(b, r.Measured)
	}
	switch {
	case r.Kept:
		b.WriteString("\nThe plan is applied again when the machine starts (ringside-tune.service).\n")
	case len(r.Outcomes) == 0:
		return
	case r.persist:
		b.WriteString("\nUntil the machine starts anew.\n")
	default:
		b.WriteString("\nUntil the machine starts anew; --persist does it then, too.\n")
	}
	fmt.Fprintf(b, "ringside tune --undo %s takes everything back.\n", clean(r.Plan.Interface))
}

// writeOutcomes shows what became of the settings of a step: those that went well in
// a line, the others in one each.
func writeOutcomes(b *strings.Builder, l look, name string, of []apply.Outcome) {
	var well []apply.Outcome
	for _, o := range of {
		if o.Fate == apply.Done || o.Fate == apply.Already {
			well = append(well, o)
			continue
		}
		fmt.Fprintf(b, "%-9s  %s: %s: %s\n", o.Fate, name, clean(o.Key), clean(oneLine(o.Text)))
	}
	if len(well) == 0 {
		return
	}
	text := fmt.Sprintf("%s %s %s", clean(shortKey(well[0].Key)), l.arrow(), clean(well[0].To))
	if len(well) > 1 {
		text += fmt.Sprintf(", and %d more", len(well)-1)
	}
	fmt.Fprintf(b, "%-9s  %s: %s\n", apply.Done, name, l.shorten(text, max(40, l.textWidth()-14-len(name))))
}

// shortKey is a setting without where all of its kind are.
func shortKey(key string) string {
	for _, prefix := range []string{"/sys/devices/system/cpu/", "/sys/class/net/", "/proc/sys/", "/sys/kernel/mm/", "/proc/"} {
		if rest, ok := strings.CutPrefix(key, prefix); ok {
			return rest
		}
	}
	if rest, ok := strings.CutPrefix(key, "nic/"); ok {
		_, name, _ := strings.Cut(rest, "/")
		return name
	}
	return key
}

func writeUndone(b *strings.Builder, l look, r *tuneReport) {
	name := clean(r.Undone)
	if len(r.Outcomes) == 0 && !r.failed {
		fmt.Fprintf(b, "%s: nothing is to be taken back: it was not tuned since the machine was started\n", name)
	}
	back := 0
	for _, o := range r.Outcomes {
		switch o.Fate {
		case apply.Done, apply.Already, apply.Gone:
			back++
			if o.Text != "" {
				fmt.Fprintf(b, "%-9s  %s: %s\n", o.Fate, clean(o.Key), clean(oneLine(o.Text)))
			}
		default:
			fmt.Fprintf(b, "%-9s  %s: %s\n", o.Fate, clean(o.Key), clean(oneLine(o.Text)))
		}
	}
	if len(r.Outcomes) > 0 {
		fmt.Fprintf(b, "%s: %d of %s as before\n", name, back, plural(len(r.Outcomes), "setting"))
	}
	for _, o := range r.Outcomes {
		if o.Fate == apply.Conflict {
			fmt.Fprintf(b, "ringside tune --undo --force %s takes back also what somebody else has changed.\n", name)
			break
		}
	}
	if r.Forgotten {
		fmt.Fprintf(b, "%s: its plan is not applied any more when the machine starts\n", name)
	}
}

// writeMeasured shows what was measured before and after.
func writeMeasured(b *strings.Builder, c *gauge.Comparison) {
	rows := []gauge.Row{{Name: "measured", Values: []string{"before", "after"}}}
	for _, line := range c.Lines {
		rows = append(rows, gauge.Row{Name: line.Name, Values: []string{line.Before, line.After}})
	}
	writeRows(b, rows, c.Caveats)
}

func writeRows(b *strings.Builder, rows []gauge.Row, caveats []string) {
	width := 0
	for _, row := range rows {
		width = max(width, cells(clean(row.Name)))
	}
	for _, row := range rows {
		fmt.Fprintf(b, "%s ", padRight(clean(row.Name), width))
		for _, v := range row.Values {
			fmt.Fprintf(b, " %12s", v)
		}
		b.WriteString("\n")
	}
	for _, caveat := range caveats {
		b.WriteString(caveat + "\n")
	}
}
