// Package gauge says what an interface and the processors do for some seconds, so
// that before and after can be compared.
//
// It says what it cannot know: with no traffic nothing can be measured, and with other
// traffic than before only shares and losses per packet can be compared.
package gauge

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"ringside/dataplane/nic"
	"ringside/tuning/inventory"
)

// Sample is the counters of a moment.
type Sample struct {
	Packets uint64            // received by the interface
	Lost    map[string]uint64 // by counter: of the card, the driver, the kernel
	Softirq map[int]uint64    // ticks of each processor in softirqs, where packets are received
	Ticks   map[int]uint64    // of each processor, all
	IRQs    map[int]uint64    // interrupts of each queue
	Queues  map[int]uint64    // packets of each queue, where the driver counts them
}

// Statistics are what the driver of an interface of this machine counts.
func Statistics(iface string) (map[string]uint64, error) { return nic.Statistics(iface) }

// Take reads the counters of an interface. stats are those of its driver.
func Take(root string, n *inventory.Interface, stats map[string]uint64) Sample {
	s := Sample{Lost: map[string]uint64{}, Softirq: map[int]uint64{}, Ticks: map[int]uint64{}, IRQs: map[int]uint64{}, Queues: map[int]uint64{}}
	counter := func(name string) uint64 {
		v, _ := strconv.ParseUint(text(root, "sys/class/net", n.Name, "statistics", name), 10, 64)
		return v
	}
	s.Packets = counter("rx_packets")
	s.Lost["interface: rx_dropped"] = counter("rx_dropped")
	s.Lost["interface: rx_missed_errors"] = counter("rx_missed_errors")
	s.softnet(root)
	s.processors(root)
	s.interrupts(root, n)
	for name, v := range stats {
		if nic.Lost(n.DriverName(), name) {
			s.Lost["card: "+name] = v
		}
		if q, ok := nic.QueuePackets(name); ok {
			s.Queues[q] += v
		}
	}
	return s
}

func text(parts ...string) string {
	b, err := os.ReadFile(filepath.Join(parts...))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// softnet reads what was dropped between processors (net/core/net-procfs.c).
func (s *Sample) softnet(root string) {
	for line := range strings.SplitSeq(text(root, "proc/net/softnet_stat"), "\n") {
		if f := strings.Fields(line); len(f) > 2 {
			v, _ := strconv.ParseUint(f[1], 16, 32)
			s.Lost["kernel: backlog (softnet_stat)"] += v
		}
	}
}

// processors reads the time in softirqs (proc(5), /proc/stat).
func (s *Sample) processors(root string) {
	for line := range strings.SplitSeq(text(root, "proc/stat"), "\n") {
		f := strings.Fields(line)
		if len(f) < 9 {
			continue
		}
		number, ok := strings.CutPrefix(f[0], "cpu")
		cpu, err := strconv.Atoi(number)
		if !ok || err != nil {
			continue
		}
		const softirq, steal = 7, 8
		for i, text := range f[1:min(len(f), steal+1)] { // guest time is in user time already
			v, _ := strconv.ParseUint(text, 10, 64)
			s.Ticks[cpu] += v
			if i+1 == softirq {
				s.Softirq[cpu] = v
			}
		}
	}
}

// interrupts reads how often each queue has interrupted.
func (s *Sample) interrupts(root string, n *inventory.Interface) {
	for line := range strings.SplitSeq(text(root, "proc/interrupts"), "\n") {
		number, rest, _ := strings.Cut(line, ":")
		irq, err := strconv.Atoi(strings.TrimSpace(number))
		at := slices.IndexFunc(n.IRQs, func(i inventory.IRQ) bool { return i.Number == irq && i.Queue >= 0 })
		if err != nil || at < 0 {
			continue
		}
		for f := range strings.FieldsSeq(rest) {
			v, err := strconv.ParseUint(f, 10, 64)
			if err != nil {
				break
			}
			s.IRQs[n.IRQs[at].Queue] += v
		}
	}
}

// Rates are what happened between two samples.
type Rates struct {
	Seconds float64            `json:"seconds"`
	Packets float64            `json:"packets"` // a second
	Lost    map[string]float64 `json:"lost"`    // a second, by counter
	Softirq float64            `json:"softirq"` // processors that were busy with it
	Busiest float64            `json:"busiest"` // share of the time of the one that was busiest with it
	IRQs    float64            `json:"interrupts"`
	Used    int                `json:"queues"` // that got packets, or interrupts where packets are not counted
	Largest float64            `json:"largest"`
}

// Between compares two samples.
func Between(a, b Sample, seconds float64) Rates {
	r := Rates{Seconds: seconds, Packets: rate(a.Packets, b.Packets, seconds), Lost: map[string]float64{}}
	for name, v := range b.Lost {
		r.Lost[name] = rate(a.Lost[name], v, seconds)
	}
	for cpu, ticks := range b.Ticks {
		all := float64(less(ticks, a.Ticks[cpu]))
		if all == 0 {
			continue
		}
		share := float64(less(b.Softirq[cpu], a.Softirq[cpu])) / all
		r.Softirq += share
		r.Busiest = max(r.Busiest, share)
	}
	for q, v := range b.IRQs {
		r.IRQs += rate(a.IRQs[q], v, seconds)
	}
	of, before := b.Queues, a.Queues
	if len(of) == 0 {
		of, before = b.IRQs, a.IRQs
	}
	sum, largest := uint64(0), uint64(0)
	for q, v := range of {
		n := less(v, before[q])
		sum, largest = sum+n, max(largest, n)
		if n > 0 {
			r.Used++
		}
	}
	if sum > 0 {
		r.Largest = float64(largest) / float64(sum)
	}
	return r
}

// less is a difference of counters; one that has begun anew counts from zero.
func less(b, a uint64) uint64 {
	if b < a {
		return b
	}
	return b - a
}

func rate(a, b uint64, seconds float64) float64 { return float64(less(b, a)) / seconds }

// Row is a figure of each of some Rates.
type Row struct {
	Name   string
	Values []string
}

// Rows are the figures of Rates, side by side. What was not lost in any of them, and
// what none of them knows, is left out.
func Rows(of ...Rates) (out []Row) {
	add := func(name, form string, value func(Rates) float64) {
		row := Row{Name: name}
		for _, r := range of {
			row.Values = append(row.Values, fmt.Sprintf(form, value(r)))
		}
		out = append(out, row)
	}
	some := func(value func(Rates) float64) bool {
		return slices.ContainsFunc(of, func(r Rates) bool { return value(r) > 0 })
	}
	names := make(map[string]bool)
	for _, r := range of {
		for name := range r.Lost {
			names[name] = true
		}
	}
	add("packets a second", "%.0f", func(r Rates) float64 { return r.Packets })
	lost := false
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if value := func(r Rates) float64 { return r.Lost[name] }; some(value) {
			add("lost a second, "+name, "%.1f", value)
			lost = true
		}
	}
	if !lost {
		add("lost a second, in "+strconv.Itoa(len(names))+" counters", "%.0f", func(Rates) float64 { return 0 })
	}
	add("processors busy in softirq", "%.2f", func(r Rates) float64 { return r.Softirq })
	add("the busiest of them", "%.0f %%", func(r Rates) float64 { return 100 * r.Busiest })
	if value := func(r Rates) float64 { return r.IRQs }; some(value) {
		add("interrupts a second", "%.0f", value)
	}
	if value := func(r Rates) float64 { return float64(r.Used) }; some(value) {
		add("queues that got packets", "%.0f", value)
		add("share of the largest queue", "%.0f %%", func(r Rates) float64 { return 100 * r.Largest })
	}
	return out
}

// quiet is so few packets a second that nothing can be measured.
const quiet = 1000

// Caveats are what is not to be read into rates by themselves.
func (r Rates) Caveats() (out []string) {
	if r.Used == 0 {
		out = append(out, nobodyCounts)
	}
	if r.Packets < quiet {
		out = append(out, fmt.Sprintf("there were fewer than %d packets a second: measure again under load", quiet))
	}
	return out
}

const nobodyCounts = "neither the driver nor interrupts say which queues got packets"

// Line is a figure before and after.
type Line struct {
	Name   string `json:"name"`
	Before string `json:"before"`
	After  string `json:"after"`
}

// Comparison is before and after, with what is not to be read into it.
type Comparison struct {
	Before  Rates    `json:"before"`
	After   Rates    `json:"after"`
	Lines   []Line   `json:"lines"`
	Caveats []string `json:"caveats"`
}

// Compare says what has changed.
func Compare(before, after Rates) Comparison {
	c := Comparison{Before: before, After: after}
	for _, row := range Rows(before, after) {
		c.Lines = append(c.Lines, Line{row.Name, row.Values[0], row.Values[1]})
	}
	if before.Used+after.Used == 0 {
		c.Caveats = append(c.Caveats, nobodyCounts)
	}
	switch {
	case before.Packets < quiet && after.Packets < quiet:
		c.Caveats = append(c.Caveats, fmt.Sprintf("there were fewer than %d packets a second: whether it has helped cannot be measured now. Measure again under load: ringside tune --measure", quiet))
	case before.Packets < quiet || after.Packets < quiet || before.Packets > after.Packets*1.2 || after.Packets > before.Packets*1.2:
		c.Caveats = append(c.Caveats, "the traffic was not the same before and after: compare shares, not sums")
	case before.lost()+after.lost() == 0:
		c.Caveats = append(c.Caveats, "nothing was lost before either: what the steps are for shows at the peak of the day")
	}
	return c
}

// lost are the losses of all counters; what is in one may be in another, too.
func (r Rates) lost() (sum float64) {
	for _, v := range r.Lost {
		sum += v
	}
	return sum
}
