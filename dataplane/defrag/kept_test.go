package defrag

import (
	"slices"
	"testing"

	"ringside/dataplane/frame"
)

// TestKept: a datagram names the frames that it came in: once, in the order of the
// fragments, and no copies of them.
func TestKept(t *testing.T) {
	part := func(clock int64, at, off, n uint32, more bool) *frame.Fragment {
		return &frame.Fragment{
			Src: frame.AddrFrom4([]byte{10, 0, 0, 1}), Dst: frame.AddrFrom4([]byte{10, 0, 0, 2}), ID: 9, Proto: frame.ProtoUDP,
			Clock: clock, Kept: at, Offset: off, Len: n, Data: make([]byte, n), More: more,
		}
	}
	for _, tt := range []struct {
		name  string
		parts []*frame.Fragment
		want  []frame.Kept
	}{
		{"in order", []*frame.Fragment{part(1, 11, 0, 8, true), part(2, 12, 8, 8, false)}, []frame.Kept{{Clock: 1, At: 11}, {Clock: 2, At: 12}}},
		{"backwards", []*frame.Fragment{part(1, 11, 16, 8, false), part(2, 12, 8, 8, true), part(3, 13, 0, 8, true)},
			[]frame.Kept{{Clock: 3, At: 13}, {Clock: 2, At: 12}, {Clock: 1, At: 11}}},
		{"a copy", []*frame.Fragment{part(1, 11, 0, 8, true), part(2, 12, 0, 8, true), part(3, 13, 8, 8, false)},
			[]frame.Kept{{Clock: 1, At: 11}, {Clock: 3, At: 13}}},
		{"long", []*frame.Fragment{part(1, 11, 0, 1480, true), part(2, 12, 1480, 20, false)}, []frame.Kept{{Clock: 1, At: 11}, {Clock: 2, At: 12}}},
		{"not kept", []*frame.Fragment{part(1, 0, 0, 8, true), part(2, 0, 8, 8, false)}, nil},
		{"whole", []*frame.Fragment{part(1, 11, 0, 8, false)}, []frame.Kept{{Clock: 1, At: 11}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			table := New(Limits{})
			for i, p := range tt.parts {
				d, ok := table.Add(p)
				if ok != (i == len(tt.parts)-1) {
					t.Fatalf("complete %v with fragment %d", ok, i)
				}
				if ok && !slices.Equal(d.Kept, tt.want) {
					t.Errorf("%v, want %v", d.Kept, tt.want)
				}
			}
		})
	}
}
