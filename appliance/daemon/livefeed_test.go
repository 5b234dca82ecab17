package daemon

import (
	"slices"
	"strings"
	"testing"

	"ringside/bench/netns"
	"ringside/dataplane/xdp"
)

// TestPortFeeds: an interface has feeds where rules may want RTP, or user space measures
// it, and the filter runs in the driver, and says so; they are in the ledger from the start.
func TestPortFeeds(t *testing.T) {
	if err := netns.Supported(); err != nil {
		t.Skip(err)
	}
	l, err := netns.Pair(1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	for _, tc := range []struct {
		name string
		o    CaptureOptions
		want int
	}{
		{"recorded", CaptureOptions{Rings: 1, KernelMeter: true, unnamed: xdp.Full}, 1},
		{"headers, two rings", CaptureOptions{Rings: 2, KernelMeter: true, unnamed: xdp.HeaderOnly}, 2},
		{"not recorded", CaptureOptions{Rings: 1, KernelMeter: true, unnamed: xdp.Meter}, 0},
		{"no spool", CaptureOptions{Rings: 1, KernelMeter: true}, 0},
		{"metered in user space", CaptureOptions{Rings: 2}, 2},
		{"generic XDP", CaptureOptions{Rings: 1, KernelMeter: true, unnamed: xdp.Full, XDP: "generic"}, 0},
		{"generic XDP, metered in user space", CaptureOptions{Rings: 1, XDP: "generic"}, 0},
		{"without", CaptureOptions{Rings: 1, KernelMeter: true, unnamed: xdp.Full, noFeed: true}, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := tc.o
			o.Dedicated, o.RingMemory = true, 1<<20
			var p *port
			if err := l.Do(netns.B, func() (err error) {
				p, err = openPort(o, l.Side(netns.B).Iface, 0)
				return err
			}); err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := p.close(); err != nil {
					t.Error(err)
				}
			}()
			if !p.native && tc.want > 0 {
				t.Skipf("no XDP in the driver: %v", p.said)
			}
			var now look
			p.look(&now)
			rows := 0
			for _, r := range now.rows {
				if r.Stage == StageFeed {
					rows++
				}
			}
			told := slices.ContainsFunc(p.said, func(s string) bool { return strings.Contains(s, "past the rings") })
			if len(p.feeds) != tc.want || told != (tc.want > 0) || rows > 0 != (tc.want > 0) {
				t.Errorf("%d feeds, want %d; %d rows; it says %q", len(p.feeds), tc.want, rows, p.said)
			}
		})
	}
}
