package filter

import (
	"errors"
	"testing"

	"ringside/dataplane/frame"
)

// FuzzParse wants no text to break the parser, and programs to go forward only
// and to end.
func FuzzParse(f *testing.F) {
	for _, e := range expressions {
		f.Add(e)
	}
	for _, e := range []string{busy, "((udp[8", "net 10.1.2.3/8", "\\", "vlan 5 and vlan 6", "host ::ffff:1.2.3.4", "udp[udp[udp[0]]] % 5 ^ 7 = -1", "\x00\xff", "net 1:2::/0x20"} {
		f.Add(e)
	}
	packets := []frame.Packet{invite(), {Proto: frame.ProtoTCP}, {Proto: frame.ProtoSCTP, Src: end("[2001:db8::1]:1")}}
	tunnels := []*frame.Tunnel{nil, {Kind: frame.VXLAN, Src: addr("10.0.0.1")}, {Kind: 200}}
	f.Fuzz(func(t *testing.T, text string) {
		filter, err := Parse(text)
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || e.At < 0 || e.At > len(text) || e.Says == "" || err.Error() == "" || e.Place() == "" {
				t.Fatalf("%q: %#v", text, err)
			}
			return
		}
		for i, in := range filter.code {
			for _, to := range []int32{in.yes, in.no} {
				if to != accept && to != reject && (to <= int32(i) || int(to) >= len(filter.code)) {
					t.Fatalf("%q: instruction %d of %d leads to %d", text, i, len(filter.code), to)
				}
			}
		}
		for i := range packets {
			for _, tunnel := range tunnels {
				filter.Match(&packets[i], tunnel)
			}
		}
		if n := len(filter.Classic()); n == 0 || n > maxClassic {
			t.Fatalf("%q: a classic program of %d instructions", text, n)
		}
		again, err := Parse(filter.String())
		if err != nil || len(again.code) != len(filter.code) {
			t.Fatalf("%q: read again %v", text, err)
		}
	})
}
