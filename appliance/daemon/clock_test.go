package daemon

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ringside/dataplane/frame"
	"ringside/flow/record"
)

// steppedRings are rings of a machine whose time of day is set an hour forward in
// the first third of a capture, and back again in the last: what the kernel stamps
// on frames follows it, what rings say of their order does not (frame.Steady).
type steppedRings struct {
	*fakeRings
	first, last int64 // times of the capture
	base        int64 // where it is put
	steady      frame.Steady
	clock       int64
}

func (r *steppedRings) Source(int) frame.Source { return r }
func (r *steppedRings) Mark() int64             { return r.clock + 1 }

func (r *steppedRings) Next() (*frame.Batch, error) {
	b, err := r.fakeRings.Next()
	if b == nil {
		return b, err
	}
	for i := range b.Frames {
		f := &b.Frames[i]
		gone := f.Time - r.first
		f.Time = r.base + gone
		if third := (r.last - r.first) / 3; gone >= third && gone < 2*third {
			f.Time += int64(time.Hour)
		}
		now, ahead := r.steady.At(f.Time, gone)
		r.clock = max(r.clock+1, frame.Clock(f.Time, now, ahead))
		f.Clock = r.clock
	}
	return b, err
}

// A clock that is set while calls go on makes some of them longer, and no more: the
// service goes on, no call is missing, nothing that is kept is thrown away.
func TestServiceClockStep(t *testing.T) {
	dir := t.TempDir()
	o, rings := capturingFile(t, dir)
	stepped := &steppedRings{fakeRings: rings}
	want := make(map[string]bool)
	read, err := NewRead(ReadOptions{Paths: []string{filepath.Join(dir, "calls.pcap")}, Call: func(c *record.Call) {
		want[c.CallID] = true
		if stepped.first == 0 {
			stepped.first = c.Start
		}
		stepped.first, stepped.last = min(stepped.first, c.Start), max(stepped.last, c.End)
	}})
	if err != nil {
		t.Fatal(err)
	}
	if err := read.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	stepped.base = time.Now().UnixNano() - (stepped.last - stepped.first)
	o.Live.open = func(c CaptureOptions, name string, n uint16) (*port, error) {
		p, err := rings.port(0)(c, name, n)
		p.rings = stepped
		return p, err
	}
	o.Store.Days = 1
	s := serving(t, dir, o)
	<-rings.quiet
	eventually(t, "ready and healthy", func() bool { st := s.Status(); return st.Ready && st.Health.State == StateHealthy })
	if !s.movesAt(time.Now()) {
		t.Error("workers are said to stand still")
	}
	cookie := s.login()
	s.get("/readyz", cookie, new(struct{}))
	s.stop()

	again := serving(t, dir, ServiceOptions{Store: o.Store, Spool: o.Spool, HTTP: HTTPOptions{Addr: "127.0.0.1:0"}})
	cookie = again.cookie()
	var list struct {
		Items []struct {
			ID                   string
			CallID               string `json:"call_id"`
			Start, End, Duration int64
			Outcome              string
		}
	}
	again.get("/api/v1/calls?from=2020-01-01&limit=1000", cookie, &list)
	for _, c := range list.Items {
		delete(want, c.CallID)
	}
	if len(want) > 0 || len(list.Items) == 0 {
		t.Errorf("%d of the calls are missing: %.300s", len(want), fmt.Sprint(want))
	}
	missing := 0
	for _, c := range list.Items {
		if status, _, b := again.web("GET", "/api/v1/calls/"+c.ID+"/pcap", cookie, ""); status != 200 || len(b) < 100 {
			missing++
			t.Logf("%+v: %d %.300s", c, status, b)
		}
	}
	if missing > 0 {
		t.Errorf("of %d of %d calls no packets are found", missing, len(list.Items))
	}
	if said := s.said.String(); strings.Contains(said, "removed") || strings.Contains(said, notMoving) {
		t.Errorf("it said:\n%s", said)
	}
	again.stop()
}
