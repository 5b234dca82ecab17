package report

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
)

// Compare writes the figures of two runs beside each other, and returns how many
// there are that differ by more than the noise that the runs themselves state.
func Compare(w io.Writer, before, now *Report) (differ, of int, err error) {
	c := &comparison{noise: [2]float64{before.Noise.Share, now.Noise.Share}}
	fmt.Fprintf(&c.text, "Runs of %s (noise %.0f %%) and %s (noise %.0f %%).\n\n", before.Date.UTC().Format("2006-01-02 15:04"), 100*c.noise[0],
		now.Date.UTC().Format("2006-01-02 15:04"), 100*c.noise[1])
	Table(&c.text, "figure", "before", "now", "now to before", "")
	c.files(before, now)
	c.scenarios(before, now)
	fmt.Fprintf(&c.text, "\n%d of %d figures differ by more than the noise.\n", c.differ, c.of)
	if c.single > 0 {
		fmt.Fprintf(&c.text, "%d rows are in one run only.\n", c.single)
	}
	if _, err := io.WriteString(w, c.text.String()); err != nil {
		return 0, 0, fmt.Errorf("write comparison: %w", err)
	}
	return c.differ, c.of, nil
}

// comparison is what Compare has found so far.
type comparison struct {
	text       strings.Builder
	noise      [2]float64
	differ, of int
	single     int // rows that only one run has
}

func (c *comparison) files(before, now *Report) {
	for _, f := range before.Files {
		for i := range f.Rows {
			r, name := &f.Rows[i], f.Name+", "+f.Rows[i].Program
			with := now.fileRow(f.Name, r.Program)
			if c.both(name, r.fate(), with.fate()) {
				c.line(name+": CPU s", "%.2f", value{r.CPU, false}, value{with.CPU, false})
			}
		}
	}
	for _, f := range now.Files {
		for i := range f.Rows {
			if before.fileRow(f.Name, f.Rows[i].Program) == nil {
				c.both("", absent, f.Rows[i].fate())
			}
		}
	}
}

func (c *comparison) scenarios(before, now *Report) {
	for _, s := range before.Scenarios {
		for i := range s.Rows {
			r := &s.Rows[i]
			with := now.row(s.Name, s.Queues, r.Program)
			name := fmt.Sprintf("%s, %d queues, %s", s.Name, s.Queues, r.Program)
			if r.From != "" || !c.both(name, r.fate(), with.fate()) {
				continue
			}
			c.line(name+": loss-free packets/s", "%.0f", value{r.Rate, r.Open()}, value{with.Rate, with.Open()})
			if r.CostAt == with.CostAt { // at another rate a packet costs something else
				c.line(name+": ns a packet", "%.0f", value{r.Sum, false}, value{with.Sum, false})
			}
		}
	}
	for _, s := range now.Scenarios {
		for i := range s.Rows {
			if r := &s.Rows[i]; r.From == "" && before.row(s.Name, s.Queues, r.Program) == nil {
				c.both("", absent, r.fate())
			}
		}
	}
}

// fate is what became of a row.
type fate int

const (
	absent fate = iota // there is none, or the time was over
	broken             // the program failed
	measured
)

func (f fate) String() string { return [...]string{"–", "failed", "measured"}[f] }

func fateOf(failed string) fate {
	switch {
	case failed == "":
		return measured
	case strings.HasPrefix(failed, "failed:"):
		return broken
	}
	return absent
}

func (r *Row) fate() fate {
	if r == nil {
		return absent
	}
	return fateOf(r.Failed)
}

func (r *FileRow) fate() fate {
	if r == nil {
		return absent
	}
	return fateOf(r.Failed)
}

// both reports whether both runs have the figures of a row. A program that failed in one
// of them only differs; what one did not come to is counted.
func (c *comparison) both(name string, a, b fate) bool {
	switch {
	case a == b:
		return a == measured
	case a == absent, b == absent:
		c.single++
	default:
		c.of++
		c.differ++
		Cells(&c.text, name, a.String(), b.String(), "–", "DIFFERS")
	}
	return false
}

// value is a figure of one run.
type value struct {
	Figure
	open bool // it may be more
}

func (v value) show(format string) string {
	text := v.Figure.show(format)
	if v.open && len(v.Figure) > 0 {
		text = "at least " + text
	}
	return text
}

// upTo are the values, and infinity if there may be more.
func (v value) upTo() Figure {
	if !v.open || len(v.Figure) == 0 {
		return v.Figure
	}
	return append(slices.Clone(v.Figure), math.Inf(1))
}

// line writes a figure of both runs, if there is one.
func (c *comparison) line(what, format string, a, b value) {
	if len(a.Figure) == 0 && len(b.Figure) == 0 {
		return
	}
	c.of++
	verdict := "agrees"
	if !a.upTo().agrees(c.noise[0], b.upTo(), c.noise[1]) {
		verdict = "DIFFERS"
		c.differ++
	}
	Cells(&c.text, what, a.show(format), b.show(format), ratio(b.Median(), a.Median()), verdict)
}

func (r *Report) fileRow(file, program string) *FileRow {
	for i := range r.Files {
		if r.Files[i].Name != file {
			continue
		}
		for j := range r.Files[i].Rows {
			if r.Files[i].Rows[j].Program == program {
				return &r.Files[i].Rows[j]
			}
		}
	}
	return nil
}

func (r *Report) row(scenario string, queues int, program string) *Row {
	for i := range r.Scenarios {
		if r.Scenarios[i].Name != scenario || r.Scenarios[i].Queues != queues {
			continue
		}
		for j := range r.Scenarios[i].Rows {
			if r.Scenarios[i].Rows[j].Program == program {
				return &r.Scenarios[i].Rows[j]
			}
		}
	}
	return nil
}
