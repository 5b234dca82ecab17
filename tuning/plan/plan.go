// Package plan says how a machine should be set up to capture on one of its
// interfaces: an ordered list of steps, each with what was found, what it should be,
// the reason, the effect to expect, and a source.
//
// It is a pure function of an inventory: it reads nothing and changes nothing. Package
// apply does what it says.
package plan

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"ringside/tuning/inventory"
	"ringside/tuning/setting"
)

// Workload is what the capture does with RTP, from little to much.
type Workload string

// Workloads.
const (
	SIP    Workload = "sip"    // signalling only: media are dropped in the driver
	Meter  Workload = "meter"  // media are measured in the kernel, and not stored
	Header Workload = "header" // headers of media are stored
	Full   Workload = "full"   // media are stored whole
)

// Workloads are all of them.
var Workloads = []Workload{SIP, Meter, Header, Full}

// rates are the packets per second that one processor is planned for: well below what
// it does on a quiet machine, since calls are not dealt out evenly
// (bench/results: the filter alone 5 million, the meter 1.2 to 3.6 million).
var rates = map[Workload]int64{SIP: 3_000_000, Meter: 1_000_000, Header: 500_000, Full: 250_000}

// State is what becomes of a step.
type State string

// States.
const (
	Change State = "change"  // to be done
	Right  State = "right"   // it is so already
	Held   State = "held"    // it would help, and is not done without --force
	ByHand State = "by hand" // somebody has to do it: it is not ours to change
	Leave  State = "leave"   // nothing is gained by it
)

// Setting is a setting that a step changes, by the keys of package setting.
type Setting struct {
	Key   string `json:"key"`
	Found string `json:"found"`
	Want  string `json:"want"`
}

// Step is one thing to set up.
type Step struct {
	ID      string    `json:"id"` // stable: rings, queues, …
	State   State     `json:"state"`
	Title   string    `json:"title"`
	Found   string    `json:"found"`
	Want    string    `json:"want,omitempty"`
	Command string    `json:"command,omitempty"` // that would do the same
	Why     string    `json:"why"`
	Effect  string    `json:"effect,omitempty"`
	Source  string    `json:"source"`
	Held    string    `json:"held,omitempty"`   // why it is held back
	Resets  bool      `json:"resets,omitempty"` // the link is away for up to some seconds
	Lasts   bool      `json:"survives_reboot"`  // without ringside-tune.service
	Changes []Setting `json:"changes,omitempty"`
}

// Options say what is planned for.
type Options struct {
	Interface string   `json:"interface"`
	Workload  Workload `json:"workload"`
	Queues    int      `json:"queues,omitempty"` // 0: as many as the workload takes
	CPUs      []int    `json:"cpus,omitempty"`   // that take the interrupts; none: those near the card, but the first core
	Shared    bool     `json:"shared,omitempty"` // the host needs the interface, whatever it looks like
	Force     bool     `json:"force,omitempty"`  // do what is held, too
}

// Plan is what to do, in order.
type Plan struct {
	Asked     Options  `json:"asked"`
	Interface string   `json:"interface"`
	Workload  Workload `json:"workload"`

	Driver  string   `json:"driver"`
	Card    string   `json:"card"`
	Speed   int64    `json:"speed_mbit"`              // that it is planned for
	Assumed bool     `json:"speed_assumed,omitempty"` // nobody says how fast it is
	Node    int      `json:"numa_node"`
	Nodes   int      `json:"numa_nodes"`
	Uses    []string `json:"uses,omitempty"` // why it is shared
	Queues  int      `json:"queues"`
	CPUs    []int    `json:"cpus"` // by queue, in turn
	Steps   []Step   `json:"steps"`
}

// Make plans for an interface of the facts; an error if it is not among them.
func Make(f *inventory.Facts, o Options) (*Plan, error) {
	at := slices.IndexFunc(f.Interfaces, func(i inventory.Interface) bool { return i.Name == o.Interface })
	if at < 0 {
		return nil, fmt.Errorf("plan for %s: there is no such interface", o.Interface)
	}
	if _, ok := rates[o.Workload]; !ok {
		return nil, fmt.Errorf("plan for %s: workload %q is none of %v", o.Interface, o.Workload, Workloads)
	}
	n := &f.Interfaces[at]
	online := inventory.Set(f.Host.Online)
	for _, c := range o.CPUs {
		if !slices.Contains(online, c) {
			return nil, fmt.Errorf("plan for %s: there is no processor %d; there are %s", o.Interface, c, f.Host.Online)
		}
	}
	p := &planner{facts: f, nic: n, card: cardOf(n), o: o, now: maps.Clone(f.Settings)}
	if p.now == nil {
		p.now = map[string]string{}
	}
	maps.Copy(p.now, n.All())
	p.plan = Plan{Asked: o, Interface: o.Interface, Workload: o.Workload, Driver: p.card.driver, Card: p.card.name, Node: n.Node, Nodes: max(1, len(f.Host.Nodes)), Uses: n.Shared}
	if o.Shared && len(n.Shared) == 0 {
		p.plan.Uses = []string{"it is said to be shared"}
	}
	p.place()
	for _, step := range []func(*planner){
		(*planner).queues, (*planner).flags, (*planner).rings, (*planner).director, (*planner).table, (*planner).key, (*planner).fields,
		(*planner).offloads, (*planner).vlan, (*planner).coalescing, (*planner).pause, (*planner).eee,
		(*planner).irqbalance, (*planner).irqs, (*planner).rps,
		(*planner).governor, (*planner).idle, (*planner).numa, (*planner).pages, (*planner).budget, (*planner).backlog, (*planner).stamps, (*planner).jit,
		(*planner).nothing, (*planner).advice,
	} {
		step(p)
	}
	return &p.plan, nil
}

// planner is facts, with the plan so far.
type planner struct {
	facts *inventory.Facts
	nic   *inventory.Interface
	card  card
	o     Options
	now   map[string]string // settings, by key
	mgmt  []int             // processors of the first core
	plan  Plan
}

// shared is whether the host needs the interface.
func (p *planner) shared() bool { return len(p.plan.Uses) > 0 }

// driver is what a setting of the driver is.
func (p *planner) driver(name string) (string, bool) {
	v, ok := p.now[setting.NIC(p.nic.Name, name)]
	return v, ok
}

func (p *planner) number(name string) (int, bool) {
	v, _ := p.driver(name)
	n, err := strconv.Atoi(v)
	return n, err == nil
}

// want is a change of a setting of the driver; none if there is no such setting, or it
// is so already.
func (p *planner) want(name, value string) []Setting {
	found, ok := p.driver(name)
	if !ok || found == value {
		return nil
	}
	return []Setting{{setting.NIC(p.nic.Name, name), found, value}}
}

// file is a change of a setting in a file.
func (p *planner) file(key, value string) []Setting {
	found, ok := p.now[key]
	if !ok || found == value {
		return nil
	}
	return []Setting{{key, found, value}}
}

// add takes a step into the plan. What it changes decides its state, unless it has
// one: with nothing to change all is right; what somebody has configured, and what
// cuts off the host, is held.
func (p *planner) add(s Step, cuts bool) {
	if s.State == "" {
		s.State = Change
		if len(s.Changes) == 0 {
			s.State, s.Want, s.Command, s.Effect, s.Resets = Right, "", "", "", false
		}
	}
	if s.State == Change {
		if cuts && p.shared() {
			s.Held = "the host needs " + p.nic.Name + ": " + strings.Join(p.plan.Uses, "; ")
		}
		for _, c := range s.Changes {
			if file := p.facts.Own[c.Key]; file != "" {
				s.Held = "somebody has set it in " + file + ": change it there"
			}
		}
		switch {
		case s.Held != "" && !p.o.Force:
			s.State = Held
		case s.Held != "":
			s.Held += " (done all the same: --force)"
		}
	}
	p.plan.Steps = append(p.plan.Steps, s)
}

// Changes are all settings that the plan changes, in order.
func (p *Plan) Changes() (out []Setting) {
	for _, s := range p.Steps {
		if s.State == Change {
			out = append(out, s.Changes...)
		}
	}
	return out
}

// Count is how many steps have a state.
func (p *Plan) Count(s State) (n int) {
	for i := range p.Steps {
		if p.Steps[i].State == s {
			n++
		}
	}
	return n
}

// List writes numbers as the kernel does: 0-3,8.
func List(numbers []int) string {
	sorted := slices.Compact(slices.Sorted(slices.Values(numbers)))
	var out []string
	for i := 0; i < len(sorted); {
		j := i
		for j+1 < len(sorted) && sorted[j+1] == sorted[j]+1 {
			j++
		}
		if j == i {
			out = append(out, strconv.Itoa(sorted[i]))
		} else {
			out = append(out, fmt.Sprintf("%d-%d", sorted[i], sorted[j]))
		}
		i = j + 1
	}
	return strings.Join(out, ",")
}
