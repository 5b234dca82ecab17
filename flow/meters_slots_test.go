package flow

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"ringside/dataplane/frame"
	"ringside/flow/record"
)

// TestKernelNewsIsOld: news of a stream that was let go of while the news was
// under way makes no stream of what is in the slot by then, be it nothing, the
// same stream anew, or another one.
func TestKernelNewsIsOld(t *testing.T) {
	for _, tc := range []struct {
		name string
		more func(*script)
	}{
		{"nothing comes", func(*script) {}},
		{"the stream goes on", func(sc *script) {
			sc.rtp(10*time.Second+100*time.Millisecond, 14*time.Second, at2(alice, 4000), at2(bob, 6000), 0, 1, 160)
		}},
		{"another one begins", func(sc *script) {
			sc.rtp(10*time.Second+100*time.Millisecond, 14*time.Second, at2(alice, 4100), at2(bob, 6100), 0, 9, 160)
		}},
	} {
		for ms := 100; ms < 1000; ms += 100 { // the call is over at some time between two rounds
			t.Run(fmt.Sprint(tc.name, "/", ms), func(t *testing.T) {
				var sc script
				length := 4*time.Second + time.Duration(ms)*time.Millisecond
				sc.call("c", 0, length, 4000, 6000) // it is over 5 s after its BYE
				sc.rtp(time.Second, 10*time.Second, at2(alice, 4000), at2(bob, 6000), 0, 1, 160)
				tc.more(&sc)
				for i := range 20 {
					sc.add(time.Duration(10+i)*time.Second, at2(alice, 5060), at2(bob, 5060), []byte("\r\n\r\n"))
				}
				k := &kernel{room: 1, delay: second / 2}
				o := sc.runKernel(t, 2, k)
				packets := o.stats.RTP + o.stats.Metered
				want := uint64(0)
				for _, p := range sc.packets {
					if p.Src.Port >= 4000 && p.Src.Port < 5000 {
						want++
					}
				}
				if packets != want {
					t.Errorf("%d RTP packets of %d: RTP %d, metered %d", packets, want, o.stats.RTP, o.stats.Metered)
				}
				for _, s := range o.orphans {
					if s.SSRC == 9 && s.Src.Port() != 4100 || s.SSRC == 1 && s.Src.Port() != 4000 {
						t.Errorf("a stream with the counters of another: %+v", s)
					}
				}
			})
		}
	}
}

// TestKernelTwice: a stream that two interfaces meter at the same time is reported
// once, one that moves from one interface to the other in parts, and every slot is
// let go of.
func TestKernelTwice(t *testing.T) {
	const packets = 29 * 50
	base := func() *script {
		var sc script
		sc.call("c", 0, 30*time.Second, 4000, 6000)
		sc.rtp(time.Second, 30*time.Second, at2(alice, 4000), at2(bob, 6000), 0, 1, 160)
		return &sc
	}
	isRTP := func(p *frame.Packet) bool { return p.Src.Port == 4000 }
	t.Run("copies", func(t *testing.T) {
		sc := base()
		for _, p := range slices.Clone(sc.packets) {
			if isRTP(&p) {
				p.Iface, p.Time = 1, p.Time+20_000
				sc.packets = append(sc.packets, p)
			}
		}
		o := sc.runKernel(t, 2, &kernel{room: 10})
		c := one(t, o)
		if len(c.Streams) != 1 || c.Streams[0].Packets != packets || c.Streams[0].Lost != 0 || o.stats.RTPDuplicates != packets {
			t.Errorf("%d copies, streams %+v", o.stats.RTPDuplicates, c.Streams)
		}
	})
	for _, moves := range []time.Duration{20 * time.Second, 7 * time.Second} {
		t.Run(fmt.Sprint("moves every ", moves), func(t *testing.T) {
			sc := base()
			for i := range sc.packets {
				if p := &sc.packets[i]; isRTP(p) {
					p.Iface = uint16((p.Time - epoch) / int64(moves) % 2)
				}
			}
			o := sc.runKernel(t, 2, &kernel{room: 10})
			c := one(t, o)
			sum, lost := uint64(0), uint64(0)
			for _, s := range c.Streams {
				sum, lost = sum+s.Packets, lost+s.Lost
			}
			if sum != packets || lost != 0 || len(c.Streams) != 1+int(30*time.Second/moves) && len(c.Streams) != int((30*time.Second-1)/moves)+1 {
				t.Errorf("%d packets in %d streams, %d lost", sum, len(c.Streams), lost)
			}
		})
	}
}

// TestKernelClockSetBack: after the system's clock was set back, clocks go on, and
// times are behind them. A stream that goes on has not fallen silent, and one that
// begins is of the call that goes on.
func TestKernelClockSetBack(t *testing.T) {
	var sc script
	sc.call("c", 0, 150*time.Second, 4000, 6000)
	sc.rtp(100*time.Second, 140*time.Second, at2(alice, 4000), at2(bob, 6000), 0, 1, 160)
	sc.rtp(time.Second, 150*time.Second, at2(alice, 4100), at2(bob, 6100), 0, 2, 160)
	k := &kernel{room: 10, back: func(p *frame.Packet) {
		if p.Clock > epoch+20*second {
			p.Time -= 3600 * second
		}
	}}
	o := sc.runKernel(t, 2, k)
	if len(o.orphans) != 1 || o.orphans[0].Packets != 149*50 {
		t.Errorf("streams without a call: %s", records(t, outcome{orphans: o.orphans}))
	}
	c := one(t, o)
	if len(c.Streams) != 1 || c.Streams[0].Packets != 40*50 || c.Streams[0].Flags != "" && c.Streams[0].Flags != "nat" {
		t.Errorf("streams of the call: %+v", c.Streams)
	}
}

// TestKernelBusy: packets that the kernel could not count are not lost by the
// network, and the record says so.
func TestKernelBusy(t *testing.T) {
	sc := callWithMedia()
	for i, busy := range []func(*frame.Packet) bool{
		func(*frame.Packet) bool { return false },
		func(p *frame.Packet) bool { return p.Src.Port == 4000 && p.Time/20e6%17 == 3 },
	} {
		c := one(t, sc.runKernel(t, 2, &kernel{room: 10, busy: busy}))
		if got := c.Flags&record.Incomplete != 0; got != (i == 1) {
			t.Errorf("incomplete: %v", got)
		}
		for _, s := range c.Streams {
			if got := slices.Contains(strings.Split(s.Flags, ","), "incomplete"); got != (i == 1 && s.Lost > 0) {
				t.Errorf("stream with %d lost: flags %q", s.Lost, s.Flags)
			}
		}
	}
}
