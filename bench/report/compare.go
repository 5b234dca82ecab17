package report

import (
	"fmt"
	"io"
	"strings"
)

// Compare writes the figures of two runs beside each other, and returns how many
// there are that differ by more than the noise that the runs themselves state.
func Compare(w io.Writer, before, now *Report) (differ, of int, err error) {
	var b strings.Builder
	noise := [2]float64{before.Noise.Share, now.Noise.Share}
	fmt.Fprintf(&b, "Runs of %s (noise %.0f %%) and %s (noise %.0f %%).\n\n", before.Date.UTC().Format("2006-01-02 15:04"), 100*noise[0],
		now.Date.UTC().Format("2006-01-02 15:04"), 100*noise[1])
	table(&b, "figure", "before", "now", "now to before", "")
	line := func(what, format string, a, c Figure) {
		if len(a) == 0 && len(c) == 0 {
			return
		}
		of++
		verdict := "agrees"
		if !a.agrees(noise[0], c, noise[1]) {
			verdict = "DIFFERS"
			differ++
		}
		cells(&b, what, a.show(format), c.show(format), ratio(c.Median(), a.Median()), verdict)
	}
	for _, f := range before.Files {
		for _, r := range f.Rows {
			with := now.fileRow(f.Name, r.Program)
			if with == nil || r.Failed != "" || with.Failed != "" {
				continue
			}
			line(f.Name+", "+r.Program+": CPU s", "%.2f", r.CPU, with.CPU)
		}
	}
	for _, s := range before.Scenarios {
		for _, r := range s.Rows {
			with := now.row(s.Name, s.Queues, r.Program)
			if with == nil || r.Failed != "" || with.Failed != "" || r.From != "" {
				continue
			}
			name := fmt.Sprintf("%s, %d queues, %s", s.Name, s.Queues, r.Program)
			line(name+": loss-free packets/s", "%.0f", r.Rate, with.Rate)
			if r.CostAt == with.CostAt { // at another rate a packet costs something else
				line(name+": ns a packet", "%.0f", r.Sum, with.Sum)
			}
		}
	}
	fmt.Fprintf(&b, "\n%d of %d figures differ by more than the noise.\n", differ, of)
	if _, err := io.WriteString(w, b.String()); err != nil {
		return 0, 0, fmt.Errorf("write comparison: %w", err)
	}
	return differ, of, nil
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
