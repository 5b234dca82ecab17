package plan

import (
	"fmt"
	"math/bits"
	"slices"

	"ringside/tuning/inventory"
)

// wire is packets per second of RTP on a megabit per second of the wire: G.711 of
// 20 ms is 214 bytes with its headers, and 24 of checksum, preamble and gap.
const wire = 1_000_000 / 8 / (214 + 24)

// usual is the speed that is planned for where nobody knows it.
const usual = 10_000

// place chooses the processors and the number of queues.
func (p *planner) place() {
	if p.plan.Speed = p.nic.SpeedMbit; p.plan.Speed <= 0 {
		p.plan.Speed, p.plan.Assumed = usual, true
	}
	online := inventory.Set(p.facts.Host.Online)
	if len(online) == 0 {
		online = []int{0}
	}
	p.mgmt = p.core(online[0])
	cpus := p.o.CPUs
	if len(cpus) == 0 {
		cpus = p.near(online)
	}
	p.plan.CPUs = cpus

	n := p.queueCount(len(cpus))
	if now := p.nic.Ethtool.Channels; (p.shared() && !p.o.Force) || p.channelsMax() <= 0 {
		n = max(1, now, p.nic.RxQueues*b2i(now <= 0))
	}
	p.plan.Queues = max(1, n)
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// near are the processors of the card's node but for the first core, one of each core
// before their siblings. With two processors or fewer it is all: the capture pins
// nothing there.
func (p *planner) near(online []int) []int {
	near := online
	for _, node := range p.facts.Host.Nodes {
		if node.Number == p.nic.Node {
			near = inventory.Set(node.CPUs)
		}
	}
	pick := func(from []int) (out []int) {
		for _, c := range from {
			if !slices.Contains(p.mgmt, c) && slices.Contains(online, c) {
				out = append(out, c)
			}
		}
		return out
	}
	if len(online) <= 2 {
		return online
	}
	cpus := pick(near)
	if len(cpus) == 0 {
		cpus = pick(online)
	}
	if len(cpus) == 0 {
		cpus = online
	}
	first := func(c int) int { return slices.Index(p.core(c), c) }
	slices.SortStableFunc(cpus, func(a, b int) int { return first(a) - first(b) })
	return cpus
}

// core are the processors that share a core with one.
func (p *planner) core(cpu int) []int {
	for _, list := range p.facts.Host.Cores {
		if core := inventory.Set(list); slices.Contains(core, cpu) {
			return core
		}
	}
	return []int{cpu}
}

// channelsMax is how many queues the card has to receive with.
func (p *planner) channelsMax() int {
	l := p.nic.Ethtool.Limits
	return max(l["channels.combined"], l["channels.rx"], 0)
}

// queueCount is how many queues are asked for, or the workload takes: a power of two,
// since tables of the hash have a power of two of entries and are dealt out evenly
// then; but no more than processors, and than the card has.
func (p *planner) queueCount(cpus int) int {
	n := p.o.Queues
	if n == 0 {
		n = min(1<<bits.Len(uint(p.needed()-1)), cpus)
		if p.o.Workload == Full && cpus > 1 {
			n = min(n, cpus/2) // the others read, compress and write
		}
	}
	if p.card.reach > 0 && (p.o.Queues == 0 || p.card.firm) {
		n = min(n, p.card.reach)
	}
	if most := p.channelsMax(); most > 0 {
		n = min(n, most)
	}
	return max(n, 1)
}

// needed is how many processors the workload takes at full rate.
func (p *planner) needed() int {
	one := rates[p.o.Workload]
	return int((p.plan.Speed*wire + one - 1) / one)
}

// used are the processors that queues are on.
func (p *planner) used() []int {
	return p.plan.CPUs[:min(len(p.plan.CPUs), p.plan.Queues)]
}

// pinned is whether interrupts are tied to processors.
func (p *planner) pinned() bool {
	return len(p.o.CPUs) > 0 || len(inventory.Set(p.facts.Host.Online)) > 2
}

// RingSize is how many descriptors a queue should have: as many as come in 4 ms at
// full rate, the longest that a processor is usually away, but not more, as packets
// that wait in memory have left the cache (DDIO) when they are looked at.
func RingSize(speedMbit int64, queues, most int) int {
	if speedMbit <= 0 {
		speedMbit = usual
	}
	const perSecond = 250 // 4 ms
	need := speedMbit * wire / int64(max(queues, 1)) / perSecond
	size := 1 << bits.Len64(uint64(max(need, 1)-1))
	return min(max(size, 1024), most)
}

// QueueCount is how many queues would be planned for an interface that the host does
// not need; 0 if it is not among the facts.
func QueueCount(f *inventory.Facts, iface string, w Workload) int {
	p, err := Make(f, Options{Interface: iface, Workload: w, Force: true})
	if err != nil {
		return 0
	}
	return p.Queues
}

func perCPU(w Workload) string {
	return fmt.Sprintf("%.2g million", float64(rates[w])/1e6)
}
