package flow

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"ringside/dataplane/frame"
	"ringside/flow/record"
)

// within fails the test if run does not end: somebody waits for what never comes.
func within(t *testing.T, run func() error) error {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- run() }()
	select {
	case err := <-done:
		return err
	case <-time.After(20 * time.Second):
		t.Fatal("hangs")
		return nil
	}
}

// fails is a source that breaks after some batches, for one worker.
type fails struct {
	*source
	left int
}

var errBroken = errors.New("broken")

func (f *fails) Next() (*frame.Batch, error) {
	if f.left--; f.left < 0 {
		return nil, errBroken
	}
	return f.source.Next()
}

// busy is a source that gives a worker nothing until it has ended: others
// were always faster.
type busy struct{ *source }

func (b busy) Next() (*frame.Batch, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.batches) == 0 {
		return nil, io.EOF
	}
	return nil, nil
}

func manyCalls() *script {
	var sc script
	for i := range 50 {
		start := time.Duration(i) * time.Second
		sc.call(fmt.Sprint("c", i), start, 5*time.Second, 4000+10*i, 6000)
		sc.rtp(start+time.Second, start+2*time.Second, at2(alice, uint16(4000+10*i)), at2(bob, 6000), 0, uint32(i), 160)
	}
	return &sc
}

// TestWorkerFails: one worker's failure ends the others, wherever they are,
// with a slow sink and lanes that are always full.
func TestWorkerFails(t *testing.T) {
	sc := manyCalls()
	for left := range 40 {
		g := NewGroup(Options{Workers: 3, lanes: 1, Call: func(*record.Call) { time.Sleep(100 * time.Microsecond) }})
		src := sc.source(10)
		err := within(t, func() error {
			return g.Run(context.Background(), func(ctx context.Context, i int, s *Shard) error {
				if i == 1 {
					return s.Run(ctx, &fails{src, left}, predecoded{})
				}
				return s.Run(ctx, src, predecoded{})
			})
		})
		// Without it the capture may have been read to its end.
		if err != nil && !errors.Is(err, errBroken) {
			t.Errorf("after %d batches: %v", left, err)
		}
	}
}

// TestIdleWorkers: workers that never get a batch hold nobody up.
func TestIdleWorkers(t *testing.T) {
	g := NewGroup(Options{Workers: 3, lanes: 1})
	src := manyCalls().source(10)
	err := within(t, func() error {
		return g.Run(context.Background(), func(ctx context.Context, i int, s *Shard) error {
			if i != 2 {
				return s.Run(ctx, busy{src}, predecoded{})
			}
			return s.Run(ctx, src, predecoded{})
		})
	})
	if st := g.Stats(); err != nil || st.InCalls != 50*50 || st.Calls.Finished != 50 {
		t.Errorf("%v, %+v", err, st)
	}
}

// TestCancel: every worker stops when ctx is cancelled, from the sink too.
func TestCancel(t *testing.T) {
	sc := manyCalls()
	for n := range 30 {
		ctx, cancel := context.WithCancel(context.Background())
		calls := 0
		g := NewGroup(Options{Workers: 3, lanes: 1, Call: func(*record.Call) {
			if calls++; calls > n {
				cancel()
			}
		}})
		src := sc.source(10)
		err := within(t, func() error {
			return g.Run(ctx, func(ctx context.Context, _ int, s *Shard) error {
				return s.Run(ctx, src, predecoded{})
			})
		})
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		cancel()
	}
}
