package plan

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// queues is how many queues there are.
func (p *planner) queues() {
	const title = "queues"
	key := "channels.combined"
	if p.nic.Ethtool.Limits[key] == 0 {
		key = "channels.rx"
	}
	now, most := p.nic.Ethtool.Channels, p.nic.Ethtool.Limits[key]
	if most == 0 || now < 0 {
		p.add(Step{ID: "queues", State: Leave, Title: title, Found: fmt.Sprintf("%d, as the driver has it", max(1, p.nic.RxQueues)),
			Why: "the driver does not let their number be changed", Source: p.card.manual}, false)
		return
	}
	s := Step{ID: "queues", Title: title, Found: fmt.Sprintf("%d of at most %d", now, most), Resets: true, Source: scaling}
	n := p.queueCount(len(p.plan.CPUs))
	s.Want = strconv.Itoa(n)
	s.Command = fmt.Sprintf("ethtool -L %s %s %d", p.nic.Name, strings.TrimPrefix(key, "channels."), n)
	s.Changes = p.want(key, s.Want)
	s.Why = fmt.Sprintf("%d Gbit/s of G.711 are %.1f million packets a second, and a processor is planned for %s with workload %s; %s are near the card and free",
		p.plan.Speed/1000, float64(p.plan.Speed*wire)/1e6, perCPU(p.o.Workload), p.o.Workload, plural(len(p.plan.CPUs), "processor"))
	if p.plan.Speed < 1000 {
		s.Why = strings.Replace(s.Why, "0 Gbit/s", fmt.Sprintf("%d Mbit/s", p.plan.Speed), 1)
	}
	if len(p.o.CPUs) > 0 {
		s.Why = strings.Replace(s.Why, "are near the card and free", "are asked for", 1)
	}
	if p.o.Queues > 0 {
		s.Why = fmt.Sprintf("%s are asked for", plural(p.o.Queues, "queue"))
	} else if p.o.Workload == Full && len(p.plan.CPUs) > 1 {
		s.Why += "; of those half take interrupts, the others read, compress and write"
	}
	if p.card.reach > 0 && most > p.card.reach {
		s.Why += "; " + p.card.reachWhy
		s.Source += "; " + p.card.reachBy
	}
	s.Effect = "each queue is served by a processor of its own"
	if n > len(p.plan.CPUs) {
		s.Effect = fmt.Sprintf("%s share %s; as many queues as processors would do", plural(n, "queue"), plural(len(p.plan.CPUs), "processor"))
	}
	p.add(s, true)
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// flags are those that only one driver has.
func (p *planner) flags() {
	set := func(flag, value, why, effect, source string) {
		if _, ok := p.driver("priv." + flag); !ok {
			return
		}
		found, _ := p.driver("priv." + flag)
		p.add(Step{ID: flag, Title: "driver flag " + flag, Found: found, Want: value, Command: fmt.Sprintf("ethtool --set-priv-flags %s %s %s", p.nic.Name, flag, value),
			Why: why, Effect: effect, Source: source, Resets: p.card.driver == "mlx5_core", Changes: p.want("priv."+flag, value)}, true)
	}
	switch p.card.driver {
	case "i40e":
		set("flow-director-atr", "off", "the card learns flows from what the host sends (application targeted routing) and takes their packets out of the hash",
			"packets are dealt out by the hash alone, the same way for both directions", "kernel: commit ef17178cf5ab, i40e: use priv flags to control flow director; "+p.card.manual)
	case "mlx5_core":
		set("rx_striding_rq", "on", "with a buffer for each packet the card asks for memory once a packet; striding queues take many small packets in one buffer",
			"higher packet rates with small packets, and more room for bursts in the same ring", "kernel: net/mlx5e, message of the commit that adds XDP over Striding RQ (Toukan 2018); "+p.card.manual)
		const wide = 25_000
		if _, ok := p.driver("priv.rx_cqe_compress"); ok && p.plan.Speed >= wide {
			set("rx_cqe_compress", "on", "each packet costs 64 bytes of completion on the PCIe bus beside its data, a third of a G.711 packet",
				"less load on the bus, where small packets are limited by it; the stamps of the card are given up, which the capture does not use", "kernel: commit 7219ab34f184, net/mlx5e: CQE compression")
		}
	}
}

// rings is how many packets may wait on the card.
func (p *planner) rings() {
	now, ok := p.number("rings.rx")
	most := p.nic.Ethtool.Limits["rings.rx"]
	if !ok || most == 0 {
		p.add(Step{ID: "rings", State: Leave, Title: "ring size", Found: "the driver has none", Why: "there is nothing to set", Source: ethtool}, false)
		return
	}
	want := RingSize(p.plan.Speed, p.plan.Queues, most)
	s := Step{ID: "rings", Title: "ring size", Found: fmt.Sprintf("%d of at most %d descriptors", now, most), Want: strconv.Itoa(want), Resets: true,
		Command: fmt.Sprintf("ethtool -G %s rx %d", p.nic.Name, want), Source: ethtool + "; Farshin et al.: Reexamining Direct Cache Access (USENIX ATC 2020)"}
	s.Why = fmt.Sprintf("a burst that comes while the processor is busy waits here: %s make %.1f ms of full rate with %s, and a processor may be away for 4 ms",
		plural(want, "descriptor"), 1000*float64(want*p.plan.Queues)/float64(p.plan.Speed*wire), plural(p.plan.Queues, "queue"))
	switch {
	case want == most && most < 1024:
		s.Why = fmt.Sprintf("more than %d are not to be had", most)
	case want < most:
		s.Why += "; not more, as longer rings are no longer in the cache when they are read"
	}
	s.Effect = "bursts are not lost on the card"
	switch {
	case now < want:
		s.Changes = p.want("rings.rx", s.Want)
	case now > want:
		s.State, s.Want, s.Command, s.Effect, s.Resets = Leave, "", "", "", false
		s.Why += "; what is larger is left as it is: it holds longer bursts, at some cost of cache"
	}
	p.add(s, true)
}

// director is the part of the card that takes flows out of the hash.
func (p *planner) director() {
	found, ok := p.driver("feature.rx-ntuple-filter")
	if !ok {
		return
	}
	if rules := p.nic.Ethtool.Rules; rules > 0 {
		p.add(Step{ID: "flow-director", State: Leave, Title: "rules of flows", Found: plural(rules, "rule"),
			Why: "somebody has set them; packets that they name go where they say, past the hash", Source: ethtool}, false)
		return
	}
	if p.card.driver != "ixgbe" {
		return
	}
	p.add(Step{ID: "flow-director", Title: "Flow Director", Found: "ntuple " + found, Want: "ntuple on, with no rules", Command: "ethtool -K " + p.nic.Name + " ntuple on", Resets: true,
		Why:    "off means that the card learns flows from what the host sends (ATR) and puts their packets where they were sent from; perfect filters without rules take nothing out of the hash",
		Effect: "packets are dealt out by the hash alone. On a port that sends nothing there is little to learn from, and little changes",
		Source: p.card.manual + " (Flow Director); " + suricata, Changes: p.want("feature.rx-ntuple-filter", "on")}, true)
}

// table is which queues the hash deals out to.
func (p *planner) table() {
	found, ok := p.driver("rss.table")
	if !ok || p.plan.Queues < 2 {
		return
	}
	// When the number of queues changes, a table that nobody has set follows.
	follows := len(p.want("channels.combined", strconv.Itoa(p.plan.Queues))) > 0
	want := fmt.Sprintf("equal %d", p.plan.Queues)
	short := found
	if !strings.HasPrefix(found, "equal ") {
		short = "not even: " + shorten(found)
	}
	s := Step{ID: "rss-table", Title: "queues of the hash", Found: short, Want: want, Command: fmt.Sprintf("ethtool -X %s %s", p.nic.Name, want),
		Why: "a queue that is not in the table gets no packets, one that is there more often than others is full first", Effect: "all queues get the same share",
		Source: scaling + "; " + ethtool, Changes: p.want("rss.table", want)}
	if follows && strings.HasPrefix(found, "equal ") && !p.shared() {
		s.Why += "; drivers set it anew when the number of queues changes"
	}
	p.add(s, true)
}

func shorten(s string) string {
	const most = 40
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}

// key is the key of the hash.
func (p *planner) key() {
	const title = "symmetric hash"
	if p.plan.Queues < 2 {
		return
	}
	found, ok := p.driver("rss.key")
	if !ok {
		p.add(Step{ID: "rss-key", State: Leave, Title: title, Found: "the driver shows no key",
			Why: "it cannot be changed, so the two directions of a call come to different queues. The capture deals packets out by flow itself (--steer flow), so nothing is lost by that; --steer queue is not for this card", Source: p.card.manual}, false)
		return
	}
	want := symmetricKey(found)
	s := Step{ID: "rss-key", Title: title, Found: "key " + shorten(found), Want: "key 6d:5a repeated, toeplitz", Command: fmt.Sprintf("ethtool -X %s hkey %s hfunc toeplitz", p.nic.Name, shortKey(want)),
		Why: "with this key the hash of A to B is that of B to A; with the key of the driver, which is random at each start, it is not", Source: symmetric,
		Effect: "both directions of a call come to one queue and processor: their order is kept, and --steer queue may be used"}
	s.Changes = append(p.want("rss.hfunc", "toeplitz"), p.want("rss.key", want)...)
	if p.card.driver == "mlx5_core" {
		s.Why += ". In most kernels this driver has the card make its Toeplitz hash symmetric anyway; the key makes sure of it"
		s.Source += "; kernel: drivers/net/ethernet/mellanox/mlx5/core/en/tir.c, rx_hash_symmetric"
	}
	p.add(s, true)
}

// symmetricKey is a key of the same length.
func symmetricKey(key string) string {
	n := strings.Count(key, ":") + 1
	parts := make([]string, n)
	for i := range parts {
		parts[i] = [2]string{"6d", "5a"}[i%2]
	}
	return strings.Join(parts, ":")
}

func shortKey(key string) string { return key[:min(len(key), 11)] + ":…" }

// fields are what the hash is of.
func (p *planner) fields() {
	if p.plan.Queues < 2 {
		return
	}
	want, why := "sdfn", "without ports all RTP between two media gateways has one hash, and comes to one queue. Fragments have no ports and go by addresses; the capture puts them together from any queue"
	effect := "streams of one pair of hosts are spread over all queues"
	if p.o.Workload == SIP {
		want, why = "sd", "large SIP messages come in fragments, and only the first has ports: by addresses alone all of them come to one queue, in order"
		effect = "fragments of a message are not torn apart"
	}
	var changes []Setting
	var found []string
	for _, flow := range []string{"udp4", "udp6"} {
		if v, ok := p.driver("hash." + flow); ok {
			found = append(found, flow+" "+v)
			changes = append(changes, p.want("hash."+flow, want)...)
		}
	}
	if len(found) == 0 {
		return
	}
	p.add(Step{ID: "hash-fields", Title: "fields of the hash", Found: strings.Join(found, ", "), Want: want,
		Command: fmt.Sprintf("ethtool -N %[1]s rx-flow-hash udp4 %[2]s; ethtool -N %[1]s rx-flow-hash udp6 %[2]s", p.nic.Name, want),
		Why:     why, Effect: effect, Source: ethtool + "; " + suricata, Changes: changes}, true)
}

// merging are the offloads that make one packet of several.
var merging = []string{"rx-lro", "rx-gro-hw", "rx-gro", "rx-gro-list", "rx-udp-gro-forwarding"}

// offloads are about packets that are not those of the wire any more.
func (p *planner) offloads() {
	var changes []Setting
	var on, there []string
	for _, f := range merging {
		if v, ok := p.driver("feature." + f); ok {
			there = append(there, f)
			if v == "on" {
				on = append(on, f)
				changes = append(changes, p.want("feature."+f, "off")...)
			}
		}
	}
	if len(there) == 0 {
		return
	}
	found := "off: " + strings.Join(there, ", ")
	if len(on) > 0 {
		found = "on: " + strings.Join(on, ", ")
	}
	s := Step{ID: "offloads", Title: "offloads that join packets", Found: found, Want: "off", Command: "ethtool -K " + p.nic.Name + offs(on),
		Why:    "packets that were joined were never sent so: their sizes, times and order are not those of the wire",
		Effect: "SIP over TCP and RTP are seen as they were sent; the processor is spared work that a capture gains nothing from",
		Source: ethtool + "; kernel: Documentation/networking/segmentation-offloads.rst", Changes: changes}
	switch {
	case p.card.driver == "virtio_net" && slices.Contains(on, "rx-gro-hw"):
		s.Why += "; and virtio refuses native XDP while the host joins packets for it"
		s.Source += "; kernel: drivers/net/virtio_net.c, virtnet_xdp_set"
	case slices.Contains(on, "rx-lro"):
		s.Why += "; and drivers refuse native XDP while LRO is on"
	}
	p.add(s, true)
}

func offs(features []string) (out string) {
	for _, f := range features {
		out += " " + f + " off"
	}
	return out
}

// vlan is about tags.
func (p *planner) vlan() {
	var changes []Setting
	var found []string
	for _, f := range []string{"rx-vlan-hw-parse", "rx-vlan-stag-hw-parse", "rx-vlan-filter"} {
		if v, ok := p.driver("feature." + f); ok {
			found = append(found, f+" "+v)
			changes = append(changes, p.want("feature."+f, "off")...)
		}
	}
	if len(found) == 0 {
		return
	}
	var on []string
	for _, c := range changes {
		on = append(on, strings.TrimPrefix(c.Key, "nic/"+p.nic.Name+"/feature."))
	}
	p.add(Step{ID: "vlan", Title: "VLAN tags", Found: strings.Join(found, ", "), Want: "off", Command: "ethtool -K " + p.nic.Name + offs(on),
		Why:    "a tag that the card takes away is not seen by the filter in the driver, and a filter of VLANs drops those that this host is not in: all that a mirror port sends",
		Effect: "tags are in the packets, and none is dropped for its tag. Promiscuous mode is set by the capture itself, while it runs",
		Source: ethtool + "; " + suricata, Changes: changes}, true)
}
