package meter

import (
	"testing"
	"unsafe"
)

// state is what a meter in the kernel would have after the packets that h and c
// have seen: on a little-endian machine the fields of Hot and Cold, up to
// quality, lie in memory as those of rs_hot and rs_cold. That the kernel's meter
// counts the same is tested in dataplane/xdp.
func state(h *Hot, c *Cold) []byte {
	b := make([]byte, 0, StateSize)
	b = append(b, unsafe.Slice((*byte)(unsafe.Pointer(h)), unsafe.Sizeof(*h))...)
	return append(b, unsafe.Slice((*byte)(unsafe.Pointer(c)), unsafe.Offsetof(c.quality))...)
}

func TestStateSize(t *testing.T) {
	if n := len(state(&Hot{}, &Cold{})); n != StateSize {
		t.Errorf("the integers of Hot and Cold are %d bytes, StateSize %d", n, StateSize)
	}
}

// TestAdopt adopts the state after every packet of random streams: nothing is
// different then.
func TestAdopt(t *testing.T) {
	for seed := range 20 {
		var h, kh Hot
		var c, kc Cold
		packets := stream(script(2000))[seed*50:]
		for i := range packets {
			h.Packet(&c, &packets[i])
			Adopt(&kh, &kc, state(&h, &c))
			if kh != h || kc != c {
				t.Fatalf("packets from %d, after %d:\nadopted %+v\n        %+v\nmeter   %+v\n        %+v", seed*50, i+1, kh, kc, h, c)
			}
		}
	}
}

// TestAdoptSeldom reads a stream every n intervals. Counters and weights are
// the same; scores are those of the intervals together.
func TestAdoptSeldom(t *testing.T) {
	var packets []Packet
	for i := range 6000 { // 120 s
		if i%500 >= 400 && i%3 == 0 && i/500%4 == 2 {
			continue // loss in one interval of four
		}
		packets = append(packets, pk(uint16(i), int64(20*i)))
	}
	var exact Report
	for _, every := range []int{1, 2, 4, 100} {
		var h, kh Hot
		var c, kc Cold
		for i := range packets {
			h.Packet(&c, &packets[i])
			if c.intervals != kc.intervals && c.intervals%uint32(every) == 0 {
				Adopt(&kh, &kc, state(&h, &c))
			}
		}
		Adopt(&kh, &kc, state(&h, &c))
		got, want := Finish(&kh, &kc), Finish(&h, &c)
		if every == 1 {
			exact = want
			if got != want {
				t.Errorf("read in every interval:\n%+v\nwant %+v", got, want)
			}
			continue
		}
		if got.Counters != exact.Counters || got.Total != exact.Total {
			t.Errorf("read every %d intervals:\n%+v\nwant %+v", every, got.Counters, exact.Counters)
		}
		if got.Compat.MosF2Min <= exact.Compat.MosF2Min || got.Compat.MosF2Min > exact.Compat.MosF2+0.5 {
			t.Errorf("read every %d intervals: worst %v, exact %v: want a better one", every, got.Compat.MosF2Min, exact.Compat.MosF2Min)
		}
		if d := got.Compat.MosF2 - exact.Compat.MosF2; d < -0.2 || d > 0.2 {
			t.Errorf("read every %d intervals: mean %v, exact %v", every, got.Compat.MosF2, exact.Compat.MosF2)
		}
	}
}

func TestAdoptAllocations(t *testing.T) {
	h, c := run(stream(script(1000)))
	s := state(&h, &c)
	if n := testing.AllocsPerRun(10, func() {
		var kh Hot
		var kc Cold
		Adopt(&kh, &kc, s)
		sink += uint64(kh.packets)
	}); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

func BenchmarkAdopt(b *testing.B) {
	h, c := run(stream(script(1000)))
	s := state(&h, &c)
	b.ReportAllocs()
	var kh Hot
	var kc Cold
	for b.Loop() {
		Adopt(&kh, &kc, s)
	}
}
