package daemon

import (
	"slices"
	"strings"
	"testing"

	"ringside/dataplane/nic"
)

func TestMergers(t *testing.T) {
	offloads := []string{"rx-gro", "tx-tcp-segmentation", "rx-vlan-hw-parse", "rx-vlan-stag-hw-parse"}
	for _, tc := range []struct {
		outgoing bool
		want     string
	}{{false, "rx-gro"}, {true, "rx-gro tx-tcp-segmentation"}} {
		if got := mergers(offloads, tc.outgoing); strings.Join(got, " ") != tc.want {
			t.Errorf("outgoing %v: %v, want %v", tc.outgoing, got, tc.want)
		}
	}
}

// What the host throws away behind the rings is lost only where nobody else can say
// what the driver lost.
func TestCountsOf(t *testing.T) {
	c := nic.Counters{Packets: 10, Bytes: 1000, SentPackets: 5, SentDropped: 1, SentBytes: 500, Dropped: 7, Lost: 3}
	lost := func(n *nicCounts) (out []string) {
		for _, r := range n.Lost {
			if r.Lost && r.Packets > 0 {
				out = append(out, r.Reason)
			}
		}
		return out
	}
	n := countsOf(&c, false)
	if n.all() != 10 || n.SentBytes != 0 || !slices.Equal(lost(&n), []string{"dropped", "no room"}) {
		t.Errorf("%+v", n)
	}
	c.Losses = []nic.Loss{{Name: "rx_missed_errors", Count: 3}}
	n = countsOf(&c, true)
	if n.all() != 16 || n.SentBytes != 500 || !slices.Equal(lost(&n), []string{"rx_missed_errors"}) {
		t.Errorf("%+v", n)
	}
}

// A sum is made of the counters of the interface only where they count what is
// captured, and says what may be wrong.
func TestPortSums(t *testing.T) {
	for _, tc := range []struct {
		name   string
		p      *port
		remedy string
		sums   int
	}{
		{"plain", &port{}, "", 2},
		{"merged", &port{merged: true}, "", 1},
		{"another program", &port{foreign: true}, "detach", 2},
		{"backlog", &port{host: func() uint64 { return 3 }}, "netdev_max_backlog", 2},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := tc.p
			p.name, p.rings = "eth1", &fakeRings{taken: 7}
			p.nic = func() (nicCounts, error) { return nicCounts{Packets: 9, Sent: 1}, nil }
			var at look
			p.look(&at)
			if len(at.sums) != tc.sums {
				t.Fatalf("sums %+v, want %d", at.sums, tc.sums)
			}
			if s := at.sums[0]; tc.sums == 2 && (s.in != 10 || s.out != 7 || !strings.Contains(s.remedy, tc.remedy) || tc.remedy == "" && s.remedy != "") {
				t.Errorf("%+v", s)
			}
		})
	}
}
