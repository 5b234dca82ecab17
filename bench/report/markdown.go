package report

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// WriteMarkdown writes a report for people. Plots are linked by the names that
// Plots gives them.
func (r *Report) WriteMarkdown(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "# Benchmarks, %s\n\n", r.Date.UTC().Format("2006-01-02 15:04"))
	r.writeHost(&b)
	r.writeNoise(&b)
	r.writePeers(&b)
	for i := range r.Files {
		r.Files[i].write(&b)
	}
	r.writeSummary(&b)
	for i := range r.Scenarios {
		r.Scenarios[i].write(&b)
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}

func (r *Report) writeHost(b *strings.Builder) {
	h := &r.Host
	rows := [][2]string{
		{"ringside", r.Ringside},
		{"command", "`" + r.Command + "`"},
		{"took", r.Took.Round(time.Second).String()},
		{"processor", fmt.Sprintf("%s, %d CPUs", h.CPU, h.CPUs)},
		{"memory", fmt.Sprintf("%.1f GiB", float64(h.Memory)/(1<<30))},
		{"system", h.System + ", Linux " + h.Kernel},
		{"governor", h.Governor},
		{"virtual machine", h.Virtual},
		{"load before", fmt.Sprintf("%.2f", h.Load)},
		{"link", h.Link},
		{"NIC", h.NIC},
		{"driver", h.Driver},
		{"speed", h.Speed},
		{"queues", fmt.Sprint(h.Queues)},
		{"XDP", h.XDP},
		{"CPUs that send, that receive", fmt.Sprintf("%v, %v", h.Send, h.Receive)},
		{"sender", r.Method.Sender},
	}
	Table(b, "machine", "")
	for _, row := range rows {
		if row[1] != "" {
			Cells(b, row[0], row[1])
		}
	}
	b.WriteByte('\n')
}

func (r *Report) writeNoise(b *strings.Builder) {
	m := &r.Method
	fmt.Fprintf(b, "Figures are least / median (± half of their range); rounds in which all programs take turns: %d. Where there is media, "+
		"%d calls go on at the same time; each measurement sends for %v. A rate holds where at most %g %% of the packets are lost, "+
		"at the sender, on the way and in the records together, in one of %d tries; the search ends when two rates are within %.0f %%.\n\n",
		m.Runs, m.Calls, m.Span, 100*m.Free, m.Tries, 100*(m.Exact-1))
	fmt.Fprintf(b, "**Noise:** the calibration loop took %s ns a turn by the clock over the run. Two runs of this suite on this machine may differ by "+
		"**%.0f %%** beyond the ranges given, for no reason of the programs. Read ratios of one table before figures of two.\n\n",
		r.Noise.Loop.show("%.2f"), 100*r.Noise.Share)
	if r.Noise.Stolen > 0 {
		fmt.Fprintf(b, "The host of this virtual machine had %.1f %% of its CPUs' time. What packets were lost meanwhile says nothing of programs: "+
			"%d measurements were made again.\n\n", 100*r.Noise.Stolen, r.Noise.Again)
	}
}

func (r *Report) writePeers(b *strings.Builder) {
	if len(r.Peers) == 0 {
		return
	}
	Table(b, "other program", "version")
	for _, p := range r.Peers {
		if p.Missing {
			Cells(b, p.Name, "not installed: "+p.Remedy)
			continue
		}
		Cells(b, p.Name, p.Version)
	}
	b.WriteByte('\n')
}

func (f *File) write(b *strings.Builder) {
	fmt.Fprintf(b, "## %s\n\n%s: %s packets, %s calls at the same time, %.1f MB, in the page cache.\n\n",
		f.Name, f.What, thousands(float64(f.Packets)), thousands(float64(f.Calls)), float64(f.Bytes)/1e6)
	Table(b, "program", "CPU s", "wall s", "peak MiB", "packets per CPU second", "ns CPU a packet", "KiB a call (peak)", "ringside's packets per CPU second to its", "its memory to ringside's", "it says")
	base := f.base()
	for _, r := range f.Rows {
		if r.Failed != "" {
			Cells(b, r.Program, r.Failed, "", "", "", "", "", "", "", "")
			continue
		}
		said := "–"
		if r.Counts != "" {
			said = thousands(float64(r.Counted)) + " " + r.Counts
		}
		Cells(b, r.Program, r.CPU.show("%.2f"), r.Wall.show("%.2f"), fmt.Sprintf("%.0f", r.Memory.Median()/1024),
			thousands(per(float64(f.Packets), r.CPU.Least())), fmt.Sprintf("%.0f", per(1e9*r.CPU.Least(), float64(f.Packets))),
			fmt.Sprintf("%.1f", per(r.Memory.Median(), float64(f.Calls))), ratio(r.CPU.Least(), base.CPU.Least()), ratio(r.Memory.Median(), base.Memory.Median()), said)
	}
	b.WriteString("\n")
	for _, r := range f.Rows {
		fmt.Fprintf(b, "- %s: `%s`\n", r.Program, r.Command)
	}
	b.WriteString("\n")
}

// base is the row of the first program that did not fail.
func (f *File) base() FileRow {
	for _, r := range f.Rows {
		if r.Failed == "" {
			return r
		}
	}
	return FileRow{}
}

func (r *Report) writeSummary(b *strings.Builder) {
	if len(r.Scenarios) == 0 {
		return
	}
	b.WriteString("## Live, in short\n\nAll on the same traffic in the same run; what a call costs is said at each scenario.\n\n")
	Table(b, "scenario", "queues", "program", "loss-free packets/s", "ns a packet", "µs a call", "KiB a call", "ringside's rate to it")
	for i := range r.Scenarios {
		s := &r.Scenarios[i]
		for j := range s.Rows {
			row := &s.Rows[j]
			Cells(b, s.Name, fmt.Sprint(s.Queues), row.Program, row.rate(), row.Sum.show("%.0f"), row.Call.show("%.1f"), row.Memory.show("%.1f"), s.ratio(row))
		}
	}
	b.WriteByte('\n')
}

// rate is the highest loss-free rate in words.
func (r *Row) rate() string {
	switch {
	case r.Failed != "":
		what, _, _ := strings.Cut(r.Failed, ":") // why is said at the scenario
		return what
	case len(r.Rate) == 0:
		return "does not say what it lost"
	case r.Sender:
		return "at least " + thousands(r.Rate.Median()) + " (the sender's limit)"
	case r.Stolen:
		return "at least " + thousands(r.Rate.Median()) + " (the host had the CPUs)"
	case len(r.Rate) == 1:
		return thousands(r.Rate[0])
	}
	return fmt.Sprintf("%s / %s (±%.0f %%)", thousands(r.Rate.Least()), thousands(r.Rate.Median()), 50*r.Rate.Spread())
}

// Open reports whether the program may do more than its rate.
func (r *Row) Open() bool { return r.Sender || r.Stolen }

// ratio is the rate of the first program to that of another. Where one of them may do
// more, it is a bound.
func (s *Scenario) ratio(r *Row) string {
	if !r.Peer || len(s.Rows) == 0 {
		return "–"
	}
	first := &s.Rows[0]
	text := ratio(first.Rate.Median(), r.Rate.Median())
	switch {
	case text == "–":
	case first.Open() && r.Open():
		return "neither's limit was found"
	case first.Open():
		return "at least " + text
	case r.Open():
		return "at most " + text
	}
	return text
}

func (s *Scenario) write(b *strings.Builder) {
	fmt.Fprintf(b, "## %s\n\n%s\n\n", s.title(), s.What)
	if s.PerCall != "" {
		fmt.Fprintf(b, "The cost of a call is that of %s.\n\n", s.PerCall)
	}
	Table(b, "program", "at packets/s", "ns a packet: kernel's receiving threads", "program", "sum", "µs a call")
	for i := range s.Rows {
		r := &s.Rows[i]
		if r.Failed != "" {
			Cells(b, r.Program, r.Failed, "", "", "", "")
			continue
		}
		Cells(b, r.Program, thousands(r.CostAt), r.Kernel.show("%.0f"), r.User.show("%.0f"), r.Sum.show("%.0f"), r.Call.show("%.1f"))
	}
	b.WriteByte('\n')
	s.writeDetail(b)
	for i := range s.Rows {
		if s.Rows[i].Command != "" {
			fmt.Fprintf(b, "- %s: `%s`\n", s.Rows[i].Program, s.Rows[i].Command)
		}
	}
	b.WriteByte('\n')
}

func (s *Scenario) title() string {
	if s.Queues > 1 {
		return fmt.Sprintf("Live: %s, %d queues", s.Name, s.Queues)
	}
	return "Live: " + s.Name
}

// writeDetail writes the curve, the threads, the drops and what is in the records.
func (s *Scenario) writeDetail(b *strings.Builder) {
	if p := s.plot(); p != nil {
		fmt.Fprintf(b, "![share lost, by rate](%s)\n\n", s.plotName())
	}
	for i := range s.Rows {
		r := &s.Rows[i]
		if len(r.Threads) > 0 {
			fmt.Fprintf(b, "CPU by thread, %s: %s\n\n", r.Program, threads(r.Threads))
		}
		if len(r.Drops) > 0 {
			fmt.Fprintf(b, "Lost at %s packets offered, %s:\n\n", thousands(float64(r.Drops[0].Of)), r.Program)
			Table(b, "stage", "reason", "packets", "share")
			for _, d := range r.Drops {
				Cells(b, d.Stage, d.Reason, thousands(float64(d.Packets)), fmt.Sprintf("%.2f %%", 100*per(float64(d.Packets), float64(d.Of))))
			}
			b.WriteByte('\n')
		}
		if r.Records.Known {
			fmt.Fprintf(b, "Records at the highest rate, %s: %s of %s calls", r.Program, thousands(float64(r.Records.CallsFound)), thousands(float64(r.Records.Calls)))
			if r.Records.Packets > 0 {
				fmt.Fprintf(b, ", %s of %s RTP packets", thousands(float64(r.Records.PacketsHere)), thousands(float64(r.Records.Packets)))
			}
			b.WriteString(".\n\n")
		}
	}
}

func threads(of []Share) string {
	var out []string
	for _, t := range of {
		out = append(out, fmt.Sprintf("%s %.0f %%", t.Thread, 100*t.Share))
	}
	return strings.Join(out, ", ")
}

// Table begins a table of Markdown, which Cells goes on with. Neither looks at errors
// of the writer.
func Table(w io.Writer, names ...string) {
	Cells(w, names...)
	_, _ = io.WriteString(w, strings.Repeat("|---", len(names))+"|\n")
}

// Cells writes a row. What programs say may hold anything.
func Cells(w io.Writer, values ...string) {
	var b strings.Builder
	for _, v := range values {
		b.WriteString("| " + strings.NewReplacer("|", `\|`, "\n", " ", "\r", "").Replace(v) + " ")
	}
	_, _ = io.WriteString(w, b.String()+"|\n")
}

func per(what, each float64) float64 {
	if each <= 0 {
		return 0
	}
	return what / each
}

// ratio is a to b, or a dash where it has no meaning.
func ratio(a, b float64) string {
	if a <= 0 || b <= 0 {
		return "–"
	}
	return fmt.Sprintf("%.2f", a/b)
}

// thousands writes a number without parts, its digits in groups.
func thousands(v float64) string {
	s := fmt.Sprintf("%.0f", v)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
