package suite

import (
	"context"
	"slices"
	"time"

	"ringside/bench/guard"
)

// stolen is for how long the host of a virtual machine has had the CPUs that are used.
func (b *Bench) stolen() time.Duration { return guard.Stolen(slices.Concat(b.Send, b.Receive)...) }

// void reports whether a measurement says nothing of its subject: packets were lost, and
// for more than the share that may be lost somebody else had the CPUs.
func (b *Bench) void(r *outcome) bool {
	return r.lost() > b.Free && r.stolen.Seconds() > b.Free*r.took
}

// turns is how many subjects may use up Patience.
const turns = 8

// turn begins what one subject may wait of Patience.
func (b *Bench) turn() { b.waits = min(b.Patience-b.waited, b.Patience/turns) }

// quiet waits until nobody has taken CPUs for a second, after a measurement that took so
// long and was for nothing. false: it has waited for long enough.
func (b *Bench) quiet(ctx context.Context, took time.Duration) bool {
	b.wait(took)
	for b.waits > 0 && ctx.Err() == nil {
		before := b.stolen()
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
		b.wait(time.Second)
		if b.stolen() == before {
			return ctx.Err() == nil
		}
	}
	return false
}

func (b *Bench) wait(d time.Duration) {
	b.waits -= d
	b.waited += d
}
