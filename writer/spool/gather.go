package spool

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// patience is how long a Fetch waits for shards and writers together.
const patience = 500 * time.Millisecond

// gather lets the shards hand over what they hold of the calls, and the writers
// take it. What does not answer until then is said to be missing.
func (s *Spool) gather(ctx context.Context, f *fetch) {
	forShards, cancel := context.WithTimeout(ctx, patience/2)
	defer cancel()
	ctx, cancel2 := context.WithTimeout(ctx, patience)
	defer cancel2()
	hashes := slices.Clone(f.hashes)
	slices.Sort(hashes)
	asked := make([]*ask, len(s.shards))
	for i, sh := range s.shards {
		if sh.filling.Load() == 0 {
			continue
		}
		asked[i] = &ask{keys: hashes, done: make(chan struct{})}
		select {
		case sh.asks <- asked[i]:
		default: // it has not answered for long; its last asks are not answered either
		}
	}
	for i, a := range asked {
		if a != nil && !wait(forShards, a.done) {
			f.Missing = append(f.Missing, fmt.Sprintf("shard %d does not answer: packets of its last %s", i, s.opts.ChunkAge))
		}
	}
	asks := make([]flushAsk, len(s.running))
	for i, w := range s.running {
		asks[i].done = make(chan struct{})
		select {
		case w.asks <- asks[i]:
		case <-ctx.Done():
		case <-s.stop:
		}
	}
	for i, a := range asks {
		if n := s.running[i].waiting.Load(); !wait(ctx, a.done) && n > 0 {
			f.Missing = append(f.Missing, fmt.Sprintf("writer %d waits for the disk: what of %s is of these calls", i, Bytes(n)))
		}
	}
}

func wait(ctx context.Context, done chan struct{}) bool {
	select {
	case <-done:
		return true
	case <-ctx.Done():
	}
	select {
	case <-done:
		return true
	default:
		return false
	}
}
