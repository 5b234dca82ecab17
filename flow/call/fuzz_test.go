package call

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// FuzzTable feeds messages in any order: nothing panics, every call that was
// created is closed once and gives one record, and the counters add up.
func FuzzTable(f *testing.F) {
	f.Add(uint64(1), []byte{0, 1, 2, 3})
	f.Add(uint64(2), []byte("a few random messages of a few random calls"))
	f.Fuzz(func(t *testing.T, seed uint64, steps []byte) {
		r := rand.New(rand.NewPCG(seed, 0))
		s := newScript(t, Limits{MaxCalls: 3, MaxMessages: 8})
		clock, finished := 0, 0
		finish := func() {
			for _, ref := range s.closed {
				if rec := s.table.Finish(ref); rec == nil {
					t.Fatalf("no record of %s, or closed twice", s.name(ref))
				} else if rec.ID < 0 || rec.Start > rec.Last || len(rec.Messages) > 8 {
					t.Fatalf("record %+v", rec)
				}
				finished++
			}
			s.closed = s.closed[:0]
		}
		for _, b := range steps[:min(len(steps), 200)] {
			clock += int(b>>5) * 7
			switch b & 31 {
			case 31:
				s.line(fmt.Sprintf("advance %d", clock))
			case 30:
				clock += 3600
			case 29:
				s.line(fmt.Sprintf("alive %d", clock))
			case 28:
				finish()
			default:
				s.line(randomLine(r, clock, fmt.Sprintf("c%d", b&7)))
				clock++ // randomLine adds a part of a second
			}
		}
		s.line(fmt.Sprintf("closeall %d", clock+1))
		finish()
		st := s.table.Stats()
		if st.Open != 0 || st.Unfinished != 0 || st.Created != uint64(finished) || st.Closed != st.Created {
			t.Fatalf("%d finished: %+v", finished, st)
		}
		if st.Messages != st.InCalls+st.Outside+st.Stray+st.Refused {
			t.Fatalf("messages do not add up: %+v", st)
		}
		if s.table.stalest != nil || s.table.freshest != nil || len(s.table.byID) != 0 || len(s.table.free) != len(s.table.slots) {
			t.Fatal("something is left in the empty table")
		}
	})
}
