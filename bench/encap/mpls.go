package encap

import (
	"slices"

	"ringside/dataplane/frame"
)

// labels is a label stack.
func labels(values ...int) []byte {
	var out []byte
	for i, v := range values {
		bottom := 0
		if i == len(values)-1 {
			bottom = 1
		}
		out = append(out, be32(v<<12|bottom<<8|62)...)
	}
	return out
}

// ppp is a PPP frame with the packet of f.
func ppp(f []byte, header ...byte) []byte {
	ip, etherType := ipOf(f)
	protocol := be16(0x0021)
	if etherType == etherIPv6 {
		protocol = be16(0x0057)
	}
	return slices.Concat(header, protocol, ip)
}

// compressed is ppp with address and control field left out and a protocol of
// one byte (RFC 1661 section 6).
func compressed(f []byte) []byte { return ppp(f)[1:] }

func pppoe(inner []byte) []byte {
	return ethernet(0x8864, slices.Concat([]byte{0x11, 0}, be16(0x0abc), be16(len(inner)), inner))
}

// mplsKinds are label stacks, pseudo-wires and PPPoE.
func mplsKinds() []Kind {
	mpls := func(stack ...int) func(f []byte) []byte {
		return func(f []byte) []byte {
			ip, _ := ipOf(f)
			return ethernet(0x8847, append(labels(stack...), ip...))
		}
	}
	return []Kind{
		{Name: "mpls", Tunnel: link(frame.MPLS, 100), wrap: mpls(100)},
		{Name: "mpls-3-labels", Tunnel: link(frame.MPLS, 102), wrap: mpls(100, 101, 102)},
		{Name: "mpls-pw", Tunnel: link(frame.PseudoWire, 301), Bridged: true, hints: []string{"-d", "mpls.label==301,pwethnocw"},
			wrap: func(f []byte) []byte { return ethernet(0x8847, append(labels(300, 301), f...)) }},
		{Name: "mpls-pw-cw", Tunnel: link(frame.PseudoWire, 401), Bridged: true, hints: []string{"-d", "mpls.label==401,pwethcw"},
			wrap: func(f []byte) []byte {
				return ethernet(0x8847, slices.Concat(labels(400, 401), be32(7), f))
			}},
		{Name: "pppoe", Tunnel: link(frame.PPPoE, 0x0abc), wrap: func(f []byte) []byte { return pppoe(ppp(f)) }},
		{Name: "pppoe-compressed", Tunnel: link(frame.PPPoE, 0x0abc), wrap: func(f []byte) []byte { return pppoe(compressed(f)) }},
	}
}
