package cli

import (
	"cmp"
	"fmt"
	"io"
	"math/bits"
	"slices"
	"strings"

	"ringside/flow/record"
)

// band is a range of MOS, named after the speech transmission quality of
// ITU-T G.109; the limits are those of G.107 Annex B (R of 90, 80, 70, 60).
type band struct {
	least float64
	name  string
}

var bands = []band{
	{4.34, "4.34 and above, best"},
	{4.03, "4.03 to 4.34, high"},
	{3.60, "3.60 to 4.03, medium"},
	{3.10, "3.10 to 3.60, low"},
	{0, "below 3.10, poor"},
}

const worstCalls = 5

// tally counts what a summary shows, one record at a time, so that reading a
// capture of any length takes no more memory for it.
type tally struct {
	calls                 uint64
	outcomes              [16]uint64
	flags                 [32]uint64
	first, last           int64 // of all calls and streams
	connected, postDial   int64 // sums, ns
	answered, rang        uint64
	streams, orphans      uint64
	inBand                [5]uint64
	unrated               uint64
	received, lost        uint64 // RTP packets of the streams of calls
	messages, retransmits uint64
	worst                 []worstCall // by MOS, lowest first

	signals signals // everything that is no call
}

type worstCall struct {
	quality
	start          int64
	caller, called string
	callID         string
}

// take counts a record.
func (t *tally) take(rec any) {
	switch r := rec.(type) {
	case *record.Call:
		t.call(r)
	case *record.Stream:
		t.orphan(r)
	case *record.Registration:
		t.registration(r)
	case *record.Exchange:
		t.exchange(r)
	case *record.Event:
		t.event(r)
	case *record.Link:
		t.link(r)
	case *record.QualityReport:
		t.signals.reports++
	}
}

// call counts a call with its streams.
func (t *tally) call(c *record.Call) {
	t.calls++
	t.outcomes[min(int(c.Outcome), len(t.outcomes)-1)]++
	for f := uint32(c.Flags); f != 0; f &= f - 1 {
		t.flags[bits.TrailingZeros32(f)]++
	}
	t.seen(c.Start, c.Last)
	if c.Answer != 0 {
		t.answered++
		t.connected += connected(c)
	}
	if d, ok := postDial(c); ok {
		t.rang++
		t.postDial += d
	}
	t.messages += uint64(c.MessagesTotal)
	t.retransmits += uint64(c.Retransmissions)
	t.signals.digits += uint64(len(c.Digits))
	for i := range c.Streams {
		t.stream(&c.Streams[i])
	}
	t.rank(c)
}

func (t *tally) seen(first, last int64) {
	if first != 0 && (t.first == 0 || first < t.first) {
		t.first = first
	}
	t.last = max(t.last, last)
}

func (t *tally) stream(s *record.Stream) {
	t.streams++
	t.received += s.Received
	t.lost += s.Lost
	t.seen(s.First, s.Last)
	if !rated(s) {
		t.unrated++
		return
	}
	t.inBand[slices.IndexFunc(bands, func(b band) bool { return s.MOS.LQ >= b.least })]++
}

// orphan counts a stream that no call claimed.
func (t *tally) orphan(s *record.Stream) {
	t.orphans++
	t.seen(s.First, s.Last)
}

// rank keeps the call if it is one of the worst. Equal ones are ordered by
// time and Call-ID, so that the summary does not depend on their order.
func (t *tally) rank(c *record.Call) {
	q := qualityOf(c)
	if q.mos == 0 {
		return
	}
	w := worstCall{q, c.Start, c.Caller.Number, c.Called.Number, c.CallID}
	t.worst = append(t.worst, w)
	slices.SortFunc(t.worst, func(a, b worstCall) int {
		return cmp.Or(cmp.Compare(a.mos, b.mos), cmp.Compare(b.loss, a.loss),
			cmp.Compare(a.start, b.start), cmp.Compare(a.callID, b.callID))
	})
	t.worst = t.worst[:min(len(t.worst), worstCalls)]
}

// row is one count of a report, by the stage and the reason that it names.
type row struct {
	stage, reason string
	count         uint64
}

// damage is a place in a file from which on it could not be read.
type damage struct {
	file   string
	offset int64
	reason string
}

// report is what reading the input came to.
type report struct {
	bytes      int64
	frames     uint64
	joined     uint64 // packets put together of fragments
	ledger     []row  // what became of both
	fragments  uint64 // in frames, and in datagrams put together of others
	pieces     []row  // what became of them
	datagrams  []row  // what was put together of them
	rtp        uint64
	fates      []row // what became of the RTP packets among them
	toStore    uint64
	stored     []row // what became of the packets that were to be stored
	balanced   bool
	unreadable []row // what was not understood
	notes      []row // what else is worth knowing of the frames
	duplicates []row // second copies that were removed
	mirrors    []mirror
	unreadTLS  uint64 // segments of TLS that no key was there for
	damage     []damage

	interrupted bool // not read to the end: packets that were on their way are in no count
}

const nameWidth = 34 // columns of the names in a summary

func line(b *strings.Builder, name, value string, more ...string) {
	fmt.Fprintf(b, "  %s%s", padRight(name, nameWidth), padLeft(value, 14))
	if extra := strings.TrimRight(strings.Join(more, "  "), " "); extra != "" {
		b.WriteString("  " + extra)
	}
	b.WriteString("\n")
}

// writeSummary shows what a capture held.
func writeSummary(w io.Writer, l look, t *tally, r *report) error {
	var b strings.Builder
	b.WriteString("Capture\n")
	line(&b, "input", size(r.bytes))
	line(&b, "packets", count(r.frames))
	if t.first != 0 {
		fmt.Fprintf(&b, "  first record  %s\n  last record   %s  (%s)\n", l.moment(t.first), l.moment(t.last), seconds(t.last-t.first))
	}
	l.callSummary(&b, t)
	l.streamSummary(&b, t)
	if err := l.worstSummary(&b, t); err != nil {
		return err
	}
	l.signalSummary(&b, &t.signals)
	rows(&b, "Not understood", r.unreadable)
	l.portSummary(&b, r)
	rows(&b, "Worth knowing of the frames", r.notes)
	if len(r.damage) > 0 {
		b.WriteString("\nDamaged files, read up to the damage\n")
		for _, d := range r.damage {
			fmt.Fprintf(&b, "  %s: at byte %s: %s\n", clean(d.file), count(d.offset), clean(d.reason))
		}
	}
	ledgerSummary(&b, r)
	_, err := io.WriteString(w, b.String())
	return err
}

// bar is a share of all as a bar of at most 19 columns, which end a line of 80.
func (l look) bar(n, all uint64) string {
	if all == 0 || n == 0 {
		return ""
	}
	return strings.Repeat(l.pick("█", "#"), max(1, int((19*n+all/2)/all)))
}

func (l look) callSummary(b *strings.Builder, t *tally) {
	b.WriteString("\nCalls\n")
	for _, o := range record.Outcomes() {
		if n := t.outcomes[o]; n > 0 {
			line(b, o.String(), count(n), padLeft(share(n, t.calls), 7), l.bar(n, t.calls))
		}
	}
	line(b, "all", count(t.calls))
	if t.calls == 0 {
		return
	}
	// A call whose INVITE was not captured is no attempt that we saw (E.411).
	if attempts := t.calls - t.outcomes[record.Partial]; attempts > 0 {
		line(b, "answer-seizure ratio (ASR)", share(t.outcomes[record.Answered], attempts))
	}
	if t.answered > 0 {
		line(b, "mean time connected (ACD)", seconds(t.connected/int64(t.answered)))
	}
	if t.rang > 0 {
		line(b, "mean post-dial delay (PDD)", seconds(t.postDial/int64(t.rang)))
	}
	line(b, "SIP messages of calls", count(t.messages), share(t.retransmits, t.messages)+" retransmitted")
	for i, n := range t.flags {
		if n > 0 {
			line(b, "  "+strings.Join(flagWords(1<<i), ""), count(n))
		}
	}
}

func (l look) streamSummary(b *strings.Builder, t *tally) {
	b.WriteString("\nRTP streams\n")
	line(b, "of calls", count(t.streams))
	line(b, "of no known call", count(t.orphans))
	if t.streams == 0 {
		return
	}
	line(b, "packets of calls", count(t.received), share(t.lost, t.received+t.lost)+" lost")
	b.WriteString("  by MOS (listening quality, ITU-T G.107)\n")
	for i, band := range bands {
		line(b, "  "+band.name, count(t.inBand[i]), padLeft(share(t.inBand[i], t.streams), 7), l.bar(t.inBand[i], t.streams))
	}
	if t.unrated > 0 {
		line(b, "  not rated", count(t.unrated), padLeft(share(t.unrated, t.streams), 7), l.bar(t.unrated, t.streams))
	}
}

func (l look) worstSummary(b *strings.Builder, t *tally) error {
	if len(t.worst) == 0 {
		return nil
	}
	b.WriteString("\nLowest MOS\n")
	cols := []column{{head: "  MOS"}, {head: "Loss", right: true}, {head: "Jitter", right: true},
		{head: "Codec"}, {head: "Caller", least: 8}, {head: "Called", least: 8}, {head: "Call-ID", least: 8}}
	var cellRows [][]string
	for _, c := range t.worst {
		cellRows = append(cellRows, []string{"  " + l.mos(c.mos), fmt.Sprintf("%.2f %%", c.loss), ms(c.jitter),
			clean(c.codec), clean(c.caller), clean(c.called), clean(c.callID)})
	}
	return writeTable(b, l, cols, cellRows)
}

// rows writes counts under a title, nothing where there are none.
func rows(b *strings.Builder, title string, of []row) {
	if len(of) == 0 {
		return
	}
	b.WriteString("\n" + title + "\n")
	for _, r := range of {
		line(b, strings.TrimSpace(clean(r.stage)+" "+clean(r.reason)), count(r.count))
	}
}

// ledgerSummary shows that every packet was accounted for, or by how many
// packets a sum is wrong.
func ledgerSummary(b *strings.Builder, r *report) {
	if r.frames == 0 && len(r.ledger) == 0 {
		return
	}
	if r.interrupted {
		rows(b, "Ledger: the read ended early, and packets on their way are in no row", slices.Concat(r.ledger, r.pieces, r.datagrams, r.fates, r.stored))
		return
	}
	title := "Ledger: what became of every packet"
	if r.joined > 0 {
		title += ", those put together of fragments included"
	}
	rows(b, title, r.ledger)
	off := balance(b, "sum", r.ledger, r.frames+r.joined)
	if len(r.pieces) > 0 || r.fragments > 0 {
		rows(b, "and of the fragments among them", r.pieces)
		off = balance(b, "sum", r.pieces, r.fragments) || off
		rows(b, "Datagrams put together of fragments", r.datagrams)
	}
	if len(r.fates) > 0 || r.rtp > 0 {
		rows(b, "and of the RTP packets among them", r.fates)
		off = balance(b, "sum", r.fates, r.rtp) || off
	}
	if len(r.stored) > 0 || r.toStore > 0 {
		rows(b, "and of the packets for the spool, of each call that they are of", r.stored)
		off = balance(b, "sum", r.stored, r.toStore) || off
	}
	if !r.balanced && !off {
		b.WriteString("  DOES NOT BALANCE between decoder and shards\n")
	}
}

// balance writes the sum of rows beside what it must be, and reports whether
// they differ.
func balance(b *strings.Builder, name string, of []row, want uint64) bool {
	var sum uint64
	for _, x := range of {
		sum += x.count
	}
	if sum == want {
		line(b, name, count(sum), "balances")
		return false
	}
	line(b, name, count(sum))
	fmt.Fprintf(b, "  DOES NOT BALANCE: %+d against the %s read\n", int64(sum-want), count(want))
	return true
}
