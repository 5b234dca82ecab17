package encap

import (
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // HMAC-SHA1-96 is what the devices use
	"slices"

	"ringside/dataplane/frame"
)

// espNull is ESP with null encryption and HMAC-SHA1-96 around a packet (RFC
// 4303, RFC 2410, RFC 2404).
func espNull(next int, payload []byte) []byte {
	b := slices.Concat(be32(0x1001), be32(1), payload)
	padding := -(len(b) + 2) & 3
	for i := range padding {
		b = append(b, byte(i+1))
	}
	b = append(b, byte(padding), byte(next))
	mac := hmac.New(sha1.New, []byte("not a secret"))
	mac.Write(b)
	return append(b, mac.Sum(nil)[:12]...)
}

// transport puts a header between that of the IP packet in f and its payload:
// header makes it, and what follows, of the protocol and the payload.
func transport(f []byte, proto int, header func(next int, payload []byte) []byte) []byte {
	ip, etherType := ipOf(f)
	if etherType == etherIPv6 {
		ip = slices.Concat(ip[:40], header(int(ip[6]), ip[40:]))
		ip[6] = byte(proto)
		copy(ip[4:], be16(len(ip)-40))
	} else {
		n := int(ip[0]&15) * 4
		ip = slices.Concat(ip[:n], header(int(ip[9]), ip[n:]))
		ip[9] = byte(proto)
		copy(ip[2:], be16(len(ip)))
		copy(ip[10:], be16(0))
		copy(ip[10:], be16(sum(ip[:n])))
	}
	return ethernet(etherType, ip)
}

// ipKinds are those that an IP header carries directly.
func ipKinds() []Kind {
	inIP := func(f []byte) []byte {
		ip, etherType := ipOf(f)
		return eth4(protoOf(etherType), ip)
	}
	inIPv6 := func(f []byte) []byte {
		ip, etherType := ipOf(f)
		return ethernet(etherIPv6, ip6(protoOf(etherType), ip))
	}
	tunnelMode := func(f []byte) []byte {
		ip, etherType := ipOf(f)
		return espNull(protoOf(etherType), ip)
	}
	ah := func(next int, payload []byte) []byte {
		return slices.Concat([]byte{byte(next), 4, 0, 0}, be32(0x1002), be32(1), make([]byte, 12), payload)
	}
	// Inside out of one packet, so that the addresses are those of the packet.
	sameEnds := frame.Tunnel{Kind: frame.ESPNull, ID: 0x1001}
	esp := []string{"-o", "esp.enable_null_encryption_decode_heuristic:TRUE"}
	return []Kind{
		{Name: "ip-in-ip", Tunnel: over4(frame.IPinIP, 0), wrap: inIP},
		{Name: "ip-in-ipv6", Tunnel: over6(frame.IPinIP, 0), wrap: inIPv6},
		{Name: "ether-ip", Tunnel: over4(frame.EtherIP, 0), Bridged: true,
			wrap: func(f []byte) []byte { return eth4(97, append([]byte{0x30, 0}, f...)) }},
		{Name: "mpls-in-ip", Tunnel: over4(frame.MPLS, 600), wrap: func(f []byte) []byte {
			ip, _ := ipOf(f)
			return eth4(137, append(labels(600), ip...))
		}},
		{Name: "l2tpv3", Tunnel: over4(frame.L2TP, 0x5001), Bridged: true,
			hints: []string{"-o", "l2tp.cookie_size:None", "-o", "l2tp.l2_specific:None", "-d", "l2tp.pw_type==0,eth"},
			wrap:  func(f []byte) []byte { return eth4(115, slices.Concat(be32(0x5001), f)) }},
		{Name: "l2tpv3-cookie", Tunnel: over4(frame.L2TP, 0x5001), Bridged: true,
			hints: []string{"-o", "l2tp.cookie_size:8 Byte Cookie", "-o", "l2tp.l2_specific:Default L2-Specific", "-d", "l2tp.pw_type==0,eth"},
			wrap: func(f []byte) []byte {
				return eth4(115, slices.Concat(be32(0x5001), be32(0x8badf00d), be32(0x8badf00e), be32(0x40000001), f))
			}},
		{Name: "esp-null", Tunnel: over4(frame.ESPNull, 0x1001), hints: esp,
			wrap: func(f []byte) []byte { return eth4(protoESP, tunnelMode(f)) }},
		{Name: "esp-null-transport", Tunnel: sameEnds, hints: esp,
			wrap: func(f []byte) []byte { return transport(f, protoESP, espNull) }},
		{Name: "esp-null-udp", Tunnel: over4(frame.ESPNull, 0x1001), hints: esp,
			wrap: func(f []byte) []byte { return eth4(protoUDP, udp(4500, 4500, tunnelMode(f))) }},
		{Name: "ah", wrap: func(f []byte) []byte { return transport(f, protoAH, ah) }},
	}
}
