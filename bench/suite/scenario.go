package suite

import (
	"context"
	"slices"

	"ringside/bench/report"
)

// scenario is one kind of live load, and the programs that are measured under it.
type scenario struct {
	name, what string
	load       string  // key of the loads
	queues     int     // 0: one of a veth, as many as there are of a wire
	begin      float64 // rate at which the search begins
	subjects   []*subject
	// like names a scenario with the same traffic whose other programs this one is
	// held against, without measuring them again.
	like  string
	quick bool // also in a quick run
	// per is how many packets a call has, or a second of one; 0: calls are counted.
	per     float64
	perCall string
}

// slowRate is where the search begins for programs that take long for a packet.
const slowRate = 20e3

// Packets of a G.711 call in a second, both directions.
const callSecond = 100

const secondOfCall = "a second of it: 100 packets, 50 in each direction"

// names of scenarios that others refer to.
const calledMetered = "calls metered"

// scenarios are all there are, in the order of the report.
func scenarios() []scenario {
	all := []scenario{
		{
			name: "pre-filter only", load: "media", begin: 1e6, quick: true, subjects: []*subject{filtered, floor},
			what: "RTP that is neither SIP nor media by the rules: the program in the kernel reads the headers, decides and drops.",
		},
		{
			name: calledMetered, load: "media", begin: 0.6e6, quick: true, per: callSecond, perCall: secondOfCall,
			subjects: []*subject{metered, dumped, live("dumpcap", "/dev/null"), live("tshark", ""), live("voipmonitor", "")},
			what:     "RTP of calls whose SIP was seen: each packet is measured, in the kernel, and none is copied.",
		},
		{
			name: "calls metered in user space", load: "media", begin: 0.4e6, per: callSecond, perCall: secondOfCall, like: calledMetered,
			subjects: []*subject{inUser},
			what:     "The same with --meter user: each packet comes to the program.",
		},
		{
			name: "header-only", load: "media", begin: 0.3e6, quick: true, per: callSecond, perCall: secondOfCall, like: calledMetered,
			subjects: []*subject{headers},
			what:     "The same, and the RTP headers of all calls are stored in a spool.",
		},
		{
			name: "full recording", load: "media", begin: 0.2e6, quick: true, per: callSecond, perCall: secondOfCall,
			subjects: []*subject{whole, live("tcpdump", "capture.pcap"), live("dumpcap", "capture.pcapng")},
			what:     "The same, and all packets are stored on disk: by ringside by call, compressed, with an index; by others as they come.",
		},
		{
			name: "SIP only at a high call rate", load: "setups", begin: 30e3, quick: true, perCall: "its SIP messages, 7 or 8, until its record is written",
			subjects: []*subject{general, dumped, live("sngrep", ""), live("sipcm", ""), live("heplify", "")},
			what:     "Calls that are set up and taken down, without media; each pass of the sender is other calls. Loss is that of packets or of calls in the records.",
		},
		{
			name: "REGISTER flood", load: "registers", begin: 100e3, quick: true,
			subjects: []*subject{general, dumped},
			what:     "Endless different REGISTERs from 10,000 sources. Ringside takes a sample of what is beyond its limits, and counts all: what it has counted is handled.",
		},
		{
			name: "mixed carrier profile", load: "carrier", begin: 50e3, quick: true, per: callSecond, perCall: secondOfCall,
			subjects: []*subject{general, dumped, live("voipmonitor", "")},
			what: "What a carrier's mirror port shows: G.711, G.729, AMR-WB and Opus, good and bad networks, calls that fail, RTCP, " +
				"OPTIONS and REGISTER, DNS, STUN and TCP; each pass of the sender is other calls.",
		},
	}
	for _, queues := range []int{1, 2, 4, 8} {
		all = append(all, scenario{
			name: calledMetered, load: "media", begin: 0.6e6, quick: queues == 2, per: callSecond, perCall: secondOfCall, queues: queues,
			subjects: []*subject{metered},
			what:     "The same with another number of queues. On a veth a frame comes in the queue of the CPU that sent it; the rings share packets by flow.",
		})
	}
	return all
}

// loads makes the traffic of scenarios, by key.
func (b *Bench) loads(ctx context.Context, of []scenario) (map[string]*load, error) {
	out := map[string]*load{}
	for _, s := range of {
		if out[s.load] != nil {
			continue
		}
		var err error
		switch s.load {
		case "media":
			out[s.load], err = media(ctx, b.Calls)
		case "setups":
			out[s.load], err = setups(ctx, b.Calls)
		case "registers":
			out[s.load] = registers(10000)
		case "carrier":
			out[s.load], err = carrier(ctx, b.Calls)
		}
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// tally is what is known so far of one subject under one scenario.
type tally struct {
	scenario *scenario
	on       *subject
	row      report.Row
	points   []report.Point
}

// done reports whether it was measured to the end in one round at least.
func (t *tally) done() bool { return len(t.row.Sum) > 0 }

// round measures a subject once more: its highest rate, then what a packet costs
// below that, and the first time what is lost far beyond.
func (b *Bench) round(ctx context.Context, t *tally, l *load) (xdp string, err error) {
	shot := trial{on: t.on, load: l, span: b.Span, queues: t.scenario.queues}
	rate := slowRate   // of a program that does not say what it has handled
	first := !t.done() // or it takes the place of one that was cut short
	if t.on.count != nil || t.on.peer == nil {
		begin, step := t.scenario.begin, firstStep
		if t.on.peer != nil && t.on.peer.Slow {
			begin = min(begin, slowRate) // it would work on what was sent for a minute
		}
		if last := t.row.Rate.Median(); last > 0 && !t.row.Stolen {
			begin, step = last, max(b.Exact*b.Exact, 1.1)
		}
		f, err := b.search(ctx, shot, begin, step)
		if err != nil {
			return "", err
		}
		t.points = append(t.points, f.curve...)
		taken := t.rate(f)
		if taken && f.best.records.Known {
			t.row.Records = f.best.records
		}
		rate, first = costAt(f.rate), taken && len(t.row.Rate) == 1
		if first && f.rate > 0 && !f.sender {
			if err := b.beyond(ctx, t, shot, f.rate); err != nil {
				return "", err
			}
		}
	}
	if w := &t.row; first && w.CostAt != rate {
		w.CostAt, w.Kernel, w.User, w.Sum, w.Call, w.Memory = rate, nil, nil, nil, nil, nil
	}
	shot.rate, shot.span = t.row.CostAt, 2*b.Span
	r, err := b.insist(ctx, shot)
	if err != nil {
		return "", err
	}
	t.points = append(t.points, report.Point{Offered: r.rate, Lost: r.lost()})
	if r.blind {
		t.points = nil
	}
	t.cost(r, l)
	return r.xdp, nil
}

// rate adds what a search has found. One that the host of the machine has cut short is
// taken only while there is no other.
func (t *tally) rate(f found) (taken bool) {
	switch w := &t.row; {
	case len(w.Rate) > 0 && f.stolen && !w.Stolen:
		return false
	case len(w.Rate) > 0 && !f.stolen && w.Stolen:
		w.Rate, w.Sender, w.Stolen = report.Figure{f.rate}, f.sender, false
	default:
		w.Rate, w.Sender, w.Stolen = append(w.Rate, f.rate), w.Sender || f.sender, f.stolen
	}
	return true
}

// costAt is the rate at which costs are taken of a program that holds a rate: at most
// half of that, and one of few, so that two runs have the same.
func costAt(holds float64) float64 {
	const least = costRate / 128
	rate := costRate
	for rate > holds/2 && rate > least {
		rate /= 2
	}
	return rate
}

// beyond measures what is lost at one and a half times and at twice the highest rate.
func (b *Bench) beyond(ctx context.Context, t *tally, shot trial, rate float64) error {
	for _, times := range []float64{1.5, 2} {
		shot.rate, shot.where = rate*times, times == 2
		r, err := b.insist(ctx, shot)
		if err != nil {
			return err
		}
		t.points = append(t.points, report.Point{Offered: r.rate, Lost: r.lost()})
		if shot.where {
			t.row.Drops = r.drops
		}
	}
	return nil
}

// cost adds what a packet and a call took.
func (t *tally) cost(r outcome, l *load) {
	kernel, program := r.cost()
	w := &t.row
	w.Command, w.Threads = r.command, r.threads
	w.Kernel, w.User, w.Sum = append(w.Kernel, kernel), append(w.User, program), append(w.Sum, kernel+program)
	sent := float64(l.sent(r.offered))
	switch {
	case t.scenario.per > 0:
		w.Call = append(w.Call, (kernel+program)*t.scenario.per/1e3)
	case sent > 0 && t.scenario.perCall != "":
		w.Call = append(w.Call, (r.kernel+r.program)/sent/1e3)
	}
	if sent > 0 && t.on.keeps {
		w.Memory = append(w.Memory, max(r.memory, 0)/sent)
	}
}

// finish makes the row of the report.
func (t *tally) finish() report.Row {
	t.row.Program, t.row.Peer = t.on.name, t.on.peer != nil || t.on == floor
	slices.SortFunc(t.points, func(a, b report.Point) int {
		switch {
		case a.Offered < b.Offered:
			return -1
		case a.Offered > b.Offered:
			return 1
		}
		return 0
	})
	t.row.Curve = t.points
	return t.row
}
