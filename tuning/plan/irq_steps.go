package plan

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"ringside/tuning/inventory"
	"ringside/tuning/setting"
)

// queueIRQs are the interrupts of the queues that are used, by queue.
func (p *planner) queueIRQs() []inventory.IRQ {
	var out []inventory.IRQ
	for _, i := range p.nic.IRQs {
		if i.Queue >= 0 && i.Queue < p.plan.Queues {
			out = append(out, i)
		}
	}
	slices.SortStableFunc(out, func(a, b inventory.IRQ) int { return a.Queue - b.Queue })
	return out
}

// irqbalance moves interrupts, and must not.
func (p *planner) irqbalance() {
	found, runs := p.now[setting.Banned]
	why, unread := p.facts.Unread[setting.Banned]
	irqs := p.queueIRQs()
	if !runs && !unread || len(irqs) == 0 || !p.pinned() {
		return
	}
	if unread {
		p.add(Step{ID: "irqbalance", State: ByHand, Title: "irqbalance", Found: "it runs, and what it leaves alone cannot be read: " + why, Command: "ringside tune, as root; where the file is to be removed, remove it",
			Why: "it may move the interrupts of the queues, or may have been told not to", Source: "irqbalance(1)"}, false)
		return
	}
	var numbers []int
	for _, i := range irqs {
		numbers = append(numbers, i.Number)
	}
	// Those of another interface stay.
	before, on := setting.BanLists(found)
	numbers = slices.Compact(slices.Sorted(slices.Values(append(numbers, inventory.Set(before)...))))
	want := setting.BanText(numbers, List(append(inventory.Set(on), p.used()...)))
	p.add(Step{ID: "irqbalance", Title: "irqbalance", Found: "it runs, and moves interrupts of " + p.nic.Name + bannedNow(found), Want: "it leaves those of the queues alone, and gives their processors no others",
		Command: "systemctl edit --runtime irqbalance, with IRQBALANCE_ARGS=--banirq=… and IRQBALANCE_BANNED_CPULIST=" + List(p.used()),
		Why:     "every ten seconds it moves interrupts to where it thinks best: packets of a queue get out of order meanwhile, and come to processors with other work",
		Effect:  "interrupts stay where the next step puts them", Source: "irqbalance(1)", Changes: p.file(setting.Banned, want)}, false)
}

func bannedNow(found string) string {
	if found == setting.None {
		return ""
	}
	return ", but for: " + shorten(found)
}

// irqs are which processors are interrupted.
func (p *planner) irqs() {
	irqs := p.queueIRQs()
	if p.nic.Virtual {
		return
	}
	s := Step{ID: "irqs", Title: "interrupts of the queues", Source: "kernel: Documentation/core-api/irq/irq-affinity.rst; " + scaling}
	switch {
	case len(irqs) == 0:
		s.State, s.Found, s.Why = Leave, "none is known", "the driver has not asked for any, as the interface is down, or does not name them by queue"
		p.add(s, false)
		return
	case !p.pinned():
		s.State, s.Found = Leave, plural(len(irqs), "interrupt")+" on "+p.facts.Host.Online
		s.Why = "with two processors or fewer nothing is tied to one: what could not step aside would wait"
		p.add(s, false)
		return
	}
	var at []int
	for n, i := range irqs {
		at = append(at, inventory.Set(i.CPUs)...)
		cpu := p.plan.CPUs[n%len(p.plan.CPUs)]
		s.Changes = append(s.Changes, p.file(fmt.Sprintf("/proc/irq/%d/smp_affinity_list", i.Number), strconv.Itoa(cpu))...)
	}
	s.Found = fmt.Sprintf("%s on processors %s", plural(len(irqs), "interrupt"), List(at))
	s.Want = "one each on " + List(p.used())
	if len(irqs) > len(p.plan.CPUs) {
		s.Want = "in turn on " + List(p.used())
	}
	s.Command = fmt.Sprintf("echo %d > /proc/irq/%d/smp_affinity_list, and so on for each queue", p.plan.CPUs[0], irqs[0].Number)
	s.Why = fmt.Sprintf("the processor that is interrupted runs the filter and the meter; %s", p.nearness())
	s.Effect = "packets stay in the cache near the card, and whoever logs in finds the first core free"
	p.add(s, false)
}

// nearness says why these processors.
func (p *planner) nearness() string {
	first := fmt.Sprintf("core %s is left to everything else", List(p.mgmt))
	switch {
	case len(p.o.CPUs) > 0:
		return "these were asked for"
	case len(p.facts.Host.Nodes) > 1 && p.nic.Node >= 0:
		return fmt.Sprintf("the card is on NUMA node %d, and memory of the other node is further away; %s", p.nic.Node, first)
	}
	return first
}

// rps is the kernel's own way to spread packets.
func (p *planner) rps() {
	var keys []string
	set := 0
	for q := range p.nic.RxQueues {
		key := fmt.Sprintf("/sys/class/net/%s/queues/rx-%d/rps_cpus", p.nic.Name, q)
		if v, ok := p.now[key]; ok {
			keys = append(keys, key)
			set += b2i(strings.Trim(v, "0,") != "")
		}
	}
	if len(keys) == 0 {
		return
	}
	s := Step{ID: "rps", Title: "spreading by the kernel (RPS)", Source: scaling, Found: fmt.Sprintf("set for %d of %s", set, plural(len(keys), "queue"))}
	spread := p.pinned() && p.plan.Queues < min(p.needed(), len(p.plan.CPUs)) && 2*p.plan.Queues <= len(p.plan.CPUs)
	switch {
	case spread && (p.shared() || p.nic.XDP != "native"):
		mask := mask(p.plan.CPUs, p.now[keys[0]])
		s.Want = "processors " + List(p.plan.CPUs)
		s.Command = fmt.Sprintf("echo %s > %s", mask, keys[0])
		s.Why = fmt.Sprintf("with %s, and no filter in the driver, one processor would do the work of %d", plural(p.plan.Queues, "queue"), len(p.plan.CPUs))
		s.Effect = "packets are handed on by flow, at some cost each; net.core.netdev_max_backlog is where they wait"
		for _, k := range keys {
			s.Changes = append(s.Changes, p.file(k, mask)...)
		}
	case spread && p.plan.Queues == 1:
		s.State = ByHand
		s.Command = "ringside run --dedicated --steer cpu"
		s.Why = "the card has one queue. The filter in the driver hands packets on to other processors for less than RPS takes, by the flow inside of tunnels"
		s.Effect, s.Lasts = "all processors share the work of one queue", true
	case set > 0:
		s.Want, s.Command = "off", "echo 0 > "+keys[0]
		s.Why = "each queue has a processor of its own already; handing packets on costs an interrupt between processors, and moves them out of the cache. Somebody has set it: 0 is what the kernel starts with"
		s.Effect = "packets stay on the processor that took them"
		for _, k := range keys {
			if v := p.now[k]; strings.Trim(v, "0,") != "" {
				s.Changes = append(s.Changes, Setting{k, v, strings.Map(zero, v)})
			}
		}
	default:
		s.Why = "queues have processors of their own already"
	}
	p.add(s, false)
}

func zero(r rune) rune {
	if r == ',' {
		return r
	}
	return '0'
}

// mask writes processors as the kernel does for a file that reads like this.
func mask(cpus []int, like string) string {
	words := make([]uint32, strings.Count(like, ",")+1)
	for _, c := range cpus {
		if at := len(words) - 1 - c/32; at >= 0 {
			words[at] |= 1 << (c % 32)
		}
	}
	first, _, _ := strings.Cut(like, ",")
	out := make([]string, len(words))
	for i, w := range words {
		digits := 8
		if i == 0 {
			digits = len(first)
		}
		out[i] = fmt.Sprintf("%0*x", digits, w)
	}
	return strings.Join(out, ",")
}
