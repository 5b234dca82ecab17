package decode

import (
	"fmt"
	"testing"

	"ringside/bench/encap"
	"ringside/dataplane/frame"
)

// TestWays: frames of one tunnel go the way that the first ones have taken, and
// none strays any more.
func TestWays(t *testing.T) {
	for _, k := range encap.Kinds() {
		if k.Tunnel.Kind == frame.NoTunnel {
			continue
		}
		t.Run(k.Name, func(t *testing.T) {
			b := &frame.Batch{}
			for i := range 20 {
				inner := eth(etherIPv4, ip4(17, udp(10000+i, 20000, voice[:i+1])))
				f := encap.Wrap(k, append(inner, make([]byte, max(0, 60-len(inner)))...))
				b.Frames = append(b.Frames, oneFrame(ether, f).Frames...)
			}
			var d Decoder
			d.Decode(b)
			fmt.Println(k.Name, d.strays)
		})
	}
}
