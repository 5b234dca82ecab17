package traffic

import (
	"fmt"
	"strings"
	"testing"

	"ringside/flow/record"
)

// arrival is a packet of the worked examples: number, time in ms, and what
// differs from payload type 0, 8,000 Hz, timestamp 160 × number.
type arrival struct {
	seq  uint16
	at   int64
	edit func(*delivery, *uint32)
}

// plain reads "10@0 11@20".
func plain(s string) []arrival {
	var out []arrival
	for _, f := range strings.Fields(s) {
		var a arrival
		if _, err := fmt.Sscanf(f, "%d@%d", &a.seq, &a.at); err != nil {
			panic(err)
		}
		out = append(out, a)
	}
	return out
}

func measure(list []arrival) record.Counters {
	var m reference
	var s Stream
	for _, a := range list {
		d := delivery{seq: a.seq, ts: 160 * uint32(a.seq), size: 160}
		rate := uint32(8000)
		if a.edit != nil {
			a.edit(&d, &rate)
		}
		m.add(a.at*ms, &d, rate)
	}
	m.finish(&s)
	return s.Counters
}

func steady(from, to uint16, at int64) []arrival {
	var out []arrival
	for n := from; n <= to; n++ {
		out = append(out, arrival{seq: n, at: at})
		at += 20
	}
	return out
}

// The worked examples of docs/design/meter.md.
func TestReferenceExamples(t *testing.T) {
	event := func(ts uint32) func(*delivery, *uint32) {
		return func(d *delivery, _ *uint32) { d.class, d.ts, d.pt = classEvent, ts, 101 }
	}
	stamped := func(ts uint32) func(*delivery, *uint32) { return func(d *delivery, _ *uint32) { d.ts = ts } }
	wide := func(ts uint32) func(*delivery, *uint32) {
		return func(d *delivery, rate *uint32) { d.ts, d.pt, *rate = ts, 96, 16000 }
	}
	runs := func(one, two uint32) (h [10]uint32) { h[0], h[1] = one, two; return h }
	tests := []struct {
		name  string
		list  []arrival
		want  record.Counters
		timed uint32
	}{
		{"clean", plain("10@0 11@20 12@40 13@60"),
			record.Counters{Packets: 4, Expected: 4, Received: 4, DeltaMax: 20, DeltaMin: 20}, 3},
		{"reordered start", plain("11@0 10@5 12@20"),
			record.Counters{Packets: 3, Expected: 3, Received: 3, Reordered: 1, Jitter: 48437500.0 / 16e6, DeltaMax: 15, DeltaMin: 5}, 2},
		{"loss and duplicate", plain("1@0 2@20 2@20 5@80 6@100 8@140"),
			record.Counters{Packets: 6, Expected: 8, Received: 5, Duplicate: 1, Lost: 3, LossRuns: runs(1, 1), LossRunMax: 2,
				LateF1: 3, LateF2: 3, LateAdapt: 3, DeltaMax: 60}, 4},
		{"wrap", []arrival{{65534, 0, nil}, {65535, 20, nil}, {0, 40, stamped(160 * 65536)}, {1, 60, stamped(160 * 65537)}},
			record.Counters{Packets: 4, Expected: 4, Received: 4, DeltaMax: 20, DeltaMin: 20}, 3},
		{"late", plain("1@0 2@20 3@130 4@131 5@132 6@133 7@134 8@140"),
			record.Counters{Packets: 8, Expected: 8, Received: 8, Delay: [8]uint32{0, 1, 1, 1}, LateF1: 3, LateAdapt: 1, DeltaMax: 110, DeltaMin: 1}, 7},
		{"restart", plain("100@0 101@20 5000@40 5001@60 5002@80"),
			record.Counters{Packets: 5, Expected: 5, Received: 5, Resets: 1, DeltaMax: 20, DeltaMin: 20}, 2},
		{"stray", plain("100@0 101@20 5000@40 102@41 103@60"),
			record.Counters{Packets: 5, Expected: 4, Received: 4, Stray: 1, DeltaMax: 20, DeltaMin: 1}, 3},
		{"very late", append(append(plain("1@0"), steady(3, 70, 40)...), arrival{seq: 2, at: 1400}),
			record.Counters{Packets: 70, Expected: 70, Received: 69, Lost: 1, Stray: 1, LossRuns: runs(1, 0), LossRunMax: 1,
				LateF1: 1, LateF2: 1, LateAdapt: 1, DeltaMax: 40, DeltaMin: 20}, 68},
		{"event", append(plain("1@0 2@20"), arrival{3, 40, event(480)}, arrival{4, 60, event(480)}, arrival{5, 80, event(480)}, arrival{seq: 6, at: 100}),
			record.Counters{Packets: 6, Expected: 6, Received: 6, Events: 3, DeltaMax: 20, DeltaMin: 20}, 2},
		{"change of rate", append(plain("1@0 2@20"), arrival{3, 40, wide(0)}, arrival{4, 60, wide(320)}),
			record.Counters{Packets: 4, Expected: 4, Received: 4, DeltaMax: 20, DeltaMin: 20}, 2},
		{"time base", append(plain("1@0 2@20"), arrival{3, 40, stamped(1000000)}, arrival{4, 60, stamped(1000160)}),
			record.Counters{Packets: 4, Expected: 4, Received: 4, DeltaMax: 20, DeltaMin: 20}, 2},
		{"large gap", plain("1@0 2@20 1002@20020"),
			record.Counters{Packets: 3, Expected: 1002, Received: 3, Lost: 999, LossRuns: [10]uint32{9: 1}, LossRunMax: 999,
				LateF1: 999, LateF2: 999, LateAdapt: 999, DeltaMax: 20000, DeltaMin: 20}, 2},
		{"larger gap", plain("1@0 2@20 1003@20020"),
			record.Counters{Packets: 3, Expected: 2, Received: 2, Stray: 1, DeltaMax: 20000, DeltaMin: 20}, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := measure(tt.list)
			timed := uint32(0)
			for _, n := range got.Delay {
				timed += n
			}
			if timed != tt.timed {
				t.Errorf("timed %d, want %d", timed, tt.timed)
			}
			if tt.name != "late" {
				tt.want.Delay = [8]uint32{tt.timed}
			} else {
				tt.want.Delay[0] = 4
			}
			tt.want.Bytes = 160 * tt.want.Packets
			tt.want.JitterAvg, tt.want.JitterMax = got.JitterAvg, got.JitterMax
			if tt.name == "late" || tt.name == "stray" {
				tt.want.Jitter = got.Jitter // the page does not state it
			}
			if got != tt.want {
				t.Errorf("got  %+v\nwant %+v", got, tt.want)
			}
		})
	}
}
