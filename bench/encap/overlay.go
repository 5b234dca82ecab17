package encap

import (
	"slices"

	"ringside/dataplane/frame"
)

// overlays are the tunnels in UDP.
func overlays() []Kind {
	vxlan := func(f []byte) []byte { return slices.Concat([]byte{8, 0, 0, 0}, be32(4242<<8), f) }
	geneve := func(options []byte, f []byte) []byte {
		return ethUDP(6081, slices.Concat([]byte{byte(len(options) / 4), 0}, be16(etherTEB), be32(4243<<8), options, f))
	}
	gtpu := func(flags byte, options []byte, f []byte) []byte {
		ip, _ := ipOf(f)
		inner := append(slices.Clone(options), ip...)
		return eth4(protoUDP, udp(2152, 2152, slices.Concat([]byte{flags, 0xff}, be16(len(inner)), be32(0xc0ffee01), inner)))
	}
	// PDU session container of a downlink (3GPP TS 38.415), 4 bytes.
	session := []byte{0, 1, 0, 0x85, 1, 0x10, 9, 0}
	l2tpLong := func(f []byte) []byte {
		payload := ppp(f, 0xff, 3)
		header := slices.Concat(be16(0x4a02), be16(2+2+4+4+4+len(payload)), be16(7), be16(9), be16(1), be16(2), be16(2), be16(0))
		return eth4(protoUDP, udp(1701, 1701, slices.Concat(header, payload)))
	}
	return []Kind{
		{Name: "vxlan", Tunnel: over4(frame.VXLAN, 4242), Bridged: true, wrap: func(f []byte) []byte { return ethUDP(4789, vxlan(f)) }},
		{Name: "vxlan-8472", Tunnel: over4(frame.VXLAN, 4242), Bridged: true, hints: []string{"-d", "udp.port==8472,vxlan"},
			wrap: func(f []byte) []byte { return ethUDP(8472, vxlan(f)) }},
		{Name: "vxlan-ipv6", Tunnel: over6(frame.VXLAN, 4242), Bridged: true,
			wrap: func(f []byte) []byte { return ethernet(etherIPv6, ip6(protoUDP, udp(50000, 4789, vxlan(f)))) }},
		{Name: "vxlan-policy", Tunnel: over4(frame.VXLAN, 4242), Bridged: true,
			wrap: func(f []byte) []byte {
				return ethUDP(4789, slices.Concat([]byte{0x88, 0, 0x12, 0x34}, be32(4242<<8), f))
			}},
		{Name: "vxlan-gpe", Tunnel: over4(frame.VXLAN, 4244), wrap: func(f []byte) []byte {
			ip, etherType := ipOf(f)
			next := byte(1)
			if etherType == etherIPv6 {
				next = 2
			}
			return ethUDP(4790, slices.Concat([]byte{0x0c, 0, 0, next}, be32(4244<<8), ip))
		}},
		{Name: "vxlan-gpe-nsh", Tunnel: over4(frame.VXLAN, 4244), Bridged: true, wrap: func(f []byte) []byte {
			return ethUDP(4790, slices.Concat([]byte{0x0c, 0, 0, 4}, be32(4244<<8), nsh(3), f))
		}},
		{Name: "geneve", Tunnel: over4(frame.Geneve, 4243), Bridged: true, wrap: func(f []byte) []byte { return geneve(nil, f) }},
		{Name: "geneve-options", Tunnel: over4(frame.Geneve, 4243), Bridged: true, wrap: func(f []byte) []byte {
			return geneve([]byte{1, 2, 0x80, 1, 1, 2, 3, 4, 1, 3, 1, 0}, f)
		}},
		{Name: "gtp-u", Tunnel: over4(frame.GTPU, 0xc0ffee01), wrap: func(f []byte) []byte { return gtpu(0x30, nil, f) }},
		{Name: "gtp-u-sequence", Tunnel: over4(frame.GTPU, 0xc0ffee01), wrap: func(f []byte) []byte { return gtpu(0x32, be32(0x00070000), f) }},
		{Name: "gtp-u-extension", Tunnel: over4(frame.GTPU, 0xc0ffee01), wrap: func(f []byte) []byte { return gtpu(0x34, session, f) }},
		{Name: "l2tp", Tunnel: over4(frame.L2TP, 7<<16|9), wrap: func(f []byte) []byte {
			return eth4(protoUDP, udp(1701, 1701, slices.Concat(be16(2), be16(7), be16(9), ppp(f))))
		}},
		{Name: "l2tp-long", Tunnel: over4(frame.L2TP, 7<<16|9), wrap: l2tpLong},
		{Name: "l2tpv3-udp", Tunnel: over4(frame.L2TP, 0x5001), Bridged: true,
			hints: []string{"-o", "l2tp.cookie_size:None", "-o", "l2tp.l2_specific:None", "-d", "l2tp.pw_type==0,eth"},
			wrap: func(f []byte) []byte {
				return eth4(protoUDP, udp(1701, 1701, slices.Concat(be16(3), be16(0), be32(0x5001), f)))
			}},
		{Name: "tzsp", Tunnel: over4(frame.TZSP, 0), Bridged: true, hints: []string{"-d", "udp.port==37008,tzsp"},
			wrap: func(f []byte) []byte { return ethUDP(37008, slices.Concat([]byte{1, 0, 0, 1, 0, 10, 1, 0x55, 1}, f)) }},
		{Name: "hp-erm", Tunnel: over4(frame.HPERM, 0), Bridged: true, hints: []string{"-d", "udp.port==7932,hp_erm"},
			wrap: func(f []byte) []byte {
				return ethUDP(7932, slices.Concat(make([]byte, 8), []byte{0xff, 0, 100, 0x80}, f))
			}},
		{Name: "gre-udp", Tunnel: over4(frame.GRE, 78), wrap: func(f []byte) []byte { return ethUDP(4754, greIP(0x2000, be32(78), f)) }},
		{Name: "mpls-udp", Tunnel: over4(frame.MPLS, 700), wrap: func(f []byte) []byte {
			ip, _ := ipOf(f)
			return ethUDP(6635, append(labels(700), ip...))
		}},
	}
}
