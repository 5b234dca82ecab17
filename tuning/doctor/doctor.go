// Package doctor explains what hurts a capture on a machine: from facts to
// findings, each with the number that was read, why it matters, and what to do.
//
// It is a pure function: what it says depends on the facts alone.
package doctor

import (
	"cmp"
	"fmt"
	"slices"

	"ringside/tuning/inventory"
	"ringside/tuning/plan"
)

// Severity says how much a finding hurts.
type Severity string

// Severities, from bad to good.
const (
	Severe  Severity = "severe"  // packets or records are lost, or nothing works
	Warning Severity = "warning" // they will be when traffic grows, or figures are wrong
	Note    Severity = "note"    // worth knowing
)

var order = []Severity{Severe, Warning, Note}

// Finding is something that hurts.
type Finding struct {
	ID       string   `json:"id"` // stable: ring-size, clock, …
	Of       string   `json:"of"` // interface, volume, …; empty: the machine
	Severity Severity `json:"severity"`
	Title    string   `json:"title"`
	Evidence string   `json:"evidence"` // what was read
	Why      string   `json:"why"`      // it matters
	Remedy   string   `json:"remedy"`   // a command, or what to do
}

// Service is what the running service says of itself.
type Service struct {
	Running bool        `json:"running"`
	State   string      `json:"state"` // healthy, degraded, failing, idle
	Why     []Condition `json:"why"`
	Drops   []Drop      `json:"drops"`
	Gaps    []string    `json:"gaps"` // of the ledger

	StoreAway  bool    `json:"store_away"`
	StoreQueue float64 `json:"store_queue"` // share of the queue in use; -1: nothing is written
	Parked     uint64  `json:"parked"`      // records that the store rejected

	Budget int64 `json:"budget"` // bytes that it may come to take; 0: not known
	Limit  int64 `json:"limit"`  // bytes that it may take
}

// Condition is something that the service knows to be wrong.
type Condition struct {
	Text    string `json:"text"`
	Failing bool   `json:"failing"`
}

// Drop is packets that were lost at a stage of the way.
type Drop struct {
	Interface string  `json:"interface"`
	Stage     string  `json:"stage"`
	Reason    string  `json:"reason"`
	Packets   uint64  `json:"packets"`
	Rate      float64 `json:"rate"`
}

// Examine finds what hurts, the worst first.
func Examine(f *inventory.Facts, s *Service) []Finding {
	e := &examination{Facts: f, service: s}
	for _, check := range []func(*examination){
		(*examination).rights, (*examination).kernel, (*examination).processors, (*examination).clock, (*examination).memory,
		(*examination).backlog, (*examination).interfaces, (*examination).volumes, (*examination).running,
	} {
		check(e)
	}
	e.point()
	slices.SortStableFunc(e.found, func(a, b Finding) int {
		return cmp.Compare(slices.Index(order, a.Severity), slices.Index(order, b.Severity))
	})
	return e.found
}

// Worst reports whether something severe is among findings.
func Worst(found []Finding) bool {
	return slices.ContainsFunc(found, func(f Finding) bool { return f.Severity == Severe })
}

// examination is facts, with what was found so far.
type examination struct {
	*inventory.Facts
	service *Service
	found   []Finding
}

func (e *examination) add(f Finding) { e.found = append(e.found, f) }

// steps are those of a plan that help against a finding.
var steps = map[string]string{
	"ring-size": "rings", "queues": "queues", "rss": "rss-table", "irqs": "irqs", "lro": "offloads", "gro": "offloads",
	"governor": "governor", "irqbalance": "irqbalance", "thp": "thp", "backlog": "backlog", "budget-net": "budget", "jit": "jit",
}

// point names ringside tune where a step of it helps.
func (e *examination) point() {
	pointed := make(map[int]bool)
	for i := range e.Interfaces {
		n := &e.Interfaces[i]
		if !n.Captured && !n.Carrier {
			continue
		}
		p, err := plan.Make(e.Facts, plan.Options{Interface: n.Name, Workload: plan.Meter})
		if err != nil {
			continue
		}
		for k := range e.found {
			f := &e.found[k]
			at := slices.IndexFunc(p.Steps, func(s plan.Step) bool { return s.ID == steps[f.ID] })
			if at < 0 || f.Of != "" && f.Of != n.Name || pointed[k] {
				continue
			}
			switch p.Steps[at].State {
			case plan.Change:
				f.Remedy, pointed[k] = f.Remedy+"; or ringside tune "+n.Name+", which sees to this and more, and takes it back", true
			case plan.Held:
				f.Remedy, pointed[k] = f.Remedy+"; ringside tune "+n.Name+" says what holds it back", true
			}
		}
	}
}

// size is bytes in binary units.
func size(n int64) string {
	const units = "KMGTPE"
	v, u := float64(n), -1
	for v >= 1024 && u < len(units)-1 {
		v, u = v/1024, u+1
	}
	if u < 0 {
		return fmt.Sprintf("%d bytes", n)
	}
	return fmt.Sprintf("%.1f %ciB", v, units[u])
}

// count is a number with thousands separators.
func count(n uint64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
