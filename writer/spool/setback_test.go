package spool

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"ringside/dataplane/frame"
	"ringside/writer/pcap"
)

// Where the time of day was set back, packets are found by their times, although the
// clock by which they were put is ahead; and a segment does not end with each look at
// it. Frames in no order at all do not make many more segments than may be open: how
// many, depends on when the writer looks, and there are 400 minutes.
func TestTimeOfDaySetBack(t *testing.T) {
	for _, tc := range []struct {
		name string
		at   func(r *rand.Rand, clock int64) int64 // time of a packet
		most int                                   // segments
	}{
		{"an hour", func(_ *rand.Rand, clock int64) int64 { return clock - int64(time.Hour) }, 4},
		{"no order", func(r *rand.Rand, clock int64) int64 { return clock - int64(r.IntN(10_000))*minute }, 3 * maxOpen},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, Options{Dir: dir})
			sh := s.Shard(0)
			r := rand.New(rand.NewPCG(3, 4))
			var all []sent
			for n := range 400 {
				clock := t0 + int64(n)*int64(300*time.Millisecond)
				p := sent{key: fmt.Sprintf("call-%d@example.com", n), time: tc.at(r, clock)}
				p.data = sipFrame(p.key, n)
				var tape Tape
				if !sh.Put(&tape, SIP, p.key, clock, frame.LinkEthernet, &pcap.Packet{Time: p.time, Data: p.data}) {
					t.Fatalf("packet %d refused", n)
				}
				sh.End(&tape)
				if all = append(all, p); n%20 == 19 {
					sh.Tick(clock)
					sh.Flush()
					s.Flush()
				}
			}
			sh.Flush()
			s.Flush()
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			list, err := List(OS, dir)
			if err != nil {
				t.Fatal(err)
			}
			if len(list) == 0 || len(list) > tc.most {
				t.Errorf("%d segments, want at most %d", len(list), tc.most)
			}
			if tc.name == "no order" { // then only where they were put can be told
				return
			}
			again := open(t, Options{Dir: dir})
			for _, p := range all {
				got, _ := fetchAll(t, again, Query{Keys: []string{p.key}, From: p.time - int64(time.Second), To: p.time + int64(time.Second)})
				same(t, got, []sent{p})
			}
		})
	}
}
