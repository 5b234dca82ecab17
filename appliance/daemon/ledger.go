package daemon

import (
	"fmt"
	"slices"
	"sync"
	"time"
)

// The ledger of a live capture follows packets from the counters of the
// interface to the decoders. Beyond, the sums of a Report go on.
//
// Counters are read one after the other, while packets go on: of what the first
// has counted, the last may not know yet. So no two counters of one look are
// held against each other. What had gone in by one look must have come out by
// the next, at least a second later; and what had come out must have gone in. A
// sum that fails so is certain, whatever the rate. Losses that are less than
// what comes in a second show as soon as the traffic pauses, and at the end.

// LiveRow is one line of the ledger: packets that met a fate at a stage.
type LiveRow struct {
	Interface string    `json:"interface,omitempty"` // empty: of the host, or of all interfaces
	Stage     string    `json:"stage"`
	Reason    string    `json:"reason"`
	Packets   uint64    `json:"packets"`
	Bytes     uint64    `json:"bytes,omitempty"`
	Lost      bool      `json:"lost,omitempty"` // they were to go on, and did not
	Since     time.Time `json:"since,omitzero"` // the look that first saw any; zero: there were none
	Rate      float64   `json:"rate"`           // packets per second, between the last two looks
}

// Gap says that packets are missing between two counters.
type Gap struct {
	Interface string    `json:"interface"`
	Between   string    `json:"between"` // as in "the filter and the rings"
	Packets   int64     `json:"packets"` // negative: more came out than went in
	Since     time.Time `json:"since"`
	Remedy    string    `json:"remedy,omitempty"`
}

// String is the gap as a sentence.
func (g Gap) String() string {
	what := fmt.Sprintf("%s: %d packets are missing between %s", g.Interface, g.Packets, g.Between)
	if g.Packets < 0 {
		what = fmt.Sprintf("%s: %d packets more than there can be between %s", g.Interface, -g.Packets, g.Between)
	}
	if g.Remedy != "" {
		what += ": " + g.Remedy
	}
	return what
}

// look is what all counters said at about one moment.
type look struct {
	at   time.Time
	rows []LiveRow // without Since and Rate
	sums []sum
}

// sum is one equation of a look: packets that went into a part of the way, and
// those that are known to have come out of it, whatever their fate.
type sum struct {
	iface, between string
	in, out        uint64

	// waits are packets that wait in between. At the end nothing does.
	waits uint64

	// slack are packets that may be on one side only: they came while the
	// capture was being opened, or while the counters were read at its end.
	slack uint64

	// outage are packets that came about the time in which the interface was
	// away: its counters and what was attached to it went with it, and no two of
	// them are of one moment. So many may be on either side only.
	outage uint64

	// elsewhere are packets that a counter of the whole host has lost about
	// there. They explain a gap, and do not hide it.
	elsewhere uint64
	remedy    string
}

// persistent is how many looks in a row a gap is seen before it is an alarm.
const persistent = 2

// ledger is the table of a live capture over time. Its methods may be used
// concurrently.
type ledger struct {
	mu   sync.Mutex
	rows []LiveRow // in the order in which they were first seen
	last look
	open []openGap
}

type openGap struct {
	Gap
	looks int   // in a row
	told  int64 // packets when it last was an alarm; 0: never
}

// add takes a look, and returns the gaps that are an alarm now: those that have
// lasted, once, and again when they have doubled.
func (l *ledger) add(now look) (alarms []Gap) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.enter(now)
	for _, s := range now.sums {
		before, ok := l.before(s)
		if !ok {
			continue
		}
		missing := int64(0)
		switch {
		case before.in > s.out+s.waits+s.slack+s.outage:
			missing = int64(before.in - s.out - s.waits - s.slack - s.outage)
		case before.out > s.in+s.outage:
			missing = -int64(before.out - s.in - s.outage)
		}
		if g := l.gap(s, missing, now.at); g != nil {
			alarms = append(alarms, *g)
		}
	}
	l.last = now
	return alarms
}

// end takes the last look, after which nothing is on its way any more, and
// reports whether every sum holds: exactly, but for its slack and what is
// explained.
func (l *ledger) end(now look) (balanced bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	balanced = true
	l.open = nil
	explained := uint64(0) // by what the host has lost: each of its packets is missing in one place
	for _, s := range now.sums {
		missing := int64(s.in - s.out)
		if missing > 0 {
			now.rows = append(now.rows, LiveRow{Interface: s.iface, Stage: StageBetween, Reason: s.between, Packets: uint64(missing),
				Lost: uint64(missing) > s.slack})
		}
		more := uint64(max(0, missing)) - min(uint64(max(0, missing)), s.slack+s.outage)
		if missing >= 0 && more <= s.elsewhere-min(explained, s.elsewhere) || missing < 0 && uint64(-missing) <= s.outage {
			explained += more
			continue
		}
		balanced = false
		l.open = append(l.open, openGap{Gap: Gap{s.iface, s.between, missing, now.at, s.remedy}, looks: persistent})
	}
	l.enter(now)
	l.last = now
	return balanced
}

// before is a sum as the last look had it.
func (l *ledger) before(s sum) (sum, bool) {
	i := slices.IndexFunc(l.last.sums, func(o sum) bool { return o.iface == s.iface && o.between == s.between })
	if i < 0 {
		return sum{}, false
	}
	return l.last.sums[i], true
}

// gap keeps what a sum has missed, and returns the gap if it is an alarm.
func (l *ledger) gap(s sum, missing int64, at time.Time) *Gap {
	i := slices.IndexFunc(l.open, func(o openGap) bool { return o.Interface == s.iface && o.Between == s.between })
	if missing == 0 {
		if i >= 0 {
			l.open = slices.Delete(l.open, i, i+1)
		}
		return nil
	}
	if i < 0 {
		l.open = append(l.open, openGap{Gap: Gap{Interface: s.iface, Between: s.between, Since: at}})
		i = len(l.open) - 1
	}
	g := &l.open[i]
	g.Packets, g.Remedy = missing, s.remedy
	g.looks++
	if g.looks < persistent || g.told != 0 && max(missing, -missing) < 2*max(g.told, -g.told) {
		return nil
	}
	g.told = missing
	return &g.Gap
}

// enter takes over the counters of a look.
func (l *ledger) enter(now look) {
	seconds := now.at.Sub(l.last.at).Seconds()
	for _, r := range now.rows {
		i := slices.IndexFunc(l.rows, func(o LiveRow) bool {
			return o.Interface == r.Interface && o.Stage == r.Stage && o.Reason == r.Reason
		})
		if i < 0 {
			l.rows = append(l.rows, LiveRow{Interface: r.Interface, Stage: r.Stage, Reason: r.Reason, Lost: r.Lost})
			i = len(l.rows) - 1
		}
		row := &l.rows[i]
		row.Rate = 0
		if more := r.Packets - row.Packets; r.Packets > row.Packets && !l.last.at.IsZero() && seconds > 0 {
			row.Rate = float64(more) / seconds
		}
		if row.Since.IsZero() && r.Packets > 0 {
			row.Since = now.at
		}
		row.Packets, row.Bytes, row.Lost = r.Packets, r.Bytes, r.Lost
	}
}

// snapshot is the table, and the gaps that have lasted.
func (l *ledger) snapshot() (rows []LiveRow, gaps []Gap) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, g := range l.open {
		if g.looks >= persistent {
			gaps = append(gaps, g.Gap)
		}
	}
	return slices.Clone(l.rows), gaps
}
