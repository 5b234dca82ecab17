package suite

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"ringside/bench/guard"
	"ringside/bench/peer"
	"ringside/bench/replay"
	"ringside/bench/report"
)

// Plan says what of the suite is run.
type Plan struct {
	Quick   bool          // fewer scenarios and other programs, a smaller file
	Only    []string      // names of scenarios, "read a file" among them; none: all
	Peers   []string      // names of other programs; none: all that are installed
	Budget  time.Duration // what it may take; what would begin later is left out, and said
	Packets int           // of the file that is read
	Command string        // that repeats it, for the report
}

// Names are the names that Plan.Only takes.
func Names() []string {
	out := []string{readName}
	for _, s := range scenarios() {
		if !slices.Contains(out, s.name) {
			out = append(out, s.name)
		}
	}
	return out
}

// suiteRun is a run that goes on.
type suiteRun struct {
	*Bench
	plan  Plan
	out   io.Writer // progress
	began time.Time
	loop  []float64 // of the calibration loop
	rep   *report.Report
}

// Suite runs the suite, and says on out how it goes. What fails is in the report,
// in its place; with an error, which keeps the whole from going on, the report has
// what was measured until then.
func (b *Bench) Suite(ctx context.Context, p Plan, out io.Writer) (*report.Report, error) {
	r := &suiteRun{Bench: b, plan: p, out: out, began: time.Now(), rep: &report.Report{Schema: report.Schema, Command: p.Command}}
	b.until = r.began.Add(p.Budget)
	stolen := b.stolen()
	r.rep.Date = r.began
	r.rep.Host = b.host(ctx)
	r.rep.Ringside = version(ctx, b.Ringside)
	r.rep.Method = report.Method{Quick: p.Quick, Runs: b.Runs, Span: b.Span, Free: b.Free, Tries: b.Tries, Exact: b.Exact, Calls: b.Calls, Sender: b.sender()}
	r.rep.Peers = r.peers()
	err := b.first()
	if err == nil {
		err = r.files(ctx)
	}
	if err == nil {
		err = r.live(ctx)
	}
	r.rep.Noise = noise(r.loop, r.rep)
	r.rep.Took = time.Since(r.began)
	r.rep.Noise.Stolen = (b.stolen() - stolen).Seconds() / r.rep.Took.Seconds() / float64(len(b.cpus()))
	r.rep.Noise.Again = b.again
	return r.rep, err
}

// sender says what sends.
func (b *Bench) sender() string {
	how := map[replay.Engine]string{replay.XDP: "live XDP frames", replay.Ring: "an AF_PACKET transmit ring", replay.Packet: "sendmmsg"}
	engine := replay.XDP // what a veth takes most of
	if b.From != "" {
		engine = b.Engine
	}
	return "media and floods: " + how[engine] + "; what is rewritten: " + how[replay.Packet]
}

// peers are all programs that may be measured, with what is there of them.
func (r *suiteRun) peers() (out []report.Peer) {
	for _, p := range peer.All() {
		if !r.wanted(p) {
			continue
		}
		v, ok := p.Installed()
		out = append(out, report.Peer{Name: p.Name, Version: v, Missing: !ok, Remedy: p.Remedy})
	}
	return out
}

// wanted reports whether a program is to be measured, if it is installed.
func (r *suiteRun) wanted(p *peer.Peer) bool {
	if len(r.plan.Peers) > 0 {
		return slices.Contains(r.plan.Peers, p.Name)
	}
	return !r.plan.Quick || p.Name == "tcpdump"
}

// there reports whether a program is measured: it is wanted, so that the report names it,
// and installed.
func (r *suiteRun) there(p *peer.Peer) bool {
	return slices.ContainsFunc(r.rep.Peers, func(q report.Peer) bool { return q.Name == p.Name && !q.Missing })
}

// only reports whether a scenario is to be run.
func (r *suiteRun) only(name string) bool {
	return len(r.plan.Only) == 0 || slices.Contains(r.plan.Only, name)
}

// calibrate takes a look at how fast the machine is at the moment, by the clock on the
// wall: others that take its time count.
func (r *suiteRun) calibrate() {
	began := time.Now()
	guard.Loop()
	r.loop = append(r.loop, float64(time.Since(began))/guard.LoopTurns)
}

// left is how much time there is.
func (r *suiteRun) left() time.Duration { return time.Until(r.until) }

// live runs the scenarios, round after round.
func (r *suiteRun) live(ctx context.Context) error {
	chosen := slices.DeleteFunc(scenarios(), func(s scenario) bool {
		// One queue is what a veth has anyway.
		return !r.only(s.name) || s.queues == 1 && r.From == "" || r.plan.Quick && !s.quick && len(r.plan.Only) == 0
	})
	loads, err := r.loads(ctx, chosen)
	if err != nil {
		return err
	}
	var all []*tally
	for i := range chosen {
		for _, on := range chosen[i].subjects {
			if on.peer == nil || r.there(on.peer) {
				all = append(all, &tally{scenario: &chosen[i], on: on})
			}
		}
	}
	for round := range r.Runs {
		for _, t := range inOrder(all) {
			if t.row.Failed != "" {
				continue
			}
			if r.left() <= 0 {
				if !t.done() && len(t.row.Rate) == 0 {
					t.row.Failed = errTime.Error()
				}
				continue
			}
			began := time.Now()
			r.calibrate()
			if err := r.attempt(ctx, t, loads[t.scenario.load]); err != nil {
				t.row.Failed = "not measured: interrupted"
				r.collect(chosen, all)
				return err
			}
			r.progress(round, t, time.Since(began))
		}
	}
	r.calibrate()
	r.collect(chosen, all)
	return nil
}

// inOrder puts those first whose rates are not known for what the host of the machine took.
func inOrder(all []*tally) []*tally {
	open := func(t *tally) bool { return t.row.Stolen }
	return slices.Concat(slices.DeleteFunc(slices.Clone(all), func(t *tally) bool { return !open(t) }), slices.DeleteFunc(slices.Clone(all), open))
}

// attempt measures one round. What fails is said in the row, unless an earlier round
// has filled it. Only the end of the context is an error.
func (r *suiteRun) attempt(ctx context.Context, t *tally, l *load) error {
	r.turn()
	xdp, err := r.round(ctx, t, l)
	switch {
	case err == nil && xdp != "":
		r.rep.Host.XDP = xdp
	case ctx.Err() != nil:
		return fmt.Errorf("measure %s, %s: %w", t.scenario.name, t.on.name, ctx.Err())
	case errors.Is(err, errTime):
		if len(t.row.Rate) == 0 && !t.done() {
			t.row.Failed = errTime.Error()
		}
	case err != nil:
		say(r.out, "  %s, %s: %v", t.scenario.name, t.on.name, err)
		if !t.done() {
			t.row.Failed = "failed: " + firstLine(err.Error())
		}
	}
	return nil
}

func (r *suiteRun) progress(round int, t *tally, took time.Duration) {
	rate := "does not say what it lost"
	if n := len(t.row.Rate); n > 0 {
		rate = fmt.Sprintf("%.0f packets/s", t.row.Rate[n-1])
	}
	if t.row.Failed != "" {
		rate = t.row.Failed
	}
	queues := ""
	if t.scenario.queues > 0 {
		queues = fmt.Sprintf(", %d queues", t.scenario.queues)
	}
	say(r.out, "%6s  round %d of %d  %s%s: %s: %s (%s)", time.Since(r.began).Round(time.Second), round+1, r.Runs, t.scenario.name, queues, t.on.name, rate, took.Round(time.Second/10))
}

// collect makes the report of the scenarios.
func (r *suiteRun) collect(chosen []scenario, all []*tally) {
	for i := range chosen {
		s := report.Scenario{Name: chosen[i].name, What: chosen[i].what, PerCall: chosen[i].perCall, Queues: chosen[i].queues}
		if s.Queues == 0 {
			s.Queues = r.rep.Host.Queues
		}
		for _, t := range all {
			if t.scenario == &chosen[i] {
				s.Rows = append(s.Rows, t.finish())
			}
		}
		r.rep.Scenarios = append(r.rep.Scenarios, s)
	}
	// The same traffic in the same run: other programs stand beside those, too.
	for i := range chosen {
		if chosen[i].like == "" {
			continue
		}
		to := &r.rep.Scenarios[i]
		for _, from := range r.rep.Scenarios {
			if from.Name != chosen[i].like || from.Queues != to.Queues {
				continue
			}
			for _, row := range from.Rows {
				if row.Peer && row.Failed == "" {
					row.Threads, row.Drops, row.From = nil, nil, from.Name
					to.Rows = append(to.Rows, row)
				}
			}
		}
	}
}

// noise says by how much figures of two runs may differ beyond their ranges: as the
// machine's speed did within this run, from its tenth to its ninetieth part, as the
// rates of rounds did in the middle, and as the search is exact.
func noise(loop []float64, rep *report.Report) report.Noise {
	n := report.Noise{Loop: slices.Clone(loop), Share: rep.Method.Exact - 1}
	sorted := slices.Sorted(slices.Values(loop))
	if len(sorted) > 1 {
		low, high := sorted[len(sorted)/10], sorted[len(sorted)-1-len(sorted)/10]
		n.Share = max(n.Share, (high-low)/2/report.Figure(sorted).Median())
	}
	const unknown = 0.3 // nobody knows by how much the next rate of one would differ
	var spreads report.Figure
	for _, s := range rep.Scenarios {
		for _, row := range s.Rows {
			switch {
			case row.Open() || len(row.Rate) == 0:
			case len(row.Rate) == 1:
				spreads = append(spreads, unknown)
			default:
				spreads = append(spreads, row.Rate.Spread()/2)
			}
		}
	}
	if len(spreads) == 0 {
		spreads = append(spreads, unknown)
	}
	n.Share = max(n.Share, spreads.Median())
	return n
}
