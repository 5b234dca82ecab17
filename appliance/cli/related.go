package cli

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"ringside/flow/record"
	"ringside/writer/store"
)

// callPage is what there is to show of one call.
type callPage struct {
	call    *record.Call
	links   []store.LinkedCall     // calls that belong together with it
	reports []record.QualityReport // what endpoints reported of it
	digits  bool                   // show the digits that were dialled in it
}

var linkColumns = []column{
	{head: "  Reason"}, {head: "Score", right: true}, {head: "Began", right: true}, {head: "Caller", least: 6},
	{head: "Called", least: 6}, {head: "Outcome", drop: 1}, {head: "Call-ID", least: 10},
}

// linked lists the calls that belong together with this one, and why. They are
// calls of their own, with pages of their own.
func (l look) linked(b *strings.Builder, p callPage) error {
	if len(p.links) == 0 {
		return nil
	}
	fmt.Fprintf(b, "\nLinked calls: %d\n", len(p.links))
	var cellRows [][]string
	for _, x := range p.links {
		row := []string{"  " + x.Link.Reason.String(), fmt.Sprint(x.Link.Score), "", "", "", "", fmt.Sprintf("id %d, not stored", x.OtherID)}
		if c := x.Call; c != nil {
			row[2] = fmt.Sprintf("%+.3f s", float64(c.Start-p.call.Start)/1e9)
			row[3], row[4], row[5], row[6] = clean(c.Caller.Number), clean(c.Called.Number), c.Outcome.String(), clean(c.CallID)
		}
		cellRows = append(cellRows, row)
	}
	return writeTable(b, l, linkColumns, cellRows)
}

// dialled shows the DTMF of a call: how many digits came from whom, and only
// where that is asked for which. They may be somebody's PIN.
func (l look) dialled(b *strings.Builder, p callPage) {
	digits := p.call.Digits
	if len(digits) == 0 {
		return
	}
	fmt.Fprintf(b, "\nDTMF: %s\n", plural(len(digits), "digit"))
	if p.digits {
		for _, d := range digits {
			volume := ""
			if d.Method == record.DigitRTP {
				volume = fmt.Sprintf("-%d dBm0", d.Volume)
			}
			l.field(b, sideName(d.From), "+"+seconds(d.Time-p.call.Start), clean(d.Digit), d.Method.String(), fmt.Sprintf("%d ms", d.Duration), volume)
		}
		return
	}
	for side := record.SideUnknown; side <= record.SideCalled; side++ {
		for method := record.DigitUnknown; method <= record.DigitINFO; method++ {
			n := 0
			for _, d := range digits {
				if d.From == side && d.Method == method {
					n++
				}
			}
			if n > 0 {
				l.field(b, sideName(side), plural(n, "digit"), method.String(), "--digits shows them")
			}
		}
	}
}

func sideName(s record.Side) string {
	if s == record.SideUnknown {
		return "unknown"
	}
	return s.String()
}

// fax says since when T.38 was negotiated.
func (l look) fax(b *strings.Builder, c *record.Call) {
	if c.Flags&record.Fax == 0 {
		return
	}
	since := "T.38"
	for _, m := range c.Media {
		if m.Kind == "image" {
			since = "T.38 from +" + seconds(m.From-c.Start)
			break
		}
	}
	l.field(b, "fax", since)
}

// tunnel names the encapsulation that a call came in, nothing if it came bare.
func (l look) tunnel(t record.Tunnel) []string {
	if t.Kind == "" {
		return nil
	}
	name := clean(t.Kind)
	if t.ID != 0 {
		name += fmt.Sprintf(" %d", t.ID)
	}
	ends := ""
	if t.Src.IsValid() {
		ends = fmt.Sprintf("%s %s %s", t.Src, l.arrow(), t.Dst)
	}
	return []string{name, ends}
}

// identifiers are what a call says of other calls that it belongs to.
func (l look) identifiers(b *strings.Builder, c *record.Call) {
	if c.SessionID != "" {
		first, second, _ := strings.Cut(c.SessionID, ";") // the UUIDs of both ends
		l.field(b, "Session-ID", clean(first), clean(second))
	}
	for _, x := range []struct{ name, value string }{
		{"other Call-ID", c.XCallID}, {"charging id", c.ICID},
		{"link header", c.LinkHeader}, {"replaces", c.Replaces},
	} {
		l.field(b, x.name, l.shorten(clean(x.value), l.textWidth()-18))
	}
}

// keySuites names the suites of a=crypto lines. The keys stay out of sight.
func keySuites(crypto string) string {
	var suites []string
	for line := range strings.Lines(crypto) {
		if f := strings.Fields(line); len(f) > 1 && !slices.Contains(suites, f[1]) {
			suites = append(suites, f[1])
		}
	}
	switch {
	case crypto == "":
		return ""
	case len(suites) == 0:
		return "SDES key kept"
	}
	return "SDES key kept (" + clean(strings.Join(suites, " ")) + ")"
}

// epochs reports whether the media of a call changed with a later offer.
func epochs(c *record.Call) bool {
	return slices.ContainsFunc(c.Media, func(m record.Media) bool { return m.Epoch != 0 }) ||
		slices.ContainsFunc(c.Streams, func(s record.Stream) bool { return s.Epoch != 0 })
}

// epoch names the offer that something belongs to, where there are several.
func epoch(c *record.Call, n uint16) string {
	if !epochs(c) {
		return ""
	}
	if n == 0 {
		return "first offer"
	}
	return fmt.Sprintf("re-offer %d", n)
}

// reported lists what endpoints reported of the call, each beside our own MOS
// of the stream that it hears.
func (l look) reported(b *strings.Builder, p callPage) {
	if len(p.reports) == 0 {
		return
	}
	fmt.Fprintf(b, "\nReports of endpoints: %d (RFC 6035)\n", len(p.reports))
	for i := range p.reports {
		q := &p.reports[i]
		who := clean(q.Kind)
		if q.LocalID != "" {
			who += " of " + clean(q.LocalID)
		}
		fmt.Fprintf(b, "  +%s  %s\n", seconds(q.Time-p.call.Start), l.shorten(who, max(20, l.textWidth()-16)))
		heard := ""
		if q.Local.IsValid() || q.Remote.IsValid() {
			heard = fmt.Sprintf("%s %s %s", l.address(q.Remote), l.arrow(), l.address(q.Local))
		}
		l.field(b, "  hears", heard, only(q.SSRC != 0, fmt.Sprintf("SSRC 0x%08x", q.SSRC)), clean(q.Codec))
		l.field(b, "  says", l.xr(&q.XR)...)
		if s := heardBy(p.call, q); s != nil {
			l.field(b, "  we measured", l.mos(s.MOS.LQ)+" listening", l.mos(s.MOS.CQ)+" conversational", fmt.Sprintf("loss %.2f %%", loss(s)))
		}
	}
}

// heardBy is the stream that a report is about: by its SSRC, or by the
// addresses of one that has none.
func heardBy(c *record.Call, q *record.QualityReport) *record.Stream {
	same := func(a, b netip.AddrPort) bool { return a.IsValid() && a == b }
	for i := range c.Streams {
		s := &c.Streams[i]
		if q.SSRC != 0 && s.SSRC == q.SSRC || q.SSRC == 0 && same(s.Dst, q.Local) && same(s.Src, q.Remote) {
			return s
		}
	}
	return nil
}

// xr is a report of an endpoint in words. What it left out is not shown.
func (l look) xr(x *record.XR) []string {
	given := func(v float64, format string) string { return only(v >= 0, fmt.Sprintf(format, v)) }
	some := func(v float64, format string) string { return only(v > 0, fmt.Sprintf(format, v)) }
	level := func(v int16, format string) string { return only(v != -1 && v != 0, fmt.Sprintf(format, v)) }
	return []string{
		some(x.MOSLQ, "MOS %.2f listening"), some(x.MOSCQ, "%.2f conversational"), some(x.R, "R %.0f"), some(x.ExternalR, "external R %.0f"),
		given(x.Loss, "loss %.2f %%"), given(x.Discard, "discarded %.2f %%"),
		some(x.Burst, "bursts of %.0f ms") + some(x.BurstLoss, " with %.2f %% loss"),
		some(x.RTT, "round trip %.1f ms"), some(x.EndDelay, "end system %.1f ms"),
		some(x.JitterBuffer, "buffer %.0f ms") + some(x.JitterMax, " of %.0f ms"),
		level(x.Signal, "signal %d dBm0"), level(x.Noise, "noise %d dBm0"), level(x.RERL, "echo return loss %d dB"),
	}
}
