package cli

import (
	"fmt"
	"io"
	"strings"
	"time"

	"ringside/appliance/daemon"
)

// statusLine is how a capture does, in one line: what is there always, then what
// is wrong.
func statusLine(of daemon.ServiceStatus) string {
	s, db := &of.Capture, &of.Store
	parts := []string{
		fmt.Sprintf("%s open, %s/s", plural(s.Active, "call"), few(s.Calls)),
		fmt.Sprintf("SIP %s/s", few(s.SIP)),
		fmt.Sprintf("RTP %s/s", few(s.RTP)),
		few(s.Bits/1e6) + " Mbit/s",
		"rings " + percent(s.Rings),
	}
	if s.Spool >= 0 {
		parts = append(parts, "spool "+percent(s.Spool))
	}
	if db.Waiting >= 0 {
		parts = append(parts, "store queue "+percent(db.Waiting))
	}
	var cpu []string
	for _, c := range s.CPU {
		cpu = append(cpu, fmt.Sprintf("%.0f", 100*c))
	}
	if len(cpu) > 0 {
		parts = append(parts, "CPU "+strings.Join(cpu, "+")+" %")
	}
	parts = append(parts, size(s.Memory))
	for i, r := range s.Lost {
		name := ""
		if i == 0 {
			name = "LOST "
		}
		text := name + place(&r) + " " + count(r.Packets)
		if r.Rate > 0 {
			text += " (" + few(r.Rate) + "/s)"
		}
		parts = append(parts, text)
	}
	if db.Lost > 0 {
		parts = append(parts, "LOST store "+plural(db.Lost, "record"))
	}
	if db.Away {
		parts = append(parts, "AWAY store")
	}
	for _, g := range s.Gaps {
		parts = append(parts, "LEDGER "+g.String())
	}
	for _, d := range s.Down {
		parts = append(parts, "DOWN "+d)
	}
	for _, c := range of.Health.Why {
		if strings.HasPrefix(c.Key, "s") { // the others are among the above
			parts = append(parts, "WRONG "+c.Text)
		}
	}
	return strings.Join(parts, "  ")
}

// place is where packets were lost, in words.
func place(r *daemon.LiveRow) string {
	return strings.TrimSpace(r.Interface + " " + r.Stage + " " + r.Reason)
}

// few is a rate with as many digits as are worth reading.
func few(v float64) string {
	switch {
	case v == 0:
		return "0"
	case v < 9.95:
		return fmt.Sprintf("%.1f", v)
	}
	return count(int64(v + 0.5))
}

func percent(v float64) string { return fmt.Sprintf("%.0f %%", 100*v) }

// ringBytes are the bytes that the rings took.
func ringBytes(rows []daemon.LiveRow) (n int64) {
	for i := range rows {
		if rows[i].Stage == daemon.StageRing {
			n += int64(rows[i].Bytes)
		}
	}
	return n
}

// writeLedger shows what became of packets from the interfaces to the decoders:
// by interface and stage, since when, and how many at the moment.
func writeLedger(w io.Writer, rows []daemon.LiveRow, gaps []daemon.Gap) error {
	var b strings.Builder
	on := ""
	for i := range rows {
		r := &rows[i]
		if r.Packets == 0 {
			continue
		}
		where := r.Interface
		if where == "" {
			where = "this host"
		}
		if where != on {
			on = where
			b.WriteString("\nOn " + clean(on) + "\n")
		}
		var more []string
		if r.Lost {
			more = append(more, "LOST since "+r.Since.Format(time.DateTime))
		}
		if r.Rate > 0 {
			more = append(more, few(r.Rate)+"/s")
		}
		line(&b, clean(r.Stage+" "+r.Reason), count(r.Packets), more...)
	}
	for _, g := range gaps {
		b.WriteString("  DOES NOT BALANCE: " + clean(g.String()) + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}
