package flow

import (
	"encoding/binary"
	"fmt"
	"testing"

	"ringside/dataplane/frame"
	"ringside/flow/call"
	"ringside/flow/record"
	"ringside/flow/rtp"
	"ringside/flow/rule"
	"ringside/flow/sdp"
)

// speech is a shard with many streams of G.711 at 20 ms, all tied to calls,
// and their packets round after round, from the decoder on, in batches as a
// file gives them.
type speech struct {
	shard   *Shard
	batches []frame.Batch
	clock   int64
	seq     uint16
}

func newSpeech(streams int, dedup Dedup) *speech {
	return speechOf(NewGroup(Options{Dedup: dedup}), streams, nil)
}

// speechOf makes the streams, each of a call of its own where they are recorded.
func speechOf(g *Group, streams int, policy *rule.Policy) *speech {
	sp := &speech{shard: g.shards[0], clock: 1_700_000_000_000_000_000}
	for i := range streams {
		src := frame.Endpoint{Addr: frame.AddrFrom4([]byte{10, 0, byte(i >> 8), byte(i)}), Port: 20000}
		dst := frame.Endpoint{Addr: frame.AddrFrom4([]byte{10, 1, byte(i >> 8), byte(i)}), Port: 30000}
		key, p := callKey{1, 0}, (*plan)(nil)
		if policy != nil {
			key, p = callKey{call.Ref(i + 1), 0}, &plan{id: fmt.Sprintf("%d@10.0.0.1", i), rules: g.rules.Load()}
			p.head.Store(&wanted{policy: *policy})
		}
		g.dir.publish(&endpoint{
			at: dst, key: key, from: sp.clock, side: record.SideCalled, plan: p,
			payloads: [sdp.MaxFormats]rtp.Payload{{Type: 0, Codec: rtp.PCMU, Rate: 8000}}, n: 1,
		})
		b := make([]byte, 172)
		b[0] = 0x80
		binary.BigEndian.PutUint32(b[8:], uint32(i)*2654435761)
		if i%packetsOfBlock == 0 {
			sp.batches = append(sp.batches, frame.Batch{})
		}
		last := &sp.batches[len(sp.batches)-1]
		last.Packets = append(last.Packets, frame.Packet{
			Src: src, Dst: dst, Payload: b, Len: 172, Proto: frame.ProtoUDP, TTL: 64,
		})
	}
	return sp
}

// packetsOfBlock is how many packets of G.711 a block of 128 KiB holds.
const packetsOfBlock = 570

// round sends the next packet of every stream.
func (sp *speech) round() {
	sp.clock += 20_000_000
	sp.seq++
	clock := sp.clock
	for n := range sp.batches {
		packets, frames := sp.batches[n].Packets, sp.batches[n].Frames
		for i := range packets {
			p := &packets[i]
			binary.BigEndian.PutUint16(p.Payload[2:], sp.seq)
			binary.BigEndian.PutUint32(p.Payload[4:], uint32(sp.seq)*160)
			p.Time, p.Clock = clock, clock
			if i < len(frames) {
				frames[i].Time, frames[i].Clock = clock, clock
			}
			clock++
		}
		sp.shard.pass(&sp.batches[n])
	}
}

// pass takes a batch through classification and metering.
func (s *Shard) pass(b *frame.Batch) {
	s.classify(b, &s.out[fromFrames])
	s.group.mirrors.judge(end, func(uint16, int64, Mirror) {})
	s.out[fromFrames].samples[0].flush()
	from, run := s.next(end)
	s.measure(run)
	from.next += len(run)
	if s.records() {
		s.meteredTo = b.Packets[len(b.Packets)-1].Clock
		s.sayRecorded()
		s.room()
	}
}

func TestMeasureAllocatesNothing(t *testing.T) {
	for _, dedup := range []Dedup{DedupOff, DedupAuto, DedupOn} {
		testMeasureAllocatesNothing(t, dedup)
	}
}

func testMeasureAllocatesNothing(t *testing.T, dedup Dedup) {
	sp := newSpeech(100, dedup)
	for range 100 {
		sp.round()
	}
	if n := testing.AllocsPerRun(2000, sp.round); n != 0 { // 40 s: intervals close, too
		t.Errorf("%v allocations per 100 packets", n)
	}
	s := sp.shard
	if s.stats.RTP != 100*2101 || s.streams.used != 100 || s.streams.calls != 100 {
		t.Errorf("%d packets in %d streams, %d of calls", s.stats.RTP, s.streams.used, s.streams.calls)
	}
}

func BenchmarkMeasure(b *testing.B) {
	for _, bm := range []struct {
		name    string
		streams int
		dedup   Dedup
	}{
		{"100", 100, DedupOff}, {"4000", 4000, DedupOff}, {"40000", 40000, DedupOff},
		{"4000-auto", 4000, DedupAuto}, {"4000-dedup", 4000, DedupOn},
	} {
		b.Run(bm.name, func(b *testing.B) {
			benchmarkSpeech(b, newSpeech(bm.streams, bm.dedup), bm.streams)
		})
	}
	for _, bm := range []struct {
		name, rules string
		streams     int
	}{
		{"4000-recorded", "default -> rtp full\n", 4000},
		{"40000-recorded", "default -> rtp full\n", 40000},
		{"4000-headers", "default -> rtp header\n", 4000},
		{"4000-held", "rule late: status 500 -> rtp full, lookback 1s\ndefault -> rtp none\n", 4000},
	} {
		b.Run(bm.name, func(b *testing.B) {
			sp, _ := recordedSpeech(b, bm.streams, bm.rules)
			benchmarkSpeech(b, sp, bm.streams)
			if lost := sp.shard.shelf.lost; lost > 0 {
				b.Errorf("%d frames had no room", lost)
			}
		})
	}
}

func benchmarkSpeech(b *testing.B, sp *speech, streams int) {
	sp.round()
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		sp.round()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(streams), "ns/packet")
}
