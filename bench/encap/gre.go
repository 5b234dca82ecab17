package encap

import (
	"slices"

	"ringside/dataplane/frame"
)

// greIP is GRE with the packet of f; fields follow the protocol.
func greIP(flags int, fields []byte, f []byte) []byte {
	ip, etherType := ipOf(f)
	return slices.Concat(be16(flags), be16(etherType), fields, ip)
}

// greKinds are GRE and what Cisco mirrors with it.
func greKinds() []Kind {
	gre := func(protocol, flags int, fields []byte, inner []byte) []byte {
		return eth4(protoGRE, slices.Concat(be16(flags), be16(protocol), fields, inner))
	}
	pptp := func(f []byte) []byte {
		payload := ppp(f, 0xff, 3)
		return gre(0x880b, 0x3081, slices.Concat(be16(len(payload)), be16(0x77), be32(9), be32(8)), payload)
	}
	checked := func(f []byte) []byte {
		b := greIP(0xb000, slices.Concat(be16(0), be16(0), be32(0xabcdef), be32(1)), f)
		copy(b[4:], be16(sum(b)))
		return eth4(protoGRE, b)
	}
	routed := func(f []byte) []byte { // one address to go by, and the end
		route := slices.Concat(be16(0x0800), []byte{0, 4}, dst4.AsSlice(), be32(0))
		return eth4(protoGRE, greIP(0x4000, slices.Concat(be32(0), route), f))
	}
	erspan3 := func(flags int, more ...byte) func(f []byte) []byte {
		return func(f []byte) []byte {
			return gre(0x22eb, 0x1000, be32(6), slices.Concat(be16(2<<12|100), be16(44), be32(123456), be16(0), be16(flags), more, f))
		}
	}
	return []Kind{
		{Name: "gre", Tunnel: over4(frame.GRE, 0), wrap: func(f []byte) []byte { return eth4(protoGRE, greIP(0, nil, f)) }},
		{Name: "gre-key", Tunnel: over4(frame.GRE, 77), wrap: func(f []byte) []byte { return eth4(protoGRE, greIP(0x2000, be32(77), f)) }},
		{Name: "gre-checksum-key-sequence", Tunnel: over4(frame.GRE, 0xabcdef), wrap: checked},
		{Name: "gre-routing", Tunnel: over4(frame.GRE, 0), wrap: routed},
		{Name: "gre-ipv6", Tunnel: over6(frame.GRE, 0), wrap: func(f []byte) []byte {
			return ethernet(etherIPv6, ip6(protoGRE, greIP(0, nil, f)))
		}},
		{Name: "gre-ethernet", Tunnel: over4(frame.GRE, 0), Bridged: true,
			wrap: func(f []byte) []byte { return gre(etherTEB, 0, nil, f) }},
		{Name: "nvgre", Tunnel: over4(frame.GRE, 5001<<8|3), Bridged: true,
			wrap: func(f []byte) []byte { return gre(etherTEB, 0x2000, be32(5001<<8|3), f) }},
		{Name: "gre-mpls", Tunnel: over4(frame.MPLS, 500), wrap: func(f []byte) []byte {
			ip, _ := ipOf(f)
			return gre(0x8847, 0, labels(500), ip)
		}},
		{Name: "gre-ppp", Tunnel: over4(frame.GRE, 0), wrap: func(f []byte) []byte { return gre(0x880b, 0, nil, ppp(f, 0xff, 3)) }},
		{Name: "pptp", Tunnel: over4(frame.GRE, 0x77), wrap: pptp},
		{Name: "erspan-1", Tunnel: over4(frame.ERSPAN1, 0), Bridged: true, wrap: func(f []byte) []byte { return gre(0x88be, 0, nil, f) }},
		{Name: "erspan-2", Tunnel: over4(frame.ERSPAN2, 33), Bridged: true, wrap: func(f []byte) []byte {
			return gre(0x88be, 0x1000, be32(5), slices.Concat(be16(1<<12|100), be16(3<<11|33), be32(17), f))
		}},
		{Name: "erspan-3", Tunnel: over4(frame.ERSPAN3, 44), Bridged: true, wrap: erspan3(0x8002)},
		{Name: "erspan-3-platform", Tunnel: over4(frame.ERSPAN3, 44), Bridged: true,
			wrap: erspan3(0x8003, 0x0c, 0, 0, 1, 0, 0, 0, 9)},
	}
}
