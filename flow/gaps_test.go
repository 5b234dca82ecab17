package flow

import "testing"

// A capture that loses for days remembers the losses of the last day.
func TestGapsAreBounded(t *testing.T) {
	var g gaps
	const days = 5 * 86_400
	for i := range int64(days) {
		g.add(i*second+i, i*second+i)
	}
	if len(g.list) > maxGaps {
		t.Errorf("%d seconds are remembered", len(g.list))
	}
	const now = days * second
	for _, hours := range []int64{1, 12} {
		at := now - hours*3600*second
		if !g.within(at, at, now) {
			t.Errorf("the loss of %d h ago is forgotten", hours)
		}
	}
}

// A loss is of the time of its frame, and known from its clock on.
func TestGapsWithin(t *testing.T) {
	var g gaps
	const ahead = 100 * second // the system's clock was set back by that
	g.add(10*second+5, 10*second+5)
	g.add(12*second, 12*second+ahead+2)
	g.add(12*second+7, 12*second+ahead+1)
	for _, tc := range []struct {
		from, to, asOf int64
		want           bool
	}{
		{10*second + 9, 10*second + 9, end, true}, // to the second
		{11 * second, 12*second - 1, end, false},
		{0, 9 * second, end, false},
		{13 * second, 20 * second, end, false},
		{0, 20 * second, 10*second + 4, false},
		{0, 20 * second, 10*second + 5, true},
		{11 * second, 20 * second, 12*second + ahead, false}, // nobody need have read of it
		{11 * second, 20 * second, 12*second + ahead + 1, true},
	} {
		if got := g.within(tc.from, tc.to, tc.asOf); got != tc.want {
			t.Errorf("from %d to %d as of %d: %v", tc.from, tc.to, tc.asOf, got)
		}
	}
}
