package daemon

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ringside/bench/traffic"
	"ringside/dataplane/frame"
	"ringside/dataplane/pcapin"
	"ringside/flow/record"
)

// capture is a file of generated calls, and how many frames it has.
func capture(t *testing.T) (path string, frames uint64) {
	t.Helper()
	g, err := traffic.New(traffic.Options{Seed: 5, Calls: 20, Rate: 5, RTCP: true, Background: 1, Talk: traffic.Length{Mean: 2 * time.Second}})
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(t.TempDir(), "calls.pcap")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	totals, err := g.Run(context.Background(), f, nil)
	if err != nil {
		t.Fatal(err)
	}
	return path, totals.Frames
}

// fakeRings hand out a capture file. They then wait for Stop, as rings do.
type fakeRings struct {
	*pcapin.Reader
	n         int
	delivered atomic.Uint64
	taken     uint64
	quiet     chan struct{} // closed when the file is through
	once      sync.Once
	stopped   atomic.Bool
	closed    atomic.Int32
}

func openFake(t *testing.T, path string, n int, frames uint64) *fakeRings {
	t.Helper()
	r, err := pcapin.Open(pcapin.Options{Inputs: []string{path}})
	if err != nil {
		t.Fatal(err)
	}
	return &fakeRings{Reader: r, n: n, taken: frames, quiet: make(chan struct{})}
}

func (f *fakeRings) Len() int                { return f.n }
func (f *fakeRings) Source(int) frame.Source { return f }
func (f *fakeRings) State() (string, uint64) { return "", 0 }
func (f *fakeRings) Stop()                   { f.stopped.Store(true) }
func (f *fakeRings) Close() error            { f.closed.Add(1); return f.Reader.Close() }

func (f *fakeRings) Counts() ringCounts {
	return ringCounts{Packets: f.taken, Delivered: f.delivered.Load()}
}

func (f *fakeRings) Next() (*frame.Batch, error) {
	b, err := f.Reader.Next()
	if errors.Is(err, io.EOF) {
		f.once.Do(func() { close(f.quiet) })
		if !f.stopped.Load() {
			time.Sleep(time.Millisecond)
			return nil, nil
		}
	}
	if b != nil {
		f.delivered.Add(uint64(len(b.Frames)))
	}
	return b, err
}

// port is an interface that received more packets than the rings got.
func (f *fakeRings) port(more uint64) func(CaptureOptions, string, uint16) (*port, error) {
	return func(o CaptureOptions, name string, _ uint16) (*port, error) {
		p := &port{name: name, rings: f, nic: func() (nicCounts, error) { return nicCounts{Packets: f.taken + more}, nil }}
		p.undo = append(p.undo, f.Close)
		return p, nil
	}
}

// records are those of a run, as JSON.
type records struct{ bytes.Buffer }

func (r *records) into(o *ReadOptions) {
	enc := json.NewEncoder(&r.Buffer)
	o.Call = func(c *record.Call) { _ = enc.Encode(c) }
	o.Orphan = func(s *record.Stream) { _ = enc.Encode(s) }
	o.Registration = func(g *record.Registration) { _ = enc.Encode(g) }
	o.Event = func(e *record.Event) { _ = enc.Encode(e) }
}

// runUntilQuiet captures until the file is through, and stops.
func runUntilQuiet(t *testing.T, l *Live, f *fakeRings) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		<-f.quiet
		cancel()
	}()
	if err := l.Run(ctx); err != nil {
		t.Fatal(err)
	}
}

// A live capture gives the records that reading the same frames gives, and its
// ledger balances.
func TestLiveIsRead(t *testing.T) {
	path, frames := capture(t)
	var want records
	o := ReadOptions{Paths: []string{path}, Dedup: "off"}
	want.into(&o)
	r, err := NewRead(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	for _, workers := range []int{1, 3} {
		f := openFake(t, path, workers, frames)
		var got records
		o := LiveOptions{Interfaces: []string{"eth1"}, open: f.port(0)}
		o.Dedup = "off"
		got.into(&o.ReadOptions)
		l, err := NewLive(o)
		if err != nil {
			t.Fatal(err)
		}
		runUntilQuiet(t, l, f)
		if got.String() != want.String() {
			t.Errorf("%d workers: other records than reading the file:\n%s\nwant\n%s", workers, &got, &want)
		}
		rep := l.Report()
		if !rep.Balanced || rep.Frames != frames || len(rep.Gaps) > 0 {
			t.Errorf("%d workers: balanced %v, %d frames of %d, gaps %v", workers, rep.Balanced, rep.Frames, frames, rep.Gaps)
		}
		if f.closed.Load() != 1 {
			t.Errorf("closed %d times", f.closed.Load())
		}
		s := l.Status()
		if s.Active != 0 || s.Spool != -1 || len(s.Lost) != 0 || len(s.CPU) != workers || s.Memory == 0 {
			t.Errorf("status %+v", s)
		}
	}
}

// Packets that nobody accounts for are a gap: at the end, in the status, and as
// an alarm.
func TestLiveGap(t *testing.T) {
	path, frames := capture(t)
	f := openFake(t, path, 1, frames)
	alarms := make(chan Gap, 100)
	l, err := NewLive(LiveOptions{Interfaces: []string{"eth1"}, open: f.port(7), Alarm: func(g Gap) { alarms <- g }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		defer cancel()
		if g := <-alarms; g.Packets != 7 || g.Interface != "eth1" || g.Between != "the interface and the rings" {
			t.Errorf("alarm: %v", g)
		}
		if gaps := l.Status().Gaps; len(gaps) != 1 {
			t.Errorf("status: gaps %v", gaps)
		}
	}()
	if err := l.Run(ctx); err != nil {
		t.Fatal(err)
	}
	rep := l.Report()
	if rep.Balanced || !rep.Behind || len(rep.Gaps) != 1 || rep.Gaps[0].Packets != 7 {
		t.Errorf("balanced %v, gaps %v", rep.Balanced, rep.Gaps)
	}
	if s := l.Status(); len(s.Lost) != 1 || s.Lost[0].Packets != 7 || s.Lost[0].Stage != StageBetween {
		t.Errorf("lost %+v", s.Lost)
	}
}

// What cannot be opened is named, and what was opened before is closed.
func TestLiveOpenFails(t *testing.T) {
	path, frames := capture(t)
	f := openFake(t, path, 1, frames)
	good := f.port(0)
	_, err := NewLive(LiveOptions{Interfaces: []string{"eth1", "eth2"}, open: func(o CaptureOptions, name string, i uint16) (*port, error) {
		if name == "eth2" {
			return nil, errors.New("eth2 is not there")
		}
		return good(o, name, i)
	}})
	if err == nil || !strings.Contains(err.Error(), "eth2") || f.closed.Load() != 1 {
		t.Errorf("%v, closed %d times", err, f.closed.Load())
	}
}

// scripted is a source of given batches.
type scripted struct {
	batches []*frame.Batch // nil: none at the moment
	mark    int64
}

func (s *scripted) Next() (*frame.Batch, error) {
	if len(s.batches) == 0 {
		return nil, io.EOF
	}
	b := s.batches[0]
	s.batches = s.batches[1:]
	return b, nil
}

func (s *scripted) Mark() int64 { return s.mark }

// Announcements come in front of the frames, later than all before them, and all
// that is left comes before the end.
func TestAnnouncer(t *testing.T) {
	at := func(clocks ...int64) *frame.Batch {
		b := new(frame.Batch)
		for _, c := range clocks {
			b.Frames = append(b.Frames, frame.Frame{Clock: c})
		}
		return b
	}
	src := &scripted{batches: []*frame.Batch{at(10, 20), nil, at(30)}, mark: 5}
	streams := []int{1, 2, 1, 0}
	a := newAnnouncer(src, func(to []frame.Metered) []frame.Metered {
		for range streams[0] {
			to = append(to, frame.Metered{})
		}
		streams = streams[1:]
		return to
	})
	type step struct {
		metered int
		clock   int64 // of the last
	}
	next := func() (out step, err error) {
		b, err := a.Next()
		if b == nil {
			return out, err
		}
		for _, f := range b.Frames {
			out.clock = f.Clock
		}
		for _, m := range b.Metered {
			out.metered, out.clock = out.metered+1, m.Clock
		}
		if out.clock < a.last {
			t.Errorf("clock %d after %d", out.clock, a.last)
		}
		if b.Free != nil {
			b.Free(b)
		}
		return out, err
	}
	a.next = time.Now().Add(-time.Second)
	for i, want := range []step{{1, 5}, {0, 20}, {0, 0}} {
		if i == 1 { // the next announcement is not due
			a.next = time.Now().Add(time.Hour)
		}
		if got, err := next(); got != want || err != nil {
			t.Errorf("step %d: %+v, %v, want %+v", i, got, err, want)
		}
	}
	a.next = time.Time{} // due: later than the last frame
	if got, _ := next(); got != (step{2, 21}) {
		t.Errorf("between frames: %+v", got)
	}
	a.next = time.Now().Add(time.Hour)
	if got, _ := next(); got != (step{0, 30}) {
		t.Errorf("the last frame: %+v", got)
	}
	src.mark = 31
	if got, err := next(); got != (step{1, 31}) || err != nil {
		t.Errorf("before the end: %+v, %v", got, err)
	}
	if _, err := next(); err != io.EOF || a.Mark() != 32 {
		t.Errorf("end: %v, mark %d", err, a.Mark())
	}
}

func TestWorkerCPUs(t *testing.T) {
	alone := func(c int) []int { return []int{c} }
	pairs := func(c int) []int { return []int{c &^ 1, c | 1} }
	for _, tc := range []struct {
		name     string
		cpus     []int
		siblings func(int) []int
		run      []int
		pinned   bool
	}{
		{"none known", nil, alone, nil, false},
		{"one", []int{0}, alone, []int{0}, false},
		{"two", []int{0, 1}, alone, []int{0}, false},
		{"four cores", []int{0, 1, 2, 3}, alone, []int{1, 2, 3}, true},
		{"two cores of two threads", []int{0, 1, 2, 3}, pairs, []int{2, 3}, true},
		{"a share of the machine", []int{4, 5, 6}, alone, []int{5, 6}, true},
		{"one core of four threads", []int{0, 1, 2, 3}, func(int) []int { return []int{0, 1, 2, 3} }, []int{1, 2, 3}, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := workerCPUs(tc.cpus, tc.siblings)
			if len(got.run) != len(tc.run) || got.pinned != tc.pinned {
				t.Fatalf("%+v", got)
			}
			for i, c := range tc.run {
				if got.run[i] != c {
					t.Errorf("%v, want %v", got.run, tc.run)
				}
				if tc.pinned && got.pin(i+len(tc.run)) != c {
					t.Errorf("worker %d on %d", i, got.pin(i))
				}
			}
			if !tc.pinned && got.pin(0) != -1 {
				t.Error("pinned")
			}
		})
	}
}

func TestSteerCPUs(t *testing.T) {
	for _, tc := range []struct {
		cpus  []int
		rings int
		want  []int // nil: cannot be
	}{
		{[]int{0, 1}, 2, []int{0, 1}},
		{[]int{0, 1, 2, 3}, 2, []int{2, 3}},
		{[]int{0, 1, 2, 3}, 3, []int{3, 1, 2}},
		{[]int{4, 5, 6}, 3, []int{6, 4, 5}},
		{[]int{0, 2, 4}, 2, nil},
		{[]int{0, 1}, 3, nil},
	} {
		got, err := steerCPUs(tc.cpus, tc.rings)
		if (err != nil) != (tc.want == nil) || err == nil && !slices.Equal(got, tc.want) {
			t.Errorf("%d rings on %v: %v, %v; want %v", tc.rings, tc.cpus, got, err, tc.want)
		}
	}
}

func TestParse(t *testing.T) {
	stat := []byte("71 (a b) c) S 1 71 71 0 -1 4194560 99 0 0 0 250 50 0 0 20 0 9 0 100 1 2 3")
	if d := parseThreadTime(stat); d != 3*time.Second {
		t.Errorf("thread time %v", d)
	}
	if d := parseThreadTime([]byte("71 (a) S 1")); d != 0 {
		t.Errorf("a short line: %v", d)
	}
	if c := parseCPUs("0-2,8"); len(c) != 4 || c[3] != 8 || c[2] != 2 {
		t.Errorf("CPUs %v", c)
	}
	if c := parseCPUs(""); c != nil {
		t.Errorf("CPUs of nothing: %v", c)
	}
}
