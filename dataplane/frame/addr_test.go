package frame

import (
	"net/netip"
	"testing"
)

func TestAddr(t *testing.T) {
	for _, tt := range []struct {
		text      string
		is4, zero bool
	}{
		{"192.0.2.1", true, false},
		{"0.0.0.0", true, true},
		{"::", false, true},
		{"::1", false, false},
		{"2001:db8::c000:201", false, false},
	} {
		want := netip.MustParseAddr(tt.text)
		a := AddrFrom(want)
		if a.Netip() != want || a.String() != tt.text || a.Is4() != tt.is4 || a.IsZero() != tt.zero {
			t.Errorf("%s: %v, is4 %v, zero %v", tt.text, a, a.Is4(), a.IsZero())
		}
		if b := want.AsSlice(); len(b) == 4 && AddrFrom4(b) != a || len(b) == 16 && AddrFrom16(b) != a {
			t.Errorf("%s: other from bytes", tt.text)
		}
	}
	mapped := AddrFrom(netip.MustParseAddr("::ffff:192.0.2.1"))
	if mapped != AddrFrom4([]byte{192, 0, 2, 1}) {
		t.Error("an IPv4-mapped address is another one")
	}
}

// TestFlowHash: both directions of a flow have one hash, and flows as they are
// numbered in real networks spread evenly over shards.
func TestFlowHash(t *testing.T) {
	addr := func(a, b, c, d int) Addr { return AddrFrom4([]byte{byte(a), byte(b), byte(c), byte(d)}) }
	flows := map[string]func(i int) (Endpoint, Endpoint){
		"ports of two hosts": func(i int) (Endpoint, Endpoint) {
			return Endpoint{addr(10, 0, 0, 1), uint16(10000 + 2*i)}, Endpoint{addr(10, 0, 0, 2), uint16(20000 + 2*i)}
		},
		"phones to a gateway": func(i int) (Endpoint, Endpoint) {
			return Endpoint{addr(10, 0, i>>8, i), 4000}, Endpoint{addr(192, 0, 2, 1), uint16(30000 + 2*(i%500))}
		},
		"phones to each other, one port": func(i int) (Endpoint, Endpoint) {
			return Endpoint{addr(10, 0, i>>8, i), 4000}, Endpoint{addr(10, 1, i>>8, i*7), 4000}
		},
		"one host": func(i int) (Endpoint, Endpoint) {
			return Endpoint{addr(127, 0, 0, 1), uint16(1024 + 4*i)}, Endpoint{addr(127, 0, 0, 1), uint16(1026 + 4*i)}
		},
		"IPv6 networks": func(i int) (Endpoint, Endpoint) {
			return Endpoint{Addr{0x20010db8 << 32, uint64(i)}, 5000}, Endpoint{Addr{0x20010db8<<32 | uint64(i), 1}, 6000}
		},
	}
	for name, flow := range flows {
		for _, shards := range []uint64{2, 3, 4, 8, 16} {
			const n = 8000
			counts := make([]int, shards)
			for i := range n {
				a, b := flow(i)
				h := FlowHash(a, b)
				if h != FlowHash(b, a) {
					t.Fatalf("%s: %v and %v: the direction counts", name, a, b)
				}
				counts[h>>32*shards>>32]++
			}
			for _, c := range counts {
				if mean := n / int(shards); c < mean*3/4 || c > mean*5/4 {
					t.Errorf("%s over %d shards: %v", name, shards, counts)
					break
				}
			}
		}
	}
}
