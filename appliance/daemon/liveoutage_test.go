package daemon

import (
	"errors"
	"testing"
)

// Packets that came about an outage are those from the look before the one that
// precedes it to the first behind it.
func TestOutage(t *testing.T) {
	type look struct {
		nic, filter, rings uint64
		away               bool
		times              uint64
	}
	for _, tc := range []struct {
		name  string
		looks []look
		want  []uint64
	}{
		{"none", []look{{100, 100, 100, false, 0}, {200, 200, 200, false, 0}, {300, 300, 300, false, 0}}, []uint64{0, 0, 0}},
		{"down at the start", []look{{0, 0, 0, true, 0}, {5, 5, 5, false, 0}, {9, 9, 9, false, 0}}, []uint64{0, 5, 5}},
		{"seen while it lasts", []look{{100, 100, 100, false, 0}, {110, 110, 110, false, 0}, {112, 113, 113, true, 1}, {115, 113, 113, false, 1}, {120, 118, 118, false, 1}},
			[]uint64{0, 0, 13, 16, 16}},
		{"over before it is seen", []look{{100, 100, 100, false, 0}, {110, 110, 110, false, 0}, {112, 113, 130, false, 1}, {120, 121, 138, false, 1}, {130, 131, 148, false, 1}},
			[]uint64{0, 0, 30, 38, 38}},
		{"twice", []look{{0, 0, 0, false, 0}, {1, 1, 1, false, 1}, {3, 3, 3, false, 2}, {7, 7, 7, false, 2}, {9, 9, 9, false, 2}}, []uint64{0, 1, 3, 7, 7}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var o outage
			for i, l := range tc.looks {
				seen := portCounts{nic: nicCounts{Packets: l.nic}, filter: []verdict{{packets: l.filter}}}
				o.look(&seen, ringCounts{Packets: l.rings - l.rings/2, Dropped: l.rings / 2}, l.away, l.times)
				if o.packets != tc.want[i] {
					t.Errorf("look %d: %d packets, want %d", i, o.packets, tc.want[i])
				}
			}
		})
	}
}

// So many packets may be missing, or be too many: no more.
func TestLedgerOutage(t *testing.T) {
	for _, tc := range []struct {
		name     string
		in, out  uint64
		balanced bool
	}{
		{"lost in it", 100, 90, true}, {"more were lost", 100, 89, false},
		{"not counted in it", 90, 100, true}, {"more were not", 89, 100, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			now := at(0, counters{tc.in, tc.out})
			now.sums[0].outage = 10
			var l ledger
			alarms := 0
			for range 4 {
				alarms += len(l.add(now))
			}
			if balanced := l.end(now); balanced != tc.balanced || (alarms == 0) != tc.balanced {
				t.Errorf("balanced: %v, %d alarms", balanced, alarms)
			}
			rows, _ := l.snapshot()
			if missing := tc.in > tc.out; (len(rows) == 1) != missing || missing && !rows[0].Lost {
				t.Errorf("rows %+v", rows)
			}
		})
	}
}

// What is known to wait is on its way, for as long as it may take; at the end
// nothing may.
func TestLedgerWaits(t *testing.T) {
	now := at(0, counters{100, 90})
	now.sums[0].waits = 10
	var l ledger
	for range 4 {
		if alarms := l.add(now); alarms != nil {
			t.Errorf("ten packets wait: %v", alarms)
		}
	}
	if l.end(now) {
		t.Error("at the end ten packets wait, and the ledger balances")
	}
	now.sums[0].waits = 9
	var other ledger
	alarms := 0
	for range 4 {
		alarms += len(other.add(now))
	}
	if alarms != 1 {
		t.Errorf("one packet is missing: %d alarms", alarms)
	}
}

// Nothing is captured from an interface that was made anew before all is on it.
func TestPrepare(t *testing.T) {
	var p port
	if err := p.prepare(); err != nil {
		t.Error(err)
	}
	done := 0
	broken := errors.New("cannot attach")
	p.again = []func() error{
		func() error { done++; return nil }, func() error { return broken }, func() error { done++; return nil },
	}
	if err := p.prepare(); !errors.Is(err, broken) || done != 1 {
		t.Errorf("%v after %d", err, done)
	}
}
