package suite

import (
	"slices"
	"testing"
	"time"

	"ringside/bench/report"
)

// A measurement says nothing only if packets were lost, and somebody else had the CPUs.
func TestVoid(t *testing.T) {
	b := New()
	b.Free = 0.01
	for _, tc := range []struct {
		handled uint64
		stolen  time.Duration
		want    bool
	}{{1000, 0, false}, {1000, time.Second, false}, {900, 0, false}, {900, 10 * time.Millisecond, false}, {900, 50 * time.Millisecond, true}, {200, 50 * time.Millisecond, false}, {200, time.Second, true}, {995, time.Second, false}} {
		r := &outcome{offered: 1000, handled: tc.handled, took: 2, stolen: tc.stolen}
		if got := b.void(r); got != tc.want {
			t.Errorf("%d of 1000 handled, %v stolen: void is %v", tc.handled, tc.stolen, got)
		}
	}
}

// The host of the machine may take all but the patience that a subject has.
func TestPatience(t *testing.T) {
	b := New()
	b.Patience = turns * time.Minute
	b.turn()
	if b.waits != time.Minute {
		t.Errorf("a subject may wait for %v, want a minute", b.waits)
	}
	if b.quiet(t.Context(), 2*time.Minute) {
		t.Error("it measures again, and has no patience left")
	}
	b.waited = b.Patience - time.Second
	if b.turn(); b.waits != time.Second {
		t.Errorf("the last subject may wait for %v, want what is left: a second", b.waits)
	}
}

// Of the rates of rounds those count that the host did not cut short, if there is one.
func TestRates(t *testing.T) {
	cut, whole, sender := found{rate: 1, stolen: true}, found{rate: 5}, found{rate: 7, sender: true}
	for _, tc := range []struct {
		name   string
		of     []found
		want   report.Figure
		stolen bool
		sender bool
	}{
		{"whole ones", []found{whole, {rate: 6}}, report.Figure{5, 6}, false, false},
		{"all cut short", []found{cut, {rate: 2, stolen: true}}, report.Figure{1, 2}, true, false},
		{"the first cut short", []found{cut, whole}, report.Figure{5}, false, false},
		{"the second cut short", []found{whole, cut}, report.Figure{5}, false, false},
		{"the sender's limit", []found{cut, sender, whole}, report.Figure{7, 5}, false, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := &tally{}
			for _, f := range tc.of {
				c.rate(f)
			}
			if !slices.Equal(c.row.Rate, tc.want) || c.row.Stolen != tc.stolen || c.row.Sender != tc.sender {
				t.Errorf("got %+v", c.row)
			}
		})
	}
	a, b := &tally{}, &tally{row: report.Row{Stolen: true}}
	if got := inOrder([]*tally{a, b}); got[0] != b || got[1] != a {
		t.Error("what was cut short does not come first")
	}
}
