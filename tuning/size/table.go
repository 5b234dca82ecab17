package size

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// Table writes the table of docs/sizing.md, in Markdown: loads that people have, each
// metered, with headers, and whole.
func Table(w io.Writer) error {
	var b strings.Builder
	b.WriteString("| calls at a time | codec | media kept | RTP/s | link | cores | memory | `ringbuffer` | disk | spool a day | store a day | rows a day |\n")
	b.WriteString("|---|---|---|---|---|---|---|---|---|---|---|---|\n")
	for _, calls := range []float64{100, 500, 2_000, 10_000, 30_000} {
		for _, codec := range []string{"G.711", "G.729"} {
			for _, recording := range []Recording{Meter, Header, Full} {
				n, err := Of(Load{Calls: calls, Codec: codec, Recording: recording})
				if err != nil {
					return err
				}
				fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %.0f | %s | %s | %s/s | %s | %s | %s |\n",
					Count(calls), codec, recording, Count(n.Load.RTP), Bits(n.Load.Bits), n.Cores, Bytes(n.Memory), Bytes(n.Ring),
					Bytes(n.DiskRate), Bytes(n.SIPDay+n.RTPDay), Bytes(n.StoreDay), Count(n.RowsDay))
			}
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// Bytes is a number of bytes for people, to three digits.
func Bytes(v float64) string { return scaled(v, 1024, "B", "KiB", "MiB", "GiB", "TiB", "PiB") }

// Bits is a rate of bits for people.
func Bits(v float64) string { return scaled(v, 1000, "bit/s", "kbit/s", "Mbit/s", "Gbit/s", "Tbit/s") }

func scaled(v, step float64, units ...string) string {
	i := 0
	for v >= step*0.9995 && i < len(units)-1 {
		v /= step
		i++
	}
	return digits(v) + " " + units[i]
}

// digits are three of a number at the least.
func digits(v float64) string {
	switch {
	case v >= 100 || v == float64(int(v)):
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

// Count is a number for people: 1,200 or 3.4 million.
func Count(v float64) string {
	switch {
	case v >= 1e9:
		return digits(v/1e9) + " billion"
	case v >= 1e6:
		return digits(v/1e6) + " million"
	case v < 0.1 && v != 0:
		return fmt.Sprintf("%.2g", v)
	case v < 100 && v != float64(int(v)):
		return digits(v)
	}
	s := fmt.Sprintf("%.0f", v)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// Write shows what a load takes.
func (n *Need) Write(w io.Writer) error {
	var b strings.Builder
	t := &n.Load
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "  %-18s %s\n", name, fmt.Sprintf(format, args...))
	}
	fmt.Fprintf(&b, "Load\n")
	line("calls", "%s at a time, %s tried a second, %s of them answered", Count(t.Calls), Count(t.CallRate), Count(t.Answered))
	line("packets", "%s RTP/s of %.0f bytes in %s streams, %s SIP/s", Count(t.RTP), t.Frame, Count(t.Streams), Count(t.SIP))
	line("link", "%s", Bits(n.Load.Bits))
	fmt.Fprintf(&b, "\nMachine\n")
	line("cores", "%.0f, of which %.2f are busy on average: %s", n.Cores, n.Busy, parts(n.CPU, func(v float64) string { return fmt.Sprintf("%.2f", v) }))
	line("memory", "%s: %s", Bytes(n.Memory), parts(n.MemoryOf, Bytes))
	line("ringbuffer", "%s for each interface", Bytes(n.Ring))
	if n.Spool > 0 {
		line("spool_memory", "%s", Bytes(n.Spool))
	}
	fmt.Fprintf(&b, "\nDisk\n")
	line("spool", "%s/s: %s of SIP and %s of media a day", Bytes(n.DiskRate), Bytes(n.SIPDay), Bytes(n.RTPDay))
	if n.Disk > 0 {
		line("retention", "%s take %s", days(n.Retention), Bytes(n.Disk))
	}
	if n.RowsDay > 0 {
		line("store", "%s rows and %s a day; %s take %s", Count(n.RowsDay), Bytes(n.StoreDay), days(n.StoreDays), Bytes(n.StoreBytes))
	}
	if len(n.Notes) > 0 {
		b.WriteString("\n")
	}
	for _, note := range n.Notes {
		fmt.Fprintf(&b, "- %s\n", note)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func parts(all []Part, show func(float64) string) string {
	var out []string
	for _, p := range all {
		if v := show(p.Value); v != "0.00" {
			out = append(out, p.Name+" "+v)
		}
	}
	return strings.Join(out, ", ")
}

func days(v float64) string {
	if v < 2 {
		return (time.Duration(v*24*60) * time.Minute).String()
	}
	return digits(v) + " days"
}
