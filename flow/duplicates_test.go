package flow

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"ringside/dataplane/frame"
	"ringside/flow/record"
)

// mirrored is the script with a second copy of every packet, some way on: a
// router has taken one off its time to live and put it into another VLAN.
func (sc *script) mirrored(after time.Duration) *script {
	out := &script{}
	for i, p := range sc.packets {
		p.ID = uint16(i + 1)
		out.packets = append(out.packets, p)
		p.Time += int64(after)
		p.TTL--
		p.VLAN, p.Flags = 7, frame.FlagVLAN
		out.packets = append(out.packets, p)
	}
	return out
}

func (sc *script) with(t *testing.T, o Options, size int) outcome {
	t.Helper()
	var out outcome
	o.Call = func(c *record.Call) { out.calls = append(out.calls, c) }
	o.Orphan = func(s *record.Stream) { out.orphans = append(out.orphans, s) }
	o.Event = func(e *record.Event) { out.others = append(out.others, e) }
	g := NewGroup(o)
	src := sc.source(size)
	err := g.Run(context.Background(), func(ctx context.Context, _ int, s *Shard) error {
		return s.Run(ctx, src, predecoded{})
	})
	if err != nil {
		t.Fatal(err)
	}
	out.stats = g.Stats()
	return out
}

// talk is a call with media both ways and a message of its own that is sent
// again after 60 ms.
func talk() *script {
	sc := &script{}
	sc.call("c1", 0, 5*time.Second, 4000, 6000)
	sc.rtp(time.Second, 5*time.Second, at2(alice, 4000), at2(bob, 6000), 0, 1, 160)
	sc.rtp(time.Second, 5*time.Second, at2(bob, 6000), at2(alice, 4000), 0, 2, 160)
	sc.sip(60*time.Millisecond, true, "INVITE sip:bob@b SIP/2.0", "c1", "1 INVITE", "", media("10.0.0.1", 4000, "0", ""))
	return sc
}

func TestMirrorIsFoundAndRemoved(t *testing.T) {
	for _, workers := range []int{1, 2, 3} {
		for _, mode := range []Dedup{DedupAuto, DedupOn} {
			for _, size := range []int{2000, 40} {
				t.Run(fmt.Sprint(workers, mode, size), func(t *testing.T) {
					o := talk().mirrored(300*time.Microsecond).with(t, Options{Workers: workers, Dedup: mode}, size)
					c := one(t, o)
					if mode == DedupOn { // else the first packets are not known to be copies
						if c.Retransmissions != 1 || c.MessagesTotal != 6 {
							t.Errorf("%d retransmissions, %d messages", c.Retransmissions, c.MessagesTotal)
						}
						for _, s := range c.Streams {
							if s.Packets != 200 || s.Duplicate != 0 || s.VLAN != -1 || s.TTLMin != 64 || s.TTLMax != 64 {
								t.Errorf("%d packets, %d duplicates, VLAN %d, TTL %d to %d", s.Packets, s.Duplicate, s.VLAN, s.TTLMin, s.TTLMax)
							}
						}
						if o.stats.SIPDuplicates != 6 || o.stats.RTPDuplicates != 400 {
							t.Errorf("%d and %d copies", o.stats.SIPDuplicates, o.stats.RTPDuplicates)
						}
						pairs := o.stats.Duplicates
						if pairs.Rows[0] != (PathPair{Path{-1, 64}, Path{7, 63}, 406}) || pairs.Rows[1].Count != 0 || pairs.More != 0 {
							t.Errorf("%+v", pairs)
						}
					} else if o.stats.RTPDuplicates == 0 {
						t.Error("no copy was taken away")
					}
					if f := o.stats.Mirrors[0].Factor(); f < 1.9 || f > 2 {
						t.Errorf("factor %.2f", f)
					}
					said := slices.ContainsFunc(o.others, func(e any) bool { return e.(*record.Event).Kind == record.MirrorDuplicates })
					if said != (mode == DedupAuto) {
						t.Errorf("said: %v", said)
					}
				})
			}
		}
	}
}

// TestNoMirror: what the network sends twice now and then, and what is sent
// again, stays.
func TestNoMirror(t *testing.T) {
	sc := talk()
	for i := range sc.packets {
		sc.packets[i].ID = uint16(i + 1)
	}
	for i := 20; i < 400; i += 20 {
		sc.packets = append(sc.packets, sc.packets[i])
	}
	o := sc.with(t, Options{Workers: 2, Dedup: DedupAuto}, 100)
	c := one(t, o)
	duplicates := uint64(0)
	for _, s := range c.Streams {
		duplicates += s.Duplicate
	}
	if duplicates != 19 || c.Retransmissions != 1 || o.stats.RTPDuplicates+o.stats.SIPDuplicates != 0 || len(o.others) != 2 {
		t.Errorf("%d duplicates, %d retransmissions, %+v", duplicates, c.Retransmissions, o.others)
	}
}

// TestRetransmissionWithoutIdentification: hosts that send 0 for all packets
// retransmit after 60 ms; the window is a second.
func TestRetransmissionWithoutIdentification(t *testing.T) {
	sc := talk()
	o := sc.with(t, Options{Dedup: DedupOn, DedupWindow: time.Second}, 100)
	if c := one(t, o); c.Retransmissions != 1 || o.stats.SIPDuplicates != 0 {
		t.Errorf("%d retransmissions, %d copies", c.Retransmissions, o.stats.SIPDuplicates)
	}
}

func TestPathPairsAreBounded(t *testing.T) {
	var a, b PathPairs
	for i := range 80 {
		a.add(Path{int16(i), 1}, Path{1, 2}, 1)
	}
	b.merge(&a)
	if a.More != 16 || b != a {
		t.Errorf("%+v, %+v", a, b)
	}
}

// TestDuplicatesGrow: packets that come at once, more than the first table holds,
// are all found again within the window, none after it, whatever was seen before.
func TestDuplicatesGrow(t *testing.T) {
	const n = 20_000 // in a window of 10 ms
	var d duplicates
	d.init(0)
	tag := func(round, i int) uint64 { return fold(uint64(round), uint64(i)) | 1 }
	for round := range 3 {
		start := int64(1+round) * int64(time.Second)
		for i := range n {
			if _, again := d.seen(tag(round, i), start+int64(i)*100, true, Path{int16(i % 4096), uint8(i)}); again {
				t.Fatalf("round %d: packet %d is taken for a copy", round, i)
			}
		}
		for i := range n {
			first, again := d.seen(tag(round, i), start+int64(i)*100+int64(5*time.Millisecond), true, Path{})
			if want := (Path{int16(i % 4096), uint8(i)}); !again || first != want {
				t.Fatalf("round %d: copy of packet %d: found %v on %v, want %v", round, i, again, first, want)
			}
		}
	}
	for i := range n {
		if _, again := d.seen(tag(2, i), int64(3*time.Second)+int64(i)*100+int64(11*time.Millisecond), true, Path{}); again {
			t.Fatalf("packet %d is taken for a copy after 11 ms", i)
		}
	}
	if d.full != 0 || len(d.buckets) <= onceFirst {
		t.Errorf("%d packets gave way in %d buckets", d.full, len(d.buckets))
	}
}

// TestDuplicatesAreBounded: the table stops growing, counts what gives way, and
// what came last is found.
func TestDuplicatesAreBounded(t *testing.T) {
	var d duplicates
	d.init(0)
	d.limit = 2 * onceFirst
	const n, start = 100_000, int64(time.Hour)
	for i := range n {
		d.seen(fold(1, uint64(i))|1, start, true, Path{})
	}
	if kept := 4*len(d.buckets) + 4*len(d.spilled); len(d.buckets) != d.limit || d.full != uint64(n-kept) {
		t.Errorf("%d buckets, %d of %d gave way", len(d.buckets), d.full, n)
	}
	if _, again := d.seen(fold(1, n-1)|1, start, true, Path{}); !again {
		t.Error("the last packet is forgotten")
	}
}

// TestDuplicatesAllocateNothing: but where the table grows.
func TestDuplicatesAllocateNothing(t *testing.T) {
	var d duplicates
	d.init(0)
	i := 0
	if got := testing.AllocsPerRun(100_000, func() {
		d.seen(fold(2, uint64(i))|1, int64(i)*100_000, true, Path{})
		i++
	}); got != 0 {
		t.Errorf("%v allocations a packet", got)
	}
}

func BenchmarkDuplicates(b *testing.B) {
	var d duplicates
	d.init(0)
	b.ReportAllocs()
	m := sample{id: 1}
	for i := range b.N {
		m.seq, m.ts, m.hash = uint16(i), uint32(i), uint64(i%4000)*foldA
		d.seen(m.once(), int64(i)*10_000, true, Path{})
	}
}
