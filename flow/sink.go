package flow

import (
	"cmp"
	"container/heap"

	"ringside/flow/record"
)

// emission is a finished record with the clock at which it was finished.
type emission struct {
	clock  int64
	call   *record.Call
	stream *record.Stream
}

// delivery is what a shard hands to the sink: records, and the promise that
// no later one of that shard is finished before mark.
type delivery struct {
	shard   int
	mark    int64
	records []emission
}

// before is the order in which records leave. It uses nothing that depends on
// the shard a record comes from.
func (e *emission) before(o *emission) bool {
	if e.clock != o.clock {
		return e.clock < o.clock
	}
	if (e.call != nil) != (o.call != nil) {
		return e.call != nil
	}
	if e.call != nil {
		return cmp.Or(cmp.Compare(e.call.ID, o.call.ID), cmp.Compare(e.call.CallID, o.call.CallID)) < 0
	}
	a, b := e.stream, o.stream
	return cmp.Or(cmp.Compare(a.First, b.First), a.Src.Compare(b.Src), a.Dst.Compare(b.Dst),
		cmp.Compare(a.SSRC, b.SSRC)) < 0
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
			if e.call != nil {
				g.options.Call(e.call)
			} else {
				g.options.Orphan(e.stream)
			}
		}
	}
}
