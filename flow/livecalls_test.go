package flow

import (
	"context"
	"errors"
	"io"
	"slices"
	"testing"
	"time"

	"ringside/dataplane/frame"
	"ringside/flow/record"
)

// paused hands out a script up to a moment, and the rest when it is let go.
type paused struct {
	*source
	rest   *source
	goOn   chan struct{}
	closed bool
}

func (p *paused) Next() (*frame.Batch, error) {
	b, err := p.source.Next()
	if !errors.Is(err, io.EOF) || p.closed {
		return b, err
	}
	select {
	case <-p.goOn:
		p.closed = true
		p.source.mu.Lock()
		p.source.batches = p.rest.batches
		p.source.mu.Unlock()
		return nil, nil
	default:
		return nil, nil
	}
}

func named(calls []*record.Call, callID string) *record.Call {
	return calls[slices.IndexFunc(calls, func(c *record.Call) bool { return c.CallID == callID })]
}

// Calls that go on can be seen with what was measured so far, and looking at them
// changes no record.
func TestLive(t *testing.T) {
	var sc script
	sc.call("first", 0, 20*time.Second, 4000, 4002)
	sc.rtp(2*time.Second, 20*time.Second, at2(alice, 4000), at2(bob, 4002), 0, 7, 160)
	sc.rtp(2*time.Second, 20*time.Second, at2(bob, 4002), at2(alice, 4000), 0, 8, 160)
	sc.sip(3*time.Second, true, "INVITE sip:bob@b SIP/2.0", "second", "1 INVITE", "", media("10.0.0.1", 5000, "0", ""))
	sc.sip(3100*time.Millisecond, false, "SIP/2.0 180 Ringing", "second", "1 INVITE", "b9", "")
	sc.sip(15*time.Second, false, "SIP/2.0 486 Busy Here", "second", "1 INVITE", "b9", "")
	want := named(sc.run(t).calls, "first")

	whole := sc.source(10)
	half := slices.IndexFunc(whole.batches, func(b *frame.Batch) bool { return b.Packets[0].Time > epoch+int64(10*time.Second) })
	src := &paused{source: &source{batches: whole.batches[:half]}, rest: &source{batches: whole.batches[half:]}, goOn: make(chan struct{})}
	var got outcome
	g := NewGroup(Options{Workers: 1, Call: func(c *record.Call) { got.calls = append(got.calls, c) }})
	done := make(chan error, 1)
	go func() {
		done <- g.Run(context.Background(), func(ctx context.Context, _ int, s *Shard) error { return s.Run(ctx, src, predecoded{}) })
	}()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var live Live
	there := func() bool { // an answer takes some turns of the shard, so its parts are of different moments
		return len(live.Calls) == 2 && live.Calls[0].State == "ringing" &&
			len(live.Calls[1].Record.Streams) == 2 && live.Calls[1].Record.Streams[0].Packets >= 300
	}
	for live = g.Live(ctx, 10); !there(); live = g.Live(ctx, 10) {
		if ctx.Err() != nil {
			t.Fatalf("waited for a minute: %+v", live)
		}
	}
	if c := live.Calls[1]; c.State != "talking" || c.Record.CallID != "first" || c.Record.ID != want.ID || c.Record.Streams[0].SSRC != 7 || c.Record.Streams[0].MOS.LQ < 4 {
		t.Errorf("first: %+v", c)
	}
	if c := live.Calls[0]; c.Record.CallID != "second" || len(c.Record.Streams) != 0 {
		t.Errorf("second: %+v", c)
	}
	if live.Silent != 0 {
		t.Errorf("%d shards have not answered", live.Silent)
	}
	if few := g.Live(ctx, 1); len(few.Calls) != 1 || few.Open != 2 {
		t.Errorf("one of two: %d listed of %d", len(few.Calls), few.Open)
	}
	close(src.goOn)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if c := named(got.calls, "first"); len(got.calls) != 2 || c.Streams[0].Packets != want.Streams[0].Packets {
		t.Errorf("records have changed: %+v", got.calls)
	}
	short, stop := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer stop()
	if over := g.Live(short, 10); len(over.Calls) != 0 || over.Silent != 1 {
		t.Errorf("shards that have ended answer: %+v", over)
	}
}

// Shards that answer do not stand still, however long another question was asked
// before this one.
func TestSilentAfterOthers(t *testing.T) {
	src := &paused{source: &source{}, rest: &source{}, goOn: make(chan struct{})}
	g := NewGroup(Options{Workers: 1})
	done := make(chan error, 1)
	go func() {
		done <- g.Run(context.Background(), func(ctx context.Context, _ int, s *Shard) error { return s.Run(ctx, src, predecoded{}) })
	}()
	const within = 50 * time.Millisecond
	silent := 1
	for try := 0; silent > 0 && try < 50; try++ { // on a busy machine the shard may miss its turn
		g.asking.Lock()
		go func() {
			time.Sleep(2 * within)
			g.asking.Unlock()
		}()
		silent = g.Silent(t.Context(), within)
	}
	if silent > 0 {
		t.Errorf("%d shards are said to stand still", silent)
	}
	close(src.goOn)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if silent := g.Silent(t.Context(), within); silent != 1 {
		t.Errorf("of a group that has ended %d shards stand still", silent)
	}
}
