package traffic

import (
	"slices"
	"testing"
	"time"
)

// The queue must give the order of a sort, with near and far times mixed and
// nodes put back while it runs.
func TestQueueOrder(t *testing.T) {
	r := newRandom(1, 1)
	var q queue
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).UnixNano()
	var all []*node
	put := func(at int64) {
		n := &node{at: at, order: uint64(len(all))}
		all = append(all, n)
		q.put(n)
	}
	for range 1000 {
		put(start + r.between(0, 100*sec))
	}
	var got []*node
	for n := q.take(); n != nil; n = q.take() {
		got = append(got, n)
		if len(all) < 50000 {
			reach := []int64{0, 10_000, ms, 20 * ms, 530 * ms, 540 * ms, 5 * sec, 1000 * sec}[r.below(8)]
			put(n.at + r.between(0, reach))
			if r.chance(0.2) {
				put(n.at)
			}
		}
	}
	if len(got) != len(all) {
		t.Fatalf("%d of %d nodes came back", len(got), len(all))
	}
	if !slices.IsSortedFunc(got, func(a, b *node) int {
		switch {
		case a.before(b):
			return -1
		case b.before(a):
			return 1
		}
		return 0
	}) {
		t.Error("nodes came back out of order")
	}
}
