package flow

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"ringside/dataplane/frame"
)

// busyPort is a script of many calls at once, each between hosts of its own but
// for those that share one, without the packets of one span.
func busyPort(calls int, shared bool, drops func(call int, at int64) bool) *script {
	var sc script
	for i := range calls {
		start := time.Duration(i) * time.Millisecond
		a, b := frame.AddrFrom4([]byte{10, 1, 0, byte(i)}), frame.AddrFrom4([]byte{10, 2, 0, byte(i)})
		if shared {
			b = bob
		}
		sc.sip(start, true, "INVITE sip:bob@b SIP/2.0", fmt.Sprint("c", i), "1 INVITE", "", media(a.String(), 4000+2*i, "0", ""))
		sc.sip(start+time.Second, false, "SIP/2.0 200 OK", fmt.Sprint("c", i), "1 INVITE", "b1", media(b.String(), 6000+2*i, "0", ""))
		sc.sip(start+14*time.Second, true, "BYE sip:bob@b SIP/2.0", fmt.Sprint("c", i), "2 BYE", "b1", "")
		sc.sip(start+14*time.Second+10*time.Millisecond, false, "SIP/2.0 200 OK", fmt.Sprint("c", i), "2 BYE", "b1", "")
		from := len(sc.packets)
		sc.rtp(start+1100*time.Millisecond, start+14*time.Second, at2(a, uint16(4000+2*i)), at2(b, uint16(6000+2*i)), 0, uint32(2*i+1), 160)
		sc.rtp(start+1100*time.Millisecond, start+14*time.Second, at2(b, uint16(6000+2*i)), at2(a, uint16(4000+2*i)), 0, uint32(2*i+2), 160)
		sc.packets = append(sc.packets[:from], slices.DeleteFunc(sc.packets[from:], func(p frame.Packet) bool {
			return drops(i, p.Time-epoch)
		})...)
	}
	return &sc
}

// TestMirrorLoss: what many unrelated streams lose at once the mirror has lost;
// what one host's streams lose, or a few, or what we have lost ourselves, not.
func TestMirrorLoss(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: it reads many packets, and nothing runs beside anything that other tests do not run")
	}
	burst := func(_ int, at int64) bool { return at > 10.3e9 && at < 10.5e9 }
	for _, tc := range []struct {
		name   string
		shared bool
		drops  func(int, int64) bool
		ours   bool
		want   bool
	}{
		{"all at once", false, burst, false, true},
		{"one host", true, burst, false, false},
		{"a few", false, func(i int, at int64) bool { return i < 5 && burst(i, at) }, false, false},
		{"one after the other", false, func(i int, at int64) bool {
			return at > 3e9+int64(i)*1e9/2 && at < 3.1e9+int64(i)*1e9/2
		}, false, false},
		{"ours", false, burst, true, false},
		{"all the time", false, func(i int, at int64) bool { return at/20e6%10 == int64(i)%10 }, false, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			sc := busyPort(24, tc.shared, tc.drops)
			if tc.ours {
				slices.SortStableFunc(sc.packets, func(a, b frame.Packet) int { return int(a.Time - b.Time) })
				i := slices.IndexFunc(sc.packets, func(p frame.Packet) bool { return p.Time-epoch > 10.5e9 })
				sc.lost = map[int]uint32{i: 600}
			}
			for name, o := range map[string]outcome{"user": sc.run(t), "kernel": sc.runKernel(t, 2, &kernel{room: 1000})} {
				marked := 0
				for _, c := range o.calls {
					if has(c, "mirror-loss") {
						marked++
					}
					for i := range c.Streams {
						if strings.Contains(c.Streams[i].Flags, "mirror-loss") != tc.want {
							t.Errorf("%s: %s: %q", name, c.CallID, c.Streams[i].Flags)
						}
					}
				}
				if len(o.calls) != 24 || (marked == 24) != tc.want || !tc.want && marked > 0 || (o.stats.MirrorLoss > 0) != tc.want {
					t.Errorf("%s: %d of %d calls marked, %d seconds", name, marked, len(o.calls), o.stats.MirrorLoss)
				}
			}
		})
	}
}
