package soak

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"ringside/bench/netns"
	"ringside/bench/replay"
	"ringside/bench/traffic"
)

// fill puts calls of yesterday into the store. A store that begins empty would fill
// its page caches for an hour, which looks like a leak.
func (o *Options) fill(ctx context.Context) error {
	if o.History == 0 {
		return nil
	}
	fmt.Fprintf(o.Progress, "%d calls for the store …\n", o.History)
	args := slices.Concat(o.Ringside[1:], []string{"read", "--quiet", "--db", filepath.Join(o.Dir, "calls.db"), "-"})
	cmd := exec.CommandContext(ctx, o.Ringside[0], args...)
	cmd.Env = append(os.Environ(), o.Env...)
	var said bytes.Buffer
	cmd.Stderr = &said
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("fill the store: %w", err)
	}
	g, err := traffic.New(traffic.Options{
		Seed: 1, Calls: o.History, Rate: 500, Start: time.Now().AddDate(0, 0, -1),
		Scenarios: []traffic.Weighted[traffic.Scenario]{{Value: traffic.Busy, Weight: 1}},
	})
	if err == nil {
		_, err = g.Run(ctx, in, nil)
	}
	in.Close()
	if err := errors.Join(err, cmd.Wait()); err != nil {
		return fmt.Errorf("fill the store: %w: %s", err, said.String())
	}
	return nil
}

// send sends calls from the end A until the context ends: as many at a time as were
// asked for, most of them answered, some over a poor network.
func (o *Options) send(ctx context.Context, link *netns.Link, sent *Sent) error {
	g, err := traffic.New(traffic.Options{
		Seed: 2, Concurrent: o.Calls, Duration: 2*o.For + time.Hour, Start: time.Now(), Format: traffic.PcapNano,
		Talk: traffic.Length{Kind: traffic.Uniform, Min: max(time.Second, o.Talk/2), Max: o.Talk + o.Talk/2},
		Scenarios: []traffic.Weighted[traffic.Scenario]{
			{Value: traffic.Answered, Weight: 12}, {Value: traffic.Busy, Weight: 2}, {Value: traffic.Cancelled, Weight: 1}, {Value: traffic.Auth407, Weight: 1},
		},
		Impairments: []traffic.Weighted[traffic.Impairment]{{Weight: 9}, {Value: traffic.Impairment{Loss: 0.02, Jitter: 10 * time.Millisecond}, Weight: 1}},
		RTCP:        true, Background: 2,
	})
	if err != nil {
		return fmt.Errorf("generate: %w", err)
	}
	from, to := io.Pipe()
	generated := make(chan error, 1)
	go func() {
		_, err := g.Run(ctx, to, nil)
		to.CloseWithError(err)
		generated <- err
	}()
	err = link.Do(netns.A, func() error { return pace(ctx, from, link.Side(netns.A).Iface, sent) })
	from.Close()
	<-generated
	return err
}

// slice is how much of the traffic is in memory at a time.
const slice = 250 * time.Millisecond

// pace sends what is generated at the pace of its own clock, slice by slice.
func pace(ctx context.Context, from io.Reader, iface string, sent *Sent) error {
	in, err := replay.NewReader(from)
	if err != nil {
		return fmt.Errorf("generate: %w", err)
	}
	var (
		frames []replay.Frame
		began  = time.Now()
		begin  int64 // of the capture's clock
	)
	for {
		f, err := in.Next()
		if err != nil {
			return fmt.Errorf("generate: %w", err)
		}
		if begin == 0 {
			begin = f.Time
		}
		if len(frames) > 0 && f.Time-frames[0].Time > int64(slice) {
			due := began.Add(time.Duration(frames[0].Time - begin))
			late := time.Since(due)
			sent.Slipped = max(sent.Slipped, late)
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(-late):
			}
			r, err := replay.Send(ctx, replay.Options{Iface: iface, Frames: frames, Speed: 1, Patience: slice})
			sent.Frames += r.Sent
			sent.Refused += r.Refused
			if err != nil {
				return err
			}
			frames = frames[:0]
		}
		frames = append(frames, f)
	}
}
