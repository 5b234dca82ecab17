package flow

import (
	"context"
	"fmt"
	"testing"
	"time"

	"ringside/flow/record"
)

// What follows are ways in which a result could come to depend on how far
// somebody has read, or on how many shards there are. script.run compares.

// TestLossAfterTheEnd: what is lost in the second in which a call is closed,
// but after that, does not count.
func TestLossAfterTheEnd(t *testing.T) {
	var sc script
	sc.call("c1", 0, 5*time.Second, 4000, 6000) // closed at 10.01 s
	sc.rtp(time.Second, 12*time.Second, at2(alice, 4000), at2(bob, 6000), 0, 1, 160)
	sc.source(1) // sorts
	for i, p := range sc.packets {
		if p.Time == epoch+int64(10500*time.Millisecond) {
			sc.lost = map[int]uint32{i: 1}
		}
	}
	c := one(t, sc.run(t))
	if has(c, "incomplete") || c.Streams[0].Flags != "" {
		t.Errorf("%v, %q", c.Flags.Names(), c.Streams[0].Flags)
	}
}

func TestGaps(t *testing.T) {
	var g gaps
	g.add(7_600_000_000, 7_600_000_000)
	g.add(7_500_000_000, 7_500_000_000)
	g.add(3_100_000_000, 3_100_000_000)
	for _, tt := range []struct {
		from, to, asOf int64 // ms
		want           bool
	}{
		{0, 2999, 9000, false},
		{0, 3000, 9000, true},
		{3900, 3950, 9000, true}, // to the second
		{4000, 6999, 9000, false},
		{4000, 7000, 9000, true},
		{4000, 7000, 7499, false},
		{4000, 7000, 7500, true},
		{7900, 7950, 9000, true},
		{8000, 8500, 9000, false},
	} {
		if got := g.within(tt.from*1e6, tt.to*1e6, tt.asOf*1e6); got != tt.want {
			t.Errorf("%+v: %v", tt, got)
		}
	}
}

// TestProbeOfTwoFlows: media on two flows, which may belong to two shards; the
// later one says how long the call may last. It is over when the BYE comes.
func TestProbeOfTwoFlows(t *testing.T) {
	for n := range uint16(4) {
		var sc script
		sc.sip(0, true, "INVITE sip:bob@b SIP/2.0", "c1", "1 INVITE", "", media("10.0.0.1", 4000, "0", ""))
		sc.sip(time.Second, false, "SIP/2.0 200 OK", "c1", "1 INVITE", "b1", media("10.0.0.2", 6000, "0", ""))
		last := 50 * time.Minute
		sc.rtp(last, last+40*time.Millisecond, at2(alice, 5000+10*n), at2(bob, 6000), 0, 1, 160)
		last += 30 * time.Second
		sc.rtp(last, last+40*time.Millisecond, at2(bob, 5001+10*n), at2(alice, 4000), 0, 2, 160)
		sc.sip(last+61*time.Minute+15*time.Second, true, "BYE sip:bob@b SIP/2.0", "c1", "2 BYE", "b1", "")
		sc.add(160*time.Minute, at2(alice, 1), at2(bob, 1), []byte("end"))
		if o := sc.run(t); o.calls[0].EndReason != record.EndTimeout || len(o.calls[0].Streams) != 2 {
			t.Errorf("ended by %v, %d streams", o.calls[0].EndReason, len(o.calls[0].Streams))
		}
	}
}

// TestMessageAfterProbe: a message comes 2 s after the question whether media
// still flows, and finds it answered: the call is not in doubt any more, and
// lasts until the next message.
func TestMessageAfterProbe(t *testing.T) {
	var sc script
	sc.call("c1", 0, 200*time.Minute, 4000, 6000)
	sc.sip(10*time.Second, true, "INVITE sip:bob@b SIP/2.0", "c1", "2 INVITE", "b1", "")
	sc.sip(10100*time.Millisecond, false, "SIP/2.0 481 Gone", "c1", "2 INVITE", "b1", "") // asked at 40.1 s
	sc.rtp(time.Second, 41*time.Second, at2(alice, 4000), at2(bob, 6000), 0, 1, 160)
	sc.sip(42*time.Second, true, "INFO sip:bob@b SIP/2.0", "c1", "3 INFO", "b1", "")
	sc.sip(10*time.Minute, true, "INFO sip:bob@b SIP/2.0", "c1", "4 INFO", "b1", "")
	if o := sc.run(t); o.calls[0].Infos != 2 {
		t.Errorf("%d INFO", o.calls[0].Infos)
	}
}

// TestEqualClocks: workers with sources of their own meet the same clock.
func TestEqualClocks(t *testing.T) {
	var sources [2]*source
	for i := range sources {
		var sc script
		sc.rtp(0, 2*time.Second, at2(alice, 4000), at2(bob, 6000), 0, uint32(i), 160)
		sources[i] = sc.source(1)
	}
	g := NewGroup(Options{Workers: 2})
	err := g.Run(context.Background(), func(ctx context.Context, i int, s *Shard) error {
		return s.Run(ctx, sources[i], predecoded{})
	})
	if n := g.Stats().Orphan; err != nil || n != 200 {
		t.Errorf("%d packets, %v", n, err)
	}
}

// BenchmarkEndOfCapture ends many calls at one clock.
func BenchmarkEndOfCapture(b *testing.B) {
	const calls = 50_000
	var sc script
	for i := range calls {
		sc.sip(time.Duration(i)*time.Millisecond, true, "INVITE sip:bob@b SIP/2.0", fmt.Sprint("c", i), "1 INVITE", "", "")
	}
	for b.Loop() {
		g, src := NewGroup(Options{}), sc.source(1000)
		if err := g.Run(context.Background(), func(ctx context.Context, _ int, s *Shard) error {
			return s.Run(ctx, src, predecoded{})
		}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/calls, "ns/call")
}
