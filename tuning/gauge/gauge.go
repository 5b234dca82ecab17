// Package gauge says what an interface and the processors do for some seconds, so
// that before and after can be compared.
//
// It says what it cannot know: with no traffic nothing can be measured, and with other
// traffic than before only shares and losses per packet can be compared.
package gauge

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

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

// Take reads the counters of an interface. stats are those of its driver, losing the
// names of those that count lost packets.
func Take(root string, n *inventory.Interface, stats map[string]uint64, losing []string) Sample {
	s := Sample{Lost: map[string]uint64{}, Softirq: map[int]uint64{}, Ticks: map[int]uint64{}, IRQs: map[int]uint64{}, Queues: map[int]uint64{}}
	counter := func(name string) uint64 {
		v, _ := strconv.ParseUint(text(root, "sys/class/net", n.Name, "statistics", name), 10, 64)
		return v
	}
	s.Packets = counter("rx_packets")
	s.Lost["interface: rx_dropped"] = counter("rx_dropped")
	s.Lost["interface: rx_missed_errors"] = counter("rx_missed_errors")
	for _, name := range losing {
		if v, ok := stats[name]; ok {
			s.Lost["card: "+name] = v
		}
	}
	s.softnet(root)
	s.processors(root)
	s.interrupts(root, n)
	for name, v := range stats {
		if q, ok := queueOf(name); ok {
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

// forms are those in which drivers count the packets of a receive queue; # is its
// number.
var forms = []string{"rx_queue_#_packets", "rx#_packets", "rx-#.packets", "rx-#.rx_packets", "queue_#_rx_cnt", "[#]: rx_ucast_packets", "rx_queue_#_xdp_packets"}

func queueOf(name string) (int, bool) {
	for _, form := range forms {
		before, behind, _ := strings.Cut(form, "#")
		middle, begins := strings.CutPrefix(name, before)
		middle, ends := strings.CutSuffix(middle, behind)
		if n, err := strconv.Atoi(middle); begins && ends && err == nil && n >= 0 {
			return n, true
		}
	}
	return 0, false
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

// quiet is so few packets a second that nothing can be measured.
const quiet = 1000

// Compare says what has changed.
func Compare(before, after Rates) Comparison {
	c := Comparison{Before: before, After: after}
	add := func(name, form string, value func(Rates) float64) {
		c.Lines = append(c.Lines, Line{name, fmt.Sprintf(form, value(before)), fmt.Sprintf(form, value(after))})
	}
	add("packets a second", "%.0f", func(r Rates) float64 { return r.Packets })
	var names []string
	for name := range after.Lost {
		names = append(names, name)
	}
	slices.Sort(names)
	lost := 0.0
	for _, name := range names {
		lost += before.Lost[name] + after.Lost[name]
		if before.Lost[name] > 0 || after.Lost[name] > 0 {
			add("lost a second, "+name, "%.1f", func(r Rates) float64 { return r.Lost[name] })
		}
	}
	if lost == 0 {
		c.Lines = append(c.Lines, Line{"lost a second, in " + strconv.Itoa(len(names)) + " counters", "0", "0"})
	}
	add("processors busy in softirq", "%.2f", func(r Rates) float64 { return r.Softirq })
	add("the busiest of them", "%.0f %%", func(r Rates) float64 { return 100 * r.Busiest })
	if before.IRQs+after.IRQs > 0 {
		add("interrupts a second", "%.0f", func(r Rates) float64 { return r.IRQs })
	}
	if before.Used+after.Used > 0 {
		add("queues that got packets", "%.0f", func(r Rates) float64 { return float64(r.Used) })
		add("share of the largest queue", "%.0f %%", func(r Rates) float64 { return 100 * r.Largest })
	} else {
		c.Caveats = append(c.Caveats, "neither the driver nor interrupts say which queues got packets")
	}
	switch {
	case before.Packets < quiet && after.Packets < quiet:
		c.Caveats = append(c.Caveats, fmt.Sprintf("there were fewer than %d packets a second: whether it has helped cannot be measured now. Measure again under load: ringside tune --measure", quiet))
	case before.Packets < quiet || after.Packets < quiet || before.Packets > after.Packets*1.2 || after.Packets > before.Packets*1.2:
		c.Caveats = append(c.Caveats, "the traffic was not the same before and after: compare shares, not sums")
	case lost == 0:
		c.Caveats = append(c.Caveats, "nothing was lost before either: what the steps are for shows at the peak of the day")
	}
	return c
}
