package daemon

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func keysOf(list []Condition) (out []string) {
	for _, c := range list {
		out = append(out, c.Key)
	}
	return out
}

// What is wrong is remembered for a while, the state follows from it, and it is
// said once when it becomes worse.
func TestHealth(t *testing.T) {
	var h health
	at := time.Unix(1000, 0)
	step := func(seconds int, found ...Condition) (string, bool) {
		at = at.Add(time.Duration(seconds) * time.Second)
		worse := h.look(at, found)
		return h.now().State, worse
	}
	lost, failing := Condition{Key: "lost", Text: "l"}, Condition{Key: "store", Text: "s", Failing: true}
	for i, tc := range []struct {
		after int
		found []Condition
		state string
		worse bool
	}{
		{0, nil, StateHealthy, false},
		{1, []Condition{lost}, StateDegraded, true},
		{1, []Condition{lost}, StateDegraded, false},
		{1, []Condition{failing}, StateFailing, true},
		{59, nil, StateFailing, false},
		{1, nil, StateHealthy, false},
		{1, []Condition{lost}, StateDegraded, true},
	} {
		if state, worse := step(tc.after, tc.found...); state != tc.state || worse != tc.worse {
			t.Errorf("step %d: %s, worse %v; want %s, %v", i, state, worse, tc.state, tc.worse)
		}
	}
	h.setIdle()
	if state, _ := step(60); state != StateIdle {
		t.Errorf("nothing is captured: %s", state)
	}
}

func TestConditions(t *testing.T) {
	for _, tc := range []struct {
		name    string
		s       Status
		db      StoreStatus
		want    []string
		failing bool
	}{
		{name: "nothing", s: Status{Interfaces: 1}},
		{name: "lost before, not now", s: Status{Lost: []LiveRow{{Interface: "eth1", Stage: "ring", Reason: "full", Packets: 5}}}},
		{name: "lost now", s: Status{Lost: []LiveRow{{Interface: "eth1", Stage: "ring", Reason: "full", Packets: 5, Rate: 2}}}, want: []string{"lost eth1 ring full"}},
		{name: "one of two down", s: Status{Interfaces: 2, Down: []string{"eth1: no link"}}, want: []string{"down eth1: no link"}},
		{name: "all down", s: Status{Interfaces: 1, Down: []string{"eth1: no link"}}, want: []string{"down eth1: no link"}, failing: true},
		{name: "store away with a queue", db: StoreStatus{Away: true, Queue: true}, want: []string{"store away"}},
		{name: "store away without", db: StoreStatus{Away: true}, want: []string{"store away"}, failing: true},
		{name: "spool full", s: Status{SpoolTrouble: "full"}, want: []string{"spool"}},
		{name: "records lost", db: StoreStatus{LostRate: 1}, want: []string{"store lost"}, failing: true},
		{name: "gap", s: Status{Gaps: []Gap{{Interface: "eth1", Between: "a and b", Packets: 4}}}, want: []string{"gap eth1a and b"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := conditions(&tc.s, tc.db)
			failing := slices.ContainsFunc(got, func(c Condition) bool { return c.Failing })
			if !slices.Equal(keysOf(got), tc.want) || failing != tc.failing {
				t.Errorf("%+v; want %v, failing %v", got, tc.want, tc.failing)
			}
		})
	}
}

// A mirror port that is set up wrong is told after a minute, and no more once it is
// put right. Silence is no fault of what it mirrors.
func TestMirrorFaults(t *testing.T) {
	for _, tc := range []struct {
		name string
		each spanSeen // of a second
		want string
	}{
		{"all is well", spanSeen{sip: 1, rtp: 100, packets: 101, calls: 1}, ""},
		{"broadcasts only", spanSeen{packets: 10}, "no SIP and no RTP"},
		{"RTP alone", spanSeen{rtp: 100, packets: 100}, "without any SIP"},
		{"some RTP alone", spanSeen{rtp: 5, packets: 5}, ""},
		{"one direction", spanSeen{sip: 4, rtp: 50, packets: 54, calls: 1, oneWay: 1}, "one direction"},
		{"silence", spanSeen{}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var s span
			var seen spanSeen
			now := time.Unix(1000, 0)
			tell := func(each spanSeen, seconds int) (out []Condition) {
				for range seconds {
					now = now.Add(time.Second)
					seen.sip, seen.rtp, seen.packets = seen.sip+each.sip, seen.rtp+each.rtp, seen.packets+each.packets
					seen.calls, seen.oneWay = seen.calls+each.calls, seen.oneWay+each.oneWay
					out = s.look(seen, now)
				}
				return out
			}
			tell(spanSeen{sip: 1, rtp: 100, packets: 101}, 2) // the start
			got := tell(tc.each, 90)
			if (len(got) == 0) != (tc.want == "") || len(got) > 0 && !strings.Contains(got[0].Text, tc.want) {
				t.Errorf("%v; want %q", got, tc.want)
			}
			if got := tell(spanSeen{sip: 1, rtp: 100, packets: 101, calls: 1}, int(2*spanWindow/time.Second)); len(got) > 0 {
				t.Errorf("it is put right: %v", got)
			}
		})
	}
	t.Run("nothing at all", func(t *testing.T) {
		var s span
		now := time.Unix(1000, 0)
		for i := range 70 {
			idle := s.port("eth1", 5, true, now.Add(time.Duration(i)*time.Second))
			if want := time.Duration(i) * time.Second; idle != want {
				t.Fatalf("after %d s: idle for %v", i, idle)
			}
		}
		if idle := s.port("eth1", 5, false, now.Add(80*time.Second)); idle != 0 {
			t.Errorf("without a link: idle for %v", idle)
		}
		if idle := s.port("eth1", 6, true, now.Add(90*time.Second)); idle != 0 {
			t.Errorf("after a packet: idle for %v", idle)
		}
	})
}
