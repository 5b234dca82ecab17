package flow

import (
	"cmp"
	"context"
	"slices"
	"time"

	"ringside/flow/call"
	"ringside/flow/record"
)

// Calls that go on are looked at while the shards work. Nobody takes a lock for
// that: a question lies beside the shards, and each works it off between two
// batches, a little at a time. While nobody asks, it costs a shard one load for
// each batch.

// LiveCall is a call that goes on.
type LiveCall struct {
	State  string      `json:"state"` // setup, ringing, talking, held, ending
	Record record.Call `json:"call"`
}

// Live is the calls that go on, as they stood at about one moment.
type Live struct {
	Calls  []LiveCall // the newest first, with their streams so far
	Open   int        // all of them, those that are not listed included
	Silent int        // shards that have not answered in time
}

// questionStep is how many calls a shard looks at between two batches.
const questionStep = 64

// question is asked of all shards at once.
type question struct {
	// step does the work of a shard from one place on, and returns the next
	// place, or -1 with the answer.
	step    func(s *Shard, from int) (next int, answer any)
	answers chan any // has room for those of all shards
}

// reply works on the question that is asked, if there is one.
func (s *Shard) reply() {
	q := s.group.asked.Load()
	if q == nil {
		s.asked, s.answered = nil, 0
		return
	}
	if q != s.asked {
		s.asked, s.answered = q, 0
	}
	if s.answered < 0 {
		return
	}
	next, out := q.step(s, s.answered)
	if s.answered = next; next < 0 {
		q.answers <- out
	}
}

// ask puts a question, and waits for the answers of all shards, or for ctx.
func (g *Group) ask(ctx context.Context, step func(s *Shard, from int) (int, any)) (answers []any) {
	q := &question{step, make(chan any, len(g.shards))}
	g.asked.Store(q)
	defer g.asked.Store(nil)
	for range g.shards {
		select {
		case a := <-q.answers:
			answers = append(answers, a)
		case <-ctx.Done():
			return answers
		}
	}
	return answers
}

// Silent is how many shards do not answer within a time, or until ctx ends: they
// stand still. The time begins when no other question is asked any more.
func (g *Group) Silent(ctx context.Context, within time.Duration) int {
	g.asking.Lock()
	defer g.asking.Unlock()
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	return len(g.shards) - len(g.ask(ctx, func(*Shard, int) (int, any) { return -1, nil }))
}

// peeked is a call with the name that its streams know it by.
type peeked struct {
	key  callKey
	call LiveCall
}

// Live looks at the calls that go on, at most so many. It waits for the shards
// until ctx ends; those that stand still by then are left out.
func (g *Group) Live(ctx context.Context, most int) Live {
	g.asking.Lock()
	defer g.asking.Unlock()
	var out Live
	var found []peeked
	answers := g.ask(ctx, peekCalls(len(g.shards), most))
	for _, a := range answers {
		found = append(found, a.([]peeked)...)
	}
	out.Silent = len(g.shards) - len(answers)
	slices.SortFunc(found, func(a, b peeked) int {
		return cmp.Or(cmp.Compare(b.call.Record.Start, a.call.Record.Start), cmp.Compare(a.call.Record.ID, b.call.Record.ID))
	})
	out.Open = max(len(found), int(g.Stats().Calls.Open))
	found = found[:min(len(found), most)]
	out.Calls = make([]LiveCall, len(found))
	at := make(map[callKey]int, len(found))
	keys := make([]callKey, len(found))
	for i := range found {
		out.Calls[i], keys[i], at[found[i].key] = found[i].call, found[i].key, i
	}
	for _, a := range g.ask(ctx, peekStreams(len(g.shards), keys)) {
		for key, list := range a.(map[callKey][]*measured) {
			c := &out.Calls[at[key]].Record
			for _, m := range list {
				c.Streams = append(c.Streams, *m.finish())
			}
		}
	}
	for i := range out.Calls {
		slices.SortFunc(out.Calls[i].Record.Streams, func(a, b record.Stream) int {
			return cmp.Or(cmp.Compare(a.From, b.From), cmp.Compare(a.First, b.First), cmp.Compare(a.SSRC, b.SSRC))
		})
	}
	return out
}

// peekCalls asks each shard for its calls.
func peekCalls(shards, most int) func(*Shard, int) (int, any) {
	found := make([][]peeked, shards)
	return func(s *Shard, from int) (int, any) {
		mine := &found[s.id]
		next := s.table.Peek(from, questionStep, func(c call.Open) {
			*mine = append(*mine, peeked{callKey{c.Ref, uint16(s.id)}, LiveCall{c.State, c.Record}})
		})
		if len(*mine) >= most {
			next = -1
		}
		return next, *mine
	}
}

// peekStreams asks each shard for what it has measured of some calls. A stream of
// which only RTCP was seen is none.
func peekStreams(shards int, keys []callKey) func(*Shard, int) (int, any) {
	found := make([]map[callKey][]*measured, shards)
	for i := range found {
		found[i] = make(map[callKey][]*measured)
	}
	return func(s *Shard, from int) (int, any) {
		last := min(from+questionStep, len(keys))
		for _, key := range keys[from:last] {
			i, ok := s.streams.ofCall[key]
			for ok && i != noStream {
				c := s.streams.coldAt(i)
				b := c.binding(key)
				s.refresh(i, false, s.metered.Load())
				if m := s.measured(i, b, s.metered.Load()); m.record.Packets > 0 {
					found[s.id][key] = append(found[s.id][key], m)
				}
				i = b.next
			}
		}
		if last == len(keys) {
			return -1, found[s.id]
		}
		return last, nil
	}
}
