package api

import (
	"cmp"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"time"

	"ringside/flow/record"
)

// maxMessages is how many messages of a call are shown.
const maxMessages = 2000

// around is how far beyond its first and last message packets of a call are
// looked for: clocks of ends differ, retransmissions come late.
const around = 5 * time.Second

// refOf names the packets of a call.
func refOf(c *record.Call) CallRef {
	from, to := c.Start, max(c.Start, c.End, c.Last)
	for _, at := range []int64{c.End, c.Last} { // before the beginning, where the time of day was set back meanwhile
		if at != 0 {
			from = min(from, at)
		}
	}
	return CallRef{CallID: c.CallID, From: from - int64(around), To: to + int64(around)}
}

// messages are those of the record, each with its text where it is stored, and
// those that are stored and that the record does not list.
func (q *request) messages(c *record.Call) (Messages, error) {
	out := Messages{Items: make([]Message, 0, len(c.Messages)), Total: c.MessagesTotal}
	for _, m := range c.Messages {
		out.Items = append(out.Items, Message{Time: m.Time, Src: m.Src, Dst: m.Dst, Method: m.Method, Status: m.Status,
			Reason: m.Reason, CSeq: m.CSeq, SDP: m.SDP, Retrans: m.Retrans})
	}
	texts, why, err := q.texts(c)
	if err != nil {
		return out, err
	}
	out.Why, out.Stored = why, len(texts) > 0
	out.Items = joined(out.Items, texts)
	for i := range out.Items {
		out.Items[i].N = i + 1
	}
	return out, nil
}

// texts are the messages of a call that are stored, or why there are none.
func (q *request) texts(c *record.Call) ([]SIPMessage, string, error) {
	if q.a.o.Packets == nil {
		return nil, "there is no spool", nil
	}
	texts, err := q.a.o.Packets.Messages(q.r.Context(), refOf(c), maxMessages)
	switch {
	case errors.Is(err, ErrNotStored):
		return nil, "its messages are not stored, or not any more", nil
	case err != nil:
		return nil, "", err
	}
	for i := range texts {
		texts[i].Text = q.readable(texts[i].Text)
	}
	return texts, "", nil
}

// sameMessage is by what a message of the record is known among the stored ones.
type sameMessage struct {
	src, dst netip.AddrPort
	method   string
	status   uint16
	cseq     uint32
}

// joined puts texts to the messages that they are of, in order, and adds the
// others by time.
func joined(items []Message, texts []SIPMessage) []Message {
	waiting := map[sameMessage][]int{}
	for i := range items {
		m := &items[i]
		k := sameMessage{m.Src, m.Dst, m.Method, m.Status, m.CSeq}
		waiting[k] = append(waiting[k], i)
	}
	bodies := map[string]bool{}
	for _, t := range texts {
		text := strings.ToValidUTF8(t.Text, "\uFFFD")
		tree := treeOf(text)
		k := sameMessage{t.Src, t.Dst, t.Method, t.Status, tree.cseq()}
		again := t.Src.String() + t.Dst.String() + text
		if at := waiting[k]; len(at) > 0 {
			m := &items[at[0]]
			m.Text, m.Parsed, m.Transport = text, tree, t.Transport
			waiting[k] = at[1:]
		} else if len(items) < maxMessages {
			items = append(items, Message{Time: t.Time.UnixNano(), Src: t.Src, Dst: t.Dst, Transport: t.Transport, Method: t.Method,
				Status: t.Status, Reason: t.Reason, CSeq: k.cseq, SDP: tree.sdp() != "", Retrans: bodies[again], Text: text, Parsed: tree})
		}
		bodies[again] = true
	}
	slices.SortStableFunc(items, func(a, b Message) int { return cmp.Compare(a.Time, b.Time) })
	return items
}

func (q *request) getMessages() error {
	if err := q.params().done(); err != nil {
		return err
	}
	c, err := q.call()
	if err != nil {
		return err
	}
	if err := q.audited(q.r.PathValue("id"), c.CallID); err != nil {
		return err
	}
	m, err := q.messages(c)
	if err != nil {
		return err
	}
	return q.json(m)
}

func (q *request) getLadder() error {
	p := q.params()
	ports := p.yes("ports")
	if err := p.done(); err != nil {
		return err
	}
	c, err := q.call()
	if err != nil {
		return err
	}
	if err := q.audited(q.r.PathValue("id"), c.CallID); err != nil {
		return err
	}
	m, err := q.messages(c)
	if err != nil {
		return err
	}
	return q.json(ladderOf(c, m, ports))
}

// ladderOf draws the messages of a call as arrows.
func ladderOf(c *record.Call, m Messages, ports bool) Ladder {
	e := &entities{ports: ports, at: map[netip.AddrPort]int{}}
	out := Ladder{Arrows: []Arrow{}, Media: []Bar{}, Total: m.Total, Bodies: m.Stored, Why: m.Why}
	first := map[sameMessage]int{}
	sdp := map[netip.AddrPort]sdpSeen{} // by who sent it
	for i := range m.Items {
		msg := &m.Items[i]
		a := Arrow{N: msg.N, Time: msg.Time, Offset: float64(msg.Time-m.Items[0].Time) / 1e6, From: e.index(msg.Src), To: e.index(msg.Dst),
			Src: msg.Src, Dst: msg.Dst, Method: msg.Method, Status: msg.Status, Reason: msg.Reason, CSeq: msg.CSeq, SDP: msg.SDP, Retrans: msg.Retrans}
		k := sameMessage{msg.Src, msg.Dst, msg.Method, msg.Status, msg.CSeq}
		if n, ok := first[k]; ok && msg.Retrans {
			a.Of = n
		} else {
			first[k] = msg.N
		}
		if msg.Parsed != nil && !msg.Retrans {
			a.Diff = difference(sdp, e.key(msg.Src), msg)
		}
		out.Arrows = append(out.Arrows, a)
	}
	e.name(c, m)
	for i := range c.Streams {
		s := &c.Streams[i]
		out.Media = append(out.Media, Bar{From: e.find(s.Src), To: e.find(s.Dst), Side: s.From, Codec: s.Codec,
			First: s.First, Last: s.Last, MOS: s.MOS.LQ, Loss: lossOf(s)})
	}
	if out.Entities = e.list; out.Entities == nil {
		out.Entities = []Entity{}
	}
	return out
}

// sdpSeen is the last session description of a host.
type sdpSeen struct {
	n    int
	text string
}

// difference compares the SDP of a message with the last one of the same host,
// and remembers it.
func difference(seen map[netip.AddrPort]sdpSeen, from netip.AddrPort, msg *Message) *SDPDiff {
	text := msg.Parsed.sdp()
	if text == "" {
		return nil
	}
	last, ok := seen[from]
	seen[from] = sdpSeen{msg.N, text}
	if !ok {
		return nil
	}
	d := &SDPDiff{Against: last.n, Changes: diffSDP(last.text, text)}
	d.Same = len(d.Changes) == 0
	return d
}

// entities are the hosts of a ladder, in order of appearance.
type entities struct {
	ports bool // an entity for each port
	list  []Entity
	at    map[netip.AddrPort]int
}

func (e *entities) key(a netip.AddrPort) netip.AddrPort {
	if e.ports {
		return a
	}
	return netip.AddrPortFrom(a.Addr(), 0)
}

func (e *entities) index(a netip.AddrPort) int {
	k := e.key(a)
	i, ok := e.at[k]
	if !ok {
		i = len(e.list)
		e.at[k] = i
		e.list = append(e.list, Entity{Addr: a.Addr(), Ports: []uint16{}})
	}
	if !slices.Contains(e.list[i].Ports, a.Port()) {
		e.list[i].Ports = append(e.list[i].Ports, a.Port())
	}
	return i
}

// find is the entity of an address, -1 if it has none. Media has ports of its own.
func (e *entities) find(a netip.AddrPort) int {
	for i, n := range e.list {
		if n.Addr == a.Addr() {
			return i
		}
	}
	return -1
}

// name says of entities who they are.
func (e *entities) name(c *record.Call, m Messages) {
	for _, p := range []struct {
		side  string
		party *record.Party
	}{{"caller", &c.Caller}, {"called", &c.Called}} {
		if i, ok := e.at[e.key(p.party.Addr)]; ok && e.list[i].Side == "" {
			e.list[i].Side, e.list[i].Agent = p.side, p.party.Agent
		}
	}
	for i := range m.Items {
		msg := &m.Items[i]
		at := e.at[e.key(msg.Src)]
		if msg.Parsed == nil || e.list[at].Agent != "" {
			continue
		}
		for _, name := range []string{"User-Agent", "Server"} {
			// Of a hop on the way it is what the hop sends on, so only its first word
			// about itself counts: in a response that has one Via.
			if h, ok := msg.Parsed.get(name); ok && vias(msg.Parsed) == 1 {
				e.list[at].Agent = h.Value
				break
			}
		}
	}
}

func vias(t *SIPTree) (n int) {
	for _, h := range t.Headers {
		if strings.EqualFold(h.full(), "Via") {
			n += 1 + strings.Count(h.Value, ",")
		}
	}
	return n
}

// lossOf is the loss of a stream, per cent of its expected packets.
func lossOf(s *record.Stream) float64 {
	if s.Expected == 0 {
		return 0
	}
	return float64(s.Lost) / float64(s.Expected) * 100
}

func (q *request) getStreams() error {
	p := q.params()
	step := time.Duration(0)
	read(p, "step", &step, parseSpan)
	if step != 0 && (step < time.Second || step > time.Minute) {
		p.fail("step", "%v is not from 1s to 1m", step)
	}
	if err := p.done(); err != nil {
		return err
	}
	c, err := q.call()
	if err != nil {
		return err
	}
	out := Streams{Items: make([]Stream, 0, len(c.Streams))}
	for i, s := range c.Streams {
		out.Items = append(out.Items, Stream{N: i + 1, Loss: lossOf(&s), Stream: s, Intervals: []Interval{}})
	}
	if len(out.Items) == 0 {
		return q.json(out)
	}
	if q.a.o.Packets == nil {
		out.Why = "there is no spool"
		return q.json(out)
	}
	found, err := q.a.o.Packets.Intervals(q.r.Context(), c, stepOf(c, step))
	switch {
	case errors.Is(err, ErrNotStored):
		out.Why = "its RTP is not stored, or not any more"
	case err != nil:
		return err
	}
	for _, f := range found {
		i := slices.IndexFunc(out.Items, func(s Stream) bool { return s.SSRC == f.SSRC && s.Src == f.Src && s.Dst == f.Dst })
		if i >= 0 && f.Intervals != nil {
			out.Items[i].Step, out.Items[i].Intervals = f.Step, f.Intervals
		}
	}
	return q.json(out)
}

// stepOf is an interval that gives a call at most 600 of them.
func stepOf(c *record.Call, step time.Duration) time.Duration {
	if step != 0 {
		return step
	}
	for _, s := range []time.Duration{time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second} {
		if time.Duration(c.End-c.Start) <= 600*s {
			return s
		}
	}
	return time.Minute
}
