package config

import (
	"slices"
	"strconv"
	"strings"
)

// checkFilter finds ports that are to be captured and that filter surely leaves
// out.
func (l *loading) checkFilter() {
	c := &l.config.Capture
	if c.Filter == "" {
		return
	}
	var out []uint16
	for _, p := range c.SIPPorts {
		if leavesOut(c.Filter, p) {
			out = append(out, p)
		}
	}
	switch {
	case out != nil:
		l.refuse("sipport", "SIP on %s is to be captured, and filter leaves it out (%s): add the port there, or leave filter out", showPorts(out), shorten(c.Filter))
	case c.SIPPorts == nil && leavesOut(c.Filter, 5060):
		l.warn("filter", "it leaves out SIP on 5060 (%s)", shorten(c.Filter))
	}
	media := c.RTPPorts
	if media == ([2]uint16{}) {
		media = [2]uint16{10_000, 60_000}
	}
	middle := media[0] + (media[1]-media[0])/2
	none := true
	for _, p := range []uint16{media[0], middle &^ 1, media[1]} {
		none = none && leavesOutUDP(c.Filter, p)
	}
	if none {
		l.warn("filter", "it leaves out RTP on the ports %d-%d: calls would have no quality. Name addresses rather than ports: interface_ip_filter", media[0], media[1])
	}
}

// leavesOut reports whether an expression surely refuses packets from and to a
// port, of UDP and of TCP. Of what it does not understand it says no.
func leavesOut(expression string, port uint16) bool {
	return leavesOutUDP(expression, port) && judge(expression, probe{"tcp", port}) == never
}

func leavesOutUDP(expression string, port uint16) bool {
	return judge(expression, probe{"udp", port}) == never
}

// probe is a packet that an expression is asked about, with the same port at
// both ends and any address.
type probe struct {
	transport string
	port      uint16
}

// chance is whether a test holds: never, maybe, or always.
type chance int8

const (
	never  chance = -1
	maybe  chance = 0
	always chance = 1
)

// tunnels are the ports of what carries other packets. An expression that has
// one of them chooses what is inside, too.
var tunnels = []uint16{1701, 2152, 4754, 4789, 4790, 6081, 6635, 8472, 37008}

// judge is what an expression of tcpdump says of a packet.
func judge(expression string, of probe) chance {
	spaced := strings.NewReplacer("(", " ( ", ")", " ) ", "&&", " and ", "||", " or ", "!", " not ").Replace(expression)
	j := &judging{words: strings.Fields(spaced), of: of, ok: true}
	out := j.sum()
	if !j.ok || len(j.words) > 0 {
		return maybe
	}
	return out
}

type judging struct {
	words []string // that are left
	of    probe
	ok    bool // all words so far were understood
	depth int

	transport, kind string // of the test before, for values without words
}

// next takes the first word if it is one of some.
func (j *judging) next(words ...string) (string, bool) {
	if len(j.words) == 0 || !slices.Contains(words, j.words[0]) {
		return "", false
	}
	w := j.words[0]
	j.words = j.words[1:]
	return w, true
}

// value takes the next word, whatever it is.
func (j *judging) value() string {
	if len(j.words) == 0 {
		j.ok = false
		return ""
	}
	w := j.words[0]
	j.words = j.words[1:]
	return w
}

// sum reads tests with and and or between them, which bind equally.
func (j *judging) sum() chance {
	out := j.test()
	for j.ok && len(j.words) > 0 {
		w, joined := j.next("and", "or")
		if !joined {
			return out
		}
		other := j.test()
		if w == "and" {
			out = min(out, other)
		} else {
			out = max(out, other)
		}
	}
	return out
}

// test reads one test.
func (j *judging) test() chance {
	if j.depth++; j.depth > 100 {
		j.ok = false
	}
	defer func() { j.depth-- }()
	if !j.ok || len(j.words) == 0 {
		j.ok = false
		return maybe
	}
	if _, not := j.next("not"); not {
		return -j.test()
	}
	if _, open := j.next("("); open {
		out := j.sum()
		_, closed := j.next(")")
		j.ok = j.ok && closed
		return out
	}
	return j.primitive()
}

// primitive reads what has no others in it.
func (j *judging) primitive() chance {
	transport, some := j.next("ip", "ip6", "udp", "tcp", "sctp")
	sided := false
	for {
		if _, side := j.next("src", "dst"); !side {
			break
		}
		sided = true
		if len(j.words) > 1 && (j.words[0] == "or" || j.words[0] == "and") && (j.words[1] == "src" || j.words[1] == "dst") {
			j.words = j.words[1:]
		}
	}
	if kind, ok := j.next("port", "portrange", "host", "net"); ok {
		j.transport, j.kind = transport, kind
		return j.compare(j.value())
	}
	switch {
	case sided: // an address
		j.transport, j.kind = transport, "host"
		return j.compare(j.value())
	case some:
		return j.carries(transport)
	case j.kind != "" && !letter(j.words[0]):
		return j.compare(j.value())
	}
	j.ok = false
	return maybe
}

// letter reports whether a word begins with one, so that it is no number and
// hardly an address.
func letter(w string) bool { return w[0] >= 'a' && w[0] <= 'z' || w[0] >= 'A' && w[0] <= 'Z' }

// carries is whether the packet is of a transport.
func (j *judging) carries(transport string) chance {
	switch transport {
	case j.of.transport:
		return always
	case "", "ip", "ip6":
		return maybe
	}
	return never
}

// compare is whether the packet has what a test names.
func (j *judging) compare(value string) chance {
	if j.kind != "port" && j.kind != "portrange" {
		if _, masked := j.next("mask"); masked {
			j.value()
		}
		return maybe
	}
	if value == "(" {
		j.ok = false
		return maybe
	}
	from, to, ranged := strings.Cut(value, "-")
	if !ranged {
		to = from
	}
	a, errA := strconv.ParseUint(from, 10, 16)
	b, errB := strconv.ParseUint(to, 10, 16)
	if errA != nil || errB != nil || slices.ContainsFunc(tunnels, func(t uint16) bool { return uint64(t) >= a && uint64(t) <= b }) {
		j.ok = false // a name, or what is in a tunnel
		return maybe
	}
	switch fits := j.carries(j.transport); {
	case fits == never || uint64(j.of.port) < a || uint64(j.of.port) > b:
		return never
	case j.transport == "":
		return always
	default:
		return fits
	}
}
