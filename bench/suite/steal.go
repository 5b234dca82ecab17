package suite

import (
	"context"
	"runtime"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"ringside/bench/guard"
)

// cpus are those that are used, each once.
func (b *Bench) cpus() []int {
	return slices.Compact(slices.Sorted(slices.Values(slices.Concat(b.Send, b.Receive))))
}

// stolen is for how long the host of a virtual machine has had the CPUs that are used,
// added up.
func (b *Bench) stolen() time.Duration { return guard.Stolen(b.cpus()...) }

// aftermath is by how much more packets may be lost than the share of the time for which
// the CPUs were away, for that to be the reason: what a reader has to catch up with then
// may be lost, too.
const aftermath = 4

// void reports whether a measurement says nothing of its subject: packets were lost, for
// more than the share that may be lost somebody else had the CPUs, and that explains it.
func (b *Bench) void(r *outcome) bool {
	away := r.stolen.Seconds() / r.took
	return r.lost() > b.Free && away > b.Free && r.lost() <= max(gross, aftermath*away)
}

// turns is how many subjects may use up Patience.
const turns = 8

// turn begins what one subject may wait of Patience.
func (b *Bench) turn() { b.waits = min(b.Patience-b.waited, b.Patience/turns) }

// quiet waits until nobody has taken CPUs for a second, after a measurement that took so
// long and was for nothing. The CPUs are kept busy meanwhile: from one that does nothing
// nothing can be taken. false: it has waited for long enough.
func (b *Bench) quiet(ctx context.Context, took time.Duration) bool {
	b.wait(took)
	for b.waits > 0 && ctx.Err() == nil {
		before := b.stolen()
		occupy(ctx, b.cpus(), time.Second)
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

// occupy keeps CPUs busy for a time.
func occupy(ctx context.Context, cpus []int, d time.Duration) {
	var all sync.WaitGroup
	end := time.Now().Add(d)
	for _, cpu := range cpus {
		all.Go(func() {
			runtime.LockOSThread() // to the end: no other is to have its affinity
			var set unix.CPUSet
			set.Set(cpu)
			_ = unix.SchedSetaffinity(0, &set) // without it, it is busy elsewhere
			for time.Now().Before(end) && ctx.Err() == nil {
				guard.Loop()
			}
		})
	}
	all.Wait()
}
