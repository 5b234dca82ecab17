package daemon

import (
	"strings"
	"testing"
	"time"
)

// counters are what a look reads of one interface, in the order of the way.
type counters struct{ in, out uint64 }

func at(second int, cs ...counters) look {
	l := look{at: time.Unix(int64(1_000+second), 0)}
	for _, c := range cs {
		l.sums = append(l.sums, sum{iface: "eth1", between: "here and there", in: c.in, out: c.out, remedy: "make it wider"})
	}
	return l
}

func TestLedgerGaps(t *testing.T) {
	for _, tc := range []struct {
		name   string
		looks  []counters
		alarms []int64 // by look; 0: none
	}{
		{"nothing", []counters{{0, 0}, {0, 0}, {0, 0}}, []int64{0, 0, 0}},
		{"in flight at every look", []counters{{100, 60}, {200, 140}, {300, 240}}, []int64{0, 0, 0}},
		{"the later counter is read later", []counters{{100, 130}, {200, 230}, {300, 320}}, []int64{0, 0, 0}},
		{"lost, then quiet", []counters{{100, 90}, {100, 90}, {100, 90}, {100, 90}}, []int64{0, 0, 10, 0}},
		{"late by one look", []counters{{100, 90}, {100, 90}, {100, 100}, {100, 100}}, []int64{0, 0, 0, 0}},
		{"lost in traffic", []counters{{1000, 900}, {2000, 900}, {3000, 900}}, []int64{0, 0, 1100}},
		{"doubles", []counters{{10, 0}, {10, 0}, {10, 0}, {15, 0}, {30, 0}, {40, 0}}, []int64{0, 0, 10, 0, 0, 30}},
		{"comes again", []counters{{10, 0}, {10, 0}, {10, 0}, {10, 10}, {20, 10}, {20, 10}, {20, 10}}, []int64{0, 0, 10, 0, 0, 0, 10}},
		{"more than there can be", []counters{{100, 150}, {120, 160}, {130, 170}}, []int64{0, 0, -30}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var l ledger
			for i, c := range tc.looks {
				got := int64(0)
				if alarms := l.add(at(i, c)); len(alarms) > 0 {
					got = alarms[0].Packets
				}
				if got != tc.alarms[i] {
					t.Errorf("look %d: alarm of %d packets, want %d", i, got, tc.alarms[i])
				}
			}
		})
	}
}

// Packets of the time in which the capture was opened may be on one side only.
func TestLedgerSlack(t *testing.T) {
	var l ledger
	for i := range 4 {
		now := at(i, counters{110, 100})
		now.sums[0].slack = 10
		if alarms := l.add(now); alarms != nil {
			t.Fatalf("look %d: %v", i, alarms)
		}
	}
	now := at(4, counters{111, 100})
	now.sums[0].slack = 10
	l.add(now)
	now.at = now.at.Add(time.Second)
	l.add(now)
	now.at = now.at.Add(time.Second)
	if alarms := l.add(now); len(alarms) != 1 || alarms[0].Packets != 1 {
		t.Errorf("one packet beyond the slack: %v", alarms)
	}
}

func TestLedgerEnd(t *testing.T) {
	for _, tc := range []struct {
		name     string
		s        sum
		balanced bool
		gap      int64
		lost     uint64 // as a row
	}{
		{"exact", sum{in: 100, out: 100}, true, 0, 0},
		{"one is missing", sum{in: 100, out: 99}, false, 1, 1},
		{"one too many", sum{in: 100, out: 101}, false, -1, 0},
		{"came while it was opened", sum{in: 100, out: 97, slack: 3}, true, 0, 0},
		{"and one more", sum{in: 100, out: 96, slack: 3}, false, 4, 4},
		{"the host has lost them", sum{in: 100, out: 90, elsewhere: 10}, true, 0, 10},
		{"the host has lost fewer", sum{in: 100, out: 90, elsewhere: 9}, false, 10, 10},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var l ledger
			tc.s.iface, tc.s.between = "eth1", "here and there"
			if got := l.end(look{at: time.Unix(1, 0), sums: []sum{tc.s}}); got != tc.balanced {
				t.Errorf("balanced: %v", got)
			}
			rows, gaps := l.snapshot()
			gap, lost := int64(0), uint64(0)
			for _, g := range gaps {
				gap += g.Packets
			}
			for _, r := range rows {
				if r.Lost {
					lost += r.Packets
				}
			}
			if gap != tc.gap || lost != tc.lost {
				t.Errorf("gap %d, lost %d; want %d, %d", gap, lost, tc.gap, tc.lost)
			}
		})
	}
}

// What the host has lost, of all interfaces, explains no more than that.
func TestLedgerExplainsOnce(t *testing.T) {
	for _, tc := range []struct {
		missing  [2]uint64
		balanced bool
	}{{[2]uint64{6, 4}, true}, {[2]uint64{0, 10}, true}, {[2]uint64{6, 5}, false}, {[2]uint64{10, 10}, false}} {
		var l ledger
		var now look
		for i, n := range tc.missing {
			now.sums = append(now.sums, sum{iface: "eth1", between: string('a' + rune(i)), in: 100, out: 100 - n, elsewhere: 10})
		}
		if got := l.end(now); got != tc.balanced {
			t.Errorf("%v missing, 10 lost by the host: balanced %v", tc.missing, got)
		}
	}
}

func TestLedgerRows(t *testing.T) {
	var l ledger
	row := func(second int, n uint64) {
		l.add(look{at: time.Unix(int64(1_000+second), 0), rows: []LiveRow{{Interface: "eth1", Stage: StageRing, Reason: "full", Packets: n, Lost: true}}})
	}
	check := func(since int64, packets uint64, rate float64) {
		t.Helper()
		rows, _ := l.snapshot()
		r := rows[0]
		if len(rows) != 1 || r.Packets != packets || r.Rate != rate || !r.Lost {
			t.Errorf("%+v, want %d packets at %v/s", rows, packets, rate)
		}
		if since == 0 != r.Since.IsZero() || since != 0 && r.Since.Unix() != since {
			t.Errorf("since %v, want %d", r.Since, since)
		}
	}
	row(0, 0)
	check(0, 0, 0)
	row(2, 10)
	check(1_002, 10, 5)
	row(3, 40)
	check(1_002, 40, 30)
	row(4, 40)
	check(1_002, 40, 0)
}

func TestGapSays(t *testing.T) {
	g := Gap{Interface: "eth1", Between: "the filter and the rings", Packets: 12, Remedy: "do this"}
	if s := g.String(); s != "eth1: 12 packets are missing between the filter and the rings: do this" {
		t.Error(s)
	}
	g.Packets = -3
	if s := g.String(); !strings.Contains(s, "3 packets more") {
		t.Error(s)
	}
}
