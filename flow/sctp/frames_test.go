package sctp

import (
	"slices"
	"testing"

	"ringside/dataplane/frame"
)

// A message names the frames that it came in once each, by their clocks, whatever
// the order of its chunks in them.
func TestFramesOfMessage(t *testing.T) {
	for _, tc := range []struct {
		name string
		in   []frame.Kept
		want []frame.Kept
	}{
		{"none kept", []frame.Kept{{Clock: 1}, {Clock: 2}}, nil},
		{"in order", []frame.Kept{{Clock: 1, At: 7}, {Clock: 2, At: 8}}, []frame.Kept{{Clock: 1, At: 7}, {Clock: 2, At: 8}}},
		{"two chunks in a frame", []frame.Kept{{Clock: 1, At: 7}, {Clock: 1, At: 7}, {Clock: 2, At: 8}}, []frame.Kept{{Clock: 1, At: 7}, {Clock: 2, At: 8}}},
		{"the first came last", []frame.Kept{{Clock: 9, At: 7}, {Clock: 2, At: 8}, {Clock: 3, At: 5}, {Clock: 9, At: 7}},
			[]frame.Kept{{Clock: 2, At: 8}, {Clock: 3, At: 5}, {Clock: 9, At: 7}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			x := New(Limits{})
			for _, k := range tc.in {
				x.cameIn(k.Clock, k.At)
			}
			if !slices.Equal(x.frames, tc.want) {
				t.Errorf("%v, want %v", x.frames, tc.want)
			}
		})
	}
}
