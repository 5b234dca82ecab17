package daemon

import (
	"slices"
	"testing"
)

// steps are what is done to ports, in order.
type steps struct{ done []string }

type stoppedRings struct {
	*fakeRings
	name string
	to   *steps
}

func (s stoppedRings) Stop() { s.to.done = append(s.to.done, s.name+" stops"); s.fakeRings.Stop() }

// No meter counts any more when the first ring ends: its worker asks them all for
// the last time. What is closed is not stopped.
func TestLiveStopsMetersFirst(t *testing.T) {
	path, frames := capture(t)
	var to steps
	l := new(Live)
	for _, name := range []string{"eth1", "eth2"} {
		f := openFake(t, path, 1, frames)
		defer f.Close()
		l.ports = append(l.ports, &port{name: name, rings: stoppedRings{f, name, &to}, quiet: func() error {
			to.done = append(to.done, name+" is hushed")
			return nil
		}})
	}
	l.Stop()
	l.Stop()
	if want := []string{"eth1 is hushed", "eth2 is hushed", "eth1 stops", "eth2 stops"}; !slices.Equal(to.done, want) {
		t.Errorf("%q", to.done)
	}
	to.done = nil
	closed := &port{rings: l.ports[0].rings, quiet: l.ports[0].quiet}
	if err := closed.close(); err != nil {
		t.Fatal(err)
	}
	closed.hush()
	closed.stop()
	if len(to.done) > 0 {
		t.Errorf("done to a port that is closed: %q", to.done)
	}
}
