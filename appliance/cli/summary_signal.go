package cli

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"ringside/flow/record"
)

// signals counts what a summary shows of everything that is no call.
type signals struct {
	registrations                  uint64
	states                         [8]uint64 // by record.RegistrationState
	registers, refused, unanswered uint64    // REGISTER requests
	refusedAORs                    most[string]
	refusedSources                 most[netip.Addr]
	exchanges, failedExchanges     [8]uint64 // by record.ExchangeKind
	events                         [32]uint64
	links                          [8]uint64 // by record.LinkReason
	linked, reports, digits        uint64
}

// most finds the keys with the highest counts. It remembers so many keys and
// no more, so that a flood of invented names takes no memory; what comes on
// top is counted together.
type most[K comparable] struct {
	counts map[K]uint64
	others uint64
}

const mostKeys = 1 << 16

func (m *most[K]) add(k K, n uint64) {
	if n == 0 {
		return
	}
	if m.counts == nil {
		m.counts = make(map[K]uint64)
	}
	if _, known := m.counts[k]; !known && len(m.counts) >= mostKeys {
		m.others += n
		return
	}
	m.counts[k] += n
}

// top is the n keys with the highest counts. Equal ones are ordered by name.
func (m *most[K]) top(n int, name func(K) string) []row {
	var out []row
	for k, c := range m.counts {
		out = append(out, row{"", name(k), c})
	}
	slices.SortFunc(out, func(a, b row) int {
		return cmp.Or(cmp.Compare(b.count, a.count), cmp.Compare(a.reason, b.reason))
	})
	return out[:min(n, len(out))]
}

func slot(i, slots int) int { return min(i, slots-1) }

func (t *tally) registration(r *record.Registration) {
	s := &t.signals
	s.registrations++
	s.states[slot(int(r.State), len(s.states))]++
	s.registers += uint64(r.Registers)
	s.refused += uint64(r.Failures)
	s.unanswered += uint64(r.Timeouts)
	s.refusedAORs.add(r.AOR, uint64(r.Failures))
	s.refusedSources.add(r.Src.Addr(), uint64(r.Failures))
	t.seen(r.Start, r.Last)
}

func (t *tally) exchange(e *record.Exchange) {
	s, kind := &t.signals, slot(int(e.Kind), len(t.signals.exchanges))
	s.exchanges[kind]++
	if slices.Contains([]string{"rejected", "failed", "timeout", "down"}, e.State) {
		s.failedExchanges[kind]++
	}
	t.seen(e.Start, e.Last)
}

func (t *tally) event(e *record.Event) {
	t.signals.events[slot(int(e.Kind), len(t.signals.events))] += max(1, e.Count)
	t.seen(e.Time, e.Time)
}

func (t *tally) link(l *record.Link) {
	t.signals.linked++
	t.signals.links[slot(int(l.Reason), len(t.signals.links))]++
}

func (l look) registrationSummary(b *strings.Builder, s *signals) {
	if s.registrations == 0 {
		return
	}
	b.WriteString("\nRegistrations\n")
	for i, n := range s.states {
		if n > 0 {
			line(b, record.RegistrationState(i).String(), count(n), padLeft(share(n, s.registrations), 7), l.bar(n, s.registrations))
		}
	}
	line(b, "all", count(s.registrations))
	line(b, "REGISTER requests", count(s.registers))
	if s.refused > 0 {
		line(b, "  refused", count(s.refused), padLeft(share(s.refused, s.registers), 7))
	}
	if s.unanswered > 0 {
		line(b, "  not answered", count(s.unanswered), padLeft(share(s.unanswered, s.registers), 7))
	}
	l.topSummary(b, "  most refused", s.refusedAORs.top(worstCalls, func(aor string) string { return aor }), s.refusedAORs.others)
	l.topSummary(b, "  most refused, by source", s.refusedSources.top(worstCalls, func(a netip.Addr) string {
		if !a.IsValid() {
			return "unknown"
		}
		return a.String()
	}), s.refusedSources.others)
}

func (l look) topSummary(b *strings.Builder, title string, top []row, others uint64) {
	if len(top) == 0 {
		return
	}
	b.WriteString(title + "\n")
	for _, r := range top {
		line(b, l.shorten("    "+clean(r.reason), nameWidth), count(r.count))
	}
	if others > 0 {
		line(b, "    too many to tell apart", count(others))
	}
}

// exchangeLines are the kinds of exchanges with what is said of those that
// failed.
var exchangeLines = []struct {
	kind         record.ExchangeKind
	name, failed string
}{
	{record.Subscription, "subscriptions", "rejected"},
	{record.Publication, "publications", "failed"},
	{record.TextMessage, "text messages", "failed"},
	{record.Options, "peers (OPTIONS)", "down"},
}

func (l look) signalSummary(b *strings.Builder, s *signals) {
	l.registrationSummary(b, s)
	title := "\nOther SIP\n"
	for _, x := range exchangeLines {
		if n := s.exchanges[x.kind]; n > 0 {
			b.WriteString(title)
			title = ""
			failed := s.failedExchanges[x.kind]
			line(b, x.name, count(n), only(failed > 0, count(failed)+" "+x.failed))
		}
	}
	title = "\nEvents\n"
	for i, n := range s.events {
		if n > 0 {
			b.WriteString(title)
			title = ""
			line(b, record.EventKind(i).String(), count(n))
		}
	}
	title = "\nCalls that belong together\n"
	for i, n := range s.links {
		if n > 0 {
			b.WriteString(title)
			title = ""
			line(b, "by "+record.LinkReason(i).String(), count(n))
		}
	}
	if s.reports+s.digits > 0 {
		b.WriteString("\nIn calls\n")
		if s.reports > 0 {
			line(b, "reports of endpoints (RFC 6035)", count(s.reports))
		}
		if s.digits > 0 {
			line(b, "DTMF digits", count(s.digits))
		}
	}
}

// mirror is an interface of the capture with how often its packets came.
type mirror struct {
	iface  uint16
	factor float64 // copies of a packet, on average
	since  int64   // from when on second copies were taken away; 0: they were not, or from the start
}

// fewCopies is the factor from which on a mirror port is spoken of. Less may be
// what the network itself duplicates.
const fewCopies = 1.05

// portSummary says what the mirror ports delivered twice, and what could not be
// read for want of keys.
func (l look) portSummary(b *strings.Builder, r *report) {
	rows(b, "Duplicates removed", r.duplicates)
	title := "\nMirror ports that deliver packets twice\n"
	for _, m := range r.mirrors {
		if m.factor < fewCopies {
			continue
		}
		b.WriteString(title)
		title = ""
		since := ""
		if m.since != 0 {
			since = "removed from " + time.Unix(0, m.since).In(l.zone).Format("15:04:05")
		}
		line(b, fmt.Sprintf("interface %d, copies of a packet", m.iface), fmt.Sprintf("%.2f", m.factor), since)
	}
	if r.unreadTLS > 0 {
		b.WriteString("\nEncrypted signalling\n")
		line(b, "segments of TLS without keys", count(r.unreadTLS), "give --keylog FILE")
	}
}
