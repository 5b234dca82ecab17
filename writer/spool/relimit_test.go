package spool

import "testing"

// Other limits hold from the next round of retention on; those that cannot fit
// change nothing.
func TestSetLimits(t *testing.T) {
	s, err := Open(Options{Dir: t.TempDir(), Memory: 1 << 20, Shards: 1, AllowRoot: true, Limits: Limits{Total: 1 << 30, Reserve: 1 << 20}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.SetLimits([]Limits{{Total: 1 << 20, Reserve: 1 << 20}}); err != nil {
		t.Fatal(err)
	}
	if got := s.limits()[0].Total; got != 1<<20 {
		t.Errorf("total %d", got)
	}
	for name, bad := range map[string][]Limits{
		"too many": {{}, {}},
		"too much": {{Total: 1 << 62, Reserve: 1 << 20}},
	} {
		if err := s.SetLimits(bad); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if got := s.limits()[0].Total; got != 1<<20 {
		t.Errorf("refused limits hold: total %d", got)
	}
	s.Keep()
}
