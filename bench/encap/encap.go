// Package encap wraps Ethernet frames in the encapsulations that a mirror port
// delivers, as real devices write them, and cuts frames into IP fragments. It is
// what the decoder is tested with, and shares no code with it; tshark is asked
// whether the frames are what they are called.
//
// The same frame always gives the same bytes.
package encap

import (
	"slices"
	"strings"

	"ringside/dataplane/frame"
)

// Kind is a way to wrap a frame, or several in one another.
type Kind struct {
	Name   string
	Tunnel frame.Tunnel // the innermost one; its Kind is NoTunnel where there is only a tag or a header

	// Bridged is set if the frame is carried whole, with its VLAN tags. Otherwise
	// its IP packet is carried alone.
	Bridged bool

	hints []string // what tshark must be told: arguments
	wrap  func(f []byte) []byte
}

// String is the name.
func (k Kind) String() string { return k.Name }

// Wrap wraps a whole Ethernet frame with an IPv4 or IPv6 packet in it, VLAN
// tags or not, as the kind says. The frame itself is not changed.
func Wrap(k Kind, f []byte) []byte { return k.wrap(f) }

// Kinds are all kinds, always in the same order.
func Kinds() []Kind {
	return slices.Concat(bridges(), mplsKinds(), greKinds(), ipKinds(), overlays(), nested())
}

// nested are some kinds in one another, as they meet in providers' networks and
// where a mirror session crosses an overlay.
func nested() []Kind {
	byName := map[string]Kind{}
	for _, k := range slices.Concat(bridges(), mplsKinds(), greKinds(), ipKinds(), overlays()) {
		byName[k.Name] = k
	}
	var out []Kind
	for _, names := range [][]string{ // from the inside out
		{"pppoe", "qinq"},
		{"qinq", "mpls-pw-cw"},
		{"gtp-u", "vlan"},
		{"gtp-u", "mpls"},
		{"vxlan", "erspan-2"},
		{"mpls", "erspan-3"},
		{"erspan-2", "vxlan"},
		{"gre", "esp-null"},
		{"ip-in-ip", "gre-ipv6", "geneve", "vlan"},
		{"l2tp", "pppoe", "vlan"},
		{"gtp-u", "ip-in-ip", "gre-key", "mpls", "erspan-2", "vxlan", "tzsp"},
	} {
		k := Kind{Name: strings.Join(names, " in "), Bridged: byName[names[0]].Bridged}
		layers := make([]func([]byte) []byte, len(names))
		for i, name := range names {
			layer, ok := byName[name]
			if !ok {
				panic("no kind " + name)
			}
			layers[i] = layer.wrap
			k.hints = append(k.hints, layer.hints...)
			switch {
			case k.Tunnel.Kind == frame.NoTunnel:
				k.Tunnel = layer.Tunnel
			case k.Tunnel.Src == (frame.Addr{}): // a label has the addresses of the IP header around it
				k.Tunnel.Src, k.Tunnel.Dst = layer.Tunnel.Src, layer.Tunnel.Dst
			}
		}
		k.wrap = func(f []byte) []byte {
			for _, layer := range layers {
				f = layer(f)
			}
			return f
		}
		out = append(out, k)
	}
	return out
}
