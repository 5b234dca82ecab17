package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"ringside/writer/queue"
)

// With an Overflow, a Writer is two goroutines. The gatherer makes batches, and
// never waits for the database: it hands one batch at a time to the inserter, and
// once that takes too long, or the inserter comes back with what the database
// would not take, it appends to the queue on disk. While the queue holds
// anything, all batches go through it, which keeps them in order. The inserter
// (drain.go) is the only one that talks to the database.

// gatherer makes batches and sees that each gets to the database or to disk.
type gatherer struct {
	w        *Writer
	p        pending
	flying   *pending   // with the inserter; nil: none
	kept     bool       // flying is in the queue too: what becomes of it is of no interest
	held     []*pending // on their way to the queue, in order
	retry    time.Time  // before that, the queue is not tried again
	flushing []chan<- struct{}
	closing  bool
}

// queueWait is how long an append to the queue that failed is not tried again.
const queueWait = 250 * time.Millisecond

// gather runs until all records are taken and on disk.
func (w *Writer) gather(ctx context.Context) {
	g := &gatherer{w: w}
	tick := time.NewTicker(w.syncAge / 20)
	defer tick.Stop()
	for !g.closing || !g.done() {
		in := w.queue
		if g.closing || g.p.full() {
			in = nil
		}
		select {
		case i, ok := <-in:
			switch {
			case !ok:
				g.closing = true
			case i.flush != nil:
				g.flushing = append(g.flushing, i.flush)
			default:
				if g.p.add(i); !g.p.full() {
					continue
				}
			}
		case o := <-w.landed:
			g.land(o)
		case <-tick.C:
		}
		g.step(ctx, time.Now())
	}
	close(w.flights)
}

func (g *gatherer) done() bool {
	return g.p.empty() && len(g.held) == 0 && (g.flying == nil || g.kept) && len(g.flushing) == 0
}

// step moves on what can be moved.
func (g *gatherer) step(ctx context.Context, now time.Time) {
	w := g.w
	patience := w.syncAge * 3 / 4 // what is left is for the disk
	if g.flying != nil && now.Sub(g.flying.born) >= patience {
		g.keepFlying()
	}
	g.keepHeld(ctx, now)
	due := g.p.full() || g.closing || len(g.flushing) > 0 || now.Sub(g.p.born) >= w.batchAge()
	if due && !g.p.empty() && len(g.held) == 0 {
		late := now.Sub(g.p.born) >= patience || g.pressed()
		switch {
		case g.flying == nil && w.queued.Load() <= 0:
			g.launch()
		case g.flying != nil && !g.kept && !late: // it may land in time
		default:
			g.keepFlying()
			g.hold(g.p)
			g.p = pending{}
			g.keepHeld(ctx, now)
		}
	}
	if g.p.empty() && len(g.held) == 0 && (g.flying == nil || g.kept) {
		for _, f := range g.flushing {
			close(f)
		}
		g.flushing = nil
	}
}

// pressed reports that Add would soon wait.
func (g *gatherer) pressed() bool { return !g.w.patient && len(g.w.queue) >= cap(g.w.queue)*3/4 }

func (g *gatherer) launch() {
	p := g.p
	g.p, g.flying, g.kept = pending{}, &p, false
	g.w.flights <- p.Batch // has room: one flies at a time
}

// keepFlying writes down too what the inserter has in its hands.
func (g *gatherer) keepFlying() {
	if g.flying != nil && !g.kept && len(g.held) == 0 {
		g.held = append(g.held, g.flying)
	}
}

func (g *gatherer) hold(p pending) { g.held = append(g.held, &p) }

// land takes back a batch from the inserter.
func (g *gatherer) land(o outcome) {
	w, f := g.w, g.flying
	g.flying = nil
	if g.kept {
		return
	}
	if len(g.held) > 0 && g.held[0] == f {
		g.held = g.held[1:]
	}
	for _, b := range o.stored {
		w.stored(b)
	}
	left := o.left
	if err := w.park(o.bad); err != nil {
		w.noteError(err)
		left = join(joined(o.bad), left) // the inserter will try again
	}
	if left.Len() > 0 {
		g.held = append([]*pending{{Batch: left, rows: 1, born: f.born}}, g.held...)
	}
}

// keepHeld appends what is held to the queue. If that fails it is tried again,
// until so many records wait that Add would; then the batch is refused.
func (g *gatherer) keepHeld(ctx context.Context, now time.Time) {
	w := g.w
	for len(g.held) > 0 {
		p := g.held[0]
		hurry := g.pressed() || ctx.Err() != nil
		if now.Before(g.retry) && !hurry {
			return
		}
		err := w.over.keep(p.Batch)
		room := w.patient && errors.Is(err, queue.ErrFull) && !w.away.Load() // there will be some
		switch {
		case err == nil:
			w.queued.Add(int64(p.Len()))
			w.wakeInserter()
			g.kept = g.kept || p == g.flying
		case hurry || g.closing && !room:
			if w.noteError(err); p != g.flying { // which may land yet
				w.stats.refused.Add(uint64(p.Len()))
				w.keepError(fmt.Errorf("refuse %s, which neither the database nor the queue takes: %w", describe(p.Batch), err))
			}
		default:
			w.noteError(err)
			g.retry = now.Add(queueWait)
			return
		}
		g.held, g.retry = g.held[1:], time.Time{}
	}
}
