package replay

import (
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"ringside/dataplane/frame"
)

// capture gives frames at these times (ms), so many in a batch.
type capture struct {
	times  []int64
	size   int
	next   int
	out    int // batches not released
	closed bool
}

func (c *capture) Next() (*frame.Batch, error) {
	if c.next == len(c.times) {
		return nil, io.EOF
	}
	b := &frame.Batch{Free: func(*frame.Batch) { c.out-- }}
	c.out++
	for len(b.Frames) < c.size && c.next < len(c.times) {
		at := c.times[c.next] * 1e6
		b.Frames = append(b.Frames, frame.Frame{Time: at, Clock: at, Seq: uint64(c.next)})
		c.next++
	}
	return b, nil
}

func (c *capture) Mark() int64 {
	if c.next == len(c.times) {
		return c.times[c.next-1]*1e6 + 1
	}
	return c.times[c.next] * 1e6
}

func (c *capture) Close() error { c.closed = true; return nil }

// manual is a clock that goes on by sleeping only.
type manual struct{ at time.Time }

func (m *manual) now() time.Time        { return m.at }
func (m *manual) sleep(d time.Duration) { m.at = m.at.Add(d) }

// sent is a frame with the moment at which it came out, ms since the first.
type sent struct{ at, time int64 }

// play takes everything out of a replay of times.
func play(t *testing.T, o Options, times ...int64) (out []sent, frames []frame.Frame, endMark int64) {
	t.Helper()
	var inputs []*capture
	s, err := New(func() (Input, error) {
		c := &capture{times: times, size: 3}
		inputs = append(inputs, c)
		return c, nil
	}, o)
	if err != nil {
		t.Fatal(err)
	}
	c := &manual{at: time.Unix(1000, 0)}
	s.clock = c
	start := c.at
	for turns := 0; ; turns++ {
		if turns > 100_000 {
			t.Fatal("no end")
		}
		before := s.Mark()
		b, err := s.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if b == nil {
			continue
		}
		for _, f := range b.Frames {
			if f.Clock < before {
				t.Errorf("frame with clock %d after mark %d", f.Clock, before)
			}
			out = append(out, sent{c.at.Sub(start).Milliseconds(), f.Time / 1e6})
			frames = append(frames, f)
		}
		b.Release()
	}
	for _, in := range inputs {
		if in.out != 0 {
			t.Errorf("%d batches were not released", in.out)
		}
	}
	if err := s.Close(); err != nil || !inputs[len(inputs)-1].closed {
		t.Errorf("not closed: %v", err)
	}
	return out, frames, s.Mark()
}

func TestPace(t *testing.T) {
	times := []int64{5000, 5010, 5010, 5100, 8100}
	for _, tt := range []struct {
		name string
		o    Options
		want []int64 // ms
	}{
		{"at once", Options{}, []int64{0, 0, 0, 0, 0}},
		{"as recorded", Options{Scale: 1}, []int64{0, 10, 10, 100, 3100}},
		{"ten times as fast", Options{Scale: 0.1}, []int64{0, 1, 1, 10, 310}},
		{"half the speed", Options{Scale: 2}, []int64{0, 20, 20, 200, 6200}},
		{"pauses cut", Options{Scale: 1, MaxDelay: 50 * time.Millisecond}, []int64{0, 10, 10, 60, 110}},
		{"delays stretched", Options{Scale: 1, MinDelay: 20 * time.Millisecond}, []int64{0, 20, 40, 130, 3130}},
		{"least delay alone", Options{MinDelay: 20 * time.Millisecond}, []int64{0, 20, 40, 60, 80}},
		{"packets per second", Options{PPS: 100}, []int64{0, 10, 20, 30, 40}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, frames, mark := play(t, tt.o, times...)
			if len(got) != len(tt.want) {
				t.Fatalf("%d frames, want %d", len(got), len(tt.want))
			}
			for i, g := range got {
				if g.at != tt.want[i] || g.time != times[i] {
					t.Errorf("frame %d of %d ms came at %d ms, want %d ms at %d ms", i, g.time, g.at, times[i], tt.want[i])
				}
				if frames[i].Seq != uint64(i) || frames[i].Loop != 0 {
					t.Errorf("frame %d: %+v", i, frames[i])
				}
			}
			if want := times[len(times)-1]*1e6 + 1; mark != want {
				t.Errorf("mark at the end %d, want %d", mark, want)
			}
		})
	}
}

func TestLoop(t *testing.T) {
	got, frames, mark := play(t, Options{Scale: 1, Loops: 3, EndTimeout: time.Minute}, 5000, 5010, 5100, 5200)
	want := []int64{5000, 5010, 5100, 5200, 6200, 6210, 6300, 6400, 7400, 7410, 7500, 7600}
	if len(got) != len(want) {
		t.Fatalf("%d frames, want %d", len(got), len(want))
	}
	for i, g := range got {
		if g.time != want[i] || g.at != want[i]-5000 || frames[i].Loop != uint16(i/4) || frames[i].Seq != uint64(i) {
			t.Errorf("frame %d: %+v, loop %d, seq %d; want time %d", i, g, frames[i].Loop, frames[i].Seq, want[i])
		}
	}
	if want := 7600*int64(1e6) + 1 + int64(time.Minute); mark != want {
		t.Errorf("mark at the end %d, want %d", mark, want)
	}
}

func TestOptions(t *testing.T) {
	for _, tt := range []struct {
		o    Options
		says string
	}{
		{Options{Scale: -1}, "scale -1"},
		{Options{PPS: -2}, "-2 packets per second"},
		{Options{MinDelay: -1}, "negative"},
		{Options{MinDelay: 2, MaxDelay: 1}, "longest delay 1ns is less than shortest delay 2ns"},
		{Options{Loops: 1 << 16}, "65536 loops"},
	} {
		_, err := New(func() (Input, error) { return &capture{}, nil }, tt.o)
		if err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%+v: %v", tt.o, err)
		}
	}
	if _, err := New(func() (Input, error) { return nil, errors.New("gone") }, Options{}); err == nil {
		t.Error("an input that cannot be opened is no error")
	}
}
