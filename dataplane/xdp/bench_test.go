package xdp

import (
	"fmt"
	"testing"

	"github.com/cilium/ebpf"

	"ringside/bench/encap"
	"ringside/bpf"
	"ringside/dataplane/frame"
)

// BenchmarkVerdict is what a frame costs in the program, by its verdict, beside a
// program that reads the same headers and drops (floor). The frame is always the
// same, in the cache: what memory costs is not in it.
func BenchmarkVerdict(b *testing.B) {
	needBPF(b)
	bench := func(name string, p *ebpf.Program, data []byte) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			_, each, err := p.Benchmark(data, max(b.N, 1), b.ResetTimer)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(each.Nanoseconds()), "ns/frame")
		})
	}
	var floor bpf.FloorObjects
	if err := bpf.LoadFloorObjects(&floor, nil); err != nil {
		b.Fatal(err)
	}
	defer floor.Close()
	bench("floor", floor.ReadAndDrop, over4(20000, 20002, voice))
	plain := DefaultSettings()
	f := loaded(b, plain, 64)
	bench("drop", f.program, over4(53, 5353, voice))
	bench("meter", f.program, over4(20000, 20002, voice))
	bench("sip", f.program, over4(5060, 5060, invite()))
	for _, name := range []string{"vlan", "vxlan", "erspan-2"} {
		for _, k := range encap.Kinds() {
			if k.Name == name {
				bench("drop in "+name, f.program, encap.Wrap(k, over4(53, 5353, voice)))
			}
		}
	}
	bench("drop over IPv6", f.program, ether(0x86dd, ipv6(17, udp(53, 5353, voice))))
	if err := f.Publish(frame.Endpoint{Addr: frame.AddrFrom(dst4), Port: 30002}, Media{Policy: HeaderOnly}); err != nil {
		b.Fatal(err)
	}
	unmetered := loaded(b, plain, 0)
	bench("rtp passed", unmetered.program, over4(20000, 20002, voice))
	limited := plain
	limited.Limit.Register = Limit{PerSecond: 1, Burst: 1}
	bench("REGISTER over limit", loaded(b, limited, 0).program, over4(5060, 5060, register()))
	for _, n := range []int{100, 100000} {
		listed := plain
		listed.Allow = manyPrefixes(1, n)
		f := loaded(b, listed, 0)
		bench(fmt.Sprintf("not allowed by %d prefixes", n), f.program, over4(5060, 5060, invite()))
	}
}

// BenchmarkSet loads allow-lists while the program runs on.
func BenchmarkSet(b *testing.B) {
	needBPF(b)
	for _, n := range []int{0, 1000, 100000} {
		b.Run(fmt.Sprintf("%d prefixes", n), func(b *testing.B) {
			s := DefaultSettings()
			s.Allow = manyPrefixes(1, n)
			f := loaded(b, s, 0)
			b.ReportAllocs()
			for b.Loop() {
				if err := f.Set(s); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkPublish tells the program of endpoints.
func BenchmarkPublish(b *testing.B) {
	f := loaded(b, DefaultSettings(), 64)
	m := Media{Policy: Meter, Payloads: []Payload{{8000, 8, Voice}, {8000, 101, Event}}}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		at := frame.Endpoint{Addr: frame.AddrFrom(dst4), Port: uint16(i)}
		if err := f.Publish(at, m); err != nil {
			b.Fatal(err)
		}
	}
}
