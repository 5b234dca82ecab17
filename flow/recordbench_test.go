package flow

import (
	"bytes"
	"testing"

	"ringside/dataplane/frame"
	"ringside/flow/rule"
)

// counter is a recorder that counts.
type counter struct{ packets, bytes int }

func (c *counter) Record(packets []Recording) {
	c.packets += len(packets)
	for i := range packets {
		c.bytes += len(packets[i].Data)
	}
}
func (c *counter) End(uint32) {}
func (c *counter) Tick(int64) {}

// recordedSpeech is speech whose packets have frames and are recorded by rules.
func recordedSpeech(tb testing.TB, streams int, rules string) (*speech, *counter) {
	set, err := rule.Parse(rules)
	if err != nil {
		tb.Fatal(err)
	}
	c := new(counter)
	policy := set.Decide(&rule.Subject{})
	sp := speechOf(NewGroup(Options{
		Recorder: func(int) Recorder { return c }, Rules: set, Memory: make([]byte, 64<<20),
	}), streams, &policy)
	for n := range sp.batches {
		b := &sp.batches[n]
		for i := range b.Packets {
			q := &b.Packets[i]
			data := append(make([]byte, 14+20+8, 214), q.Payload...)
			q.Payload = data[14+20+8:]
			q.Seq = uint64(i)
			b.Frames = append(b.Frames, frame.Frame{Data: data, Len: uint32(len(data)), Link: frame.LinkEthernet, Seq: uint64(i)})
		}
	}
	return sp, c
}

// TestRecordAllocatesNothing: a packet is copied, linked and handed on without
// memory of its own, whether it is wanted or held.
func TestRecordAllocatesNothing(t *testing.T) {
	for _, tt := range []struct {
		rules string
		bytes int // of each packet
	}{
		{"default -> rtp full\n", 214},
		{"default -> rtp header\n", 14 + 20 + 8 + 12},
		{"rule late: status 500 -> rtp full, lookback 2s\ndefault -> rtp none\n", 0},
		{"rule bad: mos < 1 -> rtp full, lookback 2s\ndefault -> rtp none\n", 0},
	} {
		sp, c := recordedSpeech(t, 100, tt.rules)
		for range 300 {
			sp.round()
		}
		c.packets, c.bytes = 0, 0
		if n := testing.AllocsPerRun(1000, sp.round); n != 0 {
			t.Errorf("%s: %v allocations per 100 packets", tt.rules, n)
		}
		if want := 100 * 1001 * min(tt.bytes, 1); c.packets != want || c.bytes != want*tt.bytes {
			t.Errorf("%s: %d packets, %d bytes", tt.rules, c.packets, c.bytes)
		}
		if lost := sp.shard.shelf.lost; lost != 0 {
			t.Errorf("%s: %d frames had no room", tt.rules, lost)
		}
	}
}

// TestRecordedFramesAreCopies: what is recorded was copied when it was read.
func TestRecordedFramesAreCopies(t *testing.T) {
	sp, _ := recordedSpeech(t, 1, "default -> rtp full\n")
	b := &sp.batches[0]
	sp.clock += 20_000_000
	b.Packets[0].Clock, b.Frames[0].Clock = sp.clock, sp.clock
	want := bytes.Clone(b.Frames[0].Data)
	sp.shard.classify(b, &sp.shard.out[fromFrames])
	clear(b.Frames[0].Data) // the batch is released
	sp.shard.out[fromFrames].samples[0].flush()
	from, run := sp.shard.next(end)
	sp.shard.measure(run)
	from.next += len(run)
	if r := sp.shard.rec.takes; len(r) != 1 || !bytes.Equal(r[0].Data, want) {
		t.Errorf("%d recorded", len(r))
	}
}
