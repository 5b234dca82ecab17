package flow

import (
	"context"
	"strings"
	"testing"
	"time"

	"ringside/dataplane/frame"
	"ringside/flow/record"
	"ringside/flow/rule"
)

// watched is a source that says the time of what it hands out.
type watched struct {
	*source
	see func(time int64)
}

func (w *watched) Next() (*frame.Batch, error) {
	b, err := w.source.Next()
	if b != nil {
		w.see(b.Frames[0].Time)
	}
	return b, err
}

// Other rules hold for calls that begin; a call that goes on keeps those that it
// began with, and its record has their name.
func TestSetRules(t *testing.T) {
	parse := func(text string) *rule.Set {
		t.Helper()
		set, err := rule.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		return set
	}
	old := parse("rule old: caller alice -> sip full, rtp header\ndefault -> sip none, rtp none\n")
	new := parse("default -> sip header, rtp none\n")
	var sc script
	sc.call("before", 0, 10*time.Second, 4000, 4002)
	sc.call("after", 6*time.Second, 10*time.Second, 5000, 5002)
	got := make(map[string]*record.Call)
	film := &film{}
	var g *Group
	changed := false
	g = NewGroup(Options{
		Workers: 1, Rules: old, Memory: make([]byte, MinKept), Call: func(c *record.Call) { got[c.CallID] = c },
		Recorder: func(int) Recorder { return &reel{film: film, tapes: make(map[uint32]string)} },
	})
	src := sc.source(1)
	err := g.Run(context.Background(), func(ctx context.Context, _ int, s *Shard) error {
		return s.Run(ctx, &watched{src, func(time int64) {
			if !changed && time > epoch+int64(5*1e9) {
				changed = true
				if err := g.SetRules(new); err != nil {
					t.Error(err)
				}
			}
		}}, predecoded{})
	})
	if err != nil {
		t.Fatal(err)
	}
	if c := got["before"]; c == nil || c.Rule != "old" || c.SIPStored.Level.String() != "full" {
		t.Errorf("before: %+v", c)
	}
	if c := got["after"]; c == nil || c.Rule != "default" || c.SIPStored.Level.String() != "header" {
		t.Errorf("after: %+v", c)
	}
	for _, tc := range []struct{ text, why string }{
		{"default -> sip none, rtp full\n", "default wants more of RTP"},
		{"rule bad: mos < 3 -> rtp header, lookback 20s\ndefault -> sip none, rtp none\n", "bad looks back further"},
	} {
		if err := g.SetRules(parse(tc.text)); err == nil || !strings.Contains(err.Error(), tc.why) {
			t.Errorf("%q: %v", tc.text, err)
		}
	}
}
