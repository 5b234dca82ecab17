package encap

import (
	"slices"

	"ringside/dataplane/frame"
)

// tagged puts a tag behind the addresses of f.
func tagged(tag ...byte) func(f []byte) []byte {
	return func(f []byte) []byte {
		addresses, rest := split(f)
		return slices.Concat(addresses, tag, rest)
	}
}

// before puts bytes, and a backbone's Ethernet addresses, before the whole frame.
func before(etherType int, header ...byte) func(f []byte) []byte {
	return func(f []byte) []byte { return ethernet(etherType, append(slices.Clone(header), f...)) }
}

// bridges are the tags and headers of layer 2.
func bridges() []Kind {
	fabricPath := func(f []byte) []byte {
		// Addresses of switches 21 and 20, forwarding tag 5, time to live 32.
		return slices.Concat([]byte{0x02, 0, 0x15, 0, 0, 1, 0x02, 0, 0x14, 0, 0, 2, 0x89, 0x03}, be16(5<<6|32), f)
	}
	return []Kind{
		{Name: "vlan", Bridged: true, wrap: tagged(0x81, 0, 0xa0, 100)},
		{Name: "qinq", Bridged: true, wrap: tagged(0x88, 0xa8, 0, 200, 0x81, 0, 0, 100)},
		{Name: "qinq-9100", Bridged: true, wrap: tagged(0x91, 0, 0, 200, 0x81, 0, 0, 100)},
		{Name: "vn-tag", Tunnel: link(frame.VNTag, 5), Bridged: true, wrap: tagged(0x89, 0x26, 0, 5, 0, 9)},
		{Name: "e-tag", Tunnel: link(frame.VNTag, 0x1234), Bridged: true, wrap: tagged(0x89, 0x3f, 0xa0, 0, 0x12, 0x34, 0, 0)},
		{Name: "fabricpath", Tunnel: link(frame.FabricPath, 5), Bridged: true, wrap: fabricPath},
		{Name: "pbb", Tunnel: link(frame.PBB, 70000), Bridged: true,
			wrap: before(0x88a8, 0, 30, 0x88, 0xe7, 0x60, 0x01, 0x11, 0x70)},
		{Name: "trill", Tunnel: link(frame.TRILL, 0x0101), Bridged: true, wrap: before(0x22f3, 0, 0x3f, 1, 1, 2, 2)},
		{Name: "trill-options", Tunnel: link(frame.TRILL, 0x0101), Bridged: true,
			wrap: before(0x22f3, 0, 0x7f, 1, 1, 2, 2, 0, 0, 0, 0)},
		{Name: "nsh", Bridged: true, wrap: before(0x894f, nsh(3)...)},
	}
}

// nsh is a network service header of type 1, whose context fields are empty.
func nsh(next byte) []byte {
	return slices.Concat([]byte{0x0f, 0xc6, 1, next, 0, 0, 1, 255}, make([]byte, 16))
}
