package plan

import (
	"fmt"
	"strings"
)

// coalescing is when the card interrupts.
func (p *planner) coalescing() {
	usecs, ok := p.number("coalesce.rx-usecs")
	if !ok {
		return
	}
	adaptive, _ := p.driver("coalesce.adaptive-rx")
	frames, _ := p.number("coalesce.rx-frames")
	found := fmt.Sprintf("adaptive-rx %s, rx-usecs %d", adaptive, usecs)
	if frames > 0 {
		found += fmt.Sprintf(", rx-frames %d", frames)
	}
	if p.card.usecs == "" || p.nic.Virtual {
		p.add(Step{ID: "coalescing", State: Leave, Title: "interrupt moderation", Found: found, Why: "it is the host of this machine that says when packets come", Source: p.card.manual}, false)
		return
	}
	s := Step{ID: "coalescing", Title: "interrupt moderation", Found: found, Want: "adaptive-rx off, rx-usecs " + p.card.usecs, Source: p.card.manual + "; " + suricata,
		Why:    "the kernel stamps packets when it takes them, so how long the card waits is a floor of jitter, and adaptive moderation moves that floor with the load; 50 us are less than half a tick of an 8 kHz RTP clock (125 us)",
		Effect: "jitter has a small and steady floor; at full load there are fewer interrupts anyway, as the queue is polled"}
	s.Changes = p.want("coalesce.adaptive-rx", "off")
	const least, most = 10, 100
	if usecs < least || usecs > most || adaptive == "on" {
		s.Changes = append(s.Changes, p.want("coalesce.rx-usecs", p.card.usecs)...)
	}
	if p.card.frames != "" && frames > 0 {
		s.Want += ", rx-frames " + p.card.frames
		s.Changes = append(s.Changes, p.want("coalesce.rx-frames", p.card.frames)...)
	}
	if p.card.driver == "ixgbe" && usecs == 1 {
		s.Why = "rx-usecs 1 is how this driver writes adaptive; " + s.Why
	}
	s.Command = fmt.Sprintf("ethtool -C %s %s", p.nic.Name, strings.ReplaceAll(s.Want, ",", ""))
	// ixgbe may start the card anew for it.
	p.add(s, p.card.driver == "ixgbe")
}

// pause is flow control.
func (p *planner) pause() {
	rx, ok := p.driver("pause.rx")
	if !ok {
		return
	}
	tx, _ := p.driver("pause.tx")
	p.add(Step{ID: "pause", Title: "pause frames", Found: "rx " + rx + ", tx " + tx, Want: "off", Command: "ethtool -A " + p.nic.Name + " rx off tx off", Resets: true,
		Why:    "a card that is full asks the switch to wait: then the mirror port drops, where nobody counts it, or holds up what it mirrors",
		Effect: "loss, if there is any, is in the counters of this card", Source: p.card.manual + " (flow control); " + ethtool,
		Changes: append(p.want("pause.rx", "off"), p.want("pause.tx", "off")...)}, true)
}

// eee is sleep of the link.
func (p *planner) eee() {
	found, ok := p.driver("eee")
	if !ok {
		return
	}
	p.add(Step{ID: "eee", Title: "energy-efficient Ethernet", Found: found, Want: "off", Command: "ethtool --set-eee " + p.nic.Name + " eee off", Resets: true,
		Why: "the link sleeps between packets and takes some 17 us to wake up", Effect: "packets are not late by that", Source: "IEEE 802.3az; " + ethtool, Changes: p.want("eee", "off")}, true)
}
