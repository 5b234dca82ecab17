package flow

import (
	"cmp"
	"container/heap"
	"hash/fnv"
	"math"
	"net/netip"
	"sync"

	"ringside/flow/event"
	"ringside/flow/record"
	"ringside/flow/relate"
)

// emission is a finished record with the clock at which it was finished: a
// pointer to a record.Call, Stream, Registration, Exchange, Event or
// QualityReport.
type emission struct {
	clock int64
	rec   any
}

// delivery is what a shard hands to the sink: records, and the promise that
// no later one of that shard is finished before mark.
type delivery struct {
	shard   int
	mark    int64
	records []emission
}

// rank orders records that were finished at the same clock: by kind, then ID.
func (e *emission) rank() (kind int, id int64) {
	switch r := e.rec.(type) {
	case *record.Call:
		return 0, r.ID
	case *record.Stream:
		return 1, 0
	case *record.Registration:
		return 2, r.ID
	case *record.Exchange:
		return 3, r.ID
	case *record.QualityReport:
		return 4, r.ID
	case *record.Event:
		return 5, r.ID
	}
	return 6, 0
}

// before is the order in which records leave. It uses nothing that depends on
// the shard a record comes from.
func (e *emission) before(o *emission) bool {
	if e.clock != o.clock {
		return e.clock < o.clock
	}
	kind, id := e.rank()
	otherKind, otherID := o.rank()
	if kind != otherKind || id != otherID {
		return cmp.Or(cmp.Compare(kind, otherKind), cmp.Compare(id, otherID)) < 0
	}
	switch a := e.rec.(type) {
	case *record.Call:
		return a.CallID < o.rec.(*record.Call).CallID
	case *record.Stream:
		b := o.rec.(*record.Stream)
		return cmp.Or(cmp.Compare(a.First, b.First), a.Src.Compare(b.Src), a.Dst.Compare(b.Dst),
			cmp.Compare(a.SSRC, b.SSRC)) < 0
	}
	return false
}

type emissions []emission

func (h emissions) Len() int           { return len(h) }
func (h emissions) Less(i, j int) bool { return h[i].before(&h[j]) }
func (h emissions) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *emissions) Push(x any)        { *h = append(*h, x.(emission)) }
func (h *emissions) Pop() any {
	old := *h
	e := old[len(old)-1]
	old[len(old)-1] = emission{}
	*h = old[:len(old)-1]
	return e
}

// deliver merges what the shards finish into one order.
func (g *Group) deliver() {
	marks := make([]int64, len(g.shards))
	for i := range marks {
		marks[i] = -end
	}
	var waiting emissions
	for d := range g.out {
		for _, e := range d.records {
			heap.Push(&waiting, e)
		}
		marks[d.shard] = d.mark
		low := marks[0]
		for _, m := range marks {
			low = min(low, m)
		}
		for len(waiting) > 0 && waiting[0].clock < low {
			e := heap.Pop(&waiting).(emission)
			g.hand(e.rec)
		}
	}
}

// last is what sees the records in their order: the limit of events, and the
// finder of legs.
type last struct {
	oneWay map[[2]netip.Addr]int // calls in a row between two hosts of which one direction was seen
	mu     sync.Mutex            // for Stats
	limit  *event.Limiter
	finder *relate.Finder
}

func (g *Group) hand(rec any) {
	o := &g.options
	switch r := rec.(type) {
	case *record.Call:
		events := callEvents(r)
		if e := g.last.direction(r); e != nil {
			events = append(events, e)
		}
		g.last.mu.Lock()
		links := g.last.finder.Call(r)
		g.last.mu.Unlock()
		give(o.Call, r) // from now on it is not ours
		for _, e := range events {
			g.event(e)
		}
		for i := range links {
			give(o.Link, &links[i])
		}
	case *record.Stream:
		give(o.Orphan, r)
	case *record.Registration:
		give(o.Registration, r)
	case *record.Exchange:
		give(o.Exchange, r)
	case *record.QualityReport:
		give(o.Quality, r)
	case *record.Event:
		g.event(r)
	}
}

// Calls in a row between two hosts with one direction of their signalling, after
// which the mirror is said to have one direction only; and the most pairs of hosts
// that are watched.
const (
	oneWayCalls = 10
	oneWayPairs = 65536
)

// direction watches for hosts of which the mirror port delivers one direction
// only, and says so once.
func (l *last) direction(c *record.Call) *record.Event {
	pair := [2]netip.Addr{c.Caller.Addr.Addr(), c.Called.Addr.Addr()}
	if pair[1].Less(pair[0]) {
		pair[0], pair[1] = pair[1], pair[0]
	}
	if c.Flags&record.OneDirection == 0 {
		delete(l.oneWay, pair)
		return nil
	}
	if len(l.oneWay) >= oneWayPairs {
		clear(l.oneWay) // they begin anew
	}
	if l.oneWay[pair]++; l.oneWay[pair] != oneWayCalls {
		return nil
	}
	e := &record.Event{
		Time: c.End, Kind: record.MirrorOneWay, Sensor: c.Sensor, Src: c.Caller.Addr, Dst: c.Called.Addr, CallID: c.CallID,
		Text: "signalling of one direction only in the last calls: the mirror port may deliver one direction", Count: 1,
	}
	e.ID = eventID(e)
	return e
}

func (g *Group) event(e *record.Event) {
	g.last.mu.Lock()
	pass := g.last.limit.Pass(e)
	g.last.mu.Unlock()
	if pass {
		give(g.options.Event, e)
	}
}

func give[T any](f func(*T), r *T) {
	if f != nil {
		f(r)
	}
}

// callEvents are the events that a finished call tells.
func callEvents(c *record.Call) []*record.Event {
	base := record.Event{
		Sensor: c.Sensor, Src: c.Caller.Addr, Dst: c.Called.Addr, AOR: party(&c.Caller), Target: party(&c.Called),
		CallID: c.CallID, Method: "INVITE", Status: c.LastStatus, Text: c.LastReason, Agent: c.Caller.Agent, Count: 1,
	}
	of := func(kind record.EventKind, at int64) *record.Event {
		e := base
		e.Kind, e.Time = kind, at
		e.ID = eventID(&e)
		return &e
	}
	switch {
	case c.Answer != 0:
		return []*record.Event{of(record.CallStart, c.Answer), of(record.CallEnd, c.End)}
	case c.Outcome == record.Partial:
		return []*record.Event{of(record.CallEnd, c.End)}
	case c.Outcome == record.AuthFailed && c.AuthUser != "":
		return []*record.Event{of(record.CallAttempt, c.End), of(record.AuthRefused, c.End)}
	}
	return []*record.Event{of(record.CallAttempt, c.End)}
}

func party(p *record.Party) string {
	if p.Domain == "" {
		return p.Number
	}
	return p.Number + "@" + p.Domain
}

// eventID is a hash of all that an event says, but for its count.
func eventID(e *record.Event) int64 {
	h := fnv.New64a()
	var b [8]byte
	number := func(n uint64) {
		for i := range b {
			b[i] = byte(n >> (8 * i))
		}
		h.Write(b[:])
	}
	number(uint64(e.Time))
	number(uint64(e.Kind)<<32 | uint64(e.Status)<<16 | uint64(e.Sensor))
	for _, s := range []string{e.Src.String(), e.Dst.String(), e.AOR, e.Target, e.CallID, e.Method, e.Text, e.Agent} {
		h.Write([]byte(s))
		h.Write([]byte{0})
	}
	return int64(h.Sum64() & math.MaxInt64)
}
